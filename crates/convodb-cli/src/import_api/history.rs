//! History of one conversation: requested whole, or by pages if it is too long for a response.

use crate::import_api::client::{ApiError, Client};
use crate::import_api::wire::{HistoryPages, ListItem};

/// Maximum bytes of a response: a page of the list, or messages of a conversation.
pub(super) const MAX_RESPONSE_BYTES: u64 = 64 << 20;
/// Maximum bytes of the messages of a conversation, which are imported in one write.
const MAX_HISTORY_BYTES: usize = 512 << 20;
/// Messages of a page: the API's maximum, and as many as are within the maximum of a response even if
/// each has 1 MiB of content, whose JSON has six times as many bytes, and 64 KiB of function calls.
const PER_PAGE: &str = "100";
const PER_PAGE_OF_LONG: &str = "8";

/// The result of a request for the messages of a conversation.
pub(super) enum History {
    Response(Vec<u8>),
    /// There are none of this conversation, and why.
    Refused(String),
}

/// Requests the messages of a conversation.
///
/// # Errors
/// Fails if the server cannot be reached, refuses the token, or is out of order: then the next
/// request would fail as well. What concerns this conversation alone refuses it alone.
pub(super) fn request_history(client: &Client, item: &ListItem) -> Result<History, ApiError> {
    let Some(id) = item.id else {
        return Ok(History::Refused("id must be a valid UUID".to_owned()));
    };
    let path = format!("/api/conversations/{id}");
    let response = match client.get(&path, &[], MAX_RESPONSE_BYTES) {
        Ok(body) => Ok(History::Response(body)),
        Err(ApiError::TooLarge { .. }) => request_pages(client, &path),
        Err(error) => Err(error),
    };
    match response {
        Ok(history) => Ok(history),
        Err(error) => match refusal(&error) {
            Some(reason) => Ok(History::Refused(reason)),
            None => Err(error),
        },
    }
}

/// Requests the messages page by page, and joins them into one response. Pages are an extension: a
/// server without it answers with the whole history again.
fn request_pages(client: &Client, path: &str) -> Result<History, ApiError> {
    let mut pages = HistoryPages::default();
    let mut cursor: Option<String> = None;
    let mut per_page = PER_PAGE;
    loop {
        let mut query = vec![("per_page", per_page)];
        query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let page = match client.get(path, &query, MAX_RESPONSE_BYTES) {
            Err(ApiError::TooLarge { .. }) if per_page == PER_PAGE => {
                per_page = PER_PAGE_OF_LONG;
                continue;
            }
            page => page?,
        };
        let next = match pages.add(&page) {
            Ok(next) => next,
            Err(what) => {
                return Ok(History::Refused(format!("a page of its messages is wrong: {what}")));
            }
        };
        if pages.bytes() > MAX_HISTORY_BYTES {
            let reason = format!("its messages have more than {MAX_HISTORY_BYTES} bytes");
            return Ok(History::Refused(reason));
        }
        match next {
            None => return Ok(History::Response(pages.into_response())),
            Some(next) if cursor.as_ref() == Some(&next) => {
                return Ok(History::Refused("the cursor of its messages was repeated".to_owned()));
            }
            Some(next) => cursor = Some(next),
        }
    }
}

/// Why a conversation is rejected alone, if the error concerns no other one.
fn refusal(error: &ApiError) -> Option<String> {
    let answer =
        |status| format!("the server answers the request for its messages with HTTP {status}");
    match error {
        ApiError::Forbidden { .. } => Some(answer(403)),
        ApiError::NotFound { status, .. } => {
            Some(format!("{}; it may have been deleted during the import", answer(*status)))
        }
        ApiError::Refused { status: 422, .. } => Some(answer(422)),
        ApiError::Failed { status: 500, attempts, .. } => {
            Some(format!("{} in each of {attempts} attempts", answer(500)))
        }
        ApiError::TooLarge { limit, .. } => {
            let pages = "and the server has no pages of them";
            Some(format!("the response with its messages has more than {limit} bytes, {pages}"))
        }
        _ => None,
    }
}
