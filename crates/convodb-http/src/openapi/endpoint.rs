//! One endpoint as the document tells it: what it takes, and each status that it answers with.
//!
//! What follows from the kind of an endpoint is added here: whoever takes a token can be refused,
//! whoever takes a body can be given a wrong one, whoever writes waits for the disk.

use std::collections::BTreeSet;

use convodb::PageSize;
use serde_json::{Value, json};
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, ParameterBuilder, ParameterIn,
};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::{
    ContentBuilder, Object, Ref, Required, Response, ResponseBuilder, SecurityRequirement,
};

use crate::error::Dialect;
use crate::openapi::builders::{Shape, formed, integer};
use crate::openapi::error_responses::Refusal;
use crate::openapi::headers;

/// The name of the security scheme.
pub(super) const BEARER: &str = "bearer";
const JSON: &str = "application/json";

/// An endpoint, as far as it is told.
pub(super) struct Endpoint {
    method: HttpMethod,
    path: &'static str,
    operation: OperationBuilder,
    refusals: BTreeSet<Refusal>,
    needs_token: bool,
    success: ResponseBuilder,
}

impl Endpoint {
    /// An endpoint that answers for the user of a token.
    pub(super) fn new(
        method: HttpMethod,
        path: &'static str,
        tag: &'static str,
        id: &'static str,
        summary: &'static str,
    ) -> Self {
        let operation =
            OperationBuilder::new().tag(tag).operation_id(Some(id)).summary(Some(summary));
        let refusals = [Refusal::Unauthenticated, Refusal::TooMany, Refusal::Fault];
        let everywhere = [Refusal::UrlTooLong, Refusal::HeadersTooLarge];
        Self {
            method,
            path,
            operation,
            refusals: refusals.into_iter().chain(everywhere).collect(),
            needs_token: true,
            success: ResponseBuilder::new(),
        }
    }

    /// The same for anyone, without a token.
    pub(super) fn open(mut self) -> Self {
        self.needs_token = false;
        self.refusals.retain(|refusal| {
            !matches!(refusal, Refusal::Unauthenticated | Refusal::TooMany | Refusal::Fault)
        });
        self
    }

    /// More than its summary.
    pub(super) fn tells(mut self, text: &'static str) -> Self {
        self.operation = self.operation.description(Some(text));
        self
    }

    /// What stands in the path.
    pub(super) fn in_path(mut self, name: &str, shape: Object, example: &str) -> Self {
        let parameter = parameter(name, ParameterIn::Path, shape).required(Required::True);
        self.operation = self.operation.parameter(parameter.example(Some(example.into())));
        self
    }

    /// A parameter of the query string. A blank one counts as not given.
    pub(super) fn query(mut self, name: &str, shape: Object, example: Option<Value>) -> Self {
        let parameter = parameter(name, ParameterIn::Query, shape).required(Required::False);
        let blank = Extensions::from_iter([("allowEmptyValue", true)]);
        let parameter = parameter.example(example).extensions(Some(blank));
        self.operation = self.operation.parameter(parameter);
        self.or(Refusal::Invalid)
    }

    /// It is done once for a key, however often it is sent.
    pub(super) fn once(mut self) -> Self {
        // A header is sent with no more than visible ASCII, and without spaces around it.
        let key = formed(
            "The same request with the same key is done once, and answered alike for a day; \
             another request with the key is refused",
            r"^[!-~]{1,255}$",
        );
        let parameter = parameter("Idempotency-Key", ParameterIn::Header, key);
        self.operation = self.operation.parameter(parameter.required(Required::False));
        self.or(Refusal::Invalid)
    }

    /// The size of a page.
    pub(super) fn per_page(self) -> Self {
        let (least, most) = (PageSize::MIN.get() as u64, PageSize::MAX.get() as u64);
        let mut shape = integer("How many a page", least..=most);
        shape.default = Some(json!(PageSize::default().get()));
        self.query("per_page", shape, None)
    }

