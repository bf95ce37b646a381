//! Query parameters: from texts to a request of the engine.
//!
//! All parameters are validated before any error is reported, without reading the store. Only an
//! assistant has to be looked up, once everything else is valid.

use std::time::Duration;

use convodb::{
    AssistantIds, AssistantRef, ChangesSince, ChannelKind, ChannelKinds, Day, Error,
    ExternalIdentifier, Filter, ListRequest, Order, PageSize, Phone, Sort, StatsRequest, Timestamp,
    UserId,
};
use convodb_json::Messages;
use convodb_json::csv::{CsvOptions, Formulas};
use convodb_service::View;

use crate::error::{FieldError, Result};
use crate::extract::export_format::ExportFormat;
use crate::extract::query_string::{PlusSign, QueryString, UnknownFields};
use crate::response::columns::{Columns, FIELDS};
use crate::response::history_page::{HistoryCursor, HistoryParams};
use crate::response::numbered_page::PageParams;
use crate::response::statistics::{self, StatsParams};

const AI_ENABLED: &str = "ai_enabled";

/// The parameters of a page and of an export.
pub(crate) const LIST: [&str; 14] = [
    "type",
    ASSISTANT,
    "customer_phone",
    "whatsapp_sender_phone",
    "external_identifier",
    AI_ENABLED,
    "per_page",
    "cursor",
    "created_from",
    "created_to",
    "sort",
    "active_from",
    "active_to",
    "order",
];

/// The parameters of the list of conversations.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ListParams {
    pub(crate) request: ListRequest,
    pub(crate) total: Total,
    pub(crate) columns: Columns,
}

/// Whether a response has the number of conversations of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Total {
    LeftOut,
    /// Beside the page.
    Included,
    /// Instead of a page.
    Only,
}

/// Parses the parameters of the list of conversations.
///
/// # Errors
/// 422 with every invalid parameter, in the documented order, and then the unknown ones. Fails if
/// the store cannot be read.
pub(crate) async fn list(
    query: &str,
    user: UserId,
    view: &View,
    unknown: UnknownFields,
) -> Result<ListParams> {
    let mut query = QueryString::new(query);
    let (mut total, mut columns) = (Total::LeftOut, Columns::default());
    let request = list_request(&mut query, user, view, |query| {
        let included = word(query, "include", "total");
        let only = word(query, "count", "only");
        total = match (included, only) {
            (_, true) => Total::Only,
            (true, false) => Total::Included,
            (false, false) => Total::LeftOut,
        };
        columns = query.take_list(FIELDS, Columns::parse).unwrap_or_default();
        let known: Vec<&str> = LIST.into_iter().chain(["include", "count", FIELDS]).collect();
        query.check_names(&known, unknown);
    })
    .await?;
    query.finish()?;
    let request = ListRequest { previews: columns.preview, ..request };
    Ok(ListParams { request, total, columns })
}

/// Parses a list; `check_names` rejects unknown parameters.
async fn list_request(
    query: &mut QueryString<'_>,
    user: UserId,
    view: &View,
    check_names: impl FnOnce(&mut QueryString<'_>),
) -> Result<ListRequest> {
    let kinds = kinds(query);
    let assistants = assistant_refs(query);
    let customer_phone = phone(query, "customer_phone");
    let sender_phone = phone(query, "whatsapp_sender_phone");
    let external_identifier = query.take("external_identifier", PlusSign::Space, |text| {
        rule_checked("external_identifier", text.parse::<ExternalIdentifier>())
    });
    let ai_off = query.take(AI_ENABLED, PlusSign::Space, ai_off) == Some(true);
    let page_size = page_size(query);
    let cursor = query
        .take("cursor", PlusSign::Space, |token| choice("cursor", view.open_cursor(user, token)));
    let created_from = time(query, "created_from", str::parse);
    let created_to = time(query, "created_to", Timestamp::parse_end);
    let sort = query.take("sort", PlusSign::Space, |text| {
        text.parse().map_err(|_| FieldError::none_of("sort", &Sort::ALL.map(Sort::as_str)))
    });
    let active_from = time(query, "active_from", str::parse);
    let active_to = time(query, "active_to", Timestamp::parse_end);
    let order = query.take("order", PlusSign::Space, order);
    check_names(query);
    let assistants = resolve(query, &assistants, user, view).await?;
    let filter = Filter {
        kinds,
        assistants,
        sender_phone,
        customer_phone,
        external_identifier,
        ai_off,
        ..Filter::default()
    };
    Ok(ListRequest {
        filter,
        created_from,
        created_to,
        sort,
        active_from,
        active_to,
        order,
        page_size,
        cursor,
        previews: false,
    })
}

/// Parses the parameters of a page of a history; `None` if the whole history is requested.
///
/// # Errors
/// 422 with every invalid parameter.
pub(crate) fn history(query: &str) -> Result<Option<HistoryParams>> {
    let mut query = QueryString::new(query);
    let size = page_size(&mut query);
    let cursor = query.take("cursor", PlusSign::Space, |text| {
        HistoryCursor::parse(text).ok_or_else(|| FieldError::invalid_choice("cursor"))
    });
    query.finish()?;
    let cursor_or_start = cursor.unwrap_or(HistoryCursor::After(0));
    let size_or_default = size.unwrap_or_default();
    let is_page = size.is_some() || cursor.is_some();
    Ok(is_page.then_some(HistoryParams { cursor: cursor_or_start, size: size_or_default }))
}

/// Parses the parameters of a list by page number. Defaults: page 1, 15 items a page.
///
/// # Errors
/// 422 with every invalid parameter.
pub(crate) fn numbered_page(query: &str) -> Result<PageParams> {
    let mut query = QueryString::new(query);
    let per_page = page_size(&mut query);
    let number = query.take("page", PlusSign::Space, |text| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| digits && *number > 0);
        number.ok_or_else(|| FieldError::breaks("page", "must be an integer from 1 to 4294967295"))
    });
    query.finish()?;
    Ok(PageParams { number: number.unwrap_or(1), per_page: per_page.unwrap_or_default() })
}

