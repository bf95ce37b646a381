//! Format upgrade under failures: power cuts, I/O faults and lost syncs during open.
//!
//! The golden stores of earlier formats, with their WALs, are opened by this version; the seed
//! selects one of them. Whatever part of the new format was written before the failure, the next open
//! finds a store with unchanged contents.
//!
//! The expected contents come from an undisturbed open, whose rows are compared with the list that
//! the old version wrote. A test of the command compares every byte of that list.

use std::path::Path;
use std::sync::LazyLock;

use convodb::vfs::Vfs;
use convodb::{
    ChangeKind, ChangesSince, Conversation, CostSum, Day, Durability, Error, Filter, IndexFamilies,
    ListRequest, Message, PageSize, PreviewRef, Role, Scopes, Snapshot, Stats, StatsRequest, Store,
    StoreOptions, Timestamp, UserId, Volume,
};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::Counts;
use crate::golden::{CURSOR_AT, Golden, USER};
use crate::simulation::checker::CheckError;
use crate::simulation::disk::SimulatedDisk;
use crate::simulation::fault::{InjectedFault, Schedule};
use crate::simulation::runner::{PATH, await_open, open, random_options};

/// The contents of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Contents {
    user: UserId,
    rows: Vec<Conversation>,
    messages: Vec<Vec<Message>>,
    stats: Stats,
}

/// The expected contents, and the number of changes that an undisturbed upgrade makes.
struct Expected {
    golden: Golden,
    database: Vec<u8>,
    wal: Vec<u8>,
    contents: Contents,
    /// The contents before each of the writes that are only in the WAL.
    earlier: Vec<Contents>,
    /// The contents after one more write.
    after: Contents,
    /// The number of changes of the disk during open.
    changes: u64,
    /// The number of changes during open, one more write and close.
    changes_closed: u64,
}

static EXPECTED: LazyLock<Result<Vec<Expected>, String>> = LazyLock::new(|| {
    let all = Golden::ALL.iter().map(|golden| {
        let failed = |error| format!("undisturbed upgrade of format {}: {error}", golden.format);
        expected(*golden).map_err(failed)
    });
    all.collect()
});

/// The golden store that a seed selects, and a seed for the rest of the trial.
fn selected(seed: u64) -> Result<(&'static Expected, u64), String> {
    let all = EXPECTED.as_ref().map_err(Clone::clone)?;
    let count = all.len() as u64;
    let number = usize::try_from(seed % count).unwrap_or_default();
    Ok((&all[number], seed / count))
}

/// Cuts the power one to three times while a store of an earlier format is opened. Afterwards it has the
/// current format, with unchanged rows, messages, statistics, cursors and tokens, and accepts
/// writes.
///
/// # Errors
/// A violation.
pub fn upgrade_power_cut(seed: u64) -> Result<Counts, String> {
    let (expected, _) = selected(seed)?;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let options = random_options(&mut random, Durability::Immediate);
    let mut disk = disk(expected, &expected.wal, random.random()).map_err(text)?;
    let mut counts = Counts::new();
    for _ in 0..random.random_range(1..=3) {
        disk.power_off_at(random.random_range(0..expected.changes));
        let opened = open(&disk, &options);
        if let (Err(error), false) = (&opened, disk.is_off()) {
            let why = format!("open failed on a working disk: {error}");
            return Err(violation(seed, &options, &disk, &why));
        }
        let when =
            if disk.is_off() { "power cuts during upgrade" } else { "power cuts after upgrade" };
        *counts.entry(when).or_default() += 1;
        let next = disk.power_cut();
        drop(opened);
        disk = next;
    }
    let checked = check(&disk, &options, expected);
    checked.map_err(|error| violation(seed, &options, &disk, &error))?;
    *counts.entry("rows").or_default() += expected.contents.rows.len() as u64;
    Ok(counts)
}

