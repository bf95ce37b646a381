//! A proxy between a store and its server.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

use crate::url;

/// A proxy of the server, which can be frozen: it still accepts, and passes nothing on.
pub(crate) struct Proxy {
    port: u16,
    frozen: watch::Sender<bool>,
    turns: Arc<Turns>,
}

/// How often the client has sent something after the server has: the round trips of all connections, if
/// one is used at a time.
#[derive(Debug, Default)]
struct Turns {
    count: AtomicU64,
    server_was_last: AtomicBool,
}

impl Turns {
    fn note(&self, side: Side) {
        let server_was_last = self.server_was_last.swap(side == Side::Server, Ordering::AcqRel);
        if side == Side::Client && server_was_last {
            self.count.fetch_add(1, Ordering::AcqRel);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

/// What the connections of a proxy share.
#[derive(Clone)]
struct Passing {
    frozen: watch::Receiver<bool>,
    turns: Arc<Turns>,
}

impl Proxy {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (frozen, state) = watch::channel(false);
        let turns = Arc::new(Turns::default());
        let passing = Passing { frozen: state, turns: turns.clone() };
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(pass_on(client, passing.clone()));
            }
        });
        Self { port, frozen, turns }
    }

    pub(crate) fn freeze(&self, frozen: bool) {
        self.frozen.send_replace(frozen);
    }

    /// The number of round trips so far.
    pub(crate) fn round_trips(&self) -> u64 {
        self.turns.count.load(Ordering::Acquire)
    }

    /// A URL of the proxy, and of the server itself after it if `also_server`.
    pub(crate) fn url(&self, also_server: bool) -> String {
        let config = Config::from_str(&url()).unwrap();
        let (host, port) = server(&config);
        let (user, database) = (config.get_user().unwrap(), config.get_dbname().unwrap());
        let (mut hosts, mut ports) = ("127.0.0.1".to_owned(), self.port.to_string());
        if also_server {
            hosts = format!("{hosts},{host}");
            ports = format!("{ports},{port}");
        }
        format!("host={hosts} port={ports} user={user} dbname={database} connect_timeout=1")
    }
}

/// The host and port of the server.
fn server(config: &Config) -> (String, u16) {
    let host = match &config.get_hosts()[0] {
        Host::Tcp(host) => host.clone(),
        Host::Unix(path) => path.display().to_string(),
    };
    (host, config.get_ports().first().copied().unwrap_or(5432))
}

async fn pass_on(client: TcpStream, passing: Passing) {
    let (host, port) = server(&Config::from_str(&url()).unwrap());
    if host.starts_with('/') {
        let server = UnixStream::connect(format!("{host}/.s.PGSQL.{port}")).await.unwrap();
        join(client, server, passing).await;
    } else {
        let server = TcpStream::connect((host, port)).await.unwrap();
        join(client, server, passing).await;
    }
}

async fn join<S: AsyncRead + AsyncWrite>(client: TcpStream, server: S, passing: Passing) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = tokio::io::split(server);
    tokio::join!(
        copy(from_client, to_server, Side::Client, passing.clone()),
        copy(from_server, to_client, Side::Server, passing),
    );
}

/// Passes bytes on while the proxy is not frozen, until one side closes.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    side: Side,
    mut passing: Passing,
) {
    let mut bytes = [0; 8 << 10];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        if passing.frozen.wait_for(|frozen| !frozen).await.is_err() {
            return;
        }
        passing.turns.note(side);
        if to.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}
