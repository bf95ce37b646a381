//! The write engine: write queue, group commit, checkpoints, recovery and fault handling.

pub(crate) mod admission;
pub(crate) mod checkpoint;
pub(crate) mod committer;
pub(crate) mod fair_queue;
pub(crate) mod index_steps;
pub(crate) mod new_name;
pub(crate) mod open_files;
pub(crate) mod published;
pub(crate) mod read_only;
pub(crate) mod recovery;
pub(crate) mod redb_commit;
pub(crate) mod store_file;
pub(crate) mod supervisor;
pub(crate) mod upgrade;
pub(crate) mod write_queue;
