//! `convodb import`: conversations from JSON lines, in bounded memory and as often as one likes.
//!
//! Lines are read and sorted first, then written as one load: an import that is killed changes nothing
//! but the assistants that it created, and is simply run again. An input that ends in the middle is
//! loaded up to there, and told as an error.

use std::collections::HashSet;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use convodb::{AssistantId, BulkLoader, BulkOptions, BulkReport, Error, Name, Store, UserId};
use convodb_http::item::Item;
use indicatif::ProgressBar;
use serde::Serialize;

use crate::args::Import;
use crate::console::{counted, grouped, now, progress_style, say};
use crate::io::input::{KEPT_BYTES, Line, Lines, MAX_LINE_BYTES, Source, Text};
use crate::io::rejects::Rejects;
use crate::open_store::{LARGE_CACHE_BYTES, WhileServed, existing, existing_or_new};
use crate::resolve;

/// The exit status when lines were rejected.
pub(crate) const SOME_REJECTED: u8 = 3;
/// How often the rate is told to the bar, in lines.
const STEP: u64 = 1 << 8;

/// What an import did.
#[derive(Debug, Serialize)]
struct Summary {
    inserted: u64,
    already_present: u64,
    repeated: u64,
    messages: u64,
    assistants_created: u64,
    rejected: u64,
    rejects_file: Option<String>,
    seconds: f64,
}

/// Imports a file or standard input.
pub(crate) fn run(verb: &Import, out: &mut dyn Write) -> Result<ExitCode> {
    let started = Instant::now();
    let path = verb.rejects.clone().unwrap_or_else(|| Rejects::default_path(&verb.path));
    let rejects = Rejects::new(path, &[&verb.path, &verb.db.db])?;
    let source = Source::open(&verb.path)?;
    let store = open(verb)?;
    let user = user(&store, verb)?;
    let bar = progress_bar(source.bytes);

    let mut intake = Intake {
        loader: store
            .bulk_load(BulkOptions { budget_bytes: verb.memory.0, ..BulkOptions::default() }),
        known: HashSet::new(),
        created: 0,
        rejects,
        store: store.clone(),
        user,
    };
    let outcome = source
        .lines(&bar)
        .context("cannot unpack the input")
        .and_then(|mut lines| intake.take_all(&mut lines, &bar));
    // Whatever stopped the input, what was taken before is loaded.
    let summary = intake.finish(started, &bar);
    bar.finish_and_clear();
    store.close()?;
    let summary = match (summary, &outcome) {
        (Ok(summary), _) => summary,
        // The input's own fault came first.
        (Err(_), Err(_)) => return outcome.map(|()| ExitCode::FAILURE),
        (Err(error), Ok(())) => return Err(error),
    };
    summary.tell();
    if verb.json.json {
        writeln!(out, "{}", serde_json::to_string(&summary)?)?;
    }
    outcome.with_context(|| format!("stopped before the end of {}", verb.path.display()))?;
    let rejected = summary.rejected > 0;
    Ok(if rejected { ExitCode::from(SOME_REJECTED) } else { ExitCode::SUCCESS })
}

/// Opens the store that is imported into, or makes it where that is asked for.
pub(crate) fn open(verb: &Import) -> Result<Store> {
    let open = if verb.create_user { existing_or_new } else { existing };
    open(&verb.db.db, LARGE_CACHE_BYTES, WhileServed::Ask("POST /api/user/conversations/import"))
}

/// Whose data it will be; created where that is asked for.
pub(crate) fn user(store: &Store, verb: &Import) -> Result<UserId> {
    let name = &verb.owner.user;
    if verb.create_user && store.snapshot().user_by_name(name)?.is_none() {
        return Ok(store.create_user(name.clone(), now()?)?.id);
    }
    resolve::user(&store.snapshot(), name, &verb.db.db)
}

