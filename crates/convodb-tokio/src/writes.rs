//! Writes, awaited.
//!
//! A write takes a place, of which there are as many as the engine's queue has, before it is queued,
//! and gives it back when it is answered. So the queue is never found full by tasks alone, and a task
//! that finds no place waits instead of failing.

use std::io;
use std::panic::resume_unwind;

use convodb::{
    Assistant, AssistantId, Conversation, ConversationId, Error, Message, Name, Result, Timestamp,
    Transaction, User, UserId,
};
use tokio::sync::oneshot;

use crate::store::AsyncStore;

impl AsyncStore {
    /// Runs a write of any number of operations, all or nothing, and gives what it returned once it
    /// is durable. No thread waits meanwhile, and writes of other tasks share the commit.
    ///
    /// The closure runs on the writer's thread, after all writes before it. Where the queue has no
    /// place, the task waits for one. To drop the future then withdraws the write; later, it is done
    /// without an answer.
    ///
    /// ```
    /// # use convodb_tokio::{AsyncStore, convodb::*};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let store = AsyncStore::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// # let user = store.create_user("Acme".parse()?, at).await?.id;
    /// # let bot = AssistantId::generate(at);
    /// # store.create_assistant(user, bot, "Bot".parse()?).await?;
    /// let ids = [ConversationId::generate(at), ConversationId::generate(at)];
    /// store
    ///     .write(move |transaction| {
    ///         for id in ids {
    ///             let conversation = Conversation::new(id, bot, Channel::Widget, at);
    ///             transaction.insert(user, &conversation, &[])?;
    ///         }
    ///         Ok(())
    ///     })
    ///     .await?;
    /// assert!(store.snapshot().conversation(user, ids[1])?.is_some());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Store::write`](convodb::Store::write); [`Error::QueueFull`] only where the engine's own handle is written
    /// through as well.
    ///
    /// # Panics
    /// When the closure panics, after all that it changed was taken back.
    pub async fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&mut Transaction<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let Ok(place) = self.places().acquire_owned().await else {
            unreachable!("the places are never closed");
        };
        let (reply, answer) = oneshot::channel();
        self.store().submit(write, move |outcome| {
            drop(place);
            // Who no longer waits needs no answer.
            let _ = reply.send(outcome);
        })?;
        match answer.await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => Err(Error::CommitUnknown {
                kind: io::ErrorKind::Other,
                why: "the writer stopped".to_owned(),
            }),
        }
    }

    /// [`Transaction::insert`] as a write of its own, without messages.
    ///
    /// ```
    /// # use convodb_tokio::{AsyncStore, convodb::*};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let store = AsyncStore::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// let user = store.create_user("Acme".parse()?, at).await?.id;
    /// let bot = AssistantId::generate(at);
    /// store.create_assistant(user, bot, "Support".parse()?).await?;
    /// let id = ConversationId::generate(at);
    /// store.insert(user, Conversation::new(id, bot, Channel::Widget, at)).await?;
    /// assert!(store.snapshot().conversation(user, id)?.is_some());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As there and as [`AsyncStore::write`].
    pub async fn insert(&self, user: UserId, conversation: Conversation) -> Result<()> {
        self.write(move |transaction| transaction.insert(user, &conversation, &[])).await
    }

    /// [`Transaction::update`] as a write of its own.
    ///
    /// ```
    /// # use convodb_tokio::{AsyncStore, convodb::*};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let store = AsyncStore::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// # let user = store.create_user("Acme".parse()?, at).await?.id;
    /// # let (bot, id) = (AssistantId::generate(at), ConversationId::generate(at));
    /// # store.create_assistant(user, bot, "Bot".parse()?).await?;
    /// # store.insert(user, Conversation::new(id, bot, Channel::Widget, at)).await?;
    /// let taken_over = store.update(user, id, |conversation| conversation.ai_enabled = false);
    /// assert!(!taken_over.await?.ai_enabled);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As there and as [`AsyncStore::write`].
    pub async fn update(
        &self,
        user: UserId,
        id: ConversationId,
        change: impl FnOnce(&mut Conversation) + Send + 'static,
    ) -> Result<Conversation> {
        self.write(move |transaction| transaction.update(user, id, change)).await
    }

    /// [`Transaction::delete`] as a write of its own.
    ///
    /// ```
    /// # use convodb_tokio::{AsyncStore, convodb::*};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let store = AsyncStore::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// let user = store.create_user("Acme".parse()?, at).await?.id;
    /// let bot = AssistantId::generate(at);
    /// store.create_assistant(user, bot, "Support".parse()?).await?;
    /// let id = ConversationId::generate(at);
    /// store.insert(user, Conversation::new(id, bot, Channel::Widget, at)).await?;
    /// store.delete(user, id).await?;
    /// assert!(store.snapshot().conversation(user, id)?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As there and as [`AsyncStore::write`].
    pub async fn delete(&self, user: UserId, id: ConversationId) -> Result<()> {
        self.write(move |transaction| transaction.delete(user, id)).await
    }

    /// [`Transaction::append_message`] as a write of its own.
    ///
    /// ```
    /// # use convodb_tokio::{AsyncStore, convodb::*};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let store = AsyncStore::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// let user = store.create_user("Acme".parse()?, at).await?.id;
    /// let bot = AssistantId::generate(at);
    /// store.create_assistant(user, bot, "Support".parse()?).await?;
    /// let id = ConversationId::generate(at);
    /// store.insert(user, Conversation::new(id, bot, Channel::Widget, at)).await?;
    /// let hello = Message::new(Role::User, "Hello!".to_owned(), at)?;
    /// assert_eq!(store.append_message(user, id, hello).await?, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As there and as [`AsyncStore::write`].
    pub async fn append_message(
        &self,
        user: UserId,
        id: ConversationId,
        message: Message,
    ) -> Result<u32> {
        self.write(move |transaction| transaction.append_message(user, id, &message)).await
    }

    // ---- accounts ------------------------------------------------------------------------------

    /// [`Transaction::create_user`] as a write of its own.
    ///
    /// # Errors
    /// As there and as [`AsyncStore::write`].
    pub async fn create_user(&self, name: Name, created_at: Timestamp) -> Result<User> {
        self.write(move |transaction| transaction.create_user(name, created_at)).await
    }

    /// [`Transaction::create_assistant`] as a write of its own.
    ///
    /// # Errors
    /// As there and as [`AsyncStore::write`].
    pub async fn create_assistant(
        &self,
        user: UserId,
        id: AssistantId,
        name: Name,
    ) -> Result<Assistant> {
        self.write(move |transaction| transaction.create_assistant(user, id, name)).await
    }

    /// [`Transaction::rename_assistant`] as a write of its own.
    ///
    /// ```
    /// # use convodb_tokio::{AsyncStore, convodb::*};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let store = AsyncStore::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// let user = store.create_user("Acme".parse()?, at).await?.id;
    /// let bot = AssistantId::generate(at);
    /// store.create_assistant(user, bot, "Support".parse()?).await?;
    /// store.rename_assistant(user, bot, "Front Desk".parse()?).await?;
    /// assert_eq!(store.snapshot().assistants(user, 0, 1)?[0].name.as_str(), "Front Desk");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As there and as [`AsyncStore::write`].
    pub async fn rename_assistant(&self, user: UserId, id: AssistantId, name: Name) -> Result<()> {
        self.write(move |transaction| transaction.rename_assistant(user, id, name)).await
    }

    /// [`Store::create_token`](convodb::Store::create_token), on a thread for what blocks.
    ///
    /// ```
    /// # use convodb_tokio::{AsyncStore, convodb::*};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let store = AsyncStore::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// let user = store.create_user("Acme".parse()?, at).await?.id;
    /// let bot = AssistantId::generate(at);
    /// store.create_assistant(user, bot, "Support".parse()?).await?;
    /// let token = store.create_token(user, at).await?;
    /// assert_eq!(store.snapshot().authenticate(&token)?, Some(user));
    /// store.revoke_token(token.clone()).await?;
    /// assert_eq!(store.snapshot().authenticate(&token)?, None);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn create_token(&self, user: UserId, created_at: Timestamp) -> Result<String> {
        self.aside(move |store| store.create_token(user, created_at)).await
    }

    /// [`Transaction::revoke_token`] as a write of its own.
    ///
    /// # Errors
    /// As there and as [`AsyncStore::write`].
    pub async fn revoke_token(&self, token: String) -> Result<()> {
        self.write(move |transaction| transaction.revoke_token(&token)).await
    }
}
