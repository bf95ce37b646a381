//! HTTP client of another server of the API: GET requests with retries and exponential backoff.
//!
//! Broken connections and the statuses 408, 425, 429 and 5xx are retried a bounded number of times,
//! after a backoff with jitter or the server's `Retry-After`; each retry is reported on standard error.
//! A server that refuses the first connection is not retried: it is down, or the URL is wrong.
//! Everything else fails at once. No error contains a token or a cursor.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use convodb_http::PublicUrl;
use indicatif::ProgressBar;
use ureq::http::header::{LOCATION, RETRY_AFTER};
use ureq::http::{HeaderMap, StatusCode};
use ureq::{Agent, Error as TransportError};

use crate::console::say;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The shortest backoff that is reported.
const NOTICED_BACKOFF: Duration = Duration::from_secs(1);
/// For a complete response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(120);
/// Maximum bytes of a file with a token.
const MAX_TOKEN_BYTES: u64 = 4096;

/// Flags that name a server of the API and the access token for it.
#[derive(Debug, clap::Args)]
pub(crate) struct ServerFlags {
    /// Base URL of the server, as in https://chats.example.com
    #[arg(long, env = "CONVODB_FROM_API", value_name = "URL")]
    pub(crate) from_api: Option<PublicUrl>,
    /// Access token of its user; other users of this machine can read flags, so prefer the variable
    /// or --token-file
    #[arg(long, env = "CONVODB_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub(crate) token: Option<Token>,
    /// File with the token, or - for standard input; wins over --token
    #[arg(long, env = "CONVODB_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

impl ServerFlags {
    /// Whether a server is named.
    pub(crate) const fn is_given(&self) -> bool {
        self.from_api.is_some()
    }

    /// The client of the server. Warns if its token would cross a network in plain text.
    pub(crate) fn client(&self, retries: RetryPolicy) -> Result<Client> {
        let base = self.from_api.clone().context("--from-api URL is required")?;
        require_tls(&base)?;
        warn_of_plain_text(&base);
        Ok(Client::new(base, &self.token()?, retries))
    }

    fn token(&self) -> Result<Token> {
        let Some(file) = &self.token_file else {
            return self.token.clone().context(
                "an access token of the server is required: set CONVODB_TOKEN or use --token-file",
            );
        };
        let mut text = String::new();
        let read = if file.as_os_str() == "-" {
            io::stdin().take(MAX_TOKEN_BYTES).read_to_string(&mut text)
        } else {
            File::open(file).and_then(|file| file.take(MAX_TOKEN_BYTES).read_to_string(&mut text))
        };
        read.with_context(|| format!("cannot read the token in {}", file.display()))?;
        match text.trim().parse() {
            Ok(token) => Ok(token),
            Err(rule) => bail!("the token in {} {rule}", file.display()),
        }
    }
}

/// Fails for an https:// URL if this program was built without TLS.
fn require_tls(base: &PublicUrl) -> Result<()> {
    if cfg!(feature = "tls") || !base.to_string().starts_with("https://") {
        return Ok(());
    }
    bail!(
        "https:// URLs require a build with the feature `tls`: \
         `cargo install --path crates/convodb-cli --features tls`"
    )
}

fn warn_of_plain_text(base: &PublicUrl) {
    if is_plain_text_on_a_network(&base.to_string()) {
        say("warning: http:// sends the token and all conversations in plain text; use https://");
    }
}

/// Whether a URL names another machine, and has no TLS.
fn is_plain_text_on_a_network(base: &str) -> bool {
    let Some(rest) = base.strip_prefix("http://") else { return false };
    let host = rest.split('/').next().unwrap_or_default();
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split(':').next().unwrap_or_default(),
    };
    let loopback = name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    !loopback && !name.eq_ignore_ascii_case("localhost")
}

/// An access token. Its `Debug` output does not contain it.
#[derive(Clone)]
pub(crate) struct Token(String);

impl FromStr for Token {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(Self(text.to_owned())),
            false => Err("must consist of visible ASCII characters"),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("token(..)")
    }
}

