//! Query parameters over HTTP: lines 18 to 22 of the pagination contract.

use crate::harness::{Harness, api, conversation, other_bot, whatsapp};
use convodb::{Channel, Store};
use convodb_http::Config;
use uuid::Uuid;

#[test]
fn per_page_must_be_1_to_100() {
    let harness = Harness::new();
    harness.insert(1..=120, &Channel::Widget);
    for (query, rows) in [("", 15), ("per_page=1", 1), ("per_page=100", 100), ("per_page=", 15)] {
        let response = harness.list(query);
        assert_eq!(response.rows().len(), rows, "{query}");
        assert_eq!(response.json()["per_page"], rows, "{query}");
    }
    for (wrong, rule) in [
        ("0", "must be at least 1"),
        ("-1", "must be at least 1"),
        ("101", "must not be greater than 100"),
        ("18446744073709551616", "must not be greater than 100"),
        ("1.5", "must be an integer"),
        ("abc", "must be an integer"),
    ] {
        let message = format!("The per page field {rule}.");
        harness.refused(&format!("per_page={wrong}"), "per_page", &message);
    }
}

#[test]
fn an_unknown_choice_answers_422() {
    let harness = Harness::new();
    let kinds = "It must be one of test, widget, whatsapp, api.";
    harness.refused("type=fax", "type", &format!("The selected type is invalid. {kinds}"));
    harness.refused(
        "order=up",
        "order",
        "The selected order is invalid. It must be one of desc, asc.",
    );
    let missing = Uuid::from_u128(7).to_string();
    for assistant in [&other_bot().uuid().to_string(), &missing, "2", "0", "x"] {
        let query = format!("assistant_id={assistant}");
        harness.refused(&query, "assistant_id", "The selected assistant id is invalid.");
    }
}

#[test]
fn a_foreign_assistant_answers_like_a_missing_one() {
    let harness = Harness::new();
    let of = |uuid: Uuid| {
        let id = "x-request-id: same\r\n";
        let target = format!("{}?assistant_id={uuid}", crate::harness::LIST);
        harness.request("GET", &target, &harness.token, id)
    };
    let (foreign, missing) = (of(other_bot().uuid()), of(Uuid::from_u128(7)));
    assert_eq!((foreign.status, &foreign.body), (422, &missing.body));
    assert_eq!(harness.list_of(&harness.other_token, "assistant_id=1").status, 200);
}

#[test]
fn unknown_and_blank_parameters_are_ignored_and_repeated_ones_refused() {
    let harness = Harness::new();
    harness.insert(1..=3, &Channel::Widget);
    let plain = harness.list("");
    for same in ["utm=1&utm=2&page=9", "type=&cursor=&assistant_id=&order=&per_page"] {
        assert_eq!(harness.list(same).text(), plain.text(), "{same}");
    }
    for (query, field) in [
        ("order=asc&order=asc", "order"),
        ("per_page=2&per%5Fpage=2", "per_page"),
        ("cursor=&cursor=", "cursor"),
    ] {
        let name = field.replace('_', " ");
        harness.refused(query, field, &format!("The {name} field must be given only once."));
    }
}

