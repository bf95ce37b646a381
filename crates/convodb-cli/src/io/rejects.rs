//! The file of rejects: lines that an import could not take, each with its number and the reason,
//! as JSON lines. Made with the first reject, beside its name, and given the name when it is complete,
//! so a clean import leaves what was there alone.

use std::borrow::Cow;
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::args::Usage;

/// Writes rejects and counts them.
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
    /// What is not UTF-8 is replaced.
    text: Cow<'a, str>,
}

impl Rejects {
    /// Rejects that go to `path`, in place of what an earlier import left there. It may not be one of
    /// the files that the import is about.
    pub(crate) fn new(path: PathBuf, others: &[&Path]) -> Result<Self> {
        let same = |other: &&Path| match (path.canonicalize(), other.canonicalize()) {
            (Ok(path), Ok(other)) => path == other,
            _ => false,
        };
        if others.iter().any(same) {
            bail!(Usage(format!(
                "--rejects {} is a file that the import reads or writes; name another",
                path.display()
            )));
        }
        Ok(Self { path, file: None, count: 0 })
    }

    /// The same file, with what an interrupted import has left in it. Where it was interrupted hard, the
    /// rejects of its last page may come twice.
    pub(crate) fn resumed(mut self) -> Result<Self> {
        let unfinished = self.unfinished();
        let append = || -> std::io::Result<Option<File>> {
            if self.path.try_exists()? {
                fs::rename(&self.path, &unfinished)?;
            } else if !unfinished.try_exists()? {
                return Ok(None);
            }
            OpenOptions::new().append(true).open(&unfinished).map(Some)
        };
        let file = append().with_context(|| format!("cannot open {}", self.path.display()))?;
        self.file = file.map(BufWriter::new);
        Ok(self)
    }

    /// Puts what was rejected so far into the file, so that an interruption does not lose it.
    pub(crate) fn flush(&mut self) -> Result<()> {
        match &mut self.file {
            Some(file) => file
                .flush()
                .with_context(|| format!("cannot write the rejects to {}", self.path.display())),
            None => Ok(()),
        }
    }

    /// Where the rejects stand until they are complete.
    fn unfinished(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".unfinished");
        name.into()
    }

    /// Where the rejects of an input go if nothing else is said: to this directory, under the
    /// name of the input.
    pub(crate) fn default_path(input: &Path) -> PathBuf {
        let name = match input.file_name() {
            Some(name) if name != "-" => name.to_string_lossy(),
            _ => "stdin".into(),
        };
        PathBuf::from(format!("{name}.rejects.jsonl"))
    }

    /// Writes one line that was rejected.
    pub(crate) fn write(&mut self, line: u64, reason: &str, text: &[u8]) -> Result<()> {
        let cannot_write = || format!("cannot write the rejects to {}", self.path.display());
        if self.file.is_none() {
            let file = create_private(&self.unfinished()).with_context(cannot_write)?;
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

    /// Completes the file, and tells how many lines it has.
    pub(crate) fn finish(&mut self) -> Result<u64> {
        if let Some(file) = &mut self.file {
            file.flush()
                .and_then(|()| fs::rename(self.unfinished(), &self.path))
                .with_context(|| format!("cannot write the rejects to {}", self.path.display()))?;
        }
        Ok(self.count)
    }

    /// Where the rejects go.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes a file that only its owner can read: rejected lines hold what conversations hold.
pub(crate) fn create_private(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
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
        assert!(error.is::<Usage>(), "{error}");
        assert!(Rejects::new(directory.path().join("new"), &[&store]).is_ok());
    }

    #[test]
    fn an_interrupted_import_goes_on_in_the_same_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("r.jsonl");
        let new = || Rejects::new(path.clone(), &[]).unwrap();
        let mut rejects = new().resumed().unwrap();
        rejects.write(1, "a", b"x").unwrap();
        rejects.flush().unwrap();
        // Not completed.
        drop(rejects);
        let mut rejects = new().resumed().unwrap();
        rejects.write(2, "b", b"y").unwrap();
        rejects.finish().unwrap();
        let mut rejects = new().resumed().unwrap();
        rejects.finish().unwrap();
        let lines = fs::read_to_string(path).unwrap();
        assert!(lines.starts_with("{\"line\":1,") && lines.contains("\n{\"line\":2,"), "{lines}");
    }

    #[test]
    fn only_a_reject_makes_the_file() {
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
