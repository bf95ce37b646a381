//! Server subprocess: the bench program started again on its own core, with its role in an
//! environment variable.
//!
//! The child prints its address, a token and one line per target, then an empty line. It stops when
//! its standard input is closed.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use convodb::{Filter, PageSize, Store, Timestamp, UserId};
use convodb_http::{Config, runtime, serve};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::load_generator::Outcome;
use crate::{file_of, lists, page_starts, store_of};

/// Environment variable with the role of a child.
const ROLE: &str = "CONVODB_BENCH_SERVES";
/// The path of the conversation list.
pub const LIST: &str = "/api/user/conversations";

/// Linux reports CPU times in ticks of 10 ms, whatever the frequency of its own clock.
const MICROS_PER_TICK: u64 = 10_000;

/// The CPU core of the servers.
pub const SERVER_CORE: usize = 0;
/// The CPU core of the load generator.
pub const CLIENT_CORE: usize = 1;

/// The role of this process, or `None` in the parent.
#[must_use]
pub fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// A running server; dropping it stops the process.
pub struct ServerProcess {
    child: Child,
    /// Its address.
    pub address: SocketAddr,
    /// A bearer token for it.
    pub token: String,
    /// The lists to request.
    pub lists: Vec<ListTargets>,
}

/// The targets of one list: its first page, or pages spread over it.
#[derive(Clone, Debug)]
pub struct ListTargets {
    /// The name of the list.
    pub list: String,
    /// `first` or `deep`.
    pub depth: String,
    /// Rows per page.
    pub page_size: u64,
    /// Paths with query strings.
    pub targets: Vec<String>,
}

impl ServerProcess {
    /// Starts this program with a role, on the core of the servers.
    ///
    /// # Errors
    /// Fails if the process cannot be started or ends before it listens.
    pub fn start(role: &str) -> Outcome<Self> {
        let mut child = Command::new("taskset")
            .args(["-c", &SERVER_CORE.to_string()])
            .arg(std::env::current_exe()?)
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().ok_or("no pipe to the output of the server")?;
        let mut lines = BufReader::new(output).lines();
        let mut line = || lines.next().ok_or(format!("server {role} ended before it listened"));
        let address = line()??.parse()?;
        let token = line()??;
        let mut lists: Vec<ListTargets> = Vec::new();
        loop {
            let line = line()??;
            let [list, depth, page_size, target] = line.split('\t').collect::<Vec<_>>()[..] else {
                break;
            };
            let page_size = page_size.parse()?;
            let known = lists
                .iter_mut()
                .find(|one| one.list == list && one.depth == depth && one.page_size == page_size);
            match known {
                Some(known) => known.targets.push(target.to_owned()),
                None => lists.push(ListTargets {
                    list: list.to_owned(),
                    depth: depth.to_owned(),
                    page_size,
                    targets: vec![target.to_owned()],
                }),
            }
        }
        Ok(Self { child, address, token, lists })
    }

    /// The CPU time that the server has used so far, in microseconds with a resolution of 10 ms.
    /// Unlike a rate it hardly depends on other load of the machine.
    ///
    /// # Errors
    /// Fails without `/proc`.
    pub fn cpu_micros(&self) -> Outcome<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name, in parentheses, may contain anything. The 12th and 13th fields after it are the
        // ticks in user and in kernel mode.
        let (_, fields) = stat.rsplit_once(')').ok_or("unexpected format of /proc/PID/stat")?;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
        Ok(ticks.sum::<Result<u64, _>>()? * MICROS_PER_TICK)
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Pins the calling thread to the core of the load generator.
///
/// # Errors
/// Fails without `taskset`.
pub fn pin_to_client_core() -> Outcome<()> {
    let own = std::process::id().to_string();
    let moved = Command::new("taskset")
        .args(["-cp", &CLIENT_CORE.to_string(), &own])
        .stdout(Stdio::null())
        .status()?;
    if moved.success() { Ok(()) } else { Err("taskset failed".into()) }
}

/// Announces the server to the parent; called in a child.
///
/// # Errors
/// Fails if the parent has closed the pipe.
pub fn announce(address: SocketAddr, token: &str, lists: &[ListTargets]) -> Outcome<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{address}\n{token}")?;
    for ListTargets { list, depth, page_size, targets } in lists {
        for target in targets {
            writeln!(out, "{list}\t{depth}\t{page_size}\t{target}")?;
        }
    }
    writeln!(out)?;
    Ok(out.flush()?)
}

