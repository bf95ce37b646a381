//! The tables of `docs/benchmarks.md`.

use crate::report::Results;
use crate::results::{Measurement, PagesResult, micros, table};
use crate::suites::bulk_load::Load;
use crate::suites::counts::{CountsResult, ListCounts};
use crate::suites::open::{OpenResult, OpeningResult};
use crate::suites::readers::{self, Readers, ReadersResult};
use crate::suites::writes::{WriteResult, WritesResult};

/// The engines in the order of tables and charts, with their labels.
pub(crate) const ENGINES: [(&str, &str); 8] = [
    ("convodb", "convodb"),
    ("convodb-borrowed", "convodb, borrowed rows"),
    ("memory", "no engine"),
    ("lmdb", "LMDB"),
    ("sqlite-composite", "SQLite"),
    ("sqlite-exclusive", "SQLite, exclusive lock"),
    ("sqlite-single", "SQLite, single-column"),
    ("postgres", "PostgreSQL"),
];

/// All generated blocks with their names.
pub(crate) fn all(results: &Results) -> Vec<(&'static str, String)> {
    let mut blocks = Vec::new();
    if let Some(pages) = &results.pages {
        blocks.push(("pages", pages_block(pages)));
    }
    if let Some(scale) = &results.scale {
        blocks.push(("scale", scale_block(scale)));
    }
    if let Some(writes) = &results.writes {
        blocks.push(("writes", writes_block(writes)));
    }
    if let Some(counts) = &results.counts {
        blocks.push(("counts", counts_block(counts)));
    }
    if let Some(readers) = &results.readers {
        blocks.push(("readers", readers_block(readers)));
    }
    if let Some(open) = &results.open {
        blocks.push(("open", open_block(open)));
    }
    blocks
}

/// The lists as (user, list), in the order of measurement.
pub(crate) fn lists(pages: &PagesResult) -> Vec<(&str, &str)> {
    let mut lists = Vec::new();
    for found in &pages.measurements {
        let list = (found.user.as_str(), found.list.as_str());
        // The middle user has the same lists, only shorter.
        if !lists.contains(&list) && found.user != "middle" {
            lists.push(list);
        }
    }
    lists
}

/// The engine's measurement of a list at the first of these depths that was measured.
pub(crate) fn find<'p>(
    pages: &'p PagesResult,
    engine: &str,
    (user, list): (&str, &str),
    depths: &[&str],
    page_size: usize,
) -> Option<&'p Measurement> {
    depths.iter().find_map(|depth| {
        pages.measurements.iter().find(|found| {
            found.engine == engine
                && found.user == user
                && found.list == list
                && found.depth == *depth
                && found.page_size == page_size
        })
    })
}

/// The measured engines.
pub(crate) fn engines(pages: &PagesResult) -> Vec<(&'static str, &'static str)> {
    let measured = |engine: &str| pages.measurements.iter().any(|found| found.engine == engine);
    ENGINES.into_iter().filter(|(engine, _)| measured(engine)).collect()
}

fn head(first: &str, engines: &[(&str, &str)]) -> Vec<String> {
    std::iter::once(first.to_owned())
        .chain(engines.iter().map(|(_, label)| (*label).to_owned()))
        .collect()
}

fn p50_and_p99(found: Option<&Measurement>) -> String {
    let cell = |found: &Measurement| format!("{} / {}", micros(found.p50_ns), micros(found.p99_ns));
    found.map(cell).unwrap_or_default()
}

fn pages_block(pages: &PagesResult) -> String {
    let engines = engines(pages);
    let rows = pages.rows.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    let mut block = format!("Stores of {rows} rows, seed {}.\n", pages.seed);
    for (title, depths, page_size) in [
        (
            "Pages of 15 rows spread over the list (the first page of a one-page list)",
            ["random", "first"],
            15,
        ),
        (
            "Pages of 100 rows spread over the list (the first page of a one-page list)",
            ["random", "first"],
            100,
        ),
        ("The first page, 15 rows", ["first", "first"], 15),
        ("Backward, 15 rows", ["back", "back"], 15),
    ] {
        let mut lines = Vec::new();
        for list in lists(pages) {
            let found = |engine: &str| find(pages, engine, list, &depths, page_size);
            let Some(any) = engines.first().and_then(|(engine, _)| found(engine)) else {
                continue;
            };
            let mut line = vec![format!("{} ({})", any.list, any.rows_in_list)];
            line.extend(engines.iter().map(|(engine, _)| p50_and_p99(found(engine))));
            lines.push(line);
        }
        let table = table(&head("list (rows in it)", &engines), &lines);
        block.push_str(&format!("\n**{title}**, p50 / p99 in microseconds\n\n{table}\n"));
    }
    block.push_str(&depth_table(pages, &engines));
    block.push_str(&stores_table(pages));
    block
}

/// The same page reached by key and by `OFFSET`.
fn depth_table(pages: &PagesResult, engines: &[(&str, &str)]) -> String {
    let mut depths: Vec<&str> = Vec::new();
    for found in &pages.measurements {
        let deep = found.depth.starts_with("row ") || found.depth.starts_with("offset ");
        if deep && !depths.contains(&found.depth.as_str()) {
            depths.push(&found.depth);
        }
    }
    let lines: Vec<Vec<String>> = depths
        .iter()
        .map(|depth| {
            let found = |engine| find(pages, engine, ("biggest", "unfiltered"), &[depth], 15);
            let cells = engines.iter().map(|(engine, _)| p50_and_p99(found(engine)));
            std::iter::once((*depth).to_owned()).chain(cells).collect()
        })
        .collect();
    let table = table(&head("page of 15 after", engines), &lines);
    format!(
        "\n**Depth, unfiltered list**: by key (`row`) and, in SQL, by `OFFSET`, p50 / p99 in \
         microseconds\n\n{table}\n"
    )
}

