//! `convodb serve`: serves a store, or a demo, over HTTP until Ctrl-C, SIGTERM or SIGQUIT.
//!
//! The only verb with an async runtime. The first signal starts a graceful shutdown, which finishes
//! the requests in flight; a second one stops at once. Both close the store properly. SIGHUP is
//! ignored: the settings apply from the start to the end.

#[cfg(unix)]
mod admin_socket;
mod args;
mod closing;
#[cfg(feature = "postgres")]
mod cluster;
mod demo;
mod descriptors;
mod log_filter;
pub(crate) mod retention;
mod settings;
mod systemd;

use std::future::pending;
use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use convodb::{IndexFamilies, Scopes, Store, StoreOptions, TokenOptions, UserId};
use convodb_http::{Config, Limits, LogWriter, local_url};
use convodb_service::Source;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, registry};

#[cfg(not(unix))]
use crate::args::UsageError;
use crate::console::{now, say};
use crate::open_store::served;
#[cfg(unix)]
use crate::serve::admin_socket::AdminSocket;
pub(crate) use crate::serve::args::Args;
use crate::serve::args::LogFormat;
use crate::serve::closing::close_within;
use crate::serve::retention::Policy;
use crate::serve::settings::Settings;

/// How long blocking work, and the log, may continue after the server has stopped.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);
/// How long closing the store may take. With the time for requests in flight, a stop takes 21
/// seconds at most, and the sync that the disk is executing then.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves until a signal arrives, or prints the effective settings with `--check-config`.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    if args.config.is_none() && !args.check_config {
        return serve_until_stopped(args);
    }
    let Settings { args, listing } = settings::effective(std::env::args_os())?;
    if !args.check_config {
        return serve_until_stopped(&args);
    }
    settings::check_served(&args)?;
    Ok(out.write_all(listing.as_bytes())?)
}

fn serve_until_stopped(args: &Args) -> Result<()> {
    settings::check_served(args)?;
    let log = LogWriter::stderr().context("cannot start the log")?;
    start_log(&args.log, args.log_format, &log)?;
    let served = serve_logged(args);
    log.wait_until_written(SHUTDOWN_TIMEOUT);
    served
}

fn serve_logged(args: &Args) -> Result<()> {
    let runtime = convodb_http::runtime().context("cannot start the runtime")?;
    // Listen before the store is opened: if it fails, no demo is generated in vain.
    let bind = |flag: &str, address: &str| {
        let listener = runtime.block_on(TcpListener::bind(address));
        listener.map_err(|error| cannot_listen(flag, address, &error))
    };
    let listener = bind("--listen", &args.listen)?;
    let metrics = args.metrics_listen.as_deref().map(|at| bind("--metrics-listen", at));
    let metrics = metrics.transpose()?;
    let address = listener.local_addr().context("cannot read the listener's address")?;
    let signals =
        runtime.block_on(async { Ok::<_, io::Error>([Signals::new()?, Signals::new()?]) });
    let signals = signals.context("cannot install signal handlers")?;
    #[cfg(unix)]
    runtime.block_on(async { ignore_hangups() }).context("cannot install signal handlers")?;

    let (source, opened) = open_source(args, &runtime)?;
    let store = opened.as_ref().map(|(store, _)| store);
    let base = local_url(address);
    if let Some(store) = store.filter(|_| args.demo) {
        let user = demo::ensure(store, now()?)?;
        introduce(store, user, &base, !args.no_console)?;
    }
    let background_tasks = {
        let _entered = runtime.enter();
        background_tasks(store, args)?
    };
    let public = args.public_url.as_ref().map(|url| format!(", public as {url}"));
    let public = public.unwrap_or_default();
    if let Some(metrics) = &metrics {
        let metrics = metrics.local_addr().context("cannot read the listener's address")?;
        say(format_args!("metrics on {}/metrics", local_url(metrics)));
    }
    say(format_args!("listening on {base}{public}; stop with Ctrl-C or SIGTERM"));
    if !address.ip().is_loopback() && args.public_url.is_none() {
        tracing::warn!(
            "listening beyond this machine without --public-url: links in responses are relative"
        );
    }
    let (public_url, rate_limit) = (args.public_url.clone(), args.rate_limit);
    let (strict_parameters, no_console) = (args.strict_parameters, args.no_console);
    let cors_origins = args.cors_origin.clone();
    let limits = limits(args);
    let config =
        Config { public_url, rate_limit, cors_origins, strict_parameters, no_console, limits };
    systemd::notify_ready();
    let served = runtime.block_on(async {
        tokio::select! {
            served = serve(source, listener, metrics, config, signals) => served,
            () = background_tasks => Ok(()),
        }
    });
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    let (store, temporary) = opened.unzip();
    let closed = store.map(|store| close_within(store, CLOSE_TIMEOUT)).transpose();
    served.context("the server failed")?;
    closed?;
    if let Some(directory) = temporary.flatten() {
        directory.close().context("cannot remove the temporary store")?;
    }
    say("stopped");
    Ok(())
}

