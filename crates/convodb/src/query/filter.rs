//! The filter of a list: up to six exact matches, combined with "and". Type and assistant may have
//! several values each, combined with "or".

use crate::encoding::index_term::{Field, Fingerprinter, Fingerprints};
use crate::error::{Error, Result};
use crate::model::channel::ChannelKind;
use crate::model::choice::{AssistantIds, ChannelKinds};
use crate::model::conversation::Conversation;
use crate::model::id::AssistantId;
use crate::model::text::{ExternalIdentifier, Phone};

/// Exact matches on any combination of five fields, and whether the AI is off. A conversation passes if it matches every
/// field that is set; texts match byte for byte. The default passes all conversations.
///
/// A filter with several types or assistants selects the union of the lists that have one of each:
/// up to 60 lists, which a page merges. See [`PageCost::bound_of_ranges`](crate::PageCost::bound_of_ranges).
///
/// Prefer the methods, which also validate: they take phones and identifiers as `&str`, `String`
/// or the validated type. The fields are public for code that has validated values already.
///
/// ```
/// use convodb::{ChannelKind, Filter, Phone};
/// let filter = Filter::new().kind(ChannelKind::Whatsapp).customer_phone("+4915112345678")?;
/// let same = Filter {
///     kind: Some(ChannelKind::Whatsapp),
///     customer_phone: Some(Phone::new("+4915112345678")?),
///     ..Filter::default()
/// };
/// assert_eq!(filter, same);
/// let error = Filter::new().customer_phone("").unwrap_err().to_string();
/// assert_eq!(error, "customer_phone must have 1 to 64 bytes");
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Filter {
    /// The API's `type`.
    pub kind: Option<ChannelKind>,
    /// The API's `assistant_id`.
    pub assistant: Option<AssistantId>,
    /// The API's `type` with several values; any of them passes. If `kind` is set too, both apply.
    pub kinds: Option<ChannelKinds>,
    /// The API's `assistant_id` with several values; any of them passes. If `assistant` is set
    /// too, both apply.
    pub assistants: Option<AssistantIds>,
    /// The API's `whatsapp_sender_phone`: only WhatsApp conversations have one.
    pub sender_phone: Option<Phone>,
    /// The API's `customer_phone`: only WhatsApp conversations have one.
    pub customer_phone: Option<Phone>,
    /// The API's `external_identifier`: only API conversations have one.
    pub external_identifier: Option<ExternalIdentifier>,
    /// The API's `ai_enabled=false`: only conversations whose AI is off. Needs the index family
    /// [`IndexFamily::AiOff`](crate::IndexFamily::AiOff), and cannot be combined with phones and
    /// external identifiers.
    pub ai_off: bool,
}

impl Filter {
    /// A filter that passes all conversations.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Passes only conversations on this kind of channel.
    #[must_use]
    pub fn kind(self, kind: ChannelKind) -> Self {
        Self { kind: Some(kind), ..self }
    }

    /// Passes only conversations of this assistant.
    #[must_use]
    pub fn assistant(self, assistant: AssistantId) -> Self {
        Self { assistant: Some(assistant), ..self }
    }

    /// Passes only conversations on any of these kinds of channels.
    ///
    /// ```
    /// use convodb::{ChannelKind, Filter};
    /// let filter = Filter::new().kinds([ChannelKind::Whatsapp, ChannelKind::Api])?;
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no kind.
    pub fn kinds(self, kinds: impl IntoIterator<Item = ChannelKind>) -> Result<Self> {
        Ok(Self { kinds: Some(ChannelKinds::new(kinds)?), ..self })
    }

    /// Passes only conversations of any of these assistants.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no assistant, or if there are more than 20.
    pub fn assistants(self, assistants: impl IntoIterator<Item = AssistantId>) -> Result<Self> {
        Ok(Self { assistants: Some(AssistantIds::new(assistants)?), ..self })
    }

    /// Passes only WhatsApp conversations with this number of the user.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the number is not a valid [`Phone`].
    pub fn sender_phone<P>(self, phone: P) -> Result<Self>
    where
        P: TryInto<Phone>,
        Error: From<P::Error>,
    {
        Ok(Self { sender_phone: Some(validated(Field::Sender, phone)?), ..self })
    }

    /// Passes only WhatsApp conversations with this number of the customer.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the number is not a valid [`Phone`].
    pub fn customer_phone<P>(self, phone: P) -> Result<Self>
    where
        P: TryInto<Phone>,
        Error: From<P::Error>,
    {
        Ok(Self { customer_phone: Some(validated(Field::Customer, phone)?), ..self })
    }

    /// Passes only API conversations with this external identifier.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the identifier is not a valid [`ExternalIdentifier`].
    pub fn external_identifier<E>(self, identifier: E) -> Result<Self>
    where
        E: TryInto<ExternalIdentifier>,
        Error: From<E::Error>,
    {
        Ok(Self { external_identifier: Some(validated(Field::External, identifier)?), ..self })
    }

    /// Passes only conversations whose AI is off: those that wait for a person. Needs the index
    /// family [`IndexFamily::AiOff`](crate::IndexFamily::AiOff). Type and assistant, of one or
    /// several values, can be combined with it; phones and the external identifier cannot.
    ///
    /// ```
    /// use convodb::*;
    /// # use std::sync::Arc;
    /// let options = StoreOptions::new().indexes(IndexFamilies::ALL);
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("store.convodb");
    /// let store = Store::open_with(&path, &options)?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// # let user = store.create_user("Acme", at)?.id;
    /// # let bot = store.create_assistant(user, AssistantId::generate(at), "Bot")?.id;
    /// let mut row = Conversation::new(ConversationId::generate(at), bot, Channel::Widget, at);
    /// row.ai_enabled = false;
    /// store.insert(user, row, Vec::new())?;
    /// let waiting = ListRequest::new().filter(Filter::new().ai_off());
    /// assert_eq!(store.snapshot().list(user, &waiting)?.len(), 1);
    /// # Ok::<(), convodb::Error>(())
    /// ```
    #[must_use]
    pub fn ai_off(self) -> Self {
        Self { ai_off: true, ..self }
    }

