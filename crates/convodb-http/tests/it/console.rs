//! Console over sockets: signing in, authority, policies, escaping, and pages equal to the API's.

use convodb::{
    AssistantId, Channel, Contact, Conversation, ConversationId, Message, Role, Scope, Scopes,
    Store, Timestamp, TokenOptions, TokenSelector,
};
use convodb_http::Config;
use uuid::Uuid;

use crate::client::{Response, send};
use crate::harness::{Harness, LIST, api, conversation, whatsapp};

/// What a page must never contain, in any text of a customer.
const PLANTED: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;";

pub(crate) fn get(harness: &Harness, target: &str, cookie: &str) -> Response {
    harness.server.request("GET", target, &format!("Cookie: {cookie}\r\nAccept: text/html\r\n"))
}

pub(crate) fn post(harness: &Harness, target: &str, headers: &str, body: &str) -> Response {
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    send(harness.server.address, head.as_bytes())
}

/// The headers of a form of the console itself.
pub(crate) const OWN: &str = "Origin: http://test\r\nSec-Fetch-Site: same-origin\r\n";

/// Signs in and returns the cookie.
#[track_caller]
pub(crate) fn sign_in(harness: &Harness, token: &str) -> String {
    let response = post(harness, "/console/sign-in", OWN, &format!("token={token}"));
    assert_eq!(response.status, 303, "{}", response.text());
    response.header("set-cookie").split(';').next().unwrap().to_owned()
}

/// The ids of the rows of a page, in order.
pub(crate) fn ids(page: &str) -> Vec<String> {
    let rows = page.split("<tr data-id=\"").skip(1);
    rows.map(|row| row.split('"').next().unwrap().to_owned()).collect()
}