fn stores_table(pages: &PagesResult) -> String {
    let lines: Vec<Vec<String>> = pages
        .engines
        .iter()
        .filter(|engine| engine.store_bytes > 0 && engine.engine != "convodb-borrowed")
        .map(|engine| {
            let label = ENGINES.iter().find(|(name, _)| *name == engine.engine);
            let rows = crate::dataset::total_rows(engine.rows).max(1);
            vec![
                label.map_or(engine.engine.as_str(), |(_, label)| label).to_owned(),
                engine.version.clone(),
                format!("{}", engine.store_bytes / rows),
            ]
        })
        .collect();
    let head = ["store", "version", "bytes/row"].map(str::to_owned);
    format!("\n**Stores**\n\n{}\n", table(&head, &lines))
}

fn scale_block(scale: &PagesResult) -> String {
    let mut block = String::new();
    for (engine, label) in engines(scale) {
        for page_size in [15, 100] {
            let mut lines = Vec::new();
            for (_, list) in lists(scale) {
                for depth in ["first", "random", "back"] {
                    lines.extend(scale_line(scale, engine, list, depth, page_size));
                }
            }
            let sizes = scale.rows.iter().map(|rows| format!("{rows} rows"));
            let head: Vec<String> = std::iter::once("page".to_owned())
                .chain(sizes)
                .chain(std::iter::once("last to first".to_owned()))
                .collect();
            block.push_str(&format!(
                "\n**{label}, pages of {page_size}**, p50 / p99 in microseconds\n\n{}\n",
                table(&head, &lines)
            ));
        }
    }
    block
}

fn scale_line(
    scale: &PagesResult,
    engine: &str,
    list: &str,
    depth: &str,
    page_size: usize,
) -> Option<Vec<String>> {
    let found: Vec<Option<&Measurement>> = scale
        .rows
        .iter()
        .map(|rows| at_size(scale, engine, list, depth, page_size, *rows))
        .collect();
    let measured: Vec<&&Measurement> = found.iter().flatten().collect();
    let (first, last) = (measured.first()?, measured.last()?);
    let ratio = last.p50_ns as f64 / first.p50_ns.max(1) as f64;
    let cells = found.iter().map(|found| p50_and_p99(*found));
    let name = std::iter::once(format!("{list}, {depth}"));
    Some(name.chain(cells).chain(std::iter::once(format!("{ratio:.2}"))).collect())
}

/// The measurement of a list of the biggest user in the store of this size.
pub(crate) fn at_size<'p>(
    scale: &'p PagesResult,
    engine: &str,
    list: &str,
    depth: &str,
    page_size: usize,
    rows: u64,
) -> Option<&'p Measurement> {
    scale.measurements.iter().find(|found| {
        found.engine == engine
            && found.list == list
            && found.depth == depth
            && found.page_size == page_size
            && found.rows == rows
            // A list shorter than a page says nothing about the cost of a page.
            && found.rows_in_list > page_size
    })
}

fn writes_block(found: &WritesResult) -> String {
    let head = ["write", "engine", "p50 us", "p99 us", "rows/s"].map(str::to_owned);
    let lines: Vec<Vec<String>> = found.writes.iter().map(WriteResult::line).collect();
    let loads = ["bulk load", "rows/s", "peak MiB", "bytes/row"].map(str::to_owned);
    let loaded: Vec<Vec<String>> = found.loads.iter().map(Load::line).collect();
    format!(
        "Into stores of {} rows.\n\n{}\n\n{}\n",
        found.rows,
        table(&head, &lines),
        table(&loads, &loaded)
    )
}

fn open_block(found: &OpenResult) -> String {
    let head = ["rows", "writer", "fast recovery", "open us", "first page us"].map(str::to_owned);
    let lines: Vec<Vec<String>> = found.openings.iter().map(OpeningResult::line).collect();
    table(&head, &lines)
}

fn counts_block(found: &CountsResult) -> String {
    let engines = found.counts.first().map(|list| &list.engines[..]).unwrap_or_default();
    let label = |engine: &str| {
        let label = ENGINES.iter().find(|(name, _)| *name == engine);
        label.map_or(engine, |(_, label)| label).to_owned()
    };
    let head: Vec<String> = std::iter::once("list (rows counted)".to_owned())
        .chain(engines.iter().map(|(engine, ..)| label(engine)))
        .collect();
    let lines: Vec<Vec<String>> = found.counts.iter().map(ListCounts::line).collect();
    format!("Stores of {} rows; p50 / p99 in microseconds.\n\n{}", found.rows, table(&head, &lines))
}

fn readers_block(found: &ReadersResult) -> String {
    let lines: Vec<Vec<String>> = found.readers.iter().map(Readers::line).collect();
    let head = readers::HEAD.map(str::to_owned);
    format!("Stores of {} rows.\n\n{}", found.rows, table(&head, &lines))
}
