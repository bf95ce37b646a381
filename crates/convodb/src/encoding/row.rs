//! Rows: the flat record body of a conversation, which pages read in place.
//!
//! ```text
//!  0  version u8 = 1            15  updated_at u64, ms
//!  1  channel u8                23  id 16
//!  2  bits u8                   39  assistant 16
//!  3  message_count u32         55  stored messages u32, if fewer than counted
//!  7  total_cost i64             .  a length u8 for each text that exists, except variables
//!                                .  the texts, one after the other; variables to the end
//! ```
//!
//! Little-endian. `channel`: 0 test, 1 widget, 2 whatsapp, 3 api; its highest bit: fewer messages
//! are stored than counted, and their number follows. `bits`, from the lowest: whether the
//! assistant is enabled, then whether these exist: sender's name, sender's phone, customer's name,
//! customer's phone, external identifier, variables; then whether all counted messages are stored.
//! A record of an earlier format has neither mark: see [`StoredMessages`]. The body omits the
//! creation time, because the position in the key contains it.
//!
//! In a store that keeps previews, the record has an appendix (`encoding/preview.rs`).
//!
//! Decoding validates the texts as UTF-8 in one pass and splits them; it copies nothing.

use std::ops::Range;

use uuid::Uuid;

use crate::encoding::key::RowKey;
use crate::encoding::record::{Body, Damage, instant, open, seal, sealed_len};
use crate::model::channel::{Channel, ChannelKind};
use crate::model::contact::Contact;
use crate::model::conversation::{Conversation, ConversationRef};
use crate::model::cost::Cost;
use crate::model::id::{AssistantId, ConversationId, UserId};
use crate::model::position::Position;
use crate::model::preview::{Preview, PreviewRef};
use crate::model::text::{ExternalIdentifier, Name, Phone};
use crate::model::timestamp::Timestamp;
use crate::model::variables::Variables;

/// The size of the fields before the lengths, without the version.
const FIXED: usize = 54;
const AI_ENABLED: u8 = 1;
/// The number of texts that a row can have, except variables.
const TEXTS: usize = 5;
/// The maximum length of each: of a name, a phone, a name, a phone, an identifier.
const MAX_LENGTHS: [u8; TEXTS] = {
    const NAME: u8 = one_byte(Name::MAX_BYTES);
    const PHONE: u8 = one_byte(Phone::MAX_BYTES);
    [NAME, PHONE, NAME, PHONE, one_byte(ExternalIdentifier::MAX_BYTES)]
};
/// The typical size of a row's texts, to reserve a buffer.
const TYPICAL_TEXTS: usize = 160;
/// The bit of the first of the five short texts.
const FIRST_TEXT: u8 = 1 << 1;
const CONTACTS: u8 = 0b1_1110;
const IDENTIFIER: u8 = 1 << 5;
const VARIABLES: u8 = 1 << 6;
/// The bit of `bits`: all counted messages are stored.
const COMPLETE: u8 = 1 << 7;
/// The bit of `channel`: fewer messages are stored than counted; their number is in the record.
const PARTIAL: u8 = 1 << 7;

const TEST: u8 = 0;
const WIDGET: u8 = 1;
const WHATSAPP: u8 = 2;
const API: u8 = 3;

#[expect(clippy::cast_possible_truncation, reason = "asserted")]
const fn one_byte(length: usize) -> u8 {
    assert!(length <= u8::MAX as usize, "a length has one byte");
    length as u8
}

/// How many messages of a row are stored. The row counts at least as many: it may be imported from
/// a list without its messages.
///
/// Damage can shorten a range of messages without damaging any of their records. So a row contains
/// the number, and a reader of all messages compares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoredMessages {
    /// This number.
    Exactly(u32),
    /// At most this number: the row was last written in an earlier format.
    AtMost(u32),
}

impl StoredMessages {
    /// Whether `found` can be the number of messages.
    pub(crate) const fn allows(self, found: u32) -> bool {
        match self {
            StoredMessages::Exactly(stored) => found == stored,
            StoredMessages::AtMost(counted) => found <= counted,
        }
    }
}

