//! Shared parts of the fuzz targets: an in-process server and a scratch directory.

mod scratch;
mod server;

pub use scratch::ScratchDirectory;
pub use server::InProcessServer;
