//! `serve`: the demo, its exclusive use of the file, shutdown, and limits.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use crate::command::Place;

/// A running server, killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    err: BufReader<ChildStderr>,
    pub(crate) address: String,
    pub(crate) token: Option<String>,
    /// The path and query of each curl line.
    targets: Vec<String>,
}

impl Server {
    /// Starts a server and waits until it listens.
    pub(crate) fn start(place: &Place, args: &[&str]) -> Self {
        Self::start_command(place.command(["serve", "--listen", "127.0.0.1:0"].iter().chain(args)))
    }

    /// Starts a server by this command and waits until it listens.
    pub(crate) fn start_command(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let err = BufReader::new(child.stderr.take().unwrap());
        let (address, token, targets) = (String::new(), None, Vec::new());
        let mut server = Self { child, err, address, token, targets };
        server.wait_until_it_listens();
        server
    }

    fn wait_until_it_listens(&mut self) {
        while self.address.is_empty() {
            let mut line = String::new();
            assert_ne!(self.err.read_line(&mut line).unwrap(), 0, "the server ended early");
            let line = line.trim();
            if let Some(url) = line.strip_prefix("curl").and_then(|rest| rest.split('\'').nth(1)) {
                let path = url.strip_prefix("http://").and_then(|rest| rest.find('/')).unwrap();
                self.targets.push(url["http://".len() + path..].to_owned());
            } else if let Some(token) = line.strip_prefix("export TOKEN=") {
                self.token = Some(token.to_owned());
            } else if let Some(rest) = line.strip_prefix("listening on http://") {
                self.address = rest.split([';', ',']).next().unwrap().to_owned();
            }
        }
    }

    /// Waits for a line of the log with these words and returns it.
    pub(crate) fn wait_for_log(&mut self, words: &str) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.err.read_line(&mut line).unwrap(), 0, "the server ended early");
            if line.contains(words) {
                return line;
            }
        }
    }

    /// The body of the response to a GET.
    pub(crate) fn get(&self, target: &str) -> serde_json::Value {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let (address, token) = (&self.address, self.token.as_deref().unwrap());
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
             Connection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
        serde_json::from_str(body).unwrap()
    }

    /// Sends a request; returns the status of the response.
    fn status(&self, method: &str, target: &str, body: &str) -> u16 {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\
             Connection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.token.as_deref().unwrap_or_default(),
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        std::str::from_utf8(&status[9..]).unwrap().parse().unwrap()
    }

    /// Sends the server a signal.
    #[track_caller]
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Stops the server with a signal and returns the rest of its standard error.
    #[track_caller]
    pub(crate) fn stop(mut self, signal: &str) -> String {
        self.signal(signal);
        let mut last = String::new();
        self.err.read_to_string(&mut last).unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), Some(0), "{last}");
        last
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_demo_serves_its_suggestions_and_stops_cleanly() {
    let place = Place::empty();
    let server = Server::start(&place, &["--demo", "--db", "demo.convodb"]);
    assert_eq!(server.targets.len(), 3);

    let page = server.get(&server.targets[0]);
    assert_eq!(page["data"].as_array().unwrap().len(), 15);
    assert_eq!(page["data"][0]["type"], "whatsapp");
    assert!(page["next_cursor"].is_string() && page["prev_cursor"].is_null());

    let (_, phone) = server.targets[1].split_once("customer_phone=").unwrap();
    assert!(phone.starts_with('+'), "{phone}");
    let page = server.get(&server.targets[1]);
    let rows = page["data"].as_array().unwrap();
    assert!(!rows.is_empty() && rows.iter().all(|row| row["customer"]["phone"] == phone));

    let months = server.get(&server.targets[2]);
    assert_eq!(months["total"]["conversations"], 12_000);

    // Its file is in use, and each verb says what to do instead.
    let in_use = |args: &[&str], way: &str| {
        let error = place.run(args).failed(1);
        assert!(error.contains("demo.convodb is in use by another process"), "{error}");
        assert!(error.contains(way), "{error}");
    };
    let list = ["list", "--db", "demo.convodb", "--user", "demo"];
    in_use(&list, "GET /api/user/conversations");
    let assistants = ["assistant", "list", "--db", "demo.convodb", "--user", "demo"];
    in_use(&assistants, "GET /api/user/assistants/get");
    in_use(&["token", "create", "--db", "demo.convodb", "--user", "demo"], "stop that process");
    in_use(&["serve", "--db", "demo.convodb", "--listen", "127.0.0.1:0"], "stop that process");
    let taken = ["serve", "--demo", "--listen", &server.address];
    assert!(place.run(taken).failed(1).contains("the address is in use"));

    let old_token = server.token.clone();
    let last = server.stop("-TERM");
    assert!(last.ends_with("stopped\n"), "{last}");
    let first_page = place.run(list).succeeded();

    // The store is served again, with a new token.
    let server = Server::start(&place, &["--demo", "--db", "demo.convodb"]);
    assert_ne!(server.token, old_token);
    server.get("/api/user/conversations");
    server.stop("-INT");
    assert_eq!(place.run(list).succeeded(), first_page);
    let verified = place.run(["verify", "--db", "demo.convodb"]).succeeded();
    assert!(verified.starts_with("conversations         12,000\n"), "{verified}");
}

