//! Pager of an import: reads the server's list page by page into the store.
//!
//! For each page it requests the messages of the conversations to import, writes all of them in one
//! transaction, and saves the progress. In memory are one page with its messages, and 16 bytes and
//! some for each conversation so far, by which a list that never ends is detected.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use convodb::{
    AssistantId, Conversation, ConversationId, Name, Store, Timestamp, UserId, Variables,
};
use convodb_json::Item;
use indicatif::ProgressBar;

use crate::console::{grouped, say};
use crate::import_api::apply::{AppliedPage, Candidate, apply_page};
use crate::import_api::client::{ApiError, Client};
use crate::import_api::history::{History, MAX_RESPONSE_BYTES, request_history};
use crate::import_api::progress::{Counts, Progress};
use crate::import_api::wire::{self, ListItem, ListPage};
use crate::io::rejects::Rejects;

const LIST: &str = "/api/user/conversations";
const ASSISTANTS: &str = "/api/user/assistants/get";
/// Conversations of a page: the API's maximum.
const PER_PAGE: &str = "100";
/// Consecutive pages without a new conversation after which the list counts as endless.
const MAX_STALE_PAGES: u32 = 3;
/// Time between two lines about the progress where standard error is no terminal.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);
/// Rejected conversations without one that was imported after which an import gives up: what refuses
/// them all is not in the conversations.
const MAX_FRUITLESS: u64 = 1000;
/// Maximum pages of the assistants list.
const MAX_ASSISTANT_PAGES: u32 = 10_000;

/// The options of an import.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) since: Option<Timestamp>,
    pub(crate) update: bool,
    /// Concurrent requests for messages.
    pub(crate) parallel: usize,
}

/// An import in progress.
pub(crate) struct Pager<'a> {
    pub(crate) client: &'a Client,
    pub(crate) store: &'a Store,
    /// The store's file; the progress is saved beside it.
    pub(crate) db: &'a Path,
    pub(crate) user: UserId,
    pub(crate) options: Options,
    pub(crate) progress: &'a mut Progress,
    pub(crate) rejects: &'a mut Rejects,
    pub(crate) bar: &'a ProgressBar,
    pub(crate) loop_detector: LoopDetector,
    /// Why the first rejected conversation of this run was rejected.
    pub(crate) first_rejection: Option<String>,
}

/// An import whose conversations were all rejected. It does not continue: the next one starts again.
#[derive(Debug, thiserror::Error)]
#[error("all {rejected} conversations were rejected, the first one because {reason}")]
pub(crate) struct NothingImported {
    rejected: u64,
    reason: String,
}

/// Detects a list that never ends: repeated cursors, or pages without new conversations.
#[derive(Default)]
pub(crate) struct LoopDetector {
    ids: HashSet<ConversationId>,
    /// Hashes, because the server's cursors may be long.
    cursors: HashSet<u64>,
    hasher: RandomState,
    stale_pages: u32,
}