    /// Whether a conversation matches every field that is set.
    pub(crate) fn matches(&self, row: &Conversation) -> bool {
        let channel = &row.channel;
        let matches = |field, value: Option<&str>| {
            self.text(field).is_none_or(|filtered| value == Some(filtered))
        };
        self.passing_kinds().contains(channel.kind())
            && self.passing_assistants().is_none_or(|ids| ids.contains(&row.assistant))
            && matches(Field::Sender, channel.sender_phone())
            && matches(Field::Customer, channel.customer_phone())
            && matches(Field::External, channel.external_identifier())
            && !(self.ai_off && row.ai_enabled)
    }

    /// The value of a text field, if it is set.
    pub(crate) fn text(&self, field: Field) -> Option<&str> {
        match field {
            Field::Sender => self.sender_phone.as_ref().map(Phone::as_str),
            Field::Customer => self.customer_phone.as_ref().map(Phone::as_str),
            Field::External => self.external_identifier.as_ref().map(ExternalIdentifier::as_str),
            Field::Kind | Field::Assistant | Field::AiOff => None,
        }
    }

    /// The types that pass; none if `kind` and `kinds` contradict each other.
    pub(crate) fn passing_kinds(&self) -> ChannelKinds {
        let one = self.kind.map_or(ChannelKinds::ALL, ChannelKinds::from);
        one.and(self.kinds.unwrap_or(ChannelKinds::ALL))
    }

    /// The assistants that pass: `None` if all do, an empty slice if `assistant` and `assistants`
    /// contradict each other.
    pub(crate) fn passing_assistants(&self) -> Option<&[AssistantId]> {
        match (&self.assistant, &self.assistants) {
            (None, None) => None,
            (Some(one), None) => Some(std::slice::from_ref(one)),
            (None, Some(several)) => Some(several.as_slice()),
            (Some(one), Some(several)) if several.contains(*one) => Some(std::slice::from_ref(one)),
            (Some(_), Some(_)) => Some(&[]),
        }
    }

    /// The only assistant that passes; `None` if several do.
    pub(crate) fn passing_assistant(&self) -> Option<AssistantId> {
        match self.passing_assistants() {
            Some([one]) => Some(*one),
            _ => None,
        }
    }

    /// Filters with at most one value a field, whose lists are disjoint and together are the list
    /// of this filter.
    pub(crate) fn parts(&self) -> Vec<Filter> {
        let kinds = self.passing_kinds();
        let kinds: Vec<Option<ChannelKind>> =
            if kinds == ChannelKinds::ALL { vec![None] } else { kinds.iter().map(Some).collect() };
        let assistants: Vec<Option<AssistantId>> = match self.passing_assistants() {
            None => vec![None],
            Some(several) => several.iter().copied().map(Some).collect(),
        };
        let pairs = kinds.iter().flat_map(|kind| assistants.iter().map(move |one| (*kind, *one)));
        let part = |(kind, assistant)| Filter {
            kind,
            assistant,
            kinds: None,
            assistants: None,
            ..self.clone()
        };
        pairs.map(part).collect()
    }

    /// The fingerprints of the fields that have one value. About 80 ns for each field but the type.
    pub(crate) fn fingerprints(&self, fingerprinter: &Fingerprinter) -> Fingerprints {
        let mut fingerprints = Fingerprints::default();
        if let Some(kind) = self.passing_kinds().single() {
            fingerprints.set(Field::Kind, fingerprinter.kind(kind));
        }
        if self.ai_off {
            fingerprints.set(Field::AiOff, fingerprinter.ai_off());
        }
        if let Some(assistant) = self.passing_assistant() {
            fingerprints.set(Field::Assistant, fingerprinter.assistant(assistant));
        }
        for field in [Field::Sender, Field::Customer, Field::External] {
            if let Some(text) = self.text(field) {
                fingerprints.set(field, fingerprinter.text(field, text));
            }
        }
        fingerprints
    }
}

/// Validates the value of a field. An error names the field of the filter, not the type of value.
fn validated<T, V>(field: Field, value: V) -> Result<T>
where
    V: TryInto<T>,
    Error: From<V::Error>,
{
    value.try_into().map_err(|error| match Error::from(error) {
        Error::Invalid { reason, .. } => Error::Invalid { field: field.name(), reason },
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_take_texts_and_validated_values() {
        let phone = Phone::new("+1").unwrap();
        let owned = Filter::new().sender_phone("+1".to_owned()).unwrap();
        assert_eq!(Filter::new().sender_phone("+1").unwrap(), owned);
        assert_eq!(Filter::new().sender_phone(phone.clone()).unwrap(), owned);
        assert_eq!(owned, Filter { sender_phone: Some(phone), ..Filter::default() });
    }

    #[test]
    fn an_error_names_the_field_of_the_filter() {
        let message = |result: Result<Filter>| result.unwrap_err().to_string();
        let sender = message(Filter::new().sender_phone(""));
        assert_eq!(sender, "whatsapp_sender_phone must have 1 to 64 bytes");
        let identifier = message(Filter::new().external_identifier("x".repeat(256)));
        assert_eq!(identifier, "external_identifier must have 1 to 255 bytes");
    }
}
