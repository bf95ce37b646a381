//! The filter of a list for other engines than convodb: SQL columns and values, and a predicate over
//! one row.

use convodb::{AssistantId, AssistantIds, ChannelKind, ChannelKinds, Filter};
use uuid::Uuid;

use crate::row::{Row, kind_number};

/// A filterable field. The last field of a shape is its leading field: it comes first in the term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// The type.
    Kind,
    /// The assistant.
    Assistant,
    /// The phone of the user.
    Sender,
    /// The phone of the customer.
    Customer,
    /// The external identifier.
    External,
    /// That the AI is off.
    AiOff,
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// The number of a type.
    Kind(u8),
    /// An assistant.
    Assistant(Uuid),
    /// A phone or an identifier.
    Text(&'a str),
    /// That the AI is off: a constant, which is no parameter of a statement.
    AiOff,
}

use Field::{AiOff, Assistant, Customer, External, Kind, Sender};

impl Field {
    /// All fields, in the order of a filter's values in a statement.
    pub const ALL: [Field; 6] = [Kind, Assistant, Sender, Customer, External, AiOff];

    /// The SQL column.
    #[must_use]
    pub const fn column(self) -> &'static str {
        match self {
            Kind => "kind",
            Assistant => "assistant",
            Sender => "sender_phone",
            Customer => "customer_phone",
            External => "external_identifier",
            AiOff => "ai_enabled",
        }
    }
}

/// The sets of fields that have an index, as in convodb. With the first 11 indexes each of the 32
/// combinations of filters is one range; the last four list the conversations whose AI is off.
pub const SHAPES: [&[Field]; 15] = [
    &[Kind],
    &[Assistant],
    &[Kind, Assistant],
    &[Sender],
    &[Assistant, Sender],
    &[Customer],
    &[Assistant, Customer],
    &[Sender, Customer],
    &[Assistant, Sender, Customer],
    &[External],
    &[Assistant, External],
    &[AiOff],
    &[Kind, AiOff],
    &[Assistant, AiOff],
    &[Kind, Assistant, AiOff],
];

/// The sets of fields that have an index by last activity, as in convodb.
pub const ACTIVITY_SHAPES: [&[Field]; 6] =
    [&[], &[Kind], &[Assistant], &[Kind, Assistant], &[Sender], &[Customer]];

/// Exact matches; `None` matches every row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListFilter {
    /// The type.
    pub kind: Option<ChannelKind>,
    /// The assistant.
    pub assistant: Option<Uuid>,
    /// The phone of the user.
    pub sender: Option<String>,
    /// The phone of the customer.
    pub customer: Option<String>,
    /// The external identifier.
    pub external: Option<String>,
    /// Only conversations whose AI is off.
    pub ai_off: bool,
    /// Any of these types, if there are any; then `kind` is `None`.
    pub kinds: Vec<ChannelKind>,
    /// Any of these assistants, if there are any; then `assistant` is `None`.
    pub assistants: Vec<Uuid>,
}

impl From<&Filter> for ListFilter {
    fn from(filter: &Filter) -> Self {
        Self {
            kind: filter.kind,
            assistant: filter.assistant.map(AssistantId::uuid),
            sender: filter.sender_phone.as_ref().map(|phone| phone.as_str().to_owned()),
            customer: filter.customer_phone.as_ref().map(|phone| phone.as_str().to_owned()),
            external: filter.external_identifier.as_ref().map(|id| id.as_str().to_owned()),
            ai_off: filter.ai_off,
            kinds: filter.kinds.iter().flat_map(|kinds| kinds.iter()).collect(),
            assistants: filter
                .assistants
                .iter()
                .flat_map(|ids| ids.as_slice().iter().map(|id| id.uuid()))
                .collect(),
        }
    }
}

