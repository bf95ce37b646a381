//! What handlers can reach: where the server is reached, and, only through a `Caller`, the store.

use axum::extract::FromRef;
use convodb::Store;

use crate::base_url::BaseUrl;

/// The store that is served, and where it is reached.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    store: Store,
    base_url: BaseUrl,
}

impl Service {
    pub(crate) const fn new(store: Store, base_url: BaseUrl) -> Self {
        Self { store, base_url }
    }
}

/// For the extractor of callers.
impl FromRef<Service> for Store {
    fn from_ref(service: &Service) -> Self {
        service.store.clone()
    }
}

impl FromRef<Service> for BaseUrl {
    fn from_ref(service: &Service) -> Self {
        service.base_url.clone()
    }
}
