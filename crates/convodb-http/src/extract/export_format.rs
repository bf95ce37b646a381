//! Format of an export, by the `Accept` header: JSON lines, or CSV for a client that names it.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;

use crate::extract::accept;
use crate::state::Service;

/// A format of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExportFormat {
    /// JSON lines, which lose nothing.
    Lines,
    Csv,
}

impl ExportFormat {
    pub(crate) const fn media_type(self) -> &'static str {
        match self {
            ExportFormat::Lines => "application/x-ndjson",
            ExportFormat::Csv => "text/csv; charset=utf-8; header=present",
        }
    }

    /// The header by which a browser saves the export under a name.
    pub(crate) const fn disposition(self) -> &'static str {
        match self {
            ExportFormat::Lines => "attachment; filename=\"conversations.jsonl\"",
            ExportFormat::Csv => "attachment; filename=\"conversations.csv\"",
        }
    }
}

impl FromRequestParts<Service> for ExportFormat {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Service) -> Result<Self, Infallible> {
        Ok(of(&parts.headers))
    }
}

/// CSV if it is accepted by name, and no type of JSON is preferred.
fn of(headers: &HeaderMap) -> ExportFormat {
    let csv = accept::weight(headers, |range| range == "text/csv");
    let json = accept::weight(headers, |range| range.contains("json"));
    if csv > 0.0 && csv >= json { ExportFormat::Csv } else { ExportFormat::Lines }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::header::ACCEPT;

    #[test]
    fn csv_is_sent_only_if_it_is_named() {
        for (accept, expected) in [
            ("", ExportFormat::Lines),
            ("*/*", ExportFormat::Lines),
            ("text/html, text/*;q=0.9", ExportFormat::Lines),
            ("text/csv", ExportFormat::Csv),
            ("Text/CSV; charset=utf-8, */*;q=0.1", ExportFormat::Csv),
            ("text/csv;q=0", ExportFormat::Lines),
            ("text/csv;q=0.5, application/x-ndjson", ExportFormat::Lines),
            ("application/json;q=0.5, text/csv", ExportFormat::Csv),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            assert_eq!(of(&headers), expected, "{accept}");
        }
    }
}
