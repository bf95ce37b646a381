//! A PostgreSQL server of this program's own: made with `initdb`, reached over a Unix socket only,
//! stopped when dropped. Run by root, it runs as the user `postgres`, because the server refuses
//! to be root.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use postgres::{Client, Config, NoTls};
use tempfile::TempDir;

/// Where Debian's package puts the programs.
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";
const USER: &str = "postgres";

/// Room for more than is read, checkpoints out of the start of a load, no other listener.
const SETTINGS: &str = "listen_addresses = ''\nshared_buffers = '2GB'\nmax_wal_size = '8GB'\n\
     work_mem = '64MB'\nmaintenance_work_mem = '512MB'\nwal_level = minimal\n\
     max_wal_senders = 0\nautovacuum = off\njit = off\nrandom_page_cost = 1.1\n\
     effective_cache_size = '4GB'\n";

/// A running server.
pub(crate) struct Server {
    data: PathBuf,
    sockets: TempDir,
}

/// A command, as the server's own user where this program is root.
fn as_user(program: impl AsRef<std::ffi::OsStr>) -> Result<Command> {
    if id_of(None)? != 0 {
        return Ok(Command::new(program));
    }
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={USER}")).arg(format!("--regid={USER}")).arg("--clear-groups");
    command.arg("--").arg(program);
    Ok(command)
}

/// The number of a user, by default this program's.
fn id_of(user: Option<&str>) -> Result<u32> {
    let output = Command::new("id").arg("-u").args(user).output()?;
    ensure!(output.status.success(), "there is no user {}", user.unwrap_or_default());
    Ok(String::from_utf8_lossy(&output.stdout).trim().parse()?)
}

fn run(mut command: Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {said}");
    Ok(())
}

/// Gives a directory to the server's user.
fn give(path: &Path) -> Result<()> {
    if id_of(None)? == 0 {
        let user = id_of(Some(USER))?;
        std::os::unix::fs::chown(path, Some(user), Some(user))?;
    }
    Ok(())
}

/// Whether the programs are there.
pub(crate) fn is_installed() -> bool {
    Path::new(PROGRAMS).join("initdb").exists()
}

/// Makes an empty cluster in the directory.
pub(crate) fn make(data: &Path) -> Result<()> {
    std::fs::create_dir_all(data)?;
    give(data)?;
    let mut initdb = as_user(Path::new(PROGRAMS).join("initdb"))?;
    initdb.current_dir("/").arg("-D").arg(data).arg("-U").arg(USER);
    initdb.args(["-E", "UTF8", "--locale=C", "--auth=trust", "--no-sync"]);
    run(initdb)?;
    let settings = data.join("postgresql.auto.conf");
    std::fs::write(settings, SETTINGS).context("the settings cannot be written")
}

impl Server {
    /// Starts the cluster in the directory and waits until it answers.
    pub(crate) fn start(data: &Path) -> Result<Self> {
        let sockets = tempfile::tempdir()?;
        give(sockets.path())?;
        let data = data.canonicalize()?;
        let mut start = as_user(Path::new(PROGRAMS).join("pg_ctl"))?;
        start.current_dir("/").args(["start", "-w", "-t", "120", "-D"]).arg(&data);
        start.arg("-l").arg(sockets.path().join("log"));
        start.arg("-o").arg(format!("-k {}", sockets.path().display()));
        // The server keeps what it inherits open, so it is given nothing to be waited for.
        let status = start.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        ensure!(status.status()?.success(), "the server in {} did not start", data.display());
        Ok(Self { data, sockets })
    }

    /// A connection.
    pub(crate) fn connect(&self) -> Result<Client> {
        let mut config = Config::new();
        config.host_path(self.sockets.path()).user(USER).dbname("postgres");
        // A statement is planned once, not for each of its values.
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
        // Nothing can be done about it here, and a server that goes on harms no figure.
        drop(stop);
    }
}
