//! The body of a conversation's record: flat, so that a page reads it where it lies. Decoding costs
//! one look over the texts (that they are UTF-8), and splits them.
//!
//! ```text
//!  0  version u8 = 1            15  updated_at u64, ms
//!  1  channel u8                23  id 16
//!  2  bits u8                   39  assistant 16
//!  3  message_count u32         55  a length u8 for each text that there is but variables
//!  7  total_cost i64             .  the texts, one after the other; variables to the end
//! ```
//!
//! Little-endian. `channel`: 0 test, 1 widget, 2 whatsapp, 3 api. `bits`: from the lowest, whether
//! the AI is enabled, and whether there are sender's name, sender's phone, customer's name,
//! customer's phone, external identifier, variables. The time of creation is not here: the position
//! in the key has it.

use uuid::Uuid;

use crate::encoding::key::RowKey;
use crate::encoding::record::{Body, Damage, instant, seal};
use crate::model::channel::Channel;
use crate::model::contact::Contact;
use crate::model::conversation::{Conversation, ConversationRef};
use crate::model::cost::Cost;
use crate::model::id::{AssistantId, ConversationId};
use crate::model::position::Position;
use crate::model::text::{Text, TextKind};
use crate::model::variables::Variables;

/// The fields before the lengths, without the version.
const FIXED: usize = 54;
const AI_ENABLED: u8 = 1;
/// The bit of the first of the five short texts.
const FIRST_TEXT: u8 = 1 << 1;
const CONTACTS: u8 = 0b1_1110;
const IDENTIFIER: u8 = 1 << 5;
const VARIABLES: u8 = 1 << 6;

const TEST: u8 = 0;
const WIDGET: u8 = 1;
const WHATSAPP: u8 = 2;
const API: u8 = 3;

/// Appends the record of a conversation whose row is `key` to `record`.
pub(crate) fn encode_conversation(
    key: RowKey,
    conversation: &ConversationRef<'_>,
    record: &mut Vec<u8>,
) {
    let mut texts = [None; 5];
    let channel = match conversation.channel {
        Channel::Test => TEST,
        Channel::Widget => WIDGET,
        Channel::Whatsapp { sender, customer } => {
            texts[0] = sender.name.map(Text::get);
            texts[1] = sender.phone.map(Text::get);
            texts[2] = customer.name.map(Text::get);
            texts[3] = customer.phone.map(Text::get);
            WHATSAPP
        }
        Channel::Api { external_identifier } => {
            texts[4] = external_identifier.map(Text::get);
            API
        }
    };
    let variables = conversation.variables.map(Variables::get);
    let mut bits = if conversation.ai_enabled { AI_ENABLED } else { 0 };
    for (number, _) in texts.iter().enumerate().filter(|(_, text)| text.is_some()) {
        bits |= FIRST_TEXT << number;
    }
    bits |= if variables.is_some() { VARIABLES } else { 0 };

    seal(&key, record, |body| {
        body.extend([channel, bits]);
        body.extend(conversation.message_count.to_le_bytes());
        body.extend(conversation.total_cost.nanos().to_le_bytes());
        body.extend(conversation.updated_at.millis().to_le_bytes());
        body.extend(conversation.id.uuid().as_bytes());
        body.extend(conversation.assistant.uuid().as_bytes());
        // The types of short texts end at 255 bytes.
        let length = |text: &str| u8::try_from(text.len()).unwrap_or(u8::MAX);
        body.extend(texts.iter().flatten().map(|text| length(text)));
        for text in texts.into_iter().flatten().chain(variables) {
            body.extend(text.as_bytes());
        }
    });
}