/// From some change on, while a store of an earlier format is opened, the disk drops syncs; then the power
/// is cut, at the latest after one more write and close. A store with `check_on_open` has one of
/// its earlier states, or reports the damage.
///
/// # Errors
/// A violation.
pub fn upgrade_lost_sync(seed: u64) -> Result<Counts, String> {
    let (expected, _) = selected(seed)?;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let options = random_options(&mut random, Durability::Immediate).check_on_open(true);
    let disk = disk(expected, &expected.wal, random.random()).map_err(text)?;
    let dropped_from = random.random_range(0..expected.changes);
    disk.drop_syncs_from(dropped_from);
    disk.power_off_at(random.random_range(dropped_from..=expected.changes_closed));
    let used = open(&disk, &options).map_err(text).and_then(|store| {
        check_new_features(&store, expected.golden, &expected.contents)?;
        store.close().map_err(text)
    });
    if let (Err(why), false) = (used, disk.is_off()) {
        return Err(violation(seed, &options, &disk, &why));
    }
    let next = disk.power_cut();
    let seen = match open(&next, &options).map(|store| contents(&store.snapshot(), expected.golden))
    {
        Err(_) => "damage reported by open",
        Ok(Err(CheckError::Reported(_) | CheckError::SnapshotInvalidated)) => {
            "damage reported by verify"
        }
        Ok(Ok(found)) if found == expected.contents => "unchanged",
        Ok(Ok(found)) if found == expected.after => "after one more write",
        Ok(Ok(found)) if expected.earlier.contains(&found) => "earlier state",
        Ok(Ok(found)) => {
            let why = format!("found {found:#?}\nexpected {:#?}", expected.contents);
            return Err(violation(seed, &options, &disk, &why));
        }
        Ok(Err(CheckError::Mismatch(why))) => return Err(violation(seed, &options, &disk, &why)),
    };
    Ok(Counts::from([(seen, 1)]))
}

/// Opens a store of an earlier format again and again, with one fault at the n-th call for every n, until
/// the open ends before the fault occurs. The seed selects the kind of fault, and whether it lasts
/// until the open returns. The open succeeds or fails; then the store is unchanged and accepts
/// writes.
///
/// # Errors
/// A violation.
pub fn upgrade_io_faults(seed: u64) -> Result<Counts, String> {
    let (expected, number) = selected(seed)?;
    let number = usize::try_from(number).unwrap_or(0);
    let fault = InjectedFault::ALL[number % InjectedFault::ALL.len()];
    let lasts = (number / InjectedFault::ALL.len()) % 2 == 1;
    let mut counts = Counts::new();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let options = random_options(&mut random, Durability::Immediate);
    let disk_seed = random.random();
    for skipped_calls in 0.. {
        let schedule = match lasts {
            true => Schedule::lasting(fault, skipped_calls),
            false => Schedule::once(fault, skipped_calls),
        };
        let disk = disk(expected, &expected.wal, disk_seed).map_err(text)?;
        disk.inject(schedule.clone());
        let opened = open(&disk, &options);
        let occurred = disk.clear_faults();
        let checked = match opened {
            Err(error) if !occurred => Err(format!("open failed on a working disk: {error}")),
            Err(_) => Ok("failed opens"),
            Ok(store) => await_open(&store)
                .and_then(|()| {
                    check_contents(&store.snapshot(), expected.golden, &expected.contents)
                })
                .map(|()| "successful opens"),
        };
        let checked = checked.and_then(|seen| {
            *counts.entry(seen).or_default() += 1;
            check(&disk, &options, expected)
        });
        checked
            .map_err(|error| violation(seed, &options, &disk, &format!("{schedule:?}: {error}")))?;
        if !occurred {
            break;
        }
    }
    Ok(counts)
}

fn violation(seed: u64, options: &StoreOptions, disk: &SimulatedDisk, why: &str) -> String {
    format!("seed {seed}: {why}\n{options:?}\nlast disk:\n{}", disk.trace())
}

/// Checks that the store of a disk opens, is unchanged and accepts writes, and that the upgrade and
/// the write are durable.
fn check(disk: &SimulatedDisk, options: &StoreOptions, expected: &Expected) -> Result<(), String> {
    let Expected { golden, contents, .. } = expected;
    let store = open(disk, options).map_err(|error| format!("open failed: {error}"))?;
    check_contents(&store.snapshot(), *golden, contents)?;
    let after = check_new_features(&store, *golden, contents)?;
    let last = disk.worst_power_cut();
    drop(store);
    let store =
        open(&last, options).map_err(|error| format!("open failed after a power cut: {error}"))?;
    check_contents(&store.snapshot(), *golden, &after)
}