/// Appends the record of a conversation with `stored` stored messages to `record`.
pub(crate) fn encode_conversation(
    key: RowKey,
    conversation: &ConversationRef<'_>,
    stored: u32,
    record: &mut Vec<u8>,
) {
    let mut texts = [None; TEXTS];
    let channel = match conversation.channel {
        Channel::Test => TEST,
        Channel::Widget => WIDGET,
        Channel::Whatsapp { sender, customer } => {
            texts[0] = sender.name.map(Name::get);
            texts[1] = sender.phone.map(Phone::get);
            texts[2] = customer.name.map(Name::get);
            texts[3] = customer.phone.map(Phone::get);
            WHATSAPP
        }
        Channel::Api { external_identifier } => {
            texts[4] = external_identifier.map(ExternalIdentifier::get);
            API
        }
    };
    let variables = conversation.variables.map(Variables::get);
    let mut bits = if conversation.ai_enabled { AI_ENABLED } else { 0 };
    for (number, _) in texts.iter().enumerate().filter(|(_, text)| text.is_some()) {
        bits |= FIRST_TEXT << number;
    }
    bits |= if variables.is_some() { VARIABLES } else { 0 };
    let is_complete = stored == conversation.message_count;
    let (channel, bits) =
        if is_complete { (channel, bits | COMPLETE) } else { (channel | PARTIAL, bits) };

    seal(&key, record, |body| {
        body.extend([channel, bits]);
        body.extend(conversation.message_count.to_le_bytes());
        body.extend(conversation.total_cost.nanos().to_le_bytes());
        body.extend(conversation.updated_at.millis().to_le_bytes());
        body.extend(conversation.id.uuid().as_bytes());
        body.extend(conversation.assistant.uuid().as_bytes());
        if !is_complete {
            body.extend(stored.to_le_bytes());
        }
        // Short texts have at most 255 bytes, by their types.
        let length = |text: &str| u8::try_from(text.len()).unwrap_or(u8::MAX);
        body.extend(texts.iter().flatten().map(|text| length(text)));
        for text in texts.into_iter().flatten().chain(variables) {
            body.extend(text.as_bytes());
        }
    });
}

/// The length of the record of a conversation with `stored` stored messages, without a preview.
pub(crate) fn record_len(conversation: &ConversationRef<'_>, stored: StoredMessages) -> usize {
    let is_complete = stored.allows(conversation.message_count);
    let number = if is_complete { 0 } else { size_of::<u32>() };
    let short = |text: Option<&str>| text.map_or(0, |text| 1 + text.len());
    let texts = match &conversation.channel {
        Channel::Test | Channel::Widget => 0,
        Channel::Whatsapp { sender, customer } => [sender, customer]
            .map(|contact| {
                short(contact.name.map(Name::get)) + short(contact.phone.map(Phone::get))
            })
            .iter()
            .sum(),
        Channel::Api { external_identifier } => {
            short(external_identifier.map(ExternalIdentifier::get))
        }
    };
    let variables = conversation.variables.map_or(0, |variables| variables.get().len());
    sealed_len(FIXED + number + texts + variables)
}

/// A decoded row without its texts, which the caller stores as one string.
///
/// [`Row::decode`] detects everything that can be wrong with a record, so reading a `Row` cannot
/// fail.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    position: Position,
    id: Uuid,
    assistant: Uuid,
    message_count: u32,
    /// The number of stored messages; `None` in a record of an earlier format.
    stored_messages: Option<u32>,
    total_cost: Cost,
    updated_at: Timestamp,
    channel: u8,
    bits: u8,
    /// The lengths of the five short texts, 0 for one that does not exist.
    lengths: [u8; TEXTS],
}

