//! Opening the store for a verb, with errors that say what to do: above all when a server holds
//! the file, since then another way may lead to the same result.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use convodb::{Error, Store, StoreOptions};

use crate::console::quoted;

/// Memory for pages of the file in verbs that look at little of it.
pub(crate) const SMALL_CACHE_BYTES: usize = 64 << 20;
/// Memory for pages of the file in verbs that go through all of it.
pub(crate) const LARGE_CACHE_BYTES: usize = 256 << 20;

/// What to do instead while a server holds the file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WhileServed {
    /// The server answers this request.
    Ask(&'static str),
    /// The server does this, where it was started with a socket for it.
    Command(&'static str),
    /// Only a stopped server lets go of it.
    Stop,
}

/// Opens the store at `path`, which must exist: a mistyped name must not become an empty store.
pub(crate) fn existing(path: &Path, cache_bytes: usize, served: WhileServed) -> Result<Store> {
    require(path)?;
    existing_or_new(path, cache_bytes, served)
}

/// The same, every page of it checked first.
pub(crate) fn existing_checked(
    path: &Path,
    cache_bytes: usize,
    served: WhileServed,
) -> Result<Store> {
    require(path)?;
    let options = StoreOptions { cache_bytes, check_on_open: true, ..StoreOptions::default() };
    open(path, &options, served)
}

fn require(path: &Path) -> Result<()> {
    let there = path.try_exists().with_context(|| format!("cannot open {}", path.display()))?;
    if !there {
        let (path, db) = (path.display(), quoted(path.display()));
        bail!(
            "there is no store at {path}; `convodb user create --db {db} NAME` makes one, \
             with its first user"
        );
    }
    Ok(())
}

/// Opens the store at `path`, or makes one where there is no file.
pub(crate) fn existing_or_new(
    path: &Path,
    cache_bytes: usize,
    served: WhileServed,
) -> Result<Store> {
    let options = StoreOptions { cache_bytes, ..StoreOptions::default() };
    open(path, &options, served)
}

fn open(path: &Path, options: &StoreOptions, served: WhileServed) -> Result<Store> {
    if path.is_dir() {
        bail!("cannot open {}: it is a directory", path.display());
    }
    match Store::open_with(path, options) {
        Ok(store) => Ok(store),
        Err(Error::InUse) => Err(in_use(path, served)),
        Err(error) => Err(error).with_context(|| format!("cannot open {}", path.display())),
    }
}

fn in_use(path: &Path, served: WhileServed) -> anyhow::Error {
    let way = match served {
        WhileServed::Ask(request) => {
            format!("stop that process first, or ask the server instead: {request}")
        }
        WhileServed::Command(command) => format!(
            "let the server do it: `{command}`, where it was started with --admin-socket SOCKET; \
             or stop that process first"
        ),
        WhileServed::Stop => "stop that process first (a server stops on Ctrl-C or SIGTERM), \
                              run this again, then start it again"
            .to_owned(),
    };
    anyhow!(
        "{} is in use by another process, perhaps a running `convodb serve`; {way}",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_not_made() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("typo.convodb");
        let error = existing(&path, SMALL_CACHE_BYTES, WhileServed::Stop).unwrap_err();
        assert!(error.to_string().contains("convodb user create --db"), "{error}");
        assert!(!path.exists());
    }

    #[test]
    fn a_file_in_use_names_the_way() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("held.convodb");
        let held = Store::open(&path).unwrap();
        let ask = WhileServed::Ask("GET /api/user/conversations");
        let error = existing(&path, SMALL_CACHE_BYTES, ask).unwrap_err().to_string();
        assert!(error.contains("in use by another process"), "{error}");
        assert!(error.contains("GET /api/user/conversations"), "{error}");
        held.close().unwrap();
        existing(&path, SMALL_CACHE_BYTES, ask).unwrap().close().unwrap();
    }
}
