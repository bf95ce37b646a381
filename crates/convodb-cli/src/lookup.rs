//! Who is meant: users by name, assistants by id or number, with errors that say how to go on.

use std::path::Path;

use anyhow::{Result, anyhow};
use convodb::{AssistantId, Name, Snapshot, UserId};

use crate::args::AssistantKey;
use crate::console::quoted;

/// The user of this name in the store at `path`.
pub(crate) fn user(snapshot: &Snapshot, name: &Name, path: &Path) -> Result<UserId> {
    snapshot.user_by_name(name)?.ok_or_else(|| {
        let (db, word) = (quoted(path.display()), quoted(name));
        let path = path.display();
        anyhow!(
            "there is no user {name} in {path}; `convodb user create --db {db} {word}` creates it"
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
        anyhow!(
            "the user has no assistant {key}; `convodb assistant list`, with the same --db and \
             --user, shows those there are"
        )
    })
}
