//! OpenAPI of bulk transfer: import and export of conversations as JSON lines.

use convodb::Scope;
use serde_json::{Value, json};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::{ContentBuilder, HttpMethod, Object, ResponseBuilder};

use crate::openapi::builders::{
    SchemaRef, any_json, enumeration, integer, list, named, object, required, string,
};
use crate::openapi::endpoint::{Endpoint, Example};
use crate::openapi::error_responses::ErrorResponse;
use crate::openapi::list::filters;
use crate::openapi::{CONVERSATIONS, examples, headers};

const CSV: &str = "text/csv; charset=utf-8; header=present";
const LINES: &str = "application/x-ndjson";

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![import(), export()]
}

/// A body of one line: the conversation of the examples.
fn lines() -> Value {
    Value::String(format!("{}\n", examples::line()))
}

/// The schema of JSON lines, with the schema of a line.
fn of_lines(mut text: Object) -> Object {
    text.content_media_type = LINES.to_owned();
    text.content_schema = Some(Box::new(named("ImportedConversation")));
    text
}

/// A line that an import rejected.
pub(super) fn rejected_line() -> SchemaRef {
    object(
        "A rejected line",
        [
            required("line", integer("Line number, from 1", 1..=u64::MAX)),
            required("message", string("The reason")),
        ],
    )
    .into()
}

/// The result of an import.
pub(super) fn report() -> SchemaRef {
    let count = |description| integer(description, 0..=u64::MAX);
    object(
        "The result of the import",
        [
            required("inserted", count("Conversations inserted")),
            required("already_present", count("Conversations left unchanged: their id exists")),
            required("messages", count("Messages inserted")),
            required("assistants_created", count("Assistants created")),
            required("rejected", count("Lines rejected")),
            required("errors", list("The first 20 rejected lines", named("RejectedLine"))),
        ],
    )
    .into()
}

fn import() -> Endpoint {
    // The schema accepts any text, because the server reports invalid lines in its response.
    let mut body = any_json();
    body.description = Some("JSON lines, each an `ImportedConversation`".to_owned());
    let content = ContentBuilder::new().schema(Some(of_lines(body))).example(Some(lines())).build();
    let body = RequestBodyBuilder::new().content(LINES, content);
    let response = json!({
        "inserted": 1,
        "already_present": 0,
        "messages": 2,
        "assistants_created": 1,
        "rejected": 0,
        "errors": [],
    });
    Endpoint::new(
        HttpMethod::Post,
        "/api/user/conversations/import",
        CONVERSATIONS,
        "importConversations",
        "Import conversations",
    )
    .extension()
    .description(
        "Inserts any number of conversations from JSON lines, plain or compressed with gzip or \
         zstd (window size at most 8 MiB). Lines are stored in batches, and each batch is on disk \
         before the next one is read, so the server reads no faster than it stores.\n\nIf the \
         import is interrupted, the batches before remain stored, and the same import can be \
         repeated: conversations whose id exists are left unchanged. Invalid lines are rejected \
         one by one; the status is 200 even then.",
    )
    .body(body.build())
    .writes()
    .scope(Scope::Import)
    .returns("The result of the import", named("ImportReport"), Example::only(response))
}

fn export() -> Endpoint {
    let body = of_lines(string("JSON lines, each an `ImportedConversation`"));
    let content = ContentBuilder::new().schema(Some(body)).example(Some(lines())).build();
    let response = ResponseBuilder::new().description("The whole list, from one snapshot");
    let export = Endpoint::new(
        HttpMethod::Get,
        "/api/user/conversations/export",
        CONVERSATIONS,
        "exportConversations",
        "Export conversations",
    )
    .extension()
    .scope(Scope::Export)
    .description(
        "Streams the whole list as JSON lines, or as CSV for `Accept: text/csv`, from one snapshot, \
         oldest first by default, in constant memory. The stream follows the pace of the client, \
         which has one hour by default to read all of it. If the server fails, the connection breaks before the last chunk: a \
         body that ends properly is complete. Importing an export restores equal conversations.",
    );
    let messages = "Whether each line includes its messages; they are left out by default";
    let safe = "In CSV, whether a text that a spreadsheet could take for a formula begins with an \
                apostrophe";
    let mark = "Whether CSV begins with a byte order mark, without which Excel misreads letters \
                beyond ASCII";
    let switch = |description| enumeration(description, ["1", "0", "true", "false"]);
    let csv = string("CSV with a header, one record per conversation, without messages");
    let csv = ContentBuilder::new().schema(Some(csv)).build();
    filters(export)
        .query("messages", switch(messages), "1")
        .query("csv_safe", switch(safe), "0")
        .query("csv_bom", switch(mark), "0")
        .fails_with(ErrorResponse::Unavailable)
        .returns_response(headers::with(
            response.content(LINES, content).content(CSV, csv),
            &["Content-Disposition"],
        ))
}
