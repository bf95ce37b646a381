//! The body that appends a message.

use convodb::{Message, Role, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::body::object::{FieldErrors, object};
use crate::error::{ApiError, Result};
use crate::item::{Broken, cost, optional, parsed, required, rule, text};

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    role: Option<&'a RawValue>,
    content: Option<&'a RawValue>,
    message: Option<&'a RawValue>,
    function_calls: Option<&'a RawValue>,
    cost: Option<&'a RawValue>,
    created_at: Option<&'a RawValue>,
}

/// Reads `{"role", "content", "function_calls"?, "cost"?, "created_at"?}`, or the same with the
/// reference's `message` for `content`, where the role is `user` unless one is given. A message
/// without a time is said `now`.
///
/// # Errors
/// All fields that break a rule.
pub(crate) fn read_message(body: &str, now: Timestamp) -> Result<Message> {
    let wire: Wire<'_> = object(body)?;
    let mut fields = FieldErrors::default();
    let (field, content) = match wire.message {
        Some(message) => ("message", Some(message)),
        None => ("content", wire.content),
    };
    if wire.message.is_some() && wire.content.is_some() {
        let reason = "must be left out where message is given";
        fields.refuse(Broken { field: "content", reason });
    }
    let role = match wire.message {
        Some(_) => optional("role", wire.role, parsed).map(|role| role.unwrap_or(Role::User)),
        None => required("role", wire.role, parsed),
    };
    let role = fields.take(role).unwrap_or(Role::User);
    let created_at = fields.take(optional("created_at", wire.created_at, parsed)).flatten();
    let message = fields.take(required(field, content, |json| {
        let content = text(json)?.into_owned();
        Message::new(role, content, created_at.unwrap_or(now)).map_err(|error| rule(&error))
    }));
    let cost = fields.take(optional("cost", wire.cost, cost)).flatten().unwrap_or_default();
    let calls = fields.take(optional("function_calls", wire.function_calls, calls)).flatten();
    fields.finish()?;
    let missing = || ApiError::fault("a message was neither taken nor refused");
    let message = message.ok_or_else(missing)?.with_cost(cost);
    Ok(match calls {
        Some(calls) => message.with_function_calls(calls)?,
        None => message,
    })
}

/// Function calls, checked as the message that will have them checks them.
fn calls(json: &str) -> Result<String, &'static str> {
    Message::new(Role::User, "", Timestamp::MIN)
        .and_then(|message| message.with_function_calls(json))
        .map(|_| json.to_owned())
        .map_err(|error| rule(&error))
}
