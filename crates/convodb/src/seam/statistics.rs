//! Statistics: the ranges of counters that a request reads, and their sums.

use std::borrow::Cow;

use uuid::Uuid;

use crate::encoding::cells::Place;
use crate::encoding::counter::{self, Cell};
use crate::encoding::key::{CounterKey, RowKey};
use crate::encoding::time_bucket::TimeBucket;
use crate::error::Result;
use crate::model::conversation::ConversationRef;
use crate::model::id::{AssistantId, UserId};
use crate::model::position::Position;
use crate::query::stats::{GroupSums, Span, Stats, StatsRequest, spans};
use crate::tables::counters::places;
use crate::tables::schema::COUNTERS;

/// A counter of conversations, messages and costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// The time bucket: its granularity in the two highest bits, then the day.
    pub bucket: u32,
    /// The assistant; nil in a counter of all assistants.
    pub assistant: Uuid,
    /// The number of the type, plus 4 for each day after the first of the bucket.
    pub kind: u8,
    /// The number of conversations.
    pub conversations: i64,
    /// The number of their messages.
    pub messages: i64,
    /// Their cost in billionths of a US dollar.
    pub cost_nanos: i128,
}

impl Counter {
    /// The counters that count a conversation, each with what it adds.
    #[must_use]
    pub fn of(conversation: &ConversationRef<'_>) -> [Self; 3] {
        let added = counter::Counter::of(conversation);
        let row = RowKey::new(UserId::new(0), Position::from_bits(0));
        places(row, conversation).map(|(key, cell)| Self::at(key, cell, &added))
    }

    pub(super) fn at(key: CounterKey, cell: Cell, counter: &counter::Counter) -> Self {
        Self {
            bucket: key.bucket.bits(),
            assistant: key.assistant,
            kind: cell.number(),
            conversations: counter.conversations,
            messages: counter.messages,
            cost_nanos: counter.cost_nanos,
        }
    }
}

/// The counters that a request adds up.
#[derive(Debug)]
pub struct StatsPlan<'r> {
    request: Cow<'r, StatsRequest>,
}

impl<'r> StatsPlan<'r> {
    /// Plans a request; restricted to one assistant as by
    /// [`Snapshot::restricted_to`](crate::Snapshot::restricted_to). Reads nothing.
    #[must_use]
    pub fn new(request: &'r StatsRequest, restriction: Option<AssistantId>) -> Self {
        let request = match restriction {
            None => Cow::Borrowed(request),
            Some(only) => Cow::Owned(request.restricted_to(only)),
        };
        Self { request }
    }

    /// The first and the last time bucket of each range, in the order in which to read them: at most
    /// three.
    pub fn ranges(&self) -> impl Iterator<Item = (u32, u32)> {
        spans(&self.request).into_iter().flatten().map(|span| {
            let (first, last) = span.buckets();
            (first.bits(), last.bits())
        })
    }

    /// The only assistants that count; `None` if all do.
    #[must_use]
    pub fn assistants(&self) -> Option<Vec<Uuid>> {
        let filter = self.request.filter();
        let passing = filter.passing_assistants();
        passing.map(|ids| ids.iter().map(|id| id.uuid()).collect())
    }

    /// Adds up the counters of the ranges, in the order of bucket, assistant and type.
    ///
    /// # Errors
    /// [`Error::Corrupted`](crate::Error::Corrupted) for counters that cannot be.
    pub fn sum(&self, counters: impl IntoIterator<Item = Counter>) -> Result<Stats> {
        let mut sums = GroupSums::new(&self.request, self.request.filter().passing_kinds());
        let spans = spans(&self.request);
        let mut record = None;
        for counter in counters {
            let Counter { bucket, assistant, kind, conversations, messages, cost_nanos } = counter;
            let bucket = TimeBucket::from_bits(bucket);
            let cell = Cell::from_number(kind);
            let cell = cell.ok_or_else(|| COUNTERS.corrupted("a counter has no known type"))?;
            let in_span = |span: &&Span| {
                let (first, last) = span.buckets();
                (first..=last).contains(&bucket) && span.has(bucket, cell)
            };
            // A week at the end of the range has counters of days outside of it.
            let Some(span) = spans.iter().flatten().find(in_span) else { continue };
            if record.replace((bucket, assistant)) != Some((bucket, assistant)) {
                let key = CounterKey { user: UserId::new(0), bucket, assistant, kind: 0 };
                sums.begin_record(*span, key)?;
            }
            sums.add(cell, &counter::Counter { conversations, messages, cost_nanos })?;
        }
        sums.into_stats()
    }
}
