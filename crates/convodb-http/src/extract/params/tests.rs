//! Tests of query parameters.

use super::*;
use crate::error::ApiError;
use convodb::{AssistantId, Store};
use futures_util::FutureExt as _;

struct Fixture {
    store: Store,
    user: UserId,
    bot: AssistantId,
}

fn fixture() -> Fixture {
    let store = Store::in_memory().unwrap();
    let user = store.create_user("Acme", Timestamp::MIN).unwrap().id;
    let other = store.create_user("Other", Timestamp::MIN).unwrap().id;
    for (user, number) in [(user, '1'), (other, '2')] {
        let id = uuid(number).parse().unwrap();
        store.create_assistant(user, id, "Bot").unwrap();
    }
    Fixture { store, user, bot: uuid('1').parse().unwrap() }
}

fn uuid(digit: char) -> String {
    format!("a1b2c3d4-5678-40ab-8def-00000000000{digit}")
}

impl Fixture {
    fn parse(&self, query: &str) -> Result<ListRequest> {
        let view = self.store.snapshot().into();
        let params = list(query, self.user, &view, UnknownFields::OnlyFilters);
        params.now_or_never().unwrap().map(|params| params.request)
    }
}

#[test]
fn parameters_become_a_list_request() {
    let fixture = fixture();
    let check = |query: &str, expected: ListRequest| {
        assert_eq!(fixture.parse(query).unwrap(), expected, "{query}");
    };
    let all = ListRequest::default();
    let filtered = |filter| ListRequest { filter, ..ListRequest::default() };
    check("", all.clone());
    check("type=&assistant_id=&cursor=&per_page=&order=&created_to&utm=1", all.clone());
    check(
        "type=api&external_identifier=a+b",
        filtered(Filter {
            kinds: Some(ChannelKind::Api.into()),
            external_identifier: Some("a b".parse().unwrap()),
            ..Filter::default()
        }),
    );
    let several = filtered(Filter {
        kinds: ChannelKinds::new([ChannelKind::Api, ChannelKind::Widget]).ok(),
        assistants: Some(fixture.bot.into()),
        ..Filter::default()
    });
    for types in ["type=widget,api", "type=api&type=widget", "type[]=widget&type%5B%5D=api"] {
        check(&format!("{types}&assistant_id=1,{}", uuid('1')), several.clone());
    }
    let bot = Filter { assistants: Some(fixture.bot.into()), ..Filter::default() };
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
        let created_to = Some("2025-01-27".parse().unwrap());
        check(
            &format!("created_from={half_past_two}&created_to=2025-01-26"),
            ListRequest { created_from, created_to, ..all.clone() },
        );
    }
}

#[test]
fn a_total_is_included_or_alone() {
    let fixture = fixture();
    let total = |query: &str| {
        let view = fixture.store.snapshot().into();
        let params = list(query, fixture.user, &view, UnknownFields::Refused);
        params.now_or_never().unwrap().map(|params| params.total)
    };
    assert_eq!(total("type=api&include=&count="), Ok(Total::LeftOut));
    assert_eq!(total("type=api&include=total"), Ok(Total::Included));
    assert_eq!(total("count=only&include=total"), Ok(Total::Only));
    for (query, field, word) in [("include=all", "include", "total"), ("count=1", "count", "only")]
    {
        let error = ApiError::invalid(vec![FieldError::none_of(field, &[word])]);
        assert_eq!(total(query), Err(error));
    }
}

#[test]
fn an_invalid_parameter_is_rejected_with_its_rule() {
    let fixture = fixture();
    let check = |query: &str, error: FieldError| {
        assert_eq!(fixture.parse(query).unwrap_err(), ApiError::invalid(vec![error]), "{query}");
    };
    let invalid = FieldError::invalid_choice;
    let long = "9".repeat(256);
    let kinds = ["test", "widget", "whatsapp", "api"];
    check("type=fax", FieldError::none_of("type", &kinds));
    check("type=API", FieldError::none_of("type", &kinds));
    check("order=up", FieldError::none_of("order", &["desc", "asc"]));
    for wrong in ["0", "2", "x", "99999999999", "+1", &uuid('2'), &uuid('3')] {
        check(&format!("assistant_id={wrong}"), invalid("assistant_id"));
    }
    for wrong in ["1,2", "1,99999", "1&assistant_id[]=2"] {
        let error = FieldError::invalid_choice_of("assistant_id", 2, 2);
        check(&format!("assistant_id={wrong}"), error);
    }
    check("type=api,fax", FieldError::none_of("type", &kinds));
    let many = vec!["1"; 21].join(",");
    let rule = "must not have more than 20 values";
    check(&format!("assistant_id={many}"), FieldError::breaks("assistant_id", rule));
    assert!(fixture.parse(&format!("assistant_id={}", &many[2..])).is_ok());
    for wrong in ["null", "0", "eyJpZCI6MX0", "AA=="] {
        check(&format!("cursor={wrong}"), invalid("cursor"));
    }
    for (field, limit) in
        [("customer_phone", 64), ("whatsapp_sender_phone", 64), ("external_identifier", 255)]
    {
        assert!(fixture.parse(&format!("{field}={}", &long[..limit])).is_ok());
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
fn all_invalid_parameters_are_reported_in_the_documented_order() {
    let wrong = "order=x&per_page=0&cursor=x&cursor=y&type=x&assistant_id=x&customer_phone=%FF";
    let kinds = ChannelKind::ALL.map(ChannelKind::as_str);
    let expected = vec![
        FieldError::none_of("type", &kinds),
        FieldError::invalid_choice("assistant_id"),
        FieldError::breaks("customer_phone", "must be valid UTF-8"),
        FieldError::breaks("per_page", "must be at least 1"),
        FieldError::breaks("cursor", "must be given only once"),
        FieldError::none_of("order", &["desc", "asc"]),
    ];
    assert_eq!(fixture().parse(wrong).unwrap_err(), ApiError::invalid(expected));
}
