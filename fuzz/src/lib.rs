//! What targets share: a small store behind the routes of the server, without sockets, and a directory
//! in memory.

use std::path::{Path, PathBuf};

use axum::body::{Body, to_bytes};
use axum::http::Request;
use convodb::{Channel, Contact, Conversation, ConversationId, Store, Timestamp};
use convodb_http::{Config, router};
use convodb_testkit::strategies::assistants;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

/// Where files are that one input writes and the next one overwrites.
pub struct Place {
    directory: TempDir,
}

impl Place {
    /// A directory, in memory where there is such a place.
    ///
    /// # Panics
    /// When there can be none.
    #[expect(clippy::new_without_default, reason = "it is no value")]
    pub fn new() -> Self {
        let shared = Path::new("/dev/shm");
        let made = if shared.is_dir() { tempfile::tempdir_in(shared) } else { tempfile::tempdir() };
        Self { directory: made.expect("a directory") }
    }

    /// A file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// The server's routes over a store of ten conversations.
pub struct Routes {
    runtime: Runtime,
    routes: TowerToHyperService<axum::Router>,
    token: String,
}

impl Routes {
    /// # Panics
    /// When there can be no store in memory.
    #[expect(clippy::new_without_default, reason = "it is no value")]
    pub fn new() -> Self {
        let (store, token) = stored().expect("a store in memory");
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { runtime, routes: TowerToHyperService::new(router(store, &Config::default())), token }
    }

    /// Asks, and sees that the answer is no fault. A target that is no URL is not asked for.
    ///
    /// # Panics
    /// When the answer is a fault.
    pub fn ask(&self, method: &str, target: &str, content_type: &str, body: &[u8]) -> u16 {
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", content_type)
            .body(Body::from(body.to_vec()));
        let Ok(request) = request else { return 0 };
        self.runtime.block_on(async {
            let Ok(answer) = self.routes.call(request).await;
            let status = answer.status().as_u16();
            let text = to_bytes(answer.into_body(), usize::MAX).await.expect("a whole body");
            assert!(status < 500, "{method} {target}: {status} {}", String::from_utf8_lossy(&text));
            status
        })
    }
}

fn stored() -> convodb::Result<(Store, String)> {
    let store = Store::in_memory()?;
    let user = store.create_user("one".parse()?, Timestamp::MIN)?.id;
    for bot in assistants() {
        store.create_assistant(user, bot, "Bot".parse()?)?;
    }
    for number in 0..10_u64 {
        let at = Timestamp::from_millis(1_737_800_000_000 + number)?;
        let phone = |text: &str| Contact { name: None, phone: text.parse().ok() };
        let channel = Channel::Whatsapp { sender: phone("+1"), customer: phone("+2") };
        let id = ConversationId::new(Uuid::from_u128(u128::from(number)));
        store.insert(user, Conversation::new(id, assistants()[0], channel, at))?;
    }
    let token = store.create_token(user, Timestamp::MIN)?;
    Ok((store, token))
}
