//! A store that an older version left, with its log, opened by this version on a disk whose power
//! goes meanwhile, up to three times, or that fails, or lies: whatever was written of the newer format
//! by then, the next opening finds a store, and what it holds is what it was.
//!
//! What it was is told by an opening that nothing disturbs, whose rows are held against the list
//! that the older version wrote. Every byte of that list is compared by a test of the command.

use std::path::Path;
use std::sync::LazyLock;

use convodb::simulation::Disk;
use convodb::{
    ChangeKind, ChangesSince, Conversation, CostSum, Day, Durability, Error, ListRequest, Message,
    PageSize, Report, ReportRequest, Role, Snapshot, Store, StoreOptions, Timestamp, UserId,
    Volume,
};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::Counts;
use super::io_faults::await_open;
use crate::golden::{CURSOR_AT, USER, V1};
use crate::simulation::checker::CheckError;
use crate::simulation::disk::SimulatedDisk;
use crate::simulation::fault::{InjectedFault, Schedule};
use crate::simulation::runner::{PATH, open, options};

/// What a store holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Contents {
    user: UserId,
    rows: Vec<Conversation>,
    histories: Vec<Vec<Message>>,
    report: Report,
}

/// What the older store holds, and how many changes of the disk it takes to bring it to this format,
/// and to write to it and close it then.
struct Expected {
    tables: Vec<u8>,
    contents: Contents,
    /// What it held before each of the writes that only its log has.
    before: Vec<Contents>,
    /// What it holds after a further write.
    after: Contents,
    changes: u64,
    changes_closed: u64,
}

static EXPECTED: LazyLock<Result<Expected, String>> =
    LazyLock::new(|| expected().map_err(|why| format!("without a power cut: {why}")));

/// Cuts the power one to three times while the store of format 1 is opened. Then it is of this
/// version's format, with rows, histories, reports, cursors and tokens as they were, and goes on.
///
/// # Errors
/// A violation.
pub fn upgrade_power_cut(seed: u64) -> Result<Counts, String> {
    let expected = EXPECTED.as_ref().map_err(Clone::clone)?;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let options = options(&mut random, Durability::Immediate);
    let mut disk = disk(&expected.tables, V1.log, random.random()).map_err(told)?;
    let mut counts = Counts::new();
    for _ in 0..random.random_range(1..=3) {
        disk.cut_at(random.random_range(0..expected.changes));
        let opened = open(&disk, &options);
        if let (Err(error), false) = (&opened, disk.is_off()) {
            let why = format!("it does not open: {error}");
            return Err(violation(seed, &options, &disk, &why));
        }
        let when = if disk.is_off() { "cuts while upgrading" } else { "cuts after it" };
        *counts.entry(when).or_default() += 1;
        let next = disk.power_cut();
        drop(opened);
        disk = next;
    }
    let checked = check(&disk, &options, &expected.contents);
    checked.map_err(|why| violation(seed, &options, &disk, &why))?;
    *counts.entry("rows").or_default() += expected.contents.rows.len() as u64;
    Ok(counts)
}

/// From some change on, while the store of format 1 is opened, the disk says that it has synced and
/// has not; then the power goes, before or after a write and the closing. A store that is checked
/// when it is opened is in a state that it was in, or tells of the damage.
///
/// # Errors
/// A violation.
pub fn upgrade_lost_sync(seed: u64) -> Result<Counts, String> {
    let expected = EXPECTED.as_ref().map_err(Clone::clone)?;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let options =
        StoreOptions { check_on_open: true, ..options(&mut random, Durability::Immediate) };
    let disk = disk(&expected.tables, V1.log, random.random()).map_err(told)?;
    let lies_from = random.random_range(0..expected.changes);
    disk.lies_from(lies_from);
    disk.cut_at(random.random_range(lies_from..=expected.changes_closed));
    let used = open(&disk, &options).map_err(told).and_then(|store| {
        go_on(&store, &expected.contents)?;
        store.close().map_err(told)
    });
    if let (Err(why), false) = (used, disk.is_off()) {
        return Err(violation(seed, &options, &disk, &why));
    }
    let next = disk.power_cut();
    let seen = match open(&next, &options).map(|store| contents(&store.snapshot())) {
        Err(_) => "told when opened",
        Ok(Err(CheckError::Reported(_) | CheckError::SnapshotInvalidated)) => "told by the audit",
        Ok(Ok(found)) if found == expected.contents => "as it was",
        Ok(Ok(found)) if found == expected.after => "as it was after",
        Ok(Ok(found)) if expected.before.contains(&found) => "as it was before",
        Ok(Ok(found)) => {
            let why = format!("{found:#?}\nis not\n{:#?}", expected.contents);
            return Err(violation(seed, &options, &disk, &why));
        }
        Ok(Err(CheckError::Mismatch(why))) => return Err(violation(seed, &options, &disk, &why)),
    };
    Ok(Counts::from([(seen, 1)]))
}

