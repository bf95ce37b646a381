//! Which range answers a combination of filters: a constant table, no statistics, no optimizer,
//! no worst case.
//!
//! A phone implies WhatsApp and an external identifier implies the API, so of the 32 combinations
//! those that contradict themselves are empty without a read, those that repeat themselves drop
//! the type, and twelve shapes remain: the rows themselves and the eleven that the index tables
//! hold.

use crate::encoding::index_term::{Field, Shape};
use crate::model::channel::ChannelKind;

/// What a combination comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    /// No conversation can match.
    Never,
    /// The list of this shape.
    List(Shape),
    /// The list of this shape if the type asked for is this one; else no conversation can match.
    ListIf(ChannelKind, Shape),
}

/// For each combination, by the bits of its shape, its route.
const ROUTES: [Route; Shape::COUNT] = {
    let mut routes = [Route::Never; Shape::COUNT];
    let mut bits: u8 = 0;
    while (bits as usize) < Shape::COUNT {
        routes[bits as usize] = route(Shape::from_bits(bits));
        bits += 1;
    }
    routes
};

const fn route(asked: Shape) -> Route {
    let phone = asked.has(Field::Sender) || asked.has(Field::Customer);
    let implied = match (asked.has(Field::External), phone) {
        (true, true) => return Route::Never,
        (true, false) => ChannelKind::Api,
        (false, true) => ChannelKind::Whatsapp,
        (false, false) => return Route::List(asked),
    };
    if asked.has(Field::Kind) {
        Route::ListIf(implied, asked.without(Field::Kind))
    } else {
        Route::List(asked)
    }
}

/// The shape whose range answers a combination that asks for the type `kind`, if any; `None` where
/// no conversation can match.
pub(crate) fn plan(asked: Shape, kind: Option<ChannelKind>) -> Option<Shape> {
    match ROUTES[asked.bits() as usize] {
        Route::Never => None,
        Route::List(shape) => Some(shape),
        Route::ListIf(implied, shape) => (kind == Some(implied)).then_some(shape),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::indexes::LATTICE;

    #[test]
    fn every_combination_is_one_range_or_empty() {
        let (mut lists, mut guarded, mut never) = (0, 0, 0);
        for route in ROUTES {
            match route {
                Route::Never => never += 1,
                Route::List(shape) => {
                    assert!(shape == Shape::EMPTY || LATTICE.contains(&shape), "{shape:?}");
                    lists += 1;
                }
                Route::ListIf(_, shape) => {
                    assert!(LATTICE.contains(&shape), "{shape:?}");
                    guarded += 1;
                }
            }
        }
        assert_eq!((lists, guarded, never), (12, 8, 12));
    }

    #[track_caller]
    fn check(fields: &[Field], kind: Option<ChannelKind>, expected: Option<&[Field]>) {
        assert_eq!(plan(Shape::of(fields), kind), expected.map(Shape::of));
    }

    #[test]
    fn implied_types_are_dropped_and_contradictions_are_empty() {
        use ChannelKind::{Api, Test, Whatsapp, Widget};
        use Field::{Assistant, Customer, External, Kind, Sender};
        check(&[], None, Some(&[]));
        check(&[Kind], Some(Test), Some(&[Kind]));
        check(&[Kind, Assistant], Some(Widget), Some(&[Kind, Assistant]));
        check(&[Kind, Customer], Some(Whatsapp), Some(&[Customer]));
        check(
            &[Kind, Customer, Sender, Assistant],
            Some(Whatsapp),
            Some(&[Customer, Sender, Assistant]),
        );
        check(&[Kind, Customer], Some(Widget), None);
        check(&[Kind, Sender], Some(Api), None);
        check(&[Kind, External], Some(Api), Some(&[External]));
        check(&[Kind, External], Some(Whatsapp), None);
        check(&[External, Customer], None, None);
        check(&[Kind, External, Sender], Some(Api), None);
    }
}
