//! Where an export goes: a new file or standard output, packed as the end of its name says. A file
//! gets its name when it is whole; one that is broken off is gone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use flate2::Compression;
use flate2::write::GzEncoder;

const BUFFER_BYTES: usize = 1 << 18;
/// Between speed and size, as the command `zstd` has it.
const ZSTD_LEVEL: i32 = 3;

/// An output that is being written.
pub(crate) struct Output<'a> {
    packed: Packed<Box<dyn Write + Send + 'a>>,
    /// A file that does not have its name yet, and the name.
    unfinished: Option<(PathBuf, PathBuf)>,
}

enum Packed<W: Write> {
    Plain(W),
    Gzip(GzEncoder<W>),
    Zstd(zstd::Encoder<'static, W>),
}

/// What comes before `.gz` or `.zst` in a path.
pub(crate) fn unpacked_name(path: &Path) -> &Path {
    let packed = path.extension().is_some_and(|end| end == "gz" || end == "zst");
    path.file_stem().filter(|_| packed).map_or(path, Path::new)
}

/// Makes a file for its owner alone: exports are full of personal data.
fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

impl<'a> Output<'a> {
    /// Begins the file at `path`, which must not be there yet, or goes on with `out` for `-`.
    pub(crate) fn open(path: &Path, out: &'a mut (dyn Write + Send)) -> Result<Self> {
        if path == Path::new("-") {
            return Ok(Self { packed: Packed::Plain(Box::new(out)), unfinished: None });
        }
        let cannot_make = || format!("cannot make {}", path.display());
        if path.try_exists().with_context(cannot_make)? {
            return Err(anyhow!(
                "{} is there already, and is not overwritten; name another",
                path.display()
            ));
        }
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(".part");
        let unfinished = PathBuf::from(unfinished);
        // One that an earlier run left is of nobody's use.
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(cannot_make);
            }
            _ => {}
        }
        let file = create_private(&unfinished).with_context(cannot_make)?;
        let file: Box<dyn Write + Send> = Box::new(BufWriter::with_capacity(BUFFER_BYTES, file));
        let packed = match path.extension().and_then(|end| end.to_str()) {
            Some("gz") => Packed::Gzip(GzEncoder::new(file, Compression::default())),
            Some("zst") => {
                let encoder = zstd::Encoder::new(file, ZSTD_LEVEL).with_context(cannot_make)?;
                Packed::Zstd(encoder)
            }
            _ => Packed::Plain(file),
        };
        Ok(Self { packed, unfinished: Some((unfinished, path.to_owned())) })
    }

    /// Ends the output: what was written is on disk, under its name.
    pub(crate) fn finish(mut self) -> Result<()> {
        let end = || -> io::Result<()> {
            match &mut self.packed {
                Packed::Plain(out) => out.flush(),
                Packed::Gzip(encoder) => {
                    encoder.try_finish()?;
                    encoder.get_mut().flush()
                }
                Packed::Zstd(encoder) => {
                    encoder.do_finish()?;
                    encoder.get_mut().flush()
                }
            }
        };
        end_of(end)?;
        if let Some((unfinished, path)) = self.unfinished.take() {
            let named = File::open(&unfinished)
                .and_then(|file| file.sync_all())
                .and_then(|()| fs::rename(&unfinished, &path));
            named.with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

fn end_of(mut end: impl FnMut() -> io::Result<()>) -> Result<()> {
    end().context("cannot write the export")
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.packed {
            Packed::Plain(out) => out.write(bytes),
            Packed::Gzip(encoder) => encoder.write(bytes),
            Packed::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.packed {
            Packed::Plain(out) => out.flush(),
            Packed::Gzip(encoder) => encoder.flush(),
            Packed::Zstd(encoder) => encoder.flush(),
        }
    }
}

impl Drop for Output<'_> {
    fn drop(&mut self) {
        if let Some((unfinished, _)) = &self.unfinished {
            // It is broken off, and told as an error elsewhere.
            let _ = fs::remove_file(unfinished);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_what_is_packed() {
        for (path, expected) in
            [("a.jsonl", "a.jsonl"), ("d/a.csv.gz", "a.csv"), ("a.zst", "a"), ("-", "-")]
        {
            assert_eq!(unpacked_name(Path::new(path)), Path::new(expected));
        }
    }

    #[test]
    fn a_file_gets_its_name_when_it_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.jsonl.gz");
        let mut nowhere = Vec::new();
        let mut broken = Output::open(&path, &mut nowhere).unwrap();
        broken.write_all(b"half").unwrap();
        drop(broken);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        Output::open(&path, &mut nowhere).unwrap().finish().unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(Output::open(&path, &mut nowhere).is_err());
    }
}
