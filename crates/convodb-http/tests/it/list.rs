//! List of conversations: pages, filters, bodies, links.

use crate::client::Response;
use crate::harness::{Harness, LIST, api, bot, conversation, whatsapp};
use convodb::{AssistantId, Channel, Conversation, IndexFamilies, Variables};
use uuid::Uuid;

/// Asserts the rows of a page, and whether it has a next and a previous page.
#[track_caller]
fn check(response: &Response, rows: &[u8], next: bool, prev: bool) {
    assert_eq!(response.rows(), rows);
    let ends = (response.cursor("next_cursor").is_some(), response.cursor("prev_cursor").is_some());
    assert_eq!(ends, (next, prev), "{}", response.text());
}

#[track_caller]
fn follow(harness: &Harness, response: &Response, key: &str) -> Response {
    harness.list(&format!("cursor={}", response.cursor(key).expect("a cursor")))
}

/// The example table of the pagination contract.
#[test]
fn pages_in_both_directions_match_the_pagination_contract() {
    let harness = Harness::new();
    harness.insert(1..=7, &Channel::Widget);
    let first = harness.list("per_page=3");
    check(&first, &[7, 6, 5], true, false);
    let second = follow(&harness, &first, "next_cursor");
    check(&second, &[4, 3, 2], true, true);
    let third = follow(&harness, &second, "next_cursor");
    check(&third, &[1], false, true);
    let back = follow(&harness, &third, "prev_cursor");
    check(&back, &[4, 3, 2], true, true);
    assert_eq!(back.text(), second.text());
    check(&follow(&harness, &back, "prev_cursor"), &[7, 6, 5], true, false);

    let cursor = first.cursor("next_cursor").unwrap();
    let smaller = harness.list(&format!("per_page=2&cursor={cursor}"));
    check(&smaller, &[4, 3], true, true);
    assert_eq!(smaller.json()["per_page"], 2);

    harness.insert(8..=9, &Channel::Widget);
    let again = follow(&harness, &back, "prev_cursor");
    check(&again, &[7, 6, 5], true, true);
    check(&follow(&harness, &again, "prev_cursor"), &[9, 8], true, false);
}

#[test]
fn a_list_of_one_page_has_no_cursors() {
    let harness = Harness::new();
    check(&harness.list(""), &[], false, false);
    harness.insert(1..=3, &Channel::Widget);
    check(&harness.list("per_page=3"), &[3, 2, 1], false, false);
    assert!(harness.list("per_page=3").maybe_header("link").is_none());
}

#[test]
fn bodies_match_the_documentation_byte_for_byte() {
    let harness = Harness::new();
    assert_eq!(
        harness.list("").text(),
        r#"{"data":[],"path":"/api/user/conversations","per_page":15,"next_cursor":null,"prev_cursor":null}"#
    );
    harness.insert([1], &whatsapp("+14155551234", "+14155559876"));
    let variables = r#"{"plan":"pro","price":1.10}"#.to_owned();
    let conversation = Conversation {
        channel: api("crm-1"),
        variables: Some(Variables::new(variables).unwrap()),
        total_cost: "0.0045".parse().unwrap(),
        message_count: 12,
        ai_enabled: false,
        ..conversation(2)
    };
    harness.store.insert(harness.user, conversation, Vec::new()).unwrap();
    harness.store.rename_assistant(harness.user, bot(), "Sales").unwrap();
    assert_eq!(
        harness.list("per_page=100").text(),
        concat!(
            r#"{"data":["#,
            r#"{"id":"02000000-0000-0000-0000-000000000000","assistant_id":"00000000-0000-0000-0000-000000000b07","assistant_name":"Sales","type":"api","variables":{"plan":"pro","price":1.10},"external_identifier":"crm-1","message_count":12,"total_cost":0.0045,"ai_enabled":false,"created_at":"2025-01-25 10:13:22","updated_at":"2025-01-25 10:13:22"},"#,
            r#"{"id":"01000000-0000-0000-0000-000000000000","assistant_id":"00000000-0000-0000-0000-000000000b07","assistant_name":"Sales","type":"whatsapp","variables":null,"message_count":0,"total_cost":0.0,"ai_enabled":true,"created_at":"2025-01-25 10:13:21","updated_at":"2025-01-25 10:13:21","whatsapp_sender":{"name":null,"phone":"+14155551234"},"customer":{"name":null,"phone":"+14155559876"}}"#,
            r#"],"path":"/api/user/conversations","per_page":100,"next_cursor":null,"prev_cursor":null}"#,
        )
    );
}

