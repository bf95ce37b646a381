//! Progress file of an import from a server: the cursor and the counts, beside the store.
//!
//! Replaced atomically after each page. Only its owner can read it; it contains the server's cursor
//! but no token. It is valid for a store that contains the pages before the cursor: it has the
//! version of the store after the last of them, and the number of the user.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use convodb::{Snapshot, StoreVersion, UserId};
use serde::{Deserialize, Serialize};

use crate::io::atomic_file::{AtomicFile, with_suffix};

const VERSION: u32 = 2;

/// The parameters of an import. A resumed import must have the same ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) from: String,
    pub(crate) user: String,
    pub(crate) since: Option<String>,
    pub(crate) update: bool,
}

/// What an import did so far, in all its runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) pages: u64,
    pub(crate) inserted: u64,
    pub(crate) updated: u64,
    pub(crate) already_present: u64,
    /// Listed before in the same run.
    pub(crate) repeated: u64,
    /// Created before `--since`.
    pub(crate) too_old: u64,
    pub(crate) messages: u64,
    pub(crate) assistants_created: u64,
    pub(crate) rejected: u64,
}

impl Counts {
    /// The number of conversations that the server listed.
    pub(crate) const fn seen(&self) -> u64 {
        let stored = self.inserted + self.updated + self.already_present;
        stored + self.repeated + self.too_old + self.rejected
    }
}

/// The state of an import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    version: u32,
    pub(crate) job: Job,
    /// The cursor of the next page; `None` before the first page is finished.
    pub(crate) cursor: Option<String>,
    pub(crate) counts: Counts,
    /// The file of rejected conversations, an absolute path.
    pub(crate) rejects: PathBuf,
    /// The number of the user, who may have been erased and created again under the same name.
    user: UserId,
    /// The version of the store after the last finished page, as text.
    store: String,
}

impl Progress {
    fn new(job: Job, user: UserId, snapshot: &Snapshot) -> Self {
        Self {
            version: VERSION,
            job,
            cursor: None,
            counts: Counts::default(),
            rejects: PathBuf::new(),
            user,
            store: snapshot.version().to_string(),
        }
    }

    /// The path of the progress file of the store at `db`.
    pub(crate) fn path(db: &Path) -> PathBuf {
        with_suffix(db, ".migration")
    }

    /// Loads the progress of an interrupted import for `user` into the store of `snapshot`, or starts
    /// a new one.
    ///
    /// # Errors
    /// Fails if the file belongs to another job, user or store, or is damaged, unless `restart` is
    /// set.
    pub(crate) fn open(
        db: &Path,
        job: Job,
        user: UserId,
        snapshot: &Snapshot,
        restart: bool,
    ) -> Result<Self> {
        let path = Self::path(db);
        let new = |job| Ok(Self::new(job, user, snapshot));
        let text = match fs::read(&path) {
            _ if restart => return new(job),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return new(job),
            read => read.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let place = path.display();
        let found = serde_json::from_slice::<Self>(&text).ok();
        let Some(found) = found.filter(|found| found.version == VERSION) else {
            bail!("{place} is not a progress file of this version; --restart starts a new import");
        };
        if found.job != job {
            bail!(
                "{place} belongs to another import, from {} for user {}; finish that one with its own \
                 flags, or start a new one with --restart",
                found.job.from,
                found.job.user
            );
        }
        let again = "--restart imports from the beginning, and leaves what is there unchanged";
        if found.user != user {
            bail!(
                "{place} belongs to an import for the user {} with number {}, which has number \
                 {user} now: the user was erased, and what was imported with it; {again}",
                found.job.user,
                found.user
            );
        }
        let version = found.store.parse::<StoreVersion>();
        if !version.is_ok_and(|version| snapshot.contains(version)) {
            bail!(
                "{place} belongs to another store, or to a later state of this one: the store was \
                 removed, replaced or restored from a backup, and what was imported may be missing; \
                 {again}"
            );
        }
        Ok(found)
    }

    /// Whether an earlier run finished a page.
    pub(crate) const fn is_resumed(&self) -> bool {
        self.cursor.is_some()
    }

    /// Replaces the progress file atomically, once the store of `snapshot` contains the page before
    /// the cursor.
    pub(crate) fn save(&mut self, db: &Path, snapshot: &Snapshot) -> Result<()> {
        self.store = snapshot.version().to_string();
        let path = Self::path(db);
        let write = || -> io::Result<()> {
            let mut file = AtomicFile::create(&path, ".new")?;
            file.write_all(&serde_json::to_vec(self)?)?;
            file.publish()
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    /// Removes the progress file of a finished import.
    pub(crate) fn remove(db: &Path) -> Result<()> {
        let path = Self::path(db);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", path.display()))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use convodb::Store;

    fn job(from: &str) -> Job {
        let (from, user) = (from.to_owned(), "acme".to_owned());
        Job { from, user, since: None, update: false }
    }

    #[test]
    fn only_the_same_import_is_resumed() {
        let directory = tempfile::tempdir().unwrap();
        let db = directory.path().join("s.convodb");
        let (store, user) = (Store::in_memory().unwrap(), UserId::new(1));
        let snapshot = store.snapshot();
        let open = |from, restart| Progress::open(&db, job(from), user, &snapshot, restart);
        let mut progress = open("http://a", false).unwrap();
        assert!(!progress.is_resumed());
        progress.cursor = Some("c".to_owned());
        progress.counts.pages = 3;
        progress.save(&db, &snapshot).unwrap();
        assert_eq!(open("http://a", false).unwrap(), progress);

        let other = open("http://b", false).unwrap_err().to_string();
        assert!(other.contains("http://a") && other.contains("--restart"), "{other}");
        assert!(!open("http://b", true).unwrap().is_resumed());
        fs::write(Progress::path(&db), "torn").unwrap();
        assert!(open("http://a", false).is_err());

        Progress::remove(&db).unwrap();
        Progress::remove(&db).unwrap();
        assert!(!open("http://a", false).unwrap().is_resumed());
    }
}
