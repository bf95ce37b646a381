//! The walk over the server's list: a page, the histories of what is wanted of it, one write, and the
//! progress on disk; then the next.
//!
//! In memory are one page with its histories, and 16 bytes and some for each conversation that was
//! met, by which a list that goes in a circle is found out.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result};
use convodb::{AssistantId, ConversationId, Name, Store, Timestamp, UserId};
use indicatif::ProgressBar;

use crate::console::grouped;
use crate::import_api::apply::{Arrival, Taken, take};
use crate::import_api::client::{ApiError, Client};
use crate::import_api::progress::Progress;
use crate::import_api::wire::{self, ListItem, ListPage};
use crate::io::rejects::Rejects;

const LIST: &str = "/api/user/conversations";
const ASSISTANTS: &str = "/api/user/assistants/get";
/// Conversations of a page: the most that the API gives.
const PER_PAGE: &str = "100";
/// The most bytes of an answer: a page of items, and a history.
const MAX_ANSWER_BYTES: u64 = 64 << 20;
/// So many pages in a row that bring nothing new are a circle.
const MAX_STALE_PAGES: u32 = 3;
/// The most pages of the assistants list.
const MAX_ASSISTANT_PAGES: u32 = 10_000;

/// What a migration is asked to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) since: Option<Timestamp>,
    pub(crate) update: bool,
    /// How many histories are asked for at a time.
    pub(crate) parallel: usize,
}

/// A migration under way.
pub(crate) struct Walk<'a> {
    pub(crate) client: &'a Client,
    pub(crate) store: &'a Store,
    /// The store's file, beside which the progress stands.
    pub(crate) db: &'a Path,
    pub(crate) user: UserId,
    pub(crate) wanted: Wanted,
    pub(crate) progress: &'a mut Progress,
    pub(crate) rejects: &'a mut Rejects,
    pub(crate) bar: &'a ProgressBar,
    pub(crate) seen: Seen,
}

/// What the walk has met.
#[derive(Default)]
pub(crate) struct Seen {
    ids: HashSet<ConversationId>,
    /// Hashes: a cursor may be long, and is the server's own.
    cursors: HashSet<u64>,
    hasher: RandomState,
    stale_pages: u32,
}

