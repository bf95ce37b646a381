//! The charts of `docs/benchmarks.md` and of the README.

use crate::report::Results;
use crate::report::chart::{self, Heading, Series};
use crate::report::svg::Theme;
use crate::report::tables::{at_size, engines, find, lists};
use crate::results::{Measurement, PagesResult};

/// All charts in both themes, with their file names.
pub(crate) fn all(results: &Results) -> Vec<(String, String)> {
    let mut pictures = Vec::new();
    for theme in Theme::ALL {
        let mut add =
            |name: &str, svg| pictures.push((format!("{name}-{}.svg", theme.name()), svg));
        if let Some(pages) = &results.pages {
            add("engines", by_list(pages, theme));
            add("depth", depth(pages, theme));
        }
        if let Some(scale) = &results.scale {
            add("rows", rows(scale, theme));
        }
    }
    pictures
}

/// The colours of an engine, for the light and for the dark theme.
fn colours(engine: &str) -> [&'static str; 2] {
    match engine {
        "convodb" => ["#0b66c3", "#58a6ff"],
        "convodb-borrowed" => ["#7cb2e6", "#a9d2ff"],
        "memory" => ["#8a929b", "#7d8590"],
        "lmdb" => ["#1a7f37", "#3fb950"],
        "sqlite-composite" => ["#c4540b", "#f0883e"],
        "sqlite-exclusive" => ["#e09a63", "#ffc08a"],
        "sqlite-single" => ["#a40e26", "#ff7b72"],
        _ => ["#8250df", "#bc8cff"],
    }
}

fn micros(found: &Measurement) -> f64 {
    found.p50_ns as f64 / 1000.0
}

/// Latency by list: one row per list, one dot per engine.
fn by_list(pages: &PagesResult, theme: Theme) -> String {
    let shown: Vec<(&str, &str)> = engines(pages)
        .into_iter()
        .filter(|(engine, _)| {
            !matches!(*engine, "convodb-borrowed" | "convodb-uncached" | "sqlite-exclusive")
        })
        .collect();
    let lists = lists(pages);
    let names: Vec<String> = lists.iter().map(|(_, list)| (*list).to_owned()).collect();
    let series: Vec<Series> = shown
        .iter()
        .map(|(engine, label)| {
            let point = |(number, list): (usize, &(&str, &str))| {
                let found = find(pages, engine, *list, &["random", "first"], 15)?;
                Some((number as f64, micros(found)))
            };
            Series {
                name: (*label).to_owned(),
                colours: colours(engine),
                dashed: false,
                points: lists.iter().enumerate().filter_map(point).collect(),
            }
        })
        .collect();
    let heading = Heading {
        title: "A page of 15 conversations, list by list",
        subtitle: &format!(
            "Median time of pages spread over each list, biggest user, {} rows, warm. \
             Every row decoded.",
            chart::count_label(pages.rows.iter().sum::<u64>() as f64)
        ),
    };
    chart::dots(theme, &heading, &names, &series)
}

/// Latency over depth: by cursor and by `OFFSET`.
fn depth(pages: &PagesResult, theme: Theme) -> String {
    let line = |engine: &str, prefix: &str, name: &str| Series {
        name: name.to_owned(),
        colours: colours(engine),
        dashed: prefix == "row " && engine != "convodb",
        points: pages
            .measurements
            .iter()
            .filter(|found| found.engine == engine && found.user == "biggest")
            .filter_map(|found| {
                let rows: f64 = found.depth.strip_prefix(prefix)?.parse().ok()?;
                Some((rows, micros(found)))
            })
            .collect(),
    };
    let all = [
        line("convodb", "row ", "convodb"),
        line("sqlite-composite", "row ", "SQLite, by key"),
        line("sqlite-composite", "offset ", "SQLite, OFFSET"),
        line("postgres", "row ", "PostgreSQL, by key"),
        line("postgres", "offset ", "PostgreSQL, OFFSET"),
    ];
    let drawn: Vec<Series> = all.into_iter().filter(|series| !series.points.is_empty()).collect();
    let heading = Heading {
        title: "Depth: a page of 15 by the number of rows before it",
        subtitle: "Median time, unfiltered list of the biggest user, warm",
    };
    chart::lines(theme, &heading, "rows before the page", &drawn)
}

/// Latency over the size of the store.
fn rows(scale: &PagesResult, theme: Theme) -> String {
    let line = |engine: &str, list: &str, name: &str, colours: [&'static str; 2]| Series {
        name: name.to_owned(),
        colours,
        dashed: engine == "memory",
        points: scale
            .rows
            .iter()
            .filter_map(|rows| {
                let found = at_size(scale, engine, list, "random", 15, *rows)?;
                Some((*rows as f64, micros(found)))
            })
            .collect(),
    };
    let (blue, green) = (colours("convodb"), colours("lmdb"));
    let orange = colours("sqlite-composite");
    let all = [
        line("convodb", "assistant", "convodb: by assistant", orange),
        line("convodb", "type", "convodb: by type", green),
        line("convodb", "unfiltered", "convodb: unfiltered", blue),
        line("memory", "assistant", "no engine: by assistant", orange),
        line("memory", "type", "no engine: by type", green),
        line("memory", "unfiltered", "no engine: unfiltered", blue),
    ];
    let drawn: Vec<Series> = all.into_iter().filter(|series| !series.points.is_empty()).collect();
    let heading = Heading {
        title: "Size: a page of 15 as the store grows",
        subtitle: "Median time, biggest user (a tenth of all rows), pages spread over the list, \
                   warm. Dashed: in memory, no engine",
    };
    chart::lines(theme, &heading, "rows in the store", &drawn)
}
