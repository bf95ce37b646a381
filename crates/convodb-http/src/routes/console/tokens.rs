//! Token screens: the account's access tokens, for a token with the scope `tokens`.
//!
//! The engine decides what a token may do to others: one that it creates reaches no more than
//! itself, and one that is limited to an assistant sees and changes only those that are, too.

use std::time::Instant;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use convodb::{
    Name, Scopes, Timestamp, Token, TokenId, TokenNarrowing, TokenOptions, TokenSelector,
    Transaction,
};
use convodb_console::{
    CreatedTokenScreen, FieldMessage, NewTokenScreen, Screen, TokenForm, TokenRow, TokenScreen,
    TokensScreen,
};

use crate::body::RequestBody;
use crate::clock::now;
use crate::error::{ApiError, FieldError, Result};
use crate::extract::auth::{AuthWrite, Tokens};
use crate::extract::path::PathId;
use crate::extract::query_string::{PlusSign, QueryString};
use crate::extract::session::{SessionAuth, SessionRead, see_other};
use crate::response::html;
use crate::routes::console::visit::{Visit, choices, field_messages};
use crate::state::Service;

/// `GET /console/tokens`.
pub(super) async fn list(
    State(service): State<Service>,
    SessionRead(auth): SessionRead<Tokens>,
    headers: HeaderMap,
) -> Result<Response> {
    let visit = Visit::new(Screen::Tokens);
    let tokens = all(&service, &auth).await?;
    let rows = tokens.iter().map(|token| row(&auth, token)).collect::<Result<_>>()?;
    let read_at = Instant::now();
    let frame = visit.frame(&service, &headers, &auth, None)?;
    html::page(&TokensScreen { frame, tokens: rows }, visit.began, read_at)
}

/// `GET /console/tokens/new`: the form.
pub(super) async fn form(
    State(service): State<Service>,
    SessionRead(auth): SessionRead<Tokens>,
    headers: HeaderMap,
) -> Result<Response> {
    let visit = Visit::new(Screen::Tokens);
    let form = Entered::default().form(&auth, auth.authority.scopes(), Vec::new())?;
    let read_at = Instant::now();
    let frame = visit.frame(&service, &headers, &auth, None)?;
    html::page(&NewTokenScreen { frame, form }, visit.began, read_at)
}

/// `POST /console/tokens`: creates a token and shows it, this once.
pub(super) async fn create(
    State(service): State<Service>,
    SessionRead(auth): SessionRead<Tokens>,
    headers: HeaderMap,
    body: RequestBody,
) -> Result<Response> {
    let visit = Visit::new(Screen::Tokens);
    // Without its snapshot: a body may take long.
    let auth = AuthWrite::from(auth);
    let entered = Entered::of(&body.form().await?);
    let created = match entered.options() {
        Ok(options) => {
            let (creator, now) = (auth.authority().token(), now()?);
            let text = service.store()?.draw_token()?;
            auth.transact(move |transaction| {
                transaction.create_token_by(creator, text, now, options)
            })
            .await
        }
        Err(error) => Err(error),
    };
    let read = auth.read().await?.of_snapshot()?;
    match created {
        Ok(created) => {
            let frame = visit.frame(&service, &headers, &read, None)?;
            let screen = CreatedTokenScreen { frame, id: created.id, token: created.token };
            html::page(&screen, visit.began, Instant::now())
        }
        Err(error) => {
            let errors = field_messages(error)?;
            let form = entered.form(&read, read.authority.scopes(), errors)?;
            let frame = visit.frame(&service, &headers, &read, None)?;
            let page = html::page(&NewTokenScreen { frame, form }, visit.began, Instant::now())?;
            Ok(refused(page))
        }
    }
}

/// `GET /console/tokens/{id}`.
pub(super) async fn read(
    State(service): State<Service>,
    SessionRead(auth): SessionRead<Tokens>,
    path: PathId<TokenId>,
    headers: HeaderMap,
) -> Result<Response> {
    let visit = Visit::new(Screen::Tokens);
    show(&service, &visit, &headers, &auth, path.token()?, None).await
}