/// How often and how long to retry a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetryPolicy {
    /// Maximum attempts of one request.
    pub(crate) attempts: u32,
    /// Maximum attempts of one request that the server answers with 500: the request fails, not the
    /// server.
    pub(crate) attempts_of_500: u32,
    /// The first backoff; each further one is twice as long, with a jitter of a quarter.
    pub(crate) first_backoff: Duration,
    /// Maximum backoff.
    pub(crate) max_backoff: Duration,
    /// Maximum `Retry-After` that is obeyed.
    pub(crate) max_retry_after: Duration,
}

impl Default for RetryPolicy {
    /// About two minutes, and up to ten more for each `Retry-After`.
    fn default() -> Self {
        Self {
            attempts: 10,
            attempts_of_500: 4,
            first_backoff: Duration::from_millis(250),
            max_backoff: Duration::from_secs(30),
            max_retry_after: Duration::from_secs(600),
        }
    }
}

/// Why a request failed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("the server refused the token (HTTP {0})")]
    Token(u16),
    #[error("the token may not read {path} (HTTP 403)")]
    Forbidden { path: String },
    #[error("the server has no {path} (HTTP {status}); check the base URL")]
    NotFound { path: String, status: u16 },
    #[error(
        "{path} redirects elsewhere (HTTP {status}); use the URL that it redirects to as the base URL"
    )]
    Redirected { path: String, status: u16 },
    #[error("the server refused {path} (HTTP {status})")]
    Refused { path: String, status: u16 },
    #[error("the server failed {path} in each of {attempts} attempts (HTTP {status})")]
    Failed { path: String, attempts: u32, status: u16 },
    #[error("cannot reach the server for {path} in {attempts} attempts: {why}")]
    RetriesExhausted { path: String, attempts: u32, why: String },
    #[error("the server is busy for {} s (Retry-After); run the same command later", wait.as_secs())]
    Busy { wait: Duration },
    #[error("cannot reach the server: {0}")]
    Unreachable(String),
    #[error("the response to {path} has more than {limit} bytes")]
    TooLarge { path: String, limit: u64 },
    #[error("the response to {path} does not follow the API: {what}")]
    Malformed { path: String, what: &'static str },
    #[error("the server's list does not end: {0}")]
    EndlessList(&'static str),
    /// Another request failed, which cancelled this one.
    #[error("cancelled")]
    Cancelled,
}

/// A server, its token, and counts of the requests so far.
pub(crate) struct Client {
    agent: Agent,
    base: PublicUrl,
    authorization: String,
    retry_policy: RetryPolicy,
    requests: AtomicU64,
    retries: AtomicU64,
    cancelled: AtomicBool,
    backoff: (Mutex<()>, Condvar),
    /// Whether the server has responded at all.
    reached: AtomicBool,
    /// The progress bar, which must not be drawn over a message.
    bar: OnceLock<ProgressBar>,
}

/// The result of one attempt.
enum Attempt {
    Response(Vec<u8>),
    Retry(Failure),
}

/// Why an attempt failed that is retried.
enum Failure {
    /// The status of the response, and its `Retry-After`.
    Status(u16, Option<Duration>),
    /// There was no complete response.
    Transport(String),
}

impl Client {
    pub(crate) fn new(base: PublicUrl, token: &Token, retry_policy: RetryPolicy) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // A redirect must not carry the token to another host.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .max_idle_connections_per_host(16)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(RESPONSE_TIMEOUT))
            .user_agent(concat!("convodb/", env!("CARGO_PKG_VERSION")));
        Self {
            agent: config.build().new_agent(),
            base,
            authorization: format!("Bearer {}", token.0),
            retry_policy,
            requests: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            cancelled: AtomicBool::new(false),
            backoff: (Mutex::new(()), Condvar::new()),
            reached: AtomicBool::new(false),
            bar: OnceLock::new(),
        }
    }

    /// The number of requests, and how many of them were retries.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.requests.load(Ordering::Relaxed), self.retries.load(Ordering::Relaxed))
    }

    /// Reports retries beside this progress bar.
    pub(crate) fn show_beside(&self, bar: &ProgressBar) {
        // The first bar stays.
        drop(self.bar.set(bar.clone()));
    }

    /// Cancels all requests, also those in a backoff.
    pub(crate) fn cancel(&self) {
        let _guard = self.backoff.0.lock().unwrap_or_else(PoisonError::into_inner);
        self.cancelled.store(true, Ordering::Relaxed);
        self.backoff.1.notify_all();
    }

    /// Returns the body of the response to a GET, of at most `limit` bytes.
    pub(crate) fn get(
        &self,
        path: &str,
        query: &[(&str, &str)],
        limit: u64,
    ) -> Result<Vec<u8>, ApiError> {
        let mut backoff = self.retry_policy.first_backoff;
        let mut attempts = 0;
        loop {
            if self.cancelled.load(Ordering::Relaxed) {
                return Err(ApiError::Cancelled);
            }
            self.requests.fetch_add(1, Ordering::Relaxed);
            let failure = match self.attempt(path, query, limit)? {
                Attempt::Response(body) => return Ok(body),
                Attempt::Retry(failure) => failure,
            };
            attempts += 1;
            let (retry_after, max_attempts) = match failure {
                Failure::Status(500, after) => (after, self.retry_policy.attempts_of_500),
                Failure::Status(_, after) => (after, self.retry_policy.attempts),
                Failure::Transport(_) => (None, self.retry_policy.attempts),
            };
            if attempts >= max_attempts {
                let path = path.to_owned();
                return Err(match failure {
                    Failure::Status(status, _) => ApiError::Failed { path, attempts, status },
                    Failure::Transport(why) => ApiError::RetriesExhausted { path, attempts, why },
                });
            }
            let wait = match retry_after {
                Some(wait) if wait > self.retry_policy.max_retry_after => {
                    return Err(ApiError::Busy { wait });
                }
                // Jitter: clients with the same Retry-After must not return together.
                Some(wait) => wait + with_jitter(self.retry_policy.first_backoff),
                None => with_jitter(backoff),
            };
            self.retries.fetch_add(1, Ordering::Relaxed);
            self.say_retry(path, &failure, (attempts, max_attempts), wait);
            self.wait(wait);
            backoff = (backoff * 2).min(self.retry_policy.max_backoff);
        }
    }

    /// Reports that an attempt failed, once its backoff is long enough to be noticed.
    fn say_retry(&self, path: &str, failure: &Failure, (attempt, of): (u32, u32), wait: Duration) {
        if wait < NOTICED_BACKOFF || self.cancelled.load(Ordering::Relaxed) {
            return;
        }
        let seconds = wait.as_secs_f64();
        let next = format!("attempt {attempt} of {of} for {path}, the next one in {seconds:.0} s");
        let line = match failure {
            Failure::Status(status, _) => format!("the server answers HTTP {status}: {next}"),
            Failure::Transport(why) => format!("cannot reach the server: {why}; {next}"),
        };
        match self.bar.get() {
            Some(bar) => bar.suspend(|| say(line)),
            None => say(line),
        }
    }

    fn attempt(&self, path: &str, query: &[(&str, &str)], limit: u64) -> Result<Attempt, ApiError> {
        let request = self
            .agent
            .get(format!("{}{path}", self.base))
            .query_pairs(query.iter().copied())
            .header("Authorization", &self.authorization)
            .header("Accept", "application/json");
        let mut response = match request.call() {
            Ok(response) => response,
            Err(error) => {
                return match failed(path, limit, error)? {
                    Attempt::Retry(Failure::Transport(why))
                        if !self.reached.load(Ordering::Relaxed) =>
                    {
                        Err(ApiError::Unreachable(why))
                    }
                    attempt => Ok(attempt),
                };
            }
        };
        self.reached.store(true, Ordering::Relaxed);
        let (status, path) = (response.status(), path.to_owned());
        let code = status.as_u16();
        if status.is_success() {
            return match response.body_mut().with_config().limit(limit).read_to_vec() {
                Ok(body) => Ok(Attempt::Response(body)),
                Err(error) => failed(&path, limit, error),
            };
        }
        let retry = status.is_server_error()
            || status == StatusCode::REQUEST_TIMEOUT
            || status == StatusCode::TOO_EARLY
            || status == StatusCode::TOO_MANY_REQUESTS;
        if retry {
            let failure = Failure::Status(code, retry_after(response.headers()));
            return Ok(Attempt::Retry(failure));
        }
        Err(match status {
            StatusCode::UNAUTHORIZED => ApiError::Token(code),
            StatusCode::FORBIDDEN => ApiError::Forbidden { path },
            StatusCode::NOT_FOUND | StatusCode::GONE => ApiError::NotFound { path, status: code },
            _ if response.headers().contains_key(LOCATION) => {
                ApiError::Redirected { path, status: code }
            }
            _ => ApiError::Refused { path, status: code },
        })
    }

    /// Waits until the time is over or the requests are cancelled.
    fn wait(&self, wait: Duration) {
        let (lock, cancelled) = &self.backoff;
        let guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let running = |(): &mut ()| !self.cancelled.load(Ordering::Relaxed);
        drop(cancelled.wait_timeout_while(guard, wait, running));
    }
}

