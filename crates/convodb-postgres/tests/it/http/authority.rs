//! Access tokens that a server has read before: a request does not wait for its token, and is refused
//! as if it did.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use convodb::{Scope, Scopes, Store, Timestamp, TokenOptions};
use convodb_postgres::{Cluster, ClusterOptions};
use tokio::runtime::{Builder, Runtime};

use crate::http::client::{ASSISTANTS, Both, Response, send, serving};
use crate::proxy::Proxy;
use crate::{connect, empty_schema, execute, url};

const IDS: [&str; 2] =
    ["c0000000-0000-4000-8000-000000000001", "c0000000-0000-4000-8000-000000000002"];

/// Two conversations of a store, one of each assistant.
fn fill(both: &Both) {
    for (id, assistant) in IDS.into_iter().zip(ASSISTANTS) {
        let body = format!(
            "{{\"id\":\"{id}\",\"assistant_id\":\"{assistant}\",\"created_at\":\"2025-01-25 10:15:00\"}}"
        );
        assert_eq!(both.same("POST /api/conversations", &body).status, 200);
    }
}

/// A request of each kind that reads, with its status, and the round trips of a repetition.
fn requests() -> Vec<(&'static str, u16, u64)> {
    let list = "GET /api/user/conversations";
    let requests = [
        (list.to_owned(), 200, 1),
        (format!("{list}?type=widget&per_page=1&fields=id"), 200, 1),
        // The assistant is looked up before.
        (format!("{list}?assistant_id={}", ASSISTANTS[1]), 200, 2),
        ("HEAD /api/user/conversations".to_owned(), 200, 1),
        (format!("GET /api/conversations/{}", IDS[1]), 200, 1),
        ("GET /api/conversations/c0000000-0000-4000-8000-000000000009".to_owned(), 404, 1),
        (format!("{list}/stats"), 200, 1),
        (format!("{list}/changes"), 200, 1),
        ("GET /api/user/assistants".to_owned(), 200, 1),
        ("GET /api/user/assistants/get?per_page=1&page=2".to_owned(), 200, 1),
        ("GET /api/user/me".to_owned(), 200, 1),
        // Nothing is read but the token.
        (format!("{list}?type=fax"), 422, 1),
    ];
    requests.into_iter().map(|(request, status, trips)| (&*request.leak(), status, trips)).collect()
}

#[test]
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
fn a_repeated_page_is_one_round_trip_with_its_authority() {
    let both = Both::new("authority_trips");
    fill(&both);
    let proxy = both.runtime.block_on(Proxy::start());
    // With one thread, what a request sends at once arrives at once.
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let options = ClusterOptions::new(&proxy.url(false)).unwrap().schema("authority_trips");
    let options = options.unwrap().connections(1).unwrap();
    let cluster = runtime.block_on(Cluster::open(&options)).unwrap();
    let server = serving(&runtime, cluster.clone());
    for (request, status, expected) in requests() {
        let first = send(server, &both.token, request, "", "");
        assert_eq!(first.status, status, "{request}: {}", first.body);
        let (trips, metrics) = (proxy.round_trips(), cluster.read_metrics());
        let again = send(server, &both.token, request, "", "");
        assert_eq!((again.status, again.body), (status, first.body), "{request}");
        assert_eq!(proxy.round_trips() - trips, expected, "{request}");
        let counted = cluster.read_metrics().round_trips - metrics.round_trips;
        assert_eq!(counted, expected, "{request}");
    }
    let metrics = cluster.read_metrics();
    let list = requests()[0].0;
    send(server, &both.token, list, "", "");
    let after = cluster.read_metrics();
    assert_eq!(after.statements - metrics.statements, 2, "the page and the token");
    // What has no token to check reads nothing.
    for request in ["GET /healthz", "GET /docs", "GET /unknown"] {
        send(server, &both.token, request, "", "");
    }
    assert_eq!(cluster.read_metrics(), after);
}

/// Sends each request twice, then changes the token by SQL, and compares with a server that has never
/// seen the token.
#[track_caller]
fn check_change(both: &Both, token: &str, sql: &str, refused: impl Fn(&str) -> Option<u16>) {
    let digest = convodb::seam::token_digest(token);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let run = |sql: &str| {
        let sql = sql.replace("$1", &format!("'\\x{hex}'::bytea"));
        both.runtime.block_on(execute("authority_changes", &sql));
    };
    for (request, status, _) in requests() {
        run("create table if not exists kept as select * from token; \
             delete from token; insert into token select * from kept");
        for _ in 0..2 {
            let warm = send(both.there, token, request, "", "");
            assert_eq!(warm.status, status, "{request} before {sql}: {}", warm.body);
        }
        run(sql);
        let comparable = |address: SocketAddr| {
            let Response { status, head, body } = send(address, token, request, "", "");
            let is_etag = |line: &&str| line.to_ascii_lowercase().starts_with("etag");
            (status, head.lines().find(is_etag).map(str::to_owned), body)
        };
        let expected = comparable(both.another_server());
        assert_eq!(comparable(both.there), expected, "{request} after {sql}");
        assert_eq!(comparable(both.there), expected, "{request} again after {sql}");
        if let Some(status) = refused(request) {
            assert_eq!(expected.0, status, "{request} after {sql}");
        }
    }
}