/// The target of the link with this relation.
pub(crate) fn link(page: &str, rel: &str) -> Option<String> {
    let (_, rest) = page.split_once(&format!("rel=\"{rel}\" href=\""))?;
    Some(rest.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&"))
}

#[track_caller]
pub(crate) fn check_headers(response: &Response) {
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                  connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; \
                  require-trusted-types-for 'script'";
    assert_eq!(response.header("content-security-policy"), policy);
    assert_eq!(response.header("cache-control"), "no-store");
    assert_eq!(response.header("x-content-type-options"), "nosniff");
    assert_eq!(response.header("referrer-policy"), "same-origin");
    let page = response.text();
    assert!(!page.contains(" style=") && !page.contains("<style"), "{page}");
    let is_handler =
        |rest: &str| rest.trim_start_matches(|c: char| c.is_ascii_lowercase()).starts_with('=');
    assert!(!page.split(" on").skip(1).any(is_handler), "{page}");
    // The only script has a source.
    assert_eq!(
        page.matches("<script").count(),
        page.matches("<script type=\"module\" src=").count()
    );
}

#[test]
fn signing_in_leads_to_the_requested_page_and_the_token_is_in_none() {
    let harness = Harness::new();
    let asked = get(&harness, "/console/conversations?type=api", "");
    assert_eq!(asked.status, 303);
    let form = asked.header("location").to_owned();
    assert_eq!(form, "/console/sign-in?next=/console/conversations?type%3Dapi");
    let page = get(&harness, &form, "");
    assert_eq!(page.status, 200);
    check_headers(&page);
    assert!(page.text().contains("value=\"/console/conversations?type=api\""), "{}", page.text());

    let body = format!("token={}&next=%2Fconsole%2Fconversations%3Ftype%3Dapi", harness.token);
    let entered = post(&harness, "/console/sign-in", OWN, &body);
    assert_eq!(
        (entered.status, entered.header("location")),
        (303, "/console/conversations?type=api")
    );
    let cookie = entered.header("set-cookie");
    for part in ["; Path=/console", "; HttpOnly", "; SameSite=Strict", "; Max-Age=43200"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure") && !cookie.contains(&harness.token), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    let page = get(&harness, "/console/conversations?type=api", cookie);
    assert_eq!(page.status, 200);
    check_headers(&page);
    assert!(page.header("server-timing").starts_with("read;dur="));
    assert!(!page.text().contains(&harness.token));

    let left = post(&harness, "/console/sign-out", OWN, "");
    assert_eq!((left.status, left.header("location")), (303, "/console/sign-in?out=1"));
    assert!(left.header("set-cookie").starts_with("convodb_console=; Path=/console; Max-Age=0;"));
    assert!(!crate::harness::logged().contains(&harness.token));
}

#[test]
fn a_wrong_token_and_a_foreign_target_are_refused() {
    let harness = Harness::new();
    let refused = post(&harness, "/console/sign-in", OWN, "token=cvdb_wrong&next=//evil.example");
    assert_eq!(refused.status, 422);
    assert!(refused.text().contains("This token is unknown, revoked or expired."));
    assert!(!refused.text().contains("evil") && !refused.text().contains("cvdb_wrong"));
    assert_eq!(refused.maybe_header("set-cookie"), None);
    let body = format!("token={}&next=https://evil.example/console/", harness.token);
    let entered = post(&harness, "/console/sign-in", OWN, &body);
    assert_eq!(entered.header("location"), "/console/conversations");
    let large = "x".repeat(9000);
    assert_eq!(post(&harness, "/console/sign-in", OWN, &large).status, 413);
    let json = harness.server.request("POST", "/console/sign-in", OWN);
    assert_eq!(json.status, 415);
}

/// A form that another site sent is refused, whatever it is; and so is one that does not say.
#[test]
fn forms_of_other_sites_are_refused() {
    let harness = Harness::new();
    harness.insert([1], &Channel::Widget);
    let cookie = sign_in(&harness, &harness.token);
    let target = format!("/console/conversations/{}/ai", conversation(1).id);
    for headers in [
        "Origin: https://evil.example\r\nSec-Fetch-Site: cross-site\r\n",
        "Origin: https://evil.example\r\n",
        "Sec-Fetch-Site: same-site\r\n",
        "",
    ] {
        let headers = format!("{headers}Cookie: {cookie}\r\n");
        for target in [&target, "/console/sign-in", "/console/sign-out"] {
            let refused = post(&harness, target, &headers, "enabled=0");
            assert_eq!(refused.status, 403, "{target} {headers}");
            assert!(refused.text().contains("not sent by a page of this server"));
        }
    }
    let headers = format!("{OWN}Cookie: {cookie}\r\n");
    let done = post(&harness, &target, &headers, "enabled=0");
    assert_eq!(done.status, 303, "{}", done.text());
    assert_eq!(harness.list("").json()["data"][0]["ai_enabled"], false);
    assert!(get(&harness, done.header("location"), &cookie).text().contains("AI off"));
    assert_eq!(post(&harness, &target, &headers, "enabled=x").status, 422);
    assert_eq!(post(&harness, &target, &headers, "").status, 422);
}

/// The token is checked at each request, and the API takes no cookie.
#[test]
fn a_session_has_what_its_token_allows_and_no_longer() {
    let harness = Harness::new();
    harness.insert([1], &Channel::Widget);
    let one = format!("/console/conversations/{}", conversation(1).id);
    let of_scope = |scope: Scope| {
        let options = TokenOptions { scopes: scope.into(), ..TokenOptions::default() };
        let token = harness.store.create_token_with(harness.user, Timestamp::MIN, options).unwrap();
        sign_in(&harness, &token.token)
    };
    let (reader, counter) = (of_scope(Scope::Read), of_scope(Scope::Stats));
    let (manager, watcher) = (of_scope(Scope::Tokens), of_scope(Scope::Health));
    for (target, reads, counts) in [
        ("/console/conversations", 200, 403),
        (one.as_str(), 200, 403),
        ("/console/customers?phone=1", 200, 403),
        ("/console/live", 200, 403),
        ("/console/volumes", 403, 200),
        ("/console/volumes.csv", 403, 200),
        ("/console/statement", 403, 200),
    ] {
        if target != "/console/live" {
            assert_eq!(get(&harness, target, &reader).status, reads, "{target}");
        }
        assert_eq!(get(&harness, target, &counter).status, counts, "{target}");
        assert_eq!(get(&harness, target, "").status, 303, "{target}");
    }
    let tokens = harness.store.snapshot().tokens_of(harness.user).unwrap();
    let own = format!("/console/tokens/{}", tokens[0].id);
    for (target, manages, watches) in [
        ("/console/tokens", 200, 403),
        ("/console/tokens/new", 200, 403),
        (own.as_str(), 200, 403),
        ("/console/health", 403, 200),
    ] {
        assert_eq!(get(&harness, target, &manager).status, manages, "{target}");
        assert_eq!(get(&harness, target, &watcher).status, watches, "{target}");
        assert_eq!(get(&harness, target, &reader).status, 403, "{target}");
        assert_eq!(get(&harness, target, "").status, 303, "{target}");
    }
    let ai = format!("{one}/ai");
    let headers = format!("{OWN}Cookie: {reader}\r\n");
    assert_eq!(post(&harness, &ai, &headers, "enabled=0").status, 403);
    assert!(!get(&harness, &one, &reader).text().contains("Turn off"));

    for target in [LIST.to_owned(), format!("{LIST}/stats"), format!("{LIST}/changes")] {
        let response = harness.server.request("GET", &target, &format!("Cookie: {reader}\r\n"));
        assert_eq!(response.status, 401, "the API takes no cookie");
    }
    harness.store.revoke_tokens(TokenSelector::User(harness.user)).unwrap();
    let after = get(&harness, "/console/conversations", &reader);
    assert_eq!(after.status, 303);
    let forged = reader.replacen('.', ".9", 1);
    assert_eq!(get(&harness, "/console/conversations", &forged).status, 303);
}

/// A link from another site is repeated by this one, so that the strict cookie comes along.
#[test]
fn a_link_from_another_site_keeps_the_session() {
    let harness = Harness::new();
    let headers = "Sec-Fetch-Site: cross-site\r\n";
    let response = harness.server.request("GET", "/console/conversations?type=api", headers);
    assert_eq!(
        (response.status, response.header("refresh")),
        (200, "0; url=/console/conversations?type=api")
    );
    assert!(response.body.is_empty());
}

/// Markup in every text field is shown as text, on every screen.
#[test]
fn planted_markup_is_shown_as_text() {
    let store = Store::in_memory().unwrap();
    let user = store.create_user(PLANTED, Timestamp::MIN).unwrap().id;
    let assistant = AssistantId::new(Uuid::from_u128(0xEE));
    store.create_assistant(user, assistant, PLANTED).unwrap();
    let harness = Harness::of(store, Config::default());
    let options = TokenOptions {
        scopes: Scopes::ALL,
        name: Some(PLANTED.parse().unwrap()),
        assistant: None,
        expires_at: None,
    };
    let created = harness.store.create_token_with(user, Timestamp::MIN, options).unwrap();
    let token = created.token;
    let contact = || {
        let phone = PLANTED.get(..60).unwrap();
        Contact::with_phone(phone).unwrap().named(PLANTED).unwrap()
    };
    let channels = [
        Channel::Whatsapp { sender: contact(), customer: contact() },
        Channel::Api { external_identifier: Some(PLANTED.parse().unwrap()) },
    ];
    let json = serde_json::json!({PLANTED: PLANTED, "nested": {PLANTED: [PLANTED]}});
    let mut targets = Vec::new();
    for (row, channel) in (1..).zip(channels) {
        let variables = Some(json.to_string().parse().unwrap());
        let message_count = 4;
        let new =
            Conversation { assistant, channel, variables, message_count, ..conversation(row) };
        let calls = serde_json::json!([{"name": PLANTED, "arguments": PLANTED}]).to_string();
        let message = |role| Message::new(role, PLANTED, Timestamp::MIN).unwrap();
        let with_calls = message(Role::Assistant).with_function_calls(calls).unwrap();
        let history =
            vec![message(Role::User), with_calls, message(Role::System), message(Role::Tool)];
        targets.push(format!("/console/conversations/{}", new.id));
        harness.store.insert(user, new, history).unwrap();
    }
    let encoded = "%3Cscript%3Ealert(1)%3C/script%3E%22'%3E%3Cimg%20src=x%20onerror=alert(2)%3E";
    targets.push(format!("/console/tokens/{}", created.id));
    for target in [
        "/console/conversations",
        "/console/tokens",
        "/console/tokens/new",
        "/console/health",
        "/console/volumes?split=assistant",
        "/console/statement",
        "/console/sign-in?next=/console/%3Cscript%3Ealert(1)%22",
    ] {
        targets.push(target.to_owned());
    }
    for name in ["external_identifier", "customer_phone", "type", "assistant_id", "cursor", "order"]
    {
        targets.push(format!("/console/conversations?{name}={encoded}"));
    }
    targets.push(format!(
        "/console/customers?phone={}",
        "%3Cscript%3Ealert(1)%3C/script%3E%22'%3E%3Cimg%20src=x%20onerror=alert(2)"
    ));
    targets.push(format!("/console/volumes?from={encoded}"));
    targets.push(format!("/console/conversations/{}", "%3Cscript%3Ealert(1)"));
    let cookie = sign_in(&harness, &token);
    let mut shown = 0;
    for target in targets {
        let response = get(&harness, &target, &cookie);
        assert!(matches!(response.status, 200 | 404), "{target}: {}", response.status);
        let page = response.text();
        let scripts = page.matches("<script type=\"module\" src=\"/console/assets/").count();
        assert_eq!(page.matches("<script").count(), scripts, "{target}");
        assert!(!page.contains("<img src=x") && !page.contains("onerror=alert(2)>"), "{target}");
        shown += page.matches("&#60;script&#62;alert(1)").count();
        if target == "/console/conversations" {
            let lines = page.matches("<span class=\"line\" dir=\"auto\">&#60;script&#62;").count();
            assert_eq!(lines, 4, "the first and the last message of both: {page}");
        }
    }
    let headers = format!("{OWN}Cookie: {cookie}\r\n");
    let body = format!("name={encoded}&expires_at={encoded}&assistant={encoded}&scopes={encoded}");
    let refused = post(&harness, "/console/tokens", &headers, &body);
    assert!(refused.status == 422 && !refused.text().contains("<img src=x"));
    assert!(refused.text().contains("value=\"&#60;script&#62;alert(1)"));
    assert!(shown > 25, "the markup is shown, as text: {shown}");
    let csv = get(&harness, "/console/volumes.csv?split=assistant", &cookie);
    assert!(csv.header("content-type").starts_with("text/csv"));
}

/// From a conversation, its neighbours in the list, also across pages.
#[test]
fn a_conversation_leads_along_its_list() {
    let harness = Harness::new();
    harness.insert(1..=7, &Channel::Widget);
    harness.insert([9], &api("x"));
    let cookie = sign_in(&harness, &harness.token);
    let mut target =
        format!("/console/conversations/{}?type=widget&per_page=3", conversation(7).id);
    for row in (1..=7).rev() {
        let page = get(&harness, &target, &cookie);
        assert_eq!(page.status, 200);
        assert!(page.text().contains(&conversation(row).id.to_string()));
        let links = (link(page.text(), "prev"), link(page.text(), "next"));
        assert_eq!((links.0.is_some(), links.1.is_some()), (row < 7, row > 1), "row {row}");
        if let Some(next) = links.1 {
            let back = get(&harness, &next, &cookie);
            let back = link(back.text(), "prev").expect("the way back");
            assert!(back.contains(&conversation(row).id.to_string()), "row {row}");
            target = next;
        }
    }
}

#[test]
fn long_histories_have_pages() {
    let harness = Harness::new();
    let message =
        |n: u32| Message::new(Role::User, format!("message {n}."), Timestamp::MIN).unwrap();
    let history = (1..=120).map(message).collect();
    let long = Conversation { message_count: 120, ..conversation(1) };
    harness.store.insert(harness.user, long, history).unwrap();
    let cookie = sign_in(&harness, &harness.token);
    let target = format!("/console/conversations/{}", conversation(1).id);
    let page = get(&harness, &target, &cookie).text().to_owned();
    assert!(page.contains("Messages 1 to 50 of 120") && page.contains("message 50."));
    assert!(!page.contains("message 51.") && page.contains("messages=after-50"));
    let page = get(&harness, &format!("{target}?messages=after-100"), &cookie).text().to_owned();
    assert!(page.contains("Messages 101 to 120 of 120") && page.contains("messages=before-101"));
    assert_eq!(get(&harness, &format!("{target}?messages=x"), &cookie).status, 422);
}

/// What another user has is answered as what does not exist, but for the request's id.
#[test]
fn another_users_urls_show_nothing() {
    let harness = Harness::new();
    harness.insert(1..=30, &Channel::Widget);
    let (own, other) = (sign_in(&harness, &harness.token), sign_in(&harness, &harness.other_token));
    let page = get(&harness, "/console/conversations", &own);
    let next = link(page.text(), "next").unwrap();
    let refused = get(&harness, &next, &other);
    assert!(
        refused.text().contains("The selected cursor is invalid.")
            && ids(refused.text()).is_empty()
    );
    let id = "X-Request-Id: same\r\n";
    let of = |id_of: ConversationId| {
        let target = format!("/console/conversations/{id_of}");
        let headers = format!("Cookie: {other}\r\n{id}");
        harness.server.request("GET", &target, &headers)
    };
    let (foreign, missing) = (of(conversation(1).id), of(conversation(200).id));
    assert_eq!((foreign.status, missing.status), (404, 404));
    assert_eq!(foreign.text(), missing.text());
}

#[test]
fn wrong_filters_are_named_beside_their_field() {
    let harness = Harness::new();
    let cookie = sign_in(&harness, &harness.token);
    let page = get(&harness, "/console/conversations?type=fax&per_page=0", &cookie);
    assert_eq!(page.status, 200);
    assert!(page.text().contains("It must be one of test, widget, whatsapp, api."));
    assert!(page.text().contains("The per page field must be at least 1."));
    assert!(page.text().contains("Newest first, 25 rows"));
    let page = get(&harness, "/console/conversations?type=fax&per_page=50", &cookie);
    assert!(page.text().contains("Newest first, 50 rows"), "what is right is kept");
    let blanks = get(&harness, "/console/conversations?type=&customer_phone=%2B49&order=", &cookie);
    assert_eq!(
        (blanks.status, blanks.header("location")),
        (303, "/console/conversations?customer_phone=%2B49")
    );
    let days = get(&harness, "/console/volumes?from=2025-02-01&to=2025-01-01", &cookie);
    assert!(days.text().contains("must not be before from"), "{}", days.text());
}

/// What the screen shows comes from the same counters as the metrics.
#[test]
fn health_shows_what_the_metrics_count() {
    let harness = Harness::new();
    harness.insert(1..=30, &Channel::Widget);
    let options = TokenOptions { scopes: Scopes::ALL, ..TokenOptions::default() };
    let token = harness.store.create_token_with(harness.user, Timestamp::MIN, options).unwrap();
    let cookie = sign_in(&harness, &token.token);
    let before = get(&harness, "/console/health", &cookie);
    check_headers(&before);
    assert!(before.text().contains("Reads and writes") && before.text().contains("none yet"));
    for _ in 0..3 {
        assert_eq!(harness.list("per_page=10").status, 200);
    }
    assert_eq!(get(&harness, "/console/conversations", &cookie).status, 200);
    let page = get(&harness, "/console/health", &cookie);
    let metrics = harness.server.request("GET", "/metrics", "");
    let metric = |name: &str| {
        let line = metrics.text().lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("no metric {name}")).parse::<u64>().unwrap()
    };
    let (pages, bound) = (metric("convodb_pages_total"), metric("convodb_page_reads_bound_total"));
    let reads = metric("convodb_page_entries_read_total") + metric("convodb_page_rows_read_total");
    // The third equal request to the API is answered from kept responses.
    assert_eq!((pages, bound), (3, 2 * 10 * 11 + 10 * 26));
    assert!(reads > 0 && reads <= bound, "{reads} of {bound}");
    let average = |sum: u64| format!("{:.1}", sum as f64 / pages as f64);
    let shown = format!(
        "<dd>{}<span class=\"trend\">on average of at most {}, 3 pages",
        average(reads),
        average(bound)
    );
    assert!(page.text().contains(&shown), "{shown}: {}", page.text());
    // The API's three pages and the console's one, in the table.
    let cells = |column: usize| -> u64 {
        let (_, table) = page.text().split_once("<table>").unwrap();
        let (table, _) = table.split_once("</table>").unwrap();
        let rows = table.split("<tr><th scope=\"row\">").skip(1);
        let cell = |row: &str| {
            let cell = row.split("<td class=\"number\">").nth(column).unwrap();
            cell.split('<').next().unwrap().parse::<u64>().unwrap()
        };
        rows.map(cell).sum()
    };
    assert_eq!((cells(1), cells(2)), (3, 1));
    assert!(page.text().contains("curl -H"), "the metrics as curl");
    assert!(page.text().contains("<title>\u{2264}"), "a bar says what it counts");
}

#[test]
fn a_customer_has_totals_and_both_ends() {
    let harness = Harness::new();
    harness.insert(1..=3, &whatsapp("+4930", "+49151"));
    harness.insert([4], &whatsapp("+4930", "+49152"));
    let cookie = sign_in(&harness, &harness.token);
    let page = get(&harness, "/console/customers?phone=+49151", &cookie);
    assert_eq!(ids(page.text()).len(), 3);
    for text in ["First contact", "2025-01-25T10:13:21Z", "2025-01-25T10:13:23Z"] {
        assert!(page.text().contains(text), "{text}");
    }
    let none = get(&harness, "/console/customers?phone=5", &cookie);
    assert!(none.text().contains("No conversation with this phone"));
    let long = get(&harness, &format!("/console/customers?phone={}", "9".repeat(65)), &cookie);
    assert!(long.text().contains("must not be greater than 64 bytes"));
}

/// The numbers of the screen, of its file and of the API are the same.
#[test]
fn volumes_equal_the_statistics() {
    let harness = Harness::new();
    harness.insert(1..=5, &Channel::Widget);
    harness.insert(6..=8, &api("x"));
    let cookie = sign_in(&harness, &harness.token);
    let csv = get(&harness, "/console/volumes.csv", &cookie);
    assert_eq!(
        csv.text(),
        "period,type,conversations,messages,total_cost\r\n2025-01-25,\"Widget\",5,0,0\r\n\
         2025-01-25,\"API\",3,0,0\r\n"
    );
    assert_eq!(
        csv.header("content-disposition"),
        "attachment; filename=\"volumes-2024-12-27-2025-01-25.csv\""
    );
    let page = get(&harness, "/console/volumes", &cookie);
    let list = "href=\"/console/conversations?created_from=2025-01-25&#38;created_to=2025-01-25\"";
    assert!(page.text().contains(list), "a bar leads to its day: {}", page.text());
    assert!(page.text().contains("nothing in the period before"));
    let statement = get(&harness, "/console/statement?from=2025-01-01&to=2025-01-31", &cookie);
    assert!(statement.text().contains(
        "from <span class=\"date\">2025-01-01</span> to <span class=\"date\">2025-01-31</span>"
    ));
}

#[test]
fn a_browser_is_led_to_the_console_and_programs_are_not() {
    let harness = Harness::new();
    let browser = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n";
    let led = harness.server.request("GET", "/", browser);
    assert_eq!((led.status, led.header("location")), (303, "/console"));
    assert_eq!(led.header("vary"), "accept");
    for accept in ["", "Accept: */*\r\n", "Accept: application/json\r\n"] {
        let index = harness.server.request("GET", "/", accept);
        assert_eq!((index.status, index.json()["name"].as_str()), (200, Some("convodb")));
    }
    let asset = harness.server.request("GET", "/console/assets/console.js", "");
    assert_eq!(asset.header("cache-control"), "public, max-age=31536000, immutable");
    assert_eq!(harness.server.request("GET", "/console/assets/none", "").status, 404);
    let missing = harness.server.request("GET", "/console/nothing", "");
    assert!(missing.status == 404 && missing.text().contains("<h1>Not found</h1>"));

    let config = Config { no_console: true, ..Config::default() };
    let without = Harness::of(Store::in_memory().unwrap(), config);
    assert_eq!(without.server.request("GET", "/", browser).status, 200);
    for target in ["/console", "/console/sign-in", "/console/assets/console.js"] {
        let response = without.server.request("GET", target, browser);
        assert_eq!((response.status, response.text()), (404, r#"{"message":"Not Found"}"#));
    }
}

/// Behind a proxy that removes a path and speaks HTTPS.
#[test]
fn a_public_url_sets_paths_and_secures_the_cookie() {
    let public_url = Some("https://example.com/chats".parse().unwrap());
    let harness =
        Harness::of(Store::in_memory().unwrap(), Config { public_url, ..Config::default() });
    let asked = get(&harness, "/console/conversations", "");
    assert_eq!(asked.header("location"), "/chats/console/sign-in?next=/console/conversations");
    let own = "Origin: https://example.com\r\n";
    let entered = post(&harness, "/console/sign-in", own, &format!("token={}", harness.token));
    assert_eq!(entered.header("location"), "/chats/console/conversations");
    let cookie = entered.header("set-cookie");
    assert!(cookie.starts_with("__Secure-convodb_console="), "{cookie}");
    assert!(cookie.contains("; Path=/chats/console;") && cookie.ends_with("; Secure"), "{cookie}");
    let page = get(&harness, "/console/conversations", cookie.split(';').next().unwrap());
    assert!(page.text().contains("href=\"/chats/console/assets/console.css?v="));
}
