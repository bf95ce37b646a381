//! Records: what a row's value is on disk. The only file that knows bincode.
//!
//! ```text
//! | version u8 | body: bincode 2, fixed-width little-endian | checksum u64, little-endian |
//! ```
//!
//! The checksum is xxh3-64 of version and body, exclusive-or xxh3-64 of the row's key, and is
//! verified on each read: redb does not verify its pages' checksums when it reads, and a record
//! that a damaged page shows under another key must not be believed either.
//! Decoding borrows from the record and never panics.

use bincode::{BorrowDecode, Decode, Encode};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use crate::encoding::key::{FixedKey, MessageKey, RowKey};
use crate::model::channel::Channel;
use crate::model::contact::Contact;
use crate::model::conversation::{Conversation, ConversationRef};
use crate::model::cost::Cost;
use crate::model::id::{AssistantId, ConversationId};
use crate::model::message::{Message, Role};
use crate::model::position::Position;
use crate::model::text::{Text, TextKind};
use crate::model::timestamp::Timestamp;
use crate::model::variables::Variables;

/// The version that every record is written with.
const VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 8;
const CONFIG: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Fixint,
> = bincode::config::standard().with_fixed_int_encoding();

/// What does not hold in a damaged record.
pub(crate) type Damage = &'static str;

/// Wraps a body for the row `key`: version, body, checksum.
fn seal<K: FixedKey>(key: &K, body: impl Encode, record: &mut Vec<u8>) {
    let start = record.len();
    record.push(VERSION);
    bincode::encode_into_std_write(body, record, CONFIG)
        .unwrap_or_else(|error| unreachable!("plain fields into memory always encode: {error}"));
    let checksum = checksum(key, &record[start..]);
    record.extend_from_slice(&checksum.to_le_bytes());
}

/// Appends the record of row `from` as that of row `to`: the same version and body.
pub(crate) fn rekey<K: FixedKey>(record: &[u8], from: &K, to: &K, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(record);
    if from == to {
        return;
    }
    if let Some(stored) = out[start..].last_chunk_mut::<CHECKSUM_BYTES>() {
        let checksum = u64::from_le_bytes(*stored) ^ key_hash(from) ^ key_hash(to);
        *stored = checksum.to_le_bytes();
    }
}

fn checksum<K: FixedKey>(key: &K, sealed: &[u8]) -> u64 {
    xxh3_64(sealed) ^ key_hash(key)
}

fn key_hash<K: FixedKey>(key: &K) -> u64 {
    xxh3_64(key.encode().as_ref())
}

/// Checks a record of the row `key` and gives its version and body.
pub(crate) fn open<'a, K: FixedKey>(key: &K, record: &'a [u8]) -> Result<Body<'a>, Damage> {
    let (sealed, stored) =
        record.split_last_chunk::<CHECKSUM_BYTES>().ok_or("a record is too short")?;
    if checksum(key, sealed) != u64::from_le_bytes(*stored) {
        return Err("a record's checksum does not match");
    }
    match sealed.split_first() {
        Some((&VERSION, _)) => Ok(Body(sealed)),
        Some(_) => Err("a record has an unknown version"),
        None => Err("a record is too short"),
    }
}

/// The decoded value, if all of the body was read for it.
fn whole<T>(
    decoded: Result<(T, usize), bincode::error::DecodeError>,
    body: &[u8],
) -> Result<T, Damage> {
    match decoded {
        Ok((value, read)) if read == body.len() => Ok(value),
        Ok(_) => Err("a record has bytes after its end"),
        Err(_) => Err("a record does not decode"),
    }
}

/// A record whose checksum was verified: version and body.
#[derive(Clone, Copy)]
pub(crate) struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    /// The bytes of a body that [`open`] gave and that were copied since.
    pub(crate) const fn reopened(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn bytes(self) -> &'a [u8] {
        self.0
    }

    fn decode<T: BorrowDecode<'a, ()>>(self) -> Result<T, Damage> {
        let body = self.0.get(1..).unwrap_or_default();
        whole(bincode::borrow_decode_from_slice(body, CONFIG), body)
    }

    /// The conversation whose row stands at `position`, borrowed. About 50 ns.
    pub(crate) fn conversation(self, position: Position) -> Result<ConversationRef<'a>, Damage> {
        self.decode::<ConversationV1<'a>>()?.value(position)
    }

    /// The message.
    pub(crate) fn message(self) -> Result<Message, Damage> {
        let MessageV1 { role, content, function_calls, cost, created_at } = self.decode()?;
        let role = match role {
            0 => Role::User,
            1 => Role::Assistant,
            2 => Role::System,
            _ => return Err("a message has an unknown role"),
        };
        Ok(Message::from_stored(
            role,
            content.to_owned(),
            function_calls.map(str::to_owned),
            Cost::from_nanos(cost),
            instant(created_at)?,
        ))
    }
}

