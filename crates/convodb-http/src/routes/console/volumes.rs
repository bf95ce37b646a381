//! Volumes screen, the same numbers as CSV, and the billing statement.

use std::time::Instant;

use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Uri};
use axum::response::Response;
use convodb::{Day, ListRequest, PageSize, Period, Stats, StatsRow, Volume};
use convodb_console::{
    Comparison, Group, Measure, Query, Screen, Split, StatementScreen, VolumesScreen, kind_name,
};
use convodb_json::AssistantNames;

use crate::clock::now;
use crate::error::Result;
use crate::extract::auth::Stats as StatsScope;
use crate::extract::params;
use crate::extract::query_string::{PlusSign, QueryString};
use crate::extract::session::{SessionAuth, SessionRead, see_other};
use crate::response::{html, json_body};
use crate::routes::console::visit::{Visit, choices, field_messages, has_blanks, query_of};
use crate::routes::stats;
use crate::state::Service;

/// The path of the statistics of the API.
const STATS: &str = "/api/user/conversations/stats";
/// The days that are shown by default.
const DEFAULT_DAYS: u32 = 30;

/// What a URL of these screens says.
struct Choice {
    query: Query,
    period: Period,
    split: Split,
    measure: Measure,
}

impl Choice {
    fn of(query: &str) -> Self {
        let mut parsed = QueryString::new(query);
        let names = ["from", "to", "period", "split", "measure", "type", "assistant_id"];
        let query = Query::new(names.map(|name| {
            let value = parsed.take(name, PlusSign::Space, |text| Ok(text.to_owned()));
            (name, value.unwrap_or_default())
        }));
        let period = query.get("period").parse().unwrap_or(Period::Day);
        let is_by_assistant = query.get("split") == Split::Assistant.as_str();
        let split = if is_by_assistant { Split::Assistant } else { Split::Type };
        let measure = Measure::named(query.get("measure"));
        Self { query, period, split, measure }
    }

    /// The parameters of the same request of the API, between these days.
    fn api(&self, days: (&str, &str), group_by: &str) -> Query {
        let kept = ["type", "assistant_id"].map(|name| (name, self.query.get(name).to_owned()));
        let days = [("from", days.0.to_owned()), ("to", days.1.to_owned())];
        let group_by = [("group_by", group_by.to_owned())];
        Query::new(days.into_iter().chain(group_by).chain(kept))
    }

    fn group_by(&self) -> String {
        format!("{},{}", self.period, self.split.as_str())
    }
}

