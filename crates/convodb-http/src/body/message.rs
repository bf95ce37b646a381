//! Body that appends a message.

use convodb::{Message, Timestamp};
use convodb_json::MessageFields;

use crate::body::object::{FieldErrors, parse_object};
use crate::error::{ApiError, Result};

/// Parses `{"role", "content", "function_calls"?, "cost"?, "created_at"?}`, or another form that
/// [`MessageFields`] takes. The time defaults to `now`.
///
/// # Errors
/// 422 with every invalid field.
pub(crate) fn parse_message(body: &str, now: Timestamp) -> Result<Message> {
    let fields: MessageFields<'_> = parse_object(body)?;
    let (mut errors, mut invalid) = (FieldErrors::default(), Vec::new());
    let message = fields.parse(Some(now), &mut invalid);
    invalid.into_iter().for_each(|error| errors.add(error));
    errors.finish()?;
    message.ok_or_else(|| ApiError::fault("a required field is missing without an error"))
}