#[test]
fn filters_narrow_the_list_alone_and_combined() {
    let harness = Harness::new();
    harness.insert([1, 4], &Channel::Widget);
    harness.insert([2, 5], &whatsapp("+1", "+2"));
    harness.insert([3], &whatsapp("+1", "+3"));
    harness.insert([6], &api("a"));
    harness.insert([7], &Channel::Test);
    let assistant = format!("assistant_id={}", bot().uuid());
    for (query, rows) in [
        ("type=widget", vec![4, 1]),
        ("type=test", vec![7]),
        ("type=whatsapp", vec![5, 3, 2]),
        ("whatsapp_sender_phone=+1", vec![5, 3, 2]),
        ("customer_phone=+2", vec![5, 2]),
        ("external_identifier=a", vec![6]),
        ("external_identifier=A", vec![]),
        ("type=whatsapp&customer_phone=%2B3&whatsapp_sender_phone=%2B1", vec![3]),
        (&assistant, vec![7, 6, 5, 4, 3, 2, 1]),
        ("assistant_id=1&type=api", vec![6]),
        ("order=asc&type=whatsapp", vec![2, 3, 5]),
        ("created_from=2025-01-25T10:13:22Z&created_to=2025-01-25+10:13:24", vec![4, 3, 2]),
        ("created_from=2025-01-26", vec![]),
        ("created_to=2025-01-26&type=api", vec![6]),
    ] {
        assert_eq!(harness.list(query).rows(), rows, "{query}");
    }
    for impossible in [
        "external_identifier=a&customer_phone=%2B2",
        "type=widget&customer_phone=%2B2",
        "type=whatsapp&external_identifier=a",
        "created_from=2025-01-26&created_to=2025-01-25",
    ] {
        check(&harness.list(impossible), &[], false, false);
    }
}

#[test]
fn each_item_has_the_name_of_its_own_assistant() {
    let harness = Harness::new();
    let sales = AssistantId::new(Uuid::from_u128(0x5A1E5));
    harness.store.create_assistant(harness.user, sales, "Sales").unwrap();
    for (row, assistant) in [(1, bot()), (2, sales), (3, bot()), (4, sales)] {
        let row = Conversation { assistant, ..conversation(row) };
        harness.store.insert(harness.user, row, Vec::new()).unwrap();
    }
    let page = harness.list("").json();
    let names: Vec<&str> = page["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["assistant_name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["Sales", "Support", "Sales", "Support"]);
    assert_eq!(harness.list("assistant_id=2").rows(), [4, 2]);
}

#[test]
fn a_user_sees_only_own_conversations() {
    let harness = Harness::new();
    harness.insert(1..=7, &whatsapp("+1", "+2"));
    assert_eq!(harness.list("customer_phone=%2B2").rows().len(), 7);
    let [full, empty] =
        ["", "customer_phone=%2B2"].map(|q| harness.list_of(&harness.other_token, q));
    check(&empty, &[], false, false);
    assert_eq!(full.text(), empty.text());
}

#[test]
fn link_headers_match_the_cursors() {
    let harness = Harness::new();
    harness.insert(1..=7, &whatsapp("+1", "+2"));
    let target = |response: &Response, rel: &str| {
        let base = format!("<{LIST}?");
        let links = response.header("link").split(", ").map(str::to_owned);
        let end = format!(">; rel=\"{rel}\"");
        let mut queries =
            links.filter_map(|link| Some(link.strip_prefix(&base)?.strip_suffix(&end)?.to_owned()));
        queries.next()
    };
    let first = harness.list("customer_phone=+2&per_page=3");
    assert_eq!(target(&first, "prev"), None);
    let next = target(&first, "next").expect("a next page");
    assert!(!next.contains("phone"), "{next}");
    let second = harness.list(&next);
    check(&second, &[4, 3, 2], true, true);
    check(&harness.list(&target(&second, "next").unwrap()), &[1], false, true);
    check(&harness.list(&target(&second, "prev").unwrap()), &[7, 6, 5], true, false);
}

