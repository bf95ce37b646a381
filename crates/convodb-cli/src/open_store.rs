//! Store opening: cache sizes, and errors that say what to do while another process has the file.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use convodb::{Error, Store, StoreOptions, UnfinishedErasure};

use crate::console::{quoted, say};

/// Page cache of verbs that read little of the file.
pub(crate) const SMALL_CACHE_BYTES: usize = 64 << 20;
/// Page cache of verbs that read all of the file.
pub(crate) const LARGE_CACHE_BYTES: usize = 256 << 20;

/// What to do instead while a server has the file open.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WhileServed {
    /// Send this request to the server.
    Request(&'static str),
    /// Run this command, which needs a server with an admin socket.
    Command(&'static str),
    /// Run this command on a backup.
    Copy(&'static str),
    /// Stop the server, or start it with this flag, which does the same regularly.
    ServerFlag(&'static str),
    /// Stop the server first.
    Stop,
}

/// Opens the store at `path`, which must exist: a mistyped name must not create an empty store.
pub(crate) fn existing(path: &Path, cache_bytes: usize, served: WhileServed) -> Result<Store> {
    require(path)?;
    existing_or_new(path, cache_bytes, served)
}

/// Checks that the store at `path` exists and can be opened, for a compaction, which finishes what
/// the other functions warn of.
pub(crate) fn check(path: &Path, cache_bytes: usize, served: WhileServed) -> Result<()> {
    require(path)?;
    open(path, &StoreOptions::new().cache_bytes(cache_bytes), served)?.close()?;
    Ok(())
}

/// Opens the store at `path`, which must exist, and verifies the checksum of every page. If
/// `without_wal`, gives up its WAL.
pub(crate) fn existing_checked(path: &Path, without_wal: bool) -> Result<Store> {
    require(path)?;
    let options = StoreOptions::new().cache_bytes(LARGE_CACHE_BYTES).check_on_open(true);
    warned(open(path, &options.without_wal(without_wal), WhileServed::Stop)?, path)
}

/// Opens the store at `path`, which must exist, for reading only: no file changes.
pub(crate) fn read_only(path: &Path, served: WhileServed) -> Result<Store> {
    require(path)?;
    open(path, &StoreOptions::new().cache_bytes(SMALL_CACHE_BYTES).read_only(true), served)
}

/// Opens the store at `path` for a server, which may be one to create.
pub(crate) fn served(path: &Path, options: &StoreOptions, create: bool) -> Result<Store> {
    if !create {
        require(path)?;
    }
    warned(open(path, options, WhileServed::Stop)?, path)
}

fn require(path: &Path) -> Result<()> {
    let exists = path.try_exists().with_context(|| format!("cannot open {}", path.display()))?;
    if !exists {
        let wal_exists = has_wal(path);
        let (path, db) = (path.display(), quoted(path.display()));
        if wal_exists {
            bail!(
                "no store at {path}, but its write-ahead log {path}-log.*: put the store back beside \
                 it"
            );
        }
        bail!(
            "no store at {path}; `convodb user create --db {db} NAME` creates one, with its first \
             user"
        );
    }
    Ok(())
}

/// Whether the directory of `path` contains log files of that store.
fn has_wal(path: &Path) -> bool {
    let (Some(name), Some(directory)) = (path.file_name(), path.parent()) else { return false };
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let prefix = [name.as_encoded_bytes(), b"-log."].concat();
    let mut entries = directory.read_dir().into_iter().flatten().flatten();
    entries.any(|entry| entry.file_name().as_encoded_bytes().starts_with(&prefix))
}

/// Opens the store at `path`, or creates it if there is no file.
pub(crate) fn existing_or_new(
    path: &Path,
    cache_bytes: usize,
    served: WhileServed,
) -> Result<Store> {
    let options = StoreOptions::new().cache_bytes(cache_bytes);
    warned(open(path, &options, served)?, path)
}

/// Warns of erasures that are not finished. A server's log has the warning of the engine.
fn warned(store: Store, path: &Path) -> Result<Store> {
    let unfinished = store.snapshot().unfinished_erasures();
    let unfinished = unfinished.with_context(|| format!("cannot read {}", path.display()))?;
    for UnfinishedErasure { user, since, deleted, .. } in unfinished {
        if tracing::dispatcher::has_been_set() {
            break;
        }
        let rest = if deleted { "" } else { "data that is not deleted yet, and " };
        say(format_args!(
            "warning: the erasure for user {user} of {since} UTC is unfinished: {rest}erased bytes \
             remain in the file; `convodb compact --db {}` finishes it",
            quoted(path.display())
        ));
    }
    Ok(store)
}

fn open(path: &Path, options: &StoreOptions, served: WhileServed) -> Result<Store> {
    if path.is_dir() {
        bail!("cannot open {}: it is a directory", path.display());
    }
    match Store::open_with(path, options) {
        Ok(store) => Ok(store),
        Err(Error::InUse { .. }) => Err(in_use(path, served)),
        Err(error @ Error::WalMismatch { .. }) => Err(anyhow!(
            "{error}. To give up what only the log contains, run `convodb verify --without-wal --db \
             {}` once",
            quoted(path.display())
        )),
        Err(error) => Err(error).with_context(|| format!("cannot open {}", path.display())),
    }
}

fn in_use(path: &Path, served: WhileServed) -> anyhow::Error {
    let advice = match served {
        WhileServed::Request(request) => {
            format!("stop that process, or send the server this request: {request}")
        }
        WhileServed::Command(command) => format!(
            "run `{command}` if the server was started with --admin-socket SOCKET, or stop that \
             process"
        ),
        WhileServed::Copy(command) => format!(
            "stop that process, or run `{command}` on a backup of it, which `convodb backup \
             --admin-socket SOCKET` makes while the server runs"
        ),
        WhileServed::ServerFlag(flag) => {
            format!("stop that process, or start the server with {flag}")
        }
        WhileServed::Stop => {
            "stop that process (a server stops on Ctrl-C or SIGTERM) and run this again".to_owned()
        }
    };
    anyhow!(
        "{} is in use by another process, perhaps a running `convodb serve`; {advice}",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_not_created() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("typo.convodb");
        let error = existing(&path, SMALL_CACHE_BYTES, WhileServed::Stop).unwrap_err();
        assert!(error.to_string().contains("convodb user create --db"), "{error}");
        assert!(!path.exists());
    }

    #[test]
    fn a_file_in_use_is_an_error_with_advice() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("open.convodb");
        let open = Store::open(&path).unwrap();
        let request = WhileServed::Request("GET /api/user/conversations");
        let error = existing(&path, SMALL_CACHE_BYTES, request).unwrap_err().to_string();
        assert!(error.contains("in use by another process"), "{error}");
        assert!(error.contains("GET /api/user/conversations"), "{error}");
        open.close().unwrap();
        existing(&path, SMALL_CACHE_BYTES, request).unwrap().close().unwrap();
    }
}