impl<'a> Body<'a> {
    /// The conversation whose row stands at `position`, borrowed. About 20 ns.
    pub(crate) fn conversation(self, position: Position) -> Result<ConversationRef<'a>, Damage> {
        let (fixed, rest) =
            self.fields().split_first_chunk::<FIXED>().ok_or("a record is too short")?;
        let (channel, bits) = (fixed[0], fixed[1]);
        let mut texts = Texts::split(bits, rest)?;
        let channel = match channel {
            TEST => Channel::Test,
            WIDGET => Channel::Widget,
            WHATSAPP => Channel::Whatsapp { sender: texts.contact()?, customer: texts.contact()? },
            API => {
                // The bits of contacts are none, as is checked below.
                texts.bits >>= CONTACTS.count_ones();
                Channel::Api { external_identifier: texts.take()? }
            }
            _ => return Err("a record has an unknown channel"),
        };
        let of_channel = match channel {
            Channel::Test | Channel::Widget => 0,
            Channel::Whatsapp { .. } => CONTACTS,
            Channel::Api { .. } => IDENTIFIER,
        };
        if bits & !(AI_ENABLED | of_channel | VARIABLES) != 0 {
            return Err("a record has a text that its channel has none of");
        }
        Ok(Conversation {
            id: ConversationId::new(Uuid::from_bytes(at(fixed, 22))),
            assistant: AssistantId::new(Uuid::from_bytes(at(fixed, 38))),
            channel,
            variables: texts.rest(bits & VARIABLES != 0)?.map(Variables::from_stored),
            message_count: u32::from_le_bytes(at(fixed, 2)),
            total_cost: Cost::from_nanos(i64::from_le_bytes(at(fixed, 6))),
            ai_enabled: bits & AI_ENABLED != 0,
            created_at: position.created_at(),
            updated_at: instant(u64::from_le_bytes(at(fixed, 14)))?,
        })
    }
}

/// The `W` bytes at `start` of the fixed fields.
fn at<const W: usize>(fixed: &[u8; FIXED], start: usize) -> [u8; W] {
    let mut bytes = [0; W];
    bytes.copy_from_slice(&fixed[start..start + W]);
    bytes
}

/// The texts of a record that are not taken yet.
struct Texts<'a> {
    /// Whether there is a text, from the lowest bit on, for each short one that may come.
    bits: u8,
    lengths: &'a [u8],
    texts: &'a str,
}

const TEXTS_END_EARLY: Damage = "a record's texts end early";

impl<'a> Texts<'a> {
    fn split(bits: u8, rest: &'a [u8]) -> Result<Self, Damage> {
        let short = (bits & (CONTACTS | IDENTIFIER)) >> FIRST_TEXT.trailing_zeros();
        let (lengths, texts) =
            rest.split_at_checked(short.count_ones() as usize).ok_or(TEXTS_END_EARLY)?;
        let texts = str::from_utf8(texts).map_err(|_| "a record's texts are not UTF-8")?;
        Ok(Self { bits: short, lengths, texts })
    }

    fn contact(&mut self) -> Result<Contact<&'a str>, Damage> {
        Ok(Contact { name: self.take()?, phone: self.take()? })
    }

    /// The next short text, if there is one in its place.
    fn take<K: TextKind>(&mut self) -> Result<Option<Text<K, &'a str>>, Damage> {
        let there = self.bits & 1 == 1;
        self.bits >>= 1;
        if !there {
            return Ok(None);
        }
        let (length, lengths) = self.lengths.split_first().ok_or(TEXTS_END_EARLY)?;
        let (text, texts) =
            self.texts.split_at_checked(usize::from(*length)).ok_or(TEXTS_END_EARLY)?;
        (self.lengths, self.texts) = (lengths, texts);
        Text::new(text).map(Some).map_err(|_| "a record has a text out of bounds")
    }

    /// What is left, if anything may be.
    fn rest(self, there: bool) -> Result<Option<&'a str>, Damage> {
        match there {
            true => Ok(Some(self.texts)),
            false if self.texts.is_empty() => Ok(None),
            false => Err("a record has bytes after its end"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::record::{open, rekey};
    use crate::model::id::UserId;
    use crate::model::text::{Name, Phone};
    use crate::model::timestamp::Timestamp;
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
            "0102470800000000d43000000000007ba2f39c940100000000000000000000000000000000000100000000000000000000000000000002040c41636d652b31343135353535313233347b22706c616e223a2270726f227d967f65135480ac50"
        );
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
        }
    }
}
