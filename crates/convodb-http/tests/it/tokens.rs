//! Tokens over the wire: scopes, expiry, the restriction to one assistant, and authority that ends
//! while a request runs.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use convodb::{
    AssistantId, Channel, Conversation, ConversationId, Message, Role, Scope, Store, Timestamp,
    TokenNarrowing, TokenOptions, TokenSelector,
};
use convodb_testkit::wait;
use serde_json::Value;
use uuid::Uuid;

use crate::client::Response;
use crate::harness::{Harness, LIST, bot, conversation};

/// The server's clock is ahead of this time.
const LONG_AGO: Timestamp = Timestamp::MIN;

/// Each endpoint with a token: method, path, body, media type, and the scope it requires.
fn endpoints() -> Vec<(&'static str, String, String, &'static str, Scope)> {
    let one = ConversationId::new(Uuid::from_u128(1 << 120));
    let (json, lines) = ("application/json", "application/x-ndjson");
    let (get, post) = ("GET", "POST");
    let none = String::new;
    let message = r#"{"message":"hi"}"#.to_owned();
    let new = format!(r#"{{"assistant_id":"{}"}}"#, bot());
    vec![
        (get, LIST.to_owned(), none(), json, Scope::Read),
        (get, format!("{LIST}/changes"), none(), json, Scope::Read),
        (get, format!("{LIST}/stats"), none(), json, Scope::Stats),
        (get, format!("{LIST}/export"), none(), json, Scope::Export),
        (post, format!("{LIST}/import"), "\n".to_owned(), lines, Scope::Import),
        (get, format!("/api/conversations/{one}"), none(), json, Scope::Read),
        (post, "/api/conversations".to_owned(), new, json, Scope::Write),
        (post, format!("/api/conversations/{one}/messages"), message, json, Scope::Write),
        (
            "PATCH",
            format!("/api/conversations/{one}"),
            r#"{"ai_enabled":true}"#.to_owned(),
            json,
            Scope::Write,
        ),
        (post, format!("/api/automate/conversations/{one}/enable-ai"), none(), json, Scope::Write),
        (post, format!("/api/automate/conversations/{one}/disable-ai"), none(), json, Scope::Write),
        ("DELETE", format!("/api/conversations/{one}"), none(), json, Scope::Write),
        (get, "/api/user/me".to_owned(), none(), json, Scope::Read),
        (get, "/api/user/assistants/get".to_owned(), none(), json, Scope::Read),
        (get, "/api/user/assistants".to_owned(), none(), json, Scope::Read),
        (
            post,
            "/api/user/assistants".to_owned(),
            r#"{"name":"New"}"#.to_owned(),
            json,
            Scope::Write,
        ),
        (
            "PATCH",
            format!("/api/user/assistants/{}", bot()),
            r#"{"name":"Renamed"}"#.to_owned(),
            json,
            Scope::Write,
        ),
    ]
}

fn token(harness: &Harness, options: TokenOptions) -> String {
    harness.store.create_token_with(harness.user, LONG_AGO, options).unwrap().token
}

#[test]
fn each_endpoint_requires_its_scope_alone() {
    let harness = Harness::new();
    harness.insert([1], &Channel::Widget);
    // The list of this test is complete: it has each operation of the description with a token.
    let document: Value = serde_json::from_str(convodb_http::openapi()).unwrap();
    let documented = document["paths"].as_object().unwrap().values();
    let documented = documented.flat_map(|item| item.as_object().unwrap().values());
    let mut scopes: Vec<String> = documented
        .filter_map(|operation| operation["security"][0]["bearer"][0].as_str())
        .map(str::to_owned)
        .collect();
    let mut listed: Vec<String> = endpoints().iter().map(|(.., scope)| scope.to_string()).collect();
    scopes.sort();
    listed.sort();
    assert_eq!(listed, scopes);

    for (method, target, body, media_type, required) in endpoints() {
        for scope in Scope::ALL {
            let token =
                token(&harness, TokenOptions { scopes: scope.into(), ..TokenOptions::default() });
            let response = harness.send_typed(&token, method, &target, media_type, body.as_bytes());
            if scope == required {
                assert!(response.status == 200, "{method} {target}: {}", response.text());
                // A deleted conversation is needed again.
                let row = conversation(1);
                if harness.store.snapshot().conversation(harness.user, row.id).unwrap().is_none() {
                    harness.insert([1], &Channel::Widget);
                }
                continue;
            }
            assert_eq!(response.status, 403, "{method} {target} with {scope}");
            let message = format!("This token lacks the scope {required}.");
            assert_eq!(response.json()["message"], message.as_str());
            let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{required}\"");
            assert_eq!(response.header("www-authenticate"), challenge);
        }
    }
}

