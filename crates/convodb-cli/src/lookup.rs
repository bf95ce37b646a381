//! Who is meant: users by name, assistants by id or number, with errors that say how to go on.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;

use anyhow::{Result, anyhow};
use convodb::{AssistantId, Name, Snapshot, UserId};

use crate::args::AssistantKey;

/// The user of this name in the store at `path`.
pub(crate) fn user(snapshot: &Snapshot, name: &Name, path: &Path) -> Result<UserId> {
    snapshot.user_by_name(name)?.ok_or_else(|| {
        let path = path.display();
        anyhow!(
            "there is no user {name} in {path}; `convodb user create --db {path} {name}` creates it"
        )
    })
}

/// The user's assistant of this id or number.
pub(crate) fn assistant(
    snapshot: &Snapshot,
    user: UserId,
    key: AssistantKey,
) -> Result<AssistantId> {
    let found = match key {
        AssistantKey::Id(id) => snapshot.assistant(user, id)?.map(|assistant| assistant.id),
        AssistantKey::Number(number) => snapshot.assistant_by_number(user, number)?,
    };
    found.ok_or_else(|| {
        anyhow!("the user has no assistant {key}; `convodb assistant list` shows those there are")
    })
}

/// The names of assistants, each read once.
#[derive(Default)]
pub(crate) struct AssistantNames {
    known: HashMap<AssistantId, String>,
}

impl AssistantNames {
    /// The name of one of the user's assistants; empty where a damaged store has lost it.
    pub(crate) fn name(
        &mut self,
        snapshot: &Snapshot,
        user: UserId,
        id: AssistantId,
    ) -> Result<&str> {
        match self.known.entry(id) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(unknown) => {
                let found = snapshot.assistant(user, id)?;
                let name = found.map_or_else(String::new, |assistant| assistant.name.to_string());
                Ok(unknown.insert(name))
            }
        }
    }
}
