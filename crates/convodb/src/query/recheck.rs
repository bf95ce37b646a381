//! Whether a row found by its term is what the filter asks for. A term is a hash, so a row of
//! another list may stand among its entries, ever so rarely: it is skipped, never shown.

use std::borrow::Cow;

use crate::encoding::index_term::{Field, Fingerprinter, Fingerprints};
use crate::model::conversation::ConversationRef;
use crate::model::id::AssistantId;
use crate::query::filter::Filter;

/// Checks the rows of one page. Where only fingerprints are known, as from a cursor alone, the
/// first row that has them gives the values that the others are compared with: one hash for each
/// field of a page.
pub(crate) struct Recheck<'a> {
    wanted: Fingerprints,
    fingerprinter: &'a Fingerprinter,
    assistant: Option<AssistantId>,
    texts: [Option<Cow<'a, str>>; 3],
}

const TEXT_FIELDS: [Field; 3] = [Field::Sender, Field::Customer, Field::External];

impl<'a> Recheck<'a> {
    /// Checks for `wanted`, whose values are in `filter` or yet unknown.
    pub(crate) fn new(
        wanted: Fingerprints,
        filter: &'a Filter,
        fingerprinter: &'a Fingerprinter,
    ) -> Self {
        let texts = TEXT_FIELDS.map(|field| filter.text(field).map(Cow::Borrowed));
        Self { wanted, fingerprinter, assistant: filter.assistant, texts }
    }

    /// Whether the row has all that is wanted.
    pub(crate) fn may_checkpoint(&mut self, row: &ConversationRef<'_>) -> bool {
        self.has_kind(row) && self.has_assistant(row) && self.has_texts(row)
    }

    fn has_kind(&self, row: &ConversationRef<'_>) -> bool {
        let kind = self.wanted.get(Field::Kind);
        kind.is_none_or(|wanted| wanted == self.fingerprinter.kind(row.channel.kind()))
    }

    fn has_assistant(&mut self, row: &ConversationRef<'_>) -> bool {
        let Some(wanted) = self.wanted.get(Field::Assistant) else {
            return true;
        };
        match self.assistant {
            Some(known) => known == row.assistant,
            None if self.fingerprinter.assistant(row.assistant) == wanted => {
                self.assistant = Some(row.assistant);
                true
            }
            None => false,
        }
    }

    fn has_texts(&mut self, row: &ConversationRef<'_>) -> bool {
        let channel = &row.channel;
        let values =
            [channel.sender_phone(), channel.customer_phone(), channel.external_identifier()];
        for ((field, known), value) in TEXT_FIELDS.into_iter().zip(&mut self.texts).zip(values) {
            let Some(wanted) = self.wanted.get(field) else {
                continue;
            };
            let Some(value) = value else { return false };
            match known {
                Some(known) if known == value => {}
                None if self.fingerprinter.text(field, value) == wanted => {
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
    use crate::model::channel::{Channel, ChannelKind};
    use crate::model::contact::Contact;
    use crate::model::conversation::Conversation;
    use crate::model::id::ConversationId;
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

    /// Every row that differs in one of the fields is refused, whether the values are known or only
    /// their fingerprints, also as the first row or after one that was taken.
    #[test]
    fn a_row_of_another_list_is_skipped() {
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
        let wanted = known.fingerprints(&fingerprinter);
        for filter in [&known, &Filter::default()] {
            let mut check = Recheck::new(wanted, filter, &fingerprinter);
            for _ in 0..2 {
                for other in &others {
                    assert!(!check.may_checkpoint(&other.borrowed()), "{other:?}");
                }
                assert!(check.may_checkpoint(&right.borrowed()));
            }
        }
    }

    #[test]
    fn each_field_is_asked_for_by_itself() {
        let fingerprinter = Fingerprinter::new([7; 32]);
        let row = whatsapp(bot(1), "+1", None);
        let filters = [
            (Filter::default(), true),
            (Filter { kind: Some(ChannelKind::Whatsapp), ..Filter::default() }, true),
            (Filter { kind: Some(ChannelKind::Test), ..Filter::default() }, false),
            (Filter { assistant: Some(bot(2)), ..Filter::default() }, false),
            (Filter { sender_phone: Some("+1".parse().unwrap()), ..Filter::default() }, true),
            (Filter { customer_phone: Some("+1".parse().unwrap()), ..Filter::default() }, false),
        ];
        for (filter, admitted) in filters {
            let wanted = filter.fingerprints(&fingerprinter);
            let may_checkpoint = |known: &Filter| {
                Recheck::new(wanted, known, &fingerprinter).may_checkpoint(&row.borrowed())
            };
            assert_eq!(
                [may_checkpoint(&filter), may_checkpoint(&Filter::default())],
                [admitted; 2],
                "{filter:?}"
            );
        }
    }
}
