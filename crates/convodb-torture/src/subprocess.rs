//! This command as a process of its own, for what may end a process.

use std::env;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// What a process said, and how it ended; no status where it had to be ended.
pub(crate) struct Ended {
    pub(crate) out: String,
    pub(crate) status: Option<ExitStatus>,
}

/// Runs this command's side of a proof in a process of its own, for at most `patience`.
///
/// # Errors
/// When there can be no process.
pub(crate) fn run(
    proof: &str,
    directory: &Path,
    part: &str,
    patience: Duration,
) -> io::Result<Ended> {
    let child = Command::new(env::current_exe()?)
        .args([proof, "--part", part, "--directory"])
        .arg(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    await_end(child, patience)
}

/// Waits for the end of a process whose output is piped, and ends it where it takes too long.
fn await_end(mut child: Child, patience: Duration) -> io::Result<Ended> {
    let Some(mut pipe) = child.stdout.take() else { return Err(io::Error::other("no pipe")) };
    let (tell, told) = channel();
    let reader = thread::spawn(move || {
        let mut out = String::new();
        let read = pipe.read_to_string(&mut out);
        // Who no longer waits needs no answer.
        let _ = tell.send(());
        read.map(|_| out)
    });
    let in_time = !matches!(told.recv_timeout(patience), Err(RecvTimeoutError::Timeout));
    if !in_time {
        child.kill()?;
    }
    let status = child.wait()?;
    let out = reader.join().unwrap_or_else(|_| Err(io::Error::other("a reader panicked")))?;
    Ok(Ended { out, status: in_time.then_some(status) })
}