/// `POST /console/tokens/{id}/narrow`: takes scopes, assistants or time from a token.
pub(super) async fn narrow(
    State(service): State<Service>,
    SessionRead(auth): SessionRead<Tokens>,
    path: PathId<TokenId>,
    headers: HeaderMap,
    body: RequestBody,
) -> Result<Response> {
    let visit = Visit::new(Screen::Tokens);
    let auth = AuthWrite::from(auth);
    let id = path.token()?;
    let entered = Entered::of(&body.form().await?);
    let narrowed = match entered.narrowing() {
        Ok(narrowing) => {
            change(&auth, id, move |transaction| {
                transaction.narrow_token(id, narrowing).map(|_| ())
            })
            .await
        }
        Err(error) => Err(error),
    };
    match narrowed {
        Ok(()) => {
            let base = service.base_url().base_path();
            Ok(see_other(&format!("{base}/console/tokens/{id}")))
        }
        Err(error) => {
            let errors = field_messages(error)?;
            let read = auth.read().await?.of_snapshot()?;
            let page = show(&service, &visit, &headers, &read, id, Some((entered, errors))).await?;
            Ok(refused(page))
        }
    }
}

/// `POST /console/tokens/{id}/revoke`.
pub(super) async fn revoke(
    State(service): State<Service>,
    SessionRead(auth): SessionRead<Tokens>,
    path: PathId<TokenId>,
) -> Result<Response> {
    let auth = AuthWrite::from(auth);
    let id = path.token()?;
    change(&auth, id, move |transaction| {
        transaction.revoke_tokens(&TokenSelector::Id(id)).map(|_| ())
    })
    .await?;
    let base = service.base_url().base_path();
    Ok(see_other(&format!("{base}/console/tokens")))
}

