//! Account operations of an operator: users and access tokens.
//!
//! Each operation is a request of the admin API and its own implementation: a program that has the
//! store open runs it, and one that does not sends it to the server. So both do the same.

use convodb::{
    AssistantId, AssistantRef, Error, Name, NewToken, QuotaLimit, Scopes, Snapshot, StorageUsage,
    Store, Timestamp, Token, TokenId, TokenNarrowing, TokenOptions, TokenPrefix, TokenSelector,
    User, UserId, UserQuota,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// An operation on the accounts of a store, as an operator requests it.
pub trait AccountOperation: Serialize + DeserializeOwned + Send + 'static {
    /// The path of the request in the admin API; the method is POST.
    const PATH: &'static str;
    /// The result.
    type Response: Serialize + DeserializeOwned + Send + 'static;

    /// Runs the operation at the time `now`.
    ///
    /// # Errors
    /// [`Error::UserNotFound`], [`Error::AssistantNotFound`] or [`Error::TokenNotFound`];
    /// [`Error::DuplicateUser`]; [`Error::Invalid`]; or as [`Store::write`].
    fn run(self, store: &Store, now: Timestamp) -> convodb::Result<Self::Response>;
}

/// Creates a user.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateUser {
    /// The name, which no other user has.
    pub name: String,
}

/// Renames a user.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenameUser {
    /// The user's name or number; a name wins.
    pub user: String,
    /// The new name.
    pub name: String,
}

/// Sets the limits of a user, and returns the user.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetQuota {
    /// The user's name or number; a name wins.
    pub user: String,
    /// The most conversations: a number, `unlimited` or `default`; unchanged if absent.
    pub max_conversations: Option<String>,
    /// The most bytes: a number, `unlimited` or `default`; unchanged if absent.
    pub max_bytes: Option<String>,
}

/// Lists all users.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListUsers {}

/// Creates an access token.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// The user's name or number; a name wins.
    pub user: String,
    /// A name for people.
    pub name: Option<String>,
    /// The scopes, as in `read,stats`; [`Scopes::DATA`] if absent.
    pub scopes: Option<String>,
    /// The id or number of the only assistant that the token reaches.
    pub assistant: Option<String>,
    /// The time from which on the token is refused.
    pub expires_at: Option<String>,
}

/// Lists the access tokens of one user, or of all.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListTokens {
    /// The user's name or number; a name wins.
    pub user: Option<String>,
}

/// Narrows an access token, and returns it. At least one of the last three fields is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NarrowToken {
    /// The public id.
    pub id: String,
    /// The scopes that remain, as in `read,stats`.
    pub scopes: Option<String>,
    /// The id or number of the only assistant that the token still reaches.
    pub assistant: Option<String>,
    /// The time from which on the token is refused.
    pub expires_at: Option<String>,
}

/// Revokes access tokens. Exactly one field selects them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeTokens {
    /// The token itself.
    pub token: Option<String>,
    /// The public id of a token.
    pub id: Option<String>,
    /// The beginning of one or more tokens.
    pub prefix: Option<String>,
    /// All tokens of this user, by name or number; a name wins.
    pub user: Option<String>,
    /// All tokens of all users.
    #[serde(default)]
    pub all: bool,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserLine {
    /// The number.
    pub id: u32,
    /// The name.
    pub name: String,
    /// The time of creation, in UTC.
    pub created_at: String,
    /// Present, and true, if an erasure of the user has begun and is not complete.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub closed: bool,
    /// The number of conversations.
    pub conversations: u64,
    /// The bytes that the user's data takes.
    pub bytes: u64,
    /// The most conversations; null is no limit.
    pub max_conversations: Option<u64>,
    /// The most bytes; null is no limit.
    pub max_bytes: Option<u64>,
}

/// A new access token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewTokenLine {
    /// The public id.
    pub id: String,
    /// The token, which cannot be shown again.
    pub token: String,
}

