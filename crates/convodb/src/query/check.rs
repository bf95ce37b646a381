//! Whether a row found by its term is what the filter asks for. A term is a hash, so a row of
//! another list may stand among its entries, ever so rarely: it is skipped, never shown.

use std::borrow::Cow;

use crate::encoding::term::{Field, Fingerprinter, Fingerprints};
use crate::model::conversation::ConversationRef;
use crate::model::id::AssistantId;
use crate::query::filter::Filter;

/// Checks the rows of one page. Where only fingerprints are known, as from a cursor alone, the
/// first row that has them gives the values that the others are compared with: one hash for each
/// field of a page.
pub(crate) struct Check<'a> {
    wanted: Fingerprints,
    fingerprinter: &'a Fingerprinter,
    assistant: Option<AssistantId>,
    texts: [Option<Cow<'a, str>>; 3],
}

const TEXT_FIELDS: [Field; 3] = [Field::Sender, Field::Customer, Field::External];

impl<'a> Check<'a> {
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
    pub(crate) fn admits(&mut self, row: &ConversationRef<'_>) -> bool {
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