fn check_contents(snapshot: &Snapshot, golden: Golden, expected: &Contents) -> Result<(), String> {
    let found = contents(snapshot, golden)?;
    match found == *expected {
        true => Ok(()),
        false => Err(format!("found {found:#?}\nexpected {expected:#?}")),
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Creates a disk with a golden store and this WAL.
fn disk(expected: &Expected, wal: &[u8], seed: u64) -> std::io::Result<SimulatedDisk> {
    files(&expected.database, expected.golden.wal_suffix, wal, seed)
}

fn files(
    database: &[u8],
    wal_suffix: &str,
    wal: &[u8],
    seed: u64,
) -> std::io::Result<SimulatedDisk> {
    let disk = SimulatedDisk::new(seed);
    for (suffix, bytes) in [("", database), (wal_suffix, wal)] {
        let file = disk.create(Path::new(&format!("{PATH}{suffix}")))?;
        file.write_at(0, bytes)?;
        file.sync()?;
    }
    disk.sync_directory(Path::new("/"))?;
    Ok(disk)
}

fn expected(golden: Golden) -> Result<Expected, String> {
    let database = golden.database().map_err(text)?;
    let wal = golden.wal().map_err(text)?;
    let new_disk = |wal: &[u8]| files(&database, golden.wal_suffix, wal, 0).map_err(text);
    let earlier = wal_prefixes(golden.format, &wal).map(|wal| {
        let store = open(&new_disk(&wal)?, &default_options()).map_err(text)?;
        Ok(contents(&store.snapshot(), golden)?)
    });
    let earlier = earlier.collect::<Result<_, String>>()?;
    let disk = new_disk(&wal)?;
    let before = disk.changes();
    let store = open(&disk, &default_options()).map_err(text)?;
    let changes = disk.changes() - before;
    let contents = contents(&store.snapshot(), golden)?;
    let after = check_new_features(&store, golden, &contents)?;
    store.close().map_err(text)?;
    let changes_closed = disk.changes() - before;
    check_list(golden, &contents)?;
    Ok(Expected { golden, database, wal, contents, earlier, after, changes, changes_closed })
}

/// The rows are those that the version that wrote the store listed.
fn check_list(golden: Golden, contents: &Contents) -> Result<(), String> {
    let listed = listed(golden)?;
    let rows = contents.rows.iter();
    let found: Vec<(String, u64)> =
        rows.map(|row| (row.id.to_string(), u64::from(row.message_count))).collect();
    match listed.is_empty() || found != listed {
        true => Err(format!("found {found:?}, expected {listed:?}")),
        false => Ok(()),
    }
}

/// The ids and numbers of messages that the version that wrote the store listed.
fn listed(golden: Golden) -> Result<Vec<(String, u64)>, String> {
    let lines = golden.list.lines().map(|line| {
        let row: serde_json::Value = serde_json::from_str(line).map_err(text)?;
        let id = row["id"].as_str().unwrap_or_default().to_owned();
        Ok((id, row["message_count"].as_u64().unwrap_or_default()))
    });
    lines.collect()
}

fn default_options() -> StoreOptions {
    random_options(&mut ChaCha8Rng::seed_from_u64(0), Durability::Immediate)
}

/// The WAL without each of its records and those after it. The layout is in `docs/file-format.md`.
fn wal_prefixes(format: u32, wal: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let (segment_header, record_header) = if format < 3 { (28, 20) } else { (44, 28) };
    let mut at = segment_header;
    std::iter::from_fn(move || {
        let length = wal.get(at..)?.first_chunk().map(|length| u32::from_le_bytes(*length));
        // Unused space of a segment is zeros.
        let length = length.filter(|length| *length > 0)?;
        let mut prefix = wal[..at].to_vec();
        prefix.resize(wal.len(), 0);
        at += record_header + usize::try_from(length).unwrap_or(usize::MAX / 2);
        Some(prefix)
    })
}

/// Reads the contents of the store, and checks that the tokens of its clients still work.
///
/// # Errors
/// `verify` or a read fails, or a token, a cursor or the statistics are wrong.
fn contents(snapshot: &Snapshot, golden: Golden) -> Result<Contents, CheckError> {
    let verified = snapshot.verify()?;
    if !verified.is_clean() {
        return Err(CheckError::Reported(format!("verify found {:?}", verified.findings)));
    }
    let access = snapshot.authenticate(golden.token, Timestamp::MIN)?;
    let access = access.ok_or_else(|| mismatch("the access token is unknown"))?;
    if access.scopes != Scopes::DATA || access.assistant.is_some() {
        return Err(mismatch("the access token does not allow everything"));
    }
    let user = access.user;
    let name = USER.parse()?;
    if snapshot.user_by_name(&name)? != Some(user) {
        return Err(mismatch("the access token belongs to another user"));
    }
    let rows = snapshot.conversations(user, &ListRequest::default());
    let rows: Vec<Conversation> = rows.collect::<Result<_, _>>()?;
    let messages = rows.iter().map(|row| {
        let messages = snapshot.messages(user, row.id)?;
        messages.ok_or_else(|| mismatch("a conversation has no messages"))
    });
    let messages: Vec<Vec<Message>> = messages.collect::<Result<_, CheckError>>()?;
    let mut messages_of_rows = messages.iter();
    for page in snapshot.pages(user, ListRequest::new().previews()) {
        for preview in page?.previews() {
            if preview != messages_of_rows.next().and_then(|messages| PreviewRef::of(messages)) {
                return Err(mismatch("a preview is not that of the messages"));
            }
        }
    }
    let cursor = snapshot.open_cursor(user, golden.cursor)?;
    let page = snapshot.list(user, &ListRequest::at(cursor))?;
    let next =
        listed(golden).map_err(CheckError::Mismatch)?.into_iter().nth(CURSOR_AT).map(|(id, _)| id);
    let after_cursor = rows.iter().skip_while(|row| Some(row.id.to_string()) != next);
    if page.is_empty()
        || !page.conversations().map(|row| row.owned()).eq(after_cursor.take(page.len()).cloned())
    {
        return Err(mismatch("the cursor continues at another row"));
    }
    let request = StatsRequest::new(Day::new(0), Day::new(u32::MAX));
    let stats = snapshot.stats(user, &request)?;
    let counted = Volume {
        conversations: rows.len() as u64,
        messages: rows.iter().map(|row| u64::from(row.message_count)).sum(),
        cost: rows.iter().map(|row| row.total_cost).sum::<CostSum>(),
    };
    if stats.total != counted {
        return Err(CheckError::Mismatch(format!(
            "statistics are {:?}, expected {counted:?}",
            stats.total
        )));
    }
    Ok(Contents { user, rows, messages, stats })
}

fn mismatch(why: &str) -> CheckError {
    CheckError::Mismatch(why.to_owned())
}

/// Checks the change feed, which format 1 does not have: changes before its upgrade are unknown; and
/// a new message is one change. Adds all optional indexes, which formats from 4 on have. Returns the
/// contents afterwards.
fn check_new_features(
    store: &Store,
    golden: Golden,
    before: &Contents,
) -> Result<Contents, String> {
    let (user, size) = (before.user, PageSize::default());
    let first = store.snapshot().changes_since(user, ChangesSince::Beginning, size);
    if golden.format == 1 && !matches!(first, Err(Error::ChangesExpired)) {
        return Err(format!("change feed begins with {first:?}"));
    }
    let now =
        store.snapshot().changes_since(user, ChangesSince::Now, size).map_err(text)?.next_cursor;
    let id = before.rows.last().ok_or("store is empty")?.id;
    let message = Message::new(Role::User, "after".to_owned(), Timestamp::MIN).map_err(text)?;
    store.append_message(user, id, message).map_err(text)?;
    let snapshot = store.snapshot();
    let changes = snapshot.changes_since(user, ChangesSince::Cursor(now), size).map_err(text)?;
    let changes: Vec<_> = changes.changes.iter().map(|one| (one.kind, one.id)).collect();
    if changes != [(ChangeKind::Updated, id)] {
        return Err(format!("change feed has {changes:?}"));
    }
    store.add_indexes(IndexFamilies::ALL).map_err(text)?;
    let waiting = ListRequest::new().filter(Filter::new().ai_off());
    let snapshot = store.snapshot();
    let listed = snapshot.conversations(user, &waiting);
    let listed: Vec<Conversation> = listed.collect::<Result<_, _>>().map_err(text)?;
    let after = contents(&snapshot, golden)?;
    let off: Vec<Conversation> = after.rows.iter().filter(|row| !row.ai_enabled).cloned().collect();
    match !listed.is_empty() && listed == off {
        true => Ok(after),
        false => Err(format!("the new index lists {listed:?}, expected {off:?}")),
    }
}
