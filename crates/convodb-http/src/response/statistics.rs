//! Statistics parameters: the days, and the grouping with its text form, `group_by`.

use convodb::{Day, Period, StatsRequest};

/// The parameters of the statistics.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct StatsParams {
    /// The first day, as given.
    pub(crate) from: Option<Day>,
    /// The last day, inclusive, as given.
    pub(crate) to: Option<Day>,
    pub(crate) request: StatsRequest,
}

/// A criterion to group by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grouping {
    Period(Period),
    Type,
    Assistant,
}

/// All criteria with their names.
const GROUPINGS: [(&str, Grouping); 5] = [
    ("day", Grouping::Period(Period::Day)),
    ("week", Grouping::Period(Period::Week)),
    ("month", Grouping::Period(Period::Month)),
    ("type", Grouping::Type),
    ("assistant", Grouping::Assistant),
];

/// Parses comma-separated names of criteria into `request`.
///
/// # Errors
/// The rule that the text breaks.
pub(crate) fn parse_group_by(text: &str, request: &mut StatsRequest) -> Result<(), &'static str> {
    const RULE: &str =
        "must be some of day, week, month, type and assistant, with commas between them";
    for name in text.split(',') {
        let found = GROUPINGS.iter().find(|(known, _)| *known == name);
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

/// Returns the names of the criteria that a request groups by.
pub(crate) fn group_names(request: &StatsRequest) -> impl Iterator<Item = &'static str> {
    let is_used = |grouping| match grouping {
        Grouping::Period(period) => request.period == Some(period),
        Grouping::Type => request.by_kind,
        Grouping::Assistant => request.by_assistant,
    };
    GROUPINGS.iter().filter(move |(_, grouping)| is_used(*grouping)).map(|(name, _)| *name)
}
