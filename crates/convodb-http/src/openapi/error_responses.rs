//! Error responses: one description for each kind of error and each dialect.
//!
//! The example bodies come from the code that writes the server's own errors.

use axum::http::StatusCode;
use convodb::{Error, Scope};
use serde_json::Value;
use utoipa::openapi::{ContentBuilder, Response, ResponseBuilder};

use crate::error::{ApiError, Dialect, FieldError};
use crate::openapi::builders::{
    SchemaRef, boolean, integer, list, named, object, optional, required, string,
};
use crate::openapi::headers;

/// The kinds of errors that a request can be answered with, except errors of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ErrorResponse {
    Malformed,
    Unauthenticated,
    Forbidden,
    ConversationNotFound,
    AssistantNotFound,
    ChangesExpired,
    BodyTimeout,
    BodyTooLarge,
    UrlTooLong,
    UnsupportedMediaType,
    Invalid,
    RateLimited,
    HeadersTooLarge,
    ServerError,
    Unavailable,
    DiskFull,
}

impl ErrorResponse {
    /// The name of the response component, in a dialect.
    pub(super) fn name(self, dialect: Dialect) -> String {
        match dialect {
            Dialect::Plain => format!("{self:?}"),
            Dialect::Conversation => format!("Conversation.{self:?}"),
        }
    }

    /// The status code.
    pub(super) fn status(self) -> StatusCode {
        self.error(Dialect::Plain).status()
    }

    /// The response component, with an example.
    pub(super) fn response(self, dialect: Dialect) -> Response {
        let schema = match dialect {
            Dialect::Plain => "ApiError",
            Dialect::Conversation => "ConversationError",
        };
        let body = self.error(dialect).body(dialect);
        let example = serde_json::from_slice::<Value>(&body).ok();
        let content = ContentBuilder::new().schema(Some(named(schema))).example(example);
        let response = ResponseBuilder::new().description(self.description());
        let response = response.content("application/json", content.build());
        let response = headers::with(response, &headers::COMMON);
        match self {
            ErrorResponse::Unauthenticated | ErrorResponse::Forbidden => {
                headers::with(response, &["WWW-Authenticate"])
            }
            ErrorResponse::RateLimited => {
                headers::with(headers::with(response, &["Retry-After"]), &headers::RATE_LIMIT)
            }
            ErrorResponse::Unavailable => headers::with(response, &["Retry-After"]),
            _ => response,
        }
        .build()
    }

