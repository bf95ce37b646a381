//! Statistics: volumes and costs over days, by type and assistant, from counters.
//!
//! Results are exact and read no conversation. Each request reads the coarsest counters that answer
//! it. One record has the counters of all types, and of all days of a week:
//!
//! | request | reads |
//! |---|---|
//! | without assistants | a step for each day |
//! | one assistant, or several | a B-tree lookup for each of them and each week, or month if not grouped by day or week |
//! | by assistant | a step for each assistant and week, or month if not grouped by day or week |
//!
//! Only days with conversations count: the scan seeks from record to record, so an empty range of
//! any length costs one B-tree lookup. In memory are the sums of the periods of one week or month,
//! and the finished rows.

use std::fmt;
use std::ops::ControlFlow;
use std::str::FromStr;

use uuid::Uuid;

use crate::encoding::counter::{Cell, Counter};
use crate::encoding::key::CounterKey;
use crate::encoding::time_bucket::{Granularity, TimeBucket};
use crate::error::{Error, Result};
use crate::model::channel::ChannelKind;
use crate::model::choice::{AssistantIds, ChannelKinds};
use crate::model::cost::CostSum;
use crate::model::id::{AssistantId, UserId};
use crate::model::timestamp::{Day, Timestamp};
use crate::query::filter::Filter;
use crate::tables::Tables;
use crate::tables::counters;
use crate::tables::schema::COUNTERS;

/// A statistics request: which conversations to count, over which days (UTC), in which groups.
///
/// If `to` is not after `from`, the result is empty.
///
/// ```
/// # use convodb::*;
/// # let store = Store::in_memory()?;
/// # let at: Timestamp = "2025-01-25".parse()?;
/// # let user = store.create_user("Acme", at)?.id;
/// # let bot = store.create_assistant(user, AssistantId::generate(at), "Bot")?.id;
/// # store.insert(user, Conversation::new(ConversationId::generate(at), bot, Channel::Widget, at), Vec::new())?;
/// let january = StatsRequest::new("2025-01-01".parse()?, "2025-02-01".parse()?);
/// let by_week = StatsRequest { period: Some(Period::Week), by_kind: true, ..january };
/// let stats = store.snapshot().stats(user, &by_week)?;
/// let row = &stats.rows[0];
/// assert_eq!(row.period.map(|day| day.to_string()).as_deref(), Some("2025-01-20"));
/// assert_eq!((row.kind, row.volume.conversations), (Some(ChannelKind::Widget), 1));
/// assert_eq!(stats.total, row.volume);
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct StatsRequest {
    /// The first day.
    pub from: Day,
    /// The day after the last day.
    pub to: Day,
    /// Counts only this type.
    pub kind: Option<ChannelKind>,
    /// Counts only this assistant.
    pub assistant: Option<AssistantId>,
    /// Counts only these types. If `kind` is set too, both apply.
    pub kinds: Option<ChannelKinds>,
    /// Counts only these assistants. If `assistant` is set too, both apply.
    pub assistants: Option<AssistantIds>,
    /// Groups by this period.
    pub period: Option<Period>,
    /// Groups by type.
    pub by_kind: bool,
    /// Groups by assistant.
    pub by_assistant: bool,
}

impl StatsRequest {
    /// All conversations created from the day `from` to before the day `to`, in one group.
    #[must_use]
    pub const fn new(from: Day, to: Day) -> Self {
        Self {
            from,
            to,
            kind: None,
            assistant: None,
            kinds: None,
            assistants: None,
            period: None,
            by_kind: false,
            by_assistant: false,
        }
    }

    /// The request with one assistant added; one that nothing matches if it names another one.
    pub(crate) fn restricted_to(&self, only: AssistantId) -> Self {
        let contradicts = self.assistant.is_some_and(|requested| requested != only);
        let to = if contradicts { Day::new(0) } else { self.to };
        Self { assistant: Some(only), to, ..self.clone() }
    }

