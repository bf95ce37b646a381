//! List requests, and their resolution against the cursor that they continue.

use crate::encoding::index_term::{Field, Fingerprinter};
use crate::error::{Error, Result};
use crate::model::channel::ChannelKind;
use crate::model::choice::ChannelKinds;
use crate::model::id::{AssistantId, UserId};
use crate::model::position::SortKey;
use crate::model::timestamp::Timestamp;
use crate::query::cursor::{PageCursor, Walk};
use crate::query::filter::Filter;
use crate::query::list_spec::{Direction, FingerprintSet, ListSpec, Order, Sort};
use crate::query::page_size::PageSize;

/// A request for one page of a list. The default is the first page of all conversations: 15 of
/// them, newest first.
///
/// A cursor contains the filter, the sort, the bounds, the order and the page size, so a request with a
/// cursor can omit them. Values beside a cursor must be equal to those of the cursor, except the
/// page size, which replaces that of the cursor.
///
/// Prefer the methods; the fields are public for code that has optional values.
///
/// ```
/// use convodb::{ChannelKind, Filter, ListRequest, Order};
/// let request = ListRequest::new()
///     .filter(Filter::new().kind(ChannelKind::Whatsapp))
///     .created_from("2025-01-01".parse()?)
///     .created_to("2025-02-01".parse()?)
///     .order(Order::Ascending)
///     .page_size(50)?;
/// # let store = convodb::Store::in_memory()?;
/// # let user = convodb::UserId::new(1);
/// for page in store.snapshot().pages(user, request) {
///     println!("{} conversations", page?.len());
/// }
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListRequest {
    /// The filter; the default passes all conversations.
    pub filter: Filter,
    /// The earliest creation time, inclusive; only with [`Sort::CreatedAt`].
    pub created_from: Option<Timestamp>,
    /// The end of the creation times, exclusive; only with [`Sort::CreatedAt`].
    pub created_to: Option<Timestamp>,
    /// The time that sorts the list; the time of creation by default.
    pub sort: Option<Sort>,
    /// The earliest last activity, inclusive; only with [`Sort::LastActivity`].
    pub active_from: Option<Timestamp>,
    /// The end of the last activities, exclusive; only with [`Sort::LastActivity`].
    pub active_to: Option<Timestamp>,
    /// The order; newest first by default.
    pub order: Option<Order>,
    /// The maximum number of conversations of the page; 15 by default.
    pub page_size: Option<PageSize>,
    /// The position to continue from; the beginning of the list by default.
    pub cursor: Option<PageCursor>,
    /// Whether the page has the beginnings of the first and last message of each conversation. No
    /// part of the cursor.
    pub previews: bool,
}

impl ListRequest {
    /// A request for the first page of all conversations.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A request that continues a list at `cursor`.
    #[must_use]
    pub fn at(cursor: PageCursor) -> Self {
        Self { cursor: Some(cursor), ..Self::default() }
    }

    /// Lists only conversations that pass this filter.
    #[must_use]
    pub fn filter(self, filter: Filter) -> Self {
        Self { filter, ..self }
    }

    /// Lists only conversations created at this instant or later.
    #[must_use]
    pub fn created_from(self, from: Timestamp) -> Self {
        Self { created_from: Some(from), ..self }
    }

    /// Lists only conversations created before this instant.
    #[must_use]
    pub fn created_to(self, to: Timestamp) -> Self {
        Self { created_to: Some(to), ..self }
    }

    /// Lists by this time.
    #[must_use]
    pub fn sort(self, sort: Sort) -> Self {
        Self { sort: Some(sort), ..self }
    }

    /// Lists only conversations whose last activity was at this instant or later.
    #[must_use]
    pub fn active_from(self, from: Timestamp) -> Self {
        Self { active_from: Some(from), ..self }
    }

    /// Lists only conversations whose last activity was before this instant.
    #[must_use]
    pub fn active_to(self, to: Timestamp) -> Self {
        Self { active_to: Some(to), ..self }
    }

