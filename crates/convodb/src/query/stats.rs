//! Volumes and costs over days, by type and assistant, from counters: exact, and without reading a
//! conversation. The coarsest counters that tell what is asked are read:
//!
//! | asked | reads, for each of the 4 types |
//! |---|---|
//! | nothing of assistants | a step a day |
//! | one assistant | a descent a day, or a month where days are not told apart |
//! | by assistant | a step for each assistant and day, or month where days are not told apart |

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::encoding::key::{CounterKey, kind_of_number};
use crate::encoding::record::CounterV1;
use crate::encoding::time_bucket::Granularity;
use crate::error::{Error, Result};
use crate::model::channel::ChannelKind;
use crate::model::cost::CostSum;
use crate::model::id::{AssistantId, UserId};
use crate::model::timestamp::{Day, Timestamp};
use crate::tables::Tables;
use crate::tables::counters;
use crate::tables::schema::names;

/// What to count, over which days, in which groups.
///
/// ```
/// # use convodb::*;
/// # let store = Store::in_memory()?;
/// # let at: Timestamp = "2025-01-25".parse()?;
/// # let user = store.create_user("Acme".parse()?, at)?.id;
/// # let bot = store.create_assistant(user, AssistantId::generate(at), "Bot".parse()?)?.id;
/// # store.insert(user, Conversation::new(ConversationId::generate(at), bot, Channel::Widget, at))?;
/// let january = StatsRequest::new("2025-01-01".parse()?, "2025-02-01".parse()?);
/// let by_week = StatsRequest { period: Some(Period::Week), by_kind: true, ..january };
/// let report = store.snapshot().stats(user, &by_week)?;
/// let row = &report.rows[0];
/// assert_eq!(row.period.map(|day| day.to_string()).as_deref(), Some("2025-01-20"));
/// assert_eq!((row.kind, row.volume.conversations), (Some(ChannelKind::Widget), 1));
/// assert_eq!(report.total, row.volume);
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatsRequest {
    /// The first day.
    pub from: Day,
    /// The day after the last.
    pub to: Day,
    /// Only this type.
    pub kind: Option<ChannelKind>,
    /// Only this assistant.
    pub assistant: Option<AssistantId>,
    /// A group for each such period.
    pub period: Option<Period>,
    /// A group for each type.
    pub by_kind: bool,
    /// A group for each assistant.
    pub by_assistant: bool,
}

impl StatsRequest {
    /// All conversations begun from the day `from` to before the day `to`, in one group.
    #[must_use]
    pub const fn new(from: Day, to: Day) -> Self {
        Self {
            from,
            to,
            kind: None,
            assistant: None,
            period: None,
            by_kind: false,
            by_assistant: false,
        }
    }
}

/// A length of time that groups days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Period {
    /// Each day by itself.
    Day,
    /// From Monday to Sunday.
    Week,
    /// The calendar month.
    Month,
}

/// The answer to a [`StatsRequest`].
///
/// ```
/// # let store = convodb::Store::in_memory()?;
/// # let user = convodb::UserId::new(1);
/// let all = convodb::StatsRequest::new("1970-01-01".parse()?, "2109-05-15".parse()?);
/// let report = store.snapshot().stats(user, &all)?;
/// println!("{} conversations for {} USD", report.total.conversations, report.total.cost);
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// A row for each group that has conversations, in the order period, type, assistant.
    pub rows: Vec<StatsRow>,
    /// All groups together.
    pub total: Volume,
}

/// One group of a [`Stats`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatsRow {
    /// The first day of the period, where periods are asked for.
    pub period: Option<Day>,
    /// The type, where types are asked for.
    pub kind: Option<ChannelKind>,
    /// The assistant, where assistants are asked for.
    pub assistant: Option<AssistantId>,
    /// What the group comes to.
    pub volume: Volume,
}

/// How much of what: conversations by their day of creation, with all their messages and cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Conversations.
    pub conversations: u64,
    /// Messages.
    pub messages: u64,
    /// Cost.
    pub cost: CostSum,
}

type Group = (Option<Day>, Option<ChannelKind>, Option<AssistantId>);

