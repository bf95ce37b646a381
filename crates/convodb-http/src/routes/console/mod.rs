//! Console: screens for people, from the same parameters and reads as the API.
//!
//! `convodb-console` renders them. A handler here reads what a screen shows with the functions that
//! the handlers of the API use, and passes it on. Sessions reach these routes alone.

mod conversation;
mod customer;
mod first_row;
mod health;
mod list;
mod live;
mod session;
mod tokens;
mod visit;
mod volumes;

use std::time::Instant;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use convodb_console::ErrorScreen;

use crate::error::{ApiError, Result};
use crate::extract::session::{check_same_origin, see_other};
use crate::middleware::envelope::{IsWritten, RequestId};
use crate::response::{html, json_body};
use crate::state::Service;

/// The path of the console.
pub(crate) const CONSOLE: &str = "/console";

/// Returns the routes of the console.
pub(super) fn router(service: &Service) -> Router<Service> {
    Router::new()
        .route(CONSOLE, get(index))
        .route("/console/", get(index))
        .route("/console/sign-in", get(session::form).post(session::sign_in))
        .route("/console/sign-out", post(session::sign_out))
        .route("/console/conversations", get(list::list))
        .route("/console/conversations/{uuid}", get(conversation::read))
        .route("/console/conversations/{uuid}/ai", post(conversation::set_ai))
        .route("/console/customers", get(customer::customer))
        .route("/console/volumes", get(volumes::volumes))
        .route("/console/volumes.csv", get(volumes::csv))
        .route("/console/statement", get(volumes::statement))
        .route("/console/health", get(health::health))
        .route("/console/tokens", get(tokens::list).post(tokens::create))
        .route("/console/tokens/new", get(tokens::form))
        .route("/console/tokens/{id}", get(tokens::read))
        .route("/console/tokens/{id}/narrow", post(tokens::narrow))
        .route("/console/tokens/{id}/revoke", post(tokens::revoke))
        .route("/console/live", get(live::live))
        .route("/console/assets/{name}", get(asset))
        .route("/console/{*path}", get(async || ApiError::of(StatusCode::NOT_FOUND)))
        .layer(from_fn_with_state(service.clone(), guard))
}

/// Returns the routes of the console of a server whose store is on another database: it has none.
pub(super) fn absent() -> Router<Service> {
    let refuse = get(async || ApiError::no_console());
    Router::new()
        .route(CONSOLE, refuse.clone())
        .route("/console/", refuse.clone())
        .route("/console/{*path}", refuse)
}

/// Middleware: refuses forms of other sites, and shows errors as pages.
async fn guard(State(service): State<Service>, request: Request, next: Next) -> Response {
    let id = request.extensions().get::<RequestId>().map(|id| id.0.clone());
    let is_form = !matches!(*request.method(), Method::GET | Method::HEAD);
    let origin = service.base_url().origin();
    let checked = if is_form { check_same_origin(request.headers(), origin) } else { Ok(()) };
    let mut response = match checked {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    let Some(error) = response.extensions_mut().remove::<ApiError>() else { return response };
    let id = id.as_ref().and_then(|id| id.to_str().ok()).unwrap_or_default();
    let screen = ErrorScreen {
        base: service.base_url().base_path().to_owned(),
        status: error.status().as_u16(),
        message: error.message().to_owned(),
        request_id: id.to_owned(),
    };
    let now = Instant::now();
    let Ok(mut page) = html::page(&screen, now, now) else { return error.into_response() };
    *page.status_mut() = error.status();
    page.extensions_mut().insert(error);
    page.extensions_mut().insert(IsWritten);
    page
}

/// `GET /console`: leads to the first screen.
async fn index(State(service): State<Service>) -> Response {
    see_other(&format!("{}/console/conversations", service.base_url().base_path()))
}

/// `GET /console/assets/{name}`: a style sheet, a script or an icon. Its URL changes with it.
async fn asset(Path(name): Path<String>) -> Result<Response> {
    let asset = convodb_console::assets::find(&name);
    let asset = asset.ok_or_else(|| ApiError::of(StatusCode::NOT_FOUND))?;
    let mut response = json_body::ok(asset.text);
    html::add_headers(response.headers_mut());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(asset.media_type));
    let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
    headers.insert(CACHE_CONTROL, forever);
    Ok(response)
}
