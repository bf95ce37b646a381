//! Response cache: bodies that were requested before, in bounded memory.
//!
//! A response is kept under its request and the version of the user's data, and sent again only for
//! the same request at the same version: it never is out of date. The first response to a request
//! leaves only a trace; its body is kept when the request comes again, at this version or a later
//! one. So a walk through a list keeps no bodies.
//!
//! Each user's responses are dropped least recently used first. A user may take half of the memory.
//! If all of it is taken, the user that has asked for nothing for the longest time loses first.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use convodb::{Scope, StoreVersion, UserId};
use lru::LruCache;

use crate::response::etag::ETag;

/// The bytes of an entry besides its request and its response: its places in the lists and maps,
/// and its tag.
const ENTRY_BYTES: usize = 320;
/// The bytes of a kept header, roughly.
const HEADER_BYTES: usize = 64;
/// The most headers that the envelope and the rate limit add to a response.
pub(crate) const ENVELOPE_HEADERS: usize = 8;
/// Of the whole memory, a single response may take this part.
const MAX_PART: usize = 16;

/// A response that can be sent more than once.
pub(crate) struct KeptResponse {
    headers: HeaderMap,
    body: Bytes,
}

impl KeptResponse {
    /// Keeps the headers and the whole body of a response with status 200.
    pub(crate) fn new(headers: &HeaderMap, body: &[u8]) -> Self {
        // A copy, because a body may be a small part of its allocation.
        let body = Bytes::copy_from_slice(body);
        // A clone has the same capacity: the headers that the envelope adds fit into it.
        let mut kept = HeaderMap::with_capacity(headers.len() + 1 + ENVELOPE_HEADERS);
        kept.extend(headers.clone());
        kept.insert(CONTENT_LENGTH, body.len().into());
        Self { headers: kept, body }
    }

    /// Returns the body. Copies no byte.
    pub(crate) fn body(&self) -> Bytes {
        self.body.clone()
    }

    /// Returns the response with its body.
    pub(crate) fn response(&self, body: Bytes) -> Response {
        let mut response = Response::new(Body::from(body));
        *response.headers_mut() = self.headers.clone();
        response
    }

    fn bytes(&self) -> usize {
        let values: usize = self.headers.values().map(HeaderValue::len).sum();
        self.body.len() + values + self.headers.len() * HEADER_BYTES
    }
}

/// What is known of a request at a version.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) etag: ETag,
    /// The scope that the request requires.
    pub(crate) scope: Scope,
    /// The response, if it is kept.
    pub(crate) response: Option<Arc<KeptResponse>>,
}

/// The responses of all users.
pub(crate) struct ResponseCache {
    capacity: usize,
    all: Mutex<AllUsers>,
}

struct AllUsers {
    bytes: usize,
    users: LruCache<UserId, OfUser>,
}

struct OfUser {
    bytes: usize,
    entries: LruCache<Box<[u8]>, Entry>,
}

struct Entry {
    version: StoreVersion,
    known: Known,
}

impl Default for OfUser {
    fn default() -> Self {
        Self { bytes: 0, entries: LruCache::unbounded() }
    }
}

impl Entry {
    fn bytes(&self, request: &[u8]) -> usize {
        let response = self.known.response.as_ref().map_or(0, |response| response.bytes());
        ENTRY_BYTES + request.len() + response
    }
}

impl ResponseCache {
    /// Returns an empty cache of at most `capacity` bytes; one that keeps nothing for 0.
    pub(crate) fn new(capacity: usize) -> Self {
        let all = AllUsers { bytes: 0, users: LruCache::unbounded() };
        Self { capacity, all: Mutex::new(all) }
    }

    /// Returns what is known of a user's request at this version.
    pub(crate) fn get(&self, user: UserId, request: &[u8], version: StoreVersion) -> Option<Known> {
        if self.capacity == 0 {
            return None;
        }
        let mut all = self.lock();
        let entry = all.users.get_mut(&user)?.entries.get(request)?;
        (entry.version == version).then(|| entry.known.clone())
    }

    /// Records a response to a user's request. Calls `response` if the request came before, and
    /// keeps the result.
    pub(crate) fn put(
        &self,
        user: UserId,
        request: &[u8],
        version: StoreVersion,
        (etag, scope): (ETag, Scope),
        response: impl FnOnce() -> KeptResponse,
    ) {
        if self.capacity == 0 {
            return;
        }
        let is_repeated = {
            let mut all = self.lock();
            let of_user = all.users.get_mut(&user);
            of_user.is_some_and(|of_user| of_user.entries.contains(request))
        };
        let response = is_repeated.then(|| Arc::new(response()));
        let entry = Entry { version, known: Known { etag, scope, response } };
        if entry.bytes(request) <= self.capacity / MAX_PART {
            self.lock().put(user, request, entry, self.capacity);
        }
    }

    /// The bytes in use, roughly.
    pub(crate) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    fn lock(&self) -> MutexGuard<'_, AllUsers> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AllUsers {
    /// Replaces the entry of a request, and drops others until all of them fit into `capacity`.
    fn put(&mut self, user: UserId, request: &[u8], entry: Entry, capacity: usize) {
        let of_user = self.users.get_or_insert_mut(user, OfUser::default);
        let before = of_user.bytes;
        of_user.put(request, entry);
        while of_user.bytes > capacity / 2 && of_user.drop_last() {}
        self.bytes = self.bytes - before + of_user.bytes;
        while self.bytes > capacity {
            let Some((&user, _)) = self.users.peek_lru() else { break };
            let Some(last) = self.users.peek_mut(&user) else { break };
            let before = last.bytes;
            let dropped = last.drop_last();
            self.bytes -= before - last.bytes;
            if !dropped {
                self.users.pop(&user);
            }
        }
    }
}

