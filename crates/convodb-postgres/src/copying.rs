//! Copying between a file and the database: what is reported.

/// What an import or an export copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyReport {
    /// The number of users.
    pub users: u64,
    /// The number of access tokens.
    pub tokens: u64,
    /// The number of assistants.
    pub assistants: u64,
    /// The number of conversations.
    pub conversations: u64,
    /// The number of messages.
    pub messages: u64,
    /// The number of changes in the feeds of all users.
    pub changes: u64,
    /// The number of responses to writes with idempotency keys.
    pub responses: u64,
}

/// How far an import or an export is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyProgress {
    /// The table that is copied.
    pub table: &'static str,
    /// The number of its rows that are copied.
    pub rows: u64,
}

/// Rows between two calls of `progress`.
pub(crate) const ROWS_PER_CALL: u64 = 10_000;
