//! Serde: the parts of `Serialize` and `Deserialize` that cannot be derived.
//!
//! Deserialization validates each value as its constructor does. The forms, in formats that people
//! read, such as JSON:
//!
//! | value | form |
//! |---|---|
//! | ids, `Phone`, `Name`, `ExternalIdentifier`, `IdempotencyKey`, `Scopes` | string |
//! | `UserId` | number |
//! | `StoreVersion` | string, the epoch in hexadecimal, a hyphen and the commit |
//! | `Timestamp` | string, RFC 3339 in UTC with milliseconds; reads all that `FromStr` does |
//! | `Day` | string, `2025-01-25` |
//! | `Cost`, `CostSum` | string of the decimal, so that no digit is lost; reads numbers too |
//! | `Channel` | object tagged by `type` |
//! | `Variables`, `function_calls` | the JSON value itself |
//! | `Role`, `ChannelKind`, `ChangeKind` | string, the name in the API |
//! | `ChannelKinds`, `AssistantIds` | list of strings |
//!
//! Binary formats contain the text of `Variables` and `function_calls` instead of the value. A
//! `Channel` needs a self-describing format, because it is tagged.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error as _, Visitor};
use serde::ser::{Error as _, Serialize, Serializer};
use serde_json::value::Value;

use crate::error::Error;
use crate::model::cost::{Cost, CostSum};
use crate::model::message::{Message, Role};
use crate::model::timestamp::{Day, Timestamp};
use crate::model::variables::Variables;
use crate::model::version::StoreVersion;

/// Reads a value from its text, by `FromStr`.
pub(crate) fn from_text<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr<Err = Error>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_str(FromText(PhantomData))
}

/// Reads a value from its text, or from a number where the format says which of them it has.
fn from_text_or_number<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr<Err = Error>,
    D: Deserializer<'de>,
{
    if deserializer.is_human_readable() {
        deserializer.deserialize_any(FromText(PhantomData))
    } else {
        from_text(deserializer)
    }
}

struct FromText<T>(PhantomData<T>);

impl<T: FromStr<Err = Error>> Visitor<'_> for FromText<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the text of the value")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    /// Reads the shortest decimal of the number, which is the text that it was read from.
    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_rfc3339())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer)
    }
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer)
    }
}

impl Serialize for Cost {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cost {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text_or_number(deserializer)
    }
}

impl Serialize for CostSum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CostSum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text_or_number(deserializer)
    }
}

impl Serialize for StoreVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StoreVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer)
    }
}

/// JSON text that people read as the value, and programs as the text.
struct Json<T>(T);

impl Serialize for Json<&str> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serde_json::from_str::<Value>(self.0).map_err(S::Error::custom)?.serialize(serializer)
        } else {
            serializer.serialize_str(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Json<String> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            Ok(Json(Value::deserialize(deserializer)?.to_string()))
        } else {
            String::deserialize(deserializer).map(Json)
        }
    }
}

impl<T: AsRef<str>> Serialize for Variables<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Json(self.as_str()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Variables {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Json(text) = Json::deserialize(deserializer)?;
        Self::new(text).map_err(D::Error::custom)
    }
}

/// The fields of a message, by the names that they have in the API.
#[derive(serde::Serialize)]
struct MessageOut<'a> {
    role: Role,
    content: &'a str,
    function_calls: Option<Json<&'a str>>,
    cost: Cost,
    created_at: Timestamp,
}

