//! Server process: starts `convodb serve`, and kills or stops it.

use std::env;
use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use convodb::Store;

use crate::scenario::{Violation, ensure};

/// A running server. Killed when dropped.
pub(crate) struct ServerProcess {
    child: Child,
    /// Reads the standard error until the process ends, because a full pipe blocks the server.
    stderr: Option<JoinHandle<String>>,
    /// The address on which it listens.
    pub(crate) address: SocketAddr,
    /// The time from the start of the process until it listened.
    pub(crate) started_in: Duration,
}

/// How a server stopped after SIGTERM.
pub(crate) struct Stopped {
    pub(crate) status: ExitStatus,
    /// The time from the signal to the end of the process.
    pub(crate) took: Duration,
    /// Its standard error since it listened.
    pub(crate) stderr: String,
}

impl ServerProcess {
    /// Serves the store at `path`, and waits until the server listens. The command `convodb` must
    /// be in the directory of this executable.
    pub(crate) fn start(path: &Path) -> Result<Self, Violation> {
        Self::start_with(&[OsStr::new("--db"), path.as_os_str()])
    }

    /// [`ServerProcess::start`], with an admin socket at `socket`.
    pub(crate) fn start_with_admin_socket(path: &Path, socket: &Path) -> Result<Self, Violation> {
        let store = [OsStr::new("--db"), path.as_os_str()];
        Self::start_with(&[store, [OsStr::new("--admin-socket"), socket.as_os_str()]].concat())
    }

    /// Serves the store that the arguments name, and waits until the server listens.
    pub(crate) fn start_with(arguments: &[impl AsRef<OsStr>]) -> Result<Self, Violation> {
        let command = convodb_command()?;
        let began = Instant::now();
        let mut child = Command::new(&command)
            .args(["serve", "--listen", "127.0.0.1:0", "--log", "error"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| {
                Violation::new(format!("cannot run {}: {error}", command.display()))
            })?;
        let pipe = child.stderr.take().ok_or(Violation::new("server has no stderr pipe"))?;
        let mut stderr = BufReader::new(pipe);
        let address = match read_address(&mut stderr) {
            Ok(address) => address,
            Err(violation) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(violation);
            }
        };
        let started_in = began.elapsed();
        let stderr = thread::spawn(move || {
            let mut text = String::new();
            let mut lines = stderr.lines();
            while let Some(Ok(line)) = lines.next() {
                text.push_str(&line);
                text.push('\n');
            }
            text
        });
        Ok(Self { child, stderr: Some(stderr), address, started_in })
    }

    /// The id of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills the process with SIGKILL.
    pub(crate) fn kill(mut self) -> Result<(), Violation> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends SIGTERM, and waits until the process ends.
    pub(crate) fn stop(mut self) -> Result<Stopped, Violation> {
        let began = Instant::now();
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status()?;
        if !sent.success() {
            return Err(Violation::new("cannot send SIGTERM"));
        }
        let status = self.child.wait()?;
        let took = began.elapsed();
        let stderr = self.stderr.take().and_then(|stderr| stderr.join().ok()).unwrap_or_default();
        Ok(Stopped { status, took, stderr })
    }

    /// Stops the server, which must exit with status 0, and verifies the store at `path`.
    pub(crate) fn stop_and_verify(self, path: &Path) -> Result<(), Violation> {
        let Stopped { status, stderr, .. } = self.stop()?;
        ensure(status.success(), || format!("server exited with {status}: {stderr}"))?;
        let store = Store::open(path)?;
        let verified = store.snapshot().verify()?;
        ensure(verified.is_clean(), || format!("verify found {:?}", verified.findings))?;
        Ok(store.close()?)
    }
}

/// The command `convodb`, which must be in the directory of this executable.
pub(crate) fn convodb_command() -> io::Result<PathBuf> {
    Ok(env::current_exe()?.with_file_name("convodb"))
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads the standard error up to the line with the address.
fn read_address(stderr: &mut BufReader<ChildStderr>) -> Result<SocketAddr, Violation> {
    let mut text = String::new();
    loop {
        let mut line = String::new();
        if stderr.read_line(&mut line)? == 0 {
            return Err(Violation::new(format!("server exited before it listened: {text}")));
        }
        if let Some(rest) = line.trim().strip_prefix("listening on http://") {
            return Ok(rest.split([';', ',']).next().unwrap_or_default().parse()?);
        }
        text.push_str(&line);
    }
}
