//! API errors: the only mapping from errors to HTTP statuses and JSON bodies.
//!
//! An error has a message for the client and, if the store or the server is at fault, a cause for
//! the log. Neither contains a token, a phone number, a name or a cursor. A handler returns its
//! error as a response without a body. The envelope writes the body, because its shape depends on
//! the path.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use convodb::{Error, Scope};
use convodb_json::json;

/// What a request without a valid token lacks. The body of 401 is the reference API's.
const CHALLENGE: &str =
    "Bearer error=\"invalid_token\", error_description=\"send Authorization: Bearer TOKEN\"";

/// The result of a handler.
pub(crate) type Result<T, E = ApiError> = std::result::Result<T, E>;

/// An error response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    status: StatusCode,
    /// For the client.
    message: Cow<'static, str>,
    /// The invalid fields of the request, each once.
    fields: Vec<FieldError>,
    /// The quota that the request exceeds.
    quota: Option<Box<ExceededQuota>>,
    /// Additional headers.
    headers: Vec<(HeaderName, HeaderValue)>,
    /// For the log.
    cause: Option<String>,
}

/// A quota that a request exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ExceededQuota {
    /// `conversations` or `bytes`.
    what: &'static str,
    limit: u64,
    used: u64,
}

/// The error of one field of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldError {
    field: Cow<'static, str>,
    message: String,
}

/// The shape of the error bodies of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `message`, and `errors` if fields are invalid.
    Plain,
    /// The same after `status` and `error`, which the reference API has for single conversations.
    Conversation,
}

impl Dialect {
    /// Returns the dialect of a path.
    pub(crate) fn of(path: &str) -> Self {
        let below = |prefix: &str| {
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if below("/api/conversations") || below("/api/automate/conversations") {
            Dialect::Conversation
        } else {
            Dialect::Plain
        }
    }
}

impl FieldError {
    /// `The per page field must be an integer.`, from the rule `must be an integer`.
    pub(crate) fn breaks(field: impl Into<Cow<'static, str>>, rule: &str) -> Self {
        let field = field.into();
        Self { message: format!("The {} field {rule}.", words(&field)), field }
    }

    /// Returns whether this is an error of the field.
    pub(crate) fn is_of(&self, field: &str) -> bool {
        self.field == field
    }

    /// `The id has already been taken.`
    pub(crate) fn taken(field: &'static str) -> Self {
        Self {
            field: field.into(),
            message: format!("The {} has already been taken.", words(field)),
        }
    }

    /// `The selected order is invalid. It must be one of desc, asc.`, for a choice of words.
    pub(crate) fn none_of(field: &'static str, words: &[&str]) -> Self {
        let Self { field, message } = Self::invalid_choice(field);
        let one_of = if words.len() > 1 { "one of " } else { "" };
        Self { field, message: format!("{message} It must be {one_of}{}.", words.join(", ")) }
    }

    /// `The selected type is invalid.`, for any invalid choice. The message does not say why, so a
    /// resource of another user is indistinguishable from one that does not exist.
    pub(crate) fn invalid_choice(field: &'static str) -> Self {
        Self { field: field.into(), message: format!("The selected {} is invalid.", words(field)) }
    }

    /// `The selected assistant id is invalid: value 2 of 3.`, for one of several choices.
    pub(crate) fn invalid_choice_of(field: &'static str, number: usize, count: usize) -> Self {
        let message =
            format!("The selected {} is invalid: value {number} of {count}.", words(field));
        Self { field: field.into(), message }
    }
}

/// Returns the name of a field in a message.
fn words(field: &str) -> String {
    field.replace('_', " ")
}

impl ApiError {
    /// Returns an error whose message is the standard phrase of its status.
    pub(crate) fn of(status: StatusCode) -> Self {
        Self::new(status, status.canonical_reason().unwrap_or("Error"))
    }

    /// 401: the token is missing, malformed or unknown.
    pub(crate) fn unauthenticated() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthenticated.")
    }

