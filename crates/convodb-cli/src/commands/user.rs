//! `convodb user`: create, list and rename users.

use std::io::Write;

use anyhow::{Context, Result};
use clap::Subcommand;
use convodb::Name;
use convodb_http::accounts::{CreateUser, ListUsers, RenameUser, UserLine};

use crate::accounts::{self, MissingStore};
use crate::args::{JsonFlag, StoreOrServer};
use crate::console::{quoted, say};
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
    /// List all users
    List {
        #[command(flatten)]
        target: StoreOrServer,
        #[command(flatten)]
        json: JsonFlag,
    },
}

/// Creates, renames or lists users.
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
        Command::List { target, json } => {
            let served = "convodb user list --admin-socket SOCKET";
            let users = accounts::run(&target, MissingStore::Fails, served, ListUsers {})?;
            print(&users, &json, out)
        }
    }
}

fn print(users: &[UserLine], json: &JsonFlag, out: &mut dyn Write) -> Result<()> {
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
    ];
    let state = |user: &UserLine| if user.closed { "being erased" } else { "open" };
    let rows: Vec<Vec<String>> = users
        .iter()
        .map(|u| vec![u.id.to_string(), u.name.clone(), u.created_at.clone(), state(u).to_owned()])
        .collect();
    Ok(TextTable::new(&columns).write(out, &rows)?)
}
