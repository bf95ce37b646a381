//! Workload of a trial: random writes and restarts.
//!
//! Ids and timestamps come from small ranges, so operations often touch the same conversations.

use convodb::{
    AssistantId, BulkOptions, Channel, Contact, Conversation, ConversationId, Cost, Error,
    IndexFamilies, IndexFamily, IndexState, Message, Result, Role, Store, Timestamp, UserId,
};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use uuid::Uuid;

use crate::generators::assistants;
use crate::oracle::Oracle;

/// The names of the users of every trial, in the order of their numbers.
pub(super) const USERS: [&str; 2] = ["one", "two"];

/// One step of a workload.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Creates the users and their assistants in one transaction.
    SetUp,
    /// Runs operations in one transaction.
    Write(Vec<WriteOperation>),
    /// Runs operations in one transaction, which then fails.
    AbortedWrite(Vec<WriteOperation>),
    /// Bulk-loads conversations.
    BulkLoad(UserId, Vec<(Conversation, Vec<Message>)>),
    /// Rotates the key of the cursor tokens.
    RotateCursorKey,
    /// Drops the optional indexes if they are ready, or else builds them.
    ToggleIndexes,
    /// Closes and opens the store.
    Restart,
}

/// One operation of a transaction.
#[derive(Clone, Debug)]
pub(super) enum WriteOperation {
    /// Inserts a conversation with messages.
    Insert(UserId, Conversation, Vec<Message>),
    /// Sets channel, assistant and whether the AI is on.
    Update(UserId, ConversationId, Channel, AssistantId),
    /// Appends a message.
    Append(UserId, ConversationId, Message),
    /// Deletes a conversation and its messages.
    Delete(UserId, ConversationId),
}

/// The id of the user with this index.
#[must_use]
pub(super) fn user(number: usize) -> UserId {
    UserId::new(u32::try_from(number + 1).unwrap_or(u32::MAX))
}

/// A random workload: the setup, then 1 to `max_steps` steps.
#[must_use]
pub(super) fn workload(random: &mut ChaCha8Rng, max_steps: usize) -> Vec<Step> {
    let length = random.random_range(1..=max_steps);
    let steps = (0..length).map(|_| step(random));
    std::iter::once(Step::SetUp).chain(steps).collect()
}

fn step(random: &mut ChaCha8Rng) -> Step {
    match random.random_range(0..100) {
        0..70 => Step::Write(vec![operation(random)]),
        70..80 => Step::Write(operations(random)),
        80..84 => Step::AbortedWrite(operations(random)),
        84..90 => {
            let rows = (0..random.random_range(0..8)).map(|_| row(random)).collect();
            Step::BulkLoad(user(random.random_range(0..2)), rows)
        }
        90..92 => Step::RotateCursorKey,
        92 => Step::ToggleIndexes,
        _ => Step::Restart,
    }
}

fn operations(random: &mut ChaCha8Rng) -> Vec<WriteOperation> {
    (0..random.random_range(1..12)).map(|_| operation(random)).collect()
}

fn operation(random: &mut ChaCha8Rng) -> WriteOperation {
    let user = user(random.random_range(0..2));
    match random.random_range(0..10) {
        0..5 => {
            let (conversation, messages) = row(random);
            WriteOperation::Insert(user, conversation, messages)
        }
        5 => WriteOperation::Update(user, id(random), channel(random), assistant(random)),
        6..8 => WriteOperation::Append(user, id(random), message(random)),
        _ => WriteOperation::Delete(user, id(random)),
    }
}

fn id(random: &mut ChaCha8Rng) -> ConversationId {
    ConversationId::new(Uuid::from_u128(random.random_range(0..24)))
}

fn assistant(random: &mut ChaCha8Rng) -> AssistantId {
    let all = assistants();
    all[random.random_range(0..all.len())]
}

fn time(random: &mut ChaCha8Rng) -> Timestamp {
    let millis = 1_737_800_000_000 + random.random_range(0..4) * 40_000_000_u64;
    Timestamp::from_millis(millis).unwrap_or(Timestamp::MIN)
}

fn channel(random: &mut ChaCha8Rng) -> Channel {
    let mut contact =
        || Contact { name: None, phone: format!("+49{}", random.random_range(0..3)).parse().ok() };
    let (sender, customer) = (contact(), contact());
    match random.random_range(0..4) {
        0 => Channel::Widget,
        1 => Channel::Api { external_identifier: "crm-1".parse().ok() },
        _ => Channel::Whatsapp { sender, customer },
    }
}

fn message(random: &mut ChaCha8Rng) -> Message {
    // Sometimes longer than a page of the file, rarely so long that the file must grow.
    let length = match random.random_range(0..250) {
        0 => 1_000_000,
        1..25 => 9_000,
        _ => random.random_range(0..40),
    };
    let text = "m".repeat(length);
    let message = Message::new(Role::User, text, time(random));
    let message = message.unwrap_or_else(|_| unreachable!("1,000,000 characters are not too long"));
    message.with_cost(Cost::from_nanos(random.random_range(0..1_000)))
}