impl Walk<'_> {
    /// Walks to the end of the list.
    ///
    /// # Errors
    /// The server's, a fault of the store or of a file beside it. What was finished stays.
    pub(crate) fn run(&mut self) -> Result<()> {
        if !self.progress.is_resumed() {
            self.assistants()?;
        }
        loop {
            let page = self.page()?;
            let next = page.next.clone();
            self.seen.check(&page)?;
            self.take(page.items)?;
            self.rejects.flush()?;
            self.progress.counts.pages += 1;
            let met = self.progress.counts.met();
            self.bar.set_message(format!("{} conversations", grouped(met)));
            let Some(next) = next else { return Ok(()) };
            self.progress.cursor = Some(next);
            self.progress.save(self.db)?;
        }
    }

    /// Creates the assistants that are not there, in the order in which the server numbers them. A
    /// server without that list names them with their conversations.
    fn assistants(&mut self) -> Result<()> {
        for number in 1..=MAX_ASSISTANT_PAGES {
            let number = number.to_string();
            let query = [("per_page", PER_PAGE), ("page", &number)];
            let body = match self.client.get(ASSISTANTS, &query, MAX_ANSWER_BYTES) {
                Err(ApiError::NotFound { .. }) => return Ok(()),
                body => body?,
            };
            let malformed = |what| ApiError::Malformed { path: ASSISTANTS.to_owned(), what };
            let (found, more) = wire::assistants(&body).map_err(malformed)?;
            self.progress.counts.assistants_created += self.create(found)?;
            if !more {
                return Ok(());
            }
        }
        Err(ApiError::Endless("there is always one more page of assistants").into())
    }

    fn create(&self, found: Vec<(AssistantId, Name)>) -> Result<u64> {
        let user = self.user;
        let create = move |transaction: &mut convodb::Transaction<'_>| {
            let mut created = 0;
            for (id, name) in found {
                if transaction.assistant(user, id)?.is_none() {
                    transaction.create_assistant(user, id, name)?;
                    created += 1;
                }
            }
            Ok(created)
        };
        self.store.write(create).context("cannot create the assistants")
    }

    fn page(&self) -> Result<ListPage, ApiError> {
        let since = self.wanted.since.map(Timestamp::to_rfc3339);
        // A cursor carries the rest where the server knows the extensions; where it does not, they
        // are passed over.
        let mut query = vec![("per_page", PER_PAGE), ("order", "asc")];
        query.extend(since.as_deref().map(|since| ("created_from", since)));
        query.extend(self.progress.cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let body = self.client.get(LIST, &query, MAX_ANSWER_BYTES)?;
        let malformed = |what| ApiError::Malformed { path: LIST.to_owned(), what };
        ListPage::parse(&body).map_err(malformed)
    }

    /// Takes a page: what of it is wanted, with its histories, in one write.
    fn take(&mut self, mut items: Vec<ListItem>) -> Result<()> {
        let ends = items.first().zip(items.last());
        if ends.is_some_and(|(first, last)| first.created_at > last.created_at) {
            // Rows of one second stay in their order.
            items.reverse();
        }
        let first = self.progress.counts.met() + 1;
        let mut wanted = Vec::with_capacity(items.len());
        for (number, item) in (first..).zip(items) {
            if self.wants(&item)? {
                wanted.push((number, item));
            }
        }
        let histories = self.histories(&wanted)?;
        let mut arrivals = Vec::with_capacity(wanted.len());
        for ((number, item), history) in wanted.into_iter().zip(histories) {
            match history {
                History::Answered(answer) => arrivals.push(arrival(number, &item, &answer)),
                History::NotAsked => {
                    let reason = "id must be a valid UUID".to_owned();
                    let line = item.text.into_bytes();
                    arrivals.push(Arrival { number, line, item: Err(reason) });
                }
                History::Gone => self.progress.counts.gone += 1,
            }
        }
        let taken = take(self.store, self.user, arrivals).context("cannot store a page")?;
        self.count(taken)
    }

    /// Whether a conversation is to be asked for; if not, it is counted.
    fn wants(&mut self, item: &ListItem) -> Result<bool> {
        let counts = &mut self.progress.counts;
        let Some(id) = item.id else { return Ok(true) };
        if !self.seen.ids.insert(id) {
            counts.repeated += 1;
            return Ok(false);
        }
        let since = self.wanted.since;
        if item.created_at.zip(since).is_some_and(|(created_at, since)| created_at < since) {
            counts.too_old += 1;
            return Ok(false);
        }
        let Some(stored) = self.store.snapshot().get(self.user, id)? else { return Ok(true) };
        // The API tells seconds.
        let second = |at: Timestamp| at.millis() / 1000;
        let same = item.updated_at.map(second) == Some(second(stored.updated_at))
            && item.message_count == Some(stored.message_count.into());
        if self.wanted.update && !same {
            return Ok(true);
        }
        counts.already_present += 1;
        Ok(false)
    }

    /// The answers with the histories, in order; some of them at a time.
    fn histories(&self, wanted: &[(u64, ListItem)]) -> Result<Vec<History>, ApiError> {
        let next = AtomicUsize::new(0);
        let fetch = || -> Result<Vec<(usize, History)>, ApiError> {
            let mut fetched = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some((_, item)) = wanted.get(at) else { return Ok(fetched) };
                let history = history(self.client, item).inspect_err(|_| self.client.stop())?;
                fetched.push((at, history));
            }
        };
        let threads = self.wanted.parallel.min(wanted.len());
        let mut fetched = Vec::with_capacity(wanted.len());
        let mut failed = None;
        thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(fetch)).collect();
            for thread in threads {
                match thread.join() {
                    Ok(Ok(some)) => fetched.extend(some),
                    Ok(Err(ApiError::Stopped)) => {}
                    Ok(Err(error)) => failed = failed.take().or(Some(error)),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
        match failed {
            Some(error) => Err(error),
            None => {
                fetched.sort_unstable_by_key(|(at, _)| *at);
                Ok(fetched.into_iter().map(|(_, history)| history).collect())
            }
        }
    }

    fn count(&mut self, taken: Taken) -> Result<()> {
        let counts = &mut self.progress.counts;
        counts.inserted += taken.inserted;
        counts.updated += taken.updated;
        counts.messages += taken.messages;
        counts.assistants_created += taken.assistants_created;
        counts.rejected += taken.rejected.len() as u64;
        for (number, reason, line) in taken.rejected {
            self.rejects.write(number, &reason, &line)?;
        }
        Ok(())
    }
}

impl Seen {
    /// Whether the list can still end.
    fn check(&mut self, page: &ListPage) -> Result<(), ApiError> {
        let Some(next) = &page.next else { return Ok(()) };
        if !self.cursors.insert(self.hasher.hash_one(next)) {
            return Err(ApiError::Endless("a cursor came twice"));
        }
        let new = |item: &ListItem| item.id.is_none_or(|id| !self.ids.contains(&id));
        self.stale_pages = if page.items.iter().any(new) { 0 } else { self.stale_pages + 1 };
        match self.stale_pages >= MAX_STALE_PAGES {
            true => Err(ApiError::Endless("its pages bring nothing new and name a next one")),
            false => Ok(()),
        }
    }
}

enum History {
    Answered(Vec<u8>),
    /// The conversation was deleted after its page was read.
    Gone,
    /// What has no id cannot be asked for.
    NotAsked,
}

fn history(client: &Client, item: &ListItem) -> Result<History, ApiError> {
    let Some(id) = item.id else { return Ok(History::NotAsked) };
    match client.get(&format!("/api/conversations/{id}"), &[], MAX_ANSWER_BYTES) {
        Ok(answer) => Ok(History::Answered(answer)),
        Err(ApiError::NotFound { .. }) => Ok(History::Gone),
        Err(error) => Err(error),
    }
}

/// One conversation and its history. What cannot be read is rejected, and the others are taken.
fn arrival(number: u64, item: &ListItem, answer: &[u8]) -> Arrival {
    match item.with_history(answer) {
        Ok((line, item)) => Arrival { number, line, item: item.map_err(|error| error.to_string()) },
        Err(what) => Arrival {
            number,
            line: item.text.clone().into_bytes(),
            item: Err(format!("the answer with its history is not as the API answers: {what}")),
        },
    }
}