    /// Lists in this order.
    #[must_use]
    pub fn order(self, order: Order) -> Self {
        Self { order: Some(order), ..self }
    }

    /// Limits the page to this number of conversations, 1 to 100.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming `per_page` for any other number.
    pub fn page_size(self, conversations: u64) -> Result<Self> {
        Ok(Self { page_size: Some(PageSize::new(conversations)?), ..self })
    }

    /// Continues at this cursor.
    #[must_use]
    pub fn cursor(self, cursor: PageCursor) -> Self {
        Self { cursor: Some(cursor), ..self }
    }

    /// Reads the beginnings of the first and last message of each conversation, too. With the index
    /// `previews` ([`IndexFamily::Previews`](crate::IndexFamily::Previews)) this costs no lookup;
    /// without it one or two B-tree lookups for each conversation with messages, which are read
    /// whole to verify them.
    ///
    /// ```
    /// # use convodb::*;
    /// # let store = Store::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// # let user = store.create_user("Acme", at)?.id;
    /// # let bot = store.create_assistant(user, AssistantId::generate(at), "Bot")?.id;
    /// # let id = ConversationId::generate(at);
    /// # store.insert(user, Conversation::new(id, bot, Channel::Widget, at), Vec::new())?;
    /// store.append_message(user, id, Message::new(Role::User, "Hello?", at)?)?;
    /// store.append_message(user, id, Message::new(Role::Assistant, "Hi!", at)?)?;
    /// let page = store.snapshot().list(user, &ListRequest::new().previews())?;
    /// for (row, preview) in page.conversations().zip(page.previews()) {
    ///     let preview = preview.expect("it has messages");
    ///     assert_eq!((preview.first.text, preview.last.text), ("Hello?", "Hi!"));
    /// }
    /// # Ok::<(), convodb::Error>(())
    /// ```
    #[must_use]
    pub fn previews(self) -> Self {
        Self { previews: true, ..self }
    }

    /// The request with one assistant added to its filter; one that nothing matches if the filter
    /// contradicts that.
    pub(crate) fn restricted_to(&self, only: AssistantId) -> Self {
        let mut request = self.clone();
        if request.filter.passing_assistants().is_some_and(|requested| !requested.contains(&only)) {
            // No type: nothing matches.
            let continued = request.cursor.take().map(|cursor| cursor.list.sort);
            request.sort = request.sort.or(continued);
            request.filter.kind = Some(ChannelKind::Test);
            request.filter.kinds = Some(ChannelKinds::from(ChannelKind::Api));
        }
        request.filter = Filter { assistant: Some(only), ..request.filter };
        request
    }

    /// The list that the request describes, whatever page of it.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it has bounds of a time that does not sort the list.
    pub(crate) fn list(&self, fingerprinter: &Fingerprinter) -> Result<ListSpec> {
        let continued = self.cursor.map(|cursor| cursor.list.sort);
        let sort = self.sort.or(continued).unwrap_or_default();
        let (from, to) = self.bounds_of(sort)?;
        let several = self.filter.passing_assistants().filter(|ids| ids.len() != 1);
        let contradiction = several.is_some_and(<[_]>::is_empty);
        let several = several.into_iter().flatten().map(|id| fingerprinter.assistant(*id));
        let Some(assistants) = FingerprintSet::new(several) else {
            unreachable!("a filter has at most 20 assistants")
        };
        Ok(ListSpec {
            kinds: if contradiction { ChannelKinds::NONE } else { self.filter.passing_kinds() },
            filter: self.filter.fingerprints(fingerprinter),
            assistants,
            sort,
            from,
            to,
            order: self.order.unwrap_or_default(),
        })
    }

