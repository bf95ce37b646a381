//! HTTP server compatible with the "List Conversations" API of Autocalls (the same at Famulor).
//!
//! It serves a [`convodb`] store, or one on another database ([`Source`]), and clients of that API work
//! by changing the base URL. A Bearer token selects the user whose conversations, messages, assistants,
//! imports and exports a request reads and writes. `/healthz`, `/readyz`, `/metrics`, `/docs` and
//! `/openapi.json` need no token.
//!
//! [`serve`] runs the whole server on a listener; [`runtime`] builds the tokio runtime that suits
//! it. For a server of your own, [`router`] returns the routes, [`write_page`] writes the body of a
//! list, and [`with_middleware`] and [`serve_router`] add the same middleware and timeouts to other
//! routes. The JSON form of a conversation is in the crate `convodb-json`.
//!
//! A request passes `server` (connections and timeouts), `middleware` (envelope, limits, metrics)
//! and `routes` (handlers). A handler parses it with `extract` and `body`, reaches the store
//! through `extract::auth`, and answers with `response`.
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
mod error;
mod extract;
mod least_rate;
mod limits;
mod log_writer;
mod middleware;
#[cfg(test)]
mod openapi;
mod process_key;
mod response;
mod routes;
mod run_blocking;
mod server;
mod state;

use std::num::NonZero;
use std::{io, thread};

use axum::Router;
use convodb_service::Source;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use crate::middleware::metrics::Metrics;
use crate::response::base_url::BaseUrl;
use crate::state::Service;

pub use crate::limits::Limits;
pub use crate::log_writer::LogWriter;
pub use crate::middleware::cors::{CorsOrigin, CorsOriginError};
pub use crate::middleware::rate_limit::{RateLimit, RateLimitError};
pub use crate::response::base_url::{PublicUrl, PublicUrlError, local_url};
pub use crate::response::page::{PageTokens, write_page};
/// Account operations, as requests of the admin API.
pub mod accounts {
    pub use crate::server::accounts::{
        AccountOperation, CreateToken, CreateUser, ListTokens, ListUsers, NarrowToken,
        NewTokenLine, RenameUser, RevokeTokens, Revoked, SetQuota, TokenLine, UserLine, find_user,
    };
}
pub use crate::server::admin::admin_routes;
#[cfg(unix)]
pub use crate::server::admin::serve_admin;

/// Configuration of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The URL at which clients reach the server, `https://api.example.com`. The URLs in responses
    /// begin with it.
    ///
    /// Without it they begin with the `Host` of the request if that names this machine: `localhost`,
    /// a loopback address or the address of the listener. Otherwise they are relative.
    pub public_url: Option<PublicUrl>,
    /// Limits on time, memory and connections.
    pub limits: Limits,
    /// Rate limit of each token; unlimited by default.
    pub rate_limit: Option<RateLimit>,
    /// The origins whose web pages may read responses (CORS); none by default.
    pub cors_origins: Vec<CorsOrigin>,
    /// Whether the list refuses parameters that it does not know, which the reference API ignores.
    pub strict_parameters: bool,
    /// Whether the server has no console at `/console`.
    pub no_console: bool,
}

impl Config {
    fn service(&self, source: Source, base_url: BaseUrl) -> Service {
        let service = Service::new(source, base_url, self.limits, self.rate_limit);
        let service = service.with_options(self.strict_parameters, self.cors_origins.clone());
        if self.no_console { service.without_console() } else { service }
    }

    /// The service of a server on `listener`.
    fn serving(&self, source: Source, listener: &TcpListener) -> io::Result<Service> {
        let base_url = BaseUrl::new(self.public_url.as_ref());
        Ok(self.service(source, base_url.listening_on(listener.local_addr()?)))
    }
}

/// The fewest threads of [`runtime`].
const MIN_THREADS: usize = 16;

