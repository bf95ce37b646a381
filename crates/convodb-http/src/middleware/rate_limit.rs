//! How many requests a token may make: a bound that starts to count once it is known whose it is.
//!
//! Each token has a bucket of its own. What is kept of a token is a keyed hash, in memory only, and
//! only as long as its bucket is not full.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::Request;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use governor::Quota;
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;

use crate::error::{ApiError, Result};

/// The fields of the IETF's draft on rate limits.
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// The fields of Laravel, and so of the reference.
const X_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
/// The fewest requests between two sweeps.
const MIN_SWEEP: usize = 1024;

/// So many requests a second, a minute or an hour, of each token. As many may come at once; after
/// that, one for each part of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    requests: NonZeroU32,
    period: Period,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Period {
    Second,
    Minute,
    Hour,
}

impl Period {
    const ALL: [(Period, &str); 3] =
        [(Period::Second, "s"), (Period::Minute, "m"), (Period::Hour, "h")];

    const fn seconds(self) -> u32 {
        match self {
            Period::Second => 1,
            Period::Minute => 60,
            Period::Hour => 3600,
        }
    }
}

/// Why a text is no [`RateLimit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a number of requests, 1 to 1000000, and s, m or h, as in 50/s")]
pub struct RateLimitError;

impl FromStr for RateLimit {
    type Err = RateLimitError;

    fn from_str(text: &str) -> Result<Self, RateLimitError> {
        let (requests, unit) = text.split_once('/').ok_or(RateLimitError)?;
        let digits = requests.bytes().all(|byte| byte.is_ascii_digit());
        let requests = requests.parse::<NonZeroU32>().ok().filter(|_| digits);
        let requests = requests.filter(|requests| requests.get() <= 1_000_000);
        let period = Period::ALL.into_iter().find(|(_, name)| *name == unit);
        match (requests, period) {
            (Some(requests), Some((period, _))) => Ok(Self { requests, period }),
            _ => Err(RateLimitError),
        }
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = Period::ALL.into_iter().find(|(period, _)| *period == self.period);
        write!(f, "{}/{}", self.requests, unit.map_or("s", |(_, name)| name))
    }
}

impl RateLimit {
    /// The time in which one request more is there.
    fn interval(self) -> Duration {
        Duration::from_secs(self.period.seconds().into()) / self.requests.get()
    }

    /// Where a token stands that has so many requests left.
    fn standing(self, left: u32) -> RateLimitStatus {
        let spent = self.requests.get().saturating_sub(left);
        let until = in_seconds(self.interval().saturating_mul(spent));
        RateLimitStatus { limit: self, left, until, refused: false }
    }
}

/// Whole seconds, rounded up.
fn in_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// Where a token stands after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RateLimitStatus {
    limit: RateLimit,
    left: u32,
    /// Seconds until all are there again, or one, where none is.
    until: u64,
    refused: bool,
}

impl RateLimitStatus {
    /// # Errors
    /// 429, with how many seconds to wait, where the request is one too many.
    pub(crate) fn check(self) -> Result<()> {
        if !self.refused {
            return Ok(());
        }
        let error = ApiError::of(StatusCode::TOO_MANY_REQUESTS);
        Err(error.with_header(RETRY_AFTER, HeaderValue::from(self.until)))
    }

    /// What every answer to the token tells: by the IETF's draft, and by the names that clients of
    /// Laravel look for.
    fn tell(self, headers: &mut HeaderMap) {
        let (requests, window) = (self.limit.requests.get(), self.limit.period.seconds());
        let policy = format!("\"token\";q={requests};w={window}");
        let limit = format!("\"token\";r={};t={}", self.left, self.until);
        for (name, text) in [(POLICY, policy), (LIMIT, limit)] {
            headers.extend(HeaderValue::try_from(text).ok().map(|value| (name, value)));
        }
        headers.insert(X_LIMIT, requests.into());
        headers.insert(X_REMAINING, self.left.into());
    }
}

/// Where an answer is told how its token stands, once it is known whose it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct StatusSlot(Arc<OnceLock<RateLimitStatus>>);

