//! Benchmark of writes over HTTP: creates a second of 64 connections, and their latency.
//!
//! Compared are convodb; convodb with a thread for each waiting write, as before writes were awaited;
//! convodb beside an import of the same user; PocketBase; and PostgreSQL, which has no HTTP server in
//! front: `pgbench` sends the same values to a prepared insert. Each server has 100,000 rows and runs
//! on one core, the client on another one; they take turns. A create is on disk when it is answered,
//! except by PocketBase, which does not sync each commit.
//!
//! `CONVODB_BENCH_ROUNDS` and `CONVODB_BENCH_SECONDS` set the number of rounds and their length. Needs
//! PostgreSQL 15 with `pgbench` (without it, its row is left out), Python and PyPI.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::routing;
use convodb::{ConversationId, Store, Timestamp};
use convodb_bench::dataset::Dataset;
use convodb_bench::latency::Latencies;
use convodb_benches::file_of;
use convodb_benches::load_generator::{Load, LoadResult, Outcome, Requests, fetch, run_load};
use convodb_benches::other_servers::{OtherServer, OtherServers, ROWS, run};
use convodb_benches::server_process::{
    CLIENT_CORE, SERVER_CORE, ServerProcess, pin_to_client_core, role, serve_copy,
    serve_until_closed, shutdown_signal,
};
use convodb_benches::setting;
use convodb_benches::write_requests::{CREATE, create_body, post};
use convodb_http::{Limits, serve_router, with_middleware};
use convodb_json::{Item, write_line};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::task::spawn_blocking;

const CONNECTIONS: usize = 64;
const IMPORT: &str = "/api/user/conversations/import";
const RECORDS: &str = "/api/collections/conversations/records";
/// Lines of one request of the import.
const LINES: usize = 2_000;
/// The directory of the programs in Debian's package.
const POSTGRES: &str = "/usr/lib/postgresql/15/bin";
const POSTGRES_PORT: u16 = 18_093;

fn main() -> Outcome<()> {
    match role().as_deref() {
        Some("convodb") => serve_copy(ROWS, serve_until_closed),
        Some(_) => serve_copy(ROWS, serve_blocking),
        None => Builder::new_current_thread().enable_all().build()?.block_on(compare()),
    }
}

// ---- the servers of convodb ---------------------------------------------------------------------

/// Serves creates with a thread for each waiting write.
async fn serve_blocking(store: Store, listener: TcpListener) -> Outcome<()> {
    let routes = Router::new().route(CREATE, routing::post(create_blocking)).with_state(store);
    serve_router(with_middleware(routes), listener, Limits::default(), shutdown_signal()).await;
    Ok(())
}

/// Creates a conversation on a blocking thread, which waits for the commit.
async fn create_blocking(
    State(store): State<Store>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<String, StatusCode> {
    let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.get(7..));
    let access = store.snapshot().authenticate(token.unwrap_or_default(), Timestamp::now());
    let access = access.ok().flatten().ok_or(StatusCode::UNAUTHORIZED)?;
    let item = Item::parse(&body).map_err(|_| StatusCode::UNPROCESSABLE_ENTITY)?;
    let id = item.conversation.id;
    let insert = move || store.insert(access.user, item.conversation, Vec::new());
    match spawn_blocking(insert).await {
        Ok(Ok(())) => {
            Ok(format!("{{\"status\":true,\"conversation_id\":\"{id}\",\"history\":[]}}"))
        }
        _ => Err(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// The same as a record of PocketBase, which gives it an id.
fn record_body(number: u64) -> String {
    let now = Timestamp::now();
    let (id, at) = (ConversationId::generate(now), now);
    let place = usize::try_from(number % 100_000).unwrap_or_default();
    let assistant = Dataset::assistant(0, place % Dataset::assistants(0));
    let (line, sender) = (place % 20, Dataset::sender_phone(0, place % 20));
    let customer = Dataset::customer_phone(0, place);
    format!(
        r#"{{"user_id":0,"uuid":"{id}","assistant_id":"{assistant}","assistant_name":"Assistant","type":"whatsapp","variables":"{{\"plan\":\"tier-1\",\"order\":{place},\"language\":\"en\"}}","message_count":0,"total_cost":0,"ai_enabled":1,"created_at":"{at}","updated_at":"{at}","sender_name":"Line {line}","sender_phone":"{sender}","customer_name":"Customer {place}","customer_phone":"{customer}"}}"#
    )
}

// ---- an import beside the creates ----------------------------------------------------------------

/// An import that repeats requests until it is stopped.
struct Import {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64, String>>,
}

impl Import {
    fn start(address: SocketAddr, token: String) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let run = || -> Outcome<u64> {
                let runtime = Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(import(address, &token, &stopped))
            };
            run().map_err(|error| error.to_string())
        });
        Self { stop, thread }
    }

    /// Ends the import after its current request, and returns the number of its lines.
    fn finish(self) -> Outcome<u64> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(self.thread.join().map_err(|_| "the import panicked")??)
    }
}

