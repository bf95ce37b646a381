//! The charts of the page. Each is drawn twice, for a wide page and for a phone.

use std::fmt::Write;

use crate::chart::axis::{Labels, Scale};
use crate::chart::palette::{BLUE, GREEN, GREY, ORANGE, PURPLE, Paint, RED, SKY, Theme};
use crate::chart::svg::escaped;
use crate::chart::{self, Heading, LineAxes, Look, NARROW, Series, Unit, WIDE};
use crate::html::format::{UNFILTERED, bytes, count, first_size, micros, page_sizes};
use crate::result::{BenchResult, PageFigures};

/// The most lines of a chart.
const MAX_LINES: usize = 5;
/// Lists with at least this many rows have a line by depth.
const DEEP_ROWS: u64 = 1_000;
const PAINTS: [Paint; MAX_LINES] = [BLUE, ORANGE, GREEN, PURPLE, RED];

/// A section with a heading, a caption and a chart.
fn section(
    out: &mut String,
    title: &str,
    caption: &str,
    draw: impl Fn(Look, &Heading<'_>) -> String,
) {
    let _ = writeln!(
        out,
        "<section>\n<h2>{}</h2>\n<p class=\"caption\">{}</p>",
        escaped(title),
        escaped(caption)
    );
    figure(out, title, draw);
    out.push_str("</section>\n");
}

fn figure(out: &mut String, title: &str, draw: impl Fn(Look, &Heading<'_>) -> String) {
    let heading = Heading { title, subtitle: "" };
    out.push_str("<figure>\n");
    for (class, width) in [("wide", WIDE), ("narrow", NARROW)] {
        let svg = draw(Look { theme: Theme::Css, width }, &heading);
        let _ = writeln!(out, "<div class=\"{class}\">\n{svg}</div>");
    }
    out.push_str("</figure>\n");
}

/// The categories of the axis of depth: the first page, the decades, and the last page.
fn depths(result: &BenchResult) -> Vec<String> {
    let mut decades: Vec<u64> = result
        .pages
        .iter()
        .filter(|page| page.depth == "row")
        .filter_map(|page| page.rows_before)
        .collect();
    decades.sort_unstable();
    decades.dedup();
    let first = std::iter::once("first".to_owned());
    first.chain(decades.into_iter().map(count)).chain(["last".to_owned()]).collect()
}

/// The medians of one list by depth.
fn depth_line(result: &BenchResult, engine: &str, list: &str, name: &str, paint: Paint) -> Series {
    let depths = depths(result);
    let (size, user) = (first_size(result), result.users.first().map(|user| user.user));
    let pages = result.pages.iter().filter(|page| {
        (page.engine, page.list.as_str()) == (engine, list)
            && (page.page_size, Some(page.user)) == (size, user)
    });
    let mut points: Vec<(f64, f64)> = pages
        .filter_map(|page| {
            let label = match page.depth {
                "row" => count(page.rows_before?),
                other => other.to_owned(),
            };
            let at = depths.iter().position(|depth| *depth == label)?;
            Some((at as f64, micros(page.latency.p50_ns)))
        })
        .collect();
    points.sort_by(|one, other| one.0.total_cmp(&other.0));
    Series { name: name.to_owned(), paint, dashed: false, points }
}

/// The chief chart: latency by depth.
pub(super) fn by_depth(out: &mut String, result: &BenchResult) {
    let size = first_size(result);
    let lists = result.lists();
    let long = lists.into_iter().filter(|list| {
        let first = result.page("convodb", list, "first", size);
        first.is_some_and(|page| page.rows_in_list >= DEEP_ROWS)
    });
    let all: Vec<Series> = long
        .take(MAX_LINES)
        .zip(PAINTS)
        .map(|(list, paint)| depth_line(result, "convodb", list, list, paint))
        .collect();
    if all.is_empty() {
        return;
    }
    let caption = format!(
        "Median time of a page of {size} by the number of rows before it, for the longest lists of \
         the biggest user. The same page is read again and again at each depth."
    );
    let title = match all.iter().all(is_flat) {
        true => "A page costs the same at any depth",
        false => "Pages by depth",
    };
    lines(out, title, &caption, result, &all, zero_based());
}

/// Whether the slowest page of a line takes at most a quarter more time than the fastest.
fn is_flat(series: &Series) -> bool {
    let times = || series.points.iter().map(|point| point.1);
    times().fold(0.0, f64::max) <= 1.25 * times().fold(f64::MAX, f64::min)
}

const fn zero_based() -> Scale {
    Scale::FromZero { to: 0.0 }
}

fn lines(
    out: &mut String,
    title: &str,
    caption: &str,
    result: &BenchResult,
    all: &[Series],
    y: Scale,
) {
    let depths = depths(result);
    let axes = LineAxes {
        x_name: "rows before the page",
        x: Scale::Categories(depths.len()),
        x_labels: Labels::Names(&depths),
        y,
    };
    section(out, title, caption, |look, heading| chart::lines(look, heading, &axes, all));
}

/// Latency by list: one chart for each size of pages.
pub(super) fn by_list(out: &mut String, result: &BenchResult) {
    let lists = result.lists();
    let names: Vec<String> = lists
        .iter()
        .map(|list| {
            let rows = result.pages.iter().find(|page| page.list == *list);
            format!("{list} ({})", count(rows.map_or(0, |page| page.rows_in_list)))
        })
        .collect();
    for size in page_sizes(result) {
        let series = |depth: &str, name: &str, paint: Paint, time: fn(&PageFigures) -> u64| {
            let point = |(number, list): (usize, &&str)| {
                let page = result.page("convodb", list, depth, size)?;
                Some((number as f64, micros(time(page))))
            };
            let points = lists.iter().enumerate().filter_map(point).collect();
            Series { name: name.to_owned(), paint, dashed: false, points }
        };
        let all = [
            series("first", "first", BLUE, |page| page.latency.p50_ns),
            series("last", "last", GREEN, |page| page.latency.p50_ns),
            series("backward", "backward", PURPLE, |page| page.latency.p50_ns),
            series("deep", "all over the list", ORANGE, |page| page.latency.p50_ns),
            series("deep", "all over the list, p99", GREY, |page| page.latency.p99_ns),
        ];
        let title = format!("Pages of {size}, list by list");
        let caption = "Medians, and the 99th percentile of pages all over the list; the number of \
                       rows of each list in brackets. Short lists have no deep page.";
        section(out, &title, caption, |look, heading| {
            chart::rows(look, heading, (Unit::Time, Scale::Logarithmic), &names, &all)
        });
    }
}

/// What pages read, as shares of the bound.
pub(super) fn entries(out: &mut String, result: &BenchResult) {
    let size = first_size(result);
    let reads: Vec<_> = result
        .reads
        .iter()
        .filter(|read| read.page_size == size && !is_contradiction(&read.filters))
        .collect();
    let Some(first) = reads.first() else { return };
    let names: Vec<String> = reads.iter().map(|read| read.filters.clone()).collect();
    let share = |(number, read): (usize, &&crate::result::ReadFigures)| {
        let share = (read.entries + read.rows_read) as f64 / read.bound.max(1) as f64;
        (number as f64, share)
    };
    let points = reads.iter().enumerate().map(share).collect();
    let all = [Series { name: "of the bound".to_owned(), paint: BLUE, dashed: false, points }];
    let pages: u64 = reads.iter().map(|read| read.pages).sum();
    let caption = format!(
        "The most index entries and rows that any page of {size} read, as a share of the bound, \
         which is {}. Every page of every list was read, forward and backward: {} pages.",
        first.bound,
        count(pages)
    );
    section(out, "What a page reads, against its bound", &caption, |look, heading| {
        let scale = Scale::FromZero { to: 1.0 };
        chart::rows(look, heading, (Unit::Share, scale), &names, &all)
    });
}

/// Whether the filters contradict one another: a phone and an identifier. Nothing is read then.
pub(super) fn is_contradiction(filters: &str) -> bool {
    filters.contains("external") && (filters.contains("sender") || filters.contains("customer"))
}

/// The comparison with SQLite, by depth and by list.
pub(super) fn against(out: &mut String, result: &BenchResult) {
    if result.against.is_empty() {
        return;
    }
    let all = [
        depth_line(result, "convodb", UNFILTERED, "convodb", BLUE),
        depth_line(result, "sqlite", UNFILTERED, "SQLite, by key", ORANGE),
        depth_line(result, "sqlite-offset", UNFILTERED, "SQLite, OFFSET", RED),
    ];
    let versions: Vec<String> =
        result.against.iter().map(|engine| format!("SQLite {}", engine.version)).collect();
    let compared: u64 = result.against.iter().map(|engine| engine.compared_pages).sum();
    let caption = format!(
        "{}, with an ideal index for each list, beside convodb: median time of a page of {} of the \
         unfiltered list, on a logarithmic axis. {} pages were compared first and are the same.",
        versions.join(", "),
        first_size(result),
        count(compared)
    );
    lines(out, "Beside SQLite, by depth", &caption, result, &all, Scale::Logarithmic);
    for size in page_sizes(result) {
        let lists = result.lists();
        let names: Vec<String> = lists.iter().map(|list| (*list).to_owned()).collect();
        let series = |engine: &str, name: &str, paint| {
            let point = |(number, list): (usize, &&str)| {
                let deep = result.page(engine, list, "deep", size);
                let page = deep.or_else(|| result.page(engine, list, "first", size))?;
                Some((number as f64, micros(page.latency.p50_ns)))
            };
            let points = lists.iter().enumerate().filter_map(point).collect();
            Series { name: name.to_owned(), paint, dashed: false, points }
        };
        let all = [series("convodb", "convodb", BLUE), series("sqlite", "SQLite, by key", ORANGE)];
        let title = format!("Beside SQLite, pages of {size}");
        let caption =
            "Medians of pages all over each list; of the first page if the list is short.";
        section(out, &title, caption, |look, heading| {
            chart::rows(look, heading, (Unit::Time, Scale::Logarithmic), &names, &all)
        });
    }
}

/// Cold pages beside warm ones.
pub(super) fn cold(out: &mut String, result: &BenchResult) {
    let Some(first) = result.cold.first() else { return };
    let names: Vec<String> = result.cold.iter().map(|cold| cold.list.clone()).collect();
    let series = |name: &str, paint, time: fn(&crate::result::ColdFigures) -> Option<u64>| {
        let point = |(number, cold)| Some((number as f64, micros(time(cold)?)));
        let points = result.cold.iter().enumerate().filter_map(point).collect();
        Series { name: name.to_owned(), paint, dashed: false, points }
    };
    let all = [
        series("warm", BLUE, |cold| cold.warm.map(|warm| warm.p50_ns)),
        series("cold", ORANGE, |cold| Some(cold.page.p50_ns)),
        series("cold, p99", GREY, |cold| Some(cold.page.p99_ns)),
        series("opening the store, cold", SKY, |cold| Some(cold.open.p50_ns)),
    ];
    let evicted = match (first.evicted, first.disk_bytes) {
        (false, _) => "This system was not asked to evict the file: what it had read stays in \
                       its memory."
            .to_owned(),
        (true, Some(0)) => "The system evicted nothing, as for a file system in memory: nothing \
                            was read from a disk."
            .to_owned(),
        (true, None) => "The file was evicted from the memory of the system.".to_owned(),
        (true, Some(read)) => format!(
            "The file was evicted from the memory of the system: opening and one page read {} from \
             the disk.",
            bytes(read)
        ),
    };
    let caption = format!(
        "A page of {} all over the list: warm, and as the first page after the store was opened anew. \
         {evicted}",
        first.page_size
    );
    section(out, "Cold and warm", &caption, |look, heading| {
        chart::rows(look, heading, (Unit::Time, Scale::Logarithmic), &names, &all)
    });
}

/// Pages per second by reader threads.
pub(super) fn readers(out: &mut String, result: &BenchResult) {
    let Some(first) = result.readers.first() else { return };
    let threads = |count: usize| format!("{count} thread{}", if count == 1 { "" } else { "s" });
    let names: Vec<String> = result.readers.iter().map(|found| threads(found.threads)).collect();
    let points = (0..).zip(&result.readers);
    let points = points.map(|(at, found)| (f64::from(at), found.pages_per_second)).collect();
    let all = [Series { name: "pages/s".to_owned(), paint: BLUE, dashed: false, points }];
    let caption = format!(
        "Pages of {} a second, all over all lists. The machine has {} processors.",
        first.page_size, result.machine.processors
    );
    section(out, "Reader threads", &caption, |look, heading| {
        chart::rows(look, heading, (Unit::Count, zero_based()), &names, &all)
    });
}
