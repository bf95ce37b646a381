//! Entity tags and the cache of responses: a response is recognized exactly as long as it is right.

use std::collections::HashMap;
use std::io::Read;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Request, StatusCode};
use convodb::{
    AssistantId, BulkOptions, Channel, Conversation, Message, PageSize, Role, Scope, Store,
    Timestamp, TokenOptions, UserId,
};
use convodb_http::{Config, Limits, router};
use convodb_testkit::generators::{assistant, conversation_id};
use convodb_testkit::harness::cases;
use convodb_testkit::operations::{Operation, OperationRunner, operation};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use proptest::prelude::*;
use proptest::sample::Index;
use uuid::Uuid;

use crate::client::Response;
use crate::harness::{Harness, LIST, bot, conversation, whatsapp};

const ASSISTANTS: &str = "/api/user/assistants/get";

fn one() -> String {
    format!("/api/conversations/{}", conversation(1).id)
}

/// A target of each endpoint with entity tags.
fn targets() -> [String; 6] {
    let list = format!("{LIST}?per_page=2");
    let stats = format!("{LIST}/stats?group_by=day,assistant");
    let all = "/api/user/assistants".to_owned();
    [list, one(), format!("{}?per_page=1", one()), stats, ASSISTANTS.to_owned(), all]
}

/// A server with some conversations, one of them with a message.
fn filled() -> Harness {
    let harness = Harness::new();
    harness.insert(1..=3, &whatsapp("+1", "+2"));
    let at = conversation(1).created_at;
    let message = Message::new(Role::User, "Hello", at).unwrap();
    harness.store.append_message(harness.user, conversation(1).id, message).unwrap();
    harness
}

impl Harness {
    /// Requests `target` for a client that has a response with one of these tags.
    #[track_caller]
    fn get_unless(&self, target: &str, tags: &str) -> Response {
        self.request("GET", target, &self.token, &format!("If-None-Match: {tags}\r\n"))
    }

    #[track_caller]
    fn metric(&self, name: &str) -> u64 {
        let text = self.server.request("GET", "/metrics", "");
        let line = text.text().lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name}")).trim().parse().unwrap()
    }
}

#[test]
fn a_client_that_has_the_response_gets_304() {
    let harness = filled();
    for target in targets() {
        let first = harness.request("GET", &target, &harness.token, "");
        assert_eq!(first.status, 200, "{target}");
        let tag = first.header("etag");
        assert!(tag.starts_with('"') && tag.len() == 34, "{tag}");
        let listed = format!("\"x\", {tag}");
        let weak = format!("W/{tag}");
        for (tags, matched) in
            [(tag, tag), (&listed, tag), (&weak, &weak), ("*", tag), (" * ", tag)]
        {
            for method in ["GET", "HEAD"] {
                let headers = format!("If-None-Match: {tags}\r\n");
                let response = harness.request(method, &target, &harness.token, &headers);
                assert_eq!((response.status, response.text()), (304, ""), "{target} {tags}");
                assert_eq!(response.header("etag"), matched);
                assert_eq!(response.header("cache-control"), "private, no-cache");
                assert_eq!(response.header("vary"), "authorization, accept-encoding");
                assert_eq!(response.maybe_header("content-length"), None);
            }
        }
        for tags in ["\"x\"", "W/\"x\"", &tag[1..], "", "x"] {
            let response = harness.get_unless(&target, tags);
            assert_eq!((response.status, &response.body), (200, &first.body), "{target} {tags}");
            assert_eq!(response.header("etag"), tag);
            assert_eq!(response.header("cache-control"), "private, no-cache");
        }
        let head = harness.request("HEAD", &target, &harness.token, "");
        assert_eq!((head.status, head.header("etag"), head.text()), (200, tag, ""));
    }
    // There is no response to these.
    for (target, status) in [(format!("{LIST}?per_page=0"), 422), (one().replace('1', "f"), 404)] {
        let response = harness.get_unless(&target, "*");
        assert_eq!((response.status, response.maybe_header("etag")), (status, None));
        assert_eq!(response.header("cache-control"), "no-store");
    }
}

