//! Account operations: run on the file of a store, or sent to the server that has it open.
//!
//! Both run the same code, which is part of the admin API.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use convodb::{Error, Store};
use convodb_http::accounts::AccountOperation;

use crate::admin_client;
use crate::args::{StoreOrServer, Target};
use crate::console::{now, quoted};
use crate::open_store::{SMALL_CACHE_BYTES, WhileServed, existing, existing_or_new};

/// Whether an operation may create the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MissingStore {
    Fails,
    IsCreated,
}

/// Runs an operation where `target` says. `served` is the command that does the same while a server
/// has the store open.
pub(crate) fn run<O: AccountOperation>(
    target: &StoreOrServer,
    missing: MissingStore,
    served: &'static str,
    operation: O,
) -> Result<O::Response> {
    match target.target()? {
        Target::Server(socket) => in_server(socket, &operation),
        Target::File(db) => {
            let served = WhileServed::Command(served);
            let store = match missing {
                MissingStore::Fails => existing(db, SMALL_CACHE_BYTES, served)?,
                MissingStore::IsCreated => existing_or_new(db, SMALL_CACHE_BYTES, served)?,
            };
            let done = in_process(&store, operation);
            store.close()?;
            done.map_err(|error| explain(error, db))
        }
    }
}

/// The flag that names the same place in another command.
pub(crate) fn flag_of(target: &StoreOrServer) -> Result<String> {
    Ok(match target.target()? {
        Target::Server(socket) => format!("--admin-socket {}", quoted(socket.display())),
        Target::File(db) => format!("--db {}", quoted(db.display())),
    })
}

fn in_server<O: AccountOperation>(socket: &Path, operation: &O) -> Result<O::Response> {
    let body = serde_json::to_string(operation)?;
    let response = admin_client::request(socket, "POST", O::PATH, &body)?;
    serde_json::from_str(&response).context("cannot parse the server's response")
}

fn in_process<O: AccountOperation>(store: &Store, operation: O) -> convodb::Result<O::Response> {
    operation.run(store, now()?)
}

/// Adds the command that lists what there is instead.
fn explain(error: Error, db: &Path) -> anyhow::Error {
    let db = quoted(db.display());
    match error {
        Error::UserNotFound => anyhow!(
            "user not found in {db}; `convodb user list --db {db}` lists users, `convodb user \
             create --db {db} NAME` creates one"
        ),
        Error::AssistantNotFound => anyhow!(
            "assistant not found; `convodb assistant list`, with the same --db and --user, lists \
             the user's assistants"
        ),
        Error::TokenNotFound => {
            anyhow!("token not found; `convodb token list --db {db}` lists tokens")
        }
        error => anyhow!(error),
    }
}
