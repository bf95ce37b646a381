//! A group of writes of one user: the rules, in memory, on what the user's lane has read.
//!
//! Writes run in order, each on the state that those before it left. A write checks everything before
//! it changes anything, so one that fails leaves no trace and the others are not affected. What the
//! group changed in total is then written at once: see [`crate::writes::statements`].

use std::collections::{BTreeMap, BTreeSet, HashMap};

use convodb::seam::{
    self, Counter, FeedRecord, Keys, Quota, Response, RowChange, StoredAccess, StoredConversation,
};
use convodb::{
    Assistant, AssistantId, Conversation, ConversationId, Error, Message, Name, Timestamp, UserId,
};
use convodb_service::{ConversationChange, Idempotent, Write, WriteAuthority, Written};
use uuid::Uuid;

use crate::conversation_row::ConversationRow;
use crate::error::Result as ClusterResult;
use crate::writes::request::{Reply, WriteRequest};

/// What every write observes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WriteRules {
    pub(crate) retained_changes: u64,
    pub(crate) quota: convodb::Quota,
}

/// What a group reads, under the lock of the user's row of `head`.
#[derive(Clone, Debug, Default)]
pub(crate) struct UserState {
    /// Whether the user is being erased; `None` if there is no such user.
    pub(crate) is_closed: Option<bool>,
    pub(crate) head: Head,
    /// The conversations that the writes name; missing ones are absent.
    pub(crate) rows: HashMap<ConversationId, RowState>,
    /// The assistants that were looked up.
    pub(crate) assistants: HashMap<AssistantId, Option<StoredAssistant>>,
    /// The last taken positions of milliseconds, by the first position of each: one more than the
    /// group deletes.
    pub(crate) taken: HashMap<u64, BTreeSet<u64>>,
    /// The access tokens that authorize writes.
    pub(crate) tokens: Vec<StoredAccess>,
    /// The requests and responses of idempotency keys.
    pub(crate) responses: HashMap<Uuid, ([u8; 32], Vec<u8>)>,
}

/// The numbers of a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) last_change: u64,
    pub(crate) last_trimmed: u64,
    pub(crate) last_assistant: u32,
    pub(crate) quota: Quota,
    /// The random number of the last group.
    pub(crate) origin: Option<i64>,
}

/// An assistant, and whether it has conversations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredAssistant {
    pub(crate) assistant: Assistant,
    pub(crate) is_used: bool,
}

/// A conversation as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) row: StoredConversation,
    /// The number of the assistant.
    pub(crate) assistant: u32,
    /// The bytes that its messages count; known if the group deletes the conversation.
    pub(crate) message_bytes: i64,
}

/// A conversation before the group and now.
#[derive(Clone, Debug, Default)]
pub(crate) struct RowState {
    pub(crate) before: Option<Row>,
    pub(crate) now: Option<Row>,
    /// Whether the row that was there before was deleted.
    pub(crate) is_replaced: bool,
}

impl RowState {
    /// A conversation that the group has not changed.
    pub(crate) fn stored(row: Row) -> Self {
        Self { before: Some(row.clone()), now: Some(row), is_replaced: false }
    }
}

/// What a group changes in the database, in the order of keys.
#[derive(Debug, Default)]
pub(crate) struct GroupChanges {
    /// The positions of deleted conversations.
    pub(crate) deleted: Vec<u64>,
    pub(crate) inserted: Vec<ConversationRow>,
    pub(crate) updated: Vec<ConversationRow>,
    /// Messages by position and number.
    pub(crate) messages: BTreeMap<(u64, u32), Message>,
    pub(crate) counters: Vec<Counter>,
    pub(crate) changes: Vec<FeedRecord>,
    pub(crate) created_assistants: Vec<Assistant>,
    pub(crate) renamed_assistants: Vec<Assistant>,
    pub(crate) deleted_assistants: Vec<AssistantId>,
    pub(crate) responses: Vec<Response>,
}

/// Why a write did not run.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It fails.
    Failed(crate::Error),
    /// It needs an assistant that was not looked up.
    Unknown(AssistantId),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Failed(error.into())
    }
}

pub(super) type Result<T, E = Refusal> = std::result::Result<T, E>;

/// A group of writes while it runs.
pub(crate) struct WriteGroup<'k> {
    user: UserId,
    keys: &'k Keys,
    rules: WriteRules,
    state: UserState,
    /// The head before the group.
    head: Head,
    messages: BTreeMap<(u64, u32), Message>,
    counters: BTreeMap<(u32, Uuid, u8), Counter>,
    changes: Vec<FeedRecord>,
    assistants: BTreeMap<AssistantId, AssistantChange>,
    responses: Vec<Response>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum AssistantChange {
    Created,
    Renamed,
    Deleted,
}