/// Several types or assistants, in every form in which clients write lists.
#[test]
fn type_and_assistant_may_have_several_values() {
    let harness = Harness::new();
    harness.insert([1, 4], &Channel::Widget);
    harness.insert([2, 5], &api("crm-1"));
    harness.insert([3, 6], &whatsapp("+1", "+2"));
    for query in [
        "type=widget,api",
        "type=api,widget,api",
        "type=api&type=widget",
        "type[]=api&type[]=widget",
        "type%5B0%5D=api&type%5B1%5D=widget",
        "type=api%2Cwidget&assistant_id=1,1",
    ] {
        assert_eq!(harness.list(query).rows(), [5, 4, 2, 1], "{query}");
    }
    assert_eq!(harness.list("type=test,widget,whatsapp,api").rows(), [6, 5, 4, 3, 2, 1]);
    assert_eq!(harness.list("type=widget,whatsapp&customer_phone=%2B2").rows(), [6, 3]);
    assert_eq!(harness.list("type=widget,api&customer_phone=%2B2").rows(), Vec::<u8>::new());

    // A cursor alone continues the union; the same values beside it are fine, others are not.
    let first = harness.list("type=widget,api&per_page=3").json();
    let next = first["next_cursor"].as_str().unwrap();
    for same in ["", "&type=api&type=widget", "&type[]=widget,api"] {
        assert_eq!(harness.list(&format!("cursor={next}{same}")).rows(), [1], "{same}");
    }
    for other in ["type=api", "type=api,whatsapp", "type=test,widget,whatsapp,api"] {
        let query = format!("cursor={next}&{other}");
        let response = harness.list(&query);
        assert_eq!(response.status, 422, "{query}");
        assert!(response.json()["errors"]["type"].is_array(), "{query}");
    }
    // The cursor of the most assistants is the longest.
    for number in 2..=20 {
        let body = format!(r#"{{"name":"Bot {number}"}}"#);
        assert_eq!(harness.send("POST", "/api/user/assistants", &body).status, 200);
    }
    let twenty = (1..=20).map(|number| number.to_string()).collect::<Vec<_>>().join(",");
    let longest = harness.list(&format!(
        "type=widget,api,whatsapp&assistant_id={twenty}&per_page=4&created_from=2001-01-01&order=asc"
    ));
    assert_eq!(longest.rows(), [1, 2, 3, 4]);
    let next = longest.json()["next_cursor"].as_str().unwrap().to_owned();
    assert!(next.len() > 255, "{} characters", next.len());
    assert_eq!(harness.list(&format!("cursor={next}")).rows(), [5, 6]);
    assert!(longest.header("link").contains(&next));

    let invalid = "The selected assistant id is invalid: value 2 of 2.";
    harness.refused("assistant_id=1,77", "assistant_id", invalid);
    let twenty_one = format!("assistant_id={}", vec!["1"; 21].join(","));
    let rule = "The assistant id field must not have more than 20 values.";
    harness.refused(&twenty_one, "assistant_id", rule);
}

/// A total is exact, of the whole list whatever the page, and only where it is asked for.
#[test]
fn a_total_is_included_beside_a_page_or_alone() {
    let harness = Harness::new();
    harness.insert([1, 2, 4], &Channel::Widget);
    harness.insert([3], &whatsapp("+1", "+2"));
    assert!(harness.list("type=widget").json().get("total").is_none());
    let total = |query: &str| harness.list(query).json()["total"].clone();
    let exactly = |count: u64| serde_json::json!({"conversations": count, "exact": true});
    for (filter, count) in [
        ("", 4),
        ("type=widget", 3),
        ("type=widget,whatsapp&assistant_id=1", 4),
        ("customer_phone=%2B2", 1),
        ("customer_phone=%2B3", 0),
        ("type=api&customer_phone=%2B2", 0),
        ("created_to=2001-01-01", 0),
    ] {
        assert_eq!(total(&format!("{filter}&include=total")), exactly(count), "{filter}");
        let only = harness.list(&format!("{filter}&count=only"));
        let body = only.text();
        let end = format!(r#""total":{{"conversations":{count},"exact":true}}}}"#);
        assert!(body.starts_with(r#"{"data":[],"path":""#) && body.ends_with(&end), "{body}");
        assert_eq!(only.json()["next_cursor"], serde_json::Value::Null);
        assert!(only.maybe_header("link").is_none());
    }
    let first = harness.list("type=widget&per_page=2&include=total");
    let body = first.text();
    assert!(body.ends_with(r#","prev_cursor":null,"total":{"conversations":3,"exact":true}}"#));
    let next = first.json()["next_cursor"].as_str().unwrap().to_owned();
    assert_eq!(total(&format!("cursor={next}&include=total")), exactly(3));
    assert_eq!(total(&format!("cursor={next}&count=only")), exactly(3));
    let rule = "The selected include is invalid. It must be total.";
    harness.refused("include=all", "include", rule);
    harness.refused("count=yes", "count", "The selected count is invalid. It must be only.");
}

#[test]
fn a_plus_in_a_phone_is_not_a_space() {
    let harness = Harness::new();
    harness.insert([1], &whatsapp("+4915112345678", "+4915112345679"));
    harness.insert([2], &whatsapp("+1", "+2"));
    for filter in ["whatsapp_sender_phone=PLUS4915112345678", "customer_phone=PLUS4915112345679"] {
        let [raw, encoded] = ["+", "%2B"].map(|plus| harness.list(&filter.replace("PLUS", plus)));
        assert_eq!(raw.rows(), [1], "{filter}");
        assert_eq!(raw.text(), encoded.text(), "{filter}");
    }
}

/// As URLSearchParams, urllib and `curl --data-urlencode` encode a form.
#[test]
fn a_phone_may_be_encoded_as_a_form() {
    let harness = Harness::new();
    harness.insert([1], &whatsapp("+1 415 555 0100", "+49 151 1"));
    harness.insert([2], &whatsapp("+14155550100", "+491511"));
    for (query, row) in [
        ("whatsapp_sender_phone=%2B1+415+555+0100", 1),
        ("whatsapp_sender_phone=%2B1%20415%20555%200100", 1),
        ("whatsapp_sender_phone=+1+415+555+0100", 1),
        ("customer_phone=%2B49+151+1", 1),
        ("whatsapp_sender_phone=%2B14155550100", 2),
        ("customer_phone=+491511", 2),
    ] {
        assert_eq!(harness.list(query).rows(), [row], "{query}");
    }
}

#[test]
fn values_are_compared_byte_for_byte() {
    let harness = Harness::new();
    let longest = "x".repeat(255);
    let values = ["a\0b", "'\"\\", "\u{1F600}", "a b", "A", "ä", "a\u{308}", "%2B", &longest];
    for (row, value) in (1..).zip(values) {
        harness.insert([row], &api(value));
    }
    let encoded =
        ["a%00b", "%27%22%5C", "%F0%9F%98%80", "a+b", "A", "%C3%A4", "a%CC%88", "%252B", &longest];
    for (row, value) in (1..).zip(encoded) {
        assert_eq!(harness.list(&format!("external_identifier={value}")).rows(), [row], "{value}");
    }
    assert_eq!(harness.list("external_identifier=a").rows(), Vec::<u8>::new());
}

#[test]
fn too_long_and_non_utf8_values_answer_422() {
    let harness = Harness::new();
    for (field, bytes) in
        [("external_identifier", 255), ("customer_phone", 64), ("whatsapp_sender_phone", 64)]
    {
        let name = field.replace('_', " ");
        let [longest, over] = [bytes, bytes + 1].map(|n| format!("{field}={}", "1".repeat(n)));
        assert_eq!(harness.list(&longest).status, 200);
        let message = format!("The {name} field must not be greater than {bytes} bytes.");
        harness.refused(&over, field, &message);
        let message = format!("The {name} field must be valid UTF-8.");
        harness.refused(&format!("{field}=%C3%28"), field, &message);
    }
}

/// A parameter that only looks like a filter would return everything.
#[test]
fn filters_that_are_not_there_answer_422() {
    let harness = Harness::new();
    let known = "type, assistant_id, customer_phone, whatsapp_sender_phone, external_identifier, \
                 ai_enabled, per_page, cursor, created_from, created_to, sort, active_from, \
                 active_to, order, include, count, fields";
    for name in [
        "updated_at",
        "updated_from",
        "from",
        "type[a]",
        "customer_phone[0]",
        "customer[phone]",
        "Type",
        "assistantId",
        "per-page",
        "PerPage",
        "AI_Enabled",
    ] {
        let rule = format!("is not a parameter here; the parameters are {known}");
        let message = |name: &str| format!("The {} field {rule}.", name.replace('_', " "));
        // A name with a digit could be a phone number.
        let shown = if name.contains('0') { "query" } else { name };
        harness.refused(&format!("{name}=x"), shown, &message(shown));
    }
}

#[test]
fn a_strict_list_refuses_unknown_parameters() {
    let harness = Harness::new();
    harness.insert(1..=3, &Channel::Widget);
    let list = |harness: &Harness, query: &str, headers: &str| {
        harness.request(
            "GET",
            &format!("{}?{query}", crate::harness::LIST),
            &harness.token,
            headers,
        )
    };
    let strict = "Prefer: handling=strict\r\n";
    let known = list(&harness, "type=widget&per_page=2", strict);
    assert_eq!((known.status, known.header("preference-applied")), (200, "handling=strict"));
    let typo = "type=widget&custommer_phone=%2B1&x%2B49151=&custommer_phone=";
    assert_eq!(list(&harness, typo, "").rows().len(), 3);
    let refused = list(&harness, typo, strict);
    assert_eq!(refused.status, 422);
    let errors = refused.json()["errors"].as_object().unwrap().clone();
    assert_eq!(errors.keys().collect::<Vec<_>>(), ["custommer_phone", "query"]);
    assert!(!refused.text().contains("49151"));

    let config = Config { strict_parameters: true, ..Config::default() };
    let configured = Harness::of(Store::in_memory().unwrap(), config);
    assert_eq!(list(&configured, "type=widget", "").status, 200);
    assert_eq!(list(&configured, typo, "").status, 422);
}

/// Endpoints that the reference does not have are always strict.
#[test]
fn extensions_refuse_unknown_parameters() {
    let harness = Harness::new();
    for (path, query) in [
        ("stats", "customer_phone=%2B1"),
        ("stats", "created_from=2025-01-01"),
        ("stats", "grop_by=day"),
        ("stats", "group_by[]=day"),
        ("export", "custommer_phone=%2B1"),
        ("changes", "since=now"),
    ] {
        let target = format!("{}/{path}?{query}", crate::harness::LIST);
        let response = harness.request("GET", &target, &harness.token, "");
        assert_eq!(response.status, 422, "{target}");
        let name = query.split_once('=').unwrap().0;
        let message = response.json()["errors"][name][0].as_str().unwrap().to_owned();
        assert!(message.contains("is not a parameter here; the parameters are "), "{message}");
        let bare = format!("{}/{path}?", crate::harness::LIST);
        assert_eq!(harness.request("GET", &bare, &harness.token, "").status, 200, "{bare}");
    }
}

/// A window that includes its end misses nothing, however precisely its end is written.
#[test]
fn both_bounds_of_a_window_are_included() {
    let harness = Harness::new();
    let rows = [
        (1, "2025-01-30T23:59:59.999Z"),
        (2, "2025-01-31T00:00:00.000Z"),
        (3, "2025-01-31T23:59:59.000Z"),
        (4, "2025-01-31T23:59:59.999Z"),
        (5, "2025-02-01T00:00:00.000Z"),
    ];
    for (row, at) in rows {
        let at: convodb::Timestamp = at.parse().unwrap();
        let row = convodb::Conversation { created_at: at, updated_at: at, ..conversation(row) };
        harness.store.insert(harness.user, row, Vec::new()).unwrap();
    }
    for (query, rows) in [
        ("created_from=2025-01-31&created_to=2025-01-31", vec![4, 3, 2]),
        ("created_from=2025-01-31+00:00:00&created_to=2025-01-31+23:59:59", vec![4, 3, 2]),
        ("created_to=2025-01-31T23:59:59.000Z", vec![3, 2, 1]),
        ("created_to=2025-01-30", vec![1]),
        ("created_from=2025-02-01", vec![5]),
    ] {
        assert_eq!(harness.list(query).rows(), rows, "{query}");
    }
    let stats = format!("{}/stats?from=2025-01-31&to=2025-01-31", crate::harness::LIST);
    let stats = harness.request("GET", &stats, &harness.token, "").json();
    assert_eq!(stats["total"]["conversations"], 3);
}

#[test]
fn all_invalid_parameters_are_reported_at_once() {
    let response = Harness::new().list("per_page=101&type=fax&created_from=soon");
    assert_eq!(
        (response.status, response.text()),
        (
            422,
            concat!(
                r#"{"message":"The selected type is invalid. It must be one of test, widget, whatsapp, api. (and 2 more errors)","errors":{"#,
                r#""type":["The selected type is invalid. It must be one of test, widget, whatsapp, api."],"#,
                r#""per_page":["The per page field must not be greater than 100."],"#,
                r#""created_from":["The created from field must be a date, YYYY-MM-DD HH:MM:SS, or RFC 3339."]}}"#,
            )
        )
    );
}
