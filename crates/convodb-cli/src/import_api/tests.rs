//! Imports from convodb's own server, through one that fails, and from servers with another API.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use convodb::{Channel, Conversation, ConversationId, Cost, ListRequest, Store, Timestamp};

use crate::import_api::client::ApiError;
use crate::import_api::progress::Progress;
use crate::import_api::test_server::{
    Place, ROWS, Reply, Server, at, exported, filled, message, mixed, scripted, user_of,
};

#[test]
fn an_imported_store_equals_its_source() {
    let source = filled();
    let server = Server::of(&source);
    let place = Place::new(server.address, &server.token);
    let summary = place.run(&[]).succeeded();
    assert_eq!(summary["inserted"], ROWS);
    assert_eq!(summary["assistants_created"], 3);
    assert_eq!((&summary["pages"], &summary["requests"]), (&4.into(), &(1 + 4 + ROWS).into()));
    assert_eq!(place.exported(), exported(&source));
    assert!(!Progress::path(&place.path("s.convodb")).exists());
    let assistants = |store: &Store| store.snapshot().assistants(user_of(store), 0, 9).unwrap();
    assert_eq!(assistants(&place.store()), assistants(&source));

    // Again: nothing changes, and no messages are requested.
    let summary = place.run(&[]).succeeded();
    assert_eq!((&summary["already_present"], &summary["inserted"]), (&ROWS.into(), &0.into()));
    assert_eq!(summary["requests"], 5);
    assert_eq!(place.exported(), exported(&source));
}

/// The server fails after some requests, repeatedly. Each run continues where the one before
/// stopped and does not request finished pages again.
#[test]
fn an_interrupted_import_resumes_after_its_last_page() {
    let source = filled();
    let server = Server::of(&source);
    for seed in 0..4 {
        let until = Arc::new(AtomicUsize::new(0));
        let limit = until.clone();
        let address = scripted(Some(server.address), move |number, target| {
            if number >= limit.load(Ordering::Relaxed) {
                return Reply::Respond(418, "", String::new());
            }
            Reply::Forward(target.to_owned())
        });
        let place = Place::new(address, &server.token);
        let (mut runs, mut pages) = (0, 0);
        loop {
            until.fetch_add(
                40 + usize::try_from(mixed(seed, runs) % 200).unwrap(),
                Ordering::Relaxed,
            );
            runs += 1;
            let ran = place.run(&[]);
            assert_eq!(ran.summary["resumed"], pages > 0, "seed {seed}");
            assert!(ran.summary["pages"].as_u64().unwrap() >= pages, "seed {seed}");
            pages = ran.summary["pages"].as_u64().unwrap();
            match ran.ended.is_ok() {
                true => break,
                false => assert!(matches!(ran.failed(), ApiError::Refused { status: 418, .. })),
            }
            assert!(runs < 50, "seed {seed} does not end");
        }
        assert!(runs > 1 && pages == 4, "seed {seed}: {runs} runs, {pages} pages");
        assert_eq!(place.exported(), exported(&source), "seed {seed}");
    }
}

