//! Shared parts of the fuzz targets: the properties of each decoder, an in-process server, and a
//! scratch directory.

pub mod cursors;
pub mod keys;
pub mod records;
mod scratch;
mod server;
pub mod wal;

pub use scratch::ScratchDirectory;
pub use server::InProcessServer;
