//! `convodb export`: conversations as JSON lines, which lose nothing, or as a table for other programs.
//! One snapshot, in constant memory.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use convodb::{ListRequest, Snapshot, UserId};
use convodb_http::item::{AssistantNames, ExportLines, Messages};
use indicatif::ProgressBar;

use crate::args::Usage;
use crate::console::{counted, progress_style, say};
use crate::io::csv::CsvTable;
use crate::io::output::{Output, unpacked_name};
#[cfg(feature = "parquet")]
use crate::io::parquet;
use crate::open_store::{LARGE_CACHE_BYTES, WhileServed, existing};
use crate::resolve;
use crate::upkeep::{Export, ExportFormat};

/// How often the bar is told where the export is, in conversations.
const STEP: u64 = 1 << 8;

/// Exports a list.
pub(crate) fn run(verb: &Export, out: &mut (dyn Write + Send)) -> Result<()> {
    let format = verb.format.map_or_else(|| format_of(&verb.path), Ok)?;
    if verb.messages && format == ExportFormat::Csv {
        let usage = "--messages: CSV has one line a conversation; export them as jsonl";
        return Err(anyhow!(Usage(usage.to_owned())));
    }
    let db = &verb.db.db;
    let served = WhileServed::Ask("GET /api/user/conversations/export");
    let store = existing(db, LARGE_CACHE_BYTES, served)?;
    let snapshot = store.snapshot();
    let user = resolve::user(&snapshot, &verb.owner.user, db)?;
    let request = ListRequest {
        filter: resolve::filter(&snapshot, user, &verb.filters)?,
        created_from: verb.filters.from,
        created_to: verb.filters.to,
        order: Some(verb.order.into()),
        ..ListRequest::default()
    };
    let messages = if verb.messages { Messages::Included } else { Messages::LeftOut };
    let source = Source { snapshot, user, request, messages };

    let started = Instant::now();
    let bar = ProgressBar::new_spinner()
        .with_style(progress_style("{spinner} {human_pos} conversations, {per_sec}, {elapsed}"));
    bar.enable_steady_tick(Duration::from_millis(200));
    let mut output = Output::open(&verb.path, out)?;
    let written = match format {
        ExportFormat::Jsonl => source.write_lines(&mut output, &bar),
        ExportFormat::Csv => source.write_csv(&mut output, &bar),
        #[cfg(feature = "parquet")]
        ExportFormat::Parquet => source.write_parquet(&mut output, &bar),
    };
    bar.finish_and_clear();
    let written = written?;
    output.finish()?;
    store.close()?;
    let (what, seconds) = (counted(written, "conversation"), started.elapsed().as_secs_f64());
    say(format_args!("exported {what} ({seconds:.1} s)"));
    Ok(())
}

/// The form that the end of a name tells.
fn format_of(path: &Path) -> Result<ExportFormat> {
    match unpacked_name(path).extension().and_then(|end| end.to_str()) {
        Some("csv") => Ok(ExportFormat::Csv),
        #[cfg(feature = "parquet")]
        Some("parquet") => Ok(ExportFormat::Parquet),
        #[cfg(not(feature = "parquet"))]
        Some("parquet") => {
            let usage = "this convodb was built without Parquet (cargo's --features parquet)";
            Err(anyhow!(Usage(usage.to_owned())))
        }
        _ => Ok(ExportFormat::Jsonl),
    }
}

/// What is exported.
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
        let (mut line, mut written) = (Vec::new(), 0);
        while lines.next_into(&mut line).context("cannot read the store")? {
            output.write_all(&line).context("cannot write the export")?;
            line.clear();
            step(&mut written, bar);
        }
        Ok(written)
    }

    fn write_csv(self, output: &mut Output<'_>, bar: &ProgressBar) -> Result<u64> {
        let mut names = AssistantNames::new(self.snapshot.clone(), self.user);
        let mut table = CsvTable::new(output)?;
        let mut written = 0;
        for row in self.snapshot.rows(self.user, &self.request) {
            let row = row.context("cannot read the store")?;
            table.write(&row.borrowed(), &mut names)?;
            step(&mut written, bar);
        }
        table.finish()?;
        Ok(written)
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
    fn a_name_tells_the_form() {
        for (path, expected) in [
            ("a.jsonl", ExportFormat::Jsonl),
            ("a.csv.gz", ExportFormat::Csv),
            ("a.CSV", ExportFormat::Jsonl),
            ("-", ExportFormat::Jsonl),
            #[cfg(feature = "parquet")]
            ("a.parquet", ExportFormat::Parquet),
        ] {
            assert_eq!(format_of(Path::new(path)).unwrap(), expected, "{path}");
        }
        let built = cfg!(feature = "parquet");
        assert_eq!(format_of(Path::new("a.parquet")).is_ok(), built);
    }
}
