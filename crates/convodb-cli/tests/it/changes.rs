//! `changes`: the feed of a store and of a server.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::command::Place;
use crate::import::items;
use crate::maintenance::filled;
use crate::serve::Server;

const CHANGES: [&str; 5] = ["changes", "--db", "s.convodb", "--user", "acme"];

/// The changes that were printed, and the last cursor.
fn parse(printed: &str) -> (Vec<serde_json::Value>, String) {
    let lines = printed.lines().map(|line| serde_json::from_str(line).unwrap());
    let (cursors, changes): (Vec<serde_json::Value>, Vec<_>) =
        lines.partition(|line: &serde_json::Value| line.get("cursor").is_some());
    (changes, cursors.last().unwrap()["cursor"].as_str().unwrap().to_owned())
}

#[test]
fn the_feed_continues_after_its_cursor() {
    let place = filled();
    let since = |cursor: &str| place.run(CHANGES.iter().chain(&["--since", cursor])).succeeded();
    let (changes, cursor) = parse(&since("beginning"));
    assert_eq!(changes.len(), 4);
    assert_eq!(changes[0]["change"], "created");
    let listed: Vec<serde_json::Value> =
        items().iter().map(|item| serde_json::from_str(item).unwrap()).collect();
    assert!(changes.iter().all(|change| listed.contains(&change["conversation"])));
    assert_eq!(parse(&since(&cursor)), (Vec::new(), cursor.clone()));
    assert_eq!(parse(&since("now")), (Vec::new(), cursor.clone()));

    let id = "7c9e6679-7425-40de-944b-e07fc1f90ae1";
    let delete = ["delete", "--db", "s.convodb", "--user", "acme", "--yes", id];
    place.run(delete).succeeded();
    let (changes, _) = parse(&since(&cursor));
    let deleted = serde_json::json!({ "change": "deleted", "id": id, "conversation": null });
    assert_eq!(changes, [deleted]);
    let wrong = place.run(CHANGES.iter().chain(&["--since", "yesterday"])).failed(2);
    assert!(wrong.contains("--since must be beginning, now, or a cursor"), "{wrong}");
}

#[test]
fn a_servers_feed_is_followed() {
    let place = filled();
    let token = place.run(["token", "create", "--db", "s.convodb", "--user", "acme"]).succeeded();
    let (of_file, _) = parse(&place.run(CHANGES).succeeded());
    let server = Server::start(&place, &["--db", "s.convodb", "--admin-socket", "admin"]);
    let url = format!("http://{}", server.address);
    let changes = ["changes", "--from-api", &url, "--token", token.trim()];
    let (of_server, cursor) = parse(&place.run(changes).succeeded());
    assert_eq!(of_server, of_file);
    let wrong = place.run(changes.iter().chain(&["--since", "yesterday"])).failed(2);
    assert!(wrong.contains("--since must be beginning, now, or a cursor"), "{wrong}");

    let follow = [&changes[..], &["--since", &cursor, "--follow"]].concat();
    let mut child = place.command(follow).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let erase = ["erase", "--admin-socket", "admin", "--user", "acme", "--yes"];
    place.run(erase.iter().chain(&["--external-identifier", "crm-1"])).succeeded();
    let line = lines.next().unwrap().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.starts_with(r#"{"change":"deleted","id":"7c9e6679"#), "{line}");
    server.stop("-TERM");
}

#[test]
fn following_needs_a_server() {
    let place = Place::with_user();
    let follow = place.run(CHANGES.iter().chain(&["--follow"])).failed(2);
    assert!(follow.contains("--follow needs --from-api URL"), "{follow}");
    assert!(place.run(["changes"]).failed(2).contains("--db"));
}
