//! Rows of the database as values of the model. What no store has written is corrupted data.

use convodb::seam::{Counter, StoredAccess, channel_kind, created_at};
use convodb::{
    AssistantId, ChangeKind, Channel, ChannelKind, Contact, Conversation, ConversationId, Cost,
    ExternalIdentifier, Message, Name, Phone, Role, Timestamp, UserId, Variables,
};
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;
use uuid::Uuid;

use crate::error::{Result, corrupted};
use crate::page_statement::COLUMN_COUNT;
use crate::values::position;

/// The table of conversations, as errors name it.
const CONVERSATION: &str = "conversation";
const MESSAGE: &str = "message";
const TOTAL: &str = "total";

/// A cursor over the columns of a row.
pub(crate) struct Columns<'r> {
    row: &'r Row,
    at: usize,
    table: &'static str,
}

impl<'r> Columns<'r> {
    /// The columns from number `at` on, of this table.
    pub(crate) const fn new(row: &'r Row, at: usize, table: &'static str) -> Self {
        Self { row, at, table }
    }

    /// The next column.
    pub(crate) fn next<T: FromSql<'r>>(&mut self) -> Result<T> {
        let value = self.row.try_get(self.at);
        self.at += 1;
        value.map_err(|_| corrupted(self.table, "a column has another type or no value"))
    }

    /// The next column, a number that is never negative.
    pub(crate) fn unsigned(&mut self) -> Result<u64> {
        let number: i64 = self.next()?;
        u64::try_from(number).map_err(|_| corrupted(self.table, "a number is negative"))
    }

    /// The next column, a time.
    pub(crate) fn time(&mut self) -> Result<Timestamp> {
        let millis = self.unsigned()?;
        let out_of_range = |_| corrupted(self.table, "a time is out of range");
        Timestamp::from_millis(millis).map_err(out_of_range)
    }

    /// The next column, a time that may be missing.
    pub(crate) fn optional_time(&mut self) -> Result<Option<Timestamp>> {
        let Some(millis) = self.next::<Option<i64>>()? else { return Ok(None) };
        let time = u64::try_from(millis).ok().and_then(|ms| Timestamp::from_millis(ms).ok());
        time.map(Some).ok_or_else(|| corrupted(self.table, "a time is out of range"))
    }

    /// The next column, a text that may be missing.
    pub(crate) fn text<T>(&mut self, parse: impl FnOnce(String) -> Option<T>) -> Result<Option<T>> {
        let Some(bytes) = self.next::<Option<&[u8]>>()? else { return Ok(None) };
        let text = str::from_utf8(bytes).ok().map(str::to_owned).and_then(parse);
        text.map(Some).ok_or_else(|| corrupted(self.table, "a text is out of bounds"))
    }
}

/// The conversation of the columns [`COLUMNS`](crate::page_statement::COLUMNS) from number `at` on,
/// with its position; `None` if an outer join found none.
pub(crate) fn conversation(row: &Row, at: usize) -> Result<Option<(u64, Conversation)>> {
    let mut columns = Columns::new(row, at, CONVERSATION);
    let Some(stored) = columns.next::<Option<i64>>()? else { return Ok(None) };
    let position = position(stored);
    let id: Uuid = columns.next()?;
    let no_assistant = || corrupted(CONVERSATION, "a row has no assistant");
    let assistant: Uuid = columns.next::<Option<Uuid>>()?.ok_or_else(no_assistant)?;
    let kind: i16 = columns.next()?;
    let kind = u8::try_from(kind).ok().and_then(channel_kind);
    let kind = kind.ok_or_else(|| corrupted(CONVERSATION, "a row has an unknown type"))?;
    let message_count = u32::try_from(columns.unsigned()?);
    let total_cost = Cost::from_nanos(columns.next()?);
    let ai_enabled = columns.next()?;
    let updated_at = columns.time()?;
    let channel = channel(&mut columns, kind)?;
    let conversation = Conversation {
        id: ConversationId::new(id),
        assistant: AssistantId::new(assistant),
        channel,
        variables: columns.text(|text| Variables::new(text).ok())?,
        message_count: message_count
            .map_err(|_| corrupted(CONVERSATION, "a count of messages is out of range"))?,
        total_cost,
        ai_enabled,
        created_at: created_at(position),
        updated_at,
    };
    Ok(Some((position, conversation)))
}

fn channel(columns: &mut Columns<'_>, kind: ChannelKind) -> Result<Channel> {
    let mut contact = || -> Result<Contact> {
        let name = columns.text(|text| Name::new(text).ok())?;
        Ok(Contact { name, phone: columns.text(|text| Phone::new(text).ok())? })
    };
    let (sender, customer) = (contact()?, contact()?);
    let external_identifier = columns.text(|text| ExternalIdentifier::new(text).ok())?;
    let is_empty = sender == Contact::default() && customer == Contact::default();
    match kind {
        ChannelKind::Test if is_empty && external_identifier.is_none() => Ok(Channel::Test),
        ChannelKind::Widget if is_empty && external_identifier.is_none() => Ok(Channel::Widget),
        ChannelKind::Whatsapp if external_identifier.is_none() => {
            Ok(Channel::Whatsapp { sender, customer })
        }
        ChannelKind::Api if is_empty => Ok(Channel::Api { external_identifier }),
        _ => Err(corrupted(CONVERSATION, "a row has a text that its channel does not have")),
    }
}