/// An access token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenLine {
    /// The public id.
    pub id: String,
    /// The name for people.
    pub name: Option<String>,
    /// The first characters.
    pub prefix: Option<String>,
    /// The name of the user.
    pub user: String,
    /// The scopes, as in `read,stats`.
    pub scopes: String,
    /// The only assistant that the token reaches.
    pub assistant_id: Option<String>,
    /// The time of creation, in UTC.
    pub created_at: String,
    /// The time from which on the token is refused, in UTC.
    pub expires_at: Option<String>,
    /// The last use, in UTC and to the hour.
    pub last_used_at: Option<String>,
}

/// The number of revoked tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// At least 1, except for a user without tokens, and for all.
    pub tokens: u64,
}

impl AccountOperation for CreateUser {
    const PATH: &'static str = "/admin/users/create";
    type Response = UserLine;

    fn run(self, store: &Store, now: Timestamp) -> convodb::Result<UserLine> {
        let user = store.create_user(self.name, now)?;
        UserLine::new(store, &store.snapshot(), user)
    }
}

impl AccountOperation for RenameUser {
    const PATH: &'static str = "/admin/users/rename";
    type Response = UserLine;

    fn run(self, store: &Store, _: Timestamp) -> convodb::Result<UserLine> {
        let id = find_user(&store.snapshot(), &self.user)?;
        store.rename_user(id, self.name)?;
        UserLine::of(store, id)
    }
}

impl AccountOperation for ListUsers {
    const PATH: &'static str = "/admin/users/list";
    type Response = Vec<UserLine>;

    fn run(self, store: &Store, _: Timestamp) -> convodb::Result<Vec<UserLine>> {
        let snapshot = store.snapshot();
        let users = snapshot.users()?.into_iter();
        users.map(|user| UserLine::new(store, &snapshot, user)).collect()
    }
}

impl AccountOperation for SetQuota {
    const PATH: &'static str = "/admin/users/quota";
    type Response = UserLine;

    fn run(self, store: &Store, _: Timestamp) -> convodb::Result<UserLine> {
        let id = find_user(&store.snapshot(), &self.user)?;
        let limit = |field, text: Option<&str>| text.map(|text| parse_limit(field, text));
        let conversations = limit("max_conversations", self.max_conversations.as_deref());
        let bytes = limit("max_bytes", self.max_bytes.as_deref());
        let (conversations, bytes) = (conversations.transpose()?, bytes.transpose()?);
        if conversations.is_some() || bytes.is_some() {
            store.write(move |transaction| {
                let own = transaction.quota(id)?;
                let conversations = conversations.unwrap_or(own.conversations);
                let bytes = bytes.unwrap_or(own.bytes);
                transaction.set_quota(id, UserQuota { conversations, bytes })
            })?;
        }
        UserLine::of(store, id)
    }
}

/// Parses a limit of a quota.
///
/// # Errors
/// [`Error::Invalid`].
fn parse_limit(field: &'static str, text: &str) -> convodb::Result<QuotaLimit> {
    match text {
        "default" => Ok(QuotaLimit::Default),
        "unlimited" => Ok(QuotaLimit::Unlimited),
        number => number.parse().map(QuotaLimit::AtMost).map_err(|_| {
            let reason = "must be a whole number, unlimited or default";
            Error::Invalid { field, reason }
        }),
    }
}

impl AccountOperation for CreateToken {
    const PATH: &'static str = "/admin/tokens/create";
    type Response = NewTokenLine;

    fn run(self, store: &Store, now: Timestamp) -> convodb::Result<NewTokenLine> {
        let snapshot = store.snapshot();
        let user = find_user(&snapshot, &self.user)?;
        let scopes = self.scopes.as_deref().map(str::parse).transpose()?;
        let options = TokenOptions {
            name: self.name.map(Name::new).transpose()?,
            scopes: scopes.unwrap_or(Scopes::DATA),
            assistant: find_assistant(&snapshot, user, self.assistant.as_deref())?,
            expires_at: parse_expiry(self.expires_at.as_deref())?,
        };
        let NewToken { token, id } = store.create_token_with(user, now, options)?;
        Ok(NewTokenLine { id: id.to_string(), token })
    }
}

