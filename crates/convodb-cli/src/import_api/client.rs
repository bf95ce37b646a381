//! Asks the server: one GET after the other, each tried again while that may help.
//!
//! Broken connections, 408, 425, 429 and everything from 500 are tried again, a bounded number of
//! times, after a pause that doubles and varies, or as long as `Retry-After` says. Everything else is
//! an error at once. No error tells a token or a cursor.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use convodb_http::PublicUrl;
use ureq::http::header::{LOCATION, RETRY_AFTER};
use ureq::http::{HeaderMap, StatusCode};
use ureq::{Agent, Error as Wire};

use crate::import_api::args::Token;

/// For a connection to be made, and for the whole of an answer.
const CONNECT: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(120);

/// How often and how long is waited for a server that does not answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// The most tries of one request.
    pub(crate) tries: u32,
    /// The first pause; each is twice the one before, give or take a quarter.
    pub(crate) first: Duration,
    /// The longest pause of our own.
    pub(crate) longest: Duration,
    /// The longest pause that a server may ask for.
    pub(crate) longest_asked: Duration,
}

impl Default for Patience {
    /// About two minutes, and ten more for each time that the server asks for them.
    fn default() -> Self {
        Self {
            tries: 10,
            first: Duration::from_millis(250),
            longest: Duration::from_secs(30),
            longest_asked: Duration::from_secs(600),
        }
    }
}

/// Why the server could not be asked.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("the server refuses the token (HTTP {0})")]
    Token(u16),
    #[error("{path} is not there (HTTP 404); is the base URL right?")]
    NotFound { path: String },
    #[error("{path} leads elsewhere (HTTP {status}); name the URL that it leads to as the base")]
    Redirected { path: String, status: u16 },
    #[error("{path} was refused with HTTP {status}")]
    Refused { path: String, status: u16 },
    #[error("{path} could not be read in {tries} tries: {why}")]
    GivenUp { path: String, tries: u32, why: String },
    #[error("the server asks to wait {} s, which is too long; run the same command later", wait.as_secs())]
    AskedToWait { wait: Duration },
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
    #[error("{path} was answered with more than {limit} bytes")]
    TooLarge { path: String, limit: u64 },
    #[error("{path} was not answered as the API answers: {what}")]
    Malformed { path: String, what: &'static str },
    #[error("the server's list does not end: {0}")]
    Endless(&'static str),
    /// Another request failed, and this one is no longer wanted.
    #[error("stopped")]
    Stopped,
}

/// The server and what was asked of it so far.
pub(crate) struct Client {
    agent: Agent,
    base: PublicUrl,
    authorization: String,
    patience: Patience,
    requests: AtomicU64,
    retries: AtomicU64,
    stopped: AtomicBool,
    pauses: (Mutex<()>, Condvar),
}

/// What became of one try.
enum Tried {
    Answered(Vec<u8>),
    /// Why it failed, and the pause that the server asks for.
    Again(String, Option<Duration>),
}

impl Client {
    pub(crate) fn new(base: PublicUrl, token: &Token, patience: Patience) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // A token must not be carried elsewhere.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .max_idle_connections_per_host(16)
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(ANSWER))
            .user_agent(concat!("convodb/", env!("CARGO_PKG_VERSION")));
        Self {
            agent: config.build().new_agent(),
            base,
            authorization: format!("Bearer {}", token.as_str()),
            patience,
            requests: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            pauses: (Mutex::new(()), Condvar::new()),
        }
    }

    /// How many requests were made, and how many of them were further tries.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.requests.load(Ordering::Relaxed), self.retries.load(Ordering::Relaxed))
    }

    /// Ends the pauses of all requests, which are no longer wanted.
    pub(crate) fn stop(&self) {
        let _guard = self.pauses.0.lock().unwrap_or_else(PoisonError::into_inner);
        self.stopped.store(true, Ordering::Relaxed);
        self.pauses.1.notify_all();
    }

    /// The body of the answer to a GET, at most `limit` bytes of it.
    pub(crate) fn get(
        &self,
        path: &str,
        query: &[(&str, &str)],
        limit: u64,
    ) -> Result<Vec<u8>, ApiError> {
        let mut pause = self.patience.first;
        let mut tried = 0;
        loop {
            if self.stopped.load(Ordering::Relaxed) {
                return Err(ApiError::Stopped);
            }
            self.requests.fetch_add(1, Ordering::Relaxed);
            let (why, asked) = match self.try_get(path, query, limit)? {
                Tried::Answered(body) => return Ok(body),
                Tried::Again(why, asked) => (why, asked),
            };
            tried += 1;
            if tried >= self.patience.tries {
                return Err(ApiError::GivenUp { path: path.to_owned(), tries: tried, why });
            }
            let wait = match asked {
                Some(wait) if wait > self.patience.longest_asked => {
                    return Err(ApiError::AskedToWait { wait });
                }
                // Those that are told the same time must not come back together.
                Some(wait) => wait + varied(self.patience.first),
                None => varied(pause),
            };
            self.retries.fetch_add(1, Ordering::Relaxed);
            self.pause(wait);
            pause = (pause * 2).min(self.patience.longest);
        }
    }

    fn try_get(&self, path: &str, query: &[(&str, &str)], limit: u64) -> Result<Tried, ApiError> {
        let request = self
            .agent
            .get(format!("{}{path}", self.base))
            .query_pairs(query.iter().copied())
            .header("Authorization", &self.authorization)
            .header("Accept", "application/json");
        let mut answer = match request.call() {
            Ok(answer) => answer,
            Err(error) => return failed(path, limit, error),
        };
        let (status, path) = (answer.status(), path.to_owned());
        let code = status.as_u16();
        if status.is_success() {
            return match answer.body_mut().with_config().limit(limit).read_to_vec() {
                Ok(body) => Ok(Tried::Answered(body)),
                Err(error) => failed(&path, limit, error),
            };
        }
        let again = status.is_server_error()
            || status == StatusCode::REQUEST_TIMEOUT
            || status == StatusCode::TOO_EARLY
            || status == StatusCode::TOO_MANY_REQUESTS;
        if again {
            return Ok(Tried::Again(format!("HTTP {code}"), retry_after(answer.headers())));
        }
        Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ApiError::Token(code),
            StatusCode::NOT_FOUND => ApiError::NotFound { path },
            _ if answer.headers().contains_key(LOCATION) => {
                ApiError::Redirected { path, status: code }
            }
            _ => ApiError::Refused { path, status: code },
        })
    }

    /// Waits, unless the requests are stopped.
    fn pause(&self, wait: Duration) {
        let (lock, stopped) = &self.pauses;
        let guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let goes_on = |(): &mut ()| !self.stopped.load(Ordering::Relaxed);
        drop(stopped.wait_timeout_while(guard, wait, goes_on));
    }
}

