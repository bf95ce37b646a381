//! Single requests to both servers: errors, authority, idempotency, and what the database lacks.

use convodb::{Scope, Scopes, Timestamp, Token, TokenNarrowing, UserId};

use crate::http::client::{ASSISTANTS, Both, on_empty_schema};

const ID: &str = "c0000000-0000-4000-8000-000000000001";

fn new(id: &str, assistant: &str) -> String {
    format!(
        "{{\"id\":\"{id}\",\"assistant_id\":\"{assistant}\",\"created_at\":\"2025-01-25 10:15:00\"}}"
    )
}

#[test]
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
fn errors_are_the_same_on_both_stores() {
    let both = Both::new("http_errors");
    both.same("POST /api/conversations", &new(ID, ASSISTANTS[1]));
    let list = "GET /api/user/conversations";
    for query in [
        "type=fax",
        "assistant_id=9",
        "assistant_id=1,9",
        "assistant_id=a0000000-0000-4000-8000-000000000009",
        "cursor=x",
        "per_page=0",
        "per_page=101&order=up",
        "created_from=soon",
        "fields=none",
    ] {
        assert_eq!(both.same(&format!("{list}?{query}"), "").status, 422, "{query}");
    }
    for (status, request, body) in [
        (422, "POST /api/conversations".to_owned(), new(ID, ASSISTANTS[0])),
        (404, "POST /api/conversations".to_owned(), new(ID, "9")),
        (400, "POST /api/conversations".to_owned(), "{".to_owned()),
        (422, "POST /api/conversations".to_owned(), "{}".to_owned()),
        (
            404,
            "GET /api/conversations/c0000000-0000-4000-8000-000000000009".to_owned(),
            String::new(),
        ),
        (404, "GET /api/conversations/1".to_owned(), String::new()),
        (
            404,
            "DELETE /api/conversations/c0000000-0000-4000-8000-000000000009".to_owned(),
            String::new(),
        ),
        (404, format!("PATCH /api/conversations/{ID}"), "{\"assistant_id\":9}".to_owned()),
        (422, format!("PATCH /api/conversations/{ID}"), "{\"ai_enabled\":7}".to_owned()),
        (422, format!("POST /api/conversations/{ID}/messages"), "{\"role\":\"x\"}".to_owned()),
        (422, "POST /api/user/assistants".to_owned(), "{\"name\":\"\"}".to_owned()),
        (
            422,
            "POST /api/user/assistants".to_owned(),
            format!("{{\"uuid\":\"{}\",\"name\":\"Twice\"}}", ASSISTANTS[0]),
        ),
        (405, "PUT /api/conversations".to_owned(), String::new()),
        (404, "GET /api/unknown".to_owned(), String::new()),
        (422, "GET /api/user/conversations/changes?cursor=x".to_owned(), String::new()),
        (422, "GET /api/user/conversations/changes?wait=61".to_owned(), String::new()),
        (422, "GET /api/user/conversations/stats?group_by=hour".to_owned(), String::new()),
    ] {
        let found =
            both.same_as(&both.token, &request, "Content-Type: application/json\r\n", &body);
        assert_eq!(found.status, status, "{request} {body}: {}", found.body);
    }
}

#[test]
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
fn a_token_allows_the_same_on_both_stores() {
    let both = Both::new("http_tokens");
    let list = "GET /api/user/conversations";
    for (id, assistant) in [(ID, 0), ("c0000000-0000-4000-8000-000000000002", 1)] {
        both.same("POST /api/conversations", &new(id, ASSISTANTS[assistant]));
    }
    assert_eq!(both.same_as("cvdb_unknown", list, "", "").status, 401);
    let create = new("c0000000-0000-4000-8000-000000000003", ASSISTANTS[1]);
    for (token, status) in [(&both.reader, 403), (&both.restricted, 404), (&both.other_user, 404)] {
        let found = both.same_as(token, "POST /api/conversations", "", &create);
        assert_eq!(found.status, status, "{}", found.body);
    }
    let seen = both.same_as(&both.restricted, list, "", "");
    assert_eq!(seen.body.matches("{\"id\":").count(), 1, "{}", seen.body);
    let foreign = "DELETE /api/conversations/c0000000-0000-4000-8000-000000000002";
    assert_eq!(both.same_as(&both.restricted, foreign, "", "").status, 404);
    let named = "POST /api/user/assistants";
    assert_eq!(both.same_as(&both.restricted, named, "", "{\"name\":\"More\"}").status, 403);

    both.store.revoke_token(both.reader.clone()).unwrap();
    both.runtime.block_on(both.cluster.revoke_token(&both.reader)).unwrap();
    assert_eq!(both.same_as(&both.reader, list, "", "").status, 401);
}