async fn import(address: SocketAddr, token: &str, stop: &AtomicBool) -> Outcome<u64> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let mut rows = Dataset::new(Timestamp::now().millis(), ROWS);
    let mut lines = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut body = Vec::new();
        for row in rows.by_ref().take(LINES) {
            let number = body.len() % Dataset::assistants(0);
            let mut conversation = row.conversation;
            conversation.assistant = Dataset::assistant(0, number);
            write_line(&mut body, &conversation.borrowed(), "Assistant", None);
            body.push(b'\n');
        }
        let request = Request::post(IMPORT)
            .header("host", address.to_string())
            .header("content-type", "application/x-ndjson")
            .header(AUTHORIZATION, format!("Bearer {token}"));
        sender.ready().await?;
        let response = sender.send_request(request.body(Full::<Bytes>::from(body))?).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        if !head.status.is_success() {
            return Err(format!("import: {}", String::from_utf8_lossy(&body)).into());
        }
        lines += LINES as u64;
    }
    connection.abort();
    Ok(lines)
}

// ---- PostgreSQL ----------------------------------------------------------------------------------

/// The settings of a server with room for the load. Commits are synced, as by default.
const SETTINGS: &str = "listen_addresses = '127.0.0.1'\nshared_buffers = '512MB'\n\
     max_wal_size = '4GB'\nmax_connections = 100\nautovacuum = off\njit = off\n";

/// The table with an index for each list, as PocketBase has it, and 100,000 rows.
const SCHEMA: &str = "
CREATE TABLE conversations (id uuid PRIMARY KEY, user_id int4 NOT NULL, assistant uuid NOT NULL,
    kind int2 NOT NULL, sender_name text, sender_phone text, customer_name text,
    customer_phone text, external_identifier text, variables text, message_count int4 NOT NULL,
    cost_nanos int8 NOT NULL, ai_enabled bool NOT NULL, created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL);
INSERT INTO conversations SELECT gen_random_uuid(), n % 1000, gen_random_uuid(), 2,
    'Line ' || n % 20, '+1800' || n % 20, 'Customer ' || n, '+1555' || n, NULL,
    '{\"plan\":\"tier-1\",\"order\":' || n || ',\"language\":\"en\"}', 0, 0, true,
    now() - n * interval '1 minute', now() FROM generate_series(1, 100000) AS n;
CREATE INDEX list ON conversations (user_id, created_at DESC, id DESC);
CREATE INDEX list_kind ON conversations (user_id, kind, created_at DESC, id DESC);
CREATE INDEX list_assistant ON conversations (user_id, assistant, created_at DESC, id DESC);
CREATE INDEX list_customer ON conversations (user_id, customer_phone, created_at DESC, id DESC);
CHECKPOINT;";

