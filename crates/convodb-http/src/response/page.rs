//! Page of the list as a JSON body, in the documented order of fields.
//!
//! About 0.2 us a row, plus one B-tree lookup for each assistant on the page. Nothing is allocated
//! per row except when a buffer grows.

use convodb::{ConversationRef, Page, PageCursor, Result, Snapshot};
use convodb_json::{AssistantNames, json, write_named_item};
use convodb_service::View;

/// The bytes of a typical item, to reserve a buffer.
pub(crate) const TYPICAL_ITEM_BYTES: usize = 512;

/// The cursors of a page, sealed as tokens for a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageTokens {
    /// The cursor of the next page; `None` at the end of the list.
    pub next: Option<String>,
    /// The cursor of the previous page; `None` at the beginning of the list.
    pub prev: Option<String>,
    /// The cursor of the change feed at the beginning of the walk; `None` if the list is sorted by the
    /// time of creation.
    pub changes: Option<String>,
}

impl PageTokens {
    /// Seals the cursors of a page: about 0.3 us for each.
    #[must_use]
    pub fn of(page: &Page, snapshot: &Snapshot) -> Self {
        let seal = |cursor: &PageCursor| snapshot.seal_cursor(cursor);
        Self {
            next: page.next_cursor().map(seal),
            prev: page.prev_cursor().map(seal),
            changes: page.changes_cursor().map(|cursor| snapshot.seal_change_cursor(cursor)),
        }
    }

    /// Seals the cursors of a page of a view.
    pub(crate) fn of_view(page: &Page, view: &View) -> Self {
        let seal = |cursor: &PageCursor| view.seal_cursor(cursor);
        Self {
            next: page.next_cursor().map(seal),
            prev: page.prev_cursor().map(seal),
            changes: page.changes_cursor().map(|cursor| view.seal_change_cursor(cursor)),
        }
    }
}

/// Appends a page as the JSON body of `GET /api/user/conversations`, for a server of your own.
///
/// `url` is the absolute URL of the list, without a query. `names` are those of the user of the
/// page.
///
/// ```
/// use convodb::{AssistantId, Channel, Conversation, ConversationId, ListRequest, Store, Timestamp};
/// use convodb_http::{PageTokens, write_page};
/// use convodb_json::AssistantNames;
/// # let store = Store::in_memory()?;
/// # let at: Timestamp = "2025-01-25 10:15:00".parse()?;
/// # let user = store.create_user("Acme", at)?.id;
/// # let bot = store.create_assistant(user, AssistantId::generate(at), "Bot")?.id;
/// # let id = ConversationId::generate(at);
/// # store.insert(user, Conversation::new(id, bot, Channel::Widget, at), Vec::new())?;
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
/// As [`AssistantNames::name`]; `out` then contains a part of the body.
pub fn write_page(
    out: &mut Vec<u8>,
    url: &str,
    page: &Page,
    tokens: &PageTokens,
    names: &mut AssistantNames,
) -> Result<()> {
    write_items(out, url, page, tokens, |out, row| write_named_item(out, row, names))
}

/// [`write_page`], whose items `write` appends.
#[inline]
pub(crate) fn write_items(
    out: &mut Vec<u8>,
    url: &str,
    page: &Page,
    tokens: &PageTokens,
    mut write: impl FnMut(&mut Vec<u8>, &ConversationRef<'_>) -> Result<()>,
) -> Result<()> {
    out.reserve(TYPICAL_ITEM_BYTES * (page.len() + 1));
    json::raw(out, "{\"data\":[");
    let mut is_first = true;
    // The iterator passes each row on where it builds it; returned by `next`, it would be copied.
    page.conversations().try_for_each(|row| {
        if !std::mem::replace(&mut is_first, false) {
            out.push(b',');
        }
        write(out, &row)
    })?;
    json::raw(out, "],\"path\":");
    json::string(out, url);
    json::raw(out, ",\"per_page\":");
    json::integer(out, page.page_size().get() as u64);
    json::raw(out, ",\"next_cursor\":");
    json::string_or_null(out, tokens.next.as_deref());
    json::raw(out, ",\"prev_cursor\":");
    json::string_or_null(out, tokens.prev.as_deref());
    if let Some(changes) = &tokens.changes {
        json::raw(out, ",\"changes_cursor\":");
        json::string(out, changes);
    }
    out.push(b'}');
    Ok(())
}
