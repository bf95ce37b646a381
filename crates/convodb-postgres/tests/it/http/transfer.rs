//! Imports and exports of both servers: the same bodies, and what faults and slow clients do to those of
//! the database.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use convodb::{
    Channel, Conversation, ConversationId, ListRequest, Message, QuotaLimit, Role, Timestamp,
    TokenNarrowing, TokenOptions, UserId, UserQuota,
};
use convodb_http::Limits;
use convodb_postgres::{Cluster, ClusterOptions, Write};
use uuid::Uuid;

use crate::http::client::{ASSISTANTS, Both, Response, send, serving_with};
use crate::writes::compare_tables;
use crate::{connect, url};

const IMPORT: &str = "POST /api/user/conversations/import";
const EXPORT: &str = "GET /api/user/conversations/export";
const LINES: &str = "Content-Type: application/x-ndjson\r\n";
/// An assistant that an import creates.
const CREATED: &str = "a0000000-0000-4000-8000-000000000003";

fn id(number: usize) -> String {
    format!("c0000000-0000-4000-8000-{number:012}")
}

/// A line of an import: each type, five of each millisecond, with 0 to 3 messages and more in some.
fn line(number: usize) -> String {
    let assistant = [ASSISTANTS[0], ASSISTANTS[1], CREATED][number % 7 % 3];
    let mut line = format!(
        "{{\"id\":\"{}\",\"assistant_id\":\"{assistant}\",\"assistant_name\":\"Night \\u00fc\",\
         \"created_at\":\"2025-01-25 10:{:02}:{:02}\",\"updated_at\":\"2025-02-01\",\
         \"ai_enabled\":{}",
        id(number),
        number / 300 % 60,
        number / 5 % 60,
        !number.is_multiple_of(3)
    );
    match number % 4 {
        0 => line.push_str(",\"type\":\"widget\""),
        1 => line += ",\"type\":\"test\",\"variables\":{\"n\": 1.10,\"x\":\"\\u0000, \\\"\"}",
        2 => {
            let phone = number % 3;
            write!(
                line,
                ",\"type\":\"whatsapp\",\"whatsapp_sender\":{{\"phone\":\"+1{phone}\"}},\
                 \"customer\":{{\"name\":\"=Zo\u{eb} \\\"{number}\\\"\",\"phone\":\"+49{phone}\"}}"
            )
            .unwrap();
        }
        _ => write!(line, ",\"type\":\"api\",\"external_identifier\":\"crm {}\"", number % 5)
            .unwrap(),
    }
    // The embedded store writes the longest one in several transactions.
    let messages = match number {
        7 => 2_500,
        90 => 300,
        _ => number % 4,
    };
    line.push_str(",\"messages\":[");
    for message in 0..messages {
        let comma = if message == 0 { "" } else { "," };
        let calls = if message == 1 { ",\"function_calls\":[{\"n\": 1.0}]" } else { "" };
        let content = "text \\u0000 \u{2028}".repeat(12);
        write!(
            line,
            "{comma}{{\"role\":\"user\",\"content\":\"{message} {content}\",\"cost\":0.0003\
             {calls},\"created_at\":\"2025-01-26 00:00:{:02}\"}}",
            message % 60
        )
        .unwrap();
    }
    line.push_str("]}\n");
    line
}

fn lines(numbers: impl Iterator<Item = usize>) -> String {
    numbers.map(line).collect()
}

/// The number that a report has for this count.
fn counted(report: &Response, count: &str) -> usize {
    let rest = report.body.split_once(&format!("\"{count}\":")).unwrap().1;
    rest.split([',', '}']).next().unwrap().parse().unwrap()
}