impl StatusSlot {
    /// Keeps it for the answer.
    pub(crate) fn keep(&self, standing: RateLimitStatus) {
        // A request has one token, so a second one would say the same.
        let _ = self.0.set(standing);
    }
}

/// Adds to each answer how its token stands. A layer of servers that have a limit.
pub(crate) async fn add_headers(mut request: Request, next: Next) -> Response {
    let told = StatusSlot::default();
    request.extensions_mut().insert(told.clone());
    let mut response = next.run(request).await;
    if let Some(standing) = told.0.get() {
        standing.tell(response.headers_mut());
    }
    response
}

/// The buckets of all tokens.
pub(crate) struct RateLimiter {
    limit: RateLimit,
    buckets: Buckets,
    /// How many requests are let in before buckets that are full again are dropped.
    until_sweep: AtomicUsize,
    hasher: RandomState,
    clock: DefaultClock,
}

type Buckets = governor::RateLimiter<
    u64,
    DefaultKeyedStateStore<u64>,
    DefaultClock,
    StateInformationMiddleware,
>;

impl RateLimiter {
    pub(crate) fn new(limit: RateLimit) -> Self {
        let quota = Quota::with_period(limit.interval())
            .unwrap_or(Quota::per_second(limit.requests))
            .allow_burst(limit.requests);
        Self {
            limit,
            buckets: governor::RateLimiter::keyed(quota).with_middleware(),
            until_sweep: AtomicUsize::new(MIN_SWEEP),
            hasher: RandomState::new(),
            clock: DefaultClock::default(),
        }
    }

    /// Counts a request of a token that is somebody's, and tells whether it is one too many.
    pub(crate) fn admit(&self, token: &str) -> RateLimitStatus {
        if self.until_sweep.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.sweep();
        }
        match self.buckets.check_key(&self.hasher.hash_one(token)) {
            Ok(state) => self.limit.standing(state.remaining_burst_capacity()),
            Err(refused) => {
                let wait = in_seconds(refused.wait_time_from(self.clock.now()));
                RateLimitStatus { limit: self.limit, left: 0, until: wait, refused: true }
            }
        }
    }

    /// Drops the buckets that are as new: those of tokens that were not used for a while. At most
    /// as many more can come until the next sweep as are left, so it costs nothing to speak of.
    fn sweep(&self) {
        self.buckets.retain_recent();
        self.buckets.shrink_to_fit();
        self.until_sweep.store(self.buckets.len().max(MIN_SWEEP), Ordering::Relaxed);
    }
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimiter").field("limit", &self.limit).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_and_printed() {
        for text in ["1/s", "50/s", "600/m", "1000000/h"] {
            assert_eq!(text.parse::<RateLimit>().unwrap().to_string(), text);
        }
        for wrong in ["", "1", "0/s", "-1/s", "+1/s", "1/d", "1 /s", "1000001/h", "1/s/s"] {
            assert_eq!(wrong.parse::<RateLimit>(), Err(RateLimitError), "{wrong}");
        }
    }

    #[test]
    fn each_token_has_its_own_bucket() {
        let gate = RateLimiter::new("2/h".parse().unwrap());
        let stands = |token: &str| {
            let standing = gate.admit(token);
            (standing.left, standing.until, standing.check().is_ok())
        };
        assert_eq!(stands("a"), (1, 1800, true));
        assert_eq!(stands("a"), (0, 3600, true));
        assert_eq!(stands("a"), (0, 1800, false));
        assert_eq!(stands("b"), (1, 1800, true));
    }

    #[test]
    fn buckets_that_are_full_again_are_dropped() {
        let gate = RateLimiter::new("1000000/s".parse().unwrap());
        let mut most = 0;
        for number in 0..50_000 {
            assert!(!gate.admit(&format!("token {number}")).refused);
            most = most.max(gate.buckets.len());
        }
        assert!(most <= 3 * MIN_SWEEP, "{most} buckets at a time");
        let slow = RateLimiter::new("1/h".parse().unwrap());
        for number in 0..3000 {
            assert!(!slow.admit(&format!("token {number}")).refused);
        }
        assert_eq!(slow.buckets.len(), 3000, "a bucket that counts is kept");
    }
}
