//! The parameters of the list, from texts to an engine request: the last place where they are text.
//!
//! All of them are read before any is reported. Only an assistant has to be looked up for that;
//! the rest reads nothing.

use convodb::{
    AssistantId, Error, ExternalIdentifier, ExternalIdentifierKind, Filter, ListRequest, Order,
    PageSize, Phone, PhoneKind, Snapshot, Text, TextKind, Timestamp, UserId,
};

use crate::error::{FieldError, Result};
use crate::form::{Form, Plus};

/// The list request that a query string makes for the user.
///
/// # Errors
/// All parameters that are at fault, in the order of their documentation; or a fault of the store.
pub(crate) fn list_request(query: &str, user: UserId, snapshot: &Snapshot) -> Result<ListRequest> {
    let mut form = Form::new(query);
    let kind = form.take("type", Plus::Space, |text| choice("type", text.parse()));
    let assistant = form.take("assistant_id", Plus::Space, |text| {
        Ok(known_assistant(text, user, snapshot))
    });
    todo!()
}
