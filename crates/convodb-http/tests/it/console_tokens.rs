//! Console's token screens: what they create, narrow and revoke, and what they refuse.

use convodb::{AssistantId, Channel, Timestamp, TokenOptions};
use uuid::Uuid;

use crate::console::{OWN, check_headers, get, post, sign_in};
use crate::harness::{Harness, LIST};

/// A form's fields, and what the engine and the other screens make of them.
#[test]
fn tokens_are_created_narrowed_and_revoked() {
    let harness = Harness::new();
    harness.insert([1], &Channel::Widget);
    let options =
        TokenOptions { scopes: "read,stats,tokens".parse().unwrap(), ..TokenOptions::default() };
    let own = harness.store.create_token_with(harness.user, Timestamp::MIN, options).unwrap();
    let cookie = sign_in(&harness, &own.token);
    let headers = format!("{OWN}Cookie: {cookie}\r\n");
    let form = get(&harness, "/console/tokens/new", &cookie);
    check_headers(&form);
    for (scope, offered) in [("read", true), ("stats", true), ("write", false), ("health", false)] {
        assert_eq!(form.text().contains(&format!("value=\"{scope}\"")), offered, "{scope}");
    }
    let body = "name=Reports&scopes=read&scopes=stats&assistant=&expires_at=2109-01-01";
    let created = post(&harness, "/console/tokens", &headers, body);
    assert_eq!(created.status, 200, "{}", created.text());
    check_headers(&created);
    let text = created.text().split("aria-label=\"Access token\">").nth(1).unwrap();
    let token = text.split('<').next().unwrap();
    assert_eq!(harness.list_of(token, "").status, 200);
    assert_eq!(harness.list_of(token, "").json()["data"].as_array().unwrap().len(), 1);
    let tokens = harness.store.snapshot().tokens_of(harness.user).unwrap();
    let new = &tokens[0];
    assert_eq!(new.name.as_ref().map(|name| name.as_str()), Some("Reports"));
    assert_eq!((new.scopes.to_string().as_str(), new.expires_at.is_some()), ("read,stats", true));
    let page = get(&harness, "/console/tokens", &cookie);
    assert!(page.text().contains("Reports") && page.text().contains("This session"));
    assert!(!page.text().contains(token) && !crate::harness::logged().contains(token));

    let target = format!("/console/tokens/{}", new.id);
    let narrowed = post(&harness, &format!("{target}/narrow"), &headers, "scopes=read");
    assert_eq!((narrowed.status, narrowed.header("location")), (303, target.as_str()));
    let stats = format!("{LIST}/stats");
    assert_eq!(harness.request("GET", &stats, token, "").status, 403);
    let wider = post(&harness, &format!("{target}/narrow"), &headers, "scopes=read&scopes=write");
    assert_eq!(wider.status, 422);
    assert!(wider.text().contains("must be some of those that the token has"));
    let later =
        post(&harness, &format!("{target}/narrow"), &headers, "scopes=read&expires_at=2109-02-01");
    assert!(later.text().contains("must not be later than the token expires already"));
    assert_eq!(harness.list_of(token, "").status, 200);
    let revoked = post(&harness, &format!("{target}/revoke"), &headers, "");
    assert_eq!((revoked.status, revoked.header("location")), (303, "/console/tokens"));
    assert_eq!(harness.list_of(token, "").status, 401);
    assert_eq!(get(&harness, &target, &cookie).status, 404);
    assert_eq!(post(&harness, &format!("{target}/revoke"), &headers, "").status, 404);
    // Revoking one's own token signs out.
    let target = format!("/console/tokens/{}", own.id);
    assert_eq!(post(&harness, &format!("{target}/revoke"), &headers, "").status, 303);
    let next = get(&harness, "/console/tokens", &cookie);
    assert_eq!(
        (next.status, next.header("location")),
        (303, "/console/sign-in?next=/console/tokens")
    );
}

