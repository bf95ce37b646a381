//! Bodies about assistants, and how a body names one.

use convodb::{AssistantId, Name};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::body::object::{FieldErrors, object};
use crate::error::{ApiError, Result};
use crate::item::{optional, parsed, required};

/// How a client names an assistant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AssistantName {
    Id(AssistantId),
    Number(u32),
}

impl AssistantName {
    /// The name in a body: a UUID in a string, or a number.
    pub(super) fn read(json: &str) -> Result<Self, &'static str> {
        let rule = "must be an assistant's UUID or its number";
        if json.bytes().all(|byte| byte.is_ascii_digit()) {
            return json.parse().map(AssistantName::Number).map_err(|_| rule);
        }
        parsed(json).map(AssistantName::Id).map_err(|_| rule)
    }
}

/// An assistant to create.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NewAssistant {
    /// Its id, where the client gives one.
    pub(crate) id: Option<AssistantId>,
    pub(crate) name: Name,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    uuid: Option<&'a RawValue>,
    name: Option<&'a RawValue>,
}

impl NewAssistant {
    /// Reads `{"name", "uuid"?}`.
    ///
    /// # Errors
    /// All fields that break a rule.
    pub(crate) fn read(text: &str) -> Result<Self> {
        let wire: Wire<'_> = object(text)?;
        let mut fields = FieldErrors::default();
        let id = fields.take(optional("uuid", wire.uuid, parsed));
        let name = fields.take(required("name", wire.name, parsed));
        fields.finish()?;
        match (id, name) {
            (Some(id), Some(name)) => Ok(Self { id, name }),
            _ => Err(ApiError::fault("a field was neither taken nor refused")),
        }
    }
}
