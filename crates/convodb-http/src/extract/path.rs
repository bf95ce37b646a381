//! Path parameter: the id in a URL.
//!
//! The extractor accepts a text that is not an id. After authentication the handler answers it
//! with 404, like an unknown id.

use std::str::FromStr;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::StatusCode;
use axum::http::request::Parts;
use convodb::{AssistantId, ConversationId, Error, TokenId};

use crate::error::{ApiError, Result};
use crate::state::Service;

/// The id in the path; `None` if the text there is none.
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
    /// Returns the conversation's id.
    ///
    /// # Errors
    /// 404 if the path contains no UUID.
    pub(crate) fn conversation(self) -> Result<ConversationId> {
        self.0.ok_or_else(|| Error::ConversationNotFound.into())
    }
}

impl PathId<AssistantId> {
    /// Returns the assistant's id.
    ///
    /// # Errors
    /// 404 if the path contains no UUID.
    pub(crate) fn assistant(self) -> Result<AssistantId> {
        self.0.ok_or_else(|| Error::AssistantNotFound.into())
    }
}

impl PathId<TokenId> {
    /// Returns the token's public id.
    ///
    /// # Errors
    /// 404 if the path contains none.
    pub(crate) fn token(self) -> Result<TokenId> {
        self.0.ok_or_else(|| ApiError::of(StatusCode::NOT_FOUND))
    }
}
