//! Writes: the rules, and what each write counts towards the user's quota.

use uuid::Uuid;

use crate::encoding::key::{FixedKey, MessageKey};
use crate::encoding::record::{QuotaV1, message_record_len_of};
use crate::encoding::row::StoredMessages;
use crate::error::Result;
use crate::model::account::Assistant;
use crate::model::conversation::ConversationRef;
use crate::model::id::UserId;
use crate::model::message::Message;
use crate::model::position::Position;
use crate::model::quota;
use crate::model::text::IdempotencyKey;
use crate::model::timestamp::Timestamp;
use crate::rules;
use crate::seam::contents::Quota;
use crate::tables::accounts::assistant_record_len;
use crate::tables::quotas::UsageChange;
use crate::tables::{idempotency, quotas};

pub use crate::rules::{
    RowChange, appended, changed, check_count, check_limits, check_messages, narrowed,
    next_message, surplus_changes,
};

/// The first and the last position of the conversations that were created at a time.
#[must_use]
pub const fn positions_at(at: Timestamp) -> (u64, u64) {
    (Position::first_at(at).bits(), Position::last_at(at).bits())
}

/// The position after `taken`, within the same millisecond.
///
/// # Errors
/// [`Error::Invalid`](crate::Error::Invalid) if the millisecond is full.
pub fn position_after(taken: u64) -> Result<u64> {
    rules::position_after(Position::from_bits(taken)).map(Position::bits)
}

/// The hash of a user's idempotency key, by which its response is stored.
#[must_use]
pub fn idempotency_key(user: UserId, key: &IdempotencyKey) -> Uuid {
    idempotency::key(user, key).uuid
}

impl Quota {
    /// The quota after a change of what the user's data takes. `default` is the limit of each user
    /// who has no own one.
    ///
    /// # Errors
    /// [`Error::QuotaExceeded`](crate::Error::QuotaExceeded) if the change adds something beyond the
    /// limit; [`Error::Corrupted`](crate::Error::Corrupted) if less than nothing remains.
    pub fn counted(self, conversations: i64, bytes: i64, default: quota::Quota) -> Result<Self> {
        let change = UsageChange { conversations, bytes };
        let Self { conversations, bytes, max_conversations, max_bytes } = self;
        let stored = QuotaV1 { conversations, bytes, max_conversations, max_bytes };
        let QuotaV1 { conversations, bytes, .. } = stored.counted(change, default)?;
        Ok(Self { conversations, bytes, ..self })
    }
}

/// The bytes that a conversation with `stored` stored messages counts, without the messages.
#[must_use]
pub fn conversation_bytes(conversation: &ConversationRef<'_>, stored: u32) -> i64 {
    quotas::conversation_bytes(conversation, StoredMessages::Exactly(stored))
}

/// The bytes that a message counts.
#[must_use]
pub fn message_bytes(message: &Message) -> i64 {
    quotas::message_bytes(message)
}

/// The bytes that messages count: their number, how many of them have function calls, and the length
/// of all contents and function calls.
#[must_use]
pub fn messages_bytes(count: i64, with_calls: i64, text_bytes: i64) -> i64 {
    let plain = quotas::bytes(MessageKey::WIDTH + message_record_len_of(0, None));
    let of_calls = message_record_len_of(0, Some(0)) - message_record_len_of(0, None);
    count * plain + with_calls * quotas::bytes(of_calls) + text_bytes
}

/// The bytes that an assistant counts.
#[must_use]
pub fn assistant_bytes(assistant: &Assistant) -> i64 {
    quotas::small_record_bytes(assistant_record_len(assistant))
}

/// The bytes that the response to a write with an idempotency key counts.
#[must_use]
pub fn response_bytes(response: &[u8]) -> i64 {
    quotas::small_record_bytes(idempotency::record_len(response))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::message::Role;

    #[test]
    fn messages_count_the_same_one_by_one_and_together() {
        let message = |text: &str| Message::new(Role::User, text, Timestamp::MIN).unwrap();
        let calls = message("abc").with_function_calls("[]".to_owned()).unwrap();
        let all = [message(""), message("hello"), calls];
        let sum: i64 = all.iter().map(message_bytes).sum();
        assert_eq!(messages_bytes(3, 1, 5 + 3 + 2), sum);
    }
}
