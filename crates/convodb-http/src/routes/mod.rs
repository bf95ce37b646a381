//! Routes: which handler serves which path, and the middleware around all of them.

mod assistants;
mod changes;
mod console;
mod conversation;
mod conversations;
pub(crate) mod docs;
mod events;
mod export;
mod feed;
mod import;
mod messages;
mod probes;
mod stats;
mod user;

use std::convert::Infallible;

use axum::body::{Bytes, HttpBody};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware;
use axum::response::Response;
use axum::routing::{MethodRouter, Route, get, patch, post};
use axum::{BoxError, Router};
use tower_http::cors::CorsLayer;
use tower_layer::Layer;
use tower_service::Service as TowerService;

use crate::error::ApiError;
use crate::extract::cached_get::KnownResponsesLayer;
use crate::extract::recalled_token::with_recalled_token;
use crate::middleware::caller::CallerLayer;
use crate::middleware::cors;
use crate::middleware::envelope::EnvelopeLayer;
use crate::middleware::metrics::Metrics;
use crate::middleware::rate_limit;
use crate::response::compression;
use crate::state::Service;

/// A router and its paths. axum's router does not list them, and a test compares them with the
/// OpenAPI document.
#[derive(Default)]
struct Routes {
    router: Router<Service>,
    paths: Vec<&'static str>,
}

impl Routes {
    /// Adds a route, with and without a slash at the end of its path.
    fn route(mut self, path: &'static str, methods: MethodRouter<Service>) -> Self {
        self.paths.push(path);
        let router = match path {
            "/" => self.router,
            _ => self.router.route(&format!("{path}/"), methods.clone()),
        };
        Self { router: router.route(path, methods), paths: self.paths }
    }
}

/// Returns all routes of a service with their middleware, `/metrics` among them if it has that.
pub(crate) fn router(service: Service) -> Router {
    let routes = if service.has_metrics() { routes() } else { api_routes() };
    finish(routes.router, service)
}

/// Returns the metrics of a service, for a listener of their own.
pub(crate) fn metrics_router(service: Service) -> Router {
    let router = Router::new().route(probes::METRICS, get(probes::metrics));
    finish(router, service.without_console())
}

fn finish(mut router: Router<Service>, service: Service) -> Router {
    if service.has_console() {
        router = router.merge(console::router(&service));
    } else if service.source().embedded().is_none() {
        router = router.merge(console::absent());
    }
    if service.source().embedded().is_none() {
        let recalled = middleware::from_fn_with_state(service.clone(), with_recalled_token);
        router = router.layer(recalled);
    }
    router = router.layer(CallerLayer(service.bytes().clone()));
    if service.has_rate_limit() {
        router = router.layer(middleware::from_fn(rate_limit::add_headers));
    }
    let cors = cors::layer(service.cors_origins());
    let metrics = service.metrics().clone();
    let inner = (KnownResponsesLayer(service.clone()), compression::layer());
    with_layers(router.with_state(service), metrics, cors, inner)
}

fn routes() -> Routes {
    api_routes().route(probes::METRICS, get(probes::metrics))
}

fn api_routes() -> Routes {
    Routes::default()
        .route("/", get(docs::index))
        .route(conversations::LIST, get(conversations::list))
        .route("/api/user/conversations/changes", get(changes::changes))
        .route("/api/user/conversations/stats", get(stats::stats))
        .route("/api/user/conversations/import", post(import::import))
        .route("/api/user/conversations/export", get(export::export))
        .route("/api/conversations", post(conversation::create))
        .route(
            "/api/conversations/{uuid}",
            get(conversation::read).patch(conversation::update).delete(conversation::delete),
        )
        .route("/api/conversations/{uuid}/messages", post(messages::append))
        .route("/api/automate/conversations/{uuid}/enable-ai", post(conversation::enable_ai))
        .route("/api/automate/conversations/{uuid}/disable-ai", post(conversation::disable_ai))
        .route("/api/user/me", get(user::me))
        .route(assistants::LIST, get(assistants::list))
        .route("/api/user/assistants", get(assistants::list_all).post(assistants::create))
        .route("/api/user/assistants/{uuid}", patch(assistants::rename))
        .route("/healthz", get(probes::alive))
        .route("/readyz", get(probes::ready))
        .route("/openapi.json", get(docs::document))
        .route("/docs", get(docs::page))
        .route("/docs/style.css", get(docs::style))
        .route("/docs/page.js", get(docs::script))
}

