//! Subprocess: runs a part of a scenario in a process of its own, because it may crash or hang.

use std::env;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// The output and the status of a subprocess.
pub(crate) struct Output {
    pub(crate) stdout: String,
    /// `None` if the subprocess was killed after the timeout.
    pub(crate) status: Option<ExitStatus>,
}

/// Runs this executable with `--task` of a scenario, for at most `timeout`.
///
/// # Errors
/// The process cannot be started or its output cannot be read.
pub(crate) fn run(
    scenario: &str,
    directory: &Path,
    task: &str,
    timeout: Duration,
) -> io::Result<Output> {
    let child = Command::new(env::current_exe()?)
        .args([scenario, "--task", task, "--directory"])
        .arg(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    wait(child, timeout)
}

/// Waits for a process with piped output, and kills it after the timeout.
fn wait(mut child: Child, timeout: Duration) -> io::Result<Output> {
    let Some(mut pipe) = child.stdout.take() else {
        return Err(io::Error::other("subprocess has no stdout pipe"));
    };
    let (sender, receiver) = channel();
    let reader = thread::spawn(move || {
        let mut stdout = String::new();
        let read = pipe.read_to_string(&mut stdout);
        // After the timeout nobody receives this.
        let _ = sender.send(());
        read.map(|_| stdout)
    });
    let in_time = !matches!(receiver.recv_timeout(timeout), Err(RecvTimeoutError::Timeout));
    if !in_time {
        child.kill()?;
    }
    let status = child.wait()?;
    let stdout = reader.join().unwrap_or_else(|_| Err(io::Error::other("reader panicked")))?;
    Ok(Output { stdout, status: in_time.then_some(status) })
}