/// What a write does, when nothing can fail any more.
pub(super) struct Effect {
    /// Conversations and bytes that it adds.
    usage: (i64, i64),
    change: EffectChange,
}

enum EffectChange {
    Nothing,
    Row(Box<RowEffect>),
    Assistant(Assistant, AssistantChange),
}

/// A row before and after a write, and the messages that follow those that are stored.
struct RowEffect {
    id: ConversationId,
    old: Option<Row>,
    new: Option<Row>,
    messages: Vec<Message>,
}

impl RowEffect {
    /// This effect, which adds conversations and bytes.
    fn counting(self, usage: (i64, i64)) -> Effect {
        Effect { usage, change: EffectChange::Row(Box::new(self)) }
    }
}

impl<'k> WriteGroup<'k> {
    pub(crate) fn new(user: UserId, keys: &'k Keys, rules: WriteRules, state: UserState) -> Self {
        let head = state.head;
        Self {
            user,
            keys,
            rules,
            state,
            head,
            messages: BTreeMap::new(),
            counters: BTreeMap::new(),
            changes: Vec::new(),
            assistants: BTreeMap::new(),
            responses: Vec::new(),
        }
    }

    /// Runs a write.
    pub(crate) fn run(&mut self, request: &WriteRequest) -> Result<Reply> {
        let WriteRequest { write, idempotent, .. } = request;
        let restriction = &self.restriction(request)?;
        let Some(Idempotent { key, request, now, response }) = idempotent else {
            let written = match write {
                Write::Import { items } => self.import(items, *restriction)?,
                write => self.perform(self.effect(write, *restriction)?)?,
            };
            return Ok(Reply::Written(written));
        };
        let key = seam::idempotency_key(self.user, key);
        if let Some((first, response)) = self.state.responses.get(&key) {
            let is_same = first == request;
            return if is_same {
                Ok(Reply::Response(response.clone()))
            } else {
                Err(Error::IdempotencyConflict.into())
            };
        }
        let (effect, written) = self.effect(write, *restriction)?;
        let response = response(&written);
        let quota = self.counted(self.state.head.quota, effect.usage)?;
        self.state.head.quota = self.counted(quota, (0, seam::response_bytes(&response)))?;
        self.apply(effect.change);
        self.state.responses.insert(key, (*request, response.clone()));
        let (request, at) = (*request, *now);
        self.responses.push(Response { key, request, response: response.clone(), at });
        Ok(Reply::Response(response))
    }

    /// The only assistant that a write reaches: by its handle, or by its token as it is now.
    fn restriction(&self, request: &WriteRequest) -> Result<Option<AssistantId>> {
        let Some(WriteAuthority { token, scope, now }) = request.authority else {
            return Ok(request.restriction);
        };
        let (first, last) = seam::token_digests(token);
        let mut stored = self.state.tokens.iter();
        let stored = stored.find(|stored| (first..=last).contains(&stored.digest));
        let access = stored.map(|stored| stored.access(now)).transpose()?.flatten();
        let access =
            access.filter(|access| access.user == self.user).ok_or(Error::TokenNotFound)?;
        if !access.scopes.contains(scope) {
            return Err(Refusal::Failed(crate::Error::ScopeMissing(scope)));
        }
        match (request.restriction, access.assistant) {
            // Limited meanwhile to another assistant than its handle is.
            (Some(handle), Some(token)) if handle != token => Err(Error::TokenNotFound.into()),
            (handle, token) => Ok(handle.or(token)),
        }
    }

    /// Counts what a write adds, and changes the state.
    pub(super) fn perform(&mut self, (effect, written): (Effect, Written)) -> Result<Written> {
        self.state.head.quota = self.counted(self.state.head.quota, effect.usage)?;
        self.apply(effect.change);
        Ok(written)
    }

    fn counted(&self, quota: Quota, (conversations, bytes): (i64, i64)) -> Result<Quota> {
        Ok(quota.counted(conversations, bytes, self.rules.quota)?)
    }