/// The store is removed, restored or erased between two runs: what the first one imported is gone,
/// so the second must not continue after it.
#[test]
fn progress_belongs_to_the_store_and_the_user_that_it_was_made_with() {
    let source = filled();
    let server = Server::of(&source);
    let interrupted = |prepare: &dyn Fn(&Place)| {
        let address = scripted(Some(server.address), |number, target| match number {
            0..200 => Reply::Forward(target.to_owned()),
            200 => Reply::Respond(418, "", String::new()),
            _ => Reply::Forward(target.to_owned()),
        });
        let place = Place::new(address, &server.token);
        prepare(&place);
        assert!(place.run(&[]).summary["pages"].as_u64().unwrap() > 0);
        place
    };
    let remove = |place: &Place| {
        for entry in std::fs::read_dir(place.path("")).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name == "s.convodb" || name.starts_with("s.convodb-log") {
                std::fs::remove_file(path).unwrap();
            }
        }
    };
    let back_up = |place: &Place| {
        let store = place.store();
        store.create_user("acme", at(0)).unwrap();
        store.snapshot().backup(place.path("backup")).unwrap();
        store.close().unwrap();
    };
    let restore = |place: &Place| {
        remove(place);
        convodb::restore(place.path("backup"), place.path("s.convodb")).unwrap();
    };
    let erase = |place: &Place| {
        let store = place.store();
        store.erase_user(user_of(&store), at(0)).unwrap();
        store.close().unwrap();
    };
    let compact = |place: &Place| {
        convodb::compact(place.path("s.convodb")).unwrap();
    };
    let nothing = |_: &Place| {};
    type Step<'a> = &'a dyn Fn(&Place);
    let cases: [(Step<'_>, Step<'_>, Option<&str>); 6] = [
        (&nothing, &remove, Some("removed, replaced or restored")),
        (&back_up, &restore, Some("removed, replaced or restored")),
        (&nothing, &erase, Some("has number 2 now")),
        (&nothing, &compact, None),
        (&nothing, &|place| place.store().close().unwrap(), None),
        (&nothing, &nothing, None),
    ];
    for (number, (before, between, refused)) in cases.into_iter().enumerate() {
        let place = interrupted(before);
        between(&place);
        match refused {
            Some(refused) => {
                let error = place.try_run(&[]).err().unwrap().to_string();
                assert!(
                    error.contains(refused) && error.contains("--restart"),
                    "{number}: {error}"
                );
                assert_eq!(place.run(&["--restart"]).succeeded()["inserted"], ROWS);
            }
            None => assert_eq!(place.run(&[]).succeeded()["resumed"], true, "{number}"),
        }
        assert_eq!(place.exported(), exported(&source), "{number}");
    }
}

/// Random 429, 500, 503, broken connections and truncated responses.
#[test]
fn transient_failures_are_retried() {
    let source = filled();
    let server = Server::of(&source);
    let address =
        scripted(Some(server.address), |number, target| match mixed(7, number as u64) % 12 {
            0 => Reply::Respond(429, "Retry-After: 0\r\n", "{}".to_owned()),
            1 => Reply::Respond(500, "", "{}".to_owned()),
            2 => Reply::Respond(503, "", String::new()),
            3 => Reply::Truncate(0),
            4 => Reply::Truncate(usize::try_from(mixed(8, number as u64) % 700).unwrap()),
            _ => Reply::Forward(target.to_owned()),
        });
    let place = Place::new(address, &server.token);
    let summary = place.run(&["--parallel", "8"]).succeeded();
    assert!(summary["retries"].as_u64().unwrap() > 50, "{summary}");
    assert_eq!(place.exported(), exported(&source));
}

