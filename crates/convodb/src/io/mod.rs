//! Files: the virtual file system that the engine runs on, atomic file creation, and fault state.

pub(crate) mod atomic_file;
pub(crate) mod fault;
pub(crate) mod file_guard;
pub(crate) mod memory;
pub(crate) mod overlay;
pub(crate) mod read_fault;
pub(crate) mod redb_backend;
pub(crate) mod system;
pub(crate) mod vfs;