fn instant(millis: u64) -> Result<Timestamp, Damage> {
    Timestamp::from_millis(millis).map_err(|_| "a record has a time out of range")
}

fn text<K: TextKind>(stored: &str) -> Result<Text<K, &str>, Damage> {
    Text::new(stored).map_err(|_| "a record has a text out of bounds")
}

// ---- conversations -----------------------------------------------------------------------------

/// The time of creation is not here: the position in the key has it.
#[derive(Encode, BorrowDecode)]
struct ConversationV1<'a> {
    id: [u8; 16],
    assistant: [u8; 16],
    message_count: u32,
    total_cost: i64,
    ai_enabled: bool,
    updated_at: u64,
    channel: ChannelV1<'a>,
    variables: Option<&'a str>,
}

#[derive(Encode, BorrowDecode)]
enum ChannelV1<'a> {
    Test,
    Widget,
    Whatsapp { sender: ContactV1<'a>, customer: ContactV1<'a> },
    Api { external_identifier: Option<&'a str> },
}

#[derive(Encode, BorrowDecode)]
struct ContactV1<'a> {
    name: Option<&'a str>,
    phone: Option<&'a str>,
}

/// Appends the record of a conversation whose row is `key` to `record`.
pub(crate) fn encode_conversation(
    key: RowKey,
    conversation: &ConversationRef<'_>,
    record: &mut Vec<u8>,
) {
    let body = ConversationV1 {
        id: *conversation.id.uuid().as_bytes(),
        assistant: *conversation.assistant.uuid().as_bytes(),
        message_count: conversation.message_count,
        total_cost: conversation.total_cost.nanos(),
        ai_enabled: conversation.ai_enabled,
        updated_at: conversation.updated_at.millis(),
        channel: match conversation.channel {
            Channel::Test => ChannelV1::Test,
            Channel::Widget => ChannelV1::Widget,
            Channel::Whatsapp { sender, customer } => {
                let (sender, customer) = (ContactV1::of(sender), ContactV1::of(customer));
                ChannelV1::Whatsapp { sender, customer }
            }
            Channel::Api { external_identifier } => {
                ChannelV1::Api { external_identifier: external_identifier.map(Text::get) }
            }
        },
        variables: conversation.variables.map(Variables::get),
    };
    seal(&key, body, record);
}

impl<'a> ConversationV1<'a> {
    fn value(self, position: Position) -> Result<ConversationRef<'a>, Damage> {
        Ok(Conversation {
            id: ConversationId::new(Uuid::from_bytes(self.id)),
            assistant: AssistantId::new(Uuid::from_bytes(self.assistant)),
            channel: match self.channel {
                ChannelV1::Test => Channel::Test,
                ChannelV1::Widget => Channel::Widget,
                ChannelV1::Whatsapp { sender, customer } => {
                    Channel::Whatsapp { sender: sender.value()?, customer: customer.value()? }
                }
                ChannelV1::Api { external_identifier } => {
                    Channel::Api { external_identifier: external_identifier.map(text).transpose()? }
                }
            },
            variables: self.variables.map(Variables::from_stored),
            message_count: self.message_count,
            total_cost: Cost::from_nanos(self.total_cost),
            ai_enabled: self.ai_enabled,
            created_at: position.created_at(),
            updated_at: instant(self.updated_at)?,
        })
    }
}

impl<'a> ContactV1<'a> {
    fn of(contact: Contact<&'a str>) -> Self {
        Self { name: contact.name.map(Text::get), phone: contact.phone.map(Text::get) }
    }

    fn value(self) -> Result<Contact<&'a str>, Damage> {
        Ok(Contact {
            name: self.name.map(text).transpose()?,
            phone: self.phone.map(text).transpose()?,
        })
    }
}

// ---- messages ----------------------------------------------------------------------------------

#[derive(Encode, BorrowDecode)]
struct MessageV1<'a> {
    role: u8,
    content: &'a str,
    function_calls: Option<&'a str>,
    cost: i64,
    created_at: u64,
}

/// Appends the record of a message whose row is `key` to `record`.
pub(crate) fn encode_message<S: AsRef<str>>(
    key: MessageKey,
    message: &Message<S>,
    record: &mut Vec<u8>,
) {
    let body = MessageV1 {
        role: match message.role() {
            Role::User => 0,
            Role::Assistant => 1,
            Role::System => 2,
        },
        content: message.content(),
        function_calls: message.function_calls(),
        cost: message.cost().nanos(),
        created_at: message.created_at().millis(),
    };
    seal(&key, body, record);
}

// ---- accounts ----------------------------------------------------------------------------------