/// Adds the middleware of every response.
pub(crate) fn with_middleware(routes: Router, metrics: Metrics) -> Router {
    with_layers(routes, metrics, None, compression::layer())
}

/// Adds the middleware of every response around `inner`. All layers are added at once, the outermost
/// first: axum clones and boxes what is below a layer that is added by itself, for each request.
fn with_layers<L, B>(routes: Router, metrics: Metrics, cors: Option<CorsLayer>, inner: L) -> Router
where
    L: Layer<Route> + Clone + Send + Sync + 'static,
    L::Service: TowerService<Request, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    <L::Service as TowerService<Request>>::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let routes = routes
        .fallback(async || ApiError::of(StatusCode::NOT_FOUND))
        .method_not_allowed_fallback(async || ApiError::of(StatusCode::METHOD_NOT_ALLOWED));
    match cors {
        Some(cors) => routes.layer(inner).layer((EnvelopeLayer(metrics), cors)),
        None => routes.layer((EnvelopeLayer(metrics), inner)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::limits::Limits;
    use crate::response::base_url::BaseUrl;
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use convodb::Store;
    use hyper::service::Service as _;
    use hyper_util::service::TowerToHyperService;
    use serde_json::Value;

    /// The OpenAPI document and the router have the same paths and methods.
    #[tokio::test]
    async fn the_openapi_document_has_exactly_the_routes() {
        let document: Value = serde_json::from_str(docs::DOCUMENT).unwrap();
        let documented = document["paths"].as_object().unwrap();
        // The assets of the docs page are not documented.
        let is_asset = |path: &&str| path.starts_with("/docs/");
        let all = routes().paths;
        let served: BTreeSet<&str> = all.iter().copied().filter(|path| !is_asset(path)).collect();
        assert_eq!(served, documented.keys().map(String::as_str).collect());

        let service = Service::new(
            Store::in_memory().unwrap().into(),
            BaseUrl::new(None),
            Limits::default(),
            None,
        );
        let routes = TowerToHyperService::new(router(service));
        for (path, operations) in documented {
            let path = path.replace("{uuid}", "7c9e6679-7425-40de-944b-e07fc1f90ae7");
            let request = Request::builder().method("BREW").uri(&path).body(Body::empty());
            let Ok(response) = routes.call(request.unwrap()).await;
            assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
            let allowed = response.headers()["allow"].to_str().unwrap().split(',');
            let allowed: BTreeSet<_> = allowed.filter(|method| *method != "HEAD").collect();
            let operations = operations.as_object().unwrap();
            let methods: Vec<_> = operations.keys().map(|method| method.to_uppercase()).collect();
            assert_eq!(allowed, methods.iter().map(String::as_str).collect(), "{path}");
        }
    }

    #[tokio::test]
    async fn a_panicking_handler_answers_500_with_a_body() {
        async fn bug() {
            panic!("a bug");
        }
        let routes = with_middleware(
            Router::new().route("/api/conversations/{id}", get(bug)),
            Metrics::new(None),
        );
        let request = Request::get("/api/conversations/1").body(Body::empty()).unwrap();
        let Ok(response) = TowerToHyperService::new(routes).call(request).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(response.headers()["x-request-id"].len(), 32);
        assert_eq!(
            to_bytes(response.into_body(), usize::MAX).await.unwrap(),
            r#"{"status":false,"error":"Server Error","message":"Server Error"}"#
        );
    }
}
