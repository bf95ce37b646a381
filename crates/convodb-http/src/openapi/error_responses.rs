//! Answers that are not what was asked for, each described once for either dialect. Their examples
//! are written by what writes the answers.

use axum::http::StatusCode;
use convodb::Error;
use serde_json::Value;
use utoipa::openapi::{ContentBuilder, Response, ResponseBuilder, Type};

use crate::error::{ApiError, Dialect, FieldError};
use crate::openapi::builders::{Shape, always, any_text, constant, list, maybe, named, object};
use crate::openapi::headers;

/// What a request can be refused for, beside what is wrong with its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Refusal {
    Malformed,
    Unauthenticated,
    ConversationNotFound,
    AssistantNotFound,
    Forgotten,
    TooSlow,
    TooLarge,
    UrlTooLong,
    WrongType,
    Invalid,
    TooMany,
    HeadersTooLarge,
    Fault,
    Unavailable,
    DiskFull,
}

impl Refusal {
    /// The name of its answer among the document's, in a dialect.
    pub(super) fn name(self, dialect: Dialect) -> String {
        match dialect {
            Dialect::Plain => format!("{self:?}"),
            Dialect::Conversation => format!("Conversation.{self:?}"),
        }
    }

    pub(super) fn status(self) -> StatusCode {
        self.error(Dialect::Plain).status()
    }

    /// The answer, with an example.
    pub(super) fn response(self, dialect: Dialect) -> Response {
        let schema = match dialect {
            Dialect::Plain => "Error",
            Dialect::Conversation => "ConversationError",
        };
        let body = self.error(dialect).body(dialect);
        let example = serde_json::from_slice::<Value>(&body).ok();
        let content = ContentBuilder::new().schema(Some(named(schema))).example(example);
        let response = ResponseBuilder::new().description(self.tells());
        let response = response.content("application/json", content.build());
        let response = headers::with(response, &headers::COMMON);
        match self {
            Refusal::Unauthenticated => headers::with(response, &["WWW-Authenticate"]),
            Refusal::TooMany => {
                headers::with(headers::with(response, &["Retry-After"]), &headers::RATES)
            }
            Refusal::Unavailable => headers::with(response, &["Retry-After"]),
            _ => response,
        }
        .build()
    }

    /// An error of this kind, as a handler gives it up.
    fn error(self, dialect: Dialect) -> ApiError {
        match self {
            Refusal::Malformed => {
                ApiError::malformed("The body is not valid JSON at line 1 column 9.")
            }
            Refusal::Unauthenticated => ApiError::unauthenticated(),
            Refusal::ConversationNotFound => Error::ConversationNotFound.into(),
            Refusal::AssistantNotFound => Error::AssistantNotFound.into(),
            Refusal::Forgotten => Error::ChangesForgotten.into(),
            Refusal::TooSlow => ApiError::of(StatusCode::REQUEST_TIMEOUT),
            Refusal::TooLarge => ApiError::of(StatusCode::PAYLOAD_TOO_LARGE),
            Refusal::UrlTooLong => ApiError::of(StatusCode::URI_TOO_LONG),
            Refusal::WrongType => ApiError::of(StatusCode::UNSUPPORTED_MEDIA_TYPE),
            Refusal::Invalid => ApiError::invalid(match dialect {
                Dialect::Plain => vec![
                    FieldError::breaks("per_page", "must not be greater than 100"),
                    FieldError::not_on_offer("cursor"),
                ],
                Dialect::Conversation => vec![FieldError::taken("id")],
            }),
            Refusal::TooMany => ApiError::of(StatusCode::TOO_MANY_REQUESTS),
            Refusal::HeadersTooLarge => ApiError::of(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
            Refusal::Fault => ApiError::fault("an example"),
            Refusal::Unavailable => ApiError::busy(),
            Refusal::DiskFull => ApiError::of(StatusCode::INSUFFICIENT_STORAGE),
        }
    }

    const fn tells(self) -> &'static str {
        match self {
            Refusal::Malformed => {
                "The body is not JSON, not UTF-8, not packed right, or ends early"
            }
            Refusal::Unauthenticated => "No token, or one that is nobody's",
            Refusal::ConversationNotFound => {
                "No such conversation: another user's, one that does not exist and a text that is \
                 no UUID are refused with the same bytes"
            }
            Refusal::AssistantNotFound => "No such assistant of the caller's",
            Refusal::Forgotten => "Changes after the cursor are no longer kept",
            Refusal::TooSlow => "The body does not come",
            Refusal::TooLarge => "The body is larger than what is taken",
            Refusal::UrlTooLong => "The URL has more than 8 KiB",
            Refusal::WrongType => "A body of another media type, or packed as it may not be",
            Refusal::Invalid => "Parameters or fields break their rules; all of them are told",
            Refusal::TooMany => "The token was used too often",
            Refusal::HeadersTooLarge => "The headers have more than 16 KiB",
            Refusal::Fault => "A fault of the server; its log has the cause under the request id",
            Refusal::Unavailable => {
                "Too many writes, imports or exports at a time, or the store is closed"
            }
            Refusal::DiskFull => "The disk is full; nothing was written",
        }
    }
}

/// The bodies of refusals.
pub(super) fn schemas() -> Vec<(&'static str, Shape)> {
    let message = || always("message", any_text("What went wrong, for people"));
    let of_field = list("", any_text("The rule that the field breaks"));
    let mut by_field =
        object("What is wrong, by field; a field inside another is named with it", []);
    if let utoipa::openapi::RefOr::T(of_field) = of_field {
        let any = utoipa::openapi::builders::AdditionalProperties::RefOr(of_field.into());
        by_field.additional_properties = Some(Box::new(any));
    }
    let errors = || maybe("errors", by_field.clone());
    let status = constant("", Type::Boolean, false);
    let error = always("error", any_text("The same text as `message`"));
    vec![
        ("Error", object("A refusal", [message(), errors()]).into()),
        (
            "ConversationError",
            object(
                "A refusal below the paths of single conversations, in the reference's words",
                [always("status", status), error, message(), errors()],
            )
            .into(),
        ),
    ]
}
