//! What a caller asks of a list, and how it agrees with the cursor it came with.

use crate::encoding::index_term::{Field, Fingerprinter};
use crate::error::{Error, Result};
use crate::model::id::UserId;
use crate::model::position::Position;
use crate::model::timestamp::Timestamp;
use crate::query::cursor::PageCursor;
use crate::query::filter::Filter;
use crate::query::list_spec::{Direction, ListSpec, Order};
use crate::query::page_size::PageSize;

/// A request for one page of a list. The default is the first page of all conversations, 15 of
/// them, newest first.
///
/// With a cursor, everything else may stay out: the cursor carries the filter, the bounds, the
/// order and the page size. What is given beside it must agree, but for the page size, which wins.
///
/// ```
/// use convodb::{ChannelKind, Filter, ListRequest, Order, PageSize};
/// let request = ListRequest {
///     filter: Filter { kind: Some(ChannelKind::Whatsapp), ..Filter::default() },
///     created_from: Some("2025-01-01".parse()?),
///     created_to: Some("2025-02-01".parse()?),
///     order: Some(Order::Ascending),
///     page_size: Some(PageSize::new(50)?),
///     cursor: None,
/// };
/// # let store = convodb::Store::in_memory()?;
/// # let user = convodb::UserId::new(1);
/// for page in store.snapshot().pages(user, request) {
///     println!("{} conversations", page?.len());
/// }
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListRequest {
    /// Which conversations.
    pub filter: Filter,
    /// Only those created at this instant or later.
    pub created_from: Option<Timestamp>,
    /// Only those created before this instant.
    pub created_to: Option<Timestamp>,
    /// In which order; newest first where nothing is said.
    pub order: Option<Order>,
    /// How many a page; 15 where nothing is said.
    pub page_size: Option<PageSize>,
    /// Where to continue.
    pub cursor: Option<PageCursor>,
}

impl ListRequest {
    /// The request that continues a list at `cursor`.
    #[must_use]
    pub fn at(cursor: PageCursor) -> Self {
        Self { cursor: Some(cursor), ..Self::default() }
    }

    /// The list that is asked for, whatever the cursor continues.
    pub(crate) fn list(&self, fingerprinter: &Fingerprinter) -> ListSpec {
        ListSpec {
            kind: self.filter.kind,
            filter: self.filter.fingerprints(fingerprinter),
            created_from: self.created_from,
            created_to: self.created_to,
            order: self.order.unwrap_or_default(),
        }
    }

    /// The list, the page size and the place that are asked for.
    pub(crate) fn resolve(
        &self,
        owner: UserId,
        fingerprinter: &Fingerprinter,
    ) -> Result<ResolvedRequest> {
        let asked = self.list(fingerprinter);
        let Some(cursor) = self.cursor else {
            return Ok(ResolvedRequest {
                list: asked,
                page_size: self.page_size.unwrap_or_default(),
                direction: Direction::Next,
                gap: asked.front(),
                at_front: true,
            });
        };
        if cursor.owner != owner {
            return Err(Error::InvalidCursor);
        }
        self.check_cursor_conflicts(&asked, &cursor.list)?;
        Ok(ResolvedRequest {
            list: cursor.list,
            page_size: self.page_size.unwrap_or(cursor.page_size),
            direction: cursor.direction,
            gap: cursor.gap,
            at_front: false,
        })
    }

    /// What is given beside a cursor must be what the cursor continues.
    fn check_cursor_conflicts(&self, asked: &ListSpec, continued: &ListSpec) -> Result<()> {
        let conflict = |field| Err(Error::CursorConflict { field });
        for field in Field::ALL {
            let given = asked.filter.get(field);
            if given.is_some() && given != continued.filter.get(field) {
                return conflict(field.name());
            }
        }
        if self.created_from.is_some() && self.created_from != continued.created_from {
            return conflict("created_from");
        }
        if self.created_to.is_some() && self.created_to != continued.created_to {
            return conflict("created_to");
        }
        if self.order.is_some_and(|order| order != continued.order) {
            return conflict("order");
        }
        Ok(())
    }
}

/// A request with nothing left open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResolvedRequest {
    pub(crate) list: ListSpec,
    pub(crate) page_size: PageSize,
    pub(crate) direction: Direction,
    pub(crate) gap: Position,
    /// Nothing can lie before the gap, so nobody needs to look.
    pub(crate) at_front: bool,
}