impl ListFilter {
    /// The value to match, if the field is filtered by.
    #[must_use]
    pub fn value(&self, field: Field) -> Option<Value<'_>> {
        match field {
            Kind => self.kind.map(kind_number).map(Value::Kind),
            Assistant => self.assistant.map(Value::Assistant),
            Sender => self.sender.as_deref().map(Value::Text),
            Customer => self.customer.as_deref().map(Value::Text),
            External => self.external.as_deref().map(Value::Text),
            AiOff => self.ai_off.then_some(Value::AiOff),
        }
    }

    /// The filters of one value for each field whose lists together are this one, with no row in
    /// two of them.
    #[must_use]
    pub fn ranges(&self) -> Vec<Self> {
        let kinds = any_or(&self.kinds, self.kind);
        let assistants = any_or(&self.assistants, self.assistant);
        let with = |kind, assistant| Self {
            kind,
            assistant,
            kinds: Vec::new(),
            assistants: Vec::new(),
            ..self.clone()
        };
        let of_kind = |kind| assistants.iter().map(move |assistant| with(kind, *assistant));
        kinds.iter().flat_map(|kind| of_kind(*kind)).collect()
    }

    /// The fields that are filtered by.
    #[must_use]
    pub fn fields(&self) -> Vec<Field> {
        Field::ALL.into_iter().filter(|field| self.value(*field).is_some()).collect()
    }

    /// The same filter without a type that a phone or an identifier implies. Every filter in
    /// this form has an index in [`SHAPES`].
    #[must_use]
    pub fn without_implied_kind(&self) -> Self {
        let phone = self.sender.is_some() || self.customer.is_some();
        let implied = match self.kind {
            Some(ChannelKind::Whatsapp) => phone,
            Some(ChannelKind::Api) => self.external.is_some(),
            Some(ChannelKind::Test | ChannelKind::Widget) | None => false,
        };
        Self { kind: self.kind.filter(|_| !implied), ..self.clone() }
    }

    /// Whether the row matches.
    #[must_use]
    pub fn matches(&self, row: &Row) -> bool {
        self.kind.is_none_or(|kind| row.kind == kind)
            && self.assistant.is_none_or(|assistant| row.assistant == assistant)
            && (self.sender.is_none() || self.sender == row.sender_phone)
            && (self.customer.is_none() || self.customer == row.customer_phone)
            && (self.external.is_none() || self.external == row.external_identifier)
            && !(self.ai_off && row.ai_enabled)
            && (self.kinds.is_empty() || self.kinds.contains(&row.kind))
            && (self.assistants.is_empty() || self.assistants.contains(&row.assistant))
    }

    /// The same filter for convodb.
    ///
    /// # Errors
    /// A text that is not a valid phone or identifier.
    pub fn to_convodb(&self) -> anyhow::Result<Filter> {
        Ok(Filter {
            kind: self.kind,
            assistant: self.assistant.map(AssistantId::new),
            sender_phone: self.sender.as_deref().map(str::parse).transpose()?,
            customer_phone: self.customer.as_deref().map(str::parse).transpose()?,
            external_identifier: self.external.as_deref().map(str::parse).transpose()?,
            ai_off: self.ai_off,
            kinds: (!self.kinds.is_empty())
                .then(|| ChannelKinds::new(self.kinds.iter().copied()))
                .transpose()?,
            assistants: (!self.assistants.is_empty())
                .then(|| AssistantIds::new(self.assistants.iter().copied().map(AssistantId::new)))
                .transpose()?,
        })
    }
}

/// Each of several values, or the one value or none.
fn any_or<T: Copy>(several: &[T], one: Option<T>) -> Vec<Option<T>> {
    if several.is_empty() { vec![one] } else { several.iter().copied().map(Some).collect() }
}

/// The value of a field of a row.
#[must_use]
pub fn value_of(row: &Row, field: Field) -> Option<Value<'_>> {
    match field {
        Kind => Some(Value::Kind(kind_number(row.kind))),
        Assistant => Some(Value::Assistant(row.assistant)),
        Sender => row.sender_phone.as_deref().map(Value::Text),
        Customer => row.customer_phone.as_deref().map(Value::Text),
        External => row.external_identifier.as_deref().map(Value::Text),
        AiOff => (!row.ai_enabled).then_some(Value::AiOff),
    }
}
