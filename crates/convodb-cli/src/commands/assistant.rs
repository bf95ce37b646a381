//! `convodb assistant create`, `list` and `rename`.

use std::io::Write;

use anyhow::Result;
use convodb::{Assistant as StoredAssistant, AssistantId};
use serde::Serialize;

use crate::args::{Assistant, Db, Json, Owner};
use crate::console::{now, say};
use crate::io::text_table::{Column, Fit, Sheet, Side};
use crate::open_store::{SMALL_CACHE_BYTES, WhileServed, existing};
use crate::resolve;

/// An assistant as JSON, with the keys of the API.
#[derive(Serialize)]
struct Line<'a> {
    id: u32,
    uuid: String,
    name: &'a str,
}

/// Creates, lists or renames assistants.
pub(crate) fn run(verb: Assistant, out: &mut dyn Write) -> Result<()> {
    match verb {
        Assistant::Create { db: Db { db }, owner: Owner { user }, name } => {
            let served = WhileServed::Ask("POST /api/user/assistants");
            let store = existing(&db, SMALL_CACHE_BYTES, served)?;
            let owner = resolve::user(&store.snapshot(), &user, &db)?;
            let id = AssistantId::generate(now()?);
            let made = store.create_assistant(owner, id, name)?;
            store.close()?;
            writeln!(out, "{}", made.id)?;
            say(format_args!("created the assistant {}, number {}", made.name, made.number));
            Ok(())
        }
        Assistant::List { db: Db { db }, owner: Owner { user }, json } => {
            let served = WhileServed::Ask("GET /api/user/assistants/get");
            let store = existing(&db, SMALL_CACHE_BYTES, served)?;
            let snapshot = store.snapshot();
            let owner = resolve::user(&snapshot, &user, &db)?;
            let assistants = snapshot.assistants(owner, 0, usize::MAX)?;
            store.close()?;
            print(&assistants, &json, out)
        }
        Assistant::Rename { db: Db { db }, owner: Owner { user }, key, name } => {
            let served = WhileServed::Ask("PATCH /api/user/assistants/UUID");
            let store = existing(&db, SMALL_CACHE_BYTES, served)?;
            let snapshot = store.snapshot();
            let owner = resolve::user(&snapshot, &user, &db)?;
            let id = resolve::assistant(&snapshot, owner, key)?;
            store.rename_assistant(owner, id, name.clone())?;
            store.close()?;
            say(format_args!("renamed the assistant {key} to {name}"));
            Ok(())
        }
    }
}

fn print(assistants: &[StoredAssistant], json: &Json, out: &mut dyn Write) -> Result<()> {
    if json.json {
        for StoredAssistant { id, number, name } in assistants {
            let line = Line { id: *number, uuid: id.to_string(), name: name.as_str() };
            writeln!(out, "{}", serde_json::to_string(&line)?)?;
        }
        return Ok(());
    }
    let columns = [
        Column { title: "NUMBER", side: Side::Right, fit: Fit::Drop(1) },
        Column { title: "ID", side: Side::Left, fit: Fit::Whole },
        Column { title: "NAME", side: Side::Left, fit: Fit::Cut },
    ];
    let rows: Vec<Vec<String>> = assistants
        .iter()
        .map(|a| vec![a.number.to_string(), a.id.to_string(), a.name.to_string()])
        .collect();
    Ok(Sheet::new(&columns).write(out, &rows)?)
}
