//! Body that creates or renames an assistant.

use convodb::{AssistantId, Name};
use convodb_json::field::{optional, parsed, required};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::body::object::{FieldErrors, parse_object};
use crate::error::{ApiError, Result};

/// An assistant to create.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NewAssistant {
    /// Its id, if the client chooses it.
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
    /// Parses `{"name", "uuid"?}`.
    ///
    /// # Errors
    /// 422 with every invalid field.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let wire: Wire<'_> = parse_object(text)?;
        let mut errors = FieldErrors::default();
        let id = errors.ok(optional("uuid", wire.uuid, parsed));
        let name = errors.ok(required("name", wire.name, parsed));
        errors.finish()?;
        match (id, name) {
            (Some(id), Some(name)) => Ok(Self { id, name }),
            _ => Err(ApiError::fault("a required field is missing without an error")),
        }
    }
}