fn progress_bar(bytes: Option<u64>) -> ProgressBar {
    let bar = match bytes {
        Some(bytes) => ProgressBar::new(bytes).with_style(progress_style(
            "{bar:30} {percent:>3}% of {binary_total_bytes}, {msg}, {eta} to go",
        )),
        None => ProgressBar::new_spinner()
            .with_style(progress_style("{spinner} {binary_bytes} read, {msg}, {elapsed}")),
    };
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Takes lines into a store.
struct Intake {
    store: Store,
    user: UserId,
    loader: BulkLoader,
    /// The assistants that the user is known to have.
    known: HashSet<AssistantId>,
    created: u64,
    rejects: Rejects,
}

impl Intake {
    fn take_all(&mut self, lines: &mut Lines, bar: &ProgressBar) -> Result<()> {
        let started = Instant::now();
        let mut taken: u64 = 0;
        loop {
            let after = lines.number();
            let line =
                lines.next().with_context(|| format!("cannot read on after line {after}"))?;
            let Some(line) = line else {
                return Ok(());
            };
            self.take(&line)?;
            taken += 1;
            if taken.is_multiple_of(STEP) {
                let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                let rate = taken.saturating_mul(1000) / millis.max(1);
                bar.set_message(format!("{} rows, {}/s", grouped(taken), grouped(rate)));
            }
        }
    }

    /// Takes a line, or rejects it.
    fn take(&mut self, line: &Line<'_>) -> Result<()> {
        let text = match line.text {
            Text::Whole(text) => text,
            Text::TooLong(start) => {
                let reason = format!(
                    "the line has more than {MAX_LINE_BYTES} bytes; here are the first {KEPT_BYTES}"
                );
                return self.rejects.write(line.number, &reason, start);
            }
        };
        let item = match Item::parse(text) {
            Ok(item) => item,
            Err(error) => return self.rejects.write(line.number, &error.to_string(), text),
        };
        let assistant = item.conversation.assistant;
        if !self.has_assistant(assistant, item.assistant_name)? {
            let reason = "assistant_name must be given for an assistant that is not there yet";
            return self.rejects.write(line.number, reason, text);
        }
        match self.loader.push(self.user, &item.conversation, &item.messages) {
            Ok(()) => Ok(()),
            Err(error @ Error::Invalid { .. }) => {
                self.rejects.write(line.number, &error.to_string(), text)
            }
            Err(error) => Err(error).context("cannot load the conversations"),
        }
    }

    /// Whether the user has the assistant, which is created where a name is told.
    fn has_assistant(&mut self, id: AssistantId, name: Option<Name>) -> Result<bool> {
        if self.known.contains(&id) {
            return Ok(true);
        }
        if self.store.snapshot().assistant(self.user, id)?.is_none() {
            let Some(name) = name else {
                return Ok(false);
            };
            self.store
                .create_assistant(self.user, id, name)
                .context("cannot create an assistant")?;
            self.created += 1;
        }
        self.known.insert(id);
        Ok(true)
    }

    fn finish(mut self, started: Instant, bar: &ProgressBar) -> Result<Summary> {
        bar.set_style(progress_style("{bar:30} {percent:>3}% written, {eta} to go"));
        bar.reset_eta();
        let writing = bar.clone();
        let BulkReport { inserted, messages, present, repeated } = self
            .loader
            .finish(move |done, of| {
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
            assistants_created: self.created,
            rejected,
            rejects_file: (rejected > 0).then(|| self.rejects.path().display().to_string()),
            seconds: started.elapsed().as_secs_f64(),
        })
    }
}

impl Summary {
    /// Tells a person what was done.
    fn tell(&self) {
        say(format_args!("{} ({:.1} s)", self.what(), self.seconds));
        if self.repeated > 0 {
            let lines = counted(self.repeated, "line");
            say(format_args!("{lines} left out: an earlier line of the input has the same id"));
        }
        if let Some(file) = &self.rejects_file {
            let lines = counted(self.rejected, "line");
            say(format_args!("{lines} rejected, with reasons, to {file}"));
        }
    }

    fn what(&self) -> String {
        if self.inserted == 0 && self.assistants_created == 0 {
            let present = self.already_present;
            return match present {
                0 if self.rejected > 0 => "nothing changed: no line could be taken".to_owned(),
                0 => "nothing changed: there was no conversation to import".to_owned(),
                _ => format!("nothing changed: all {} were already there", conversations(present)),
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
            parts.push(format!("left {} that were already there", self.already_present));
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
    fn summaries() {
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
                seconds: 0.0,
            };
            assert_eq!(summary.what(), expected);
        }
        check(0, 7168, 0, "nothing changed: all 7168 conversations were already there");
        check(0, 0, 0, "nothing changed: there was no conversation to import");
        check(1, 0, 0, "inserted 1 conversation with 1 message");
        check(
            7000,
            168,
            2,
            "inserted 7000 conversations with 7000 messages, created 2 assistants, \
             left 168 that were already there",
        );
    }
}
