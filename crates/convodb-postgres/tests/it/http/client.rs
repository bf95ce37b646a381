//! Two servers, one on each store, and a client that sends each request to both.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use convodb::{Scope, Scopes, Store, Timestamp, TokenOptions};
use convodb_http::{Config, Limits, serve};
use convodb_postgres::{Cluster, ClusterOptions};
use convodb_service::Source;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use crate::{empty_schema, imported};

/// How long a response may take; long polls of the tests wait less.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The value of times that the servers' clocks set.
const ANY_TIME: &str = "2026-01-01 00:00:00";

/// A response: its status, the lines of its head and its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Response {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The text value of a field of the body, from its last occurrence.
    pub(crate) fn text(&self, field: &str) -> Option<&str> {
        let rest = self.body.rsplit_once(&format!("\"{field}\":\""))?.1;
        rest.split_once('"').map(|(value, _)| value)
    }

    /// The body with the texts of this field replaced.
    fn without(self, field: &str, value: &str) -> Self {
        let key = format!("\"{field}\":\"");
        let mut parts = self.body.split(&key);
        let mut body = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let rest = part.split_once('"').map_or("", |(_, rest)| rest);
            body = format!("{body}{key}{value}\"{rest}");
        }
        Self { body, ..self }
    }
}

/// Sends one request with these header lines, each ending with CRLF, and reads the response.
pub(crate) fn send(
    address: SocketAddr,
    token: &str,
    request: &str,
    headers: &str,
    body: &str,
) -> Response {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let length = body.len();
    let json = "Content-Type: application/json\r\n";
    let content_type = if headers.contains("Content-Type:") { "" } else { json };
    let head = format!(
        "{request} HTTP/1.1\r\nHost: store.example\r\nConnection: close\r\n\
         Authorization: Bearer {token}\r\nContent-Length: {length}\r\n{content_type}{headers}\r\n"
    );
    stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).unwrap();
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes);
    read.unwrap_or_else(|error| panic!("no response to {request} within {TIMEOUT:?}: {error}"));
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { unchunked(body) } else { body.to_owned() };
    Response { status, head: head.to_owned(), body }
}

fn unchunked(mut body: &str) -> String {
    let mut out = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            break;
        }
        out.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
    }
    out
}

/// An embedded store and the database that it was imported into, each behind a server.
pub(crate) struct Both {
    pub(crate) store: Store,
    pub(crate) cluster: Cluster,
    pub(crate) options: ClusterOptions,
    pub(crate) here: SocketAddr,
    pub(crate) there: SocketAddr,
    /// A token of all scopes of data.
    pub(crate) token: String,
    /// One that reaches the first assistant alone.
    pub(crate) restricted: String,
    /// One that may only read.
    pub(crate) reader: String,
    pub(crate) other_user: String,
    pub(crate) runtime: Runtime,
}

/// The assistants of the first user.
pub(crate) const ASSISTANTS: [&str; 2] =
    ["a0000000-0000-4000-8000-000000000001", "a0000000-0000-4000-8000-000000000002"];

impl Both {
    /// Two users, the first with two assistants, in a schema of this name.
    pub(crate) fn new(schema: &str) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let store = Store::in_memory().unwrap();
        let at = Timestamp::MIN;
        let user = store.create_user("Acme", at).unwrap().id;
        let other = store.create_user("Other", at).unwrap().id;
        for (id, name) in ASSISTANTS.into_iter().zip(["Support", "Sales"]) {
            store.create_assistant(user, id.parse().unwrap(), name).unwrap();
        }
        let token =
            |user, options: TokenOptions| store.create_token_with(user, at, options).unwrap().token;
        let assistant = Some(ASSISTANTS[0].parse().unwrap());
        let of_one = TokenOptions { assistant, ..TokenOptions::default() };
        let reading = TokenOptions { scopes: Scopes::from(Scope::Read), ..TokenOptions::default() };
        let tokens = [
            token(user, TokenOptions::default()),
            token(user, of_one),
            token(user, reading),
            token(other, TokenOptions::default()),
        ];
        let [token, restricted, reader, other_user] = tokens;
        let (options, cluster) = runtime.block_on(imported(schema, &store));
        let here = serving(&runtime, store.clone());
        let there = serving(&runtime, cluster.clone());
        Self {
            store,
            cluster,
            options,
            here,
            there,
            token,
            restricted,
            reader,
            other_user,
            runtime,
        }
    }

    /// Sends a request of the first user to both servers, whose responses must be the same but for
    /// times that their clocks set and tokens of the change feed. Returns that of the database.
    #[track_caller]
    pub(crate) fn same(&self, request: &str, body: &str) -> Response {
        self.same_as(&self.token, request, "", body)
    }

    /// [`Self::same`] by another token, with more header lines.
    #[track_caller]
    pub(crate) fn same_as(
        &self,
        token: &str,
        request: &str,
        headers: &str,
        body: &str,
    ) -> Response {
        let [expected, found] =
            [self.here, self.there].map(|address| send(address, token, request, headers, body));
        let is_feed = request.contains("/changes");
        let comparable = |response: &Response| {
            let response = response.clone().without("updated_at", ANY_TIME);
            let response = if is_feed { response.without("next_cursor", "any") } else { response };
            let names = ["content-type", "link", "www-authenticate", "allow", "retry-after"];
            let headers = names.map(|name| response.header(name).map(str::to_owned));
            (response.status, headers, response.body)
        };
        assert_eq!(comparable(&found), comparable(&expected), "{request} {body}");
        found
    }

    /// Sends a request to the server on the database alone.
    pub(crate) fn on_database(&self, request: &str, headers: &str, body: &str) -> Response {
        send(self.there, &self.token, request, headers, body)
    }

    /// Starts another server on the database, with connections of its own.
    pub(crate) fn another_server(&self) -> SocketAddr {
        let cluster = self.runtime.block_on(Cluster::open(&self.options)).unwrap();
        serving(&self.runtime, cluster)
    }
}

impl Drop for Both {
    fn drop(&mut self) {
        // The servers are tasks of the runtime, which ends with the test.
        drop(self.store.clone().close());
    }
}

/// A server on a free port, as long as the runtime lasts.
pub(crate) fn serving(runtime: &Runtime, source: impl Into<Source>) -> SocketAddr {
    serving_with(runtime, source, Limits::default())
}

/// [`serving`] with these limits.
pub(crate) fn serving_with(
    runtime: &Runtime,
    source: impl Into<Source>,
    limits: Limits,
) -> SocketAddr {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let public_url = Some("https://store.example".parse().unwrap());
    let config = Config { public_url, limits, ..Config::default() };
    runtime.spawn(serve(source.into(), listener, config, std::future::pending()));
    address
}

/// A server on an empty store in a schema of this name.
pub(crate) fn on_empty_schema(runtime: &Runtime, schema: &str) -> SocketAddr {
    let cluster = runtime.block_on(async {
        let options = empty_schema(schema).await;
        Cluster::create(&options).await.unwrap();
        Cluster::open(&options).await.unwrap()
    });
    serving(runtime, cluster)
}