/// Waits until the parent closes the standard input; called in a child.
pub async fn shutdown_signal() {
    let mut ignored = Vec::new();
    // An error ends the server too.
    let _ = tokio::io::stdin().read_to_end(&mut ignored).await;
}

/// Serves the store of `rows` rows as `convodb serve` does and announces all lists of its biggest
/// user; called in a child.
///
/// # Errors
/// Fails on an error of the store, or if the listener cannot be opened.
pub fn serve_store(rows: u64) -> Outcome<()> {
    let (store, users) = store_of(rows)?;
    runtime()?.block_on(async {
        let (token, lists) = list_targets(&store, users[0])?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        announce(listener.local_addr()?, &token, &lists)?;
        serve_until_closed(store, listener).await
    })
}

/// Announces a server on a copy of the store of `rows` rows, for its biggest user, and runs it;
/// called in a child.
///
/// # Errors
/// As [`serve_store`], and those of `run`.
pub fn serve_copy(
    rows: u64,
    run: impl AsyncFnOnce(Store, TcpListener) -> Outcome<()>,
) -> Outcome<()> {
    let original = file_of(rows)?;
    let copy = tempfile::tempdir_in(original.parent().ok_or("a file without a directory")?)?;
    let path = copy.path().join("store.convodb");
    std::fs::copy(&original, &path)?;
    let store = Store::open(&path)?;
    let user = store.snapshot().users()?.first().ok_or("a store without users")?.id;
    let token = store.create_token(user, Timestamp::MIN)?;
    runtime()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        announce(listener.local_addr()?, &token, &[])?;
        run(store, listener).await
    })
}

/// Serves a store as `convodb serve` does, until the parent closes the standard input.
///
/// # Errors
/// Fails on an error of the store.
pub async fn serve_until_closed(store: Store, listener: TcpListener) -> Outcome<()> {
    Ok(serve(store, listener, Config::default(), shutdown_signal()).await?)
}

/// A token for a user, and the targets of all their lists with pages of 15 and of 100 rows.
fn list_targets(store: &Store, user: UserId) -> Outcome<(String, Vec<ListTargets>)> {
    let token = store.create_token(user, Timestamp::MIN)?;
    let snapshot = store.snapshot();
    let mut all = Vec::new();
    for (list, filter) in lists(&snapshot, user)? {
        // The server rejects an unknown assistant but not an unknown identifier.
        let filter = match list {
            "empty" => {
                Filter { external_identifier: "never-given".parse().ok(), ..Filter::default() }
            }
            _ => filter,
        };
        for size in [15, 100] {
            let mut query = format!("{LIST}?per_page={size}");
            let mut add = |name: &str, value: &str| {
                query += &format!("&{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC));
            };
            filter.kind.iter().for_each(|kind| add("type", kind.as_str()));
            filter.assistant.iter().for_each(|id| add("assistant_id", &id.uuid().to_string()));
            filter.sender_phone.iter().for_each(|p| add("whatsapp_sender_phone", p.as_str()));
            filter.customer_phone.iter().for_each(|phone| add("customer_phone", phone.as_str()));
            filter
                .external_identifier
                .iter()
                .for_each(|id| add("external_identifier", id.as_str()));
            let deep = page_starts(&snapshot, user, &filter, PageSize::new(size)?)?.next;
            let deep = deep.iter().filter_map(|request| request.cursor.as_ref()).map(|cursor| {
                format!("{LIST}?per_page={size}&cursor={}", snapshot.seal_cursor(cursor))
            });
            for (depth, targets) in [("first", vec![query]), ("deep", deep.collect())] {
                if !targets.is_empty() {
                    let (list, depth) = (list.to_owned(), depth.to_owned());
                    all.push(ListTargets { list, depth, page_size: size, targets });
                }
            }
        }
    }
    Ok((token, all))
}
