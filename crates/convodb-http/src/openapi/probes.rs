//! What watches the server, and what tells of it.

use serde_json::json;
use utoipa::openapi::{ContentBuilder, HttpMethod, ResponseBuilder};

use crate::openapi::SERVICE;
use crate::openapi::builders::{Shape, always, any_text, object, word};
use crate::openapi::endpoint::{Body, Endpoint};
use crate::openapi::error_responses::Refusal;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        open("/healthz", "readHealth", "Alive")
            .tells("As long as the process answers; asks nothing of the store.")
            .answers("It is", fine(), Body::one(json!({"status": "ok"}))),
        open("/readyz", "readReadiness", "Ready")
            .tells("The store is open and takes writes. Reads no disk.")
            .or(Refusal::Unavailable)
            .answers("It does", fine(), Body::one(json!({"status": "ok"}))),
        text(
            open("/metrics", "readMetrics", "Metrics").or(Refusal::Fault),
            "OpenMetrics text, for Prometheus",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        open("/openapi.json", "readOpenApi", "The description").answers(
            "OpenAPI 3.1",
            object("As of its own specification", []).into(),
            [],
        ),
        text(open("/docs", "readDocs", "This page"), "A page", HTML),
    ]
}

const HTML: &str = "text/html; charset=utf-8";

fn open(path: &'static str, id: &'static str, summary: &'static str) -> Endpoint {
    Endpoint::new(HttpMethod::Get, path, SERVICE, id, summary).open()
}

fn text(endpoint: Endpoint, tells: &str, media_type: &str) -> Endpoint {
    let content = ContentBuilder::new().schema(Some(any_text(""))).build();
    let answer = ResponseBuilder::new().description(tells).content(media_type, content);
    endpoint.answers_with(answer)
}

fn fine() -> Shape {
    object("", [always("status", word("", ["ok"]))]).into()
}