/// One kind of fault at the n-th call for every n, until the store of format 1 is opened without it;
/// the seed says which fault, and whether it lasts until the opening is over. That is an error or
/// goes well; then the store is what it was, and goes on.
///
/// # Errors
/// A violation.
pub fn upgrade_io_faults(seed: u64) -> Result<Counts, String> {
    let expected = EXPECTED.as_ref().map_err(Clone::clone)?;
    let number = usize::try_from(seed).unwrap_or(0);
    let fault = InjectedFault::ALL[number % InjectedFault::ALL.len()];
    let lasts = (number / InjectedFault::ALL.len()) % 2 == 1;
    let mut counts = Counts::new();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let options = options(&mut random, Durability::Immediate);
    let luck = random.random();
    for after in 0.. {
        let schedule = match lasts {
            true => Schedule::lasting(fault, after),
            false => Schedule::once(fault, after),
        };
        let disk = disk(&expected.tables, V1.log, luck).map_err(told)?;
        disk.fail(schedule.clone());
        let opened = open(&disk, &options);
        let struck = disk.lift();
        let checked = match opened {
            Err(error) if !struck => Err(format!("it does not open: {error}")),
            Err(_) => Ok("openings that failed"),
            Ok(store) => await_open(&store)
                .and_then(|()| same(&store.snapshot(), &expected.contents))
                .map(|()| "openings that went well"),
        };
        let checked = checked.and_then(|seen| {
            *counts.entry(seen).or_default() += 1;
            check(&disk, &options, &expected.contents)
        });
        checked.map_err(|why| violation(seed, &options, &disk, &format!("{schedule:?}: {why}")))?;
        if !struck {
            break;
        }
    }
    Ok(counts)
}

fn violation(seed: u64, options: &StoreOptions, disk: &SimulatedDisk, why: &str) -> String {
    format!("seed {seed}: {why}\n{options:?}\nthe last disk:\n{}", disk.trace())
}

/// Whether the store of a disk opens, is what it was, and goes on; and whether what opening did,
/// and the write after it, is durable.
fn check(disk: &SimulatedDisk, options: &StoreOptions, expected: &Contents) -> Result<(), String> {
    let store = open(disk, options).map_err(|error| format!("it does not open: {error}"))?;
    same(&store.snapshot(), expected)?;
    let after = go_on(&store, expected)?;
    let last = disk.worst_cut();
    drop(store);
    let store = open(&last, options).map_err(|error| format!("it does not open again: {error}"))?;
    same(&store.snapshot(), &after)
}

