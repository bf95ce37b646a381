//! Writers: durable transactions on a filled store, one module per engine.
//!
//! All writers maintain the same logical indexes, refuse an id that exists, and assign the first
//! free position of the millisecond. Only convodb also maintains counters for statistics and checks
//! that the assistant exists.

pub(crate) mod convodb;
pub(crate) mod lmdb;
pub(crate) mod sqlite;

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ::convodb::{Conversation, Timestamp};
use anyhow::{Context, Result};
use convodb_bench::dataset::Dataset;
use convodb_bench::row::Row;
use uuid::Uuid;

use crate::stores::{self, Format};
use crate::writers::lmdb::LmdbWriter;
use crate::writers::sqlite::SqliteWriter;

/// A measured writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriterKind {
    Convodb,
    /// One sync per commit instead of two, and a slow open after a crash.
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

    /// The format of its store.
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
            .with_context(|| format!("unknown writer {text}; known writers: {known}"))
    }
}

/// A new conversation, in convodb's form and as a row of the other engines.
#[derive(Clone)]
pub(crate) struct NewRow {
    pub(crate) user: u32,
    pub(crate) conversation: Conversation,
    pub(crate) row: Row,
}

/// A store open for writes by any number of threads.
pub(crate) trait Writer: Send + Sync {
    /// Inserts all rows in one transaction and returns once it is durable.
    fn insert(&self, rows: &[NewRow]) -> Result<()>;

    /// Appends a message to the user's conversation `id`, increments the message count, and returns
    /// once both are durable. `at` is in milliseconds since 1970.
    fn append(&self, user: u32, id: Uuid, content: &str, at: u64) -> Result<()>;

    /// Deletes the user's conversations with their messages and index entries in one transaction,
    /// and returns once it is durable.
    fn delete(&self, user: u32, ids: &[Uuid]) -> Result<()>;

    /// Gives the user's conversations to another assistant in one transaction, which moves their
    /// index entries, and returns once it is durable.
    fn reassign(&self, user: u32, ids: &[Uuid], assistant: Uuid) -> Result<()>;
}

/// Opens a store for writes.
pub(crate) fn open(name: WriterKind, path: &Path) -> Result<Box<dyn Writer>> {
    Ok(match name {
        WriterKind::Convodb => Box::new(convodb::open(path, true)?),
        WriterKind::ConvodbSlowRecovery => Box::new(convodb::open(path, false)?),
        WriterKind::SqliteComposite => Box::new(SqliteWriter::open(path)?),
        WriterKind::Lmdb => Box::new(LmdbWriter::open(path)?),
    })
}

/// Copies a store that is not open.
pub(crate) fn copy_store(from: &Path, to: &Path) -> Result<()> {
    stores::remove(to)?;
    // Remove the SQLite side files of an older copy with the same name.
    for suffix in ["-wal", "-shm"] {
        let mut side_file = to.as_os_str().to_owned();
        side_file.push(suffix);
        stores::remove(&PathBuf::from(side_file))?;
    }
    if from.is_dir() {
        fs::create_dir_all(to)?;
        fs::copy(from.join("data.mdb"), to.join("data.mdb"))?;
        return Ok(fs::File::open(to.join("data.mdb"))?.sync_all()?);
    }
    fs::create_dir_all(to.parent().context("the path of a store has no parent")?)?;
    fs::copy(from, to)?;
    Ok(fs::File::open(to)?.sync_all()?)
}

/// 2025-02-01 00:00:00 UTC, after the last row of the dataset.
const NOW_MILLIS: u64 = 1_738_368_000_000;

/// New conversations as a running service gets them: of users in proportion to their size, each
/// newer than all stored rows, one per second.
pub(crate) fn new_rows(seed: u64, rows: u64) -> impl Iterator<Item = NewRow> {
    (0..).zip(Dataset::new(seed, rows)).map(move |(second, row)| {
        let millis = NOW_MILLIS + second * 1000;
        let at = Timestamp::from_millis(millis).unwrap_or(Timestamp::MAX);
        let conversation = Conversation { created_at: at, updated_at: at, ..row.conversation };
        let user = u32::try_from(row.user).unwrap_or(u32::MAX) + 1;
        NewRow { user, row: Row::from(&conversation.borrowed()), conversation }
    })
}
