//! OpenAPI of health probes, metrics, and the description itself.

use serde_json::json;
use utoipa::openapi::{ContentBuilder, HttpMethod, ResponseBuilder};

use crate::openapi::builders::{
    SchemaRef, enumeration, free_object, named, object, required, string, url,
};
use crate::openapi::endpoint::{Endpoint, Example};
use crate::openapi::error_responses::ErrorResponse;
use crate::openapi::{SERVICE, examples};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        public("/", "readIndex", "Index").description("Returns the name and the version of the server, and where its resources are.").returns(
            "The name and the version of the server, and URLs",
            named("ServerIndex"),
            Example::only(examples::index()),
        ),
        public("/healthz", "readHealth", "Liveness")
            .description("Answers as long as the process runs. Does not access the store.")
            .returns("The process runs", named("Health"), Example::only(json!({"status": "ok"}))),
        public("/readyz", "readReadiness", "Readiness")
            .description(
                "Answers 200 if the store is open for writes, else 503: with the message \
                 `read-only` if reads are served. Does not read from disk.",
            )
            .fails_with(ErrorResponse::Unavailable)
            .returns(
                "The store is open for writes",
                named("Health"),
                Example::only(json!({"status": "ok"})),
            ),
        text(
            public("/metrics", "readMetrics", "Metrics")
                .description("Returns counters, gauges and histograms of the server and of the store.")
                .fails_with(ErrorResponse::ServerError),
            "Metrics in the text format of Prometheus; in OpenMetrics for a client that accepts \
             `application/openmetrics-text`. Absent if the server was started with \
             `--metrics-listen`",
            "text/plain; version=0.0.4; charset=utf-8",
        ),
        public("/openapi.json", "readOpenApi", "OpenAPI description")
            .description("Returns this description. The URL in `servers` is the one that the client used, if it is known.")
            .returns("This description, in OpenAPI 3.1", named("OpenApiDocument"), []),
        text(
            public("/docs", "readDocs", "API reference page")
                .description("Shows this description, with a command for each example."),
            "An HTML page",
            HTML,
        ),
    ]
}

/// The index of the server.
pub(super) fn index() -> SchemaRef {
    object(
        "What the server is, and where its resources are",
        [
            required("name", enumeration("", ["convodb"])),
            required("version", string("")),
            required("documentation", url("This API as a page")),
            required("openapi", url("This description")),
            required("conversations", url("The list of conversations")),
            required("health", url("Liveness")),
            required("readiness", url("Readiness")),
        ],
    )
    .into()
}

const HTML: &str = "text/html; charset=utf-8";

fn public(path: &'static str, id: &'static str, summary: &'static str) -> Endpoint {
    Endpoint::new(HttpMethod::Get, path, SERVICE, id, summary).without_token().extension()
}

fn text(endpoint: Endpoint, description: &str, media_type: &str) -> Endpoint {
    let content = ContentBuilder::new().schema(Some(string(""))).build();
    let response = ResponseBuilder::new().description(description).content(media_type, content);
    endpoint.returns_response(response)
}

/// The response of a probe.
pub(super) fn health() -> SchemaRef {
    object("The probe succeeds", [required("status", enumeration("", ["ok"]))]).into()
}

/// This description.
pub(super) fn description() -> SchemaRef {
    free_object("A document as OpenAPI 3.1 specifies it").into()
}
