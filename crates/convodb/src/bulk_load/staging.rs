//! What a bulk load has gathered: rows and their ids, being sorted, on disk where memory ends.

use std::path::PathBuf;

use crate::encoding::key::{ArrivalKey, IdArrivalKey, MessageKey, RowKey, UuidKey};
use crate::encoding::{record, row};
use crate::error::Result;
use crate::kv::external_sort::ExternalSorter;
use crate::model::conversation::Conversation;
use crate::model::id::UserId;
use crate::model::message::Message;
use crate::model::position::Position;
use crate::tables::Records;

/// How a bulk load uses the machine.
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
    /// Memory for sorting, in bytes; 256 MiB by default. What has no room is sorted on disk. Buffers
    /// grow by doubling, so at its peak a load may hold about twice as much.
    pub budget_bytes: usize,
    /// Where to sort on disk; the system's directory for temporary files by default.
    pub directory: PathBuf,
}

impl Default for BulkOptions {
    fn default() -> Self {
        Self { budget_bytes: 256 << 20, directory: std::env::temp_dir() }
    }
}

/// What was pushed, being sorted.
pub(crate) struct Staging {
    pub(crate) options: BulkOptions,
    pub(crate) arrivals: u64,
    /// Conversations with their messages, in list order.
    pub(crate) rows: ExternalSorter<ArrivalKey>,
    /// Their ids, to find the ones that are there.
    pub(crate) ids: ExternalSorter<IdArrivalKey>,
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

    /// Adds a row. After an error nothing more can be added.
    pub(crate) fn push(
        &mut self,
        user: UserId,
        conversation: &Conversation,
        history: &[Message],
    ) -> Result<()> {
        let arrival = self.arrivals;
        self.arrivals += 1;
        let id = UuidKey { user, uuid: conversation.id.uuid() };
        self.ids.push(IdArrivalKey { id, arrival }, |_| {})?;
        let created_at = conversation.created_at;
        let first = RowKey::new(user, Position::first_at(created_at));
        self.rows.push(ArrivalKey { user, created_at, arrival }, |bundle| {
            put_record(bundle, |bytes| {
                row::encode_conversation(first, &conversation.borrowed(), bytes);
            });
            for (number, message) in (1..).zip(history) {
                let key = MessageKey::new(first, number);
                put_record(bundle, |bytes| record::encode_message(key, message, bytes));
            }
        })
    }
}

/// The arrivals whose id was there before, in the store or earlier in the load, and how many of
/// them repeat one of the load that is new.
pub(crate) fn present(
    ids: ExternalSorter<IdArrivalKey>,
    arrivals: u64,
    stored: &Records<UuidKey>,
) -> Result<(ArrivalSet, u64)> {
    let mut repeated = 0;
    let mut present = ArrivalSet::none_of(arrivals);
    let nothing_stored = stored.iter()?.next().transpose()?.is_none();
    let mut new = None;
    for entry in ids.sorted()? {
        let (IdArrivalKey { id, arrival }, _) = entry?;
        if new == Some(id) {
            present.add(arrival);
            repeated += 1;
        } else if !nothing_stored && stored.get(id)?.is_some() {
            present.add(arrival);
        } else {
            new = Some(id);
        }
    }
    Ok((present, repeated))
}

/// A set of arrivals: a bit each.
pub(crate) struct ArrivalSet(Vec<u64>);

impl ArrivalSet {
    fn none_of(count: u64) -> Self {
        Self(vec![0; usize::try_from(count.div_ceil(64)).unwrap_or(0)])
    }

    fn add(&mut self, arrival: u64) {
        if let Some(word) = usize::try_from(arrival / 64).ok().and_then(|at| self.0.get_mut(at)) {
            *word |= 1 << (arrival % 64);
        }
    }

    pub(crate) fn has(&self, arrival: u64) -> bool {
        let word = usize::try_from(arrival / 64).ok().and_then(|at| self.0.get(at));
        word.is_some_and(|word| word >> (arrival % 64) & 1 == 1)
    }
}

/// Appends a record with its length before it.
fn put_record(bundle: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = bundle.len();
    bundle.extend([0; size_of::<u32>()]);
    write(bundle);
    // Limits on texts keep a record far below 4 GiB.
    let length = u32::try_from(bundle.len() - start - size_of::<u32>()).unwrap_or(u32::MAX);
    bundle[start..start + size_of::<u32>()].copy_from_slice(&length.to_le_bytes());
}

/// The next record of a parcel, which then begins after it; none at its end.
pub(crate) fn take_record<'a>(bundle: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = bundle.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (record, rest) = rest.split_at_checked(length)?;
    *bundle = rest;
    Some(record)
}