#[test]
fn an_expired_token_is_refused() {
    let harness = Harness::new();
    let expires = |text: &str| TokenOptions {
        expires_at: Some(text.parse().unwrap()),
        ..TokenOptions::default()
    };
    let expired = token(&harness, expires("2020-01-01"));
    assert_eq!(harness.list_of(&expired, "").status, 401);
    let valid = token(&harness, expires("2109-01-01"));
    assert_eq!(harness.list_of(&valid, "").status, 200);
}

// ---- the restriction to one assistant ----------------------------------------------------------

const SECRET: &str = "secret-of-the-other-assistant";

fn second_bot() -> AssistantId {
    AssistantId::new(Uuid::from_u128(0x5EC2E7))
}

/// A user with two assistants and conversations of both, and a token that is limited to the first.
/// Everything of the second contains [`SECRET`] or its ids.
fn two_assistants() -> (Harness, String) {
    let harness = Harness::new();
    let (store, user) = (&harness.store, harness.user);
    store.create_assistant(user, second_bot(), SECRET).unwrap();
    harness.insert(1..=6, &Channel::Widget);
    for row in 101..=106 {
        let row = Conversation {
            assistant: second_bot(),
            channel: Channel::api(SECRET).unwrap(),
            ..conversation(row)
        };
        let id = row.id;
        store.insert(user, row, Vec::new()).unwrap();
        let message = Message::new(Role::User, SECRET, LONG_AGO).unwrap();
        store.append_message(user, id, message).unwrap();
    }
    let options = TokenOptions { assistant: Some(bot()), ..TokenOptions::default() };
    let limited = token(&harness, options);
    (harness, limited)
}

#[track_caller]
fn reveals_nothing(response: &Response) {
    let text = format!("{response:?} {}", response.text());
    let ids = (101..=106).map(|row| conversation(row).id.to_string());
    for secret in ids.chain([SECRET.to_owned(), second_bot().to_string()]) {
        assert!(!text.contains(&secret), "{secret} in {text}");
    }
}

