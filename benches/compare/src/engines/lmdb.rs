//! LMDB with convodb's layout: rows clustered by owner and position, five databases of entries
//! with the same keys, look-ups by id. And with convodb's way of reading: one range of entries; its
//! rows by a few steps of a cursor where they lie close together, else by a get each.

use std::ops::Bound::{Excluded, Included};
use std::path::Path;

use anyhow::{Context, Result, bail};
use heed::types::Bytes;
use heed::{CommitOrAbort, Env, EnvOpenOptions, PutFlags, RoRange, RoRevRange, RoTxn, WithTls};

use crate::dataset::Sorted;
use crate::dataset::record::{decode, entry_key, position_of, row_key};
use crate::dataset::row::Row;
use crate::engines::Engine;
use crate::filter::{Field, SHAPES, Wanted, term, value_of};
use crate::list::{Ask, List, Page, Way};

/// The most steps from one row to the next, as in convodb.
const MAX_STRIDE: usize = 8;
/// Room for any store that is measured; the file is only as big as its pages.
const MAP_BYTES: usize = 1 << 36;
const NAMES: [&str; 3] = ["conversations", "conversation_ids", "messages"];
const ENTRY_NAMES: [&str; Field::ALL.len()] =
    ["index_type", "index_assistant", "index_sender", "index_customer", "index_external"];

/// A table of bytes to bytes.
pub(crate) type Table = heed::Database<'static, Bytes, Bytes>;
type Steps<'t> = RoRange<'t, Bytes, Bytes>;
type BackSteps<'t> = RoRevRange<'t, Bytes, Bytes>;

/// A store of LMDB's.
pub(crate) struct Lmdb {
    env: Env<WithTls>,
    tables: Tables,
    lists: Vec<(Wanted, Vec<Field>)>,
}

/// Its tables.
#[derive(Clone, Copy)]
pub(crate) struct Tables {
    pub(crate) rows: Table,
    pub(crate) ids: Table,
    pub(crate) messages: Table,
    /// By the number of the leading field; values are empty.
    pub(crate) entries: [Table; Field::ALL.len()],
}

/// Opens a store, or makes an empty one in the directory.
#[expect(unsafe_code, reason = "heed has no other way; nothing else maps these files")]
pub(crate) fn open(path: &Path) -> Result<(Env<WithTls>, Tables)> {
    std::fs::create_dir_all(path)?;
    let mut options = EnvOpenOptions::new();
    options.map_size(MAP_BYTES).max_dbs(8);
    // SAFETY: the directory is this program's own, and it opens each store once at a time.
    let env = unsafe { options.open(path)? };
    let write = env.write_txn()?;
    let opened = env.create_databases_and_commit(write, |opener, write| {
        let mut open = |name| opener.create_database::<Bytes, Bytes>(write, Some(name));
        let [rows, ids, messages] = NAMES;
        let first = [open(rows)?, open(ids)?, open(messages)?];
        let [a, b, c, d, e] = ENTRY_NAMES;
        let entries = [open(a)?, open(b)?, open(c)?, open(d)?, open(e)?];
        Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit((first, entries)))
    })?;
    let ([rows, ids, messages], entries) = opened.commit().context("the tables were not made")?;
    Ok((env, Tables { rows, ids, messages, entries }))
}

/// Loads a corpus: every table is appended to in the order of its keys, in one transaction.
pub(crate) fn load(path: &Path, sorted: &Sorted) -> Result<()> {
    let (env, tables) = open(path)?;
    let mut write = env.write_txn()?;
    let mut ids = Vec::new();
    let mut entries: [Vec<[u8; 20]>; Field::ALL.len()] = Default::default();
    for (owner, position, record) in sorted.records() {
        let key = row_key(owner, position);
        tables.rows.put_with_flags(&mut write, PutFlags::APPEND, &key, record)?;
        let row = decode(owner, position, record)?;
        ids.push((id_key(owner, &row), position));
        for (field, key) in entries_of(owner, position, &row) {
            entries[field as usize].push(key);
        }
    }
    ids.sort_unstable();
    for (key, position) in ids {
        let position = position.to_be_bytes();
        tables.ids.put_with_flags(&mut write, PutFlags::APPEND, &key, &position)?;
    }
    for (table, mut keys) in tables.entries.iter().zip(entries) {
        keys.sort_unstable();
        for key in keys {
            table.put_with_flags(&mut write, PutFlags::APPEND, &key, &[])?;
        }
    }
    write.commit()?;
    env.force_sync()?;
    Ok(())
}

/// The key of a look-up by id.
pub(crate) fn id_key(owner: u32, row: &Row) -> [u8; 20] {
    let mut key = [0; 20];
    key[..4].copy_from_slice(&owner.to_be_bytes());
    key[4..].copy_from_slice(row.id.as_bytes());
    key
}

/// The entries of a row, each with the field whose table it is in.
pub(crate) fn entries_of(
    owner: u32,
    position: u64,
    row: &Row,
) -> impl Iterator<Item = (Field, [u8; 20])> {
    SHAPES.iter().filter_map(move |shape| {
        let (leading, term) = term(shape, |field| value_of(row, field))?;
        Some((leading, entry_key(owner, term, position)))
    })
}