/// The next column, a name.
pub(crate) fn decode_name(columns: &mut Columns<'_>) -> Result<Name> {
    let (table, name) = (columns.table, columns.text(|text| Name::new(text).ok())?);
    name.ok_or_else(|| corrupted(table, "a name is missing"))
}

/// Adds the names of the assistants of rows that are not there yet. The rows have the columns
/// [`COLUMNS`](crate::page_statement::COLUMNS) from number `at` on, and then the name.
pub(crate) fn add_names(
    found: &[Row],
    at: usize,
    names: &mut Vec<(AssistantId, Name)>,
) -> Result<()> {
    for row in found {
        let id: Option<Uuid> = Columns::new(row, at + 2, CONVERSATION).next()?;
        let Some(id) = id.map(AssistantId::new) else { continue };
        if names.iter().all(|(known, _)| *known != id) {
            let name = decode_name(&mut Columns::new(row, at + COLUMN_COUNT, "assistant"))?;
            names.push((id, name));
        }
    }
    Ok(())
}

/// The columns of an access token that [`stored_access`] decodes.
pub(crate) const ACCESS_COLUMNS: &str =
    "digest, owner, scopes, assistant, expires_ms, last_used_ms";

/// What is stored of an access token, of the columns [`ACCESS_COLUMNS`].
pub(crate) fn stored_access(row: &Row) -> Result<StoredAccess> {
    let mut columns = Columns::new(row, 0, "token");
    let damaged = || corrupted("token", "a number is out of range");
    let digest = columns.next::<&[u8]>()?.try_into().map_err(|_| damaged())?;
    let user = u32::try_from(columns.next::<i32>()?).map_err(|_| damaged())?;
    let scopes = u8::try_from(columns.next::<i16>()?).map_err(|_| damaged())?;
    Ok(StoredAccess {
        digest,
        user: UserId::new(user),
        scopes,
        assistant: columns.next::<Option<Uuid>>()?.map(AssistantId::new),
        expires_at: columns.optional_time()?,
        last_used_at: columns.optional_time()?,
    })
}

/// The number of a kind of change as it is stored.
pub(crate) const fn change_number(kind: ChangeKind) -> i16 {
    match kind {
        ChangeKind::Created => 1,
        ChangeKind::Updated => 2,
        ChangeKind::Deleted => 3,
    }
}

/// The number of a role as it is stored.
pub(crate) const fn role_number(role: Role) -> i16 {
    match role {
        Role::User => 0,
        Role::Assistant => 1,
        Role::System => 2,
        Role::Tool => 3,
    }
}

/// The message of the columns `number, role, content, calls, cost, created_ms` from number `at` on,
/// with its number; `None` if an outer join found none.
pub(crate) fn message(row: &Row, at: usize) -> Result<Option<(u64, Message)>> {
    let mut columns = Columns::new(row, at, MESSAGE);
    let Some(number) = columns.next::<Option<i64>>()? else { return Ok(None) };
    let number = u64::try_from(number);
    let number = number.map_err(|_| corrupted(MESSAGE, "a number is negative"))?;
    let role: i16 = columns.next()?;
    let role = Role::ALL.into_iter().find(|known| role_number(*known) == role);
    let role = role.ok_or_else(|| corrupted(MESSAGE, "a message has an unknown role"))?;
    let content = columns.text(Some)?.unwrap_or_default();
    let calls = columns.text(Some)?;
    let cost = Cost::from_nanos(columns.next()?);
    let out_of_bounds = |_| corrupted(MESSAGE, "a message is out of bounds");
    let message = Message::new(role, content, columns.time()?).map_err(out_of_bounds)?;
    let message = match calls {
        Some(calls) => message.with_function_calls(calls).map_err(out_of_bounds)?,
        None => message,
    };
    Ok(Some((number, message.with_cost(cost))))
}

/// The counter of the columns `span, assistant, kind, conversations, messages, cost::text`.
pub(crate) fn counter(row: &Row) -> Result<Counter> {
    let mut columns = Columns::new(row, 0, TOTAL);
    let damaged = || corrupted(TOTAL, "a counter is out of range");
    let bucket = u32::try_from(columns.unsigned()?).map_err(|_| damaged())?;
    let assistant = columns.next()?;
    let kind = u8::try_from(columns.next::<i16>()?).map_err(|_| damaged())?;
    let (conversations, messages) = (columns.next()?, columns.next()?);
    let cost_nanos = columns.next::<&str>()?.parse().map_err(|_| damaged())?;
    Ok(Counter { bucket, assistant, kind, conversations, messages, cost_nanos })
}
