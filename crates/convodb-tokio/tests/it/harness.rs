//! A store with a user and an assistant, and the means to hold its writer.

use std::sync::mpsc::{Receiver, Sender, channel};

use convodb::{
    AssistantId, Channel, Conversation, ConversationId, StoreOptions, Timestamp, UserId,
};
use convodb_tokio::AsyncStore;
use tempfile::TempDir;
use tokio::task::JoinHandle;

pub(crate) struct Harness {
    pub(crate) store: AsyncStore,
    pub(crate) user: UserId,
    pub(crate) bot: AssistantId,
    _directory: TempDir,
}

/// Holds the writer until it is dropped.
pub(crate) struct Held {
    _release: Sender<()>,
    pub(crate) held: JoinHandle<convodb::Result<()>>,
}

pub(crate) fn at(second: u64) -> Timestamp {
    Timestamp::from_millis(1_737_800_000_000 + second * 1000).unwrap()
}

impl Harness {
    pub(crate) async fn new() -> Self {
        Self::with(StoreOptions::default()).await
    }

    pub(crate) async fn with(options: StoreOptions) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s.convodb");
        let store = AsyncStore::open_with(path, options).await.unwrap();
        let user = store.create_user("Acme".parse().unwrap(), at(0)).await.unwrap().id;
        let bot = AssistantId::generate(at(0));
        store.create_assistant(user, bot, "Bot".parse().unwrap()).await.unwrap();
        Self { store, user, bot, _directory: directory }
    }

    pub(crate) fn conversation(&self, second: u64) -> Conversation {
        let id = ConversationId::generate(at(second));
        Conversation::new(id, self.bot, Channel::Widget, at(second))
    }

    /// Inserts conversations, one a second, and gives their ids, oldest first.
    pub(crate) async fn fill(&self, rows: u64) -> Vec<ConversationId> {
        let rows: Vec<_> = (0..rows).map(|second| self.conversation(second)).collect();
        let ids = rows.iter().map(|row| row.id).collect();
        let user = self.user;
        let insert = move |transaction: &mut convodb::Transaction<'_>| {
            rows.iter().try_for_each(|row| transaction.insert(user, row, &[]))
        };
        self.store.write(insert).await.unwrap();
        ids
    }

    /// Makes the writer wait, and returns when it does.
    pub(crate) async fn hold(&self) -> Held {
        let (release, released): (_, Receiver<()>) = channel();
        let (begin, begun) = tokio::sync::oneshot::channel();
        let store = self.store.clone();
        let held = tokio::spawn(async move {
            let wait = move |_: &mut convodb::Transaction<'_>| {
                begin.send(()).unwrap();
                // Ends when the sender is dropped.
                let _ = released.recv();
                Ok(())
            };
            store.write(wait).await
        });
        begun.await.unwrap();
        Held { _release: release, held }
    }
}

impl Held {
    /// Lets the writer go on, and waits for what it was held by.
    pub(crate) async fn release(self) {
        let Self { _release, held } = self;
        drop(_release);
        held.await.unwrap().unwrap();
    }
}
