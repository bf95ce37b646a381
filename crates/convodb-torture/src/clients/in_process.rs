//! Requests to the server's routes within this process: all that a server does but sockets.

use std::io;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request};
use convodb::Store;
use convodb_http::{Config, router};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::runtime::{Builder, Runtime};

use crate::scenario::Violation;

/// Who asks, with an access token.
pub(crate) struct InProcessClient {
    runtime: Runtime,
    routes: TowerToHyperService<axum::Router>,
    token: String,
}

/// What is answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// All but the request's id, which differs by its nature; sorted.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl InProcessClient {
    pub(crate) fn new(store: Store, token: String) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let routes = TowerToHyperService::new(router(store, &Config::default()));
        Ok(Self { runtime, routes, token })
    }

    /// Asks as the token's user.
    pub(crate) fn ask(
        &self,
        method: &Method,
        target: &str,
        body: Option<(&str, &str)>,
    ) -> Result<Answer, Violation> {
        self.ask_as(&self.token, method, target, body)
    }

    /// Asks as another token's user. A body has a type.
    pub(crate) fn ask_as(
        &self,
        token: &str,
        method: &Method,
        target: &str,
        body: Option<(&str, &str)>,
    ) -> Result<Answer, Violation> {
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
            Ok(Answer { status: head.status.as_u16(), headers, body })
        })
    }
}
