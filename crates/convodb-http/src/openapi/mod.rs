//! The server's own description, in OpenAPI 3.1: each endpoint, what it takes, every status that it
//! answers with, and examples that tests run against a server.
//!
//! An endpoint is told in the file of its resource; a resource is a file here and a line in
//! [`endpoints`]. A test holds that the routes and the document tell of each other.

mod builders;
mod changes;
mod conversation;
mod endpoint;
mod error_responses;
mod examples;
mod headers;
mod list;
mod messages;
mod probes;
mod schemas;
mod stats;
mod transfer;
mod user;

use std::sync::LazyLock;

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    Components, ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApiBuilder, Paths, Server, Tag,
};

use crate::openapi::endpoint::{BEARER, Endpoint};

const CONVERSATIONS: &str = "Conversations";
const ACCOUNT: &str = "Account";
const SERVICE: &str = "Service";
const LICENSE: &str = env!("CARGO_PKG_LICENSE");

const ABOUT: &str = "\
The shape and the names are those of the documented conversations API, so its clients work by \
changing the base URL. Every path below `/api` needs `Authorization: Bearer TOKEN`, with a token of \
`convodb token create`. UTC everywhere.

Errors are always JSON with a `message`, and never hold a token, a phone number or a cursor. A \
method that a path does not have is refused with 405 and `Allow`; HEAD works where GET does. Bodies \
of answers are packed with gzip or zstd where the client takes it.";

/// The document as JSON; made once.
pub(crate) fn json() -> &'static str {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
        let document = OpenApiBuilder::new()
            .info(
                InfoBuilder::new()
                    .title("convodb")
                    .version(env!("CARGO_PKG_VERSION"))
                    .description(Some(ABOUT))
                    .license(Some(
                        LicenseBuilder::new().name(LICENSE).identifier(Some(LICENSE)).build(),
                    )),
            )
            .servers(Some([Server::new("/")]))
            .tags(Some([CONVERSATIONS, ACCOUNT, SERVICE].map(Tag::new)))
            .paths(paths())
            .components(Some(components()))
            .build();
        // Nothing in it has a key that is no text, which is all that could fail.
        document.to_json().unwrap_or_default()
    });
    &DOCUMENT
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
        "A token of `convodb token create`, which is shown once; the server has its hash.",
    ));
    let schemas = error_responses::schemas().into_iter().chain(schemas::schemas());
    let components = schemas.fold(ComponentsBuilder::new(), |components, (name, schema)| {
        components.schema(name, schema)
    });
    let headers = headers::all().into_iter();
    let components = headers.fold(components, |all, (name, header)| all.header(name, header));
    let refusals = endpoints().flat_map(|endpoint| endpoint.refusals());
    components
        .responses_from_iter(
            refusals.map(|(refusal, dialect)| (refusal.name(dialect), refusal.response(dialect))),
        )
        .security_scheme(BEARER, SecurityScheme::Http(token.build()))
        .build()
}
