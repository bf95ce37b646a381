//! The engines by name, each opened on its store: one row of a comparison.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;

use crate::engines::Engine;
use crate::engines::convodb::{self, Convodb, Rows};
use crate::engines::lmdb::{self, Lmdb};
use crate::engines::memory::Memory;
use crate::engines::postgres::Postgres;
use crate::engines::sqlite::{self, Indexes, Locking, Sqlite};
use crate::reference::Reference;
use crate::stores::{self, Format, Stores};

/// Memory for pages of a file, for each engine that has a cache of its own.
const CACHE_BYTES: usize = 2 << 30;

/// An engine, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EngineKind {
    Convodb,
    ConvodbBorrowed,
    ConvodbUncached,
    Memory,
    Lmdb,
    SqliteComposite,
    SqliteExclusive,
    SqliteSingle,
    Postgres,
}

impl EngineKind {
    pub(crate) const ALL: [EngineKind; 9] = [
        EngineKind::Convodb,
        EngineKind::ConvodbBorrowed,
        EngineKind::ConvodbUncached,
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
            EngineKind::ConvodbUncached => "convodb-uncached",
            EngineKind::Memory => "memory",
            EngineKind::Lmdb => "lmdb",
            EngineKind::SqliteComposite => "sqlite-composite",
            EngineKind::SqliteExclusive => "sqlite-exclusive",
            EngineKind::SqliteSingle => "sqlite-single",
            EngineKind::Postgres => "postgres",
        }
    }

    /// What its store is of; none for what has no store.
    const fn format(self) -> Option<Format> {
        match self {
            EngineKind::Convodb | EngineKind::ConvodbBorrowed => Some(Format::Convodb),
            EngineKind::ConvodbUncached => Some(Format::ConvodbUncached),
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
            .with_context(|| format!("no engine is called {text}; there are {known}"))
    }
}

/// An engine with its store of some rows.
pub(crate) struct OpenEngine {
    pub(crate) kind: EngineKind,
    pub(crate) rows: u64,
    pub(crate) version: String,
    /// What the store takes on disk; 0 in memory.
    pub(crate) store_bytes: u64,
    pub(crate) engine: Box<dyn Engine>,
}

/// Opens engines on stores of one size, which are made where they are not there.
pub(crate) fn open_all(
    kinds: &[EngineKind],
    directory: &Path,
    rows: u64,
    reference: &Arc<Reference>,
    progress: &ProgressBar,
) -> Result<Vec<OpenEngine>> {
    let mut stores = Stores::new(directory, rows)?;
    // All stores are made before any is opened, so that the rows they are made from can go.
    for format in kinds.iter().filter_map(|kind| kind.format()) {
        stores.path(format, progress)?;
    }
    stores.release_rows();
    let mut convodb = None;
    let mut opened = Vec::new();
    for kind in kinds {
        progress.set_message(format!("opening {}", kind.as_str()));
        let path = kind.format().map(|format| stores.path(format, progress)).transpose()?;
        let path = path.as_deref();
        let mut version = String::new();
        let mut store_bytes = path.map(stores::bytes).transpose()?.unwrap_or_default();
        let engine: Box<dyn Engine> = match (kind, path) {
            (EngineKind::Memory, _) => Box::new(Memory::new(reference.clone())),
            (EngineKind::Convodb | EngineKind::ConvodbBorrowed, Some(path)) => {
                // One file is opened once; both ways of reading share it.
                let store = match &convodb {
                    Some(store) => Clone::clone(store),
                    None => convodb::open(path, CACHE_BYTES)?,
                };
                convodb = Some(store.clone());
                version = versions();
                let rows = if *kind == EngineKind::Convodb { Rows::Owned } else { Rows::Borrowed };
                Box::new(Convodb::new(store, rows))
            }
            (EngineKind::ConvodbUncached, Some(path)) => {
                version = versions();
                Box::new(Convodb::new(convodb::open_uncached(path, CACHE_BYTES)?, Rows::Owned))
            }
            (EngineKind::Lmdb, Some(path)) => {
                let (env, tables) = lmdb::open(path)?;
                let number = heed::lmdb_version();
                version = format!("{}.{}.{}", number.major, number.minor, number.patch);
                Box::new(Lmdb::new(env, tables))
            }
            (
                EngineKind::SqliteComposite
                | EngineKind::SqliteExclusive
                | EngineKind::SqliteSingle,
                Some(path),
            ) => {
                version = rusqlite::version().to_owned();
                let locking = match kind {
                    EngineKind::SqliteExclusive => Locking::Exclusive,
                    _ => Locking::Shared,
                };
                let connection = sqlite::open(path, CACHE_BYTES, locking)?;
                let indexes = match kind {
                    EngineKind::SqliteSingle => Indexes::Single,
                    _ => Indexes::Composite,
                };
                if indexes == Indexes::Composite {
                    sqlite::plan_once(&connection)?;
                }
                Box::new(Sqlite::new(connection, indexes))
            }
            (EngineKind::Postgres, Some(path)) => {
                let mut postgres = Postgres::open(path)?;
                (version, store_bytes) = postgres.version_and_bytes()?;
                Box::new(postgres)
            }
            (_, None) => bail!("{} has no store", kind.as_str()),
        };
        opened.push(OpenEngine { kind: *kind, rows, version, store_bytes, engine });
    }
    Ok(opened)
}

/// The versions of convodb and of what it stands on.
fn versions() -> String {
    let number = |package| locked(package).unwrap_or_default();
    format!("{} on redb {}", number("convodb"), number("redb"))
}

/// The version of a package that this program was built with.
fn locked(package: &str) -> Option<String> {
    let lock = include_str!("../Cargo.lock");
    let entry = lock.split("[[package]]").find(|e| e.contains(&format!("name = \"{package}\"")))?;
    let version = entry.lines().find_map(|line| line.strip_prefix("version = "))?;
    Some(version.trim_matches('"').to_owned())
}
