//! A server in a process of its own, on a processor core of its own: this program once more, told
//! by an environment variable what to serve.
//!
//! The child tells on its output where it listens and what can be asked for, a line each, then an
//! empty line; it ends when its input is closed.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use convodb::{Filter, PageSize, Store, Timestamp, UserId};
use convodb_http::{Config, runtime, serve};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::load_generator::Outcome;
use crate::{lists, places, store_of};

/// Tells a process that it is a child, and what it serves.
const ROLE: &str = "CONVODB_BENCH_SERVES";
/// The path of the list.
pub const LIST: &str = "/api/user/conversations";

/// Linux tells times to programs in hundredths of a second, whatever its own clock.
const MICROS_PER_TICK: u64 = 10_000;

/// The core of the servers, and that of who asks them.
pub const SERVER_CORE: usize = 0;
/// See [`SERVER_CORE`].
pub const CLIENT_CORE: usize = 1;

/// What this process is to serve, if it is a child.
#[must_use]
pub fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// A server that runs as long as this is kept.
pub struct Serving {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// A Bearer token for it.
    pub token: String,
    /// What can be asked for.
    pub asked: Vec<Asked>,
}

/// A list to ask for: targets for its first page or for places all over it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The list's name.
    pub list: String,
    /// `first` or `deep`.
    pub depth: String,
    /// Rows a page.
    pub page_size: u64,
    /// Paths with queries.
    pub targets: Vec<String>,
}

impl Serving {
    /// Starts this program in the role, on the core of servers.
    ///
    /// # Errors
    /// When it cannot be started or ends before it serves.
    pub fn start(role: &str) -> Outcome<Self> {
        let mut child = Command::new("taskset")
            .args(["-c", &SERVER_CORE.to_string()])
            .arg(std::env::current_exe()?)
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let told = child.stdout.take().ok_or("a child without an output")?;
        let mut lines = BufReader::new(told).lines();
        let mut line = || lines.next().ok_or(format!("{role} ended before it served"));
        let address = line()??.parse()?;
        let token = line()??;
        let mut asked: Vec<Asked> = Vec::new();
        loop {
            let line = line()??;
            let [list, depth, page_size, target] = line.split('\t').collect::<Vec<_>>()[..] else {
                break;
            };
            let page_size = page_size.parse()?;
            let known = asked
                .iter_mut()
                .find(|one| one.list == list && one.depth == depth && one.page_size == page_size);
            match known {
                Some(known) => known.targets.push(target.to_owned()),
                None => asked.push(Asked {
                    list: list.to_owned(),
                    depth: depth.to_owned(),
                    page_size,
                    targets: vec![target.to_owned()],
                }),
            }
        }
        Ok(Self { child, address, token, asked })
    }
}

impl Serving {
    /// The processor time that the server has used so far, in microseconds, to a hundredth of a
    /// second. Unlike a rate it hardly depends on who else uses the machine.
    ///
    /// # Errors
    /// When there is no `/proc`.
    pub fn processor_micros(&self) -> Outcome<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name, in parentheses, may hold anything; the 12th and 13th field after it are ticks
        // of the program and of the system for it.
        let (_, fields) = stat.rsplit_once(')').ok_or("an odd /proc")?;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
        Ok(ticks.sum::<Result<u64, _>>()? * MICROS_PER_TICK)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Puts the calling thread on the core of who asks.
///
/// # Errors
/// When `taskset` is not there.
pub fn stay_on_client_core() -> Outcome<()> {
    let own = std::process::id().to_string();
    let moved = Command::new("taskset")
        .args(["-cp", &CLIENT_CORE.to_string(), &own])
        .stdout(Stdio::null())
        .status()?;
    if moved.success() { Ok(()) } else { Err("taskset failed".into()) }
}

/// In a child: tells the parent all that it needs.
///
/// # Errors
/// When nobody listens.
pub fn tell(address: SocketAddr, token: &str, asked: &[Asked]) -> Outcome<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{address}\n{token}")?;
    for Asked { list, depth, page_size, targets } in asked {
        for target in targets {
            writeln!(out, "{list}\t{depth}\t{page_size}\t{target}")?;
        }
    }
    writeln!(out)?;
    Ok(out.flush()?)
}

/// In a child: waits until the parent wants it to end.
pub async fn told_to_end() {
    let mut nothing = Vec::new();
    // An error is an end as well.
    let _ = tokio::io::stdin().read_to_end(&mut nothing).await;
}

/// In a child: serves the store of `rows` rows as the command does, and tells of all lists of its
/// biggest user.
///
/// # Errors
/// A fault of the store, or when nothing can be listened on.
pub fn serve_store(rows: u64) -> Outcome<()> {
    let (store, owners) = store_of(rows)?;
    runtime()?.block_on(async {
        let (token, asked) = lists_to_ask(&store, owners[0])?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        tell(listener.local_addr()?, &token, &asked)?;
        serve(store, listener, Config::default(), told_to_end()).await?;
        Ok(())
    })
}

/// A token for the user, and all lists of theirs, of 15 rows and of 100.
///
/// # Errors
/// A fault of the store.
fn lists_to_ask(store: &Store, user: UserId) -> Outcome<(String, Vec<Asked>)> {
    let token = store.create_token(user, Timestamp::MIN)?;
    let snapshot = store.snapshot();
    let mut all = Vec::new();
    for (list, filter) in lists(&snapshot, user)? {
        // An assistant that the user does not have is refused; an identifier is not.
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
            let deep = places(&snapshot, user, &filter, PageSize::new(size)?)?.next;
            let deep = deep.iter().filter_map(|request| request.cursor.as_ref()).map(|cursor| {
                format!("{LIST}?per_page={size}&cursor={}", snapshot.seal_cursor(cursor))
            });
            for (depth, targets) in [("first", vec![query]), ("deep", deep.collect())] {
                if !targets.is_empty() {
                    let (list, depth) = (list.to_owned(), depth.to_owned());
                    all.push(Asked { list, depth, page_size: size, targets });
                }
            }
        }
    }
    Ok((token, all))
}
