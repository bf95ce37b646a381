//! Volumes screen: counts and costs by period, as a chart and as the same table; a statement.

use askama::Template;
use convodb::{ChannelKind, Day, Period, Volume};

use crate::chart::{self, Bar, GridLine};
use crate::format::{change, count, exact_decimals, usd};
use crate::frame::{Frame, Screen};
use crate::list::{AssistantChoice, FieldMessage};
use crate::markup::kind_name;
use crate::query::Query;
use crate::text;

/// The most bars of a chart.
const MAX_BARS: usize = 400;
/// The most series of a chart; the rest is one more.
const MAX_SERIES: usize = 6;

/// What the bars measure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Measure {
    /// Conversations.
    #[default]
    Conversations,
    /// Messages.
    Messages,
    /// Cost.
    Cost,
}

impl Measure {
    /// All measures.
    pub const ALL: [Measure; 3] = [Measure::Conversations, Measure::Messages, Measure::Cost];

    /// The name in a URL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Measure::Conversations => "conversations",
            Measure::Messages => "messages",
            Measure::Cost => "cost",
        }
    }

    /// Returns the measure of this name, or the default.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Measure::ALL.into_iter().find(|measure| measure.as_str() == name).unwrap_or_default()
    }

    const fn label(self) -> &'static str {
        match self {
            Measure::Conversations => text::CONVERSATIONS,
            Measure::Messages => text::MESSAGES,
            Measure::Cost => text::COST,
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "the heights of bars need no more")]
    fn of(self, volume: &Volume) -> f64 {
        match self {
            Measure::Conversations => volume.conversations as f64,
            Measure::Messages => volume.messages as f64,
            Measure::Cost => volume.cost.nanos() as f64 / 1e9,
        }
    }

    #[allow(clippy::cast_possible_truncation, reason = "grid lines are small")]
    #[allow(clippy::cast_sign_loss, reason = "grid lines are positive")]
    fn axis(self, value: &f64) -> String {
        let value = *value;
        match self {
            Measure::Cost => usd((value * 1e9).round() as i128),
            Measure::Conversations | Measure::Messages if value.fract() != 0.0 => String::new(),
            Measure::Conversations | Measure::Messages => count(value as u64),
        }
    }

    fn shown(self, volume: &Volume) -> String {
        match self {
            Measure::Conversations => count(volume.conversations),
            Measure::Messages => count(volume.messages),
            Measure::Cost => usd(volume.cost.nanos()),
        }
    }
}

/// By what the bars are split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Split {
    /// By type.
    #[default]
    Type,
    /// By assistant.
    Assistant,
}

impl Split {
    /// The name in a URL, and in `group_by` of the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Split::Type => "type",
            Split::Assistant => "assistant",
        }
    }
}

/// The sums of one period and one part of it.
#[derive(Clone, Debug)]
pub struct Group {
    /// The first day of the period.
    pub period: Day,
    /// The type or the assistant's id, for links.
    pub key: String,
    /// Its name.
    pub name: String,
    /// The type, if the bars are split by type: it has its own colour.
    pub kind: Option<ChannelKind>,
    /// The sums.
    pub volume: Volume,
}

/// The sums of the shown period and of the one before, which is as long.
#[derive(Clone, Copy, Debug, Default)]
pub struct Comparison {
    /// The shown period.
    pub now: Volume,
    /// The period before, if it can be.
    pub before: Option<Volume>,
}

/// Counts and costs of a period.
#[derive(Clone, Debug, Template)]
#[template(path = "volumes.html")]
pub struct VolumesScreen {
    /// The surroundings.
    pub frame: Frame,
    /// The parameters of the URL.
    pub query: Query,
    /// The first day.
    pub from: Day,
    /// The last day.
    pub to: Day,
    /// The width of a bar.
    pub period: Period,
    /// By what the bars are split.
    pub split: Split,
    /// What the bars measure.
    pub measure: Measure,
    /// The sums, ordered by period.
    pub groups: Vec<Group>,
    /// The sums of all.
    pub comparison: Comparison,
    /// The account's assistants.
    pub assistants: Vec<AssistantChoice>,
    /// What is wrong with the parameters.
    pub errors: Vec<FieldMessage>,
}

