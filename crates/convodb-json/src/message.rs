//! Message of a body or of a line, in the form of the reference API, of an export, or of OpenAI.
//!
//! OpenAI's chat messages name the same things differently: `tool_calls` or `function_call` for
//! `function_calls`, parts of text for a text, and the roles `developer` and `function` for
//! `system` and `tool`.

use std::fmt::Write as _;

use convodb::{Message, Role, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::field::{BLANK, InvalidField, cost, object, optional, parsed, required, rule, text};
use crate::time::time;

/// The fields of a message, each as raw JSON.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct MessageFields<'a> {
    #[serde(borrow)]
    role: Option<&'a RawValue>,
    content: Option<&'a RawValue>,
    /// The reference API's name of the content of a user's message.
    message: Option<&'a RawValue>,
    function_calls: Option<&'a RawValue>,
    tool_calls: Option<&'a RawValue>,
    function_call: Option<&'a RawValue>,
    cost: Option<&'a RawValue>,
    created_at: Option<&'a RawValue>,
}

impl MessageFields<'_> {
    /// Parses the message. `now` is the time of a message without one; if it is `None`, as in an
    /// import, a time is required, in any of the forms that imports read. Returns `None` if it appends any broken rule to `invalid`.
    ///
    /// A content may be null or absent where function calls are given. With `message` in place of
    /// `content`, the role is `user` by default.
    pub fn parse(
        &self,
        now: Option<Timestamp>,
        invalid: &mut Vec<InvalidField>,
    ) -> Option<Message> {
        let before = invalid.len();
        let mut add = |error: InvalidField| invalid.push(error);
        if self.message.is_some() && self.content.is_some() {
            add(InvalidField {
                field: "content",
                reason: "must be left out where message is given",
            });
        }
        let role = match self.message {
            Some(_) => optional("role", self.role, role).map(|role| role.unwrap_or(Role::User)),
            None => required("role", self.role, role),
        };
        let role = role.map_err(&mut add).unwrap_or(Role::User);
        let created_at = match now {
            Some(now) => {
                optional("created_at", self.created_at, parsed).map(|at| at.unwrap_or(now))
            }
            None => required("created_at", self.created_at, time),
        };
        let created_at = created_at.map_err(&mut add).unwrap_or(Timestamp::MIN);
        let message = self.content().and_then(|(field, content)| {
            Message::new(role, content, created_at)
                .map_err(|error| InvalidField { field, reason: rule(&error) })
        });
        let message = message.map_err(&mut add).ok();
        let cost = optional("cost", self.cost, cost).map_err(&mut add).ok().flatten();
        let calls = self.function_calls().map_err(&mut add).ok().flatten();
        if invalid.len() > before {
            return None;
        }
        let message = message?.with_cost(cost.unwrap_or_default());
        match calls {
            // They were checked.
            Some(calls) => message.with_function_calls(calls).ok(),
            None => Some(message),
        }
    }

    /// Returns the content and its field.
    fn content(&self) -> Result<(&'static str, String), InvalidField> {
        let (field, json) = match self.message {
            Some(message) => ("message", Some(message)),
            None => ("content", self.content),
        };
        let calls = [self.function_calls, self.tool_calls, self.function_call];
        match json {
            Some(json) => content(json.get()).map(|text| (field, text)),
            None if calls.iter().any(Option::is_some) => Ok((field, String::new())),
            None => Err("is required"),
        }
        .map_err(|reason| InvalidField { field, reason })
    }

    /// Returns the function calls as the text of an array.
    fn function_calls(&self) -> Result<Option<String>, InvalidField> {
        let given = [
            ("function_calls", self.function_calls),
            ("tool_calls", self.tool_calls),
            ("function_call", self.function_call),
        ];
        let given = given.into_iter().filter_map(|(field, json)| Some((field, json?.get())));
        let mut given = given.filter(|(_, json)| *json != BLANK);
        let Some((field, json)) = given.next() else { return Ok(None) };
        if let Some((field, _)) = given.next() {
            let reason = "must be left out where the calls are given under another name";
            return Err(InvalidField { field, reason });
        }
        let calls = match field {
            "function_call" => format!("[{json}]"),
            _ => json.to_owned(),
        };
        // Checked on an empty message, so that their error is reported beside that of a content.
        Message::new(Role::User, "", Timestamp::MIN)
            .and_then(|message| message.with_function_calls(calls.as_str()))
            .map_err(|error| InvalidField { field, reason: rule(&error) })?;
        Ok(Some(calls))
    }
}

