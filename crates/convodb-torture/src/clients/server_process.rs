//! The real server: the command `convodb serve` as a process, and how it is ended.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use convodb::Store;

use crate::scenario::{Violation, ensure};

/// A running server. Killed when it is dropped.
pub(crate) struct ServerProcess {
    child: Child,
    /// Hears what the server says after it listens, so that its pipe never fills, until it ends.
    rest: Option<JoinHandle<String>>,
    /// Where it listens.
    pub(crate) address: String,
    /// How long it took to listen.
    pub(crate) started_in: Duration,
}

impl ServerProcess {
    /// Serves the store at `path`, and waits until it listens.
    pub(crate) fn start(path: &Path) -> Result<Self, Violation> {
        let command = env::current_exe()?.with_file_name("convodb");
        let began = Instant::now();
        let mut child = Command::new(&command)
            .args(["serve", "--listen", "127.0.0.1:0", "--log", "error", "--db"])
            .arg(path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| {
                Violation::new(format!("cannot run {}: {error}", command.display()))
            })?;
        let pipe = child.stderr.take().ok_or(Violation::new("a server without a pipe"))?;
        let mut err = BufReader::new(pipe);
        let heard = hear_until_it_listens(&mut err);
        let address = match heard {
            Ok(address) => address,
            Err(violation) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(violation);
            }
        };
        let started_in = began.elapsed();
        let rest = thread::spawn(move || {
            let mut rest = String::new();
            let mut lines = err.lines();
            while let Some(Ok(line)) = lines.next() {
                rest.push_str(&line);
                rest.push('\n');
            }
            rest
        });
        Ok(Self { child, rest: Some(rest), address, started_in })
    }

    /// Ends it at once, as a power cut would end its process.
    pub(crate) fn kill(mut self) -> Result<(), Violation> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to stop, and gives how it ended, after how long, and what it said.
    pub(crate) fn stop(mut self) -> Result<(ExitStatus, Duration, String), Violation> {
        let began = Instant::now();
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status()?;
        if !sent.success() {
            return Err(Violation::new("SIGTERM could not be sent"));
        }
        let status = self.child.wait()?;
        let took = began.elapsed();
        let said = self.rest.take().and_then(|rest| rest.join().ok()).unwrap_or_default();
        Ok((status, took, said))
    }

    /// Asks it to stop, which must go well, and audits the store that it leaves at `path`.
    pub(crate) fn stop_and_audit(self, path: &Path) -> Result<(), Violation> {
        let (status, _, said) = self.stop()?;
        ensure(status.success(), || format!("it stopped with {status}: {said}"))?;
        let store = Store::open(path)?;
        let audit = store.snapshot().verify(|_, _| {})?;
        ensure(audit.is_clean(), || format!("{:?}", audit.faults))?;
        Ok(store.close()?)
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn hear_until_it_listens(err: &mut BufReader<ChildStderr>) -> Result<String, Violation> {
    let mut said = String::new();
    loop {
        let mut line = String::new();
        if err.read_line(&mut line)? == 0 {
            return Err(Violation::new(format!("the server ended early: {said}")));
        }
        if let Some(rest) = line.trim().strip_prefix("listening on http://") {
            let address = rest.split([';', ',']).next().unwrap_or_default();
            return Ok(address.to_owned());
        }
        said.push_str(&line);
    }
}
