//! List filter, translated for every engine: a convodb `Filter`, SQL columns and values, a 64-bit
//! index term for the key-value engines, and a predicate over one row.

use convodb::{AssistantId, ChannelKind, Filter};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use crate::dataset::row::{Row, kind_number};

/// A filterable field. The last field of a shape is its leading field: it comes first in the term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Field {
    Kind,
    Assistant,
    Sender,
    Customer,
    External,
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Kind(u8),
    Assistant(Uuid),
    Text(&'a str),
}

use Field::{Assistant, Customer, External, Kind, Sender};

impl Field {
    pub(crate) const ALL: [Field; 5] = [Kind, Assistant, Sender, Customer, External];

    /// The SQL column.
    pub(crate) const fn column(self) -> &'static str {
        match self {
            Kind => "kind",
            Assistant => "assistant",
            Sender => "sender_phone",
            Customer => "customer_phone",
            External => "external_identifier",
        }
    }
}

/// The sets of fields that have an index, as in convodb. With these 11 indexes each of the 32
/// combinations of filters is one range.
pub(crate) const SHAPES: [&[Field]; 11] = [
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
];

/// Exact matches; `None` matches every row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ListFilter {
    pub(crate) kind: Option<ChannelKind>,
    pub(crate) assistant: Option<Uuid>,
    pub(crate) sender: Option<String>,
    pub(crate) customer: Option<String>,
    pub(crate) external: Option<String>,
}

impl ListFilter {
    /// The value to match, if the field is filtered by.
    pub(crate) fn value(&self, field: Field) -> Option<Value<'_>> {
        match field {
            Kind => self.kind.map(kind_number).map(Value::Kind),
            Assistant => self.assistant.map(Value::Assistant),
            Sender => self.sender.as_deref().map(Value::Text),
            Customer => self.customer.as_deref().map(Value::Text),
            External => self.external.as_deref().map(Value::Text),
        }
    }

    /// The fields that are filtered by.
    pub(crate) fn fields(&self) -> Vec<Field> {
        Field::ALL.into_iter().filter(|field| self.value(*field).is_some()).collect()
    }

    /// The same filter without a type that a phone or an identifier implies. Every filter in
    /// this form has an index in [`SHAPES`].
    pub(crate) fn without_implied_kind(&self) -> Self {
        let phone = self.sender.is_some() || self.customer.is_some();
        let implied = match self.kind {
            Some(ChannelKind::Whatsapp) => phone,
            Some(ChannelKind::Api) => self.external.is_some(),
            Some(ChannelKind::Test | ChannelKind::Widget) | None => false,
        };
        Self { kind: self.kind.filter(|_| !implied), ..self.clone() }
    }

    /// Whether the row matches.
    pub(crate) fn matches(&self, row: &Row) -> bool {
        self.kind.is_none_or(|kind| row.kind == kind)
            && self.assistant.is_none_or(|assistant| row.assistant == assistant)
            && (self.sender.is_none() || self.sender == row.sender_phone)
            && (self.customer.is_none() || self.customer == row.customer_phone)
            && (self.external.is_none() || self.external == row.external_identifier)
    }

    /// The same filter for convodb.
    pub(crate) fn to_convodb(&self) -> anyhow::Result<Filter> {
        Ok(Filter {
            kind: self.kind,
            assistant: self.assistant.map(AssistantId::new),
            sender_phone: self.sender.as_deref().map(str::parse).transpose()?,
            customer_phone: self.customer.as_deref().map(str::parse).transpose()?,
            external_identifier: self.external.as_deref().map(str::parse).transpose()?,
        })
    }
}

/// The value of a field of a row.
pub(crate) fn value_of(row: &Row, field: Field) -> Option<Value<'_>> {
    match field {
        Kind => Some(Value::Kind(kind_number(row.kind))),
        Assistant => Some(Value::Assistant(row.assistant)),
        Sender => row.sender_phone.as_deref().map(Value::Text),
        Customer => row.customer_phone.as_deref().map(Value::Text),
        External => row.external_identifier.as_deref().map(Value::Text),
    }
}

/// The index term of a set of fields, as wide as convodb's and with the same layout: 24 bits of the
/// leading value, which places the lists of one value side by side, then 40 bits of all values.
/// `None` if the set is empty or a field has no value.
pub(crate) fn term<'v>(
    shape: &[Field],
    value: impl Fn(Field) -> Option<Value<'v>>,
) -> Option<(Field, u64)> {
    let leading = *shape.last()?;
    let mut hashed = [0; 1 + 8 * Field::ALL.len()];
    let mut end = 1;
    let mut family = 0;
    for field in shape {
        family = fingerprint(*field, value(*field)?);
        hashed[0] |= 1 << *field as u8;
        hashed[end..end + 8].copy_from_slice(&family.to_le_bytes());
        end += 8;
    }
    let low = (1 << 40) - 1;
    Some((leading, (family & !low) | (xxh3_64(&hashed[..end]) & low)))
}

fn fingerprint(field: Field, value: Value<'_>) -> u64 {
    let hash = match value {
        Value::Kind(kind) => xxh3_64(&[kind]),
        Value::Assistant(id) => xxh3_64(id.as_bytes()),
        Value::Text(text) => xxh3_64(text.as_bytes()),
    };
    hash ^ (field as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}
