//! Three nodes, each with etcd, Patroni and PostgreSQL, in network namespaces of one machine.
//!
//! A namespace is a machine: it has an address, a link that can be cut, and the processes that are
//! killed or frozen with it.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use tempfile::TempDir;

use crate::scenario::{Violation, ensure};
use crate::scenarios::cluster::network::{self, address, find, ip, namespace};

/// The number of nodes.
pub(super) const NODES: usize = 3;
/// The settings of each server.
pub(super) const SETTINGS: [(&str, &str); 4] = [
    ("max_connections", "100"),
    ("shared_buffers", "128MB"),
    ("max_wal_size", "128MB"),
    ("wal_log_hints", "on"),
];
/// The variable by which `.ci/cluster` says that the network is of this run alone.
const PRIVATE_NETWORK: &str = "CONVODB_TORTURE_PRIVATE_NETWORK";
/// The time for the cluster to start, and to become whole after a fault.
const HEALING: Duration = Duration::from_secs(120);
/// The time for Patroni to answer.
const ANSWER: Duration = Duration::from_secs(2);
/// The pause between two questions to Patroni.
const PATRONI: Duration = Duration::from_millis(500);

/// Which processes of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Patroni, and PostgreSQL with all its backends.
    Database,
    Etcd,
    Whole,
}

impl Part {
    fn contains(self, name: &str) -> bool {
        match self {
            Self::Database => matches!(name, "patroni" | "postgres"),
            Self::Etcd => name == "etcd",
            Self::Whole => matches!(name, "patroni" | "postgres" | "etcd"),
        }
    }
}

/// The running nodes. Dropping them kills their processes.
pub(super) struct Nodes {
    directory: TempDir,
    etcds: Vec<Child>,
    patronis: Vec<Child>,
}

/// Why the nodes cannot run here, or `None`.
pub(super) fn missing() -> Option<String> {
    if std::env::var_os(PRIVATE_NETWORK).is_none() {
        return Some("it needs a network of its own: run .ci/cluster".to_owned());
    }
    let programs = ["etcd", "patroni", "postgres", "ip", "setpriv"];
    let missing = programs.into_iter().find(|name| find(name).is_none())?;
    Some(format!("there is no program {missing}: run .ci/cluster"))
}

/// The URL of the database for a role, with all nodes.
pub(super) fn url(role: &str) -> String {
    let hosts: Vec<String> = (0..NODES).map(address).collect();
    format!("postgresql://{role}@{}/postgres", hosts.join(","))
}

impl Nodes {
    /// Starts all nodes, and waits until two standbys follow a leader.
    pub(super) fn start() -> Result<Self, Violation> {
        let directory = tempfile::tempdir()?;
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
        network::create_bridge()?;
        (0..NODES).try_for_each(network::connect)?;
        let mut nodes = Self { directory, etcds: Vec::new(), patronis: Vec::new() };
        let peers: Vec<String> =
            (0..NODES).map(|node| format!("node{node}=http://{}:2380", address(node))).collect();
        for node in 0..NODES {
            let home = nodes.home(node);
            fs::create_dir(&home)?;
            network::give_to_servers(&home)?;
            fs::write(home.join("patroni.yml"), patroni_settings(node, &home)?)?;
            let (client, peer) = (
                format!("http://{}:2379", address(node)),
                format!("http://{}:2380", address(node)),
            );
            let mut etcd = network::command(node, "etcd", &home)?;
            etcd.args(["--name", &format!("node{node}"), "--initial-cluster", &peers.join(",")])
                .arg("--data-dir")
                .arg(home.join("etcd"))
                .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
                .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
            nodes.etcds.push(etcd.spawn()?);
        }
        for node in 0..NODES {
            let patroni = nodes.patroni(node)?;
            nodes.patronis.push(patroni);
        }
        nodes.await_whole("start")?;
        Ok(nodes)
    }

    /// The leader now, as it says itself, unless it is `old`. One without its lease does not say so.
    pub(super) fn current_leader(old: Option<usize>) -> Option<usize> {
        let is_leader = |node| http(node, "GET", "/leader", "", ANSWER).is_some();
        (0..NODES).filter(|node| Some(*node) != old).find(|node| is_leader(*node))
    }

    /// The leader, once a node is one.
    pub(super) fn leader(&self) -> Result<usize, Violation> {
        await_that("a node to be the leader", HEALING, PATRONI, || Self::current_leader(None))
    }

