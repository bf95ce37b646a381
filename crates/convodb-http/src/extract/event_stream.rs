//! Event streams: whether a client asks for one, and where it continues.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};

use crate::error::{ApiError, FieldError, Result};
use crate::extract::accept;
use crate::state::Service;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Whether a client asks for server-sent events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventStream {
    Wanted,
    /// One response with a body of JSON.
    NotWanted,
}

impl FromRequestParts<Service> for EventStream {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Service) -> Result<Self, Infallible> {
        Ok(of(&parts.headers))
    }
}

/// Events if they are accepted by name, and no type of JSON is preferred.
fn of(headers: &HeaderMap) -> EventStream {
    let events = accept::weight(headers, |range| range == "text/event-stream");
    let json = accept::weight(headers, |range| range.contains("json"));
    if events > 0.0 && events >= json { EventStream::Wanted } else { EventStream::NotWanted }
}

/// Returns the id of the last event that a client received before its connection broke.
///
/// # Errors
/// 422 if there are two, or one that is not ASCII.
pub(crate) fn last_event_id(headers: &HeaderMap) -> Result<Option<&str>> {
    let mut values = headers.get_all(LAST_EVENT_ID).iter();
    let (value, None) = (values.next(), values.next()) else { return Err(invalid_id()) };
    let text = value.map(|value| value.to_str().map_err(|_| invalid_id())).transpose()?;
    Ok(text.filter(|text| !text.is_empty()))
}

fn invalid_id() -> ApiError {
    ApiError::invalid(vec![FieldError::invalid_choice("Last-Event-ID")])
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::header::ACCEPT;

    #[test]
    fn events_are_sent_only_if_they_are_named() {
        for (accept, expected) in [
            ("", EventStream::NotWanted),
            ("*/*", EventStream::NotWanted),
            ("text/*", EventStream::NotWanted),
            ("text/event-stream", EventStream::Wanted),
            ("Text/Event-Stream, */*", EventStream::Wanted),
            ("text/event-stream;q=0", EventStream::NotWanted),
            ("application/json, text/event-stream;q=0.9", EventStream::NotWanted),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            assert_eq!(of(&headers), expected, "{accept}");
        }
    }
}
