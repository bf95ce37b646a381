//! A transcript: what happened when, line by line.

use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Lines with the seconds since the beginning. Clones add to the same lines.
#[derive(Clone)]
pub(super) struct Transcript {
    began: Instant,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Transcript {
    /// Begins without lines.
    pub(super) fn begin() -> Self {
        Self { began: Instant::now(), lines: Arc::default() }
    }

    /// Adds what happens now; further lines of it are indented.
    pub(super) fn add(&self, what: impl Display) {
        let seconds = self.began.elapsed().as_secs_f64();
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        for (number, line) in what.to_string().lines().enumerate() {
            lines.push(match number {
                0 => format!("{seconds:>5.1} s  {line}"),
                _ => format!("{:>7}    {line}", ""),
            });
        }
    }

    /// All lines so far.
    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
