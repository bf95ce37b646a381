//! What every handler can reach.

use axum::extract::FromRef;
use convodb::Store;

use crate::base_url::BaseUrl;

/// The store that is served, and where it is reached.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) store: Store,
    pub(crate) base_url: BaseUrl,
}

impl FromRef<Service> for Store {
    fn from_ref(service: &Service) -> Self {
        service.store.clone()
    }
}
