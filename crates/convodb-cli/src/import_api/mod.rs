//! `convodb import --from-api`: the conversations of another server of the API, page by page.
//!
//! Each page is durable before the next is asked for, and the progress with it; what is there already
//! is left or brought up to date. So an interrupted migration goes on, and a finished one can be
//! repeated.

mod apply;
pub(crate) mod args;
mod client;
mod pager;
mod progress;
#[cfg(test)]
mod test_server;
#[cfg(test)]
mod tests;
mod wire;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use convodb::Timestamp;
use convodb_http::PublicUrl;
use indicatif::ProgressBar;
use serde::Serialize;

use crate::args::Import;
use crate::commands::import::{SOME_REJECTED, open, user};
use crate::console::{progress_style, say};
use crate::import_api::client::{Client, Patience};
use crate::import_api::pager::{Seen, Walk, Wanted};
use crate::import_api::progress::{Asked, Counts, Progress};
use crate::io::rejects::Rejects;

/// What a migration did, in all its runs, and what this run took.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    #[serde(flatten)]
    counts: &'a Counts,
    rejects_file: Option<String>,
    resumed: bool,
    finished: bool,
    requests: u64,
    retries: u64,
    seconds: f64,
}

/// Migrates from the server that the command line names.
pub(crate) fn run(verb: &Import, out: &mut dyn Write) -> Result<ExitCode> {
    let base = verb.from_api.from_api.clone().context("--from-api is not given")?;
    warn_of_plain_text(&base);
    let client = Client::new(base, &verb.from_api.token()?, Patience::default());
    migrate(verb, &client, out)
}

/// Migrates from the server of the client.
fn migrate(verb: &Import, client: &Client, out: &mut dyn Write) -> Result<ExitCode> {
    let started = Instant::now();
    let (db, from) = (&verb.db.db, &verb.from_api);
    let asked = Asked {
        from: from.from_api.as_ref().map(ToString::to_string).unwrap_or_default(),
        user: verb.owner.user.to_string(),
        since: from.since.map(Timestamp::to_rfc3339),
        update: from.update,
    };
    let store = open(verb)?;
    let user = user(&store, verb)?;
    let mut progress = Progress::open(db, asked, from.restart)?;
    let resumed = progress.is_resumed();
    let path = verb.rejects.clone().unwrap_or_else(|| PathBuf::from("migration.rejects.jsonl"));
    let rejects = Rejects::new(path, &[db, &Progress::path(db)])?;
    let mut rejects = if resumed { rejects.resumed()? } else { rejects };
    let bar = ProgressBar::new_spinner()
        .with_style(progress_style("{spinner} {msg}, {elapsed} since the command began"));
    bar.enable_steady_tick(Duration::from_millis(200));
    let wanted =
        Wanted { since: from.since, update: from.update, parallel: usize::from(from.parallel) };
    let outcome = Walk {
        client,
        store: &store,
        db,
        user,
        wanted,
        progress: &mut progress,
        rejects: &mut rejects,
        bar: &bar,
        seen: Seen::default(),
    }
    .run();
    bar.finish_and_clear();
    rejects.finish()?;
    store.close()?;
    if outcome.is_ok() {
        Progress::remove(db)?;
    }

    let counts = &progress.counts;
    let (requests, retries) = client.counts();
    let summary = Summary {
        counts,
        rejects_file: (counts.rejected > 0).then(|| rejects.path().display().to_string()),
        resumed,
        finished: outcome.is_ok(),
        requests,
        retries,
        seconds: started.elapsed().as_secs_f64(),
    };
    summary.tell();
    if verb.json.json {
        writeln!(out, "{}", serde_json::to_string(&summary)?)?;
    }
    let met = counts.met();
    outcome.with_context(|| {
        format!(
            "stopped after {met} conversations; the same command goes on there, --restart begins anew"
        )
    })?;
    let rejected = counts.rejected > 0;
    Ok(if rejected { ExitCode::from(SOME_REJECTED) } else { ExitCode::SUCCESS })
}

impl Summary<'_> {
    /// Tells a person what was done: what is not nothing.
    fn tell(&self) {
        let Counts {
            inserted, updated, already_present, repeated, gone, too_old, messages, ..
        } = *self.counts;
        let told: Vec<String> = [
            (inserted, "conversations inserted"),
            (messages, "messages"),
            (self.counts.assistants_created, "assistants created"),
            (updated, "brought up to date"),
            (already_present, "already there"),
            (repeated, "met twice"),
            (gone, "deleted on the server meanwhile"),
            (too_old, "created before --since"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
        let told = if told.is_empty() { "nothing to migrate".to_owned() } else { told.join(", ") };
        say(format_args!(
            "{told} ({} requests, {} of them again, {:.1} s)",
            self.requests, self.retries, self.seconds
        ));
        if let Some(file) = &self.rejects_file {
            let rejected = self.counts.rejected;
            say(format_args!("{rejected} conversations rejected, with reasons, to {file}"));
        }
    }
}

/// A token that goes over a network in plain text can be read by others.
fn warn_of_plain_text(base: &PublicUrl) {
    let base = base.to_string();
    let Some(host) = base.strip_prefix("http://") else { return };
    let this_machine = ["localhost", "127.", "[::1]"].iter().any(|name| host.starts_with(name));
    if !this_machine {
        say("warning: the token and all conversations go over plain HTTP; https:// hides them");
    }
}
