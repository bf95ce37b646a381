//! In-process client: requests to the routes of the server without sockets.

use std::io;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request};
use convodb::Store;
use convodb_http::{Config, router};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::runtime::{Builder, Runtime};

use crate::scenario::Violation;

/// A client that calls the router directly.
pub(crate) struct InProcessClient {
    runtime: Runtime,
    routes: TowerToHyperService<axum::Router>,
}

/// A complete response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// All headers, sorted, except the request id, which differs from request to request.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl InProcessClient {
    pub(crate) fn new(store: Store) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let routes = TowerToHyperService::new(router(store, &Config::default()));
        Ok(Self { runtime, routes })
    }

    /// Sends a request as the user of an access token. A body is a pair of content type and text.
    pub(crate) fn request(
        &self,
        token: &str,
        method: &Method,
        target: &str,
        body: Option<(&str, &str)>,
    ) -> Result<Response, Violation> {
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header("authorization", format!("Bearer {token}"));
        let mut sent = Body::empty();
        if let Some((content_type, text)) = body {
            request = request.header("content-type", content_type);
            sent = Body::from(text.to_owned());
        }
        let request = request.body(sent)?;
        self.runtime.block_on(async {
            let Ok(response) = self.routes.call(request).await;
            let (head, body) = response.into_parts();
            let mut headers: Vec<(String, String)> = head
                .headers
                .iter()
                .filter(|(name, _)| *name != "x-request-id")
                .map(|(name, value)| {
                    (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
                })
                .collect();
            headers.sort();
            let body = to_bytes(body, usize::MAX).await?.to_vec();
            Ok(Response { status: head.status.as_u16(), headers, body })
        })
    }
}
