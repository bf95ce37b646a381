//! Admin API: backup, erasure, usage and accounts of the store that is being served.
//!
//! It has no tokens: it is served apart from the public API, on a Unix socket that only its owner
//! may open and that the network cannot reach. One backup or erasure runs at a time. Backups are
//! written to one directory, under plain file names.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use convodb::{BackupReport, EraseReport, ErasureScope, Error, Filter, Store, UnfinishedErasure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::clock;
use crate::run_blocking::run_blocking;
use crate::server::accounts::{
    AccountOperation, CreateToken, CreateUser, ListTokens, ListUsers, NarrowToken, RenameUser,
    RevokeTokens, SetQuota,
};

/// The most bytes of a body, which contains at most a name and a filter.
const MAX_BODY_BYTES: usize = 4096;
/// The time for a body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_NAME_BYTES: usize = 128;
/// The error if the system's clock has no valid time.
const WRONG_CLOCK: &str = "the server's clock is outside 1970 to 2109";
/// The error while another backup or erasure holds the permit.
const BUSY: &str = "another backup or erasure is in progress";

/// The state of the handlers.
#[derive(Clone)]
struct Admin {
    store: Store,
    /// The directory of backups. Without it, backups are rejected.
    directory: Option<Arc<Path>>,
    /// One permit, for a backup or an erasure.
    exclusive: Arc<Semaphore>,
}

/// Returns the routes of the admin API: `POST /admin/backup`, `POST /admin/erase`,
/// `GET /admin/stats`, and each [`AccountOperation`].
///
/// They require no token, so serve them only where no stranger can connect: see [`serve_admin`].
/// Without `backup_directory`, backups are answered with 409.
pub fn admin_routes(store: Store, backup_directory: Option<PathBuf>) -> Router {
    let directory = backup_directory.map(Arc::from);
    let admin = Admin { store, directory, exclusive: Arc::new(Semaphore::new(1)) };
    Router::new()
        .route("/admin/backup", post(backup))
        .route("/admin/erase", post(erase))
        .route("/admin/stats", get(stats))
        .route(CreateUser::PATH, post(account::<CreateUser>))
        .route(RenameUser::PATH, post(account::<RenameUser>))
        .route(ListUsers::PATH, post(account::<ListUsers>))
        .route(SetQuota::PATH, post(account::<SetQuota>))
        .route(CreateToken::PATH, post(account::<CreateToken>))
        .route(ListTokens::PATH, post(account::<ListTokens>))
        .route(NarrowToken::PATH, post(account::<NarrowToken>))
        .route(RevokeTokens::PATH, post(account::<RevokeTokens>))
        .fallback(async || error_response(StatusCode::NOT_FOUND, "there is no such request"))
        .with_state(admin)
}

fn error_response(status: StatusCode, message: impl Into<String>) -> Response {
    (status, Json(json!({ "message": message.into() }))).into_response()
}

