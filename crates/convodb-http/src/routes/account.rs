//! Who one is.

use axum::response::Response;
use convodb::{Error, User};

use crate::auth::Caller;
use crate::error::Result;
use crate::json;
use crate::response;

/// `GET /api/user/me`.
pub(crate) async fn me(Caller { user, snapshot }: Caller) -> Result<Response> {
    let User { id, name, created_at } = snapshot.user(user)?.ok_or(Error::UserNotFound)?;
    let mut out = Vec::with_capacity(128);
    json::raw(&mut out, "{\"id\":");
    json::integer(&mut out, id.get().into());
    json::raw(&mut out, ",\"name\":");
    json::string(&mut out, name.as_str());
    json::raw(&mut out, ",\"created_at\":");
    json::time(&mut out, created_at);
    out.push(b'}');
    Ok(response::ok(out))
}
