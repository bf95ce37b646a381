//! `convodb user create`, `convodb user list`.

use std::io::Write;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::args::{Db, User};
use crate::console::{now, quoted, say};
use crate::io::text_table::{Column, Fit, Sheet, Side};
use crate::open_store::{SMALL_CACHE_BYTES, WhileServed, existing, existing_or_new};

/// A user as JSON.
#[derive(Serialize)]
struct Line<'a> {
    id: u32,
    name: &'a str,
    created_at: String,
}

/// Creates a user, or lists all.
pub(crate) fn run(verb: User, out: &mut dyn Write) -> Result<()> {
    match verb {
        User::Create { db: Db { db }, name } => {
            let store = existing_or_new(&db, SMALL_CACHE_BYTES, WhileServed::Stop)?;
            let user = store
                .create_user(name.clone(), now()?)
                .with_context(|| format!("cannot create the user {name}"))?;
            store.close()?;
            writeln!(out, "{}", user.id)?;
            let (db, word) = (quoted(db.display()), quoted(&name));
            say(format_args!(
                "created the user {name}; `convodb token create --db {db} --user {word}` lets it in"
            ));
            Ok(())
        }
        User::List { db, json } => {
            let store = existing(&db.db, SMALL_CACHE_BYTES, WhileServed::Stop)?;
            let users = store.snapshot().users()?;
            store.close()?;
            if json.json {
                for user in &users {
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
                Column { title: "ID", side: Side::Right, fit: Fit::Whole },
                Column { title: "NAME", side: Side::Left, fit: Fit::Cut },
                Column { title: "CREATED", side: Side::Left, fit: Fit::Drop(1) },
            ];
            let rows: Vec<Vec<String>> = users
                .iter()
                .map(|u| vec![u.id.to_string(), u.name.to_string(), u.created_at.to_string()])
                .collect();
            Ok(Sheet::new(&columns).write(out, &rows)?)
        }
    }
}
