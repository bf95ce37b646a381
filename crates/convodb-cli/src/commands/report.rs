//! `convodb report`: volumes and costs over days, grouped by period, type and assistant.
//!
//! Exact, and read from counters: no conversation is read.

use std::io::Write;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use clap::builder::BoolishValueParser;
use convodb::{Day, Period, StatsRequest, StatsRow, Volume};
use convodb_json::AssistantNames;
use convodb_json::csv::{Formulas, cost_text};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::args::{DbFlag, GroupFilterFlags, JsonFlag, UsageError, UserFlag};
use crate::console::grouped;
use crate::io::text_table::{Align, Column, Fit, TextTable};
use crate::open_store::{SMALL_CACHE_BYTES, WhileServed, existing};
use crate::resolve;

/// Report the number of conversations and messages and their cost
///
/// Counts conversations by their day of creation (UTC), with all their messages and cost in USD.
/// Groups without conversations are left out. Prints a table with a total, JSON lines with --json,
/// or CSV with --csv.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: convodb report --db chats.convodb --user acme --group-by month,type \
                  --from 2025-01-01"
)]
pub(crate) struct Args {
    #[command(flatten)]
    db: DbFlag,
    #[command(flatten)]
    user: UserFlag,
    /// Groups, separated by commas: at most one of day, week (from Monday) and month; type;
    /// assistant
    #[arg(long, env = "CONVODB_GROUP_BY", value_name = "GROUPS", value_delimiter = ',')]
    group_by: Vec<Grouping>,
    #[command(flatten)]
    filters: GroupFilterFlags,
    /// Only conversations created on this day or later, as in 2025-01-25
    #[arg(long, env = "CONVODB_REPORT_FROM", value_name = "DAY", value_parser = parse_day)]
    from: Option<Day>,
    /// Only conversations created on this day or earlier
    #[arg(long, env = "CONVODB_REPORT_TO", value_name = "DAY", value_parser = parse_day)]
    to: Option<Day>,
    #[command(flatten)]
    json: JsonFlag,
    /// Print CSV on standard output
    #[arg(long, env = "CONVODB_CSV", value_parser = BoolishValueParser::new(), conflicts_with = "json")]
    csv: bool,
    /// In CSV, begin a name with an apostrophe if a spreadsheet could take it for a formula
    #[arg(long, env = "CONVODB_CSV_SAFE", value_parser = BoolishValueParser::new())]
    csv_safe: bool,
}

/// Something to group by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Grouping {
    Day,
    Week,
    Month,
    Type,
    Assistant,
}

/// A group as JSON, with the keys of the API.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    period: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    assistant_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    assistant_name: Option<&'a str>,
    conversations: u64,
    messages: u64,
    /// Exact decimal digits, which a float would round.
    total_cost: Box<RawValue>,
}

/// A group with the name of its assistant.
struct Group {
    row: StatsRow,
    assistant_name: Option<String>,
}

/// Prints the report.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    let db = &args.db.db;
    let grouped_by = request(args)?;
    let served = WhileServed::Request("GET /api/user/conversations/stats");
    let store = existing(db, SMALL_CACHE_BYTES, served)?;
    let snapshot = store.snapshot();
    let user = resolve::user(&snapshot, &args.user.user, db)?;
    let (kinds, assistants) = resolve::groups(&snapshot, user, &args.filters)?;
    let request = StatsRequest { kinds, assistants, ..grouped_by };
    let stats = snapshot.stats(user, &request).context("cannot read the counters")?;
    let mut names = AssistantNames::new(snapshot, user);
    let mut groups = Vec::with_capacity(stats.rows.len());
    for row in stats.rows {
        let name = row.assistant.map(|id| names.name(id).map(str::to_owned)).transpose()?;
        groups.push(Group { row, assistant_name: name });
    }
    if groups.is_empty() && args.group_by.is_empty() {
        let row = StatsRow { period: None, kind: None, assistant: None, volume: stats.total };
        groups.push(Group { row, assistant_name: None });
    }
    store.close()?;
    let formulas = if args.csv_safe { Formulas::Defused } else { Formulas::Kept };
    match (args.json.json, args.csv) {
        (true, _) => write_json(&groups, out),
        (_, true) => write_csv(&request, &groups, formulas, out),
        _ => write_table(&request, &groups, &stats.total, out),
    }
}

/// The request of the flags, without types and assistants.
fn request(args: &Args) -> Result<StatsRequest> {
    if let (Some(from), Some(to)) = (args.from, args.to)
        && to < from
    {
        bail!(UsageError("--to must not be before --from".to_owned()));
    }
    let (first, last) = (Day::new(0), Day::new(u32::MAX));
    let end = args.to.and_then(Day::succ).unwrap_or(last);
    let mut request = StatsRequest::new(args.from.unwrap_or(first), end);
    for grouping in &args.group_by {
        let period = match grouping {
            Grouping::Day => Period::Day,
            Grouping::Week => Period::Week,
            Grouping::Month => Period::Month,
            Grouping::Type => {
                request.by_kind = true;
                continue;
            }
            Grouping::Assistant => {
                request.by_assistant = true;
                continue;
            }
        };
        if request.period.replace(period).is_some() {
            let rule = "--group-by must have at most one of day, week and month";
            bail!(UsageError(rule.to_owned()));
        }
    }
    Ok(request)
}