#[test]
fn a_repeated_response_reads_nothing_and_is_the_same() {
    let harness = filled();
    let target = format!("{LIST}?type=whatsapp&per_page=2");
    let get = || harness.request("GET", &target, &harness.token, "");
    let (first, second) = (get(), get());
    let entries = harness.metric("convodb_page_entries_read_total");
    let kept = harness.metric("convodb_responses_kept_total");
    assert!(harness.metric("convodb_response_cache_bytes") > first.body.len() as u64);
    let third = get();
    assert_eq!(harness.metric("convodb_responses_kept_total"), kept + 1);
    harness.get_unless(&target, third.header("etag"));
    assert_eq!(harness.metric("convodb_page_entries_read_total"), entries, "nothing was read");
    for response in [&second, &third] {
        assert_eq!((response.status, &response.body), (200, &first.body));
        for name in ["etag", "link", "content-type", "vary", "cache-control"] {
            assert_eq!(response.header(name), first.header(name));
        }
        assert_ne!(response.header("x-request-id"), first.header("x-request-id"));
    }
    // Nothing is kept for another user.
    let of_other = harness.list_of(&harness.other_token, "type=whatsapp&per_page=2");
    assert!(of_other.rows().is_empty());
}

#[test]
fn without_memory_nothing_is_kept_and_tags_still_match() {
    let limits = Limits { response_cache_bytes: 0, ..Limits::default() };
    let config = Config { limits, ..Config::default() };
    let harness = Harness::of(Store::in_memory().unwrap(), config);
    harness.insert([1], &Channel::Widget);
    let tag = harness.list("").header("etag").to_owned();
    assert_eq!(harness.list("").header("etag"), tag);
    assert_eq!(harness.get_unless(&format!("{LIST}?"), &tag).status, 304);
    assert_eq!(harness.metric("convodb_responses_kept_total"), 0);
    assert_eq!(harness.metric("convodb_response_cache_bytes"), 0);
}

/// The same target: what else of a request decides its response, decides its tag.
#[test]
fn each_user_token_host_and_encoding_has_its_own_tag() {
    let harness = filled();
    let other_bot = AssistantId::new(Uuid::from_u128(7));
    harness.store.create_assistant(harness.user, other_bot, "Sales").unwrap();
    let other = Conversation { assistant: other_bot, ..conversation(9) };
    harness.store.insert(harness.user, other, Vec::new()).unwrap();
    let limited = TokenOptions { assistant: Some(bot()), ..TokenOptions::default() };
    let limited = harness.store.create_token_with(harness.user, Timestamp::MIN, limited).unwrap();
    let again = harness.store.create_token(harness.user, Timestamp::MIN).unwrap();

    let get = |token: &str, headers: &str| {
        // Twice, so that the second one is kept; the third one comes from the cache.
        let all = [(); 3].map(|()| {
            let headers = format!("Authorization: Bearer {token}\r\n{headers}");
            harness.server.request("GET", &format!("{LIST}?per_page=3"), &headers)
        });
        let parts = |response: &Response| {
            assert_eq!(response.status, 200);
            (response.header("etag").to_owned(), response.body.clone())
        };
        assert_eq!(all.each_ref().map(parts), [(); 3].map(|()| parts(&all[0])));
        let coding = all[2].maybe_header("content-encoding").map(str::to_owned);
        let (tag, body) = parts(&all[2]);
        (tag, body, coding)
    };
    let local = "Host: localhost\r\n";
    let [gzip, zstd] =
        ["gzip", "zstd"].map(|coding| format!("{local}Accept-Encoding: {coding}\r\n"));
    let all = [
        get(&harness.token, local),
        get(&harness.other_token, local),
        get(&limited.token, local),
        get(&harness.token, "Host: 127.0.0.1\r\n"),
        get(&harness.token, "Host: localhost\r\nX-Forwarded-For: 192.0.2.1\r\n"),
        get(&harness.token, &gzip),
        get(&harness.token, &zstd),
    ];
    for (at, one) in all.iter().enumerate() {
        for other in &all[..at] {
            assert!(one.0 != other.0 && one.1 != other.1, "{} and {}", one.0, other.0);
        }
    }
    assert_eq!(get(&again, local), all[0], "another token of the same user");
    assert_eq!((all[5].2.as_deref(), all[6].2.as_deref()), (Some("gzip"), Some("zstd")));
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&all[5].1[..]).read_to_end(&mut plain).unwrap();
    assert_eq!((&plain, &zstd::decode_all(&all[6].1[..]).unwrap()), (&all[0].1, &all[0].1));
    // A preference adds a header.
    let strict = harness.request("GET", LIST, &harness.token, "Prefer: handling=strict\r\n");
    let lenient = harness.request("GET", LIST, &harness.token, "");
    assert_ne!(strict.header("etag"), lenient.header("etag"));
}