/// Logs an error of the store and returns it as a 500.
fn failed(error: &Error) -> Response {
    tracing::error!(cause = %error, "admin request failed");
    error_response(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

/// Parses a JSON body. An empty body is an empty object.
///
/// # Errors
/// The response to a body that is not complete in time, or not as it should be.
async fn parse_body<T: DeserializeOwned>(request: Request) -> Result<T, Response> {
    let body = to_bytes(request.into_body(), MAX_BODY_BYTES);
    let Ok(body) = tokio::time::timeout(BODY_TIMEOUT, body).await else {
        let message =
            format!("the body must be complete within {} seconds", BODY_TIMEOUT.as_secs());
        return Err(error_response(StatusCode::REQUEST_TIMEOUT, message));
    };
    let body = body.map_err(|error| invalid(error.to_string()))?;
    let json = if body.is_empty() { b"{}" } else { body.as_ref() };
    // The error contains the position but not the text there, which may be personal data.
    serde_json::from_slice(json).map_err(|error| {
        let at = error.column();
        invalid(format!("the body is not as it should be, at its character {at}"))
    })
}

fn invalid(message: String) -> Response {
    error_response(StatusCode::UNPROCESSABLE_ENTITY, message)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BackupParams {
    name: Option<String>,
}

/// `POST /admin/backup`. Answers when the backup is complete.
async fn backup(State(admin): State<Admin>, request: Request) -> Response {
    let Some(directory) = admin.directory else {
        let message = "the server was started without --backup-dir";
        return error_response(StatusCode::CONFLICT, message);
    };
    let params = match parse_body::<BackupParams>(request).await {
        Ok(params) => params,
        Err(response) => return response,
    };
    let name = match file_name(params.name) {
        Ok(name) => name,
        Err(message) => return invalid(message),
    };
    let Ok(permit) = admin.exclusive.try_acquire_owned() else {
        return error_response(StatusCode::SERVICE_UNAVAILABLE, BUSY);
    };
    let (file, snapshot, started) = (directory.join(&name), admin.store.snapshot(), Instant::now());
    let path = file.clone();
    let report = run_blocking(move || {
        // If the client disconnects, the backup still completes and holds its permit until then.
        let _permit = permit;
        snapshot.backup(path)
    });
    match report.await {
        Ok(BackupReport { entries, bytes, checksum }) => {
            let seconds = started.elapsed().as_secs_f64();
            tracing::info!(file = %file.display(), entries, bytes, seconds, "backup written");
            let file = file.display().to_string();
            let body = json!({
                "file": file, "entries": entries, "bytes": bytes, "checksum": checksum,
                "seconds": seconds,
            });
            Json(body).into_response()
        }
        Err(Error::FileExists(path)) => {
            let message = format!("{} is there already; name another", path.display());
            error_response(StatusCode::CONFLICT, message)
        }
        Err(error @ Error::Invalid { .. }) => invalid(error.to_string()),
        Err(error) => failed(&error),
    }
}

/// Returns the requested file name, or one with the current time.
///
/// # Errors
/// Fails if the name is not a plain, visible file name.
fn file_name(requested: Option<String>) -> Result<String, String> {
    let Some(name) = requested else {
        let now = clock::now().map_err(|_| WRONG_CLOCK.to_owned())?.to_rfc3339();
        let digits: String = now.chars().filter(|c| !"-:.".contains(*c)).collect();
        return Ok(format!("convodb-{digits}.backup"));
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let short = (1..=MAX_NAME_BYTES).contains(&name.len());
    if short && name.bytes().all(plain) && !name.starts_with('.') {
        return Ok(name);
    }
    Err("name must be 1 to 128 letters, digits, dots, dashes and underscores, a dot not first"
        .to_owned())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EraseParams {
    user: String,
    customer_phone: Option<String>,
    external_identifier: Option<String>,
    #[serde(default)]
    everything: bool,
}

/// What an erasure removes.
enum EraseScope {
    /// The user with all data.
    User,
    /// The conversations that match a filter.
    Conversations(Box<Filter>),
}

impl EraseParams {
    /// Returns the scope, or `None` unless exactly one is given.
    fn scope(&self) -> convodb::Result<Option<EraseScope>> {
        let filter = match (&self.customer_phone, &self.external_identifier, self.everything) {
            (Some(phone), None, false) => {
                Filter { customer_phone: Some(phone.parse()?), ..Filter::default() }
            }
            (None, Some(identifier), false) => {
                Filter { external_identifier: Some(identifier.parse()?), ..Filter::default() }
            }
            (None, None, true) => return Ok(Some(EraseScope::User)),
            _ => return Ok(None),
        };
        Ok(Some(EraseScope::Conversations(Box::new(filter))))
    }
}

/// `POST /admin/erase`. Answers when the erasure is durable.
///
/// The erased bytes stay in the file until it is compacted; until then, `GET /admin/stats` lists the
/// erasure as unfinished.
async fn erase(State(admin): State<Admin>, request: Request) -> Response {
    let params = match parse_body::<EraseParams>(request).await {
        Ok(params) => params,
        Err(response) => return response,
    };
    let scope = match params.scope() {
        Ok(Some(scope)) => scope,
        Ok(None) => {
            let one = "one of customer_phone, external_identifier and everything must be given";
            return invalid(one.to_owned());
        }
        Err(error) => return invalid(error.to_string()),
    };
    let Ok(now) = clock::now() else { return invalid(WRONG_CLOCK.to_owned()) };
    let Ok(permit) = admin.exclusive.try_acquire_owned() else {
        return error_response(StatusCode::SERVICE_UNAVAILABLE, BUSY);
    };
    let store = admin.store;
    let report = run_blocking(move || {
        let _permit = permit;
        let user = store.snapshot().user_by_name(&params.user.parse()?)?;
        let user = user.ok_or(Error::UserNotFound)?;
        match scope {
            EraseScope::User => store.erase_user(user, now),
            EraseScope::Conversations(filter) => {
                let conversations = store.erase_conversations(user, &filter, now)?;
                Ok(EraseReport { conversations, ..EraseReport::default() })
            }
        }
    });
    match report.await {
        Ok(EraseReport { conversations, assistants, tokens }) => {
            tracing::info!(conversations, assistants, tokens, "data erased");
            let body = json!({
                "conversations": conversations, "assistants": assistants, "tokens": tokens,
            });
            Json(body).into_response()
        }
        Err(error @ Error::UserNotFound) => {
            error_response(StatusCode::NOT_FOUND, error.to_string())
        }
        Err(error @ Error::Invalid { .. }) => invalid(error.to_string()),
        Err(error) => failed(&error),
    }
}

fn unfinished(erasure: &UnfinishedErasure) -> serde_json::Value {
    let scope = match erasure.scope {
        ErasureScope::User => "user",
        _ => "conversations",
    };
    json!({
        "user": erasure.user.get(), "scope": scope, "since": erasure.since.to_rfc3339(),
        "deleted": erasure.deleted,
    })
}

/// An account operation. Answers when it is durable.
async fn account<O: AccountOperation>(State(admin): State<Admin>, request: Request) -> Response {
    let invalid = |message: String| error_response(StatusCode::UNPROCESSABLE_ENTITY, message);
    let operation = match parse_body::<O>(request).await {
        Ok(operation) => operation,
        Err(response) => return response,
    };
    let Ok(now) = clock::now() else {
        let message = "the clock is wrong";
        return error_response(StatusCode::INTERNAL_SERVER_ERROR, message);
    };
    let store = admin.store;
    match run_blocking(move || operation.run(&store, now)).await {
        Ok(done) => {
            tracing::info!(operation = O::PATH, "account operation done");
            Json(done).into_response()
        }
        Err(error @ (Error::UserNotFound | Error::AssistantNotFound | Error::TokenNotFound)) => {
            error_response(StatusCode::NOT_FOUND, error.to_string())
        }
        Err(error @ (Error::DuplicateUser | Error::UserClosed)) => {
            error_response(StatusCode::CONFLICT, error.to_string())
        }
        Err(error @ Error::Invalid { .. }) => invalid(error.to_string()),
        Err(error) => failed(&error),
    }
}

/// `GET /admin/stats`: the sizes of the store, from counters that are cheap to read.
async fn stats(State(admin): State<Admin>) -> Response {
    let counters = admin.store.metrics();
    match run_blocking(move || admin.store.usage()).await {
        Ok(usage) => {
            let table =
                |(table, entries): &(&str, u64)| json!({ "table": table, "entries": entries });
            let tables: Vec<_> = usage.tables.iter().map(table).collect();
            Json(json!({
                "file_bytes": usage.file_bytes,
                "log_bytes": usage.wal_bytes,
                "views": counters.live_snapshots,
                "oldest_view_seconds": counters.oldest_snapshot.as_secs_f64(),
                "tables": tables,
                "unfinished_erasures": usage.unfinished_erasures.iter().map(unfinished).collect::<Vec<_>>(),
            }))
            .into_response()
        }
        Err(error) => failed(&error),
    }
}

/// Serves the admin API on a Unix socket until `shutdown` resolves.
///
/// The permissions of the socket are the caller's responsibility. At most 64 connections are open
/// at a time. A connection that is idle for 10 seconds is closed; so is one whose request is not
/// complete 10 seconds after its headers.
#[cfg(unix)]
pub async fn serve_admin(
    listener: tokio::net::UnixListener,
    routes: Router,
    shutdown: impl Future<Output = ()>,
) {
    use std::pin::pin;

    use hyper::server::conn::http1;
    use hyper_util::rt::{TokioIo, TokioTimer};
    use hyper_util::service::TowerToHyperService;

    use crate::server::accept::ACCEPT_RETRY_DELAY;

    const MAX_CONNECTIONS: usize = 64;
    const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut shutdown = pin!(shutdown);
    loop {
        let connection = async {
            let permit = permits.clone().acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            biased;
            () = &mut shutdown => return,
            connection = connection => connection,
        };
        let Ok((stream, _)) = accepted else {
            // A temporary lack of sockets.
            tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            continue;
        };
        let routes = routes.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(IDLE_TIMEOUT)
                .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
            if let Err(error) = connection.await {
                tracing::debug!(%error, "admin connection ended early");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_name_cannot_leave_its_directory() {
        for wrong in ["", ".hidden", "../x", "a/b", "a b", "a\\b", &"a".repeat(129)] {
            assert!(file_name(Some(wrong.to_owned())).is_err(), "{wrong}");
        }
        assert_eq!(file_name(Some("a-1.backup".to_owned())).unwrap(), "a-1.backup");
        let generated = file_name(None).unwrap();
        assert!(
            generated.starts_with("convodb-20") && generated.ends_with("Z.backup"),
            "{generated}"
        );
        assert!(file_name(Some(generated)).is_ok());
    }

    /// Time is paused, and advances to the next timeout once every task waits.
    #[cfg(unix)]
    #[tokio::test(start_paused = true)]
    async fn half_sent_requests_do_not_block_the_socket() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        use tokio::net::{UnixListener, UnixStream};

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin");
        let listener = UnixListener::bind(&path).unwrap();
        let store = Store::in_memory().unwrap();
        tokio::spawn(serve_admin(listener, admin_routes(store, None), std::future::pending()));
        let send = async |request: &str| {
            let mut stream = UnixStream::connect(&path).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            stream
        };
        let read = async |mut stream: UnixStream| {
            let mut response = String::new();
            stream.read_to_string(&mut response).await.unwrap();
            response
        };
        let mut half_sent = Vec::new();
        for number in 0..200 {
            half_sent.push(match number % 2 {
                0 => {
                    send("POST /admin/erase HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{")
                        .await
                }
                _ => send("POST /admin/erase HTTP/1.1\r\nHo").await,
            });
        }
        let whole = send("GET /admin/stats HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        let response = read(whole).await;
        assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
        for (number, stream) in half_sent.into_iter().enumerate() {
            let response = read(stream).await;
            let expected = if number % 2 == 0 { "HTTP/1.1 408 " } else { "HTTP/1.1 " };
            assert!(response.is_empty() || response.starts_with(expected), "{response}");
            assert!(number % 2 != 0 || response.contains("within 10 seconds"), "{response}");
        }
    }
}
