//! PostgreSQL server process: a private cluster, reached over a Unix socket only, stopped on drop.
//!
//! If this program runs as root, the server runs as the user `postgres`, because it refuses to run
//! as root.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use postgres::{Client, Config, NoTls};
use tempfile::TempDir;

/// The directory of the programs in Debian's package.
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";
const USER: &str = "postgres";

/// Settings: buffers for more than is read, no checkpoint during a load, no TCP listener.
const SETTINGS: &str = "listen_addresses = ''\nshared_buffers = '2GB'\nmax_wal_size = '8GB'\n\
     work_mem = '64MB'\nmaintenance_work_mem = '512MB'\nwal_level = minimal\n\
     max_wal_senders = 0\nautovacuum = off\njit = off\nrandom_page_cost = 1.1\n\
     effective_cache_size = '4GB'\n";

/// A running server.
pub(crate) struct Server {
    data: PathBuf,
    sockets: TempDir,
}

/// A command that runs as the server's user if this program is root.
fn as_user(program: impl AsRef<std::ffi::OsStr>) -> Result<Command> {
    if id_of(None)? != 0 {
        return Ok(Command::new(program));
    }
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={USER}")).arg(format!("--regid={USER}")).arg("--clear-groups");
    command.arg("--").arg(program);
    Ok(command)
}

/// The uid of a user; without a name, of this program.
fn id_of(user: Option<&str>) -> Result<u32> {
    let output = Command::new("id").arg("-u").args(user).output()?;
    ensure!(output.status.success(), "unknown system user {}", user.unwrap_or_default());
    Ok(String::from_utf8_lossy(&output.stdout).trim().parse()?)
}

fn run(mut command: Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {stderr}");
    Ok(())
}

/// Transfers a directory to the server's user.
fn chown_to_server(path: &Path) -> Result<()> {
    if id_of(None)? == 0 {
        let user = id_of(Some(USER))?;
        std::os::unix::fs::chown(path, Some(user), Some(user))?;
    }
    Ok(())
}

/// Whether the programs are installed.
pub(crate) fn is_installed() -> bool {
    Path::new(PROGRAMS).join("initdb").exists()
}

/// Creates an empty cluster in a directory.
pub(crate) fn create_cluster(data: &Path) -> Result<()> {
    std::fs::create_dir_all(data)?;
    chown_to_server(data)?;
    let mut initdb = as_user(Path::new(PROGRAMS).join("initdb"))?;
    initdb.current_dir("/").arg("-D").arg(data).arg("-U").arg(USER);
    initdb.args(["-E", "UTF8", "--locale=C", "--auth=trust", "--no-sync"]);
    run(initdb)?;
    let settings = data.join("postgresql.auto.conf");
    std::fs::write(settings, SETTINGS).context("cannot write the server settings")
}

impl Server {
    /// Starts the cluster in a directory and waits until it accepts connections.
    pub(crate) fn start(data: &Path) -> Result<Self> {
        let sockets = tempfile::tempdir()?;
        chown_to_server(sockets.path())?;
        let data = data.canonicalize()?;
        let mut start = as_user(Path::new(PROGRAMS).join("pg_ctl"))?;
        start.current_dir("/").args(["start", "-w", "-t", "120", "-D"]).arg(&data);
        start.arg("-l").arg(sockets.path().join("log"));
        start.arg("-o").arg(format!("-k {}", sockets.path().display()));
        // The server keeps inherited pipes open, which would block a reader, so it gets none.
        let status = start.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        ensure!(status.status()?.success(), "cannot start the server in {}", data.display());
        Ok(Self { data, sockets })
    }

    /// Opens a connection.
    pub(crate) fn connect(&self) -> Result<Client> {
        let mut config = Config::new();
        config.host_path(self.sockets.path()).user(USER).dbname("postgres");
        // Plan a statement once, not for each set of values.
        config.options("-c plan_cache_mode=force_generic_plan");
        Ok(config.connect(NoTls)?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let stop = as_user(Path::new(PROGRAMS).join("pg_ctl")).and_then(|mut stop| {
            stop.current_dir("/").args(["stop", "-w", "-m", "fast", "-D"]).arg(&self.data);
            run(stop)
        });
        // A drop cannot report the error, and a server left running does not affect the figures.
        drop(stop);
    }
}