    /// 403: the token lacks the scope that the endpoint requires (RFC 6750, section 3.1).
    pub(crate) fn missing_scope(scope: Scope) -> Self {
        let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"");
        let message = format!("This token lacks the scope {scope}.");
        let error = Self::new(StatusCode::FORBIDDEN, message);
        match HeaderValue::try_from(challenge) {
            Ok(challenge) => error.with_header(WWW_AUTHENTICATE, challenge),
            Err(_) => error,
        }
    }

    /// 403: the token is limited to one assistant, and the request reaches beyond it.
    pub(crate) fn restricted() -> Self {
        let challenge = HeaderValue::from_static("Bearer error=\"insufficient_scope\"");
        Self::new(StatusCode::FORBIDDEN, "This token is limited to one assistant.")
            .with_header(WWW_AUTHENTICATE, challenge)
    }

    /// 403: the write would take the user beyond its quota. Not 507, which says that the disk is full:
    /// that is the operator's to repair, and a retry may succeed.
    fn quota_exceeded(what: &'static str, limit: u64, used: u64) -> Self {
        let message = format!(
            "The quota of {limit} {what} is exceeded: {used} are used. Delete conversations, or ask \
             the operator for a higher quota."
        );
        let quota = Some(Box::new(ExceededQuota { what, limit, used }));
        Self { quota, ..Self::new(StatusCode::FORBIDDEN, message) }
    }

    /// 403: a form of the console that no page of this server sent.
    pub(crate) fn foreign_origin() -> Self {
        let message = "This form was not sent by a page of this server (Origin, Sec-Fetch-Site).";
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// 400: the body does not have its format, so its fields cannot be parsed.
    pub(crate) fn malformed(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 413: the body is too large; the message says how large it may be.
    pub(crate) fn too_large(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }

    /// 415: the media type or the compression; the message says which are supported.
    pub(crate) fn unsupported_type(message: &'static str) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)
    }

    /// 503: a limit of concurrency is reached.
    pub(crate) fn busy() -> Self {
        Self::of(StatusCode::SERVICE_UNAVAILABLE)
    }

    /// 501: the store of this server is on another database, for which there is no console.
    pub(crate) fn no_console() -> Self {
        Self::new(
            StatusCode::NOT_IMPLEMENTED,
            "A server with its store on PostgreSQL has no console. Use the API, or `convodb \
             cluster`.",
        )
    }

    /// 500: a write may be stored or not. Never says that it is not.
    fn in_doubt(cause: String) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "It is not known whether the request was executed. Read the result, or retry with the \
             same Idempotency-Key.",
        )
        .with_cause(cause)
    }

    /// 503: the store is read-only.
    pub(crate) fn read_only() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "read-only")
    }

    /// 422 with every invalid field, in the documented order.
    pub(crate) fn invalid(fields: Vec<FieldError>) -> Self {
        let first = fields.first().map_or("The request is invalid.", |first| &first.message);
        let message = match fields.len().saturating_sub(1) {
            0 => first.to_owned(),
            1 => format!("{first} (and 1 more error)"),
            more => format!("{first} (and {more} more errors)"),
        };
        Self { fields, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, message) }
    }

    /// 422: the time of the request is out of the range of times.
    pub(crate) fn clock_out_of_range() -> Self {
        let message = "The server's clock must lie between 1970-01-01 and 2109-05-15.";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, message)
            .with_cause("system clock is outside 1970 to 2109")
    }

    /// 500. Only the log contains the cause.
    pub(crate) fn fault(cause: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Server Error").with_cause(cause)
    }

    fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        let message = message.into();
        let (fields, headers) = (Vec::new(), Vec::new());
        Self { status, message, fields, quota: None, headers, cause: None }
    }

    /// Adds a header.
    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    fn with_cause(self, cause: impl Into<String>) -> Self {
        Self { cause: Some(cause.into()), ..self }
    }

    /// Returns the cause for the log.
    pub(crate) fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// Returns the response: `headers`, the error's own headers and its body.
    pub(crate) fn response(&self, dialect: Dialect, mut headers: HeaderMap) -> Response {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match self.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        headers.extend(self.headers.iter().cloned());
        let mut response = Response::new(Body::from(self.body(dialect)));
        *response.status_mut() = self.status;
        *response.headers_mut() = headers;
        response
    }

    /// Returns the status.
    pub(crate) const fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the message for the client.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Returns the invalid fields of the request with their messages.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|error| (&*error.field, error.message.as_str()))
    }

    /// Returns the body.
    pub(crate) fn body(&self, dialect: Dialect) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        out.push(b'{');
        if dialect == Dialect::Conversation {
            json::raw(&mut out, "\"status\":false,\"error\":");
            json::string(&mut out, &self.message);
            out.push(b',');
        }
        json::raw(&mut out, "\"message\":");
        json::string(&mut out, &self.message);
        for (at, FieldError { field, message }) in self.fields.iter().enumerate() {
            json::raw(&mut out, if at == 0 { ",\"errors\":{" } else { "," });
            json::string(&mut out, field);
            json::raw(&mut out, ":[");
            json::string(&mut out, message);
            out.push(b']');
        }
        if !self.fields.is_empty() {
            out.push(b'}');
        }
        if let Some(ExceededQuota { what, limit, used }) = self.quota.as_deref().copied() {
            json::raw(&mut out, ",\"code\":\"quota_exceeded\",\"quota\":");
            json::string(&mut out, what);
            json::raw(&mut out, ",\"limit\":");
            json::integer(&mut out, limit);
            json::raw(&mut out, ",\"used\":");
            json::integer(&mut out, used);
        }
        out.push(b'}');
        out
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid { field, reason } => {
                Self::invalid(vec![FieldError::breaks(field, reason)])
            }
            Error::InvalidCursor => Self::invalid(vec![FieldError::invalid_choice("cursor")]),
            Error::CursorConflict { field } => Self::invalid(vec![FieldError::breaks(
                field,
                "must be the one of the list that the cursor continues",
            )]),
            Error::ChangesExpired => Self::new(
                StatusCode::GONE,
                "The changes after this cursor are forgotten. Read the whole list, then follow the \
                 changes from cursor=now.",
            ),
            Error::IdempotencyConflict => Self::invalid(vec![FieldError::breaks(
                "Idempotency-Key",
                "must not be used for another request",
            )]),
            Error::ConversationNotFound => {
                Self::new(StatusCode::NOT_FOUND, "Conversation not found")
            }
            Error::DuplicateConversation(_) => Self::invalid(vec![FieldError::taken("id")]),
            Error::DuplicateAssistant(_) => Self::invalid(vec![FieldError::taken("uuid")]),
            Error::QuotaExceeded { what, limit, used, .. } => {
                Self::quota_exceeded(what, limit, used)
            }
            Error::AssistantNotFound => Self::new(StatusCode::NOT_FOUND, "Assistant not found"),
            // Revoked, expired or erased after the request was authenticated.
            Error::TokenNotFound | Error::UserNotFound | Error::UserClosed => {
                Self::unauthenticated()
            }
            // Not 501 or 503: a retry does not help, and the server works.
            Error::IndexAbsent { index } => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                format!(
                    "This list needs the index {index}, which this store does not have. Start the \
                     server with --indexes {index}."
                ),
            ),
            Error::IndexBuilding { index } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("The index {index} of this list is being built. Retry later."),
            ),
            Error::CommitUnknown { .. } => Self::in_doubt(error.to_string()),
            error if error.is_storage_full() => {
                Self::of(StatusCode::INSUFFICIENT_STORAGE).with_cause(error.to_string())
            }
            // After a disk fault the store reopens its files, so the request can be retried.
            Error::QueueFull
            | Error::Closed
            | Error::ReadOnly
            | Error::WriteAborted { .. }
            | Error::SnapshotInvalidated => {
                Self::of(StatusCode::SERVICE_UNAVAILABLE).with_cause(error.to_string())
            }
            // An unreadable page stays unreadable: a retry does not help.
            error => Self::fault(error.to_string()),
        }
    }
}

