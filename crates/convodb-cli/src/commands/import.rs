//! `convodb import`: imports conversations from JSON lines or from another server, idempotently.
//!
//! Lines are read and sorted in bounded memory, then written as one bulk load: an import that is
//! killed leaves nothing but the assistants that it created, and can be run again. If the input
//! breaks off, the lines before are loaded and the verb fails.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::builder::{ArgPredicate, BoolishValueParser};
use convodb::{BulkLoadReport, BulkOptions, Store, UserId};
use indicatif::ProgressBar;
use serde::Serialize;

use crate::args::{ByteSize, DbFlag, JsonFlag, UserFlag};
use crate::console::{counted, grouped, now, progress_style, say};
use crate::import_api::{self, Destination, FromApiFlags};
use crate::io::input::{KEPT_BYTES, Line, Lines, Source, Text};
use crate::io::rejects::Rejects;
use crate::open_store::{LARGE_CACHE_BYTES, WhileServed, existing, existing_or_new};
use crate::resolve;
use convodb_json::{BulkTarget, ImportCounts, Item, Outcome, insert_if_new};

/// The exit status if lines were rejected.
const SOME_REJECTED: u8 = 3;
/// Maximum bytes of a line, unless `--memory` is more.
const MAX_LINE_BYTES: usize = 64 << 20;
/// Lines between two updates of the progress bar.
const STEP: u64 = 1 << 8;

/// Import conversations from JSON lines or from another server
///
/// Each line is one conversation as the API's list shows it, with an optional array `messages`, or
/// `history`. A JSON array of such objects is read, too, and CSV with the columns of an export. The
/// input may be plain text, gzip or zstd; its first bytes decide, and any other format is refused.
///
/// A conversation whose id the user already has is left unchanged, so a second run changes nothing.
/// Of several lines with the same id, the first one counts. An assistant that the user does not
/// have is created with the line's `assistant_id` and `assistant_name`; an existing one keeps its
/// name. If the input breaks off, the lines before are imported.
///
/// A line that cannot be imported goes to the rejects file, as an object with its number `line` (of
/// an array, that of the element), the `reason` and its `text`, and the import continues. The exit status is then 3.
///
/// With --from-api, conversations come from another server of the API, page by page, oldest first
/// if it supports that. Each page is on disk before the next one is requested. If it is
/// interrupted, run the same command again: it continues after the last finished page, with the
/// progress in FILE.migration. That is refused if the store was removed, replaced or restored, or
/// the user erased, in between: what was imported may be missing then.
///
/// A conversation whose messages the server refuses is rejected alone. Exit status: 0 all imported,
/// 1 interrupted or nothing could be imported, 2 wrong command line, 3 some were rejected.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "convodb import --db <FILE> --user <USER> [OPTIONS] <PATH>\n       \
                      convodb import --db <FILE> --user <USER> --from-api <URL> [OPTIONS]",
    after_help = "Example: convodb import --db chats.convodb --user acme --create-user acme.jsonl.gz"
)]
pub(crate) struct Args {
    #[command(flatten)]
    db: DbFlag,
    #[command(flatten)]
    user: UserFlag,
    /// Create the user, and the store, if they do not exist
    #[arg(long, env = "CONVODB_CREATE_USER", value_parser = BoolishValueParser::new())]
    create_user: bool,
    /// File for rejected lines, which must not exist [default: PATH's name with .rejects.jsonl, in
    /// the working directory, with a number if that exists]
    #[arg(long, env = "CONVODB_REJECTS", value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// Memory for sorting: bytes, or with KiB, MiB, GiB; beyond it, temporary files are used. Also
    /// the maximum bytes of one line, at least 64 MiB, which takes a few times as much while it is
    /// parsed. The page cache takes another 256 MiB
    #[arg(long, env = "CONVODB_MEMORY", value_name = "SIZE", default_value = "256MiB")]
    memory: ByteSize,
    #[command(flatten)]
    json: JsonFlag,
    /// File to read, or - for standard input
    #[arg(default_value_if("from_api", ArgPredicate::IsPresent, "-"))]
    #[arg(required = false, required_unless_present = "from_api", conflicts_with = "from_api")]
    path: PathBuf,
    #[command(flatten)]
    from_api: FromApiFlags,
}

/// The result of an import, as JSON.
#[derive(Debug, Serialize)]
struct Summary {
    inserted: u64,
    already_present: u64,
    repeated: u64,
    messages: u64,
    assistants_created: u64,
    rejected: u64,
    rejects_file: Option<String>,
    #[serde(skip)]
    first_reject: Option<String>,
    seconds: f64,
}

