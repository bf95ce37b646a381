//! The store behind the servers of the tests, on PostgreSQL: what a test has written to its embedded
//! store before its first request is imported into a schema of its own, and served from there.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use convodb::Store;
use convodb_http::Config;
use convodb_postgres::{Cluster, ClusterOptions};
use tokio::io::unix::AsyncFd;
use tokio::net::TcpListener;
use tokio_postgres::NoTls;

/// Serves an import of the store on a listener until `stopped` resolves.
pub(crate) async fn serve(
    store: Store,
    listener: TcpListener,
    config: Config,
    stopped: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let mut stopped = Box::pin(stopped);
    // The test fills the store until it connects.
    #[expect(deprecated, reason = "it is sound for a listener, which owns its descriptor")]
    let waiting = AsyncFd::new(listener.into_std()?)?;
    tokio::select! {
        connected = waiting.readable() => drop(connected?),
        () = &mut stopped => return Ok(()),
    }
    let listener = TcpListener::from_std(waiting.into_inner())?;
    let cluster = imported(&store).await;
    convodb_http::serve(cluster, listener, config, stopped).await
}

/// The store in a new schema.
async fn imported(store: &Store) -> Cluster {
    static SCHEMAS: AtomicU32 = AtomicU32::new(0);
    let url = std::env::var("CONVODB_TEST_POSTGRES");
    let url = url.expect("CONVODB_TEST_POSTGRES names a PostgreSQL database");
    let schema = format!("suite_{}", SCHEMAS.fetch_add(1, Ordering::Relaxed));
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    client.batch_execute(&format!("drop schema if exists {schema} cascade")).await.unwrap();
    driver.abort();
    let options = ClusterOptions::new(&url).unwrap().schema(&schema).unwrap();
    let options = options.connections(3).unwrap().write_connections(3).unwrap();
    let options = options.quota(store.default_quota());
    Cluster::import(&options, store, |_| {}).await.unwrap();
    Cluster::open(&options).await.unwrap()
}
