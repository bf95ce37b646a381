//! The suites of reads: `pages`, every engine on stores of one size; `scale`, a few engines on
//! stores of several sizes, all open at once.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

use crate::dataset::{ADVERSARY, BIGGEST, MIDDLE, SEED, corpus_rows};
use crate::engine_kind::{Name, open_all};
use crate::list;
use crate::measure::{self, Effort, Field};
use crate::reference::Held;
use crate::results::{self, EngineStore, Pages};

/// What is asked for.
pub(crate) struct Suite<'a> {
    pub(crate) name: &'static str,
    pub(crate) sizes: &'a [u64],
    pub(crate) engines: &'a [Name],
    pub(crate) owners: &'a [u32],
    pub(crate) effort: Effort,
    pub(crate) stores: &'a Path,
    pub(crate) json: PathBuf,
}

/// The owners of the suite of pages.
pub(crate) const ALL_OWNERS: [u32; 3] = [BIGGEST, MIDDLE, ADVERSARY];
/// The owners of the suite of sizes.
pub(crate) const ONE_OWNER: [u32; 1] = [BIGGEST];

/// Makes and opens the stores, checks that all engines agree, measures, writes and prints.
pub(crate) fn run(suite: &Suite<'_>) -> Result<()> {
    let progress = bar()?;
    let mut fields = Vec::new();
    for rows in suite.sizes {
        progress.set_length(corpus_rows(*rows));
        progress.set_message(format!("collecting the lists of {rows} rows"));
        let collected = Held::collect(*rows, suite.owners, |done| progress.set_position(done));
        let held = Arc::new(collected?);
        let lists = list::lists(&held, suite.owners)?;
        let contestants = open_all(suite.engines, suite.stores, *rows, &held, &progress)?;
        fields.push(Field { contestants, lists });
    }
    measure::prepare(&mut fields, &progress)?;
    for field in &mut fields {
        let checked = measure::check(field, &progress)?;
        progress
            .suspend(|| writeln!(std::io::stderr(), "{checked} pages compared, all the same"))?;
    }
    let measurements = measure::measure(&mut fields, suite.effort, &progress)?;
    let engines =
        fields.iter().flat_map(|field| &field.contestants).map(|contestant| EngineStore {
            engine: contestant.name.as_str().to_owned(),
            version: contestant.version.clone(),
            rows: contestant.rows,
            store_bytes: contestant.store_bytes,
        });
    let found = Pages {
        suite: suite.name.to_owned(),
        seed: SEED,
        rows: suite.sizes.to_vec(),
        processors: std::thread::available_parallelism()?.get(),
        engines: engines.collect(),
        measurements,
    };
    progress.finish_and_clear();
    results::write(&suite.json, &found)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "Median microseconds of a page (ratio to the first engine).\n")?;
    writeln!(out, "{}", found.ratios())?;
    for engine in &found.engines {
        let bytes = engine.store_bytes / corpus_rows(engine.rows);
        let EngineStore { engine, version, rows, .. } = engine;
        writeln!(out, "{engine} {version}: {rows} rows, {bytes} bytes a row")?;
    }
    Ok(())
}

/// A progress bar with a message.
pub(crate) fn bar() -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg} {elapsed}")?;
    Ok(ProgressBar::new(0).with_style(style))
}
