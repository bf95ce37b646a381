//! What a store in another database shares with this one: hidden, and without promises of
//! compatibility.
//!
//! The other store has tables of its own. From here it takes what must be the same in both, so that
//! cursors of one continue in the other: secrets, the plan and the assembly of a page, the rules of
//! writes and of the change feed, the ranges and sums of statistics, and the content of a store to
//! copy.

mod contents;
mod count;
mod feed;
mod keys;
mod list;
mod loader;
mod retention;
mod statistics;
mod writes;

pub use contents::{Contents, Quota, Response, StoredConversation, StoredToken};
pub use feed::{FeedPart, FeedRecord, History, change_number};
pub use keys::{
    Keys, Secrets, StoredAccess, Terms, channel_kind, kind_number, scope_bits, scopes_of_bits,
    token_digest, token_digests, token_id, token_text,
};
pub use list::{ListPlan, PageRows, RangeTerms, created_at};
pub use loader::{StoreLoader, StoredItem};
pub use retention::{clock_doubt, filter_matches, is_most, needs_comparison};
pub use statistics::{Counter, StatsPlan};
pub use writes::{
    RowChange, appended, assistant_bytes, changed, check_count, check_limits, check_messages,
    conversation_bytes, idempotency_key, message_bytes, messages_bytes, narrowed, next_message,
    position_after, positions_at, response_bytes, surplus_changes,
};

use crate::error::Error;

/// An error for stored data that no store has written.
#[must_use]
pub const fn corrupted(table: &'static str, what: &'static str) -> Error {
    Error::Corrupted { table, what }
}
