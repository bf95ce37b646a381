//! Integration tests of the engine's public API.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod backup;
mod change_feed;
mod concurrent_changes;
mod count;
mod cursor_tokens;
mod erase;
mod erased_bytes;
mod file;
mod history;
mod indexes;
mod inserts;
mod last_activity;
mod list_bounds;
mod list_counters;
mod page_cost;
mod pagination;
mod previews;
mod quotas;
mod random_operations;
mod simulation;
mod statistics;
mod store;
mod submit;
mod swap;
mod tokens;
mod wal;

use convodb::{
    AssistantId, Channel, Conversation, ConversationId, Snapshot, Store, Timestamp, UserId,
};

/// A store's user with one assistant.
struct TestUser {
    user: UserId,
    assistant: AssistantId,
}

impl TestUser {
    fn of(store: &Store) -> Self {
        Self::of_name(store, "Acme")
    }

    fn of_name(store: &Store, name: &str) -> Self {
        let at = Timestamp::MIN;
        let user = store.create_user(name, at).unwrap().id;
        let assistant = AssistantId::generate(at);
        store.create_assistant(user, assistant, "Bot").unwrap();
        Self { user, assistant }
    }

    fn conversation(&self) -> Conversation {
        let at = Timestamp::from_millis(1_737_800_000_000).unwrap();
        Conversation::new(ConversationId::generate(at), self.assistant, Channel::Widget, at)
    }
}

/// The user of a token that is valid now.
fn user_of(snapshot: &Snapshot, token: &str) -> Option<UserId> {
    snapshot.authenticate(token, Timestamp::MIN).unwrap().map(|access| access.user)
}

/// The number of the user's conversations.
fn count(store: &Store, user: UserId) -> usize {
    let rows = store.snapshot().conversations(user, &convodb::ListRequest::default());
    rows.map(Result::unwrap).count()
}