fn parse_day(text: &str) -> Result<Day, String> {
    let is_date = text.len() == "2025-01-25".len();
    let day = text.parse().ok().filter(|_| is_date);
    day.ok_or_else(|| "must be a day, as in 2025-01-25".to_owned())
}

fn write_json(groups: &[Group], out: &mut dyn Write) -> Result<()> {
    for Group { row, assistant_name } in groups {
        let Volume { conversations, messages, cost } = row.volume;
        let line = Line {
            period: row.period.map(|day| day.to_string()),
            kind: row.kind.map(|kind| kind.as_str()),
            assistant_id: row.assistant.map(|id| id.to_string()),
            assistant_name: assistant_name.as_deref(),
            conversations,
            messages,
            total_cost: RawValue::from_string(cost_text(cost))?,
        };
        writeln!(out, "{}", serde_json::to_string(&line)?)?;
    }
    Ok(())
}

fn write_csv(
    request: &StatsRequest,
    groups: &[Group],
    formulas: Formulas,
    out: &mut dyn Write,
) -> Result<()> {
    let mut records = csv::Writer::from_writer(out);
    let mut header = Vec::new();
    header.extend(request.period.map(|_| "period"));
    header.extend(request.by_kind.then_some("type"));
    header.extend(
        request.by_assistant.then_some(["assistant_id", "assistant_name"]).into_iter().flatten(),
    );
    header.extend(["conversations", "messages", "total_cost"]);
    records.write_record(header)?;
    for Group { row, assistant_name } in groups {
        let mut fields = Vec::new();
        fields.extend(row.period.map(|day| day.to_string()));
        fields.extend(row.kind.map(|kind| kind.to_string()));
        fields.extend(row.assistant.map(|id| id.to_string()));
        fields.extend(assistant_name.as_deref().map(|name| formulas.cell(name)));
        fields.extend([row.volume.conversations, row.volume.messages].map(|n| n.to_string()));
        fields.push(cost_text(row.volume.cost));
        records.write_record(&fields)?;
    }
    Ok(records.flush()?)
}

fn write_table(
    request: &StatsRequest,
    groups: &[Group],
    total: &Volume,
    out: &mut dyn Write,
) -> Result<()> {
    let left = |title, fit| Column { title, align: Align::Left, fit };
    let right = |title, fit| Column { title, align: Align::Right, fit };
    let mut columns = Vec::new();
    columns.extend(request.period.map(|period| left(period_title(period), Fit::Whole)));
    columns.extend(request.by_kind.then_some(left("TYPE", Fit::Whole)));
    columns.extend(request.by_assistant.then_some(left("ASSISTANT", Fit::Cut)));
    let key_columns = columns.len();
    columns.push(right("CONVERSATIONS", Fit::Whole));
    columns.push(right("MESSAGES", Fit::Drop(1)));
    columns.push(right("COST USD", Fit::Whole));

    let mut rows: Vec<Vec<String>> = groups
        .iter()
        .map(|Group { row, assistant_name }| {
            let mut cells = Vec::new();
            cells.extend(row.period.map(|first_day| period_cell(request.period, first_day)));
            cells.extend(row.kind.map(|kind| kind.to_string()));
            cells.extend(assistant_name.clone());
            cells.extend(volume_cells(&row.volume));
            cells
        })
        .collect();
    if key_columns > 0 {
        let mut cells = vec!["total".to_owned()];
        cells.resize(key_columns, String::new());
        cells.extend(volume_cells(total));
        rows.push(cells);
    }
    Ok(TextTable::new(&columns).write(out, &rows)?)
}

const fn period_title(period: Period) -> &'static str {
    match period {
        Period::Day => "DAY",
        Period::Week => "WEEK OF",
        Period::Month => "MONTH",
    }
}

/// A period by its first day; a month without the day.
fn period_cell(period: Option<Period>, first_day: Day) -> String {
    let mut cell = first_day.to_string();
    if period == Some(Period::Month) {
        cell.truncate("2025-01".len());
    }
    cell
}

fn volume_cells(volume: &Volume) -> [String; 3] {
    let cost = with_cents(volume.cost.to_string());
    [grouped(volume.conversations), grouped(volume.messages), cost]
}

/// A decimal number with two decimals at least.
fn with_cents(mut cost: String) -> String {
    let decimals = cost.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    if decimals == 0 {
        cost.push('.');
    }
    cost.extend(std::iter::repeat_n('0', 2_usize.saturating_sub(decimals)));
    cost
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_have_two_decimals_at_least() {
        for (cost, expected) in
            [("0", "0.00"), ("47.6", "47.60"), ("171.94", "171.94"), ("0.0032", "0.0032")]
        {
            assert_eq!(with_cents(cost.to_owned()), expected);
        }
    }
}
