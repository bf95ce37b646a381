//! Body that appends a message.

use convodb::{Message, Role, Timestamp};
use convodb_json::field::{InvalidField, cost, optional, parsed, required, rule, text};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::body::object::{FieldErrors, parse_object};
use crate::error::{ApiError, Result};

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

/// Parses `{"role", "content", "function_calls"?, "cost"?, "created_at"?}`.
///
/// Also accepts the reference API's `message` in place of `content`; the role then defaults to
/// `user`. The time defaults to `now`.
///
/// # Errors
/// 422 with every invalid field.
pub(crate) fn parse_message(body: &str, now: Timestamp) -> Result<Message> {
    let wire: Wire<'_> = parse_object(body)?;
    let mut errors = FieldErrors::default();
    let (field, content) = match wire.message {
        Some(message) => ("message", Some(message)),
        None => ("content", wire.content),
    };
    if wire.message.is_some() && wire.content.is_some() {
        let reason = "must be left out where message is given";
        errors.add(InvalidField { field: "content", reason });
    }
    let role = match wire.message {
        Some(_) => optional("role", wire.role, parsed).map(|role| role.unwrap_or(Role::User)),
        None => required("role", wire.role, parsed),
    };
    let role = errors.ok(role).unwrap_or(Role::User);
    let created_at = errors.ok(optional("created_at", wire.created_at, parsed)).flatten();
    let message = errors.ok(required(field, content, |json| {
        let content = text(json)?.into_owned();
        Message::new(role, content, created_at.unwrap_or(now)).map_err(|error| rule(&error))
    }));
    let cost = errors.ok(optional("cost", wire.cost, cost)).flatten().unwrap_or_default();
    let calls = optional("function_calls", wire.function_calls, function_calls);
    let calls = errors.ok(calls).flatten();
    errors.finish()?;
    let missing = || ApiError::fault("a required field is missing without an error");
    let message = message.ok_or_else(missing)?.with_cost(cost);
    Ok(match calls {
        Some(calls) => message.with_function_calls(calls)?,
        None => message,
    })
}

/// Checks function calls on an empty message, so that their error is reported with the others.
fn function_calls(json: &str) -> Result<String, &'static str> {
    Message::new(Role::User, "", Timestamp::MIN)
        .and_then(|message| message.with_function_calls(json))
        .map(|_| json.to_owned())
        .map_err(|error| rule(&error))
}