#[test]
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
fn a_token_that_has_changed_allows_what_it_does_now() {
    let both = Both::new("authority_changes");
    fill(&both);
    let of_stats = |request: &str| request.contains("/stats");
    check_change(&both, &both.token, "delete from token where digest = $1", |_| Some(401));
    check_change(&both, &both.token, "update token set expires_ms = 1 where digest = $1", |_| {
        Some(401)
    });
    let bits = |scope: Scope| convodb::seam::scope_bits(Scopes::from(scope));
    let only = |scope| format!("update token set scopes = {} where digest = $1", bits(scope));
    check_change(&both, &both.token, &only(Scope::Read), |request| {
        of_stats(request).then_some(403)
    });
    check_change(&both, &both.token, &only(Scope::Stats), |request| {
        (!of_stats(request)).then_some(403)
    });
    let restrict = format!("update token set assistant = '{}' where digest = $1", ASSISTANTS[0]);
    check_change(&both, &both.token, &restrict, |request| match request {
        _ if request.contains(IDS[1]) => Some(404),
        _ if request.contains(ASSISTANTS[1]) => Some(422),
        _ => None,
    });
    // It is of another user, who has nothing; and the user is closed, which revokes the tokens.
    let other = "update token set owner = 2 where digest = $1";
    check_change(&both, &both.token, other, |request| match request {
        _ if request.contains(IDS[1]) => Some(404),
        _ => None,
    });
    let close = "update account set closed = true where id = 1; delete from token where owner = 1";
    check_change(&both, &both.token, close, |_| Some(401));
}

#[test]
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
fn a_token_that_allows_more_again_is_not_refused_by_what_it_allowed_before() {
    let both = Both::new("authority_more");
    fill(&both);
    let list = "GET /api/user/conversations";
    let stats = "GET /api/user/conversations/stats";
    assert_eq!(send(both.there, &both.reader, list, "", "").status, 200);
    assert_eq!(send(both.there, &both.reader, stats, "", "").status, 403);
    let all = convodb::seam::scope_bits(Scopes::ALL);
    let more = format!("update token set scopes = {all}");
    both.runtime.block_on(execute("authority_more", &more));
    assert_eq!(send(both.there, &both.reader, stats, "", "").status, 200);
}

/// The token is read after the page, so a page that waited for a lock is refused if the token was revoked
/// meanwhile.
#[test]
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
fn a_token_that_is_revoked_during_a_request_is_refused() {
    let both = Both::new("authority_during");
    fill(&both);
    let digest = |token: &str| convodb::seam::token_digest(token);
    let restrict = format!("update token set assistant = '{}'", ASSISTANTS[0]);
    for (change, statuses) in [(restrict.as_str(), 200), ("delete from token", 401)] {
        for request in [
            "GET /api/user/conversations",
            "GET /api/user/conversations/changes",
            "GET /api/conversations/c0000000-0000-4000-8000-000000000001",
        ] {
            let options = TokenOptions::default();
            let user = both.runtime.block_on(both.cluster.find_user(&"Acme".parse().unwrap()));
            let created = both.cluster.create_token(user.unwrap(), Timestamp::MIN, options);
            let token = both.runtime.block_on(created).unwrap().token;
            for _ in 0..2 {
                assert_eq!(send(both.there, &token, request, "", "").status, 200, "{request}");
            }
            let blocker = both.runtime.block_on(connect());
            let run = |sql: &str| both.runtime.block_on(blocker.batch_execute(sql)).unwrap();
            run("set search_path = authority_during; begin; \
                 lock table conversation in access exclusive mode");
            let (address, sent) = (both.there, token.clone());
            let waiting = thread::spawn(move || send(address, &sent, request, "", ""));
            let waits = "select count(*) from pg_locks where not granted \
                         and relation = 'authority_during.conversation'::regclass";
            let count =
                || -> i64 { both.runtime.block_on(blocker.query_one(waits, &[])).unwrap().get(0) };
            while count() == 0 {
                thread::sleep(Duration::from_millis(5));
            }
            let hex: String = digest(&token).iter().map(|byte| format!("{byte:02x}")).collect();
            let change = format!("{change} where digest = '\\x{hex}'::bytea");
            both.runtime.block_on(execute("authority_during", &change));
            assert!(!waiting.is_finished(), "{request} did not wait for the lock");
            run("rollback");
            let response = waiting.join().unwrap();
            assert_eq!(response.status, statuses, "{request} {change}: {}", response.body);
            assert!(!response.body.contains(IDS[1]), "{request} {change}: {}", response.body);
        }
    }
}

