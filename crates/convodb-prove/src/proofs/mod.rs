//! Every proof that `convodb-prove` runs, one file each.

mod filters;
mod isolation;
mod model;
mod tamper;
mod walks;

use crate::proof::Proof;

/// All of them, in the order in which they are run.
pub(crate) const ALL: &[Proof] =
    &[model::MODEL, walks::WALKS, isolation::ISOLATION, tamper::TAMPER, filters::FILTERS];
