//! Path parameter: the UUID in a URL.
//!
//! The extractor accepts a text that is not a UUID. After authentication the handler answers it with
//! 404, like an unknown UUID.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use convodb::{AssistantId, ConversationId, Error, Id, IdKind};

use crate::error::{ApiError, Result};
use crate::state::Service;

/// The id in the path; `None` if the text there is not a UUID.
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
    /// Returns the conversation's id.
    ///
    /// # Errors
    /// 404 if the path contains no UUID.
    pub(crate) fn conversation(self) -> Result<ConversationId> {
        self.0.ok_or_else(|| Error::ConversationNotFound.into())
    }
}

impl PathId<convodb::AssistantKind> {
    /// Returns the assistant's id.
    ///
    /// # Errors
    /// 404 if the path contains no UUID.
    pub(crate) fn assistant(self) -> Result<AssistantId> {
        self.0.ok_or_else(|| Error::AssistantNotFound.into())
    }
}
