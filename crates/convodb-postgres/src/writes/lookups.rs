//! What a group reads under the lock: the commands of flight 1, and the user's state from their rows.

use std::collections::{BTreeSet, HashMap};

use convodb::seam::{self, Quota, StoredConversation};
use convodb::{Assistant, AssistantId, ConversationId, Name, UserId};
use convodb_service::Write;
use tokio_postgres::Row as SqlRow;
use uuid::Uuid;

use crate::error::{Result, corrupted};
use crate::page_statement::{COLUMN_COUNT, owner};
use crate::rows::{self, Columns};
use crate::values::{position, stored_position};
use crate::writes::group::{Head, Row, RowState, StoredAssistant, UserState};
use crate::writes::request::WriteRequest;
use crate::writes::statements::{Command, Sql, bigint, column, value};

/// What a group reads.
#[derive(Debug, Default)]
pub(crate) struct Lookups {
    conversations: BTreeSet<Uuid>,
    /// The conversations that are deleted.
    deleted: BTreeSet<Uuid>,
    pub(crate) assistants: BTreeSet<Uuid>,
    /// The milliseconds of new conversations, by their first and last positions.
    times: BTreeSet<(u64, u64)>,
    keys: BTreeSet<Uuid>,
    /// The access tokens, by the first and last digests of their ids.
    tokens: BTreeSet<([u8; 32], [u8; 32])>,
}

impl Lookups {
    /// What these writes name.
    pub(crate) fn of<'w>(user: UserId, writes: impl Iterator<Item = &'w WriteRequest>) -> Self {
        let mut lookups = Self::default();
        for WriteRequest { write, idempotent, authority, .. } in writes {
            match write {
                Write::Insert { conversation, .. } => {
                    lookups.conversations.insert(conversation.id.uuid());
                    lookups.assistants.insert(conversation.assistant.uuid());
                    lookups.times.insert(seam::positions_at(conversation.created_at));
                }
                Write::Change { id, .. } | Write::Append { id, .. } => {
                    lookups.conversations.insert(id.uuid());
                }
                Write::Delete { id } | Write::DeleteMatching { id, .. } => {
                    lookups.conversations.insert(id.uuid());
                    lookups.deleted.insert(id.uuid());
                }
                Write::Import { items } => {
                    for convodb_json::Item { conversation, .. } in items.iter() {
                        lookups.conversations.insert(conversation.id.uuid());
                        lookups.assistants.insert(conversation.assistant.uuid());
                        lookups.times.insert(seam::positions_at(conversation.created_at));
                    }
                }
                Write::CreateAssistant { id, .. }
                | Write::RenameAssistant { id, .. }
                | Write::DeleteAssistant { id } => {
                    lookups.assistants.insert(id.uuid());
                }
            }
            let key = idempotent.as_ref().map(|once| seam::idempotency_key(user, &once.key));
            lookups.keys.extend(key);
            let token = authority.map(|authority| seam::token_digests(authority.token));
            lookups.tokens.extend(token);
        }
        lookups
    }

    /// The flight that begins the group's transaction and reads.
    pub(crate) fn commands(&self, user: UserId) -> Result<Vec<Command>> {
        let owner = owner(user)?;
        let mut commands = vec![
            Command::bare(Sql::Begin),
            Command::new(Sql::LockHead, vec![value(owner)]),
            Command::new(Sql::Account, vec![value(owner)]),
        ];
        let sets = [
            (Sql::Rows, &self.conversations),
            (Sql::MessageBytes, &self.deleted),
            (Sql::Assistants, &self.assistants),
            (Sql::Responses, &self.keys),
        ];
        for (sql, ids) in sets.into_iter().filter(|(_, ids)| !ids.is_empty()) {
            let ids: Vec<Uuid> = ids.iter().copied().collect();
            commands.push(Command::new(sql, vec![value(owner), value(ids)]));
        }
        if !self.tokens.is_empty() {
            let tokens: Vec<_> = self.tokens.iter().copied().collect();
            let (first, last) = (
                column(&tokens, |(first, _)| first.to_vec()),
                column(&tokens, |(_, last)| last.to_vec()),
            );
            commands.push(Command::new(Sql::Tokens, vec![first, last]));
        }
        if !self.times.is_empty() {
            let times: Vec<(u64, u64)> = self.times.iter().copied().collect();
            let (first, last) = (
                column(&times, |(first, _)| stored_position(*first)),
                column(&times, |(_, last)| stored_position(*last)),
            );
            let limit = i64::try_from(self.deleted.len() + 1).unwrap_or(i64::MAX);
            commands.push(Command::new(Sql::Taken, vec![value(owner), first, last, value(limit)]));
        }
        Ok(commands)
    }
}

/// The command that looks up assistants that a group has turned out to need.
pub(crate) fn look_up_assistants(user: UserId, ids: &BTreeSet<Uuid>) -> Result<Command> {
    let ids: Vec<Uuid> = ids.iter().copied().collect();
    Ok(Command::new(Sql::Assistants, vec![value(owner(user)?), value(ids)]))
}

