//! The assistants of a user: listed by page number, created, renamed.

use axum::extract::{Request, State};
use axum::response::Response;
use convodb::{Assistant, AssistantId, Store};

use crate::auth::{Account, Caller};
use crate::body::{NewAssistant, Unread};
use crate::clock::now;
use crate::error::Result;
use crate::numbered::{self, NumberedPage};
use crate::params;
use crate::response;
use crate::routes::path::PathId;
use crate::state::Service;

/// The path of the list.
pub(crate) const LIST: &str = "/api/user/assistants/get";

/// `GET /api/user/assistants/get`.
pub(crate) async fn list(
    State(service): State<Service>,
    Caller { user, snapshot }: Caller,
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
    Ok(numbered::answer(&url, page, |out| {
        for (at, assistant) in assistants.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            response::write_assistant(out, assistant);
        }
    }))
}

/// `POST /api/user/assistants`.
pub(crate) async fn create(account: Account, body: Unread) -> Result<Response> {
    let NewAssistant { id, name } = NewAssistant::read(&body.json().await?)?;
    let id = id.unwrap_or(AssistantId::generate(now()?));
    let write = move |user, store: &Store| Ok(store.create_assistant(user, id, name)?);
    Ok(response::assistant(&account.write(write).await?))
}

/// `PATCH /api/user/assistants/{uuid}`: another name, which every list shows at once.
pub(crate) async fn rename(
    account: Account,
    path: PathId<AssistantId>,
    body: Unread,
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
    Ok(response::assistant(&account.write(write).await?))
}
