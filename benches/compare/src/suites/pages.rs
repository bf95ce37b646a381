//! Page suites: `pages` reads from every engine on stores of one size, `scale` from a few engines
//! on stores of several sizes, all open at the same time.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

use crate::dataset::{ADVERSARY, BIGGEST, MIDDLE, SEED, total_rows};
use crate::engine_kind::{EngineKind, open_all};
use crate::list;
use crate::measure::{self, Comparison, Effort};
use crate::reference::Reference;
use crate::results::{self, EngineStore, PagesResult};

/// The parameters of a page suite.
pub(crate) struct Suite<'a> {
    pub(crate) name: &'static str,
    pub(crate) sizes: &'a [u64],
    pub(crate) engines: &'a [EngineKind],
    pub(crate) users: &'a [u32],
    pub(crate) effort: Effort,
    pub(crate) stores: &'a Path,
    pub(crate) json: PathBuf,
}

/// The users of the suite `pages`.
pub(crate) const ALL_USERS: [u32; 3] = [BIGGEST, MIDDLE, ADVERSARY];
/// The user of the suite `scale`.
pub(crate) const BIGGEST_USER: [u32; 1] = [BIGGEST];

/// Opens the stores, checks that all engines agree, measures, then writes and prints the results.
pub(crate) fn run(suite: &Suite<'_>) -> Result<()> {
    let progress = progress_bar()?;
    let mut comparisons = Vec::new();
    for rows in suite.sizes {
        let Suite { users, engines, stores, .. } = suite;
        comparisons.push(open_comparison(*rows, users, engines, stores, &progress)?);
    }
    measure::prepare(&mut comparisons, &progress)?;
    for comparison in &mut comparisons {
        let checked = measure::check(comparison, &progress)?;
        progress
            .suspend(|| writeln!(std::io::stderr(), "{checked} pages compared, no differences"))?;
    }
    let measurements = measure::measure(&mut comparisons, suite.effort, &progress)?;
    let engines =
        comparisons.iter().flat_map(|comparison| &comparison.engines).map(|engine| EngineStore {
            engine: engine.kind.as_str().to_owned(),
            version: engine.version.clone(),
            rows: engine.rows,
            store_bytes: engine.store_bytes,
        });
    let found = PagesResult {
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
    writeln!(out, "Median latency of a page in microseconds (ratio to the first engine).\n")?;
    writeln!(out, "{}", found.ratios())?;
    for engine in &found.engines {
        let bytes = engine.store_bytes / total_rows(engine.rows);
        let EngineStore { engine, version, rows, .. } = engine;
        writeln!(out, "{engine} {version}: {rows} rows, {bytes} bytes per row")?;
    }
    Ok(())
}

/// Collects the users' lists and opens the engines on stores of one size.
pub(crate) fn open_comparison(
    rows: u64,
    users: &[u32],
    engines: &[EngineKind],
    stores: &Path,
    progress: &ProgressBar,
) -> Result<Comparison> {
    progress.set_length(total_rows(rows));
    progress.set_message(format!("collecting the lists of {rows} rows"));
    let collected = Reference::collect(rows, users, |done| progress.set_position(done));
    let reference = Arc::new(collected?);
    let lists = list::lists(&reference, users)?;
    let engines = open_all(engines, stores, rows, &reference, progress)?;
    Ok(Comparison { engines, lists })
}

/// A progress bar with a message and the elapsed time.
pub(crate) fn progress_bar() -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg} {elapsed}")?;
    Ok(ProgressBar::new(0).with_style(style))
}
