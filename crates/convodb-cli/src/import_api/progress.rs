//! How far a migration is: a small file beside the store, written anew after each page, whole or not
//! at all. It holds no token; its cursor is the server's, and only its owner can read it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::io::rejects::create_private;

const VERSION: u32 = 1;

/// What the command line asks for. A migration goes on only if that is the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Asked {
    pub(crate) from: String,
    pub(crate) user: String,
    pub(crate) since: Option<String>,
    pub(crate) update: bool,
}

/// What a migration did so far, in all its runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) pages: u64,
    pub(crate) inserted: u64,
    pub(crate) updated: u64,
    pub(crate) already_present: u64,
    /// Seen before in the same run.
    pub(crate) repeated: u64,
    /// Deleted on the server between their page and their history.
    pub(crate) gone: u64,
    /// Created before what `--since` says.
    pub(crate) too_old: u64,
    pub(crate) messages: u64,
    pub(crate) assistants_created: u64,
    pub(crate) rejected: u64,
}

impl Counts {
    /// How many conversations were met.
    pub(crate) const fn met(&self) -> u64 {
        let stored = self.inserted + self.updated + self.already_present;
        stored + self.repeated + self.gone + self.too_old + self.rejected
    }
}

/// The state of a migration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    version: u32,
    pub(crate) asked: Asked,
    /// Where the list goes on; none at its beginning.
    pub(crate) cursor: Option<String>,
    pub(crate) counts: Counts,
}

impl Progress {
    fn new(asked: Asked) -> Self {
        Self { version: VERSION, asked, cursor: None, counts: Counts::default() }
    }

    /// Where the progress of a migration into the store at `db` stands.
    pub(crate) fn path(db: &Path) -> PathBuf {
        beside(db, ".migration")
    }

    /// The migration that was interrupted, or a new one; an interrupted one of something else is an
    /// error, unless it is to be forgotten.
    pub(crate) fn open(db: &Path, asked: Asked, restart: bool) -> Result<Self> {
        let path = Self::path(db);
        let text = match fs::read(&path) {
            _ if restart => return Ok(Self::new(asked)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::new(asked)),
            read => read.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let place = path.display();
        let found = serde_json::from_slice::<Self>(&text).ok();
        let Some(found) = found.filter(|found| found.version == VERSION) else {
            bail!("{place} is not the progress of a migration; --restart begins anew");
        };
        if found.asked != asked {
            bail!(
                "{place} is of another migration, from {} for user {}; finish that one with the \
                 flags it began with, or begin anew with --restart",
                found.asked.from,
                found.asked.user
            );
        }
        Ok(found)
    }

    /// Whether something was done before.
    pub(crate) const fn is_resumed(&self) -> bool {
        self.cursor.is_some()
    }

    /// Puts it on disk, in place of what was there.
    pub(crate) fn save(&self, db: &Path) -> Result<()> {
        let (path, new) = (Self::path(db), beside(db, ".migration.new"));
        let write = || -> io::Result<()> {
            let mut file = create_private(&new)?;
            file.write_all(&serde_json::to_vec(self)?)?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            // The name is durable once its directory is.
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    /// Takes it away: the migration is done.
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

fn beside(db: &Path, suffix: &str) -> PathBuf {
    let mut name = db.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(from: &str) -> Asked {
        let (from, user) = (from.to_owned(), "acme".to_owned());
        Asked { from, user, since: None, update: false }
    }

    #[test]
    fn it_is_found_again_and_only_by_the_same_command() {
        let directory = tempfile::tempdir().unwrap();
        let db = directory.path().join("s.convodb");
        let mut progress = Progress::open(&db, asked("http://a"), false).unwrap();
        assert!(!progress.is_resumed());
        progress.cursor = Some("c".to_owned());
        progress.counts.pages = 3;
        progress.save(&db).unwrap();
        assert_eq!(Progress::open(&db, asked("http://a"), false).unwrap(), progress);

        let other = Progress::open(&db, asked("http://b"), false).unwrap_err().to_string();
        assert!(other.contains("http://a") && other.contains("--restart"), "{other}");
        assert!(!Progress::open(&db, asked("http://b"), true).unwrap().is_resumed());
        fs::write(Progress::path(&db), "torn").unwrap();
        assert!(Progress::open(&db, asked("http://a"), false).is_err());

        Progress::remove(&db).unwrap();
        Progress::remove(&db).unwrap();
        assert!(!Progress::open(&db, asked("http://a"), false).unwrap().is_resumed());
    }
}