    /// A JSON body.
    pub(super) fn takes(self, shape: Shape, examples: impl IntoIterator<Item = Body>) -> Self {
        let content = ContentBuilder::new().schema(Some(shape));
        let content = content.examples_from_iter(examples.into_iter().map(Body::example)).build();
        let body = RequestBodyBuilder::new().content(JSON, content);
        let body = body.description(Some(
            "One JSON object in UTF-8, of at most 1 MiB, not packed. Fields of other names are \
             passed over; one that is given twice is refused.",
        ));
        self.takes_body(body.build()).or(Refusal::Invalid)
    }

    /// A body of any type.
    pub(super) fn takes_body(mut self, mut body: RequestBody) -> Self {
        body.required = Some(Required::True);
        self.operation = self.operation.request_body(Some(body));
        let refusals =
            [Refusal::Malformed, Refusal::TooSlow, Refusal::TooLarge, Refusal::WrongType];
        refusals.into_iter().fold(self, Self::or)
    }

    /// It changes what is stored.
    pub(super) fn writes(self) -> Self {
        self.or(Refusal::Unavailable).or(Refusal::DiskFull)
    }

    /// A refusal that it may come to.
    pub(super) fn or(mut self, refusal: Refusal) -> Self {
        self.refusals.insert(refusal);
        self
    }

    /// What it answers, as JSON.
    pub(super) fn answers(
        self,
        tells: &str,
        shape: Shape,
        examples: impl IntoIterator<Item = Body>,
    ) -> Self {
        let content = ContentBuilder::new().schema(Some(shape));
        let content = content.examples_from_iter(examples.into_iter().map(Body::example)).build();
        self.answers_with(ResponseBuilder::new().description(tells).content(JSON, content))
    }

    /// What it answers.
    pub(super) fn answers_with(mut self, success: ResponseBuilder) -> Self {
        self.success = success;
        self
    }

    /// The answer has a `Link` header.
    pub(super) fn links(mut self) -> Self {
        self.success = headers::with(self.success, &["Link"]);
        self
    }

    /// What it can be refused for, in the dialect of its path.
    pub(super) fn refusals(&self) -> Vec<(Refusal, Dialect)> {
        let dialect = Dialect::of(self.path);
        self.refusals.iter().map(|refusal| (*refusal, dialect)).collect()
    }

    /// All of it.
    pub(super) fn build(self) -> (&'static str, HttpMethod, Operation) {
        let dialect = Dialect::of(self.path);
        let success = headers::with(self.success, &headers::COMMON);
        let success =
            if self.needs_token { headers::with(success, &headers::RATES) } else { success };
        let mut operation = self.operation.response("200", Response::from(success));
        for refusal in &self.refusals {
            let answer = Ref::from_response_name(refusal.name(dialect));
            operation = operation.response(refusal.status().as_str(), answer);
        }
        let security = if self.needs_token {
            vec![SecurityRequirement::new::<_, [&str; 0], &str>(BEARER, [])]
        } else {
            Vec::new()
        };
        (self.path, self.method, operation.securities(Some(security)).build())
    }
}

fn parameter(name: &str, place: ParameterIn, mut shape: Object) -> ParameterBuilder {
    let tells = shape.description.take();
    ParameterBuilder::new().name(name).parameter_in(place).description(tells).schema(Some(shape))
}

/// An example of a body.
pub(super) struct Body {
    name: &'static str,
    summary: &'static str,
    value: Value,
}

impl Body {
    /// An example under a name, with what it shows.
    pub(super) const fn new(name: &'static str, summary: &'static str, value: Value) -> Self {
        Self { name, summary, value }
    }

    /// The only one.
    pub(super) fn one(value: Value) -> [Self; 1] {
        [Self::new("example", "", value)]
    }

    fn example(self) -> (&'static str, utoipa::openapi::example::Example) {
        let example = utoipa::openapi::example::ExampleBuilder::new();
        (self.name, example.summary(self.summary).value(Some(self.value)).build())
    }
}
