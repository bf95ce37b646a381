//! Session key: seals the cookie of the console, which names a token.
//!
//! ```text
//! cookie = token id . end in milliseconds since 1970 . seal
//! ```
//!
//! The cookie has the public id of the token, not the token. The seal is keyed BLAKE3 under a key of
//! the process, so a restart of the server ends all sessions. A key in the store would keep them,
//! but then a reader of a backup could sign in as any user, while of tokens a store has only digests.
//! Signing in once more costs less than that.

use std::fmt;

use convodb::{Timestamp, TokenId};

/// The key that seals sessions.
#[derive(Clone)]
pub(crate) struct SessionKey([u8; 32]);

impl SessionKey {
    /// A random key.
    ///
    /// # Panics
    /// If the system has no random numbers; no key of the store could be made then, either.
    pub(crate) fn generate() -> Self {
        let mut key = [0; 32];
        if let Err(error) = getrandom::fill(&mut key) {
            panic!("the system has no random numbers: {error}");
        }
        Self(key)
    }

    /// Returns the cookie's value for a session of the token until `end`.
    pub(crate) fn seal(&self, token: TokenId, end: Timestamp) -> String {
        let content = format!("{token}.{}", end.millis());
        format!("{content}.{}", blake3::keyed_hash(&self.0, content.as_bytes()).to_hex())
    }

    /// Returns the token and the end of a session that this key sealed and that has not ended.
    pub(crate) fn open(&self, cookie: &str, now: Timestamp) -> Option<(TokenId, Timestamp)> {
        let (content, seal) = cookie.rsplit_once('.')?;
        // Hashes compare in constant time.
        if blake3::keyed_hash(&self.0, content.as_bytes()) != blake3::Hash::from_hex(seal).ok()? {
            return None;
        }
        let (token, end) = content.split_once('.')?;
        let end = Timestamp::from_millis(end.parse().ok()?).ok()?;
        if now < end { Some((token.parse().ok()?, end)) } else { None }
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionKey").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    #[test]
    fn only_the_own_seal_opens_a_session_and_only_until_its_end() {
        let key = SessionKey([7; 32]);
        let token: TokenId = "0123456789abcdef".parse().unwrap();
        let cookie = key.seal(token, at(1000));
        assert_eq!(key.open(&cookie, at(999)), Some((token, at(1000))));
        assert_eq!(key.open(&cookie, at(1000)), None, "it has ended");
        assert_eq!(SessionKey([8; 32]).open(&cookie, at(999)), None, "of another process");
        let later = cookie.replacen(".1000.", ".9000.", 1);
        let other = cookie.replacen("0123", "0124", 1);
        for forged in [later.as_str(), &other, &cookie[..cookie.len() - 1], "", "..", "a.b.c"] {
            assert_eq!(key.open(forged, at(0)), None, "{forged}");
        }
    }
}
