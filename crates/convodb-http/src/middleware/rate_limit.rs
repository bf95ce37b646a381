//! Rate limiter: one token bucket per access token, checked after authentication.
//!
//! A bucket is keyed by a keyed hash of its token, exists in memory only, and is dropped once it is
//! full again.

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

/// The header fields of the IETF draft on rate limits.
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// The header fields of Laravel, and so of the reference API.
const X_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
/// The fewest requests between two sweeps.
const MIN_SWEEP: usize = 1024;

/// A rate limit for each token: requests per second, minute or hour.
///
/// It is a token bucket. A burst may use all requests at once; after that, one request becomes
/// available per fraction of the period.
///
/// ```
/// let limit: convodb_http::RateLimit = "50/s".parse()?;
/// assert_eq!(limit.to_string(), "50/s");
/// assert!("0/s".parse::<convodb_http::RateLimit>().is_err());
/// # Ok::<(), convodb_http::RateLimitError>(())
/// ```
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

/// The error of parsing a [`RateLimit`].
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
    /// Returns the time after which one more request is available.
    fn interval(self) -> Duration {
        Duration::from_secs(self.period.seconds().into()) / self.requests.get()
    }

    /// Returns the status of a token that has this many requests left.
    fn status(self, remaining: u32) -> RateLimitStatus {
        let spent = self.requests.get().saturating_sub(remaining);
        let reset_seconds = whole_seconds(self.interval().saturating_mul(spent));
        RateLimitStatus { limit: self, remaining, reset_seconds, exceeded: false }
    }
}

/// Rounds up to whole seconds.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// The status of a token after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RateLimitStatus {
    limit: RateLimit,
    remaining: u32,
    /// The time until the bucket is full, or until one request is available if the limit is
    /// exceeded.
    reset_seconds: u64,
    exceeded: bool,
}

impl RateLimitStatus {
    /// Fails if the request exceeds the limit.
    ///
    /// # Errors
    /// 429 with `Retry-After`.
    pub(crate) fn into_result(self) -> Result<()> {
        if !self.exceeded {
            return Ok(());
        }
        let error = ApiError::of(StatusCode::TOO_MANY_REQUESTS);
        Err(error.with_header(RETRY_AFTER, HeaderValue::from(self.reset_seconds)))
    }

    /// Adds the header fields of the IETF draft, and those that clients of Laravel expect.
    fn add_to(self, headers: &mut HeaderMap) {
        let (requests, window) = (self.limit.requests.get(), self.limit.period.seconds());
        let policy = format!("\"token\";q={requests};w={window}");
        let limit = format!("\"token\";r={};t={}", self.remaining, self.reset_seconds);
        for (name, text) in [(POLICY, policy), (LIMIT, limit)] {
            headers.extend(HeaderValue::try_from(text).ok().map(|value| (name, value)));
        }
        headers.insert(X_LIMIT, requests.into());
        headers.insert(X_REMAINING, self.remaining.into());
    }
}

/// A request extension in which authentication leaves the status for the response.
#[derive(Clone, Debug, Default)]
pub(crate) struct StatusSlot(Arc<OnceLock<RateLimitStatus>>);

impl StatusSlot {
    /// Stores the status.
    pub(crate) fn set(&self, status: RateLimitStatus) {
        // A request has only one token, so a second status would be the same.
        let _ = self.0.set(status);
    }

    /// Returns the status, if there is one.
    pub(crate) fn get(&self) -> Option<RateLimitStatus> {
        self.0.get().copied()
    }

    /// Adds the status, if there is one, to the headers of the response.
    pub(crate) fn add_to(&self, headers: &mut HeaderMap) {
        if let Some(status) = self.0.get() {
            status.add_to(headers);
        }
    }
}

/// Middleware of servers with a rate limit: adds the status of the token to the response headers.
pub(crate) async fn add_headers(mut request: Request, next: Next) -> Response {
    let slot = StatusSlot::default();
    request.extensions_mut().insert(slot.clone());
    let mut response = next.run(request).await;
    slot.add_to(response.headers_mut());
    response
}

/// The buckets of all tokens.
pub(crate) struct RateLimiter {
    limit: RateLimit,
    buckets: Buckets,
    /// How many more requests are checked before full buckets are dropped.
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

    /// Counts a request of an authenticated token and returns the token's status.
    pub(crate) fn check(&self, token: &str) -> RateLimitStatus {
        if self.until_sweep.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.sweep();
        }
        match self.buckets.check_key(&self.hasher.hash_one(token)) {
            Ok(state) => self.limit.status(state.remaining_burst_capacity()),
            Err(exceeded) => {
                let reset_seconds = whole_seconds(exceeded.wait_time_from(self.clock.now()));
                RateLimitStatus { limit: self.limit, remaining: 0, reset_seconds, exceeded: true }
            }
        }
    }

    /// Drops full buckets: those of tokens that were not used for a while.
    ///
    /// The next sweep follows after as many requests as buckets remain, so the buckets at most
    /// double in between, and the cost per request is constant.
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
    fn limits_are_parsed_and_displayed() {
        for text in ["1/s", "50/s", "600/m", "1000000/h"] {
            assert_eq!(text.parse::<RateLimit>().unwrap().to_string(), text);
        }
        for wrong in ["", "1", "0/s", "-1/s", "+1/s", "1/d", "1 /s", "1000001/h", "1/s/s"] {
            assert_eq!(wrong.parse::<RateLimit>(), Err(RateLimitError), "{wrong}");
        }
    }

    #[test]
    fn each_token_has_its_own_bucket() {
        let limiter = RateLimiter::new("2/h".parse().unwrap());
        let status = |token: &str| {
            let status = limiter.check(token);
            (status.remaining, status.reset_seconds, status.into_result().is_ok())
        };
        assert_eq!(status("a"), (1, 1800, true));
        assert_eq!(status("a"), (0, 3600, true));
        assert_eq!(status("a"), (0, 1800, false));
        assert_eq!(status("b"), (1, 1800, true));
    }

    #[test]
    fn full_buckets_are_dropped_and_others_retained() {
        let limiter = RateLimiter::new("1000000/s".parse().unwrap());
        let mut most = 0;
        for number in 0..50_000 {
            assert!(!limiter.check(&format!("token {number}")).exceeded);
            most = most.max(limiter.buckets.len());
        }
        assert!(most <= 3 * MIN_SWEEP, "{most} buckets at once");
        let slow = RateLimiter::new("1/h".parse().unwrap());
        for number in 0..3000 {
            assert!(!slow.check(&format!("token {number}")).exceeded);
        }
        assert_eq!(slow.buckets.len(), 3000, "a bucket in use is retained");
    }
}
