//! The parameters of what is read, from texts to an engine request: the last place where they are text.
//!
//! All of them are read before any is reported, and nothing is read from the store for that. Only
//! an assistant has to be looked up, once everything else is right.

use std::time::Duration;

use convodb::{
    AssistantId, ChangesSince, Day, Error, ExternalIdentifier, Filter, ListRequest, Order,
    PageSize, Phone, ReportRequest, Snapshot, Timestamp, UserId,
};

use crate::error::{FieldError, Result};
use crate::extract::query_string::{PlusSign, QueryString};
use crate::item::Messages;
use crate::response::numbered_page::PageParams;
use crate::response::statistics::{self, StatsParams};

/// The list request that a query string makes for the user.
///
/// # Errors
/// All parameters that are at fault, in the order of their documentation; or a fault of the store.
pub(crate) fn list_request(query: &str, user: UserId, snapshot: &Snapshot) -> Result<ListRequest> {
    let mut form = QueryString::new(query);
    let kind = form.take("type", PlusSign::Space, |text| choice("type", text.parse()));
    let named = assistant_name(&mut form);
    let customer_phone = phone(&mut form, "customer_phone");
    let sender_phone = phone(&mut form, "whatsapp_sender_phone");
    let external_identifier = form.take("external_identifier", PlusSign::Space, |text| {
        ruled("external_identifier", text.parse::<ExternalIdentifier>())
    });
    let page_size = page_size(&mut form);
    let cursor = form.take("cursor", PlusSign::Space, |token| {
        choice("cursor", snapshot.open_cursor(user, token))
    });
    let created_from = time(&mut form, "created_from");
    let created_to = time(&mut form, "created_to");
    let order = form.take("order", PlusSign::Space, order);
    let assistant = assistant(&mut form, named, user, snapshot)?;
    form.finish()?;
    let filter = Filter { kind, assistant, sender_phone, customer_phone, external_identifier };
    Ok(ListRequest { filter, created_from, created_to, order, page_size, cursor })
}

/// The page that the query string of a list by page number asks for: the first one, and 15 a page,
/// where nothing is said.
///
/// # Errors
/// All parameters that are at fault.
pub(crate) fn numbered_page(query: &str) -> Result<PageParams> {
    let mut form = QueryString::new(query);
    let per_page = page_size(&mut form);
    let number = form.take("page", PlusSign::Space, |text| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| digits && *number > 0);
        number.ok_or_else(|| FieldError::breaks("page", "must be an integer from 1 to 4294967295"))
    });
    form.finish()?;
    Ok(PageParams { number: number.unwrap_or(1), per_page: per_page.unwrap_or_default() })
}

/// A part of the feed that is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ChangesParams {
    pub(crate) since: ChangesSince,
    pub(crate) size: PageSize,
    /// For how long to wait where there is nothing yet.
    pub(crate) wait: Duration,
}

/// The longest that a request for changes waits, in seconds.
const MAX_WAIT: u64 = 60;

/// The part of the feed that a query string asks for: from the beginning, 100 changes, and without
/// waiting, where nothing is said.
///
/// # Errors
/// All parameters that are at fault.
pub(crate) fn changes_request(
    query: &str,
    user: UserId,
    snapshot: &Snapshot,
) -> Result<ChangesParams> {
    let mut form = QueryString::new(query);
    let since = form.take("cursor", PlusSign::Space, |text| match text {
        "now" => Ok(ChangesSince::Now),
        token => {
            choice("cursor", snapshot.open_change_cursor(user, token)).map(ChangesSince::Cursor)
        }
    });
    let size = page_size(&mut form);
    let wait = form.take("wait", PlusSign::Space, |text| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let seconds = text.parse().ok().filter(|seconds| digits && *seconds <= MAX_WAIT);
        let rule = "must be a number of seconds from 0 to 60";
        seconds.ok_or_else(|| FieldError::breaks("wait", rule))
    });
    form.finish()?;
    Ok(ChangesParams {
        since: since.unwrap_or_default(),
        size: size.unwrap_or(PageSize::MAX),
        wait: Duration::from_secs(wait.unwrap_or(0)),
    })
}

