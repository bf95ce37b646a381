//! Applies a page of conversations to the store in one transaction: all of them or none.
//!
//! A new conversation is inserted. An existing one is updated: its fields are replaced, and
//! messages beyond the stored ones are appended. Nothing is ever deleted.

use convodb::{Result, Store, UserId};

use convodb_json::{ImportCounts, Item, Outcome, insert_or_update};

/// A conversation as the server sent it.
pub(crate) struct Candidate {
    /// Its position in the import, from 1.
    pub(crate) number: u64,
    /// Its line, for the rejects file.
    pub(crate) line: Vec<u8>,
    /// The parsed line, or why it is rejected.
    pub(crate) item: Result<Item, String>,
}

/// The result of applying a page.
#[derive(Default)]
pub(crate) struct AppliedPage {
    pub(crate) counts: ImportCounts,
    /// Number, reason and line of each rejected conversation.
    pub(crate) rejected: Vec<(u64, String, Vec<u8>)>,
}

/// Applies a page: inserts its new conversations and updates the existing ones.
///
/// # Errors
/// Fails if the store does; then nothing of the page is written.
pub(crate) fn apply_page(store: &Store, user: UserId, page: Vec<Candidate>) -> Result<AppliedPage> {
    let snapshot = store.snapshot();
    let mut stored_messages = Vec::with_capacity(page.len());
    for candidate in &page {
        let id = candidate.item.as_ref().ok().map(|item| item.conversation.id);
        let messages = id.map(|id| snapshot.messages(user, id)).transpose()?.flatten();
        stored_messages.push(messages.map_or(0, |messages| messages.len()));
    }
    drop(snapshot);
    store.write(move |transaction| {
        let mut page_result = AppliedPage::default();
        for (Candidate { number, line, item }, stored) in page.into_iter().zip(stored_messages) {
            let rejected = match item {
                Ok(item) => {
                    let applied = insert_or_update(transaction, user, &item, stored)?;
                    page_result.counts.record(&applied);
                    match applied.outcome {
                        Outcome::Rejected(reason) => Some(reason.to_string()),
                        _ => None,
                    }
                }
                Err(reason) => Some(reason),
            };
            page_result.rejected.extend(rejected.map(|reason| (number, reason, line)));
        }
        Ok(page_result)
    })
}
