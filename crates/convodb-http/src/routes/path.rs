//! The id in a path. A text that can be no id is one that nobody has: refused as a missing one is,
//! and only once it is known who asks.

use std::str::FromStr;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use convodb::{AssistantId, ConversationId, Error};

use crate::error::{ApiError, Result};
use crate::state::Service;

/// What stands in the path where an id of the kind does.
pub(crate) struct PathId<T>(Option<T>);

impl<T: FromStr<Err = Error> + Send> FromRequestParts<Service> for PathId<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self> {
        let params = RawPathParams::from_request_parts(parts, service).await.ok();
        let id = params.and_then(|params| params.iter().next()?.1.parse().ok());
        Ok(Self(id))
    }
}

impl PathId<ConversationId> {
    /// The conversation's id.
    ///
    /// # Errors
    /// 404.
    pub(crate) fn conversation(self) -> Result<ConversationId> {
        self.0.ok_or_else(|| Error::ConversationNotFound.into())
    }
}

impl PathId<AssistantId> {
    /// The assistant's id.
    ///
    /// # Errors
    /// 404.
    pub(crate) fn assistant(self) -> Result<AssistantId> {
        self.0.ok_or_else(|| Error::AssistantNotFound.into())
    }
}
