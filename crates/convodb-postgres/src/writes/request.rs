//! Writes that wait in a lane.

use convodb::AssistantId;
use convodb_service::{Idempotent, Write, WriteAuthority, Written};

/// A write as it waits: of whom, and how it is done.
#[derive(Clone, Debug)]
pub(crate) struct WriteRequest {
    pub(crate) write: Write,
    pub(crate) idempotent: Option<Idempotent>,
    /// The only assistant that the write reaches.
    pub(crate) restriction: Option<AssistantId>,
    pub(crate) authority: Option<WriteAuthority>,
}

/// The result of a [`WriteRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Written(Written),
    /// The response of the first write with the idempotency key.
    Response(Vec<u8>),
}