impl From<convodb_service::Error> for ApiError {
    fn from(error: convodb_service::Error) -> Self {
        use convodb_service::Error;
        match error {
            Error::Store(error) => error.into(),
            Error::ScopeMissing(scope) => Self::missing_scope(scope),
            // The request is done again before this is sent.
            Error::AccessChanged => Self::unauthenticated(),
            Error::InDoubt => Self::in_doubt(error.to_string()),
            Error::Unavailable(_) => Self::busy().with_cause(error.to_string()),
            error => Self::fault(error.to_string()),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::Arc;

    #[track_caller]
    fn check(error: &ApiError, dialect: Dialect, status: u16, body: &str) {
        assert_eq!(error.status.as_u16(), status);
        assert_eq!(String::from_utf8(error.body(dialect)).unwrap(), body);
    }

    #[test]
    fn bodies_have_the_documented_bytes() {
        let fields = |n: usize| {
            let all = [
                FieldError::invalid_choice("type"),
                FieldError::breaks("per_page", "must be an integer"),
                FieldError::invalid_choice("cursor"),
            ];
            ApiError::invalid(all.into_iter().take(n).collect())
        };
        check(
            &ApiError::unauthenticated(),
            Dialect::Plain,
            401,
            r#"{"message":"Unauthenticated."}"#,
        );
        check(
            &fields(1),
            Dialect::Plain,
            422,
            r#"{"message":"The selected type is invalid.","errors":{"type":["The selected type is invalid."]}}"#,
        );
        check(
            &fields(2),
            Dialect::Plain,
            422,
            r#"{"message":"The selected type is invalid. (and 1 more error)","errors":{"type":["The selected type is invalid."],"per_page":["The per page field must be an integer."]}}"#,
        );
        check(
            &fields(3),
            Dialect::Conversation,
            422,
            r#"{"status":false,"error":"The selected type is invalid. (and 2 more errors)","message":"The selected type is invalid. (and 2 more errors)","errors":{"type":["The selected type is invalid."],"per_page":["The per page field must be an integer."],"cursor":["The selected cursor is invalid."]}}"#,
        );
    }

    #[test]
    fn engine_errors_have_their_statuses() {
        let from = ApiError::from;
        check(
            &from(Error::ConversationNotFound),
            Dialect::Conversation,
            404,
            r#"{"status":false,"error":"Conversation not found","message":"Conversation not found"}"#,
        );
        check(
            &from(Error::QuotaExceeded { what: "bytes", limit: 10, used: 9, added: 2 }),
            Dialect::Plain,
            403,
            r#"{"message":"The quota of 10 bytes is exceeded: 9 are used. Delete conversations, or ask the operator for a higher quota.","code":"quota_exceeded","quota":"bytes","limit":10,"used":9}"#,
        );
        check(
            &from(Error::CursorConflict { field: "customer_phone" }),
            Dialect::Plain,
            422,
            r#"{"message":"The customer phone field must be the one of the list that the cursor continues.","errors":{"customer_phone":["The customer phone field must be the one of the list that the cursor continues."]}}"#,
        );
        check(
            &from(Error::DuplicateConversation(uuid::Uuid::nil())),
            Dialect::Conversation,
            422,
            r#"{"status":false,"error":"The id has already been taken.","message":"The id has already been taken.","errors":{"id":["The id has already been taken."]}}"#,
        );
        let unavailable = r#"{"message":"Service Unavailable"}"#;
        let gone = "The changes after this cursor are forgotten. Read the whole list, then follow \
                    the changes from cursor=now.";
        let gone = format!(r#"{{"message":"{gone}"}}"#);
        check(&from(Error::ChangesExpired), Dialect::Plain, 410, &gone);
        check(&from(Error::QueueFull), Dialect::Plain, 503, unavailable);
        check(
            &from(Error::IndexAbsent { index: "ai-off" }),
            Dialect::Plain,
            422,
            r#"{"message":"This list needs the index ai-off, which this store does not have. Start the server with --indexes ai-off."}"#,
        );
        check(
            &from(Error::IndexBuilding { index: "ai-off" }),
            Dialect::Plain,
            503,
            r#"{"message":"The index ai-off of this list is being built. Retry later."}"#,
        );
        check(&from(Error::Closed), Dialect::Plain, 503, unavailable);
        check(&from(Error::ReadOnly), Dialect::Plain, 503, unavailable);
        check(&from(Error::SnapshotInvalidated), Dialect::Plain, 503, unavailable);
        let fault = r#"{"message":"Server Error"}"#;
        check(&from(Error::from(io::Error::other("EIO"))), Dialect::Plain, 500, fault);
        let full = io::ErrorKind::StorageFull;
        let disk_full = r#"{"message":"Insufficient Storage"}"#;
        check(&from(Error::from(io::Error::from(full))), Dialect::Plain, 507, disk_full);
        let source = |kind| Arc::new(io::Error::from(kind));
        let aborted = |kind| from(Error::WriteAborted { source: source(kind) });
        check(&aborted(full), Dialect::Plain, 507, disk_full);
        check(&aborted(io::ErrorKind::Other), Dialect::Plain, 503, unavailable);
        let unknown = r#"{"message":"It is not known whether the request was executed. Read the result, or retry with the same Idempotency-Key."}"#;
        for kind in [full, io::ErrorKind::Other] {
            let commit = Error::CommitUnknown { source: source(kind) };
            check(&from(commit), Dialect::Plain, 500, unknown);
        }
    }

    #[test]
    fn a_clock_out_of_range_is_not_an_internal_error() {
        let error = ApiError::clock_out_of_range();
        let body =
            r#"{"message":"The server's clock must lie between 1970-01-01 and 2109-05-15."}"#;
        check(&error, Dialect::Plain, 422, body);
        assert_eq!(error.cause(), Some("system clock is outside 1970 to 2109"));
    }

    #[test]
    fn only_the_log_contains_the_cause_of_a_fault() {
        let error = ApiError::from(Error::Corrupted { table: "rows.v1", what: "checksum" });
        check(&error, Dialect::Plain, 500, r#"{"message":"Server Error"}"#);
        assert_eq!(error.cause(), Some("corrupted data in rows.v1: checksum"));
    }

    #[test]
    fn paths_of_single_conversations_have_the_conversation_dialect() {
        for path in ["/api/conversations", "/api/conversations/1", "/api/automate/conversations/1"]
        {
            assert_eq!(Dialect::of(path), Dialect::Conversation, "{path}");
        }
        for path in ["/", "/api/user/conversations", "/api/conversationsx", "/healthz"] {
            assert_eq!(Dialect::of(path), Dialect::Plain, "{path}");
        }
    }
}