impl Row {
    /// Decodes the body of the row at `position`. Returns the row and its texts, whose lengths
    /// match.
    #[inline]
    pub(crate) fn decode(body: Body<'_>, position: Position) -> Result<(Self, &str), Damage> {
        let (fixed, rest) =
            body.fields().split_first_chunk::<FIXED>().ok_or("a record is too short")?;
        let (channel, bits) = (fixed[0] & !PARTIAL, fixed[1] & !COMPLETE);
        let message_count = u32::from_le_bytes(at(fixed, 2));
        let (stored_messages, rest) = match (fixed[0] & PARTIAL != 0, fixed[1] & COMPLETE != 0) {
            (false, false) => (None, rest),
            (false, true) => (Some(message_count), rest),
            (true, false) => {
                let (stored, rest) = rest.split_first_chunk().ok_or("a record is too short")?;
                let stored = u32::from_le_bytes(*stored);
                if stored >= message_count {
                    return Err("a partial record has as many messages as it counts, or more");
                }
                (Some(stored), rest)
            }
            (true, true) => return Err("a record is marked both complete and partial"),
        };
        let of_channel = match channel {
            TEST | WIDGET => 0,
            WHATSAPP => CONTACTS,
            API => IDENTIFIER,
            _ => return Err("a record has an unknown channel"),
        };
        if bits & !(AI_ENABLED | of_channel | VARIABLES) != 0 {
            return Err("a record has a text that its channel does not have");
        }
        let short = bits & (CONTACTS | IDENTIFIER);
        let ends_early = "a record's texts end early";
        let (stored, texts) =
            rest.split_at_checked(short.count_ones() as usize).ok_or(ends_early)?;
        let texts = str::from_utf8(texts).map_err(|_| "a record's texts are not UTF-8")?;
        let (mut lengths, mut stored, mut rest) = ([0; TEXTS], stored.iter(), texts);
        for (number, length) in lengths.iter_mut().enumerate() {
            if short & (FIRST_TEXT << number) != 0 {
                *length = *stored.next().ok_or(ends_early)?;
                if *length == 0 || *length > MAX_LENGTHS[number] {
                    return Err("a record has a text out of bounds");
                }
                (_, rest) = rest.split_at_checked(usize::from(*length)).ok_or(ends_early)?;
            }
        }
        if bits & VARIABLES == 0 && !rest.is_empty() {
            return Err("a record has bytes after its end");
        }
        let row = Self {
            position,
            id: Uuid::from_bytes(at(fixed, 22)),
            assistant: Uuid::from_bytes(at(fixed, 38)),
            message_count,
            stored_messages,
            total_cost: Cost::from_nanos(i64::from_le_bytes(at(fixed, 6))),
            updated_at: instant(u64::from_le_bytes(at(fixed, 14)))?,
            channel,
            bits,
            lengths,
        };
        Ok((row, texts))
    }

    pub(crate) const fn updated_at(&self) -> Timestamp {
        self.updated_at
    }

    pub(crate) const fn id(&self) -> ConversationId {
        ConversationId::new(self.id)
    }

    pub(crate) const fn assistant(&self) -> AssistantId {
        AssistantId::new(self.assistant)
    }

    pub(crate) const fn kind(&self) -> ChannelKind {
        match self.channel {
            TEST => ChannelKind::Test,
            WIDGET => ChannelKind::Widget,
            WHATSAPP => ChannelKind::Whatsapp,
            _ => ChannelKind::Api,
        }
    }

    pub(crate) const fn ai_enabled(&self) -> bool {
        self.bits & AI_ENABLED != 0
    }

    /// How many of its messages are stored.
    pub(crate) fn stored_messages(&self) -> StoredMessages {
        let at_most = StoredMessages::AtMost(self.message_count);
        self.stored_messages.map_or(at_most, StoredMessages::Exactly)
    }

    /// The conversation, with the texts that [`Row::decode`] returned. Inlined, because it is large and
    /// is then built where it is used.
    #[inline]
    pub(crate) fn conversation<'a>(&self, texts: &'a str) -> ConversationRef<'a> {
        let mut texts = Texts { texts, lengths: &self.lengths };
        let channel = match self.channel {
            TEST => Channel::Test,
            WIDGET => Channel::Widget,
            WHATSAPP => Channel::Whatsapp { sender: texts.contact(), customer: texts.contact() },
            _ => {
                texts.lengths = &self.lengths[TEXTS - 1..];
                Channel::Api {
                    external_identifier: texts.next().map(ExternalIdentifier::from_stored),
                }
            }
        };
        let variables = (self.bits & VARIABLES != 0).then_some(texts.texts);
        Conversation {
            id: self.id(),
            assistant: self.assistant(),
            channel,
            variables: variables.map(Variables::from_stored),
            message_count: self.message_count,
            total_cost: self.total_cost,
            ai_enabled: self.ai_enabled(),
            created_at: self.position.created_at(),
            updated_at: self.updated_at,
        }
    }
}

impl<'a> Body<'a> {
    /// Decodes the conversation at `position`, borrowing its texts. About 200 instructions.
    pub(crate) fn conversation(self, position: Position) -> Result<ConversationRef<'a>, Damage> {
        Row::decode(self, position).map(|(row, texts)| row.conversation(texts))
    }
}

/// The `W` bytes at `start` of the fixed fields.
fn at<const W: usize>(fixed: &[u8; FIXED], start: usize) -> [u8; W] {
    let mut bytes = [0; W];
    bytes.copy_from_slice(&fixed[start..start + W]);
    bytes
}

