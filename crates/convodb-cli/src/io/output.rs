//! Export output: a new file or standard output, compressed as the file's extension says.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::io::atomic_file::AtomicFile;

const BUFFER_BYTES: usize = 1 << 18;
/// The default level of the command `zstd`.
const ZSTD_LEVEL: i32 = 3;

/// An output that is being written. A file appears when it is finished; dropped before, it leaves
/// nothing.
pub(crate) enum Output<'a> {
    Stdout(&'a mut (dyn Write + Send)),
    File(Box<Encoder<BufWriter<AtomicFile>>>),
}

/// A writer with the compression of a file.
pub(crate) enum Encoder<W: Write> {
    Plain(W),
    Gzip(GzEncoder<W>),
    Zstd(zstd::Encoder<'static, W>),
}

/// The path without `.gz` or `.zst`.
pub(crate) fn uncompressed_name(path: &Path) -> &Path {
    let compressed = path.extension().is_some_and(|end| end == "gz" || end == "zst");
    path.file_stem().filter(|_| compressed).map_or(path, Path::new)
}

impl<'a> Output<'a> {
    /// Creates the file at `path`, which must not exist, or uses `out` if the path is `-`.
    pub(crate) fn open(path: &Path, out: &'a mut (dyn Write + Send)) -> Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::Stdout(out));
        }
        let cannot_create = || format!("cannot create {}", path.display());
        if path.try_exists().with_context(cannot_create)? {
            bail!("{} already exists and is not overwritten; choose another name", path.display());
        }
        let file = AtomicFile::create(path, ".part").with_context(cannot_create)?;
        let file = BufWriter::with_capacity(BUFFER_BYTES, file);
        let encoder = match path.extension().and_then(|end| end.to_str()) {
            Some("gz") => Encoder::Gzip(GzEncoder::new(file, Compression::default())),
            Some("zst") => {
                let encoder = zstd::Encoder::new(file, ZSTD_LEVEL).with_context(cannot_create)?;
                Encoder::Zstd(encoder)
            }
            _ => Encoder::Plain(file),
        };
        Ok(Self::File(Box::new(encoder)))
    }

    /// Ends the output. A file is then complete, on disk, and has its name.
    pub(crate) fn finish(self) -> Result<()> {
        let finished = match self {
            Self::Stdout(out) => out.flush(),
            Self::File(encoder) => encoder
                .finish()
                .and_then(|file| file.into_inner().map_err(io::IntoInnerError::into_error))
                .and_then(AtomicFile::publish),
        };
        finished.context("cannot write the export")
    }
}

impl<W: Write> Encoder<W> {
    fn finish(self) -> io::Result<W> {
        match self {
            Self::Plain(out) => Ok(out),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Plain(out) => out,
            Self::Gzip(encoder) => encoder,
            Self::Zstd(encoder) => encoder,
        }
    }
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(out) => out.write(bytes),
            Self::File(encoder) => encoder.writer().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(out) => out.flush(),
            Self::File(encoder) => encoder.writer().flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Read;

    #[test]
    fn compression_is_stripped_from_a_name() {
        for (path, expected) in
            [("a.jsonl", "a.jsonl"), ("d/a.csv.gz", "a.csv"), ("a.zst", "a"), ("-", "-")]
        {
            assert_eq!(uncompressed_name(Path::new(path)), Path::new(expected));
        }
    }

    #[test]
    fn a_file_appears_when_it_is_finished() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.jsonl.gz");
        let mut stdout = Vec::new();
        let mut aborted = Output::open(&path, &mut stdout).unwrap();
        aborted.write_all(b"half").unwrap();
        drop(aborted);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        let mut output = Output::open(&path, &mut stdout).unwrap();
        output.write_all(b"whole").unwrap();
        output.finish().unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        let mut read = String::new();
        let mut decoder = flate2::read::GzDecoder::new(fs::File::open(&path).unwrap());
        decoder.read_to_string(&mut read).unwrap();
        assert_eq!(read, "whole");
        assert!(Output::open(&path, &mut stdout).is_err());
    }
}