    /// What a write does to the state, which it leaves as it is, and its result.
    fn effect(&self, write: &Write, only: Option<AssistantId>) -> Result<(Effect, Written)> {
        match write {
            Write::Insert { conversation, messages } => self.insert(conversation, messages, only),
            Write::Change { id, now, change } => self.change(*id, *now, change, only),
            Write::Append { id, message } => self.append(*id, message, only),
            Write::Delete { id } => Ok(Self::deleted(self.require(*id, only)?)),
            Write::DeleteMatching { id, filter } => {
                let old = self.require(*id, only)?;
                if !seam::filter_matches(filter, &old.row.conversation) {
                    return Err(Error::ConversationNotFound.into());
                }
                Ok(Self::deleted(old))
            }
            Write::Import { .. } => {
                let reason = "must be left out of an import, which can be repeated";
                Err(Error::Invalid { field: "Idempotency-Key", reason }.into())
            }
            Write::CreateAssistant { id, name } => self.create_assistant(*id, name, only),
            Write::RenameAssistant { id, name } => {
                let old = self.require_reached(*id, only)?;
                self.check_open()?;
                let new = Assistant { name: name.clone(), ..old.clone() };
                let usage = (0, seam::assistant_bytes(&new) - seam::assistant_bytes(old));
                let written = Written::AssistantRenamed(new.clone());
                let change = EffectChange::Assistant(new, AssistantChange::Renamed);
                Ok((Effect { usage, change }, written))
            }
            Write::DeleteAssistant { id } => {
                let old = self.require_reached(*id, only)?.clone();
                // A group with this write has no other, so what is stored decides.
                if self.assistant(*id)?.is_some_and(|stored| stored.is_used) {
                    return Err(Error::AssistantInUse(id.uuid()).into());
                }
                let usage = (0, -seam::assistant_bytes(&old));
                let change = EffectChange::Assistant(old, AssistantChange::Deleted);
                Ok((Effect { usage, change }, Written::AssistantDeleted))
            }
        }
    }

    /// The effect of the deletion of a row.
    fn deleted(old: &Row) -> (Effect, Written) {
        let usage = (-1, -(row_bytes(old) + old.message_bytes));
        let (id, old) = (old.row.conversation.id, Some(old.clone()));
        let row = RowEffect { id, old, new: None, messages: Vec::new() };
        (row.counting(usage), Written::Deleted)
    }

    fn change(
        &self,
        id: ConversationId,
        now: Timestamp,
        change: &ConversationChange,
        only: Option<AssistantId>,
    ) -> Result<(Effect, Written)> {
        let old = self.require(id, only)?;
        self.check_open()?;
        let changed = seam::changed(&old.row.conversation, now, |row| change(row))?;
        let Some(conversation) = changed else {
            let written = Written::Changed(old.row.conversation.clone(), None);
            return Ok((Effect { usage: (0, 0), change: EffectChange::Nothing }, written));
        };
        let mut new = old.clone();
        if conversation.assistant != old.row.conversation.assistant {
            new.assistant = self.require_reached(conversation.assistant, only)?.number;
        }
        seam::check_count(conversation.message_count, old.row.stored as usize)?;
        new.row.conversation = conversation.clone();
        Ok((Self::replaced(old, new, Vec::new()), Written::Changed(conversation, None)))
    }

    fn append(
        &self,
        id: ConversationId,
        message: &Message,
        only: Option<AssistantId>,
    ) -> Result<(Effect, Written)> {
        let old = self.require(id, only)?;
        self.check_open()?;
        let mut new = old.clone();
        new.row.conversation = seam::appended(&old.row.conversation, message)?;
        new.row.stored = seam::next_message(old.row.stored)?;
        new.message_bytes += seam::message_bytes(message);
        let written = Written::Appended(new.row.conversation.message_count);
        Ok((Self::replaced(old, new, vec![message.clone()]), written))
    }

    pub(super) fn create_assistant(
        &self,
        id: AssistantId,
        name: &Name,
        only: Option<AssistantId>,
    ) -> Result<(Effect, Written)> {
        if !reaches(only, id) {
            let reason = "must be the assistant that the token is limited to";
            return Err(Error::Invalid { field: "assistant_id", reason }.into());
        }
        self.require_user()?;
        self.check_open()?;
        if self.assistant(id)?.is_some() {
            return Err(Error::DuplicateAssistant(id.uuid()).into());
        }
        let number = self.state.head.last_assistant.checked_add(1);
        // Numbers are stored as `integer`.
        let number = number.filter(|number| i32::try_from(*number).is_ok());
        let number = number.ok_or(Error::Invalid {
            field: "assistant",
            reason: "must be one of the user's first 2147483647",
        })?;
        let assistant = Assistant { id, number, name: name.clone() };
        let usage = (0, seam::assistant_bytes(&assistant));
        let change = EffectChange::Assistant(assistant.clone(), AssistantChange::Created);
        Ok((Effect { usage, change }, Written::AssistantCreated(assistant)))
    }

