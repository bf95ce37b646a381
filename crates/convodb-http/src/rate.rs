//! How many requests a token may make: a bound that starts to count once it is known whose it is.
//!
//! Each token has a bucket of its own. What is kept of a token is a keyed hash, in memory only.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::error::{ApiError, Result};

/// The fields of the IETF's draft on rate limits.
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

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

/// The buckets of all tokens.
pub(crate) struct Gate {
    limit: RateLimit,
    buckets: DefaultKeyedRateLimiter<u64>,
    hasher: RandomState,
    clock: DefaultClock,
}

impl Gate {
    pub(crate) fn new(limit: RateLimit) -> Self {
        let period = Duration::from_secs(limit.period.seconds().into());
        let quota = Quota::with_period(period / limit.requests.get())
            .unwrap_or(Quota::per_second(limit.requests))
            .allow_burst(limit.requests);
        let clock = DefaultClock::default();
        Self { limit, buckets: RateLimiter::keyed(quota), hasher: RandomState::new(), clock }
    }

    /// Counts a request of a token that is somebody's.
    ///
    /// # Errors
    /// 429, with how many seconds to wait.
    pub(crate) fn admit(&self, token: &str) -> Result<()> {
        let bucket = self.hasher.hash_one(token);
        let Err(refused) = self.buckets.check_key(&bucket) else {
            return Ok(());
        };
        let wait = refused.wait_time_from(self.clock.now());
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let (requests, window) = (self.limit.requests, self.limit.period.seconds());
        let policy = format!("\"token\";q={requests};w={window}");
        let left = format!("\"token\";r=0;t={seconds}");
        let mut error = ApiError::of(StatusCode::TOO_MANY_REQUESTS)
            .with_header(RETRY_AFTER, HeaderValue::from(seconds));
        for (name, text) in [(POLICY, policy), (LIMIT, left)] {
            if let Ok(value) = HeaderValue::try_from(text) {
                error = error.with_header(name, value);
            }
        }
        Err(error)
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("limit", &self.limit).finish_non_exhaustive()
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
        let gate = Gate::new("2/h".parse().unwrap());
        assert!(gate.admit("a").is_ok() && gate.admit("a").is_ok());
        assert!(gate.admit("a").is_err());
        assert!(gate.admit("b").is_ok());
    }
}
