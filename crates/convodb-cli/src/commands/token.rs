//! `convodb token`: create and revoke access tokens.
//!
//! A token is printed once and never appears in a message.

use std::io::{self, BufRead, Read, Write};

use anyhow::{Context, Result, bail};
use clap::Subcommand;

use crate::args::{DbFlag, UserFlag};
use crate::console::{now, say};
use crate::open_store::{SMALL_CACHE_BYTES, WhileServed, existing};
use crate::resolve;

/// Maximum bytes read from standard input; tokens are far shorter.
const MAX_TOKEN_BYTES: u64 = 4096;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create an access token and print it, once: the store has only its hash
    Create {
        #[command(flatten)]
        db: DbFlag,
        #[command(flatten)]
        user: UserFlag,
    },
    /// Revoke an access token
    Revoke {
        #[command(flatten)]
        db: DbFlag,
        /// The token, or - to read it from standard input and not leave it in the shell's history
        token: String,
    },
}

/// Creates or revokes a token.
pub(crate) fn run(command: Command, out: &mut dyn Write) -> Result<()> {
    match command {
        Command::Create { db: DbFlag { db }, user: UserFlag { user } } => {
            let store = existing(&db, SMALL_CACHE_BYTES, WhileServed::Stop)?;
            let user = resolve::user(&store.snapshot(), &user, &db)?;
            let token = store.create_token(user, now()?)?;
            // A token that nobody has seen must not stay valid.
            if let Err(error) = writeln!(out, "{token}").and_then(|()| out.flush()) {
                store.revoke_token(token)?;
                store.close()?;
                bail!("cannot print the token, which was revoked: {error}");
            }
            store.close()?;
            say("save the token now: only its hash is stored, so it cannot be shown again");
            Ok(())
        }
        Command::Revoke { db: DbFlag { db }, token } => {
            let token = if token == "-" { read_token(&mut io::stdin().lock())? } else { token };
            let store = existing(&db, SMALL_CACHE_BYTES, WhileServed::Stop)?;
            store.revoke_token(token).context("cannot revoke the token")?;
            store.close()?;
            say("revoked the token");
            Ok(())
        }
    }
}

/// Reads the first line of the input, without surrounding white space.
fn read_token(input: &mut dyn BufRead) -> Result<String> {
    let mut line = String::new();
    input
        .take(MAX_TOKEN_BYTES)
        .read_line(&mut line)
        .context("cannot read the token from standard input")?;
    match line.trim() {
        "" => bail!("standard input has no token"),
        token => Ok(token.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_the_first_line() {
        assert_eq!(read_token(&mut " cvdb_abc\r\nmore".as_bytes()).unwrap(), "cvdb_abc");
        assert_eq!(read_token(&mut "cvdb_abc".as_bytes()).unwrap(), "cvdb_abc");
        assert!(read_token(&mut "".as_bytes()).is_err());
        assert!(read_token(&mut "\ncvdb_abc".as_bytes()).is_err());
    }
}