#[test]
fn the_token_is_checked_before_the_tag() {
    let harness = filled();
    let options = TokenOptions { scopes: Scope::Stats.into(), ..TokenOptions::default() };
    let stats = harness.store.create_token_with(harness.user, Timestamp::MIN, options).unwrap();
    let mut tags = Vec::new();
    for target in targets() {
        for _ in 0..2 {
            harness.request("GET", &target, &harness.token, "");
        }
        let tag = harness.request("GET", &target, &harness.token, "").header("etag").to_owned();
        tags.push((target, tag));
    }
    for (target, tag) in &tags {
        for tags in [tag, "*"] {
            let headers = format!("If-None-Match: {tags}\r\n");
            let expected = if target.contains("/stats") { 304 } else { 403 };
            let response = harness.request("GET", target, &stats.token, &headers);
            assert_eq!(response.status, expected, "{target}");
            assert_eq!(harness.request("GET", target, "cvdb_x", &headers).status, 401);
        }
    }
    harness.store.revoke_token(harness.token.clone()).unwrap();
    for (target, tag) in &tags {
        assert_eq!(harness.get_unless(target, tag).status, 401, "{target}");
        assert_eq!(harness.request("GET", target, &harness.token, "").status, 401);
    }
}

/// A kept response and a 304 are requests like any other: they count, and have all headers.
#[test]
fn known_responses_count_against_the_rate_limit_and_have_all_headers() {
    let rate_limit = Some("4/h".parse().unwrap());
    let cors_origins = vec!["https://app.example.com".parse().unwrap()];
    let config = Config { rate_limit, cors_origins, ..Config::default() };
    let harness = Harness::of(Store::in_memory().unwrap(), config);
    let get = |headers: &str| {
        let headers = format!("Origin: https://app.example.com\r\n{headers}");
        harness.request("GET", LIST, &harness.token, &headers)
    };
    let (first, second) = (get(""), get(""));
    let kept = get("");
    assert_eq!(harness.metric("convodb_responses_kept_total"), 1);
    assert_eq!((kept.status, &kept.body), (200, &second.body));
    let unchanged = get(&format!("If-None-Match: {}\r\n", first.header("etag")));
    assert_eq!(unchanged.status, 304);
    let exceeded = get("");
    assert_eq!(exceeded.status, 429);
    assert_eq!(exceeded.header("content-type"), "application/json");
    for (left, response) in
        ["3", "2", "1", "0", "0"].iter().zip([&first, &second, &kept, &unchanged, &exceeded])
    {
        assert_eq!(response.header("x-ratelimit-remaining"), *left);
        assert_eq!(response.header("access-control-allow-origin"), "https://app.example.com");
        assert_eq!(response.header("x-content-type-options"), "nosniff");
        assert_eq!(response.header("x-request-id").len(), 32);
    }
    let by_route =
        r#"convodb_http_requests_total{method="GET",route="/api/user/conversations",status="#;
    for (status, count) in [("200", 3), ("304", 1), ("429", 1)] {
        assert_eq!(harness.metric(&format!("{by_route}\"{status}\"}}")), count);
    }
}

