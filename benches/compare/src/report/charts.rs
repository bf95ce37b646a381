//! The charts of `docs/benchmarks.md` and of the README.

use convodb_bench::chart::axis::{Labels, Scale, count_label};
use convodb_bench::chart::palette::{
    BLUE, GREEN, GREY, ORANGE, PURPLE, Paint, RED, SAND, SKY, Theme,
};
use convodb_bench::chart::{self, Heading, LineAxes, Look, Series, Unit, WIDE};

use crate::report::Results;
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

/// The colour of an engine.
fn paint(engine: &str) -> Paint {
    match engine {
        "convodb" => BLUE,
        "convodb-borrowed" => SKY,
        "memory" => GREY,
        "lmdb" => GREEN,
        "sqlite-composite" => ORANGE,
        "sqlite-exclusive" => SAND,
        "sqlite-single" => RED,
        _ => PURPLE,
    }
}

const fn look(theme: Theme) -> Look {
    Look { theme, width: WIDE }
}

/// Logarithmic axes of a count and of a time.
const fn axes(x_name: &str) -> LineAxes<'_> {
    LineAxes { x_name, x: Scale::Logarithmic, x_labels: Labels::Counts, y: Scale::Logarithmic }
}

fn micros(found: &Measurement) -> f64 {
    found.p50_ns as f64 / 1000.0
}

/// Latency by list: one row per list, one dot per engine.
fn by_list(pages: &PagesResult, theme: Theme) -> String {
    let shown: Vec<(&str, &str)> = engines(pages)
        .into_iter()
        .filter(|(engine, _)| !matches!(*engine, "convodb-borrowed" | "sqlite-exclusive"))
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
                paint: paint(engine),
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
            count_label(pages.rows.iter().sum::<u64>() as f64)
        ),
    };
    chart::rows(look(theme), &heading, (Unit::Time, Scale::Logarithmic), &names, &series)
}

/// Latency over depth: by cursor and by `OFFSET`.
fn depth(pages: &PagesResult, theme: Theme) -> String {
    let line = |engine: &str, prefix: &str, name: &str| Series {
        name: name.to_owned(),
        paint: paint(engine),
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
    chart::lines(look(theme), &heading, &axes("rows before the page"), &drawn)
}

/// Latency over the size of the store.
fn rows(scale: &PagesResult, theme: Theme) -> String {
    let line = |engine: &str, list: &str, name: &str, paint: Paint| Series {
        name: name.to_owned(),
        paint,
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
    let all = [
        line("convodb", "assistant", "convodb: by assistant", ORANGE),
        line("convodb", "type", "convodb: by type", GREEN),
        line("convodb", "unfiltered", "convodb: unfiltered", BLUE),
        line("memory", "assistant", "no engine: by assistant", ORANGE),
        line("memory", "type", "no engine: by type", GREEN),
        line("memory", "unfiltered", "no engine: unfiltered", BLUE),
    ];
    let drawn: Vec<Series> = all.into_iter().filter(|series| !series.points.is_empty()).collect();
    let heading = Heading {
        title: "Size: a page of 15 as the store grows",
        subtitle: "Median time, biggest user (a tenth of all rows), pages spread over the list, \
                   warm. Dashed: in memory, no engine",
    };
    chart::lines(look(theme), &heading, &axes("rows in the store"), &drawn)
}