    /// The filter of the conversations that count, without the days.
    pub(crate) fn filter(&self) -> Filter {
        Filter {
            kind: self.kind,
            assistant: self.assistant,
            kinds: self.kinds,
            assistants: self.assistants.clone(),
            ..Filter::default()
        }
    }
}

/// A calendar period by which days are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum Period {
    /// A single day.
    Day,
    /// A week, from Monday to Sunday; the first one begins on a Thursday, see [`Day::week_start`].
    Week,
    /// A calendar month.
    Month,
}

impl Period {
    /// All periods, the shortest first.
    pub const ALL: [Period; 3] = [Period::Day, Period::Week, Period::Month];

    /// The period's name in the API: `day`, `week` or `month`.
    ///
    /// ```
    /// use convodb::Period;
    /// assert_eq!("week".parse::<Period>()?, Period::Week);
    /// assert_eq!(Period::ALL.map(Period::as_str), ["day", "week", "month"]);
    /// # Ok::<(), convodb::Error>(())
    /// ```
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Period::Day => "day",
            Period::Week => "week",
            Period::Month => "month",
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Period {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Period::ALL
            .into_iter()
            .find(|period| period.as_str() == text)
            .ok_or(Error::Invalid { field: "period", reason: "must be one of day, week, month" })
    }
}

/// The result of a [`StatsRequest`].
///
/// ```
/// # let store = convodb::Store::in_memory()?;
/// # let user = convodb::UserId::new(1);
/// let all = convodb::StatsRequest::new("1970-01-01".parse()?, "2109-05-15".parse()?);
/// let total = store.snapshot().stats(user, &all)?.total;
/// println!("{} conversations for {} USD", total.conversations, total.cost);
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Stats {
    /// One row for each group with conversations, ordered by period, type and assistant.
    pub rows: Vec<StatsRow>,
    /// The sum of all groups.
    pub total: Volume,
}

/// One group of a [`Stats`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct StatsRow {
    /// The first day of the period; `None` if not grouped by period. It may be before
    /// [`StatsRequest::from`].
    pub period: Option<Day>,
    /// The type; `None` if not grouped by type.
    pub kind: Option<ChannelKind>,
    /// The assistant; `None` if not grouped by assistant.
    pub assistant: Option<AssistantId>,
    /// The sums of the group.
    pub volume: Volume,
}

/// Sums over conversations. All messages and costs of a conversation count on its day of creation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Volume {
    /// Number of conversations.
    pub conversations: u64,
    /// Number of their messages.
    pub messages: u64,
    /// Their total cost.
    pub cost: CostSum,
}

/// How far the reading of statistics is. See
/// [`Snapshot::stats_with_progress`](crate::Snapshot::stats_with_progress).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct StatsProgress {
    /// The number of groups so far.
    pub groups: usize,
    /// The number of records of counters read so far, and of B-tree lookups. One has all types, and
    /// up to a month.
    pub entries_read: u64,
}

/// The number of records between two calls of `proceed`: under 0.3 ms.
const ENTRIES_PER_CALL: u64 = 256;

/// Adds up the counters that answer a request. Calls `proceed` regularly; returns `None` if it
/// breaks.
pub(crate) fn read(
    tables: &Tables,
    user: UserId,
    request: &StatsRequest,
    proceed: impl FnMut(StatsProgress) -> ControlFlow<()>,
) -> Result<Option<Stats>> {
    let mut scan = Scan::new(tables, user, request, proceed);
    for span in spans(request).into_iter().flatten() {
        if scan.add(span)?.is_break() {
            return Ok(None);
        }
    }
    scan.sums.into_stats().map(Some)
}

/// The sum of a request without groups, and the number of records read, lookups included.
pub(crate) fn total(
    tables: &Tables,
    user: UserId,
    request: &StatsRequest,
) -> Result<(Volume, u64)> {
    let mut scan = Scan::new(tables, user, request, |_| ControlFlow::Continue(()));
    for span in spans(request).into_iter().flatten() {
        let ControlFlow::Continue(()) = scan.add(span)? else { break };
    }
    let entries_read = scan.entries_read;
    Ok((scan.sums.into_stats()?.total, entries_read))
}