/// Large bodies are compressed on another thread.
#[test]
fn a_large_page_is_the_same_when_it_is_compressed() {
    let harness = Harness::new();
    let variables = format!("{{\"text\":\"{}\"}}", "0123456789".repeat(50));
    for row in 1..=60 {
        let variables = Some(convodb::Variables::new(variables.clone()).unwrap());
        let row = Conversation { variables, ..conversation(row) };
        harness.store.insert(harness.user, row, Vec::new()).unwrap();
    }
    let get = |headers: &str| {
        harness.request("GET", &format!("{LIST}?per_page=100"), &harness.token, headers)
    };
    let plain = get("");
    assert!(plain.body.len() > 32 * 1024);
    // The third one comes from the cache.
    for _ in 0..3 {
        let packed = get("Accept-Encoding: gzip\r\n");
        assert_eq!((packed.status, packed.header("content-encoding")), (200, "gzip"));
        let mut body = Vec::new();
        flate2::read::GzDecoder::new(&packed.body[..]).read_to_end(&mut body).unwrap();
        assert_eq!(body, plain.body);
    }
}

/// A streamed history may be compressed differently each time, so its tag is weak.
#[test]
fn a_streamed_history_has_a_weak_tag() {
    let harness = filled();
    for number in 0..20_u32 {
        let text = number.to_string().repeat(6_000);
        let at = conversation(1).created_at;
        let message = Message::new(Role::User, text, at).unwrap();
        harness.store.append_message(harness.user, conversation(1).id, message).unwrap();
    }
    let first = harness.request("GET", &one(), &harness.token, "");
    assert_eq!(first.header("transfer-encoding"), "chunked");
    let tag = first.header("etag");
    assert!(tag.starts_with("W/\""), "{tag}");
    for tags in [tag, &tag[2..], "*"] {
        assert_eq!(harness.get_unless(&one(), tags).status, 304, "{tags}");
    }
    assert_eq!(harness.request("GET", &one(), &harness.token, "").body, first.body);
}

/// After a change of any kind, a tag of another response is not accepted, and nothing old is sent.
#[test]
fn every_kind_of_change_is_seen() {
    let harness = filled();
    let (store, user) = (&harness.store, harness.user);
    let id = conversation(1).id;
    let unused = AssistantId::new(Uuid::from_u128(99));
    let at = conversation(1).created_at;
    let message = || Message::new(Role::User, "Again", at).unwrap();
    let bulk = |user: UserId| {
        let mut load = store.bulk_load(BulkOptions::default());
        let id = convodb::ConversationId::new(Uuid::from_u128(0xB01D));
        load.push(user, &Conversation { id, ..conversation(50) }, &[]).unwrap();
        load.finish().unwrap();
    };
    let changes: [(&str, &dyn Fn()); 12] = [
        ("insert", &|| harness.insert([4], &Channel::Widget)),
        ("update", &|| {
            let change = |row: &mut Conversation| {
                row.ai_enabled = false;
                Ok(())
            };
            store.update(user, id, at, change).unwrap();
        }),
        ("message", &|| {
            store.append_message(user, id, message()).unwrap();
        }),
        // Not in the change feed: the row counts as many as before.
        ("truncation", &|| {
            let part = move |transaction: &mut convodb::Transaction<'_>| {
                transaction.delete_within(user, id, &mut 1)
            };
            assert!(!store.write(part).unwrap());
        }),
        ("creation of an assistant", &|| {
            store.create_assistant(user, unused, "Unused").unwrap();
        }),
        ("renaming", &|| store.rename_assistant(user, bot(), "Renamed").unwrap()),
        ("deletion of an assistant", &|| store.delete_assistant(user, unused).unwrap()),
        ("cursor key", &|| store.rotate_cursor_key().unwrap()),
        ("bulk load", &|| bulk(user)),
        ("deletion", &|| store.delete(user, conversation(2).id).unwrap()),
        ("several", &|| {
            let rows = (60..70).map(conversation);
            let insert = move |transaction: &mut convodb::Transaction<'_>| {
                rows.into_iter().try_for_each(|row| transaction.insert(user, row, Vec::new()))
            };
            store.write(insert).unwrap();
        }),
        ("deletion of the last", &|| store.delete(user, id).unwrap()),
    ];
    let uncached = Limits { response_cache_bytes: 0, ..Limits::default() };
    let uncached = Config { limits: uncached, ..Config::default() };
    let reference = crate::harness::Server::start(store, uncached);
    let headers = format!("Host: test\r\nAuthorization: Bearer {}\r\n", harness.token);
    for (name, change) in changes {
        let before = targets().map(|target| {
            // Kept at the second one.
            harness.server.request("GET", &target, &headers);
            harness.server.request("GET", &target, &headers)
        });
        change();
        for (target, before) in targets().iter().zip(before) {
            let expected = reference.request("GET", target, &headers);
            let unless = format!("{headers}If-None-Match: {}\r\n", before.header("etag"));
            let response = harness.server.request("GET", target, &unless);
            if response.status == 304 {
                assert_eq!(expected.body, before.body, "{name} {target}");
            } else {
                assert_eq!(response.status, expected.status, "{name} {target}");
                assert_eq!(response.body, expected.body, "{name} {target}");
            }
            let now = harness.server.request("GET", target, &headers);
            assert_eq!((now.status, now.body), (expected.status, expected.body), "{name} {target}");
        }
    }
}

