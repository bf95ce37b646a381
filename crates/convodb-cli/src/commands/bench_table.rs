//! The result of `convodb bench` as text tables.

use std::io::Write;

use anyhow::Result;
use convodb_bench::chart::axis::{rounded, time_label};
use convodb_bench::latency::Latency;
use convodb_bench::result::{BenchResult, PageFigures};

use crate::console::{bytes, grouped};
use crate::io::text_table::{Align, Column, Fit, TextTable};

const fn left(title: &'static str) -> Column {
    Column { title, align: Align::Left, fit: Fit::Whole }
}

const fn right(title: &'static str) -> Column {
    Column { title, align: Align::Right, fit: Fit::Whole }
}

const fn droppable(title: &'static str, rank: u8) -> Column {
    Column { title, align: Align::Right, fit: Fit::Drop(rank) }
}

/// Prints all figures; times are p50, and p99 where the header says so.
pub(super) fn print(result: &BenchResult, out: &mut dyn Write) -> Result<()> {
    summary(result, out)?;
    for user in &result.users {
        writeln!(
            out,
            "\nuser {}: {} conversations, {} assistants; p50 of warm pages",
            user.user,
            grouped(user.rows),
            user.assistants
        )?;
        pages(result, user.user, out)?;
    }
    reads(result, out)?;
    cold(result, out)?;
    readers(result, out)?;
    writes(result, out)?;
    memory(result, out)
}

fn summary(result: &BenchResult, out: &mut dyn Write) -> Result<()> {
    let store = &result.store;
    let source = if store.generated { "generated store" } else { "store" };
    write!(
        out,
        "{source}: {} conversations of {} user{}, {}",
        grouped(store.rows),
        grouped(store.users as u64),
        if store.users == 1 { "" } else { "s" },
        bytes(store.file_bytes)
    )?;
    if let Some(seconds) = store.load_seconds {
        write!(out, ", loaded in {seconds:.1} s")?;
    }
    writeln!(out)?;
    for engine in &result.against {
        writeln!(
            out,
            "{} {}: the same rows in {}; {} pages compared, no differences",
            engine.engine,
            engine.version,
            bytes(engine.file_bytes),
            grouped(engine.compared_pages)
        )?;
    }
    if !result.machine.optimized {
        writeln!(
            out,
            "this program is not optimized: its counts mean something, its times nothing"
        )?;
    }
    Ok(())
}

fn time(nanos: u64) -> String {
    time_label(rounded(nanos as f64 / 1000.0))
}

fn p50(page: Option<&PageFigures>) -> String {
    page.map_or_else(|| "-".to_owned(), |page| time(page.latency.p50_ns))
}

fn pages(result: &BenchResult, user: u32, out: &mut dyn Write) -> Result<()> {
    let mut columns = vec![
        left("LIST"),
        right("ROWS"),
        right("PAGE"),
        right("FIRST"),
        right("LAST"),
        right("BACKWARD"),
        right("DEEP"),
        droppable("DEEP P99", 2),
        droppable("READ", 1),
        droppable("BOUND", 3),
    ];
    let compared = !result.against.is_empty();
    if compared {
        columns.extend([right("SQLITE DEEP"), right("OFFSET LAST")]);
    }
    let of_user: Vec<&PageFigures> = result.pages.iter().filter(|page| page.user == user).collect();
    let firsts = of_user.iter().filter(|page| (page.engine, page.depth) == ("convodb", "first"));
    let mut rows = Vec::new();
    for first in firsts {
        let find = |engine: &str, depth: &str| {
            let found = of_user.iter().find(|page| {
                (page.engine, page.depth, page.page_size) == (engine, depth, first.page_size)
                    && page.list == first.list
            });
            found.copied()
        };
        let of_list = of_user.iter().filter(|page| {
            (page.engine, page.page_size) == ("convodb", first.page_size) && page.list == first.list
        });
        let most = of_list.filter_map(|page| Some(page.entries? + page.rows_read?)).max();
        let deep = find("convodb", "deep");
        let mut row = vec![
            first.list.clone(),
            grouped(first.rows_in_list),
            first.page_size.to_string(),
            p50(Some(first)),
            p50(find("convodb", "last")),
            p50(find("convodb", "backward")),
            p50(deep),
            deep.map_or_else(|| "-".to_owned(), |page| time(page.latency.p99_ns)),
            most.unwrap_or_default().to_string(),
            first.bound.to_string(),
        ];
        if compared {
            row.extend([p50(find("sqlite", "deep")), p50(find("sqlite-offset", "last"))]);
        }
        rows.push(row);
    }
    Ok(TextTable::new(&columns).write(out, &rows)?)
}

