//! The body of a request, of which nothing is read before it is known who sends it.
//!
//! A JSON body is read whole, within a limit of bytes and a deadline. What is left of one that is
//! refused is a matter of the connection.

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use http_body::Body as _;
use tokio::time::timeout;

use crate::body::decompress::Decompressor;
use crate::body::lines::Lines;
use crate::body::stream::next;
use crate::error::{ApiError, Result};
use crate::limits::Limits;
use crate::state::Service;

/// The media types of JSON lines. None of them is registered, so all that are in use are taken.
const JSON_LINES: [&str; 5] = [
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonlines",
    "application/jsonlines",
];

/// A body that nobody has read yet.
pub(crate) struct RequestBody {
    headers: HeaderMap,
    body: Body,
    limits: Limits,
}

impl FromRequest<Service> for RequestBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, service: &Service) -> Result<Self> {
        let (parts, body) = request.into_parts();
        Ok(Self { headers: parts.headers, body, limits: *service.limits() })
    }
}

impl RequestBody {
    /// The text of a JSON body.
    ///
    /// # Errors
    /// 415 for another type or a packed body, 413 above the limit, 408 for a client that is too
    /// slow, 400 for bytes that are no text and for a body that ends early.
    pub(crate) async fn json(self) -> Result<String> {
        let identity = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
        if !self.headers.get_all(CONTENT_ENCODING).iter().all(identity) {
            return Err(unpacked("identity"));
        }
        self.check_type(is_json)?;
        let read =
            timeout(self.limits.body_timeout, whole(self.body, self.limits.max_body_bytes)).await;
        let bytes = read.unwrap_or_else(|_| Err(ApiError::of(StatusCode::REQUEST_TIMEOUT)))?;
        String::from_utf8(bytes).map_err(|_| ApiError::malformed("The body is not valid UTF-8."))
    }

    /// The lines of a body of JSON lines, one after the other, packed with gzip or zstd or not.
    ///
    /// # Errors
    /// 415 for another type, or one that is packed in another way.
    pub(crate) fn lines(self) -> Result<Lines> {
        self.check_type(|essence| JSON_LINES.iter().any(|one| essence.eq_ignore_ascii_case(one)))?;
        let mut encodings = self.headers.get_all(CONTENT_ENCODING).iter();
        let offer = || unpacked("gzip, zstd, identity");
        let packing = match (encodings.next(), encodings.next()) {
            (encoding, None) => Decompressor::named(encoding)?.ok_or_else(offer)?,
            _ => return Err(offer()),
        };
        Ok(Lines::new(self.body, packing, self.limits.max_line_bytes, self.limits.chunk_timeout))
    }

    /// The one content type, without parameters but a charset that is UTF-8.
    fn check_type(&self, is_right: impl Fn(&str) -> bool) -> Result<()> {
        let refusal = || ApiError::of(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        let mut types = self.headers.get_all(CONTENT_TYPE).iter();
        let (Some(Ok(text)), None) = (types.next().map(HeaderValue::to_str), types.next()) else {
            return Err(refusal());
        };
        let mut parts = text.split(';').map(str::trim);
        let right = parts.next().is_some_and(is_right)
            && parts.filter_map(|part| part.split_once('=')).all(|(name, value)| {
                !name.eq_ignore_ascii_case("charset")
                    || value.trim_matches('"').eq_ignore_ascii_case("utf-8")
            });
        if right { Ok(()) } else { Err(refusal()) }
    }
}

/// A refusal of how a body is packed, with what would be taken.
fn unpacked(offer: &'static str) -> ApiError {
    let refusal = ApiError::of(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    refusal.with_header(ACCEPT_ENCODING, HeaderValue::from_static(offer))
}

fn is_json(essence: &str) -> bool {
    let essence = essence.to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// All bytes of a body of at most `limit`.
async fn whole(mut body: Body, limit: usize) -> Result<Vec<u8>> {
    let too_large = || Err(ApiError::of(StatusCode::PAYLOAD_TOO_LARGE));
    let told = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if told > limit {
        return too_large();
    }
    let mut bytes = Vec::with_capacity(told);
    while let Some(piece) = next(&mut body).await? {
        if bytes.len() + piece.len() > limit {
            return too_large();
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}