/// `GET /console/volumes`.
pub(super) async fn volumes(
    State(service): State<Service>,
    SessionRead(auth): SessionRead<StatsScope>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response> {
    let mut visit = Visit::new(Screen::Volumes);
    let choice = Choice::of(query_of(&uri));
    if has_blanks(query_of(&uri)) {
        let base = service.base_url().base_path();
        return Ok(see_other(&format!("{base}/console/volumes{}", choice.query.suffix())));
    }
    let (from, to, errors) = match days(&auth, &choice.query).await {
        Ok((from, to)) => (from, to, Vec::new()),
        Err(error) => {
            let (from, to) = default_days(&auth)?;
            (from, to, field_messages(error)?)
        }
    };
    let api = choice.api((&from.to_string(), &to.to_string()), &choice.group_by());
    visit.api = Some(format!("{STATS}{}", api.suffix()));
    let (groups, comparison, errors) = match read(&service, &auth, &choice, (from, to)).await {
        _ if !errors.is_empty() => (Vec::new(), Comparison::default(), errors),
        Ok((groups, comparison)) => (groups, comparison, errors),
        Err(error) => (Vec::new(), Comparison::default(), field_messages(error)?),
    };
    let read_at = Instant::now();
    let screen = VolumesScreen {
        frame: visit.frame(&service, &headers, &auth, None)?,
        from,
        to,
        period: choice.period,
        split: choice.split,
        measure: choice.measure,
        query: choice.query,
        groups,
        comparison,
        assistants: choices(&auth)?,
        errors,
    };
    html::page(&screen, visit.began, read_at)
}

/// Reads the groups of a period, and the sums of it and of the one before.
async fn read(
    service: &Service,
    auth: &SessionAuth<StatsScope>,
    choice: &Choice,
    (from, to): (Day, Day),
) -> Result<(Vec<Group>, Comparison)> {
    let api = choice.api((&from.to_string(), &to.to_string()), &choice.group_by());
    let stats = statistics(service, auth, &api).await?;
    let mut names = AssistantNames::new(auth.view.clone(), auth.user);
    let groups = stats.rows.iter().map(|row| group(row, &mut names)).collect::<Result<_>>()?;
    let length = to.get() - from.get() + 1;
    let before = match from.checked_sub(length) {
        None => None,
        Some(earlier) => {
            let api = choice
                .api((&earlier.to_string(), &(from.pred().unwrap_or(earlier)).to_string()), "");
            Some(statistics(service, auth, &api).await?.total)
        }
    };
    Ok((groups, Comparison { now: stats.total, before }))
}

/// Reads statistics by the parameters of the API.
async fn statistics(
    service: &Service,
    auth: &SessionAuth<StatsScope>,
    api: &Query,
) -> Result<Stats> {
    let suffix = api.suffix();
    let view = auth.view.clone().into();
    let params = params::stats(suffix.trim_start_matches('?'), auth.user, &view).await?;
    stats::read(service, auth.user, &view, &params.request).await
}

fn group(row: &StatsRow, names: &mut AssistantNames) -> Result<Group> {
    let (key, name) = match (row.kind, row.assistant) {
        (Some(kind), _) => (kind.as_str().to_owned(), kind_name(kind).to_owned()),
        (None, Some(assistant)) => {
            let name = names.name(assistant).map_err(json_body::stored_assistant)?;
            (assistant.to_string(), name.to_owned())
        }
        (None, None) => (String::new(), String::new()),
    };
    let period = row.period.unwrap_or(Day::new(0));
    Ok(Group { period, key, name, kind: row.kind, volume: row.volume })
}

/// `GET /console/volumes.csv`: the groups that the screen shows, with exact costs.
pub(super) async fn csv(
    State(service): State<Service>,
    SessionRead(auth): SessionRead<StatsScope>,
    uri: Uri,
) -> Result<Response> {
    let choice = Choice::of(query_of(&uri));
    let days = days(&auth, &choice.query).await?;
    let (groups, _) = read(&service, &auth, &choice, days).await?;
    let mut out = format!("period,{},conversations,messages,total_cost\r\n", choice.split.as_str());
    for Group { period, name, volume, .. } in groups {
        let Volume { conversations, messages, cost } = volume;
        let name = csv_field(&name);
        out.push_str(&format!("{period},{name},{conversations},{messages},{cost}\r\n"));
    }
    let mut response = json_body::ok(out);
    html::add_headers(response.headers_mut());
    let headers = response.headers_mut();
    headers
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8; header=present"));
    let disposition = format!("attachment; filename=\"volumes-{}-{}.csv\"", days.0, days.1);
    if let Ok(disposition) = HeaderValue::try_from(disposition) {
        headers.insert(CONTENT_DISPOSITION, disposition);
    }
    Ok(response)
}

/// A name as a field of CSV (RFC 4180). A name that a spreadsheet could take for a formula gets an
/// apostrophe.
fn csv_field(name: &str) -> String {
    let is_formula = name.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let apostrophe = if is_formula { "'" } else { "" };
    format!("\"{apostrophe}{}\"", name.replace('"', "\"\""))
}

/// `GET /console/statement`: the sums by assistant and by type, for print.
pub(super) async fn statement(
    State(service): State<Service>,
    SessionRead(auth): SessionRead<StatsScope>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response> {
    let visit = Visit::new(Screen::Volumes);
    let choice = Choice::of(query_of(&uri));
    let (from, to) = days(&auth, &choice.query).await?;
    let days = (from.to_string(), to.to_string());
    let parts = async |group_by: &str| -> Result<(Vec<(String, Volume)>, Volume)> {
        let api = choice.api((&days.0, &days.1), group_by);
        let stats = statistics(&service, &auth, &api).await?;
        let mut names = AssistantNames::new(auth.view.clone(), auth.user);
        let part = |row: &StatsRow| Ok((group(row, &mut names)?.name, row.volume));
        Ok((stats.rows.iter().map(part).collect::<Result<_>>()?, stats.total))
    };
    let (by_assistant, total) = parts("assistant").await?;
    let (by_type, _) = parts("type").await?;
    let read_at = Instant::now();
    let frame = visit.frame(&service, &headers, &auth, None)?;
    let screen = StatementScreen { frame, from, to, by_assistant, by_type, total };
    html::page(&screen, visit.began, read_at)
}

/// The days of a URL, or the default ones.
///
/// # Errors
/// 422 for invalid days, as the API.
async fn days(auth: &SessionAuth<StatsScope>, query: &Query) -> Result<(Day, Day)> {
    let (given_from, given_to) = (query.get("from"), query.get("to"));
    let api = Query::new([("from", given_from.to_owned()), ("to", given_to.to_owned())]).suffix();
    let params =
        params::stats(api.trim_start_matches('?'), auth.user, &auth.view.clone().into()).await?;
    let (default_from, default_to) = match (params.from, params.to) {
        (Some(_), Some(_)) => (Day::new(0), Day::new(0)),
        _ => default_days(auth)?,
    };
    let to = params.to.unwrap_or_else(|| default_to.max(params.from.unwrap_or(default_to)));
    let from = params.from.unwrap_or_else(|| match params.to {
        Some(to) => to.checked_sub(DEFAULT_DAYS - 1).unwrap_or(Day::new(0)),
        None => default_from,
    });
    Ok((from, to))
}

/// The last days with conversations: up to the newest one, or to today.
fn default_days(auth: &SessionAuth<StatsScope>) -> Result<(Day, Day)> {
    let newest = ListRequest { page_size: Some(PageSize::MIN), ..ListRequest::default() };
    let page = auth.view.list(auth.user, &newest)?;
    let newest = page.conversations().next().map(|row| row.created_at.day());
    let to = match newest {
        Some(day) => day,
        None => now()?.day(),
    };
    Ok((to.checked_sub(DEFAULT_DAYS - 1).unwrap_or(Day::new(0)), to))
}
