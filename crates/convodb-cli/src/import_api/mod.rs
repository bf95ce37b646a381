//! Import from another server of the API: `convodb import --from-api`.
//!
//! Each page, and the progress with it, is on disk before the next page is requested. An
//! interrupted import therefore resumes after its last page, and a finished one can be repeated: it
//! inserts only what is new.

mod apply;
pub(crate) mod client;
mod history;
mod pager;
mod progress;
#[cfg(test)]
mod test_server;
#[cfg(test)]
mod tests;
mod wire;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::builder::BoolishValueParser;
use convodb::{Name, Store, Timestamp, UserId};
use indicatif::ProgressBar;
use serde::Serialize;

use crate::args::UsageError;
use crate::console::{counted, progress_style, say};
use crate::import_api::client::{Client, RetryPolicy, ServerFlags};
use crate::import_api::pager::{LoopDetector, NothingImported, Options, Pager};
use crate::import_api::progress::{Counts, Job, Progress};
use crate::io::rejects::Rejects;

/// Flags of an import from another server.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Import from another server of the API")]
pub(crate) struct FromApiFlags {
    #[command(flatten)]
    pub(crate) server: ServerFlags,
    /// Only conversations created at this time or later: a date (UTC) or RFC 3339
    #[arg(long, env = "CONVODB_IMPORT_SINCE", value_name = "TIME")]
    since: Option<Timestamp>,
    /// Update existing conversations that changed on the server; without it, they are left
    /// unchanged
    #[arg(long, env = "CONVODB_UPDATE", value_parser = BoolishValueParser::new())]
    update: bool,
    /// Start at the first page and ignore the progress of an interrupted import
    #[arg(long, env = "CONVODB_RESTART", value_parser = BoolishValueParser::new())]
    restart: bool,
    /// Concurrent requests for messages, 1 to 16
    #[arg(long, env = "CONVODB_PARALLEL", value_name = "N", default_value_t = 4)]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=16))]
    parallel: u8,
}

impl FromApiFlags {
    /// Whether the import is from a server.
    pub(crate) const fn is_given(&self) -> bool {
        self.server.is_given()
    }

    /// Checks that no flag of an import from a server is given for a file.
    pub(crate) fn check(&self) -> Result<()> {
        let given = [
            ("--since", self.since.is_some()),
            ("--update", self.update),
            ("--restart", self.restart),
        ];
        match given.into_iter().find(|(_, given)| *given && !self.is_given()) {
            Some((flag, _)) => bail!(UsageError(format!("{flag} needs --from-api URL"))),
            None => Ok(()),
        }
    }

    /// The client of the server that the flags name.
    pub(crate) fn client(&self) -> Result<Client> {
        self.server.client(RetryPolicy::default())
    }
}

/// Where an import writes.
pub(crate) struct Destination<'a> {
    pub(crate) store: &'a Store,
    /// The store's file; the progress is saved beside it.
    pub(crate) db: &'a Path,
    pub(crate) user: UserId,
    pub(crate) user_name: &'a Name,
    /// The rejects file, if not the default.
    pub(crate) rejects: Option<&'a Path>,
}

/// The result of an import, finished or interrupted.
pub(crate) struct Outcome {
    summary: Summary,
    ended: Result<()>,
}

/// The counts of all runs of an import, and the cost of this run.
#[derive(Debug, Serialize)]
struct Summary {
    #[serde(flatten)]
    counts: Counts,
    rejects_file: Option<String>,
    resumed: bool,
    finished: bool,
    requests: u64,
    retries: u64,
    seconds: f64,
}

