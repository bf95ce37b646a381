//! Files of a store from different moments and different copies, put together at random.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use convodb::{
    ChangeCursor, ChangesSince, ConversationId, Error, ListRequest, PageSize, Store, StoreOptions,
    StoreVersion, UserId, restore,
};
use convodb_testkit::generators::assistants;
use convodb_testkit::harness::{copy_crashed_files, plain_conversation, plain_id};
use rand::RngExt;

use crate::scenario::{Parallelism, Scenario, Trial, Trials, Violation, ensure};
use crate::temporary_directory::temporary_directory;

pub(super) const SEPARATED: Scenario = Scenario {
    name: "separated",
    row: 22,
    promise: "A store whose file and WAL are of different moments or copies is refused, or opens \
              with a state that was acknowledged; no two histories are mixed.",
    trial: "two histories of up to 60 writes, and 30 combinations of their files",
    trials: Trials { smoke: 2, ci: 60, release: 1_000 },
    parallelism: Parallelism::PerCore,
    run: separated,
};

pub(super) const RESTORED: Scenario = Scenario {
    name: "restored",
    row: 23,
    promise: "After a restore every earlier change cursor has expired, however much is written, and \
              cursors of lists continue.",
    trial: "a backup, up to 20 writes, a restore, and up to 40 writes",
    trials: Trials { smoke: 4, ci: 100, release: 10_000 },
    parallelism: Parallelism::PerCore,
    run: restored,
};

/// A store with all that was acknowledged.
struct History {
    store: Store,
    user: UserId,
    present: BTreeSet<ConversationId>,
    next: u64,
}

/// A state of a store that was acknowledged.
struct State {
    present: BTreeSet<ConversationId>,
    /// The writes that lead here: of each copy its number, and the number of its writes.
    line: Vec<(u32, usize)>,
    cursor: ChangeCursor,
    version: StoreVersion,
}

/// The files of a store at one moment.
struct Moment {
    file: PathBuf,
    /// The index of its state among all.
    state: usize,
}

fn options() -> StoreOptions {
    // Small memtables: a checkpoint after some writes.
    StoreOptions::new().cache_bytes(1 << 20).memtable_bytes(6_000)
}

impl History {
    fn create(path: &Path) -> Result<Self, Violation> {
        let store = Store::open_with(path, &options())?;
        let at = plain_conversation(0).created_at;
        let user = store.create_user("Acme", at)?.id;
        store.create_assistant(user, assistants()[0], "Bot")?;
        Ok(Self { store, user, present: BTreeSet::new(), next: 0 })
    }

    /// Inserts a conversation, or sometimes deletes one.
    fn write(&mut self, trial: &mut Trial) -> Result<(), Violation> {
        match self.present.first().copied() {
            Some(oldest) if trial.random.random_bool(0.2) => {
                self.store.delete(self.user, oldest)?;
                self.present.remove(&oldest);
            }
            _ => {
                let conversation = plain_conversation(self.next);
                self.store.insert(self.user, conversation, Vec::new())?;
                self.present.insert(plain_id(self.next));
                self.next += 1;
            }
        }
        Ok(())
    }

    fn cursor(&self) -> Result<ChangeCursor, Violation> {
        let snapshot = self.store.snapshot();
        let changes = snapshot.changes_since(self.user, ChangesSince::Now, PageSize::default())?;
        Ok(changes.next_cursor)
    }
}

/// Writes at random, and copies the files at up to five moments. Returns those moments.
fn advance(
    history: &mut History,
    path: &Path,
    (copy, before): (u32, &[(u32, usize)]),
    states: &mut Vec<State>,
    trial: &mut Trial,
) -> Result<Vec<Moment>, Violation> {
    let (mut moments, mut writes, first) = (Vec::new(), 0, states.len());
    let mut record = |history: &History, writes| -> Result<(), Violation> {
        let (cursor, version) = (history.cursor()?, history.store.snapshot().version());
        let own = [(copy, writes)];
        let line = [before, if writes > 0 { &own } else { &[] }].concat();
        states.push(State { present: history.present.clone(), line, cursor, version });
        Ok(())
    };
    record(history, writes)?;
    for _ in 0..trial.random.random_range(2..=5) {
        for _ in 0..trial.random.random_range(0..12) {
            history.write(trial)?;
            writes += 1;
            record(history, writes)?;
        }
        moments.push(Moment { file: copy_crashed_files(path), state: first + writes });
    }
    Ok(moments)
}

