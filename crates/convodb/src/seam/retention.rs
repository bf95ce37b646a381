//! Retention and erasure: whether a pass is plausible, and what a filter deletes.

use crate::maintenance::retention::{self, RetentionDoubt};
use crate::model::conversation::Conversation;
use crate::model::timestamp::Timestamp;
use crate::query::filter::Filter;

/// Whether the clock leapt against the last pass: see
/// [`Snapshot::doubt_retention`](crate::Snapshot::doubt_retention).
#[must_use]
pub fn clock_doubt(last: Option<Timestamp>, now: Timestamp) -> Option<RetentionDoubt> {
    retention::clock_doubt(last, now)
}

/// Whether what a pass would delete is compared with what exists: the last pass deleted up to a much
/// earlier time than `before`.
#[must_use]
pub fn needs_comparison(last: Option<Timestamp>, before: Timestamp) -> bool {
    retention::needs_comparison(last, before)
}

/// Whether `expired` conversations are most of them all.
#[must_use]
pub const fn is_most(expired: u64, of: u64) -> bool {
    retention::is_most(expired, of)
}

/// Whether a conversation has every field that the filter sets.
#[must_use]
pub fn filter_matches(filter: &Filter, conversation: &Conversation) -> bool {
    filter.matches(conversation)
}
