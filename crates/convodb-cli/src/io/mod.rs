//! Files that verbs read and write, and the tables they print.

pub(crate) mod atomic_file;
pub(crate) mod csv_input;
pub(crate) mod file_size_limit;
pub(crate) mod format;
pub(crate) mod input;
pub(crate) mod output;
#[cfg(feature = "parquet")]
pub(crate) mod parquet;
pub(crate) mod rejects;
pub(crate) mod text_table;
