//! OpenAPI 3.1 description of the server: operations, parameters, bodies, statuses and examples.
//!
//! Compiled for tests only: the server includes the document that this module generates, the file
//! `docs/openapi.json`. Each resource has a file here and a line in [`endpoints`]. Tests check that
//! the file is current, that the document and the routes list the same operations, and send every
//! example to a running server.

mod builders;
mod changes;
mod conversation;
mod endpoint;
mod error_responses;
mod examples;
mod headers;
mod list;
mod messages;
mod parts;
mod probes;
mod schemas;
mod stats;
mod transfer;
mod user;

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    Components, ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApiBuilder, Paths, Server, Tag,
};

use crate::openapi::endpoint::{BEARER, Endpoint};
use crate::routes::docs::DOCUMENT;

const CONVERSATIONS: &str = "Conversations";
const USER: &str = "User and assistants";
const SERVICE: &str = "Service";
/// The groups of operations, in the order of their pages.
const TAGS: [(&str, &str); 3] = [
    (
        CONVERSATIONS,
        "Conversations with their messages: lists, single ones, feed, numbers, transfer",
    ),
    (USER, "The user that the token belongs to, and the assistants of this user"),
    (SERVICE, "Probes, metrics and descriptions; no token is required"),
];
const LICENSE: &str = env!("CARGO_PKG_LICENSE");

const DESCRIPTION: &str = "\
Compatible with the \"List Conversations\" API of Autocalls, which Famulor publishes as well. It \
is called the reference API below. Paths, parameters and fields have the same names, so its \
clients work after a change of the base URL.

The reference API has eight of these operations: list, create and read conversations, append a \
message, enable and disable AI, read the user, and list assistants. All other operations are \
extensions, and so are the parameters and fields whose description begins with \"Extension\".

Every path below `/api` requires `Authorization: Bearer TOKEN`, with a token that `convodb token \
create` prints. All times are in UTC.

Errors are JSON objects with a `message`. They never contain a token, a phone number or a cursor. \
A method that a path does not support is refused with 405 and an `Allow` header. HEAD is supported \
wherever GET is. Response bodies are compressed with gzip or zstd if the client accepts it.";

/// The description as JSON.
fn generate() -> String {
    let document = OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("convodb")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(DESCRIPTION))
                .license(Some(
                    LicenseBuilder::new().name(LICENSE).identifier(Some(LICENSE)).build(),
                )),
        )
        .servers(Some([Server::new("/")]))
        .tags(Some(TAGS.map(|(name, description)| {
            let mut tag = Tag::new(name);
            tag.description = Some(description.to_owned());
            tag
        })))
        .paths(paths())
        .components(Some(components()))
        .build();
    document.to_json().unwrap()
}

fn endpoints() -> impl Iterator<Item = Endpoint> {
    let resources = [
        list::endpoints(),
        changes::endpoints(),
        stats::endpoints(),
        conversation::endpoints(),
        messages::endpoints(),
        transfer::endpoints(),
        user::endpoints(),
        probes::endpoints(),
    ];
    resources.into_iter().flatten()
}

fn paths() -> Paths {
    let mut paths = Paths::new();
    for (path, method, operation) in endpoints().map(Endpoint::build) {
        paths.add_path_operation(path, vec![method], operation);
    }
    paths
}

fn components() -> Components {
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
        "A token printed by `convodb token create`. It is shown once; the server stores only its \
         hash.",
    ));
    let schemas = error_responses::schemas().into_iter().chain(schemas::schemas());
    let components = schemas.fold(ComponentsBuilder::new(), |components, (name, schema)| {
        components.schema(name, schema)
    });
    let headers = headers::all().into_iter();
    let components = headers.fold(components, |all, (name, header)| all.header(name, header));
    let errors = endpoints().flat_map(|endpoint| endpoint.error_responses());
    components
        .responses_from_iter(
            errors.map(|(error, dialect)| (error.name(dialect), error.response(dialect))),
        )
        .security_scheme(BEARER, SecurityScheme::Http(token.build()))
        .build()
}

/// To update the file: `CONVODB_UPDATE_OPENAPI=1 cargo test -p convodb-http openapi`.
#[test]
fn the_served_document_is_the_generated_one() {
    let generated = generate();
    if std::env::var_os("CONVODB_UPDATE_OPENAPI").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/openapi.json");
        return std::fs::write(path, generated).unwrap();
    }
    assert!(DOCUMENT == generated, "src/docs/openapi.json is outdated; see this test's comment");
}
