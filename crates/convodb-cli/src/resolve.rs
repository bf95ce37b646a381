//! Resolver: finds the user, the assistant and the filter that flags name.
//!
//! Its errors say which command lists or creates what is missing.

use std::path::Path;

use anyhow::{Result, anyhow};
use convodb::{
    AssistantId, AssistantIds, AssistantRef, ChannelKinds, Error, Filter, Name, Phone, Snapshot,
    UserId,
};

use crate::args::{FilterFlags, GroupFilterFlags, UsageError};
use crate::console::quoted;

/// The user with this name, or else with this number, in the store at `path`.
pub(crate) fn user(snapshot: &Snapshot, name: &Name, path: &Path) -> Result<UserId> {
    if let Some(user) = snapshot.user_by_name(name)? {
        return Ok(user);
    }
    if let Ok(number) = name.as_str().parse()
        && let Some(user) = snapshot.user(UserId::new(number))?
    {
        return Ok(user.id);
    }
    let (db, word, path) = (quoted(path.display()), quoted(name), path.display());
    Err(anyhow!(
        "user {name} not found in {path}; `convodb user list --db {db}` lists users, \
         `convodb user create --db {db} {word}` creates this one"
    ))
}

/// The user's assistant with this id or number.
pub(crate) fn assistant(
    snapshot: &Snapshot,
    user: UserId,
    assistant: AssistantRef,
) -> Result<AssistantId> {
    let found = snapshot.resolve_assistant(user, assistant)?.map(|found| found.id);
    found.ok_or_else(|| {
        anyhow!(
            "assistant {assistant} not found; `convodb assistant list`, with the same --db and \
             --user, lists the user's assistants"
        )
    })
}

/// The types and the assistants that flags name; `None` without a flag.
pub(crate) fn groups(
    snapshot: &Snapshot,
    user: UserId,
    flags: &GroupFilterFlags,
) -> Result<(Option<ChannelKinds>, Option<AssistantIds>)> {
    if flags.assistants.len() > AssistantIds::MAX {
        let usage = format!("--assistant: must not have more than {} values", AssistantIds::MAX);
        return Err(anyhow!(UsageError(usage)));
    }
    let find = |named: &AssistantRef| assistant(snapshot, user, *named);
    let ids = flags.assistants.iter().map(find).collect::<Result<Vec<_>>>()?;
    let kinds = ChannelKinds::new(flags.kinds.iter().copied()).ok();
    Ok((kinds, AssistantIds::new(ids).ok()))
}

/// The filter that flags describe. The bounds on time are not part of it.
pub(crate) fn filter(snapshot: &Snapshot, user: UserId, flags: &FilterFlags) -> Result<Filter> {
    let (kinds, assistants) = groups(snapshot, user, &flags.group)?;
    Ok(Filter {
        kinds,
        assistants,
        sender_phone: phone("--sender-phone", flags.sender_phone.as_deref())?,
        customer_phone: phone("--customer-phone", flags.customer_phone.as_deref())?,
        external_identifier: flags.external_identifier.clone(),
        ai_off: flags.ai_off,
        ..Filter::default()
    })
}

/// The phone number of a flag. The error does not repeat it.
pub(crate) fn phone(flag: &str, text: Option<&str>) -> Result<Option<Phone>> {
    let parsed = text.map(str::parse).transpose();
    parsed.map_err(|error: Error| anyhow!(UsageError(format!("{flag}: {error}"))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use convodb::{Store, Timestamp};

    #[test]
    fn an_invalid_phone_is_not_repeated() {
        let error = phone("--customer-phone", Some(&"4915".repeat(20))).unwrap_err();
        assert_eq!(error.to_string(), "--customer-phone: phone must have 1 to 64 bytes");
        assert!(error.is::<UsageError>());
        assert_eq!(phone("--customer-phone", None).unwrap(), None);
    }

    #[test]
    fn a_user_is_found_by_name_before_number() {
        let store = Store::in_memory().unwrap();
        let create = |name: &str| store.create_user(name, Timestamp::MIN).unwrap().id;
        let (acme, two, bob) = (create("acme"), create("3"), create("bob"));
        let find = |name: &str| user(&store.snapshot(), &name.parse().unwrap(), Path::new("s"));
        assert_eq!((acme.get(), two.get(), bob.get()), (1, 2, 3));
        assert_eq!(find("acme").unwrap(), acme);
        assert_eq!(find("1").unwrap(), acme);
        assert_eq!(find("3").unwrap(), two, "a name wins");
        let error = find("7").unwrap_err().to_string();
        assert!(error.contains("user 7 not found in s"), "{error}");
    }
}
