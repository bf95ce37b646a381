//! Import and export: round trip, rejected lines, interruption, compression.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use convodb::{
    Channel, Contact, Conversation, Cost, ListRequest, Message, Order, Role, Store, Timestamp,
    Variables,
};
use convodb_http::{Config, Limits};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::client::Response;
use crate::harness::{Harness, api, bot, conversation, whatsapp};

const IMPORT: &str = "/api/user/conversations/import";
const EXPORT: &str = "/api/user/conversations/export";
const LINES: &str = "application/x-ndjson";

fn import(harness: &Harness, body: &[u8]) -> Response {
    harness.send_typed(&harness.token, "POST", IMPORT, LINES, body)
}

fn export(harness: &Harness, query: &str) -> Response {
    let response = harness.request("GET", &format!("{EXPORT}?{query}"), &harness.token, "");
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("content-type"), LINES);
    response
}

fn ids(response: &Response) -> Vec<u8> {
    let number = |line: &str| {
        let item: Value = serde_json::from_str(line).unwrap();
        u8::from_str_radix(&item["id"].as_str().unwrap()[..2], 16).unwrap()
    };
    response.text().lines().map(number).collect()
}

/// All conversations of the user with their messages, oldest first.
fn contents(harness: &Harness) -> Vec<(Conversation, Vec<Message>)> {
    let snapshot = harness.store.snapshot();
    let request = ListRequest { order: Some(Order::Ascending), ..ListRequest::default() };
    let with_history = |row: convodb::Result<Conversation>| {
        let row = row.unwrap();
        let history = snapshot.messages(harness.user, row.id).unwrap().unwrap();
        (row, history)
    };
    snapshot.conversations(harness.user, &request).map(with_history).collect()
}