/// The script of `pgbench`, prepared once by each connection.
const INSERT: &str = "\\set place random(0, 99999)
INSERT INTO conversations VALUES (gen_random_uuid(), 0,
    ('a5515757-a700-0000-0000-0000000000' || lpad(to_hex(:place % 50), 2, '0'))::uuid, 2,
    'Line ' || :place % 20, '+1800000' || :place % 20, 'Customer ' || :place, '+1555000' || :place,
    NULL, '{\"plan\":\"tier-1\",\"order\":' || :place || ',\"language\":\"en\"}', 0, 0, true, now(),
    now());
";

/// A running PostgreSQL server, stopped on drop. As root, it runs as the user `postgres`.
struct Postgres {
    directory: TempDir,
}

impl Postgres {
    /// Starts a server with the rows; `None` if it is not installed.
    fn start() -> Outcome<Option<Self>> {
        if !Path::new(POSTGRES).join("initdb").exists() {
            return Ok(None);
        }
        let directory = tempfile::tempdir_in(target())?;
        let server = Self { directory };
        run(Command::new("chown").arg("-R").arg("postgres").arg(server.directory.path()))
            .or_else(|error| if is_root()? { Err(error) } else { Ok(()) })?;
        let data = server.data();
        let initdb = ["-U", "postgres", "-E", "UTF8", "--locale=C", "--auth=trust", "-D"];
        run(server.command("initdb")?.args(initdb).arg(&data).stdout(Stdio::null()))?;
        std::fs::write(data.join("postgresql.auto.conf"), SETTINGS)?;
        let options = format!("-p {POSTGRES_PORT} -k {}", server.directory.path().display());
        let mut start = server.command("pg_ctl")?;
        start.args(["start", "-w", "-o", &options, "-D"]).arg(&data).arg("-l");
        run(start.arg(server.directory.path().join("log")).stdout(Stdio::null()))?;
        run(Command::new("psql").args(Self::CONNECTION).args(["-q", "-c", SCHEMA]))?;
        Ok(Some(server))
    }

    const CONNECTION: [&str; 6] = ["-h", "127.0.0.1", "-p", "18093", "-U", "postgres"];

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// A command of the server, on its core.
    fn command(&self, program: &str) -> Outcome<Command> {
        let mut command = Command::new("taskset");
        command.args(["-c", &SERVER_CORE.to_string()]).current_dir("/");
        if is_root()? {
            command.args(["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]);
        }
        command.arg(Path::new(POSTGRES).join(program)).stdin(Stdio::null());
        Ok(command)
    }

    /// Inserts for some seconds over 64 connections.
    fn insert(&self, seconds: u64) -> Outcome<LoadResult> {
        let directory = tempfile::tempdir()?;
        let script = directory.path().join("insert.sql");
        std::fs::write(&script, INSERT)?;
        let mut bench = Command::new("taskset");
        bench.args(["-c", &CLIENT_CORE.to_string(), "pgbench"]).args(Self::CONNECTION);
        bench.args(["-n", "-M", "prepared", "-j", "1", "-c", &CONNECTIONS.to_string()]);
        bench.args(["-T", &seconds.to_string(), "-f"]).arg(&script).args(["-l", "postgres"]);
        let output = bench.current_dir(directory.path()).output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        let mut latency = Latencies::new()?;
        for file in std::fs::read_dir(directory.path())? {
            let file = file?;
            if file.file_name().to_string_lossy().starts_with("pgbench_log") {
                // The third field of each line is the latency in microseconds.
                for line in std::fs::read_to_string(file.path())?.lines() {
                    let micros = line.split(' ').nth(2).ok_or("a log line without a latency")?;
                    latency.record(Duration::from_micros(micros.parse()?))?;
                }
            }
        }
        Ok(LoadResult { rate: latency.len() as f64 / seconds as f64, latency, bytes: 0 })
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let stop = self.command("pg_ctl").and_then(|mut stop| {
            run(stop
                .args(["stop", "-w", "-m", "fast", "-D"])
                .arg(self.data())
                .stdout(Stdio::null()))
        });
        // A drop cannot report the error.
        drop(stop);
    }
}

fn is_root() -> Outcome<bool> {
    Ok(Command::new("id").arg("-u").output()?.stdout.trim_ascii() == b"0")
}

fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target")
}

// ---- the comparison ------------------------------------------------------------------------------

/// The rates and latencies of one server, of all rounds.
struct Measured {
    name: &'static str,
    rates: Vec<f64>,
    latency: Latencies,
}

impl Measured {
    fn new(name: &'static str) -> Outcome<Self> {
        Ok(Self { name, rates: Vec::new(), latency: Latencies::new()? })
    }

