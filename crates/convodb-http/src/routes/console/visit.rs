//! Visit of a screen: what its handler collects for the frame, and what screens have in common.

use std::time::Instant;

use axum::http::{HeaderMap, Uri};
use convodb::{Error, PageCost, Scope};
use convodb_console::{Abilities, AssistantChoice, FieldMessage, Frame, Screen};

use crate::error::{ApiError, Result};
use crate::extract::session::SessionAuth;
use crate::state::Service;

/// The most assistants that a filter offers.
const MAX_CHOICES: usize = 500;

/// What a request of a screen brings, besides its session.
pub(super) struct Visit {
    pub(super) began: Instant,
    screen: Screen,
    /// The URL of the same request of the API, after the base.
    pub(super) api: Option<String>,
}

impl Visit {
    pub(super) fn new(screen: Screen) -> Self {
        Self { began: Instant::now(), screen, api: None }
    }

    /// The frame of the screen, once everything is read.
    ///
    /// # Errors
    /// 401 if the user was erased.
    pub(super) fn frame<S>(
        &self,
        service: &Service,
        headers: &HeaderMap,
        auth: &SessionAuth<S>,
        cost: Option<(PageCost, usize)>,
    ) -> Result<Frame> {
        let user = auth.view.user(auth.user)?.ok_or(Error::UserNotFound)?;
        let scopes = auth.authority.scopes();
        let curl = self.api.as_ref().map(|api| {
            let url = service.base_url().of(headers, api);
            // No URL of the API contains an apostrophe: queries encode it.
            format!("curl -H \"Authorization: Bearer $TOKEN\" '{url}'")
        });
        Ok(Frame {
            base: service.base_url().base_path().to_owned(),
            account: user.name.into_string(),
            screen: self.screen,
            abilities: Abilities {
                read: scopes.contains(Scope::Read),
                write: scopes.contains(Scope::Write),
                stats: scopes.contains(Scope::Stats),
                tokens: scopes.contains(Scope::Tokens),
                health: scopes.contains(Scope::Health),
            },
            curl,
            took: self.began.elapsed(),
            cost: cost.map(|(cost, bound)| (cost.entries + cost.rows, bound)),
        })
    }
}

/// The assistants that filters offer.
pub(super) fn choices<S>(auth: &SessionAuth<S>) -> Result<Vec<AssistantChoice>> {
    let assistants = auth.view.assistants(auth.user, 0, MAX_CHOICES)?;
    let choice = |assistant: convodb::Assistant| AssistantChoice {
        id: assistant.id.to_string(),
        name: assistant.name.into_string(),
    };
    Ok(assistants.into_iter().map(choice).collect())
}

/// The errors of fields, for the form that had them; any other error fails.
pub(super) fn field_messages(error: ApiError) -> Result<Vec<FieldMessage>> {
    let messages: Vec<FieldMessage> = error
        .fields()
        .map(|(field, message)| FieldMessage {
            field: field.to_owned(),
            message: message.to_owned(),
        })
        .collect();
    if messages.is_empty() { Err(error) } else { Ok(messages) }
}

/// Returns the query string of a request.
pub(super) fn query_of(uri: &Uri) -> &str {
    uri.query().unwrap_or_default()
}

/// Whether a form has sent fields that are blank, which no link of the console has.
pub(super) fn has_blanks(query: &str) -> bool {
    query.split('&').any(|pair| pair.ends_with('='))
}
