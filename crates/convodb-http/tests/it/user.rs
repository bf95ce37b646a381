//! The user of a token, and the user's assistants.

use convodb::{Channel, QuotaLimit, UserQuota};
use serde_json::{Value, json};

use crate::harness::{Harness, bot, conversation, other_bot};

const LIST: &str = "/api/user/assistants/get";

#[test]
fn me_returns_the_user_of_the_token() {
    let harness = Harness::new();
    let me = |token: &str| harness.request("GET", "/api/user/me", token, "");
    let usage = harness.store.snapshot().storage_usage(harness.user).unwrap();
    assert_eq!(
        me(&harness.token).text(),
        format!(
            r#"{{"id":1,"name":"Acme","created_at":"1970-01-01 00:00:00","conversations":{},"bytes":{},"max_conversations":null,"max_bytes":null}}"#,
            usage.conversations, usage.bytes
        )
    );
    let quota = UserQuota { bytes: QuotaLimit::AtMost(9), ..UserQuota::default() };
    harness.store.set_quota(harness.user, quota).unwrap();
    let limits = me(&harness.token).json();
    assert_eq!((&limits["max_conversations"], &limits["max_bytes"]), (&Value::Null, &json!(9)));
    assert_eq!(me(&harness.other_token).json()["name"], "Other");
    assert_eq!((me("x").status, me("x").text()), (401, r#"{"message":"Unauthenticated."}"#));
}

#[test]
fn writes_beyond_a_quota_are_refused_with_its_figures_and_deletions_are_not() {
    let harness = Harness::new();
    harness.insert(1..=2, &Channel::Widget);
    let one = format!("/api/conversations/{}", conversation(1).id);
    let used = harness.store.snapshot().storage_usage(harness.user).unwrap();
    let limit = QuotaLimit::AtMost(used.conversations);
    let quota = UserQuota { conversations: limit, bytes: QuotaLimit::Unlimited };
    harness.store.set_quota(harness.user, quota).unwrap();
    let create = || harness.send("POST", "/api/conversations", r#"{"assistant_id":1}"#);
    let (refused, count) = (create(), used.conversations);
    let message = format!(
        "The quota of {count} conversations is exceeded: {count} are used. Delete conversations, or \
         ask the operator for a higher quota."
    );
    let expected = json!({
        "status": false, "error": message, "message": message, "code": "quota_exceeded",
        "quota": "conversations", "limit": count, "used": count,
    });
    assert_eq!((refused.status, refused.json()), (403, expected));

    // An import rejects the lines beyond it, and reports the others.
    let line = |number: u32| {
        format!(
            r#"{{"id":"0a000000-0000-4000-8000-0000000000{number:02}","type":"test","assistant_id":"{}","created_at":"2025-01-25"}}"#,
            bot()
        )
    };
    assert_eq!(harness.send("DELETE", &one, "").status, 200);
    let body = format!("{}\n{}\n", line(91), line(92));
    let path = "/api/user/conversations/import";
    let lines = "application/x-ndjson";
    let imported = harness.send_typed(&harness.token, "POST", path, lines, body.as_bytes()).json();
    assert_eq!(
        (&imported["inserted"], &imported["rejected"]),
        (&json!(1), &json!(1)),
        "{imported}"
    );
    assert_eq!(imported["errors"][0]["line"], 2);
    let reason = imported["errors"][0]["message"].as_str().unwrap();
    assert!(reason.starts_with("quota of "), "{reason}");
    let metrics = harness.server.request("GET", "/metrics", "");
    assert!(metrics.text().contains("convodb_quota_refusals_total 2\n"), "{}", metrics.text());
}

#[test]
fn a_page_matches_the_documentation_byte_for_byte() {
    let harness = Harness::new();
    let response = harness.request("GET", LIST, &harness.token, "");
    assert_eq!(
        response.text(),
        r#"{"current_page":1,"data":[{"id":1,"uuid":"00000000-0000-0000-0000-000000000b07","name":"Support"}],"first_page_url":"/api/user/assistants/get?per_page=15&page=1","from":1,"last_page":1,"last_page_url":"/api/user/assistants/get?per_page=15&page=1","next_page_url":null,"path":"/api/user/assistants/get","per_page":15,"prev_page_url":null,"to":1,"total":1}"#
    );
    assert_eq!(
        response.header("link"),
        "</api/user/assistants/get?per_page=15&page=1>; rel=\"first\", \
         </api/user/assistants/get?per_page=15&page=1>; rel=\"last\""
    );
}

#[test]
fn page_urls_lead_through_all_assistants() {
    let harness = Harness::new();
    for n in 2..=7 {
        let body = format!(r#"{{"name":"A{n}"}}"#);
        let response = harness.send("POST", "/api/user/assistants", &body);
        assert_eq!((response.status, &response.json()["id"]), (200, &json!(n)));
    }
    let mut seen = Vec::new();
    let mut target = format!("{LIST}?per_page=3");
    loop {
        let page = harness.request("GET", &target, &harness.token, "").json();
        let items = page["data"].as_array().unwrap();
        seen.extend(items.iter().map(|item| item["id"].as_u64().unwrap()));
        assert_eq!((&page["total"], &page["last_page"]), (&json!(7), &json!(3)));
        assert_eq!(page["to"], json!(seen.len()));
        match page["next_page_url"].as_str() {
            Some(url) => target = url.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7]);
    let beyond =
        harness.request("GET", &format!("{LIST}?page=4294967295"), &harness.token, "").json();
    assert_eq!((&beyond["data"], &beyond["from"]), (&json!([]), &Value::Null));
    assert_eq!(harness.request("GET", LIST, &harness.other_token, "").json()["total"], 1);
    for (query, field) in [("page=0", "page"), ("page=x", "page"), ("per_page=101", "per_page")] {
        let response = harness.request("GET", &format!("{LIST}?{query}"), &harness.token, "");
        assert_eq!(response.status, 422);
        assert!(response.json()["errors"][field].is_array(), "{}", response.text());
    }
}

#[test]
fn all_assistants_are_one_array_up_to_a_limit() {
    const ALL: &str = "/api/user/assistants";
    let harness = Harness::new();
    let first = r#"{"id":1,"uuid":"00000000-0000-0000-0000-000000000b07","name":"Support"}"#;
    assert_eq!(harness.request("GET", ALL, &harness.token, "").text(), format!("[{first}]"));

    let user = harness.user;
    let add = |ids: std::ops::Range<u128>| {
        let create = move |transaction: &mut convodb::Transaction<'_>| {
            for id in ids {
                let id = convodb::AssistantId::new(uuid::Uuid::from_u128(id));
                transaction.create_assistant(user, id, "More")?;
            }
            Ok::<_, convodb::Error>(())
        };
        harness.store.write(create).unwrap();
    };
    add(1_000_000..1_009_999);
    let all = harness.request("GET", ALL, &harness.token, "");
    assert_eq!(all.json().as_array().unwrap().len(), 10_000);
    assert!(all.text().starts_with(&format!("[{first},")));
    add(1_009_999..1_010_000);
    let refused = harness.request("GET", ALL, &harness.token, "");
    assert_eq!(
        (refused.status, &refused.json()["message"]),
        (
            422,
            &json!(
                "The assistants field must be read by pages from /api/user/assistants/get: there \
                 are more than 10,000."
            )
        )
    );
}

#[test]
fn an_assistant_is_created_and_renamed() {
    let harness = Harness::new();
    let uuid = "a1b2c3d4-5678-40ab-8def-1234567890ab";
    let body = format!(r#"{{"name":"Sales","uuid":"{uuid}"}}"#);
    let created = harness.send("POST", "/api/user/assistants", &body);
    assert_eq!(created.text(), format!(r#"{{"id":2,"uuid":"{uuid}","name":"Sales"}}"#));
    let again = harness.send("POST", "/api/user/assistants", &body);
    assert_eq!(
        (again.status, again.text()),
        (
            422,
            r#"{"message":"The uuid has already been taken.","errors":{"uuid":["The uuid has already been taken."]}}"#
        )
    );

    harness.insert([1], &Channel::Widget);
    let path = format!("/api/user/assistants/{}", bot().uuid());
    let renamed = harness.send("PATCH", &path, r#"{"name":"Front Desk"}"#);
    assert_eq!((renamed.status, &renamed.json()["name"]), (200, &json!("Front Desk")));
    assert_eq!(harness.list("").json()["data"][0]["assistant_name"], "Front Desk");

    let missing = r#"{"message":"Assistant not found"}"#;
    for id in [&other_bot().uuid().to_string(), "x", "00000000-0000-0000-0000-000000000001"] {
        let path = format!("/api/user/assistants/{id}");
        let response = harness.send("PATCH", &path, r#"{"name":"Mine"}"#);
        assert_eq!((response.status, response.text()), (404, missing));
    }
    for (body, message) in [
        ("{}", "The name field is required."),
        (r#"{"name":""}"#, "The name field is required."),
        (r#"{"name":7}"#, "The name field must be a string."),
    ] {
        for (method, target) in [("POST", "/api/user/assistants"), ("PATCH", path.as_str())] {
            let response = harness.send(method, target, body);
            let expected =
                format!(r#"{{"message":"{message}","errors":{{"name":["{message}"]}}}}"#);
            assert_eq!((response.status, response.text()), (422, expected.as_str()));
        }
    }
}
