//! What can happen to a conversation, as the feed of changes tells it.

/// What happened to a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// It is new.
    Created,
    /// Something of it is another: a field, or its messages.
    Updated,
    /// It is gone, with its messages.
    Deleted,
}

impl ChangeKind {
    /// All kinds.
    pub const ALL: [ChangeKind; 3] =
        [ChangeKind::Created, ChangeKind::Updated, ChangeKind::Deleted];

    /// The kind's name in the API: `created`, `updated` or `deleted`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ChangeKind::Created => "created",
            ChangeKind::Updated => "updated",
            ChangeKind::Deleted => "deleted",
        }
    }
}