impl OfUser {
    fn put(&mut self, request: &[u8], entry: Entry) {
        self.bytes += entry.bytes(request);
        if let Some(replaced) = self.entries.put(request.into(), entry) {
            self.bytes -= replaced.bytes(request);
        }
    }

    /// Drops the least recently used entry. Returns whether there was one.
    fn drop_last(&mut self) -> bool {
        let Some((request, entry)) = self.entries.pop_lru() else { return false };
        self.bytes -= entry.bytes(&request);
        true
    }
}

impl fmt::Debug for ResponseCache {
    /// Without the responses, which contain personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseCache").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, StatusCode};
    use convodb::{Store, Timestamp};

    /// Two versions of a store.
    fn versions() -> [StoreVersion; 2] {
        let store = Store::in_memory().unwrap();
        let first = store.snapshot().version();
        store.create_user("Acme", Timestamp::MIN).unwrap();
        [first, store.snapshot().version()]
    }

    const ONE: UserId = UserId::new(1);
    const TWO: UserId = UserId::new(2);

    /// Puts a response of a version with a body of this many bytes; returns whether it was asked
    /// for.
    fn put(cache: &ResponseCache, user: UserId, request: &str, at: StoreVersion, n: usize) -> bool {
        let request = request.as_bytes();
        let mut is_kept = false;
        cache.put(user, request, at, (ETag::new(request, at), Scope::Read), || {
            is_kept = true;
            KeptResponse::new(&HeaderMap::new(), &vec![7; n])
        });
        is_kept
    }

    /// The size of the kept body, if there is one.
    fn kept(cache: &ResponseCache, user: UserId, request: &str, at: StoreVersion) -> Option<usize> {
        let known = cache.get(user, request.as_bytes(), at)?;
        assert_eq!(known.etag, ETag::new(request.as_bytes(), at));
        known.response.map(|response| response.body.len())
    }

    #[test]
    fn a_response_is_kept_from_the_second_request_on() {
        let ([old, new], cache) = (versions(), ResponseCache::new(1 << 20));
        assert!(!put(&cache, ONE, "a", old, 100));
        assert_eq!(kept(&cache, ONE, "a", old), None);
        assert!(cache.get(ONE, b"a", old).is_some(), "its tag is known");
        assert!(put(&cache, ONE, "a", old, 100));
        assert_eq!(kept(&cache, ONE, "a", old), Some(100));
        assert_eq!(kept(&cache, ONE, "a", new), None);
        assert_eq!((kept(&cache, TWO, "a", old), kept(&cache, ONE, "b", old)), (None, None));
        assert!(put(&cache, ONE, "a", new, 50), "it came at an earlier version");
        assert_eq!([old, new].map(|at| kept(&cache, ONE, "a", at)), [None, Some(50)]);
    }

    #[test]
    fn nothing_is_kept_without_memory_and_nothing_that_is_too_large() {
        let [at, _] = versions();
        let none = ResponseCache::new(0);
        let small = ResponseCache::new(160_000);
        for _ in 0..2 {
            assert!(!put(&none, ONE, "a", at, 1));
            put(&small, ONE, "a", at, 10_000);
        }
        assert!(none.get(ONE, b"a", at).is_none() && none.bytes() == 0);
        assert_eq!(kept(&small, ONE, "a", at), None);
    }

    #[test]
    fn memory_is_bounded_and_a_user_takes_half_of_it() {
        let ([at, _], capacity) = (versions(), 1 << 20);
        let cache = ResponseCache::new(capacity);
        let fill = |user: UserId, requests: usize| {
            for number in 0..requests {
                for _ in 0..2 {
                    put(&cache, user, &number.to_string(), at, 10_000);
                }
                assert!(cache.bytes() <= capacity);
            }
        };
        let count = |user: UserId, requests: usize| {
            let all = (0..requests).map(|number| kept(&cache, user, &number.to_string(), at));
            all.flatten().count()
        };
        fill(TWO, 10);
        fill(ONE, 1000);
        let half = capacity / 2 / 10_400;
        assert!((half - 2..=half + 1).contains(&count(ONE, 1000)), "{}", count(ONE, 1000));
        assert_eq!(kept(&cache, ONE, "999", at), Some(10_000), "the newest is kept");
        assert_eq!(count(TWO, 10), 10, "the other user has lost nothing");
        // Further users take the memory of the one that has asked for nothing for the longest time.
        count(TWO, 10);
        for user in 3..=30 {
            fill(UserId::new(user), 4);
        }
        assert_eq!(count(ONE, 1000), 0);
        assert!(cache.bytes() > capacity / 2);
    }

    #[test]
    fn many_small_requests_are_counted() {
        let ([at, _], cache) = (versions(), ResponseCache::new(100_000));
        for number in 0..10_000 {
            put(&cache, ONE, &number.to_string(), at, 1);
            put(&cache, UserId::new(number + 2), "a", at, 1);
        }
        assert!(cache.bytes() <= 100_000);
        let all = cache.lock();
        let entries: usize = all.users.iter().map(|(_, of_user)| of_user.entries.len()).sum();
        assert!(entries * ENTRY_BYTES <= 100_000 && all.users.len() <= entries + 1);
    }

    #[test]
    fn a_kept_response_has_its_headers() {
        let name = HeaderName::from_static("x-a");
        let mut headers = HeaderMap::from_iter([(name, HeaderValue::from_static("1"))]);
        let kept = KeptResponse::new(&headers, b"body");
        let response = kept.response(kept.body());
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("4"));
        assert_eq!((response.status(), response.headers()), (StatusCode::OK, &headers));
    }
}
