//! `convodb serve`: the store over HTTP, until Ctrl-C or SIGTERM; with `--demo`, one that is made
//! up first.
//!
//! The only verb with a runtime. A first signal lets requests in flight finish, a second one does
//! not; both ways the store is closed, and its file is whole.

#[cfg(unix)]
mod admin_socket;
mod demo;
mod retention;
mod settings;
mod systemd;

use std::future::pending;
use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use convodb::{Store, UserId};
use convodb_http::{Config, Limits, local_url};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

use crate::args::{LogFormat, Serve, Usage};
use crate::console::{now, say};
use crate::open_store::{WhileServed, existing, existing_or_new};
#[cfg(unix)]
use crate::serve::admin_socket::AdminSocket;
use crate::serve::retention::Kept;
use crate::serve::settings::Settings;

/// How long work that a second signal left behind may go on.
const PATIENCE: Duration = Duration::from_secs(1);

/// Serves until a signal, or prints the settings with which it would.
pub(crate) fn run(verb: &Serve, out: &mut dyn Write) -> Result<()> {
    if verb.config.is_none() && !verb.check_config {
        return serve_until_stopped(verb);
    }
    let Settings { serve, listing } = settings::effective(std::env::args_os())?;
    if !serve.check_config {
        return serve_until_stopped(&serve);
    }
    settings::check_together(&serve)?;
    filter(&serve.log)?;
    Ok(out.write_all(listing.as_bytes())?)
}

fn serve_until_stopped(verb: &Serve) -> Result<()> {
    settings::check_together(verb)?;
    start_log(&verb.log, verb.log_format)?;
    let runtime = convodb_http::runtime().context("cannot start the server")?;
    // Before the store: who cannot listen needs no data.
    let listener = runtime.block_on(TcpListener::bind(&verb.listen));
    let listener = listener.map_err(|error| cannot_listen(verb, &error))?;
    let address = listener.local_addr().context("cannot listen")?;
    let signals =
        runtime.block_on(async { Ok::<_, io::Error>([Signals::new()?, Signals::new()?]) });
    let signals = signals.context("cannot listen for signals")?;

    let (store, temporary) = open(verb)?;
    let base = local_url(address);
    if verb.demo {
        let user = demo::ensure(&store, now()?)?;
        introduce(&store, user, &base)?;
    }
    let beside = {
        let _entered = runtime.enter();
        beside(&store, verb)?
    };
    let public = verb.public_url.as_ref().map(|url| format!(", public as {url}"));
    let public = public.unwrap_or_default();
    say(format_args!("listening on {base}{public}; Ctrl-C or SIGTERM stops it"));
    let (public_url, rate_limit) = (verb.public_url.clone(), verb.rate_limit);
    let config = Config { public_url, rate_limit, limits: limits(verb) };
    systemd::tell_ready();
    let served = runtime.block_on(async {
        tokio::select! {
            served = serve(store.clone(), listener, config, signals) => served,
            () = beside => Ok(()),
        }
    });
    runtime.shutdown_timeout(PATIENCE);
    let closed = store.close().context("the store was not closed cleanly");
    served.context("the server failed")?;
    closed?;
    if let Some(directory) = temporary {
        directory.close().context("cannot remove the temporary store")?;
    }
    say("stopped");
    Ok(())
}

/// What each client may take.
fn limits(verb: &Serve) -> Limits {
    Limits {
        connections: verb.max_connections,
        head: Duration::from_secs(verb.head_timeout),
        write: Duration::from_secs(verb.write_timeout),
        ..Limits::default()
    }
}