/// Runs a write that changes a token.
///
/// # Errors
/// 404 if it is none of the account, or reaches beyond the assistant that the session is limited
/// to; or as [`AuthWrite::transact`].
async fn change(
    auth: &AuthWrite<Tokens>,
    id: TokenId,
    work: impl FnOnce(&mut Transaction<'_>) -> convodb::Result<()> + Send + 'static,
) -> Result<()> {
    let user = auth.user();
    let done = auth.transact(move |transaction| match transaction.token(user, id)? {
        Some(_) => work(transaction).map(Some),
        None => Ok(None),
    });
    done.await?.ok_or_else(|| ApiError::of(StatusCode::NOT_FOUND))
}

/// The page of a token. `refused` is what a form entered, with what is wrong about it.
async fn show(
    service: &Service,
    visit: &Visit,
    headers: &HeaderMap,
    auth: &SessionAuth<Tokens>,
    id: TokenId,
    refused: Option<(Entered, Vec<FieldMessage>)>,
) -> Result<Response> {
    let found = all(service, auth).await?.into_iter().find(|token| token.id == id);
    let token = found.ok_or_else(|| ApiError::of(StatusCode::NOT_FOUND))?;
    let unchanged = Entered { scopes: Some(token.scopes), ..Entered::default() };
    let (entered, errors) = refused.unwrap_or((unchanged, Vec::new()));
    let mut form = entered.form(auth, token.scopes, errors)?;
    if let Some(only) = token.assistant {
        form.assistants.retain(|assistant| assistant.id == only.to_string());
    }
    let (token, read_at) = (row(auth, &token)?, Instant::now());
    let frame = visit.frame(service, headers, auth, None)?;
    html::page(&TokenScreen { frame, token, form }, visit.began, read_at)
}

/// The same page with the status of an error.
fn refused(mut page: Response) -> Response {
    *page.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    page
}

/// The tokens of the account, read on a blocking thread: a step for each token of the server.
async fn all(service: &Service, auth: &SessionAuth<Tokens>) -> Result<Vec<Token>> {
    let permit = service.statistics_permit(auth.user)?;
    let (snapshot, user) = (auth.view.clone(), auth.user);
    let read = service.long_reads().run(move || {
        let _permit = permit;
        snapshot.tokens_of(user)
    });
    Ok(read.await?)
}

fn row(auth: &SessionAuth<Tokens>, token: &Token) -> Result<TokenRow> {
    let mut assistant = String::new();
    if let Some(id) = token.assistant
        && !auth.view.assistant_name(auth.user, id, &mut assistant)?
    {
        assistant = id.to_string();
    }
    Ok(TokenRow::new(token, assistant, now()?, auth.authority.token()))
}

/// The fields of a form, as entered.
#[derive(Clone, Debug, Default)]
struct Entered {
    name: String,
    /// `None` if none is chosen.
    scopes: Option<Scopes>,
    assistant: String,
    expires_at: String,
    /// What is wrong with a field before its meaning is looked at.
    malformed: Option<ApiError>,
}

impl Entered {
    fn of(form: &str) -> Self {
        let mut form = QueryString::new(form);
        let scopes = form.take_list("scopes", |text| {
            text.parse::<Scopes>().map_err(|_| FieldError::invalid_choice("scopes"))
        });
        let [name, assistant, expires_at] = ["name", "assistant", "expires_at"].map(|name| {
            let value = form.take(name, PlusSign::Space, |text| Ok(text.to_owned()));
            value.unwrap_or_default()
        });
        Self { name, scopes, assistant, expires_at, malformed: form.finish().err() }
    }

    /// The options of a new token.
    ///
    /// # Errors
    /// 422 with each invalid field.
    fn options(&self) -> Result<TokenOptions> {
        let mut errors = Vec::new();
        let name = match self.name.as_str() {
            "" => Ok(None),
            name => Name::new(name).map(Some),
        };
        let name = valid("name", name, &mut errors).flatten();
        let (scopes, limits) = self.limits(errors)?;
        let TokenNarrowing { assistant, expires_at, .. } = limits;
        Ok(TokenOptions { name, scopes, assistant, expires_at })
    }

    /// What narrows a token.
    ///
    /// # Errors
    /// 422 with each invalid field.
    fn narrowing(&self) -> Result<TokenNarrowing> {
        Ok(self.limits(Vec::new())?.1)
    }

    /// The scopes and the limits of a token. Fails if `errors` has any, or with more of them.
    fn limits(&self, mut errors: Vec<FieldError>) -> Result<(Scopes, TokenNarrowing)> {
        if let Some(malformed) = &self.malformed {
            return Err(malformed.clone());
        }
        let assistant = match self.assistant.as_str() {
            "" => Ok(None),
            id => id.parse().map(Some),
        };
        let assistant = valid("assistant", assistant, &mut errors).flatten();
        let expires_at = match self.expires_at.as_str() {
            "" => Ok(None),
            day => day.parse::<Timestamp>().map(Some),
        };
        let expires_at = valid("expires_at", expires_at, &mut errors).flatten();
        let Some(scopes) = self.scopes else {
            errors.insert(0, FieldError::breaks("scopes", "must have at least one"));
            return Err(ApiError::invalid(errors));
        };
        if !errors.is_empty() {
            return Err(ApiError::invalid(errors));
        }
        Ok((scopes, TokenNarrowing { scopes: Some(scopes), assistant, expires_at }))
    }

    /// The form with these values.
    fn form(
        self,
        auth: &SessionAuth<Tokens>,
        offered: Scopes,
        errors: Vec<FieldMessage>,
    ) -> Result<TokenForm> {
        Ok(TokenForm {
            offered,
            chosen: self.scopes,
            name: self.name,
            assistants: choices(auth)?,
            assistant: self.assistant,
            expires_at: self.expires_at,
            errors,
        })
    }
}

/// The value, or adds its error.
fn valid<T>(
    field: &'static str,
    value: convodb::Result<T>,
    errors: &mut Vec<FieldError>,
) -> Option<T> {
    let error = match value {
        Ok(value) => return Some(value),
        Err(convodb::Error::Invalid { reason, .. }) => FieldError::breaks(field, reason),
        Err(_) => FieldError::invalid_choice(field),
    };
    errors.push(error);
    None
}
