//! A conversation as a row of its table, as an import and a write insert it.

use convodb::seam::{Keys, StoredConversation, Terms};
use convodb::{Channel, Contact};
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use crate::values::{SqlValue, millis, stored_position};

/// A conversation as a row.
#[derive(Debug)]
pub(crate) struct ConversationRow {
    owner: i32,
    position: i64,
    id: Uuid,
    kind: i16,
    assistant: i32,
    /// Of the sender's phone, the customer's phone and the external identifier.
    fingerprints: [Option<i64>; 3],
    message_count: i64,
    stored: i64,
    cost: i64,
    ai_enabled: bool,
    updated: i64,
    /// The names and phones of sender and customer, the external identifier, the variables.
    texts: [Option<Vec<u8>>; 6],
}

impl ConversationRow {
    pub(crate) const COLUMNS: [(&'static str, Type); 19] = [
        ("owner", Type::INT4),
        ("pos", Type::INT8),
        ("id", Type::UUID),
        ("kind", Type::INT2),
        ("assistant", Type::INT4),
        ("sender_fp", Type::INT8),
        ("customer_fp", Type::INT8),
        ("external_fp", Type::INT8),
        ("message_count", Type::INT8),
        ("stored", Type::INT8),
        ("cost", Type::INT8),
        ("ai", Type::BOOL),
        ("updated_ms", Type::INT8),
        ("sender_name", Type::BYTEA),
        ("sender_phone", Type::BYTEA),
        ("customer_name", Type::BYTEA),
        ("customer_phone", Type::BYTEA),
        ("external", Type::BYTEA),
        ("variables", Type::BYTEA),
    ];

    pub(crate) fn new(owner: i32, assistant: i32, row: StoredConversation, keys: &Keys) -> Self {
        let StoredConversation { position, conversation, stored } = row;
        let Terms { kind, sender, customer, external, .. } =
            keys.terms(conversation.assistant, &conversation.channel);
        let bytes = |text: &str| text.as_bytes().to_vec();
        let contact = |contact: &Contact| {
            let name = contact.name.as_ref().map(|name| bytes(name.as_str()));
            [name, contact.phone.as_ref().map(|phone| bytes(phone.as_str()))]
        };
        let [[sender_name, sender_phone], [customer_name, customer_phone], [identifier, _]] =
            match &conversation.channel {
                Channel::Test | Channel::Widget => Default::default(),
                Channel::Whatsapp { sender, customer } => {
                    [contact(sender), contact(customer), [None, None]]
                }
                Channel::Api { external_identifier } => {
                    let identifier = external_identifier.as_ref();
                    let identifier = identifier.map(|identifier| bytes(identifier.as_str()));
                    [[None, None], [None, None], [identifier, None]]
                }
            };
        let variables = conversation.variables.as_ref().map(|json| bytes(json.as_str()));
        Self {
            owner,
            position: stored_position(position),
            id: conversation.id.uuid(),
            kind: i16::from(kind),
            assistant,
            fingerprints: [sender, customer, external].map(|bits| bits.map(u64::cast_signed)),
            message_count: i64::from(conversation.message_count),
            stored: i64::from(stored),
            cost: conversation.total_cost.nanos(),
            ai_enabled: conversation.ai_enabled,
            updated: millis(conversation.updated_at),
            texts: [
                sender_name,
                sender_phone,
                customer_name,
                customer_phone,
                identifier,
                variables,
            ],
        }
    }

    /// The values of [`Self::COLUMNS`] after the owner of several rows, an array for each column.
    pub(crate) fn arrays(rows: Vec<Self>) -> Vec<SqlValue> {
        fn array<T>(rows: &[ConversationRow], of: impl Fn(&ConversationRow) -> T) -> SqlValue
        where
            T: ToSql + Send + Sync + 'static,
        {
            Box::new(rows.iter().map(of).collect::<Vec<T>>())
        }
        let mut arrays = vec![
            array(&rows, |row| row.position),
            array(&rows, |row| row.id),
            array(&rows, |row| row.kind),
            array(&rows, |row| row.assistant),
            array(&rows, |row| row.fingerprints[0]),
            array(&rows, |row| row.fingerprints[1]),
            array(&rows, |row| row.fingerprints[2]),
            array(&rows, |row| row.message_count),
            array(&rows, |row| row.stored),
            array(&rows, |row| row.cost),
            array(&rows, |row| row.ai_enabled),
            array(&rows, |row| row.updated),
        ];
        let mut texts: [Vec<Option<Vec<u8>>>; 6] = Default::default();
        for row in rows {
            for (column, text) in texts.iter_mut().zip(row.texts) {
                column.push(text);
            }
        }
        arrays.extend(texts.map(|column| -> SqlValue { Box::new(column) }));
        arrays
    }

    /// The values of [`Self::COLUMNS`].
    pub(crate) fn values(&self) -> Vec<&(dyn ToSql + Sync)> {
        let mut values: Vec<&(dyn ToSql + Sync)> =
            vec![&self.owner, &self.position, &self.id, &self.kind, &self.assistant];
        values.extend(self.fingerprints.iter().map(|bits| bits as &(dyn ToSql + Sync)));
        let plain: [&(dyn ToSql + Sync); 5] =
            [&self.message_count, &self.stored, &self.cost, &self.ai_enabled, &self.updated];
        values.extend(plain);
        values.extend(self.texts.iter().map(|text| text as &(dyn ToSql + Sync)));
        values
    }
}
