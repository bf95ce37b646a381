//! Import: conversations from newline-delimited JSON, each batch of lines one durable write.
//!
//! A conversation whose id the user already has is left unchanged, so an interrupted import can be
//! repeated. A line that cannot be imported is reported; the lines around it are imported.
//!
//! An embedded store writes a batch in transactions of bounded size, so that other writes get their turn
//! within a long conversation. Another store writes a batch at once.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use convodb::{Error, InsertProgress, MAX_INSERTED_BYTES, Transaction, UserId};
use convodb_json::{Applied, ImportCounts, Item, Outcome, PartApplied, insert_part_if_new, json};
use convodb_service::{Write, Written};
use tokio::time::sleep;

use crate::body::{Content, Line, RequestBody};
use crate::error::{ApiError, Result};
use crate::extract::auth::{AuthWrite, Import};
use crate::response::json_body;
use crate::run_blocking::run_blocking;

/// How long a batch waits before it is queued again after the write queue was full.
const QUEUE_RETRY_DELAY: Duration = Duration::from_millis(50);
/// How often a batch is queued before the import fails: for 5 s altogether.
const MAX_QUEUE_ATTEMPTS: u32 = 100;
/// How many rejected lines the response lists; the others are only counted.
const MAX_LISTED_LINES: usize = 20;

/// `POST /api/user/conversations/import`.
///
/// Each batch is durable before the next one is read, and stays if a later one fails.
pub(crate) async fn import(auth: AuthWrite<Import>, body: RequestBody) -> Result<Response> {
    let _permit = auth.transfer_permit()?;
    let mut lines = body.lines()?;
    let mut report = ImportReport::default();
    loop {
        let batch = lines.batch(|| auth.recheck()).await?;
        if batch.is_empty() {
            return Ok(json_body::ok(report.to_json()));
        }
        let batch = run_blocking(move || Ok::<_, ApiError>(Batch::parse(batch))).await?;
        let written = match auth.is_embedded() {
            true => write_in_parts(&auth, batch).await?,
            false => write_at_once(&auth, batch).await?,
        };
        report.add(written);
    }
}

/// Writes a batch in one write, and retries while the write queue is full.
async fn write_at_once(auth: &AuthWrite<Import>, batch: Batch) -> Result<ImportReport> {
    let Batch { items, mut report } = batch;
    let (numbers, items): (Vec<u64>, Vec<Item>) = items.into_iter().unzip();
    let (items, mut attempts): (Arc<[Item]>, u32) = (items.into(), 0);
    while !items.is_empty() {
        match auth.try_write(Write::Import { items: items.clone() }).await? {
            Err(convodb_service::Error::Store(Error::QueueFull))
                if attempts < MAX_QUEUE_ATTEMPTS =>
            {
                attempts += 1;
                sleep(QUEUE_RETRY_DELAY).await;
            }
            written => {
                let Written::Imported(applied) = written? else {
                    return Err(ApiError::fault("an import has another result"));
                };
                for (number, applied) in numbers.into_iter().zip(applied) {
                    report.record(number, applied);
                }
                break;
            }
        }
    }
    Ok(report.first_lines())
}

/// Writes a batch in writes of bounded size, and retries while the write queue is full.
async fn write_in_parts(auth: &AuthWrite<Import>, batch: Batch) -> Result<ImportReport> {
    let mut report = batch.report.clone();
    let (user, batch) = (auth.user(), Arc::new(batch));
    let (mut next, mut attempts) = (Some(BatchProgress::default()), 0);
    while let Some(from) = next.clone() {
        let batch = batch.clone();
        match auth.try_transact(move |transaction| batch.apply(user, transaction, from)).await? {
            Err(Error::QueueFull) if attempts < MAX_QUEUE_ATTEMPTS => {
                attempts += 1;
                sleep(QUEUE_RETRY_DELAY).await;
            }
            written => {
                let (part, rest) = written?;
                report.counts += part.counts;
                report.rejected.extend(part.rejected);
                (next, attempts) = (rest, 0);
            }
        }
    }
    Ok(report.first_lines())
}

/// Where the next write of a batch continues.
#[derive(Clone, Debug, Default)]
struct BatchProgress {
    /// The index of the next item.
    item: usize,
    /// How far the insert of this item is.
    insert: InsertProgress,
    /// Whether an earlier part of it created its assistant.
    assistant_created: bool,
}

