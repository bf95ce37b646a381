//! Rejects file: the lines that an import could not take, as JSON lines with number and reason.
//!
//! It is created with the first reject, under a temporary name, and published when the import ends.
//! An import without rejects leaves an earlier file alone.

use std::borrow::Cow;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::args::UsageError;
use crate::io::atomic_file::{create_private, publish, with_suffix};

/// Writes rejects and counts them.
///
/// Not an [`AtomicFile`](crate::io::atomic_file::AtomicFile): an interrupted import leaves the
/// temporary file, and the resumed one appends to it.
#[derive(Debug)]
pub(crate) struct Rejects {
    path: PathBuf,
    file: Option<BufWriter<File>>,
    count: u64,
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
    /// Rejects for the file at `path`, which replace those of an earlier import.
    ///
    /// # Errors
    /// Fails if `path` is one of the `others`: the files that the import reads or writes.
    pub(crate) fn new(path: PathBuf, others: &[&Path]) -> Result<Self> {
        let same = |other: &&Path| match (path.canonicalize(), other.canonicalize()) {
            (Ok(path), Ok(other)) => path == other,
            _ => false,
        };
        if others.iter().any(same) {
            bail!(UsageError(format!(
                "--rejects {} is a file that the import reads or writes; choose another",
                path.display()
            )));
        }
        Ok(Self { path, file: None, count: 0 })
    }

    /// Appends to the rejects of an interrupted import. If it was killed, the rejects of its last
    /// page may appear twice.
    pub(crate) fn resume(mut self) -> Result<Self> {
        let temporary = self.temporary();
        let append = || -> io::Result<Option<File>> {
            if self.path.try_exists()? {
                fs::rename(&self.path, &temporary)?;
            } else if !temporary.try_exists()? {
                return Ok(None);
            }
            OpenOptions::new().append(true).open(&temporary).map(Some)
        };
        let file = append().with_context(|| format!("cannot open {}", self.path.display()))?;
        self.file = file.map(BufWriter::new);
        Ok(self)
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

    /// The default path: in the working directory, named after the input.
    pub(crate) fn default_path(input: &Path) -> PathBuf {
        let name = match input.file_name() {
            Some(name) if name != "-" => name.to_string_lossy(),
            _ => "stdin".into(),
        };
        PathBuf::from(format!("{name}.rejects.jsonl"))
    }

    /// Writes one rejected line.
    pub(crate) fn write(&mut self, line: u64, reason: &str, text: &[u8]) -> Result<()> {
        let cannot_write = || cannot_write(&self.path);
        if self.file.is_none() {
            let file = create_private(&self.temporary()).with_context(cannot_write)?;
            self.file = Some(BufWriter::new(file));
        }
        self.count += 1;
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
            file.flush()
                .and_then(|()| publish(file.get_ref(), &self.temporary(), &self.path))
                .with_context(|| cannot_write(&self.path))?;
        }
        Ok(self.count)
    }

    /// The path of the published file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write the rejects to {}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_are_named_after_their_input() {
        #[track_caller]
        fn check(input: &str, expected: &str) {
            assert_eq!(Rejects::default_path(Path::new(input)), Path::new(expected));
        }
        check("/data/chats.jsonl.gz", "chats.jsonl.gz.rejects.jsonl");
        check("-", "stdin.rejects.jsonl");
    }

    #[test]
    fn a_file_of_the_import_is_not_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("store.convodb");
        fs::write(&store, "precious").unwrap();
        let other_name = directory.path().join(".").join("store.convodb");
        let error = Rejects::new(other_name, &[&store]).unwrap_err();
        assert!(error.is::<UsageError>(), "{error}");
        assert!(Rejects::new(directory.path().join("new"), &[&store]).is_ok());
    }

    #[test]
    fn a_resumed_import_appends_to_the_same_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("r.jsonl");
        let new = || Rejects::new(path.clone(), &[]).unwrap();
        let mut rejects = new().resume().unwrap();
        rejects.write(1, "a", b"x").unwrap();
        rejects.flush().unwrap();
        // Interrupted: not published.
        drop(rejects);
        let mut rejects = new().resume().unwrap();
        rejects.write(2, "b", b"y").unwrap();
        rejects.finish().unwrap();
        let mut rejects = new().resume().unwrap();
        rejects.finish().unwrap();
        let lines = fs::read_to_string(path).unwrap();
        assert!(lines.starts_with("{\"line\":1,") && lines.contains("\n{\"line\":2,"), "{lines}");
    }

    #[test]
    fn the_file_is_created_with_the_first_reject() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("r.jsonl");
        let mut rejects = Rejects::new(path.clone(), &[]).unwrap();
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
