//! `import --from-api` between two processes: sources of the token, and messages.

use crate::command::Place;
use crate::import::{file, items};
use crate::serve::Server;

/// A place with a served store, and a token of its user.
fn served() -> (Place, Server, String) {
    let place = Place::with_user();
    let import = ["import", "--db", "s.convodb", "--user", "acme", "-"];
    place.run_with(import, &file()).succeeded();
    let token = place.run(["token", "create", "--db", "s.convodb", "--user", "acme"]).succeeded();
    let server = Server::start(&place, &["--db", "s.convodb"]);
    (place, server, token)
}

#[test]
fn the_token_comes_from_the_environment_or_a_file() {
    let (_source, server, token) = served();
    let url = format!("http://{}/", server.address);
    let place = Place::empty();
    let import = ["import", "--db", "s.convodb", "--user", "acme", "--create-user"];
    let import: Vec<&str> = import.into_iter().chain(["--from-api", &url]).collect();

    let error = place.run(&import).failed(1);
    assert!(error.contains("set CONVODB_TOKEN or use --token-file"), "{error}");
    let wrong = place.run(import.iter().chain(&["--token", "cvdb_wrong"]));
    assert_eq!(wrong.code, Some(1), "{wrong:?}");
    assert!(wrong.err.contains("the server refused the token (HTTP 401)"), "{wrong:?}");
    assert!(!wrong.err.contains("cvdb_wrong"), "{wrong:?}");

    let mut command = place.command(&import);
    let output = command.env("CONVODB_TOKEN", token.trim()).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{err}");
    assert!(err.starts_with("4 conversations inserted, 8 messages, 1 assistant created ("));
    let list = ["list", "--db", "s.convodb", "--user", "acme", "--order", "asc", "--json"];
    assert_eq!(place.run(list).succeeded(), items().map(|item| item + "\n").concat());

    // Again, with the token in a file, or piped.
    place.write("token", &token);
    let from_file = ["--token-file", "token", "--json"];
    let summary = place.run(import.iter().chain(&from_file)).succeeded();
    assert!(summary.starts_with(r#"{"pages":1,"inserted":0,"updated":0,"already_present":4,"#));
    let piped = import.iter().chain(&["--token-file", "-"]);
    assert!(place.run_with(piped, token.as_bytes()).err.starts_with("4 already existed ("));
    server.stop("-TERM");
}

/// Without a terminal, each noticed attempt is a line, and so is a server that is not there, at once.
#[test]
fn attempts_are_reported() {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (status, body) = ("200 OK", r#"{"data":[],"next_page_url":null,"next_cursor":null}"#);
        for (status, body) in [("503 X\r\nRetry-After: 1", ""), (status, body), (status, body)] {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            )
            .unwrap();
        }
    });
    let place = Place::with_user();
    let import =
        ["import", "--db", "s.convodb", "--user", "acme", "--token", "t", "--from-api", &url];
    let ran = place.run(import);
    let expected = "the server answers HTTP 503: attempt 1 of 10 for /api/user/assistants/get, the next \
                    one in 1 s\nnothing to import (3 requests, 1 retry, ";
    assert!(ran.err.starts_with(expected), "{ran:?}");
    ran.succeeded();
    server.join().unwrap();

    // The listener is closed.
    let error = place.run(import).failed(1);
    assert!(error.contains("error: cannot reach the server: "), "{error}");
    assert!(error.starts_with("nothing was imported (1 request, 0 retries, "), "{error}");
}

#[test]
fn a_file_and_a_server_exclude_each_other() {
    let place = Place::with_user();
    let import = ["import", "--db", "s.convodb", "--user", "acme"];
    let error = place.run(import).failed(2);
    assert!(error.contains("<PATH>"), "{error}");
    let both = import.into_iter().chain(["--from-api", "http://127.0.0.1:1", "c.jsonl"]);
    assert!(place.run(both).failed(2).contains("cannot be used with"));
    let no_url = import.into_iter().chain(["--from-api", "ftp://example.com"]);
    assert!(place.run(no_url).failed(2).contains("http:// or https://"));
}
