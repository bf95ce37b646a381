//! Maintenance: `backup`, `restore`, `usage`, `compact`, `export`, `erase`, `prune` and settings.

use std::fs;
use std::process::{Command, Stdio};

use crate::command::Place;
use crate::import::{file, items};
use crate::serve::Server;

/// A store with four conversations of the user acme.
pub(crate) fn filled() -> Place {
    let place = Place::with_user();
    place.write("c.jsonl", file());
    place.run(["import", "--db", "s.convodb", "--user", "acme", "c.jsonl"]).succeeded();
    place
}

fn listed(place: &Place, db: &str) -> String {
    place.run(["list", "--db", db, "--user", "acme", "--all", "--json"]).succeeded()
}

fn names(place: &Place) -> Vec<String> {
    let entries = fs::read_dir(place.path("")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Whether any file of the place contains the bytes.
fn somewhere(place: &Place, bytes: &str) -> bool {
    let has = |name: &String| {
        let read = fs::read(place.path(name)).unwrap();
        read.windows(bytes.len()).any(|window| window == bytes.as_bytes())
    };
    names(place).iter().any(has)
}

#[test]
fn only_an_intact_backup_is_restored() {
    let place = filled();
    let backup = ["backup", "--db", "s.convodb", "--to", "b"];
    let printed = place.run(backup).succeeded();
    let checksum = place.read("b.b3");
    assert_eq!(checksum, printed);
    assert!(checksum.ends_with("  b\n") && checksum.len() == 64 + 4, "{checksum}");
    assert!(place.run(backup).failed(1).contains("b already exists"));

    let restore = ["restore", "b", "--to", "r.convodb"];
    let ran = place.run(restore);
    assert!(ran.err.contains("restored to r.convodb"), "{ran:?}");
    assert!(ran.succeeded().starts_with("conversations              4\n"));
    assert_eq!(listed(&place, "r.convodb"), listed(&place, "s.convodb"));
    assert!(place.run(restore).failed(1).contains("move it away first, with its write-ahead log"));

    fs::remove_file(place.path("r.convodb")).unwrap();
    place.write("r.convodb-log.00000000000000000007", "left");
    assert!(place.run(restore).failed(1).contains("r.convodb-log.00000000000000000007"));
    fs::remove_file(place.path("r.convodb-log.00000000000000000007")).unwrap();

    let mut bytes = fs::read(place.path("b")).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    place.write("b", &bytes);
    assert!(place.run(restore).failed(1).contains("checksum"));
    fs::remove_file(place.path("b.b3")).unwrap();
    assert!(place.run(restore).failed(1).contains("--without-checksum"));
    assert!(place.run(["restore", "none", "--to", "r"]).failed(1).contains("no backup at none"));
    assert!(!place.path("r.convodb").exists());

    let usage = place.run(["backup", "--db", "s.convodb"]).failed(2);
    assert!(usage.contains("--to FILE"), "{usage}");
}

#[test]
fn a_server_handles_backup_usage_and_erase() {
    let place = filled();
    fs::create_dir(place.path("backups")).unwrap();
    let server = Server::start(
        &place,
        &["--db", "s.convodb", "--admin-socket", "admin", "--backup-dir", "backups"],
    );
    let in_use = place.run(["backup", "--db", "s.convodb", "--to", "b"]).failed(1);
    assert!(in_use.contains("`convodb backup --admin-socket SOCKET`"), "{in_use}");

    let ask = ["backup", "--admin-socket", "admin", "--json"];
    let made = place.run(ask.into_iter().chain(["--name", "one"])).succeeded();
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    assert_eq!(made["file"], "backups/one");
    assert!(made["entries"].as_u64().unwrap() > 30 && made["bytes"].as_u64().unwrap() > 4096);
    let again = place.run(ask.into_iter().chain(["--name", "one"])).failed(1);
    assert!(again.contains("the server refused the request: "), "{again}");
    let outside = place.run(ask.into_iter().chain(["--name", "../x"])).failed(1);
    assert!(outside.contains("the server refused the request: name "), "{outside}");
    let dated = place.run(ask).succeeded();
    assert!(dated.starts_with(r#"{"file":"backups/convodb-20"#), "{dated}");
    let usage = place.run(["usage", "--admin-socket", "admin", "--json"]).succeeded();
    assert!(usage.contains(r#"{"table":"conversations.v1","entries":4}"#), "{usage}");
    assert!(
        usage.contains(r#""views":"#) && usage.contains(r#""oldest_view_seconds":"#),
        "{usage}"
    );
    let erase = ["erase", "--admin-socket", "admin", "--user", "acme", "--yes", "--json"];
    let gone = ["--external-identifier", "crm-1"];
    let erased = place.run(erase.into_iter().chain(gone)).succeeded();
    let expected = "{\"conversations\":1,\"assistants\":0,\"tokens\":0,\"compacted\":false}\n";
    assert_eq!(erased, expected);
    let unknown = ["erase", "--admin-socket", "admin", "--user", "bob", "--everything", "--yes"];
    assert!(place.run(unknown).failed(1).contains("user not found"));
    server.stop("-TERM");
    assert!(!place.path("admin").exists());
    assert_eq!(listed(&place, "s.convodb").lines().count(), 3);
    let gone = place.run(ask).failed(1);
    assert!(gone.contains("the server must run with --admin-socket"), "{gone}");

    place.run(["restore", "backups/one", "--to", "r.convodb"]).succeeded();
    assert_eq!(listed(&place, "r.convodb").lines().count(), 4);
}

#[test]
fn usage_lists_each_table() {
    let place = filled();
    let line = place.run(["usage", "--db", "s.convodb", "--json"]).succeeded();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    let tables = line["tables"].as_array().unwrap();
    let messages = tables.iter().find(|table| table["table"] == "messages.v1").unwrap();
    assert_eq!(messages["entries"], 8);
    assert!(messages["content_bytes"].as_u64().unwrap() > 8 * 50, "{messages}");
    assert!(messages["page_bytes"].as_u64().unwrap() >= 4096, "{messages}");
    assert!(line["used_bytes"].as_u64().unwrap() <= line["file_bytes"].as_u64().unwrap());
    let table = place.run(["usage", "--db", "s.convodb"]).succeeded();
    assert!(table.starts_with("file ") && table.contains("\nconversations.v1 "), "{table}");
}

#[test]
fn an_imported_export_is_equal() {
    let place = filled();
    let all =
        place.run(["export", "--db", "s.convodb", "--user", "acme", "--messages"]).succeeded();
    assert_eq!(all.lines().count(), 4);
    for name in ["e.jsonl", "e.jsonl.gz", "e.jsonl.zst"] {
        let export = ["export", "--db", "s.convodb", "--user", "acme", "--messages", name];
        place.run(export).succeeded();
        assert!(place.run(export).failed(1).contains("is not overwritten"));
        let db = format!("{name}.convodb");
        let import = ["import", "--db", &db, "--user", "acme", "--create-user", name];
        place.run(import).succeeded();
        let again = ["export", "--db", &db, "--user", "acme", "--messages"];
        assert_eq!(place.run(again).succeeded(), all, "{name}");
        let verified = place.run(["verify", "--db", &db, "--json"]).succeeded();
        assert!(verified.starts_with(r#"{"conversations":4,"messages":8,"#), "{verified}");
    }
    let gzip = fs::read(place.path("e.jsonl.gz")).unwrap();
    assert!(gzip.starts_with(&[0x1f, 0x8b]));
}

#[test]
fn csv_has_the_documented_columns() {
    let place = filled();
    let export = ["export", "--db", "s.convodb", "--user", "acme", "--type", "whatsapp", "w.csv"];
    place.run(export).succeeded();
    assert_eq!(
        place.read("w.csv"),
        "id,created_at,updated_at,type,assistant_id,assistant_name,message_count,total_cost,\
         ai_enabled,external_identifier,whatsapp_sender_name,whatsapp_sender_phone,customer_name,\
         customer_phone,variables\n\
         7c9e6679-7425-40de-944b-e07fc1f90ae4,2025-01-24T10:15:00.000Z,2025-01-24T10:28:45.000Z,\
         whatsapp,a1b2c3d4-5678-40ab-8def-1234567890ab,Support,2,0.0032,true,,Acme,+15550100001,,\
         +4915550100001,\n"
    );
    let widgets = ["export", "--db", "s.convodb", "--user", "acme", "--type", "widget"];
    let csv = place.run(widgets.into_iter().chain(["--format", "csv"])).succeeded();
    assert!(csv.ends_with(",\"{\"\"a\"\": 1.10}\"\n"), "{csv}");
    let by_time = ["--from", "2025-01-22", "--to", "2025-01-23", "--order", "desc"];
    let export = ["export", "--db", "s.convodb", "--user", "acme"];
    let lines = place.run(export.into_iter().chain(by_time)).succeeded();
    let types: Vec<&str> = lines
        .lines()
        .map(|l| l.split("\"type\":\"").nth(1).unwrap().split('"').next().unwrap())
        .collect();
    assert_eq!(types, ["api", "widget"]);
    let with = ["--messages", "--format", "csv"];
    assert!(place.run(export.into_iter().chain(with)).failed(2).contains("use --format jsonl"));
}

#[test]
fn an_erased_customer_remains_in_no_file() {
    let place = filled();
    fs::remove_file(place.path("c.jsonl")).unwrap();
    assert!(somewhere(&place, "+4915550100001") && somewhere(&place, "crm-1"));
    let erase =
        ["erase", "--db", "s.convodb", "--user", "acme", "--customer-phone", "+4915550100001"];
    let unconfirmed = place.run(erase).failed(2);
    assert!(
        unconfirmed.contains("this erases 1 conversation of acme, for good")
            && unconfirmed.contains("--yes"),
        "{unconfirmed}"
    );
    assert_eq!(listed(&place, "s.convodb").lines().count(), 4);
    let done = place.run(erase.into_iter().chain(["--yes", "--json"])).succeeded();
    assert_eq!(done, "{\"conversations\":1,\"assistants\":0,\"tokens\":0,\"compacted\":true}\n");
    assert!(!somewhere(&place, "+4915550100001"));
    assert!(somewhere(&place, "crm-1"));
    assert_eq!(names(&place), ["s.convodb"]);
    let [first, second, third, _] = items().map(|item| item + "\n");
    assert_eq!(listed(&place, "s.convodb"), [third, second, first].concat());
    assert_eq!(place.run(["verify", "--db", "s.convodb", "--json"]).succeeded().lines().count(), 1);
    let wrong = ["erase", "--db", "s.convodb", "--user", "acme"];
    assert!(place.run(wrong).failed(2).contains("--everything"));
}

#[test]
fn an_erased_user_remains_in_no_file() {
    let place = filled();
    fs::remove_file(place.path("c.jsonl")).unwrap();
    place.run(["user", "create", "--db", "s.convodb", "other"]).succeeded();
    let other = ["import", "--db", "s.convodb", "--user", "other", "-"];
    place.run_with(other, &file()).succeeded();
    let erase = ["erase", "--db", "s.convodb", "--user", "other", "--everything", "--yes"];
    let ran = place.run(erase);
    assert!(
        ran.err.contains("erased 4 conversations, 1 assistant, 0 tokens and the user other"),
        "{ran:?}"
    );
    ran.succeeded();
    assert_eq!(listed(&place, "s.convodb").lines().count(), 4);
    let erase = ["erase", "--db", "s.convodb", "--user", "acme", "--everything", "--yes"];
    place.run(erase).succeeded();
    for gone in ["acme", "other", "Support", "Hello?", "crm-1", "+15550100001", "a\": 1.10"] {
        assert!(!somewhere(&place, gone), "{gone}");
    }
    assert_eq!(place.run(["user", "list", "--db", "s.convodb", "--json"]).succeeded(), "");
}

/// Copies the store, as it is while no process has it open.
fn copy_store(from: &Place, to: &Place) {
    for name in names(from) {
        fs::copy(from.path(&name), to.path(&name)).unwrap();
    }
}

/// The command is killed after each change of its files that can be observed from outside, until it
/// ends before that. Then the same command finishes the erasure, or the store has no trace of it.
#[cfg(unix)]
#[test]
fn a_killed_erasure_is_reported_and_finished_by_the_same_command() {
    let source = filled();
    fs::remove_file(source.path("c.jsonl")).unwrap();
    source.run(["user", "create", "--db", "s.convodb", "other"]).succeeded();
    let other = ["import", "--db", "s.convodb", "--user", "other", "-"];
    source.run_with(other, items()[0].replace("Hello?", "Kept").as_bytes()).succeeded();
    let erase = ["erase", "--db", "s.convodb", "--user", "acme", "--everything", "--yes"];
    let state = |place: &Place| -> Vec<(String, u64, Option<std::time::SystemTime>)> {
        let mut all = Vec::new();
        for name in names(place) {
            if let Ok(found) = fs::metadata(place.path(&name)) {
                all.push((name, found.len(), found.modified().ok()));
            }
        }
        all
    };
    let (mut reported, mut killed) = (0, 0);
    for changes in 1.. {
        let place = Place::empty();
        copy_store(&source, &place);
        let mut child = place.command(erase).stderr(Stdio::null()).spawn().unwrap();
        let (mut last, mut seen) = (state(&place), 0);
        let ended = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            let now = state(&place);
            seen += usize::from(now != last);
            last = now;
            if seen == changes {
                child.kill().unwrap();
                break child.wait().unwrap().code().map(|_| child.wait().unwrap());
            }
        };
        let warned = place.run(["user", "list", "--db", "s.convodb", "--json"]);
        let is_reported = warned.err.contains("warning: the erasure for user 1 of ");
        let exists = warned.out.contains("\"name\":\"acme\"");
        let gone = ["acme", "Hello?", "crm-1", "+15550100001"];
        let remains = gone.iter().any(|text| somewhere(&place, text));
        assert!(exists || is_reported || !remains, "forgotten after {changes} changes: {warned:?}");
        reported += usize::from(is_reported);
        killed += usize::from(ended.is_none());
        let again = place.run(erase);
        assert_eq!(again.code, Some(i32::from(!exists && !is_reported)), "{again:?}");
        for text in gone {
            assert!(!somewhere(&place, text), "{text} after {changes} changes");
        }
        assert_eq!(names(&place), ["s.convodb"]);
        let list = ["list", "--db", "s.convodb", "--user", "other", "--all", "--json"];
        let left = place.run(list);
        assert_eq!((left.err.as_str(), left.out.lines().count()), ("", 1), "{left:?}");
        if ended.is_some_and(|status| status.success()) {
            break;
        }
    }
    assert!(
        reported > 0 && killed > reported,
        "{reported} of {killed} killed erasures were reported"
    );
}

#[test]
fn an_erasure_without_compaction_is_reported_until_it_is_compacted() {
    let place = filled();
    let erase = ["erase", "--db", "s.convodb", "--user", "acme", "--external-identifier", "crm-1"];
    place.run(erase.into_iter().chain(["--yes", "--no-compact"])).succeeded();
    let usage = place.run(["usage", "--db", "s.convodb", "--json"]);
    assert!(usage.err.contains("`convodb compact --db s.convodb` finishes it"), "{usage:?}");
    let usage = usage.succeeded();
    assert!(
        usage.contains(r#""unfinished_erasures":[{"user":1,"scope":"conversations","#),
        "{usage}"
    );
    let verified = place.run(["verify", "--db", "s.convodb"]);
    assert!(verified.err.contains("erasure for user 1"), "{verified:?}");
    let server = Server::start(&place, &["--db", "s.convodb", "--admin-socket", "admin"]);
    let stats = place.run(["usage", "--admin-socket", "admin", "--json"]).succeeded();
    assert!(stats.contains(r#""deleted":true}]"#), "{stats}");
    server.stop("-TERM");
    let compacted = place.run(["compact", "--db", "s.convodb"]);
    assert!(!compacted.err.contains("warning"), "{compacted:?}");
    let usage = place.run(["usage", "--db", "s.convodb", "--json"]);
    assert!(usage.err.is_empty() && usage.out.contains(r#""unfinished_erasures":[]"#), "{usage:?}");
}

#[test]
fn prune_deletes_expired_conversations() {
    let place = filled();
    let young =
        items()[0].replace("2025-01-21 10:15:00", "2109-01-01 00:00:00").replace("e1\"", "ef\"");
    let import = ["import", "--db", "s.convodb", "--user", "acme", "-"];
    place.run_with(import, young.as_bytes()).succeeded();
    let keep = |days: &'static str| ["prune", "--db", "s.convodb", "--keep", days, "--json"];
    let none = place.run(keep("30000")).succeeded();
    assert!(none.starts_with("{\"conversations\":0,\"created_before\":\"1"), "{none}");
    let gone = place.run(keep("1")).succeeded();
    assert!(gone.starts_with("{\"conversations\":4,"), "{gone}");
    assert_eq!(listed(&place, "s.convodb").lines().count(), 1);
    place.run(keep("0")).failed(2);
}

#[test]
fn prune_refuses_to_delete_most_conversations_unless_that_is_confirmed() {
    let place = filled();
    let many: String = (0..30)
        .map(|number| items()[0].replace("e1\"", &format!("{number:02x}\"")) + "\n")
        .collect();
    let import = ["import", "--db", "s.convodb", "--user", "acme", "-"];
    place.run_with(import, many.as_bytes()).succeeded();
    let prune = ["prune", "--db", "s.convodb", "--keep", "30", "--json"];
    let refused = place.run(prune).failed(1);
    assert!(refused.contains("conversations of user 1 would be deleted"), "{refused}");
    assert!(refused.contains("--confirm-retention and today's date"), "{refused}");
    let wrong = place.run(prune.into_iter().chain(["--confirm-retention", "2020-01-01"]));
    assert!(wrong.failed(1).contains("nothing was deleted"));
    assert!(listed(&place, "s.convodb").lines().count() > 30);

    let token = place.run(["token", "create", "--db", "s.convodb", "--user", "acme"]).succeeded();
    let mut server = Server::start(&place, &["--db", "s.convodb", "--keep", "30"]);
    server.token = Some(token.trim().to_owned());
    let line = server.wait_for_log("retention refused");
    assert!(line.contains("would be deleted"), "{line}");
    assert_eq!(server.get("/api/user/conversations")["data"].as_array().unwrap().len(), 15);
    server.stop("-TERM");

    let today = convodb::Timestamp::now().day().to_string();
    let done = place.run(prune.into_iter().chain(["--confirm-retention", &today])).succeeded();
    assert!(done.starts_with("{\"conversations\":3"), "{done}");
    assert_eq!(listed(&place, "s.convodb").lines().count(), 0);
}

#[test]
fn a_server_deletes_expired_conversations() {
    let place = filled();
    let token = place.run(["token", "create", "--db", "s.convodb", "--user", "acme"]).succeeded();
    let mut server = Server::start(&place, &["--db", "s.convodb", "--keep", "30"]);
    server.token = Some(token.trim().to_owned());
    let line = server.wait_for_log("retention pass deleted expired data");
    assert!(line.contains("conversations=4"), "{line}");
    let page = server.get("/api/user/conversations");
    assert_eq!(page["data"].as_array().unwrap().len(), 0);
    server.stop("-TERM");
}

#[test]
fn compaction_preserves_the_conversations() {
    let place = filled();
    let before = listed(&place, "s.convodb");
    let done = place.run(["compact", "--db", "s.convodb", "--json"]).succeeded();
    assert!(done.starts_with("{\"bytes_before\":"), "{done}");
    assert_eq!(listed(&place, "s.convodb"), before);
    let missing = place.run(["compact", "--db", "typo.convodb"]).failed(1);
    assert!(missing.contains("no store at typo.convodb"), "{missing}");
    assert!(!place.path("typo.convodb").exists());
}

#[test]
fn flags_win_over_variables_and_those_over_the_file() {
    let place = Place::with_user();
    place.write(
        "c.toml",
        "db = \"s.convodb\"\nlisten = \"127.0.0.1:1\"\nkeep = 30\nlog = \"warn\"\ndemo = false\nhead-timeout = 5\n",
    );
    let check = ["serve", "--config", "c.toml", "--check-config", "--listen", "127.0.0.1:2"];
    let output = place
        .command(check)
        .env("CONVODB_HEAD_TIMEOUT", "60")
        .env("CONVODB_KEEP", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let listing = String::from_utf8(output.stdout).unwrap();
    for line in [
        "db = \"s.convodb\"  # c.toml:1",
        "listen = \"127.0.0.1:2\"  # --listen",
        "keep = 30  # c.toml:3",
        "head-timeout = 60  # CONVODB_HEAD_TIMEOUT",
        "log = \"warn\"  # c.toml:4",
        "cache-bytes = \"1GiB\"  # default",
        "# rate-limit is not set",
        "demo = false  # c.toml:5",
    ] {
        assert!(listing.lines().any(|l| l == line), "{line} is not in\n{listing}");
    }
    // The listing is itself a settings file.
    place.write("again.toml", &listing);
    let again = ["serve", "--config", "again.toml", "--check-config"];
    let values = |text: &str| -> Vec<String> {
        text.lines().map(|l| l.split("  #").next().unwrap().to_owned()).collect()
    };
    assert_eq!(values(&place.run(again).succeeded()), values(&listing));

    place.write("wrong.toml", "db = \"s.convodb\"\n\nlisten_on = \"x\"\n");
    for verb in [
        &["serve", "--config", "wrong.toml"][..],
        &["serve", "--config", "wrong.toml", "--check-config"],
    ] {
        let error = place.run(verb).failed(2);
        assert!(error.contains("wrong.toml:3: unknown setting listen_on"), "{error}");
    }
    let error = place.run(["serve", "--db", "s", "--backup-dir", ".", "--check-config"]).failed(2);
    assert!(error.contains("--backup-dir needs --admin-socket"), "{error}");

    // What the check refuses, `serve` refuses by the same words, and before it opens the store.
    for (wrong, why) in [
        ("listen = \"8080\"", "--listen 8080: must be an address and a port"),
        ("metrics-listen = \"::1:80\"", "--metrics-listen ::1:80: must be an address and a port"),
        ("log = \"inof\"", "--log inof: must be error, warn, info"),
        ("cache-bytes = \"99999999GiB\"", "--cache-bytes: must be at most 16384GiB"),
        ("max-buffered-bytes = \"99999999GiB\"", "--max-buffered-bytes: must be at most"),
        ("response-cache-bytes = \"99999999GiB\"", "--response-cache-bytes: must be at most"),
    ] {
        place.write("wrong.toml", format!("db = \"none.convodb\"\n{wrong}\n"));
        let checked = place.run(["serve", "--config", "wrong.toml", "--check-config"]).failed(2);
        assert!(checked.contains(why), "{checked}");
        assert_eq!(place.run(["serve", "--config", "wrong.toml"]).failed(2), checked);
    }

    place.write("c.toml", "db = \"s.convodb\"\nadmin-socket = \"admin\"\n");
    let server = Server::start(&place, &["--config", "c.toml"]);
    place.run(["stats", "--admin-socket", "admin"]).succeeded();
    server.stop("-TERM");
}

/// Acts as systemd: a notification socket and a watchdog timeout.
#[cfg(target_os = "linux")]
#[test]
fn systemd_is_notified() {
    use std::os::unix::net::UnixDatagram;
    use std::time::Duration;
    let place = Place::with_user();
    let socket = UnixDatagram::bind(place.path("notify")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut command = place.command(["serve", "--db", "s.convodb", "--listen", "127.0.0.1:0"]);
    command.env("NOTIFY_SOCKET", place.path("notify")).env("WATCHDOG_USEC", "200000");
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let receive = || {
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap().trim().to_owned()
    };
    let mut received = vec![receive()];
    while received.len() < 4 {
        received.push(receive());
    }
    assert!(received.contains(&"READY=1".to_owned()), "{received:?}");
    assert!(received.iter().filter(|state| *state == "WATCHDOG=1").count() >= 2, "{received:?}");
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    while receive() != "STOPPING=1" {}
    assert!(child.wait().unwrap().success());
}

/// The temporary file of a running compaction.
fn unfinished(place: &Place) -> Option<std::path::PathBuf> {
    let name = names(place).into_iter().find(|name| name.starts_with(".s.convodb."))?;
    Some(place.path(&name))
}

#[test]
fn a_killed_compaction_leaves_a_complete_store() {
    let place = Place::with_user();
    let [item, ..] = items();
    let lines = (0..4000).map(|n| item.replace("7c9e6679", &format!("{n:08x}")) + "\n");
    let import = ["import", "--db", "s.convodb", "--user", "acme", "-"];
    place.run_with(import, lines.collect::<String>().as_bytes()).succeeded();
    let mut left_behind = 0;
    // Killed at sizes from the first page to the last, as far as it gets before it is noticed.
    for reached in [0, 1, 1 << 17, 1 << 19, 1 << 20, u64::MAX] {
        let mut child =
            place.command(["compact", "--db", "s.convodb"]).stderr(Stdio::null()).spawn().unwrap();
        let far = |path: std::path::PathBuf| fs::metadata(path).is_ok_and(|m| m.len() >= reached);
        while child.try_wait().unwrap().is_none() {
            if unfinished(&place).is_some_and(far) {
                child.kill().unwrap();
                child.wait().unwrap();
                break;
            }
            std::thread::yield_now();
        }
        left_behind += usize::from(unfinished(&place).is_some());
        let verified = place.run(["verify", "--db", "s.convodb"]).succeeded();
        assert!(verified.starts_with("conversations          4,000\n"), "{verified}");
        if let Some(path) = unfinished(&place) {
            assert!(reached < u64::MAX, "nothing killed the last one: {path:?} is left");
        }
    }
    assert!(left_behind > 0, "no compaction was killed while it wrote");
    place.run(["compact", "--db", "s.convodb"]).succeeded();
    assert_eq!(names(&place), ["s.convodb"]);
}

#[test]
fn the_example_settings_are_valid_and_complete() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations/convodb.toml");
    let place = Place::empty();
    let listing = place.run(["serve", "--config", example, "--check-config"]).succeeded();
    let text = fs::read_to_string(example).unwrap();
    for line in listing.lines().map(|line| line.trim_start_matches("# ")) {
        let name = line.split(' ').next().unwrap();
        let documented = text.lines().any(|line| {
            let line = line.trim_start_matches("# ");
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(" = "))
        });
        assert!(
            documented || name == "demo",
            "docs/operations/convodb.toml does not document {name}"
        );
    }
}

#[test]
fn csv_can_be_made_safe_for_spreadsheets() {
    let place = Place::with_user();
    let line = r#"{"id":"00000001-0000-4000-8000-000000000000","assistant_id":"a1b2c3d4-5678-40ab-8def-1234567890ab","assistant_name":"=1+1","type":"whatsapp","customer":{"name":"@SUM(A1)","phone":"+1"},"created_at":"2025-01-25"}"#;
    place.run_with(["import", "--db", "s.convodb", "--user", "acme", "-"], line.as_bytes());
    let of_user = ["--db", "s.convodb", "--user", "acme"];
    let export =
        |flags: &[&str]| place.run(["export"].iter().chain(&of_user).chain(flags)).succeeded();
    let plain = export(&["--format", "csv"]);
    assert!(plain.contains(",=1+1,") && plain.contains(",@SUM(A1),+1,"), "{plain}");
    let safe = export(&["--format", "csv", "--csv-safe"]);
    assert!(safe.contains(",'=1+1,") && safe.contains(",'@SUM(A1),'+1,"), "{safe}");
    let with_mark = export(&["--format", "csv", "--csv-bom"]);
    assert_eq!(with_mark, format!("\u{feff}{plain}"));
    for flag in ["--csv-safe", "--csv-bom"] {
        let wrong = ["export", flag].into_iter().chain(of_user);
        assert!(place.run(wrong).failed(2).contains("use --format csv"));
    }
    let report = ["report", "--group-by", "assistant", "--csv", "--csv-safe"];
    let report = place.run(report.into_iter().chain(of_user)).succeeded();
    assert!(report.contains(",'=1+1,1,"), "{report}");
}

/// What a terminal could obey, or show in another order, is escaped in tables and in messages.
#[test]
fn names_cannot_control_the_terminal() {
    let place = Place::empty();
    let name = "a\u{1b}[2J\u{202e}b";
    let ran = place.run(["user", "create", "--db", "s.convodb", name]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let escaped = "a\\u{1b}[2J\\u{202e}b";
    assert!(ran.err.contains(escaped), "{ran:?}");
    let table = place.run(["user", "list", "--db", "s.convodb"]).succeeded();
    assert!(table.contains(escaped), "{table}");
    let error = place.run(["list", "--db", "s.convodb", "--user", "\u{1b}[2J"]).failed(1);
    assert!(error.contains("user \\u{1b}[2J not found"), "{error}");
    for text in [ran.err, table, error] {
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
    }
}
