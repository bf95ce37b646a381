//! What handlers can reach: where the server is reached, its limits and counters, and, only
//! through a `AuthRead`, the store.

use std::sync::Arc;

use convodb::{Store, UserId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::commit_notifier::CommitNotifier;
use crate::error::{ApiError, Result};
use crate::limits::Limits;
use crate::middleware::metrics::Metrics;
use crate::middleware::rate_limit::{RateLimit, RateLimiter, StatusSlot};
use crate::middleware::transfer_limit::{TransferLimiter, TransferPermit};
use crate::response::base_url::BaseUrl;

/// The store that is served, and what all its requests share.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    store: Store,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    base_url: BaseUrl,
    bell: CommitNotifier,
    limits: Limits,
    metrics: Metrics,
    gate: Option<RateLimiter>,
    writes: Arc<Semaphore>,
    transfers: Arc<TransferLimiter>,
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
            bell: CommitNotifier::of(&store),
            limits,
            metrics: Metrics::new(Some(&store)),
            gate: rate_limit.map(RateLimiter::new),
            writes: Arc::new(Semaphore::new(limits.max_waiting_writes)),
            transfers: TransferLimiter::new(limits.max_transfers, limits.max_transfers_per_user),
        };
        Self { store, shared: Arc::new(shared) }
    }

    /// For callers, and for whether the store takes writes.
    pub(crate) const fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn base_url(&self) -> &BaseUrl {
        &self.shared.base_url
    }

    /// What rings when there is news of the store.
    pub(crate) fn bell(&self) -> &CommitNotifier {
        &self.shared.bell
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Whether tokens have a limit.
    pub(crate) fn is_limited(&self) -> bool {
        self.shared.gate.is_some()
    }

    /// Counts a request of a token that is somebody's, and keeps how it stands for the answer.
    ///
    /// # Errors
    /// 429 where it is one too many.
    pub(crate) fn admit(&self, token: &str, told: Option<&StatusSlot>) -> Result<()> {
        let Some(gate) = &self.shared.gate else { return Ok(()) };
        let standing = gate.admit(token);
        if let Some(told) = told {
            told.keep(standing);
        }
        standing.check()
    }

    /// Leave for a write to wait for the disk. Each holds a thread meanwhile, and imports and
    /// exports need such threads too.
    ///
    /// # Errors
    /// 503 where as many wait as may.
    pub(crate) fn write_permit(&self) -> Result<OwnedSemaphorePermit> {
        self.shared.writes.clone().try_acquire_owned().map_err(|_| ApiError::busy())
    }

    /// Leave for an import or an export of the user's, while what this gives is held.
    ///
    /// # Errors
    /// 503 where as many go on as may.
    pub(crate) fn transfer(&self, user: UserId) -> Result<TransferPermit> {
        self.shared.transfers.begin(user).ok_or_else(ApiError::busy)
    }
}