fn row(random: &mut ChaCha8Rng) -> (Conversation, Vec<Message>) {
    let messages: Vec<Message> = (0..random.random_range(0..3)).map(|_| message(random)).collect();
    let conversation = Conversation {
        message_count: u32::try_from(messages.len()).unwrap_or(0),
        ..Conversation::new(id(random), assistant(random), channel(random), time(random))
    };
    let ai_enabled = !conversation.id.uuid().as_u128().is_multiple_of(3);
    let conversation = Conversation { ai_enabled, ..conversation };
    (conversation, messages)
}

/// The change of an update. The type of a conversation never changes.
fn update(row: &mut Conversation, channel: &Channel, assistant: AssistantId) {
    if row.channel.kind() == channel.kind() {
        row.channel = channel.clone();
    }
    row.assistant = assistant;
    row.ai_enabled = assistant != assistants()[0];
}

impl WriteOperation {
    /// Applies it to the oracle.
    pub(super) fn apply(&self, oracle: &mut Oracle) {
        match self {
            WriteOperation::Insert(user, row, messages) => {
                oracle.insert(*user, row.clone(), messages.clone());
            }
            WriteOperation::Update(user, id, channel, assistant) => {
                oracle.update(*user, *id, |row| update(row, channel, *assistant));
            }
            WriteOperation::Append(user, id, message) => {
                oracle.append(*user, *id, message);
            }
            WriteOperation::Delete(user, id) => {
                oracle.delete(*user, *id);
            }
        }
    }

    /// Runs it in a transaction. A missing or a duplicate conversation is not an error here.
    fn run(&self, write: &mut convodb::Transaction<'_>) -> Result<()> {
        let done = match self {
            WriteOperation::Insert(user, row, messages) => {
                write.insert(*user, row.clone(), messages.to_vec())
            }
            WriteOperation::Update(user, id, channel, assistant) => write
                .update(*user, *id, Timestamp::MIN, |row| {
                    update(row, channel, *assistant);
                    Ok(())
                })
                .map(drop),
            WriteOperation::Append(user, id, message) => {
                write.append_message(*user, *id, message).map(drop)
            }
            WriteOperation::Delete(user, id) => write.delete(*user, *id),
        };
        match done {
            Err(Error::ConversationNotFound | Error::DuplicateConversation(_)) => Ok(()),
            other => other,
        }
    }
}

impl Step {
    /// Applies it to the oracle.
    pub(super) fn apply(&self, oracle: &mut Oracle) {
        match self {
            Step::Write(operations) => operations.iter().for_each(|one| one.apply(oracle)),
            Step::BulkLoad(user, rows) => {
                for (row, messages) in rows {
                    oracle.insert(*user, row.clone(), messages.clone());
                }
            }
            Step::SetUp
            | Step::AbortedWrite(_)
            | Step::RotateCursorKey
            | Step::ToggleIndexes
            | Step::Restart => {}
        }
    }

    /// Runs it on a store. [`Step::Restart`] does nothing here, because it replaces the store.
    ///
    /// # Errors
    /// An error of the store.
    pub(super) fn run(&self, store: &Store) -> Result<()> {
        match self.clone() {
            Step::SetUp => store.write(|write| {
                for name in USERS {
                    let user = write.create_user(name, Timestamp::MIN)?.id;
                    for id in assistants() {
                        write.create_assistant(user, id, "Bot")?;
                    }
                }
                Ok(())
            }),
            Step::Write(operations) => {
                store.write(move |write| operations.iter().try_for_each(|one| one.run(write)))
            }
            Step::AbortedWrite(operations) => {
                let aborted: Result<()> = store.write(move |write| {
                    operations.iter().try_for_each(|one| one.run(write))?;
                    Err(Error::TokenNotFound)
                });
                match aborted {
                    Err(Error::TokenNotFound) => Ok(()),
                    other => other,
                }
            }
            Step::BulkLoad(user, rows) => {
                let mut loader = store.bulk_load(BulkOptions::default());
                for (row, messages) in &rows {
                    loader.push(user, row, messages)?;
                }
                loader.finish().map(drop)
            }
            Step::RotateCursorKey => store.rotate_cursor_key(),
            Step::ToggleIndexes => {
                let snapshot = store.snapshot();
                let is_ready = |one| snapshot.index_state(one) == IndexState::Ready;
                match IndexFamily::ALL.into_iter().all(is_ready) {
                    true => store.drop_indexes(IndexFamilies::ALL),
                    false => store.add_indexes(IndexFamilies::ALL),
                }
            }
            Step::Restart => Ok(()),
        }
    }
}
