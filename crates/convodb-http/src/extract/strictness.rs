//! Strictness: whether a list refuses parameters that it does not know.
//!
//! The reference API ignores them, so a misspelt filter returns everything. A client can ask for an
//! error instead (`Prefer: handling=strict`, RFC 7240), and a server can be configured so.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;

use crate::extract::query_string::UnknownFields;
use crate::state::Service;

/// The header of a preference.
pub(crate) const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const STRICT: &str = "handling=strict";

/// How a list treats unknown parameters.
pub(crate) struct Strictness {
    pub(crate) unknown_fields: UnknownFields,
    /// Whether the client asked for it.
    is_preferred: bool,
}

impl FromRequestParts<Service> for Strictness {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self, Infallible> {
        let is_preferred = prefers_strict(&parts.headers);
        let unknown_fields = match is_preferred || service.refuses_unknown_parameters() {
            true => UnknownFields::Refused,
            false => UnknownFields::OnlyFilters,
        };
        Ok(Self { unknown_fields, is_preferred })
    }
}

impl Strictness {
    /// Adds the header that confirms an applied preference.
    pub(crate) fn confirm(&self, mut response: Response) -> Response {
        if self.is_preferred {
            let applied = HeaderValue::from_static(STRICT);
            response.headers_mut().insert(PREFERENCE_APPLIED, applied);
        }
        response
    }
}

fn prefers_strict(headers: &HeaderMap) -> bool {
    let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let mut preferences = values.flat_map(|value| value.split([',', ';']));
    preferences.any(|preference| {
        let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
        name.trim().eq_ignore_ascii_case("handling")
            && value.trim().trim_matches('"').eq_ignore_ascii_case("strict")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preference_is_found_among_others() {
        let check = |value: &str, expected: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(PREFER, value.parse().unwrap());
            assert_eq!(prefers_strict(&headers), expected, "{value}");
        };
        check("handling=strict", true);
        check("respond-async, Handling = \"strict\"; x=1", true);
        check("handling=lenient", false);
        check("strict", false);
        assert!(!prefers_strict(&HeaderMap::new()));
    }
}
