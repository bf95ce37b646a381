//! Token screens: the access tokens of an account, a new one, and what narrows or revokes one.

use askama::Template;
use convodb::{Scope, Scopes, Timestamp, Token, TokenId};

use crate::format::Time;
use crate::frame::{Frame, Screen};
use crate::list::{AssistantChoice, FieldMessage};
use crate::text;

/// An access token of a list.
#[derive(Clone, Debug)]
pub struct TokenRow {
    pub(crate) id: String,
    /// Its name, or its first characters.
    pub(crate) title: String,
    /// Its first characters.
    pub(crate) prefix: String,
    pub(crate) scopes: String,
    /// The name of the only assistant that it reaches; blank for all.
    pub(crate) assistant: String,
    pub(crate) created: Time,
    pub(crate) expires: Option<Time>,
    pub(crate) last_used: Option<Time>,
    pub(crate) is_expired: bool,
    /// Whether the session was begun with it.
    pub(crate) is_own: bool,
}

impl TokenRow {
    /// A row from a token and the name of its only assistant, at the time `now`; `own` is the token
    /// of the session.
    #[must_use]
    pub fn new(token: &Token, assistant: String, now: Timestamp, own: TokenId) -> Self {
        let id = token.id.to_string();
        let prefix =
            token.prefix.clone().map_or_else(String::new, |start| format!("{start}\u{2026}"));
        let name = token.name.as_ref().map(|name| name.as_str().to_owned());
        let title = name.unwrap_or_else(|| text::NO_NAME.to_owned());
        Self {
            id,
            title,
            prefix,
            scopes: token.scopes.to_string().replace(',', ", "),
            assistant,
            created: Time::of(token.created_at),
            expires: token.expires_at.map(Time::of),
            last_used: token.last_used_at.map(Time::of),
            is_expired: token.expires_at.is_some_and(|expires_at| expires_at <= now),
            is_own: token.id == own,
        }
    }
}

/// What a form offers for a token, and what was entered.
#[derive(Clone, Debug)]
pub struct TokenForm {
    /// The scopes that can be chosen.
    pub offered: Scopes,
    /// Those that are chosen.
    pub chosen: Option<Scopes>,
    /// The name, as entered.
    pub name: String,
    /// The assistants that can be chosen.
    pub assistants: Vec<AssistantChoice>,
    /// The id of the chosen one; blank for none.
    pub assistant: String,
    /// The day of expiry, as entered.
    pub expires_at: String,
    /// What is wrong with the fields.
    pub errors: Vec<FieldMessage>,
}

impl TokenForm {
    fn scopes(&self) -> impl Iterator<Item = (Scope, &'static str, bool)> {
        let is_chosen = |scope| self.chosen.is_some_and(|chosen| chosen.contains(scope));
        self.offered.iter().map(move |scope| (scope, describe(scope), is_chosen(scope)))
    }

    fn error(&self, field: &str) -> &str {
        let found = self.errors.iter().find(|error| error.field == field);
        found.map_or("", |error| &error.message)
    }

    /// The errors of no field of the form.
    fn other_errors(&self) -> impl Iterator<Item = &FieldMessage> {
        let known = ["name", "scopes", "assistant", "expires_at"];
        self.errors.iter().filter(move |error| !known.contains(&error.field.as_str()))
    }
}

/// The tokens of the account.
#[derive(Clone, Debug, Template)]
#[template(path = "tokens.html")]
pub struct TokensScreen {
    /// The surroundings.
    pub frame: Frame,
    /// The tokens, the newest first.
    pub tokens: Vec<TokenRow>,
}

/// A form for a new token.
#[derive(Clone, Debug, Template)]
#[template(path = "token_new.html")]
pub struct NewTokenScreen {
    /// The surroundings.
    pub frame: Frame,
    /// The form.
    pub form: TokenForm,
}

/// A new token, this once. `Debug` does not print it.
#[derive(Clone, Template)]
#[template(path = "token_created.html")]
pub struct CreatedTokenScreen {
    /// The surroundings.
    pub frame: Frame,
    /// Its public id.
    pub id: TokenId,
    /// The token itself.
    pub token: String,
}

impl std::fmt::Debug for CreatedTokenScreen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedTokenScreen").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A token, with forms that narrow or revoke it.
#[derive(Clone, Debug, Template)]
#[template(path = "token.html")]
pub struct TokenScreen {
    /// The surroundings.
    pub frame: Frame,
    /// The token.
    pub token: TokenRow,
    /// What remains of it.
    pub form: TokenForm,
}

impl TokenScreen {
    fn action(&self, name: &str) -> String {
        self.frame.url(&format!("/tokens/{}/{name}", self.token.id))
    }
}

/// What a scope allows.
const fn describe(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => text::SCOPE_READ,
        Scope::Write => text::SCOPE_WRITE,
        Scope::Import => text::SCOPE_IMPORT,
        Scope::Export => text::SCOPE_EXPORT,
        Scope::Stats => text::SCOPE_STATS,
        Scope::Tokens => text::SCOPE_TOKENS,
        Scope::Health => text::SCOPE_HEALTH,
    }
}