impl AccountOperation for ListTokens {
    const PATH: &'static str = "/admin/tokens/list";
    type Response = Vec<TokenLine>;

    fn run(self, store: &Store, _: Timestamp) -> convodb::Result<Vec<TokenLine>> {
        let snapshot = store.snapshot();
        let only = self.user.map(|user| find_user(&snapshot, &user)).transpose()?;
        let mut lines = Vec::new();
        for token in snapshot.tokens()? {
            if only.is_none_or(|only| only == token.user) {
                let user = snapshot.user(token.user)?.ok_or(Error::UserNotFound)?;
                lines.push(TokenLine::new(token, user));
            }
        }
        lines.sort_by(|a, b| (&a.user, &a.created_at, &a.id).cmp(&(&b.user, &b.created_at, &b.id)));
        Ok(lines)
    }
}

impl AccountOperation for NarrowToken {
    const PATH: &'static str = "/admin/tokens/narrow";
    type Response = TokenLine;

    fn run(self, store: &Store, _: Timestamp) -> convodb::Result<TokenLine> {
        let (id, snapshot) = (self.id.parse::<TokenId>()?, store.snapshot());
        let mut tokens = snapshot.tokens()?.into_iter();
        let user = tokens.find(|token| token.id == id).ok_or(Error::TokenNotFound)?.user;
        let narrowing = TokenNarrowing {
            scopes: self.scopes.as_deref().map(str::parse).transpose()?,
            assistant: find_assistant(&snapshot, user, self.assistant.as_deref())?,
            expires_at: parse_expiry(self.expires_at.as_deref())?,
        };
        if narrowing == TokenNarrowing::default() {
            let reason = "must be narrowed by at least one of scopes, assistant and expires_at";
            return Err(Error::Invalid { field: "token", reason });
        }
        let token = store.narrow_token(id, narrowing)?;
        let user = store.snapshot().user(user)?.ok_or(Error::UserNotFound)?;
        Ok(TokenLine::new(token, user))
    }
}

/// Returns the user's assistant that an operator named.
///
/// # Errors
/// [`Error::Invalid`], [`Error::AssistantNotFound`], or a fault of the store.
fn find_assistant(
    snapshot: &Snapshot,
    user: UserId,
    named: Option<&str>,
) -> convodb::Result<Option<AssistantId>> {
    let Some(named) = named else { return Ok(None) };
    let found = snapshot.resolve_assistant(user, named.parse::<AssistantRef>()?)?;
    found.map(|assistant| Some(assistant.id)).ok_or(Error::AssistantNotFound)
}

/// Parses the time of expiry.
///
/// # Errors
/// [`Error::Invalid`].
fn parse_expiry(text: Option<&str>) -> convodb::Result<Option<Timestamp>> {
    text.map(str::parse::<Timestamp>).transpose().map_err(|error| match error {
        Error::Invalid { reason, .. } => Error::Invalid { field: "expires_at", reason },
        error => error,
    })
}

impl AccountOperation for RevokeTokens {
    const PATH: &'static str = "/admin/tokens/revoke";
    type Response = Revoked;