    /// Waits until two standbys that count as a quorum follow a leader, and returns it.
    pub(super) fn await_whole(&self, after: &str) -> Result<usize, Violation> {
        let what = format!("two standbys to follow a leader after: {after}");
        let whole = await_that(&what, HEALING, PATRONI, || {
            let members = members()?;
            let standbys = members.iter().filter(|member| member.is_quorum_standby()).count();
            let leader = members.iter().find(|member| member.is_leader())?;
            (standbys == NODES - 1).then_some(leader.node)
        });
        whole.map_err(|violation| Violation::new(format!("{violation}\n{}", self.last_log_lines())))
    }

    /// Sends a signal to the processes of a node: `KILL`, `STOP` or `CONT`.
    pub(super) fn signal(&self, node: usize, part: Part, signal: &str) -> Result<(), Violation> {
        let ids = processes(node, part)?;
        ensure(!ids.is_empty(), || format!("node {node} has no process of {part:?}"))?;
        // One that ended meanwhile needs no signal.
        let mut kill = Command::new("kill");
        kill.arg(format!("-{signal}")).args(&ids).stderr(Stdio::null()).status()?;
        Ok(())
    }

    /// Starts Patroni, and with it PostgreSQL, on a node on which they were killed.
    pub(super) fn restart(&mut self, node: usize) -> Result<(), Violation> {
        self.patronis[node].kill()?;
        self.patronis[node].wait()?;
        self.patronis[node] = self.patroni(node)?;
        Ok(())
    }

    /// Cuts a node off from all others and from clients, or connects it again.
    pub(super) fn cut_off(&self, node: usize, cut: bool) -> Result<(), Violation> {
        let link = format!("veth{node}");
        let state: &[&str] = if cut { &["nomaster"] } else { &["master", "bridge0"] };
        ip(&[&["link", "set", &link], state].concat())
    }

    /// Cuts a node off from the other nodes, but not from clients, or connects it again.
    pub(super) fn separate(&self, node: usize, cut: bool) -> Result<(), Violation> {
        let (namespace, verb) = (namespace(node), if cut { "add" } else { "del" });
        for other in (0..NODES).filter(|other| *other != node) {
            let other = format!("{}/32", address(other));
            ip(&["-n", &namespace, "route", verb, "blackhole", &other])?;
        }
        Ok(())
    }

