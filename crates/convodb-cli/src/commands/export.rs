//! `convodb export`: writes conversations as JSON lines, CSV or Parquet.
//!
//! One snapshot, in constant memory. JSON lines lose nothing and can be imported again.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use clap::ValueEnum;
use clap::builder::BoolishValueParser;
use convodb::{ListRequest, Snapshot, UserId};
use convodb_json::csv::{CsvOptions, ExportCsv, Formulas};
use convodb_json::{ExportLines, Messages};
use indicatif::ProgressBar;

use crate::args::{DbFlag, FilterFlags, OrderWord, UsageError, UserFlag};
use crate::commands::list;
use crate::console::{counted, progress_style, say};
use crate::io::output::{Output, uncompressed_name};
#[cfg(feature = "parquet")]
use crate::io::parquet;
use crate::open_store::{LARGE_CACHE_BYTES, WhileServed, existing};
use crate::resolve;

/// Conversations between two updates of the progress bar.
const STEP: u64 = 1 << 8;

/// Export conversations to a file or to standard output
///
/// JSON lines lose nothing: imported again, they are the same conversations. CSV has one record per
/// conversation, with the columns that docs/http-api.md lists, and no messages. An export is one
/// consistent state of the store. A file whose name ends in .gz or .zst is compressed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: convodb export --db chats.convodb --user acme --messages acme.jsonl.zst"
)]
pub(crate) struct Args {
    #[command(flatten)]
    db: DbFlag,
    #[command(flatten)]
    user: UserFlag,
    #[command(flatten)]
    filters: FilterFlags,
    /// Oldest first (asc) or newest first (desc); imported oldest first, conversations of the same
    /// millisecond keep their order
    #[arg(long, env = "CONVODB_ORDER", default_value = "asc")]
    order: OrderWord,
    /// Include messages
    #[arg(long, env = "CONVODB_MESSAGES", value_parser = BoolishValueParser::new())]
    messages: bool,
    /// Format of the export [default: by the file's extension: .jsonl or .ndjson, .csv, .parquet, each
    /// also with .gz or .zst; jsonl on standard output]
    #[arg(long, env = "CONVODB_FORMAT", value_name = "FORMAT")]
    format: Option<Format>,
    /// In CSV, begin a text with an apostrophe if a spreadsheet could take it for a formula: if it
    /// begins with = + - @, a tab or a carriage return
    #[arg(long, env = "CONVODB_CSV_SAFE", value_parser = BoolishValueParser::new())]
    csv_safe: bool,
    /// Begin CSV with a byte order mark, without which Excel misreads letters beyond ASCII
    #[arg(long, env = "CONVODB_CSV_BOM", value_parser = BoolishValueParser::new())]
    csv_bom: bool,
    /// File to write, which must not exist, or - for standard output
    #[arg(value_name = "PATH", default_value = "-")]
    path: PathBuf,
}

/// The format of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One JSON object per line; loses nothing
    Jsonl,
    /// One record per conversation, without messages
    Csv,
    /// Typed columns, for analytics
    #[cfg(feature = "parquet")]
    Parquet,
}

/// Exports a list.
pub(crate) fn run(args: &Args, out: &mut (dyn Write + Send)) -> Result<()> {
    let format = format(args.format, &args.path)?;
    if args.messages && format == Format::Csv {
        let usage = "--messages: CSV cannot contain messages; use --format jsonl";
        return Err(anyhow!(UsageError(usage.to_owned())));
    }
    for (is_given, flag) in [(args.csv_safe, "--csv-safe"), (args.csv_bom, "--csv-bom")] {
        if is_given && format != Format::Csv {
            let usage = format!("{flag}: this is an option of CSV; use --format csv");
            return Err(anyhow!(UsageError(usage)));
        }
    }
    let formulas = if args.csv_safe { Formulas::Defused } else { Formulas::Kept };
    let options = CsvOptions { formulas, byte_order_mark: args.csv_bom };
    let db = &args.db.db;
    let served = WhileServed::Request("GET /api/user/conversations/export");
    let store = existing(db, LARGE_CACHE_BYTES, served)?;
    let snapshot = store.snapshot();
    let user = resolve::user(&snapshot, &args.user.user, db)?;
    let request = ListRequest {
        filter: resolve::filter(&snapshot, user, &args.filters)?,
        order: Some(args.order.into()),
        ..args.filters.unfiltered()
    };
    snapshot.check_request(user, &request).map_err(list::explain)?;
    let messages = if args.messages { Messages::Included } else { Messages::LeftOut };
    let source = Source { snapshot, user, request, messages };

    let started = Instant::now();
    let bar = ProgressBar::new_spinner()
        .with_style(progress_style("{spinner} {human_pos} conversations, {per_sec}, {elapsed}"));
    bar.enable_steady_tick(Duration::from_millis(200));
    let mut output = Output::open(&args.path, out)?;
    let written = match format {
        Format::Jsonl => source.write_lines(&mut output, &bar),
        Format::Csv => source.write_csv(&mut output, options, &bar),
        #[cfg(feature = "parquet")]
        Format::Parquet => source.write_parquet(&mut output, &bar),
    };
    bar.finish_and_clear();
    let written = written?;
    output.finish()?;
    store.close()?;
    let (what, seconds) = (counted(written, "conversation"), started.elapsed().as_secs_f64());
    say(format_args!("exported {what} ({seconds:.1} s)"));
    Ok(())
}

