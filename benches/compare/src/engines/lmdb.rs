//! LMDB engine, with convodb's layout and read strategy.
//!
//! Rows are clustered by user and position; six index databases have the same keys as convodb's
//! indexes; another database maps ids to positions. A page is one range of index entries. Its rows
//! are read by a few steps of a cursor if they are close together, else by a lookup each.

use std::ops::Bound::{Excluded, Included};
use std::path::Path;

use anyhow::{Context, Result, bail};
use convodb::Sort;
use convodb_bench::filter::{ACTIVITY_SHAPES, Field, ListFilter, SHAPES, value_of};
use convodb_bench::row::Row;
use convodb_bench::sql::Key;
use heed::types::Bytes;
use heed::{CommitOrAbort, Env, EnvOpenOptions, PutFlags, RoRange, RoRevRange, RoTxn, WithTls};
use uuid::Uuid;

use crate::dataset::SortedRows;
use crate::dataset::record::{activity_key, decode, entry_key, position_of, row_key};
use crate::engines::{Engine, positions};
use crate::list::{List, Page, PageQuery, PageStart};
use crate::term::term;

/// The most cursor steps from one row to the next, as in convodb.
const MAX_STRIDE: usize = 8;
/// Size of the memory map: larger than any measured store. The file is only as big as its pages.
const MAP_BYTES: usize = 1 << 36;
const NAMES: [&str; 4] = ["conversations", "conversation_ids", "messages", "index_activity"];
const ENTRY_NAMES: [&str; Field::ALL.len()] = [
    "index_type",
    "index_assistant",
    "index_sender",
    "index_customer",
    "index_external",
    "index_ai_off",
];

/// The length of what entry keys begin with.
const USER_AND_TERM_BYTES: usize = 12;

/// A database with byte keys and byte values.
pub(crate) type Table = heed::Database<'static, Bytes, Bytes>;
type AscendingRange<'t> = RoRange<'t, Bytes, Bytes>;
type DescendingRange<'t> = RoRevRange<'t, Bytes, Bytes>;

/// An LMDB environment and its prepared lists.
#[derive(Clone)]
pub(crate) struct Lmdb {
    env: Env<WithTls>,
    tables: Tables,
    lists: Vec<Prepared>,
}

#[derive(Clone)]
struct Prepared {
    filter: ListFilter,
    sort: Sort,
    /// The leading field of the list's ranges and the term of each; empty for all conversations.
    terms: Vec<(Field, u64)>,
}

/// The databases of a store.
#[derive(Clone, Copy)]
pub(crate) struct Tables {
    pub(crate) rows: Table,
    pub(crate) ids: Table,
    pub(crate) messages: Table,
    /// Index entries by the leading field; values are empty.
    pub(crate) entries: [Table; Field::ALL.len()],
    /// Index entries by last activity; values are empty.
    pub(crate) activity: Table,
}

/// Opens the store in a directory; creates it if missing.
#[expect(unsafe_code, reason = "heed has no safe open; nothing else maps these files")]
pub(crate) fn open(path: &Path) -> Result<(Env<WithTls>, Tables)> {
    std::fs::create_dir_all(path)?;
    let mut options = EnvOpenOptions::new();
    options.map_size(MAP_BYTES).max_dbs(10);
    // SAFETY: only this program uses the directory, and it opens each store once at a time.
    let env = unsafe { options.open(path)? };
    let write = env.write_txn()?;
    let opened = env.create_databases_and_commit(write, |opener, write| {
        let mut open = |name| opener.create_database::<Bytes, Bytes>(write, Some(name));
        let [rows, ids, messages, activity] = NAMES;
        let first = [open(rows)?, open(ids)?, open(messages)?, open(activity)?];
        let [a, b, c, d, e, f] = ENTRY_NAMES;
        let entries = [open(a)?, open(b)?, open(c)?, open(d)?, open(e)?, open(f)?];
        Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit((first, entries)))
    })?;
    let ([rows, ids, messages, activity], entries) =
        opened.commit().context("cannot create the databases")?;
    Ok((env, Tables { rows, ids, messages, entries, activity }))
}

