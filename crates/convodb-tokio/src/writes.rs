//! Awaited writes: methods of `AsyncStore` that wait for durability without a thread.
//!
//! A semaphore has one permit for each slot of the engine's write queue. A write takes a permit
//! before it is queued and returns it when it is answered, so the queue never overflows through
//! this handle: a task without a permit waits instead of failing.

use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;

use convodb::{
    Assistant, AssistantId, Conversation, ConversationId, Error, InsertProgress,
    MAX_DELETED_MESSAGES, MAX_INSERTED_BYTES, Message, Name, NewToken, Result, Timestamp,
    TokenOptions, TokenSelector, Transaction, User, UserId,
};
use tokio::sync::oneshot;

use crate::store::AsyncStore;

impl AsyncStore {
    /// Runs a write of any number of operations atomically, and returns the closure's result once
    /// the write is durable. No thread waits for it, and writes of other tasks share the commit.
    ///
    /// The closure runs on the writer thread, after all earlier writes. If the queue is full, the
    /// task waits for a slot. Dropping the future while it waits withdraws the write; dropping it
    /// later does not: the write runs, and its result is lost.
    ///
    /// ```
    /// # use convodb_tokio::{AsyncStore, convodb::*};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let store = AsyncStore::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// # let user = store.create_user("Acme", at).await?.id;
    /// # let bot = AssistantId::generate(at);
    /// # store.create_assistant(user, bot, "Bot").await?;
    /// let ids = [ConversationId::generate(at), ConversationId::generate(at)];
    /// store
    ///     .write(move |transaction| {
    ///         for id in ids {
    ///             let conversation = Conversation::new(id, bot, Channel::Widget, at);
    ///             transaction.insert(user, conversation, Vec::new())?;
    ///         }
    ///         Ok::<_, Error>(())
    ///     })
    ///     .await?;
    /// assert!(store.snapshot().conversation(user, ids[1])?.is_some());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Store::write`](convodb::Store::write). [`Error::QueueFull`] occurs only if the engine's
    /// own handle writes as well.
    ///
    /// # Panics
    /// Panics when the closure panics, after its changes were rolled back.
    pub async fn write<T, E>(
        &self,
        write: impl FnOnce(&mut Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.queue_write(None, write).await
    }

    /// [`AsyncStore::write`] in the turn of a user: waiting writes are taken from each user in turn,
    /// so nobody waits for the backlog of another. The closure may still write for any user.
    ///
    /// # Errors
    /// As [`AsyncStore::write`].
    ///
    /// # Panics
    /// As [`AsyncStore::write`].
    pub async fn write_for<T, E>(
        &self,
        user: UserId,
        write: impl FnOnce(&mut Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.queue_write(Some(user), write).await
    }

    async fn queue_write<T, E>(
        &self,
        user: Option<UserId>,
        write: impl FnOnce(&mut Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let Ok(permit) = self.queue_permits().acquire_owned().await else {
            unreachable!("the semaphore is never closed");
        };
        let (reply, answer) = oneshot::channel();
        let answered = move |outcome| {
            drop(permit);
            // Fails if the task no longer waits.
            let _ = reply.send(outcome);
        };
        match user {
            Some(user) => self.store().submit_for(user, write, answered)?,
            None => self.store().submit(write, answered)?,
        }
        match answer.await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => {
                let source = Arc::new(io::Error::other("the writer thread stopped"));
                Err(Error::CommitUnknown { source }.into())
            }
        }
    }

    /// Runs [`Transaction::insert`] as a write of its own; of a conversation with very many messages,
    /// as several writes, as [`Store::insert`](convodb::Store::insert) does. Dropping the future
    /// between two of them leaves what
    /// [`Store::remove_abandoned_inserts`](convodb::Store::remove_abandoned_inserts) removes.
    ///
    /// ```
    /// # use convodb_tokio::{AsyncStore, convodb::*};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let store = AsyncStore::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// let user = store.create_user("Acme", at).await?.id;
    /// let bot = AssistantId::generate(at);
    /// store.create_assistant(user, bot, "Support").await?;
    /// let id = ConversationId::generate(at);
    /// store.insert(user, Conversation::new(id, bot, Channel::Widget, at), Vec::new()).await?;
    /// assert!(store.snapshot().conversation(user, id)?.is_some());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Transaction::insert`] and [`AsyncStore::write`].
    pub async fn insert(
        &self,
        user: UserId,
        conversation: Conversation,
        messages: Vec<Message>,
    ) -> Result<()> {
        let new = Arc::new((conversation, messages));
        let mut progress = Some(InsertProgress::default());
        while let Some(before) = progress {
            let new = new.clone();
            let part = move |transaction: &mut Transaction<'_>| {
                let (conversation, messages) = &*new;
                let budget = &mut { MAX_INSERTED_BYTES };
                transaction.insert_part(user, conversation, messages, before, budget)
            };
            progress = self.write_for(user, part).await?;
        }
        Ok(())
    }

    /// Runs [`Transaction::update`] as a write of its own.
    ///
    /// ```
    /// # use convodb_tokio::{AsyncStore, convodb::*};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let store = AsyncStore::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// # let user = store.create_user("Acme", at).await?.id;
    /// # let (bot, id) = (AssistantId::generate(at), ConversationId::generate(at));
    /// # store.create_assistant(user, bot, "Bot").await?;
    /// # store.insert(user, Conversation::new(id, bot, Channel::Widget, at), Vec::new()).await?;
    /// let hand_over = |conversation: &mut Conversation| {
    ///     conversation.ai_enabled = false;
    ///     Ok(())
    /// };
    /// assert!(!store.update(user, id, at, hand_over).await?.ai_enabled);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Transaction::update`] and [`AsyncStore::write`].
    pub async fn update(
        &self,
        user: UserId,
        id: ConversationId,
        now: Timestamp,
        change: impl FnOnce(&mut Conversation) -> Result<()> + Send + 'static,
    ) -> Result<Conversation> {
        self.write_for(user, move |transaction| transaction.update(user, id, now, change)).await
    }

    /// Runs [`Transaction::delete`] as a write of its own, or as several if the conversation has
    /// very many messages: see [`Store::delete`](convodb::Store::delete).
    ///
    /// ```
    /// # use convodb_tokio::{AsyncStore, convodb::*};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let store = AsyncStore::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// let user = store.create_user("Acme", at).await?.id;
    /// let bot = AssistantId::generate(at);
    /// store.create_assistant(user, bot, "Support").await?;
    /// let id = ConversationId::generate(at);
    /// store.insert(user, Conversation::new(id, bot, Channel::Widget, at), Vec::new()).await?;
    /// store.delete(user, id).await?;
    /// assert!(store.snapshot().conversation(user, id)?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Transaction::delete`] and [`AsyncStore::write`].
    pub async fn delete(&self, user: UserId, id: ConversationId) -> Result<()> {
        let delete_part = move |transaction: &mut Transaction<'_>| {
            transaction.delete_within(user, id, &mut { MAX_DELETED_MESSAGES })
        };
        while !self.write_for(user, delete_part).await? {}
        Ok(())
    }

