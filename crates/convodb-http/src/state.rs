//! Shared state of the handlers: the store, the limits, the metrics and the base URL.

use std::sync::{Arc, OnceLock};

use axum::body::Bytes;
use convodb::{Access, Store, Timestamp, UserId};
use convodb_service::{RecalledAccess, Source, View};
use convodb_tokio::AsyncStore;
use tokio::sync::watch;

use crate::error::{ApiError, Result};
use crate::limits::Limits;
use crate::middleware::budget::{Budget, Share};
use crate::middleware::cors::CorsOrigin;
use crate::middleware::metrics::Metrics;
use crate::middleware::rate_limit::{RateLimit, RateLimiter, StatusSlot};
use crate::middleware::session_key::SessionKey;
use crate::middleware::token_use::TokenUses;
use crate::response::base_url::BaseUrl;
use crate::response::cache::ResponseCache;
use crate::run_blocking::LongReads;

/// The state that all requests share. Cheap to clone.
///
/// Handlers reach the store through the extractors of [`auth`](crate::extract::auth).
#[derive(Clone, Debug)]
pub(crate) struct Service {
    source: Source,
    strict_parameters: bool,
    has_console: bool,
    has_metrics: bool,
    cors_origins: Arc<[CorsOrigin]>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    base_url: BaseUrl,
    limits: Limits,
    metrics: Metrics,
    rate_limiter: Option<RateLimiter>,
    /// Whether the server is shutting down.
    shutdown: watch::Sender<bool>,
    bytes: Arc<Budget>,
    responses: Arc<ResponseCache>,
    waiting_writes: Arc<Budget>,
    transfers: Arc<Budget>,
    statistics: Arc<Budget>,
    waiting_polls: Arc<Budget>,
    event_streams: Arc<Budget>,
    long_reads: LongReads,
    token_uses: TokenUses,
    session_key: SessionKey,
    compressed_document: OnceLock<Bytes>,
}

impl Service {
    pub(crate) fn new(
        source: Source,
        base_url: BaseUrl,
        limits: Limits,
        rate_limit: Option<RateLimit>,
    ) -> Self {
        let bytes = Budget::new(limits.max_buffered_bytes);
        let responses = Arc::new(ResponseCache::new(limits.response_cache_bytes));
        let shared = Shared {
            base_url,
            limits,
            metrics: Metrics::new(Some((&source, &bytes, &responses))),
            rate_limiter: rate_limit.map(RateLimiter::new),
            shutdown: watch::Sender::new(false),
            bytes,
            responses,
            waiting_writes: Budget::new(limits.max_waiting_writes),
            transfers: Budget::with_max_per_user(
                limits.max_transfers,
                limits.max_transfers_per_user,
            ),
            statistics: Budget::new(limits.max_statistics),
            waiting_polls: Budget::new(limits.max_waiting_polls),
            event_streams: Budget::with_max_per_user(
                limits.max_event_streams,
                limits.max_event_streams_per_user,
            ),
            long_reads: LongReads::new(),
            token_uses: TokenUses::default(),
            session_key: SessionKey::generate(),
            compressed_document: OnceLock::new(),
        };
        let has_console = source.embedded().is_some();
        let cors_origins = Arc::default();
        Self {
            source,
            strict_parameters: false,
            has_console,
            has_metrics: true,
            cors_origins,
            shared: Arc::new(shared),
        }
    }

    /// Sets whether lists refuse unknown parameters, and the origins of web pages.
    pub(crate) fn with_options(
        self,
        strict_parameters: bool,
        cors_origins: Vec<CorsOrigin>,
    ) -> Self {
        Self { strict_parameters, cors_origins: cors_origins.into(), ..self }
    }

    /// The same service without a console.
    pub(crate) fn without_console(self) -> Self {
        Self { has_console: false, ..self }
    }

    /// Whether the server has a console. It reads snapshots, so only an embedded store has it.
    pub(crate) const fn has_console(&self) -> bool {
        self.has_console
    }

    /// The same service without `/metrics`, which another listener has.
    pub(crate) fn without_metrics(self) -> Self {
        Self { has_metrics: false, ..self }
    }

    /// Whether `/metrics` is among the routes of the API.
    pub(crate) const fn has_metrics(&self) -> bool {
        self.has_metrics
    }

    /// Returns the key of the console's sessions.
    pub(crate) fn session_key(&self) -> &SessionKey {
        &self.shared.session_key
    }

    /// Returns the origins whose web pages may read responses.
    pub(crate) fn cors_origins(&self) -> &[CorsOrigin] {
        &self.cors_origins
    }

    /// Returns the OpenAPI document with the configured URL, compressed by `compress` once.
    pub(crate) fn compressed_document(&self, compress: impl FnOnce() -> Bytes) -> Bytes {
        self.shared.compressed_document.get_or_init(compress).clone()
    }

    /// Returns whether lists refuse unknown parameters from every client.
    pub(crate) const fn refuses_unknown_parameters(&self) -> bool {
        self.strict_parameters
    }

