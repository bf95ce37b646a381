//! Rules of writes: what a write may do and what follows from it, without storage.
//!
//! Pure functions of the values that a write reads. The embedded store applies them to its tables;
//! a store in another database applies the same ones to rows that it fetched.

use crate::error::{Error, Result};
use crate::model::change::ChangeKind;
use crate::model::conversation::{Conversation, ConversationRef};
use crate::model::cost::Cost;
use crate::model::id::{AssistantId, ConversationId};
use crate::model::message::Message;
use crate::model::position::Position;
use crate::model::quota::QuotaLimit;
use crate::model::timestamp::Timestamp;
use crate::model::token::{Token, TokenNarrowing};

/// Surplus changes are trimmed in batches of this size.
const TRIM_BATCH: u64 = 1024;

/// What the change feed records of a change of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowChange {
    /// What happened.
    pub kind: ChangeKind,
    /// The conversation.
    pub id: ConversationId,
    /// The assistant that the conversation left, by its deletion or for another assistant.
    pub left: Option<AssistantId>,
}

impl RowChange {
    /// The change of a row from `old` to `new`: an insert is (none, new), an update (old, new), a
    /// delete (old, none). `None` if there is no row.
    #[must_use]
    pub fn of(
        old: Option<&ConversationRef<'_>>,
        new: Option<&ConversationRef<'_>>,
    ) -> Option<Self> {
        let (kind, id, left) = match (old, new) {
            (None, Some(new)) => (ChangeKind::Created, new.id, None),
            (Some(old), Some(new)) => {
                let left = (old.assistant != new.assistant).then_some(old.assistant);
                (ChangeKind::Updated, new.id, left)
            }
            (Some(old), None) => (ChangeKind::Deleted, old.id, Some(old.assistant)),
            (None, None) => return None,
        };
        Some(Self { kind, id, left })
    }
}

/// Checks that a conversation counts at least the messages that it has; it may count more.
///
/// # Errors
/// [`Error::Invalid`] if it has more.
pub fn check_messages(conversation: &Conversation, messages: &[Message]) -> Result<()> {
    check_count(conversation.message_count, messages.len())
}

/// [`check_messages`] for numbers of messages.
///
/// # Errors
/// [`Error::Invalid`] if more are stored than counted.
pub fn check_count(counted: u32, stored: usize) -> Result<()> {
    if stored > counted as usize {
        return Err(Error::Invalid {
            field: "message_count",
            reason: "must not be less than the number of messages there are",
        });
    }
    Ok(())
}

/// The conversation after `change` at the time `now`; `None` if it changes nothing. The rules that
/// other rows decide remain to be checked: whether the assistant exists, and how many messages are
/// stored.
///
/// # Errors
/// The error of `change`; [`Error::Invalid`] if it changed a fixed field, made `total_cost` negative
/// or set `updated_at` before `created_at`.
pub fn changed(
    old: &Conversation,
    now: Timestamp,
    change: impl FnOnce(&mut Conversation) -> Result<()>,
) -> Result<Option<Conversation>> {
    let mut new = old.clone();
    change(&mut new)?;
    if new == *old {
        return Ok(None);
    }
    if new.updated_at == old.updated_at {
        new.updated_at = now.max(old.updated_at);
    }
    check_update(old, &new)?;
    Ok(Some(new))
}

/// The rules of an update that its own fields decide.
fn check_update(old: &Conversation, new: &Conversation) -> Result<()> {
    let invalid = |field, reason| Err(Error::Invalid { field, reason });
    if new.id != old.id {
        return invalid("id", "must not change");
    }
    if new.created_at != old.created_at {
        return invalid("created_at", "must not change");
    }
    if new.channel.kind() != old.channel.kind() {
        return invalid("type", "must not change");
    }
    if new.total_cost < Cost::ZERO && new.total_cost != old.total_cost {
        return invalid("total_cost", "must not be negative");
    }
    if new.updated_at < new.created_at && new.updated_at != old.updated_at {
        return invalid("updated_at", "must not be before created_at");
    }
    Ok(())
}

/// The conversation after `message` was appended.
///
/// # Errors
/// [`Error::Invalid`] if the message count or the total cost leaves its range.
pub fn appended(old: &Conversation, message: &Message) -> Result<Conversation> {
    let invalid = |field, reason| Error::Invalid { field, reason };
    let too_costly = "must keep the total cost within its range";
    let mut new = old.clone();
    let count = old.message_count.checked_add(1);
    new.message_count = count.ok_or(invalid("message_count", FULL))?;
    let cost = old.total_cost.checked_add(message.cost());
    new.total_cost = cost.ok_or(invalid("cost", too_costly))?;
    new.updated_at = old.updated_at.max(message.created_at());
    Ok(new)
}

const FULL: &str = "must not exceed 4,294,967,295";

/// The number of the message after message number `last`, or after none if it is 0.
///
/// # Errors
/// [`Error::Invalid`] if there is none.
pub fn next_message(last: u32) -> Result<u32> {
    last.checked_add(1).ok_or(Error::Invalid { field: "messages", reason: FULL })
}

