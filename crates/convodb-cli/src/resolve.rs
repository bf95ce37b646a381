//! Who and what is meant: users by name, assistants by id or number, conversations by filters, with
//! errors that say how to go on.

use std::path::Path;

use anyhow::{Result, anyhow};
use convodb::{AssistantId, Error, Filter, Name, Phone, Snapshot, UserId};

use crate::args::{AssistantKey, Filters, Usage};
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

/// The filter that flags ask for. Their bounds on time are beside it.
pub(crate) fn filter(snapshot: &Snapshot, user: UserId, flags: &Filters) -> Result<Filter> {
    Ok(Filter {
        kind: flags.kind,
        assistant: flags.assistant.map(|key| assistant(snapshot, user, key)).transpose()?,
        sender_phone: phone("--sender-phone", flags.sender_phone.as_deref())?,
        customer_phone: phone("--customer-phone", flags.customer_phone.as_deref())?,
        external_identifier: flags.external_identifier.clone(),
    })
}

/// The phone of a flag. What was given is not repeated.
pub(crate) fn phone(flag: &str, text: Option<&str>) -> Result<Option<Phone>> {
    let parsed = text.map(str::parse).transpose();
    parsed.map_err(|error: Error| anyhow!(Usage(format!("{flag}: {error}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_phone_is_not_repeated() {
        let error = phone("--customer-phone", Some(&"4915".repeat(20))).unwrap_err();
        assert_eq!(error.to_string(), "--customer-phone: phone must have 1 to 64 bytes");
        assert!(error.is::<Usage>());
        assert_eq!(phone("--customer-phone", None).unwrap(), None);
    }
}