/// What to do about a request that failed below HTTP.
fn failed(path: &str, limit: u64, error: Wire) -> Result<Tried, ApiError> {
    match error {
        Wire::BodyExceedsLimit(_) => Err(ApiError::TooLarge { path: path.to_owned(), limit }),
        Wire::Io(error) => Ok(Tried::Again(error.to_string(), None)),
        Wire::Timeout(_) => Ok(Tried::Again("no answer in time".to_owned(), None)),
        Wire::HostNotFound => Ok(Tried::Again("the host is not found".to_owned(), None)),
        Wire::ConnectionFailed => Ok(Tried::Again("no connection".to_owned(), None)),
        Wire::Protocol(_) | Wire::BodyStalled => {
            Ok(Tried::Again("the answer broke off, or is no HTTP".to_owned(), None))
        }
        Wire::Rustls(error) => Err(ApiError::Unreachable(error.to_string())),
        Wire::Tls(what) => Err(ApiError::Unreachable(what.to_owned())),
        Wire::BadUri(_) => Err(ApiError::Unreachable("the base URL is none".to_owned())),
        error => Err(ApiError::Unreachable(error.to_string())),
    }
}

/// What `Retry-After` says, as seconds or as a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    Some(at.duration_since(SystemTime::now()).unwrap_or_default())
}

/// Three quarters of a time and up to half of it more.
fn varied(time: Duration) -> Duration {
    // The standard library's own source of keys that differ.
    let random = RandomState::new().build_hasher().finish();
    time * 3 / 4 + time / 512 * u32::from(random.to_le_bytes()[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_varies_within_its_bounds() {
        let second = Duration::from_secs(1);
        for _ in 0..1000 {
            let pause = varied(second);
            assert!(pause >= second * 3 / 4 && pause <= second * 5 / 4, "{pause:?}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        #[track_caller]
        fn check(text: &str, expected: Option<u64>) {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            assert_eq!(retry_after(&headers), expected.map(Duration::from_secs), "{text}");
        }
        check("0", Some(0));
        check(" 17 ", Some(17));
        check("Sun, 06 Nov 1994 08:49:37 GMT", Some(0));
        check("soon", None);
        let later = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, later.parse().unwrap());
        let wait = retry_after(&headers).unwrap();
        assert!(wait > Duration::from_secs(90) && wait <= Duration::from_secs(100), "{wait:?}");
    }
}