/// Imports a file, standard input or another server.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Result<ExitCode> {
    args.from_api.check()?;
    let all_taken =
        if args.from_api.is_given() { run_from_api(args, out) } else { run_from_file(args, out) }?;
    Ok(if all_taken { ExitCode::SUCCESS } else { ExitCode::from(SOME_REJECTED) })
}

fn run_from_api(args: &Args, out: &mut dyn Write) -> Result<bool> {
    let client = args.from_api.client()?;
    let store = open(args)?;
    let destination = Destination {
        db: &args.db.db,
        user: user(&store, args)?,
        user_name: &args.user.user,
        rejects: args.rejects.as_deref(),
        store: &store,
    };
    let outcome = import_api::run(&destination, &args.from_api, &client)?;
    store.close()?;
    if args.json.json {
        writeln!(out, "{}", outcome.to_json()?)?;
    }
    outcome.into_result()
}

fn run_from_file(args: &Args, out: &mut dyn Write) -> Result<bool> {
    let started = Instant::now();
    let rejects = match &args.rejects {
        Some(path) => Rejects::new(path, &[&args.path, &args.db.db])?,
        None => Rejects::named_after(&input_name(&args.path))?,
    };
    let source = Source::open(&args.path)?;
    let bar = progress_bar(source.bytes);
    // Before the store is opened, or created.
    let lines = source.lines(&bar, MAX_LINE_BYTES.max(args.memory.0));
    let mut lines = lines
        .inspect_err(|_| bar.finish_and_clear())
        .with_context(|| format!("cannot import {}", args.path.display()))?;
    let store = open(args)?;
    let user = user(&store, args)?;

    let options = BulkOptions { budget_bytes: args.memory.0, ..BulkOptions::default() };
    let target = BulkTarget::new(&store, options);
    let mut importer = Importer { target, user, counts: ImportCounts::default(), rejects };
    let outcome = importer.import_all(&mut lines, &bar);
    // Even if the input broke off, the lines before are loaded.
    let summary = importer.finish(started, &bar);
    bar.finish_and_clear();
    store.close()?;
    let summary = match (summary, &outcome) {
        (Ok(summary), _) => summary,
        // The error of the input came first.
        (Err(_), Err(_)) => return outcome.map(|()| false),
        (Err(error), Ok(())) => return Err(error),
    };
    summary.print();
    if args.json.json {
        writeln!(out, "{}", serde_json::to_string(&summary)?)?;
    }
    outcome.with_context(|| format!("stopped before the end of {}", args.path.display()))?;
    Ok(summary.rejected == 0)
}

/// The input's name without its directory.
fn input_name(input: &Path) -> String {
    match input.file_name() {
        Some(name) if name != "-" => name.to_string_lossy().into_owned(),
        _ => "stdin".to_owned(),
    }
}

/// Opens the store, or creates it with `--create-user`.
fn open(args: &Args) -> Result<Store> {
    let open = if args.create_user { existing_or_new } else { existing };
    open(
        &args.db.db,
        LARGE_CACHE_BYTES,
        WhileServed::Request("POST /api/user/conversations/import"),
    )
}

/// The user who gets the conversations; created with `--create-user`.
fn user(store: &Store, args: &Args) -> Result<UserId> {
    let name = &args.user.user;
    if args.create_user && store.snapshot().user_by_name(name)?.is_none() {
        return Ok(store.create_user(name.clone(), now()?)?.id);
    }
    resolve::user(&store.snapshot(), name, &args.db.db)
}