impl Pager<'_> {
    /// Imports the list to its end.
    ///
    /// # Errors
    /// Fails if a request, the store, or a file beside it fails. Finished pages remain.
    pub(crate) fn run(&mut self) -> Result<()> {
        let mut said = Instant::now();
        if !self.progress.is_resumed() {
            self.import_assistants()?;
        }
        loop {
            let page = self.request_page()?;
            let next = page.next.clone();
            self.loop_detector.check(&page)?;
            self.import_page(page.items)?;
            self.rejects.flush()?;
            self.progress.counts.pages += 1;
            let seen = self.progress.counts.seen();
            self.bar.set_message(format!("{} conversations", grouped(seen)));
            if self.bar.is_hidden() && said.elapsed() >= PROGRESS_INTERVAL {
                said = Instant::now();
                let ((requests, retries), rejected) =
                    (self.client.counts(), self.progress.counts.rejected);
                say(format_args!(
                    "{} conversations so far, {rejected} rejected, {requests} requests, {retries} retries",
                    grouped(seen)
                ));
            }
            if next.is_none() || seen >= MAX_FRUITLESS {
                self.check_fruitful()?;
            }
            let Some(next) = next else { return Ok(()) };
            self.progress.cursor = Some(next);
            self.progress.save(self.db, &self.store.snapshot())?;
        }
    }

    /// Fails if there were conversations and not one of them was imported.
    fn check_fruitful(&self) -> Result<(), NothingImported> {
        let Counts { rejected, .. } = self.progress.counts;
        match &self.first_rejection {
            Some(reason) if self.progress.counts.seen() == rejected => {
                Err(NothingImported { rejected, reason: reason.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Creates missing assistants in the order of their numbers on the server. A server without an
    /// assistants list, or one that does not show it to the token, names them in the conversations.
    fn import_assistants(&mut self) -> Result<()> {
        for number in 1..=MAX_ASSISTANT_PAGES {
            let number = number.to_string();
            let query = [("per_page", PER_PAGE), ("page", &number)];
            let body = match self.client.get(ASSISTANTS, &query, MAX_RESPONSE_BYTES) {
                Err(ApiError::NotFound { .. } | ApiError::Forbidden { .. }) => return Ok(()),
                body => body?,
            };
            let malformed = |what| ApiError::Malformed { path: ASSISTANTS.to_owned(), what };
            let (assistants, more) = wire::assistants(&body).map_err(malformed)?;
            self.progress.counts.assistants_created += self.create(assistants)?;
            if !more {
                return Ok(());
            }
        }
        Err(ApiError::EndlessList("every page of assistants names a next one").into())
    }

    fn create(&self, assistants: Vec<(AssistantId, Name)>) -> Result<u64> {
        let user = self.user;
        let create = move |transaction: &mut convodb::Transaction<'_>| {
            let mut created = 0;
            for (id, name) in assistants {
                if transaction.assistant(user, id)?.is_none() {
                    transaction.create_assistant(user, id, name)?;
                    created += 1;
                }
            }
            Ok::<_, convodb::Error>(created)
        };
        self.store.write(create).context("cannot create the assistants")
    }

    fn request_page(&self) -> Result<ListPage, ApiError> {
        let since = self.options.since.map(Timestamp::to_rfc3339);
        // `order` and `created_from` are extensions: a cursor includes them on a server that has
        // them, other servers ignore them.
        let mut query = vec![("per_page", PER_PAGE), ("order", "asc")];
        query.extend(since.as_deref().map(|since| ("created_from", since)));
        query.extend(self.progress.cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let body = self.client.get(LIST, &query, MAX_RESPONSE_BYTES)?;
        let malformed = |what| ApiError::Malformed { path: LIST.to_owned(), what };
        ListPage::parse(&body).map_err(malformed)
    }

    /// Imports a page in one transaction.
    fn import_page(&mut self, mut items: Vec<ListItem>) -> Result<()> {
        let ends = items.first().zip(items.last());
        if ends.is_some_and(|(first, last)| first.created_at > last.created_at) {
            // Newest first: insert in reverse, so that rows of the same second keep their order.
            items.reverse();
        }
        let first = self.progress.counts.seen() + 1;
        let mut selected = Vec::with_capacity(items.len());
        for (number, item) in (first..).zip(items) {
            if self.select(&item)? {
                selected.push((number, item));
            }
        }
        let histories = self.request_histories(&selected)?;
        let mut candidates = Vec::with_capacity(selected.len());
        for ((number, item), history) in selected.into_iter().zip(histories) {
            match history {
                History::Response(body) => candidates.push(candidate(number, &item, &body)),
                History::Refused(reason) => {
                    let line = item.text.into_bytes();
                    candidates.push(Candidate { number, line, item: Err(reason) });
                }
            }
        }
        let applied =
            apply_page(self.store, self.user, candidates).context("cannot store a page")?;
        self.count(applied)
    }

    /// Whether to import a conversation; if not, counts the reason.
    fn select(&mut self, item: &ListItem) -> Result<bool> {
        let counts = &mut self.progress.counts;
        let Some(id) = item.id else { return Ok(true) };
        if !self.loop_detector.ids.insert(id) {
            counts.repeated += 1;
            return Ok(false);
        }
        if item.created_at.zip(self.options.since).is_some_and(|(created, since)| created < since) {
            counts.too_old += 1;
            return Ok(false);
        }
        let stored =
            self.store.snapshot().conversation(self.user, id).context("cannot read the store")?;
        let Some(stored) = stored else { return Ok(true) };
        if self.options.update && !is_current(&stored, item) {
            return Ok(true);
        }
        counts.already_present += 1;
        Ok(false)
    }

    /// Requests the messages of the conversations concurrently and returns them in order.
    fn request_histories(&self, selected: &[(u64, ListItem)]) -> Result<Vec<History>, ApiError> {
        let next = AtomicUsize::new(0);
        let work = || -> Result<Vec<(usize, History)>, ApiError> {
            let mut histories = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some((_, item)) = selected.get(at) else { return Ok(histories) };
                let history =
                    request_history(self.client, item).inspect_err(|_| self.client.cancel())?;
                histories.push((at, history));
            }
        };
        let threads = self.options.parallel.min(selected.len());
        let mut histories = Vec::with_capacity(selected.len());
        let mut failed = None;
        thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            for thread in threads {
                match thread.join() {
                    Ok(Ok(some)) => histories.extend(some),
                    Ok(Err(ApiError::Cancelled)) => {}
                    Ok(Err(error)) => failed = failed.take().or(Some(error)),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
        match failed {
            Some(error) => Err(error),
            None => {
                histories.sort_unstable_by_key(|(at, _)| *at);
                Ok(histories.into_iter().map(|(_, history)| history).collect())
            }
        }
    }

    fn count(&mut self, applied: AppliedPage) -> Result<()> {
        let counts = &mut self.progress.counts;
        counts.inserted += applied.counts.inserted;
        counts.updated += applied.counts.updated;
        counts.already_present += applied.counts.already_present;
        counts.messages += applied.counts.messages;
        counts.assistants_created += applied.counts.assistants_created;
        counts.rejected += applied.rejected.len() as u64;
        for (number, reason, line) in applied.rejected {
            self.first_rejection.get_or_insert_with(|| reason.clone());
            self.rejects.write(number, &reason, &line)?;
        }
        Ok(())
    }
}

impl LoopDetector {
    /// Fails if the page shows that the list never ends.
    fn check(&mut self, page: &ListPage) -> Result<(), ApiError> {
        let Some(next) = &page.next else { return Ok(()) };
        if !self.cursors.insert(self.hasher.hash_one(next)) {
            return Err(ApiError::EndlessList("a cursor was repeated"));
        }
        let new = |item: &ListItem| item.id.is_none_or(|id| !self.ids.contains(&id));
        self.stale_pages = if page.items.iter().any(new) { 0 } else { self.stale_pages + 1 };
        match self.stale_pages >= MAX_STALE_PAGES {
            true => {
                Err(ApiError::EndlessList("its pages have no new conversation and a next page"))
            }
            false => Ok(()),
        }
    }
}

/// Whether the stored conversation has all that the item says.
///
/// Compares every field: a change may be of the same second as the one before, and later than it but
/// earlier than a message whose time is in the future. The API's times have a resolution of one
/// second. An item that cannot be parsed is not current: its import says why.
fn is_current(stored: &Conversation, item: &ListItem) -> bool {
    let Ok(Item { conversation: new, .. }) = Item::parse(item.text.as_bytes()) else {
        return false;
    };
    let second = |at: Timestamp| at.millis() / 1000;
    let Conversation { assistant, channel, message_count, total_cost, ai_enabled, .. } = &new;
    (assistant, channel, total_cost, ai_enabled)
        == (&stored.assistant, &stored.channel, &stored.total_cost, &stored.ai_enabled)
        && *message_count == stored.message_count
        && second(new.updated_at) == second(stored.updated_at)
        && is_same_json(new.variables.as_ref(), stored.variables.as_ref())
}

/// Whether two texts of variables are the same but for the space between values, which a server may
/// print in another way.
fn is_same_json(one: Option<&Variables>, two: Option<&Variables>) -> bool {
    match (one, two) {
        (Some(one), Some(two)) => {
            let value =
                |text: &Variables| serde_json::from_str::<serde_json::Value>(text.as_str()).ok();
            one == two || value(one) == value(two)
        }
        (one, two) => one.is_none() && two.is_none(),
    }
}

/// One conversation with its messages. If the response is malformed, it is rejected alone.
fn candidate(number: u64, item: &ListItem, response: &[u8]) -> Candidate {
    match item.with_history(response) {
        Ok((line, item)) => {
            Candidate { number, line, item: item.map_err(|error| error.to_string()) }
        }
        Err(what) => Candidate {
            number,
            line: item.text.clone().into_bytes(),
            item: Err(format!("the response with its messages does not follow the API: {what}")),
        },
    }
}
