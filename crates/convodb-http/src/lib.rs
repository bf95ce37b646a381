//! Serves a convodb store over HTTP, in the shape of the documented conversations API.
//!
//! [`serve`] is the whole server on a listener; [`router`] is its routes, for a server of your
//! own. Both answer `GET /api/user/conversations` for the user of a Bearer token, and `/healthz`.
//! [`item`] reads and writes the list's items alone, which is also the form of imports and exports.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use convodb_http::{Config, serve};
//!
//! let store = convodb::Store::open("conversations.convodb")?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! serve(store, listener, Config::default(), std::future::pending()).await?;
//! # Ok(())
//! # }
//! ```

mod auth;
mod base_url;
mod envelope;
mod error;
mod form;
pub mod item;
mod json;
mod params;
mod patience;
mod response;
mod routes;
mod server;
mod state;

use std::io;

use axum::Router;
use convodb::Store;
use tokio::net::TcpListener;

use crate::base_url::BaseUrl;
use crate::state::Service;

pub use crate::base_url::{PublicUrl, PublicUrlError, local_url};
pub use crate::item::{AssistantNames, Item, ItemError, write_item};

/// How a store is served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Where clients reach the server, `https://api.example.com`: the beginning of the URLs in its
    /// answers. Without it they begin with the `Host` of the request, or with the address that the
    /// server listens on where a request has none that is one.
    pub public_url: Option<PublicUrl>,
}

/// The routes of a store, with all that an answer has: error bodies, limits on URL and headers,
/// request ids and compression. Deadlines are a matter of the server around them.
pub fn router(store: Store, config: &Config) -> Router {
    routes::router(Service::new(store, BaseUrl::new(config.public_url.as_ref())))
}

/// Serves a store on `listener` until `stop` is done; then takes no new connection, finishes the
/// requests in flight in at most ten seconds, and returns.
///
/// At most 10,000 connections at a time; ten seconds for the head of a request or between two of
/// them, thirty for a client to take some of what it is sent; 8 KiB of URL and 16 KiB of headers.
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
    let base_url = base_url.listening_on(listener.local_addr()?);
    server::run(listener, routes::router(Service::new(store, base_url)), stop).await;
    Ok(())
}