/// The texts of a row that remain to be read.
struct Texts<'a, 'l> {
    texts: &'a str,
    lengths: &'l [u8],
}

impl<'a> Texts<'a, '_> {
    #[inline]
    fn contact(&mut self) -> Contact<&'a str> {
        Contact {
            name: self.next().map(Name::from_stored),
            phone: self.next().map(Phone::from_stored),
        }
    }

    /// Reads the next short text; `None` if the row does not have it.
    #[inline]
    fn next(&mut self) -> Option<&'a str> {
        let (length, lengths) = self.lengths.split_first()?;
        let (text, texts) = self.texts.split_at(usize::from(*length));
        (self.lengths, self.texts) = (lengths, texts);
        (!text.is_empty()).then_some(text)
    }
}

/// The decoded rows of a page, with all their texts in one buffer.
#[derive(Default)]
pub(crate) struct RowBuffer {
    texts: String,
    rows: Vec<(Row, Range<usize>)>,
    /// The previews of the rows, if they are read, too; `None` for a row without messages.
    previews: Vec<Option<Preview<Range<usize>>>>,
}

impl RowBuffer {
    /// Reserves memory for `rows` rows of typical size.
    pub(crate) fn reserve(&mut self, rows: usize) {
        self.texts.reserve(rows * TYPICAL_TEXTS);
        self.rows.reserve_exact(rows);
    }

    pub(crate) fn push(&mut self, row: Row, texts: &str) {
        let start = self.texts.len();
        self.texts.push_str(texts);
        self.rows.push((row, start..self.texts.len()));
    }

    /// Adds the preview of the last row.
    pub(crate) fn push_preview(&mut self, preview: Option<&PreviewRef<'_>>) {
        let texts = &mut self.texts;
        let placed = preview.map(|preview| {
            preview.with_texts(|text| {
                let start = texts.len();
                texts.push_str(text);
                start..texts.len()
            })
        });
        self.previews.push(placed);
    }

    /// Appends a conversation that another store returned.
    ///
    /// # Errors
    /// What no record of a conversation may have.
    pub(crate) fn push_conversation(
        &mut self,
        position: Position,
        conversation: &ConversationRef<'_>,
    ) -> Result<(), Damage> {
        let (mut record, counted) = (Vec::new(), conversation.message_count);
        let key = RowKey::new(UserId::new(0), position);
        encode_conversation(key, conversation, counted, &mut record);
        let (row, texts) = Row::decode(open(&key, &record)?, position)?;
        self.push(row, texts);
        Ok(())
    }

    pub(crate) fn reverse(&mut self) {
        self.rows.reverse();
        self.previews.reverse();
    }

    pub(crate) const fn len(&self) -> usize {
        self.rows.len()
    }