#[test]
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
fn an_import_has_the_same_report_and_content_on_both_stores() {
    let schema = "http_import";
    let both = Both::new(schema);
    let import = |token: &str, body: &str| -> Response { both.same_as(token, IMPORT, LINES, body) };
    let all = lines(0..700);
    let report = import(&both.token, &all);
    assert_eq!(report.status, 200, "{}", report.body);
    assert_eq!(counted(&report, "inserted"), 700);
    assert_eq!(counted(&report, "assistants_created"), 1);
    assert!(counted(&report, "messages") > 2_000, "{}", report.body);
    // Again, with some new ones, in another order.
    let again = import(&both.token, &lines((600..720).rev()));
    assert_eq!((counted(&again, "inserted"), counted(&again, "already_present")), (20, 100));

    let line = |number: usize, rest: &str| {
        format!(
            "{{\"id\":\"{}\",\"created_at\":\"2025-03-01\",\"type\":\"widget\"{rest}}}\n",
            id(number)
        )
    };
    let of = |assistant: &str, rest: &str| format!(",\"assistant_id\":\"{assistant}\"{rest}");
    let unknown = "a0000000-0000-4000-8000-000000000009";
    let message = ",\"messages\":[{\"role\":\"user\",\"content\":\"x\",\"created_at\":\"2025\"}]";
    let wrong = [
        line(800, &of(ASSISTANTS[0], "")),
        "\n  \nnot json secret\n[]\n".to_owned(),
        line(801, &of(ASSISTANTS[0], ",\"customer\":{\"phone\":\"+49\"}")),
        line(800, &of(ASSISTANTS[1], "")),
        line(802, &of(unknown, "")),
        line(803, &of(unknown, message)),
        line(804, &of(unknown, ",\"assistant_name\":\"New\",\"message_count\":3")) + "\r\n",
        line(805, &of(ASSISTANTS[0], ",\"variables\":7")),
        line(806, &of(unknown, "")),
    ];
    let report = import(&both.token, &wrong.concat());
    assert_eq!(
        (counted(&report, "inserted"), counted(&report, "rejected")),
        (3, 6),
        "{}",
        report.body
    );
    let report = import(&both.token, &"[]\n".repeat(700));
    assert_eq!(report.body.matches("{\"line\":").count(), 20);

    // A token that is limited to one assistant: a conversation of another one, a new one of it, an
    // assistant that it would have to create, and one that it has.
    let limited = [
        line(1, &of(ASSISTANTS[0], "")),
        line(810, &of(ASSISTANTS[1], "")),
        line(811, &of(unknown, ",\"assistant_name\":\"No\"")),
        line(812, &of(ASSISTANTS[0], "")),
    ];
    let report = import(&both.restricted, &limited.concat());
    assert_eq!(
        (counted(&report, "inserted"), counted(&report, "rejected")),
        (1, 3),
        "{}",
        report.body
    );
    let few = lines(0..2);
    assert_eq!(import(&both.reader, &few).status, 403);
    assert_eq!(import("cvdb_unknown", &few).status, 401);
    for media_type in ["application/json", "application/x-ndjson; charset=utf-16"] {
        let header = format!("Content-Type: {media_type}\r\n");
        assert_eq!(both.same_as(&both.token, IMPORT, &header, &few).status, 415);
    }
    assert_eq!(import(&both.token, "").body, import(&both.token, "\n\n").body);

    // Another user's ids are its own; its quota leaves room for some.
    let mut report = import(&both.other_user, &lines(0..9));
    assert_eq!(counted(&report, "inserted"), 9);
    let [conversations, bytes] = [12, 900_000].map(QuotaLimit::AtMost);
    let other = UserId::new(2);
    both.store.set_quota(other, UserQuota { conversations, bytes }).unwrap();
    let set = both.cluster.set_quota(other, Some(conversations), Some(bytes));
    both.runtime.block_on(set).unwrap();
    report = import(&both.other_user, &lines(0..20));
    assert_eq!((counted(&report, "inserted"), counted(&report, "rejected")), (3, 8));
    assert!(
        report.body.contains("quota of 12 conversations exceeded: 12 are used"),
        "{}",
        report.body
    );

    assert!(both.runtime.block_on(compare_tables(schema, &both.store)) > 5_000);
    let audit = both.runtime.block_on(Cluster::verify(&both.options)).unwrap();
    assert!(audit.is_clean(), "{:?}", audit.findings);
}

