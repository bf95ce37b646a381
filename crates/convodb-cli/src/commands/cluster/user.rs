//! `convodb cluster user`: creates, lists, renames and removes users, and sets their quotas.

use std::io::Write;

use anyhow::{Context, Result};
use clap::Subcommand;
use convodb::{Error, Name};
use convodb_http::accounts::UserLine;
use convodb_postgres::{Cluster, UserAccount};

use crate::args::{JsonFlag, UserOfDeletionFlag};
use crate::commands::cluster::database::{DatabaseFlags, find_user};
use crate::commands::cluster::erase;
use crate::commands::user::{Limit, LimitFlags, print};
use crate::console::{now, say};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a user and print its number
    #[command(visible_alias = "add")]
    Create {
        #[command(flatten)]
        database: DatabaseFlags,
        /// Name of the user, which no other user may have
        name: Name,
    },
    /// Rename a user; its number, tokens and conversations stay
    Rename {
        #[command(flatten)]
        database: DatabaseFlags,
        /// Name or number of the user
        user: Name,
        /// New name, which no other user may have
        #[arg(value_name = "NEWNAME")]
        name: Name,
    },
    /// Show what a user's data takes and may take, and set limits
    ///
    /// A write that would take the user beyond a limit is refused; deletions never are. What the user
    /// has beyond a new limit stays. All servers observe it from their next write of the user on.
    #[command(after_help = "Example: convodb cluster user quota --max-bytes 10GiB acme")]
    Quota {
        #[command(flatten)]
        database: DatabaseFlags,
        /// Name or number of the user
        user: Name,
        #[command(flatten)]
        limits: LimitFlags,
        #[command(flatten)]
        json: JsonFlag,
    },
    /// Erase a user with all conversations, assistants and tokens, as
    /// `convodb cluster erase --everything`
    Remove {
        #[command(flatten)]
        database: DatabaseFlags,
        #[command(flatten)]
        user: UserOfDeletionFlag,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        json: JsonFlag,
    },
    /// List all users with what their data takes and may take
    List {
        #[command(flatten)]
        database: DatabaseFlags,
        #[command(flatten)]
        json: JsonFlag,
    },
}

/// Creates, renames, removes or lists users, or sets a quota.
pub(crate) async fn run(command: Command, out: &mut dyn Write) -> Result<()> {
    match command {
        Command::Create { database, name } => {
            let created = database.open().await?.create_user(name.clone(), now()?).await;
            let user = created.with_context(|| format!("cannot create the user {name}"))?;
            writeln!(out, "{}", user.id)?;
            say(format_args!("created the user {name}"));
            Ok(())
        }
        Command::Rename { database, user, name } => {
            let cluster = database.open().await?;
            let id = find_user(&cluster, &user).await?;
            let renamed = cluster.rename_user(id, name.clone()).await;
            renamed.with_context(|| format!("cannot rename the user {user}"))?;
            say(format_args!("renamed the user {user} to {name}"));
            Ok(())
        }
        Command::Quota { database, user, limits, json } => {
            let cluster = database.open().await?;
            let account = set_quota(&cluster, &user, limits).await;
            let account =
                account.with_context(|| format!("cannot set the quota of the user {user}"))?;
            print(&[line(account)], &json, out)
        }
        Command::Remove { database, user, yes, json } => {
            erase::user(&database, &user.user, yes, &json, out).await
        }
        Command::List { database, json } => {
            let users = database.open().await?.users().await?;
            let lines: Vec<UserLine> = users.into_iter().map(line).collect();
            print(&lines, &json, out)
        }
    }
}

/// Sets the limits that are given, and returns the user.
async fn set_quota(cluster: &Cluster, user: &Name, limits: LimitFlags) -> Result<UserAccount> {
    let id = find_user(cluster, user).await?;
    let LimitFlags { max_conversations, max_bytes } = limits;
    if max_conversations.is_some() || max_bytes.is_some() {
        let [conversations, bytes] =
            [max_conversations, max_bytes].map(|limit| limit.map(|Limit(limit)| limit));
        cluster.set_quota(id, conversations, bytes).await?;
    }
    Ok(cluster.account(id).await?.ok_or(Error::UserNotFound)?)
}

fn line(account: UserAccount) -> UserLine {
    let UserAccount { user, usage, quota, .. } = account;
    UserLine {
        id: user.id.get(),
        name: user.name.into_string(),
        created_at: user.created_at.to_string(),
        closed: user.closed,
        conversations: usage.conversations,
        bytes: usage.bytes,
        max_conversations: quota.conversations,
        max_bytes: quota.bytes,
    }
}
