//! Recheck: compares each row of an index range with the filter itself.
//!
//! A term is a hash, so on a collision an index range also has entries of another list. Their rows
//! are skipped and never returned.

use std::borrow::Cow;

use crate::encoding::index_term::{Field, Fingerprinter, Fingerprints};
use crate::encoding::row::Row;
use crate::model::channel::{Channel, ChannelKind};
use crate::model::conversation::ConversationRef;
use crate::model::id::AssistantId;
use crate::query::filter::Filter;

/// Checks the rows of one page against a filter.
///
/// A request with only a cursor has no values but only fingerprints. Then the first row with the
/// right fingerprint supplies the value that later rows are compared with. So a page of matching
/// rows computes one hash for each field.
pub(crate) struct Recheck<'a> {
    fingerprints: Fingerprints,
    fingerprinter: &'a Fingerprinter,
    /// The value of the field; `None` if it is not filtered or not known yet.
    assistant: Option<AssistantId>,
    /// The same for each of [`TEXT_FIELDS`].
    texts: [Option<Cow<'a, str>>; 3],
}

const TEXT_FIELDS: [Field; 3] = [Field::Sender, Field::Customer, Field::External];

impl<'a> Recheck<'a> {
    /// Checks rows against `fingerprints`. `filter` has the values of those fields that are known.
    pub(crate) fn new(
        fingerprints: Fingerprints,
        filter: &'a Filter,
        fingerprinter: &'a Fingerprinter,
    ) -> Self {
        let texts = TEXT_FIELDS.map(|field| filter.text(field).map(Cow::Borrowed));
        let assistant = filter.passing_assistant();
        Self { fingerprints, fingerprinter, assistant, texts }
    }

    /// Whether the conversation matches all fields of the filter.
    pub(crate) fn matches(&mut self, row: &ConversationRef<'_>) -> bool {
        self.has_kind(row.channel.kind())
            && self.has_ai(row.ai_enabled)
            && self.has_assistant(row.assistant)
            && self.has_texts(&row.channel)
    }

    /// The same for a row and its texts, which are split only if the filter has a text.
    pub(crate) fn matches_row(&mut self, row: &Row, texts: &str) -> bool {
        let has_text = TEXT_FIELDS.iter().any(|field| self.fingerprints.get(*field).is_some());
        self.has_kind(row.kind())
            && self.has_ai(row.ai_enabled())
            && self.has_assistant(row.assistant())
            && (!has_text || self.has_texts(&row.conversation(texts).channel))
    }

    fn has_kind(&self, kind: ChannelKind) -> bool {
        let expected = self.fingerprints.get(Field::Kind);
        expected.is_none_or(|expected| expected == self.fingerprinter.kind(kind))
    }

    fn has_ai(&self, ai_enabled: bool) -> bool {
        self.fingerprints.get(Field::AiOff).is_none() || !ai_enabled
    }

    fn has_assistant(&mut self, assistant: AssistantId) -> bool {
        let Some(expected) = self.fingerprints.get(Field::Assistant) else {
            return true;
        };
        match self.assistant {
            Some(known) => known == assistant,
            None if self.fingerprinter.assistant(assistant) == expected => {
                self.assistant = Some(assistant);
                true
            }
            None => false,
        }
    }

