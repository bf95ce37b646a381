//! `convodb token`: create, list, narrow and revoke access tokens.
//!
//! A token is printed once and never appears in a message.

use std::io::{self, BufRead, Read, Write};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use convodb::{AssistantRef, Name, Scopes, Timestamp, TokenId, TokenPrefix};
use convodb_http::accounts::{CreateToken, ListTokens, NarrowToken, RevokeTokens, TokenLine};

use crate::accounts::{self, MissingStore};
use crate::args::{JsonFlag, StoreOrServer, UsageError, UserFlag};
use crate::console::{confirm, counted, say};
use crate::io::text_table::{Align, Column, Fit, TextTable};

/// Maximum bytes read from standard input; tokens are far shorter.
const MAX_TOKEN_BYTES: u64 = 4096;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create an access token and print it, once: the store has only its hash
    Create(CreateArgs),
    /// List access tokens with their public ids, scopes, expiry and last use
    List(ListArgs),
    /// Take scopes, assistants or time from an access token, at once
    ///
    /// A token can only become narrower; more needs a new one. Requests that run are checked again at
    /// their next step, as when a token is revoked.
    Narrow(NarrowArgs),
    /// Revoke one access token, or those of a user, or all
    ///
    /// Requests that run with a revoked token end at their next step: an export at its next chunk, an
    /// import at its next piece, a request that waits for changes when it wakes up.
    Revoke(RevokeArgs),
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: convodb token create --db chats.convodb --user acme --name reports \
                  --scopes read,stats --expires 2030-01-01"
)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    target: StoreOrServer,
    #[command(flatten)]
    token: NewTokenFlags,
}

/// The user and the options of a new token.
#[derive(Debug, clap::Args)]
pub(crate) struct NewTokenFlags {
    #[command(flatten)]
    pub(crate) user: UserFlag,
    /// Name for people, shown in the list of tokens
    #[arg(long, env = "CONVODB_TOKEN_NAME", value_name = "NAME")]
    pub(crate) name: Option<Name>,
    /// What the token allows: a list of read, write, import, export, stats, tokens and health
    /// [default: read,write,import,export,stats]
    #[arg(long, env = "CONVODB_TOKEN_SCOPES", value_name = "SCOPES")]
    pub(crate) scopes: Option<Scopes>,
    /// The only assistant whose conversations the token reaches: its id, or its number in
    /// `convodb assistant list` [default: all]
    #[arg(long, env = "CONVODB_TOKEN_ASSISTANT", value_name = "ID")]
    pub(crate) assistant: Option<AssistantRef>,
    /// Time from which on the token is refused: a date (UTC) or RFC 3339 [default: never]
    #[arg(long, env = "CONVODB_TOKEN_EXPIRES", value_name = "TIME")]
    pub(crate) expires: Option<Timestamp>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    target: StoreOrServer,
    /// Only tokens of this user, by name or number [default: all users]
    #[arg(long, env = "CONVODB_USER", value_name = "USER")]
    user: Option<Name>,
    #[command(flatten)]
    json: JsonFlag,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: convodb token narrow --db chats.convodb --id 0123456789abcdef --scopes \
                  read,stats"
)]
pub(crate) struct NarrowArgs {
    #[command(flatten)]
    target: StoreOrServer,
    #[command(flatten)]
    narrowing: NarrowingFlags,
    #[command(flatten)]
    json: JsonFlag,
}

/// A token, and what narrows it.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
pub(crate) struct NarrowingFlags {
    /// The token with this public id, which the list of tokens shows
    #[arg(long, value_name = "ID")]
    pub(crate) id: TokenId,
    /// The scopes that remain: some of those that the token has
    #[arg(long, value_name = "SCOPES", group = "what")]
    pub(crate) scopes: Option<Scopes>,
    /// The only assistant that the token still reaches: its id, or its number in
    /// `convodb assistant list`
    #[arg(long, value_name = "ID", group = "what")]
    pub(crate) assistant: Option<AssistantRef>,
    /// Time from which on the token is refused, not later than before: a date (UTC) or RFC 3339
    #[arg(long, value_name = "TIME", group = "what")]
    pub(crate) expires: Option<Timestamp>,
}

#[derive(Debug, clap::Args)]
#[command(override_usage = "convodb token revoke --db <FILE> <TOKEN>\n       \
                      convodb token revoke --db <FILE> --id <ID>\n       \
                      convodb token revoke --db <FILE> --prefix <PREFIX>\n       \
                      convodb token revoke --db <FILE> --user <USER>\n       \
                      convodb token revoke --db <FILE> --all [--yes]")]
pub(crate) struct RevokeArgs {
    #[command(flatten)]
    target: StoreOrServer,
    #[command(flatten)]
    tokens: RevokedFlags,
}

/// Which tokens to revoke.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true))]
pub(crate) struct RevokedFlags {
    /// The token, or - to read it from standard input and not leave it in the shell's history
    #[arg(group = "which")]
    token: Option<String>,
    /// The token with this public id, which the list of tokens shows
    #[arg(long, value_name = "ID", group = "which")]
    id: Option<TokenId>,
    /// Each token that begins with this text: cvdb_ and at least 4 characters more
    #[arg(long, value_name = "PREFIX", group = "which")]
    prefix: Option<String>,
    /// All tokens of this user, by name or number
    #[arg(long, value_name = "USER", group = "which")]
    user: Option<Name>,
    /// All tokens of all users
    #[arg(long, group = "which")]
    all: bool,
    /// Do not ask for confirmation of --all
    #[arg(long)]
    yes: bool,
}