/// The flight that locks a user's head and reads the origin of a change, then ends.
pub(crate) fn look_up_origin(user: UserId, number: u64) -> Result<Vec<Command>> {
    let (owner, number) = (owner(user)?, bigint(number, "a change's number")?);
    Ok(vec![
        Command::bare(Sql::Begin),
        Command::new(Sql::LockHead, vec![value(owner)]),
        Command::new(Sql::ChangeOrigin, vec![value(owner), value(number)]),
        Command::bare(Sql::Commit),
    ])
}

/// What the flight of these commands returned, as the state of the user.
pub(crate) fn decode_state(
    commands: &[Command],
    found: &[Vec<SqlRow>],
    lookups: &Lookups,
) -> Result<UserState> {
    let mut state = UserState::default();
    let mut message_bytes = HashMap::new();
    for (command, rows) in commands.iter().zip(found) {
        match command.sql {
            Sql::LockHead => {
                state.head = rows.first().map(decode_head).transpose()?.unwrap_or_default();
            }
            Sql::Account => {
                let closed = rows.first().map(|row| Columns::new(row, 0, "account").next());
                state.is_closed = closed.transpose()?;
            }
            Sql::Tokens => {
                for row in rows {
                    let stored = rows::stored_access(row)?;
                    state.tokens.push(stored);
                }
            }
            Sql::Rows => {
                for row in rows {
                    let row = decode_row(row)?;
                    state.rows.insert(row.row.conversation.id, RowState::stored(row));
                }
            }
            Sql::MessageBytes => {
                for row in rows {
                    let mut columns = Columns::new(row, 0, "message");
                    let id = ConversationId::new(columns.next()?);
                    let [count, calls] = [columns.next()?, columns.next()?];
                    let bytes = seam::messages_bytes(count, calls, columns.next()?);
                    message_bytes.insert(id, bytes);
                }
            }
            Sql::Assistants => decode_assistants(rows, &lookups.assistants, &mut state)?,
            Sql::Taken => {
                for row in rows {
                    let mut columns = Columns::new(row, 0, "conversation");
                    let [first, taken] = [columns.next()?, columns.next()?].map(position);
                    state.taken.entry(first).or_default().insert(taken);
                }
            }
            Sql::Responses => {
                for row in rows {
                    let mut columns = Columns::new(row, 0, "answer");
                    let key: Uuid = columns.next()?;
                    let request: &[u8] = columns.next()?;
                    let damaged = |_| corrupted("answer", "a request is not 32 bytes");
                    let request = request.try_into().map_err(damaged)?;
                    let response: &[u8] = columns.next()?;
                    state.responses.insert(key, (request, response.to_vec()));
                }
            }
            _ => {}
        }
    }
    for (id, bytes) in message_bytes {
        if let Some(RowState { before: Some(before), now: Some(now), .. }) = state.rows.get_mut(&id)
        {
            (before.message_bytes, now.message_bytes) = (bytes, bytes);
        }
    }
    Ok(state)
}

/// Adds the assistants that were found, and that the rest of `ids` was not.
pub(crate) fn decode_assistants(
    rows: &[SqlRow],
    ids: &BTreeSet<Uuid>,
    state: &mut UserState,
) -> Result<()> {
    state.assistants.extend(ids.iter().map(|id| (AssistantId::new(*id), None)));
    for row in rows {
        let mut columns = Columns::new(row, 0, "assistant");
        let id = AssistantId::new(columns.next()?);
        let damaged = |_| corrupted("assistant", "a number is negative");
        let number = u32::try_from(columns.next::<i32>()?).map_err(damaged)?;
        let name = columns.text(|text| Name::new(text).ok())?;
        let name = name.ok_or_else(|| corrupted("assistant", "an assistant has no name"))?;
        let assistant = Assistant { id, number, name };
        let found = StoredAssistant { assistant, is_used: columns.next()? };
        state.assistants.insert(id, Some(found));
    }
    Ok(())
}

pub(crate) fn decode_head(row: &SqlRow) -> Result<Head> {
    let mut columns = Columns::new(row, 0, "head");
    let (last_change, last_trimmed) = (columns.unsigned()?, columns.unsigned()?);
    let damaged = |_| corrupted("head", "a number is negative");
    let last_assistant = u32::try_from(columns.next::<i32>()?).map_err(damaged)?;
    let (conversations, bytes) = (columns.unsigned()?, columns.unsigned()?);
    let mut limit = || columns.next::<Option<i64>>().map(|limit| limit.map(i64::cast_unsigned));
    let (max_conversations, max_bytes) = (limit()?, limit()?);
    let quota = Quota { conversations, bytes, max_conversations, max_bytes };
    let origin = columns.next()?;
    Ok(Head { last_change, last_trimmed, last_assistant, quota, origin })
}

fn decode_row(row: &SqlRow) -> Result<Row> {
    let damaged = |what| corrupted("conversation", what);
    let missing = || damaged("a row has no position");
    let (position, conversation) = rows::conversation(row, 0)?.ok_or_else(missing)?;
    let mut columns = Columns::new(row, COLUMN_COUNT, "conversation");
    let stored = u32::try_from(columns.unsigned()?);
    let stored = stored.map_err(|_| damaged("a count of messages is out of range"))?;
    let assistant = u32::try_from(columns.next::<i32>()?);
    let assistant = assistant.map_err(|_| damaged("a number is negative"))?;
    let row = StoredConversation { position, conversation, stored };
    Ok(Row { row, assistant, message_bytes: 0 })
}
