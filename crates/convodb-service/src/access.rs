//! What a read of a remote store reaches, and the access token that it checks beside.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use convodb::seam::StoredAccess;
use convodb::{Access, AssistantId, Timestamp};

use crate::error::{Error, Result};

/// What a read of a [`Remote`](crate::Remote) store reaches, and what it checks.
#[derive(Clone, Debug, Default)]
pub struct ReadAccess {
    /// The only assistant that is reached.
    pub restriction: Option<AssistantId>,
    /// What is known of the access token from an earlier request. The first read that succeeds reads
    /// the token, too, and fails with [`Error::AccessChanged`] if it does not agree.
    pub recalled: Option<Arc<RecalledAccess>>,
}

/// What an access token allowed when it was read last, and whether this was checked since.
///
/// It is a hint: nothing that depends on it may be shown before its state is
/// [`Confirmed`](RecallState::Confirmed).
#[derive(Debug)]
pub struct RecalledAccess {
    stored: StoredAccess,
    access: Access,
    state: AtomicU8,
}

/// Whether what was recalled of an access token still holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecallState {
    /// Nothing depends on it.
    Unused,
    /// It is not known.
    Pending,
    /// A read has found the token as it was.
    Confirmed,
    /// A read has found it revoked or changed.
    Refuted,
}

impl RecallState {
    const ALL: [Self; 4] = [Self::Unused, Self::Pending, Self::Confirmed, Self::Refuted];
}

impl RecalledAccess {
    /// What was stored of a token; `None` if it has expired at `now`, or is damaged.
    #[must_use]
    pub fn new(stored: StoredAccess, now: Timestamp) -> Option<Self> {
        let access = stored.access(now).ok()??;
        Some(Self { stored, access, state: AtomicU8::new(RecallState::Unused as u8) })
    }

    /// The same for another request at the time `now`, which has to be checked again; `None` if the token
    /// has expired by then.
    #[must_use]
    pub fn renewed(&self, now: Timestamp) -> Option<Self> {
        Self::new(self.stored, now)
    }

    /// What the token allowed.
    #[must_use]
    pub const fn access(&self) -> &Access {
        &self.access
    }

    /// The SHA-256 of the token.
    #[must_use]
    pub const fn digest(&self) -> &[u8; 32] {
        &self.stored.digest
    }

    /// Whether it was checked.
    #[must_use]
    pub fn state(&self) -> RecallState {
        RecallState::ALL[usize::from(self.state.load(Ordering::Acquire))]
    }

    /// Notes that something depends on it, which therefore has to be checked.
    pub fn begin_use(&self) {
        let (unused, pending) = (RecallState::Unused as u8, RecallState::Pending as u8);
        // Otherwise it is in use already.
        let _ = self.state.compare_exchange(unused, pending, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Whether a read has to check it.
    #[must_use]
    pub fn needs_check(&self) -> bool {
        self.state() != RecallState::Confirmed
    }

    /// Compares it with what is stored of the token now, the time of its last use left out.
    ///
    /// # Errors
    /// [`Error::AccessChanged`] if it does not agree, now or in an earlier comparison.
    pub fn compare(&self, found: Option<&StoredAccess>) -> Result<()> {
        let of = |stored: StoredAccess| StoredAccess { last_used_at: None, ..stored };
        let agrees = self.state() != RecallState::Refuted
            && found.is_some_and(|found| of(*found) == of(self.stored));
        let state = if agrees { RecallState::Confirmed } else { RecallState::Refuted };
        self.state.store(state as u8, Ordering::Release);
        if agrees { Ok(()) } else { Err(Error::AccessChanged) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use convodb::{Scope, UserId};

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    fn stored() -> StoredAccess {
        StoredAccess {
            digest: [7; 32],
            user: UserId::new(1),
            scopes: convodb::seam::scope_bits(Scope::Read.into()),
            assistant: None,
            expires_at: Some(at(1_000)),
            last_used_at: None,
        }
    }

    #[test]
    fn an_expired_token_is_not_recalled() {
        let recalled = RecalledAccess::new(stored(), at(999)).unwrap();
        assert_eq!(recalled.access().user, UserId::new(1));
        assert!(recalled.renewed(at(999)).is_some());
        assert!(recalled.renewed(at(1_000)).is_none());
        assert!(RecalledAccess::new(StoredAccess { scopes: 0, ..stored() }, at(0)).is_none());
    }

    #[test]
    fn every_change_but_the_last_use_refutes() {
        let other: AssistantId = "a0000000-0000-4000-8000-000000000001".parse().unwrap();
        let check = |found: Option<StoredAccess>, state| {
            let recalled = RecalledAccess::new(stored(), at(0)).unwrap();
            recalled.begin_use();
            assert_eq!(recalled.compare(found.as_ref()).is_ok(), state == RecallState::Confirmed);
            assert_eq!(recalled.state(), state, "{found:?}");
        };
        check(Some(stored()), RecallState::Confirmed);
        check(Some(StoredAccess { last_used_at: Some(at(5)), ..stored() }), RecallState::Confirmed);
        for found in [
            None,
            Some(StoredAccess { digest: [8; 32], ..stored() }),
            Some(StoredAccess { user: UserId::new(2), ..stored() }),
            Some(StoredAccess { scopes: stored().scopes ^ 3, ..stored() }),
            Some(StoredAccess { assistant: Some(other), ..stored() }),
            Some(StoredAccess { expires_at: None, ..stored() }),
            Some(StoredAccess { expires_at: Some(at(999)), ..stored() }),
        ] {
            check(found, RecallState::Refuted);
        }
    }

    #[test]
    fn a_refuted_token_is_not_confirmed_later() {
        let recalled = RecalledAccess::new(stored(), at(0)).unwrap();
        assert_eq!(recalled.state(), RecallState::Unused);
        assert!(recalled.compare(None).is_err());
        recalled.begin_use();
        assert!(recalled.compare(Some(&stored())).is_err());
        assert_eq!(recalled.state(), RecallState::Refuted);
        assert!(recalled.needs_check());
    }
}
