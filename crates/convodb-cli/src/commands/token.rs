//! `convodb token create`, `convodb token revoke`. A token is printed once and never repeated in a
//! message.

use std::io::{self, BufRead, Read, Write};

use anyhow::{Context, Result, bail};

use crate::args::{Db, Owner, Token};
use crate::console::{now, say};
use crate::open_store::{SMALL_CACHE_BYTES, WhileServed, existing};
use crate::resolve;

/// No token is nearly as long; what comes on standard input is read this far.
const MAX_TOKEN_BYTES: u64 = 4096;

/// Creates a token, or revokes one.
pub(crate) fn run(verb: Token, out: &mut dyn Write) -> Result<()> {
    match verb {
        Token::Create { db: Db { db }, owner: Owner { user: name } } => {
            let store = existing(&db, SMALL_CACHE_BYTES, WhileServed::Stop)?;
            let user = resolve::user(&store.snapshot(), &name, &db)?;
            let token = store.create_token(user, now()?)?;
            // A token that nobody has seen must not stay valid.
            if let Err(error) = writeln!(out, "{token}").and_then(|()| out.flush()) {
                store.revoke_token(token)?;
                store.close()?;
                bail!("the token could not be printed and was revoked: {error}");
            }
            store.close()?;
            say("keep the token: only its hash is stored, so it cannot be shown again");
            Ok(())
        }
        Token::Revoke { db: Db { db }, token } => {
            let token = if token == "-" { read_token(&mut io::stdin().lock())? } else { token };
            let store = existing(&db, SMALL_CACHE_BYTES, WhileServed::Stop)?;
            store.revoke_token(token).context("cannot revoke the token")?;
            store.close()?;
            say("revoked");
            Ok(())
        }
    }
}

/// The first line of the input, without the blanks around it.
fn read_token(input: &mut dyn BufRead) -> Result<String> {
    let mut line = String::new();
    input
        .take(MAX_TOKEN_BYTES)
        .read_line(&mut line)
        .context("cannot read the token from standard input")?;
    match line.trim() {
        "" => bail!("there is no token on standard input"),
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