fn separated(trial: &mut Trial) -> Result<(), Violation> {
    let directory = temporary_directory()?;
    let path = directory.path().join("store");
    let mut history = History::create(&path)?;
    let user = history.user;
    let mut states = Vec::new();
    let mut moments = advance(&mut history, &path, (0, &[]), &mut states, trial)?;
    drop(history);
    // A second copy continues from one of the moments, as if it had crashed there.
    let fork = &moments[trial.random.random_range(0..moments.len())];
    let State { line, present, .. } = &states[fork.state];
    let (line, present) = (line.clone(), present.clone());
    let other = directory.path().join("other");
    put_together(&fork.file, Some(&fork.file), &other)?;
    let store = Store::open_with(&other, &options())?;
    let mut history = History { store, user, present, next: 1_000 };
    moments.extend(advance(&mut history, &other, (1, &line), &mut states, trial)?);
    drop(history);

    for number in 0..30 {
        let file = &moments[trial.random.random_range(0..moments.len())];
        let log = match trial.random.random_range(0..8) {
            0 => None,
            _ => Some(&moments[trial.random.random_range(0..moments.len())]),
        };
        let target = directory.path().join(format!("combination-{number}"));
        put_together(&file.file, log.map(|moment| &*moment.file), &target)?;
        let own = log.is_some_and(|log| log.file == file.file);
        match Store::open_with(&target, &options()) {
            Err(Error::WalMismatch { .. }) => {
                trial.count("refused");
                let unchanged = fs::read(&target)? == fs::read(&file.file)?;
                ensure(unchanged, || "a refused file was changed")?;
                ensure(!own, || "a store was refused with its own WAL")?;
            }
            Err(error) => return Err(Violation::new(format!("opening failed: {error}"))),
            Ok(store) => {
                trial.count("opened");
                let opened = check_opened(&store, user, &states)?;
                let expected = &states[file.state];
                // The WAL of another moment may be a whole one that ends earlier or later.
                ensure(!own || opened.version == expected.version, || "its state was lost")?;
                store.close()?;
            }
        }
    }
    Ok(())
}

/// Copies the file of a store, and the WAL of another copy if there is one, to `target`.
fn put_together(file: &Path, log: Option<&Path>, target: &Path) -> Result<(), Violation> {
    fs::copy(file, target)?;
    let Some(log) = log else { return Ok(()) };
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let prefix = format!("{}-log.", name(log));
    for entry in fs::read_dir(log.parent().unwrap_or(Path::new(".")))? {
        let segment = entry?.path();
        if let Some(number) = name(&segment).strip_prefix(&prefix) {
            fs::copy(&segment, target.with_file_name(format!("{}-log.{number}", name(target))))?;
        }
    }
    Ok(())
}

/// Checks that an opened store has one of the states, knows just those that led there, and returns
/// it.
fn check_opened<'a>(
    store: &Store,
    user: UserId,
    states: &'a [State],
) -> Result<&'a State, Violation> {
    let snapshot = store.snapshot();
    ensure(snapshot.verify()?.is_clean(), || "an opened store has findings")?;
    let rows = snapshot.conversations(user, &ListRequest::new());
    let found = rows.map(|row| Ok(row?.id)).collect::<Result<BTreeSet<_>, Error>>()?;
    let version = snapshot.version();
    let opened = states.iter().find(|state| state.version == version);
    let opened = opened.ok_or_else(|| Violation::new("an opened store mixes two histories"))?;
    ensure(opened.present == found, || "conversations are missing or have returned")?;
    for state in states {
        let size = PageSize::default();
        let read = snapshot.changes_since(user, ChangesSince::Cursor(state.cursor), size);
        let taken = !matches!(read, Err(Error::ChangesExpired));
        let leads_here = state.version == version || leads_to(&state.line, &opened.line);
        ensure(taken == leads_here, || {
            format!("a cursor of {:?} in the state of {:?}: {read:?}", state.line, opened.line)
        })?;
        ensure(taken == snapshot.contains(state.version), || "a version differs from a cursor")?;
    }
    Ok(opened)
}

/// Whether the writes of `later` begin with those of `earlier`.
fn leads_to(earlier: &[(u32, usize)], later: &[(u32, usize)]) -> bool {
    let Some(((copy, writes), before)) = earlier.split_last() else { return true };
    let reached = later.get(before.len());
    later.starts_with(before)
        && reached.is_some_and(|(other, reached)| other == copy && writes <= reached)
}

fn restored(trial: &mut Trial) -> Result<(), Violation> {
    let directory = temporary_directory()?;
    let (path, backup) = (directory.path().join("store"), directory.path().join("backup"));
    let mut history = History::create(&path)?;
    for _ in 0..trial.random.random_range(2..20) {
        history.write(trial)?;
    }
    let user = history.user;
    let mut cursors = vec![history.cursor()?];
    let request = ListRequest::new().page_size(1)?;
    let page = history.store.snapshot().list(user, &request)?.next_cursor().copied();
    history.store.snapshot().backup(&backup)?;
    let kept = history.present.clone();
    for _ in 0..trial.random.random_range(0..20) {
        history.write(trial)?;
        cursors.push(history.cursor()?);
    }
    history.store.close()?;

    let target = directory.path().join("restored");
    ensure(restore(&backup, &target)?.is_clean(), || "a restored store has findings")?;
    let store = Store::open_with(&target, &options())?;
    let mut history = History { store, user, present: kept, next: 1_000 };
    for _ in 0..=trial.random.random_range(0..40) {
        let snapshot = history.store.snapshot();
        for cursor in &cursors {
            let since = ChangesSince::Cursor(*cursor);
            let read = snapshot.changes_since(user, since, PageSize::default());
            let expired = matches!(read, Err(Error::ChangesExpired));
            ensure(expired, || format!("a cursor of before the restore: {read:?}"))?;
            trial.count("expired cursors");
        }
        if let Some(page) = page {
            snapshot.list(user, &ListRequest::at(page))?;
        }
        let own = history.cursor()?;
        history.write(trial)?;
        let since = ChangesSince::Cursor(own);
        let changes = history.store.snapshot().changes_since(user, since, PageSize::default())?;
        ensure(changes.changes.len() == 1, || "a change is missing")?;
    }
    Ok(())
}
