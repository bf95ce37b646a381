//! What a group writes: the commands of flight 2, only those that are needed.

use convodb::seam::{Counter, FeedRecord, Keys, Response};
use convodb::{Assistant, AssistantId, Message, UserId};

use crate::conversation_row::ConversationRow;
use crate::error::Result;
use crate::page_statement::owner;
use crate::rows::{change_number, role_number};
use crate::values::{Numeric, SqlValue, millis, stored_position};
use crate::writes::group::{GroupChanges, Head};
use crate::writes::statements::{Command, Sql, bigint, column, value};

/// The flight that writes what a group changed of a user's data, and commits.
pub(crate) fn commit_commands(
    user: UserId,
    changes: GroupChanges,
    (before, after): (Head, Head),
    keys: &Keys,
    origin: i64,
) -> Result<Vec<Command>> {
    let mut flight = Flight { owner: owner(user)?, commands: Vec::new() };
    flight.rows(&changes.deleted, changes.inserted, changes.updated);
    flight.messages(&changes.messages.into_iter().collect::<Vec<_>>());
    flight.counters(&changes.counters);
    flight.feed(&changes.changes, origin);
    flight.trimming((before.last_trimmed, after.last_trimmed))?;
    flight.created_assistants(&changes.created_assistants, keys);
    flight.other_assistants(&changes.renamed_assistants, &changes.deleted_assistants);
    flight.responses(&changes.responses);
    flight.head(&after, origin)?;
    flight.commands.push(Command::bare(Sql::Commit));
    Ok(flight.commands)
}

struct Flight {
    owner: i32,
    commands: Vec<Command>,
}

impl Flight {
    /// Adds a statement with these parameters after the owner.
    fn add(&mut self, sql: Sql, values: impl IntoIterator<Item = SqlValue>) {
        let values = std::iter::once(value(self.owner)).chain(values).collect();
        self.commands.push(Command::new(sql, values));
    }

    /// Deletions are first, because a new row may have the position of a deleted one.
    fn rows(
        &mut self,
        deleted: &[u64],
        inserted: Vec<ConversationRow>,
        updated: Vec<ConversationRow>,
    ) {
        if !deleted.is_empty() {
            for sql in [Sql::DeleteMessages, Sql::DeleteRows] {
                self.add(sql, [column(deleted, |position| stored_position(*position))]);
            }
        }
        for (sql, rows) in [(Sql::InsertRows, inserted), (Sql::UpdateRows, updated)] {
            if !rows.is_empty() {
                self.add(sql, ConversationRow::arrays(rows));
            }
        }
    }

    fn messages(&mut self, messages: &[((u64, u32), Message)]) {
        if messages.is_empty() {
            return;
        }
        let calls =
            |message: &Message| message.function_calls().map(|calls| calls.as_bytes().to_vec());
        let values = [
            column(messages, |((position, _), _)| stored_position(*position)),
            column(messages, |((_, number), _)| i64::from(*number)),
            column(messages, |(_, message)| role_number(message.role())),
            column(messages, |(_, message)| message.content().as_bytes().to_vec()),
            column(messages, |(_, message)| calls(message)),
            column(messages, |(_, message)| message.cost().nanos()),
            column(messages, |(_, message)| millis(message.created_at())),
        ];
        self.add(Sql::InsertMessages, values);
    }

    fn counters(&mut self, counters: &[Counter]) {
        if counters.is_empty() {
            return;
        }
        let keys = || {
            [
                column(counters, |counter| i64::from(counter.bucket)),
                column(counters, |counter| counter.assistant),
                column(counters, |counter| i16::from(counter.kind)),
            ]
        };
        let sums = [
            column(counters, |counter| counter.conversations),
            column(counters, |counter| counter.messages),
            column(counters, |counter| Numeric(counter.cost_nanos)),
        ];
        self.add(Sql::AddCounters, keys().into_iter().chain(sums));
        if counters.iter().any(|counter| counter.conversations < 0) {
            self.add(Sql::DeleteCounters, keys());
        }
    }

    fn feed(&mut self, changes: &[FeedRecord], origin: i64) {
        if changes.is_empty() {
            return;
        }
        let values = [
            column(changes, |change| change.number.cast_signed()),
            column(changes, |change| change_number(change.kind)),
            column(changes, |change| change.id.uuid()),
            column(changes, |change| stored_position(change.position)),
            column(changes, |change| change.left.map(|id| id.uuid())),
            value(origin),
        ];
        self.add(Sql::InsertChanges, values);
    }

    /// Trims changes after the first number, up to the second.
    fn trimming(&mut self, (before, after): (u64, u64)) -> Result<()> {
        if after > before {
            let what = "a change's number";
            let (before, after) = (bigint(before, what)?, bigint(after, what)?);
            self.add(Sql::TrimChanges, [value(before), value(after)]);
            self.add(Sql::TrimMarks, [value(after)]);
        }
        Ok(())
    }

    fn created_assistants(&mut self, assistants: &[Assistant], keys: &Keys) {
        if assistants.is_empty() {
            return;
        }
        let values = [
            column(assistants, assistant_number),
            column(assistants, |assistant| assistant.id.uuid()),
            column(assistants, |assistant| keys.assistant(assistant.id).cast_signed()),
            column(assistants, name),
        ];
        self.add(Sql::InsertAssistants, values);
    }

    fn other_assistants(&mut self, renamed: &[Assistant], deleted: &[AssistantId]) {
        if !renamed.is_empty() {
            let values = [column(renamed, assistant_number), column(renamed, name)];
            self.add(Sql::RenameAssistants, values);
        }
        if !deleted.is_empty() {
            self.add(Sql::DeleteAssistants, [column(deleted, |id| id.uuid())]);
        }
    }

    fn responses(&mut self, responses: &[Response]) {
        if responses.is_empty() {
            return;
        }
        let values = [
            column(responses, |response| response.key),
            column(responses, |response| response.request.to_vec()),
            column(responses, |response| response.response.clone()),
            column(responses, |response| millis(response.at)),
        ];
        self.add(Sql::InsertResponses, values);
    }

    fn head(&mut self, head: &Head, origin: i64) -> Result<()> {
        let values = [
            value(bigint(head.last_change, "a change's number")?),
            value(bigint(head.last_trimmed, "a change's number")?),
            value(stored_number(head.last_assistant)),
            value(bigint(head.quota.conversations, "a quota")?),
            value(bigint(head.quota.bytes, "a quota")?),
            value(origin),
        ];
        self.add(Sql::UpdateHead, values);
        Ok(())
    }
}

fn assistant_number(assistant: &Assistant) -> i32 {
    stored_number(assistant.number)
}

/// The number of an assistant, which was stored so or was checked when it was assigned.
fn stored_number(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn name(assistant: &Assistant) -> Vec<u8> {
    assistant.name.as_str().as_bytes().to_vec()
}
