//! Single conversations: create, read, change, delete, append messages.

use convodb::{Channel, ConversationId, Message, Role};
use serde_json::{Value, json};

use crate::client::Response;
use crate::harness::{Harness, api, bot, conversation, other_bot, whatsapp};

const PATH: &str = "/api/conversations";
const MISSING: &str =
    r#"{"status":false,"error":"Conversation not found","message":"Conversation not found"}"#;

fn path(row: u8) -> String {
    format!("{PATH}/{}", conversation(row).id)
}

#[track_caller]
fn check(response: &Response, status: u16, body: &str) {
    assert_eq!((response.status, response.text()), (status, body));
    assert_eq!(response.header("content-type"), "application/json");
    let caching =
        if response.maybe_header("etag").is_some() { "private, no-cache" } else { "no-store" };
    assert_eq!(response.header("cache-control"), caching);
}

/// Asserts a 422 with exactly these fields and messages, in this order.
#[track_caller]
fn refused(response: &Response, errors: &[(&str, &str)]) {
    assert_eq!(response.status, 422, "{}", response.text());
    let body = response.json();
    let actual: Vec<(&str, &str)> = body["errors"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(field, messages)| (field.as_str(), messages[0].as_str().unwrap()))
        .collect();
    assert_eq!(actual, errors, "all errors, in order");
    let message = match errors.len() {
        1 => errors[0].1.to_owned(),
        2 => format!("{} (and 1 more error)", errors[0].1),
        n => format!("{} (and {} more errors)", errors[0].1, n - 1),
    };
    assert_eq!(body["status"], false);
    assert_eq!((&body["error"], &body["message"]), (&json!(message), &json!(message)));
}

