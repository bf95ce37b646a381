//! Embedding a store in an axum service: a webhook that stores messages, and a dashboard.
//!
//! The service belongs to a shop. Its widget posts messages to `/hook/{visitor}`, and its owner
//! opens `/dashboard`. The store is a value in the router's state: there is no database server, no
//! pool and no connection. Handlers await their writes, but read on their own thread, because a
//! cached page takes less time than a handover to another thread.
//!
//! The program serves itself on a loopback port, simulates fifty concurrent visitors, requests the
//! dashboard and stops.
//!
//! Run it: `cargo run -p convodb-tokio --example axum_embed`

#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use std::error::Error;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use convodb_tokio::AsyncStore;
use convodb_tokio::convodb::{
    self, AssistantId, Channel, Conversation, ConversationId, Day, Filter, ListRequest, Message,
    PageSize, Role, StatsRequest, Timestamp, UserId,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// The state of the handlers. Cheap to clone.
#[derive(Clone)]
struct Shop {
    store: AsyncStore,
    user: UserId,
    bot: AssistantId,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let store = AsyncStore::open(directory.path().join("shop.convodb")).await?;
    let now = now()?;
    let user = store.create_user("Shop", now).await?.id;
    let bot = AssistantId::generate(now);
    store.create_assistant(user, bot, "Clerk").await?;
    let shop = Shop { store: store.clone(), user, bot };

    let routes = Router::new()
        .route("/hook/{visitor}", post(hook))
        .route("/dashboard", get(dashboard))
        .with_state(shop);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(async move {
        let stopped = async move { drop(stopped.await) };
        axum::serve(listener, routes).with_graceful_shutdown(stopped).await
    });
    println!("serving http://{address}");

    // Fifty concurrent visitors with two messages each; their writes share commits.
    let mut visits = tokio::task::JoinSet::new();
    for visitor in 0..50 {
        visits.spawn(async move {
            for text in ["Do you ship to Oslo?", "And how long does it take?"] {
                let path = format!("/hook/visitor-{visitor}");
                request(address, "POST", &path, text).await?;
            }
            Ok::<(), std::io::Error>(())
        });
    }
    while let Some(visit) = visits.join_next().await {
        visit??;
    }
    let body = request(address, "GET", "/dashboard", "").await?;
    let dashboard: Value = serde_json::from_str(&body)?;
    println!("{dashboard:#}");

    drop(stop);
    server.await??;
    store.close().await?;
    let (conversations, messages) =
        (&dashboard["today"]["conversations"], &dashboard["today"]["messages"]);
    if (conversations, messages) != (&json!(50), &json!(100)) {
        return Err(format!("{conversations} conversations with {messages} messages").into());
    }
    Ok(())
}

/// `POST /hook/{visitor}`: stores a visitor's message; it is durable before the response.
async fn hook(
    State(shop): State<Shop>,
    Path(visitor): Path<String>,
    text: String,
) -> Result<Json<Value>, Failed> {
    let now = now()?;
    let external_identifier: convodb::ExternalIdentifier = visitor.parse()?;
    let message = Message::new(Role::User, text, now)?;
    let Shop { store, user, bot } = shop;
    // Look up the visitor's conversation: a page of one. Two concurrent first messages of a visitor
    // would create two conversations; to prevent that, derive the id as `crm_sync` does.
    let filter =
        Filter { external_identifier: Some(external_identifier.clone()), ..Filter::default() };
    let request = ListRequest { filter, page_size: Some(PageSize::MIN), ..ListRequest::default() };
    let known = store.snapshot().list(user, &request)?.conversations().next().map(|row| row.id);
    let id = known.unwrap_or_else(|| ConversationId::generate(now));
    let write = move |transaction: &mut convodb::Transaction<'_>| {
        if known.is_none() {
            let channel = Channel::Api { external_identifier: Some(external_identifier) };
            transaction.insert(user, Conversation::new(id, bot, channel, now), Vec::new())?;
        }
        transaction.append_message(user, id, &message)
    };
    let count = store.write(write).await?;
    Ok(Json(json!({ "conversation": id.to_string(), "messages": count })))
}

/// `GET /dashboard`: today's statistics, from counters, and the latest conversations.
async fn dashboard(State(Shop { store, user, .. }): State<Shop>) -> Result<Json<Value>, Failed> {
    let snapshot = store.snapshot();
    let today = now()?.day();
    // Include yesterday: a visit may have begun before midnight.
    let from = Day::new(today.get().saturating_sub(1));
    let request = StatsRequest::new(from, Day::new(today.get() + 1));
    let volume = snapshot.stats(user, &request)?.total;
    let latest = ListRequest { page_size: Some(PageSize::new(3)?), ..ListRequest::default() };
    let page = snapshot.list(user, &latest)?;
    let latest: Vec<Value> = page
        .conversations()
        .map(|row| {
            json!({
                "visitor": row.channel.external_identifier(),
                "messages": row.message_count,
                "began": row.created_at.to_string(),
            })
        })
        .collect();
    Ok(Json(json!({
        "today": {
            "conversations": volume.conversations,
            "messages": volume.messages,
            "usd": volume.cost.to_string(),
        },
        "latest": latest,
    })))
}

/// An error of the store as a response: the status says whether the client or the server caused it.
struct Failed(convodb::Error);

impl From<convodb::Error> for Failed {
    fn from(error: convodb::Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let status = match self.0 {
            convodb::Error::Invalid { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            convodb::Error::ConversationNotFound => StatusCode::NOT_FOUND,
            convodb::Error::Closed => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        // Error messages of the store never contain personal data.
        (status, self.0.to_string()).into_response()
    }
}

/// The current time. The engine does not read a clock itself.
fn now() -> convodb::Result<Timestamp> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Sends one request on a new connection, and returns the body of a 200.
async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\
         Content-Type: text/plain\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => Ok(body.to_owned()),
        _ => Err(std::io::Error::other(answer)),
    }
}
