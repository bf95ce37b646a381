//! The user of the request's token: `GET /api/user/me`.

use axum::response::Response;
use convodb::{Error, User};
use convodb_json::json;

use crate::error::Result;
use crate::extract::auth::{AuthRead, Read};
use crate::response::json_body;

/// `GET /api/user/me`.
pub(crate) async fn me(AuthRead { user, snapshot, .. }: AuthRead<Read>) -> Result<Response> {
    let User { id, name, created_at, .. } = snapshot.user(user)?.ok_or(Error::UserNotFound)?;
    let mut out = Vec::with_capacity(128);
    json::raw(&mut out, "{\"id\":");
    json::integer(&mut out, id.get().into());
    json::raw(&mut out, ",\"name\":");
    json::string(&mut out, name.as_str());
    json::raw(&mut out, ",\"created_at\":");
    json::time(&mut out, created_at);
    out.push(b'}');
    Ok(json_body::ok(out))
}