#[cfg(unix)]
#[test]
fn a_hangup_is_ignored_and_a_quit_stops_cleanly() {
    let place = Place::with_user();
    let token = place.run(["token", "create", "--db", "s.convodb", "--user", "acme"]).succeeded();
    let mut server = Server::start(&place, &["--db", "s.convodb"]);
    server.token = Some(token.trim().to_owned());
    for _ in 0..2 {
        server.signal("-HUP");
        server.wait_for_log("ignored SIGHUP");
        server.get("/api/user/me");
    }
    let last = server.stop("-QUIT");
    assert!(last.ends_with("stopped\n"), "{last}");
}

#[test]
fn a_temporary_demo_leaves_no_file() {
    let place = Place::empty();
    let temporary = place.path("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let mut command = place.command(["serve", "--demo", "--listen", "127.0.0.1:0"]);
    let mut child = command.env("TMPDIR", &temporary).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("listening on ")));
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 1);
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert!(lines.all(|line| line.is_ok()));
    assert!(child.wait().unwrap().success());
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0);
}

#[test]
fn a_store_with_users_is_not_used_for_a_demo() {
    let place = Place::with_user();
    let args = ["serve", "--demo", "--db", "s.convodb", "--listen", "127.0.0.1:0"];
    assert!(place.run(args).failed(1).contains("leave out --demo"));
    assert!(
        place
            .run(["serve"])
            .failed(2)
            .contains("--db FILE or --pg-url URL is required without --demo")
    );
}

#[test]
fn the_public_url_is_the_base_of_urls() {
    let place = Place::with_user();
    let token = place.run(["token", "create", "--db", "s.convodb", "--user", "acme"]).succeeded();
    let args = ["--db", "s.convodb", "--public-url", "https://chat.example/"];
    let mut server = Server::start(&place, &args);
    server.token = Some(token.trim().to_owned());
    let page = server.get("/api/user/conversations");
    assert_eq!(page["path"], "https://chat.example/api/user/conversations");
    server.stop("-TERM");
}

