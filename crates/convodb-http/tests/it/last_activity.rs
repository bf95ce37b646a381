//! Lists by last activity: pages, the changes since a walk began, totals, exports, and what is
//! refused.

use std::collections::BTreeMap;

use crate::client::Response;
use crate::harness::{Harness, LIST, api, bot, conversation, whatsapp};
use convodb::{Channel, Conversation, IndexFamilies, Message, Role, Timestamp};
use serde_json::Value;

fn said(seconds: u64) -> Message {
    let at = Timestamp::from_millis(1_737_800_000_000 + seconds * 1000).unwrap();
    Message::new(Role::User, "hi", at).unwrap()
}

/// A harness whose store has the index by last activity.
fn indexed() -> Harness {
    let harness = Harness::new();
    harness.store.add_indexes(IndexFamilies::ALL).unwrap();
    harness
}

impl Harness {
    fn append(&self, row: u8, seconds: u64) {
        self.store.append_message(self.user, conversation(row).id, said(seconds)).unwrap();
    }

    fn get(&self, target: &str) -> Response {
        self.request("GET", target, &self.token, "")
    }
}

#[test]
fn pages_are_by_last_activity_in_both_directions() {
    let harness = indexed();
    harness.insert(1..=7, &Channel::Widget);
    harness.append(2, 100);
    let first = harness.list("sort=last_activity&per_page=3");
    assert_eq!(first.rows(), [2, 7, 6]);
    let next =
        |from: &Response, key| harness.list(&format!("cursor={}", from.cursor(key).unwrap()));
    let second = next(&first, "next_cursor");
    assert_eq!(second.rows(), [5, 4, 3]);
    assert_eq!(next(&second, "next_cursor").rows(), [1]);
    let back = next(&second, "prev_cursor");
    assert_eq!(back.text(), first.text());
    assert_eq!(harness.list("sort=last_activity&order=asc").rows(), [1, 3, 4, 5, 6, 7, 2]);

    // The five keys of a page, then this one, then the total.
    let keys = |response: &Response| {
        let body = response.text().to_owned();
        let keys = ["data", "path", "per_page", "next_cursor", "prev_cursor", "changes_cursor"];
        let places = keys.map(|key| body.find(&format!("\"{key}\":")).unwrap_or(usize::MAX));
        assert!(places.is_sorted(), "{body}");
        response.json()
    };
    let cursor = keys(&first)["changes_cursor"].clone();
    assert!(cursor.is_string());
    assert_eq!(keys(&second)["changes_cursor"], cursor, "that of the walk");
    assert_eq!(keys(&harness.list(""))["changes_cursor"], Value::Null);
    let counted = keys(&harness.list("sort=last_activity&include=total&per_page=1"));
    assert_eq!(counted["total"]["conversations"], 7);
    let only = harness.list("sort=last_activity&count=only&active_from=2025-01-25T10:13:26").json();
    assert_eq!(only["total"]["conversations"], 3, "{only}");

    let between =
        "sort=last_activity&active_from=2025-01-25T10:13:25&active_to=2025-01-25T10:13:27";
    assert_eq!(harness.list(between).rows(), [7, 6, 5], "both ends");
}

#[test]
fn a_walk_and_the_changes_since_are_a_copy_of_the_list() {
    let harness = indexed();
    harness.insert(1..=9, &whatsapp("+1", "+2"));
    harness.insert(10..=12, &Channel::Widget);
    let mut copy: BTreeMap<String, Value> = BTreeMap::new();
    let mut add = |body: &Value| {
        for row in body["data"].as_array().unwrap() {
            copy.insert(row["id"].as_str().unwrap().to_owned(), row.clone());
        }
    };
    let first = harness.list("sort=last_activity&type=whatsapp&per_page=4");
    add(&first.json());
    // One that was not read moves to the top, one that was read is deleted, and one is new.
    harness.append(1, 200);
    harness.store.delete(harness.user, conversation(9).id).unwrap();
    harness.insert([13], &whatsapp("+1", "+3"));
    harness.append(11, 201);
    let mut page = first;
    while let Some(cursor) = page.cursor("next_cursor") {
        page = harness.list(&format!("cursor={cursor}"));
        add(&page.json());
    }
    assert!(!copy.contains_key(&conversation(1).id.to_string()), "it moved past the walk");
    let since = page.json()["changes_cursor"].as_str().unwrap().to_owned();
    let changes = harness.get(&format!("{LIST}/changes?cursor={since}")).json();
    for change in changes["data"].as_array().unwrap() {
        let id = change["id"].as_str().unwrap().to_owned();
        match &change["conversation"] {
            row if row["type"] == "whatsapp" => copy.insert(id, row.clone()),
            _ => copy.remove(&id),
        };
    }
    let list = harness.list("type=whatsapp&per_page=100").json();
    let stored = list["data"].as_array().unwrap().iter();
    let stored = stored.map(|row| (row["id"].as_str().unwrap().to_owned(), row.clone()));
    assert_eq!(copy, stored.collect());
}

