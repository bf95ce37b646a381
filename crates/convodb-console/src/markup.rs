//! Markup helpers: names of types and roles, and JSON for people.

use convodb::{ChannelKind, Role};
use serde_json::Value;

use crate::text;

/// The name of a type for people.
#[must_use]
pub const fn kind_name(kind: ChannelKind) -> &'static str {
    match kind {
        ChannelKind::Test => "Test",
        ChannelKind::Widget => "Widget",
        ChannelKind::Whatsapp => "WhatsApp",
        ChannelKind::Api => "API",
    }
}

/// The name of an author for people.
pub(crate) const fn role_name(role: Role) -> &'static str {
    match role {
        Role::User => text::ROLE_USER,
        Role::Assistant => text::ROLE_ASSISTANT,
        Role::System => text::ROLE_SYSTEM,
        Role::Tool => text::ROLE_TOOL,
    }
}

/// JSON over several lines; the text itself if it cannot be parsed.
pub(crate) fn pretty(json: &str) -> String {
    let value: Option<Value> = serde_json::from_str(json).ok();
    let text = value.and_then(|value| serde_json::to_string_pretty(&value).ok());
    text.unwrap_or_else(|| json.to_owned())
}

/// The entries of a JSON object, each value as text; strings without their quotes.
pub(crate) fn entries(object: &str) -> Vec<(String, String)> {
    let value: Option<Value> = serde_json::from_str(object).ok();
    let Some(Value::Object(entries)) = value else { return Vec::new() };
    let shown = |value: Value| match value {
        Value::String(text) => text,
        other => serde_json::to_string_pretty(&other).unwrap_or_default(),
    };
    entries.into_iter().map(|(name, value)| (name, shown(value))).collect()
}

/// The names of called functions, in the form of this API or of OpenAI's.
pub(crate) fn called(function_calls: &str) -> String {
    let value: Option<Value> = serde_json::from_str(function_calls).ok();
    let Some(Value::Array(calls)) = value else { return String::new() };
    let name = |call: &Value| {
        let name = call["name"].as_str().or_else(|| call["function"]["name"].as_str());
        name.or_else(|| call.as_str()).unwrap_or("?").to_owned()
    };
    calls.iter().map(name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn function_names_are_found_in_both_forms() {
        for (json, expected) in [
            (r#"[{"name":"track"},{"function":{"name":"refund"}}]"#, "track, refund"),
            (r#"["x",{"name":1}]"#, "x, ?"),
            ("[]", ""),
        ] {
            assert_eq!(called(json), expected);
        }
    }

    #[test]
    fn variables_are_entries() {
        let entries = entries(r#"{"plan":"pro","n":1,"nested":{"a":[1]}}"#);
        assert_eq!(entries[0], ("plan".to_owned(), "pro".to_owned()));
        assert_eq!(entries[1].1, "1");
        assert_eq!(entries[2].1, "{\n  \"a\": [\n    1\n  ]\n}");
    }
}
