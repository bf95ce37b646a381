//! Assistants of a user: list by page number or as a whole, create, rename.

use axum::extract::{Request, State};
use axum::response::Response;
use convodb::{Assistant, AssistantId, UserId};
use convodb_service::{View, Write as StoreWrite, Written};

use crate::body::{NewAssistant, RequestBody};
use crate::clock::now;
use crate::error::{ApiError, FieldError, Result};
use crate::extract::auth::{AuthRead, AuthWrite, Read, Write};
use crate::extract::cached_get::respond;
use crate::extract::params;
use crate::extract::path::PathId;
use crate::response::json_body;
use crate::response::numbered_page::{self, NumberedPage, PageParams};
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
        let AuthRead { user, view, .. } = auth;
        let params = params::numbered_page(request.uri().query().unwrap_or_default())?;
        let (total, assistants) = read(&view, user, params).await?;
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
        let AuthRead { user, view, .. } = auth;
        let snapshot = match view {
            View::Embedded(snapshot) => snapshot,
            View::Remote(view) => {
                let page = view.assistants(user, 0, MAX_UNPAGED as usize).await?;
                return if page.total > MAX_UNPAGED {
                    Err(too_many())
                } else {
                    Ok(unpaged(&page.assistants))
                };
            }
        };
        run_blocking(move || match snapshot.assistant_count(user)? {
            0..=MAX_UNPAGED => Ok(unpaged(&snapshot.assistants(user, 0, MAX_UNPAGED as usize)?)),
            _ => Err(too_many()),
        })
        .await
    })
    .await
}

/// Returns the number of assistants, and those of a page.
async fn read(view: &View, user: UserId, params: PageParams) -> Result<(u32, Vec<Assistant>)> {
    let per_page = params.per_page.get();
    match view {
        View::Embedded(snapshot) => {
            let total = snapshot.assistant_count(user)?;
            let page = params.offset().map(|offset| snapshot.assistants(user, offset, per_page));
            Ok((total, page.transpose()?.unwrap_or_default()))
        }
        View::Remote(view) => {
            // Beyond the last number there is no page, but still a total.
            let (offset, limit) = params.offset().map_or((0, 0), |offset| (offset, per_page));
            let page = view.assistants(user, offset, limit).await?;
            Ok((page.total, page.assistants))
        }
    }
}

/// Returns all assistants.
fn unpaged(assistants: &[Assistant]) -> Response {
    let mut out = b"[".to_vec();
    json_body::write_assistants(&mut out, assistants);
    out.push(b']');
    json_body::ok(out)
}

fn too_many() -> ApiError {
    let rule = format!("must be read by pages from {LIST}: there are more than 10,000");
    ApiError::invalid(vec![FieldError::breaks("assistants", &rule)])
}

/// `POST /api/user/assistants`.
pub(crate) async fn create(auth: AuthWrite<Write>, body: RequestBody) -> Result<Response> {
    if auth.restriction().is_some() {
        return Err(ApiError::restricted());
    }
    let NewAssistant { id, name } = NewAssistant::parse(&body.json().await?)?;
    let id = id.unwrap_or(AssistantId::generate(now()?));
    assistant(&auth.write(StoreWrite::CreateAssistant { id, name }).await?)
}

/// `PATCH /api/user/assistants/{uuid}`: rename. Every list shows the new name at once.
pub(crate) async fn rename(
    auth: AuthWrite<Write>,
    path: PathId<AssistantId>,
    body: RequestBody,
) -> Result<Response> {
    let id = path.assistant()?;
    let name = NewAssistant::parse(&body.json().await?)?.name;
    assistant(&auth.write(StoreWrite::RenameAssistant { id, name }).await?)
}

/// Returns the assistant that was created or renamed.
fn assistant(written: &Written) -> Result<Response> {
    match written {
        Written::AssistantCreated(assistant) | Written::AssistantRenamed(assistant) => {
            Ok(json_body::assistant(assistant))
        }
        _ => Err(ApiError::fault("a write of an assistant has another result")),
    }
}