    pub(super) fn insert(
        &self,
        conversation: &Conversation,
        messages: &[Message],
        only: Option<AssistantId>,
    ) -> Result<(Effect, Written)> {
        seam::check_messages(conversation, messages)?;
        let assistant = self.require_reached(conversation.assistant, only)?.number;
        self.check_open()?;
        let id = conversation.id;
        if self.row(id).is_some() {
            return Err(Error::DuplicateConversation(id.uuid()).into());
        }
        let (first, _) = seam::positions_at(conversation.created_at);
        let last = self.state.taken.get(&first).and_then(BTreeSet::last);
        let position = last.map_or(Ok(first), |taken| seam::position_after(*taken))?;
        let message_bytes = messages.iter().map(seam::message_bytes).sum();
        // `check_messages` allows no more than a `u32` counts.
        let stored = u32::try_from(messages.len()).unwrap_or(u32::MAX);
        let row = StoredConversation { position, conversation: conversation.clone(), stored };
        let new = Row { row, assistant, message_bytes };
        let usage = (1, row_bytes(&new) + message_bytes);
        let (new, messages) = (Some(new), messages.to_vec());
        let row = RowEffect { id, old: None, new, messages };
        Ok((row.counting(usage), Written::Inserted))
    }

    /// The effect of a changed row with more messages.
    fn replaced(old: &Row, new: Row, messages: Vec<Message>) -> Effect {
        let added: i64 = messages.iter().map(seam::message_bytes).sum();
        let usage = (0, row_bytes(&new) - row_bytes(old) + added);
        let (id, old, new) = (new.row.conversation.id, Some(old.clone()), Some(new));
        RowEffect { id, old, new, messages }.counting(usage)
    }

    pub(super) fn row(&self, id: ConversationId) -> Option<&Row> {
        self.state.rows.get(&id).and_then(|state| state.now.as_ref())
    }

    fn require(&self, id: ConversationId, only: Option<AssistantId>) -> Result<&Row> {
        let row = self.row(id).filter(|row| reaches(only, row.row.conversation.assistant));
        row.ok_or_else(|| Error::ConversationNotFound.into())
    }

    pub(super) fn assistant(&self, id: AssistantId) -> Result<Option<&StoredAssistant>> {
        let found = self.state.assistants.get(&id).ok_or(Refusal::Unknown(id))?;
        Ok(found.as_ref())
    }

    fn require_reached(&self, id: AssistantId, only: Option<AssistantId>) -> Result<&Assistant> {
        let found = if reaches(only, id) { self.assistant(id)? } else { None };
        match found {
            Some(stored) => Ok(&stored.assistant),
            None => self.require_user().and(Err(Error::AssistantNotFound.into())),
        }
    }

    fn require_user(&self) -> Result<()> {
        self.state.is_closed.map(drop).ok_or_else(|| Error::UserNotFound.into())
    }

    fn check_open(&self) -> Result<()> {
        match self.state.is_closed {
            Some(true) => Err(Error::UserClosed.into()),
            _ => Ok(()),
        }
    }

    fn apply(&mut self, change: EffectChange) {
        match change {
            EffectChange::Nothing => {}
            EffectChange::Row(row) => self.apply_row(*row),
            EffectChange::Assistant(assistant, change) => self.apply_assistant(assistant, change),
        }
    }

    /// Changes a row, its counters and the feed: an insert is (none, new), an update (old, new), a
    /// delete (old, none).
    fn apply_row(&mut self, RowEffect { id, old, new, messages }: RowEffect) {
        let before = old.as_ref().map(|row| row.row.conversation.borrowed());
        let after = new.as_ref().map(|row| row.row.conversation.borrowed());
        for (row, sign) in [(&before, -1), (&after, 1)] {
            for counter in row.iter().flat_map(Counter::of) {
                self.count(&counter, sign);
            }
        }
        let change = RowChange::of(before.as_ref(), after.as_ref());
        let position = new.as_ref().or(old.as_ref()).map_or(0, |row| row.row.position);
        let (first, _) = seam::positions_at(seam::created_at(position));
        let taken = self.state.taken.entry(first).or_default();
        if new.is_some() {
            taken.insert(position);
            let stored = old.as_ref().map_or(0, |row| row.row.stored);
            let messages = (stored + 1..).zip(messages);
            self.messages.extend(messages.map(|(number, message)| ((position, number), message)));
        } else {
            taken.remove(&position);
            self.messages.retain(|(of, _), _| *of != position);
        }
        let state = self.state.rows.entry(id).or_default();
        state.is_replaced |= new.is_none() && state.before.is_some();
        state.now = new;
        if let Some(RowChange { kind, id, left }) = change {
            let number = self.state.head.last_change + 1;
            self.changes.push(FeedRecord { number, kind, id, position, left });
            self.state.head.last_change = number;
            self.trim(number);
        }
    }