/// Classifies a failure below HTTP: retry or error.
fn failed(path: &str, limit: u64, error: TransportError) -> Result<Attempt, ApiError> {
    let retry = |why: String| Ok(Attempt::Retry(Failure::Transport(why)));
    match error {
        TransportError::BodyExceedsLimit(_) => {
            Err(ApiError::TooLarge { path: path.to_owned(), limit })
        }
        TransportError::Io(error) => retry(error.to_string()),
        TransportError::Timeout(_) => retry("no response in time".to_owned()),
        TransportError::HostNotFound => retry("host not found".to_owned()),
        TransportError::ConnectionFailed => retry("connection failed".to_owned()),
        // What was decompressed so far ends too early, or is not gzip.
        TransportError::Protocol(_)
        | TransportError::BodyStalled
        | TransportError::Decompress(..) => retry("incomplete or invalid HTTP response".to_owned()),
        #[cfg(feature = "tls")]
        TransportError::Rustls(error) => Err(ApiError::Unreachable(error.to_string())),
        TransportError::Tls(what) => Err(ApiError::Unreachable(what.to_owned())),
        TransportError::BadUri(_) => Err(ApiError::Unreachable("invalid base URL".to_owned())),
        error => Err(ApiError::Unreachable(error.to_string())),
    }
}

