//! Known tokens: what the access tokens that were read lately allow, so that a request need not wait
//! for its token.
//!
//! It is a hint. A read checks it in the same round trip, or on the primary while it reads a standby;
//! a token that was revoked or changed fails the read and is forgotten.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use convodb::seam::StoredAccess;
use convodb_service::RecalledAccess;
use tokio_postgres::Row;

use crate::error::{Error, Result};
use crate::rows::{ACCESS_COLUMNS, stored_access};

/// The most tokens of a generation, of some 100 bytes each.
const GENERATION: usize = 8192;

/// The SHA-256 of a token.
type Digest = [u8; 32];

/// The statement that reads a token by its digest.
pub(crate) fn access_sql() -> String {
    format!("select {ACCESS_COLUMNS} from token where digest = $1")
}

/// A bounded number of tokens, those that were used last.
#[derive(Debug, Default)]
pub(crate) struct KnownTokens(Mutex<Generations>);

/// When the recent generation is full it becomes the older one, whose tokens that were not used since
/// are forgotten.
#[derive(Debug, Default)]
struct Generations {
    recent: HashMap<Digest, StoredAccess>,
    older: HashMap<Digest, StoredAccess>,
}

impl KnownTokens {
    /// What was read of a token, if it was lately.
    pub(crate) fn recall(&self, digest: &Digest) -> Option<StoredAccess> {
        let mut known = self.generations();
        if let Some(found) = known.recent.get(digest) {
            return Some(*found);
        }
        let found = known.older.remove(digest)?;
        known.insert(found);
        Some(found)
    }

    /// Keeps what was read of a token.
    pub(crate) fn remember(&self, stored: StoredAccess) {
        self.generations().insert(stored);
    }

    fn forget(&self, digest: &Digest) {
        let mut known = self.generations();
        known.recent.remove(digest);
        known.older.remove(digest);
    }

    fn generations(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn insert(&mut self, stored: StoredAccess) {
        if self.recent.len() >= GENERATION && !self.recent.contains_key(&stored.digest) {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(stored.digest, stored);
    }
}

/// A token that reads check.
#[derive(Clone, Copy)]
pub(crate) struct Guard<'g> {
    pub(crate) recalled: &'g RecalledAccess,
    pub(crate) known: &'g KnownTokens,
}

impl Guard<'_> {
    /// Compares what was recalled with the rows of [`access_sql`].
    ///
    /// # Errors
    /// [`Error::AccessChanged`]; the token is forgotten then.
    pub(crate) fn compare(&self, found: &[Row]) -> Result<()> {
        let stored = found.first().map(stored_access).transpose()?;
        if self.recalled.compare(stored.as_ref()).is_err() {
            self.known.forget(self.recalled.digest());
            return Err(Error::AccessChanged);
        }
        // The time of its last use may be another one.
        if let Some(stored) = stored {
            self.known.remember(stored);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use convodb::{Scopes, UserId};

    fn stored(number: usize) -> StoredAccess {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&number.to_be_bytes());
        StoredAccess {
            digest,
            user: UserId::new(1),
            scopes: convodb::seam::scope_bits(Scopes::ALL),
            assistant: None,
            expires_at: None,
            last_used_at: None,
        }
    }

    #[test]
    fn the_number_of_known_tokens_is_bounded() {
        let known = KnownTokens::default();
        let used = stored(0);
        for number in 0..10 * GENERATION {
            known.remember(stored(number));
            assert_eq!(known.recall(&used.digest), Some(used), "it is used all the time");
        }
        let is_known = |number: &usize| known.recall(&stored(*number).digest).is_some();
        assert!((9 * GENERATION + 1..10 * GENERATION).all(|number| is_known(&number)));
        assert!((0..10 * GENERATION).filter(is_known).count() <= 2 * GENERATION);
        known.forget(&used.digest);
        assert_eq!(known.recall(&used.digest), None);
    }
}
