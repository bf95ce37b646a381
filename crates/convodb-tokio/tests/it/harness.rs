//! Test harness: a store with a user and an assistant, whose writer can be blocked.

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

/// Blocks the writer until it is released or dropped.
pub(crate) struct BlockedWriter {
    _release: Sender<()>,
    write: JoinHandle<convodb::Result<()>>,
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
        let user = store.create_user("Acme", at(0)).await.unwrap().id;
        let bot = AssistantId::generate(at(0));
        store.create_assistant(user, bot, "Bot").await.unwrap();
        Self { store, user, bot, _directory: directory }
    }

    pub(crate) fn conversation(&self, second: u64) -> Conversation {
        let id = ConversationId::generate(at(second));
        Conversation::new(id, self.bot, Channel::Widget, at(second))
    }

    /// Inserts conversations, one per second, and returns their ids, oldest first.
    pub(crate) async fn fill(&self, rows: u64) -> Vec<ConversationId> {
        let rows: Vec<_> = (0..rows).map(|second| self.conversation(second)).collect();
        let ids = rows.iter().map(|row| row.id).collect();
        let user = self.user;
        let insert = move |transaction: &mut convodb::Transaction<'_>| {
            rows.into_iter().try_for_each(|row| transaction.insert(user, row, Vec::new()))
        };
        self.store.write(insert).await.unwrap();
        ids
    }

    /// Blocks the writer, and returns once it is blocked.
    pub(crate) async fn block_writer(&self) -> BlockedWriter {
        let (release, released): (_, Receiver<()>) = channel();
        let (begin, begun) = tokio::sync::oneshot::channel();
        let store = self.store.clone();
        let write = tokio::spawn(async move {
            let wait = move |_: &mut convodb::Transaction<'_>| {
                begin.send(()).unwrap();
                // Returns when the sender is dropped.
                let _ = released.recv();
                Ok(())
            };
            store.write(wait).await
        });
        begun.await.unwrap();
        BlockedWriter { _release: release, write }
    }
}

impl BlockedWriter {
    /// Unblocks the writer, and waits for the blocking write.
    pub(crate) async fn release(self) {
        let Self { _release, write } = self;
        drop(_release);
        write.await.unwrap().unwrap();
    }
}
