//! `convodb backup`: by this process, or by the server that holds the store.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use convodb::{Error, checksum_path};
use serde::{Deserialize, Serialize};

use crate::admin_client;
use crate::args::Usage;
use crate::console::{bytes, entries_bar, grouped, say};
use crate::open_store::{LARGE_CACHE_BYTES, WhileServed, existing};
use crate::upkeep::Backup;

/// A backup that was made, as JSON: what the server answers, too.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    file: String,
    entries: u64,
    bytes: u64,
    checksum: String,
    seconds: f64,
}

/// Makes a backup, or lets the server make it.
pub(crate) fn run(verb: &Backup, out: &mut dyn Write) -> Result<()> {
    let line = match (&verb.admin_socket, &verb.db, &verb.to) {
        (Some(socket), _, None) => served(socket, verb.name.as_deref())?,
        (None, Some(db), Some(to)) => own(db, to)?,
        _ => {
            let usage =
                "--db FILE and --to FILE are needed, or --admin-socket SOCKET of the server";
            return Err(anyhow!(Usage(usage.to_owned())));
        }
    };
    if verb.json.json {
        writeln!(out, "{}", serde_json::to_string(&line)?)?;
    } else {
        writeln!(out, "{}  {}", line.checksum, line.file)?;
    }
    let Line { file, entries, bytes: size, seconds, .. } = line;
    let (entries, size) = (grouped(entries), bytes(size));
    say(format_args!("backed up {entries} entries to {file} ({size}, {seconds:.1} s)"));
    Ok(())
}

fn own(db: &Path, to: &Path) -> Result<Line> {
    let started = Instant::now();
    let served = WhileServed::Command("convodb backup --admin-socket SOCKET");
    let store = existing(db, LARGE_CACHE_BYTES, served)?;
    let (bar, follow) = entries_bar();
    let made = store.snapshot().backup(to, follow);
    bar.finish_and_clear();
    let made = made.map_err(|error| match error {
        Error::FileExists(path) => {
            anyhow!("{} is there already; no backup is overwritten, name another", path.display())
        }
        error => {
            anyhow!(error).context(format!("cannot back {} up to {}", db.display(), to.display()))
        }
    })?;
    store.close()?;
    Ok(Line {
        file: to.display().to_string(),
        entries: made.entries,
        bytes: made.bytes,
        checksum: made.checksum,
        seconds: started.elapsed().as_secs_f64(),
    })
}

fn served(socket: &Path, name: Option<&str>) -> Result<Line> {
    let body = serde_json::to_string(&serde_json::json!({ "name": name }))?;
    let answer = admin_client::ask(socket, "POST", "/admin/backup", &body)?;
    serde_json::from_str(&answer).context("the server's answer is not one of a backup")
}

/// The name of the file that has a backup's checksum, for a message.
pub(crate) fn checksum_name(backup: &Path) -> String {
    checksum_path(backup).display().to_string()
}