/// Creates, lists, narrows or revokes tokens.
pub(crate) fn run(command: Command, out: &mut dyn Write) -> Result<()> {
    match command {
        Command::Create(args) => create(&args, out),
        Command::List(args) => list(&args, out),
        Command::Narrow(args) => narrow(&args, out),
        Command::Revoke(args) => revoke(&args),
    }
}

fn create(args: &CreateArgs, out: &mut dyn Write) -> Result<()> {
    let served = "convodb token create --admin-socket SOCKET --user USER";
    let NewTokenFlags { user: UserFlag { user }, name, scopes, assistant, expires } = &args.token;
    let operation = CreateToken {
        user: user.as_str().to_owned(),
        name: name.as_ref().map(|name| name.as_str().to_owned()),
        scopes: scopes.map(|scopes| scopes.to_string()),
        assistant: assistant.map(|assistant| assistant.to_string()),
        expires_at: expires.map(Timestamp::to_rfc3339),
    };
    let created = accounts::run(&args.target, MissingStore::Fails, served, operation)
        .with_context(|| format!("cannot create a token of the user {user}"))?;
    // A token that nobody has seen must not stay valid.
    if let Err(error) = writeln!(out, "{}", created.token).and_then(|()| out.flush()) {
        let operation = RevokeTokens { id: Some(created.id), ..RevokeTokens::default() };
        accounts::run(&args.target, MissingStore::Fails, served, operation)?;
        bail!("cannot print the token, which was revoked: {error}");
    }
    say_created(&created.id);
    Ok(())
}

pub(crate) fn say_created(id: &str) {
    say(format_args!(
        "created the token {id}; save it now: only its hash is stored, so it cannot be shown again"
    ));
}

fn narrow(args: &NarrowArgs, out: &mut dyn Write) -> Result<()> {
    let served = "convodb token narrow --admin-socket SOCKET --id ID ...";
    let NarrowingFlags { id, scopes, assistant, expires } = &args.narrowing;
    let operation = NarrowToken {
        id: id.to_string(),
        scopes: scopes.map(|scopes| scopes.to_string()),
        assistant: assistant.map(|assistant| assistant.to_string()),
        expires_at: expires.map(Timestamp::to_rfc3339),
    };
    let token = accounts::run(&args.target, MissingStore::Fails, served, operation)
        .with_context(|| format!("cannot narrow the token {id}"))?;
    print(&[token], &args.json, out)
}

fn list(args: &ListArgs, out: &mut dyn Write) -> Result<()> {
    let served = "convodb token list --admin-socket SOCKET";
    let operation = ListTokens { user: args.user.as_ref().map(|user| user.as_str().to_owned()) };
    let tokens = accounts::run(&args.target, MissingStore::Fails, served, operation)?;
    print(&tokens, &args.json, out)
}

pub(crate) fn print(tokens: &[TokenLine], json: &JsonFlag, out: &mut dyn Write) -> Result<()> {
    if json.json {
        for token in tokens {
            writeln!(out, "{}", serde_json::to_string(token)?)?;
        }
        return Ok(());
    }
    let column = |title, fit| Column { title, align: Align::Left, fit };
    let columns = [
        column("ID", Fit::Whole),
        column("USER", Fit::Cut),
        column("NAME", Fit::Cut),
        column("PREFIX", Fit::Drop(1)),
        column("SCOPES", Fit::Drop(2)),
        column("ASSISTANT", Fit::Drop(5)),
        column("CREATED", Fit::Drop(6)),
        column("EXPIRES", Fit::Drop(3)),
        column("LAST USED", Fit::Drop(4)),
    ];
    let rows: Vec<Vec<String>> = tokens.iter().map(cells).collect();
    Ok(TextTable::new(&columns).write(out, &rows)?)
}

fn cells(token: &TokenLine) -> Vec<String> {
    let or = |text: &Option<String>, missing: &str| text.as_deref().unwrap_or(missing).to_owned();
    vec![
        token.id.clone(),
        token.user.clone(),
        or(&token.name, ""),
        or(&token.prefix, ""),
        token.scopes.clone(),
        or(&token.assistant_id, "all"),
        token.created_at.clone(),
        or(&token.expires_at, "never"),
        or(&token.last_used_at, "never"),
    ]
}

fn revoke(args: &RevokeArgs) -> Result<()> {
    let served = "convodb token revoke --admin-socket SOCKET ...";
    let operation = args.tokens.operation()?;
    let revoked = accounts::run(&args.target, MissingStore::Fails, served, operation)
        .context("cannot revoke")?;
    say_revoked(revoked.tokens);
    Ok(())
}

pub(crate) fn say_revoked(tokens: u64) {
    say(format_args!("revoked {}", counted(tokens, "token")));
}

impl RevokedFlags {
    /// The revocation that the flags describe, after confirmation of one of all tokens.
    pub(crate) fn operation(&self) -> Result<RevokeTokens> {
        // Not by the parser, whose message would repeat the value: it may be a whole token.
        let prefix = self.prefix.as_deref().map(str::parse::<TokenPrefix>).transpose();
        let prefix = prefix.map_err(|error| UsageError(format!("--prefix: {error}")))?;
        let token = match self.token.as_deref() {
            Some("-") => Some(read_token(&mut io::stdin().lock())?),
            token => token.map(str::to_owned),
        };
        if self.all && !self.yes && !confirm("revokes all tokens of all users", "all")? {
            bail!("not confirmed; nothing was revoked");
        }
        Ok(RevokeTokens {
            token,
            id: self.id.map(|id| id.to_string()),
            prefix: prefix.map(|prefix| prefix.as_str().to_owned()),
            user: self.user.as_ref().map(|user| user.as_str().to_owned()),
            all: self.all,
        })
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