/// The parameters of a page of the change feed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ChangesParams {
    pub(crate) since: ChangesSince,
    pub(crate) size: PageSize,
    /// How long to wait for a change if there is none yet.
    pub(crate) wait: Duration,
}

/// The longest time that a request for changes may wait, in seconds.
const MAX_WAIT_SECONDS: u64 = 60;

/// Parses the parameters of the change feed. Defaults: from the beginning, 100 changes, no waiting.
///
/// # Errors
/// 422 with every invalid parameter.
pub(crate) fn changes(query: &str, user: UserId, view: &View) -> Result<ChangesParams> {
    let mut query = QueryString::new(query);
    let since = query.take("cursor", PlusSign::Space, |text| since(text, user, view));
    let size = page_size(&mut query);
    let wait = query.take("wait", PlusSign::Space, |text| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let seconds = text.parse().ok().filter(|seconds| digits && *seconds <= MAX_WAIT_SECONDS);
        let rule = "must be a number of seconds from 0 to 60";
        seconds.ok_or_else(|| FieldError::breaks("wait", rule))
    });
    query.check_names(&["cursor", "per_page", "wait"], UnknownFields::Refused);
    query.finish()?;
    Ok(ChangesParams {
        since: since.unwrap_or_default(),
        size: size.unwrap_or(PageSize::MAX),
        wait: Duration::from_secs(wait.unwrap_or(0)),
    })
}

/// The parameters of a stream of change events.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ChangeEventsParams {
    pub(crate) since: ChangesSince,
    pub(crate) size: PageSize,
}

/// Parses the parameters of a stream of change events. Defaults: from the beginning, 100 changes an
/// event. `last_event_id`, which a client sends after a break, wins over the cursor of the URL.
///
/// # Errors
/// 422 with every invalid parameter.
pub(crate) fn change_events(
    query: &str,
    last_event_id: Option<&str>,
    user: UserId,
    view: &View,
) -> Result<ChangeEventsParams> {
    let mut query = QueryString::new(query);
    let since = query.take("cursor", PlusSign::Space, |text| since(text, user, view));
    let last = last_event_id.and_then(|token| {
        let cursor = choice("Last-Event-ID", view.open_change_cursor(user, token));
        cursor.map_err(|error| query.reject(error)).ok()
    });
    let size = page_size(&mut query);
    query.check_names(&["cursor", "per_page"], UnknownFields::Refused);
    query.finish()?;
    Ok(ChangeEventsParams {
        since: last.map(ChangesSince::Cursor).or(since).unwrap_or_default(),
        size: size.unwrap_or(PageSize::MAX),
    })
}

/// Parses the beginning of a part of the change feed.
fn since(text: &str, user: UserId, view: &View) -> Result<ChangesSince, FieldError> {
    match text {
        "now" => Ok(ChangesSince::Now),
        token => choice("cursor", view.open_change_cursor(user, token)).map(ChangesSince::Cursor),
    }
}

