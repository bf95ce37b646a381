//! Probes: health, readiness and metrics, without a token and without data of users.

use std::collections::HashSet;

use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use convodb::StoreState;
use convodb_service::Source;

use crate::error::{ApiError, Result};
use crate::response::json_body;
use crate::state::Service;

/// The path of the metrics.
pub(crate) const METRICS: &str = "/metrics";

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The older text format of Prometheus.
const PLAIN_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `GET /healthz`: the process responds. Does not use the store.
pub(crate) async fn alive() -> Response {
    json_body::ok(r#"{"status":"ok"}"#)
}

/// `GET /readyz`: the store is open and accepts writes. Reads no disk of an embedded store; asks any
/// other database.
///
/// # Errors
/// 503, with the message `read-only` if reads are served.
pub(crate) async fn ready(State(service): State<Service>) -> Result<Response> {
    let store = match service.source() {
        Source::Embedded(store) => store.store(),
        Source::Remote(remote) => {
            remote.ready().await?;
            return Ok(json_body::ok(r#"{"status":"ok"}"#));
        }
    };
    match store.state() {
        StoreState::Open => Ok(json_body::ok(r#"{"status":"ok"}"#)),
        StoreState::ReadOnly => Err(ApiError::read_only()),
        _ => Err(ApiError::busy()),
    }
}

/// `GET /metrics`, in the text format of Prometheus, or in OpenMetrics for a client that accepts it
/// by its name, as Prometheus does.
pub(crate) async fn metrics(
    State(service): State<Service>,
    headers: HeaderMap,
) -> Result<Response> {
    let text = service.metrics().text().map_err(|error| ApiError::fault(error.to_string()))?;
    let (text, media_type) = if accepts_open_metrics(&headers) {
        (text, OPEN_METRICS)
    } else {
        (plain_text(&text), PLAIN_TEXT)
    };
    let mut response = json_body::ok(text);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.headers_mut().insert(VARY, HeaderValue::from_name(ACCEPT));
    Ok(response)
}

fn accepts_open_metrics(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    types.any(|text| text.to_ascii_lowercase().contains("application/openmetrics-text"))
}

/// Converts OpenMetrics to the older format: there a counter is described by the name of its
/// samples, which ends in `_total`, and the text has no end mark.
fn plain_text(open_metrics: &str) -> String {
    let kinds = open_metrics.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let counters: HashSet<&str> = kinds.filter_map(|kind| kind.strip_suffix(" counter")).collect();
    let mut text = String::with_capacity(open_metrics.len() + 8 * counters.len());
    for line in open_metrics.lines().filter(|line| *line != "# EOF") {
        let comment = ["# HELP ", "# TYPE "].iter().find(|start| line.starts_with(**start));
        let name = comment.and_then(|start| line[start.len()..].split(' ').next());
        match (comment, name) {
            (Some(start), Some(name)) if counters.contains(name) => {
                let rest = &line[start.len() + name.len()..];
                text.extend([*start, name, "_total", rest]);
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_describes_counters_by_their_samples() {
        let open = "# HELP a_requests Text.\n# TYPE a_requests counter\na_requests_total{b=\"c\"} 1\n\
                    # HELP a_requests_now Other.\n# TYPE a_requests_now gauge\na_requests_now 2\n# EOF\n";
        let plain = "# HELP a_requests_total Text.\n# TYPE a_requests_total counter\n\
                     a_requests_total{b=\"c\"} 1\n\
                     # HELP a_requests_now Other.\n# TYPE a_requests_now gauge\na_requests_now 2\n";
        assert_eq!(plain_text(open), plain);
    }
}