pub(crate) fn read(tables: &Tables, owner: UserId, request: &StatsRequest) -> Result<Stats> {
    let mut sums = CounterDeltas { request, groups: BTreeMap::new(), total: CounterV1::default() };
    for range in ranges(owner, request) {
        for entry in tables.counters.range(range)? {
            let (key, record) = entry?;
            sums.add(key, &counters::decode(key, record.value())?)?;
        }
    }
    let rows = sums.groups.into_iter().map(|((period, kind, assistant), counted)| {
        Ok(StatsRow { period, kind, assistant, volume: Volume::of(&counted)? })
    });
    Ok(Stats { rows: rows.collect::<Result<_>>()?, total: Volume::of(&sums.total)? })
}

/// The ranges of counters that a report adds up: each conversation is counted in exactly one of them.
fn ranges(owner: UserId, request: &StatsRequest) -> Vec<RangeInclusive<CounterKey>> {
    // No instant is on a later day.
    let end = request.to.min(Day::new(Timestamp::MAX.day().get() + 1));
    let stretches = match request {
        StatsRequest { assistant: None, by_assistant: false, .. } => {
            vec![(Granularity::DayAllAssistants, request.from, end)]
        }
        StatsRequest { period: Some(Period::Day | Period::Week), .. } => {
            vec![(Granularity::Day, request.from, end)]
        }
        _ => {
            let first = request.from.month_start();
            let first = if first < request.from { first.next_month() } else { first };
            let last = end.month_start();
            if first < last {
                vec![
                    (Granularity::Day, request.from, first),
                    (Granularity::Month, first, last),
                    (Granularity::Day, last, end),
                ]
            } else {
                vec![(Granularity::Day, request.from, end)]
            }
        }
    };
    let mut ranges = Vec::new();
    for (granularity, from, to) in stretches {
        match request.assistant {
            Some(assistant) => {
                let assistant = counters::assistant_of(granularity, assistant.uuid());
                let mut start = from;
                while start < to {
                    let key =
                        CounterKey { assistant, ..CounterKey::first(owner, granularity.of(start)) };
                    ranges.push(key..=CounterKey { kind: u32::MAX, ..key });
                    start = match granularity {
                        Granularity::Month => start.next_month(),
                        Granularity::Day | Granularity::DayAllAssistants => {
                            Day::new(start.get() + 1)
                        }
                    };
                }
            }
            None if from < to => {
                let last = Day::new(to.get() - 1);
                ranges.push(
                    CounterKey::first(owner, granularity.of(from))
                        ..=CounterKey::last(owner, granularity.of(last)),
                );
            }
            None => {}
        }
    }
    ranges
}

/// A report being added up.
struct CounterDeltas<'a> {
    request: &'a StatsRequest,
    groups: BTreeMap<Group, CounterV1>,
    total: CounterV1,
}

impl CounterDeltas<'_> {
    fn add(&mut self, key: CounterKey, counted: &CounterV1) -> Result<()> {
        let damaged = |what| Error::Corrupted { table: names::COUNTERS, what };
        let kind = kind_of_number(key.kind);
        let kind = kind.ok_or_else(|| damaged("a counter has no known type"))?;
        let request = self.request;
        if request.kind.is_some_and(|asked| asked != kind) {
            return Ok(());
        }
        let group = (
            request.period.map(|period| period.start(key.bucket.start())),
            request.by_kind.then_some(kind),
            request.by_assistant.then_some(AssistantId::new(key.assistant)),
        );
        let sum = self.groups.entry(group).or_default().add(counted, 1);
        let total = self.total.add(counted, 1);
        sum.and(total).ok_or_else(|| damaged("a sum leaves its range"))
    }
}

impl Period {
    fn start(self, day: Day) -> Day {
        match self {
            Period::Day => day,
            Period::Week => day.week_start(),
            Period::Month => day.month_start(),
        }
    }
}

impl Volume {
    fn of(counted: &CounterV1) -> Result<Self> {
        let count = |n: i64| {
            let what = "a counter is negative";
            u64::try_from(n).map_err(|_| Error::Corrupted { table: names::COUNTERS, what })
        };
        Ok(Self {
            conversations: count(counted.conversations)?,
            messages: count(counted.messages)?,
            cost: CostSum::from_nanos(counted.cost_nanos),
        })
    }
}