/// Loads the dataset in one transaction; appends to every database in key order.
pub(crate) fn load(path: &Path, sorted: &SortedRows) -> Result<()> {
    let (env, tables) = open(path)?;
    let mut write = env.write_txn()?;
    let mut ids = Vec::new();
    let mut entries: [Vec<[u8; 20]>; Field::ALL.len()] = Default::default();
    let mut activity = Vec::new();
    for (user, position, record) in sorted.records() {
        let key = row_key(user, position);
        tables.rows.put_with_flags(&mut write, PutFlags::APPEND, &key, record)?;
        let row = decode(user, position, record)?;
        ids.push((id_key(user, row.id), position));
        for (field, key) in entries_of(user, position, &row) {
            entries[field as usize].push(key);
        }
        activity.extend(activity_entries(user, position, &row));
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
    activity.sort_unstable();
    for key in activity {
        tables.activity.put_with_flags(&mut write, PutFlags::APPEND, &key, &[])?;
    }
    write.commit()?;
    env.force_sync()?;
    Ok(())
}

/// The key that maps an id to a position.
pub(crate) fn id_key(user: u32, id: Uuid) -> [u8; 20] {
    let mut key = [0; 20];
    key[..4].copy_from_slice(&user.to_be_bytes());
    key[4..].copy_from_slice(id.as_bytes());
    key
}

/// The index entries of a row, each with its leading field.
pub(crate) fn entries_of(
    user: u32,
    position: u64,
    row: &Row,
) -> impl Iterator<Item = (Field, [u8; 20])> {
    SHAPES.iter().filter_map(move |shape| {
        let (leading, term) = term(shape, |field| value_of(row, field))?;
        Some((leading, entry_key(user, term, position)))
    })
}

/// The entries of a row in the index by last activity.
pub(crate) fn activity_entries(
    user: u32,
    position: u64,
    row: &Row,
) -> impl Iterator<Item = [u8; 26]> {
    let key = Key { updated_at: row.updated_at, position };
    ACTIVITY_SHAPES.iter().filter_map(move |shape| {
        let has_all = shape.iter().all(|field| value_of(row, *field).is_some());
        let term = term(shape, |field| value_of(row, field)).map_or(0, |(_, term)| term);
        has_all.then(|| activity_key(user, term, key))
    })
}

impl Lmdb {
    pub(crate) const fn new(env: Env<WithTls>, tables: Tables) -> Self {
        Self { env, tables, lists: Vec::new() }
    }
}

/// A range scan: descending from newer to older positions, or ascending.
enum EntryScan<'t> {
    Descending(DescendingRange<'t>),
    Ascending(AscendingRange<'t>),
}

impl<'t> EntryScan<'t> {
    /// Opens a scan from a page start over the keys that `key` encodes for sort keys.
    fn open<const N: usize>(
        table: &Table,
        read: &'t RoTxn<'_>,
        start: PageStart,
        key: impl Fn(Key) -> [u8; N],
    ) -> Result<Self> {
        // The bounds borrow the keys, which live until the end of this function.
        let (oldest, newest) = (key(Key::MIN), key(Key::MAX));
        let (oldest, newest) = (oldest.as_slice(), newest.as_slice());
        Ok(match start {
            PageStart::First => {
                EntryScan::Descending(table.rev_range(read, &(Included(oldest), Included(newest)))?)
            }
            PageStart::After(after) | PageStart::Offset { after, .. } => {
                let end = key(after);
                EntryScan::Descending(
                    table.rev_range(read, &(Included(oldest), Excluded(end.as_slice())))?,
                )
            }
            PageStart::Before(before) => {
                let start = key(before.next());
                EntryScan::Ascending(
                    table.range(read, &(Included(start.as_slice()), Included(newest)))?,
                )
            }
        })
    }

    fn next(&mut self) -> Result<Option<(&'t [u8], &'t [u8])>> {
        Ok(match self {
            EntryScan::Descending(steps) => steps.next().transpose()?,
            EntryScan::Ascending(steps) => steps.next().transpose()?,
        })
    }
}

/// The entries of several scans of one table in the order of their sort keys, which end the keys.
struct Merge<'t> {
    scans: Vec<EntryScan<'t>>,
    /// The next entry of each scan.
    heads: Vec<Option<(&'t [u8], &'t [u8])>>,
}

impl<'t> Merge<'t> {
    fn new(mut scans: Vec<EntryScan<'t>>) -> Result<Self> {
        let heads = match scans.len() {
            1 => Vec::new(),
            _ => scans.iter_mut().map(EntryScan::next).collect::<Result<_>>()?,
        };
        Ok(Self { scans, heads })
    }

    fn next(&mut self) -> Result<Option<(&'t [u8], &'t [u8])>> {
        if let [scan] = &mut self.scans[..] {
            return scan.next();
        }
        let sort_key = |at: &usize| self.heads[*at].map(|(key, _)| &key[USER_AND_TERM_BYTES..]);
        let present = (0..self.heads.len()).filter(|at| self.heads[*at].is_some());
        let next = match self.scans.first() {
            Some(EntryScan::Ascending(_)) => present.min_by_key(sort_key),
            _ => present.max_by_key(sort_key),
        };
        let Some(at) = next else { return Ok(None) };
        Ok(std::mem::replace(&mut self.heads[at], self.scans[at].next()?))
    }
}

/// Reads rows by positions that arrive in the order of a scan.
struct RowFetch<'t> {
    table: &'t Table,
    read: &'t RoTxn<'t>,
    user: u32,
    start: PageStart,
    access: Access<'t>,
}

/// How the next row is found.
enum Access<'t> {
    /// No row was read yet; rows may be close together.
    Undecided,
    Scan(EntryScan<'t>),
    Get,
}

