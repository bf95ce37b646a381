//! Staging of a bulk load: external sorts of the pushed conversations and of their ids.

use std::path::PathBuf;

use crate::encoding::key::{ArrivalKey, IdArrivalKey, MessageKey, RowKey, UuidKey};
use crate::encoding::{record, row};
use crate::error::Result;
use crate::kv::external_sort::ExternalSorter;
use crate::model::conversation::Conversation;
use crate::model::id::UserId;
use crate::model::message::Message;
use crate::model::position::Position;
use crate::tables::schema::BytesTable;

/// The resources of a bulk load.
///
/// ```
/// use convodb::BulkOptions;
/// let options = BulkOptions { budget_bytes: 64 << 20, ..BulkOptions::default() };
/// # let store = convodb::Store::in_memory()?;
/// store.bulk_load(options).finish()?;
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkOptions {
    /// Memory for sorting, in bytes; 256 MiB by default. What does not fit is sorted on disk.
    /// Buffers grow by doubling, so the peak is about twice as much.
    pub budget_bytes: usize,
    /// The directory of temporary files; the system's directory for them by default.
    pub directory: PathBuf,
}

impl Default for BulkOptions {
    fn default() -> Self {
        Self { budget_bytes: 256 << 20, directory: std::env::temp_dir() }
    }
}

/// The conversations pushed so far. An *arrival* is the index of a conversation in the order of the
/// pushes.
pub(crate) struct Staging {
    pub(crate) options: BulkOptions,
    pub(crate) arrivals: u64,
    /// Bundles of a conversation and its messages, sorted into list order.
    pub(crate) rows: ExternalSorter<ArrivalKey, Vec<u8>>,
    /// The ids of the conversations, to find duplicates.
    pub(crate) ids: ExternalSorter<IdArrivalKey, ()>,
}

impl Staging {
    pub(crate) fn new(options: BulkOptions) -> Self {
        Self {
            arrivals: 0,
            rows: ExternalSorter::new(options.budget_bytes / 2, &options.directory),
            ids: ExternalSorter::new(options.budget_bytes / 16, &options.directory),
            options,
        }
    }

    /// Adds a conversation. Must not be called again after an error.
    pub(crate) fn push(
        &mut self,
        user: UserId,
        conversation: &Conversation,
        messages: &[Message],
    ) -> Result<()> {
        let arrival = self.arrivals;
        self.arrivals += 1;
        let id = UuidKey { user, uuid: conversation.id.uuid() };
        self.ids.push(IdArrivalKey { id, arrival }, ())?;
        let created_at = conversation.created_at;
        let first = RowKey::new(user, Position::first_at(created_at));
        self.rows.push_with(ArrivalKey { user, created_at, arrival }, |bundle| {
            put_record(bundle, |bytes| {
                let stored = u32::try_from(messages.len()).unwrap_or(u32::MAX);
                row::encode_conversation(first, &conversation.borrowed(), stored, bytes);
            });
            for (number, message) in (1..).zip(messages) {
                let key = MessageKey::new(first, number);
                put_record(bundle, |bytes| record::encode_message(key, message, bytes));
            }
        })
    }
}

/// Returns the arrivals with an id that the store or an earlier arrival has, and the number of
/// those that repeat an earlier arrival.
pub(crate) fn duplicates(
    ids: ExternalSorter<IdArrivalKey, ()>,
    arrivals: u64,
    stored: &BytesTable<UuidKey>,
) -> Result<(ArrivalSet, u64)> {
    let mut repeated = 0;
    let mut duplicates = ArrivalSet::empty(arrivals);
    let nothing_stored = stored.iter()?.next().transpose()?.is_none();
    let mut new = None;
    for entry in ids.sorted()? {
        let (IdArrivalKey { id, arrival }, _) = entry?;
        if new == Some(id) {
            duplicates.insert(arrival);
            repeated += 1;
        } else if !nothing_stored && stored.get(id)?.is_some() {
            duplicates.insert(arrival);
        } else {
            new = Some(id);
        }
    }
    Ok((duplicates, repeated))
}

/// A set of arrivals: one bit for each.
pub(crate) struct ArrivalSet(Vec<u64>);

impl ArrivalSet {
    fn empty(arrivals: u64) -> Self {
        Self(vec![0; usize::try_from(arrivals.div_ceil(64)).unwrap_or(0)])
    }

    fn insert(&mut self, arrival: u64) {
        if let Some(word) = usize::try_from(arrival / 64).ok().and_then(|at| self.0.get_mut(at)) {
            *word |= 1 << (arrival % 64);
        }
    }

    pub(crate) fn contains(&self, arrival: u64) -> bool {
        let word = usize::try_from(arrival / 64).ok().and_then(|at| self.0.get(at));
        word.is_some_and(|word| word >> (arrival % 64) & 1 == 1)
    }
}

/// Appends a record to a bundle: `length u32, little-endian | record`.
fn put_record(bundle: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = bundle.len();
    bundle.extend([0; size_of::<u32>()]);
    write(bundle);
    // The limits on texts restrict a record to far less than 4 GiB.
    let length = u32::try_from(bundle.len() - start - size_of::<u32>()).unwrap_or(u32::MAX);
    bundle[start..start + size_of::<u32>()].copy_from_slice(&length.to_le_bytes());
}

/// Removes the first record of a bundle and returns it; `None` if the bundle is empty.
pub(crate) fn take_record<'a>(bundle: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = bundle.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (record, rest) = rest.split_at_checked(length)?;
    *bundle = rest;
    Some(record)
}
