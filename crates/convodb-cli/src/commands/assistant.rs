//! `convodb assistant`: create, list, rename and delete assistants.

use std::io::Write;

use anyhow::Result;
use clap::Subcommand;
use convodb::{Assistant, AssistantId, AssistantRef, Name};
use serde::Serialize;

use crate::args::{DbFlag, JsonFlag, UserFlag, UserOfDeletionFlag};
use crate::console::{now, say};
use crate::io::text_table::{Align, Column, Fit, TextTable};
use crate::open_store::{SMALL_CACHE_BYTES, WhileServed, existing};
use crate::resolve;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create an assistant and print its id
    Create {
        #[command(flatten)]
        db: DbFlag,
        #[command(flatten)]
        user: UserFlag,
        /// Name of the assistant
        #[arg(value_name = "ASSISTANT")]
        name: Name,
    },
    /// List the user's assistants
    List {
        #[command(flatten)]
        db: DbFlag,
        #[command(flatten)]
        user: UserFlag,
        #[command(flatten)]
        json: JsonFlag,
    },
    /// Rename an assistant; lists show the new name at once
    Rename {
        #[command(flatten)]
        db: DbFlag,
        #[command(flatten)]
        user: UserFlag,
        /// Id or number of the assistant
        #[arg(value_name = "ID")]
        assistant: AssistantRef,
        /// New name
        #[arg(value_name = "NEWNAME")]
        name: Name,
    },
    /// Delete an assistant that has no conversations; its number is never used again
    Delete {
        #[command(flatten)]
        db: DbFlag,
        #[command(flatten)]
        user: UserOfDeletionFlag,
        /// Id or number of the assistant
        #[arg(value_name = "ID")]
        assistant: AssistantRef,
    },
}

/// An assistant as JSON, with the keys of the API.
#[derive(Serialize)]
struct Line<'a> {
    id: u32,
    uuid: String,
    name: &'a str,
}

/// Creates, lists, renames or deletes assistants.
pub(crate) fn run(command: Command, out: &mut dyn Write) -> Result<()> {
    match command {
        Command::Create { db: DbFlag { db }, user, name } => {
            let served = WhileServed::Request("POST /api/user/assistants");
            let store = existing(&db, SMALL_CACHE_BYTES, served)?;
            let user = resolve::user(&store.snapshot(), &user.user, &db)?;
            let id = AssistantId::generate(now()?);
            let created = store.create_assistant(user, id, name)?;
            store.close()?;
            writeln!(out, "{}", created.id)?;
            let Assistant { name, number, .. } = created;
            say(format_args!("created the assistant {name}, number {number}"));
            Ok(())
        }
        Command::List { db: DbFlag { db }, user, json } => {
            let served = WhileServed::Request("GET /api/user/assistants/get");
            let store = existing(&db, SMALL_CACHE_BYTES, served)?;
            let snapshot = store.snapshot();
            let user = resolve::user(&snapshot, &user.user, &db)?;
            let assistants = snapshot.assistants(user, 0, usize::MAX)?;
            store.close()?;
            print(&assistants, &json, out)
        }
        Command::Rename { db: DbFlag { db }, user, assistant, name } => {
            let served = WhileServed::Request("PATCH /api/user/assistants/UUID");
            let store = existing(&db, SMALL_CACHE_BYTES, served)?;
            let snapshot = store.snapshot();
            let user = resolve::user(&snapshot, &user.user, &db)?;
            let id = resolve::assistant(&snapshot, user, assistant)?;
            store.rename_assistant(user, id, name.clone())?;
            store.close()?;
            say(format_args!("renamed the assistant {assistant} to {name}"));
            Ok(())
        }
        Command::Delete { db: DbFlag { db }, user, assistant } => {
            let store = existing(&db, SMALL_CACHE_BYTES, WhileServed::Stop)?;
            let snapshot = store.snapshot();
            let user = resolve::user(&snapshot, &user.user, &db)?;
            let id = resolve::assistant(&snapshot, user, assistant)?;
            store.delete_assistant(user, id)?;
            store.close()?;
            say(format_args!("deleted the assistant {assistant}"));
            Ok(())
        }
    }
}

fn print(assistants: &[Assistant], json: &JsonFlag, out: &mut dyn Write) -> Result<()> {
    if json.json {
        for Assistant { id, number, name } in assistants {
            let line = Line { id: *number, uuid: id.to_string(), name: name.as_str() };
            writeln!(out, "{}", serde_json::to_string(&line)?)?;
        }
        return Ok(());
    }
    let columns = [
        Column { title: "NUMBER", align: Align::Right, fit: Fit::Drop(1) },
        Column { title: "ID", align: Align::Left, fit: Fit::Whole },
        Column { title: "NAME", align: Align::Left, fit: Fit::Cut },
    ];
    let rows: Vec<Vec<String>> = assistants
        .iter()
        .map(|a| vec![a.number.to_string(), a.id.to_string(), a.name.to_string()])
        .collect();
    Ok(TextTable::new(&columns).write(out, &rows)?)
}