impl Lmdb {
    pub(crate) const fn new(env: Env<WithTls>, tables: Tables) -> Self {
        Self { env, tables, lists: Vec::new() }
    }
}

/// Positions from a place on: newer to older, or older to newer.
enum Run<'t> {
    Down(BackSteps<'t>),
    Up(Steps<'t>),
}

impl<'t> Run<'t> {
    /// The keys that `key` makes of positions, from the place on.
    fn open<const N: usize>(
        table: &Table,
        read: &'t RoTxn<'_>,
        way: Way,
        key: impl Fn(u64) -> [u8; N],
    ) -> Result<Self> {
        // Bounds by reference: the keys are this function's own.
        let (oldest, newest) = (key(0), key(u64::MAX));
        let (oldest, newest) = (oldest.as_slice(), newest.as_slice());
        Ok(match way {
            Way::First => Run::Down(table.rev_range(read, &(Included(oldest), Included(newest)))?),
            Way::After(position) | Way::Offset { after: position, .. } => {
                let end = key(position);
                Run::Down(table.rev_range(read, &(Included(oldest), Excluded(end.as_slice())))?)
            }
            Way::Before(position) => {
                let start = key(position + 1);
                Run::Up(table.range(read, &(Included(start.as_slice()), Included(newest)))?)
            }
        })
    }

    fn next(&mut self) -> Result<Option<(&'t [u8], &'t [u8])>> {
        Ok(match self {
            Run::Down(steps) => steps.next().transpose()?,
            Run::Up(steps) => steps.next().transpose()?,
        })
    }
}

/// Reads the rows of positions that come in the order of a run.
struct Fetch<'t> {
    table: &'t Table,
    read: &'t RoTxn<'t>,
    owner: u32,
    way: Way,
    by: By<'t>,
}

/// How the next row is reached.
enum By<'t> {
    /// No row was read yet, and rows may lie close together.
    Start,
    Steps(Run<'t>),
    Gets,
}

impl<'t> Fetch<'t> {
    fn record(&mut self, position: u64) -> Result<&'t [u8]> {
        if matches!(self.by, By::Start) {
            // The run begins at the row itself.
            let way = match self.way {
                Way::Before(_) => Way::Before(position - 1),
                Way::First | Way::After(_) | Way::Offset { .. } => Way::After(position + 1),
            };
            self.by = By::Steps(Run::open(self.table, self.read, way, |position| {
                row_key(self.owner, position)
            })?);
        }
        let key = row_key(self.owner, position);
        if let By::Steps(run) = &mut self.by {
            for _ in 0..MAX_STRIDE {
                let Some((found, record)) = run.next()? else { break };
                if found == key {
                    return Ok(record);
                }
                let passed = match self.way {
                    Way::Before(_) => found > key.as_slice(),
                    Way::First | Way::After(_) | Way::Offset { .. } => found < key.as_slice(),
                };
                if passed {
                    break;
                }
            }
            self.by = By::Gets;
        }
        self.table.get(self.read, &key)?.context("an entry leads to no row")
    }
}

impl Engine for Lmdb {
    fn prepare(&mut self, lists: &[List]) -> Result<()> {
        self.lists = lists
            .iter()
            .map(|list| {
                let wanted = list.wanted.without_implied_kind();
                let fields = wanted.fields();
                (wanted, fields)
            })
            .collect();
        Ok(())
    }

    fn page(&mut self, ask: &Ask<'_>) -> Result<Page> {
        let (wanted, fields) =
            self.lists.get(ask.list.number).context("a list that was not prepared")?;
        let (owner, tables) = (ask.list.owner, &self.tables);
        let read = self.env.read_txn()?;
        let mut rows = Vec::with_capacity(ask.page_size);
        let mut more = false;
        let term = term(fields, |field| wanted.value(field));
        let (mut run, mut fetch) = match term {
            None => (Run::open(&tables.rows, &read, ask.way, |at| row_key(owner, at))?, None),
            Some((leading, term)) => {
                let table = &tables.entries[leading as usize];
                let run = Run::open(table, &read, ask.way, |at| entry_key(owner, term, at))?;
                let by = match leading {
                    Field::Kind | Field::Assistant | Field::Sender => By::Start,
                    Field::Customer | Field::External => By::Gets,
                };
                let (table, read) = (&tables.rows, &read);
                (run, Some(Fetch { table, read, owner, way: ask.way, by }))
            }
        };
        while let Some((key, value)) = run.next()? {
            if rows.len() == ask.page_size {
                more = true;
                break;
            }
            let position = position_of(key);
            let record = match &mut fetch {
                None => value,
                Some(fetch) => fetch.record(position)?,
            };
            let row = decode(owner, position, record)?;
            if !wanted.admits(&row) {
                bail!("a term leads to a row of another list");
            }
            rows.push(row);
        }
        if matches!(ask.way, Way::Before(_)) {
            rows.reverse();
        }
        Ok(Page { rows, more })
    }
}
