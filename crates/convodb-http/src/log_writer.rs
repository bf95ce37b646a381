//! Log writer: lines to standard error by a thread of their own, so that nobody waits for it.
//!
//! A reader that stalls fills its pipe. A line is then queued, and dropped if the queue is full:
//! a lost line of the log is better than a server that waits for it. `/metrics` counts them.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// The lines that wait at most.
const MAX_WAITING_LINES: usize = 1024;

static DROPPED: AtomicU64 = AtomicU64::new(0);

/// A writer of log lines that never waits. Each call of `write` is one line, as those of
/// `tracing-subscriber` are. Clones share their queue.
///
/// ```
/// use std::io::Write;
/// # fn main() -> std::io::Result<()> {
/// let mut log = convodb_http::LogWriter::stderr()?;
/// log.write_all(b"the server has started\n")
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct LogWriter {
    lines: SyncSender<Vec<u8>>,
    /// The lines in the queue and with the thread.
    waiting: Arc<AtomicUsize>,
}

impl LogWriter {
    /// Starts a writer to standard error.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn stderr() -> io::Result<Self> {
        Self::to(io::stderr())
    }

    fn to(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (lines, queue) = sync_channel(MAX_WAITING_LINES);
        let waiting = Arc::new(AtomicUsize::new(0));
        let left = waiting.clone();
        let work = move || write_lines(&queue, out, &left);
        thread::Builder::new().name("convodb-log".to_owned()).spawn(work)?;
        Ok(Self { lines, waiting })
    }

    /// Waits until all lines are written, for at most `limit`: call it before the process ends.
    pub fn wait_until_written(&self, limit: Duration) {
        let until = Instant::now() + limit;
        while self.waiting.load(Ordering::Acquire) > 0 && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// The number of lines that all writers of this process have dropped.
    pub(crate) fn dropped() -> u64 {
        DROPPED.load(Ordering::Relaxed)
    }
}

fn write_lines(queue: &Receiver<Vec<u8>>, mut out: impl Write, waiting: &AtomicUsize) {
    for line in queue {
        // A closed standard error must not end the thread: it may be all that is wrong.
        if out.write_all(&line).is_err() {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
        waiting.fetch_sub(1, Ordering::Release);
    }
}

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        if self.lines.try_send(line.to_vec()).is_err() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};

    /// A reader that takes a line only when the test lets it.
    struct Stalled {
        may_take: Receiver<()>,
        taken: Sender<Vec<u8>>,
    }

    impl Write for Stalled {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            let _ = self.may_take.recv();
            let _ = self.taken.send(line.to_vec());
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stalled_reader_loses_lines_and_stops_nobody() {
        let ((take, may_take), (taken, lines)) = (channel(), channel());
        let mut log = LogWriter::to(Stalled { may_take, taken }).unwrap();
        let before = LogWriter::dropped();
        let sent = 2 * MAX_WAITING_LINES;
        for number in 0..sent {
            log.write_all(format!("{number}\n").as_bytes()).unwrap();
        }
        // One line may be with the thread already.
        let dropped = LogWriter::dropped() - before;
        let expected = (sent - MAX_WAITING_LINES) as u64;
        assert!((expected - 1..=expected).contains(&dropped), "{dropped}");
        drop(take);
        log.wait_until_written(Duration::from_secs(60));
        drop(log);
        let lines: Vec<Vec<u8>> = lines.iter().collect();
        assert_eq!(lines.len() as u64, sent as u64 - dropped);
        assert_eq!(lines[..2], [b"0\n", b"1\n"], "the first lines, in order");
    }
}
