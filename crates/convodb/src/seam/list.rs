//! Lists: the ranges that a request reads, and the page of the rows that were read.

use std::borrow::Cow;

use crate::encoding::index_term::{Field, Fingerprint, Fingerprints, Shape};
use crate::encoding::key::kind_number;
use crate::encoding::row::RowBuffer;
use crate::error::{Error, Result};
use crate::kv::gap::ScanDirection;
use crate::model::channel::ChannelKind;
use crate::model::conversation::ConversationRef;
use crate::model::id::{AssistantId, UserId};
use crate::model::position::{Position, SortKey};
use crate::model::timestamp::Timestamp;
use crate::query::list_spec::{ListSpec, Sort};
use crate::query::page::{Found, Page};
use crate::query::plan::plan;
use crate::query::recheck::Recheck;
use crate::query::request::{ListRequest, ResolvedRequest};
use crate::query::scan::{ScanEdges, ScanRange};
use crate::seam::corrupted;
use crate::seam::keys::Keys;
use crate::tables::families::Families;

/// The ranges that a list request reads, and in which direction.
#[derive(Debug)]
pub struct ListPlan<'r> {
    user: UserId,
    resolved: ResolvedRequest,
    request: Cow<'r, ListRequest>,
    scan: ScanRange,
    ranges: Vec<(Fingerprints, RangeTerms)>,
}

/// The terms that all rows of a range have: those of the fields of its index. The same fields for
/// each range of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RangeTerms {
    /// The number of the type.
    pub kind: Option<u8>,
    /// The fingerprint of the assistant's id.
    pub assistant: Option<u64>,
    /// The fingerprint of the sender's phone.
    pub sender: Option<u64>,
    /// The fingerprint of the customer's phone.
    pub customer: Option<u64>,
    /// The fingerprint of the external identifier.
    pub external: Option<u64>,
}

impl Keys {
    /// Resolves the request of a user with its cursor, and plans it; restricted to one assistant as
    /// by [`Snapshot::restricted_to`](crate::Snapshot::restricted_to). Reads nothing.
    ///
    /// # Errors
    /// Those of misuse of [`Snapshot::list`](crate::Snapshot::list);
    /// [`Error::Invalid`](crate::Error::Invalid) for a list by last activity, which needs an index
    /// that moves, and for previews.
    pub fn plan<'r>(
        &self,
        user: UserId,
        request: &'r ListRequest,
        restriction: Option<AssistantId>,
    ) -> Result<ListPlan<'r>> {
        let request = match restriction {
            None => Cow::Borrowed(request),
            Some(only) => Cow::Owned(request.restricted_to(only)),
        };
        let resolved = request.resolve(user, &self.fingerprinter)?;
        let (list, scan) = (&resolved.list, resolved.range());
        if list.sort != Sort::CreatedAt {
            let reason = "must be created_at: this store has no index by last activity";
            return Err(Error::Invalid { field: "sort", reason });
        }
        if request.previews {
            let reason = "must be left out: this store reads no previews";
            return Err(Error::Invalid { field: "preview", reason });
        }
        // Another store has none of the optional indexes.
        let shape = plan(list, &Families::default())?.filter(|_| !scan.span.is_empty());
        let ranges = shape.map_or_else(Vec::new, |shape| list.ranges(shape, &self.fingerprinter));
        let ranges = ranges.into_iter().map(|range| {
            let terms = self.range_terms(shape.unwrap_or_default(), &range);
            (range, terms)
        });
        let ranges = ranges.collect();
        Ok(ListPlan { user, resolved, request, scan, ranges })
    }

    fn range_terms(&self, shape: Shape, range: &Fingerprints) -> RangeTerms {
        let of = |field| if shape.has(field) { range.get(field) } else { None };
        let bits = |field| of(field).map(Fingerprint::bits);
        let kind = of(Field::Kind).and_then(|fingerprint| {
            let is_kind = |kind: &ChannelKind| self.fingerprinter.kind(*kind) == fingerprint;
            ChannelKind::ALL.into_iter().find(is_kind).map(kind_number)
        });
        RangeTerms {
            kind,
            assistant: bits(Field::Assistant),
            sender: bits(Field::Sender),
            customer: bits(Field::Customer),
            external: bits(Field::External),
        }
    }
}

