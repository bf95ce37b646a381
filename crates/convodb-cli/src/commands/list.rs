//! `convodb list`: pages of conversations as a table or as JSON lines in the API's format.

use std::io::Write;

use anyhow::{Context, Result, anyhow};
use clap::builder::BoolishValueParser;
use convodb::{
    Channel, Contact, ConversationRef, Count, Error, ListRequest, Name, Page, PageSize, Phone,
    PreviewRef, Snapshot, Timestamp, UserId,
};
use convodb_json::{AssistantNames, write_item, write_preview};

use crate::args::{DbFlag, FilterFlags, JsonFlag, OrderWord, UsageError, UserFlag};
use crate::console::say;
use crate::io::text_table::{Align, Column, Fit, TextTable};
use crate::open_store::{SMALL_CACHE_BYTES, WhileServed, existing};
use crate::resolve;

/// List conversations, newest first
///
/// Filters match exactly, in any combination. With --json, each line is one conversation as the
/// API's list shows it: without messages, with times to the second. Imported again with --order
/// asc, conversations of the same second keep their order. Cursors are printed on standard error.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: convodb list --db chats.convodb --user acme --type whatsapp --per-page 50"
)]
pub(crate) struct Args {
    #[command(flatten)]
    db: DbFlag,
    #[command(flatten)]
    user: UserFlag,
    #[command(flatten)]
    filters: FilterFlags,
    /// Newest first (desc) or oldest first (asc) [default: desc]
    #[arg(long, env = "CONVODB_ORDER")]
    order: Option<OrderWord>,
    /// Conversations per page, 1 to 100 [default: 15, or 100 with --all]
    #[arg(long, env = "CONVODB_PER_PAGE", value_name = "N")]
    per_page: Option<PageSize>,
    /// Start at this cursor, which an earlier page printed; it includes the filters
    #[arg(long, env = "CONVODB_CURSOR", value_name = "CURSOR", hide_env_values = true)]
    cursor: Option<String>,
    /// Print the number of conversations instead of a page; "10000+" if there are more than are
    /// counted one by one
    #[arg(
        long,
        env = "CONVODB_COUNT",
        value_parser = BoolishValueParser::new(),
        conflicts_with_all = ["all", "per_page", "order", "preview"]
    )]
    count: bool,
    /// Print the beginnings of the first and last message, too; the table shows the last
    #[arg(long, env = "CONVODB_PREVIEW", value_parser = BoolishValueParser::new())]
    preview: bool,
    /// Print all pages
    #[arg(long, env = "CONVODB_ALL", value_parser = BoolishValueParser::new())]
    all: bool,
    #[command(flatten)]
    json: JsonFlag,
}

const PREVIEW: Column = Column { title: "LAST MESSAGE", align: Align::Left, fit: Fit::Cut };
/// The columns of the table; `time` is the title of the time that sorts the list.
const fn columns(time: &'static str) -> [Column; 8] {
    [
        Column { title: "ID", align: Align::Left, fit: Fit::Whole },
        Column { title: time, align: Align::Left, fit: Fit::Drop(1) },
        Column { title: "TYPE", align: Align::Left, fit: Fit::Drop(2) },
        Column { title: "WITH", align: Align::Left, fit: Fit::Cut },
        Column { title: "ASSISTANT", align: Align::Left, fit: Fit::Drop(5) },
        Column { title: "MESSAGES", align: Align::Right, fit: Fit::Drop(4) },
        Column { title: "COST", align: Align::Right, fit: Fit::Drop(3) },
        Column { title: "AI", align: Align::Left, fit: Fit::Drop(6) },
    ]
}

const BY_CREATION: [Column; 8] = columns("CREATED");
const BY_ACTIVITY: [Column; 8] = columns("ACTIVE");

/// Prints one page, or all pages from there.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    let path = &args.db.db;
    let served = WhileServed::Request("GET /api/user/conversations");
    let store = existing(path, SMALL_CACHE_BYTES, served)?;
    let snapshot = store.snapshot();
    let user = resolve::user(&snapshot, &args.user.user, path)?;
    let request = request(args, &snapshot, user)?;

    if args.count {
        let count = snapshot.count(user, &request).map_err(explain)?;
        write_count(count, args.json.json, out)?;
        return Ok(store.close()?);
    }
    let mut printer = Printer::new(args, snapshot.clone(), user);
    if args.all {
        for page in snapshot.pages(user, request) {
            printer.print(&page.map_err(explain)?, out)?;
        }
    } else {
        let page = snapshot.list(user, &request).map_err(explain)?;
        printer.print(&page, out)?;
        // Standard output is buffered: print the page before the cursors.
        out.flush()?;
        print_cursors(&snapshot, &page);
    }
    Ok(store.close()?)
}

fn request(args: &Args, snapshot: &Snapshot, user: UserId) -> Result<ListRequest> {
    let cursor = args.cursor.as_deref().map(|token| snapshot.open_cursor(user, token));
    let whole_pages = args.all.then_some(PageSize::MAX);
    Ok(ListRequest {
        filter: resolve::filter(snapshot, user, &args.filters)?,
        order: args.order.map(Into::into),
        page_size: args.per_page.or(whole_pages),
        cursor: cursor.transpose().map_err(explain)?,
        previews: args.preview,
        ..args.filters.unfiltered()
    })
}