/// No token makes one that reaches more than itself, nor touches another user's, nor one that
/// reaches more assistants.
#[test]
fn a_token_makes_none_that_reaches_more() {
    let harness = Harness::new();
    let bots = harness.store.snapshot().assistants(harness.user, 0, 10).unwrap();
    let second = AssistantId::new(Uuid::from_u128(0x22));
    harness.store.create_assistant(harness.user, second, "Second").unwrap();
    let options = TokenOptions {
        scopes: "read,tokens".parse().unwrap(),
        assistant: Some(bots[0].id),
        expires_at: Some("2100-01-01".parse().unwrap()),
        ..TokenOptions::default()
    };
    let own = harness.store.create_token_with(harness.user, Timestamp::MIN, options).unwrap();
    let cookie = sign_in(&harness, &own.token);
    let headers = format!("{OWN}Cookie: {cookie}\r\n");
    let bot = bots[0].id;
    let before = harness.store.snapshot().tokens().unwrap().len();
    for (body, message) in [
        (format!("assistant={bot}&expires_at=2099-01-01"), "must have at least one"),
        (
            format!("scopes=read&scopes=write&assistant={bot}&expires_at=2099-01-01"),
            "must be some of those that the creating token has",
        ),
        (
            "scopes=read&expires_at=2099-01-01".to_owned(),
            "must be the one that the creating token is limited to",
        ),
        (
            format!("scopes=read&assistant={second}&expires_at=2099-01-01"),
            "must be the one that the creating token is limited to",
        ),
        (
            format!("scopes=read&assistant={bot}"),
            "must not be later than the creating token expires",
        ),
        (
            format!("scopes=read&assistant={bot}&expires_at=2101-01-01"),
            "must not be later than the creating token expires",
        ),
        (
            format!("scopes=read&assistant={bot}&expires_at=1971-01-01"),
            "must be later than the time",
        ),
        (format!("scopes=fly&assistant={bot}&expires_at=x"), "The selected scopes is invalid."),
        (format!("scopes=read&assistant={bot}&expires_at=x"), "expires at field"),
        ("scopes=read&assistant=x&expires_at=2099-01-01".to_owned(), "assistant field"),
        (
            format!("name={}&scopes=read&assistant={bot}&expires_at=2099-01-01", "n".repeat(300)),
            "must not be greater than 255 bytes",
        ),
    ] {
        let refused = post(&harness, "/console/tokens", &headers, &body);
        assert_eq!(refused.status, 422, "{body}");
        assert!(refused.text().contains(message), "{body}: {}", refused.text());
    }
    assert_eq!(harness.store.snapshot().tokens().unwrap().len(), before);
    let body = format!("scopes=read&assistant={bot}&expires_at=2099-01-01");
    assert_eq!(post(&harness, "/console/tokens", &headers, &body).status, 200);

    // Those that reach more, and those of another user, are missing.
    let page = get(&harness, "/console/tokens", &cookie);
    assert_eq!(page.text().matches("<tr data-token=").count(), 2);
    let tokens = harness.store.snapshot().tokens().unwrap();
    let foreign = tokens.iter().filter(|token| token.assistant != Some(bot));
    let mut tried = 0;
    for token in foreign {
        let target = format!("/console/tokens/{}", token.id);
        assert_eq!(get(&harness, &target, &cookie).status, 404);
        for action in ["narrow", "revoke"] {
            let refused = post(&harness, &format!("{target}/{action}"), &headers, "scopes=read");
            assert_eq!(refused.status, 404, "{action}");
        }
        tried += 1;
    }
    assert!(tried >= 2, "the user's own and another user's");
    assert_eq!(harness.store.snapshot().tokens().unwrap(), tokens);
    // A form of another site, and a session without the scope.
    let foreign = format!("Origin: https://evil.example\r\nCookie: {cookie}\r\n");
    assert_eq!(post(&harness, "/console/tokens", &foreign, &body).status, 403);
    let reader = sign_in(&harness, &harness.token);
    let headers = format!("{OWN}Cookie: {reader}\r\n");
    for target in ["/console/tokens".to_owned(), format!("/console/tokens/{}/revoke", own.id)] {
        assert_eq!(post(&harness, &target, &headers, &body).status, 403, "{target}");
    }
}