/// Counters of one granularity in a range of days that is not empty. Weeks may begin before it and
/// end after it: their other days do not count.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    granularity: Granularity,
    from: Day,
    /// The day after the last day.
    to: Day,
}

impl Span {
    fn new(granularity: Granularity, from: Day, to: Day) -> Option<Self> {
        (from < to).then_some(Self { granularity, from, to })
    }

    /// The first and the last time bucket.
    pub(crate) fn buckets(self) -> (TimeBucket, TimeBucket) {
        (self.granularity.of(self.from), self.granularity.of(Day::new(self.to.get() - 1)))
    }

    /// Whether a counter of one of its buckets is of a day of the span.
    pub(crate) fn has(self, bucket: TimeBucket, cell: Cell) -> bool {
        let day = Day::new(bucket.start().get() + u32::from(cell.day()));
        self.granularity != Granularity::Week || (self.from <= day && day < self.to)
    }
}

/// The spans to add up, in the order of their days. Each conversation is counted in exactly one of
/// them.
pub(crate) fn spans(request: &StatsRequest) -> [Option<Span>; 3] {
    // No timestamp is on a later day.
    let end = request.to.min(Day::new(Timestamp::MAX.day().get() + 1));
    let from = request.from;
    let granularity = match request {
        StatsRequest { assistant: None, assistants: None, by_assistant: false, .. } => {
            Granularity::DayAllAssistants
        }
        StatsRequest { period: Some(Period::Day | Period::Week), .. } => Granularity::Week,
        _ => Granularity::Month,
    };
    if granularity == Granularity::Month {
        let first = from.month_start();
        let first = if first < from { first.next_month() } else { first };
        let last = end.month_start();
        if first < last {
            return [
                Span::new(Granularity::Week, from, first),
                Span::new(Granularity::Month, first, last),
                Span::new(Granularity::Week, last, end),
            ];
        }
        return [Span::new(Granularity::Week, from, end), None, None];
    }
    [Span::new(granularity, from, end), None, None]
}

/// A scan of the counters of a request.
struct Scan<'a, P> {
    tables: &'a Tables,
    user: UserId,
    /// The only assistants that count, in order; `None` if all do.
    assistants: Option<Vec<Uuid>>,
    sums: GroupSums<'a>,
    entries_read: u64,
    proceed: P,
}

impl<'a, P: FnMut(StatsProgress) -> ControlFlow<()>> Scan<'a, P> {
    fn new(tables: &'a Tables, user: UserId, request: &'a StatsRequest, proceed: P) -> Self {
        let filter = request.filter();
        let uuids = |ids: &[AssistantId]| ids.iter().map(|id| id.uuid()).collect();
        let assistants = filter.passing_assistants().map(uuids);
        let sums = GroupSums::new(request, filter.passing_kinds());
        Self { tables, user, assistants, sums, entries_read: 0, proceed }
    }