fn reads(result: &BenchResult, out: &mut dyn Write) -> Result<()> {
    let pages: u64 = result.reads.iter().map(|read| read.pages).sum();
    let lists = result.reads.iter().map(|read| &read.filters);
    let lists: std::collections::BTreeSet<_> = lists.collect();
    writeln!(
        out,
        "\nread: {} pages of {} combinations of filters, forward and backward; the most that a page \
         read was {:.0}% of its bound of 10 x (n + 1) entries and rows",
        grouped(pages),
        lists.len(),
        result.worst_share_of_bound() * 100.0
    )?;
    Ok(())
}

fn cold(result: &BenchResult, out: &mut dyn Write) -> Result<()> {
    let Some(first) = result.cold.first() else { return Ok(()) };
    writeln!(
        out,
        "\ncold: the store opened anew{}, then one page of {}",
        if first.evicted { ", its file evicted from the system's memory" } else { "" },
        first.page_size
    )?;
    let columns = [
        left("LIST"),
        right("WARM"),
        right("COLD"),
        right("COLD P99"),
        right("OPEN"),
        droppable("FROM DISK", 1),
    ];
    let rows: Vec<Vec<String>> = result
        .cold
        .iter()
        .map(|cold| {
            let warm = cold.warm.map_or_else(|| "-".to_owned(), |warm| time(warm.p50_ns));
            let read = cold.disk_bytes.map_or_else(|| "-".to_owned(), bytes);
            let (page, open) = (cold.page, cold.open);
            let [page_p50, page_p99, open] = [page.p50_ns, page.p99_ns, open.p50_ns].map(time);
            vec![cold.list.clone(), warm, page_p50, page_p99, open, read]
        })
        .collect();
    Ok(TextTable::new(&columns).write(out, &rows)?)
}

fn readers(result: &BenchResult, out: &mut dyn Write) -> Result<()> {
    let Some(first) = result.readers.first() else { return Ok(()) };
    writeln!(out, "\nreader threads: pages of {}, all over all lists", first.page_size)?;
    let columns = [right("THREADS"), right("PAGES/S"), right("P50"), right("P99")];
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive rate")]
    let rows: Vec<Vec<String>> = result
        .readers
        .iter()
        .map(|found| {
            let rate = grouped(found.pages_per_second as u64);
            let Latency { p50_ns, p99_ns, .. } = found.latency;
            vec![found.threads.to_string(), rate, time(p50_ns), time(p99_ns)]
        })
        .collect();
    Ok(TextTable::new(&columns).write(out, &rows)?)
}

fn writes(result: &BenchResult, out: &mut dyn Write) -> Result<()> {
    let Some(writes) = result.writes else { return Ok(()) };
    writeln!(out, "\ndurable writes")?;
    let row = |name: &str, of: Latency| vec![name.to_owned(), time(of.p50_ns), time(of.p99_ns)];
    let rows = [
        row("insert", writes.insert),
        row("change of an indexed field", writes.update),
        row("deletion", writes.delete),
        row("transaction of 100 inserts", writes.group_of_100),
    ];
    TextTable::new(&[left("WRITE"), right("P50"), right("P99")]).write(out, &rows)?;
    writeln!(out, "64 threads: {:.0} inserts/s", writes.inserts_per_second_by_64_threads)?;
    Ok(())
}

fn memory(result: &BenchResult, out: &mut dyn Write) -> Result<()> {
    let Some(memory) = &result.memory else { return Ok(()) };
    if memory.is_empty() {
        writeln!(out, "\nmemory: this system does not report it")?;
        return Ok(());
    }
    writeln!(out, "\nresident memory")?;
    let rows: Vec<Vec<String>> = memory
        .iter()
        .map(|at| vec![at.after.to_owned(), bytes(at.resident_bytes), bytes(at.peak_bytes)])
        .collect();
    Ok(TextTable::new(&[left("AFTER"), right("RESIDENT"), right("PEAK")]).write(out, &rows)?)
}
