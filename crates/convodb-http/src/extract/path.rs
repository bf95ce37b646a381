//! The id in a path. A text that can be no id is one that nobody has: refused as a missing one is,
//! and only once it is known who asks.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use convodb::{AssistantId, ConversationId, Error, Id, IdKind};

use crate::error::{ApiError, Result};
use crate::state::Service;

/// What stands in the path where an id of the kind does.
pub(crate) struct PathId<K>(Option<Id<K>>);

impl<K: IdKind + Send> FromRequestParts<Service> for PathId<K> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self> {
        let params = RawPathParams::from_request_parts(parts, service).await.ok();
        let id = params.and_then(|params| params.iter().next()?.1.parse().ok());
        Ok(Self(id))
    }
}

impl PathId<convodb::ConversationKind> {
    /// The conversation's id.
    ///
    /// # Errors
    /// 404.
    pub(crate) fn conversation(self) -> Result<ConversationId> {
        self.0.ok_or_else(|| Error::ConversationNotFound.into())
    }
}

impl PathId<convodb::AssistantKind> {
    /// The assistant's id.
    ///
    /// # Errors
    /// 404.
    pub(crate) fn assistant(self) -> Result<AssistantId> {
        self.0.ok_or_else(|| Error::AssistantNotFound.into())
    }
}