    /// The bounds of a list that is sorted by `sort`.
    fn bounds_of(&self, sort: Sort) -> Result<(Option<Timestamp>, Option<Timestamp>)> {
        let created = [("created_from", self.created_from), ("created_to", self.created_to)];
        let active = [("active_from", self.active_from), ("active_to", self.active_to)];
        let ([from, to], others, reason) = match sort {
            Sort::CreatedAt => (created, active, "must be left out unless sort is last_activity"),
            Sort::LastActivity => (active, created, "must be left out if sort is last_activity"),
        };
        match others.into_iter().find(|(_, bound)| bound.is_some()) {
            Some((field, _)) => Err(Error::Invalid { field, reason }),
            None => Ok((from.1, to.1)),
        }
    }

    /// Resolves the request of `user`: fills in the defaults or the values of the cursor.
    pub(crate) fn resolve(
        &self,
        user: UserId,
        fingerprinter: &Fingerprinter,
    ) -> Result<ResolvedRequest> {
        if self.cursor.is_some_and(|cursor| cursor.user != user) {
            return Err(Error::InvalidCursor);
        }
        let requested = self.list(fingerprinter)?;
        let Some(cursor) = self.cursor else {
            return Ok(ResolvedRequest {
                list: requested,
                page_size: self.page_size.unwrap_or_default(),
                direction: Direction::Next,
                gap: requested.front(),
                at_front: true,
                behind: 0,
                walk: None,
                previews: self.previews,
            });
        };
        self.check_cursor_conflicts(&requested, &cursor.list)?;
        Ok(ResolvedRequest {
            list: cursor.list,
            page_size: self.page_size.unwrap_or(cursor.page_size),
            direction: cursor.direction,
            gap: cursor.gap,
            at_front: false,
            behind: cursor.behind,
            walk: cursor.walk,
            previews: self.previews,
        })
    }

    /// Fails if a value of the request differs from the list that its cursor continues.
    fn check_cursor_conflicts(&self, requested: &ListSpec, continued: &ListSpec) -> Result<()> {
        let conflict = |field| Err(Error::CursorConflict { field });
        let Filter { kind, kinds, assistant, assistants, .. } = &self.filter;
        for field in Field::ALL {
            let given = requested.filter.get(field);
            let differs = given != continued.filter.get(field);
            let conflicts = match field {
                Field::Kind => {
                    (kind.is_some() || kinds.is_some())
                        && self.filter.passing_kinds() != continued.kinds
                }
                Field::Assistant => {
                    let none_passes = self.filter.passing_assistants().is_some_and(<[_]>::is_empty);
                    (assistant.is_some() || assistants.is_some())
                        && (differs || requested.assistants != continued.assistants || none_passes)
                }
                Field::Sender | Field::Customer | Field::External | Field::AiOff => {
                    given.is_some() && differs
                }
            };
            if conflicts {
                return conflict(field.name());
            }
        }
        if requested.sort != continued.sort {
            return conflict("sort");
        }
        let [from, to] = match continued.sort {
            Sort::CreatedAt => ["created_from", "created_to"],
            Sort::LastActivity => ["active_from", "active_to"],
        };
        if requested.from.is_some() && requested.from != continued.from {
            return conflict(from);
        }
        if requested.to.is_some() && requested.to != continued.to {
            return conflict(to);
        }
        if self.order.is_some_and(|order| order != continued.order) {
            return conflict("order");
        }
        Ok(())
    }
}

/// A request with all values filled in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResolvedRequest {
    pub(crate) list: ListSpec,
    pub(crate) page_size: PageSize,
    pub(crate) direction: Direction,
    pub(crate) gap: SortKey,
    /// The gap is the beginning of the list, so no row precedes it and none needs to be looked up.
    pub(crate) at_front: bool,
    /// See [`PageCursor::behind`].
    pub(crate) behind: u8,
    /// The walk that the page is part of, if the list is sorted by last activity; `None` if the page
    /// begins one.
    pub(crate) walk: Option<Walk>,
    pub(crate) previews: bool,
}