/// Parses a role.
fn role(json: &str) -> Result<Role, &'static str> {
    match text(json)?.as_ref() {
        "developer" => Ok(Role::System),
        "function" => Ok(Role::Tool),
        role => role.parse().map_err(|error| rule(&error)),
    }
}

/// Parses a content: a string, or parts of text, which become lines.
fn content(json: &str) -> Result<String, &'static str> {
    #[derive(Deserialize)]
    struct Part<'a> {
        #[serde(borrow, rename = "type")]
        kind: &'a RawValue,
        text: Option<&'a RawValue>,
    }
    const RULE: &str = "must be a string, or an array of parts of the type text";
    if !json.starts_with('[') {
        return text(json).map(|text| text.into_owned());
    }
    let parts: Vec<&RawValue> = serde_json::from_str(json).map_err(|_| RULE)?;
    let mut content = String::new();
    for (at, part) in parts.into_iter().enumerate() {
        let part: Part<'_> = object(part.get()).map_err(|_| RULE)?;
        let part = part.text.filter(|_| part.kind.get() == "\"text\"").ok_or(RULE)?;
        // Writing to a string cannot fail.
        let _ = write!(content, "{}{}", if at == 0 { "" } else { "\n" }, text(part.get())?);
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: Result<(Role, &str, Option<&str>), (&str, &str)>) {
        let fields: MessageFields<'_> = object(json).unwrap();
        let mut invalid = Vec::new();
        let message = fields.parse(Some(Timestamp::MIN), &mut invalid);
        match expected {
            Ok(expected) => {
                let message = message.unwrap_or_else(|| panic!("{json}: {invalid:?}"));
                let found = (message.role(), message.content(), message.function_calls());
                assert_eq!(found, expected, "{json}");
                assert!(invalid.is_empty(), "{json}");
            }
            Err((field, reason)) => {
                assert_eq!(message, None, "{json}");
                let found: Vec<_> = invalid.iter().map(|each| (each.field, each.reason)).collect();
                assert_eq!(found, [(field, reason)], "{json}");
            }
        }
    }

    #[test]
    fn all_three_forms_are_taken() {
        let assistant = Role::Assistant;
        check(r#"{"message":"Hi"}"#, Ok((Role::User, "Hi", None)));
        check(r#"{"role":"system","content":""}"#, Ok((Role::System, "", None)));
        check(
            r#"{"role":"assistant","content":null,"function_calls":[{"name":"book"}]}"#,
            Ok((assistant, "", Some(r#"[{"name":"book"}]"#))),
        );
        let call = r#"{"id":"c1","type":"function","function":{"name":"book","arguments":"{}"}}"#;
        check(
            &format!(
                r#"{{"role":"assistant","content":null,"refusal":null,"tool_calls":[{call}]}}"#
            ),
            Ok((assistant, "", Some(&format!("[{call}]")))),
        );
        check(
            r#"{"role":"tool","tool_call_id":"c1","content":"done"}"#,
            Ok((Role::Tool, "done", None)),
        );
        check(
            r#"{"role":"assistant","function_call":{"name":"f"},"tool_calls":null}"#,
            Ok((assistant, "", Some(r#"[{"name":"f"}]"#))),
        );
        check(r#"{"role":"function","name":"f","content":"1"}"#, Ok((Role::Tool, "1", None)));
        check(
            r#"{"role":"developer","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}"#,
            Ok((Role::System, "a\nb", None)),
        );
    }

    #[test]
    fn what_cannot_be_stored_is_refused() {
        let parts = "must be a string, or an array of parts of the type text";
        let image = r#"{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}"#;
        check(image, Err(("content", parts)));
        check(r#"{"role":"user","content":[1]}"#, Err(("content", parts)));
        check(r#"{"role":"assistant","content":null}"#, Err(("content", "is required")));
        check(
            r#"{"role":"assistant","content":"a","function_calls":[],"tool_calls":[]}"#,
            Err(("tool_calls", "must be left out where the calls are given under another name")),
        );
        check(
            r#"{"role":"assistant","content":null,"tool_calls":{}}"#,
            Err(("tool_calls", "must be a JSON array of at most 65536 bytes")),
        );
        check(
            r#"{"role":"user","content":"\ud83d"}"#,
            Err(("content", "must not contain half of a surrogate pair")),
        );
    }
}
