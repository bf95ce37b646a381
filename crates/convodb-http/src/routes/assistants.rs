//! Assistants of a user: list by page number or as a whole, create, rename.

use axum::extract::{Request, State};
use axum::response::Response;
use convodb::{AssistantId, Error};

use crate::body::{NewAssistant, RequestBody};
use crate::clock::now;
use crate::error::{ApiError, FieldError, Result};
use crate::extract::auth::{AuthRead, AuthWrite, Read, Write};
use crate::extract::cached_get::respond;
use crate::extract::params;
use crate::extract::path::PathId;
use crate::response::json_body;
use crate::response::numbered_page::{self, NumberedPage};
use crate::run_blocking::run_blocking;
use crate::state::Service;

/// The path of the list.
pub(crate) const LIST: &str = "/api/user/assistants/get";
/// The most assistants of a response without pages.
const MAX_UNPAGED: u32 = 10_000;

/// `GET /api/user/assistants/get`.
pub(crate) async fn list(
    State(service): State<Service>,
    auth: AuthRead<Read>,
    request: Request,
) -> Result<Response> {
    let url = service.base_url().of(request.headers(), LIST);
    let url = &url;
    respond(&service, auth, request, |auth, request| async move {
        let AuthRead { user, snapshot, .. } = auth;
        let params = params::numbered_page(request.uri().query().unwrap_or_default())?;
        let total = snapshot.assistant_count(user)?;
        let assistants = match params.offset() {
            Some(offset) => snapshot.assistants(user, offset, params.per_page.get())?,
            None => Vec::new(),
        };
        let page = NumberedPage { params, total, len: assistants.len() };
        Ok(numbered_page::response(url, page, |out| {
            json_body::write_assistants(out, &assistants);
        }))
    })
    .await
}

/// `GET /api/user/assistants`: all of them as an array, which clients without pages ask for.
pub(crate) async fn list_all(
    State(service): State<Service>,
    auth: AuthRead<Read>,
    request: Request,
) -> Result<Response> {
    respond(&service, auth, request, |auth, _| async move {
        let AuthRead { user, snapshot, .. } = auth;
        run_blocking(move || {
            if snapshot.assistant_count(user)? > MAX_UNPAGED {
                let rule = format!("must be read by pages from {LIST}: there are more than 10,000");
                return Err(ApiError::invalid(vec![FieldError::breaks("assistants", &rule)]));
            }
            let assistants = snapshot.assistants(user, 0, MAX_UNPAGED as usize)?;
            let mut out = b"[".to_vec();
            json_body::write_assistants(&mut out, &assistants);
            out.push(b']');
            Ok::<_, ApiError>(json_body::ok(out))
        })
        .await
    })
    .await
}

/// `POST /api/user/assistants`.
pub(crate) async fn create(auth: AuthWrite<Write>, body: RequestBody) -> Result<Response> {
    if auth.restriction().is_some() {
        return Err(ApiError::restricted());
    }
    let NewAssistant { id, name } = NewAssistant::parse(&body.json().await?)?;
    let id = id.unwrap_or(AssistantId::generate(now()?));
    let user = auth.user();
    let created = auth.write(move |transaction| transaction.create_assistant(user, id, name));
    Ok(json_body::assistant(&created.await?))
}

/// `PATCH /api/user/assistants/{uuid}`: rename. Every list shows the new name at once.
pub(crate) async fn rename(
    auth: AuthWrite<Write>,
    path: PathId<AssistantId>,
    body: RequestBody,
) -> Result<Response> {
    let (user, id) = (auth.user(), path.assistant()?);
    let name = NewAssistant::parse(&body.json().await?)?.name;
    let renamed = auth.write(move |transaction| {
        transaction.rename_assistant(user, id, name)?;
        transaction.assistant(user, id)?.ok_or(Error::AssistantNotFound)
    });
    Ok(json_body::assistant(&renamed.await?))
}
