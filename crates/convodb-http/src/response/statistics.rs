//! Statistics as clients ask for them: over which days, and by what they are grouped.

use convodb::{Day, Period, ReportRequest};

/// Statistics that are asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct StatsParams {
    /// The first day and the last, as they were given.
    pub(crate) from: Option<Day>,
    pub(crate) to: Option<Day>,
    pub(crate) request: ReportRequest,
}

impl StatsParams {
    /// Whether it may take many counters to answer.
    pub(crate) fn is_long(&self) -> bool {
        self.request.by_assistant || self.request.assistant.is_some()
    }
}

/// Something to group by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grouping {
    Period(Period),
    Type,
    Assistant,
}

/// Each with its name.
const NAMED: [(&str, Grouping); 5] = [
    ("day", Grouping::Period(Period::Day)),
    ("week", Grouping::Period(Period::Week)),
    ("month", Grouping::Period(Period::Month)),
    ("type", Grouping::Type),
    ("assistant", Grouping::Assistant),
];

/// What to group by, from its names with commas between them.
///
/// # Errors
/// The rule that is broken.
pub(crate) fn group_by(text: &str, request: &mut ReportRequest) -> Result<(), &'static str> {
    const RULE: &str =
        "must be some of day, week, month, type and assistant, with commas between them";
    for name in text.split(',') {
        let found = NAMED.iter().find(|(known, _)| *known == name);
        match found.map(|(_, grouping)| *grouping).ok_or(RULE)? {
            Grouping::Period(period) if request.period.is_none() => {
                request.period = Some(period);
            }
            Grouping::Period(_) => return Err("must have at most one of day, week and month"),
            Grouping::Type => request.by_kind = true,
            Grouping::Assistant => request.by_assistant = true,
        }
    }
    Ok(())
}

/// The names of what a request groups by.
pub(crate) fn groups(request: &ReportRequest) -> impl Iterator<Item = &'static str> {
    let asked = |grouping| match grouping {
        Grouping::Period(period) => request.period == Some(period),
        Grouping::Type => request.by_kind,
        Grouping::Assistant => request.by_assistant,
    };
    NAMED.iter().filter(move |(_, grouping)| asked(*grouping)).map(|(name, _)| *name)
}
