//! `convodb cluster user`: creates, lists, renames and removes users.

use std::io::Write;

use anyhow::{Context, Result};
use clap::Subcommand;
use convodb::Name;
use convodb_http::accounts::UserLine;
use convodb_postgres::UserAccount;

use crate::args::{JsonFlag, UserOfDeletionFlag};
use crate::commands::cluster::database::{DatabaseFlags, find_user};
use crate::commands::cluster::erase;
use crate::commands::user::print;
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

/// Creates, renames, removes or lists users.
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