/// A server without `order` lists newest first.
#[test]
fn a_server_without_the_extensions_is_imported_too() {
    let source = filled();
    let server = Server::of(&source);
    let address = scripted(Some(server.address), |_, target| match target.split_once('?') {
        Some((path, _)) if path.ends_with("/assistants/get") => {
            Reply::Respond(404, "", "{}".to_owned())
        }
        Some((path, query)) => {
            let known = query.split('&').filter(|part| {
                ["per_page=", "cursor="].iter().any(|known| part.starts_with(known))
            });
            Reply::Forward(format!("{path}?{}", known.collect::<Vec<_>>().join("&")))
        }
        None => Reply::Forward(target.to_owned()),
    });
    let since = at(60 * 30);
    let place = Place::new(address, &server.token);
    let summary = place.run(&["--since", &since.to_rfc3339()]).succeeded();
    assert_eq!(summary["too_old"], 90);
    // Where a page ends within a second, the rows of that second change places.
    let mut expected = exported(&source).split_off(90);
    let mut found = place.exported();
    let second = |line: &str| line.split("\"created_at\":\"").nth(1).unwrap()[..19].to_owned();
    assert!(found.iter().map(|line| second(line)).eq(expected.iter().map(|line| second(line))));
    let misplaced = found.iter().zip(&expected).filter(|(found, expected)| found != expected);
    assert!(misplaced.count() <= 3 * 3);
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn existing_conversations_are_updated_only_on_request() {
    let source = filled();
    let server = Server::of(&source);
    let place = Place::new(server.address, &server.token);
    place.run(&[]).succeeded();
    let before = exported(&source);

    let (user, snapshot) = (user_of(&source), source.snapshot());
    let mut rows = snapshot.conversations(user, &ListRequest::default());
    for n in 0..10 {
        let id = rows.next().unwrap().unwrap().id;
        source.append_message(user, id, message(9_999_999, n)).unwrap();
        let change = |row: &mut Conversation| {
            row.total_cost = Cost::from_nanos(5);
            Ok(())
        };
        source.update(user, id, Timestamp::MIN, change).unwrap();
    }
    let later = at(1_000_000);
    let bot = rows.next().unwrap().unwrap().assistant;
    let new = Conversation::new(ConversationId::generate(later), bot, Channel::Widget, later);
    source.insert(user, new, Vec::new()).unwrap();

    let summary = place.run(&[]).succeeded();
    assert_eq!((&summary["inserted"], &summary["updated"]), (&1.into(), &0.into()));
    assert_eq!(place.exported()[..before.len()], before);
    let summary = place.run(&["--update"]).succeeded();
    assert_eq!((&summary["updated"], &summary["messages"]), (&10.into(), &10.into()));
    assert_eq!(place.exported(), exported(&source));
    assert_eq!(place.run(&["--update"]).succeeded()["updated"], 0);
}

#[test]
fn invalid_conversations_are_rejected_and_the_rest_imported() {
    let source = filled();
    let server = Server::of(&source);
    let ids: Vec<String> = exported(&source).iter().map(|line| line[7..43].to_owned()).collect();
    let refused = [(5, 404), (6, 403), (7, 410), (8, 422), (9, 500)];
    let statuses: Vec<(String, u16)> =
        refused.iter().map(|(at, status)| (ids[*at].clone(), *status)).collect();
    let broken = ids[150].clone();
    let address = scripted(Some(server.address), move |_, target| {
        match statuses.iter().find(|(id, _)| target.ends_with(id)) {
            Some((_, status)) => Reply::Respond(*status, "", "{}".to_owned()),
            None if target.ends_with(&broken) => Reply::Respond(200, "", "<html>".to_owned()),
            None => Reply::Forward(target.to_owned()),
        }
    });
    let place = Place::new(address, &server.token);
    let ran = place.run(&[]);
    assert!(!ran.ended.unwrap());
    assert_eq!(
        (&ran.summary["inserted"], &ran.summary["rejected"]),
        (&(ROWS - 6).into(), &6.into())
    );
    let rejects = std::fs::read_to_string(place.path("r.jsonl")).unwrap();
    let lines: Vec<&str> = rejects.lines().collect();
    for ((at, status), line) in refused.into_iter().zip(&lines) {
        assert!(line.starts_with(&format!("{{\"line\":{},", at + 1)), "{line}");
        assert!(line.contains(&format!("HTTP {status}")) && line.contains(&ids[at]), "{line}");
    }
    assert!(lines[5].starts_with("{\"line\":151,") && lines[5].contains(&ids[150]), "{rejects}");
    let mut expected = exported(&source);
    expected.remove(150);
    expected.drain(5..10);
    assert_eq!(place.exported(), expected);
}

/// Two histories beyond the maximum of a response, one on a server without pages of them.
#[test]
fn a_history_that_is_too_long_for_a_response_is_read_by_pages() {
    let source = filled();
    let user = user_of(&source);
    let ids: Vec<String> = exported(&source).iter().map(|line| line[7..43].to_owned()).collect();
    let (long, unpaged) = (ids[3].clone(), ids[4].clone());
    for n in 0..240 {
        source.append_message(user, long.parse().unwrap(), message(7, n)).unwrap();
    }
    let server = Server::of(&source);
    let pages = Arc::new(AtomicUsize::new(0));
    let counted = pages.clone();
    let address = scripted(Some(server.address), move |_, target| {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if path.ends_with(&unpaged) || path.ends_with(&long) && query.is_empty() {
            return Reply::Respond(200, "", " ".repeat((64 << 20) + 1));
        }
        counted.fetch_add(usize::from(path.ends_with(&long)), Ordering::Relaxed);
        Reply::Forward(target.to_owned())
    });
    let place = Place::new(address, &server.token);
    let ran = place.run(&[]);
    assert!(!ran.ended.unwrap());
    assert_eq!(ran.summary["rejected"], 1);
    assert_eq!(pages.load(Ordering::Relaxed), 3, "pages of 100 messages");
    let rejects = std::fs::read_to_string(place.path("r.jsonl")).unwrap();
    assert!(rejects.contains("more than 67108864 bytes, and the server has no pages"), "{rejects}");
    let mut expected = exported(&source);
    expected.remove(4);
    assert_eq!(place.exported(), expected);
}

/// A server that refuses all conversations alike is no success with an empty store.
#[test]
fn an_import_that_rejects_everything_fails() {
    let source = filled();
    let server = Server::of(&source);
    for status in [403, 404, 410, 422, 500] {
        let address = scripted(Some(server.address), move |_, target| {
            match target.starts_with("/api/conversations/") {
                true => Reply::Respond(status, "", "{}".to_owned()),
                false => Reply::Forward(target.to_owned()),
            }
        });
        let place = Place::new(address, &server.token);
        let ran = place.run(&[]);
        assert_eq!(
            (&ran.summary["rejected"], &ran.summary["resumed"]),
            (&ROWS.into(), &false.into())
        );
        let rejects = std::fs::read_to_string(place.path("r.jsonl")).unwrap();
        assert_eq!(rejects.lines().count() as u64, ROWS);
        std::fs::remove_file(place.path("r.jsonl")).unwrap();
        let error = ran.ended.unwrap_err().to_string();
        assert!(error.starts_with("all 330 conversations were rejected"), "{error}");
        assert!(error.contains(&format!("HTTP {status}")), "{error}");
        // The next import starts again.
        assert!(!Progress::path(&place.path("s.convodb")).exists());
        assert_eq!(place.run(&[]).summary["resumed"], false);
    }
}

/// A change in the same second as the one before, and one behind a message of the future.
#[test]
fn an_update_finds_each_change_of_an_item() {
    let source = filled();
    let (user, snapshot) = (user_of(&source), source.snapshot());
    let first = snapshot.conversations(user, &ListRequest::default()).next().unwrap().unwrap();
    source.append_message(user, first.id, message(60_000_000, 0)).unwrap();
    let server = Server::of(&source);
    let place = Place::new(server.address, &server.token);
    place.run(&[]).succeeded();
    let changes: [fn(&mut Conversation); 3] = [
        |row| row.ai_enabled = !row.ai_enabled,
        |row| row.total_cost = Cost::from_nanos(77),
        |row| {
            row.variables = Some(convodb::Variables::new("{\"changed\":true}".to_owned()).unwrap());
        },
    ];
    for change in changes {
        let before = source.snapshot().conversation(user, first.id).unwrap().unwrap();
        source
            .update(user, first.id, Timestamp::MIN, move |row| {
                change(row);
                Ok(())
            })
            .unwrap();
        let after = source.snapshot().conversation(user, first.id).unwrap().unwrap();
        assert_eq!(before.updated_at, after.updated_at, "its time does not show the change");
        assert_eq!(place.run(&["--update"]).succeeded()["updated"], 1);
        assert_eq!(place.exported(), exported(&source));
        assert_eq!(place.run(&["--update"]).succeeded()["updated"], 0);
    }
}

/// Responses are requested and read in gzip; one that is not gzip after all is retried.
#[test]
fn compressed_responses_are_read() {
    use std::io::{Read, Write};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (heads, seen) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap();
            let body = match head.contains("/assistants/") {
                true => r#"{"data":[],"next_page_url":null}"#,
                false => r#"{"data":[],"next_cursor":null}"#,
            };
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(body.as_bytes()).unwrap();
            let body = if number == 1 { b"not gzip".to_vec() } else { gzip.finish().unwrap() };
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            )
            .unwrap();
            stream.write_all(&body).unwrap();
            heads.send(head.to_ascii_lowercase()).unwrap();
        }
    });
    let summary = Place::new(address, "t").run(&[]).succeeded();
    assert_eq!((&summary["requests"], &summary["retries"]), (&3.into(), &1.into()));
    let heads: Vec<String> = seen.try_iter().collect();
    assert!(heads.iter().all(|head| head.contains("accept-encoding: gzip")), "{heads:?}");
}

