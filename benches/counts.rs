//! Page cost in counts: the most index entries and rows that any page of a list reads.
//!
//! Reads every list of the bench `page`, and one list for each of the 32 combinations of filters,
//! from the first to the last page and back. Prints a table for `docs/benchmarks.md`; panics if a
//! count is above the bound. `CONVODB_BENCH_ROWS=1000000` sets the size of the store.

use std::io::Write;

use convodb::{
    ChannelKind, Conversation, Filter, ListRequest, PageCost, PageSize, Result, Snapshot, UserId,
};
use convodb_benches::{lists, store_of};

/// The filter on the fields whose bits are set. The values are those of `row`, a WhatsApp row. The
/// identifier is that of `api`, and so are the type and the assistant next to it, unless a phone is
/// filtered by: such a filter contradicts itself.
fn filter(bits: u32, row: &Conversation, api: &Conversation) -> Filter {
    let has = |bit: u32| bits & (1 << bit) != 0;
    let text = |value: Option<&str>| value.map(str::to_owned);
    let source = if has(4) && !has(2) && !has(3) { api } else { row };
    let phone = |value: Option<&str>| text(value).and_then(|phone| phone.parse().ok());
    Filter {
        kind: has(0).then(|| source.channel.kind()),
        assistant: has(1).then_some(source.assistant),
        sender_phone: phone(row.channel.sender_phone()).filter(|_| has(2)),
        customer_phone: phone(row.channel.customer_phone()).filter(|_| has(3)),
        external_identifier: text(api.channel.external_identifier())
            .and_then(|text| text.parse().ok())
            .filter(|_| has(4)),
    }
}

fn name(bits: u32) -> String {
    let names = ["type", "assistant", "sender", "customer", "external"];
    let set: Vec<&str> = names
        .iter()
        .enumerate()
        .filter(|(bit, _)| bits & (1 << bit) != 0)
        .map(|(_, n)| *n)
        .collect();
    if set.is_empty() { "all".to_owned() } else { set.join(" + ") }
}

/// A row with an external identifier or a customer phone, after the first 100 rows of the list.
fn row_of(snapshot: &Snapshot, user: UserId, kind: ChannelKind) -> Result<Option<Conversation>> {
    let filter = Filter { kind: Some(kind), ..Filter::default() };
    let rows = snapshot.conversations(user, &ListRequest { filter, ..ListRequest::default() });
    for row in rows.skip(100) {
        let row = row?;
        if row.channel.external_identifier().is_some() || row.channel.customer_phone().is_some() {
            return Ok(Some(row));
        }
    }
    Ok(None)
}

/// The number of rows of a list, and the highest cost of one of its pages.
fn worst(snapshot: &Snapshot, user: UserId, first: &ListRequest) -> Result<(usize, PageCost)> {
    let (mut rows, mut worst) = (0, PageCost::default());
    let mut heavier = |work: PageCost| {
        if work.entries + work.rows > worst.entries + worst.rows {
            worst = work;
        }
    };
    let mut page = snapshot.list(user, first)?;
    loop {
        rows += page.len();
        heavier(page.cost());
        let Some(next) = page.next_cursor() else { break };
        page = snapshot.list(user, &ListRequest::at(*next))?;
    }
    while let Some(prev) = page.prev_cursor() {
        page = snapshot.list(user, &ListRequest::at(*prev))?;
        heavier(page.cost());
    }
    Ok((rows, worst))
}

fn main() -> Result<()> {
    let rows = std::env::var("CONVODB_BENCH_ROWS").ok().and_then(|rows| rows.parse().ok());
    let (store, users) = store_of(rows.unwrap_or(1_000_000))?;
    let (snapshot, user) = (store.snapshot(), users[0]);
    let whatsapp = row_of(&snapshot, user, ChannelKind::Whatsapp)?;
    let api = row_of(&snapshot, user, ChannelKind::Api)?;
    let (Some(whatsapp), Some(api)) = (whatsapp, api) else { return Ok(()) };
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "| filters | rows | 15 per page: entries, rows read | of {} \
         | 100 per page: entries, rows read | of {} |",
        PageCost::bound(PageSize::default()),
        PageCost::bound(PageSize::MAX)
    )?;
    writeln!(out, "|---|---|---|---|---|---|")?;
    let timed = lists(&snapshot, user)?
        .into_iter()
        .map(|(name, filter)| (format!("timed: {name}"), filter));
    let all = (0..32).map(|bits| (name(bits), filter(bits, &whatsapp, &api)));
    for (name, filter) in timed.chain(all) {
        write!(out, "| {name} ")?;
        for (at, size) in [PageSize::default(), PageSize::MAX].into_iter().enumerate() {
            let request = ListRequest {
                filter: filter.clone(),
                page_size: Some(size),
                ..ListRequest::default()
            };
            let (rows, PageCost { entries, rows: read, .. }) = worst(&snapshot, user, &request)?;
            if at == 0 {
                write!(out, "| {rows} ")?;
            }
            let bound = PageCost::bound(size);
            assert!(entries + read <= bound, "{entries} + {read} above {bound}");
            write!(out, "| {entries}, {read} | {}% ", (entries + read) * 100 / bound)?;
        }
        writeln!(out, "|")?;
    }
    Ok(())
}