/// The statistics that a query string asks for: of all days, in one group, where nothing is said.
///
/// # Errors
/// All parameters that are at fault; or a fault of the store.
pub(crate) fn stats_request(query: &str, user: UserId, snapshot: &Snapshot) -> Result<StatsParams> {
    let mut form = QueryString::new(query);
    let mut request = ReportRequest::new(Day::new(0), Day::new(u32::MAX));
    let from = day(&mut form, "from");
    let to = day(&mut form, "to");
    if let (Some(from), Some(to)) = (from, to)
        && to < from
    {
        form.refuse(FieldError::breaks("to", "must not be before from"));
    }
    form.take("group_by", PlusSign::Space, |text| {
        statistics::group_by(text, &mut request)
            .map_err(|rule| FieldError::breaks("group_by", rule))
    });
    request.kind = form.take("type", PlusSign::Space, |text| choice("type", text.parse()));
    let named = assistant_name(&mut form);
    request.assistant = assistant(&mut form, named, user, snapshot)?;
    form.finish()?;
    request.from = from.unwrap_or(request.from);
    request.to = to.map_or(request.to, |last| Day::new(last.get() + 1));
    Ok(StatsParams { from, to, request })
}

/// A day, given as a date alone.
fn day(form: &mut QueryString<'_>, field: &'static str) -> Option<Day> {
    form.take(field, PlusSign::Space, |text| {
        let is_date = text.len() == "2025-01-25".len();
        let day = text.parse::<Day>().ok().filter(|_| is_date);
        day.ok_or_else(|| FieldError::breaks(field, "must be a date, YYYY-MM-DD"))
    })
}

fn page_size(form: &mut QueryString<'_>) -> Option<PageSize> {
    form.take("per_page", PlusSign::Space, |text| ruled("per_page", text.parse::<PageSize>()))
}

/// What an export is of, and whether it has the messages.
///
/// # Errors
/// As of [`list_request`]; also for a cursor, whose list is not what is exported.
pub(crate) fn export_request(
    query: &str,
    user: UserId,
    snapshot: &Snapshot,
) -> Result<(ListRequest, Messages)> {
    let mut form = QueryString::new(query);
    let messages = form.take("messages", PlusSign::Space, |text| match text {
        "1" | "true" => Ok(Messages::Included),
        "0" | "false" => Ok(Messages::LeftOut),
        _ => Err(FieldError::not_on_offer("messages")),
    });
    let rule = "must be left out of an export, which is of a whole list";
    form.take("cursor", PlusSign::Space, |_| Err::<(), _>(FieldError::breaks("cursor", rule)));
    form.finish()?;
    let request = list_request(query, user, snapshot)?;
    // Imported again in this order, rows of one millisecond keep theirs.
    let order = request.order.or(Some(Order::Ascending));
    Ok((ListRequest { order, ..request }, messages.unwrap_or(Messages::LeftOut)))
}

const ASSISTANT: &str = "assistant_id";

/// How a client names an assistant.
#[derive(Clone, Copy)]
enum AssistantName {
    Id(AssistantId),
    Number(u32),
}

/// The assistant that is named. A text that can be no assistant's is refused at once.
fn assistant_name(form: &mut QueryString<'_>) -> Option<AssistantName> {
    form.take(ASSISTANT, PlusSign::Space, |text| {
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| is_number).map(AssistantName::Number);
        number.map_or_else(|| choice(ASSISTANT, text.parse().map(AssistantName::Id)), Ok)
    })
}

/// The assistant that is asked for, looked up only where nothing else is wrong. One that the user
/// does not have is refused as one that nobody has, and as a text that can be no assistant's.
fn assistant(
    form: &mut QueryString<'_>,
    named: Option<AssistantName>,
    user: UserId,
    snapshot: &Snapshot,
) -> Result<Option<AssistantId>> {
    if form.is_refused() {
        return Ok(None);
    }
    let found = match named {
        None => return Ok(None),
        Some(AssistantName::Number(number)) => snapshot.assistant_by_number(user, number)?,
        Some(AssistantName::Id(id)) => snapshot.assistant(user, id)?.map(|found| found.id),
    };
    if found.is_none() {
        form.refuse(FieldError::not_on_offer(ASSISTANT));
    }
    Ok(found)
}

