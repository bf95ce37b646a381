//! Index terms: the 64-bit key prefix of one combination of filter values.
//!
//! A *fingerprint* is a keyed 64-bit hash of the value of one field: BLAKE3, keyed with a secret of
//! the database, of a byte for the field and the bytes of the value. A *shape* is a set of fields.
//! A *term* combines the fingerprints of the fields of a shape:
//!
//! ```text
//!  63            40 39                                    0
//! |  family: 24    |  xxh3 of shape and fingerprints: 40   |
//! ```
//!
//! The family is the top of the leading field's fingerprint. All entries of one value (the shapes
//! C, CA, CS and CSA of a customer) are therefore adjacent, and share one leaf if they are few. Two
//! lists of one family share a term with a probability of 2^-40, any other two with 2^-64; without
//! the secret nobody can construct such a collision. A row found by a term is still compared with
//! the filter, so a collision costs time and never adds a wrong row.

use crate::model::channel::{Channel, ChannelKind};
use crate::model::id::AssistantId;
use crate::model::index_family::IndexFamily;

const HASH_BITS: u32 = 40;

/// A filter field.
///
/// The numbers order the fields by selectivity, the most selective last: the highest field of a
/// shape leads its term and selects its table. They are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Field {
    Kind = 0,
    Assistant = 1,
    Sender = 2,
    Customer = 3,
    External = 4,
    /// Only rows whose AI is off have it, and it has one value.
    AiOff = 5,
}

impl Field {
    pub(crate) const ALL: [Field; 6] = [
        Field::Kind,
        Field::Assistant,
        Field::Sender,
        Field::Customer,
        Field::External,
        Field::AiOff,
    ];

    /// The field's name in the documented API.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Field::Kind => "type",
            Field::Assistant => "assistant_id",
            Field::Sender => "whatsapp_sender_phone",
            Field::Customer => "customer_phone",
            Field::External => "external_identifier",
            Field::AiOff => "ai_enabled",
        }
    }

    /// The optional family that the entries led by the field belong to.
    pub(crate) const fn family(self) -> Option<IndexFamily> {
        match self {
            Field::AiOff => Some(IndexFamily::AiOff),
            Field::Kind | Field::Assistant | Field::Sender | Field::Customer | Field::External => {
                None
            }
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of filter fields, one bit each, by the numbers of [`Field`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Shape(u8);

impl Shape {
    pub(crate) const EMPTY: Shape = Shape(0);
    /// The number of sets.
    pub(crate) const COUNT: usize = 1 << Field::ALL.len();
    const ALL_FIELDS: u8 = (1 << Field::ALL.len()) - 1;

    pub(crate) const fn of(fields: &[Field]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < fields.len() {
            bits |= fields[at].bit();
            at += 1;
        }
        Self(bits)
    }

    /// The set with these bits. Ignores bits beyond the fields.
    pub(crate) const fn from_bits(bits: u8) -> Self {
        Self(bits & Self::ALL_FIELDS)
    }

    pub(crate) const fn bits(self) -> u8 {
        self.0
    }

    pub(crate) const fn has(self, field: Field) -> bool {
        self.0 & field.bit() != 0
    }

    pub(crate) const fn with(self, field: Field) -> Self {
        Self(self.0 | field.bit())
    }

    pub(crate) const fn without(self, field: Field) -> Self {
        Self(self.0 & !field.bit())
    }

    pub(crate) const fn is_subset_of(self, other: Shape) -> bool {
        self.0 & !other.0 == 0
    }

    pub(crate) fn fields(self) -> impl Iterator<Item = Field> {
        Field::ALL.into_iter().filter(move |field| self.has(*field))
    }

    /// The field that leads the shape's term and selects its table; `None` for the empty shape.
    pub(crate) fn leading(self) -> Option<Field> {
        self.fields().last()
    }
}

/// An index term: the part of an index key that identifies one list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Term(u64);

impl Term {
    /// The term of the empty shape: of a list without filter.
    pub(crate) const OF_ALL: Term = Term(0);

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }
}

/// The keyed hash of the value of one field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fingerprint(u64);

impl Fingerprint {
    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }
}

/// The fingerprints of the fields that a row has or that a filter sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fingerprints {
    shape: Shape,
    values: [Fingerprint; Field::ALL.len()],
}

impl Fingerprints {
    pub(crate) const fn shape(&self) -> Shape {
        self.shape
    }

    pub(crate) const fn get(&self, field: Field) -> Option<Fingerprint> {
        if self.shape.has(field) { Some(self.values[field as usize]) } else { None }
    }

    pub(crate) const fn set(&mut self, field: Field, value: Fingerprint) {
        self.shape = self.shape.with(field);
        self.values[field as usize] = value;
    }

    /// The same without one field.
    pub(crate) const fn without(self, field: Field) -> Self {
        let mut values = self.values;
        values[field as usize] = Fingerprint(0);
        Self { shape: self.shape.without(field), values }
    }

    /// The term of `shape` with its leading field, or `None` for the empty shape. All fields of
    /// `shape` must have fingerprints.
    pub(crate) fn term(&self, shape: Shape) -> Option<(Field, Term)> {
        debug_assert!(shape.is_subset_of(self.shape), "every field of the shape has a fingerprint");
        let leading = shape.leading()?;
        let mut hashed = [0; 1 + 8 * Field::ALL.len()];
        hashed[0] = shape.bits();
        let mut end = 1;
        for field in shape.fields() {
            hashed[end..end + 8].copy_from_slice(&self.values[field as usize].0.to_le_bytes());
            end += 8;
        }
        let hash = xxhash_rust::xxh3::xxh3_64(&hashed[..end]);
        let family = self.values[leading as usize].0 >> HASH_BITS;
        Some((leading, Term((family << HASH_BITS) | (hash & ((1 << HASH_BITS) - 1)))))
    }