/// Builds the tokio runtime that suits the server: four threads for each core, at least 16.
///
/// A page is read on the thread of its request. If it is in memory, reading it takes less time than
/// a hand-over to another thread and back. If it is not, its thread waits for the disk while the
/// other threads serve pages from memory; with one thread all requests would wait. Writes wait
/// without a thread. Imports, exports and backups run on blocking threads.
///
/// # Errors
/// Fails if the system cannot start the threads.
pub fn runtime() -> io::Result<Runtime> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let threads = MIN_THREADS.max(4 * cores);
    Builder::new_multi_thread().worker_threads(threads).enable_all().build()
}

/// Returns the routes of a source, such as a [`Store`](convodb::Store), with their middleware: error bodies, limits on URL, headers and
/// bodies, request ids, compression and metrics.
///
/// Timeouts for request headers and for clients that do not read are up to the server around them;
/// [`serve`] has them.
pub fn router(source: impl Into<Source>, config: &Config) -> Router {
    routes::router(config.service(source.into(), BaseUrl::new(config.public_url.as_ref())))
}

/// Serves a source, such as a [`Store`](convodb::Store), on `listener` until `shutdown` resolves.
///
/// It then accepts no new connection, finishes the requests in flight within
/// [`Limits::shutdown_timeout`], and returns. A URL may have 8 KiB; the headers 16 KiB, at most 100
/// of them. [`Config::limits`] bounds everything else.
///
/// # Errors
/// Fails if the listener has no local address.
pub async fn serve(
    source: impl Into<Source>,
    listener: TcpListener,
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let service = config.serving(source.into(), &listener)?;
    serve_routes(routes::router(service.clone()), service, listener, shutdown).await;
    Ok(())
}

/// As [`serve`], with `/metrics` on `metrics_listener` alone, where clients of the API cannot reach
/// it.
///
/// # Errors
/// Fails if the listener has no local address.
pub async fn serve_with_metrics(
    source: impl Into<Source>,
    listener: TcpListener,
    metrics_listener: TcpListener,
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let service = config.serving(source.into(), &listener)?;
    let limits = *service.limits();
    let mut shutting_down = service.shutdown_receiver();
    let routes = routes::router(service.clone().without_metrics());
    let metrics_routes = routes::metrics_router(service.clone());
    let metrics_shutdown = async move {
        // An error means that the sender is gone.
        let _ = shutting_down.wait_for(|shutting_down| *shutting_down).await;
    };
    tokio::join!(
        serve_routes(routes, service, listener, shutdown),
        serve_router(metrics_routes, metrics_listener, limits, metrics_shutdown),
    );
    Ok(())
}

async fn serve_routes(
    routes: Router,
    service: Service,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) {
    let (limits, metrics) = (*service.limits(), service.metrics().clone());
    let notify_shutdown = service.shutdown_sender();
    let shutdown = async move {
        shutdown.await;
        notify_shutdown.send_replace(true);
    };
    server::accept::run(listener, routes, limits, &metrics, shutdown).await;
}

/// Adds to routes of your own the middleware of [`router`]: error bodies, limits on URL and
/// headers, request ids and compression.
///
/// The fallbacks of the routes are replaced. Their metrics are not exposed.
pub fn with_middleware(routes: Router) -> Router {
    routes::with_middleware(routes, Metrics::new(None))
}

/// Returns the OpenAPI 3.1 document of the server as JSON, as in `/openapi.json`.
///
/// The first call builds it, in about a millisecond.
///
/// ```
/// let document = convodb_http::openapi();
/// assert!(document.starts_with(r#"{"openapi":"3.1.0","info":{"title":"convodb""#));
/// ```
#[must_use]
pub fn openapi() -> &'static str {
    routes::docs::DOCUMENT
}

/// Serves a router of your own on `listener`, with the timeouts and the shutdown of [`serve`].
pub async fn serve_router(
    router: Router,
    listener: TcpListener,
    limits: Limits,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    server::accept::run(listener, router, limits, &Metrics::new(None), shutdown).await;
}