/// Creates a conversation with these fields besides its assistant, and returns its item.
#[track_caller]
fn created(harness: &Harness, fields: &str) -> Value {
    let body = format!(r#"{{"assistant_id":"{}"{fields}}}"#, bot().uuid());
    let response = harness.send("POST", PATH, &body);
    assert_eq!(response.status, 200, "{}", response.text());
    let id = response.json()["conversation_id"].as_str().unwrap().to_owned();
    check(&response, 200, &format!(r#"{{"status":true,"conversation_id":"{id}","history":[]}}"#));
    harness.request("GET", &format!("{PATH}/{id}"), &harness.token, "").json()
}

/// Inserts conversation 1 with messages of these texts.
fn with_history(harness: &Harness, texts: &[String]) {
    let count = u32::try_from(texts.len()).unwrap();
    let row = convodb::Conversation { message_count: count, ..conversation(1) };
    let at = row.created_at;
    let message = |text: &String| Message::new(Role::User, text.clone(), at).unwrap();
    harness.store.insert(harness.user, row, texts.iter().map(message).collect()).unwrap();
}

fn contents(history: &Value) -> Vec<&str> {
    let history = history["history"].as_array().unwrap().iter();
    history.map(|message| message["content"].as_str().unwrap()).collect()
}

#[test]
fn a_history_has_pages_in_both_directions() {
    let harness = Harness::new();
    let texts: Vec<String> = (1..=25).map(|number| number.to_string()).collect();
    with_history(&harness, &texts);
    let page = |query: &str| {
        let target = format!("{}?{query}", path(1));
        let response = harness.request("GET", &target, &harness.token, "");
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()
    };
    let (mut query, mut walked) = ("per_page=10".to_owned(), Vec::new());
    loop {
        let page = page(&query);
        assert_eq!((&page["per_page"], &page["message_count"]), (&json!(10), &json!(25)));
        walked.push(contents(&page).iter().map(ToString::to_string).collect::<Vec<_>>());
        let Some(next) = page["next_cursor"].as_str() else { break };
        query = format!("per_page=10&cursor={next}");
    }
    assert_eq!(walked.concat(), texts);
    let last = page(&query);
    let before = page(&format!("per_page=10&cursor={}", last["prev_cursor"].as_str().unwrap()));
    assert_eq!(contents(&before), walked[1]);
    let first = page(&format!("cursor={}", before["prev_cursor"].as_str().unwrap()));
    assert_eq!((contents(&first).len(), &first["prev_cursor"]), (10, &Value::Null));
    // Without a page the shape is that of the reference.
    let whole = harness.request("GET", &path(1), &harness.token, "").json();
    assert_eq!(contents(&whole), texts);
    assert!(whole.get("next_cursor").is_none() && whole.get("per_page").is_none());
    for (query, field) in [("cursor=after", "cursor"), ("per_page=101", "per_page")] {
        let target = format!("{}?{query}", path(1));
        let response = harness.request("GET", &target, &harness.token, "");
        assert!(response.status == 422 && response.json()["errors"].get(field).is_some());
    }
}

/// A long history is streamed, in the same shape.
#[test]
fn a_long_history_is_streamed() {
    let harness = Harness::new();
    let texts: Vec<String> = (0..40).map(|number| number.to_string().repeat(10_000)).collect();
    with_history(&harness, &texts);
    for (query, expected) in [("", &texts[..]), ("?per_page=30&cursor=after-5", &texts[5..35])] {
        let target = format!("{}{query}", path(1));
        let response = harness.request("GET", &target, &harness.token, "");
        assert_eq!(response.header("transfer-encoding"), "chunked");
        let body = response.json();
        assert_eq!(contents(&body), expected);
        assert_eq!((&body["status"], &body["message_count"]), (&json!(true), &json!(40)));
    }
}

#[test]
fn reading_a_conversation_returns_its_messages() {
    let harness = Harness::new();
    harness.insert([1], &whatsapp("+1", "+2"));
    let at = conversation(1).created_at;
    let question = Message::new(Role::User, "Hello \"you\"\n".to_owned(), at).unwrap();
    let response = Message::new(Role::Assistant, String::new(), at)
        .unwrap()
        .with_function_calls("[{\"name\":\n\"book\"}]".to_owned())
        .unwrap()
        .with_cost("0.002".parse().unwrap());
    for message in [question, response] {
        harness.store.append_message(harness.user, conversation(1).id, message).unwrap();
    }
    check(
        &harness.request("GET", &path(1), &harness.token, ""),
        200,
        r#"{"status":true,"history":[{"role":"user","content":"Hello \"you\"\n","created_at":"2025-01-25 10:13:21"},{"role":"assistant","content":"","function_calls":[{"name": "book"}],"created_at":"2025-01-25 10:13:21"}],"id":"01000000-0000-0000-0000-000000000000","assistant_id":"00000000-0000-0000-0000-000000000b07","assistant_name":"Support","type":"whatsapp","variables":null,"message_count":2,"total_cost":0.002,"ai_enabled":true,"created_at":"2025-01-25 10:13:21","updated_at":"2025-01-25 10:13:21","whatsapp_sender":{"name":null,"phone":"+1"},"customer":{"name":null,"phone":"+2"}}"#,
    );
    let upper = path(1).to_uppercase().replace("/API/CONVERSATIONS", PATH);
    assert_eq!(harness.request("GET", &upper, &harness.token, "").status, 200);
    let head = harness.request("HEAD", &path(1), &harness.token, "");
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[test]
fn a_foreign_conversation_answers_like_a_missing_one() {
    let harness = Harness::new();
    harness.insert([1], &Channel::Widget);
    let message = r#"{"message":"hi"}"#;
    for id in [
        conversation(1).id.to_string(),
        conversation(2).id.to_string(),
        "not-a-uuid".to_owned(),
        "%00".to_owned(),
        "%FF".to_owned(),
        "01000000000000000000000000000000".to_owned(),
    ] {
        let one = format!("{PATH}/{id}");
        let other = &harness.other_token;
        check(&harness.request("GET", &one, other, ""), 404, MISSING);
        check(&harness.send_as(other, "PATCH", &one, "{}"), 404, MISSING);
        check(&harness.request("DELETE", &one, other, ""), 404, MISSING);
        check(&harness.send_as(other, "POST", &format!("{one}/messages"), message), 404, MISSING);
        for verb in ["enable-ai", "disable-ai"] {
            let target = format!("/api/automate/conversations/{id}/{verb}");
            check(&harness.request("POST", &target, other, ""), 404, MISSING);
        }
    }
    assert_eq!(harness.request("GET", &path(1), &harness.token, "").status, 200);
    // Two users may have conversations with the same id.
    let body =
        format!(r#"{{"assistant_id":"{}","id":"{}"}}"#, other_bot().uuid(), conversation(1).id);
    assert_eq!(harness.send_as(&harness.other_token, "POST", PATH, &body).status, 200);
}

#[test]
fn every_operation_requires_a_token() {
    let harness = Harness::new();
    harness.insert([1], &Channel::Widget);
    let body = r#"{"status":false,"error":"Unauthenticated.","message":"Unauthenticated."}"#;
    for (method, target) in [
        ("POST", PATH.to_owned()),
        ("GET", path(1)),
        ("PATCH", path(1)),
        ("DELETE", path(1)),
        ("POST", format!("{}/messages", path(1))),
        ("POST", format!("/api/automate{}/enable-ai", &path(1)["/api".len()..])),
    ] {
        // Authentication comes before the path parameter and the body.
        check(&harness.send_as("x", method, &target, "{"), 401, body);
        check(&harness.server.request(method, &target, ""), 401, body);
    }
}

#[test]
fn absent_fields_get_their_defaults() {
    let harness = Harness::new();
    let one = created(&harness, "");
    assert_eq!((&one["type"], &one["variables"]), (&json!("widget"), &Value::Null));
    assert_eq!((&one["message_count"], &one["ai_enabled"]), (&json!(0), &json!(true)));
    assert_eq!(one["created_at"], one["updated_at"]);
    let id: ConversationId = one["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(id.uuid().get_version_num(), 7);

    let full = created(
        &harness,
        r#","type":"whatsapp","id":"0A000000-0000-4000-8000-000000000001","variables":{"a": 1.10},"created_at":"2025-01-25T11:00:00.5+01:00","customer":{"name":"Jo","phone":"+2"},"whatsapp_sender":{"phone":"+1","other":[]},"unknown":{}"#,
    );
    assert_eq!(full["id"], "0a000000-0000-4000-8000-000000000001");
    assert_eq!(full["created_at"], "2025-01-25 10:00:00");
    assert_eq!(full["customer"], json!({"name": "Jo", "phone": "+2"}));
    assert_eq!(full["whatsapp_sender"], json!({"name": null, "phone": "+1"}));
    assert_eq!(harness.list("customer_phone=%2B2").rows(), [10]);

    let api = created(&harness, r#","type":"api","external_identifier":"crm-1","variables":[]"#);
    assert_eq!(api["external_identifier"], "crm-1");
    assert_eq!(api["variables"], Value::Null);
    // An assistant can be named by its number.
    assert_eq!(harness.send("POST", PATH, r#"{"assistant_id":1}"#).status, 200);
}

#[test]
fn a_foreign_assistant_answers_404() {
    let harness = Harness::new();
    let missing =
        r#"{"status":false,"error":"Assistant not found","message":"Assistant not found"}"#;
    harness.insert([1], &Channel::Widget);
    let foreign = format!("\"{}\"", other_bot().uuid());
    for id in [&foreign, "\"00000000-0000-0000-0000-000000000001\"", "2", "0"] {
        let body = format!(r#"{{"assistant_id":{id}}}"#);
        check(&harness.send("POST", PATH, &body), 404, missing);
        check(&harness.send("PATCH", &path(1), &body), 404, missing);
    }
}

#[test]
fn every_invalid_field_is_listed() {
    let harness = Harness::new();
    let refused = |fields: &str, errors: &[(&str, &str)]| {
        let body = format!(r#"{{"assistant_id":1{fields}}}"#);
        refused(&harness.send("POST", PATH, &body), errors);
    };
    let long = "9".repeat(256);
    refused(
        r#","type":"fax""#,
        &[("type", "The type field must be one of test, widget, whatsapp, api.")],
    );
    refused(
        r#","customer":{"phone":"+1"}"#,
        &[("customer", "The customer field must be left out where the type is not whatsapp.")],
    );
    refused(
        r#","type":"whatsapp","external_identifier":"a""#,
        &[(
            "external_identifier",
            "The external identifier field must be left out where the type is not api.",
        )],
    );
    refused(
        &format!(r#","type":"api","external_identifier":"{long}""#),
        &[("external_identifier", "The external identifier field must have 1 to 255 bytes.")],
    );
    refused(
        r#","type":"whatsapp","customer":{"phone":5},"whatsapp_sender":[],"created_at":"soon","id":"7","variables":7"#,
        &[
            ("variables", "The variables field must be a JSON object, nested at most 127 deep."),
            (
                "whatsapp_sender",
                "The whatsapp sender field must be an object with each field at most once.",
            ),
            ("customer.phone", "The customer.phone field must be a string."),
            (
                "created_at",
                "The created at field must be a date, YYYY-MM-DD HH:MM:SS, or RFC 3339.",
            ),
            ("id", "The id field must be a valid UUID."),
        ],
    );
    let must = "The assistant id field must be an assistant's UUID or its number.";
    for wrong in ["\"x\"", "-1", "1.5", "99999999999", "[]", "true"] {
        let body = format!(r#"{{"assistant_id":{wrong}}}"#);
        self::refused(&harness.send("POST", PATH, &body), &[("assistant_id", must)]);
    }
    let none = [("assistant_id", "The assistant id field is required.")];
    self::refused(&harness.send("POST", PATH, "{}"), &none);
    self::refused(&harness.send("POST", PATH, r#"{"assistant_id":null}"#), &none);

    harness.insert([1], &Channel::Widget);
    refused(
        &format!(r#","id":"{}""#, conversation(1).id),
        &[("id", "The id has already been taken.")],
    );
    assert_eq!(harness.list("").rows(), [1], "refused requests write nothing");
}

#[test]
fn appending_a_message_updates_count_and_cost() {
    let harness = Harness::new();
    harness.insert([1], &Channel::Widget);
    let target = format!("{}/messages", path(1));
    let said = |body: &str, count: u32| {
        let expected = format!(
            r#"{{"status":true,"message":"","function_calls":[],"message_count":{count}}}"#
        );
        check(&harness.send("POST", &target, body), 200, &expected);
    };
    said(r#"{"message":"Hello"}"#, 1);
    said(
        r#"{"role":"assistant","content":"Hi","function_calls":[{"name":"book"}],"cost":0.0031,"created_at":"2109-01-01"}"#,
        2,
    );
    said(r#"{"role":"system","content":"","cost":0.0009}"#, 3);
    said(r#"{"role":"assistant","message":"Bye","cost":null}"#, 4);
    let one = harness.request("GET", &path(1), &harness.token, "").json();
    assert_eq!((&one["message_count"], &one["total_cost"]), (&json!(4), &json!(0.004)));
    assert_eq!(one["updated_at"], "2109-01-01 00:00:00");
    let history = one["history"].as_array().unwrap();
    let said: Vec<(&str, &str)> = history
        .iter()
        .map(|m| (m["role"].as_str().unwrap(), m["content"].as_str().unwrap()))
        .collect();
    assert_eq!(
        said,
        [("user", "Hello"), ("assistant", "Hi"), ("system", ""), ("assistant", "Bye")]
    );
    assert_eq!(history[1]["function_calls"], json!([{"name": "book"}]));
    assert!(history[0].get("function_calls").is_none());
}

#[test]
fn messages_of_other_clients_are_taken() {
    let harness = Harness::new();
    harness.insert([1], &Channel::Widget);
    let call = r#"{"id":"c1","type":"function","function":{"name":"book","arguments":"{}"}}"#;
    for body in [
        r#"{"role":"assistant","content":null,"function_calls":[{"name":"book"}]}"#.to_owned(),
        format!(r#"{{"role":"assistant","content":null,"tool_calls":[{call}],"refusal":null}}"#),
        r#"{"role":"tool","tool_call_id":"c1","content":"done"}"#.to_owned(),
        r#"{"role":"user","content":[{"type":"text","text":"Hi"}]}"#.to_owned(),
    ] {
        let response = harness.send("POST", &format!("{}/messages", path(1)), &body);
        assert_eq!(response.status, 200, "{body}: {}", response.text());
    }
    let one = harness.request("GET", &path(1), &harness.token, "").json();
    let history = one["history"].as_array().unwrap();
    let said: Vec<_> = history.iter().map(|m| (&m["role"], &m["content"])).collect();
    let expected = [("assistant", ""), ("assistant", ""), ("tool", "done"), ("user", "Hi")];
    assert_eq!(json!(said), json!(expected));
    let call: Value = serde_json::from_str(call).unwrap();
    assert_eq!(history[1]["function_calls"], json!([call]));
}

#[test]
fn blank_strings_count_as_not_given() {
    let harness = Harness::new();
    let fields =
        r#","id":"","variables":"","created_at":"","external_identifier":"","customer":"""#;
    let plain = created(&harness, "");
    let blank = created(&harness, fields);
    assert_eq!((&blank["type"], &blank["variables"]), (&plain["type"], &Value::Null));
    let contact = r#","type":"whatsapp","customer":{"name":"","phone":"+1"}"#;
    let contact = created(&harness, contact);
    assert_eq!(contact["customer"], json!({"name": null, "phone": "+1"}));
    let target = format!("/api/conversations/{}", contact["id"].as_str().unwrap());
    let cleared = harness.send("PATCH", &target, r#"{"customer":{"phone":""}}"#).json();
    assert_eq!(cleared["customer"], json!({"name": null, "phone": null}));
    refused(
        &harness.send("POST", PATH, r#"{"assistant_id":""}"#),
        &[("assistant_id", "The assistant id field is required.")],
    );
}

#[test]
fn an_assistant_number_may_be_a_string_or_have_a_fraction() {
    let harness = Harness::new();
    let bot = bot().to_string();
    for number in ["1", "1.0", "\"1\""] {
        let response = harness.send("POST", PATH, &format!(r#"{{"assistant_id":{number}}}"#));
        let id = response.json()["conversation_id"].as_str().unwrap().to_owned();
        let target = format!("/api/conversations/{id}");
        let one = harness.request("GET", &target, &harness.token, "").json();
        assert_eq!(one["assistant_id"], *bot, "{number}");
    }
}

#[test]
fn clearing_a_field_that_the_type_does_not_have_changes_nothing() {
    let harness = Harness::new();
    harness.insert([1], &Channel::Widget);
    let body = r#"{"external_identifier":null,"customer":null,"whatsapp_sender":{"phone":null},"ai_enabled":false}"#;
    let changed = harness.send("PATCH", &path(1), body);
    assert_eq!((changed.status, &changed.json()["ai_enabled"]), (200, &json!(false)));
    assert!(changed.json().get("customer").is_none());
}

#[test]
fn an_invalid_message_answers_422() {
    let harness = Harness::new();
    harness.insert([1], &Channel::Widget);
    let target = format!("{}/messages", path(1));
    let check = |body: &str, errors: &[(&str, &str)]| {
        refused(&harness.send("POST", &target, body), errors);
    };
    check(
        "{}",
        &[("role", "The role field is required."), ("content", "The content field is required.")],
    );
    check(
        r#"{"role":"bot","content":1,"cost":"1","function_calls":{},"created_at":0}"#,
        &[
            ("role", "The role field must be one of user, assistant, system, tool."),
            ("created_at", "The created at field must be a string."),
            ("content", "The content field must be a string."),
            ("cost", "The cost field must be a decimal number of USD within 9.2 billion."),
            (
                "function_calls",
                "The function calls field must be a JSON array of at most 65536 bytes.",
            ),
        ],
    );
    check(
        r#"{"message":"a","content":"b"}"#,
        &[("content", "The content field must be left out where message is given.")],
    );
    check(
        r#"{"message":"a","cost":99999999999}"#,
        &[("cost", "The cost field must be a decimal number of USD within 9.2 billion.")],
    );
    let most = r#"{"message":"a","cost":9000000000}"#;
    assert_eq!(harness.send("POST", &target, most).status, 200);
    check(most, &[("cost", "The cost field must keep the total cost within its range.")]);
    let one = harness.request("GET", &path(1), &harness.token, "").json();
    assert_eq!(one["history"].as_array().unwrap().len(), 1);
}

#[test]
fn a_change_keeps_absent_fields() {
    let harness = Harness::new();
    harness.insert([1], &whatsapp("+1", "+2"));
    let before = harness.request("GET", &path(1), &harness.token, "").json();
    let response = harness.send("PATCH", &path(1), "{}");
    assert_eq!(response.status, 200);
    let mut unchanged = before.clone();
    unchanged.as_object_mut().unwrap().remove("history");
    assert_eq!(response.json(), unchanged, "an empty change keeps updated_at");

    let response = harness.send(
        "PATCH",
        &path(1),
        r#"{"variables":{"plan":"pro"},"ai_enabled":false,"customer":{"name":"Jo"}}"#,
    );
    let changed = response.json();
    assert_eq!((response.status, &changed["status"]), (200, &json!(true)));
    assert_eq!(changed["customer"], json!({"name": "Jo", "phone": "+2"}));
    assert_eq!(changed["variables"], json!({"plan": "pro"}));
    assert_eq!(changed["ai_enabled"], false);
    assert_eq!(changed["created_at"], before["created_at"]);
    assert!(changed["updated_at"].as_str() > before["updated_at"].as_str());

    // The indexes follow the change.
    harness.send("PATCH", &path(1), r#"{"customer":{"phone":"+3"},"variables":null}"#);
    assert!(harness.list("customer_phone=%2B2").rows().is_empty());
    assert_eq!(harness.list("customer_phone=%2B3").rows(), [1]);
    let cleared = harness.send("PATCH", &path(1), r#"{"customer":null,"variables":[]}"#).json();
    assert_eq!(cleared["customer"], json!({"name": null, "phone": null}));
    assert_eq!(cleared["variables"], Value::Null);

    harness.insert([2], &api("a"));
    let set = harness.send("PATCH", &path(2), r#"{"external_identifier":"b"}"#).json();
    assert_eq!(set["external_identifier"], "b");
    let cleared = harness.send("PATCH", &path(2), r#"{"external_identifier":null}"#).json();
    assert!(cleared.get("external_identifier").is_none());
}

#[test]
fn an_invalid_change_answers_422() {
    let harness = Harness::new();
    harness.insert([1], &Channel::Widget);
    harness.insert([2], &api("a"));
    let check = |row: u8, body: &str, errors: &[(&str, &str)]| {
        refused(&harness.send("PATCH", &path(row), body), errors);
    };
    let boolean = ("ai_enabled", "The ai enabled field must be true or false.");
    check(1, r#"{"ai_enabled":null}"#, &[boolean]);
    check(
        1,
        r#"{"ai_enabled":"yes","assistant_id":null,"variables":[1]}"#,
        &[
            ("assistant_id", "The assistant id field must be an assistant's UUID or its number."),
            boolean,
            ("variables", "The variables field must be a JSON object, nested at most 127 deep."),
        ],
    );
    check(
        1,
        r#"{"ai_enabled":false,"external_identifier":"a"}"#,
        &[(
            "external_identifier",
            "The external identifier field must be left out where the type is not api.",
        )],
    );
    check(
        2,
        r#"{"customer":{"name":"a"}}"#,
        &[("customer", "The customer field must be left out where the type is not whatsapp.")],
    );
    let one = harness.request("GET", &path(1), &harness.token, "").json();
    assert_eq!(one["ai_enabled"], true, "a refused change writes nothing");
}

#[test]
fn a_conversation_can_be_moved_to_another_assistant() {
    let harness = Harness::new();
    harness.insert([1], &Channel::Widget);
    assert_eq!(harness.send("POST", "/api/user/assistants", r#"{"name":"Sales"}"#).status, 200);
    let moved = harness.send("PATCH", &path(1), r#"{"assistant_id":2}"#).json();
    assert_eq!(moved["assistant_name"], "Sales");
    assert_eq!(harness.list("assistant_id=2").rows(), [1]);
    assert!(harness.list("assistant_id=1").rows().is_empty());
}

#[test]
fn a_deleted_conversation_is_gone_from_list_and_indexes() {
    let harness = Harness::new();
    harness.insert([1, 2], &whatsapp("+1", "+2"));
    check(&harness.request("DELETE", &path(1), &harness.token, ""), 200, r#"{"status":true}"#);
    check(&harness.request("DELETE", &path(1), &harness.token, ""), 404, MISSING);
    check(&harness.request("GET", &path(1), &harness.token, ""), 404, MISSING);
    assert_eq!(harness.list("customer_phone=%2B2").rows(), [2]);
}

#[test]
fn ai_can_be_enabled_and_disabled() {
    let harness = Harness::new();
    harness.insert([1], &Channel::Widget);
    let set = |verb: &str| {
        let target = format!("/api/automate/conversations/{}/{verb}", conversation(1).id);
        harness.request("POST", &target, &harness.token, "")
    };
    let is_enabled =
        || harness.request("GET", &path(1), &harness.token, "").json()["ai_enabled"].clone();
    check(&set("disable-ai"), 200, r#"{"status":true,"ai_enabled":false}"#);
    check(&set("disable-ai"), 200, r#"{"status":true,"ai_enabled":false}"#);
    assert_eq!(is_enabled(), false);
    check(&set("enable-ai"), 200, r#"{"status":true,"ai_enabled":true}"#);
    assert_eq!(is_enabled(), true);
}