    /// An error of this kind, as a handler returns it.
    fn error(self, dialect: Dialect) -> ApiError {
        match self {
            ErrorResponse::Malformed => {
                ApiError::malformed("The body is not valid JSON at line 1 column 9.")
            }
            ErrorResponse::Unauthenticated => ApiError::unauthenticated(),
            ErrorResponse::Forbidden => ApiError::missing_scope(Scope::Export),
            ErrorResponse::ConversationNotFound => Error::ConversationNotFound.into(),
            ErrorResponse::AssistantNotFound => Error::AssistantNotFound.into(),
            ErrorResponse::ChangesExpired => Error::ChangesExpired.into(),
            ErrorResponse::BodyTimeout => ApiError::of(StatusCode::REQUEST_TIMEOUT),
            ErrorResponse::BodyTooLarge => {
                ApiError::too_large("The body must not have more than 1048576 bytes.")
            }
            ErrorResponse::UrlTooLong => ApiError::of(StatusCode::URI_TOO_LONG),
            ErrorResponse::UnsupportedMediaType => ApiError::unsupported_type(
                "The body must be of the type application/json, in UTF-8.",
            ),
            ErrorResponse::Invalid => ApiError::invalid(match dialect {
                Dialect::Plain => vec![
                    FieldError::breaks("per_page", "must not be greater than 100"),
                    FieldError::invalid_choice("cursor"),
                ],
                Dialect::Conversation => vec![FieldError::taken("id")],
            }),
            ErrorResponse::RateLimited => ApiError::of(StatusCode::TOO_MANY_REQUESTS),
            ErrorResponse::HeadersTooLarge => {
                ApiError::of(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
            }
            ErrorResponse::ServerError => ApiError::fault("an example"),
            ErrorResponse::Unavailable => ApiError::busy(),
            ErrorResponse::DiskFull => ApiError::of(StatusCode::INSUFFICIENT_STORAGE),
        }
    }

    const fn description(self) -> &'static str {
        match self {
            ErrorResponse::Malformed => {
                "The body is not valid JSON or UTF-8, is not compressed as its headers say, or \
                 ends early"
            }
            ErrorResponse::Unauthenticated => {
                "The token is missing, unknown, revoked or expired; a token that is revoked while its \
                 request runs gets the same response"
            }
            ErrorResponse::Forbidden => {
                "The token lacks the scope that the operation requires, or is limited to one \
                 assistant and the request reaches beyond it. Or the write is beyond the user's \
                 quota: `code` is then `quota_exceeded`, and nothing was written"
            }
            ErrorResponse::ConversationNotFound => {
                "The conversation does not exist. A conversation of another user, an unknown id \
                 and a text that is not a UUID get the same response, byte for byte"
            }
            ErrorResponse::AssistantNotFound => "The user has no such assistant",
            ErrorResponse::ChangesExpired => {
                "Changes after the cursor have expired, or the store was restored from an older \
                 backup. Read the whole list, then follow the changes from `cursor=now`"
            }
            ErrorResponse::BodyTimeout => {
                "The JSON body, or the next chunk of an import, did not arrive within 30 seconds \
                 (the default)"
            }
            ErrorResponse::BodyTooLarge => {
                "A JSON body is larger than 1 MiB, or a compressed import decompresses to more \
                 than 64 MiB and to more than 256 times its size"
            }
            ErrorResponse::UrlTooLong => "The URL is longer than 8 KiB",
            ErrorResponse::UnsupportedMediaType => {
                "The media type or the compression of the body is not supported"
            }
            ErrorResponse::Invalid => {
                "Parameters or fields are invalid; `errors` lists all of them. Or, without `errors`, the \
                 clock of the server is outside 1970 to 2109, so that a write has no time"
            }
            ErrorResponse::RateLimited => "The token exceeded its rate limit",
            ErrorResponse::HeadersTooLarge => "The headers are larger than 16 KiB",
            ErrorResponse::ServerError => {
                "Internal error. The server logs the cause under the request id. If a write was in \
                 progress when the disk failed, it may or may not have been stored"
            }
            ErrorResponse::Unavailable => {
                "Too many concurrent writes, imports or exports, or the store is closed or is \
                 being reopened after a disk error, or its database does not answer. Retry later"
            }
            ErrorResponse::DiskFull => "The disk is full; nothing was written",
        }
    }
}

/// The bodies of error responses.
pub(super) fn schemas() -> Vec<(&'static str, SchemaRef)> {
    let message = || required("message", string("A description of the error for people"));
    let of_field = list("", string("The rule that the field breaks"));
    let mut by_field =
        object("The errors, by field; a nested field has a dotted name, as `customer.phone`", []);
    if let utoipa::openapi::RefOr::T(of_field) = of_field {
        let any = utoipa::openapi::schema::AdditionalProperties::RefOr(of_field.into());
        by_field.additional_properties = Some(Box::new(any));
    }
    let errors = || optional("errors", by_field.clone());
    let count = |description| integer(description, 0..=u64::MAX);
    let of_quota = || {
        let code = string("`quota_exceeded` if the write is beyond a quota; else absent");
        let quota = string("What the quota counts: `conversations` or `bytes`");
        [
            optional("code", code),
            optional("quota", quota),
            optional("limit", count("The quota")),
            optional("used", count("How much of it is used")),
        ]
    };
    let status = boolean("Always false");
    let error = required("error", string("The same text as `message`"));
    let of_error = [message(), errors()].into_iter().chain(of_quota());
    vec![
        ("ApiError", object("An error", of_error).into()),
        (
            "ConversationError",
            object(
                "An error of an endpoint for single conversations, with the `status` and `error` \
                 of the reference API",
                [required("status", status), error, message(), errors()]
                    .into_iter()
                    .chain(of_quota()),
            )
            .into(),
        ),
    ]
}
