//! The user of the request's token: `GET /api/user/me`.

use axum::extract::State;
use axum::response::Response;
use convodb::{Error, StorageUsage, User, UserId};
use convodb_json::json;
use convodb_service::{Account, View};

use crate::error::Result;
use crate::extract::auth::{AuthRead, Read};
use crate::response::json_body;
use crate::state::Service;

/// `GET /api/user/me`.
///
/// A token that is limited to one assistant learns nothing of the others, and so not what the user's
/// data takes.
pub(crate) async fn me(
    State(service): State<Service>,
    AuthRead { user, view, authority, .. }: AuthRead<Read>,
) -> Result<Response> {
    let Account { user, usage, quota } = read(&service, &view, user).await?;
    let User { id, name, created_at, .. } = user;
    let mut out = Vec::with_capacity(128);
    json::raw(&mut out, "{\"id\":");
    json::integer(&mut out, id.get().into());
    json::raw(&mut out, ",\"name\":");
    json::string(&mut out, name.as_str());
    json::raw(&mut out, ",\"created_at\":");
    json::time(&mut out, created_at);
    if authority.restriction().is_none() {
        let StorageUsage { conversations, bytes } = usage;
        for (key, value) in [
            (",\"conversations\":", Some(conversations)),
            (",\"bytes\":", Some(bytes)),
            (",\"max_conversations\":", quota.conversations),
            (",\"max_bytes\":", quota.bytes),
        ] {
            json::raw(&mut out, key);
            match value {
                Some(value) => json::integer(&mut out, value),
                None => json::raw(&mut out, "null"),
            }
        }
    }
    out.push(b'}');
    Ok(json_body::ok(out))
}

/// Reads the user with what the data takes and may take.
async fn read(service: &Service, view: &View, user: UserId) -> Result<Account> {
    let account = match view {
        View::Embedded(snapshot) => {
            let (usage, quota) = (snapshot.storage_usage(user)?, snapshot.quota(user)?);
            let quota = quota.over(service.store()?.default_quota());
            snapshot.user(user)?.map(|user| Account { user, usage, quota })
        }
        View::Remote(view) => view.account(user).await?,
    };
    Ok(account.ok_or(Error::UserNotFound)?)
}
