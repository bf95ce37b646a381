//! Endpoint builder: one operation with its parameters, body and possible statuses.
//!
//! Rules that follow from the kind of an endpoint are applied here: every endpoint with a token can
//! answer 401, 403 and 429, every endpoint with a body can answer 400 and 413, every write 503 and 507.

use std::collections::BTreeSet;

use convodb::{PageSize, Scope};
use serde_json::{Value, json};
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, ParameterBuilder, ParameterIn, ParameterStyle,
};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::{
    ContentBuilder, Object, Ref, RefOr, Required, Response, ResponseBuilder, Schema,
    SecurityRequirement,
};

use crate::error::Dialect;
use crate::openapi::builders::{SchemaRef, integer, pattern, string};
use crate::openapi::error_responses::ErrorResponse;
use crate::openapi::headers;

/// The name of the security scheme.
pub(super) const BEARER: &str = "bearer";
const JSON: &str = "application/json";
/// The last paragraph of the description of an operation that the reference API does not have.
const EXTENSION: &str = "Extension: the reference API does not have this operation.";

/// The errors of every endpoint with a token.
const TOKEN_ERRORS: [ErrorResponse; 4] = [
    ErrorResponse::Unauthenticated,
    ErrorResponse::Forbidden,
    ErrorResponse::RateLimited,
    ErrorResponse::ServerError,
];

/// An operation of the description, under construction.
pub(super) struct Endpoint {
    method: HttpMethod,
    path: &'static str,
    operation: OperationBuilder,
    description: &'static str,
    is_extension: bool,
    is_cached: bool,
    errors: BTreeSet<ErrorResponse>,
    /// The scope that the token must have; `None` if the endpoint needs no token.
    scope: Option<Scope>,
    success: ResponseBuilder,
}

impl Endpoint {
    /// An endpoint that requires a token of a user, with the scope `read`.
    pub(super) fn new(
        method: HttpMethod,
        path: &'static str,
        tag: &'static str,
        id: &'static str,
        summary: &'static str,
    ) -> Self {
        let operation =
            OperationBuilder::new().tag(tag).operation_id(Some(id)).summary(Some(summary));
        let errors = TOKEN_ERRORS
            .into_iter()
            .chain([ErrorResponse::UrlTooLong, ErrorResponse::HeadersTooLarge]);
        Self {
            method,
            path,
            operation,
            description: "",
            is_extension: false,
            is_cached: false,
            errors: errors.collect(),
            scope: Some(Scope::Read),
            success: ResponseBuilder::new(),
        }
    }

    /// Requires no token.
    pub(super) fn without_token(mut self) -> Self {
        self.scope = None;
        self.errors.retain(|error| !TOKEN_ERRORS.contains(error));
        self
    }

    /// Requires another scope.
    pub(super) fn scope(self, scope: Scope) -> Self {
        Self { scope: Some(scope), ..self }
    }

    /// Sets the description, which follows the summary.
    pub(super) fn description(mut self, text: &'static str) -> Self {
        self.description = text;
        self
    }

    /// Marks an operation that the reference API does not have.
    pub(super) fn extension(mut self) -> Self {
        self.is_extension = true;
        self
    }

    /// Adds a path parameter.
    pub(super) fn path_parameter(mut self, name: &str, schema: Object, example: &str) -> Self {
        let parameter = parameter(name, ParameterIn::Path, schema.into()).required(Required::True);
        self.operation = self.operation.parameter(parameter.example(Some(example.into())));
        self
    }

    /// Adds an optional query parameter. The server treats an empty one as absent.
    ///
    /// All examples of an operation are sent together by converted collections, so they must be
    /// one valid request. The example of a cursor is empty: no other one is valid in all stores.
    pub(super) fn query(
        mut self,
        name: &str,
        schema: impl Into<SchemaRef>,
        example: impl Into<Value>,
    ) -> Self {
        let schema = schema.into();
        let is_list = matches!(schema, RefOr::T(Schema::Array(_)));
        let parameter = parameter(name, ParameterIn::Query, schema).required(Required::False);
        let blank = Extensions::from_iter([("allowEmptyValue", true)]);
        let parameter = parameter.example(Some(example.into())).extensions(Some(blank));
        // A list is one parameter, with commas between its items.
        let style = is_list.then_some(ParameterStyle::Form);
        let parameter = parameter.style(style).explode(is_list.then_some(false));
        self.operation = self.operation.parameter(parameter);
        self.fails_with(ErrorResponse::Invalid)
    }

