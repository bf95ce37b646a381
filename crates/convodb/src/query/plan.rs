//! Query plan: maps each combination of filter fields to one index range, by a constant table.
//!
//! There are no statistics and no optimizer, and every plan has the same cost bound; a filter with
//! several values of a field has one range for each combination of values. A phone
//! implies WhatsApp and an external identifier implies the API. So of the 32 combinations of the
//! documented filters,
//! contradictory ones are empty without a read, and redundant ones drop the type. Twelve shapes
//! remain: the table of rows and eleven shapes that the index tables contain. An AI that is off
//! adds four, alone and with type and assistant; other combinations with it have no index.

use crate::encoding::index_term::{Field, Shape};
use crate::error::{Error, Result};
use crate::model::channel::ChannelKind;
use crate::model::choice::ChannelKinds;
use crate::model::index_family::IndexFamily;
use crate::query::list_spec::{ListSpec, Sort};
use crate::tables::activity_index;
use crate::tables::families::Families;

/// The plan of a combination of filter fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    /// No conversation can match.
    Never,
    /// The list of this shape.
    List(Shape),
    /// The list of this shape if this type is requested; otherwise no conversation can match.
    ListIf(ChannelKind, Shape),
    /// No index answers it.
    Unsupported,
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
    if requested.has(Field::AiOff) && (phone || requested.has(Field::External)) {
        return Route::Unsupported;
    }
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

/// The shape whose ranges answer a list; `None` if no conversation can match. The store has the
/// optional indexes `families`.
///
/// # Errors
/// [`Error::Invalid`] if no index answers this combination of fields, or none is sorted as the list
/// is; [`Error::IndexAbsent`] or [`Error::IndexBuilding`] if the store does not have the index that
/// does.
pub(crate) fn plan(list: &ListSpec, families: &Families) -> Result<Option<Shape>> {
    let requested = list.shape();
    let shape = shape_of(requested, list.kinds)?;
    let by_activity = list.sort == Sort::LastActivity;
    if by_activity && shape.as_ref().is_some_and(|shape| !activity_index::SHAPES.contains(shape)) {
        return Err(Error::Invalid { field: "sort", reason: NO_INDEX });
    }
    // No family makes a combination possible that was refused.
    if let Some(family) = requested.leading().and_then(Field::family) {
        families.require(family)?;
    }
    if by_activity {
        families.require(IndexFamily::LastActivity)?;
    }
    Ok(shape)
}

const NO_INDEX: &str = "can be last_activity without filter, or with type, assistant_id, both of \
     them, whatsapp_sender_phone or customer_phone, and no other combination";

/// The shape whose ranges answer a filter with the fields `requested` that passes `kinds`; `None` if
/// no conversation can match.
///
/// # Errors
/// [`Error::Invalid`] if no index answers this combination of fields.
fn shape_of(requested: Shape, kinds: ChannelKinds) -> Result<Option<Shape>> {
    Ok(match ROUTES[requested.bits() as usize] {
        Route::Unsupported => {
            let reason = "cannot be combined with phones or an external identifier";
            return Err(Error::Invalid { field: Field::AiOff.name(), reason });
        }
        _ if kinds == ChannelKinds::NONE => None,
        Route::Never => None,
        Route::List(shape) => Some(shape),
        Route::ListIf(implied, shape) => kinds.contains(implied).then_some(shape),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::index_term::{Fingerprint, Fingerprints};
    use crate::query::list_spec::{FingerprintSet, Order};
    use crate::tables::indexes::LATTICE;

    #[test]
    fn every_combination_is_one_range_or_empty() {
        let (mut lists, mut guarded, mut never, mut unsupported) = (0, 0, 0, 0);
        for route in ROUTES {
            match route {
                Route::Never => never += 1,
                Route::Unsupported => unsupported += 1,
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
        assert_eq!((lists, guarded, never), (12 + 4, 8, 12));
        assert_eq!(unsupported, 32 - 4);
    }

    #[track_caller]
    fn check(fields: &[Field], kind: Option<ChannelKind>, expected: Option<&[Field]>) {
        let kinds = kind.map_or(ChannelKinds::ALL, ChannelKinds::from);
        let planned = shape_of(Shape::of(fields), kinds);
        assert_eq!(planned.unwrap(), expected.map(Shape::of));
    }

    /// Adding an index would not help.
    #[test]
    fn what_no_index_answers_is_refused_whichever_the_store_has() {
        let plan = |fields: &[Field], sort| {
            let mut filter = Fingerprints::default();
            fields.iter().for_each(|field| filter.set(*field, Fingerprint::from_bits(1)));
            let list = ListSpec {
                kinds: ChannelKinds::ALL,
                filter,
                assistants: FingerprintSet::default(),
                sort,
                from: None,
                to: None,
                order: Order::default(),
            };
            plan(&list, &Families::default())
        };
        let refused = |planned| match planned {
            Err(Error::Invalid { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        let absent = |planned| matches!(planned, Err(Error::IndexAbsent { .. }));
        use Field::{AiOff, Customer, External};
        assert_eq!(refused(plan(&[AiOff, Customer], Sort::CreatedAt)), "ai_enabled");
        assert_eq!(refused(plan(&[AiOff, External], Sort::LastActivity)), "ai_enabled");
        assert_eq!(refused(plan(&[AiOff], Sort::LastActivity)), "sort");
        assert!(absent(plan(&[AiOff], Sort::CreatedAt)));
        assert!(absent(plan(&[Customer], Sort::LastActivity)));
    }

    #[test]
    fn of_several_types_the_implied_one_is_enough() {
        use ChannelKind::{Api, Whatsapp, Widget};
        use Field::{Customer, External, Kind};
        let kinds = ChannelKinds::new([Whatsapp, Widget]).unwrap();
        let planned = |fields: &[Field], kinds| shape_of(Shape::of(fields), kinds).unwrap();
        assert_eq!(planned(&[Kind], kinds), Some(Shape::of(&[Kind])));
        assert_eq!(planned(&[Kind, Customer], kinds), Some(Shape::of(&[Customer])));
        assert_eq!(planned(&[Kind, External], kinds), None);
        assert_eq!(planned(&[Kind, Customer], ChannelKinds::from(Api)), None);
        assert_eq!(planned(&[], ChannelKinds::NONE), None);
        assert_eq!(planned(&[Customer], ChannelKinds::NONE), None);
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
