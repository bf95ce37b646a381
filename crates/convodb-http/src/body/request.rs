//! Request body: unread until the request is authenticated, then read as JSON or as JSON lines.
//!
//! A JSON body is read whole, within a size limit and a timeout. After a rejection the connection
//! drains the unread rest: see `server::write_timeout`.

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use http_body::Body as _;
use tokio::time::timeout;

use crate::body::decompress::Decompressor;
use crate::body::lines::Lines;
use crate::body::stream::next_chunk;
use crate::error::{ApiError, Result};
use crate::limits::Limits;
use crate::middleware::caller::Caller;
use crate::state::Service;

/// The media types of JSON lines. None of them is registered, so all common ones are accepted.
const JSON_LINES: [&str; 5] = [
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonlines",
    "application/jsonlines",
];

/// The media type of HTML forms.
const FORM: &str = "application/x-www-form-urlencoded";
/// The most bytes of a form: a token and a path.
const MAX_FORM_BYTES: usize = 8 * 1024;

/// An unread body.
pub(crate) struct RequestBody {
    headers: HeaderMap,
    body: Body,
    limits: Limits,
    caller: Option<Caller>,
}

impl FromRequest<Service> for RequestBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, service: &Service) -> Result<Self> {
        let (parts, body) = request.into_parts();
        let caller = parts.extensions.get::<Caller>().cloned();
        Ok(Self { headers: parts.headers, body, limits: *service.limits(), caller })
    }
}

impl RequestBody {
    /// Reads a JSON body as text.
    ///
    /// # Errors
    /// 415 for another media type or a compressed body, 413 for more than
    /// [`Limits::max_body_bytes`], 503 beyond the user's share of [`Limits::max_buffered_bytes`],
    /// 408 after [`Limits::body_timeout`], 400 for invalid UTF-8 or a body that ends early.
    pub(crate) async fn json(self) -> Result<String> {
        let identity = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
        if !self.headers.get_all(CONTENT_ENCODING).iter().all(identity) {
            return Err(unsupported_encoding(
                "identity",
                "The body must not be compressed (Content-Encoding).",
            ));
        }
        self.check_type(is_json, "The body must be of the type application/json, in UTF-8.")?;
        let limit = self.limits.max_body_bytes;
        self.text(limit).await
    }

    /// Reads the body of an HTML form, still URL-encoded.
    ///
    /// # Errors
    /// As [`RequestBody::json`], with a limit of [`MAX_FORM_BYTES`].
    pub(crate) async fn form(self) -> Result<String> {
        let is_form = |essence: &str| essence.eq_ignore_ascii_case(FORM);
        self.check_type(
            is_form,
            "The body must be of the type application/x-www-form-urlencoded.",
        )?;
        // Nobody is known who could be charged for the few bytes of a form.
        Self { caller: None, ..self }.text(MAX_FORM_BYTES).await
    }

    async fn text(self, limit: usize) -> Result<String> {
        let read = read_all(self.body, limit, self.caller.as_ref());
        let bytes = timeout(self.limits.body_timeout, read)
            .await
            .unwrap_or_else(|_| Err(ApiError::of(StatusCode::REQUEST_TIMEOUT)))?;
        String::from_utf8(bytes).map_err(|_| ApiError::malformed("The body is not valid UTF-8."))
    }

    /// Returns a reader of the lines of a JSON lines body, plain or compressed with gzip or zstd.
    ///
    /// # Errors
    /// 415 for another media type or another compression.
    pub(crate) fn lines(self) -> Result<Lines> {
        self.check_type(
            |essence| JSON_LINES.iter().any(|one| essence.eq_ignore_ascii_case(one)),
            "The body must be of the type application/x-ndjson, in UTF-8.",
        )?;
        let mut encodings = self.headers.get_all(CONTENT_ENCODING).iter();
        let rule = "The body must be compressed with gzip or zstd, or not at all.";
        let unsupported = || unsupported_encoding("gzip, zstd, identity", rule);
        let decompressor = match (encodings.next(), encodings.next()) {
            (encoding, None) => Decompressor::for_encoding(encoding)?.ok_or_else(unsupported)?,
            _ => return Err(unsupported()),
        };
        Ok(Lines::new(self.body, decompressor, &self.limits, self.caller))
    }

    /// Checks that there is exactly one content type, with no charset but UTF-8; `rule` is the
    /// message of the error.
    fn check_type(&self, is_right: impl Fn(&str) -> bool, rule: &'static str) -> Result<()> {
        let unsupported = || ApiError::unsupported_type(rule);
        let mut types = self.headers.get_all(CONTENT_TYPE).iter();
        let (Some(Ok(text)), None) = (types.next().map(HeaderValue::to_str), types.next()) else {
            return Err(unsupported());
        };
        let mut parts = text.split(';').map(str::trim);
        let right = parts.next().is_some_and(is_right)
            && parts.filter_map(|part| part.split_once('=')).all(|(name, value)| {
                !name.eq_ignore_ascii_case("charset")
                    || value.trim_matches('"').eq_ignore_ascii_case("utf-8")
            });
        if right { Ok(()) } else { Err(unsupported()) }
    }
}

/// Returns a 415 with the encodings that are supported.
fn unsupported_encoding(supported: &'static str, rule: &'static str) -> ApiError {
    let error = ApiError::unsupported_type(rule);
    error.with_header(ACCEPT_ENCODING, HeaderValue::from_static(supported))
}

fn is_json(essence: &str) -> bool {
    let essence = essence.to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Reads a body of at most `limit` bytes, which the caller holds until the response.
async fn read_all(mut body: Body, limit: usize, caller: Option<&Caller>) -> Result<Vec<u8>> {
    let too_large =
        || Err(ApiError::too_large(format!("The body must not have more than {limit} bytes.")));
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit {
        return too_large();
    }
    let hold = |bytes| caller.map_or(Ok(()), |caller| caller.hold(bytes));
    hold(announced)?;
    let mut bytes = Vec::with_capacity(announced);
    while let Some(chunk) = next_chunk(&mut body).await? {
        if bytes.len() + chunk.len() > limit {
            return too_large();
        }
        hold((bytes.len() + chunk.len()).saturating_sub(announced.max(bytes.len())))?;
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