/// Another user's writes, and uses of tokens, leave tags valid.
#[test]
fn changes_of_other_users_change_no_tag() {
    let harness = filled();
    let other = harness.store.create_user("Third", Timestamp::MIN).unwrap().id;
    let tag = harness.list("").header("etag").to_owned();
    harness.store.create_assistant(other, bot(), "Bot").unwrap();
    harness.store.insert(other, conversation(1), Vec::new()).unwrap();
    harness.store.delete(other, conversation(1).id).unwrap();
    let token = harness.store.create_token(harness.user, Timestamp::MIN).unwrap();
    harness.store.revoke_token(token).unwrap();
    assert_eq!(harness.list("").header("etag"), tag);
}

/// A request of a property test: target, host and `Accept-Encoding`.
type Sent = (String, &'static str, &'static str);

/// A request, mostly for a small number of targets, so that they repeat.
fn sent() -> impl Strategy<Value = Sent> {
    let list = (
        prop::option::of(prop::sample::select(vec!["widget", "whatsapp", "api"])),
        prop::option::weighted(0.3, assistant()),
        prop::sample::select(vec![1, 3, PageSize::MAX.get()]),
        any::<bool>(),
    );
    let list = list.prop_map(|(kind, assistant, size, ascending)| {
        let mut target = format!("{LIST}?per_page={size}");
        kind.iter().for_each(|kind| target += &format!("&type={kind}"));
        assistant.iter().for_each(|id| target += &format!("&assistant_id={id}"));
        target + if ascending { "&order=asc" } else { "" }
    });
    let one = (conversation_id(), prop::option::of(1..3_u32)).prop_map(|(id, size)| match size {
        Some(size) => format!("/api/conversations/{id}?per_page={size}"),
        None => format!("/api/conversations/{id}"),
    });
    let stats = prop::sample::select(vec!["", "?group_by=month,assistant", "?group_by=type"]);
    let stats = stats.prop_map(|query| format!("{LIST}/stats{query}"));
    let assistants = prop::sample::select(vec!["", "?per_page=1", "?page=2&per_page=2"]);
    let assistants = assistants.prop_map(|query| format!("{ASSISTANTS}{query}"));
    let target = prop_oneof![4 => list, 2 => one, 1 => stats, 1 => assistants];
    let host = prop::sample::select(vec!["localhost", "127.0.0.1", "example.com"]);
    let coding = prop::sample::select(vec!["", "gzip", "zstd, gzip;q=0.5"]);
    (target, host, coding)
}