/// A series of the chart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Series {
    key: String,
    name: String,
    /// The class of its colour.
    class: String,
}

/// A number at the top of the screen, and how it changed.
struct Figure {
    label: &'static str,
    value: String,
    change: String,
    /// `up`, `down` or `same`.
    trend: &'static str,
}

impl VolumesScreen {
    /// The series of the chart: those with the most first, in a fixed order for types.
    fn series(&self) -> Vec<Series> {
        let mut sums: Vec<(Series, f64)> = Vec::new();
        for group in &self.groups {
            let value = self.measure.of(&group.volume);
            match sums.iter_mut().find(|(series, _)| series.key == group.key) {
                Some((_, sum)) => *sum += value,
                None => {
                    let class = group.kind.map_or(String::new(), |kind| format!("kind-{kind}"));
                    let (key, name) = (group.key.clone(), group.name.clone());
                    sums.push((Series { key, name, class }, value));
                }
            }
        }
        sums.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.name.cmp(&other.0.name)));
        let mut series: Vec<Series> = sums.into_iter().map(|(series, _)| series).collect();
        for (at, series) in series.iter_mut().enumerate().filter(|(_, one)| one.class.is_empty()) {
            series.class = format!("series-{}", at.min(MAX_SERIES));
        }
        series
    }

    /// The first days of the bars, without gaps.
    fn periods(&self) -> Vec<Day> {
        let mut periods = Vec::new();
        let mut day = start(self.period, self.from);
        while day <= self.to && periods.len() <= MAX_BARS {
            periods.push(day);
            day = following(self.period, day);
        }
        periods
    }

    fn chart(&self) -> Option<(Vec<Bar>, Vec<GridLine>)> {
        let (periods, series) = (self.periods(), self.series());
        if periods.len() > MAX_BARS || self.groups.is_empty() {
            return None;
        }
        let bar = |day: &Day| {
            let groups: Vec<&Group> = self.groups.iter().filter(|one| one.period == *day).collect();
            let value = |series: &Series| {
                let found = groups.iter().find(|group| group.key == series.key);
                found.map_or(0.0, |group| self.measure.of(&group.volume))
            };
            let total = sum(groups.iter().map(|group| &group.volume));
            chart::Values {
                label: self.period_name(*day),
                url: self.list_url(*day, None),
                title: format!("{}: {}", self.period_name(*day), self.measure.shown(&total)),
                values: series.iter().map(value).collect(),
            }
        };
        Some(chart::stacked(periods.iter().map(bar).collect()))
    }

    /// The conversations of a period, as a list.
    fn list_url(&self, first: Day, group: Option<&Group>) -> String {
        let last = following(self.period, first).pred().unwrap_or(first).min(self.to);
        let mut query = Query::new([
            ("type", self.query.get("type").to_owned()),
            ("assistant_id", self.query.get("assistant_id").to_owned()),
            ("created_from", first.max(self.from).to_string()),
            ("created_to", last.to_string()),
        ]);
        if let Some(group) = group {
            let name = if self.split == Split::Type { "type" } else { "assistant_id" };
            query = query.with(name, &group.key);
        }
        self.frame.url(&format!("/conversations{}", query.suffix()))
    }

    fn period_name(&self, first: Day) -> String {
        let text = first.to_string();
        match self.period {
            Period::Day => text,
            Period::Week => format!("week of {text}"),
            Period::Month => text.get(..7).unwrap_or(&text).to_owned(),
        }
    }

    /// The rows of the table, and for each period its sum if it has several parts.
    fn table(&self) -> Vec<(Option<&Group>, String, String, Volume)> {
        let mut rows = Vec::new();
        for part in self.groups.chunk_by(|one, other| one.period == other.period) {
            for group in part {
                let period = self.period_name(group.period);
                rows.push((
                    Some(group),
                    period,
                    self.list_url(group.period, Some(group)),
                    group.volume,
                ));
            }
        }
        rows
    }

    fn figures(&self) -> Vec<Figure> {
        let Comparison { now, before } = self.comparison;
        let figure = |label, value: String, of: fn(&Volume) -> f64| {
            let percent = before.map(|before| change(of(&now), of(&before)));
            let (change, trend) = match percent {
                None | Some(None) => (text::NO_BASE.to_owned(), "same"),
                Some(Some(percent)) if percent.abs() < 0.05 => (text::UNCHANGED.to_owned(), "same"),
                Some(Some(percent)) => {
                    let trend = if percent > 0.0 { "up" } else { "down" };
                    (format!("{percent:+.1}% against {}", text::BEFORE), trend)
                }
            };
            Figure { label, value, change, trend }
        };
        vec![
            figure(text::CONVERSATIONS, count(now.conversations), |v| Measure::Conversations.of(v)),
            figure(text::MESSAGES, count(now.messages), |v| Measure::Messages.of(v)),
            figure(text::COST, usd(now.cost.nanos()), |v| Measure::Cost.of(v)),
            figure(text::COST_PER_CONVERSATION, per_conversation(&now), |v| {
                let conversations = Measure::Conversations.of(v);
                if conversations > 0.0 { Measure::Cost.of(v) / conversations } else { 0.0 }
            }),
        ]
    }

    fn csv_url(&self) -> String {
        self.frame.url(&format!("/volumes.csv{}", self.query.suffix()))
    }

    fn statement_url(&self) -> String {
        let kept = ["type", "assistant_id"].map(|name| (name, self.query.get(name).to_owned()));
        let days = [("from", self.from.to_string()), ("to", self.to.to_string())];
        let query = Query::new(days.into_iter().chain(kept));
        self.frame.url(&format!("/statement{}", query.suffix()))
    }

    fn error(&self) -> Option<&FieldMessage> {
        self.errors.first()
    }

    fn kinds(&self) -> [(ChannelKind, &'static str); 4] {
        ChannelKind::ALL.map(|kind| (kind, kind_name(kind)))
    }
}