fn progress_bar(bytes: Option<u64>) -> ProgressBar {
    let bar = match bytes {
        Some(bytes) => ProgressBar::new(bytes).with_style(progress_style(
            "{bar:30} {percent:>3}% of {binary_total_bytes}, {msg}, {eta} left",
        )),
        None => ProgressBar::new_spinner()
            .with_style(progress_style("{spinner} {binary_bytes} read, {msg}, {elapsed}")),
    };
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Imports lines into a store.
struct Importer {
    target: BulkTarget,
    user: UserId,
    counts: ImportCounts,
    rejects: Rejects,
}

impl Importer {
    fn import_all(&mut self, lines: &mut Lines, bar: &ProgressBar) -> Result<()> {
        let started = Instant::now();
        let mut read: u64 = 0;
        let max_bytes = lines.max_bytes();
        loop {
            let after = lines.number();
            let line =
                lines.next().with_context(|| format!("cannot read the line after line {after}"))?;
            let Some(line) = line else {
                return Ok(());
            };
            self.import(&line, max_bytes)?;
            read += 1;
            if read.is_multiple_of(STEP) {
                let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                let rate = read.saturating_mul(1000) / millis.max(1);
                bar.set_message(format!("{} lines, {}/s", grouped(read), grouped(rate)));
            }
        }
    }

    /// Imports a line or rejects it.
    fn import(&mut self, line: &Line<'_>, max_bytes: usize) -> Result<()> {
        let text = match line.text {
            Text::Whole(text) => text,
            Text::TooLong(start) => {
                let reason = format!(
                    "the line has more than {max_bytes} bytes, the larger of 64 MiB and --memory; its \
                     first {KEPT_BYTES} follow"
                );
                return self.rejects.write(line.number, &reason, start);
            }
            Text::Uneven(cells) => {
                let reason = "the record has another number of cells than the header";
                return self.rejects.write(line.number, reason, cells);
            }
        };
        let item = match Item::parse(text) {
            Ok(item) => item,
            Err(error) => return self.rejects.write(line.number, &error.to_string(), text),
        };
        let applied = insert_if_new(&mut self.target, self.user, &item)
            .context("cannot load the conversations")?;
        self.counts.record(&applied);
        match applied.outcome {
            Outcome::Rejected(reason) => self.rejects.write(line.number, &reason.to_string(), text),
            _ => Ok(()),
        }
    }

    fn finish(mut self, started: Instant, bar: &ProgressBar) -> Result<Summary> {
        bar.set_style(progress_style("{bar:30} {percent:>3}% written, {eta} left"));
        bar.reset_eta();
        let writing = bar.clone();
        let BulkLoadReport { inserted, messages, present, repeated } = self
            .target
            .finish_with_progress(move |done, of| {
                writing.set_length(of);
                writing.set_position(done);
            })
            .context("cannot load the conversations")?;
        let rejected = self.rejects.finish()?;
        Ok(Summary {
            inserted,
            already_present: present,
            repeated,
            messages,
            assistants_created: self.counts.assistants_created,
            rejected,
            rejects_file: (rejected > 0).then(|| self.rejects.path().display().to_string()),
            first_reject: self.rejects.first().map(str::to_owned),
            seconds: started.elapsed().as_secs_f64(),
        })
    }
}

impl Summary {
    /// Prints the summary on standard error.
    fn print(&self) {
        say(format_args!("{} ({:.1} s)", self.text(), self.seconds));
        if self.repeated > 0 {
            let lines = counted(self.repeated, "line");
            say(format_args!("{lines} skipped: an earlier line of the input has the same id"));
        }
        if let Some(file) = &self.rejects_file {
            let lines = counted(self.rejected, "line");
            say(format_args!("{lines} rejected; lines and reasons are in {file}"));
            if let Some(first) = &self.first_reject {
                say(format_args!("the first one is {first}"));
            }
        }
    }

    fn text(&self) -> String {
        if self.inserted == 0 && self.assistants_created == 0 {
            let present = self.already_present;
            return match present {
                0 if self.rejected > 0 => "nothing changed: no line could be imported".to_owned(),
                0 => "nothing changed: the input has no conversation".to_owned(),
                _ => format!("nothing changed: {} already existed", conversations(present)),
            };
        }
        let mut parts = vec![format!(
            "inserted {} with {}",
            conversations(self.inserted),
            counted(self.messages, "message")
        )];
        if self.assistants_created > 0 {
            parts.push(format!("created {}", counted(self.assistants_created, "assistant")));
        }
        if self.already_present > 0 {
            parts.push(format!("left {} unchanged that already existed", self.already_present));
        }
        parts.join(", ")
    }
}

fn conversations(count: u64) -> String {
    counted(count, "conversation")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_are_named_after_their_input() {
        assert_eq!(input_name(Path::new("/data/chats.jsonl.gz")), "chats.jsonl.gz");
        assert_eq!(input_name(Path::new("-")), "stdin");
    }

    #[test]
    fn a_summary_says_what_changed() {
        #[track_caller]
        fn check(inserted: u64, present: u64, created: u64, expected: &str) {
            let summary = Summary {
                inserted,
                already_present: present,
                repeated: 0,
                messages: inserted,
                assistants_created: created,
                rejected: 0,
                rejects_file: None,
                first_reject: None,
                seconds: 0.0,
            };
            assert_eq!(summary.text(), expected);
        }
        check(0, 7168, 0, "nothing changed: 7168 conversations already existed");
        check(0, 0, 0, "nothing changed: the input has no conversation");
        check(1, 0, 0, "inserted 1 conversation with 1 message");
        check(
            7000,
            168,
            2,
            "inserted 7000 conversations with 7000 messages, created 2 assistants, \
             left 168 unchanged that already existed",
        );
    }
}