/// The filter needs an optional index: without it, the answer says so.
#[test]
fn conversations_whose_ai_is_off_are_listed_by_their_index() {
    let harness = Harness::new();
    harness.insert(1..=6, &Channel::Widget);
    harness.insert(7..=8, &whatsapp("+1", "+2"));
    for row in [2, 4, 7] {
        let path = format!("/api/automate/conversations/{}/disable-ai", conversation(row).id);
        assert_eq!(harness.send("POST", &path, "").status, 200);
    }
    let absent = harness.list("ai_enabled=false");
    assert_eq!(absent.status, 422);
    assert!(absent.text().contains("--indexes ai-off"), "{}", absent.text());
    harness.store.add_indexes(IndexFamilies::ALL).unwrap();
    let first = harness.list("ai_enabled=false&per_page=2");
    check(&first, &[7, 4], true, false);
    let second = follow(&harness, &first, "next_cursor");
    check(&second, &[2], false, true);
    check(&follow(&harness, &second, "prev_cursor"), &[7, 4], true, false);
    check(&harness.list("ai_enabled=0&type=widget"), &[4, 2], false, false);
    check(
        &harness.list("ai_enabled=false&type=widget,whatsapp&order=asc"),
        &[2, 4, 7],
        false,
        false,
    );
    check(
        &harness.list(&format!("ai_enabled=false&assistant_id={}", bot())),
        &[7, 4, 2],
        false,
        false,
    );
    let total = harness.list("ai_enabled=false&count=only").json();
    assert_eq!(total["total"]["conversations"], 3);
    let included = harness.list("ai_enabled=false&per_page=1&include=total").json();
    assert_eq!(included["total"]["exact"], true);
    let rule = "The ai enabled field must be false or 0, or left out for all.";
    for wrong in ["true", "1", "no", "False", "false,0"] {
        harness.refused(&format!("ai_enabled={wrong}"), "ai_enabled", rule);
    }
    let rule = "The ai enabled field cannot be combined with phones or an external identifier.";
    harness.refused("ai_enabled=false&customer_phone=%2B2", "ai_enabled", rule);
    let plain = harness.list("per_page=2").cursor("next_cursor").unwrap();
    assert_eq!(harness.list(&format!("ai_enabled=false&cursor={plain}")).status, 422);
}

#[test]
fn fields_choose_what_each_item_has() {
    let harness = Harness::new();
    harness.insert(1..=2, &Channel::Widget);
    harness.insert(3..=3, &whatsapp("+1", "+2"));
    let page = harness.list("fields=customer,id&per_page=2");
    let id = |row| conversation(row).id;
    let expected = format!(
        r#"{{"data":[{{"id":"{}","customer":{{"name":null,"phone":"+2"}}}},{{"id":"{}"}}],"#,
        id(3),
        id(2)
    );
    assert!(page.text().starts_with(&expected), "{}", page.text());
    let link = page.header("link").to_owned();
    let next = link.split_once('<').unwrap().1.split_once('>').unwrap().0;
    assert!(next.contains("&fields=id,customer&cursor="), "{next}");
    let query = next.split_once('?').unwrap().1;
    assert!(harness.list(query).text().contains(&format!(r#"[{{"id":"{}"}}]"#, id(1))));
    let repeated = harness.list("fields=type&fields=message_count&per_page=1");
    assert!(repeated.text().contains(r#"[{"type":"whatsapp","message_count":0}]"#));
    assert_eq!(harness.list("fields=").text(), harness.list("").text());
    harness.send(
        "POST",
        &format!("/api/conversations/{}/messages", id(3)),
        r#"{"role":"user","message":"Hello?","created_at":"2025-01-25 10:20:00"}"#,
    );
    let preview = r#""preview":{"first":{"role":"user","content":"Hello?","created_at":"2025-01-25 10:20:00"},"last":{"role":"user","content":"Hello?","created_at":"2025-01-25 10:20:00"}}"#;
    let page = harness.list("fields=preview&per_page=2");
    assert!(
        page.text().contains(&format!(r#""customer":{{"name":null,"phone":"+2"}},{preview}}}"#)),
        "{}",
        page.text()
    );
    assert!(page.text().contains(r#","preview":null}],"#), "{}", page.text());
    assert!(page.header("link").contains("&fields=preview&cursor="));
    let alone = harness.list("fields=preview,id&type=whatsapp");
    assert!(
        alone.text().contains(&format!(r#"[{{"id":"{}",{preview}}}]"#, id(3))),
        "{}",
        alone.text()
    );
    let all = convodb_json::ItemFields::names().join(",");
    let whole = harness.list(&format!("fields={all}")).json();
    assert_eq!(whole["data"], harness.list("").json()["data"]);
    let refused = harness.list("fields=id,phone");
    assert_eq!(refused.status, 422);
    let message = refused.json()["errors"]["fields"][0].as_str().unwrap().to_owned();
    assert!(message.contains("It must be one of id, assistant_id, "), "{message}");
}