    /// Trims surplus changes after change `number` was appended.
    fn trim(&mut self, number: u64) {
        let trimmed = &mut self.state.head.last_trimmed;
        if let Some((until, limit)) = seam::surplus_changes(number, self.rules.retained_changes) {
            *trimmed = until.min(trimmed.saturating_add(limit as u64)).max(*trimmed);
        }
    }

    fn count(&mut self, counter: &Counter, sign: i8) {
        let key = (counter.bucket, counter.assistant, counter.kind);
        let (conversations, messages, cost_nanos) = (0, 0, 0);
        let zero = Counter { conversations, messages, cost_nanos, ..*counter };
        let sum = self.counters.entry(key).or_insert(zero);
        // A group has some thousand terms of 32 and 64 bits.
        sum.conversations += i64::from(sign) * counter.conversations;
        sum.messages += i64::from(sign) * counter.messages;
        sum.cost_nanos += i128::from(sign) * counter.cost_nanos;
    }

    fn apply_assistant(&mut self, assistant: Assistant, change: AssistantChange) {
        let id = assistant.id;
        if change == AssistantChange::Created {
            self.state.head.last_assistant = assistant.number;
        }
        // One that was created stays so when it is renamed.
        let known = self.assistants.get(&id) == Some(&AssistantChange::Created);
        let recorded = if known { AssistantChange::Created } else { change };
        self.assistants.insert(id, recorded);
        let stored = match change {
            AssistantChange::Deleted => None,
            _ => Some(StoredAssistant { assistant, is_used: false }),
        };
        self.state.assistants.insert(id, stored);
    }

    /// Whether the group changes nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.assistants.is_empty() && self.responses.is_empty()
    }

    pub(super) const fn user(&self) -> UserId {
        self.user
    }

    /// The head before the group, and the one after it.
    pub(crate) const fn heads(&self) -> (Head, Head) {
        (self.head, self.state.head)
    }

    /// What the group changes.
    ///
    /// # Errors
    /// [`crate::Error::TooLarge`] if a number is beyond its column.
    pub(crate) fn into_changes(self) -> ClusterResult<GroupChanges> {
        let Self { user, keys, state, messages, counters, changes, assistants, responses, .. } =
            self;
        let owner = crate::page_statement::owner(user)?;
        let mut out = GroupChanges { messages, changes, responses, ..GroupChanges::default() };
        let zero = |c: &Counter| (c.conversations, c.messages, c.cost_nanos) == (0, 0, 0);
        out.counters = counters.into_values().filter(|counter| !zero(counter)).collect();
        let mut rows: Vec<RowState> = state.rows.into_values().collect();
        let key = |row: &Option<Row>| row.as_ref().map(|row| row.row.position);
        rows.sort_by_key(|state| (key(&state.before), key(&state.now)));
        for RowState { before, now, is_replaced } in rows {
            let new = |row: Row| -> ClusterResult<ConversationRow> {
                let number = i32::try_from(row.assistant);
                let number = number.map_err(|_| crate::Error::TooLarge("an assistant's number"))?;
                Ok(ConversationRow::new(owner, number, row.row, keys))
            };
            match (before, now) {
                (Some(before), Some(now)) if !is_replaced => {
                    if before != now {
                        out.updated.push(new(now)?);
                    }
                }
                (before, now) => {
                    out.deleted.extend(before.map(|row| row.row.position));
                    out.inserted.extend(now.map(new).transpose()?);
                }
            }
        }
        for (id, change) in assistants {
            let stored = state.assistants.get(&id).cloned().flatten();
            let stored = stored.map(|stored| stored.assistant);
            match change {
                AssistantChange::Created => out.created_assistants.extend(stored),
                AssistantChange::Renamed => out.renamed_assistants.extend(stored),
                AssistantChange::Deleted => out.deleted_assistants.push(id),
            }
        }
        Ok(out)
    }
}

pub(super) fn reaches(only: Option<AssistantId>, assistant: AssistantId) -> bool {
    only.is_none_or(|only| only == assistant)
}

/// The bytes that a row counts, without its messages.
fn row_bytes(row: &Row) -> i64 {
    seam::conversation_bytes(&row.row.conversation.borrowed(), row.row.stored)
}
