//! `convodb backup`: writes a backup, in this process or in the server that has the store open.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use convodb::Error;
use serde::{Deserialize, Serialize};

use crate::admin_client;
use crate::args::{JsonFlag, StoreOrServer, Target, UsageError};
use crate::console::{bytes, entries_bar, grouped, say};
use crate::open_store::{LARGE_CACHE_BYTES, WhileServed, existing};

/// Write a backup: a compact copy of one state of the store, verified while it is copied
///
/// The backup is a complete store: cursors and tokens are valid in it. Its BLAKE3 checksum is
/// written beside it, to FILE.b3, which `b3sum --check` reads. An existing file is never
/// overwritten.
///
/// A running server backs up its own store without a pause: start it with --admin-socket and
/// --backup-dir, and pass the same socket here. The command prints the name of the backup.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "convodb backup --db <FILE> --to <FILE>\n       \
                      convodb backup --admin-socket <SOCKET> [--name <NAME>]",
    after_help = "Example: convodb backup --db chats.convodb --to /backups/chats-2025-01-25.convodb"
)]
pub(crate) struct Args {
    #[command(flatten)]
    target: StoreOrServer,
    /// File of the backup
    #[arg(long, env = "CONVODB_BACKUP_TO", value_name = "FILE", conflicts_with = "admin_socket")]
    to: Option<PathBuf>,
    /// Name of the backup in the server's --backup-dir [default: the present time]
    #[arg(long, env = "CONVODB_BACKUP_NAME", value_name = "NAME", requires = "admin_socket")]
    name: Option<String>,
    #[command(flatten)]
    json: JsonFlag,
}

/// A finished backup as JSON; also the server's response.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    file: String,
    entries: u64,
    bytes: u64,
    checksum: String,
    seconds: f64,
}

/// Backs up the store, or has its server do it.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    let line = match (args.target.target()?, &args.to) {
        (Target::Server(socket), _) => in_server(socket, args.name.as_deref())?,
        (Target::File(db), Some(to)) => in_process(db, to)?,
        (Target::File(_), None) => {
            bail!(UsageError("--to FILE is required with --db".to_owned()))
        }
    };
    if args.json.json {
        writeln!(out, "{}", serde_json::to_string(&line)?)?;
    } else {
        writeln!(out, "{}  {}", line.checksum, line.file)?;
    }
    let Line { file, entries, bytes: size, seconds, .. } = line;
    let (entries, size) = (grouped(entries), bytes(size));
    say(format_args!("backed up {entries} entries to {file} ({size}, {seconds:.1} s)"));
    Ok(())
}

fn in_process(db: &Path, to: &Path) -> Result<Line> {
    let started = Instant::now();
    let served = WhileServed::Command("convodb backup --admin-socket SOCKET");
    let store = existing(db, LARGE_CACHE_BYTES, served)?;
    let (bar, progress) = entries_bar();
    let backup =
        store.snapshot().backup_with(to, convodb::MaintenanceOptions::new().progress(progress));
    bar.finish_and_clear();
    let backup = backup.map_err(|error| match error {
        Error::FileExists(path) => {
            anyhow!("{} already exists and is not overwritten; choose another name", path.display())
        }
        error => {
            anyhow!(error).context(format!("cannot back {} up to {}", db.display(), to.display()))
        }
    })?;
    store.close()?;
    Ok(Line {
        file: to.display().to_string(),
        entries: backup.entries,
        bytes: backup.bytes,
        checksum: backup.checksum,
        seconds: started.elapsed().as_secs_f64(),
    })
}

fn in_server(socket: &Path, name: Option<&str>) -> Result<Line> {
    let body = serde_json::to_string(&serde_json::json!({ "name": name }))?;
    let response = admin_client::request(socket, "POST", "/admin/backup", &body)?;
    serde_json::from_str(&response).context("cannot parse the server's response to the backup")
}