/// Imports from the client's server and prints a summary on standard error.
///
/// # Errors
/// Fails if a file beside the store cannot be used. What interrupts the import itself, such as an
/// unreachable server, is part of the [`Outcome`].
pub(crate) fn run(
    destination: &Destination<'_>,
    flags: &FromApiFlags,
    client: &Client,
) -> Result<Outcome> {
    let started = Instant::now();
    let &Destination { store, db, user, user_name, rejects } = destination;
    let job = Job {
        from: flags.server.from_api.as_ref().map(ToString::to_string).unwrap_or_default(),
        user: user_name.to_string(),
        since: flags.since.map(Timestamp::to_rfc3339),
        update: flags.update,
    };
    let mut progress = Progress::open(db, job, user, &store.snapshot(), flags.restart)?;
    let resumed = progress.is_resumed();
    let mut rejects = open_rejects(&progress, db, rejects)?;
    progress.rejects = std::path::absolute(rejects.path()).context("cannot name the rejects")?;
    let bar =
        ProgressBar::new_spinner().with_style(progress_style("{spinner} {msg}, {elapsed} elapsed"));
    bar.enable_steady_tick(Duration::from_millis(200));
    client.show_beside(&bar);
    let parallel = usize::from(flags.parallel);
    let ended = Pager {
        client,
        store,
        db,
        user,
        options: Options { since: flags.since, update: flags.update, parallel },
        progress: &mut progress,
        rejects: &mut rejects,
        bar: &bar,
        loop_detector: LoopDetector::default(),
        first_rejection: None,
    }
    .run();
    bar.finish_and_clear();
    // Before its first page is finished, the import starts again, and finds the same rejects.
    let over = ended.as_ref().err().is_none_or(|error| error.is::<NothingImported>());
    let publishes = over || progress.is_resumed();
    if publishes {
        rejects.finish()?;
    }
    if over {
        Progress::remove(db)?;
    }
    let counts = progress.counts;
    let (requests, retries) = client.counts();
    let summary = Summary {
        rejects_file: (publishes && counts.rejected > 0)
            .then(|| rejects.path().display().to_string()),
        counts,
        resumed,
        finished: ended.is_ok(),
        requests,
        retries,
        seconds: started.elapsed().as_secs_f64(),
    };
    summary.print();
    Ok(Outcome { summary, ended })
}

/// The rejects file: that of the interrupted import, or a new one, at `path` if it is given.
fn open_rejects(progress: &Progress, db: &Path, path: Option<&Path>) -> Result<Rejects> {
    if !progress.is_resumed() {
        return match path {
            Some(path) => Rejects::new(path, &[db, &Progress::path(db)]),
            None => Rejects::named_after("migration"),
        };
    }
    let given = path.map(std::path::absolute).transpose().context("cannot name the rejects")?;
    if given.is_some_and(|given| given != progress.rejects) {
        bail!(UsageError(format!(
            "the interrupted import writes its rejects to {}; continue it with this --rejects, or \
             start a new one with --restart",
            progress.rejects.display()
        )));
    }
    Rejects::resume(&progress.rejects)
}

impl Outcome {
    /// The summary as one JSON object.
    pub(crate) fn to_json(&self) -> Result<String> {
        Ok(serde_json::to_string(&self.summary)?)
    }

    /// Returns whether no conversation was rejected.
    ///
    /// # Errors
    /// Fails if the import was interrupted.
    pub(crate) fn into_result(self) -> Result<bool> {
        let seen = self.summary.counts.seen();
        self.ended.map_err(|cause| match cause.is::<NothingImported>() {
            true => cause,
            false => Interrupted { cause, seen }.into(),
        })?;
        Ok(self.summary.counts.rejected == 0)
    }
}

/// What interrupted an import. Its message begins with the cause.
#[derive(Debug, thiserror::Error)]
#[error(
    "{cause:#}; interrupted after {seen} conversations: the same command continues there, --restart \
     starts from the beginning"
)]
pub(crate) struct Interrupted {
    pub(crate) cause: anyhow::Error,
    /// How many conversations the server had listed.
    seen: u64,
}

impl Summary {
    /// Prints the counts that are not zero on standard error.
    fn print(&self) {
        say(format_args!(
            "{} ({}, {}, {:.1} s)",
            self.text(),
            counted(self.requests, "request"),
            if self.retries == 1 {
                "1 retry".to_owned()
            } else {
                format!("{} retries", self.retries)
            },
            self.seconds
        ));
        if let Some(file) = &self.rejects_file {
            let rejected = counted(self.counts.rejected, "conversation");
            say(format_args!("{rejected} rejected; lines and reasons are in {file}"));
        }
    }

    fn text(&self) -> String {
        let counts = &self.counts;
        let parts: Vec<String> = [
            (counts.inserted, counted(counts.inserted, "conversation"), " inserted"),
            (counts.messages, counted(counts.messages, "message"), ""),
            (
                counts.assistants_created,
                counted(counts.assistants_created, "assistant"),
                " created",
            ),
            (counts.updated, counts.updated.to_string(), " updated"),
            (counts.already_present, counts.already_present.to_string(), " already existed"),
            (counts.repeated, counts.repeated.to_string(), " listed twice"),
            (counts.too_old, counts.too_old.to_string(), " created before --since"),
        ]
        .into_iter()
        .filter(|(count, ..)| *count > 0)
        .map(|(_, counted, what)| counted + what)
        .collect();
        match (parts.is_empty(), self.finished) {
            (false, _) => parts.join(", "),
            (true, true) => "nothing to import".to_owned(),
            (true, false) => "nothing was imported".to_owned(),
        }
    }
}