/// A phone number, in which a plus is a plus whether or not it was encoded.
fn phone(form: &mut QueryString<'_>, field: &'static str) -> Option<Phone> {
    form.take(field, PlusSign::Literal, |text| {
        text.parse::<Phone>()
            .map_err(|_| FieldError::breaks(field, "must not be greater than 64 bytes"))
    })
}

fn time(form: &mut QueryString<'_>, field: &'static str) -> Option<Timestamp> {
    form.take(field, PlusSign::Space, |text| {
        let read = text.parse::<Timestamp>().or_else(|error| match with_offset(text) {
            Some(text) => text.parse(),
            None => Err(error),
        });
        ruled(field, read)
    })
}

/// A time whose offset lost its plus because nobody encoded it: `2025-01-25T14:30:00 01:00`.
fn with_offset(text: &str) -> Option<String> {
    let (time, offset) = text.rsplit_once(' ')?;
    time.contains(':').then(|| format!("{time}+{offset}"))
}

fn order(text: &str) -> Result<Order, FieldError> {
    match text {
        "asc" => Ok(Order::Ascending),
        "desc" => Ok(Order::Descending),
        _ => Err(FieldError::not_on_offer("order")),
    }
}

/// A value that the engine took, or that it is none of those on offer.
fn choice<T>(field: &'static str, value: convodb::Result<T>) -> Result<T, FieldError> {
    value.map_err(|_| FieldError::not_on_offer(field))
}