/// The next request of a narrowed token is refused what it lost, on every server.
#[test]
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
fn a_narrowed_token_allows_less_at_once_on_both_stores() {
    let both = Both::new("http_narrowed");
    for (id, assistant) in [(ID, 0), ("c0000000-0000-4000-8000-000000000002", 1)] {
        both.same("POST /api/conversations", &new(id, ASSISTANTS[assistant]));
    }
    let tokens = both.store.snapshot().tokens().unwrap();
    let is_whole = |token: &&Token| {
        token.user == UserId::new(1) && token.assistant.is_none() && token.scopes == Scopes::DATA
    };
    let id = tokens.iter().find(is_whole).unwrap().id;
    let narrow = |narrowing: TokenNarrowing| {
        both.store.narrow_token(id, narrowing).unwrap();
        both.runtime.block_on(both.cluster.narrow_token(id, narrowing)).unwrap();
    };
    let list = "GET /api/user/conversations";
    let items = |body: &str| body.matches("{\"id\":").count();
    assert_eq!(items(&both.same(list, "").body), 2);
    let assistant = Some(ASSISTANTS[0].parse().unwrap());
    narrow(TokenNarrowing { assistant, ..TokenNarrowing::default() });
    assert_eq!(items(&both.same(list, "").body), 1);
    let foreign = "c0000000-0000-4000-8000-000000000003";
    assert_eq!(both.same("POST /api/conversations", &new(foreign, ASSISTANTS[1])).status, 404);
    narrow(TokenNarrowing { scopes: Some(Scope::Read.into()), ..TokenNarrowing::default() });
    assert_eq!(both.same("POST /api/conversations", &new(foreign, ASSISTANTS[0])).status, 403);
    assert_eq!(both.same("GET /api/user/conversations/export", "").status, 403);
    assert_eq!(items(&both.same(list, "").body), 1);
    let past = TokenNarrowing { expires_at: Some(Timestamp::MIN), ..TokenNarrowing::default() };
    narrow(past);
    assert_eq!(both.same(list, "").status, 401);
}

#[test]
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
fn a_repeated_request_is_done_once_on_both_stores() {
    let both = Both::new("http_idempotency");
    let key = "Idempotency-Key: once\r\n";
    let create = new(ID, ASSISTANTS[0]);
    let first = both.same_as(&both.token, "POST /api/conversations", key, &create);
    let again = both.same_as(&both.token, "POST /api/conversations", key, &create);
    assert_eq!((first.status, &first.body), (200, &again.body));
    let other = new("c0000000-0000-4000-8000-000000000002", ASSISTANTS[0]);
    let conflict = both.same_as(&both.token, "POST /api/conversations", key, &other);
    assert_eq!(conflict.status, 422);

    let message = "{\"role\":\"user\",\"content\":\"Hi\",\"created_at\":\"2025-01-26\"}";
    let append = format!("POST /api/conversations/{ID}/messages");
    for _ in 0..2 {
        let appended = both.same_as(&both.token, &append, "Idempotency-Key: message\r\n", message);
        assert!(appended.body.ends_with("\"message_count\":1}"), "{}", appended.body);
    }
}

#[test]
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
fn an_unchanged_response_is_not_sent_again() {
    let both = Both::new("http_tags");
    let list = "GET /api/user/conversations";
    let first = both.on_database(list, "", "");
    let tag = first.header("etag").unwrap().to_owned();
    assert_eq!(first.header("cache-control"), Some("private, no-cache"));
    let condition = format!("If-None-Match: {tag}\r\n");
    let unchanged = both.on_database(list, &condition, "");
    assert_eq!((unchanged.status, unchanged.body.as_str()), (304, ""));
    assert_eq!(unchanged.header("etag"), Some(tag.as_str()));
    both.on_database("POST /api/conversations", "", &new(ID, ASSISTANTS[0]));
    let changed = both.on_database(list, &condition, "");
    assert_eq!(changed.status, 200);
    // A rename changes the list, too.
    let tag = changed.header("etag").unwrap();
    let rename = format!("PATCH /api/user/assistants/{}", ASSISTANTS[0]);
    both.on_database(&rename, "", "{\"name\":\"Renamed\"}");
    let renamed = both.on_database(list, &format!("If-None-Match: {tag}\r\n"), "");
    assert_eq!(renamed.status, 200);
    assert!(renamed.body.contains("\"assistant_name\":\"Renamed\""), "{}", renamed.body);
}

#[test]
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
fn what_the_database_lacks_is_refused_with_what_to_use() {
    let both = Both::new("http_lacking");
    for (status, request, hint) in [
        (501, "GET /console", "has no console"),
        (501, "GET /console/conversations", "has no console"),
        (
            422,
            "GET /api/user/conversations?ai_enabled=false",
            "The ai enabled field must be left out",
        ),
        (
            422,
            "GET /api/user/conversations?sort=last_activity",
            "The sort field must be created_at",
        ),
        (
            422,
            "GET /api/user/conversations/export?sort=last_activity",
            "The sort field must be created_at",
        ),
        (
            422,
            "GET /api/user/conversations/export?ai_enabled=false",
            "The ai enabled field must be left out",
        ),
        (
            422,
            "GET /api/user/conversations?fields=id,preview",
            "The preview field must be left out",
        ),
    ] {
        let found = both.on_database(request, "Content-Type: application/x-ndjson\r\n", "");
        assert_eq!(found.status, status, "{request}: {}", found.body);
        assert!(found.body.contains(hint), "{request}: {}", found.body);
    }
}

#[test]
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
fn probes_and_metrics_are_of_the_database() {
    let both = Both::new("http_probes");
    both.same("GET /healthz", "");
    assert_eq!(both.same("GET /readyz", "").status, 200);
    both.on_database("POST /api/conversations", "", &new(ID, ASSISTANTS[0]));
    let metrics = both.on_database("GET /metrics", "", "").body;
    let line = |name: &str| metrics.lines().find(|line| line.starts_with(name)).unwrap_or("none");
    assert_eq!(line("convodb_database_writes_total "), "convodb_database_writes_total 1");
    assert_eq!(line("convodb_database_groups_total "), "convodb_database_groups_total 1");

    let empty = on_empty_schema(&both.runtime, "http_empty");
    let refused = crate::http::client::send(empty, &both.token, "GET /api/user/me", "", "");
    assert_eq!(refused.status, 401);
    let drop = "drop schema http_empty cascade";
    both.runtime.block_on(crate::execute("public", drop));
    let unready = crate::http::client::send(empty, "", "GET /readyz", "", "");
    assert!(matches!(unready.status, 500 | 503), "{}", unready.body);
}
