//! The suites: what is measured, one module each.

pub(crate) mod bulk_load;
pub(crate) mod open;
pub(crate) mod pages;
pub(crate) mod writes;
