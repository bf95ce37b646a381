//! `convodb user`: create, list and rename users.

use std::io::Write;

use anyhow::{Context, Result};
use clap::Subcommand;
use convodb::{Name, User};
use serde::Serialize;

use crate::args::{DbFlag, JsonFlag};
use crate::console::{now, quoted, say};
use crate::io::text_table::{Align, Column, Fit, TextTable};
use crate::open_store::{SMALL_CACHE_BYTES, WhileServed, existing, existing_or_new};
use crate::resolve;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a user and print its number; creates the store if there is no file
    Create {
        #[command(flatten)]
        db: DbFlag,
        /// Name of the user, which no other user may have
        name: Name,
    },
    /// Rename a user; its number, tokens and conversations stay
    Rename {
        #[command(flatten)]
        db: DbFlag,
        /// Name or number of the user
        user: Name,
        /// New name, which no other user may have
        #[arg(value_name = "NEWNAME")]
        name: Name,
    },
    /// List all users
    List {
        #[command(flatten)]
        db: DbFlag,
        #[command(flatten)]
        json: JsonFlag,
    },
}

/// A user as JSON.
#[derive(Serialize)]
struct Line<'a> {
    id: u32,
    name: &'a str,
    created_at: String,
}

/// Creates, renames or lists users.
pub(crate) fn run(command: Command, out: &mut dyn Write) -> Result<()> {
    match command {
        Command::Create { db: DbFlag { db }, name } => {
            let store = existing_or_new(&db, SMALL_CACHE_BYTES, WhileServed::Stop)?;
            let user = store
                .create_user(name.clone(), now()?)
                .with_context(|| format!("cannot create the user {name}"))?;
            store.close()?;
            writeln!(out, "{}", user.id)?;
            let (db, word) = (quoted(db.display()), quoted(&name));
            say(format_args!(
                "created the user {name}; `convodb token create --db {db} --user {word}` creates an \
                 access token"
            ));
            Ok(())
        }
        Command::Rename { db: DbFlag { db }, user, name } => {
            let store = existing(&db, SMALL_CACHE_BYTES, WhileServed::Stop)?;
            let id = resolve::user(&store.snapshot(), &user, &db)?;
            store
                .rename_user(id, name.clone())
                .with_context(|| format!("cannot rename the user {user}"))?;
            store.close()?;
            say(format_args!("renamed the user {user} to {name}"));
            Ok(())
        }
        Command::List { db, json } => {
            let store = existing(&db.db, SMALL_CACHE_BYTES, WhileServed::Stop)?;
            let users = store.snapshot().users()?;
            store.close()?;
            print(&users, &json, out)
        }
    }
}

fn print(users: &[User], json: &JsonFlag, out: &mut dyn Write) -> Result<()> {
    if json.json {
        for user in users {
            let line = Line {
                id: user.id.get(),
                name: user.name.as_str(),
                created_at: user.created_at.to_string(),
            };
            writeln!(out, "{}", serde_json::to_string(&line)?)?;
        }
        return Ok(());
    }
    let columns = [
        Column { title: "ID", align: Align::Right, fit: Fit::Whole },
        Column { title: "NAME", align: Align::Left, fit: Fit::Cut },
        Column { title: "CREATED", align: Align::Left, fit: Fit::Drop(1) },
    ];
    let rows: Vec<Vec<String>> = users
        .iter()
        .map(|u| vec![u.id.to_string(), u.name.to_string(), u.created_at.to_string()])
        .collect();
    Ok(TextTable::new(&columns).write(out, &rows)?)
}