#[test]
fn what_has_no_such_list_is_refused() {
    let harness = Harness::new();
    harness.insert(1..=3, &api("crm-1"));
    let absent = harness.list("sort=last_activity");
    assert_eq!(absent.status, 422);
    assert!(absent.text().contains("--indexes last-activity"), "{}", absent.text());
    harness.store.add_indexes(IndexFamilies::ALL).unwrap();
    let sort = "The selected sort is invalid. It must be one of created_at, last_activity.";
    harness.refused("sort=updated_at", "sort", sort);
    let combination = "The sort field can be last_activity without filter, or with type, \
                       assistant_id, both of them, whatsapp_sender_phone or customer_phone, and no \
                       other combination.";
    let by_activity = "sort=last_activity&";
    harness.refused(&format!("{by_activity}external_identifier=crm-1"), "sort", combination);
    harness.refused(&format!("{by_activity}customer_phone=1&assistant_id=1"), "sort", combination);
    let refused = harness.list(&format!("{by_activity}count=only&external_identifier=crm-1"));
    assert_eq!(refused.status, 422, "a total, too");
    let beside = "The active from field must be left out unless sort is last_activity.";
    harness.refused("active_from=2025-01-01", "active_from", beside);
    let beside = "The created to field must be left out if sort is last_activity.";
    harness.refused(&format!("{by_activity}created_to=2025-01-01"), "created_to", beside);

    let of = |query: &str| harness.list(query).cursor("next_cursor").unwrap();
    let (created, active) = (of("per_page=1"), of("sort=last_activity&per_page=1"));
    assert_eq!(harness.list(&format!("sort=last_activity&cursor={created}")).status, 422);
    assert_eq!(harness.list(&format!("sort=created_at&cursor={active}")).status, 422);
    assert_eq!(harness.list(&format!("sort=last_activity&cursor={active}")).rows(), [2]);
}

#[test]
fn exports_are_by_last_activity_too() {
    let harness = indexed();
    harness.insert(1..=4, &Channel::Widget);
    harness.append(2, 100);
    let export = |query: &str| harness.get(&format!("{LIST}/export?{query}"));
    let ids = |response: &Response| -> Vec<String> {
        let lines =
            response.text().lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    };
    let id = |row| conversation(row).id.to_string();
    let all = export("sort=last_activity");
    assert_eq!(ids(&all), [1, 3, 4, 2].map(id), "least recently active first");
    let newest = export("sort=last_activity&order=desc&active_from=2025-01-25T10:13:24");
    assert_eq!(ids(&newest), [2, 4].map(id));
    let refused = export("sort=last_activity&external_identifier=x");
    assert_eq!(refused.status, 422, "before the first line: {}", refused.text());
    let other = Conversation { assistant: bot(), ..conversation(9) };
    harness.store.insert(harness.user, other, Vec::new()).unwrap();
    assert_eq!(ids(&export("sort=last_activity&order=desc"))[1], id(9));
}

/// Neither the commits of others nor those that change nothing change the body of an unchanged list.
#[test]
fn an_unchanged_list_has_an_unchanged_entity_tag() {
    let harness = indexed();
    harness.insert(1..=3, &Channel::Widget);
    let target = format!("{LIST}?sort=last_activity");
    let first = harness.get(&target);
    harness.store.create_user("Third", Timestamp::MIN).unwrap();
    let again = harness.get(&target);
    assert_eq!(again.text(), first.text());
    let tag = first.maybe_header("etag").unwrap().to_owned();
    let unless = format!("If-None-Match: {tag}\r\n");
    assert_eq!(harness.request("GET", &target, &harness.token, &unless).status, 304);
    harness.append(1, 100);
    let moved = harness.request("GET", &target, &harness.token, &unless);
    assert_eq!((moved.status, moved.rows()), (200, vec![1, 3, 2]));
}
