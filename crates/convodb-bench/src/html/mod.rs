//! The report as one HTML page: charts and tables, in the colours of the reader's system.
//!
//! It is self-contained: no script, no font, no image and no request to another host. It is also
//! well-formed XML.

mod charts;
mod format;
mod style;
mod tables;

use std::fmt::Write;

use crate::chart::axis::count_label;
use crate::chart::svg::escaped;
use crate::html::format::{UNFILTERED, count, first_size, time};
use crate::result::{BenchResult, PageFigures};

/// The page of a result.
#[must_use]
pub fn page(result: &BenchResult) -> String {
    let title = format!("convodb bench: {} conversations", count(result.store.rows));
    let mut body = String::new();
    header(&mut body, result);
    charts::by_depth(&mut body, result);
    charts::by_list(&mut body, result);
    charts::entries(&mut body, result);
    charts::against(&mut body, result);
    charts::cold(&mut body, result);
    charts::readers(&mut body, result);
    tables::writes(&mut body, result);
    tables::memory(&mut body, result);
    tables::pages(&mut body, result);
    tables::reads(&mut body, result);
    method(&mut body, result);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n<meta \
         name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<meta \
         name=\"color-scheme\" content=\"light dark\"/>\n<title>{}</title>\n<style>\n{}</style>\n\
         </head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        escaped(&title),
        style::sheet()
    )
}

fn header(out: &mut String, result: &BenchResult) {
    let store = &result.store;
    let biggest = result.users.first().map_or(0, |user| user.rows);
    let _ = writeln!(
        out,
        "<header>\n<p class=\"name\">convodb bench</p>\n<h1>What a page costs</h1>\n<p \
         class=\"lead\">{}</p>\n<p class=\"note\">{} conversations of {} {}; the biggest user has \
         {}. {} Run on <span \
         class=\"date\">{}</span> with convodb {}: {} processors, {} {}.</p>",
        escaped(&finding(result)),
        count(store.rows),
        count(store.users as u64),
        if store.users == 1 { "user" } else { "users" },
        count(biggest),
        if store.generated { "A generated store." } else { "A store of one’s own, read only." },
        escaped(result.started_at.get(..10).unwrap_or_default()),
        result.convodb,
        result.machine.processors,
        result.machine.os,
        result.machine.arch
    );
    if !result.machine.optimized {
        let _ = writeln!(
            out,
            "<p class=\"warning\">This program was compiled without optimization: only the counts \
             mean something, the times do not.</p>"
        );
    }
    let mut facts = Vec::new();
    let size = first_size(result);
    let mut fact = |value: String, what: String| facts.push((value, what));
    for (depth, what) in [("first", "first"), ("last", "last")] {
        if let Some(page) = result.page("convodb", UNFILTERED, depth, size) {
            fact(time(page.latency.p50_ns), format!("median of the {what} page of {size}"));
        }
    }
    let share = format!("{:.0}%", result.worst_share_of_bound() * 100.0);
    fact(share, "of the bound is the most that any page read".to_owned());
    if let Some(most) = result.readers.iter().max_by_key(|found| found.threads) {
        let threads = if most.threads == 1 { "thread" } else { "threads" };
        let rate = count_label(most.pages_per_second);
        fact(rate, format!("pages of {} a second, {} {threads}", most.page_size, most.threads));
    }
    out.push_str("<dl class=\"facts\">\n");
    for (value, what) in facts {
        let _ = writeln!(out, "<div><dt>{}</dt><dd>{}</dd></div>", escaped(&what), escaped(&value));
    }
    out.push_str("</dl>\n</header>\n");
}

/// The sentence about depth: the last page beside the first one.
fn finding(result: &BenchResult) -> String {
    let size = first_size(result);
    let page = |depth| result.page("convodb", UNFILTERED, depth, size);
    let (Some(first), Some(last)) = (page("first"), page("last")) else {
        return "The list is too short for pages at a depth.".to_owned();
    };
    let ratio = last.latency.p50_ns as f64 / first.latency.p50_ns.max(1) as f64;
    format!(
        "The last page of {} conversations takes {ratio:.2} times the time of the first one. It reads \
         {}; the first reads {}.",
        count(last.rows_in_list),
        entries(last),
        first.entries.unwrap_or_default()
    )
}

fn entries(page: &PageFigures) -> String {
    let entries = page.entries.unwrap_or_default();
    if entries == 1 { "1 entry".to_owned() } else { format!("{entries} entries") }
}

fn method(out: &mut String, result: &BenchResult) {
    out.push_str("<section>\n<h2>How it was measured</h2>\n<ul>\n");
    let mut item = |text: &str| {
        let _ = writeln!(out, "<li>{}</li>", escaped(text));
    };
    item(
        "A page is a new snapshot, one call of list, and a visit of each field of each row. It is \
         timed on its own, on one thread, without HTTP or JSON. p50 is the median, p99 the 99th \
         percentile.",
    );
    item(
        "All kinds of pages are read in turn, round by round, so that a disturbance of the machine \
         affects all of them. The caches are warm.",
    );
    item(
        "First, last and the pages after a number of rows are one page each, which is read again and \
         again. Deep and backward are pages all over the list, up to 4,096 places, far from one \
         another: they also pay for memory that is not in the caches of the processor.",
    );
    item(
        "The values of a filter are those that occur most among the newest 20,000 conversations of \
         the user. Only full pages are timed, apart from the first one.",
    );
    item(
        "Entries are what a page reads of an index, or of the table of rows if there is no filter, \
         and rows what it reads for them. The bound is 10 × (n + 1) for a page of n, whatever the \
         filters, the depth and the data.",
    );
    if !result.against.is_empty() {
        item(
            "SQLite has the same rows, clustered by user and position, with one composite index for \
             each list, statements that are prepared and planned once, its file mapped into memory, \
             and a cache that is bigger than the file. It reads by key; OFFSET is the same statement \
             with OFFSET instead of the key. All pages were compared before anything was timed.",
        );
    }
    out.push_str("</ul>\n</section>\n");
}
