//! Statistics: volumes and costs over days, by type and assistant, from counters.
//!
//! Results are exact and read no conversation. Each request reads the coarsest counters that answer
//! it:
//!
//! | request | reads, for each of the 4 types |
//! |---|---|
//! | without assistants | a step for each day |
//! | one assistant | a B-tree lookup for each day, or month if not grouped by day or week |
//! | by assistant | a step for each assistant and day, or month if not grouped by day or week |

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

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
            period: None,
            by_kind: false,
            by_assistant: false,
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

type Group = (Option<Day>, Option<ChannelKind>, Option<AssistantId>);

/// Adds up the counters that answer a request.
pub(crate) fn read(tables: &Tables, user: UserId, request: &StatsRequest) -> Result<Stats> {
    let mut sums = GroupSums { request, groups: BTreeMap::new(), total: CounterV1::default() };
    for range in ranges(user, request) {
        for entry in tables.counters.table.range(range)? {
            let (key, record) = entry?;
            sums.add(key, &counters::decode(key, record.value())?)?;
        }
    }
    let rows = sums.groups.into_iter().map(|((period, kind, assistant), sum)| {
        Ok(StatsRow { period, kind, assistant, volume: Volume::of(&sum)? })
    });
    Ok(Stats { rows: rows.collect::<Result<_>>()?, total: Volume::of(&sums.total)? })
}

/// The ranges of counters to add up. Each conversation is counted in exactly one of them.
fn ranges(user: UserId, request: &StatsRequest) -> Vec<RangeInclusive<CounterKey>> {
    // No timestamp is on a later day.
    let end = request.to.min(Day::new(Timestamp::MAX.day().get() + 1));
    let spans = match request {
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
    for (granularity, from, to) in spans {
        match request.assistant {
            Some(assistant) => {
                let assistant = counters::assistant_of(granularity, assistant.uuid());
                let mut start = from;
                while start < to {
                    let key =
                        CounterKey { assistant, ..CounterKey::first(user, granularity.of(start)) };
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
                    CounterKey::first(user, granularity.of(from))
                        ..=CounterKey::last(user, granularity.of(last)),
                );
            }
            None => {}
        }
    }
    ranges
}

/// The running sums of a request.
struct GroupSums<'a> {
    request: &'a StatsRequest,
    groups: BTreeMap<Group, CounterV1>,
    total: CounterV1,
}

impl GroupSums<'_> {
    /// Adds a counter to its group and to the total, unless it is of another type than requested.
    fn add(&mut self, key: CounterKey, counter: &CounterV1) -> Result<()> {
        let damaged = |what| COUNTERS.corrupted(what);
        let kind = kind_of_number(key.kind);
        let kind = kind.ok_or_else(|| damaged("a counter has no known type"))?;
        let request = self.request;
        if request.kind.is_some_and(|requested| requested != kind) {
            return Ok(());
        }
        let group = (
            request.period.map(|period| period.start(key.bucket.start())),
            request.by_kind.then_some(kind),
            request.by_assistant.then_some(AssistantId::new(key.assistant)),
        );
        let sum = self.groups.entry(group).or_default().add(counter, 1);
        let total = self.total.add(counter, 1);
        sum.and(total).ok_or_else(|| damaged("a sum leaves its range"))
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
    fn of(sum: &CounterV1) -> Result<Self> {
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
