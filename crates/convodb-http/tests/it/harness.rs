//! Test harness: a store with two users behind a running server.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, JoinHandle};

use convodb::{
    AssistantId, Channel, Contact, Conversation, ConversationId, Store, Timestamp, UserId,
};
use convodb_http::Config;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::backend;
use crate::client::{Response, send};

pub(crate) const LIST: &str = "/api/user/conversations";

/// A server on a free port. Dropping it stops the server and waits for it.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Server {
    pub(crate) fn start(store: &Store, config: Config) -> Self {
        logged();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let stopped = async {
            let _ = stopped.await;
        };
        let served = backend::serve(store.clone(), listener, config, stopped);
        let thread = thread::spawn(move || runtime.block_on(served));
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    /// Sends `method target` with these header lines, each ending with CRLF, and a `Host` if none
    /// of them is one.
    #[track_caller]
    pub(crate) fn request(&self, method: &str, target: &str, headers: &str) -> Response {
        let host = if headers.contains("Host:") { "" } else { "Host: test\r\n" };
        let head =
            format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n{host}{headers}\r\n");
        send(self.address, head.as_bytes())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap().unwrap();
        }
    }
}

/// Two users with an assistant each, and a server.
pub(crate) struct Harness {
    pub(crate) server: Server,
    pub(crate) store: Store,
    pub(crate) user: UserId,
    pub(crate) token: String,
    pub(crate) other_token: String,
}

impl Harness {
    pub(crate) fn new() -> Self {
        Self::of(Store::in_memory().unwrap(), Config::default())
    }

    pub(crate) fn of(store: Store, config: Config) -> Self {
        let create = |name: &str, assistant| {
            let user = store.create_user(name, Timestamp::MIN).unwrap().id;
            store.create_assistant(user, assistant, "Support").unwrap();
            (user, store.create_token(user, Timestamp::MIN).unwrap())
        };
        let (user, token) = create("Acme", bot());
        let (_, other_token) = create("Other", other_bot());
        let server = Server::start(&store, config);
        Self { server, store, user, token, other_token }
    }

    /// Inserts rows with these numbers; row `n` is created `n` seconds after a fixed time.
    pub(crate) fn insert(&self, rows: impl IntoIterator<Item = u8>, channel: &Channel) {
        for row in rows {
            let channel = channel.clone();
            self.store
                .insert(self.user, Conversation { channel, ..conversation(row) }, Vec::new())
                .unwrap();
        }
    }

    /// Requests the user's list with this query.
    #[track_caller]
    pub(crate) fn list(&self, query: &str) -> Response {
        self.list_of(&self.token, query)
    }

    #[track_caller]
    pub(crate) fn list_of(&self, token: &str, query: &str) -> Response {
        self.request("GET", &format!("{LIST}?{query}"), token, "")
    }

    #[track_caller]
    pub(crate) fn request(
        &self,
        method: &str,
        target: &str,
        token: &str,
        headers: &str,
    ) -> Response {
        let headers = format!("Host: test\r\nAuthorization: Bearer {token}\r\n{headers}");
        self.server.request(method, target, &headers)
    }

    /// Sends a request of the user with a JSON body.
    #[track_caller]
    pub(crate) fn send(&self, method: &str, target: &str, body: &str) -> Response {
        self.send_as(&self.token, method, target, body)
    }

    #[track_caller]
    pub(crate) fn send_as(&self, token: &str, method: &str, target: &str, body: &str) -> Response {
        self.send_typed(token, method, target, "application/json", body.as_bytes())
    }

    #[track_caller]
    pub(crate) fn send_typed(
        &self,
        token: &str,
        method: &str,
        target: &str,
        content_type: &str,
        body: &[u8],
    ) -> Response {
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
             Authorization: Bearer {token}\r\nContent-Type: {content_type}\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        send(self.server.address, &[head.as_bytes(), body].concat())
    }

    /// Asserts that the list refuses this query with 422 and this message for this field.
    #[track_caller]
    pub(crate) fn refused(&self, query: &str, field: &str, message: &str) {
        let response = self.list(query);
        let body = format!(r#"{{"message":"{message}","errors":{{"{field}":["{message}"]}}}}"#);
        assert_eq!((response.status, response.text()), (422, body.as_str()), "{query}");
    }
}

pub(crate) fn bot() -> AssistantId {
    AssistantId::new(Uuid::from_u128(0xB07))
}

pub(crate) fn other_bot() -> AssistantId {
    AssistantId::new(Uuid::from_u128(0xB08))
}

pub(crate) fn conversation(row: u8) -> Conversation {
    let id = ConversationId::new(Uuid::from_u128(u128::from(row) << 120));
    let at = Timestamp::from_millis(1_737_800_000_000 + u64::from(row) * 1000).unwrap();
    Conversation::new(id, bot(), Channel::Widget, at)
}

pub(crate) fn whatsapp(sender: &str, customer: &str) -> Channel {
    let contact = |phone: &str| Contact { name: None, phone: Some(phone.parse().unwrap()) };
    Channel::Whatsapp { sender: contact(sender), customer: contact(customer) }
}

pub(crate) fn api(identifier: &str) -> Channel {
    Channel::Api { external_identifier: Some(identifier.parse().unwrap()) }
}

/// The log of all servers of this process so far.
pub(crate) fn logged() -> String {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    static LOG: OnceLock<Log> = OnceLock::new();
    let log = LOG.get_or_init(|| {
        let log = Log::default();
        let writer = log.clone();
        let everything =
            tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false);
        everything.with_writer(move || writer.clone()).init();
        log
    });
    String::from_utf8(log.0.lock().unwrap().clone()).unwrap()
}
