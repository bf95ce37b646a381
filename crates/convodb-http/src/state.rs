//! Shared state of the handlers: the store, the limits, the metrics and the base URL.

use std::sync::Arc;

use convodb::{Store, UserId};
use convodb_tokio::AsyncStore;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::error::{ApiError, Result};
use crate::limits::Limits;
use crate::middleware::metrics::Metrics;
use crate::middleware::rate_limit::{RateLimit, RateLimiter, StatusSlot};
use crate::middleware::transfer_limit::{TransferLimiter, TransferPermit};
use crate::response::base_url::BaseUrl;

/// The state that all requests share. Cheap to clone.
///
/// Handlers reach the store through the extractors of [`auth`](crate::extract::auth).
#[derive(Clone, Debug)]
pub(crate) struct Service {
    store: AsyncStore,
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
    waiting_writes: Arc<Semaphore>,
    transfer_limiter: Arc<TransferLimiter>,
}

impl Service {
    pub(crate) fn new(
        store: Store,
        base_url: BaseUrl,
        limits: Limits,
        rate_limit: Option<RateLimit>,
    ) -> Self {
        let shared = Shared {
            base_url,
            limits,
            metrics: Metrics::new(Some(&store)),
            rate_limiter: rate_limit.map(RateLimiter::new),
            shutdown: watch::Sender::new(false),
            waiting_writes: Arc::new(Semaphore::new(limits.max_waiting_writes)),
            transfer_limiter: TransferLimiter::new(
                limits.max_transfers,
                limits.max_transfers_per_user,
            ),
        };
        Self { store: AsyncStore::from(store), shared: Arc::new(shared) }
    }

    /// Returns the store, for the extractors and the readiness probe.
    pub(crate) fn store(&self) -> &Store {
        self.store.store()
    }

    /// Returns the store whose writes and commits are awaited.
    pub(crate) const fn async_store(&self) -> &AsyncStore {
        &self.store
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
    /// headers of the response.
    ///
    /// # Errors
    /// 429 if the token exceeds its rate limit.
    pub(crate) fn check_rate(&self, token: &str, slot: Option<&StatusSlot>) -> Result<()> {
        let Some(rate_limiter) = &self.shared.rate_limiter else { return Ok(()) };
        let status = rate_limiter.check(token);
        if let Some(slot) = slot {
            slot.set(status);
        }
        status.into_result()
    }

    /// Returns a permit for one write that waits for its commit. Bounds the memory that queued
    /// writes take.
    ///
    /// # Errors
    /// 503 if [`Limits::max_waiting_writes`] is reached.
    pub(crate) fn write_permit(&self) -> Result<OwnedSemaphorePermit> {
        self.shared.waiting_writes.clone().try_acquire_owned().map_err(|_| ApiError::busy())
    }

    /// Returns a permit for an import or an export of the user, valid until it is dropped.
    ///
    /// # Errors
    /// 503 if [`Limits::max_transfers`] or [`Limits::max_transfers_per_user`] is reached.
    pub(crate) fn transfer_permit(&self, user: UserId) -> Result<TransferPermit> {
        self.shared.transfer_limiter.try_acquire(user).ok_or_else(ApiError::busy)
    }
}