/// A statement of a period, for print.
#[derive(Clone, Debug, Template)]
#[template(path = "statement.html")]
pub struct StatementScreen {
    /// The surroundings.
    pub frame: Frame,
    /// The first day.
    pub from: Day,
    /// The last day.
    pub to: Day,
    /// The parts: a name, and the sums.
    pub by_assistant: Vec<(String, Volume)>,
    /// By type, likewise.
    pub by_type: Vec<(String, Volume)>,
    /// The sums of all.
    pub total: Volume,
}

impl StatementScreen {
    fn parts(&self) -> [(&'static str, &[(String, Volume)]); 2] {
        [(text::ASSISTANT, &self.by_assistant), (text::TYPE, &self.by_type)]
    }

    /// The decimals of every cost, so that they stand below each other.
    fn decimals(&self) -> usize {
        let rows = self.by_assistant.iter().chain(&self.by_type);
        exact_decimals(rows.map(|(_, volume)| volume.cost.nanos()))
    }
}

fn sum<'v>(volumes: impl Iterator<Item = &'v Volume>) -> Volume {
    volumes.fold(Volume::default(), |sum, volume| Volume {
        conversations: sum.conversations + volume.conversations,
        messages: sum.messages + volume.messages,
        cost: convodb::CostSum::from_nanos(sum.cost.nanos() + volume.cost.nanos()),
    })
}

fn per_conversation(volume: &Volume) -> String {
    if volume.conversations == 0 {
        return usd(0);
    }
    usd(volume.cost.nanos() / i128::from(volume.conversations))
}

fn start(period: Period, day: Day) -> Day {
    match period {
        Period::Day => day,
        Period::Week => day.week_start(),
        Period::Month => day.month_start(),
    }
}

fn following(period: Period, first: Day) -> Day {
    match period {
        Period::Day => Day::new(first.get().saturating_add(1)),
        Period::Week => Day::new(first.get().saturating_add(7)).week_start(),
        Period::Month => first.next_month(),
    }
}
