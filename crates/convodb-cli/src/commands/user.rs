//! `convodb user`: create, list and rename users, and set their quotas.

use std::fmt;
use std::io::Write;
use std::str::FromStr;

use anyhow::{Context, Result};
use clap::Subcommand;
use convodb::{Name, QuotaLimit};
use convodb_http::accounts::{CreateUser, ListUsers, RenameUser, SetQuota, UserLine};

use crate::accounts::{self, MissingStore};
use crate::args::{ByteSize, JsonFlag, StoreOrServer};
use crate::console::{grouped, quoted, say};
use crate::io::text_table::{Align, Column, Fit, TextTable};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a user and print its number; creates the store if there is no file
    Create {
        #[command(flatten)]
        target: StoreOrServer,
        /// Name of the user, which no other user may have
        name: Name,
    },
    /// Rename a user; its number, tokens and conversations stay
    Rename {
        #[command(flatten)]
        target: StoreOrServer,
        /// Name or number of the user
        user: Name,
        /// New name, which no other user may have
        #[arg(value_name = "NEWNAME")]
        name: Name,
    },
    /// Show what a user's data takes and may take, and set limits
    ///
    /// A write that would take the user beyond a limit is refused; deletions never are. What the user
    /// has beyond a new limit stays. Bytes are those of keys and records of conversations, messages,
    /// assistants and recorded responses; the file has about twice as many.
    #[command(after_help = "Example: convodb user quota --db chats.convodb --max-bytes 10GiB acme")]
    Quota {
        #[command(flatten)]
        target: StoreOrServer,
        /// Name or number of the user
        user: Name,
        #[command(flatten)]
        limits: LimitFlags,
        #[command(flatten)]
        json: JsonFlag,
    },
    /// List all users with what their data takes and may take
    List {
        #[command(flatten)]
        target: StoreOrServer,
        #[command(flatten)]
        json: JsonFlag,
    },
}

/// The limits to set.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct LimitFlags {
    /// Maximum conversations: a number, `unlimited`, or `default` for that of the server
    #[arg(long, value_name = "N")]
    pub(crate) max_conversations: Option<Limit>,
    /// Maximum bytes: bytes, or with KiB, MiB, GiB; `unlimited`, or `default` for that of the
    /// server
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_bytes: Option<Limit>,
}

/// A limit of a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit(pub(crate) QuotaLimit);

impl FromStr for Limit {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(match text {
            "unlimited" => QuotaLimit::Unlimited,
            "default" => QuotaLimit::Default,
            "0" => QuotaLimit::AtMost(0),
            size => {
                let error = "must be a number, or one with KiB, MiB or GiB; `unlimited`, or \
                             `default`";
                let ByteSize(bytes) = size.parse().map_err(|_| error)?;
                QuotaLimit::AtMost(bytes as u64)
            }
        }))
    }
}

/// As the admin API takes it.
impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            QuotaLimit::Unlimited => f.write_str("unlimited"),
            QuotaLimit::Default => f.write_str("default"),
            QuotaLimit::AtMost(limit) => limit.fmt(f),
        }
    }
}

/// Creates, renames or lists users, or sets a quota.
pub(crate) fn run(command: Command, out: &mut dyn Write) -> Result<()> {
    match command {
        Command::Create { target, name } => {
            let served = "convodb user create --admin-socket SOCKET NAME";
            let operation = CreateUser { name: name.as_str().to_owned() };
            let user = accounts::run(&target, MissingStore::IsCreated, served, operation)
                .with_context(|| format!("cannot create the user {name}"))?;
            writeln!(out, "{}", user.id)?;
            let (place, word) = (accounts::flag_of(&target)?, quoted(&name));
            say(format_args!(
                "created the user {name}; `convodb token create {place} --user {word}` creates an \
                 access token"
            ));
            Ok(())
        }
        Command::Rename { target, user, name } => {
            let served = "convodb user rename --admin-socket SOCKET USER NEWNAME";
            let operation =
                RenameUser { user: user.as_str().to_owned(), name: name.as_str().to_owned() };
            accounts::run(&target, MissingStore::Fails, served, operation)
                .with_context(|| format!("cannot rename the user {user}"))?;
            say(format_args!("renamed the user {user} to {name}"));
            Ok(())
        }
        Command::Quota { target, user, limits, json } => {
            let served = "convodb user quota --admin-socket SOCKET USER";
            let operation = SetQuota {
                user: user.as_str().to_owned(),
                max_conversations: limits.max_conversations.map(|limit| limit.to_string()),
                max_bytes: limits.max_bytes.map(|limit| limit.to_string()),
            };
            let user = accounts::run(&target, MissingStore::Fails, served, operation)
                .with_context(|| format!("cannot set the quota of the user {user}"))?;
            print(&[user], &json, out)
        }
        Command::List { target, json } => {
            let served = "convodb user list --admin-socket SOCKET";
            let users = accounts::run(&target, MissingStore::Fails, served, ListUsers {})?;
            print(&users, &json, out)
        }
    }
}

pub(crate) fn print(users: &[UserLine], json: &JsonFlag, out: &mut dyn Write) -> Result<()> {
    if json.json {
        for user in users {
            writeln!(out, "{}", serde_json::to_string(user)?)?;
        }
        return Ok(());
    }
    let columns = [
        Column { title: "ID", align: Align::Right, fit: Fit::Whole },
        Column { title: "NAME", align: Align::Left, fit: Fit::Cut },
        Column { title: "CREATED", align: Align::Left, fit: Fit::Drop(1) },
        Column { title: "STATE", align: Align::Left, fit: Fit::Drop(2) },
        Column { title: "CONVERSATIONS", align: Align::Right, fit: Fit::Drop(3) },
        Column { title: "MAX CONVERSATIONS", align: Align::Right, fit: Fit::Drop(5) },
        Column { title: "BYTES", align: Align::Right, fit: Fit::Drop(4) },
        Column { title: "MAX BYTES", align: Align::Right, fit: Fit::Drop(6) },
    ];
    let limit = |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), grouped);
    let state = |user: &UserLine| if user.closed { "being erased" } else { "open" };
    let rows: Vec<Vec<String>> = users
        .iter()
        .map(|user| {
            vec![
                user.id.to_string(),
                user.name.clone(),
                user.created_at.clone(),
                state(user).to_owned(),
                grouped(user.conversations),
                limit(user.max_conversations),
                grouped(user.bytes),
                limit(user.max_bytes),
            ]
        })
        .collect();
    Ok(TextTable::new(&columns).write(out, &rows)?)
}
