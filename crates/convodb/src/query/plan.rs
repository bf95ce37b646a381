//! Query plan: maps each combination of filter fields to one index range, by a constant table.
//!
//! There are no statistics and no optimizer, and every plan has the same cost bound. A phone
//! implies WhatsApp and an external identifier implies the API. So of the 32 combinations,
//! contradictory ones are empty without a read, and redundant ones drop the type. Twelve shapes
//! remain: the table of rows and the eleven shapes that the index tables contain.

use crate::encoding::index_term::{Field, Shape};
use crate::model::channel::ChannelKind;

/// The plan of a combination of filter fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    /// No conversation can match.
    Never,
    /// The list of this shape.
    List(Shape),
    /// The list of this shape if this type is requested; otherwise no conversation can match.
    ListIf(ChannelKind, Shape),
}

/// The route of each combination, indexed by the bits of its shape.
const ROUTES: [Route; Shape::COUNT] = {
    let mut routes = [Route::Never; Shape::COUNT];
    let mut bits: u8 = 0;
    while (bits as usize) < Shape::COUNT {
        routes[bits as usize] = route(Shape::from_bits(bits));
        bits += 1;
    }
    routes
};

const fn route(requested: Shape) -> Route {
    let phone = requested.has(Field::Sender) || requested.has(Field::Customer);
    let implied = match (requested.has(Field::External), phone) {
        (true, true) => return Route::Never,
        (true, false) => ChannelKind::Api,
        (false, true) => ChannelKind::Whatsapp,
        (false, false) => return Route::List(requested),
    };
    if requested.has(Field::Kind) {
        Route::ListIf(implied, requested.without(Field::Kind))
    } else {
        Route::List(requested)
    }
}

/// The shape whose range answers a filter with the fields `requested`, of the type `kind` if it has
/// one; `None` if no conversation can match.
pub(crate) fn plan(requested: Shape, kind: Option<ChannelKind>) -> Option<Shape> {
    match ROUTES[requested.bits() as usize] {
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
