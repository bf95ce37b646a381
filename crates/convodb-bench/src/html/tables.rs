//! The tables of the page.

use std::fmt::Write;

use crate::chart::axis::{count_label, rounded};
use crate::chart::svg::escaped;
use crate::html::format::{bytes, count, micros, page_sizes, time};
use crate::latency::Latency;
use crate::result::BenchResult;

/// A table; the first column is left-aligned. Cells are markup.
fn table(out: &mut String, head: &[&str], rows: &[Vec<String>]) {
    out.push_str("<div class=\"scroll\"><table>\n<thead><tr>");
    for name in head {
        let _ = write!(out, "<th>{name}</th>");
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        let _ = writeln!(out, "<tr><td>{}</td></tr>", row.join("</td><td>"));
    }
    out.push_str("</tbody>\n</table></div>\n");
}

fn open(out: &mut String, title: &str, caption: &str) {
    let _ = writeln!(
        out,
        "<section>\n<h2>{}</h2>\n<p class=\"caption\">{}</p>",
        escaped(title),
        escaped(caption)
    );
}

/// p50 and p99 in one cell.
fn latency(of: Latency) -> String {
    format!("{} <small>{}</small>", time(of.p50_ns), time(of.p99_ns))
}

/// Durable writes.
pub(super) fn writes(out: &mut String, result: &BenchResult) {
    let Some(writes) = result.writes else { return };
    open(out, "Durable writes", "Each is on disk when it returns. p50, and p99 in grey.");
    let row = |name: &str, of| vec![name.to_owned(), latency(of)];
    let rate = writes.inserts_per_second_by_64_threads;
    let rows = [
        row("one insert", writes.insert),
        row("one change of an indexed field", writes.update),
        row("one deletion", writes.delete),
        row("a transaction of 100 inserts", writes.group_of_100),
        vec!["inserts by 64 threads at once".to_owned(), format!("{} a second", count_label(rate))],
    ];
    table(out, &["write", "time"], &rows);
    out.push_str("</section>\n");
}

/// Memory of the process.
pub(super) fn memory(out: &mut String, result: &BenchResult) {
    let Some(memory) = &result.memory else { return };
    let caption = if memory.is_empty() {
        "This system does not report it."
    } else {
        "Resident memory of the process, with its caches."
    };
    open(out, "Memory", caption);
    let rows: Vec<Vec<String>> = memory
        .iter()
        .map(|at| vec![at.after.to_owned(), bytes(at.resident_bytes), bytes(at.peak_bytes)])
        .collect();
    if !rows.is_empty() {
        table(out, &["after", "resident", "most so far"], &rows);
    }
    out.push_str("</section>\n");
}

/// p50 and p99 in microseconds, without their unit.
fn short_latency(of: Latency) -> String {
    let number = |nanos| rounded(micros(nanos)).to_string();
    format!("{} <small>{}</small>", number(of.p50_ns), number(of.p99_ns))
}

/// All latencies of convodb, and the ratios to SQLite, in a table for each user and size of pages.
pub(super) fn pages(out: &mut String, result: &BenchResult) {
    open(
        out,
        "All pages",
        "In microseconds: p50, and p99 in grey. Read: the entries and rows of the page that read the most, as a share \
         of the bound.",
    );
    for user in &result.users {
        for size in page_sizes(result) {
            let _ = writeln!(
                out,
                "<details{}>\n<summary>Pages of {size}, user {} with {} conversations and {} \
                 assistants</summary>",
                if user.user == result.users[0].user { " open=\"open\"" } else { "" },
                user.user,
                count(user.rows),
                user.assistants
            );
            pages_of(out, result, user.user, size);
            out.push_str("</details>\n");
        }
    }
    out.push_str("</section>\n");
}

fn pages_of(out: &mut String, result: &BenchResult, user: u32, size: usize) {
    let of_user: Vec<_> =
        result.pages.iter().filter(|page| (page.user, page.page_size) == (user, size)).collect();
    let mut lists: Vec<&str> = Vec::new();
    for page in &of_user {
        if !lists.contains(&page.list.as_str()) {
            lists.push(&page.list);
        }
    }
    let compared = !result.against.is_empty();
    let mut rows = Vec::new();
    for list in lists {
        let find = |engine: &str, depth: &str| {
            let found = of_user.iter().find(|page| {
                (page.engine, page.list.as_str(), page.depth) == (engine, list, depth)
            });
            found.copied()
        };
        let cell = |depth: &str| {
            find("convodb", depth)
                .map_or_else(|| "–".to_owned(), |page| short_latency(page.latency))
        };
        let most = of_user.iter().filter(|page| page.list == list && page.engine == "convodb");
        let most = most.filter_map(|page| Some(page.entries? + page.rows_read?)).max();
        let (of, bound) = of_user
            .iter()
            .find(|page| page.list == list)
            .map_or((0, 1), |page| (page.rows_in_list, page.bound));
        let mut row = vec![escaped(list), count(of)];
        row.extend(["first", "last", "backward", "deep"].map(cell));
        row.push(format!("{}%", most.unwrap_or_default() * 100 / bound.max(1)));
        if compared {
            let pair = find("sqlite", "deep").zip(find("convodb", "deep"));
            let pair = pair.or_else(|| find("sqlite", "first").zip(find("convodb", "first")));
            row.push(pair.map_or_else(String::new, |(other, own)| {
                let ratio = other.latency.p50_ns as f64 / own.latency.p50_ns.max(1) as f64;
                format!("{ratio:.1}×")
            }));
        }
        rows.push(row);
    }
    let mut head = vec!["list", "rows", "first", "last", "backward", "all over", "read"];
    if compared {
        head.push("SQLite takes");
    }
    table(out, &head, &rows);
}

/// What pages of all combinations of filters read.
pub(super) fn reads(out: &mut String, result: &BenchResult) {
    if result.reads.is_empty() {
        return;
    }
    open(
        out,
        "All combinations of filters",
        "The index entries and rows read for the page that read the most, of all pages of the list, \
         forward and backward. A phone and an identifier contradict each other: nothing is read.",
    );
    let sizes = page_sizes(result);
    out.push_str("<details>\n<summary>Show the table</summary>\n");
    let mut rows: Vec<Vec<String>> = Vec::new();
    for read in &result.reads {
        let cell =
            format!("{} + {} <small>of {}</small>", read.entries, read.rows_read, read.bound);
        if read.page_size == sizes[0] {
            rows.push(vec![escaped(&read.filters), count(read.rows), cell]);
        } else if let Some(row) = rows.last_mut() {
            row.push(cell);
        }
    }
    let names: Vec<String> = sizes.iter().map(|size| format!("page of {size}")).collect();
    let mut head = vec!["filters", "rows"];
    head.extend(names.iter().map(String::as_str));
    table(out, &head, &rows);
    out.push_str("</details>\n</section>\n");
}
