//! Query parameters over HTTP: lines 18 to 22 of the pagination contract.

use crate::harness::{Harness, api, other_bot, whatsapp};
use convodb::Channel;
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
    harness.refused("type=fax", "type", "The selected type is invalid.");
    harness.refused("order=up", "order", "The selected order is invalid.");
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
    for same in ["utm=1&utm=2&page=9&type[]=x", "type=&cursor=&assistant_id=&order=&per_page"] {
        assert_eq!(harness.list(same).text(), plain.text(), "{same}");
    }
    for (query, field) in [
        ("type=widget&type=widget", "type"),
        ("per_page=2&per%5Fpage=2", "per_page"),
        ("cursor=&cursor=", "cursor"),
    ] {
        let name = field.replace('_', " ");
        harness.refused(query, field, &format!("The {name} field must be given only once."));
    }
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

#[test]
fn all_invalid_parameters_are_reported_at_once() {
    let response = Harness::new().list("per_page=101&type=fax&created_from=soon");
    assert_eq!(
        (response.status, response.text()),
        (
            422,
            concat!(
                r#"{"message":"The selected type is invalid. (and 2 more errors)","errors":{"#,
                r#""type":["The selected type is invalid."],"#,
                r#""per_page":["The per page field must not be greater than 100."],"#,
                r#""created_from":["The created from field must be a date, YYYY-MM-DD HH:MM:SS, or RFC 3339."]}}"#,
            )
        )
    );
}
