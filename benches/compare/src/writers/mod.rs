//! What a rival must do for its writes to be measured: durable transactions on a store that holds
//! rows already. All keep the same logical indexes, refuse an id that is there, and give a row the
//! first free position of its millisecond. convodb also keeps its counters for reports and looks
//! whether the assistant is there; the others do not.

pub(crate) mod convodb;
pub(crate) mod lmdb;
pub(crate) mod sqlite;

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ::convodb::{Conversation, Timestamp};
use anyhow::{Context, Result};
use convodb_testkit::dataset::Dataset;
use uuid::Uuid;

use crate::dataset::row::Row;
use crate::stores::{self, Format};
use crate::writers::lmdb::LmdbWriter;
use crate::writers::sqlite::SqliteWriter;

/// An engine that is written to, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriterKind {
    Convodb,
    /// With one sync a commit instead of two, and a slow opening after a crash.
    ConvodbSlowRecovery,
    Lmdb,
    SqliteComposite,
}

impl WriterKind {
    pub(crate) const ALL: [WriterKind; 4] = [
        WriterKind::Convodb,
        WriterKind::ConvodbSlowRecovery,
        WriterKind::Lmdb,
        WriterKind::SqliteComposite,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            WriterKind::Convodb => "convodb",
            WriterKind::ConvodbSlowRecovery => "convodb-slow-recovery",
            WriterKind::Lmdb => "lmdb",
            WriterKind::SqliteComposite => "sqlite-composite",
        }
    }

    /// What its store is of.
    pub(crate) const fn format(self) -> Format {
        match self {
            WriterKind::Convodb | WriterKind::ConvodbSlowRecovery => Format::Convodb,
            WriterKind::Lmdb => Format::Lmdb,
            WriterKind::SqliteComposite => Format::SqliteComposite,
        }
    }
}

impl FromStr for WriterKind {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let known = WriterKind::ALL.map(WriterKind::as_str).join(", ");
        WriterKind::ALL
            .into_iter()
            .find(|name| name.as_str() == text)
            .with_context(|| format!("no engine that is written to is called {text}: {known}"))
    }
}

/// A conversation that is new, in convodb's form and in the rivals'.
#[derive(Clone)]
pub(crate) struct NewRow {
    pub(crate) user: u32,
    pub(crate) conversation: Conversation,
    pub(crate) row: Row,
}

/// A store that is written to by any number of threads.
pub(crate) trait Writer: Send + Sync {
    /// Inserts all rows in one transaction, and returns when they are on disk.
    fn insert(&self, rows: &[NewRow]) -> Result<()>;

    /// Appends a message to the user's conversation `id`, counts it, and returns when both are on
    /// disk. `at` is in milliseconds since 1970.
    fn append(&self, user: u32, id: Uuid, content: &str, at: u64) -> Result<()>;
}

/// Opens a store of the engine's to write to it.
pub(crate) fn open(name: WriterKind, path: &Path) -> Result<Box<dyn Writer>> {
    Ok(match name {
        WriterKind::Convodb => Box::new(convodb::open(path, true)?),
        WriterKind::ConvodbSlowRecovery => Box::new(convodb::open(path, false)?),
        WriterKind::SqliteComposite => Box::new(SqliteWriter::open(path)?),
        WriterKind::Lmdb => Box::new(LmdbWriter::open(path)?),
    })
}

/// Copies a store that nobody has open.
pub(crate) fn copy_store(from: &Path, to: &Path) -> Result<()> {
    stores::remove(to)?;
    // What SQLite keeps beside a file of this name belongs to an older copy.
    for suffix in ["-wal", "-shm"] {
        let mut beside = to.as_os_str().to_owned();
        beside.push(suffix);
        stores::remove(&PathBuf::from(beside))?;
    }
    if from.is_dir() {
        fs::create_dir_all(to)?;
        fs::copy(from.join("data.mdb"), to.join("data.mdb"))?;
        return Ok(fs::File::open(to.join("data.mdb"))?.sync_all()?);
    }
    fs::create_dir_all(to.parent().context("a store has a directory")?)?;
    fs::copy(from, to)?;
    Ok(fs::File::open(to)?.sync_all()?)
}

/// The last day of a corpus is before this: 2025-02-01 00:00:00 UTC.
const NOW_MILLIS: u64 = 1_738_368_000_000;

/// New conversations, as they come to a running service: of all users by their size, each newer
/// than what is stored, one a second.
pub(crate) fn new_rows(seed: u64, rows: u64) -> impl Iterator<Item = NewRow> {
    (0..).zip(Dataset::new(seed, rows)).map(move |(second, row)| {
        let millis = NOW_MILLIS + second * 1000;
        let at = Timestamp::from_millis(millis).unwrap_or(Timestamp::MAX);
        let conversation = Conversation { created_at: at, updated_at: at, ..row.conversation };
        let user = u32::try_from(row.owner).unwrap_or(u32::MAX) + 1;
        NewRow { user, row: Row::from(&conversation.borrowed()), conversation }
    })
}