/// Parses the parameters of the statistics. Defaults: all days, one group.
///
/// # Errors
/// 422 with every invalid parameter. Fails if the store cannot be read.
pub(crate) async fn stats(query: &str, user: UserId, view: &View) -> Result<StatsParams> {
    let mut query = QueryString::new(query);
    let mut request = StatsRequest::new(Day::new(0), Day::new(u32::MAX));
    let from = day(&mut query, "from");
    let to = day(&mut query, "to");
    if let (Some(from), Some(to)) = (from, to)
        && to < from
    {
        query.reject(FieldError::breaks("to", "must not be before from"));
    }
    query.take_list("group_by", |text| {
        statistics::parse_group_by(text, &mut request)
            .map_err(|rule| FieldError::breaks("group_by", rule))
    });
    request.kinds = kinds(&mut query);
    let assistants = assistant_refs(&mut query);
    let known = ["from", "to", "group_by", "type", ASSISTANT];
    query.check_names(&known, UnknownFields::Refused);
    request.assistants = resolve(&mut query, &assistants, user, view).await?;
    query.finish()?;
    request.from = from.unwrap_or(request.from);
    request.to = to.map_or(request.to, |last| Day::new(last.get() + 1));
    Ok(StatsParams { from, to, request })
}

/// The parameters of an export.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ExportParams {
    pub(crate) request: ListRequest,
    pub(crate) messages: Messages,
    pub(crate) csv: CsvOptions,
}

/// Parses the parameters of an export in `format`: a list, whether to include the messages, and the
/// form of CSV.
///
/// # Errors
/// As [`list`], and 422 for a cursor, because an export is of a whole list, and for an option of
/// the other format.
pub(crate) async fn export(
    query_string: &str,
    user: UserId,
    view: &View,
    format: ExportFormat,
) -> Result<ExportParams> {
    let mut query = QueryString::new(query_string);
    let [messages, csv_safe, csv_bom] = ["messages", "csv_safe", "csv_bom"]
        .map(|field| query.take(field, PlusSign::Space, |text| switch(field, text)) == Some(true));
    if messages && format == ExportFormat::Csv {
        let rule = "must be left out of CSV, which has no messages";
        query.reject(FieldError::breaks("messages", rule));
    }
    for (field, is_given) in [("csv_safe", csv_safe), ("csv_bom", csv_bom)] {
        if is_given && format == ExportFormat::Lines {
            let rule = "is an option of CSV; send Accept: text/csv";
            query.reject(FieldError::breaks(field, rule));
        }
    }
    let rule = "must be left out of an export, which is of a whole list";
    query.take("cursor", PlusSign::Space, |_| Err::<(), _>(FieldError::breaks("cursor", rule)));
    query.finish()?;
    let mut query = QueryString::new(query_string);
    let request = list_request(&mut query, user, view, |query| {
        let known: Vec<&str> =
            LIST.into_iter().chain(["messages", "csv_safe", "csv_bom"]).collect();
        query.check_names(&known, UnknownFields::Refused);
    })
    .await?;
    query.finish()?;
    // Once the export has begun, an error can only abort it. Another store checks it as it begins.
    if let Some(snapshot) = view.snapshot() {
        snapshot.check_request(user, &request)?;
    }
    // An import in ascending order preserves the order of conversations of the same millisecond.
    let order = request.order.or(Some(Order::Ascending));
    let formulas = if csv_safe { Formulas::Defused } else { Formulas::Kept };
    Ok(ExportParams {
        request: ListRequest { order, ..request },
        messages: if messages { Messages::Included } else { Messages::LeftOut },
        csv: CsvOptions { formulas, byte_order_mark: csv_bom },
    })
}

/// Returns whether the field has its only valid value.
fn word(query: &mut QueryString<'_>, field: &'static str, only: &'static str) -> bool {
    let valid = query.take(field, PlusSign::Space, |text| {
        if text == only { Ok(()) } else { Err(FieldError::none_of(field, &[only])) }
    });
    valid.is_some()
}

/// Parses `ai_enabled`. The index has only conversations whose AI is off.
fn ai_off(text: &str) -> Result<bool, FieldError> {
    match switch(AI_ENABLED, text) {
        Ok(false) => Ok(true),
        _ => Err(FieldError::breaks(AI_ENABLED, "must be false or 0, or left out for all")),
    }
}