fn same(snapshot: &Snapshot, expected: &Contents) -> Result<(), String> {
    let found = contents(snapshot)?;
    match found == *expected {
        true => Ok(()),
        false => Err(format!("{found:#?}\nis not\n{expected:#?}")),
    }
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// A disk with the store that the older version left.
fn disk(tables: &[u8], log: &[u8], seed: u64) -> std::io::Result<SimulatedDisk> {
    let disk = SimulatedDisk::new(seed, false);
    for (suffix, bytes) in [("", tables), (V1.log_suffix, log)] {
        let file = disk.create(Path::new(&format!("{PATH}{suffix}")))?;
        file.write_at(0, bytes)?;
        file.sync()?;
    }
    disk.sync_directory(Path::new("/"))?;
    Ok(disk)
}

fn expected() -> Result<Expected, String> {
    let tables = V1.tables().map_err(told)?;
    let before = beginnings(V1.log).map(|log| {
        let store = open(&disk(&tables, log, 0).map_err(told)?, &plain()).map_err(told)?;
        Ok(contents(&store.snapshot())?)
    });
    let before = before.collect::<Result<_, String>>()?;
    let disk = disk(&tables, V1.log, 0).map_err(told)?;
    let at_first = disk.changes();
    let store = open(&disk, &plain()).map_err(told)?;
    let changes = disk.changes() - at_first;
    let contents = contents(&store.snapshot())?;
    let after = go_on(&store, &contents)?;
    store.close().map_err(told)?;
    let changes_closed = disk.changes() - at_first;
    let listed: Vec<(String, u64)> = V1
        .list
        .lines()
        .map(|line| {
            let row: serde_json::Value = serde_json::from_str(line).map_err(told)?;
            let id = row["id"].as_str().unwrap_or_default().to_owned();
            Ok((id, row["message_count"].as_u64().unwrap_or_default()))
        })
        .collect::<Result<_, String>>()?;
    let rows = contents.rows.iter();
    let found: Vec<(String, u64)> =
        rows.map(|row| (row.id.to_string(), u64::from(row.message_count))).collect();
    if listed.is_empty() || found != listed {
        return Err(format!("{found:?} is not the list {listed:?}"));
    }
    Ok(Expected { tables, contents, before, after, changes, changes_closed })
}

fn plain() -> StoreOptions {
    options(&mut ChaCha8Rng::seed_from_u64(0), Durability::Immediate)
}

/// The log before each of its groups was appended: see `docs/format.md`.
fn beginnings(log: &[u8]) -> impl Iterator<Item = &[u8]> {
    const SEGMENT_HEAD: usize = 28;
    const RECORD_HEAD: usize = 20;
    let mut at = SEGMENT_HEAD;
    std::iter::from_fn(move || {
        let beginning = log.get(..at)?;
        let length = log[at..].first_chunk().map(|length| u32::from_le_bytes(*length))?;
        at += RECORD_HEAD + usize::try_from(length).unwrap_or(usize::MAX / 2);
        Some(beginning)
    })
}

/// All that the store holds, if it agrees with itself and knows what its clients have in hand.
fn contents(snapshot: &Snapshot) -> Result<Contents, CheckError> {
    let audit = snapshot.verify(|_, _| {})?;
    if !audit.is_clean() {
        return Err(CheckError::Reported(format!("the audit finds {:?}", audit.faults)));
    }
    let user = snapshot.authenticate(V1.token)?.ok_or_else(|| wrong("its token is not known"))?;
    let name = USER.parse()?;
    if snapshot.user_by_name(&name)? != Some(user) {
        return Err(wrong("its token is another user's"));
    }
    let rows = snapshot.rows(user, &ListRequest::default());
    let rows: Vec<Conversation> = rows.collect::<Result<_, _>>()?;
    let histories = rows.iter().map(|row| {
        let history = snapshot.history(user, row.id)?;
        history.ok_or_else(|| wrong("a row has no history"))
    });
    let histories = histories.collect::<Result<_, CheckError>>()?;
    let cursor = snapshot.open_cursor(user, V1.cursor)?;
    let page = snapshot.list(user, &ListRequest::at(cursor))?;
    if !page.rows().map(|row| row.owned()).eq(rows.iter().skip(CURSOR_AT).take(page.len()).cloned())
    {
        return Err(wrong("its cursor goes on elsewhere"));
    }
    let request = ReportRequest::new(Day::new(0), Day::new(u32::MAX));
    let report = snapshot.report(user, &request)?;
    let counted = Volume {
        conversations: rows.len() as u64,
        messages: rows.iter().map(|row| u64::from(row.message_count)).sum(),
        cost: rows.iter().map(|row| row.total_cost).sum::<CostSum>(),
    };
    if report.total != counted {
        return Err(CheckError::Mismatch(format!("{:?} reported of {counted:?}", report.total)));
    }
    Ok(Contents { user, rows, histories, report })
}

fn wrong(why: &str) -> CheckError {
    CheckError::Mismatch(why.to_owned())
}

/// What only the newer format has works: nobody knows what changed before, and a message more is one
/// change. Gives what the store then holds.
fn go_on(store: &Store, before: &Contents) -> Result<Contents, String> {
    let (user, size) = (before.user, PageSize::default());
    let first = store.snapshot().changes_since(user, ChangesSince::Beginning, size);
    if !matches!(first, Err(Error::ChangesForgotten)) {
        return Err(format!("its feed begins with {first:?}"));
    }
    let now = store.snapshot().changes_since(user, ChangesSince::Now, size).map_err(told)?.next;
    let id = before.rows.last().ok_or("it is empty")?.id;
    let said = Message::new(Role::User, "after".to_owned(), Timestamp::MIN).map_err(told)?;
    store.append_message(user, id, said).map_err(told)?;
    let snapshot = store.snapshot();
    let changes = snapshot.changes_since(user, ChangesSince::Cursor(now), size).map_err(told)?;
    let changes: Vec<_> = changes.changes.iter().map(|one| (one.kind, one.id)).collect();
    if changes != [(ChangeKind::Updated, id)] {
        return Err(format!("its feed tells of {changes:?}"));
    }
    Ok(contents(&snapshot)?)
}