#[test]
fn a_limited_token_sees_nothing_of_another_assistant_on_any_endpoint() {
    let (harness, limited) = two_assistants();
    let get = |target: &str| {
        let response = harness.request("GET", target, &limited, "");
        reveals_nothing(&response);
        response
    };
    // Lists, forwards and backwards, in both orders.
    for order in ["asc", "desc"] {
        let first = get(&format!("{LIST}?per_page=4&order={order}"));
        let next = first.cursor("next_cursor").unwrap();
        let second = get(&format!("{LIST}?cursor={next}"));
        let mut rows = [first.rows(), second.rows()].concat();
        assert!(second.cursor("next_cursor").is_none());
        let prev = second.cursor("prev_cursor").unwrap();
        assert_eq!(get(&format!("{LIST}?cursor={prev}")).rows(), first.rows());
        rows.sort_unstable();
        assert_eq!(rows, [1, 2, 3, 4, 5, 6]);
        // An unlimited token reads the same list with the same cursor.
        assert_eq!(harness.list(&format!("cursor={next}")).rows(), second.rows());
    }
    assert!(get(&format!("{LIST}?type=api&external_identifier={SECRET}")).rows().is_empty());
    let other = format!("assistant_id={}", second_bot());
    for filter in [&other, "assistant_id=2"] {
        for target in [LIST.to_owned(), format!("{LIST}/export"), format!("{LIST}/stats")] {
            let response = harness.request("GET", &format!("{target}?{filter}"), &limited, "");
            assert_eq!(response.status, 422, "{target}?{filter}");
            let unknown =
                harness.request("GET", &format!("{target}?assistant_id=99"), &limited, "");
            assert_eq!(response.text(), unknown.text(), "the same as one that does not exist");
        }
    }
    // Cursors of wider lists, and of the other assistant's.
    for query in ["per_page=2", &format!("per_page=2&{other}")] {
        let cursor = harness.list(query).cursor("next_cursor").unwrap();
        assert_eq!(get(&format!("{LIST}?cursor={cursor}")).status, 422, "{query}");
    }

    let theirs = conversation(101).id;
    let missing = "/api/conversations/00000000-0000-4000-8000-000000000000";
    for (method, rest, body) in [
        ("GET", "", ""),
        ("PATCH", "", r#"{"ai_enabled":false}"#),
        ("DELETE", "", ""),
        ("POST", "/messages", r#"{"message":"hi"}"#),
    ] {
        let send = |target: &str| harness.send_as(&limited, method, target, body);
        let response = send(&format!("/api/conversations/{theirs}{rest}"));
        let expected = send(&format!("{missing}{rest}"));
        assert_eq!((response.status, response.text()), (404, expected.text()), "{method} {rest}");
    }
    for on in ["enable-ai", "disable-ai"] {
        let target = format!("/api/automate/conversations/{theirs}/{on}");
        assert_eq!(harness.send_as(&limited, "POST", &target, "").status, 404);
    }

    let stats = get(&format!("{LIST}/stats?group_by=assistant,day")).json();
    assert_eq!(stats["total"]["conversations"], 6);
    assert_eq!(stats["total"]["messages"], 0);
    let export = get(&format!("{LIST}/export?messages=1"));
    assert_eq!(export.text().lines().count(), 6);
    let assistants = get("/api/user/assistants/get").json();
    assert_eq!((&assistants["total"], assistants["data"][0]["id"].as_u64()), (&1.into(), Some(1)));
    let assistants = get("/api/user/assistants").json();
    assert_eq!((assistants.as_array().unwrap().len(), &assistants[0]["id"]), (1, &1.into()));
    assert_eq!(get("/api/user/me").status, 200);

    // The feed has six creations. A deletion and a departure of the own assistant are reported,
    // those of the other are not.
    let feed = get(&format!("{LIST}/changes"));
    assert_eq!(feed.json()["data"].as_array().unwrap().len(), 6);
    let cursor = feed.json()["next_cursor"].as_str().unwrap().to_owned();
    let (store, user) = (&harness.store, harness.user);
    let give = |row: u8, to: AssistantId| {
        let set = move |row: &mut Conversation| {
            row.assistant = to;
            Ok(())
        };
        store.update(user, conversation(row).id, LONG_AGO, set).unwrap();
    };
    store.delete(user, conversation(102).id).unwrap();
    store.delete(user, conversation(1).id).unwrap();
    give(2, second_bot());
    give(103, bot());
    give(103, second_bot());
    give(104, second_bot());
    let response = harness.request("GET", &format!("{LIST}/changes?cursor={cursor}"), &limited, "");
    let reported: Vec<(String, String)> = response.json()["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| (change["id"].to_string(), change["change"].to_string()))
        .collect();
    let expected =
        [1, 2, 103].map(|row| (format!("\"{}\"", conversation(row).id), "\"deleted\"".to_owned()));
    assert_eq!(reported, expected, "row 103 was with the assistant for a moment");
}

#[test]
fn a_limited_token_writes_nothing_of_another_assistant() {
    let (harness, limited) = two_assistants();
    let before = harness.send("GET", &format!("{LIST}/export?messages=1"), "").body;
    let post = |target: &str, body: &str| harness.send_as(&limited, "POST", target, body);

    let created = post("/api/conversations", &format!(r#"{{"assistant_id":"{}"}}"#, second_bot()));
    assert_eq!((created.status, &created.json()["error"]), (404, &"Assistant not found".into()));
    let mine = format!("/api/conversations/{}", conversation(1).id);
    let give = format!(r#"{{"assistant_id":"{}"}}"#, second_bot());
    assert_eq!(harness.send_as(&limited, "PATCH", &mine, &give).status, 404);
    let assistant = post("/api/user/assistants", r#"{"name":"New"}"#);
    assert_eq!(assistant.status, 403);
    assert_eq!(assistant.json()["message"], "This token is limited to one assistant.");
    let rename = format!("/api/user/assistants/{}", second_bot());
    assert_eq!(harness.send_as(&limited, "PATCH", &rename, r#"{"name":"X"}"#).status, 404);

    // Lines of other assistants, known and new, and of a known id, are rejected one by one.
    let line = |id: &str, assistant: &str, name: &str| {
        format!(
            "{{\"id\":\"{id}\",\"assistant_id\":\"{assistant}\",\"assistant_name\":\"{name}\",\
             \"type\":\"widget\",\"created_at\":\"2025-01-25\"}}\n"
        )
    };
    let new = |digit: char| format!("0000000{digit}-0000-4000-8000-00000000000{digit}");
    let body = [
        line(&new('a'), &second_bot().to_string(), "Known"),
        line(&new('b'), &new('f'), "Unknown"),
        line(&conversation(101).id.to_string(), &bot().to_string(), "Support"),
        line(&conversation(1).id.to_string(), &bot().to_string(), "Support"),
    ];
    let target = format!("{LIST}/import");
    let response = harness.send_typed(
        &limited,
        "POST",
        &target,
        "application/x-ndjson",
        body.concat().as_bytes(),
    );
    let report = response.json();
    assert_eq!(response.status, 200, "{report}");
    let errors: Vec<_> = report["errors"].as_array().unwrap().iter().collect();
    let message = |at: usize| errors[at]["message"].as_str().unwrap();
    assert_eq!((&report["rejected"], &report["already_present"]), (&3.into(), &1.into()));
    let limited_to = "assistant_id must be the assistant that the token is limited to";
    assert_eq!([message(0), message(1)], [limited_to; 2]);
    assert_eq!(message(2), "id has already been taken");

    let after = harness.send("GET", &format!("{LIST}/export?messages=1"), "").body;
    assert!(before == after, "nothing was written");
    // Its own assistant's conversations are open to it.
    let hello = post(&format!("{mine}/messages"), r#"{"message":"hi"}"#);
    assert_eq!((hello.status, &hello.json()["message_count"]), (200, &1.into()));
}

#[test]
fn an_idempotency_key_does_not_reveal_the_response_to_another_token() {
    let (harness, limited) = two_assistants();
    let target = format!("/api/conversations/{}/messages", conversation(101).id);
    let body = r#"{"message":"hi"}"#;
    let send = |token: &str| {
        let headers = format!(
            "Host: test\r\nAuthorization: Bearer {token}\r\nIdempotency-Key: one\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let request = format!("POST {target} HTTP/1.1\r\n{headers}");
        crate::client::send(harness.server.address, request.as_bytes())
    };
    assert_eq!(send(&harness.token).status, 200);
    assert_eq!(send(&harness.token).json()["message_count"], 2, "a retry");
    assert_eq!(send(&limited).status, 422);
}

// ---- authority that ends while a request runs --------------------------------------------------

/// How authority ends.
#[derive(Clone, Copy, Debug)]
enum End {
    RevokeToken,
    EraseUser,
    NarrowScopes,
}

const ENDS: [End; 3] = [End::RevokeToken, End::EraseUser, End::NarrowScopes];

impl End {
    /// The beginning of the response to what is no longer allowed.
    const fn refusal(self) -> &'static str {
        match self {
            End::RevokeToken | End::EraseUser => "HTTP/1.1 401",
            End::NarrowScopes => "HTTP/1.1 403",
        }
    }
}

/// Narrows each token of the user.
fn narrow(harness: &Harness, narrowing: TokenNarrowing) {
    let tokens = harness.store.snapshot().tokens().unwrap();
    for token in tokens.iter().filter(|token| token.user == harness.user) {
        harness.store.narrow_token(token.id, narrowing).unwrap();
    }
}

fn end(end: End, harness: &Harness) {
    match end {
        End::RevokeToken => {
            harness.store.revoke_tokens(TokenSelector::User(harness.user)).unwrap();
        }
        End::EraseUser => {
            harness.store.erase_user(harness.user, LONG_AGO).unwrap();
        }
        End::NarrowScopes => {
            let scopes = Some(Scope::Stats.into());
            narrow(harness, TokenNarrowing { scopes, ..TokenNarrowing::default() });
            // A commit that wakes those who wait.
            harness.insert([99], &Channel::Widget);
        }
    }
}

fn connect(harness: &Harness) -> TcpStream {
    let stream = TcpStream::connect(harness.server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// A token that is limited to an assistant while an export runs ends it, and reads no other row.
#[test]
fn an_export_stops_when_its_token_is_limited_to_an_assistant() {
    let harness = Harness::new();
    let second = harness.store.create_assistant(harness.user, second_bot(), "Second").unwrap().id;
    let text = format!(r#"{{"x":"{}"}}"#, "x".repeat(60_000));
    for row in 1..=200 {
        let variables = Some(convodb::Variables::new(text.as_str()).unwrap());
        let row = Conversation { variables, ..conversation(row) };
        harness.store.insert(harness.user, row, Vec::new()).unwrap();
    }
    let mut stream = connect(&harness);
    let token = &harness.token;
    let head =
        format!("GET {LIST}/export HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut received = vec![0; 1 << 16];
    stream.read_exact(&mut received).unwrap();
    assert!(received.starts_with(b"HTTP/1.1 200"));
    narrow(&harness, TokenNarrowing { assistant: Some(second), ..TokenNarrowing::default() });
    let _ = stream.read_to_end(&mut received);
    assert!(!received.ends_with(b"\r\n0\r\n\r\n"), "a proper end");
    assert!(received.len() < 11 << 20, "{} of 12 MB arrived", received.len());
    let list = harness.list("").json();
    assert_eq!(list["data"].as_array().map(Vec::len), Some(0), "{list}");
}

/// An export and a history, each more than socket buffers hold, stop at the next chunk, and do not
/// end properly.
#[test]
fn a_streamed_response_stops_when_its_authority_ends() {
    let text = "x".repeat(1 << 20);
    let message = || Message::new(Role::User, text.clone(), LONG_AGO).unwrap();
    let history = format!("/api/conversations/{}", conversation(1).id);
    for target in [format!("{LIST}/export?messages=1"), history] {
        for how in ENDS {
            let harness = Harness::new();
            for (row, messages) in (1..=21).zip([20].into_iter().chain([1; 20])) {
                let mut new = conversation(row);
                new.message_count = messages;
                let messages = (0..messages).map(|_| message()).collect();
                harness.store.insert(harness.user, new, messages).unwrap();
            }
            let mut stream = connect(&harness);
            let head = format!(
                "GET {target} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n",
                harness.token
            );
            stream.write_all(head.as_bytes()).unwrap();
            let mut received = vec![0; 1 << 16];
            stream.read_exact(&mut received).unwrap();
            assert!(received.starts_with(b"HTTP/1.1 200"), "{how:?}");
            end(how, &harness);
            // The end of the connection may be an error.
            let _ = stream.read_to_end(&mut received);
            assert!(!received.ends_with(b"\r\n0\r\n\r\n"), "{target} {how:?}: a proper end");
            let arrived = received.len() >> 20;
            assert!(arrived < 16, "{target} {how:?}: {arrived} of 20 or 40 MiB arrived");
        }
    }
}

/// An import that trickles is refused at its next piece, and stores nothing more.
#[test]
fn an_import_stops_when_its_authority_ends() {
    for how in ENDS {
        let harness = Harness::new();
        let mut stream = connect(&harness);
        let head = format!(
            "POST {LIST}/import HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/x-ndjson\r\nContent-Length: 100000000\r\n\r\n",
            harness.token
        );
        stream.write_all(head.as_bytes()).unwrap();
        let lines = |from: u32, to: u32| {
            let line = |n: u32| {
                let row = format!("{n:08x}-0000-4000-8000-000000000000");
                format!(
                    "{{\"id\":\"{row}\",\"assistant_id\":\"{}\",\"assistant_name\":\"Support\",\
                     \"type\":\"widget\",\"created_at\":\"2025-01-25\"}}\n",
                    bot()
                )
            };
            (from..to).map(line).collect::<String>()
        };
        // A whole batch, which is stored, and the beginning of the next.
        stream.write_all(lines(0, 1100).as_bytes()).unwrap();
        let stored = |store: &Store| {
            store.snapshot().conversations(harness.user, &convodb::ListRequest::default()).count()
        };
        wait::until("a batch is stored", || stored(&harness.store) >= 1024);
        end(how, &harness);
        stream.write_all(lines(1100, 1101).as_bytes()).unwrap();
        let mut response = [0; 12];
        stream.read_exact(&mut response).unwrap();
        assert_eq!(response, how.refusal().as_bytes(), "{how:?}");
        let expected = match how {
            End::RevokeToken => 1024,
            End::EraseUser => 0,
            End::NarrowScopes => 1025,
        };
        assert_eq!(stored(&harness.store), expected, "{how:?}");
        assert!(harness.store.snapshot().verify().unwrap().is_clean());
    }
}

/// A long poll answers 401 at the next commit instead of the change.
#[test]
fn a_long_poll_stops_when_its_authority_ends() {
    for how in ENDS {
        let harness = Harness::new();
        harness.insert([1], &Channel::Widget);
        let mut stream = connect(&harness);
        let head = format!(
            "GET {LIST}/changes?cursor=now&wait=60 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
             Authorization: Bearer {}\r\n\r\n",
            harness.token
        );
        stream.write_all(head.as_bytes()).unwrap();
        // The connection of the request, and that of this one.
        wait::until("the server has the request", || {
            harness.server.request("GET", "/metrics", "").text().contains("connections 2")
        });
        end(how, &harness);
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        assert!(response.starts_with(how.refusal()), "{how:?}: {response}");
        assert!(!response.contains("\"change\""), "{how:?}");
    }
}

/// A body that arrives after the end of its authority is not written.
#[test]
fn a_write_is_refused_when_its_authority_ended_before_its_body_arrived() {
    for how in ENDS {
        let harness = Harness::new();
        harness.insert([1], &Channel::Widget);
        let body = r#"{"message":"hi"}"#;
        let mut stream = connect(&harness);
        let head = format!(
            "POST /api/conversations/{}/messages HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
             Expect: 100-continue\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            conversation(1).id,
            harness.token,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        // The server asks for the body once the request is authenticated.
        let mut interim = [0; 25];
        stream.read_exact(&mut interim).unwrap();
        assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
        end(how, &harness);
        stream.write_all(body.as_bytes()).unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        assert!(response.starts_with(how.refusal()), "{how:?}: {response}");
    }
}
