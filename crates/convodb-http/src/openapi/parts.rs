//! Parts of schemas and parameters that several resources have in common.

use crate::openapi::builders::{Field, boolean, required};

/// The component of the types of conversations.
pub(super) const CONVERSATION_TYPE: &str = "ConversationType";
/// How queries and bodies name an assistant.
pub(super) const ASSISTANT: &str =
    "An assistant of the user: its UUID, or its number in the list of assistants";

/// The field `status` of a success.
pub(super) fn status_true() -> Field {
    required("status", boolean("Always true"))
}
