//! What only the operator asks: backups of the store that is served, erasures, and what it takes. It is served
//! apart from all else, on a Unix socket that its owner alone can open, so it needs no token, and
//! nothing on the network reaches it.
//!
//! One backup or erasure goes on at a time; backups go into one directory, under a name that is a plain file name.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use convodb::{Backup, Erased, Error, Filter, ListRequest, Store};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::clock;
use crate::run_blocking::run_blocking;

/// A body says a name, at most.
const MAX_BODY_BYTES: usize = 4096;
const MAX_NAME_BYTES: usize = 128;
/// Why there is no turn.
const BUSY: &str = "another backup or erasure goes on";

/// What its handlers reach.
#[derive(Clone)]
struct Admin {
    store: Store,
    /// Where backups go; without it, none is made.
    directory: Option<Arc<Path>>,
    /// Leave to make a backup or to erase: one.
    turn: Arc<Semaphore>,
}

/// The routes of the operator: `POST /admin/backup`, `POST /admin/erase`, `GET /admin/stats`. They
/// ask for no token, so they belong on a listener that strangers do not reach: see [`serve_admin`].
pub fn admin_routes(store: Store, backup_directory: Option<PathBuf>) -> Router {
    let directory = backup_directory.map(Arc::from);
    let admin = Admin { store, directory, turn: Arc::new(Semaphore::new(1)) };
    Router::new()
        .route("/admin/backup", post(backup))
        .route("/admin/erase", post(erase))
        .route("/admin/stats", get(stats))
        .fallback(async || refused(StatusCode::NOT_FOUND, "there is no such request"))
        .with_state(admin)
}

/// Why a request was refused.
fn refused(status: StatusCode, message: impl Into<String>) -> Response {
    (status, Json(json!({ "message": message.into() }))).into_response()
}