/// Parses a switch: `1`, `0`, `true` or `false`.
///
/// # Errors
/// The error of the field for any other text.
pub(crate) fn switch(field: &'static str, text: &str) -> Result<bool, FieldError> {
    match text {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(FieldError::none_of(field, &["1", "0", "true", "false"])),
    }
}

/// Parses a date without a time.
fn day(query: &mut QueryString<'_>, field: &'static str) -> Option<Day> {
    query.take(field, PlusSign::Space, |text| {
        let is_date = text.len() == "2025-01-25".len();
        let day = text.parse::<Day>().ok().filter(|_| is_date);
        day.ok_or_else(|| FieldError::breaks(field, "must be a date, YYYY-MM-DD"))
    })
}

fn page_size(query: &mut QueryString<'_>) -> Option<PageSize> {
    query.take("per_page", PlusSign::Space, |text| {
        rule_checked("per_page", text.parse::<PageSize>())
    })
}

const ASSISTANT: &str = "assistant_id";

/// Parses the types to filter by.
fn kinds(query: &mut QueryString<'_>) -> Option<ChannelKinds> {
    let kinds = query.take_several("type", AssistantIds::MAX, kind);
    ChannelKinds::new(kinds).ok()
}

/// Parses UUIDs and numbers of assistants. Rejects any other text without a lookup.
fn assistant_refs(query: &mut QueryString<'_>) -> Vec<AssistantRef> {
    query.take_several(ASSISTANT, AssistantIds::MAX, |text| choice(ASSISTANT, text.parse()))
}

/// Looks up the assistants if everything else is valid. An assistant of another user is rejected
/// exactly like one that does not exist, and like a text that names none.
async fn resolve(
    query: &mut QueryString<'_>,
    assistants: &[AssistantRef],
    user: UserId,
    view: &View,
) -> Result<Option<AssistantIds>> {
    if query.has_errors() {
        return Ok(None);
    }
    let mut ids = Vec::with_capacity(assistants.len());
    for (number, assistant) in (1..).zip(assistants) {
        match view.resolve_assistant(user, *assistant).await? {
            Some(found) => ids.push(found.id),
            None if assistants.len() == 1 => query.reject(FieldError::invalid_choice(ASSISTANT)),
            None => {
                let error = FieldError::invalid_choice_of(ASSISTANT, number, assistants.len());
                query.reject(error);
                break;
            }
        }
    }
    Ok(AssistantIds::new(ids).ok())
}

/// Parses a phone number. A plus sign is literal whether or not it is percent-encoded.
pub(crate) fn phone(query: &mut QueryString<'_>, field: &'static str) -> Option<Phone> {
    query.take(field, PlusSign::Leading, |text| {
        text.parse::<Phone>()
            .map_err(|_| FieldError::breaks(field, "must not be greater than 64 bytes"))
    })
}

fn time(
    query: &mut QueryString<'_>,
    field: &'static str,
    parse: impl Fn(&str) -> convodb::Result<Timestamp>,
) -> Option<Timestamp> {
    query.take(field, PlusSign::Space, |text| {
        let parsed = parse(text).or_else(|error| match with_offset(text) {
            Some(text) => parse(&text),
            None => Err(error),
        });
        rule_checked(field, parsed)
    })
}

/// Restores the plus sign of an offset that was not percent-encoded, and so became a space:
/// `2025-01-25T14:30:00 01:00`.
fn with_offset(text: &str) -> Option<String> {
    let (time, offset) = text.rsplit_once(' ')?;
    time.contains(':').then(|| format!("{time}+{offset}"))
}

fn kind(text: &str) -> Result<ChannelKind, FieldError> {
    text.parse()
        .map_err(|_| FieldError::none_of("type", &ChannelKind::ALL.map(ChannelKind::as_str)))
}

fn order(text: &str) -> Result<Order, FieldError> {
    match text {
        "asc" => Ok(Order::Ascending),
        "desc" => Ok(Order::Descending),
        _ => Err(FieldError::none_of("order", &["desc", "asc"])),
    }
}

/// Maps any error of the engine to "the selected … is invalid", which does not say why.
fn choice<T>(field: &'static str, value: convodb::Result<T>) -> Result<T, FieldError> {
    value.map_err(|_| FieldError::invalid_choice(field))
}

/// Maps an error of the engine to the rule that the value breaks.
fn rule_checked<T>(field: &'static str, value: convodb::Result<T>) -> Result<T, FieldError> {
    value.map_err(|error| match error {
        Error::Invalid { reason, .. } => FieldError::breaks(field, reason),
        _ => FieldError::invalid_choice(field),
    })
}

#[cfg(test)]
mod tests;