    fn has_texts(&mut self, channel: &Channel<&str>) -> bool {
        let values =
            [channel.sender_phone(), channel.customer_phone(), channel.external_identifier()];
        for ((field, known), value) in TEXT_FIELDS.into_iter().zip(&mut self.texts).zip(values) {
            let Some(expected) = self.fingerprints.get(field) else {
                continue;
            };
            let Some(value) = value else { return false };
            match known {
                Some(known) if known == value => {}
                None if self.fingerprinter.text(field, value) == expected => {
                    *known = Some(Cow::Owned(value.to_owned()));
                }
                _ => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::encoding::key::RowKey;
    use crate::encoding::record::open;
    use crate::encoding::row::encode_conversation;
    use crate::model::contact::Contact;
    use crate::model::conversation::Conversation;
    use crate::model::id::{ConversationId, UserId};
    use crate::model::position::Position;
    use crate::model::timestamp::Timestamp;

    fn bot(number: u128) -> AssistantId {
        AssistantId::new(Uuid::from_u128(number))
    }

    fn whatsapp(assistant: AssistantId, sender: &str, customer: Option<&str>) -> Conversation {
        let contact = |phone: &str| Contact { name: None, phone: Some(phone.parse().unwrap()) };
        let customer = customer.map_or_else(Contact::default, contact);
        let channel = Channel::Whatsapp { sender: contact(sender), customer };
        Conversation::new(ConversationId::new(Uuid::nil()), assistant, channel, Timestamp::MIN)
    }

    /// Checks a conversation both as it is and as a row.
    #[track_caller]
    fn matches(recheck: &mut Recheck<'_>, conversation: &Conversation) -> bool {
        let key = RowKey::new(UserId::new(1), Position::first_at(conversation.created_at));
        let mut record = Vec::new();
        encode_conversation(key, &conversation.borrowed(), 0, &mut record);
        let (row, texts) = Row::decode(open(&key, &record).unwrap(), key.position).unwrap();
        let matches = recheck.matches_row(&row, texts);
        assert_eq!(recheck.matches(&conversation.borrowed()), matches, "{conversation:?}");
        matches
    }

    /// A row that differs in one field never matches: with known values or only fingerprints, as
    /// the first row or after a matching one.
    #[test]
    fn a_row_of_another_list_does_not_match() {
        let fingerprinter = Fingerprinter::new([7; 32]);
        let right = whatsapp(bot(1), "+1", Some("+2"));
        let others = [
            whatsapp(bot(3), "+1", Some("+2")),
            whatsapp(bot(1), "+3", Some("+2")),
            whatsapp(bot(1), "+1", Some("+3")),
            whatsapp(bot(1), "+1", None),
            whatsapp(bot(1), "+2", Some("+1")),
            Conversation { channel: Channel::Widget, ..right.clone() },
        ];
        let known = Filter {
            kind: Some(ChannelKind::Whatsapp),
            assistant: Some(bot(1)),
            sender_phone: Some("+1".parse().unwrap()),
            customer_phone: Some("+2".parse().unwrap()),
            ..Filter::default()
        };
        let fingerprints = known.fingerprints(&fingerprinter);
        for filter in [&known, &Filter::default()] {
            let mut recheck = Recheck::new(fingerprints, filter, &fingerprinter);
            for _ in 0..2 {
                for other in &others {
                    assert!(!matches(&mut recheck, other), "{other:?}");
                }
                assert!(matches(&mut recheck, &right));
            }
        }
    }

    #[test]
    fn each_field_is_checked_by_itself() {
        let fingerprinter = Fingerprinter::new([7; 32]);
        let row = whatsapp(bot(1), "+1", None);
        let filters = [
            (Filter::default(), true),
            (Filter { kind: Some(ChannelKind::Whatsapp), ..Filter::default() }, true),
            (Filter { kind: Some(ChannelKind::Test), ..Filter::default() }, false),
            (Filter { assistant: Some(bot(2)), ..Filter::default() }, false),
            (Filter { sender_phone: Some("+1".parse().unwrap()), ..Filter::default() }, true),
            (Filter { customer_phone: Some("+1".parse().unwrap()), ..Filter::default() }, false),
            (Filter { ai_off: true, ..Filter::default() }, false),
        ];
        for (filter, expected) in filters {
            let fingerprints = filter.fingerprints(&fingerprinter);
            let matches = |known: &Filter| {
                matches(&mut Recheck::new(fingerprints, known, &fingerprinter), &row)
            };
            assert_eq!(
                [matches(&filter), matches(&Filter::default())],
                [expected; 2],
                "{filter:?}"
            );
        }
    }
}