fn json(body: &str) -> Reply {
    Reply::Respond(200, "Content-Type: application/json\r\n", body.to_owned())
}

/// The error of an import from a server whose list is scripted; it has no assistants and no
/// messages.
#[track_caller]
fn fails(script: impl Fn(usize) -> Reply + Send + Sync + 'static) -> ApiError {
    let pages = AtomicUsize::new(0);
    let address = scripted(None, move |_, target| match target {
        target if target.starts_with("/api/user/assistants") => {
            json(r#"{"data":[],"next_page_url":null}"#)
        }
        target if target.starts_with("/api/conversations/") => json(r#"{"history":[]}"#),
        _ => script(pages.fetch_add(1, Ordering::Relaxed)),
    });
    Place::new(address, "secret-token").run(&[]).failed()
}

#[test]
fn each_failure_of_a_server_is_a_clear_error() {
    let path = || "/api/user/conversations".to_owned();
    let malformed = |error| match error {
        ApiError::Malformed { path: found, what } if found == path() => what,
        other => panic!("{other:?}"),
    };
    assert!(malformed(fails(|_| json("<html>"))).contains("not JSON"));
    assert!(malformed(fails(|_| json("{}"))).contains("`data`"));
    assert!(malformed(fails(|_| json(r#"{"data":[],"next_cursor":7}"#))).contains("next_cursor"));
    let refused = |status| Reply::Respond(status, "", "{}".to_owned());
    assert_eq!(fails(move |_| refused(401)), ApiError::Token(401));
    assert_eq!(fails(move |_| refused(403)), ApiError::Forbidden { path: path() });
    assert_eq!(fails(move |_| refused(404)), ApiError::NotFound { path: path(), status: 404 });
    assert_eq!(fails(move |_| refused(422)), ApiError::Refused { path: path(), status: 422 });
    let elsewhere =
        fails(|_| Reply::Respond(308, "Location: https://example.com/\r\n", String::new()));
    assert_eq!(elsewhere, ApiError::Redirected { path: path(), status: 308 });
    let later = fails(|_| Reply::Respond(429, "Retry-After: 3600\r\n", String::new()));
    assert_eq!(later, ApiError::Busy { wait: Duration::from_secs(3600) });
    let failed = ApiError::Failed { path: path(), attempts: 12, status: 500 };
    assert_eq!(fails(move |_| refused(500)), failed);
    // Refused at first: at once. Later: retried, because the server may be restarting.
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ran = Place::new(unused, "secret-token").run(&[]);
    assert_eq!((&ran.summary["requests"], &ran.summary["retries"]), (&1.into(), &0.into()));
    let error = ran.ended.unwrap_err().to_string();
    assert!(
        error.starts_with("cannot reach the server: ") && !error.contains("secret-token"),
        "{error}"
    );
    let closes = fails(|_| Reply::Close);
    assert!(matches!(&closes, ApiError::RetriesExhausted { attempts: 12, .. }), "{closes:?}");
    assert!(closes.to_string().starts_with("cannot reach the server "), "{closes}");
}

/// Repeated cursors, new cursors over the same conversations, and empty pages.
#[test]
fn an_endless_list_is_detected() {
    let item = r#"{"id":"7c9e6679-7425-40de-944b-e07fc1f90ae7","assistant_id":"a1b2c3d4-5678-40ab-8def-1234567890ab","assistant_name":"Bot","type":"widget","message_count":0,"created_at":"2025-01-25 10:15:00"}"#;
    let page =
        |item: &str, next: String| json(&format!(r#"{{"data":[{item}],"next_cursor":"{next}"}}"#));
    assert_eq!(
        fails(move |n| page(item, format!("c{}", n % 2))),
        ApiError::EndlessList("a cursor was repeated")
    );
    let stale = ApiError::EndlessList("its pages have no new conversation and a next page");
    assert_eq!(fails(move |n| page(item, format!("c{n}"))), stale);
    assert_eq!(fails(move |n| page("", format!("c{n}"))), stale);
    // One or two empty pages are allowed.
    let address = scripted(None, move |n, target| match (target.contains("/assistants/"), n) {
        (true, _) => json(r#"{"data":[]}"#),
        (false, 1 | 2) => page("", format!("c{n}")),
        (false, _) => json(r#"{"data":[],"next_cursor":null}"#),
    });
    Place::new(address, "t").run(&[]).succeeded();
}
