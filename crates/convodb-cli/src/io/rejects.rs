//! Rejects file: the lines that an import could not take, as JSON lines with number and reason.
//!
//! It is created with the first reject, under a temporary name, and published when the import ends.
//! It is always a new file that only its owner can read: rejected lines contain personal data. It
//! replaces no file and follows no symbolic link.

use std::borrow::Cow;
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde::Serialize;

use crate::args::UsageError;
use crate::io::atomic_file::{create_private, publish_new, with_suffix};

/// Writes rejects and counts them.
///
/// Not an [`AtomicFile`](crate::io::atomic_file::AtomicFile): an interrupted import leaves the
/// temporary file, and the resumed one appends to it.
#[derive(Debug)]
pub(crate) struct Rejects {
    path: PathBuf,
    file: Option<BufWriter<File>>,
    count: u64,
    /// The first reject of this run: its number and the reason.
    first: Option<String>,
}

/// A rejected line.
#[derive(Serialize)]
struct Reject<'a> {
    line: u64,
    reason: &'a str,
    /// With U+FFFD in place of invalid UTF-8.
    text: Cow<'a, str>,
}

impl Rejects {
    /// Rejects for a new file at `path`.
    ///
    /// # Errors
    /// Fails if there is a file at `path`, or if it is one of the `others`: the files that the
    /// import reads or writes, which may not exist yet.
    pub(crate) fn new(path: &Path, others: &[&Path]) -> Result<Self> {
        let shown = path.display();
        if others.iter().any(|other| is_same(path, other)) {
            bail!(UsageError(format!(
                "--rejects {shown} is a file that the import reads or writes; choose another"
            )));
        }
        if exists(path)? {
            bail!(UsageError(format!(
                "--rejects {shown} already exists and is not overwritten; choose another name, or \
                 remove it"
            )));
        }
        Ok(Self { path: path.to_owned(), file: None, count: 0, first: None })
    }

    /// Rejects for a new file in the working directory that is named after the `input`, with a
    /// number if earlier files have that name.
    pub(crate) fn named_after(input: &str) -> Result<Self> {
        let mut path = PathBuf::from(format!("{input}.rejects.jsonl"));
        for number in 2.. {
            if !exists(&path)? {
                break;
            }
            path = PathBuf::from(format!("{input}.rejects.{number}.jsonl"));
        }
        Ok(Self { path, file: None, count: 0, first: None })
    }

    /// Appends to the rejects of an interrupted import at `path`, if it had any. If it was killed,
    /// the rejects of its last page may appear twice.
    ///
    /// # Errors
    /// Fails if a file there is not a private file, as the interrupted import created it.
    pub(crate) fn resume(path: &Path) -> Result<Self> {
        let cannot_open = || format!("cannot continue the rejects in {}", path.display());
        let mut rejects = Self { path: path.to_owned(), file: None, count: 0, first: None };
        let temporary = rejects.temporary();
        if exists(path)? {
            let file = open_private(path).with_context(cannot_open)?;
            if exists(&temporary)? {
                let temporary = temporary.display();
                bail!("{}: {temporary} exists as well; move one of them away", cannot_open());
            }
            fs::rename(path, &temporary).with_context(cannot_open)?;
            rejects.file = Some(BufWriter::new(file));
        } else if exists(&temporary)? {
            let file = open_private(&temporary).with_context(cannot_open)?;
            rejects.file = Some(BufWriter::new(file));
        }
        Ok(rejects)
    }

    /// Writes buffered rejects to the file, so that an interruption does not lose them.
    pub(crate) fn flush(&mut self) -> Result<()> {
        match &mut self.file {
            Some(file) => file.flush().with_context(|| cannot_write(&self.path)),
            None => Ok(()),
        }
    }

    fn temporary(&self) -> PathBuf {
        with_suffix(&self.path, ".unfinished")
    }

    /// Writes one rejected line.
    pub(crate) fn write(&mut self, line: u64, reason: &str, text: &[u8]) -> Result<()> {
        let cannot_write = || cannot_write(&self.path);
        if self.file.is_none() {
            let file = create_private(&self.temporary()).with_context(cannot_write)?;
            self.file = Some(BufWriter::new(file));
        }
        self.count += 1;
        self.first.get_or_insert_with(|| format!("line {line}: {reason}"));
        if let Some(file) = &mut self.file {
            let reject = Reject { line, reason, text: String::from_utf8_lossy(text) };
            serde_json::to_writer(&mut *file, &reject).with_context(cannot_write)?;
            file.write_all(b"\n").with_context(cannot_write)?;
        }
        Ok(())
    }

    /// Publishes the file and returns how many lines this run rejected.
    pub(crate) fn finish(&mut self) -> Result<u64> {
        if let Some(mut file) = self.file.take() {
            let temporary = self.temporary();
            file.flush()
                .and_then(|()| publish_new(file.get_ref(), &temporary, &self.path))
                .with_context(|| {
                    format!("{}; they are in {}", cannot_write(&self.path), temporary.display())
                })?;
        }
        Ok(self.count)
    }

    /// The number and the reason of the first reject of this run.
    pub(crate) fn first(&self) -> Option<&str> {
        self.first.as_deref()
    }

    /// The path of the published file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Whether there is a file at `path`, or a symbolic link, even one that leads nowhere.
fn exists(path: &Path) -> Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot access {}", path.display())),
    }
}