impl<'t> RowFetch<'t> {
    fn record(&mut self, position: u64) -> Result<&'t [u8]> {
        if matches!(self.access, Access::Undecided) {
            // Begin the scan at the row itself.
            let at = |position| Key { updated_at: 0, position };
            let start = match self.start {
                PageStart::Before(_) => PageStart::Before(at(position - 1)),
                PageStart::First | PageStart::After(_) | PageStart::Offset { .. } => {
                    PageStart::After(at(position + 1))
                }
            };
            self.access = Access::Scan(EntryScan::open(self.table, self.read, start, |key| {
                row_key(self.user, key.position)
            })?);
        }
        let key = row_key(self.user, position);
        if let Access::Scan(scan) = &mut self.access {
            for _ in 0..MAX_STRIDE {
                let Some((found, record)) = scan.next()? else { break };
                if found == key {
                    return Ok(record);
                }
                let passed = match self.start {
                    PageStart::Before(_) => found > key.as_slice(),
                    PageStart::First | PageStart::After(_) | PageStart::Offset { .. } => {
                        found < key.as_slice()
                    }
                };
                if passed {
                    break;
                }
            }
            self.access = Access::Get;
        }
        self.table.get(self.read, &key)?.context("no row at the position of an index entry")
    }
}

impl Engine for Lmdb {
    fn prepare(&mut self, lists: &[List]) -> Result<()> {
        self.lists = lists
            .iter()
            .map(|list| {
                let filter = list.filter.without_implied_kind();
                let of_range =
                    |range: &ListFilter| term(&range.fields(), |field| range.value(field));
                let terms = filter.ranges().iter().filter_map(of_range).collect();
                Prepared { filter, sort: list.sort, terms }
            })
            .collect();
        Ok(())
    }

    fn count(&mut self, list: &List, created: Option<(u64, u64)>) -> Result<u64> {
        let terms = &self.lists.get(list.number).context("list not prepared")?.terms;
        let (user, tables, range) = (list.user, &self.tables, positions(created));
        let read = self.env.read_txn()?;
        let count = |table: &Table, key: &dyn Fn(u64) -> Vec<u8>| -> Result<u64> {
            let (first, end) = (key(range.start), key(range.end));
            let range = (Included(first.as_slice()), Excluded(end.as_slice()));
            let mut count = 0;
            for entry in table.range(&read, &range)? {
                entry?;
                count += 1;
            }
            Ok(count)
        };
        if terms.is_empty() {
            return count(&tables.rows, &|position| row_key(user, position).to_vec());
        }
        let of_range = |(leading, term): &(Field, u64)| {
            let key = |position| entry_key(user, *term, position).to_vec();
            count(&tables.entries[*leading as usize], &key)
        };
        terms.iter().map(of_range).sum()
    }

    fn fork(&self) -> Option<Box<dyn Engine + Send>> {
        Some(Box::new(self.clone()))
    }

    fn page(&mut self, query: &PageQuery<'_>) -> Result<Page> {
        let prepared = self.lists.get(query.list.number).context("list not prepared")?;
        let Prepared { filter, sort, terms } = prepared;
        let (user, tables) = (query.list.user, &self.tables);
        let read = self.env.read_txn()?;
        let mut rows = Vec::with_capacity(query.page_size);
        let mut more = false;
        let (table, start) = (&tables.rows, query.start);
        let fetch = |access| Some(RowFetch { table, read: &read, user, start, access });
        let (scans, mut fetch) = match (sort, terms.first()) {
            (Sort::LastActivity, leading) => {
                let all = leading.is_none().then_some(0);
                let terms = terms.iter().map(|(_, term)| *term).chain(all);
                let scan = |term| {
                    let key = |key| activity_key(user, term, key);
                    EntryScan::open(&tables.activity, &read, start, key)
                };
                (terms.map(scan).collect::<Result<Vec<_>>>()?, fetch(Access::Get))
            }
            (Sort::CreatedAt, None) => {
                let key = |key: Key| row_key(user, key.position);
                (vec![EntryScan::open(table, &read, start, key)?], None)
            }
            (Sort::CreatedAt, Some((leading, _))) => {
                let scan = |(leading, term): &(Field, u64)| {
                    let key = |key: Key| entry_key(user, *term, key.position);
                    EntryScan::open(&tables.entries[*leading as usize], &read, start, key)
                };
                let access = match leading {
                    Field::Kind | Field::Assistant | Field::Sender | Field::AiOff => {
                        Access::Undecided
                    }
                    Field::Customer | Field::External => Access::Get,
                };
                (terms.iter().map(scan).collect::<Result<Vec<_>>>()?, fetch(access))
            }
        };
        let mut scan = Merge::new(scans)?;
        while let Some((key, value)) = scan.next()? {
            if rows.len() == query.page_size {
                more = true;
                break;
            }
            let position = position_of(key);
            let record = match &mut fetch {
                None => value,
                Some(fetch) => fetch.record(position)?,
            };
            let row = decode(user, position, record)?;
            if !filter.matches(&row) {
                bail!("an index entry refers to a row of another list");
            }
            rows.push(row);
        }
        if matches!(query.start, PageStart::Before(_)) {
            rows.reverse();
        }
        Ok(Page { rows, more })
    }
}