    /// Returns the source, for the extractors and the readiness probe.
    pub(crate) const fn source(&self) -> &Source {
        &self.source
    }

    /// Returns a view of what is committed now.
    pub(crate) fn view(&self) -> View {
        self.source.view()
    }

    /// Returns what a store on another database has recalled of a token; `None` of an embedded store.
    /// Reads nothing.
    pub(crate) fn recall(&self, token: &str, now: Timestamp) -> Option<RecalledAccess> {
        match &self.source {
            Source::Embedded(_) => None,
            Source::Remote(remote) => remote.recall(token, now),
        }
    }

    /// Returns the store, for what only an embedded one has.
    ///
    /// # Errors
    /// 501 for a store on another database.
    pub(crate) fn store(&self) -> Result<&Store> {
        self.async_store().map(AsyncStore::store)
    }

    /// Returns the store whose writes are awaited, in the same way.
    ///
    /// # Errors
    /// As [`Service::store`].
    pub(crate) fn async_store(&self) -> Result<&AsyncStore> {
        self.source.embedded().ok_or_else(ApiError::no_console)
    }

    pub(crate) fn base_url(&self) -> &BaseUrl {
        &self.shared.base_url
    }

    /// Returns the sender of the shutdown notification. Sending `true` ends the requests that wait
    /// for changes.
    pub(crate) fn shutdown_sender(&self) -> watch::Sender<bool> {
        self.shared.shutdown.clone()
    }

    /// Returns a receiver of the shutdown notification.
    pub(crate) fn shutdown_receiver(&self) -> watch::Receiver<bool> {
        self.shared.shutdown.subscribe()
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Returns whether tokens have a rate limit.
    pub(crate) fn has_rate_limit(&self) -> bool {
        self.shared.rate_limiter.is_some()
    }

    /// Counts a request of an authenticated token, and stores the token's status in `slot` for the
    /// headers of the response. A request whose slot has a status was counted before.
    ///
    /// # Errors
    /// 429 if the token exceeds its rate limit.
    pub(crate) fn check_rate(&self, token: &str, slot: Option<&StatusSlot>) -> Result<()> {
        let Some(rate_limiter) = &self.shared.rate_limiter else { return Ok(()) };
        let counted = slot.and_then(StatusSlot::get);
        let status = counted.unwrap_or_else(|| rate_limiter.check(token));
        if let Some(slot) = slot {
            slot.set(status);
        }
        status.into_result()
    }

    /// Records the use of a token, if none was recorded within an hour. Waits for nothing.
    pub(crate) fn record_token_use(&self, access: &Access, now: Timestamp) {
        if let Some(store) = self.source.embedded() {
            self.shared.token_uses.record(store.store(), access, now);
        }
    }

    /// Returns the budget of bytes of bodies.
    pub(crate) fn bytes(&self) -> &Arc<Budget> {
        &self.shared.bytes
    }

    /// Returns the responses that may be sent again.
    pub(crate) fn responses(&self) -> &ResponseCache {
        &self.shared.responses
    }

    /// Returns a permit for one write of the user that waits for its commit. Bounds the memory that
    /// queued writes take.
    ///
    /// # Errors
    /// 503 beyond the user's share of [`Limits::max_waiting_writes`].
    pub(crate) fn write_permit(&self, user: UserId) -> Result<Share> {
        take_one(&self.shared.waiting_writes, user)
    }

    /// Returns a permit for an import or an export of the user, valid until it is dropped.
    ///
    /// # Errors
    /// 503 beyond the user's share of [`Limits::max_transfers`] or
    /// [`Limits::max_transfers_per_user`].
    pub(crate) fn transfer_permit(&self, user: UserId) -> Result<Share> {
        take_one(&self.shared.transfers, user)
    }

    /// Returns a permit for a request of the user that waits for changes.
    ///
    /// # Errors
    /// 503 beyond the user's share of [`Limits::max_waiting_polls`].
    pub(crate) fn poll_permit(&self, user: UserId) -> Result<Share> {
        take_one(&self.shared.waiting_polls, user)
    }

    /// Returns a permit for a stream of events of the user.
    ///
    /// # Errors
    /// 503 beyond the user's share of [`Limits::max_event_streams`] or
    /// [`Limits::max_event_streams_per_user`].
    pub(crate) fn event_stream_permit(&self, user: UserId) -> Result<Share> {
        take_one(&self.shared.event_streams, user)
    }

    /// Returns a permit for statistics of the user.
    ///
    /// # Errors
    /// 503 beyond the user's share of [`Limits::max_statistics`].
    pub(crate) fn statistics_permit(&self, user: UserId) -> Result<Share> {
        take_one(&self.shared.statistics, user)
    }

    /// Returns what runs long reads.
    pub(crate) fn long_reads(&self) -> &LongReads {
        &self.shared.long_reads
    }
}

fn take_one(budget: &Arc<Budget>, user: UserId) -> Result<Share> {
    budget.try_take(user, 1).ok_or_else(ApiError::busy)
}
