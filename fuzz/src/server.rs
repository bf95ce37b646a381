//! In-process server: the HTTP routes over a small store in memory, without sockets.

use axum::body::{Body, to_bytes};
use axum::http::Request;
use convodb::{Channel, Contact, Conversation, ConversationId, Store, Timestamp};
use convodb_http::{Config, router};
use convodb_testkit::generators::assistants;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

/// The routes of the server over a store of ten conversations.
pub struct InProcessServer {
    runtime: Runtime,
    routes: TowerToHyperService<axum::Router>,
    token: String,
}

impl InProcessServer {
    /// Creates the store and the routes.
    ///
    /// # Panics
    /// Panics if the store or the runtime cannot be created.
    #[expect(clippy::new_without_default, reason = "creates a store")]
    pub fn new() -> Self {
        let (store, token) = filled_store().expect("a store in memory");
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { runtime, routes: TowerToHyperService::new(router(store, &Config::default())), token }
    }

    /// Sends a request and returns the status of the response; 0 for a target that is not a URI.
    ///
    /// # Panics
    /// Panics if the status is 500 or above.
    pub fn request(&self, method: &str, target: &str, content_type: &str, body: &[u8]) -> u16 {
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", content_type)
            .body(Body::from(body.to_vec()));
        let Ok(request) = request else { return 0 };
        self.runtime.block_on(async {
            let Ok(response) = self.routes.call(request).await;
            let status = response.status().as_u16();
            let text = to_bytes(response.into_body(), usize::MAX).await.expect("a complete body");
            assert!(status < 500, "{method} {target}: {status} {}", String::from_utf8_lossy(&text));
            status
        })
    }
}

/// A store with one user and ten conversations, and a token of the user.
fn filled_store() -> convodb::Result<(Store, String)> {
    let store = Store::in_memory()?;
    let user = store.create_user("one", Timestamp::MIN)?.id;
    for bot in assistants() {
        store.create_assistant(user, bot, "Bot")?;
    }
    for number in 0..10_u64 {
        let at = Timestamp::from_millis(1_737_800_000_000 + number)?;
        let phone = |text: &str| Contact { name: None, phone: text.parse().ok() };
        let channel = Channel::Whatsapp { sender: phone("+1"), customer: phone("+2") };
        let id = ConversationId::new(Uuid::from_u128(u128::from(number)));
        store.insert(user, Conversation::new(id, assistants()[0], channel, at), Vec::new())?;
    }
    let token = store.create_token(user, Timestamp::MIN)?;
    Ok((store, token))
}
