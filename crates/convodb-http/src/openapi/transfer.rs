//! Imports and exports of JSON lines.

use serde_json::{Value, json};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::{ContentBuilder, HttpMethod, ResponseBuilder};

use crate::openapi::builders::{always, any_text, anything, integer, list, object, word};
use crate::openapi::endpoint::{Body, Endpoint};
use crate::openapi::error_responses::Refusal;
use crate::openapi::list::filters;
use crate::openapi::{CONVERSATIONS, examples};

const LINES: &str = "application/x-ndjson";

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![import(), export()]
}

/// The story's line, as a body of one line.
fn lines() -> Value {
    Value::String(format!("{}\n", examples::line()))
}

fn import() -> Endpoint {
    let whole = |tells| integer(tells, 0..=u64::MAX);
    let refused = object(
        "A line that was not taken",
        [always("line", integer("From 1", 1..=u64::MAX)), always("message", any_text("Why not"))],
    );
    let report = object(
        "What became of the lines",
        [
            always("inserted", whole("")),
            always("already_present", whole("Conversations that the caller had")),
            always("messages", whole("")),
            always("assistants_created", whole("")),
            always("rejected", whole("")),
            always("errors", list("The first 20 lines that were not taken", refused)),
        ],
    );
    // Any text is taken: lines that cannot be are told in the answer.
    let mut body = anything();
    body.description =
        Some("JSON lines, each an `ImportedConversation` of at most 16 MiB".to_owned());
    let content = ContentBuilder::new().schema(Some(body)).example(Some(lines())).build();
    let body = RequestBodyBuilder::new().content(LINES, content);
    let answer = json!({
        "inserted": 1,
        "already_present": 0,
        "messages": 2,
        "assistants_created": 1,
        "rejected": 0,
        "errors": [],
    });
    let path = "/api/user/conversations/import";
    Endpoint::new(HttpMethod::Post, path, CONVERSATIONS, "importConversations", "Import conversations")
        .tells(
            "JSON lines in any number, packed with gzip or zstd or not. Read no faster than they are stored, in batches; each batch is on disk before the \
             next one is read. If the import breaks off, what was stored stays, and the same \
             import can be run again. 200 also where lines were rejected: the others are taken.",
        )
        .takes_body(body.build())
        .writes()
        .answers("Done", report.into(), Body::one(answer))
}

fn export() -> Endpoint {
    let path = "/api/user/conversations/export";
    let body = any_text("JSON lines, each an `ImportedConversation`");
    let content = ContentBuilder::new().schema(Some(body)).example(Some(lines())).build();
    let answer = ResponseBuilder::new().description("All of the list, of one moment");
    let export = Endpoint::new(
        HttpMethod::Get,
        path,
        CONVERSATIONS,
        "exportConversations",
        "Export conversations",
    )
    .tells(
        "JSON lines, in constant memory, oldest first where nothing is said. The client sets the pace, but must \
         go on taking. If the server fails on the way, the connection breaks before its last chunk: \
         a body that ends well is whole. Imported again, it gives equal conversations.",
    );
    let messages = word("Whether lines have their messages", ["1", "0", "true", "false"]);
    filters(export)
        .query("messages", messages, Some(json!("1")))
        .or(Refusal::Unavailable)
        .answers_with(answer.content(LINES, content))
}