/// The position after `taken`, within the same millisecond.
pub(crate) fn position_after(taken: Position) -> Result<Position> {
    let next = taken.next();
    if next.created_at() != taken.created_at() {
        return Err(Error::Invalid {
            field: "created_at",
            reason: "must not be shared by more than 4194304 conversations of one user",
        });
    }
    Ok(next)
}

/// Which changes of a feed to trim after change `number` was appended, if `retained` of them remain
/// at least: those up to the first number of the result, and at most the second. `None` for most
/// numbers, because changes are trimmed in batches.
#[must_use]
pub fn surplus_changes(number: u64, retained: u64) -> Option<(u64, usize)> {
    let surplus = number.saturating_sub(retained);
    (surplus > 0 && number.is_multiple_of(TRIM_BATCH)).then(|| {
        // Twice a batch, so that a feed that a bulk load has filled shrinks too.
        (surplus, usize::try_from(2 * TRIM_BATCH).unwrap_or(usize::MAX))
    })
}

/// Checks the limits of a user.
///
/// # Errors
/// [`Error::Invalid`] if one is 2^64 - 1.
pub fn check_limits(limits: impl IntoIterator<Item = QuotaLimit>) -> Result<()> {
    if limits.into_iter().any(|limit| limit == QuotaLimit::AtMost(u64::MAX)) {
        let reason = "must be less than 18446744073709551615; no limit is a value of its own";
        return Err(Error::Invalid { field: "quota", reason });
    }
    Ok(())
}

/// A token after it was narrowed; `has_assistant` returns whether its user has an assistant.
///
/// # Errors
/// [`Error::Invalid`] if the token would gain something; [`Error::AssistantNotFound`]; or the error of
/// `has_assistant`.
pub fn narrowed(
    token: &Token,
    narrowing: TokenNarrowing,
    has_assistant: impl FnOnce(AssistantId) -> Result<bool>,
) -> Result<Token> {
    let invalid = |field, reason| Err(Error::Invalid { field, reason });
    let mut token = token.clone();
    if let Some(scopes) = narrowing.scopes {
        if !scopes.is_subset(token.scopes) {
            return invalid("scopes", "must be some of those that the token has");
        }
        token.scopes = scopes;
    }
    if let Some(assistant) = narrowing.assistant {
        if token.assistant.is_some_and(|only| only != assistant) {
            return invalid("assistant", "must be the one that the token is limited to");
        }
        if !has_assistant(assistant)? {
            return Err(Error::AssistantNotFound);
        }
        token.assistant = Some(assistant);
    }
    if let Some(expires_at) = narrowing.expires_at {
        if token.expires_at.is_some_and(|before| before < expires_at) {
            return invalid("expires_at", "must not be later than the token expires already");
        }
        token.expires_at = Some(expires_at);
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::channel::Channel;
    use crate::model::message::Role;
    use uuid::Uuid;

    fn row() -> Conversation {
        let at = Timestamp::from_millis(1_000).unwrap();
        let (id, bot) = (Uuid::from_u128(1), Uuid::from_u128(2));
        Conversation::new(ConversationId::new(id), AssistantId::new(bot), Channel::Widget, at)
    }

    #[test]
    fn a_change_of_a_row_names_the_assistant_that_it_left() {
        let (old, mut new) = (row(), row());
        let (old_ref, id) = (old.borrowed(), old.id);
        let of = |old: Option<&ConversationRef<'_>>, new: Option<&ConversationRef<'_>>| {
            RowChange::of(old, new).map(|change| (change.kind, change.id, change.left))
        };
        assert_eq!(of(None, Some(&old_ref)), Some((ChangeKind::Created, id, None)));
        assert_eq!(of(Some(&old_ref), Some(&old_ref)), Some((ChangeKind::Updated, id, None)));
        new.assistant = AssistantId::new(Uuid::from_u128(3));
        let left = Some(old.assistant);
        let moved = of(Some(&old_ref), Some(&new.borrowed()));
        assert_eq!(moved, Some((ChangeKind::Updated, id, left)));
        assert_eq!(of(Some(&old_ref), None), Some((ChangeKind::Deleted, id, left)));
        assert_eq!(of(None, None), None);
    }

    #[test]
    fn an_appended_message_advances_the_row() {
        let at = Timestamp::from_millis(2_000).unwrap();
        let message = Message::new(Role::User, "hi", at).unwrap().with_cost(Cost::from_nanos(7));
        let new = appended(&row(), &message).unwrap();
        assert_eq!((new.message_count, new.total_cost.nanos(), new.updated_at), (1, 7, at));
        let full = Conversation { message_count: u32::MAX, ..row() };
        let error = appended(&full, &message).unwrap_err().to_string();
        assert_eq!(error, "message_count must not exceed 4,294,967,295");
        assert_eq!(next_message(0).unwrap(), 1);
        assert!(next_message(u32::MAX).is_err());
    }

    #[test]
    fn changes_are_trimmed_in_batches_beyond_those_that_are_retained() {
        assert_eq!(surplus_changes(TRIM_BATCH, TRIM_BATCH), None);
        assert_eq!(surplus_changes(2 * TRIM_BATCH, TRIM_BATCH), Some((TRIM_BATCH, 2048)));
        assert_eq!(surplus_changes(2 * TRIM_BATCH + 1, TRIM_BATCH), None);
    }
}
