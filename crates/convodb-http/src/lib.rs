//! Serves a convodb store over HTTP, in the shape of the documented conversations API.
//!
//! [`serve`] is the whole server on a listener, and [`runtime`] what it runs on best; [`router`] is
//! its routes, for a server of your own. Both answer for the user of a Bearer token: the list, single
//! conversations with their messages, imports and exports, assistants; and for anyone `/healthz`,
//! `/readyz` and `/metrics`, and `/docs` and `/openapi.json`, which tell of all of it.
//! [`item`] reads and writes the list's items alone, which is also the form of imports and exports,
//! and [`write_page`] a whole body. [`with_middleware`] and [`serve_router`] do for routes of your own what
//! is done for these.
//!
//! ```no_run
//! use convodb_http::{Config, runtime, serve};
//!
//! let store = convodb::Store::open("conversations.convodb")?;
//! runtime()?.block_on(async {
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//!     serve(store, listener, Config::default(), std::future::pending()).await
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod body;
mod clock;
mod commit_notifier;
mod error;
mod extract;
mod import;
pub mod item;
mod json;
mod limits;
mod middleware;
mod openapi;
mod response;
mod routes;
mod run_blocking;
mod server;
mod state;

use std::num::NonZero;
use std::{io, thread};

use axum::Router;
use convodb::Store;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use crate::middleware::metrics::Metrics;
use crate::response::base_url::BaseUrl;
use crate::state::Service;

pub use crate::item::{
    AssistantNames, ExportLines, Item, ItemError, Messages, write_item, write_line,
};
pub use crate::limits::Limits;
pub use crate::middleware::rate_limit::{RateLimit, RateLimitError};
pub use crate::response::base_url::{PublicUrl, PublicUrlError, local_url};
pub use crate::response::page::{PageTokens, write_page};
pub use crate::server::admin::admin_routes;
#[cfg(unix)]
pub use crate::server::admin::serve_admin;

/// How a store is served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Where clients reach the server, `https://api.example.com`: the beginning of the URLs in its
    /// answers. Without it they begin with the `Host` of the request, or with the address that the
    /// server listens on where a request has none that is one.
    pub public_url: Option<PublicUrl>,
    /// What each client may take of time, memory and connections.
    pub limits: Limits,
    /// How many requests each token may make; as many as it likes where nothing is said.
    pub rate_limit: Option<RateLimit>,
}

impl Config {
    fn service(&self, store: Store, base_url: BaseUrl) -> Service {
        Service::new(store, base_url, self.limits, self.rate_limit)
    }
}

/// The fewest threads of [`runtime`].
const MIN_THREADS: usize = 16;

/// A runtime as the server wants it: with 16 threads at least, or four for each processor core.
///
/// A page is read on the thread that has its request. A page that is in memory takes less time than
/// to hand it to another thread and back; one that is not waits for the disk, and its thread with
/// it, while the others serve what is in memory. On a runtime of one thread, all would wait. Writes,
/// imports and exports are done on threads beside these.
///
/// # Errors
/// When the system gives no threads.
pub fn runtime() -> io::Result<Runtime> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let threads = MIN_THREADS.max(4 * cores);
    Builder::new_multi_thread().worker_threads(threads).enable_all().build()
}

/// The routes of a store, with all that an answer has: error bodies, limits on URL, headers and
/// bodies, request ids and compression. Deadlines for heads and for clients that do not read are a
/// matter of the server around them.
pub fn router(store: Store, config: &Config) -> Router {
    routes::router(config.service(store, BaseUrl::new(config.public_url.as_ref())))
}

/// Serves a store on `listener` until `stop` is done; then takes no new connection, finishes the
/// requests in flight in at most [`Limits::shutdown_timeout`], and returns.
///
/// 8 KiB of URL and 100 headers with 16 KiB are taken; all else is bounded by [`Config::limits`].
///
/// # Errors
/// When the listener has no address.
pub async fn serve(
    store: Store,
    listener: TcpListener,
    config: Config,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let base_url = BaseUrl::new(config.public_url.as_ref());
    let service = config.service(store, base_url.listening_on(listener.local_addr()?));
    let (limits, metrics) = (*service.limits(), service.metrics().clone());
    let bell = service.bell().clone();
    let stop = async move {
        stop.await;
        bell.stop();
    };
    server::accept::run(listener, routes::router(service), limits, &metrics, stop).await;
    Ok(())
}

/// Puts around routes of your own what every answer of [`router`] has: error bodies, limits on URL
/// and headers, request ids and compression. The fallbacks of the routes are replaced, and what is
/// counted is shown nowhere.
pub fn with_middleware(routes: Router) -> Router {
    routes::with_middleware(routes, Metrics::new(None))
}

/// The description of all that is served, in OpenAPI 3.1, as JSON: what `/openapi.json` answers. Made
/// once, in about a millisecond.
///
/// ```
/// let document = convodb_http::openapi();
/// assert!(document.starts_with(r#"{"openapi":"3.1.0","info":{"title":"convodb""#));
/// ```
#[must_use]
pub fn openapi() -> &'static str {
    openapi::json()
}

/// Serves any routes on `listener`, with deadlines and a stop as of [`serve`].
pub async fn serve_router(
    routes: Router,
    listener: TcpListener,
    limits: Limits,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    server::accept::run(listener, routes, limits, &Metrics::new(None), stop).await;
}
