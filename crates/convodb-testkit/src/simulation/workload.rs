//! What is done to a store in a trial: a row of writes, and closing and opening in between, on few
//! ids and few times, so that they meet.

use convodb::{
    AssistantId, BulkOptions, Channel, Contact, Conversation, ConversationId, Cost, Error, Message,
    Result, Role, Store, Timestamp, UserId,
};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use uuid::Uuid;

use crate::generators::assistants;
use crate::oracle::Oracle;

/// The users of every trial, in order of their numbers.
pub(super) const USERS: [&str; 2] = ["one", "two"];

/// One thing that is done to a store.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Creates the users and their assistants, in one write.
    SetUp,
    /// A write of one operation or several.
    Write(Vec<Operation>),
    /// A write that fails after all of its operations.
    TakenBack(Vec<Operation>),
    /// A bulk load.
    Bulk(UserId, Vec<(Conversation, Vec<Message>)>),
    /// A new key for cursors.
    Rotate,
    /// Closes the store and opens it.
    Restart,
}

/// An operation of a write.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    /// With its messages.
    Insert(UserId, Conversation, Vec<Message>),
    /// Another channel and another assistant.
    Change(UserId, ConversationId, Channel, AssistantId),
    /// A message more.
    Append(UserId, ConversationId, Message),
    /// With its messages.
    Delete(UserId, ConversationId),
}

/// The n-th user.
#[must_use]
pub(super) fn user(number: usize) -> UserId {
    UserId::new(u32::try_from(number + 1).unwrap_or(u32::MAX))
}

/// A script of up to `most` steps.
#[must_use]
pub(super) fn script(random: &mut ChaCha8Rng, most: usize) -> Vec<Step> {
    let length = random.random_range(1..=most);
    let steps = (0..length).map(|_| step(random));
    std::iter::once(Step::SetUp).chain(steps).collect()
}

fn step(random: &mut ChaCha8Rng) -> Step {
    match random.random_range(0..100) {
        0..70 => Step::Write(vec![operation(random)]),
        70..80 => Step::Write(operations(random)),
        80..84 => Step::TakenBack(operations(random)),
        84..90 => {
            let rows = (0..random.random_range(0..8)).map(|_| row(random)).collect();
            Step::Bulk(user(random.random_range(0..2)), rows)
        }
        90..93 => Step::Rotate,
        _ => Step::Restart,
    }
}

fn operations(random: &mut ChaCha8Rng) -> Vec<Operation> {
    (0..random.random_range(1..12)).map(|_| operation(random)).collect()
}

fn operation(random: &mut ChaCha8Rng) -> Operation {
    let user = user(random.random_range(0..2));
    match random.random_range(0..10) {
        0..5 => {
            let (conversation, history) = row(random);
            Operation::Insert(user, conversation, history)
        }
        5 => Operation::Change(user, id(random), channel(random), assistant(random)),
        6..8 => Operation::Append(user, id(random), message(random)),
        _ => Operation::Delete(user, id(random)),
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
    // Now and then more than a page of the file, or so much that the file has to grow.
    let length = match random.random_range(0..250) {
        0 => 1_000_000,
        1..25 => 9_000,
        _ => random.random_range(0..40),
    };
    let text = "m".repeat(length);
    let message = Message::new(Role::User, text, time(random));
    let message = message.unwrap_or_else(|_| unreachable!("it is not too long"));
    message.with_cost(Cost::from_nanos(random.random_range(0..1_000)))
}

fn row(random: &mut ChaCha8Rng) -> (Conversation, Vec<Message>) {
    let history: Vec<Message> = (0..random.random_range(0..3)).map(|_| message(random)).collect();
    let conversation = Conversation {
        message_count: u32::try_from(history.len()).unwrap_or(0),
        ..Conversation::new(id(random), assistant(random), channel(random), time(random))
    };
    (conversation, history)
}

impl Operation {
    /// Does it to the oracle.
    pub(super) fn apply(&self, oracle: &mut Oracle) {
        match self {
            Operation::Insert(user, row, history) => {
                oracle.insert(*user, row.clone(), history.clone());
            }
            Operation::Change(user, id, channel, assistant) => {
                oracle.update(*user, *id, |row| {
                    row.channel = channel.clone();
                    row.assistant = *assistant;
                });
            }
            Operation::Append(user, id, message) => {
                oracle.append(*user, *id, message);
            }
            Operation::Delete(user, id) => {
                oracle.delete(*user, *id);
            }
        }
    }

    /// Does it in a write. What is not there, or already is, is no error here.
    fn run(&self, write: &mut convodb::Transaction<'_>) -> Result<()> {
        let done = match self {
            Operation::Insert(user, row, history) => write.insert(*user, row, history),
            Operation::Change(user, id, channel, assistant) => write
                .update(*user, *id, |row| {
                    row.channel = channel.clone();
                    row.assistant = *assistant;
                })
                .map(drop),
            Operation::Append(user, id, message) => {
                write.append_message(*user, *id, message).map(drop)
            }
            Operation::Delete(user, id) => write.delete(*user, *id),
        };
        match done {
            Err(Error::ConversationNotFound | Error::DuplicateConversation(_)) => Ok(()),
            other => other,
        }
    }
}

impl Step {
    /// Does it to the oracle.
    pub(super) fn apply(&self, oracle: &mut Oracle) {
        match self {
            Step::Write(operations) => operations.iter().for_each(|one| one.apply(oracle)),
            Step::Bulk(user, rows) => {
                for (row, history) in rows {
                    oracle.insert(*user, row.clone(), history.clone());
                }
            }
            Step::SetUp | Step::TakenBack(_) | Step::Rotate | Step::Restart => {}
        }
    }

    /// Does it to a store, but for [`Step::Restart`].
    ///
    /// # Errors
    /// A fault of the store.
    pub(super) fn run(&self, store: &Store) -> Result<()> {
        match self.clone() {
            Step::SetUp => store.write(|write| {
                for name in USERS {
                    let user = write.create_user(name.parse()?, Timestamp::MIN)?.id;
                    for id in assistants() {
                        write.create_assistant(user, id, "Bot".parse()?)?;
                    }
                }
                Ok(())
            }),
            Step::Write(operations) => {
                store.write(move |write| operations.iter().try_for_each(|one| one.run(write)))
            }
            Step::TakenBack(operations) => {
                let taken_back: Result<()> = store.write(move |write| {
                    operations.iter().try_for_each(|one| one.run(write))?;
                    Err(Error::TokenNotFound)
                });
                match taken_back {
                    Err(Error::TokenNotFound) => Ok(()),
                    other => other,
                }
            }
            Step::Bulk(user, rows) => {
                let mut loader = store.bulk_load(BulkOptions::default());
                for (row, history) in &rows {
                    loader.push(user, row, history)?;
                }
                loader.finish(|_, _| {}).map(drop)
            }
            Step::Rotate => store.rotate_cursor_key(),
            Step::Restart => Ok(()),
        }
    }
}