/// The time of `Retry-After`, which is a number of seconds or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    Some(at.duration_since(SystemTime::now()).unwrap_or_default())
}

/// Three quarters of a time, plus a random part of its half.
fn with_jitter(time: Duration) -> Duration {
    // The standard library's source of random keys.
    let random = RandomState::new().build_hasher().finish();
    time * 3 / 4 + time / 512 * u32::from(random.to_le_bytes()[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_in_plain_text_on_a_network_is_warned_of() {
        for (base, expected) in [
            ("http://chats.example", true),
            ("http://chats.example:8080/api", true),
            ("http://192.0.2.7", true),
            ("http://[2001:db8::1]:80", true),
            ("http://localhost.example", true),
            ("http://127.0.0.1.example", true),
            ("http://localhost:8080", false),
            ("http://127.0.0.1:8080/x", false),
            ("http://127.9.9.9", false),
            ("http://[::1]:80", false),
            ("https://chats.example", false),
        ] {
            assert_eq!(is_plain_text_on_a_network(base), expected, "{base}");
        }
    }

    #[test]
    fn jitter_is_a_quarter_at_most() {
        let second = Duration::from_secs(1);
        for _ in 0..1000 {
            let backoff = with_jitter(second);
            assert!(backoff >= second * 3 / 4 && backoff <= second * 5 / 4, "{backoff:?}");
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

    #[test]
    fn https_requires_the_feature_tls() {
        require_tls(&"http://127.0.0.1:8080".parse().unwrap()).unwrap();
        let https = require_tls(&"https://chats.example.com".parse().unwrap());
        assert_eq!(https.is_ok(), cfg!(feature = "tls"));
        if let Err(error) = https {
            assert!(error.to_string().contains("--features tls"), "{error}");
        }
    }
}
