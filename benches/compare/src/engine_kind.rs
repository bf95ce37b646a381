//! Engine kinds by name, and how each opens its store.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use ::convodb::Store;
use anyhow::{Context, Result, bail};
use convodb_bench::sqlite::{self, Indexes, Locking};
use indicatif::ProgressBar;

use crate::engines::Engine;
use crate::engines::convodb::{self, Convodb, Rows};
use crate::engines::lmdb::{self, Lmdb};
use crate::engines::memory::Memory;
use crate::engines::postgres::Postgres;
use crate::engines::sqlite::Sqlite;
use crate::reference::Reference;
use crate::stores::{self, Format, Stores};

/// Page cache of each engine that has one, in bytes.
const CACHE_BYTES: usize = 2 << 30;

/// An engine in one of its configurations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EngineKind {
    Convodb,
    ConvodbBorrowed,
    Memory,
    Lmdb,
    SqliteComposite,
    SqliteExclusive,
    SqliteSingle,
    Postgres,
}

impl EngineKind {
    pub(crate) const ALL: [EngineKind; 8] = [
        EngineKind::Convodb,
        EngineKind::ConvodbBorrowed,
        EngineKind::Memory,
        EngineKind::Lmdb,
        EngineKind::SqliteComposite,
        EngineKind::SqliteExclusive,
        EngineKind::SqliteSingle,
        EngineKind::Postgres,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            EngineKind::Convodb => "convodb",
            EngineKind::ConvodbBorrowed => "convodb-borrowed",
            EngineKind::Memory => "memory",
            EngineKind::Lmdb => "lmdb",
            EngineKind::SqliteComposite => "sqlite-composite",
            EngineKind::SqliteExclusive => "sqlite-exclusive",
            EngineKind::SqliteSingle => "sqlite-single",
            EngineKind::Postgres => "postgres",
        }
    }

    /// Whether it counts in another way than the others: not for other rows or another lock.
    pub(crate) const fn has_own_count(self) -> bool {
        match self {
            EngineKind::Convodb
            | EngineKind::Memory
            | EngineKind::Lmdb
            | EngineKind::SqliteComposite
            | EngineKind::Postgres => true,
            EngineKind::ConvodbBorrowed
            | EngineKind::SqliteExclusive
            | EngineKind::SqliteSingle => false,
        }
    }

    /// The format of its store, or `None` for an engine without a store.
    const fn format(self) -> Option<Format> {
        match self {
            EngineKind::Convodb | EngineKind::ConvodbBorrowed => Some(Format::Convodb),
            EngineKind::Memory => None,
            EngineKind::Lmdb => Some(Format::Lmdb),
            EngineKind::SqliteComposite => Some(Format::SqliteComposite),
            EngineKind::SqliteExclusive => Some(Format::SqliteExclusive),
            EngineKind::SqliteSingle => Some(Format::SqliteSingle),
            EngineKind::Postgres => Some(Format::Postgres),
        }
    }
}

impl FromStr for EngineKind {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let known = EngineKind::ALL.map(EngineKind::as_str).join(", ");
        EngineKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .with_context(|| format!("unknown engine {text}; known engines: {known}"))
    }
}

/// An engine with its opened store.
pub(crate) struct OpenEngine {
    pub(crate) kind: EngineKind,
    /// The size of the store, without the adversary's rows.
    pub(crate) rows: u64,
    pub(crate) version: String,
    /// Bytes of the store on disk; 0 for an engine in memory.
    pub(crate) store_bytes: u64,
    pub(crate) reader: Box<dyn Engine>,
}

/// Opens all engines on stores of one size; creates the stores that are missing.
pub(crate) fn open_all(
    kinds: &[EngineKind],
    directory: &Path,
    rows: u64,
    reference: &Arc<Reference>,
    progress: &ProgressBar,
) -> Result<Vec<OpenEngine>> {
    let mut stores = Stores::new(directory, rows)?;
    // Create all stores before opening any, so that their source rows can be freed first.
    for format in kinds.iter().filter_map(|kind| kind.format()) {
        stores.path(format, progress)?;
    }
    stores.release_rows();
    let mut shared = None;
    let mut opened = Vec::new();
    for kind in kinds {
        progress.set_message(format!("opening {}", kind.as_str()));
        let path = kind.format().map(|format| stores.path(format, progress)).transpose()?;
        opened.push(match path {
            Some(path) => open_store(*kind, rows, &path, &mut shared)?,
            None => OpenEngine {
                kind: *kind,
                rows,
                version: String::new(),
                store_bytes: 0,
                reader: Box::new(Memory::new(reference.clone())),
            },
        });
    }
    Ok(opened)
}

/// Opens an engine on the store at `path`. A convodb file can be opened only once, so owned and
/// borrowed reads use the same `shared` handle.
fn open_store(
    kind: EngineKind,
    rows: u64,
    path: &Path,
    shared: &mut Option<Store>,
) -> Result<OpenEngine> {
    let mut store_bytes = stores::bytes(path)?;
    let (version, reader): (String, Box<dyn Engine>) = match kind {
        EngineKind::Memory => bail!("{} has no store", kind.as_str()),
        EngineKind::Convodb | EngineKind::ConvodbBorrowed => {
            let store = match shared {
                Some(store) => store.clone(),
                None => convodb::open(path, CACHE_BYTES)?,
            };
            *shared = Some(store.clone());
            let rows = if kind == EngineKind::Convodb { Rows::Owned } else { Rows::Borrowed };
            (convodb_version(), Box::new(Convodb::new(store, rows)))
        }
        EngineKind::Lmdb => {
            let (env, tables) = lmdb::open(path)?;
            let number = heed::lmdb_version();
            let version = format!("{}.{}.{}", number.major, number.minor, number.patch);
            (version, Box::new(Lmdb::new(env, tables)))
        }
        EngineKind::SqliteComposite | EngineKind::SqliteExclusive | EngineKind::SqliteSingle => {
            let locking = match kind {
                EngineKind::SqliteExclusive => Locking::Exclusive,
                _ => Locking::Shared,
            };
            let indexes = match kind {
                EngineKind::SqliteSingle => Indexes::Single,
                _ => Indexes::Composite,
            };
            let connection = sqlite::open(path, CACHE_BYTES, locking)?;
            if indexes == Indexes::Composite {
                sqlite::plan_once(&connection)?;
            }
            (rusqlite::version().to_owned(), Box::new(Sqlite::new(connection, indexes)))
        }
        EngineKind::Postgres => {
            let mut postgres = Postgres::open(path)?;
            let version;
            (version, store_bytes) = postgres.version_and_bytes()?;
            (version, Box::new(postgres))
        }
    };
    Ok(OpenEngine { kind, rows, version, store_bytes, reader })
}

/// The versions of convodb and redb.
fn convodb_version() -> String {
    let number = |package| locked_version(package).unwrap_or_default();
    format!("{} on redb {}", number("convodb"), number("redb"))
}

/// The version of a package in this program's lock file.
fn locked_version(package: &str) -> Option<String> {
    let lock = include_str!("../Cargo.lock");
    let entry = lock.split("[[package]]").find(|e| e.contains(&format!("name = \"{package}\"")))?;
    let version = entry.lines().find_map(|line| line.strip_prefix("version = "))?;
    Some(version.trim_matches('"').to_owned())
}
