//! Input and output files and the tables printed for people.

pub(crate) mod csv;
pub(crate) mod input;
pub(crate) mod output;
#[cfg(feature = "parquet")]
pub(crate) mod parquet;
pub(crate) mod rejects;
pub(crate) mod text_table;
