//! A page as the body of an answer, field by field in the documented order.
//!
//! About 0.2 us a row and, for each assistant that the page tells of, one descent. What is
//! allocated does not grow with the page but by what the buffers grow.

use convodb::{Page, PageCursor, Result, Snapshot};

use crate::item::{AssistantNames, write_item};
use crate::json;

/// What a row takes in a body, as a first guess.
pub(crate) const TYPICAL_ITEM_BYTES: usize = 512;

/// The cursors of a page as a client gets them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageTokens {
    /// For the page after; `None` where the list ends.
    pub next: Option<String>,
    /// For the page before; `None` where the list begins.
    pub prev: Option<String>,
}

impl PageTokens {
    /// Seals the page's cursors: about 0.3 us for each that it has.
    #[must_use]
    pub fn of(page: &Page, snapshot: &Snapshot) -> Self {
        let seal = |cursor: &PageCursor| snapshot.seal_cursor(cursor);
        Self { next: page.next().map(seal), prev: page.prev().map(seal) }
    }
}

/// Appends a page as the JSON object that answers `GET /api/user/conversations`, for a server of
/// your own. `url` is the absolute one of the list, without a query; `names` are those of the user
/// whose page it is.
///
/// ```
/// use convodb::{AssistantId, Channel, Conversation, ConversationId, ListRequest, Store, Timestamp};
/// use convodb_http::{AssistantNames, PageTokens, write_page};
/// # let store = Store::in_memory()?;
/// # let at: Timestamp = "2025-01-25 10:15:00".parse()?;
/// # let user = store.create_user("Acme".parse()?, at)?.id;
/// # let bot = store.create_assistant(user, AssistantId::generate(at), "Bot".parse()?)?.id;
/// # let id = ConversationId::generate(at);
/// # store.insert(user, Conversation::new(id, bot, Channel::Widget, at))?;
/// let snapshot = store.snapshot();
/// let page = snapshot.list(user, &ListRequest::default())?;
/// let tokens = PageTokens::of(&page, &snapshot);
/// let mut names = AssistantNames::new(snapshot, user);
/// let mut body = Vec::new();
/// write_page(&mut body, "https://example.com/list", &page, &tokens, &mut names)?;
/// assert!(body.starts_with(b"{\"data\":[{\"id\":"));
/// assert!(body.ends_with(b"\"per_page\":15,\"next_cursor\":null,\"prev_cursor\":null}"));
/// # Ok::<(), convodb::Error>(())
/// ```
///
/// # Errors
/// As [`AssistantNames::name`]; the buffer then holds a part of the body.
pub fn write_page(
    out: &mut Vec<u8>,
    url: &str,
    page: &Page,
    tokens: &PageTokens,
    names: &mut AssistantNames,
) -> Result<()> {
    out.reserve(TYPICAL_ITEM_BYTES * (page.len() + 1));
    json::raw(out, "{\"data\":[");
    for (at, row) in page.rows().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_item(out, &row, names.name(row.assistant)?);
    }
    json::raw(out, "],\"path\":");
    json::string(out, url);
    json::raw(out, ",\"per_page\":");
    json::integer(out, page.page_size().get() as u64);
    json::raw(out, ",\"next_cursor\":");
    json::string_or_null(out, tokens.next.as_deref());
    json::raw(out, ",\"prev_cursor\":");
    json::string_or_null(out, tokens.prev.as_deref());
    out.push(b'}');
    Ok(())
}
