//! All kinds of writes to a small, damaged store, one after the other.
//!
//! Each may fail, but none may panic or end the writer thread.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use convodb::{
    BulkOptions, Channel, Conversation, ConversationId, Error, Message, Result, Role, Store,
    StoreState, Timestamp, UserId, compact,
};
use convodb_testkit::generators::assistants;
use uuid::Uuid;

use crate::store_dump::Known;

/// The total time to wait for a store that reopens its files after faults.
const REOPEN_TIMEOUT: Duration = Duration::from_secs(1);

/// Writes, backs up, closes and compacts. Returns the number of failed operations.
///
/// # Errors
/// The writer thread ended.
pub(super) fn run_all(
    path: &Path,
    open: impl Fn(&Path) -> Result<Store>,
    known: &Known,
) -> Result<usize> {
    let Ok(store) = open(path) else { return Ok(1) };
    let (mut failed, mut waited) = (0, Duration::ZERO);
    let mut record = |done: Result<()>| {
        failed += usize::from(done.is_err());
        let began = Instant::now();
        while store.state() == StoreState::Reopening && waited + began.elapsed() < REOPEN_TIMEOUT {
            thread::sleep(Duration::from_millis(1));
        }
        waited += began.elapsed();
        match store.state() {
            StoreState::Closed => Err(Error::Closed),
            _ => Ok(()),
        }
    };
    let users: Vec<UserId> = known.users.iter().map(|user| UserId::new(*user)).collect();
    let ids: Vec<ConversationId> = known.ids.iter().filter_map(|id| id.parse().ok()).collect();
    for (number, user) in (1_u128..).zip(&users) {
        record(insert(&store, *user, number))?;
        record(load(&store, *user, number))?;
    }
    for id in &ids {
        for user in &users {
            // The other users do not have it: the lookup fails.
            record(append(&store, *user, *id))?;
        }
    }
    for id in ids.iter().step_by(2) {
        record(users.iter().try_for_each(|user| match store.delete(*user, *id) {
            Err(Error::ConversationNotFound) => Ok(()),
            done => done,
        }))?;
    }
    record(store.rotate_cursor_key())?;
    record(store.snapshot().backup(path.with_extension("backup")).map(drop))?;
    let closed = store.close();
    let compacted = compact(path);
    failed += usize::from(closed.is_err()) + usize::from(compacted.is_err());
    // A backup that cannot be removed does no harm.
    let _ = fs::remove_file(path.with_extension("backup"));
    Ok(failed)
}

fn row(number: u128) -> Result<Conversation> {
    let at = Timestamp::from_millis(1_737_900_000_000)?;
    let assistant = assistants()[0];
    let id = ConversationId::new(Uuid::from_u128(0xF0 << 64 | number));
    Ok(Conversation::new(id, assistant, Channel::Widget, at))
}

fn insert(store: &Store, user: UserId, number: u128) -> Result<()> {
    store.insert(user, row(number)?, Vec::new()).map(drop)
}

fn load(store: &Store, user: UserId, number: u128) -> Result<()> {
    let mut load = store.bulk_load(BulkOptions::default());
    load.push(user, &row(1_000 + number)?, &[])?;
    load.finish().map(drop)
}

fn append(store: &Store, user: UserId, id: ConversationId) -> Result<()> {
    let message = Message::new(Role::User, "after".to_owned(), Timestamp::MIN)?;
    match store.append_message(user, id, message) {
        Ok(_) | Err(Error::ConversationNotFound) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_writes_to_an_undamaged_store_succeed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let store = Store::open(&path).unwrap();
        let mut known = Known::default();
        for name in ["one", "two"] {
            let user = store.create_user(name, Timestamp::MIN).unwrap().id;
            let assistant = assistants()[0];
            store.create_assistant(user, assistant, "Bot").unwrap();
            known.users.push(user.get());
            let row = row(50 + u128::from(user.get())).unwrap();
            known.ids.push(row.id.to_string());
            store.insert(user, row, Vec::new()).unwrap();
        }
        store.close().unwrap();
        let failed = run_all(&path, |path| Store::open(path), &known).unwrap();
        assert_eq!(failed, 0);
        let store = Store::open(&path).unwrap();
        let rows = |user: &u32| {
            store.snapshot().conversations(UserId::new(*user), &Default::default()).count()
        };
        // Each user has one row of its own, one inserted and one loaded; one row was deleted.
        assert_eq!(known.users.iter().map(rows).sum::<usize>(), 2 + 4 - 1);
    }
}