    /// The term of the list of `shape`, which may be empty. All fields of `shape` must have
    /// fingerprints.
    pub(crate) fn list_term(&self, shape: Shape) -> Term {
        self.term(shape).map_or(Term::OF_ALL, |(_, term)| term)
    }
}

/// Computes fingerprints with the secret of one database.
#[derive(Clone, PartialEq)]
pub(crate) struct Fingerprinter {
    secret: [u8; 32],
    kinds: [Fingerprint; ChannelKind::ALL.len()],
    ai_off: Fingerprint,
}

impl Fingerprinter {
    pub(crate) fn new(secret: [u8; 32]) -> Self {
        let kinds = ChannelKind::ALL.map(|kind| hash(&secret, Field::Kind, kind.as_str()));
        let ai_off = hash(&secret, Field::AiOff, "");
        Self { secret, kinds, ai_off }
    }

    pub(crate) const fn kind(&self, kind: ChannelKind) -> Fingerprint {
        self.kinds[kind as usize]
    }

    /// The fingerprint of the one value of [`Field::AiOff`].
    pub(crate) const fn ai_off(&self) -> Fingerprint {
        self.ai_off
    }

    pub(crate) fn assistant(&self, id: AssistantId) -> Fingerprint {
        hash(&self.secret, Field::Assistant, id.uuid().as_bytes())
    }

    /// The fingerprint of a text field's value: a phone or an external identifier.
    pub(crate) fn text(&self, field: Field, value: &str) -> Fingerprint {
        hash(&self.secret, field, value)
    }

    /// The fingerprints of all fields that a row has. One to three hashes, about 80 ns
    /// each; those of the types and of an AI that is off are precomputed.
    pub(crate) fn row<S: AsRef<str>>(
        &self,
        assistant: AssistantId,
        channel: &Channel<S>,
        ai_enabled: bool,
    ) -> Fingerprints {
        let mut row = Fingerprints::default();
        if !ai_enabled {
            row.set(Field::AiOff, self.ai_off);
        }
        row.set(Field::Kind, self.kind(channel.kind()));
        row.set(Field::Assistant, self.assistant(assistant));
        for (field, value) in [
            (Field::Sender, channel.sender_phone()),
            (Field::Customer, channel.customer_phone()),
            (Field::External, channel.external_identifier()),
        ] {
            if let Some(value) = value {
                row.set(field, self.text(field, value));
            }
        }
        row
    }
}

fn hash(secret: &[u8; 32], field: Field, value: impl AsRef<[u8]>) -> Fingerprint {
    let mut hasher = blake3::Hasher::new_keyed(secret);
    hasher.update(&[field as u8]);
    hasher.update(value.as_ref());
    let [a, b, c, d, e, f, g, h, ..] = *hasher.finalize().as_bytes();
    Fingerprint(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn fingerprints(secret: u8, customer: &str) -> Fingerprints {
        let maker = Fingerprinter::new([secret; 32]);
        let mut all = Fingerprints::default();
        all.set(Field::Assistant, maker.assistant(AssistantId::new(Uuid::from_u128(7))));
        all.set(Field::Sender, maker.text(Field::Sender, "+1"));
        all.set(Field::Customer, maker.text(Field::Customer, customer));
        all
    }

    #[test]
    fn a_family_shares_its_top_bits_and_nothing_else() {
        let all = fingerprints(1, "+2");
        let shapes = [
            Shape::of(&[Field::Customer]),
            Shape::of(&[Field::Customer, Field::Assistant]),
            Shape::of(&[Field::Customer, Field::Sender]),
            all.shape(),
        ];
        let terms = shapes.map(|shape| all.term(shape).unwrap());
        assert!(terms.iter().all(|(leading, _)| *leading == Field::Customer));
        let family = terms[0].1.bits() >> HASH_BITS;
        assert!(terms.iter().all(|(_, term)| term.bits() >> HASH_BITS == family));
        for at in 0..terms.len() {
            assert!(!terms[..at].contains(&terms[at]), "terms differ");
        }
    }

    #[test]
    fn fields_values_and_databases_have_different_fingerprints() {
        let maker = Fingerprinter::new([1; 32]);
        assert_ne!(maker.text(Field::Sender, "+1"), maker.text(Field::Customer, "+1"));
        assert_ne!(maker.text(Field::Sender, "+1"), maker.text(Field::Sender, "+2"));
        assert_ne!(fingerprints(1, "+2"), fingerprints(2, "+2"));
    }

    /// Terms are on disk: a change of this value is a change of the format.
    #[test]
    fn the_term_of_a_known_secret_is_frozen() {
        let all = fingerprints(1, "+2");
        let (_, term) = all.term(all.shape()).unwrap();
        assert_eq!(format!("{:016x}", term.bits()), "d7ddb3794b20ff2a");
    }

    #[test]
    fn the_highest_field_leads() {
        assert_eq!(Shape::EMPTY.leading(), None);
        assert_eq!(Shape::of(&[Field::Kind, Field::Assistant]).leading(), Some(Field::Assistant));
        assert_eq!(Shape::from_bits(0xff).leading(), Some(Field::AiOff));
    }
}