    /// Adds the `Idempotency-Key` header. The example differs from those of other operations.
    pub(super) fn idempotent(mut self, example: &str) -> Self {
        // HTTP clients send only visible ASCII in headers, without surrounding spaces.
        let key = pattern(
            "Extension. Makes a retry safe: for one day, the same request with the same key is \
             executed once and gets the same response; a different request with the key is refused \
             with 422. A request that failed may be retried with its key",
            r"^[!-~]{1,255}$",
        );
        let parameter = parameter("Idempotency-Key", ParameterIn::Header, key.into());
        let parameter = parameter.required(Required::False).example(Some(example.into()));
        self.operation = self.operation.parameter(parameter);
        self.fails_with(ErrorResponse::Invalid)
    }

    /// Adds the `Prefer` header of a list.
    pub(super) fn prefers_strictness(mut self) -> Self {
        let strict = "Extension. `handling=strict` refuses unknown parameters with 422 (RFC 7240); \
                      the response then has `Preference-Applied: handling=strict`";
        let parameter = parameter("Prefer", ParameterIn::Header, string(strict).into());
        let parameter = parameter.required(Required::False);
        self.operation =
            self.operation.parameter(parameter.example(Some("handling=strict".into())));
        self
    }

    /// Marks a response that a client may keep: adds entity tags and 304.
    pub(super) fn cached(mut self) -> Self {
        let tags = "The entity tags of the responses that the client has, or `*`. If one of them is \
                    the tag of the present response, it is not sent: 304";
        let parameter = parameter("If-None-Match", ParameterIn::Header, string(tags).into());
        let parameter = parameter.required(Required::False);
        let example = "\"5f0c1a7e9b3d42688c14d6e2b7a90f35\"";
        self.operation = self.operation.parameter(parameter.example(Some(example.into())));
        self.is_cached = true;
        self
    }

    /// Adds the `per_page` parameter.
    pub(super) fn per_page(self) -> Self {
        let (min, max) = (PageSize::MIN.get() as u64, PageSize::MAX.get() as u64);
        let mut schema = integer("Page size", min..=max);
        schema.default = Some(json!(PageSize::default().get()));
        self.query("per_page", schema, PageSize::default().get())
    }

    /// Requires a JSON body.
    pub(super) fn json_body(
        self,
        schema: SchemaRef,
        examples: impl IntoIterator<Item = Example>,
    ) -> Self {
        let content = ContentBuilder::new().schema(Some(schema));
        let content = content.examples_from_iter(examples.into_iter().map(Example::build)).build();
        let body = RequestBodyBuilder::new().content(JSON, content);
        let body = body.description(Some(
            "One JSON object in UTF-8, at most 1 MiB, not compressed. Unknown fields are ignored; \
             a field that occurs twice is refused.",
        ));
        self.body(body.build()).fails_with(ErrorResponse::Invalid)
    }

    /// Requires a body of any media type.
    pub(super) fn body(mut self, mut body: RequestBody) -> Self {
        body.required = Some(Required::True);
        self.operation = self.operation.request_body(Some(body));
        let errors = [
            ErrorResponse::Malformed,
            ErrorResponse::BodyTimeout,
            ErrorResponse::BodyTooLarge,
            ErrorResponse::UnsupportedMediaType,
        ];
        errors.into_iter().fold(self, Self::fails_with)
    }

    /// Marks an operation that writes to the store, and requires the scope `write`.
    pub(super) fn writes(self) -> Self {
        self.scope(Scope::Write)
            .fails_with(ErrorResponse::Unavailable)
            .fails_with(ErrorResponse::DiskFull)
    }

    /// Adds an error response.
    pub(super) fn fails_with(mut self, error: ErrorResponse) -> Self {
        self.errors.insert(error);
        self
    }

    /// Sets the response of success to a JSON body.
    pub(super) fn returns(
        self,
        description: &str,
        schema: SchemaRef,
        examples: impl IntoIterator<Item = Example>,
    ) -> Self {
        let content = ContentBuilder::new().schema(Some(schema));
        let content = content.examples_from_iter(examples.into_iter().map(Example::build)).build();
        self.returns_response(
            ResponseBuilder::new().description(description).content(JSON, content),
        )
    }