#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a test has at most some hundred steps")]
enum Step {
    Write(Operation),
    /// Requests of each of the tokens, with the tag of an earlier response to any request.
    Send(Sent, Option<Index>),
}

/// A server without sockets, and what it has answered.
struct Routes(TowerToHyperService<Router>);

impl Routes {
    fn new(store: &Store, response_cache_bytes: usize) -> Self {
        let limits = Limits { response_cache_bytes, ..Limits::default() };
        let config = Config { limits, ..Config::default() };
        Self(TowerToHyperService::new(router(store.clone(), &config)))
    }

    async fn get(
        &self,
        token: &str,
        (target, host, coding): &Sent,
        tag: Option<&str>,
    ) -> (StatusCode, Option<String>, Bytes) {
        let mut request = Request::get(target)
            .header("host", *host)
            .header("authorization", format!("Bearer {token}"));
        if !coding.is_empty() {
            request = request.header("accept-encoding", *coding);
        }
        if let Some(tag) = tag {
            request = request.header("if-none-match", tag);
        }
        let Ok(response) = self.0.call(request.body(Body::empty()).unwrap()).await;
        let tag = response.headers().get("etag").map(|tag| tag.to_str().unwrap().to_owned());
        let (status, body) = (response.status(), response.into_body());
        (status, tag, to_bytes(body, usize::MAX).await.unwrap())
    }
}

/// Runs writes and requests. Compares a server that keeps as much as it can, one that keeps very
/// little, and one that keeps nothing.
async fn check_steps(steps: Vec<Step>) {
    let mut runner = OperationRunner::in_memory();
    let store = runner.harness.store.clone();
    let users = runner.harness.users;
    let limited = TokenOptions {
        assistant: Some(convodb_testkit::generators::assistants()[0]),
        ..TokenOptions::default()
    };
    let tokens = [
        store.create_token(users[0], Timestamp::MIN).unwrap(),
        store.create_token(users[1], Timestamp::MIN).unwrap(),
        store.create_token_with(users[0], Timestamp::MIN, limited).unwrap().token,
    ];
    let [keeping, small, reference] =
        [32 << 20, 32 << 10, 0].map(|bytes| Routes::new(&store, bytes));
    // The body of each tag, and the tags in the order in which they were first sent.
    let (mut bodies, mut tags) = (HashMap::<String, Bytes>::new(), Vec::<String>::new());
    for step in steps {
        let (sent, earlier) = match step {
            Step::Write(operation) => {
                runner.run(operation);
                continue;
            }
            Step::Send(sent, earlier) => (sent, earlier),
        };
        let earlier = earlier.filter(|_| !tags.is_empty()).map(|at| at.get(&tags).clone());
        for token in &tokens {
            let expected = reference.get(token, &sent, None).await;
            if let (_, Some(tag), body) = &expected {
                let first = bodies.entry(tag.clone()).or_insert_with(|| {
                    tags.push(tag.clone());
                    body.clone()
                });
                assert_eq!(first, body, "{tag} for {sent:?}");
            }
            for routes in [&keeping, &small] {
                for tag in [None, earlier.as_deref(), expected.1.as_deref()] {
                    let answered = routes.get(token, &sent, tag).await;
                    if tag.is_some() && tag == expected.1.as_deref() {
                        assert_eq!(answered.0, StatusCode::NOT_MODIFIED, "{sent:?}");
                    } else {
                        assert_eq!(answered, expected, "{sent:?} with {tag:?}");
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(48))]

    /// Equal tags always mean equal bytes, whatever is written and requested in between.
    #[test]
    fn the_bodies_of_equal_tags_are_equal(
        steps in prop::collection::vec(
            prop_oneof![
                1 => operation().prop_map(Step::Write),
                2 => (sent(), any::<Option<Index>>()).prop_map(|(sent, at)| Step::Send(sent, at)),
            ],
            1..60,
        ),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check_steps(steps));
    }
}