    /// Adds the counters of a span. Seeks over those of other assistants than the requested ones: of
    /// each bucket, at most one is read for each requested assistant, and one more.
    fn add(&mut self, span: Span) -> Result<ControlFlow<()>> {
        let (tables, user) = (self.tables, self.user);
        let (first, last) = span.buckets();
        let (start, last) = (CounterKey::first(user, first), CounterKey::last(user, last));
        let mut next = self.next_requested(start);
        while let Some(first) = next.take() {
            // The lookup counts as an entry.
            if self.count_entry().is_break() {
                return Ok(ControlFlow::Break(()));
            }
            for entry in tables.counters.table.range(first..=last)? {
                if self.count_entry().is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                let (key, record) = entry?;
                next = self.next_requested(key);
                if next.is_some_and(|next| next.assistant == key.assistant) {
                    next = None;
                    self.add_record(span, key, record.value())?;
                    continue;
                }
                break;
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Adds those counters of a record that are of a day of the span.
    fn add_record(&mut self, span: Span, key: CounterKey, record: &[u8]) -> Result<()> {
        self.sums.begin_record(span, key)?;
        for counter in counters::open(&key, record)?.cells() {
            let (cell, counter) = counter.map_err(|what| COUNTERS.corrupted(what))?;
            if span.has(key.bucket, cell) {
                self.sums.add(cell, &counter)?;
            }
        }
        Ok(())
    }

    /// The first key from `key` on that a requested assistant can have; `None` if there is none.
    fn next_requested(&self, key: CounterKey) -> Option<CounterKey> {
        let Some(assistants) = &self.assistants else { return Some(key) };
        let at = assistants.partition_point(|assistant| *assistant < key.assistant);
        match assistants.get(at) {
            Some(assistant) => Some(CounterKey { assistant: *assistant, ..key }),
            None => {
                let following = CounterKey::first(key.user, key.bucket.following());
                assistants
                    .first()
                    .map(|assistant| CounterKey { assistant: *assistant, ..following })
            }
        }
    }

    fn count_entry(&mut self) -> ControlFlow<()> {
        self.entries_read += 1;
        if !self.entries_read.is_multiple_of(ENTRIES_PER_CALL) {
            return ControlFlow::Continue(());
        }
        (self.proceed)(StatsProgress { groups: self.sums.groups, entries_read: self.entries_read })
    }
}

/// The running sums of a request.
///
/// Records arrive in the order of their time buckets, so the sums of a period are complete when a
/// bucket begins that is after it. Within a bucket they arrive in the order of assistants: the place
/// of a sum is mostly beside that of the previous record, and no map is needed.
pub(crate) struct GroupSums<'a> {
    request: &'a StatsRequest,
    /// The types that count.
    kinds: ChannelKinds,
    /// The span and bucket of the current record, and the periods of the bucket's days as their
    /// places in `open`.
    bucket: Option<(Day, TimeBucket)>,
    periods: [usize; DAYS_OF_WEEK],
    /// The assistant of the current record, or nil if not grouped by assistant.
    assistant: Uuid,
    /// The place in `open` of the period of the record's last counter, if it has been one.
    last: Option<usize>,
    /// The periods that later records may belong to, in order: at most the days of a week.
    open: Vec<PeriodSums>,
    /// The rows of earlier periods.
    rows: Vec<StatsRow>,
    /// The number of groups: of rows, and of sums that become rows.
    groups: usize,
    total: Counter,
}

const DAYS_OF_WEEK: usize = 7;

/// The sums of each type; only the first one is used if not grouped by type.
type KindSums = [Counter; ChannelKind::ALL.len()];

/// The sums of one period.
struct PeriodSums {
    /// The first day of the period, if grouped by period.
    start: Option<Day>,
    /// The sums of each assistant, in order; one entry if not grouped by assistant.
    sums: Vec<(Uuid, KindSums)>,
    /// The place of the assistant whose counters are added.
    at: usize,
}

impl PeriodSums {
    /// Moves to the sums of an assistant.
    fn seek(&mut self, assistant: Uuid) {
        let is_at = |at: usize| self.sums.get(at).is_some_and(|(other, _)| *other == assistant);
        self.at = match [self.at, self.at + 1].into_iter().find(|at| is_at(*at)) {
            Some(at) => at,
            None => match self.sums.binary_search_by_key(&assistant, |(other, _)| *other) {
                Ok(at) => at,
                Err(at) => {
                    self.sums.insert(at, (assistant, KindSums::default()));
                    at
                }
            },
        };
    }
}

impl<'a> GroupSums<'a> {
    pub(crate) const fn new(request: &'a StatsRequest, kinds: ChannelKinds) -> Self {
        Self {
            request,
            kinds,
            bucket: None,
            periods: [0; DAYS_OF_WEEK],
            assistant: Uuid::nil(),
            last: None,
            open: Vec::new(),
            rows: Vec::new(),
            groups: 0,
            total: Counter { conversations: 0, messages: 0, cost_nanos: 0 },
        }
    }

    /// Begins a record of a span, whose counters follow.
    pub(crate) fn begin_record(&mut self, span: Span, key: CounterKey) -> Result<()> {
        self.assistant = if self.request.by_assistant { key.assistant } else { Uuid::nil() };
        self.last = None;
        if self.bucket == Some((span.from, key.bucket)) {
            return Ok(());
        }
        self.bucket = Some((span.from, key.bucket));
        let start = key.bucket.start();
        let first = self.period_of(start.max(span.from));
        let complete = self.open.partition_point(|period| period.start < first);
        self.finish(complete)?;
        for (day, days) in (0..DAYS_OF_WEEK).zip(0..) {
            let days = if span.granularity == Granularity::Week { days } else { 0 };
            let period = self.period_of(Day::new(start.get() + days).max(span.from));
            let at = self.open.partition_point(|open| open.start < period);
            if self.open.get(at).is_none_or(|open| open.start != period) {
                self.open.insert(at, PeriodSums { start: period, sums: Vec::new(), at: 0 });
            }
            self.periods[day] = at;
        }
        for period in &mut self.open {
            period.at = 0;
        }
        Ok(())
    }

    fn period_of(&self, day: Day) -> Option<Day> {
        self.request.period.map(|period| period.start(day))
    }

    /// Adds a counter of the current record to its group, unless it is of another type than requested.
    pub(crate) fn add(&mut self, cell: Cell, counter: &Counter) -> Result<()> {
        let damaged = |what| COUNTERS.corrupted(what);
        let kind = cell.kind().ok_or_else(|| damaged("a counter has no known type"))?;
        if !self.kinds.contains(kind) {
            return Ok(());
        }
        let at = self.periods[usize::from(cell.day())];
        let period = &mut self.open[at];
        if self.last != Some(at) {
            period.seek(self.assistant);
            self.last = Some(at);
        }
        let sums = &mut period.sums[period.at].1;
        let sum = &mut sums[if self.request.by_kind { kind as usize } else { 0 }];
        self.groups += usize::from(sum.conversations == 0);
        sum.add(counter).ok_or_else(|| damaged("a sum leaves its range"))
    }

    /// Moves the sums of the first `periods` periods into rows and the total.
    fn finish(&mut self, periods: usize) -> Result<()> {
        let request = self.request;
        let out_of_range = || COUNTERS.corrupted("a sum leaves its range");
        let kinds = if request.by_kind { &ChannelKind::ALL[..] } else { &ChannelKind::ALL[..1] };
        for period in self.open.drain(..periods) {
            for (at, kind) in kinds.iter().enumerate() {
                for (assistant, sums) in
                    period.sums.iter().filter(|(_, sums)| sums[at].conversations != 0)
                {
                    self.total.add(&sums[at]).ok_or_else(out_of_range)?;
                    self.rows.push(StatsRow {
                        period: period.start,
                        kind: request.by_kind.then_some(*kind),
                        assistant: request.by_assistant.then_some(AssistantId::new(*assistant)),
                        volume: Volume::of(&sums[at])?,
                    });
                }
            }
        }
        Ok(())
    }

    pub(crate) fn into_stats(mut self) -> Result<Stats> {
        self.finish(self.open.len())?;
        Ok(Stats { rows: self.rows, total: Volume::of(&self.total)? })
    }
}

impl Period {
    /// The first day of the period that contains `day`.
    fn start(self, day: Day) -> Day {
        match self {
            Period::Day => day,
            Period::Week => day.week_start(),
            Period::Month => day.month_start(),
        }
    }
}

impl Volume {
    fn of(sum: &Counter) -> Result<Self> {
        let count = |n: i64| {
            let what = "a counter is negative";
            u64::try_from(n).map_err(|_| COUNTERS.corrupted(what))
        };
        Ok(Self {
            conversations: count(sum.conversations)?,
            messages: count(sum.messages)?,
            cost: CostSum::from_nanos(sum.cost_nanos),
        })
    }
}

#[cfg(test)]
mod tests;