    fn add(&mut self, round: &LoadResult) -> Outcome<()> {
        self.rates.push(round.rate);
        Ok(self.latency.add(&round.latency)?)
    }
}

async fn compare() -> Outcome<()> {
    file_of(ROWS)?;
    let others = OtherServers::prepare()?;
    let seconds = setting("CONVODB_BENCH_SECONDS", 8);
    let convodb = ServerProcess::start("convodb")?;
    let blocking = ServerProcess::start("blocking")?;
    let data = tempfile::tempdir_in(target())?;
    run(Command::new("cp").arg("-r").arg(others.data.join("pocketbase")).arg(data.path()))?;
    let directory = format!("--dir={}", data.path().join("pocketbase").display());
    let arguments = ["serve", "--http=127.0.0.1:18094", &directory];
    let pocketbase = OtherServer::start(&others.program("pocketbase"), &arguments, 18_094)?;
    let postgres = Postgres::start()?;
    pin_to_client_core()?;

    let load = |server: &ServerProcess| Load {
        address: server.address,
        token: Some(server.token.clone()),
        targets: Vec::new(),
        connections: CONNECTIONS,
        duration: Duration::from_secs(seconds),
        requests: Requests::Writes(Rc::new(|number| post(CREATE, create_body(number)))),
    };
    let records = Load {
        address: pocketbase.address,
        token: None,
        requests: Requests::Writes(Rc::new(|number| post(RECORDS, record_body(number)))),
        ..load(&convodb)
    };
    let names = ["convodb", "convodb, a thread for each", "convodb beside an import"];
    let names = names.into_iter().chain(["PocketBase", "PostgreSQL"]);
    let mut all = names.map(Measured::new).collect::<Outcome<Vec<_>>>()?;
    let mut lines = 0;
    let rounds = setting("CONVODB_BENCH_ROUNDS", 3);
    for _ in 0..rounds {
        all[0].add(&run_load(&load(&convodb)).await?)?;
        all[1].add(&run_load(&load(&blocking)).await?)?;
        let import = Import::start(convodb.address, convodb.token.clone());
        all[2].add(&run_load(&load(&convodb)).await?)?;
        lines += import.finish()?;
        all[3].add(&run_load(&records).await?)?;
        if let Some(postgres) = &postgres {
            all[4].add(&postgres.insert(seconds)?)?;
        }
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "| server | creates/s | p50 ms | p99 ms |\n|---|---|---|---|")?;
    for Measured { name, mut rates, latency } in all {
        rates.sort_by(f64::total_cmp);
        let rate = rates.get(rates.len() / 2).copied().unwrap_or_default();
        let latency = latency.summary();
        let [p50, p99] = [latency.p50_ns, latency.p99_ns].map(|nanos| nanos as f64 / 1e6);
        writeln!(out, "| {name} | {rate:.0} | {p50:.1} | {p99:.1} |")?;
    }
    let per_second = lines / (rounds * seconds).max(1);
    writeln!(out, "The import beside the creates: {per_second} lines/s.")?;
    let metrics = fetch(&load(&convodb), "/metrics").await?;
    let metrics = String::from_utf8_lossy(metrics.body()).into_owned();
    for line in metrics.lines().filter(|line| line.starts_with("convodb_checkpoint_seconds_")) {
        if !line.contains("bucket") {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}
