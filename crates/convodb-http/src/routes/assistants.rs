//! The assistants of a user: listed by page number, created, renamed.

use axum::extract::{Request, State};
use axum::response::Response;
use convodb::{Assistant, AssistantId, AssistantKind, Store};

use crate::body::{NewAssistant, RequestBody};
use crate::clock::now;
use crate::error::Result;
use crate::extract::auth::{AuthRead, AuthWrite};
use crate::extract::params;
use crate::extract::path::PathId;
use crate::response::json_body;
use crate::response::numbered_page::{self, NumberedPage};
use crate::state::Service;

/// The path of the list.
pub(crate) const LIST: &str = "/api/user/assistants/get";

/// `GET /api/user/assistants/get`.
pub(crate) async fn list(
    State(service): State<Service>,
    AuthRead { user, snapshot }: AuthRead,
    request: Request,
) -> Result<Response> {
    let asked = params::numbered_page(request.uri().query().unwrap_or_default())?;
    let total = snapshot.assistant_count(user)?;
    // Their numbers have no gap, so a page begins after as many as stand before it.
    let assistants = match asked.before() {
        Some(before) => snapshot.assistants(user, before, asked.per_page.get())?,
        None => Vec::new(),
    };
    let page = NumberedPage { asked, total, len: assistants.len() };
    let url = service.base_url().of(request.headers(), LIST);
    Ok(numbered_page::response(&url, page, |out| {
        for (at, assistant) in assistants.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            json_body::write_assistant(out, assistant);
        }
    }))
}

/// `POST /api/user/assistants`.
pub(crate) async fn create(account: AuthWrite, body: RequestBody) -> Result<Response> {
    let NewAssistant { id, name } = NewAssistant::read(&body.json().await?)?;
    let id = id.unwrap_or(AssistantId::generate(now()?));
    let write = move |user, store: &Store| Ok(store.create_assistant(user, id, name)?);
    Ok(json_body::assistant(&account.write(write).await?))
}

/// `PATCH /api/user/assistants/{uuid}`: another name, which every list shows at once.
pub(crate) async fn rename(
    account: AuthWrite,
    path: PathId<AssistantKind>,
    body: RequestBody,
) -> Result<Response> {
    let id = path.assistant()?;
    let name = NewAssistant::read(&body.json().await?)?.name;
    let write = move |user, store: &Store| {
        let renamed = store.write(move |transaction| {
            transaction.rename_assistant(user, id, name)?;
            transaction.assistant(user, id)?.ok_or(convodb::Error::AssistantNotFound)
        })?;
        Ok::<Assistant, _>(renamed)
    };
    Ok(json_body::assistant(&account.write(write).await?))
}
