//! Row 8: a full disk. On a small file system of its own a server writes until nothing fits any more:
//! reads go on, writes are told 507, and once there is room again they are taken without a restart.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use convodb::{AssistantId, Store, Timestamp};
use tempfile::TempDir;
use uuid::Uuid;

use crate::clients::connection::{Connection, Reply};
use crate::clients::server_process::ServerProcess;
use crate::scenario::{Parallelism, Scenario, Trial, Trials, Violation, ensure};

pub(super) const FULL: Scenario = Scenario {
    name: "full",
    row: 8,
    promise: "On a full disk reads go on and writes are told 507; once there is room, writes are \
              taken again without a restart, and nothing acknowledged is lost.",
    trial: "a tmpfs of 24 MiB filled and freed (needs root)",
    trials: Trials { smoke: 0, ci: 1, release: 200 },
    parallelism: Parallelism::Single,
    run,
};

/// What a person removes to make room.
const BALLAST_BYTES: usize = 6 << 20;
/// How long the server may take to notice that there is room.
const PATIENCE: Duration = Duration::from_secs(20);
const MESSAGE_BYTES: usize = 60_000;

/// A small file system, unmounted when it is dropped.
struct SmallDisk {
    directory: TempDir,
}

impl SmallDisk {
    /// None where this process may not mount one.
    fn mount() -> Result<Option<Self>, Violation> {
        let directory = tempfile::tempdir()?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=24m", "convodb-prove"])
            .arg(directory.path())
            .output();
        let mounted = mounted.is_ok_and(|output| output.status.success());
        Ok(mounted.then_some(Self { directory }))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.directory.path()).status();
    }
}

/// A client of a server that runs out of room.
struct Client {
    connection: Connection,
    /// How many messages each conversation has for certain.
    acknowledged: Vec<(Uuid, u64)>,
    made: u128,
}

fn run(trial: &mut Trial) -> Result<(), Violation> {
    let Some(disk) = SmallDisk::mount()? else {
        trial.skip("a small file system cannot be mounted; run it as root");
        return Ok(());
    };
    let path = disk.path("store.convodb");
    let token = new_store(&path)?;
    let ballast = disk.path("ballast");
    File::create(&ballast)?.write_all(&vec![7; BALLAST_BYTES])?;

    let server = ServerProcess::start(&path)?;
    let connection = Connection::open(&server.address, &token)?;
    let mut client = Client { connection, acknowledged: Vec::new(), made: 0 };
    let refused = client.fill()?;
    ensure(refused.status == 507, || format!("a full disk is told by {refused:?}"))?;
    trial.count("told 507");
    client.reads_go_on()?;

    fs::remove_file(&ballast)?;
    let began = Instant::now();
    while client.write()?.status != 200 {
        ensure(began.elapsed() < PATIENCE, || "writes are not taken though there is room")?;
        thread::park_timeout(Duration::from_millis(50));
    }
    trial.figure("taken again after s", began.elapsed().as_secs_f64());
    client.deletes_half()?;
    for _ in 0..20 {
        let reply = client.write()?;
        ensure(reply.status == 200, || format!("a write after room was made: {reply:?}"))?;
    }
    client.reads_go_on()?;
    trial.add("acknowledged", client.acknowledged.iter().map(|(_, messages)| messages).sum());
    server.stop_and_audit(&path)
}

fn bot() -> AssistantId {
    AssistantId::new(Uuid::from_u128(0xB07))
}

fn new_store(path: &Path) -> Result<String, Violation> {
    let store = Store::open(path)?;
    let user = store.create_user("one".parse()?, Timestamp::MIN)?.id;
    store.create_assistant(user, bot(), "Bot".parse()?)?;
    let token = store.create_token(user, Timestamp::MIN)?;
    store.close()?;
    Ok(token)
}

impl Client {
    /// Writes until something is refused.
    fn fill(&mut self) -> Result<Reply, Violation> {
        loop {
            let reply = self.write()?;
            if reply.status != 200 {
                return Ok(reply);
            }
        }
    }

    /// A conversation, or a message of the last one.
    fn write(&mut self) -> Result<Reply, Violation> {
        let next = Uuid::from_u128(self.made + 1);
        let last = self.acknowledged.last_mut().filter(|(_, messages)| *messages < 8);
        let json = "application/json";
        let Some((id, messages)) = last else {
            let text = format!("{{\"assistant_id\":\"{}\",\"id\":\"{next}\"}}", bot());
            let body = Some((json, text.as_str()));
            let reply = self.connection.ask("POST", "/api/conversations", body)?;
            // One whose write failed may be there all the same, whole.
            if reply.status == 200 || reply.body.contains("already") {
                self.acknowledged.push((next, 0));
                self.made += 1;
            }
            return Ok(reply);
        };
        let text = format!("{{\"role\":\"user\",\"content\":\"{}\"}}", "x".repeat(MESSAGE_BYTES));
        let target = format!("/api/conversations/{id}/messages");
        let reply = self.connection.ask("POST", &target, Some((json, &text)))?;
        *messages += u64::from(reply.status == 200);
        Ok(reply)
    }

    /// All that was acknowledged can be read.
    fn reads_go_on(&mut self) -> Result<(), Violation> {
        let list = self.connection.ask("GET", "/api/user/conversations?per_page=100", None)?;
        ensure(list.status == 200, || format!("a list on a full disk: {list:?}"))?;
        for (id, messages) in &self.acknowledged {
            let target = format!("/api/conversations/{id}");
            let reply = self.connection.ask("GET", &target, None)?;
            let row: serde_json::Value = serde_json::from_str(&reply.body)?;
            let found = row["history"].as_array().map_or(0, Vec::len) as u64;
            ensure(reply.status == 200 && found >= *messages, || {
                format!("{id} has {found} messages of {messages}: {}", reply.status)
            })?;
        }
        Ok(())
    }

    fn deletes_half(&mut self) -> Result<(), Violation> {
        let half = self.acknowledged.len() / 2;
        for (id, _) in self.acknowledged.drain(..half) {
            let target = format!("/api/conversations/{id}");
            let reply = self.connection.ask("DELETE", &target, None)?;
            ensure(reply.status == 200, || format!("a deletion: {reply:?}"))?;
        }
        Ok(())
    }
}
