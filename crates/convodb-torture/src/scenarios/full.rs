//! Full disk: the real server on a small file system.
//!
//! The server writes until the file system is full. Then reads must succeed and writes must
//! return 507, until there is space again.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use convodb::{AssistantId, Store, Timestamp};
use convodb_testkit::http_client::{HttpClient, Response};
use tempfile::TempDir;
use uuid::Uuid;

use crate::clients::server_process::ServerProcess;
use crate::scenario::{Parallelism, Scenario, Trial, Trials, Violation, ensure};

pub(super) const FULL: Scenario = Scenario {
    name: "full",
    row: 8,
    promise: "On a full disk reads succeed and writes return 507; once there is space, writes \
              succeed without a restart, and no acknowledged write is lost.",
    trial: "a tmpfs of 24 MiB, filled and freed (needs root)",
    trials: Trials { smoke: 0, ci: 1, release: 200 },
    parallelism: Parallelism::Single,
    run,
};

/// The size of the file that is removed to free space.
const BALLAST_BYTES: usize = 6 << 20;
/// The time within which the server must notice free space.
const TIMEOUT: Duration = Duration::from_secs(20);
const MESSAGE_BYTES: usize = 60_000;

/// A small file system, unmounted when dropped.
struct SmallDisk {
    directory: TempDir,
}

impl SmallDisk {
    /// Returns `None` if this process may not mount a file system.
    fn mount() -> Result<Option<Self>, Violation> {
        let directory = tempfile::tempdir()?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=24m", "convodb-torture"])
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

/// A client of a server whose disk runs full.
struct Writer {
    client: HttpClient,
    /// The number of acknowledged messages of each conversation.
    acknowledged: Vec<(Uuid, u64)>,
    created: u128,
}

fn run(trial: &mut Trial) -> Result<(), Violation> {
    let Some(disk) = SmallDisk::mount()? else {
        trial.skip("cannot mount a small file system; run as root");
        return Ok(());
    };
    let path = disk.path("store.convodb");
    let token = new_store(&path)?;
    let ballast = disk.path("ballast");
    File::create(&ballast)?.write_all(&vec![7; BALLAST_BYTES])?;

    let server = ServerProcess::start(&path)?;
    let client = HttpClient::connect(server.address, &token)?;
    let mut writer = Writer { client, acknowledged: Vec::new(), created: 0 };
    let rejected = writer.fill()?;
    ensure(rejected.status == 507, || format!("a full disk returned {rejected:?}"))?;
    trial.count("writes rejected with 507");
    writer.check_reads()?;

    fs::remove_file(&ballast)?;
    let began = Instant::now();
    while writer.write()?.status != 200 {
        ensure(began.elapsed() < TIMEOUT, || "writes fail although there is space")?;
        thread::park_timeout(Duration::from_millis(50));
    }
    trial.figure("accepted again after s", began.elapsed().as_secs_f64());
    writer.delete_half()?;
    for _ in 0..20 {
        let response = writer.write()?;
        ensure(response.status == 200, || format!("write with free space: {response:?}"))?;
    }
    writer.check_reads()?;
    trial.add("acknowledged", writer.acknowledged.iter().map(|(_, messages)| messages).sum());
    server.stop_and_verify(&path)
}

fn assistant() -> AssistantId {
    AssistantId::new(Uuid::from_u128(0xB07))
}

fn new_store(path: &Path) -> Result<String, Violation> {
    let store = Store::open(path)?;
    let user = store.create_user("one", Timestamp::MIN)?.id;
    store.create_assistant(user, assistant(), "Bot")?;
    let token = store.create_token(user, Timestamp::MIN)?;
    store.close()?;
    Ok(token)
}

impl Writer {
    /// Writes until a write is rejected, and returns its response.
    fn fill(&mut self) -> Result<Response, Violation> {
        loop {
            let response = self.write()?;
            if response.status != 200 {
                return Ok(response);
            }
        }
    }

    /// Creates a conversation, or appends a message to the last one.
    fn write(&mut self) -> Result<Response, Violation> {
        let next = Uuid::from_u128(self.created + 1);
        let last = self.acknowledged.last_mut().filter(|(_, messages)| *messages < 8);
        let json = "application/json";
        let Some((id, messages)) = last else {
            let text = format!("{{\"assistant_id\":\"{}\",\"id\":\"{next}\"}}", assistant());
            let body = Some((json, text.as_str()));
            let response = self.client.request("POST", "/api/conversations", body)?;
            // The server may have created the conversation although it returned an error.
            if response.status == 200 || response.body.contains("already") {
                self.acknowledged.push((next, 0));
                self.created += 1;
            }
            return Ok(response);
        };
        let text = format!("{{\"role\":\"user\",\"content\":\"{}\"}}", "x".repeat(MESSAGE_BYTES));
        let target = format!("/api/conversations/{id}/messages");
        let response = self.client.request("POST", &target, Some((json, &text)))?;
        *messages += u64::from(response.status == 200);
        Ok(response)
    }

    /// Checks that all acknowledged data can be read.
    fn check_reads(&mut self) -> Result<(), Violation> {
        let list = self.client.request("GET", "/api/user/conversations?per_page=100", None)?;
        ensure(list.status == 200, || format!("list on a full disk: {list:?}"))?;
        for (id, messages) in &self.acknowledged {
            let target = format!("/api/conversations/{id}");
            let response = self.client.request("GET", &target, None)?;
            let row: serde_json::Value = serde_json::from_str(&response.body)?;
            let found = row["history"].as_array().map_or(0, Vec::len) as u64;
            ensure(response.status == 200 && found >= *messages, || {
                format!("{id} has {found} messages, acknowledged {messages}: {}", response.status)
            })?;
        }
        Ok(())
    }

    fn delete_half(&mut self) -> Result<(), Violation> {
        let half = self.acknowledged.len() / 2;
        for (id, _) in self.acknowledged.drain(..half) {
            let target = format!("/api/conversations/{id}");
            let response = self.client.request("DELETE", &target, None)?;
            ensure(response.status == 200, || format!("delete: {response:?}"))?;
        }
        Ok(())
    }
}