/// The format of an export to `path`: the one given, or by the file's extension.
///
/// # Errors
/// A [`UsageError`] if the extension names no format, or another one than the one given.
fn format(given: Option<Format>, path: &Path) -> Result<Format> {
    if path == Path::new("-") {
        return Ok(given.unwrap_or(Format::Jsonl));
    }
    let name = uncompressed_name(path);
    let end = name.extension().map(|end| end.to_string_lossy().to_ascii_lowercase());
    let by_name = match end.as_deref() {
        Some("jsonl" | "ndjson") => Some(Format::Jsonl),
        Some("csv") => Some(Format::Csv),
        #[cfg(feature = "parquet")]
        Some("parquet") => Some(Format::Parquet),
        #[cfg(not(feature = "parquet"))]
        Some("parquet") => {
            let usage = "this build of convodb has no Parquet (cargo feature `parquet`)";
            return Err(anyhow!(UsageError(usage.to_owned())));
        }
        _ => None,
    };
    let shown = path.display();
    match (given, by_name) {
        (Some(given), Some(by_name)) if given != by_name => Err(anyhow!(UsageError(format!(
            "{shown}: its extension names another format than --format"
        )))),
        (Some(format), _) | (None, Some(format)) => Ok(format),
        (None, None) => Err(anyhow!(UsageError(format!(
            "{shown}: its extension names no format (.jsonl, .ndjson, .csv, .parquet, each also with .gz \
             or .zst); give --format"
        )))),
    }
}

/// Lines are written in chunks of at least this many bytes.
const CHUNK_BYTES: usize = 64 * 1024;

/// The list to export.
struct Source {
    snapshot: Snapshot,
    user: UserId,
    request: ListRequest,
    messages: Messages,
}

impl Source {
    fn write_lines(self, output: &mut Output<'_>, bar: &ProgressBar) -> Result<u64> {
        let Self { snapshot, user, request, messages } = self;
        let mut lines = ExportLines::new(snapshot, user, &request, messages);
        let (mut chunk, mut written, mut more) = (Vec::new(), 0, true);
        while more {
            more = lines.fill(&mut chunk, CHUNK_BYTES).context("cannot read the store")?;
            output.write_all(&chunk).context("cannot write the export")?;
            // A line has no other line break than its last byte.
            chunk.iter().filter(|byte| **byte == b'\n').for_each(|_| step(&mut written, bar));
            chunk.clear();
        }
        Ok(written)
    }

    fn write_csv(
        self,
        output: &mut Output<'_>,
        options: CsvOptions,
        bar: &ProgressBar,
    ) -> Result<u64> {
        let mut csv = ExportCsv::new(self.snapshot, self.user, &self.request, options);
        let (mut chunk, mut more) = (Vec::new(), true);
        while more {
            more = csv.fill(&mut chunk, CHUNK_BYTES).context("cannot read the store")?;
            output.write_all(&chunk).context("cannot write the export")?;
            bar.set_position(csv.written());
            chunk.clear();
        }
        Ok(csv.written())
    }

    #[cfg(feature = "parquet")]
    fn write_parquet(self, output: &mut Output<'_>, bar: &ProgressBar) -> Result<u64> {
        let Self { snapshot, user, request, messages } = self;
        let mut written = 0;
        parquet::write(output, (&snapshot, user), &request, messages, || {
            step(&mut written, bar);
        })?;
        Ok(written)
    }
}

fn step(written: &mut u64, bar: &ProgressBar) {
    *written += 1;
    if written.is_multiple_of(STEP) {
        bar.set_position(*written);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_decides_the_format() {
        for (path, expected) in [
            ("a.jsonl", Format::Jsonl),
            ("a.csv.gz", Format::Csv),
            ("a.CSV", Format::Csv),
            ("a.jsonl.zst", Format::Jsonl),
            ("a.ndjson", Format::Jsonl),
            ("-", Format::Jsonl),
            #[cfg(feature = "parquet")]
            ("a.parquet", Format::Parquet),
        ] {
            assert_eq!(format(None, Path::new(path)).unwrap(), expected, "{path}");
        }
        let built = cfg!(feature = "parquet");
        assert_eq!(format(None, Path::new("a.parquet")).is_ok(), built);
    }

    #[test]
    fn an_extension_of_no_format_or_of_another_one_is_refused() {
        for (given, path) in [
            (None, "a"),
            (None, "a.json"),
            (None, "a.xlsx"),
            (None, "a.gz"),
            (Some(Format::Csv), "a.jsonl"),
            (Some(Format::Jsonl), "a.csv.gz"),
        ] {
            let error = format(given, Path::new(path)).unwrap_err();
            assert!(error.is::<UsageError>(), "{path}: {error}");
        }
        assert_eq!(format(Some(Format::Csv), Path::new("a.txt")).unwrap(), Format::Csv);
        assert_eq!(format(Some(Format::Csv), Path::new("-")).unwrap(), Format::Csv);
    }
}
