//! `convodb cluster token`: creates, lists, narrows and revokes access tokens.

use std::collections::HashMap;
use std::io::Write;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use convodb::{Error, Name, Scopes, TokenNarrowing, TokenOptions, TokenSelector};
use convodb_http::accounts::{RevokeTokens, TokenLine};
use convodb_postgres::Cluster;

use crate::args::JsonFlag;
use crate::commands::cluster::database::{DatabaseFlags, find_user};
use crate::commands::token::{
    NarrowingFlags, NewTokenFlags, RevokedFlags, print, say_created, say_revoked,
};
use crate::console::now;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create an access token and print it, once: the store has only its hash
    Create {
        #[command(flatten)]
        database: DatabaseFlags,
        #[command(flatten)]
        token: NewTokenFlags,
    },
    /// List access tokens with their public ids, scopes, expiry and last use
    List {
        #[command(flatten)]
        database: DatabaseFlags,
        /// Only tokens of this user, by name or number [default: all users]
        #[arg(long, env = "CONVODB_USER", value_name = "USER")]
        user: Option<Name>,
        #[command(flatten)]
        json: JsonFlag,
    },
    /// Take scopes, assistants or time from an access token, at once
    ///
    /// A token can only become narrower; more needs a new one. Requests that run are checked again at
    /// their next step, as when a token is revoked.
    #[command(after_help = "Example: convodb cluster token narrow --id 0123456789abcdef --scopes \
                            read,stats")]
    Narrow {
        #[command(flatten)]
        database: DatabaseFlags,
        #[command(flatten)]
        narrowing: NarrowingFlags,
        #[command(flatten)]
        json: JsonFlag,
    },
    /// Revoke one access token, or those of a user, or all
    Revoke {
        #[command(flatten)]
        database: DatabaseFlags,
        #[command(flatten)]
        tokens: RevokedFlags,
    },
}

/// Creates, lists, narrows or revokes tokens.
pub(crate) async fn run(command: Command, out: &mut dyn Write) -> Result<()> {
    match command {
        Command::Create { database, token } => create(&database.open().await?, token, out).await,
        Command::List { database, user, json } => {
            let lines = list(&database.open().await?, user.as_ref()).await?;
            print(&lines, &json, out)
        }
        Command::Narrow { database, narrowing, json } => {
            let narrowed = narrow(&database.open().await?, &narrowing).await;
            let token =
                narrowed.with_context(|| format!("cannot narrow the token {}", narrowing.id))?;
            print(&[token], &json, out)
        }
        Command::Revoke { database, tokens } => {
            let operation = tokens.operation()?;
            let revoked = revoke(&database.open().await?, operation).await;
            say_revoked(revoked.context("cannot revoke")?);
            Ok(())
        }
    }
}

async fn create(cluster: &Cluster, token: NewTokenFlags, out: &mut dyn Write) -> Result<()> {
    let user = find_user(cluster, &token.user.user).await?;
    let assistant = match token.assistant {
        Some(named) => Some(cluster.find_assistant(user, named).await?.id),
        None => None,
    };
    let options = TokenOptions {
        name: token.name,
        scopes: token.scopes.unwrap_or(Scopes::DATA),
        assistant,
        expires_at: token.expires,
    };
    let created = cluster.create_token(user, now()?, options).await;
    let created = created
        .with_context(|| format!("cannot create a token of the user {}", token.user.user))?;
    // A token that nobody has seen must not stay valid.
    if let Err(error) = writeln!(out, "{}", created.token).and_then(|()| out.flush()) {
        cluster.revoke_token(&created.token).await?;
        bail!("cannot print the token, which was revoked: {error}");
    }
    say_created(&created.id.to_string());
    Ok(())
}

async fn narrow(cluster: &Cluster, flags: &NarrowingFlags) -> Result<TokenLine> {
    let NarrowingFlags { id, scopes, assistant, expires } = *flags;
    let mut narrowing = TokenNarrowing { scopes, assistant: None, expires_at: expires };
    if let Some(named) = assistant {
        let mut tokens = cluster.tokens().await?.into_iter();
        let token = tokens.find(|token| token.id == id).ok_or(Error::TokenNotFound)?;
        narrowing.assistant = Some(cluster.find_assistant(token.user, named).await?.id);
    }
    let token = cluster.narrow_token(id, narrowing).await?;
    let user = cluster.account(token.user).await?.ok_or(Error::UserNotFound)?.user;
    Ok(TokenLine::new(token, user))
}

async fn list(cluster: &Cluster, only: Option<&Name>) -> Result<Vec<TokenLine>> {
    let only = match only {
        Some(user) => Some(find_user(cluster, user).await?),
        None => None,
    };
    let users = cluster.users().await?.into_iter();
    let names: HashMap<_, _> = users.map(|account| (account.user.id, account.user)).collect();
    let tokens = cluster.tokens().await?.into_iter();
    let tokens = tokens.filter(|token| only.is_none_or(|only| only == token.user));
    // One of a user that was created or removed in between is not listed.
    let lines = tokens.filter_map(|token| {
        let user = names.get(&token.user)?.clone();
        Some(TokenLine::new(token, user))
    });
    let mut lines: Vec<TokenLine> = lines.collect();
    lines.sort_by(|a, b| (&a.user, &a.created_at, &a.id).cmp(&(&b.user, &b.created_at, &b.id)));
    Ok(lines)
}

/// Revokes the tokens that the one set field names, and returns their number.
async fn revoke(cluster: &Cluster, operation: RevokeTokens) -> Result<u64> {
    let selector = match operation {
        RevokeTokens { token: Some(token), .. } => {
            cluster.revoke_token(&token).await?;
            return Ok(1);
        }
        RevokeTokens { id: Some(id), .. } => TokenSelector::Id(id.parse()?),
        RevokeTokens { prefix: Some(prefix), .. } => TokenSelector::Prefix(prefix.parse()?),
        RevokeTokens { user: Some(user), .. } => {
            TokenSelector::User(find_user(cluster, &user.parse()?).await?)
        }
        RevokeTokens { .. } => TokenSelector::All,
    };
    let must_exist = matches!(selector, TokenSelector::Id(_) | TokenSelector::Prefix(_));
    match cluster.revoke_tokens(&selector).await? {
        0 if must_exist => Err(Error::TokenNotFound.into()),
        tokens => Ok(tokens),
    }
}