/// What goes on beside serving, for ever: the operator's requests, what is not kept longer, the
/// supervisor.
fn beside(store: &Store, verb: &Serve) -> Result<impl Future<Output = ()> + use<>> {
    #[cfg(unix)]
    let admin = verb.admin_socket.as_deref().map(AdminSocket::bind).transpose()?;
    #[cfg(not(unix))]
    if verb.admin_socket.is_some() {
        bail!(Usage("--admin-socket: this system has no such sockets".to_owned()));
    }
    if let Some(directory) = verb.backup_dir.as_deref().filter(|directory| !directory.is_dir()) {
        bail!("there is no directory {} for backups", directory.display());
    }
    let (store, backups) = (store.clone(), verb.backup_dir.clone());
    let kept = Kept { conversations: verb.keep, changes: verb.keep_changes };
    Ok(async move {
        let well = systemd::keep_telling(store.clone());
        let kept = retention::keep(store.clone(), kept);
        let asked = async {
            #[cfg(unix)]
            if let Some((_socket, listener)) = admin {
                let routes = convodb_http::admin_routes(store.clone(), backups);
                convodb_http::serve_admin(listener, routes, pending()).await;
            }
        };
        tokio::join!(well, kept, asked);
        pending::<()>().await;
    })
}

fn filter(directives: &str) -> Result<EnvFilter> {
    EnvFilter::try_new(directives)
        .map_err(|error| anyhow!(Usage(format!("--log {directives}: {error}"))))
}

fn start_log(directives: &str, format: LogFormat) -> Result<()> {
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter(directives)?)
        .with_writer(io::stderr)
        // What cannot be logged because nobody reads it must not end what was to be logged.
        .log_internal_errors(false);
    let started = match format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow!("cannot start the log: {error}"))
}

/// The store to serve, and the directory to remove at the end where it is a temporary one.
fn open(verb: &Serve) -> Result<(Store, Option<TempDir>)> {
    let cache_bytes = verb.cache_bytes.0;
    match &verb.db {
        Some(path) if verb.demo => {
            Ok((existing_or_new(path, cache_bytes, WhileServed::Stop)?, None))
        }
        Some(path) => Ok((existing(path, cache_bytes, WhileServed::Stop)?, None)),
        None => {
            let prefix = "convodb-demo-";
            let directory = tempfile::Builder::new()
                .prefix(prefix)
                .tempdir()
                .context("cannot make a temporary directory for the demo")?;
            let path = directory.path().join("demo.convodb");
            Ok((existing_or_new(&path, cache_bytes, WhileServed::Stop)?, Some(directory)))
        }
    }
}

fn cannot_listen(verb: &Serve, error: &io::Error) -> anyhow::Error {
    let listen = &verb.listen;
    if error.kind() == io::ErrorKind::AddrInUse {
        return anyhow!(
            "cannot listen on {listen}: another process does, perhaps another `convodb serve`; \
             --listen 127.0.0.1:0 takes a free port"
        );
    }
    anyhow!("cannot listen on {listen}: {error}")
}

/// Prints a fresh token and what to try with it.
fn introduce(store: &Store, user: UserId, base: &str) -> Result<()> {
    let token = store.create_token(user, now()?)?;
    let list = format!("{base}/api/user/conversations");
    let curl =
        |query: &str| format!("curl -sS -H 'Authorization: Bearer {token}' '{list}?{query}'");
    say(format_args!("a demo store of the user {}; a fresh token for it:\n", demo::USER));
    say(format_args!("  {token}\n\nto try it:\n"));
    say(format_args!("  {}", curl("type=whatsapp")));
    if let Some(phone) = demo::frequent_phone(store, user)? {
        say(format_args!("  {}", curl(&format!("customer_phone={phone}"))));
    }
    say("");
    Ok(())
}

/// Serves until the first signal and its requests are done, or until the second signal.
async fn serve(
    store: Store,
    listener: TcpListener,
    config: Config,
    [mut first, mut second]: [Signals; 2],
) -> io::Result<()> {
    let stop = async move {
        first.next().await;
        systemd::tell_stopping();
        say("stopping once the requests in flight are done; a second signal stops at once");
    };
    let hurried = async move {
        second.next().await;
        second.next().await;
    };
    tokio::select! {
        served = convodb_http::serve(store, listener, config, stop) => served,
        () = hurried => Ok(()),
    }
}

/// The signals that ask a process to stop.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    #[cfg(unix)]
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    #[cfg(not(unix))]
    #[allow(clippy::unnecessary_wraps, reason = "where there are signals, this can fail")]
    fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    async fn next(&mut self) {
        // Where Ctrl-C cannot be heard, nothing but the end of the process stops it.
        if tokio::signal::ctrl_c().await.is_err() {
            pending::<()>().await;
        }
    }
}