/// Prints the number of conversations of a list, as the API does with `--json`.
fn write_count(count: Count, json: bool, out: &mut dyn Write) -> Result<()> {
    let Count { conversations, is_exact, .. } = count;
    match (json, is_exact) {
        (true, _) => {
            let total = format!("{{\"conversations\":{conversations},\"exact\":{is_exact}}}");
            writeln!(out, "{{\"total\":{total}}}")?;
        }
        (false, true) => writeln!(out, "{conversations}")?,
        (false, false) => writeln!(out, "{conversations}+")?,
    }
    Ok(())
}

/// A cursor of another list is a wrong command line; everything else is a failure of the store.
pub(crate) fn explain(error: Error) -> anyhow::Error {
    match error {
        Error::InvalidCursor => anyhow!(UsageError(format!(
            "--cursor: {error}; use one that a page of the same user and store printed"
        ))),
        Error::CursorConflict { .. } => {
            anyhow!(UsageError(format!("{error}; leave it out, the cursor includes it")))
        }
        Error::Invalid { field: "sort", reason } => anyhow!(UsageError(format!("--sort {reason}"))),
        Error::Invalid { field: "created_from" | "created_to", .. } => anyhow!(UsageError(
            "--from and --to: leave them out with --sort last-activity; use --active-from and \
             --active-to"
                .to_owned()
        )),
        Error::Invalid { field: "active_from" | "active_to", .. } => anyhow!(UsageError(
            "--active-from and --active-to: add --sort last-activity".to_owned()
        )),
        error => anyhow!(error).context("cannot read the list"),
    }
}

/// Prints the cursors of the pages before and after.
fn print_cursors(snapshot: &Snapshot, page: &Page) {
    if page.is_empty() {
        say("no conversation matches");
    }
    for (name, cursor) in [("next", page.next_cursor()), ("prev", page.prev_cursor())] {
        if let Some(cursor) = cursor {
            say(format_args!("{name}: --cursor={}", snapshot.seal_cursor(cursor)));
        }
    }
}

/// Prints pages of one list.
struct Printer {
    names: AssistantNames,
    format: Format,
    /// Whether the pages have previews.
    previews: bool,
}

enum Format {
    /// From the first page on.
    Table(Option<TextTable>),
    /// With the buffer of a line.
    Json(Vec<u8>),
}

impl Printer {
    fn new(args: &Args, snapshot: Snapshot, user: UserId) -> Self {
        let format = match args.json.json {
            true => Format::Json(Vec::new()),
            false => Format::Table(None),
        };
        Self { names: AssistantNames::new(snapshot, user), format, previews: args.preview }
    }

    fn print(&mut self, page: &Page, out: &mut dyn Write) -> Result<()> {
        let mut previews = page.previews();
        let Self { names, format, previews: has_previews } = self;
        match format {
            Format::Json(line) => {
                for row in page.conversations() {
                    line.clear();
                    write_item(line, &row, names.name(row.assistant)?);
                    if let Some(preview) = previews.next() {
                        // The object continues.
                        line.pop();
                        line.extend(b",\"preview\":");
                        write_preview(line, preview);
                        line.push(b'}');
                    }
                    line.push(b'\n');
                    out.write_all(line).context("cannot print the list")?;
                }
            }
            Format::Table(table) => {
                // Only a list by last activity has one.
                let by_activity = page.changes_cursor().is_some();
                let table = table.get_or_insert_with(|| {
                    let columns = if by_activity { BY_ACTIVITY } else { BY_CREATION };
                    let preview = has_previews.then_some(PREVIEW);
                    TextTable::new(&columns.into_iter().chain(preview).collect::<Vec<_>>())
                });
                let rows = page.conversations().map(|row| {
                    let time = if by_activity { row.updated_at } else { row.created_at };
                    let mut cells = cells(&row, time, names.name(row.assistant)?);
                    let last = |preview: PreviewRef<'_>| preview.last.text.replace('\n', " ");
                    cells.extend(previews.next().map(|one| one.map_or(String::new(), last)));
                    Ok(cells)
                });
                let rows = rows.collect::<Result<Vec<_>>>()?;
                table.write(out, &rows).context("cannot print the list")?;
            }
        }
        Ok(())
    }
}

/// The texts of a row, in the order of the [`columns`].
fn cells(row: &ConversationRef<'_>, time: Timestamp, assistant_name: &str) -> Vec<String> {
    vec![
        row.id.to_string(),
        time.to_string(),
        row.channel.kind().to_string(),
        with(&row.channel),
        assistant_name.to_owned(),
        row.message_count.to_string(),
        row.total_cost.to_string(),
        if row.ai_enabled { "on" } else { "off" }.to_owned(),
    ]
}

/// The customer or the external identifier of a conversation.
fn with(channel: &Channel<&str>) -> String {
    match channel {
        Channel::Whatsapp { customer: Contact { name, phone }, .. } => {
            let parts = [phone.map(Phone::get), name.map(Name::get)];
            parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
        }
        Channel::Api { external_identifier } => {
            external_identifier.map_or_else(String::new, |identifier| identifier.to_string())
        }
        Channel::Test | Channel::Widget => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counterpart_is_a_customer_or_an_identifier() {
        #[track_caller]
        fn check(channel: &Channel, expected: &str) {
            assert_eq!(with(&channel.borrowed()), expected);
        }
        let phone = Some("+15550001".parse().unwrap());
        let name = Some("Customer 1".parse().unwrap());
        let whatsapp = |name, phone| Channel::Whatsapp {
            sender: Contact::default(),
            customer: Contact { name, phone },
        };
        check(&whatsapp(name, phone), "+15550001 Customer 1");
        check(&whatsapp(None, None), "");
        check(&Channel::Api { external_identifier: Some("crm-1".parse().unwrap()) }, "crm-1");
        check(&Channel::Widget, "");
    }
}