    /// Runs [`Transaction::append_message`] as a write of its own.
    ///
    /// ```
    /// # use convodb_tokio::{AsyncStore, convodb::*};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let store = AsyncStore::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// let user = store.create_user("Acme", at).await?.id;
    /// let bot = AssistantId::generate(at);
    /// store.create_assistant(user, bot, "Support").await?;
    /// let id = ConversationId::generate(at);
    /// store.insert(user, Conversation::new(id, bot, Channel::Widget, at), Vec::new()).await?;
    /// let hello = Message::new(Role::User, "Hello!".to_owned(), at)?;
    /// assert_eq!(store.append_message(user, id, hello).await?, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Transaction::append_message`] and [`AsyncStore::write`].
    pub async fn append_message(
        &self,
        user: UserId,
        id: ConversationId,
        message: Message,
    ) -> Result<u32> {
        self.write_for(user, move |transaction| transaction.append_message(user, id, &message))
            .await
    }

    // ---- users, assistants, tokens -------------------------------------------------------------

    /// Runs [`Transaction::create_user`] as a write of its own.
    ///
    /// # Errors
    /// As [`Transaction::create_user`] and [`AsyncStore::write`].
    pub async fn create_user<N>(&self, name: N, created_at: Timestamp) -> Result<User>
    where
        N: TryInto<Name>,
        Error: From<N::Error>,
    {
        let name = name.try_into()?;
        self.write(move |transaction| transaction.create_user::<Name>(name, created_at)).await
    }