/// A value that the engine took, or the rule of the engine's that it breaks.
fn ruled<T>(field: &'static str, value: convodb::Result<T>) -> Result<T, FieldError> {
    value.map_err(|error| match error {
        Error::Invalid { reason, .. } => FieldError::breaks(field, reason),
        _ => FieldError::not_on_offer(field),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ApiError;
    use convodb::{ChannelKind, Store};

    struct AuthWrite {
        store: Store,
        user: UserId,
        bot: AssistantId,
    }

    fn account() -> AuthWrite {
        let store = Store::in_memory().unwrap();
        let user = store.create_user("Acme".parse().unwrap(), Timestamp::MIN).unwrap().id;
        let other = store.create_user("Other".parse().unwrap(), Timestamp::MIN).unwrap().id;
        for (owner, number) in [(user, '1'), (other, '2')] {
            let id = uuid(number).parse().unwrap();
            store.create_assistant(owner, id, "Bot".parse().unwrap()).unwrap();
        }
        AuthWrite { store, user, bot: uuid('1').parse().unwrap() }
    }

    fn uuid(digit: char) -> String {
        format!("a1b2c3d4-5678-40ab-8def-00000000000{digit}")
    }

    impl AuthWrite {
        fn read(&self, query: &str) -> Result<ListRequest> {
            list_request(query, self.user, &self.store.snapshot())
        }
    }

    #[test]
    fn texts_become_a_request() {
        let account = account();
        let check = |query: &str, expected: ListRequest| {
            assert_eq!(account.read(query).unwrap(), expected, "{query}");
        };
        let all = ListRequest::default();
        let filtered = |filter| ListRequest { filter, ..ListRequest::default() };
        check("", all.clone());
        check("type=&assistant_id=&cursor=&per_page=&order=&created_to&utm=1", all.clone());
        check(
            "type=api&external_identifier=a+b",
            filtered(Filter {
                kind: Some(ChannelKind::Api),
                external_identifier: Some("a b".parse().unwrap()),
                ..Filter::default()
            }),
        );
        let bot = Filter { assistant: Some(account.bot), ..Filter::default() };
        check(&format!("assistant_id={}", uuid('1')), filtered(bot.clone()));
        check(&format!("assistant_id={}", uuid('1').to_uppercase()), filtered(bot.clone()));
        check("assistant_id=1", filtered(bot));
        for phone in ["+49151", "%2B49151"] {
            check(
                &format!("customer_phone={phone}&whatsapp_sender_phone={phone}"),
                filtered(Filter {
                    customer_phone: Some("+49151".parse().unwrap()),
                    sender_phone: Some("+49151".parse().unwrap()),
                    ..Filter::default()
                }),
            );
        }
        check("per_page=100&order=asc", {
            let page_size = Some(PageSize::MAX);
            ListRequest { page_size, order: Some(Order::Ascending), ..all.clone() }
        });
        for half_past_two in [
            "2025-01-25T14:30:00Z",
            "2025-01-25+14:30:00",
            "2025-01-25%2014:30:00",
            "2025-01-25T15:30:00+01:00",
            "2025-01-25T15:30:00%2B01:00",
            "2025-01-25+15:30:00+01:00",
        ] {
            let created_from = Some("2025-01-25 14:30:00".parse().unwrap());
            let created_to = Some("2025-01-26".parse().unwrap());
            check(
                &format!("created_from={half_past_two}&created_to=2025-01-26"),
                ListRequest { created_from, created_to, ..all.clone() },
            );
        }
    }

    #[test]
    fn each_parameter_has_its_rules() {
        let account = account();
        let check = |query: &str, error: FieldError| {
            assert_eq!(account.read(query).unwrap_err(), ApiError::invalid(vec![error]), "{query}");
        };
        let offered = FieldError::not_on_offer;
        let long = "9".repeat(256);
        check("type=fax", offered("type"));
        check("type=API", offered("type"));
        check("order=up", offered("order"));
        for wrong in ["0", "2", "x", "99999999999", "+1", &uuid('2'), &uuid('3')] {
            check(&format!("assistant_id={wrong}"), offered("assistant_id"));
        }
        for wrong in ["null", "0", "eyJpZCI6MX0", "AA=="] {
            check(&format!("cursor={wrong}"), offered("cursor"));
        }
        for (field, limit) in
            [("customer_phone", 64), ("whatsapp_sender_phone", 64), ("external_identifier", 255)]
        {
            assert!(account.read(&format!("{field}={}", &long[..limit])).is_ok());
            let rule = format!("must not be greater than {limit} bytes");
            let over = &long[..=limit];
            check(&format!("{field}={over}"), FieldError::breaks(field, &rule));
        }
        for (wrong, rule) in [
            ("0", "must be at least 1"),
            ("-1", "must be at least 1"),
            ("101", "must not be greater than 100"),
            ("18446744073709551616", "must not be greater than 100"),
            ("1.5", "must be an integer"),
            ("abc", "must be an integer"),
        ] {
            check(&format!("per_page={wrong}"), FieldError::breaks("per_page", rule));
        }
        let form = "must be a date, YYYY-MM-DD HH:MM:SS, or RFC 3339";
        for wrong in ["soon", "2025-02-30", "2025-01-25+24:00", "1737800000"] {
            check(&format!("created_from={wrong}"), FieldError::breaks("created_from", form));
        }
        let span = "must lie between 1970-01-01 and 2109-05-15";
        check("created_to=1969-12-31", FieldError::breaks("created_to", span));
    }

    #[test]
    fn all_that_is_wrong_is_told_in_the_documented_order() {
        let wrong = "order=x&per_page=0&cursor=x&type=x&type=y&assistant_id=x&customer_phone=%FF";
        let expected = vec![
            FieldError::breaks("type", "must be given only once"),
            FieldError::not_on_offer("assistant_id"),
            FieldError::breaks("customer_phone", "must be valid UTF-8"),
            FieldError::breaks("per_page", "must be at least 1"),
            FieldError::not_on_offer("cursor"),
            FieldError::not_on_offer("order"),
        ];
        assert_eq!(account().read(wrong).unwrap_err(), ApiError::invalid(expected));
    }
}
