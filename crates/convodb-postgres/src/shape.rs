//! Shapes: which fields a list is filtered by, and the index that answers it.
//!
//! The same twelve as in an embedded store: without filter the primary key, and eleven indexes.

use convodb::seam::RangeTerms;

/// A field of a filter, as a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    External,
    Customer,
    Sender,
    Assistant,
    Kind,
}

impl Column {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Column::External => "external_fp",
            Column::Customer => "customer_fp",
            Column::Sender => "sender_fp",
            Column::Assistant => "assistant",
            Column::Kind => "kind",
        }
    }

    const fn letter(self) -> char {
        match self {
            Column::External => 'e',
            Column::Customer => 'c',
            Column::Sender => 's',
            Column::Assistant => 'a',
            Column::Kind => 'k',
        }
    }

    /// Whether some conversations do not have the field.
    pub(crate) const fn is_optional(self) -> bool {
        matches!(self, Column::External | Column::Customer | Column::Sender)
    }
}

/// The columns of an index, without those that all have: first the owner, last the position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape(pub(crate) &'static [Column]);

impl Shape {
    /// Every shape.
    pub(crate) const ALL: [Shape; 12] = {
        use Column::{Assistant, Customer, External, Kind, Sender};
        [
            Shape(&[]),
            Shape(&[Kind]),
            Shape(&[Assistant]),
            Shape(&[Assistant, Kind]),
            Shape(&[Sender]),
            Shape(&[Sender, Assistant]),
            Shape(&[Customer]),
            Shape(&[Customer, Assistant]),
            Shape(&[Customer, Sender]),
            Shape(&[Customer, Sender, Assistant]),
            Shape(&[External]),
            Shape(&[External, Assistant]),
        ]
    };

    /// The shape of ranges with these terms; `None` if no index has it.
    pub(crate) fn of(terms: &RangeTerms) -> Option<Self> {
        let has = |column: Column| match column {
            Column::External => terms.external.is_some(),
            Column::Customer => terms.customer.is_some(),
            Column::Sender => terms.sender.is_some(),
            Column::Assistant => terms.assistant.is_some(),
            Column::Kind => terms.kind.is_some(),
        };
        let all =
            [Column::External, Column::Customer, Column::Sender, Column::Assistant, Column::Kind];
        let count = all.into_iter().filter(|column| has(*column)).count();
        let matches =
            |shape: &Shape| shape.0.len() == count && shape.0.iter().all(|column| has(*column));
        Self::ALL.into_iter().find(matches)
    }

    /// Whether a list of this shape can be a union: of several types or assistants.
    pub(crate) fn has_unions(self) -> bool {
        self.0.iter().any(|column| !column.is_optional())
    }

    /// The name of the index.
    pub(crate) fn index(self) -> String {
        let letters: String = self.0.iter().map(|column| column.letter()).collect();
        match letters.as_str() {
            "" => "conversation_pkey".to_owned(),
            letters => format!("conversation_{letters}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::INDEXES;

    #[test]
    fn each_shape_has_an_index_of_its_columns() {
        let sql = INDEXES.split_whitespace().collect::<Vec<_>>().join(" ");
        for shape in Shape::ALL.into_iter().skip(1) {
            let names: Vec<&str> = shape.0.iter().map(|column| column.name()).collect();
            let columns = format!("(owner, {}, pos)", names.join(", "));
            let index = format!("create index {} on conversation {columns}", shape.index());
            assert!(sql.contains(&index), "{index}");
        }
    }

    #[test]
    fn terms_have_the_shape_of_their_fields() {
        assert_eq!(Shape::of(&RangeTerms::default()), Some(Shape(&[])));
        let terms = RangeTerms { kind: Some(1), assistant: Some(2), ..RangeTerms::default() };
        assert_eq!(Shape::of(&terms).map(Shape::index).as_deref(), Some("conversation_ak"));
        let terms = RangeTerms { customer: Some(1), sender: Some(2), ..RangeTerms::default() };
        assert_eq!(Shape::of(&terms).map(Shape::index).as_deref(), Some("conversation_cs"));
        let terms = RangeTerms { customer: Some(1), kind: Some(2), ..RangeTerms::default() };
        assert_eq!(Shape::of(&terms), None);
    }
}