/// A long poll that waits is ended by the revocation of its token, at the next change.
#[test]
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
fn a_poll_whose_token_is_revoked_shows_no_later_change() {
    let both = Both::new("authority_poll");
    fill(&both);
    let now = "GET /api/user/conversations/changes?cursor=now";
    let cursor =
        send(both.there, &both.reader, now, "", "").text("next_cursor").unwrap().to_owned();
    let poll = format!("GET /api/user/conversations/changes?wait=30&cursor={cursor}");
    let (address, token) = (both.there, both.reader.clone());
    let waiting = thread::spawn(move || send(address, &token, &poll, "", ""));
    thread::sleep(Duration::from_millis(300));
    both.runtime.block_on(both.cluster.revoke_token(&both.reader)).unwrap();
    let delete = format!("DELETE /api/conversations/{}", IDS[0]);
    assert_eq!(both.on_database(&delete, "", "").status, 200);
    let response = waiting.join().unwrap();
    assert_eq!(response.status, 401, "{}", response.body);
}

/// While clients send requests as fast as they can, the token is revoked: what begins afterwards is
/// refused by every server.
#[test]
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
fn no_request_that_begins_after_a_revocation_is_served() {
    const ROUNDS: u32 = 10;
    let both = Both::new("authority_race");
    fill(&both);
    let servers = [both.there, both.another_server()];
    for round in 0..ROUNDS {
        let user = both.runtime.block_on(both.cluster.find_user(&"Acme".parse().unwrap())).unwrap();
        let created = both.cluster.create_token(user, Timestamp::MIN, TokenOptions::default());
        let token = both.runtime.block_on(created).unwrap().token;
        let is_revoked = AtomicBool::new(false);
        let served = [const { AtomicU32::new(0) }; 4];
        let (token, is_revoked) = (token.as_str(), &is_revoked);
        thread::scope(|scope| {
            for (number, served) in served.iter().enumerate() {
                let server = servers[number % servers.len()];
                scope.spawn(move || {
                    let mut refused = 0;
                    while refused < 5 {
                        let was_revoked = is_revoked.load(Ordering::SeqCst);
                        let status =
                            send(server, token, "GET /api/user/conversations", "", "").status;
                        assert!(matches!(status, 200 | 401), "{status}");
                        assert!(!was_revoked || status == 401, "served after the revocation");
                        if status == 200 {
                            served.fetch_add(1, Ordering::SeqCst);
                        } else {
                            refused += 1;
                        }
                    }
                });
            }
            // Each client was served with a known token.
            while served.iter().any(|served| served.load(Ordering::SeqCst) < 3 + round) {
                thread::sleep(Duration::from_millis(1));
            }
            both.runtime.block_on(both.cluster.revoke_token(token)).unwrap();
            is_revoked.store(true, Ordering::SeqCst);
        });
    }
}

/// A standby may not know of a revocation: tokens are of the primary.
#[test]
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
fn a_token_is_checked_on_the_primary_while_a_standby_is_read() {
    const SCHEMA: &str = "authority_standby";
    let runtime: Runtime =
        Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let store = Store::in_memory().unwrap();
    let user = store.create_user("Acme", Timestamp::MIN).unwrap().id;
    store.create_assistant(user, ASSISTANTS[0].parse().unwrap(), "Support").unwrap();
    let token = store.create_token(user, Timestamp::MIN).unwrap();
    let standby = url().replace("dbname=postgres", "dbname=authority_standby");
    assert_ne!(standby, url(), "the URL of the tests names the database postgres");
    let cluster = runtime.block_on(async {
        let primary = empty_schema(SCHEMA).await;
        let client = connect().await;
        client
            .batch_execute("drop database if exists authority_standby with (force)")
            .await
            .unwrap();
        client.batch_execute("create database authority_standby").await.unwrap();
        Cluster::import(&primary, &store, |_| {}).await.unwrap();
        let copy = ClusterOptions::new(&standby).unwrap().schema(SCHEMA).unwrap();
        Cluster::import(&copy, &store, |_| {}).await.unwrap();
        Cluster::open(&primary.read_url(&standby).unwrap()).await.unwrap()
    });
    let server = serving(&runtime, cluster.clone());
    let list = "GET /api/user/conversations";
    for _ in 0..2 {
        assert_eq!(send(server, &token, list, "", "").status, 200);
    }
    let metrics = cluster.read_metrics();
    assert_eq!(send(server, &token, list, "", "").status, 200);
    let after = cluster.read_metrics();
    assert_eq!(after.of_standby - metrics.of_standby, 1, "the page");
    assert_eq!(after.statements - metrics.statements, 2, "the page and the token");
    let shown = send(server, &token, "GET /metrics", "", "").body;
    let line = format!("convodb_database_standby_reads_total {}", after.of_standby);
    assert!(shown.lines().any(|shown| shown == line), "{line}");
    runtime.block_on(execute(SCHEMA, "delete from token"));
    for _ in 0..2 {
        assert_eq!(send(server, &token, list, "", "").status, 401);
    }
}
