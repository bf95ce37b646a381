//! Console's list: chips, sorts, previews, walks and live updates, each equal to the API's list.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use convodb::{Channel, Conversation, IndexFamilies, Message, Role, Timestamp};

use crate::console::{get, ids, link, sign_in};
use crate::harness::{Harness, api, conversation, whatsapp};

/// A harness whose store has all optional indexes.
fn indexed() -> Harness {
    let harness = Harness::new();
    harness.store.add_indexes(IndexFamilies::ALL).unwrap();
    harness
}

impl Harness {
    fn insert_with_ai_off(&self, row: u8) {
        let new = Conversation { ai_enabled: false, ..conversation(row) };
        self.store.insert(self.user, new, Vec::new()).unwrap();
    }

    /// Appends a message `seconds` after the time from which rows count.
    fn say(&self, row: u8, role: Role, text: &str, seconds: u64) {
        let at = Timestamp::from_millis(1_737_800_000_000 + seconds * 1000).unwrap();
        let message = Message::new(role, text, at).unwrap();
        self.store.append_message(self.user, conversation(row).id, message).unwrap();
    }
}

/// The ids of a page of the API.
fn listed(harness: &Harness, query: &str) -> Vec<String> {
    let body = harness.list(query).json();
    let items = body["data"].as_array().unwrap().iter();
    items.map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

/// Both directions by the links of the pages, row by row as the API.
#[test]
fn a_walk_by_links_equals_the_walk_of_the_api() {
    let harness = indexed();
    harness.insert(1..=100, &whatsapp("+4930", "+49151"));
    harness.insert(101..=120, &api("crm"));
    (121..=140).for_each(|row| harness.insert_with_ai_off(row));
    for row in (1..=100).step_by(7) {
        harness.say(row, Role::User, "again", 1000 - u64::from(row));
    }
    let cookie = sign_in(&harness, &harness.token);
    for filter in [
        "",
        "type=whatsapp",
        "customer_phone=%2B49151&order=asc",
        "external_identifier=crm",
        "ai_enabled=false",
        "sort=last_activity",
        "type=whatsapp&sort=last_activity&active_from=2025-01-25&order=asc",
    ] {
        let mut targets = vec![format!("/console/conversations?per_page=15&{filter}")];
        let mut query = format!("per_page=15&{filter}");
        let mut rows = Vec::new();
        loop {
            let page = get(&harness, targets.last().unwrap(), &cookie);
            let expected = listed(&harness, &query);
            assert_eq!(ids(page.text()), expected, "{filter}");
            assert!(!expected.is_empty(), "{filter}");
            rows.push(expected);
            let next = link(page.text(), "next");
            let cursor = harness.list(&query).cursor("next_cursor");
            assert_eq!(next.is_some(), cursor.is_some(), "{filter}");
            let (Some(next), Some(cursor)) = (next, cursor) else { break };
            query = format!("cursor={cursor}");
            targets.push(next);
        }
        rows.pop();
        while let Some(expected) = rows.pop() {
            let page = get(&harness, targets.last().unwrap(), &cookie);
            let prev = link(page.text(), "prev").expect("a page before");
            assert_eq!(ids(get(&harness, &prev, &cookie).text()), expected, "{filter}");
            targets.push(prev);
        }
    }
}

/// Several types and assistants are one list, as in the API; a form's repeated fields become one.
#[test]
fn chips_have_several_values_and_the_list_its_number() {
    let harness = Harness::new();
    harness.insert(1..=5, &Channel::Widget);
    harness.insert(6..=8, &api("x"));
    harness.insert(9..=10, &whatsapp("+4930", "+49151"));
    let cookie = sign_in(&harness, &harness.token);
    let sent = get(
        &harness,
        "/console/conversations?type=widget&type=api&assistant_id=1&include=total",
        &cookie,
    );
    let target = "/console/conversations?type=widget,api&assistant_id=1&include=total";
    assert_eq!((sent.status, sent.header("location")), (303, target));
    let page = get(&harness, target, &cookie);
    let listed = harness.list("type=widget,api&assistant_id=1&include=total&per_page=25").json();
    let items = listed["data"].as_array().unwrap().iter();
    let expected: Vec<String> = items.map(|item| item["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!((ids(page.text()), expected.len()), (expected, 8));
    for text in ["<span class=\"value\">Widget, API</span>", "<span class=\"quiet total\">8</span>"]
    {
        assert!(page.text().contains(text), "{text}: {}", page.text());
    }
    let checked = |value: &str| page.text().contains(&format!("value=\"{value}\" checked"));
    assert!(checked("widget") && checked("api") && checked("total") && !checked("whatsapp"));
    assert!(link(page.text(), "next").is_none());
    let wrong = get(&harness, "/console/conversations?type=widget,fax", &cookie);
    assert!(wrong.text().contains("It must be one of test, widget, whatsapp, api."));
    let uncounted = get(&harness, "/console/conversations", &cookie);
    assert!(!uncounted.text().contains("quiet total"));
    assert_eq!(ids(uncounted.text()).len(), 10);
}

/// What needs an optional index is offered by a store that has it. A URL that asks for it says what
/// is missing elsewhere.
#[test]
fn optional_indexes_have_their_chip_and_their_sort() {
    let (plain, indexed) = (Harness::new(), indexed());
    let chip = "href=\"/console/conversations?ai_enabled=false\">AI off";
    for (harness, has) in [(&plain, false), (&indexed, true)] {
        harness.insert([1, 2], &Channel::Widget);
        harness.insert_with_ai_off(3);
        let cookie = sign_in(harness, &harness.token);
        let page = get(harness, "/console/conversations", &cookie);
        assert_eq!(page.text().contains(chip), has);
        assert_eq!(page.text().contains("name=\"sort\""), has);
    }
    let cookie = sign_in(&plain, &plain.token);
    for (query, index) in [("ai_enabled=false", "ai-off"), ("sort=last_activity", "last-activity")]
    {
        let refused = get(&plain, &format!("/console/conversations?{query}"), &cookie);
        assert_eq!(refused.status, 422);
        assert!(refused.text().contains(&format!("This list needs the index {index}")));
    }

    let cookie = sign_in(&indexed, &indexed.token);
    let off = get(&indexed, "/console/conversations?ai_enabled=false", &cookie);
    assert_eq!(ids(off.text()), [conversation(3).id.to_string()]);
    for text in [
        "href=\"/console/conversations\" aria-label=\"Remove this filter: AI off\"",
        "<input type=\"hidden\" name=\"ai_enabled\" value=\"false\">",
        "<span class=\"badge off\">AI off</span>",
    ] {
        assert!(off.text().contains(text), "{text}: {}", off.text());
    }
    indexed.say(1, Role::User, "hi", 500);
    let active = get(&indexed, "/console/conversations?sort=last_activity", &cookie);
    assert_eq!(ids(active.text()), [1, 3, 2].map(|row| conversation(row).id.to_string()));
    assert!(active.text().contains("Last active first, 25 rows"));
    assert!(active.text().contains("name=\"active_from\"") && !active.text().contains("created_"));
    let bounds =
        get(&indexed, "/console/conversations?created_from=2025-01-25&sort=last_activity", &cookie);
    let without = "/console/conversations?sort=last_activity";
    assert_eq!(
        (bounds.status, bounds.header("location")),
        (303, without),
        "a form changed the sort"
    );
    let target = "/console/conversations?external_identifier=x&sort=last_activity";
    let refused = get(&indexed, target, &cookie);
    assert!(refused.text().contains("A list by last activity can be filtered by type"));
    assert!(
        refused
            .text()
            .contains("href=\"/console/conversations?external_identifier=x\">Sort by creation")
    );
}

/// The screen's curl command returns what the screen shows, previews included.
#[test]
fn rows_have_the_first_and_the_last_message() {
    let harness = Harness::new();
    harness.insert([1, 2, 3], &Channel::Widget);
    harness.say(2, Role::User, "only\none", 10);
    harness.say(3, Role::User, "first", 20);
    harness.say(3, Role::Assistant, "between", 21);
    harness.say(3, Role::Tool, "last", 22);
    let cookie = sign_in(&harness, &harness.token);
    let page = get(&harness, "/console/conversations", &cookie).text().to_owned();
    let lines = |row: u8| {
        let (_, rest) = page.split_once(&format!("data-id=\"{}\"", conversation(row).id)).unwrap();
        let (cells, _) = rest.split_once("</tr>").unwrap();
        let (_, preview) = cells.split_once("<td class=\"preview\">").unwrap();
        preview.split("</td>").next().unwrap().to_owned()
    };
    let line = |author: &str, text: &str| {
        format!(
            "<p><span class=\"role\">{author}</span> <span class=\"line\" dir=\"auto\">{text}</span></p>"
        )
    };
    assert_eq!(lines(1), "");
    assert_eq!(lines(2), line("Customer", "only\none"));
    assert_eq!(lines(3), line("Customer", "first") + &line("Tool", "last"));
    let (_, curl) = page.split_once("$TOKEN&#34; &#39;").unwrap();
    let (path, _) = curl.split_once("&#39;").unwrap();
    let target = path.replace("&#38;", "&");
    assert_eq!(target, "/api/user/conversations?fields=preview&per_page=25");
    let body = harness.request("GET", &target, &harness.token, "").json();
    assert_eq!(body["data"][0]["preview"]["last"]["content"], "last");
}

/// The events of the live stream of a page.
fn live(harness: &Harness, target: &str, cookie: &str) -> impl FnMut() -> String {
    let page = get(harness, target, cookie).text().to_owned();
    let url = page.split("data-url=\"").nth(1).unwrap().split('"').next().unwrap();
    let url = url.replace("&#38;", "&");
    let mut stream = TcpStream::connect(harness.server.address).unwrap();
    let request = format!("GET {url} HTTP/1.1\r\nHost: test\r\nCookie: {cookie}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    move || lines.find_map(|line| line.strip_prefix("data: ").map(str::to_owned)).unwrap()
}

/// The stream counts what the list of its URL has got above the first row of the page.
#[test]
fn the_live_stream_counts_new_conversations_of_the_list() {
    let harness = Harness::new();
    harness.insert([1], &Channel::Widget);
    let cookie = sign_in(&harness, &harness.token);
    let mut next = live(&harness, "/console/conversations?type=widget", &cookie);
    assert_eq!(next(), r#"{"new":"","updated":[],"deleted":[]}"#);
    let mut behind = live(&harness, "/console/conversations?type=api", &cookie);
    assert_eq!(behind(), r#"{"new":"","updated":[],"deleted":[]}"#);
    harness.insert([2], &Channel::Widget);
    assert_eq!(next(), r#"{"new":"1","updated":[],"deleted":[]}"#);
    assert_eq!(behind(), r#"{"new":"","updated":[],"deleted":[]}"#);
    harness.insert([4], &api("x"));
    assert_eq!(next(), r#"{"new":"1","updated":[],"deleted":[]}"#, "of another type");
    assert_eq!(behind(), r#"{"new":"1","updated":[],"deleted":[]}"#, "the page had no row");
    for (row, new) in [(1, "1"), (2, "")] {
        let id = conversation(row).id;
        harness.store.delete(harness.user, id).unwrap();
        assert_eq!(next(), format!(r#"{{"new":"{new}","updated":[],"deleted":["{id}"]}}"#));
    }
    harness.insert(10..=110, &Channel::Widget);
    while !next().starts_with(r#"{"new":"100+","#) {}
}

/// By last activity a conversation counts once, however often it is active; one that is on the page
/// does so, too.
#[test]
fn the_live_stream_counts_conversations_with_new_activity() {
    let harness = indexed();
    harness.insert([1, 2, 3], &Channel::Widget);
    let cookie = sign_in(&harness, &harness.token);
    let mut next = live(&harness, "/console/conversations?sort=last_activity", &cookie);
    let event = |new: &str, row: u8| {
        format!(r#"{{"new":"{new}","updated":["{}"],"deleted":[]}}"#, conversation(row).id)
    };
    assert_eq!(next(), r#"{"new":"","updated":[],"deleted":[]}"#);
    for (seconds, (row, new)) in (100..).zip([(1, "1"), (1, "1"), (3, "2"), (1, "2"), (2, "3")]) {
        harness.say(row, Role::User, "hi", seconds);
        assert_eq!(next(), event(new, row));
    }
    harness.insert([200], &Channel::Widget);
    assert_eq!(next(), r#"{"new":"4","updated":[],"deleted":[]}"#);
}
