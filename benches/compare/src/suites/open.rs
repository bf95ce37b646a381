//! Open suite: time from `Store::open` to the first page, after a clean stop and after a kill, with
//! and without convodb's fast recovery.
//!
//! The writer is a subprocess, so that it can be killed. The reader is one too, so that it starts
//! with empty caches.

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use convodb::{ListRequest, Store, UserId};
use serde::{Deserialize, Serialize};

use crate::dataset::{BIGGEST, SEED};
use crate::results::{self, micros};
use crate::stores::{self, Format, Stores};
use crate::suites::pages::progress_bar;
use crate::writers::{Writer, convodb as writer, copy_store, new_rows};

const ROUNDS: u64 = 5;
/// Durable inserts of the writer before it ends.
const INSERTS: usize = 20;

/// The result file of the suite.
#[derive(Serialize, Deserialize)]
pub(crate) struct OpenResult {
    pub(crate) suite: String,
    pub(crate) seed: u64,
    pub(crate) processors: usize,
    pub(crate) openings: Vec<OpeningResult>,
}

/// The medians of several opens.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct OpeningResult {
    pub(crate) rows: u64,
    /// How the writer ended: `stopped` or `killed`.
    pub(crate) end: String,
    pub(crate) fast_recovery: bool,
    pub(crate) open_ns: u64,
    pub(crate) first_page_ns: u64,
    pub(crate) rounds: u64,
}

impl OpeningResult {
    /// Table line: rows, end of the writer, fast recovery, time to open and to the first page in
    /// microseconds.
    pub(crate) fn line(&self) -> Vec<String> {
        let recovery = if self.fast_recovery { "with" } else { "without" };
        vec![
            self.rows.to_string(),
            self.end.clone(),
            recovery.to_owned(),
            micros(self.open_ns),
            micros(self.first_page_ns),
        ]
    }
}

/// The times of one open.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct OpenTimes {
    open_ns: u64,
    first_page_ns: u64,
}

/// Measures every size with both ends and both kinds of recovery, interleaved.
pub(crate) fn run(sizes: &[u64], directory: &Path, json: &Path) -> Result<()> {
    let progress = progress_bar()?;
    let mut openings = Vec::new();
    for rows in sizes {
        let original = Stores::new(directory, *rows)?.path(Format::Convodb, &progress)?;
        let cases = [("stopped", true), ("stopped", false), ("killed", true), ("killed", false)];
        let mut times: [Vec<OpenTimes>; 4] = Default::default();
        progress.set_length(ROUNDS * cases.len() as u64);
        progress.set_position(0);
        let copy = directory.join("open");
        copy_store(&original, &copy)?;
        for round in 0..ROUNDS {
            for ((end, fast), times) in cases.iter().zip(&mut times) {
                progress.set_message(format!("{rows} rows, {end}"));
                write_in_subprocess(&copy, *fast, *end == "killed", SEED + 5_000 + round)?;
                times.push(read_in_subprocess(&copy)?);
                progress.inc(1);
            }
        }
        stores::remove(&copy)?;
        for ((end, fast_recovery), times) in cases.into_iter().zip(&times) {
            openings.push(OpeningResult {
                rows: *rows,
                end: end.to_owned(),
                fast_recovery,
                open_ns: median(times, |times| times.open_ns),
                first_page_ns: median(times, |times| times.first_page_ns),
                rounds: ROUNDS,
            });
        }
    }
    progress.finish_and_clear();
    let processors = std::thread::available_parallelism()?.get();
    let found = OpenResult { suite: "open".to_owned(), seed: SEED, processors, openings };
    results::write(json, &found)?;
    print(&found)
}

fn median(times: &[OpenTimes], part: impl Fn(&OpenTimes) -> u64) -> u64 {
    let mut parts: Vec<u64> = times.iter().map(part).collect();
    parts.sort_unstable();
    parts.get(parts.len() / 2).copied().unwrap_or_default()
}

/// Runs a writer, waits for its inserts, then kills or stops it.
fn write_in_subprocess(path: &Path, fast_recovery: bool, kill: bool, seed: u64) -> Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["open-write", "--seed", &seed.to_string(), "--path"]).arg(path);
    if fast_recovery {
        command.arg("--fast-recovery");
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    let output = child.stdout.as_mut().context("the output of the writer is not piped")?;
    BufReader::new(output).read_line(&mut line)?;
    ensure!(line.trim() == "written", "unexpected output of the writer: {line}");
    end(child, kill)
}

fn end(mut child: Child, kill: bool) -> Result<()> {
    if kill {
        child.kill()?;
        child.wait()?;
        return Ok(());
    }
    // The writer stops at the end of its input.
    drop(child.stdin.take());
    ensure!(child.wait()?.success(), "the writer failed to stop");
    Ok(())
}

fn read_in_subprocess(path: &Path) -> Result<OpenTimes> {
    let mut command = Command::new(std::env::current_exe()?);
    let output = command.arg("open-read").arg("--path").arg(path).output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the reader failed: {stderr}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The writer: inserts rows, prints `written`, then waits until its input ends or it is killed.
pub(crate) fn run_writer(path: &Path, fast_recovery: bool, seed: u64) -> Result<()> {
    let store = writer::open(path, fast_recovery)?;
    for row in new_rows(seed, 1_000_000).take(INSERTS) {
        // The four cases of a round write the same rows, so delete those of the previous case.
        let user = UserId::new(row.user);
        if store.snapshot().conversation(user, row.conversation.id)?.is_some() {
            store.delete(user, row.conversation.id)?;
        }
        Writer::insert(&store, &[row])?;
    }
    writeln!(std::io::stdout(), "written")?;
    std::io::stdout().flush()?;
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(store.close()?)
}

/// The reader: opens the store and reads the first page of the biggest user.
pub(crate) fn run_reader(path: &Path) -> Result<OpenTimes> {
    let began = Instant::now();
    let store = Store::open(path)?;
    let open = began.elapsed();
    let page = store.snapshot().list(UserId::new(BIGGEST), &ListRequest::default())?;
    let first_page = began.elapsed();
    ensure!(!page.is_empty(), "the biggest user has no rows");
    store.close()?;
    Ok(OpenTimes {
        open_ns: u64::try_from(open.as_nanos())?,
        first_page_ns: u64::try_from(first_page.as_nanos())?,
    })
}

fn print(found: &OpenResult) -> Result<()> {
    let head = ["rows", "writer", "fast recovery", "open us", "first page us"].map(str::to_owned);
    let lines: Vec<Vec<String>> = found.openings.iter().map(OpeningResult::line).collect();
    let mut out = std::io::stdout().lock();
    Ok(writeln!(out, "{}", results::table(&head, &lines))?)
}