    /// Adds a form of the response of success, for clients that accept this media type.
    pub(super) fn also_returns(mut self, media_type: &str, description: &str) -> Self {
        let content = ContentBuilder::new().schema(Some(string(description))).build();
        self.success = self.success.content(media_type, content);
        self
    }

    /// Adds the `Last-Event-ID` header of a stream of events.
    pub(super) fn resumable(mut self) -> Self {
        let id = "Of a stream of events: the id of the last event that the client received before \
                  its connection broke. It wins over `cursor`";
        let parameter = parameter("Last-Event-ID", ParameterIn::Header, string(id).into());
        let parameter = parameter.required(Required::False).example(Some("".into()));
        self.operation = self.operation.parameter(parameter);
        self
    }

    /// Sets the response of success.
    pub(super) fn returns_response(mut self, success: ResponseBuilder) -> Self {
        self.success = success;
        self
    }

    /// Adds a `Link` header to the response of success.
    pub(super) fn with_link_header(mut self) -> Self {
        self.success = headers::with(self.success, &["Link"]);
        self
    }

    /// The error responses, in the dialect of the path.
    pub(super) fn error_responses(&self) -> Vec<(ErrorResponse, Dialect)> {
        let dialect = Dialect::of(self.path);
        self.errors.iter().map(|error| (*error, dialect)).collect()
    }

    /// The finished operation, with its path and method.
    pub(super) fn build(self) -> (&'static str, HttpMethod, Operation) {
        let dialect = Dialect::of(self.path);
        let success = headers::with(self.success, &headers::COMMON);
        let success = if self.scope.is_some() {
            headers::with(success, &headers::RATE_LIMIT)
        } else {
            success
        };
        let success = match self.is_cached {
            true => headers::with(success, &headers::CACHED),
            false => success,
        };
        let mut operation = self.operation.response("200", Response::from(success));
        if self.is_cached {
            let not_modified = ResponseBuilder::new()
                .description("The client has the present response, as `If-None-Match` says");
            let names = headers::COMMON.iter().chain(&headers::RATE_LIMIT).chain(&headers::CACHED);
            let not_modified = headers::with(not_modified, names);
            operation = operation.response("304", Response::from(not_modified));
        }
        for error in &self.errors {
            let response = Ref::from_response_name(error.name(dialect));
            operation = operation.response(error.status().as_str(), response);
        }
        let required = self.scope.map(|scope| format!("Requires the scope `{scope}`."));
        let extension = if self.is_extension { EXTENSION } else { "" };
        let paragraphs = [self.description, required.as_deref().unwrap_or_default(), extension];
        let paragraphs: Vec<_> = paragraphs.into_iter().filter(|text| !text.is_empty()).collect();
        if !paragraphs.is_empty() {
            operation = operation.description(Some(paragraphs.join("\n\n")));
        }
        // OpenAPI 3.1 allows the names of required roles here.
        let security = self.scope.map(|scope| SecurityRequirement::new(BEARER, [scope.as_str()]));
        let security: Vec<_> = security.into_iter().collect();
        (self.path, self.method, operation.securities(Some(security)).build())
    }
}

fn parameter(name: &str, location: ParameterIn, mut schema: SchemaRef) -> ParameterBuilder {
    let description = match &mut schema {
        RefOr::T(Schema::Object(object)) => object.description.take(),
        RefOr::T(Schema::Array(array)) => array.description.take(),
        RefOr::Ref(reference) => Some(std::mem::take(&mut reference.description)),
        RefOr::T(_) => None,
    };
    let parameter = ParameterBuilder::new().name(name).parameter_in(location);
    parameter.description(description).schema(Some(schema))
}

/// An example of a body.
pub(super) struct Example {
    name: &'static str,
    summary: &'static str,
    value: Value,
}

impl Example {
    /// A named example, with a summary of what it shows.
    pub(super) const fn new(name: &'static str, summary: &'static str, value: Value) -> Self {
        Self { name, summary, value }
    }

    /// The only example of a body.
    pub(super) fn only(value: Value) -> [Self; 1] {
        [Self::new("example", "", value)]
    }

    fn build(self) -> (&'static str, utoipa::openapi::example::Example) {
        let example = utoipa::openapi::example::ExampleBuilder::new();
        (self.name, example.summary(self.summary).value(Some(self.value)).build())
    }
}