    fn run(self, store: &Store, _: Timestamp) -> convodb::Result<Revoked> {
        let selector = match self {
            Self { token: Some(token), id: None, prefix: None, user: None, all: false } => {
                store.revoke_token(token)?;
                return Ok(Revoked { tokens: 1 });
            }
            Self { token: None, id: Some(id), prefix: None, user: None, all: false } => {
                TokenSelector::Id(id.parse::<TokenId>()?)
            }
            Self { token: None, id: None, prefix: Some(prefix), user: None, all: false } => {
                TokenSelector::Prefix(prefix.parse::<TokenPrefix>()?)
            }
            Self { token: None, id: None, prefix: None, user: Some(user), all: false } => {
                TokenSelector::User(find_user(&store.snapshot(), &user)?)
            }
            Self { token: None, id: None, prefix: None, user: None, all: true } => {
                TokenSelector::All
            }
            _ => {
                let reason = "must be selected by exactly one of token, id, prefix, user and all";
                return Err(Error::Invalid { field: "tokens", reason });
            }
        };
        let must_exist = matches!(selector, TokenSelector::Id(_) | TokenSelector::Prefix(_));
        match store.revoke_tokens(selector)? {
            0 if must_exist => Err(Error::TokenNotFound),
            tokens => Ok(Revoked { tokens }),
        }
    }
}

/// Returns the user with this name, or else with this number.
///
/// # Errors
/// [`Error::UserNotFound`], or a fault of the store.
pub fn find_user(snapshot: &Snapshot, user: &str) -> convodb::Result<UserId> {
    if let Ok(name) = user.parse::<Name>()
        && let Some(id) = snapshot.user_by_name(&name)?
    {
        return Ok(id);
    }
    let numbered = user.parse::<UserId>().ok().map(|id| snapshot.user(id)).transpose()?;
    numbered.flatten().map(|user| user.id).ok_or(Error::UserNotFound)
}

impl UserLine {
    fn of(store: &Store, id: UserId) -> convodb::Result<Self> {
        let snapshot = store.snapshot();
        let user = snapshot.user(id)?.ok_or(Error::UserNotFound)?;
        Self::new(store, &snapshot, user)
    }

    fn new(store: &Store, snapshot: &Snapshot, user: User) -> convodb::Result<Self> {
        let User { id, name, created_at, closed } = user;
        let StorageUsage { conversations, bytes } = snapshot.storage_usage(id)?;
        let quota = snapshot.quota(id)?.over(store.default_quota());
        Ok(Self {
            id: id.get(),
            name: name.into_string(),
            created_at: created_at.to_string(),
            closed,
            conversations,
            bytes,
            max_conversations: quota.conversations,
            max_bytes: quota.bytes,
        })
    }
}

impl TokenLine {
    /// The token of this user.
    #[must_use]
    pub fn new(token: Token, user: User) -> Self {
        let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
        Self {
            id: token.id.to_string(),
            name: token.name.map(Name::into_string),
            prefix: token.prefix,
            user: user.name.into_string(),
            scopes: token.scopes.to_string(),
            assistant_id: token.assistant.map(|id| id.to_string()),
            created_at: token.created_at.to_string(),
            expires_at: time(token.expires_at),
            last_used_at: time(token.last_used_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_field_selects_the_tokens_to_revoke() {
        let store = Store::in_memory().unwrap();
        let user = store.create_user("acme", Timestamp::MIN).unwrap().id;
        store.create_token(user, Timestamp::MIN).unwrap();
        let revoke = |json: &str| {
            serde_json::from_str::<RevokeTokens>(json).unwrap().run(&store, Timestamp::MIN)
        };
        for wrong in ["{}", r#"{"all":false}"#, r#"{"user":"acme","all":true}"#] {
            let refused = revoke(wrong);
            assert!(matches!(refused, Err(Error::Invalid { field: "tokens", .. })), "{wrong}");
        }
        for missing in [
            r#"{"id":"0123456789abcdef"}"#,
            r#"{"prefix":"cvdb_none"}"#,
            r#"{"token":"cvdb_none"}"#,
        ] {
            assert!(matches!(revoke(missing), Err(Error::TokenNotFound)), "{missing}");
        }
        assert!(matches!(revoke(r#"{"user":"bob"}"#), Err(Error::UserNotFound)));
        assert_eq!(revoke(r#"{"user":"1"}"#).unwrap(), Revoked { tokens: 1 });
        assert_eq!(revoke(r#"{"all":true}"#).unwrap(), Revoked { tokens: 0 });
    }
}