#[derive(serde::Deserialize)]
struct MessageIn {
    role: Role,
    content: String,
    function_calls: Option<Json<String>>,
    #[serde(default)]
    cost: Cost,
    created_at: Timestamp,
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let message = MessageOut {
            role: self.role(),
            content: self.content(),
            function_calls: self.function_calls().map(Json),
            cost: self.cost(),
            created_at: self.created_at(),
        };
        message.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = MessageIn::deserialize(deserializer)?;
        let message = Message::new(read.role, read.content, read.created_at)
            .and_then(|message| match read.function_calls {
                Some(Json(calls)) => message.with_function_calls(calls),
                None => Ok(message),
            })
            .map_err(D::Error::custom)?;
        Ok(message.with_cost(read.cost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::account::{Assistant, User};
    use crate::model::change::ChangeKind;
    use crate::model::channel::{Channel, ChannelKind};
    use crate::model::contact::Contact;
    use crate::model::conversation::Conversation;
    use crate::model::id::{AssistantId, ConversationId, UserId};
    use crate::model::text::{Name, Phone};
    use crate::model::token::{Scopes, TokenId};
    use serde::de::DeserializeOwned;
    use serde_json::json;
    use uuid::Uuid;

    /// The value has this form, and the form reads as the value.
    #[track_caller]
    fn check<T: Serialize + DeserializeOwned + PartialEq + fmt::Debug>(value: &T, form: Value) {
        assert_eq!(serde_json::to_value(value).unwrap(), form);
        assert_eq!(serde_json::from_str::<T>(&form.to_string()).unwrap(), *value);
        assert_eq!(serde_json::from_value::<T>(form).unwrap(), *value);
    }

    #[track_caller]
    fn refuses<T: DeserializeOwned + fmt::Debug>(form: Value, reason: &str) {
        let error = serde_json::from_value::<T>(form).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }

    #[test]
    fn single_values_have_the_documented_forms() {
        check(&UserId::new(7), json!(7));
        check(&StoreVersion { epoch: 0xab, commit: 7 }, json!("00000000000000ab-7"));
        check(
            &ConversationId::new(Uuid::from_u128(1)),
            json!("00000000-0000-0000-0000-000000000001"),
        );
        check(&Phone::new("+1").unwrap(), json!("+1"));
        check(&Timestamp::from_millis(1_250).unwrap(), json!("1970-01-01T00:00:01.250Z"));
        check(&Day::new(31), json!("1970-02-01"));
        check(&Cost::from_nanos(4_500_000), json!("0.0045"));
        check(&CostSum::from_nanos(i128::from(u64::MAX) * 1000), json!("18446744073709.551615"));
        check(&Role::Tool, json!("tool"));
        for kind in ChannelKind::ALL {
            check(&kind, json!(kind.as_str()));
        }
        for kind in ChangeKind::ALL {
            check(&kind, json!(kind.as_str()));
        }
    }

    #[test]
    fn costs_also_read_numbers() {
        let cost = |json: &str| serde_json::from_str::<Cost>(json).unwrap().to_string();
        assert_eq!(cost("0.1"), "0.1");
        assert_eq!(cost("-3"), "-3");
        assert_eq!(cost("5e-9"), "0.000000005");
    }

    #[test]
    fn values_are_validated() {
        refuses::<Phone>(json!(""), "phone must have 1 to 64 bytes");
        refuses::<ConversationId>(json!("7c9e6679"), "id must be a valid UUID");
        refuses::<Timestamp>(json!("2300-01-01"), "must lie between");
        refuses::<Cost>(json!("1,5"), "cost must be a decimal number");
        refuses::<Variables>(json!([1]), "variables must be a JSON object");
        refuses::<Channel>(json!({"type": "fax"}), "unknown variant");
        let message = json!({"role": "user", "content": "x".repeat(2 << 20),
                             "created_at": "2025-01-25"});
        refuses::<Message>(message, "content must have at most");
    }

    #[test]
    fn accounts_have_the_documented_forms() {
        let name = Name::new("Acme").unwrap();
        let created_at = Timestamp::MIN;
        let user = User { id: UserId::new(1), name: name.clone(), created_at, closed: false };
        let form = json!({"id": 1, "name": "Acme", "created_at": "1970-01-01T00:00:00.000Z",
                          "closed": false});
        check(&user, form);
        check(&"0123456789abcdef".parse::<TokenId>().unwrap(), json!("0123456789abcdef"));
        check(&Scopes::DATA, json!("read,write,import,export,stats"));
        let assistant = Assistant { id: AssistantId::new(Uuid::nil()), number: 2, name };
        check(
            &assistant,
            json!({"id": "00000000-0000-0000-0000-000000000000", "number": 2, "name": "Acme"}),
        );
    }

    #[test]
    fn a_conversation_has_the_documented_form() {
        let id = ConversationId::new(Uuid::from_u128(1));
        let sender = Contact::with_phone("+1").unwrap().named("Acme").unwrap();
        let channel = Channel::Whatsapp { sender, customer: Contact::default() };
        let mut conversation =
            Conversation::new(id, AssistantId::new(Uuid::nil()), channel, Timestamp::MIN);
        conversation.variables = Some(Variables::new(r#"{"plan":"pro"}"#).unwrap());
        let form = json!({
            "id": "00000000-0000-0000-0000-000000000001",
            "assistant": "00000000-0000-0000-0000-000000000000",
            "channel": {
                "type": "whatsapp",
                "sender": {"name": "Acme", "phone": "+1"},
                "customer": {"name": null, "phone": null},
            },
            "variables": {"plan": "pro"},
            "message_count": 0,
            "total_cost": "0",
            "ai_enabled": true,
            "created_at": "1970-01-01T00:00:00.000Z",
            "updated_at": "1970-01-01T00:00:00.000Z",
        });
        assert_eq!(serde_json::to_value(conversation.borrowed()).unwrap(), form);
        check(&conversation, form);
        let test = json!({"type": "test"});
        check(&Channel::<String>::Test, test);
        check(
            &Channel::api("crm-1").unwrap(),
            json!({"type": "api", "external_identifier": "crm-1"}),
        );
    }

    #[test]
    fn a_message_has_the_documented_form() {
        let message = Message::new(Role::Assistant, "Booked.", Timestamp::MIN)
            .and_then(|message| message.with_function_calls(r#"[{"name":"book"}]"#))
            .unwrap()
            .with_cost(Cost::from_nanos(400_000));
        let form = json!({
            "role": "assistant",
            "content": "Booked.",
            "function_calls": [{"name": "book"}],
            "cost": "0.0004",
            "created_at": "1970-01-01T00:00:00.000Z",
        });
        check(&message, form);
        let short = json!({"role": "user", "content": "Hi", "created_at": "1970-01-01"});
        let message: Message = serde_json::from_value(short).unwrap();
        assert_eq!(message, Message::new(Role::User, "Hi", Timestamp::MIN).unwrap());
    }
}
