//! Health screen: the metrics of the server, for a person.

use std::time::Instant;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use convodb_console::{Health, HealthScreen, Screen};

use crate::error::Result;
use crate::extract::auth::Health as HealthScope;
use crate::extract::session::SessionRead;
use crate::middleware::metrics::PagesRead;
use crate::response::html;
use crate::routes::console::visit::Visit;
use crate::routes::{conversations, probes};
use crate::state::Service;

/// The route of the list screen, as the metrics name it.
const LIST_SCREEN: &str = "/console/conversations";

/// `GET /console/health`.
pub(super) async fn health(
    State(service): State<Service>,
    SessionRead(auth): SessionRead<HealthScope>,
    headers: HeaderMap,
) -> Result<Response> {
    let mut visit = Visit::new(Screen::Health);
    visit.api = service.has_metrics().then(|| probes::METRICS.to_owned());
    let (metrics, store) = (service.metrics(), service.store()?);
    let PagesRead { pages, reads, bound } = metrics.pages();
    let health = Health {
        state: store.state(),
        api_pages: metrics.times_of(conversations::LIST),
        console_pages: metrics.times_of(LIST_SCREEN),
        pages,
        reads,
        bound,
        store: store.metrics(),
        // Without the sizes of its files the other numbers are still useful.
        files: store.usage().ok().map(|usage| (usage.file_bytes, usage.wal_bytes)),
        connections: metrics.connections(),
    };
    let read_at = Instant::now();
    let frame = visit.frame(&service, &headers, &auth, None)?;
    html::page(&HealthScreen { frame, health }, visit.began, read_at)
}