impl<'r> ListPlan<'r> {
    /// The ranges; none if no conversation can match.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = &RangeTerms> {
        self.ranges.iter().map(|(_, terms)| terms)
    }

    /// The maximum number of rows of the page.
    #[must_use]
    pub const fn page_size(&self) -> usize {
        self.resolved.page_size.get()
    }

    /// Whether the scan is in ascending order of positions.
    #[must_use]
    pub fn is_ascending(&self) -> bool {
        self.scan.direction == ScanDirection::Ascending
    }

    /// Whether to look for a row on the other side of the gap.
    #[must_use]
    pub const fn looks_behind(&self) -> bool {
        self.scan.look_before
    }

    /// The boundary where the scan begins, within the span: the rows above it in ascending order are
    /// those at this position and later, and in descending order those at earlier ones.
    #[must_use]
    pub fn gap(&self) -> u64 {
        self.scan.gap.clamp(self.scan.span.start, self.scan.span.end).position().bits()
    }

    /// The positions of the list: from the first number to before the second.
    #[must_use]
    pub const fn span(&self) -> (u64, u64) {
        (self.scan.span.start.position().bits(), self.scan.span.end.position().bits())
    }

    pub(super) const fn list(&self) -> &ListSpec {
        &self.resolved.list
    }

    /// The rows of the page, none so far.
    pub fn rows<'p>(&'p self, keys: &'p Keys) -> PageRows<'p> {
        let fingerprinter = &keys.fingerprinter;
        let recheck = |(range, _): &(Fingerprints, _)| {
            Recheck::new(*range, &self.request.filter, fingerprinter)
        };
        PageRows {
            user: self.user,
            resolved: &self.resolved,
            scan: &self.scan,
            rechecks: self.ranges.iter().map(recheck).collect(),
            rows: RowBuffer::default(),
            last: None,
            found: None,
        }
    }
}

/// The creation time of the conversation at a position.
#[must_use]
pub fn created_at(position: u64) -> Timestamp {
    Position::from_bits(position).created_at()
}

/// The rows of a page, in the order of the scan.
pub struct PageRows<'p> {
    user: UserId,
    resolved: &'p ResolvedRequest,
    scan: &'p ScanRange,
    rechecks: Vec<Recheck<'p>>,
    rows: RowBuffer,
    /// The sort key of the row that was passed last.
    last: Option<SortKey>,
    found: Option<Found>,
}

impl PageRows<'_> {
    /// The number of rows.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row so far.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows.len() == 0
    }

    /// Appends the next row of a range, unless it is of another list whose terms are the same.
    /// Returns whether it belongs to the list.
    ///
    /// # Errors
    /// [`Error::Corrupted`](crate::Error::Corrupted) if the row is not after the one before it, is
    /// outside the bounds or cannot be a row.
    pub fn push(
        &mut self,
        range: usize,
        position: u64,
        conversation: &ConversationRef<'_>,
    ) -> Result<bool> {
        let damaged = |what| corrupted("conversation", what);
        let position = Position::from_bits(position);
        let key = SortKey::of_position(position);
        let is_after = |last: &SortKey| self.scan.direction.order(last, &key).is_lt();
        if !self.scan.span.contains(&key) || !self.last.as_ref().is_none_or(is_after) {
            return Err(damaged("a row is not at its place in the list"));
        }
        self.last = Some(key);
        let recheck = self.rechecks.get_mut(range);
        let recheck = recheck.ok_or_else(|| damaged("a row is of no range of the list"))?;
        if !recheck.matches(conversation) {
            return Ok(false);
        }
        self.rows.push_conversation(position, conversation).map_err(damaged)?;
        let range = u8::try_from(range).unwrap_or_default();
        let first = self.found.map_or(range, |found| found.first);
        self.found = Some(Found { first, last: range, ..Found::default() });
        Ok(true)
    }

    /// The page. `before` and `after` are whether the list has rows on the other side of the gap and
    /// beyond the last row of the scan, which read this number of entries.
    #[must_use]
    pub fn into_page(self, before: bool, after: bool, entries: usize) -> Page {
        let edges = ScanEdges { before, after, entries };
        let found = Found { edges, ..self.found.unwrap_or_default() };
        Page::of_rows(self.user, self.resolved, self.rows, self.rechecks.len(), found)
    }
}

impl std::fmt::Debug for PageRows<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PageRows").field("len", &self.len()).finish_non_exhaustive()
    }
}
