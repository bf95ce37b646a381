//! Files that cannot be written: verbs that read succeed, others fail with the system's error.

#![cfg(target_os = "linux")]

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::Place;
use crate::serve::Server;

/// Makes a directory and its files unwritable until it is dropped.
struct ReadOnly {
    directory: PathBuf,
    immutable: bool,
}

impl ReadOnly {
    /// Returns `None` if the system does not let this process do it.
    fn make(directory: PathBuf) -> Option<Self> {
        set_mode(&directory, 0o500, 0o400);
        let is_writable = |directory: &Path| fs::write(directory.join("probe"), "").is_ok();
        let mut read_only = Self { directory, immutable: false };
        if is_writable(&read_only.directory) {
            // Permissions do not bind root.
            fs::remove_file(read_only.directory.join("probe")).unwrap();
            read_only.immutable = change_immutable(&read_only.directory, "+i");
        }
        (!is_writable(&read_only.directory)).then_some(read_only)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        if self.immutable {
            change_immutable(&self.directory, "-i");
        }
        set_mode(&self.directory, 0o700, 0o600);
    }
}

fn set_mode(directory: &Path, of_directory: u32, of_files: u32) {
    fs::set_permissions(directory, fs::Permissions::from_mode(of_directory)).unwrap();
    for file in fs::read_dir(directory).unwrap() {
        let mode = fs::Permissions::from_mode(of_files);
        fs::set_permissions(file.unwrap().path(), mode).unwrap();
    }
}

fn change_immutable(directory: &Path, change: &str) -> bool {
    let changed = Command::new("chattr").arg("-R").arg(change).arg(directory).output();
    changed.is_ok_and(|output| output.status.success())
}

/// A store with a user in a directory of its own, `d/s.convodb`, and a token.
fn store() -> (Place, String) {
    let place = Place::empty();
    fs::create_dir(place.path("d")).unwrap();
    place.run(["user", "create", "--db", "d/s.convodb", "acme"]).succeeded();
    let token = place.run(["token", "create", "--db", "d/s.convodb", "--user", "acme"]);
    (place, token.succeeded().trim().to_owned())
}

#[test]
fn verbs_that_read_work_on_files_that_cannot_be_written() {
    let (place, token) = store();
    let Some(read_only) = ReadOnly::make(place.path("d")) else {
        let _ = writeln!(std::io::stderr(), "skipped: this process may write everything");
        return;
    };
    let reads: [&[&str]; 6] = [
        &["list", "--db", "d/s.convodb", "--user", "acme"],
        &["export", "--db", "d/s.convodb", "--user", "acme"],
        &["user", "list", "--db", "d/s.convodb"],
        &["usage", "--db", "d/s.convodb"],
        &["verify", "--db", "d/s.convodb"],
        &["backup", "--db", "d/s.convodb", "--to", "backup"],
    ];
    for args in reads {
        place.run(args).succeeded();
    }
    let refused = place.run(["user", "create", "--db", "d/s.convodb", "other"]).failed(1);
    assert!(refused.contains("write aborted: "), "{refused}");

    let mut server = Server::start(&place, &["--db", "d/s.convodb"]);
    server.token = Some(token);
    // Readers share the file.
    for args in reads.iter().filter(|args| args[0] != "backup") {
        place.run(*args).succeeded();
    }
    server.get("/api/user/conversations");
    drop(read_only);
    server.wait_for_log("writes are accepted again");
    server.get("/readyz");
    let in_use = place.run(["user", "create", "--db", "d/s.convodb", "other"]).failed(1);
    assert!(in_use.contains("in use by another process"), "{in_use}");
    server.stop("-TERM");
    place.run(["user", "create", "--db", "d/s.convodb", "other"]).succeeded();
}

#[test]
fn a_limit_of_the_file_size_is_an_error_and_not_the_end() {
    let (place, token) = store();
    let convodb = env!("CARGO_BIN_EXE_convodb");
    // 300 blocks of 512 bytes, or of 1 KiB in some shells: the file has 136 KiB.
    let limited = |args: &[&str]| {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -f 300; exec \"$0\" \"$@\"", convodb]).args(args);
        command.current_dir(place.path("."));
        command
    };
    let assistant = ["assistant", "create", "--db", "d/s.convodb", "--user", "acme", "Bot"];
    place.run(assistant).succeeded();
    let mut server = Server::start_command(limited(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--db",
        "d/s.convodb",
    ]));
    server.token = Some(token.clone());
    let new = r#"{"assistant_id":1,"type":"widget"}"#;
    let created = post(&server.address, &token, "/api/conversations", new);
    let id = created.split("\"conversation_id\":\"").nth(1).and_then(|rest| rest.split('"').next());
    let messages = format!("/api/conversations/{}/messages", id.unwrap());
    let message = format!(r#"{{"role":"user","content":"{}"}}"#, "x".repeat(20_000));
    let responses = (0..100).map(|_| post(&server.address, &token, &messages, &message));
    let refused = responses.into_iter().find(|response| !response.starts_with("HTTP/1.1 200 "));
    let refused = refused.unwrap();
    assert!(refused.starts_with("HTTP/1.1 507 "), "{refused}");
    server.get("/api/user/conversations");
    server.stop("-TERM");
    place.run(["verify", "--db", "d/s.convodb"]).succeeded();
}

/// Sends a POST and returns the response.
fn post(address: &str, token: &str, target: &str, body: &str) -> String {
    use std::io::Read;
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
         Connection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}