    /// Asks Patroni to hand over from this leader to another node.
    pub(super) fn hand_over(&self, leader: usize) -> Result<(), Violation> {
        let body = format!(r#"{{"leader": "node{leader}"}}"#);
        let answer = http(leader, "POST", "/switchover", &body, Duration::from_secs(60));
        answer.map(|_| ()).ok_or_else(|| Violation::new("Patroni does not hand over"))
    }

    /// Sets whether commits wait for a standby, or are on the leader alone.
    pub(super) fn set_synchronous(&self, synchronous: bool) -> Result<(), Violation> {
        let mode = if synchronous { "\"quorum\"" } else { "false" };
        let body = format!(r#"{{"synchronous_mode": {mode}}}"#);
        let answer = http(self.leader()?, "PATCH", "/config", &body, HEALING);
        answer.map(|_| ()).ok_or_else(|| Violation::new("Patroni does not change its settings"))
    }

    /// The directory of all data and logs.
    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The bytes on disk.
    pub(super) fn disk_bytes(&self) -> Result<u64, Violation> {
        let du = Command::new("du").args(["-s", "-B", "1"]).arg(self.directory.path()).output()?;
        let text = String::from_utf8_lossy(&du.stdout).into_owned();
        let bytes = text.split_whitespace().next().and_then(|bytes| bytes.parse().ok());
        bytes.ok_or_else(|| Violation::new(format!("du printed {text:?}")))
    }

    fn home(&self, node: usize) -> PathBuf {
        self.directory.path().join(format!("node{node}"))
    }

    fn patroni(&self, node: usize) -> Result<Child, Violation> {
        let home = self.home(node);
        let mut patroni = network::command(node, "patroni", &home)?;
        Ok(patroni.arg(home.join("patroni.yml")).spawn()?)
    }

    /// The ends of the logs, for a violation.
    fn last_log_lines(&self) -> String {
        let mut text = String::new();
        for node in 0..NODES {
            let log = fs::read_to_string(self.home(node).join("patroni.log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().rev().take(8).collect();
            for line in lines.into_iter().rev() {
                text.push_str(&format!("node{node}: {line}\n"));
            }
        }
        text
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for node in 0..NODES {
            let _ = self.signal(node, Part::Whole, "KILL");
        }
        for child in self.etcds.iter_mut().chain(&mut self.patronis) {
            let _ = child.kill();
            let _ = child.wait();
        }
        (0..NODES).for_each(network::remove_namespace);
        network::remove_bridge();
    }
}

/// A node as Patroni sees it.
struct Member {
    node: usize,
    role: String,
    state: String,
}

impl Member {
    fn is_leader(&self) -> bool {
        self.role == "leader" && self.state == "running"
    }

    fn is_quorum_standby(&self) -> bool {
        matches!(&*self.role, "quorum_standby" | "sync_standby") && self.state == "streaming"
    }
}

/// The members of the cluster, as its leader sees them; `None` without one.
fn members() -> Option<Vec<Member>> {
    let cluster = http(Nodes::current_leader(None)?, "GET", "/cluster", "", ANSWER)?;
    let member = |member: &Json| {
        let node = member["name"].as_str()?.strip_prefix("node")?.parse().ok()?;
        let text = |field: &str| Some(member[field].as_str()?.to_owned());
        Some(Member { node, role: text("role")?, state: text("state")? })
    };
    cluster.get("members")?.as_array()?.iter().map(member).collect()
}

/// The JSON that Patroni on a node answers with; `None` if it does not answer or refuses.
fn http(node: usize, method: &str, path: &str, body: &str, within: Duration) -> Option<Json> {
    let to: SocketAddr = format!("{}:8008", address(node)).parse().ok()?;
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(within)).ok()?;
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(format!("{head}{body}").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?;
    // A switchover is answered by a sentence.
    let json = serde_json::from_str(body).unwrap_or(Json::Null);
    status.starts_with('2').then_some(json)
}

/// Asks, with a pause in between, until there is an answer.
///
/// # Errors
/// A violation that names what was awaited, after the time.
pub(super) fn await_that<T>(
    what: &str,
    within: Duration,
    pause: Duration,
    mut ask: impl FnMut() -> Option<T>,
) -> Result<T, Violation> {
    let began = Instant::now();
    while began.elapsed() < within {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        thread::sleep(pause);
    }
    Err(Violation::new(format!("waited {} s in vain for {what}", within.as_secs())))
}

/// Kills a process of a server.
pub(super) fn kill_process(id: i64) -> Result<(), Violation> {
    let killed = Command::new("kill").args(["-KILL", &id.to_string()]).status()?;
    ensure(killed.success(), || format!("process {id} cannot be killed"))
}

/// The ids of a node's processes.
fn processes(node: usize, part: Part) -> Result<Vec<String>, Violation> {
    let all = Command::new("ip").args(["netns", "pids", &namespace(node)]).output()?;
    let all = String::from_utf8_lossy(&all.stdout).into_owned();
    let wanted = all.lines().map(str::trim).filter(|id| {
        let name = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
        part.contains(name.trim())
    });
    Ok(wanted.map(str::to_owned).collect())
}

/// Strict quorum, as `docs/postgres.md` recommends it, with the shortest times that Patroni accepts.
fn patroni_settings(node: usize, home: &Path) -> Result<String, Violation> {
    let (own, home) = (address(node), home.display());
    let programs = find("postgres").and_then(|file| Some(file.parent()?.to_owned()));
    let programs = programs.ok_or_else(|| Violation::new("there is no program postgres"))?;
    let programs = programs.display();
    let etcds: Vec<String> = (0..NODES).map(|node| format!("{}:2379", address(node))).collect();
    let etcds = etcds.join(",");
    let settings = SETTINGS.map(|(name, value)| format!("{name}: \"{value}\"")).join(", ");
    Ok(format!(
        r#"scope: torture
name: node{node}
restapi: {{listen: "{own}:8008", connect_address: "{own}:8008"}}
etcd3: {{hosts: "{etcds}"}}
bootstrap:
  dcs:
    ttl: 20
    loop_wait: 2
    retry_timeout: 3
    synchronous_mode: quorum
    synchronous_mode_strict: true
    synchronous_node_count: 1
    postgresql:
      use_pg_rewind: true
      parameters: {{{settings}}}
  initdb: [{{encoding: UTF8}}, data-checksums, {{auth-host: trust}}, {{auth-local: trust}}]
postgresql:
  listen: "*:5432"
  connect_address: "{own}:5432"
  data_dir: {home}/data
  bin_dir: {programs}
  pgpass: {home}/pgpass
  pg_hba: [host all all 0.0.0.0/0 trust, local all all trust, host replication all 0.0.0.0/0 trust]
  authentication: {{superuser: {{username: postgres}}, replication: {{username: replicator}}}}
  parameters: {{unix_socket_directories: "{home}"}}
"#
    ))
}
