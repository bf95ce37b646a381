//! A store that an older version left, with its log, opened by this version on a disk whose power
//! goes meanwhile, up to three times: whatever was written of the newer format by then, the next
//! opening finds a store, and what it holds is what it was.
//!
//! What it was is told by an opening that nothing disturbs, whose rows are held against the list
//! that the older version wrote. Every byte of that list is compared by a test of the command.

use std::path::Path;
use std::sync::LazyLock;

use convodb::simulation::Disk;
use convodb::{
    ChangeKind, ChangesSince, Conversation, CostSum, Day, Durability, Error, ListRequest, Message,
    PageSize, Report, ReportRequest, Role, Snapshot, Store, Timestamp, UserId, Volume,
};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::disk::CrashDisk;
use super::play::{PATH, open, options};
use super::trial::Counts;
use crate::golden::{CURSOR_AT, USER, V1};

/// What a store holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Contents {
    user: UserId,
    rows: Vec<Conversation>,
    histories: Vec<Vec<Message>>,
    report: Report,
}

/// What the older store holds, and how many changes of the disk it takes to bring it to this format.
struct Expected {
    tables: Vec<u8>,
    contents: Contents,
    changes: u64,
}

static EXPECTED: LazyLock<Result<Expected, String>> =
    LazyLock::new(|| expected().map_err(|why| format!("without a power cut: {why}")));

/// Cuts the power one to three times while the store of format 1 is opened. Then it is of this
/// version's format, with rows, histories, reports, cursors and tokens as they were, and goes on.
///
/// # Errors
/// A violation.
pub fn upgrade(seed: u64) -> Result<Counts, String> {
    let expected = EXPECTED.as_ref().map_err(Clone::clone)?;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let options = options(&mut random, Durability::Immediate);
    let mut disk = disk(&expected.tables, random.random()).map_err(|error| error.to_string())?;
    let mut counts = Counts::new();
    let violation = |disk: &CrashDisk, why: &str| {
        format!("seed {seed}: {why}\n{options:?}\nthe last disk:\n{}", disk.trace())
    };
    for _ in 0..random.random_range(1..=3) {
        disk.cut_at(random.random_range(0..expected.changes));
        let opened = open(&disk, &options);
        if let (Err(error), false) = (&opened, disk.is_off()) {
            return Err(violation(&disk, &format!("it does not open: {error}")));
        }
        let when = if disk.is_off() { "cuts while upgrading" } else { "cuts after it" };
        *counts.entry(when).or_default() += 1;
        let next = disk.power_cut();
        drop(opened);
        disk = next;
    }
    let store = open(&disk, &options)
        .map_err(|error| violation(&disk, &format!("it does not open: {error}")))?;
    let found = contents(&store.snapshot()).and_then(|found| match found == expected.contents {
        true => go_on(&store, &found),
        false => Err(format!("{found:#?}\nis not\n{:#?}", expected.contents)),
    });
    let after = found.map_err(|why| violation(&disk, &why))?;
    // What opening did, and the write after it, is durable.
    let last = disk.worst_cut();
    drop(store);
    let store = open(&last, &options)
        .map_err(|error| violation(&last, &format!("it does not open again: {error}")))?;
    let found = contents(&store.snapshot()).map_err(|why| violation(&last, &why))?;
    if found != after {
        return Err(violation(&last, &format!("{found:#?}\nis not\n{after:#?}")));
    }
    *counts.entry("rows").or_default() += found.rows.len() as u64;
    Ok(counts)
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// A disk with the store that the older version left.
fn disk(tables: &[u8], seed: u64) -> std::io::Result<CrashDisk> {
    let disk = CrashDisk::new(seed, false);
    for (suffix, bytes) in [("", tables), (V1.log_suffix, V1.log)] {
        let file = disk.create(Path::new(&format!("{PATH}{suffix}")))?;
        file.write_at(0, bytes)?;
        file.sync()?;
    }
    disk.sync_directory(Path::new("/"))?;
    Ok(disk)
}

fn expected() -> Result<Expected, String> {
    let tables = V1.tables().map_err(told)?;
    let disk = disk(&tables, 0).map_err(told)?;
    let before = disk.changes();
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let store = open(&disk, &options(&mut random, Durability::Immediate)).map_err(told)?;
    let changes = disk.changes() - before;
    let contents = contents(&store.snapshot())?;
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
    Ok(Expected { tables, contents, changes })
}

/// All that the store holds, if it agrees with itself and knows what its clients have in hand.
fn contents(snapshot: &Snapshot) -> Result<Contents, String> {
    let audit = snapshot.verify(|_, _| {}).map_err(told)?;
    if !audit.is_clean() {
        return Err(format!("the audit finds {:?}", audit.faults));
    }
    let user = snapshot.authenticate(V1.token).map_err(told)?.ok_or("its token is not known")?;
    let name = USER.parse().map_err(told)?;
    if snapshot.user_by_name(&name).map_err(told)? != Some(user) {
        return Err("its token is another user's".to_owned());
    }
    let rows = snapshot.rows(user, &ListRequest::default());
    let rows: Vec<Conversation> = rows.collect::<Result<_, _>>().map_err(told)?;
    let histories = rows.iter().map(|row| match snapshot.history(user, row.id) {
        Ok(history) => history.ok_or_else(|| "a row has no history".to_owned()),
        Err(error) => Err(error.to_string()),
    });
    let histories = histories.collect::<Result<_, _>>()?;
    let cursor = snapshot.open_cursor(user, V1.cursor).map_err(told)?;
    let page = snapshot.list(user, &ListRequest::at(cursor)).map_err(told)?;
    if !page.rows().map(|row| row.owned()).eq(rows.iter().skip(CURSOR_AT).take(page.len()).cloned())
    {
        return Err("its cursor goes on elsewhere".to_owned());
    }
    let request = ReportRequest::new(Day::new(0), Day::new(u32::MAX));
    let report = snapshot.report(user, &request).map_err(told)?;
    let counted = Volume {
        conversations: rows.len() as u64,
        messages: rows.iter().map(|row| u64::from(row.message_count)).sum(),
        cost: rows.iter().map(|row| row.total_cost).sum::<CostSum>(),
    };
    if report.total != counted {
        return Err(format!("{:?} reported of {counted:?}", report.total));
    }
    Ok(Contents { user, rows, histories, report })
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
    contents(&snapshot)
}