/// The result of an import, or of a part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct ImportReport {
    counts: ImportCounts,
    /// The first rejected lines.
    rejected: Vec<RejectedLine>,
}

/// A line that was not imported, and why. Contains no value of the line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct RejectedLine {
    number: u64,
    reason: String,
}

impl ImportReport {
    /// Adds the report of the lines that follow.
    fn add(&mut self, next: ImportReport) {
        self.counts += next.counts;
        let room = MAX_LISTED_LINES.saturating_sub(self.rejected.len());
        self.rejected.extend(next.rejected.into_iter().take(room));
    }

    fn reject(&mut self, number: u64, reason: String) {
        self.rejected.push(RejectedLine { number, reason });
    }

    /// Adds what became of a line.
    fn record(&mut self, number: u64, applied: Applied) {
        self.counts.record(&applied);
        if let Outcome::Rejected(rejection) = applied.outcome {
            self.reject(number, rejection.to_string());
        }
    }

    /// The same report with the first rejected lines alone, in their order.
    fn first_lines(mut self) -> Self {
        self.rejected.sort_unstable_by_key(|line| line.number);
        self.rejected.truncate(MAX_LISTED_LINES);
        self
    }

    /// Returns the body of the response.
    fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        let counts = [
            ("{\"inserted\":", self.counts.inserted),
            (",\"already_present\":", self.counts.already_present),
            (",\"messages\":", self.counts.messages),
            (",\"assistants_created\":", self.counts.assistants_created),
            (",\"rejected\":", self.counts.rejected),
        ];
        for (key, count) in counts {
            json::raw(&mut out, key);
            json::integer(&mut out, count);
        }
        json::raw(&mut out, ",\"errors\":[");
        for (at, line) in self.rejected.iter().enumerate() {
            json::raw(&mut out, if at == 0 { "{\"line\":" } else { ",{\"line\":" });
            json::integer(&mut out, line.number);
            json::raw(&mut out, ",\"message\":");
            json::string(&mut out, &line.reason);
            out.push(b'}');
        }
        json::raw(&mut out, "]}");
        out
    }
}

/// The lines of a batch, parsed as far as possible without the store.
struct Batch {
    items: Vec<(u64, Item)>,
    /// The lines that are not items.
    report: ImportReport,
}

impl Batch {
    /// Parses lines.
    fn parse(lines: Vec<Line>) -> Self {
        let mut batch = Self { items: Vec::new(), report: ImportReport::default() };
        for Line { number, content } in lines {
            let item = match content {
                Content::Text(text) => Item::parse(&text),
                Content::Parsed(item) => *item,
            };
            match item {
                Ok(item) => batch.items.push((number, item)),
                Err(error) => batch.reject(number, error.to_string()),
            }
        }
        batch
    }

    fn reject(&mut self, number: u64, reason: String) {
        self.report.counts.rejected += 1;
        self.report.reject(number, reason);
    }

    /// Inserts the conversations that the user does not have, from `from` on, with at most
    /// [`MAX_INSERTED_BYTES`] of messages. Returns a report on their lines, and where the next write
    /// continues.
    ///
    /// # Errors
    /// Fails if the store fails; nothing of this write is then stored.
    fn apply(
        &self,
        user: UserId,
        transaction: &mut Transaction<'_>,
        from: BatchProgress,
    ) -> convodb::Result<(ImportReport, Option<BatchProgress>)> {
        let (mut report, mut budget) = (ImportReport::default(), MAX_INSERTED_BYTES);
        let BatchProgress { item: first, mut insert, mut assistant_created } = from;
        for (at, (number, item)) in self.items.iter().enumerate().skip(first) {
            if budget == 0 {
                let next = BatchProgress { item: at, ..BatchProgress::default() };
                return Ok((report, Some(next)));
            }
            let progress = std::mem::take(&mut insert);
            match insert_part_if_new(transaction, user, item, progress, &mut budget)? {
                PartApplied::Whole(mut applied) => {
                    applied.assistant_created |= std::mem::take(&mut assistant_created);
                    report.record(*number, applied);
                }
                PartApplied::Part { progress, assistant_created: created } => {
                    let assistant_created = assistant_created || created;
                    let next = BatchProgress { item: at, insert: progress, assistant_created };
                    return Ok((report, Some(next)));
                }
            }
        }
        Ok((report, None))
    }
}
