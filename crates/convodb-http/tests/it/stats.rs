//! Statistics endpoint.

use convodb::{AssistantId, Channel, Conversation, Cost, Timestamp};
use serde_json::json;
use uuid::Uuid;

use crate::client::Response;
use crate::harness::{Harness, api, bot, conversation};

#[track_caller]
fn stats(harness: &Harness, query: &str) -> Response {
    harness.request("GET", &format!("/api/user/conversations/stats?{query}"), &harness.token, "")
}

/// A harness with four rows in two months, of two assistants.
fn harness() -> Harness {
    let harness = Harness::new();
    let second = AssistantId::new(Uuid::from_u128(0xB09));
    harness.store.create_assistant(harness.user, second, "Sales").unwrap();
    let rows = [
        ("2025-01-25", Channel::Widget, bot(), 3, "0.1"),
        ("2025-01-25", api("crm-1"), bot(), 1, "0.2"),
        ("2025-01-31", Channel::Widget, second, 0, "0"),
        ("2025-02-01", Channel::Widget, second, 5, "1.5"),
    ];
    for (number, (day, channel, assistant, message_count, cost)) in (1..).zip(rows) {
        let created_at: Timestamp = day.parse().unwrap();
        let total_cost: Cost = cost.parse().unwrap();
        let row = Conversation {
            created_at,
            updated_at: created_at,
            channel,
            assistant,
            message_count,
            total_cost,
            ..conversation(number)
        };
        harness.store.insert(harness.user, row, Vec::new()).unwrap();
    }
    harness
}

#[test]
fn the_body_matches_the_documentation_byte_for_byte() {
    let harness = harness();
    assert_eq!(
        stats(&harness, "from=2025-01-01&to=2025-01-31&group_by=month,type").text(),
        r#"{"from":"2025-01-01","to":"2025-01-31","group_by":["month","type"],"data":[{"period":"2025-01-01","type":"widget","conversations":2,"messages":3,"total_cost":0.1},{"period":"2025-01-01","type":"api","conversations":1,"messages":1,"total_cost":0.2}],"total":{"conversations":3,"messages":4,"total_cost":0.3}}"#
    );
    assert_eq!(
        stats(&harness, "").text(),
        r#"{"from":null,"to":null,"group_by":[],"data":[{"conversations":4,"messages":9,"total_cost":1.8}],"total":{"conversations":4,"messages":9,"total_cost":1.8}}"#
    );
    assert_eq!(
        stats(&harness, "group_by=assistant&type=widget").text(),
        r#"{"from":null,"to":null,"group_by":["assistant"],"data":[{"assistant_id":"00000000-0000-0000-0000-000000000b07","assistant_name":"Support","conversations":1,"messages":3,"total_cost":0.1},{"assistant_id":"00000000-0000-0000-0000-000000000b09","assistant_name":"Sales","conversations":2,"messages":5,"total_cost":1.5}],"total":{"conversations":3,"messages":8,"total_cost":1.6}}"#
    );
}

#[test]
fn a_period_is_named_by_its_first_day() {
    let harness = harness();
    let periods = |query: &str| {
        let body = stats(&harness, query).json();
        let rows = body["data"].as_array().unwrap().clone();
        rows.iter().map(|row| row["period"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(periods("group_by=day"), ["2025-01-25", "2025-01-31", "2025-02-01"]);
    assert_eq!(periods("group_by=week"), ["2025-01-20", "2025-01-27"]);
    assert_eq!(periods("group_by=month"), ["2025-01-01", "2025-02-01"]);
    assert_eq!(periods("group_by=day&from=2025-01-31&to=2025-01-31"), ["2025-01-31"]);
    assert_eq!(periods("group_by=day&assistant_id=2&from=2025-02-01"), ["2025-02-01"]);
    assert_eq!(periods("group_by=month&assistant_id=2"), ["2025-01-01", "2025-02-01"]);
}

#[test]
fn groups_may_be_given_one_by_one() {
    let harness = harness();
    let at_once = stats(&harness, "group_by=month,type");
    for same in ["group_by=month&group_by=type", "group_by=month&group_by=&group_by=type"] {
        assert_eq!(stats(&harness, same).text(), at_once.text(), "{same}");
    }
    assert_eq!(stats(&harness, "group_by=day&group_by=month").status, 422);
}

#[test]
fn conversations_of_other_users_are_not_counted() {
    let harness = harness();
    let target = "/api/user/conversations/stats";
    let other = harness.request("GET", target, &harness.other_token, "").json();
    let nothing = json!({"conversations": 0, "messages": 0, "total_cost": 0.0});
    assert_eq!((&other["data"], &other["total"]), (&json!([]), &nothing));
    assert_eq!(harness.request("GET", target, "unknown", "").status, 401);
}

#[test]
fn invalid_parameters_answer_422() {
    let harness = harness();
    let grouping = "must be some of day, week, month, type and assistant, with commas between them";
    for (query, field, message) in [
        ("from=soon", "from", "The from field must be a date, YYYY-MM-DD.".to_owned()),
        ("to=2025-02-30", "to", "The to field must be a date, YYYY-MM-DD.".to_owned()),
        (
            "from=2025-02-01T00:00:00Z",
            "from",
            "The from field must be a date, YYYY-MM-DD.".to_owned(),
        ),
        ("from=2025-02-02&to=2025-02-01", "to", "The to field must not be before from.".to_owned()),
        ("group_by=year", "group_by", format!("The group by field {grouping}.")),
        ("group_by=day,,type", "group_by", format!("The group by field {grouping}.")),
        (
            "group_by=day,month",
            "group_by",
            "The group by field must have at most one of day, week and month.".to_owned(),
        ),
        (
            "type=fax",
            "type",
            "The selected type is invalid. It must be one of test, widget, whatsapp, api."
                .to_owned(),
        ),
        ("assistant_id=3", "assistant_id", "The selected assistant id is invalid.".to_owned()),
    ] {
        let response = stats(&harness, query);
        let body = json!({"message": message, "errors": {field: [message]}});
        assert_eq!((response.status, response.json()), (422, body), "{query}");
    }
}