/// Inserts conversations of every type, with times to the millisecond and several in the same one.
fn fill(harness: &Harness) {
    let at = |millis: u64| Timestamp::from_millis(1_737_800_000_123 + millis).unwrap();
    let name = |text: &str| Some(text.parse().unwrap());
    let contact = |n: &str| Contact { name: name(n), phone: Some("+1".parse().unwrap()) };
    let channels = [
        Channel::Test,
        Channel::Widget,
        whatsapp("+1", "+2"),
        Channel::Whatsapp { sender: contact("Acme \u{1F600}"), customer: contact("\"\\\u{7f}\n") },
        Channel::Whatsapp { sender: Contact::default(), customer: Contact::default() },
        api("crm\t1"),
        Channel::Api { external_identifier: None },
    ];
    for (row, channel) in (1u8..).zip(channels) {
        let created_at = at(u64::from(row / 3));
        let full = Conversation {
            channel,
            created_at,
            updated_at: at(u64::from(row) * 1_000_001),
            message_count: u32::from(row) + 3,
            total_cost: Cost::from_nanos(i64::from(row) * 1_000_000_001),
            ai_enabled: row % 2 == 0,
            variables: (row > 3).then(|| {
                Variables::new(r#"{"n": 1.10, "big":1e40,"nested":{"a":[null]}}"#.to_owned())
                    .unwrap()
            }),
            ..conversation(row)
        };
        let user = harness.user;
        let messages: Vec<Message> = (0..row % 4)
            .map(|n| {
                let role = Role::ALL[usize::from(n % 3)];
                let said = format!("line\nbreak {n} \u{2028}");
                let message = Message::new(role, said, at(u64::from(n) * 7)).unwrap();
                let message = message.with_cost(Cost::from_nanos(i64::from(n)));
                if n == 1 {
                    message.with_function_calls(r#"[{"name":"book", "n":1.0}]"#.to_owned()).unwrap()
                } else {
                    message
                }
            })
            .collect();
        harness.store.write(move |txn| txn.insert(user, full, messages.clone())).unwrap();
    }
}

#[test]
fn an_imported_export_is_equal() {
    let harness = Harness::new();
    fill(&harness);
    let lines = export(&harness, "messages=1");
    assert_eq!(lines.text().lines().count(), 7);

    let copy = Harness::new();
    let response = import(&copy, &lines.body);
    assert_eq!(
        response.text(),
        r#"{"inserted":7,"already_present":0,"messages":12,"assistants_created":0,"rejected":0,"errors":[]}"#
    );
    assert_eq!(contents(&copy), contents(&harness));
    assert_eq!(export(&copy, "messages=true").text(), lines.text());
    assert_eq!(copy.list("").text(), harness.list("").text());

    // A second import changes nothing.
    let again = import(&copy, &lines.body).json();
    assert_eq!((&again["inserted"], &again["already_present"]), (&json!(0), &json!(7)));
    assert_eq!(contents(&copy), contents(&harness));
    assert!(copy.store.snapshot().verify().unwrap().is_clean());
}

#[test]
fn csv_is_exported_by_accept() {
    let harness = Harness::new();
    harness.insert([1], &whatsapp("+1", "=2"));
    let export = |query: &str, accept: &str| {
        let target = format!("/api/user/conversations/export?{query}");
        harness.request("GET", &target, &harness.token, &format!("Accept: {accept}\r\n"))
    };
    let plain = export("", "text/csv");
    assert_eq!(plain.header("content-type"), "text/csv; charset=utf-8; header=present");
    let name = "attachment; filename=\"conversations.csv\"";
    assert_eq!(plain.header("content-disposition"), name);
    let header = "id,created_at,updated_at,type,assistant_id,assistant_name,message_count,\
                  total_cost,ai_enabled,external_identifier,whatsapp_sender_name,\
                  whatsapp_sender_phone,customer_name,customer_phone,variables\n";
    let record = "01000000-0000-0000-0000-000000000000,2025-01-25T10:13:21.000Z,\
                  2025-01-25T10:13:21.000Z,whatsapp,00000000-0000-0000-0000-000000000b07,Support,0,\
                  0.0,true,,,+1,,=2,\n";
    assert_eq!(plain.text(), format!("{header}{record}"));
    let safe = export("csv_safe=1&csv_bom=1", "text/csv").text().to_owned();
    assert!(safe.starts_with("\u{feff}id,") && safe.contains(",'+1,,'=2,"), "{safe}");
    assert_eq!(export("type=widget", "text/csv").text(), header);

    let lines = export("", "*/*");
    assert_eq!(lines.header("content-type"), "application/x-ndjson");
    let name = "attachment; filename=\"conversations.jsonl\"";
    assert_eq!(lines.header("content-disposition"), name);
    for (query, accept, field) in [
        ("messages=1", "text/csv", "messages"),
        ("csv_bom=1", "*/*", "csv_bom"),
        ("csv_safe=yes", "text/csv", "csv_safe"),
    ] {
        let refused = export(query, accept);
        assert_eq!(refused.status, 422, "{query}");
        assert!(refused.json()["errors"].get(field).is_some(), "{query}");
    }
}

#[test]
fn a_line_matches_the_documentation_byte_for_byte() {
    let harness = Harness::new();
    harness.insert([1], &whatsapp("+1", "+2"));
    let at = "2025-01-25T10:15:00.250Z".parse().unwrap();
    let message = Message::new(Role::User, "Hi".to_owned(), at).unwrap();
    let message = message.with_cost("0.001".parse().unwrap());
    harness.store.append_message(harness.user, conversation(1).id, message).unwrap();
    let item = r#"{"id":"01000000-0000-0000-0000-000000000000","assistant_id":"00000000-0000-0000-0000-000000000b07","assistant_name":"Support","type":"whatsapp","variables":null,"message_count":1,"total_cost":0.001,"ai_enabled":true,"created_at":"2025-01-25T10:13:21.000Z","updated_at":"2025-01-25T10:15:00.250Z","whatsapp_sender":{"name":null,"phone":"+1"},"customer":{"name":null,"phone":"+2"}"#;
    assert_eq!(export(&harness, "").text(), format!("{item}}}\n"));
    let messages =
        r#"[{"role":"user","content":"Hi","cost":0.001,"created_at":"2025-01-25T10:15:00.250Z"}]"#;
    assert_eq!(
        export(&harness, "messages=1").text(),
        format!("{item},\"messages\":{messages}}}\n")
    );
}

#[test]
fn an_export_has_the_filters_of_the_list() {
    let harness = Harness::new();
    harness.insert([1, 4], &Channel::Widget);
    harness.insert([2, 5], &whatsapp("+1", "+2"));
    harness.insert([3], &api("a"));
    for (query, rows) in [
        ("", vec![1, 2, 3, 4, 5]),
        ("order=desc&per_page=2", vec![5, 4, 3, 2, 1]),
        ("type=widget", vec![1, 4]),
        ("customer_phone=%2B2&assistant_id=1", vec![2, 5]),
        ("external_identifier=a&messages=0", vec![3]),
        ("external_identifier=b", vec![]),
        ("created_from=2025-01-25T10:13:24Z", vec![4, 5]),
    ] {
        assert_eq!(ids(&export(&harness, query)), rows, "{query}");
    }
    let cursor = harness.list("per_page=2").cursor("next_cursor").unwrap();
    for (query, field) in [
        (format!("cursor={cursor}"), "cursor"),
        ("messages=yes".to_owned(), "messages"),
        ("type=fax".to_owned(), "type"),
    ] {
        let response = harness.request("GET", &format!("{EXPORT}?{query}"), &harness.token, "");
        assert_eq!(response.status, 422);
        assert!(response.json()["errors"][field].is_array(), "{}", response.text());
    }
    let foreign = harness.request("GET", EXPORT, &harness.other_token, "");
    assert_eq!((foreign.status, foreign.text()), (200, ""));
    assert_eq!(harness.request("GET", EXPORT, "x", "").status, 401);
    let head = harness.request("HEAD", EXPORT, &harness.token, "");
    assert_eq!((head.status, head.header("content-type")), (200, LINES));
}

/// An export larger than all buffers comes from one snapshot, however slowly the client reads:
/// writes during the export do not change it.
#[test]
fn an_export_is_one_snapshot_at_the_pace_of_the_client() {
    let harness = Harness::new();
    let content = "x".repeat(1_000_000);
    for row in 1..=40 {
        harness.insert([row], &Channel::Widget);
        let message = Message::new(Role::User, content.clone(), Timestamp::MIN).unwrap();
        harness.store.append_message(harness.user, conversation(row).id, message).unwrap();
    }
    let mut stream = TcpStream::connect(harness.server.address).unwrap();
    let request = format!(
        "GET {EXPORT}?messages=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
         Authorization: Bearer {}\r\n\r\n",
        harness.token
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    let mut status = String::new();
    reader.read_line(&mut status).unwrap();
    assert!(status.starts_with("HTTP/1.1 200"), "{status}");
    // The server waits for the client. Meanwhile everything is deleted.
    for row in 1..=40 {
        harness.store.delete(harness.user, conversation(row).id).unwrap();
    }
    assert!(harness.list("").rows().is_empty());
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    let messages = rest.windows(8).filter(|window| *window == b"\"content").count();
    assert_eq!(messages, 40);
    assert!(rest.ends_with(b"\r\n0\r\n\r\n"), "the export is complete");
}

#[test]
fn invalid_lines_are_reported_and_the_others_imported() {
    // Lines of more than 500 bytes are parsed as they arrive.
    let limits = Limits { max_line_text_bytes: 500, ..Limits::default() };
    let config = Config { limits, ..Config::default() };
    let harness = Harness::of(Store::in_memory().unwrap(), config);
    let line = |id: u32, rest: &str| {
        format!(
            r#"{{"id":"00000000-0000-0000-0000-{id:012}","assistant_id":"{}","type":"widget","created_at":"2025-01-25"{rest}}}"#,
            bot().uuid()
        )
    };
    let foreign =
        line(6, "").replace(&bot().uuid().to_string(), "00000000-0000-0000-0000-0000000000aa");
    let body = [
        "\u{feff}".to_owned() + &line(1, ""),
        String::new(),
        "not json secret".to_owned(),
        line(2, r#","customer":{"phone":"+49secret"}"#),
        line(1, ""),
        line(3, &format!(r#","variables":{{"secret":"{}"}}"#, "x".repeat(70_000))),
        foreign.clone(),
        foreign.replace("\"type\"", "\"assistant_name\":\"New\",\"type\""),
        line(7, r#","message_count":1"#) + "\r",
    ]
    .join("\n");
    assert_eq!(
        import(&harness, body.as_bytes()).text(),
        r#"{"inserted":3,"already_present":1,"messages":0,"assistants_created":1,"rejected":4,"errors":[{"line":3,"message":"the line is not valid JSON at column 2"},{"line":4,"message":"customer must be left out where the type is not whatsapp"},{"line":6,"message":"variables must have at most 65536 bytes"},{"line":7,"message":"assistant_name must be given for an assistant that is not there yet"}]}"#
    );
    assert_eq!(harness.list("assistant_id=2").rows().len(), 1);

    let wrong = "[]\n".repeat(2000);
    let response = import(&harness, wrong.as_bytes()).json();
    assert_eq!(response["rejected"], 2000);
    assert_eq!(
        response["errors"].as_array().unwrap().len(),
        20,
        "only the first errors are listed"
    );
    assert_eq!(response["errors"][19]["line"], 20);
}

/// An export with a history of 40 MiB is imported again: its text is never in memory as a whole.
#[test]
fn a_long_history_is_imported_again() {
    let harness = Harness::new();
    harness.insert([1], &Channel::Widget);
    let id = conversation(1).id;
    let text = "\"\u{e9}\n".repeat(160 << 10);
    for n in 0..50 {
        let at = Timestamp::from_millis(1_737_800_000_000 + n).unwrap();
        let message = Message::new(Role::User, text.clone(), at).unwrap();
        harness.store.append_message(harness.user, id, message).unwrap();
    }
    let export = harness.request("GET", &format!("{EXPORT}?messages=1"), &harness.token, "");
    assert!(export.text().len() > 40 << 20, "{}", export.text().len());

    let other = Harness::of(Store::in_memory().unwrap(), Config::default());
    let report = import(&other, export.text().as_bytes()).json();
    assert_eq!((&report["inserted"], &report["messages"]), (&1.into(), &50.into()), "{report}");
    let again = other.request("GET", &format!("{EXPORT}?messages=1"), &other.token, "");
    assert!(again.text() == export.text(), "the export of the copy differs");
}

#[test]
fn an_import_of_many_batches_is_complete() {
    let harness = Harness::new();
    let line = |n: u32| {
        format!(
            "{{\"id\":\"{n:08x}-0000-0000-0000-000000000000\",\"assistant_id\":\"{}\",\"type\":\"api\",\
             \"external_identifier\":\"{}\",\"created_at\":\"2025-01-25\",\"messages\":[{{\"role\":\"user\",\
             \"content\":\"hi\",\"created_at\":\"2025-01-25\"}}]}}\n",
            bot().uuid(),
            n % 10
        )
    };
    let body: String = (0..2000).map(line).collect();
    let response = import(&harness, body.as_bytes()).json();
    assert_eq!((&response["inserted"], &response["messages"]), (&json!(2000), &json!(2000)));
    assert_eq!(export(&harness, "external_identifier=3").text().lines().count(), 200);
    assert!(harness.store.snapshot().verify().unwrap().is_clean());
}

#[test]
fn an_interrupted_import_keeps_its_batches_and_can_be_repeated() {
    let harness = Harness::new();
    fill(&harness);
    let lines = export(&harness, "messages=1").body;
    let copy = Harness::new();
    let head = format!(
        "POST {IMPORT} HTTP/1.1\r\nHost: a\r\nContent-Type: {LINES}\r\n\
         Authorization: Bearer {}\r\nContent-Length: {}\r\n\r\n",
        copy.token,
        lines.len()
    );
    let mut stream = TcpStream::connect(copy.server.address).unwrap();
    stream.write_all(&[head.as_bytes(), &lines[..lines.len() / 2]].concat()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    assert!(!response.contains(" 200 "), "{response}");
    let response = import(&copy, &lines).json();
    let counted = |key: &str| response[key].as_u64().unwrap();
    assert_eq!(counted("inserted") + counted("already_present"), 7);
    assert_eq!(contents(&copy), contents(&harness));
}

#[test]
fn an_import_requires_json_lines_and_a_token() {
    let harness = Harness::new();
    for wrong in ["application/json", "text/plain", "", "application/x-ndjson; charset=utf-16"] {
        let response = harness.send_typed(&harness.token, "POST", IMPORT, wrong, b"{}");
        assert_eq!(response.status, 415, "{wrong}");
    }
    assert_eq!(harness.send_typed("x", "POST", IMPORT, LINES, b"{}").status, 401);
    assert_eq!(import(&harness, b"").json()["inserted"], 0);
}

#[test]
fn a_transfer_over_the_limit_answers_503() {
    let limits = Limits { max_transfers: 0, ..Limits::default() };
    let config = Config { limits, ..Config::default() };
    let harness = Harness::of(Store::in_memory().unwrap(), config);
    for response in [import(&harness, b"{}"), harness.request("GET", EXPORT, &harness.token, "")] {
        assert_eq!(
            (response.status, response.text()),
            (503, r#"{"message":"Service Unavailable"}"#)
        );
        assert_eq!(response.header("retry-after"), "1");
    }
}

/// Compressed lines can be imported as they are; a decompression bomb is refused while it is read.
#[test]
fn compressed_lines_are_imported() {
    let harness = Harness::new();
    fill(&harness);
    let lines = export(&harness, "messages=1").body;
    let import = |harness: &Harness, encoding: &str, body: &[u8]| {
        let media_type = format!("{LINES}\r\nContent-Encoding: {encoding}");
        harness.send_typed(&harness.token, "POST", IMPORT, &media_type, body)
    };
    let compressed = |text: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        [("gzip", encoder.finish().unwrap()), ("zstd", zstd::encode_all(text, 3).unwrap())]
    };
    for (encoding, body) in compressed(&lines) {
        let copy = Harness::new();
        assert_eq!(import(&copy, encoding, &body).json()["inserted"], 7, "{encoding}");
        assert_eq!(contents(&copy), contents(&harness), "{encoding}");
        let cut = import(&copy, encoding, &body[..body.len() - 9]);
        let message = "The body is not packed as its Content-Encoding says, or ends early.";
        assert_eq!((cut.status, &cut.json()["message"]), (400, &json!(message)), "{encoding}");
    }
    for (encoding, body) in compressed(&vec![b'x'; 70 << 20]) {
        let bomb = import(&harness, encoding, &body);
        assert_eq!(
            (bomb.status, bomb.text()),
            (413, r#"{"message":"The body must not decompress to more than 256 times its size."}"#)
        );
    }
    for wrong in ["br", "gzip, gzip", "gzip\r\nContent-Encoding: gzip"] {
        let response = import(&harness, wrong, &lines);
        assert_eq!(response.status, 415, "{wrong}");
        assert_eq!(response.header("accept-encoding"), "gzip, zstd, identity");
    }
}