/// An embedded store with the directory of a temporary one.
type Opened = (Store, Option<TempDir>);

/// Opens what is served: the store in the database that is named, or an embedded one.
#[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "nothing is awaited"))]
fn open_source(args: &Args, runtime: &Runtime) -> Result<(Source, Option<Opened>)> {
    #[cfg(feature = "postgres")]
    if let Some(url) = &args.pg_url {
        return Ok((runtime.block_on(cluster::open(url, args))?, None));
    }
    let (store, temporary) = open(args)?;
    Ok((store.clone().into(), Some((store, temporary))))
}

/// The limits that flags set; the others have their defaults.
fn limits(args: &Args) -> Limits {
    Limits {
        max_connections: descriptors::connections(args.max_connections),
        max_connections_per_address: args.max_connections_per_address,
        max_requests_per_connection: args.max_requests_per_connection,
        max_connection_age: args.max_connection_age.map(Duration::from_secs),
        max_buffered_bytes: args.max_buffered_bytes.0,
        max_waiting_writes: args.max_waiting_writes as usize,
        max_transfers: args.max_transfers as usize,
        max_transfers_per_user: args.max_transfers_per_user as usize,
        max_statistics: args.max_statistics as usize,
        max_waiting_polls: args.max_waiting_polls as usize,
        max_event_streams: args.max_event_streams as usize,
        max_event_streams_per_user: args.max_event_streams_per_user as usize,
        export_timeout: Duration::from_secs(args.export_timeout),
        response_cache_bytes: args.response_cache_bytes.0,
        min_bytes_per_second: args.min_rate,
        header_timeout: Duration::from_secs(args.head_timeout),
        write_timeout: Duration::from_secs(args.write_timeout),
        ..Limits::default()
    }
}

/// Tasks that run beside the server and never end: admin requests and retention of an embedded store,
/// systemd heartbeats.
fn background_tasks(
    store: Option<&Store>,
    args: &Args,
) -> Result<impl Future<Output = ()> + use<>> {
    #[cfg(unix)]
    let admin = args.admin_socket.as_deref().map(AdminSocket::bind).transpose()?;
    #[cfg(not(unix))]
    if args.admin_socket.is_some() {
        bail!(UsageError("--admin-socket: this system has no Unix sockets".to_owned()));
    }
    if let Some(directory) = args.backup_dir.as_deref().filter(|directory| !directory.is_dir()) {
        bail!("--backup-dir: no directory {}; create it first", directory.display());
    }
    let (store, backups) = (store.cloned(), args.backup_dir.clone());
    let policy = Policy {
        conversations: args.keep,
        changes: args.keep_changes,
        confirmed: args.confirm_retention,
    };
    Ok(async move {
        let heartbeats = systemd::send_heartbeats(store.clone());
        let Some(store) = store else {
            heartbeats.await;
            return pending().await;
        };
        let retention = retention::run(store.clone(), policy);
        let admin = async {
            #[cfg(unix)]
            if let Some((_socket, listener)) = admin {
                let routes = convodb_http::admin_routes(store.clone(), backups);
                convodb_http::serve_admin(listener, routes, pending()).await;
            }
        };
        tokio::join!(heartbeats, retention, admin);
        pending::<()>().await;
    })
}

fn start_log(filter: &str, format: LogFormat, log: &LogWriter) -> Result<()> {
    let filter = log_filter::parse(filter)?;
    // A stalled or closed standard error must not delay or fail the request that logs.
    let log = log.clone();
    let lines = fmt::layer().with_writer(move || log.clone()).log_internal_errors(false);
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    registry().with(lines).with(filter).try_init().context("cannot start the log")
}

