//! `token`: create, list, narrow and revoke, on the file and over the admin socket of a running server.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::command::Place;
use crate::serve::Server;
use crate::users::one_value;

/// The lines of `token list --json` with these flags.
pub(crate) fn listed(place: &Place, flags: &[&str]) -> Vec<Value> {
    let args = ["token", "list", "--json"].iter().chain(flags);
    let lines = place.run(args).succeeded();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub(crate) fn create(place: &Place, flags: &[&str]) -> String {
    one_value(&place.run(["token", "create"].iter().chain(flags)).succeeded()).to_owned()
}

#[test]
fn a_token_is_printed_once_and_can_be_revoked() {
    let place = Place::with_user();
    let create = ["token", "create", "--db", "s.convodb", "--user", "acme"];
    let ran = place.run(create);
    let token = one_value(&ran.out).to_owned();
    assert!(token.starts_with("cvdb_"), "{token}");
    assert!(ran.err.contains("save it now") && !ran.err.contains(&token), "{ran:?}");
    let another = place.run(create).succeeded();
    assert_ne!(token, another.trim());

    place.run(["token", "revoke", "--db", "s.convodb", &token]).succeeded();
    let error = place.run(["token", "revoke", "--db", "s.convodb", &token]).failed(1);
    assert!(error.contains("token not found") && !error.contains(&token), "{error}");

    let from_stdin = ["token", "revoke", "--db", "s.convodb", "-"];
    place.run_with(from_stdin, another.as_bytes()).succeeded();
    place.run_with(from_stdin, another.as_bytes()).failed(1);
}

#[test]
fn tokens_are_listed_with_their_options_and_revoked_by_each_way() {
    let place = Place::with_user();
    let db = ["--db", "s.convodb"];
    place.run(["user", "create", "--db", "s.convodb", "other"]).succeeded();
    let bot = place.run(["assistant", "create", "--db", "s.convodb", "--user", "acme", "Bot"]);
    let bot = one_value(&bot.succeeded()).to_owned();
    let acme = [&db[..], &["--user", "acme"]].concat();
    let options = ["--name", "reports", "--scopes", "stats,read", "--assistant", "1"];
    let limited = create(&place, &[&acme[..], &options, &["--expires", "2109-01-01"]].concat());
    let plain = create(&place, &acme);
    create(&place, &acme);
    create(&place, &[&db[..], &["--user", "other"]].concat());
    create(&place, &[&db[..], &["--user", "other"]].concat());

    let all = listed(&place, &db);
    let users: Vec<_> = all.iter().map(|token| token["user"].as_str().unwrap()).collect();
    assert_eq!(users, ["acme", "acme", "acme", "other", "other"]);
    assert_eq!(listed(&place, &acme).len(), 3);
    let reports = all.iter().find(|token| token["name"] == "reports").unwrap();
    assert_eq!(reports["prefix"], limited[..9]);
    assert_eq!(reports["scopes"], "read,stats");
    assert_eq!(reports["assistant_id"], bot.as_str());
    assert_eq!(reports["expires_at"], "2109-01-01 00:00:00");
    assert_eq!(reports["last_used_at"], Value::Null);
    let others = all.iter().filter(|token| token["name"].is_null());
    for other in others {
        assert_eq!(other["scopes"], "read,write,import,export,stats");
        assert_eq!((&other["assistant_id"], &other["expires_at"]), (&Value::Null, &Value::Null));
    }
    let table = place.run(["token", "list", "--db", "s.convodb"]).succeeded();
    assert!(table.starts_with("ID                USER   NAME     PREFIX     SCOPES"), "{table}");
    for token in [&limited, &plain] {
        assert!(!table.contains(&token[9..]), "only the prefix is shown");
    }

    let revoke = |flags: &[&str]| {
        let ran = place.run(["token", "revoke", "--db", "s.convodb"].iter().chain(flags));
        assert_eq!(ran.code, Some(0), "{ran:?}");
        (ran.err, listed(&place, &db).len())
    };
    assert_eq!(revoke(&["--id", reports["id"].as_str().unwrap()]), ("revoked 1 token\n".into(), 4));
    assert_eq!(revoke(&["--prefix", &plain[..12]]), ("revoked 1 token\n".into(), 3));
    assert_eq!(revoke(&["--user", "other"]), ("revoked 2 tokens\n".into(), 1));
    assert_eq!(revoke(&["--all", "--yes"]), ("revoked 1 token\n".into(), 0));
    assert_eq!(revoke(&["--user", "other"]), ("revoked 0 tokens\n".into(), 0));

    let wide = create(&place, &acme);
    let all = listed(&place, &db);
    let wide = all.iter().find(|token| token["prefix"] == wide[..9]).unwrap();
    let narrow = |flags: &[&str]| {
        let id = ["token", "narrow", "--db", "s.convodb", "--id", wide["id"].as_str().unwrap()];
        place.run(id.iter().chain(flags))
    };
    let narrowed = narrow(&["--scopes", "stats,read", "--assistant", "1", "--json"]).succeeded();
    let narrowed: Value = serde_json::from_str(&narrowed).unwrap();
    assert_eq!(
        (&narrowed["scopes"], &narrowed["assistant_id"]),
        (&"read,stats".into(), &bot.into())
    );
    assert_eq!(listed(&place, &db), [narrowed]);
    let refused = narrow(&["--scopes", "read,write"]).failed(1);
    assert!(refused.contains("scopes must be some of those that the token has"), "{refused}");
    assert!(narrow(&[]).failed(2).contains("required"));
    assert_eq!(revoke(&["--all", "--yes"]), ("revoked 1 token\n".into(), 0));

    let wrong = |flags: &[&str], code: i32, message: &str| {
        let ran = place.run(["token", "revoke", "--db", "s.convodb"].iter().chain(flags));
        let error = ran.failed(code);
        assert!(error.contains(message), "{error}");
    };
    wrong(&["--id", "0123456789abcdef"], 1, "token not found");
    wrong(&["--id", "x"], 2, "16 hexadecimal digits");
    wrong(&["--prefix", "secret"], 2, "must begin with cvdb_");
    wrong(&["--all"], 2, "pass --yes");
    wrong(&[], 2, "required");
    wrong(&["--id", "0123456789abcdef", "--all"], 2, "cannot be used with");
    wrong(&["--user", "bob"], 1, "user not found");
    let scopes = ["token", "create", "--db", "s.convodb", "--user", "acme", "--scopes", "admin"];
    assert!(
        place
            .run(scopes)
            .failed(2)
            .contains("read, write, import, export, stats, tokens and health")
    );
    let past =
        ["token", "create", "--db", "s.convodb", "--user", "acme", "--expires", "2020-01-01"];
    assert!(place.run(past).failed(1).contains("expires_at must be later"));
}

/// The status of a request with this token.
pub(crate) fn status(server: &Server, token: &str) -> String {
    let mut stream = TcpStream::connect(&server.address).unwrap();
    let request = format!(
        "GET /api/user/me HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
         Authorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response.split(' ').nth(1).unwrap().to_owned()
}

/// A leaked token is found, revoked and replaced while the server serves.
#[cfg(unix)]
#[test]
fn accounts_are_managed_while_the_server_runs() {
    let place = Place::with_user();
    let args = ["--db", "s.convodb", "--admin-socket", "admin"];
    let server = Server::start(&place, &args);
    let socket = ["--admin-socket", "admin"];

    // The file is in use: each command names the option that reaches the server.
    for (command, way) in [
        (&["token", "create", "--user", "acme"][..], "token create --admin-socket SOCKET --user"),
        (&["token", "list"], "`convodb token list --admin-socket SOCKET`"),
        (&["token", "revoke", "--all", "--yes"], "token revoke --admin-socket SOCKET"),
        (&["user", "list"], "`convodb user list --admin-socket SOCKET`"),
        (&["user", "create", "new"], "`convodb user create --admin-socket SOCKET NAME`"),
        (&["user", "rename", "acme", "new"], "user rename --admin-socket SOCKET"),
        (&["user", "quota", "acme"], "user quota --admin-socket SOCKET"),
    ] {
        let error = place.run([command, &["--db", "s.convodb"]].concat()).failed(1);
        assert!(error.contains("is in use") && error.contains(way), "{error}");
    }

    let acme = [&socket[..], &["--user", "acme"]].concat();
    let leaked = create(&place, &acme);
    let kept = create(&place, &acme);
    assert_eq!((status(&server, &leaked), status(&server, &kept)), ("200".into(), "200".into()));
    // Found by the beginning that a log shows.
    let found = listed(&place, &socket);
    let found = found.iter().find(|token| token["prefix"] == leaked[..9]).unwrap();
    assert!(found["created_at"].as_str().unwrap().starts_with("20"), "{found}");
    let revoke = ["token", "revoke", "--id", found["id"].as_str().unwrap()];
    place.run(revoke.iter().chain(&socket)).succeeded();
    assert_eq!((status(&server, &leaked), status(&server, &kept)), ("401".into(), "200".into()));
    let again = place.run(revoke.iter().chain(&socket)).failed(1);
    assert!(again.contains("token not found"), "{again}");

    let run = |args: &[&str]| place.run(args.iter().chain(&socket));
    assert_eq!(run(&["user", "create", "other"]).succeeded(), "2\n");
    assert!(run(&["user", "create", "other"]).failed(1).contains("already exists"));
    run(&["user", "rename", "2", "renamed"]).succeeded();
    let users = run(&["user", "list", "--json"]).succeeded();
    assert!(users.contains(r#"{"id":2,"name":"renamed","created_at":"20"#), "{users}");
    let quota = run(&["user", "quota", "--max-bytes", "1KiB", "--json", "renamed"]).succeeded();
    assert!(quota.contains(r#""max_conversations":null,"max_bytes":1024"#), "{quota}");
    let quota = run(&["user", "quota", "--max-bytes", "default", "renamed"]).succeeded();
    assert_eq!(quota.matches("unlimited").count(), 2, "{quota}");
    assert!(run(&["user", "quota", "--max-bytes", "x", "renamed"]).failed(2).contains("KiB"));
    assert!(run(&["token", "create", "--user", "bob"]).failed(1).contains("user not found"));
    run(&["token", "revoke", "--all", "--yes"]).succeeded();
    assert_eq!(status(&server, &kept), "401");
    assert!(listed(&place, &socket).is_empty());
    server.stop("-TERM");
}

#[test]
fn a_restored_store_can_start_without_tokens() {
    let place = Place::with_user();
    create(&place, &["--db", "s.convodb", "--user", "acme"]);
    place.run(["backup", "--db", "s.convodb", "--to", "b"]).succeeded();
    place.run(["restore", "b", "--to", "kept.convodb"]).succeeded();
    assert_eq!(listed(&place, &["--db", "kept.convodb"]).len(), 1);
    let ran = place.run(["restore", "b", "--to", "r.convodb", "--revoke-tokens"]);
    assert!(ran.err.contains("without its access tokens"), "{ran:?}");
    ran.succeeded();
    assert!(listed(&place, &["--db", "r.convodb"]).is_empty());
    place.run(["verify", "--db", "r.convodb"]).succeeded();
}
