//! Suites: one module per kind of measurement.

pub(crate) mod bulk_load;
pub(crate) mod counts;
pub(crate) mod open;
pub(crate) mod pages;
pub(crate) mod readers;
pub(crate) mod writes;