#[test]
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
fn an_export_has_the_same_bytes_on_both_stores() {
    let both = Both::new("http_export");
    // Nothing yet.
    for query in ["", "?messages=1", "?type=widget"] {
        assert_eq!(both.same(&format!("{EXPORT}{query}"), "").body, "");
    }
    both.same_as(&both.token, IMPORT, LINES, &lines(0..420));
    let filters = [
        ("type", "whatsapp"),
        ("assistant_id", ASSISTANTS[0]),
        ("whatsapp_sender_phone", "%2B10"),
        ("customer_phone", "%2B490"),
        ("external_identifier", "crm+3"),
    ];
    let (mut exported, csv) = (0, "Accept: text/csv\r\n");
    for combination in 0..32_u32 {
        let mut query = String::from("?per_page=3");
        for (bit, (field, value)) in filters.iter().enumerate() {
            if combination & 1 << bit != 0 {
                write!(query, "&{field}={value}").unwrap();
            }
        }
        for rest in ["", "&messages=1", "&order=desc", "&order=desc&messages=true"] {
            let export = both.same(&format!("{EXPORT}{query}{rest}"), "");
            assert_eq!(export.status, 200, "{query}{rest}");
            exported += export.body.lines().count();
        }
        for rest in ["", "&order=desc&csv_safe=1&csv_bom=1"] {
            let export = both.same_as(&both.token, &format!("{EXPORT}{query}{rest}"), csv, "");
            assert!(export.body.contains("id,created_at,updated_at,type,"), "{query}{rest}");
        }
    }
    assert!(exported > 4_000, "{exported} lines were compared");
    for query in [
        "?type=widget,api&messages=1",
        "?assistant_id=1,3&order=desc&messages=1",
        "?type=test,whatsapp&assistant_id=2,3",
        "?created_from=2025-01-25+10:00:05&created_to=2025-01-25+10:01:09&messages=1",
        "?created_from=2026-01-01&messages=1",
    ] {
        both.same(&format!("{EXPORT}{query}"), "");
    }
    let whole = both.same(&format!("{EXPORT}?messages=1"), "");
    assert_eq!(whole.body.lines().count(), 420);
    assert_eq!(whole.body.matches("\"role\":\"user\"").count(), both.store_messages());
    let name = "attachment; filename=\"conversations.jsonl\"";
    assert_eq!(whole.header("content-disposition"), Some(name));
    assert_eq!(whole.header("content-type"), Some("application/x-ndjson"));
    assert!(whole.header("vary").is_some_and(|vary| vary.to_lowercase().contains("accept")));

    // What each token reaches, and what is refused before anything is read.
    assert_eq!(both.same_as(&both.other_user, EXPORT, "", "").body, "");
    let limited = both.same_as(&both.restricted, &format!("{EXPORT}?messages=1"), "", "");
    assert!((100..300).contains(&limited.body.lines().count()));
    let foreign = format!("{EXPORT}?assistant_id={}", ASSISTANTS[1]);
    both.same_as(&both.restricted, &foreign, "", "");
    assert_eq!(both.same_as(&both.reader, EXPORT, "", "").status, 403);
    assert_eq!(both.same_as("cvdb_unknown", EXPORT, "", "").status, 401);
    for (query, accept) in [
        ("cursor=x", ""),
        ("messages=yes", ""),
        ("type=fax&order=up", ""),
        ("csv_bom=1", ""),
        ("messages=1", csv),
        ("assistant_id=9", csv),
        ("unknown=1", ""),
    ] {
        let refused = both.same_as(&both.token, &format!("{EXPORT}?{query}"), accept, "");
        assert_eq!(refused.status, 422, "{query}");
    }
    let head = EXPORT.replace("GET", "HEAD");
    assert_eq!(both.same(&head, "").status, 200);
    for address in [both.here, both.there] {
        let (mut stream, head) = begin(address, &both.token, EXPORT, "Accept-Encoding: gzip\r\n");
        assert!(head.to_lowercase().contains("content-encoding: gzip"), "{head}");
        let mut body = Vec::new();
        stream.read_to_end(&mut body).unwrap();
        assert!(ends_properly(&body) && body.len() < whole.body.len() / 4);
    }

    // An import of the export restores it.
    let copied = both.same_as(&both.other_user, IMPORT, LINES, &whole.body);
    assert_eq!(counted(&copied, "inserted"), 420);
    let copy = both.same_as(&both.other_user, &format!("{EXPORT}?messages=1"), "", "");
    assert!(copy.body == whole.body, "the export of the copy differs");
}