    /// The conversations, in order.
    pub(crate) fn iter(
        &self,
    ) -> impl DoubleEndedIterator<Item = ConversationRef<'_>> + ExactSizeIterator {
        self.rows.iter().map(|(row, texts)| row.conversation(&self.texts[texts.clone()]))
    }

    /// The previews of the conversations, in order; none if they were not read.
    pub(crate) fn previews(
        &self,
    ) -> impl DoubleEndedIterator<Item = Option<PreviewRef<'_>>> + ExactSizeIterator {
        let text = |range: &Range<usize>| &self.texts[range.clone()];
        self.previews.iter().map(move |placed| Some(placed.as_ref()?.with_texts(text)))
    }

    /// The last change and the position of each row, in order.
    pub(crate) fn times_and_positions(
        &self,
    ) -> impl DoubleEndedIterator<Item = (Timestamp, Position)> {
        self.rows.iter().map(|(row, _)| (row.updated_at, row.position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::record::rekey;
    use proptest::prelude::*;

    fn key() -> RowKey {
        let at = Timestamp::from_millis(1_737_800_000_123).unwrap();
        RowKey::new(UserId::new(3), Position::first_at(at))
    }

    fn conversation() -> Conversation {
        Conversation {
            channel: Channel::Whatsapp {
                sender: Contact {
                    name: Some(Name::new("Acme").unwrap()),
                    phone: Some(Phone::new("+14155551234").unwrap()),
                },
                customer: Contact::default(),
            },
            variables: Some(Variables::new("{\"plan\":\"pro\"}").unwrap()),
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

    /// The record of the conversation with this number of stored messages.
    fn record_with(stored: u32) -> Vec<u8> {
        let mut record = Vec::new();
        encode_conversation(key(), &conversation().borrowed(), stored, &mut record);
        record
    }

    fn record() -> Vec<u8> {
        record_with(conversation().message_count)
    }

    fn read(key: RowKey, record: &[u8]) -> Result<Conversation, Damage> {
        open(&key, record)?.conversation(key.position).map(|c| c.owned())
    }

    #[test]
    fn a_conversation_decodes_as_it_was_encoded() {
        for stored in [0, 1, conversation().message_count] {
            let record = record_with(stored);
            assert_eq!(read(key(), &record).unwrap(), conversation());
            let (row, _) = Row::decode(open(&key(), &record).unwrap(), key().position).unwrap();
            assert_eq!(row.stored_messages(), StoredMessages::Exactly(stored));
            let of_record = record_len(&conversation().borrowed(), row.stored_messages());
            assert_eq!(of_record, record.len());
        }
    }

    /// Records are on disk: a change of these bytes requires a new version.
    #[test]
    fn the_bytes_of_version_1_are_frozen() {
        let hex = |record: Vec<u8>| data_encoding::HEXLOWER.encode(&record);
        assert_eq!(
            hex(record()),
            "0102c70800000000d43000000000007ba2f39c940100000000000000000000000000000000000100000000000000000000000000000002040c41636d652b31343135353535313233347b22706c616e223a2270726f227d66ca23afc0e691f3"
        );
        assert_eq!(
            hex(record_with(3)),
            "0182470800000000d43000000000007ba2f39c94010000000000000000000000000000000000010000000000000000000000000000000203000000040c41636d652b31343135353535313233347b22706c616e223a2270726f227d108324e7ec51a7eb"
        );
    }

    /// Formats 1 and 2 have no number of stored messages.
    #[test]
    fn a_record_of_an_earlier_format_decodes_without_the_number() {
        let record = data_encoding::HEXLOWER
            .decode(b"0102470800000000d43000000000007ba2f39c940100000000000000000000000000000000000100000000000000000000000000000002040c41636d652b31343135353535313233347b22706c616e223a2270726f227d967f65135480ac50")
            .unwrap();
        assert_eq!(read(key(), &record).unwrap(), conversation());
        let (row, _) = Row::decode(open(&key(), &record).unwrap(), key().position).unwrap();
        assert_eq!(row.stored_messages(), StoredMessages::AtMost(8));
        let of_record = record_len(&conversation().borrowed(), row.stored_messages());
        assert_eq!(of_record, record.len());
    }

    #[test]
    fn contradictory_numbers_of_messages_are_refused() {
        let sealed = |change: fn(&mut Vec<u8>)| {
            let mut body = record_with(3);
            body.truncate(body.len() - 8);
            change(&mut body);
            let mut record = Vec::new();
            seal(&key(), &mut record, |out| out.extend(&body[1..]));
            read(key(), &record)
        };
        assert_eq!(sealed(|_| {}).unwrap(), conversation());
        let both = sealed(|body| body[2] |= COMPLETE);
        assert_eq!(both.unwrap_err(), "a record is marked both complete and partial");
        let more = sealed(|body| body[55] = 9);
        assert_eq!(
            more.unwrap_err(),
            "a partial record has as many messages as it counts, or more"
        );
    }

    #[test]
    fn a_record_under_another_key_is_refused() {
        let other = RowKey::new(UserId::new(4), key().position);
        assert!(read(other, &record()).is_err());
        let moved = RowKey::new(key().user, key().position.next());
        assert!(read(moved, &record()).is_err());
    }

    #[test]
    fn rekeying_moves_a_record_to_another_key() {
        let other = RowKey::new(key().user, key().position.next());
        let mut rekeyed = Vec::new();
        rekey(&record(), &key(), &other, &mut rekeyed);
        assert_eq!(read(other, &rekeyed).unwrap(), conversation());
        assert!(read(key(), &rekeyed).is_err());
    }

    #[test]
    fn every_changed_or_missing_byte_is_detected() {
        for good in [record(), record_with(3)] {
            for at in 0..good.len() {
                let mut bad = good.clone();
                bad[at] ^= 1 << (at % 8);
                assert!(read(key(), &bad).is_err(), "byte {at}");
                assert!(read(key(), &good[..at]).is_err(), "cut at {at}");
            }
        }
    }

    proptest! {
        #[test]
        fn decoding_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(key(), &bytes);
            // Also without the checksum, as a program with a bug could write the record.
            let _ = Body::unverified(&bytes).conversation(key().position);
        }
    }
}