/// Opens the store, or creates the demo's in its file or in a temporary directory.
fn open(args: &Args) -> Result<(Store, Option<TempDir>)> {
    let default = if args.demo { IndexFamilies::ALL } else { IndexFamilies::NONE };
    let indexes = args.indexes.unwrap_or(default);
    let options =
        StoreOptions::new().cache_bytes(args.cache_bytes.0).quota(args.quota()).indexes(indexes);
    match &args.db {
        Some(path) => Ok((served(path, &options, args.demo)?, None)),
        None => {
            let prefix = "convodb-demo-";
            let directory = tempfile::Builder::new()
                .prefix(prefix)
                .tempdir()
                .context("cannot create a temporary directory for the demo")?;
            let path = directory.path().join("demo.convodb");
            Ok((served(&path, &options, true)?, Some(directory)))
        }
    }
}

fn cannot_listen(flag: &str, listen: &str, error: &io::Error) -> anyhow::Error {
    if error.kind() == io::ErrorKind::AddrInUse {
        return anyhow!(
            "cannot listen on {listen}: the address is in use, perhaps by another `convodb serve`; \
             {flag} 127.0.0.1:0 chooses a free port"
        );
    }
    anyhow!("cannot listen on {listen}: {error}")
}

/// Prints a new access token, as a line for the shell, and what to try with it.
fn introduce(store: &Store, user: UserId, base: &str, has_console: bool) -> Result<()> {
    // Every screen of the console can be tried with it.
    let options = TokenOptions { scopes: Scopes::ALL, ..TokenOptions::default() };
    let token = store.create_token_with(user, now()?, options)?.token;
    let curl = |query: &str| {
        format!(
            "curl -sS -H \"Authorization: Bearer $TOKEN\" '{base}/api/user/conversations{query}'"
        )
    };
    say(format_args!("demo store of the user {}; paste this into another terminal:\n", demo::USER));
    say(format_args!("  export TOKEN={token}\n\nthen try:\n"));
    if has_console {
        say(format_args!("  {base}/console in a browser, and sign in with the token"));
    }
    say(format_args!("  {}", curl("?type=whatsapp")));
    if let Some(phone) = demo::frequent_phone(store, user)? {
        say(format_args!("  {}", curl(&format!("?customer_phone={phone}"))));
    }
    say(format_args!("  {}", curl("/stats?group_by=month,type")));
    say(format_args!("\nall requests: {base}/docs\n"));
    Ok(())
}

/// Serves until the first signal, and then finishes the requests in flight or stops at the second.
async fn serve(
    source: Source,
    listener: TcpListener,
    metrics: Option<TcpListener>,
    config: Config,
    [mut first, mut second]: [Signals; 2],
) -> io::Result<()> {
    let graceful_stop = async move {
        first.next().await;
        systemd::notify_stopping();
        say("finishing the requests in flight; a second signal stops at once");
    };
    let force_stop = async move {
        second.next().await;
        second.next().await;
    };
    let serve = async {
        match metrics {
            None => convodb_http::serve(source, listener, config, graceful_stop).await,
            Some(metrics) => {
                convodb_http::serve_with_metrics(source, listener, metrics, config, graceful_stop)
                    .await
            }
        }
    };
    tokio::select! {
        served = serve => served,
        () = force_stop => Ok(()),
    }
}

/// Ignores SIGHUP, which would end the process, and logs each. Its sender expects the settings to be
/// read again, or closes the terminal of a server that others use.
#[cfg(unix)]
fn ignore_hangups() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangups = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            tracing::info!(
                "ignored SIGHUP; settings are read at the start, so restart to change them"
            );
        }
    });
    Ok(())
}

/// The signals that stop the server: SIGTERM, SIGINT and SIGQUIT, or Ctrl-C.
struct Signals {
    #[cfg(unix)]
    stop: [tokio::signal::unix::Signal; 3],
}

impl Signals {
    #[cfg(unix)]
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let stop = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::quit()];
        let [terminate, interrupt, quit] = stop.map(signal);
        Ok(Self { stop: [terminate?, interrupt?, quit?] })
    }

    #[cfg(unix)]
    async fn next(&mut self) {
        let [terminate, interrupt, quit] = &mut self.stop;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = quit.recv() => {}
        }
    }

    #[cfg(not(unix))]
    #[allow(clippy::unnecessary_wraps, reason = "on other systems, this can fail")]
    fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    async fn next(&mut self) {
        // Without a handler of Ctrl-C, the system ends the process.
        if tokio::signal::ctrl_c().await.is_err() {
            pending::<()>().await;
        }
    }
}