impl Both {
    /// The number of messages of the first user.
    fn store_messages(&self) -> usize {
        let snapshot = self.store.snapshot();
        let user = UserId::new(1);
        let rows = snapshot.conversations(user, &ListRequest::new());
        rows.map(|row| snapshot.messages(user, row.unwrap().id).unwrap().unwrap().len()).sum()
    }

    /// A server on the database with these limits, whose connections have this name.
    fn server_named(&self, schema: &str, name: &str, limits: Limits) -> (Cluster, SocketAddr) {
        let options = ClusterOptions::new(&format!("{} application_name={name}", url())).unwrap();
        let options = options.schema(schema).unwrap().write_timeout(Duration::from_secs(60));
        let cluster = self.runtime.block_on(Cluster::open(&options)).unwrap();
        let address = serving_with(&self.runtime, cluster.clone(), limits);
        (cluster, address)
    }

    /// The value of a query of one number.
    fn number(&self, sql: &str) -> i64 {
        self.runtime.block_on(async { connect().await.query_one(sql, &[]).await.unwrap().get(0) })
    }

    /// Waits until a query returns this number.
    #[track_caller]
    fn wait_for(&self, sql: &str, expected: i64) {
        let end = Instant::now() + Duration::from_secs(60);
        while self.number(sql) != expected {
            assert!(Instant::now() < end, "after 60 s: {sql} is not {expected}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Sends a request and reads the head of its response.
fn begin(address: SocketAddr, token: &str, request: &str, headers: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let text = format!(
        "{request} HTTP/1.1\r\nHost: store.example\r\nConnection: close\r\n\
         Authorization: Bearer {token}\r\n{headers}\r\n"
    );
    stream.write_all(text.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    (stream, String::from_utf8(head).unwrap())
}

/// Reads the rest of a body, which may break.
fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut body = Vec::new();
    // A reset is an end, too.
    let _ = stream.read_to_end(&mut body);
    body
}

fn ends_properly(body: &[u8]) -> bool {
    body.ends_with(b"\r\n0\r\n\r\n")
}

/// The conversations of exports that are larger than all buffers between the database and the client.
const LARGE: u128 = 40;

fn large(number: u128) -> ConversationId {
    ConversationId::new(Uuid::from_u128(number))
}

/// Inserts the conversations of a large export into the database.
fn insert_large(both: &Both) {
    let content = "x".repeat(1_000_000);
    let bot = ASSISTANTS[0].parse().unwrap();
    for number in 0..LARGE {
        let mut row = Conversation::new(large(number), bot, Channel::Widget, Timestamp::MIN);
        row.message_count = 1;
        let message = Message::new(Role::User, content.clone(), Timestamp::MIN).unwrap();
        let write = Write::Insert { conversation: row, messages: vec![message] };
        both.runtime.block_on(both.cluster.write(UserId::new(1), write)).unwrap();
    }
}

/// How many connections of this name wait for their client to read.
fn waiting(name: &str) -> String {
    format!(
        "select count(*) from pg_stat_activity where application_name = '{name}' \
         and wait_event = 'ClientWrite'"
    )
}

/// How many connections of this name are in a transaction.
fn in_transaction(name: &str) -> String {
    format!(
        "select count(*) from pg_stat_activity where application_name = '{name}' \
         and xact_start is not null"
    )
}

#[test]
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
fn an_export_is_one_moment_at_the_pace_of_its_client() {
    let (schema, name) = ("http_export_slow", "export_slow");
    let both = Both::new(schema);
    insert_large(&both);
    let (_cluster, address) = both.server_named(schema, name, Limits::default());
    let export = format!("{EXPORT}?messages=1");
    let (stream, head) = begin(address, &both.token, &export, "");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    // The client does not read, so the database waits instead of sending all of it.
    both.wait_for(&waiting(name), 1);
    for number in 0..LARGE {
        let delete = Write::Delete { id: large(number) };
        both.runtime.block_on(both.cluster.write(UserId::new(1), delete)).unwrap();
    }
    assert_eq!(both.on_database(EXPORT, "", "").body, "");
    let body = rest(stream);
    let messages = body.windows(8).filter(|window| *window == b"\"content").count();
    assert_eq!(messages as u128, LARGE);
    assert!(ends_properly(&body), "the export is complete");
    both.wait_for(&in_transaction(name), 0);
}

#[test]
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
fn an_export_that_cannot_end_is_cut_and_holds_nothing() {
    let (schema, name) = ("http_export_cut", "export_cut");
    let both = Both::new(schema);
    insert_large(&both);
    let (_cluster, address) = both.server_named(schema, name, Limits::default());
    let export = format!("{EXPORT}?messages=1");
    let begin = || {
        let (stream, head) = begin(address, &both.token, &export, "");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        both.wait_for(&waiting(name), 1);
        stream
    };

    // The client goes away.
    drop(begin());
    both.wait_for(&in_transaction(name), 0);

    // The connection to the database fails.
    let stream = begin();
    let kill = waiting(name).replace("count(*)", "count(pg_terminate_backend(pid))");
    assert_eq!(both.number(&kill), 1);
    assert!(!ends_properly(&rest(stream)), "an export without its database ended properly");
    both.wait_for(&in_transaction(name), 0);

    // The token is narrowed to one assistant, so it does not reach the rest.
    let user = UserId::new(1);
    let created = both.cluster.create_token(user, Timestamp::MIN, TokenOptions::default());
    let wide = both.runtime.block_on(created).unwrap();
    let (stream, _) = self::begin(address, &wide.token, &export, "");
    both.wait_for(&waiting(name), 1);
    let assistant = Some(ASSISTANTS[0].parse().unwrap());
    let narrowing = TokenNarrowing { assistant, ..TokenNarrowing::default() };
    both.runtime.block_on(both.cluster.narrow_token(wide.id, narrowing)).unwrap();
    assert!(!ends_properly(&rest(stream)), "an export beyond its token ended properly");
    both.wait_for(&in_transaction(name), 0);

    // The token is revoked.
    let stream = begin();
    both.runtime.block_on(both.cluster.revoke_token(&both.token)).unwrap();
    assert!(!ends_properly(&rest(stream)), "an export without its token ended properly");
    both.wait_for(&in_transaction(name), 0);
    assert_eq!(send(address, &both.token, EXPORT, "", "").status, 401);
}

/// The client keeps its connection and does not read.
#[test]
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
fn the_snapshot_of_an_export_ends_at_its_timeout() {
    let (schema, name) = ("http_export_late", "export_late");
    let both = Both::new(schema);
    insert_large(&both);
    // So long that the database waits for the client before.
    let export_timeout = Duration::from_secs(10);
    let limits = Limits { export_timeout, max_transfers_per_user: 1, ..Limits::default() };
    let (_cluster, address) = both.server_named(schema, name, limits);
    let export = format!("{EXPORT}?messages=1");
    let (stream, _) = begin(address, &both.token, &export, "");
    both.wait_for(&waiting(name), 1);
    let busy = send(address, &both.token, EXPORT, "", "");
    assert_eq!((busy.status, busy.header("retry-after")), (503, Some("1")));
    both.wait_for(&in_transaction(name), 0);
    assert!(!ends_properly(&rest(stream)), "an export past its time ended properly");
    let next = send(address, &both.token, EXPORT, "", "");
    assert_eq!((next.status, next.body.lines().count() as u128), (200, LARGE));
}

#[test]
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
fn an_import_whose_connections_are_terminated_is_complete() {
    let (schema, name) = ("http_import_killed", "import_killed");
    let both = Both::new(schema);
    let (cluster, address) = both.server_named(schema, name, Limits::default());
    let all = lines(0..8_000);
    let stop = AtomicBool::new(false);
    let (report, kills) = thread::scope(|scope| {
        let killer = scope.spawn(|| {
            let kill = |state: &str| {
                format!(
                    "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                     where application_name = '{name}' and {state}"
                )
            };
            both.runtime.block_on(async {
                let client = connect().await;
                let (mut kills, mut commits) = (0, false);
                while kills < 40 && !stop.load(Ordering::Relaxed) {
                    let state = match commits {
                        true => "query = 'commit' and state = 'active'",
                        false => "state = 'idle in transaction'",
                    };
                    let row = client.query_one(&kill(state), &[]).await.unwrap();
                    let killed: i64 = row.get(0);
                    kills += killed;
                    commits ^= killed > 0;
                }
                kills
            })
        });
        let report = send(address, &both.token, IMPORT, LINES, &all);
        stop.store(true, Ordering::Relaxed);
        (report, killer.join().unwrap())
    });
    let metrics = cluster.write_metrics();
    println!("{kills} connections, {metrics:?}");
    assert!(kills > 3, "{kills} connections were terminated");
    let expected = send(both.here, &both.token, IMPORT, LINES, &all);
    assert_eq!((report.status, &report.body), (200, &expected.body));
    both.same_as(&both.token, IMPORT, LINES, &lines(7_900..8_010));
    let whole = both.same(&format!("{EXPORT}?messages=1"), "");
    assert_eq!(whole.body.lines().count(), 8_010);
    let audit = both.runtime.block_on(Cluster::verify(&both.options)).unwrap();
    assert!(audit.is_clean(), "{:?}", audit.findings);
}

#[test]
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
fn an_import_says_whether_its_batch_may_be_stored() {
    let schema = "http_import_doubt";
    let both = Both::new(schema);
    let options = both.options.clone().write_timeout(Duration::from_millis(900));
    let cluster = both.runtime.block_on(Cluster::open(&options)).unwrap();
    let address = serving_with(&both.runtime, cluster, Limits::default());
    let import = || send(address, &both.token, IMPORT, LINES, &lines(0..300));
    let blocker = both.runtime.block_on(connect());
    let block = |sql: &str| {
        let sql = format!("set search_path = {schema}; {sql}");
        both.runtime.block_on(blocker.batch_execute(&sql)).unwrap();
    };
    // Nothing is written.
    block("begin; select from head where owner = 1 for update");
    assert_eq!(import().status, 503);
    block("rollback");
    assert_eq!(both.on_database(EXPORT, "", "").body, "");
    // The commit of the first batch waits. Its connection is opened before.
    assert_eq!(send(address, &both.token, IMPORT, LINES, &lines(900..901)).status, 200);
    block("begin; lock table change in access exclusive mode");
    let doubt = import();
    assert_eq!(doubt.status, 500, "{}", doubt.body);
    assert!(doubt.body.contains("It is not known whether"), "{}", doubt.body);
    block("rollback");
    // To repeat it is safe in any case.
    let report = both.on_database(IMPORT, LINES, &lines(0..300));
    let counts = counted(&report, "inserted") + counted(&report, "already_present");
    assert_eq!((report.status, counts), (200, 300), "{}", report.body);
    assert_eq!(both.on_database(EXPORT, "", "").body.lines().count(), 301);
}

/// What was imported before the token is revoked stays; nothing more is read.
#[test]
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
fn an_import_ends_when_its_token_does() {
    let both = Both::new("http_import_revoked");
    // A batch of 256 lines, and the beginning of another.
    let body = lines(100..700);
    let half = lines(100..400).len();
    for address in [both.here, both.there] {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let head = format!(
            "{IMPORT} HTTP/1.1\r\nHost: store.example\r\nConnection: close\r\n{LINES}\
             Authorization: Bearer {}\r\nContent-Length: {}\r\n\r\n",
            both.token,
            body.len()
        );
        stream.write_all(&[head.as_bytes(), &body.as_bytes()[..half]].concat()).unwrap();
        let end = Instant::now() + Duration::from_secs(60);
        let stored = format!("GET /api/conversations/{}", id(100));
        while send(address, &both.token, &stored, "", "").status != 200 {
            assert!(Instant::now() < end, "after 60 s: the first batch is not stored");
            thread::sleep(Duration::from_millis(20));
        }
        match address == both.here {
            true => both.store.revoke_token(both.token.clone()).unwrap(),
            false => both.runtime.block_on(both.cluster.revoke_token(&both.token)).unwrap(),
        }
        stream.write_all(&body.as_bytes()[half..]).unwrap();
        let mut response = String::new();
        let _ = stream.read_to_string(&mut response);
        assert!(response.starts_with("HTTP/1.1 401"), "{response}");
    }
    let stored = both.store.snapshot();
    let rows = stored.conversations(UserId::new(1), &ListRequest::new()).count();
    assert_eq!(rows, 256);
    let request = ListRequest::new();
    let count = both.cluster.count(UserId::new(1), &request);
    let count = both.runtime.block_on(count).unwrap();
    assert_eq!(count.conversations, rows as u64);
}
