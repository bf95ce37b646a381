//! The store behind the servers of the tests: the embedded one itself. The crate `convodb-postgres` runs
//! these tests with another module in the place of this one.

use std::io;

use convodb::Store;
use convodb_http::Config;
use tokio::net::TcpListener;

/// Serves the store on a listener until `stopped` resolves.
pub(crate) async fn serve(
    store: Store,
    listener: TcpListener,
    config: Config,
    stopped: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    convodb_http::serve(store, listener, config, stopped).await
}