fn failed(error: &Error) -> Response {
    tracing::error!(cause = %error, "a request of the operator's failed");
    refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

/// The body of a request; an empty one asks for nothing in particular.
async fn body<T: DeserializeOwned>(request: Request) -> Result<T, String> {
    let body = to_bytes(request.into_body(), MAX_BODY_BYTES).await;
    let body = body.map_err(|error| error.to_string())?;
    let asked = if body.is_empty() { b"{}" } else { body.as_ref() };
    // Where the body is wrong is told, not what stands there.
    serde_json::from_slice(asked).map_err(|error| {
        format!("the body is not as it should be, at its character {}", error.column())
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    name: Option<String>,
}

/// `POST /admin/backup`: answers when the backup is made.
async fn backup(State(admin): State<Admin>, request: Request) -> Response {
    let Some(directory) = admin.directory else {
        let message = "the server was started without --backup-dir";
        return refused(StatusCode::CONFLICT, message);
    };
    let asked = body::<Asked>(request).await;
    let name = match asked.and_then(|asked| named(asked.name)) {
        Ok(name) => name,
        Err(message) => return refused(StatusCode::UNPROCESSABLE_ENTITY, message),
    };
    let Ok(turn) = admin.turn.try_acquire_owned() else {
        return refused(StatusCode::SERVICE_UNAVAILABLE, BUSY);
    };
    let (file, snapshot, started) = (directory.join(&name), admin.store.snapshot(), Instant::now());
    let path = file.clone();
    let made = run_blocking(move || {
        // Who breaks off leaves the backup to be made, and the next one waits for it.
        let _turn = turn;
        snapshot.backup(path, |_, _| {})
    });
    match made.await {
        Ok(Backup { entries, bytes, checksum }) => {
            let seconds = started.elapsed().as_secs_f64();
            tracing::info!(file = %file.display(), entries, bytes, seconds, "backed up");
            let file = file.display().to_string();
            let body = json!({
                "file": file, "entries": entries, "bytes": bytes, "checksum": checksum,
                "seconds": seconds,
            });
            Json(body).into_response()
        }
        Err(Error::FileExists(path)) => {
            let message = format!("{} is there already; name another", path.display());
            refused(StatusCode::CONFLICT, message)
        }
        Err(error) => failed(&error),
    }
}

/// A plain file name: the one that is asked for, or one of the present instant.
fn named(asked: Option<String>) -> Result<String, String> {
    let Some(name) = asked else {
        let now = clock::now().map_err(|_| "the clock is wrong".to_owned())?.to_rfc3339();
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
struct Erasure {
    user: String,
    customer_phone: Option<String>,
    external_identifier: Option<String>,
    #[serde(default)]
    everything: bool,
}

/// What is to be erased, of which user.
enum What {
    Everything,
    Listed(Box<ListRequest>),
}

impl Erasure {
    fn what(&self) -> convodb::Result<Option<What>> {
        let filter = match (&self.customer_phone, &self.external_identifier, self.everything) {
            (Some(phone), None, false) => {
                Filter { customer_phone: Some(phone.parse()?), ..Filter::default() }
            }
            (None, Some(identifier), false) => {
                Filter { external_identifier: Some(identifier.parse()?), ..Filter::default() }
            }
            (None, None, true) => return Ok(Some(What::Everything)),
            _ => return Ok(None),
        };
        Ok(Some(What::Listed(Box::new(ListRequest { filter, ..ListRequest::default() }))))
    }
}

/// `POST /admin/erase`: answers when all is erased; its bytes stay in the file until it is compacted.
async fn erase(State(admin): State<Admin>, request: Request) -> Response {
    let invalid = |message: String| refused(StatusCode::UNPROCESSABLE_ENTITY, message);
    let asked = match body::<Erasure>(request).await {
        Ok(asked) => asked,
        Err(message) => return invalid(message),
    };
    let what = match asked.what() {
        Ok(Some(what)) => what,
        Ok(None) => {
            let one = "one of customer_phone, external_identifier and everything must be given";
            return invalid(one.to_owned());
        }
        Err(error) => return invalid(error.to_string()),
    };
    let Ok(turn) = admin.turn.try_acquire_owned() else {
        return refused(StatusCode::SERVICE_UNAVAILABLE, BUSY);
    };
    let store = admin.store;
    let erased = run_blocking(move || {
        let _turn = turn;
        let user = store.snapshot().user_by_name(&asked.user.parse()?)?;
        let user = user.ok_or(Error::UserNotFound)?;
        match what {
            What::Everything => store.erase_user(user, |_| {}),
            What::Listed(request) => {
                let conversations =
                    store.delete_all(user, &request, |_| ControlFlow::Continue(()))?;
                Ok(Erased { conversations, ..Erased::default() })
            }
        }
    });
    match erased.await {
        Ok(Erased { conversations, assistants, tokens }) => {
            tracing::info!(conversations, assistants, tokens, "erased");
            let body = json!({
                "conversations": conversations, "assistants": assistants, "tokens": tokens,
            });
            Json(body).into_response()
        }
        Err(error @ Error::UserNotFound) => refused(StatusCode::NOT_FOUND, error.to_string()),
        Err(error @ Error::Invalid { .. }) => invalid(error.to_string()),
        Err(error) => failed(&error),
    }
}

/// `GET /admin/stats`: what the store takes, as far as it costs next to nothing to tell.
async fn stats(State(admin): State<Admin>) -> Response {
    let counters = admin.store.counters();
    match run_blocking(move || admin.store.usage()).await {
        Ok(usage) => {
            let table =
                |(table, entries): &(&str, u64)| json!({ "table": table, "entries": entries });
            let tables: Vec<_> = usage.tables.iter().map(table).collect();
            Json(json!({
                "file_bytes": usage.file_bytes,
                "log_bytes": usage.log_bytes,
                "views": counters.views,
                "oldest_view_seconds": counters.oldest_view.as_secs_f64(),
                "tables": tables,
            }))
            .into_response()
        }
        Err(error) => failed(&error),
    }
}

/// Serves the operator's routes on a Unix socket until `stop` is done; who may open the socket is the
/// caller's to see to. A few connections at a time; one that is idle for 10 seconds is closed.
#[cfg(unix)]
pub async fn serve_admin(
    listener: tokio::net::UnixListener,
    routes: Router,
    stop: impl Future<Output = ()>,
) {
    use std::pin::pin;
    use std::time::Duration;

    use hyper::server::conn::http1;
    use hyper_util::rt::{TokioIo, TokioTimer};
    use hyper_util::service::TowerToHyperService;

    const CONNECTIONS: usize = 8;
    const IDLE: Duration = Duration::from_secs(10);

    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let mut stop = pin!(stop);
    loop {
        let connection = async {
            let permit = permits.clone().acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            biased;
            () = &mut stop => return,
            connection = connection => connection,
        };
        let Ok((stream, _)) = accepted else {
            // The system has no more sockets for now.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let routes = routes.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(IDLE)
                .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection of the operator's ended early");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_in_its_directory() {
        for wrong in ["", ".hidden", "../x", "a/b", "a b", "a\\b", &"a".repeat(129)] {
            assert!(named(Some(wrong.to_owned())).is_err(), "{wrong}");
        }
        assert_eq!(named(Some("a-1.backup".to_owned())).unwrap(), "a-1.backup");
        let own = named(None).unwrap();
        assert!(own.starts_with("convodb-20") && own.ends_with("Z.backup"), "{own}");
        assert!(named(Some(own)).is_ok());
    }
}