/// Origins of web pages and strictness reach the server from a settings file, and are listed.
#[test]
fn web_pages_and_strict_parameters_are_settings() {
    let place = Place::with_user();
    let token = place.run(["token", "create", "--db", "s.convodb", "--user", "acme"]).succeeded();
    let origins = "https://a.example,http://localhost:5173";
    let settings = format!("cors-origin = \"{origins}\"\nstrict-parameters = true\n");
    place.write("s.toml", settings.as_bytes());
    let args = ["--db", "s.convodb", "--config", "s.toml"];
    let listed = place.run(["serve", "--check-config"].iter().chain(&args)).succeeded();
    assert!(listed.contains(&format!("cors-origin = \"{origins}\"  # s.toml:1")), "{listed}");
    let server = Server::start(&place, &args);
    let mut stream = TcpStream::connect(&server.address).unwrap();
    let request = format!(
        "GET /api/user/conversations?costumer_phone=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
         Origin: http://localhost:5173\r\nAuthorization: Bearer {}\r\n\r\n",
        token.trim()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 422"), "{answer}");
    assert!(answer.contains("access-control-allow-origin: http://localhost:5173\r\n"), "{answer}");
    server.stop("-TERM");
    let wrong = ["serve", "--db", "s.convodb", "--cors-origin", "a.example", "--check-config"];
    assert!(place.run(wrong).failed(2).contains("must be * or http:// or https:// and a host"));
}

#[test]
fn a_rate_limit_answers_429_and_the_log_can_be_json() {
    let place = Place::with_user();
    let token = place.run(["token", "create", "--db", "s.convodb", "--user", "acme"]).succeeded();
    let log = "info,convodb_http::access=debug";
    let args = ["--db", "s.convodb", "--rate-limit", "1/h", "--log-format", "json", "--log", log];
    let mut server = Server::start(&place, &args);
    server.token = Some(token.trim().to_owned());
    server.get("/api/user/me");
    let mut stream = TcpStream::connect(&server.address).unwrap();
    let request = format!(
        "GET /api/user/me?planted HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
         Authorization: Bearer {}\r\n\r\n",
        token.trim()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    let last = server.stop("-TERM");
    let lines = last.lines().filter(|line| line.starts_with('{'));
    let lines: Vec<serde_json::Value> =
        lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    let statuses: Vec<u64> = lines.iter().map(|line| line["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [200, 429], "{last}");
    assert!(lines.iter().all(|line| line["route"] == "/api/user/me"), "{last}");
    assert!(!last.contains("planted") && !last.contains(token.trim()), "{last}");

    let wrong = ["serve", "--db", "s.convodb", "--rate-limit", "0/s"];
    assert!(place.run(wrong).failed(2).contains("as in 50/s"));
}

/// Starts a server of `s.convodb` in a shell that first runs `setup`.
#[cfg(unix)]
fn start_after(place: &Place, setup: &str, args: &[&str]) -> Server {
    let token = place.run(["token", "create", "--db", "s.convodb", "--user", "acme"]).succeeded();
    let serve = ["serve", "--db", "s.convodb", "--listen", "127.0.0.1:0"].iter().chain(args);
    let served = place.command(serve);
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("{setup} && exec \"$0\" \"$@\""));
    shell.arg(served.get_program()).args(served.get_args());
    shell.current_dir(place.path("")).stdin(Stdio::null());
    let mut server = Server::start_command(shell);
    server.token = Some(token.trim().to_owned());
    server
}

/// Strangers can take neither all descriptors, which the store needs for its WAL, nor the places of
/// clients with a token.
#[cfg(unix)]
#[test]
fn strangers_leave_descriptors_to_the_store() {
    let place = Place::with_user();
    let server = start_after(&place, "ulimit -n 128", &[]);
    let strangers: Vec<TcpStream> = (0..300)
        .map(|_| {
            let mut stream = TcpStream::connect(&server.address).unwrap();
            // A stranger that is closed in favour of another may refuse the request.
            let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
            stream
        })
        .collect();
    for _ in 0..50 {
        assert_eq!(server.status("POST", "/api/user/assistants", r#"{"name":"a"}"#), 200);
    }
    drop(strangers);
    server.stop("-TERM");
}

/// The server does not wait for the reader of its log.
#[cfg(unix)]
#[test]
fn a_stalled_reader_of_the_log_stops_nothing() {
    let place = Place::with_user();
    let server = start_after(&place, "true", &["--log", "trace"]);
    // Each request logs many lines; together far more than a pipe and the queue hold.
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let request = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut answer = vec![0; 4096];
    for _ in 0..1500 {
        stream.write_all(request.as_bytes()).unwrap();
        let read = stream.read(&mut answer).unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 200"), "the server answers");
    }
    let mut metrics = TcpStream::connect(&server.address).unwrap();
    metrics.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    metrics.read_to_string(&mut text).unwrap();
    let dropped = text.lines().find_map(|line| {
        line.strip_prefix("convodb_log_lines_dropped_total ").map(|n| n.parse::<u64>().unwrap())
    });
    assert!(dropped.is_some_and(|lines| lines > 0), "{dropped:?}");
    server.stop("-TERM");
}

#[test]
fn metrics_can_be_served_apart_and_a_missing_public_url_is_warned_of() {
    let place = Place::with_user();
    let args = ["--db", "s.convodb", "--metrics-listen", "127.0.0.1:0", "--listen", "0.0.0.0:0"];
    let mut child =
        place.command(["serve"].iter().chain(&args)).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let metrics = lines.find_map(|line| {
        let url = line.strip_prefix("metrics on http://")?;
        Some(url.strip_suffix("/metrics").unwrap().to_owned())
    });
    assert!(lines.any(|line| line.contains("listening beyond this machine without --public-url")));
    let mut stream = TcpStream::connect(metrics.unwrap()).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("convodb_"), "{answer}");
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert!(lines.any(|line| line == "stopped"));
    assert!(child.wait().unwrap().success());
}