/// Whether both paths lead to the same file, or would if it existed.
fn is_same(one: &Path, two: &Path) -> bool {
    let canonical = |path: &Path| {
        path.canonicalize().ok().or_else(|| {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let parent = parent.unwrap_or(Path::new(".")).canonicalize().ok()?;
            Some(parent.join(path.file_name()?))
        })
    };
    canonical(one).is_some_and(|one| canonical(two) == Some(one))
}

/// Opens a file of [`create_private`] to append to it.
///
/// # Errors
/// Fails if it is not a regular file that only its owner can access.
fn open_private(path: &Path) -> Result<File> {
    let refused = || {
        anyhow!(
            "{} is not a file that only its owner can access, as an import creates it; move it \
             away",
            path.display()
        )
    };
    // Before it is opened: opening a pipe would wait.
    let named = fs::symlink_metadata(path)?;
    if !named.is_file() {
        return Err(refused());
    }
    let file = OpenOptions::new().append(true).open(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let opened = file.metadata()?;
        let is_named = (opened.dev(), opened.ino()) == (named.dev(), named.ino());
        if !is_named || opened.mode() & 0o077 != 0 {
            return Err(refused());
        }
    }
    Ok(file)
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write the rejects to {}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_import_is_not_its_rejects_file() {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("store.convodb");
        let other_name = directory.path().join(".").join("store.convodb");
        for exists in [false, true] {
            if exists {
                fs::write(&store, "precious").unwrap();
            }
            let error = Rejects::new(&other_name, &[&store]).unwrap_err();
            assert!(error.is::<UsageError>(), "{error}");
            assert!(error.to_string().contains("reads or writes"), "{error}");
        }
        assert!(Rejects::new(&directory.path().join("new"), &[&store]).is_ok());
    }

    #[test]
    fn no_file_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("r.jsonl");
        fs::write(&path, "precious").unwrap();
        let error = Rejects::new(&path, &[]).unwrap_err();
        assert!(error.is::<UsageError>(), "{error}");
        assert!(error.to_string().contains("choose another name"), "{error}");
        fs::remove_file(&path).unwrap();
        let mut rejects = Rejects::new(&path, &[]).unwrap();
        rejects.write(1, "a", b"x").unwrap();
        // Created by another program in between.
        fs::write(&path, "precious").unwrap();
        let error = rejects.finish().unwrap_err().to_string();
        assert!(error.contains("r.jsonl.unfinished"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        let kept = fs::read_to_string(directory.path().join("r.jsonl.unfinished")).unwrap();
        assert!(kept.starts_with("{\"line\":1,"), "{kept}");

        let input = directory.path().join("chats.jsonl").display().to_string();
        for expected in ["chats.jsonl.rejects.jsonl", "chats.jsonl.rejects.2.jsonl"] {
            let mut rejects = Rejects::named_after(&input).unwrap();
            assert_eq!(rejects.path(), directory.path().join(expected));
            rejects.write(1, "a", b"x").unwrap();
            rejects.finish().unwrap();
        }
    }

    /// Through a link, rejects would be appended to a file of someone else, or be readable with its
    /// permissions.
    #[cfg(unix)]
    #[test]
    fn links_are_not_followed_and_no_permissions_taken_over() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("r.jsonl");
        let unfinished = directory.path().join("r.jsonl.unfinished");
        let target = directory.path().join("target");
        fs::write(&target, "precious").unwrap();
        fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).unwrap();
        for link in [&path, &unfinished] {
            symlink(&target, link).unwrap();
            assert!(Rejects::resume(&path).is_err());
            fs::remove_file(link).unwrap();
        }
        symlink(&target, &path).unwrap();
        assert!(Rejects::new(&path, &[]).is_err());
        fs::remove_file(&path).unwrap();
        symlink(&target, &unfinished).unwrap();
        let mut rejects = Rejects::new(&path, &[]).unwrap();
        rejects.write(1, "a", b"x").unwrap();
        rejects.finish().unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = Rejects::resume(&path).unwrap_err();
        assert!(format!("{error:#}").contains("only its owner"), "{error:#}");
        assert!(path.exists() && !unfinished.exists());
    }

    #[test]
    fn a_resumed_import_appends_to_the_same_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("r.jsonl");
        let resume = || Rejects::resume(&path).unwrap();
        let mut rejects = resume();
        rejects.write(1, "a", b"x").unwrap();
        rejects.flush().unwrap();
        // Interrupted: not published.
        drop(rejects);
        let mut rejects = resume();
        rejects.write(2, "b", b"y").unwrap();
        rejects.finish().unwrap();
        let mut rejects = resume();
        rejects.write(3, "c", b"z").unwrap();
        rejects.finish().unwrap();
        let lines = fs::read_to_string(path).unwrap();
        let numbers: Vec<&str> = lines.lines().map(|line| &line[..9]).collect();
        assert_eq!(numbers, ["{\"line\":1", "{\"line\":2", "{\"line\":3"]);
    }

    #[test]
    fn the_file_is_created_with_the_first_reject() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("r.jsonl");
        let mut rejects = Rejects::new(&path, &[]).unwrap();
        assert_eq!(rejects.finish().unwrap(), 0);
        assert!(!path.exists());
        rejects.write(7, "id must be given", b"{\"a\":\xff}").unwrap();
        assert_eq!(rejects.finish().unwrap(), 1);
        assert_eq!(
            fs::read_to_string(path).unwrap(),
            "{\"line\":7,\"reason\":\"id must be given\",\"text\":\"{\\\"a\\\":\u{fffd}}\"}\n"
        );
    }
}
