//! Lines of conversations into a store, a batch of them in one write.
//!
//! A conversation whose id the user has is left as it is, so an import that broke off is simply run
//! again. A line that cannot be taken is told, and the others are taken all the same.

use convodb::{Error, Transaction, UserId};

use crate::body::Line;
use crate::item::Item;

/// How many refused lines are told; the others are counted.
const MAX_TOLD: usize = 20;

/// What became of the lines so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ImportReport {
    pub(crate) inserted: u64,
    pub(crate) already_present: u64,
    pub(crate) messages: u64,
    pub(crate) assistants_created: u64,
    pub(crate) rejected: u64,
    /// The first lines that were refused.
    pub(crate) errors: Vec<Refusal>,
}

/// Why a line was not taken. Never tells a value of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) line: u64,
    pub(crate) reason: String,
}

impl ImportReport {
    /// Adds what became of the lines that came next.
    pub(crate) fn add(&mut self, next: ImportReport) {
        self.inserted += next.inserted;
        self.already_present += next.already_present;
        self.messages += next.messages;
        self.assistants_created += next.assistants_created;
        self.rejected += next.rejected;
        let room = MAX_TOLD.saturating_sub(self.errors.len());
        self.errors.extend(next.errors.into_iter().take(room));
    }

    fn refuse(&mut self, line: u64, reason: String) {
        self.rejected += 1;
        self.errors.push(Refusal { line, reason });
    }
}

/// The lines of a batch, as far as they can be read without the store.
pub(crate) struct Batch {
    items: Vec<(u64, Item)>,
    report: ImportReport,
}

impl Batch {
    /// Reads lines, of at most `max_bytes` each.
    pub(crate) fn read(lines: Vec<Line>, max_bytes: usize) -> Self {
        let mut batch = Self { items: Vec::new(), report: ImportReport::default() };
        for Line { number, text } in lines {
            let Some(text) = text else {
                let reason = format!("the line has more than {max_bytes} bytes");
                batch.report.refuse(number, reason);
                continue;
            };
            match Item::parse(&text) {
                Ok(item) => batch.items.push((number, item)),
                Err(error) => batch.report.refuse(number, error.to_string()),
            }
        }
        batch
    }

    /// Writes the conversations that the user does not have, creates the assistants that are
    /// named for the first time, and tells what became of all lines.
    ///
    /// # Errors
    /// A fault of the store; then nothing of the batch is written.
    pub(crate) fn write(
        &self,
        user: UserId,
        transaction: &mut Transaction<'_>,
    ) -> convodb::Result<ImportReport> {
        let mut report = self.report.clone();
        for (line, item) in &self.items {
            write(user, *line, item, transaction, &mut report)?;
        }
        report.errors.sort_unstable_by_key(|refusal| refusal.line);
        report.errors.truncate(MAX_TOLD);
        Ok(report)
    }
}

fn write(
    user: UserId,
    line: u64,
    item: &Item,
    transaction: &mut Transaction<'_>,
    report: &mut ImportReport,
) -> convodb::Result<()> {
    let Item { conversation, assistant_name, messages } = item;
    if transaction.conversation(user, conversation.id)?.is_some() {
        report.already_present += 1;
        return Ok(());
    }
    let assistant = conversation.assistant;
    if transaction.assistant(user, assistant)?.is_none() {
        let Some(name) = assistant_name else {
            let reason = "assistant_name must be given for an assistant that is not there yet";
            report.refuse(line, reason.to_owned());
            return Ok(());
        };
        transaction.create_assistant(user, assistant, name.clone())?;
        report.assistants_created += 1;
    }
    match transaction.insert(user, conversation, messages) {
        Ok(()) => {
            report.inserted += 1;
            report.messages += messages.len() as u64;
            Ok(())
        }
        // Checked before anything of the line was written.
        Err(error @ Error::Invalid { .. }) => {
            report.refuse(line, error.to_string());
            Ok(())
        }
        Err(error) => Err(error),
    }
}
