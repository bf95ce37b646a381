//! The transcript of `docs/operations/leaked-token.md`: its commands, against a server whose clients
//! work meanwhile, print what the page shows.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::command::Place;
use crate::serve::Server;
use crate::tokens::{create, listed, status};

const PAGE: &str = include_str!("../../../../docs/operations/leaked-token.md");
/// The admin socket, the leaked token's id and its first characters on the page.
const SOCKET: &str = "/run/convodb/admin.sock";
const ID: &str = "7d1f0c9a5b2e4836";
const PREFIX: &str = "cvdb_9hGq";

/// The commands of the page, each with what it prints.
fn commands() -> Vec<(&'static str, String)> {
    let mut commands: Vec<(&str, String)> = Vec::new();
    let mut is_transcript = false;
    for line in PAGE.lines() {
        match (line.strip_prefix("$ "), line.strip_prefix("```")) {
            (_, Some(language)) => is_transcript = language == "console",
            (Some(command), _) if is_transcript => commands.push((command, String::new())),
            _ if is_transcript => {
                let (_, output) = commands.last_mut().unwrap();
                output.push_str(line);
                output.push('\n');
            }
            _ => {}
        }
    }
    commands
}

/// The lines in order, with the same text for all ids, tokens, dates and times, and without the last
/// use, which is recorded some seconds later.
fn normalized(output: &str) -> Vec<String> {
    let width = output.lines().find_map(|line| line.find("LAST USED")).unwrap_or(usize::MAX);
    let digits = |word: &str, separator: char, places: &[usize]| {
        let parts: Vec<&str> = word.split(separator).collect();
        parts.iter().map(|part| part.len()).eq(places.iter().copied())
            && parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let word = |word: &str| {
        let is_id = word.len() == ID.len() && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_time = digits(word, ':', &[2, 2, 2]) || digits(word, '-', &[4, 2, 2]);
        if is_id || is_time {
            return "0".repeat(word.len());
        }
        let secret = word.strip_prefix("cvdb_").map(|rest| "x".repeat(rest.len()));
        secret.map_or_else(|| word.to_owned(), |rest| format!("cvdb_{rest}"))
    };
    let line = |line: &str| {
        let words = line.trim_end().split(' ').map(|part| {
            let (bare, end) = part.strip_suffix(';').map_or((part, ""), |bare| (bare, ";"));
            word(bare) + end
        });
        words.collect::<Vec<String>>().join(" ")
    };
    let lines = output.lines().map(|text| line(text.get(..width).unwrap_or(text)));
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    lines
}

#[cfg(unix)]
#[test]
fn a_leaked_token_is_found_narrowed_replaced_and_revoked_while_clients_work() {
    let place = Place::with_user();
    let server = Server::start(&place, &["--db", "s.convodb", "--admin-socket", "admin"]);
    let socket = ["--admin-socket", "admin"];
    let acme = [&socket[..], &["--user", "acme"]].concat();
    let leaked = create(&place, &[&acme[..], &["--name", "crm"]].concat());
    let limited = ["--name", "reports", "--scopes", "read,stats"];
    let kept = create(&place, &[&acme[..], &limited].concat());
    assert_eq!((status(&server, &leaked), status(&server, &kept)), ("200".into(), "200".into()));
    let of_leaked = listed(&place, &socket).into_iter().find(|token| token["name"] == "crm");
    let id = of_leaked.unwrap()["id"].as_str().unwrap().to_owned();

    let stop = AtomicBool::new(false);
    let mut new = None;
    thread::scope(|scope| {
        let client = scope.spawn(|| {
            let mut requests = 0;
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(status(&server, &kept), "200");
                requests += 1;
            }
            requests
        });
        let commands = commands();
        assert_eq!(commands.len(), 5);
        for (command, expected) in commands {
            let words = command.split(' ').map(|word| match word {
                SOCKET => "admin",
                ID => id.as_str(),
                PREFIX => &leaked[..PREFIX.len()],
                word => word,
            });
            let words: Vec<&str> = words.collect();
            assert_eq!(words[0], "convodb");
            let ran = place.run(&words[1..]);
            assert_eq!(ran.code, Some(0), "{command}: {ran:?}");
            assert_eq!(
                normalized(&(ran.out.clone() + &ran.err)),
                normalized(&expected),
                "{command}"
            );
            match words[2] {
                "create" => new = Some(ran.out.trim().to_owned()),
                "revoke" => assert_eq!(status(&server, &leaked), "401"),
                _ if new.is_none() => assert_eq!(status(&server, &leaked), "200"),
                _ => {}
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert!(client.join().unwrap() > 0);
    });
    assert_eq!(status(&server, &new.unwrap()), "200");
    server.stop("-TERM");
}