/// The record of a user, an assistant or a token: its name or label, a number (an assistant's own,
/// a token's user; a user's stands in its key and is 0 here), and when it was created.
#[derive(Clone, Encode, BorrowDecode)]
pub(crate) struct AccountV1<'a> {
    pub(crate) name: &'a str,
    pub(crate) number: u32,
    pub(crate) created_at: u64,
}

// ---- totals ------------------------------------------------------------------------------------

/// The record of a counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct TotalV1 {
    pub(crate) conversations: i64,
    pub(crate) messages: i64,
    pub(crate) cost_nanos: i128,
}

/// The record of a small row: an account or a counter.
pub(crate) fn encode_small<K: FixedKey>(key: &K, value: impl Encode) -> Vec<u8> {
    let mut record = Vec::with_capacity(64);
    seal(key, value, &mut record);
    record
}

/// The small row of this key, borrowed.
pub(crate) fn decode_small<'a, K: FixedKey, T: BorrowDecode<'a, ()>>(
    key: &K,
    record: &'a [u8],
) -> Result<T, Damage> {
    open(key, record)?.decode()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::UserId;
    use crate::model::text::{Name, Phone};
    use proptest::prelude::*;

    fn key() -> RowKey {
        let at = Timestamp::from_millis(1_737_800_000_123).unwrap();
        RowKey::new(UserId::new(3), Position::first_at(at))
    }

    fn conversation() -> Conversation {
        Conversation {
            channel: Channel::Whatsapp {
                sender: Contact {
                    name: Some(Name::new("Acme".to_owned()).unwrap()),
                    phone: Some(Phone::new("+14155551234".to_owned()).unwrap()),
                },
                customer: Contact::default(),
            },
            variables: Some(Variables::new("{\"plan\":\"pro\"}".to_owned()).unwrap()),
            message_count: 8,
            total_cost: Cost::from_nanos(3_200_000),
            ..Conversation::new(
                ConversationId::new(Uuid::from_u128(1)),
                AssistantId::new(Uuid::from_u128(2)),
                Channel::Test,
                key().position.created_at(),
            )
        }
    }

    fn record() -> Vec<u8> {
        let mut record = Vec::new();
        encode_conversation(key(), &conversation().borrowed(), &mut record);
        record
    }

    fn read(key: RowKey, record: &[u8]) -> Result<Conversation, Damage> {
        open(&key, record)?.conversation(key.position).map(|c| c.owned())
    }

    #[test]
    fn a_conversation_comes_back() {
        assert_eq!(read(key(), &record()).unwrap(), conversation());
    }

    /// Records are on disk: a change of these bytes is a new version.
    #[test]
    fn the_bytes_of_version_1_are_frozen() {
        let hex = data_encoding::HEXLOWER.encode(&record());
        assert_eq!(
            hex,
            "0100000000000000000000000000000001000000000000000000000000000000020800000000d4300000000000017ba2f39c940100000200000001040000000000000041636d65010c000000000000002b31343135353535313233340000010e000000000000007b22706c616e223a2270726f227d3db4c2e58bafe783"
        );
    }

    #[test]
    fn a_message_comes_back() {
        let key = MessageKey::new(key(), 4);
        let message = Message::new(Role::System, "hello\n\"there\"".to_owned(), Timestamp::MIN)
            .and_then(|m| m.with_function_calls("[1]".to_owned()))
            .unwrap()
            .with_cost(Cost::from_nanos(-1));
        let mut record = Vec::new();
        encode_message(key, &message, &mut record);
        assert_eq!(open(&key, &record).unwrap().message().unwrap(), message);
    }

    #[test]
    fn a_record_under_another_key_is_refused() {
        let other = RowKey::new(UserId::new(4), key().position);
        assert!(read(other, &record()).is_err());
        let moved = RowKey::new(key().owner, key().position.next());
        assert!(read(moved, &record()).is_err());
    }

    #[test]
    fn a_record_can_be_given_to_another_key() {
        let other = RowKey::new(key().owner, key().position.next());
        let mut rekeyed = Vec::new();
        rekey(&record(), &key(), &other, &mut rekeyed);
        assert_eq!(read(other, &rekeyed).unwrap(), conversation());
        assert!(read(key(), &rekeyed).is_err());
    }

    #[test]
    fn every_changed_or_missing_byte_is_found() {
        let good = record();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            assert!(read(key(), &bad).is_err(), "byte {at}");
            assert!(read(key(), &good[..at]).is_err(), "cut at {at}");
        }
    }

    proptest! {
        #[test]
        fn decoding_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(key(), &bytes);
            // And behind a checksum that holds, as a program with a fault could write it.
            let _ = Body::reopened(&bytes).conversation(key().position);
            let _ = Body::reopened(&bytes).message();
        }
    }
}