    /// Runs [`Transaction::rename_user`] as a write of its own.
    ///
    /// # Errors
    /// As [`Transaction::rename_user`] and [`AsyncStore::write`].
    pub async fn rename_user<N>(&self, user: UserId, name: N) -> Result<()>
    where
        N: TryInto<Name>,
        Error: From<N::Error>,
    {
        let name = name.try_into()?;
        self.write(move |transaction| transaction.rename_user::<Name>(user, name)).await
    }

    /// Runs [`Transaction::delete_assistant`] as a write of its own.
    ///
    /// # Errors
    /// As [`Transaction::delete_assistant`] and [`AsyncStore::write`].
    pub async fn delete_assistant(&self, user: UserId, id: AssistantId) -> Result<()> {
        self.write_for(user, move |transaction| transaction.delete_assistant(user, id)).await
    }

    /// Runs [`Transaction::create_assistant`] as a write of its own.
    ///
    /// # Errors
    /// As [`Transaction::create_assistant`] and [`AsyncStore::write`].
    pub async fn create_assistant<N>(
        &self,
        user: UserId,
        id: AssistantId,
        name: N,
    ) -> Result<Assistant>
    where
        N: TryInto<Name>,
        Error: From<N::Error>,
    {
        let name = name.try_into()?;
        self.write_for(user, move |transaction| {
            transaction.create_assistant::<Name>(user, id, name)
        })
        .await
    }

    /// Runs [`Transaction::rename_assistant`] as a write of its own.
    ///
    /// ```
    /// # use convodb_tokio::{AsyncStore, convodb::*};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let store = AsyncStore::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// let user = store.create_user("Acme", at).await?.id;
    /// let bot = AssistantId::generate(at);
    /// store.create_assistant(user, bot, "Support").await?;
    /// store.rename_assistant(user, bot, "Front Desk").await?;
    /// assert_eq!(store.snapshot().assistants(user, 0, 1)?[0].name.as_str(), "Front Desk");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Transaction::rename_assistant`] and [`AsyncStore::write`].
    pub async fn rename_assistant<N>(&self, user: UserId, id: AssistantId, name: N) -> Result<()>
    where
        N: TryInto<Name>,
        Error: From<N::Error>,
    {
        let name = name.try_into()?;
        self.write_for(user, move |transaction| {
            transaction.rename_assistant::<Name>(user, id, name)
        })
        .await
    }

    /// [`Store::create_token`](convodb::Store::create_token) on a blocking thread.
    ///
    /// ```
    /// # use convodb_tokio::{AsyncStore, convodb::*};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let store = AsyncStore::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// let user = store.create_user("Acme", at).await?.id;
    /// let bot = AssistantId::generate(at);
    /// store.create_assistant(user, bot, "Support").await?;
    /// let token = store.create_token(user, at).await?;
    /// assert!(store.snapshot().authenticate(&token, at)?.is_some());
    /// store.revoke_token(token.clone()).await?;
    /// assert!(store.snapshot().authenticate(&token, at)?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Store::create_token`](convodb::Store::create_token).
    ///
    /// # Panics
    /// Panics outside a tokio runtime.
    pub async fn create_token(&self, user: UserId, created_at: Timestamp) -> Result<String> {
        self.run_blocking(move |store| store.create_token(user, created_at)).await
    }

    /// [`Store::create_token_with`](convodb::Store::create_token_with) on a blocking thread.
    ///
    /// # Errors
    /// As [`Store::create_token_with`](convodb::Store::create_token_with).
    ///
    /// # Panics
    /// Panics outside a tokio runtime.
    pub async fn create_token_with(
        &self,
        user: UserId,
        created_at: Timestamp,
        options: TokenOptions,
    ) -> Result<NewToken> {
        self.run_blocking(move |store| store.create_token_with(user, created_at, options)).await
    }

    /// Runs [`Transaction::revoke_token`] as a write of its own.
    ///
    /// # Errors
    /// As [`Transaction::revoke_token`] and [`AsyncStore::write`].
    pub async fn revoke_token(&self, token: String) -> Result<()> {
        self.write(move |transaction| transaction.revoke_token(&token)).await
    }

    /// Runs [`Transaction::revoke_tokens`] as a write of its own.
    ///
    /// # Errors
    /// As [`Transaction::revoke_tokens`] and [`AsyncStore::write`].
    pub async fn revoke_tokens(&self, tokens: TokenSelector) -> Result<u64> {
        self.write(move |transaction| transaction.revoke_tokens(&tokens)).await
    }
}
