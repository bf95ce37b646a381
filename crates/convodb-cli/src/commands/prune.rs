//! `convodb retain`: conversations that are older than they are kept, deleted.

use std::io::Write;
use std::ops::ControlFlow;

use anyhow::{Context, Result};
use convodb::{ListRequest, Store, Timestamp, UserId};
use serde::Serialize;

use crate::console::{counted, now, say};
use crate::open_store::{LARGE_CACHE_BYTES, WhileServed, existing};
use crate::resolve;
use crate::upkeep::Retain;

const DAY_MILLIS: u64 = 86_400_000;

/// What was deleted, as JSON.
#[derive(Serialize)]
struct Line {
    conversations: u64,
    created_before: String,
}

/// Deletes what is older.
pub(crate) fn run(verb: &Retain, out: &mut dyn Write) -> Result<()> {
    let db = &verb.db.db;
    let served = WhileServed::Command("convodb serve --keep DAYS");
    let store = existing(db, LARGE_CACHE_BYTES, served)?;
    let users = match &verb.user {
        Some(name) => vec![resolve::user(&store.snapshot(), name, db)?],
        None => store.snapshot().users()?.into_iter().map(|user| user.id).collect(),
    };
    let before = oldest_kept(now()?, verb.keep);
    let mut conversations = 0;
    for user in users {
        conversations += delete_before(&store, user, before, || ControlFlow::Continue(()))
            .context("cannot delete conversations; run it again to go on")?;
    }
    store.close()?;
    if verb.json.json {
        let line = Line { conversations, created_before: before.to_rfc3339() };
        writeln!(out, "{}", serde_json::to_string(&line)?)?;
    }
    let what = counted(conversations, "conversation");
    say(format_args!("deleted {what} created before {before} UTC"));
    Ok(())
}

/// When what is kept `days` days must have been created, at `now`.
pub(crate) fn oldest_kept(now: Timestamp, days: u32) -> Timestamp {
    let millis = now.millis().saturating_sub(u64::from(days) * DAY_MILLIS);
    Timestamp::from_millis(millis).unwrap_or(Timestamp::MIN)
}

/// Deletes the user's conversations that were created before an instant, oldest first. `between`
/// may take its time after each write, or break off.
pub(crate) fn delete_before(
    store: &Store,
    user: UserId,
    before: Timestamp,
    mut between: impl FnMut() -> ControlFlow<()>,
) -> convodb::Result<u64> {
    let request = ListRequest { created_to: Some(before), ..ListRequest::default() };
    store.delete_all(user, &request, |_| between())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_back_to_the_instant() {
        let now: Timestamp = "2025-01-25 14:30:00".parse().unwrap();
        assert_eq!(oldest_kept(now, 25).to_string(), "2024-12-31 14:30:00");
        assert_eq!(oldest_kept(now, u32::MAX), Timestamp::MIN);
    }
}
