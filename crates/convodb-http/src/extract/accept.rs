//! The `Accept` header: the weight of a media type (RFC 9110, section 12.5.1).

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

/// Returns the highest weight of the media ranges that `matches` accepts, each in lower case and
/// without parameters; 0 without any. A weight that is not a number counts as 1.
pub(crate) fn weight(headers: &HeaderMap, matches: impl Fn(&str) -> bool) -> f32 {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let weights = values.flat_map(|value| value.split(',')).filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok());
        matches(&name).then(|| weight.unwrap_or(1.0))
    });
    weights.fold(0.0, f32::max)
}
