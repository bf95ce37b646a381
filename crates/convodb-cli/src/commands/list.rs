//! `convodb list`: pages of conversations as a table, or as JSON lines in the API's shape.

use std::io::Write;

use anyhow::{Context, Result, anyhow};
use convodb::{
    Channel, Contact, ConversationRef, Error, ListRequest, Page, PageSize, Snapshot, Text, UserId,
};
use convodb_http::item::{AssistantNames, write_item};

use crate::args::{List, Usage};
use crate::console::say;
use crate::io::text_table::{Column, Fit, Sheet, Side};
use crate::open_store::{SMALL_CACHE_BYTES, WhileServed, existing};
use crate::resolve;

const COLUMNS: [Column; 8] = [
    Column { title: "ID", side: Side::Left, fit: Fit::Whole },
    Column { title: "CREATED", side: Side::Left, fit: Fit::Drop(1) },
    Column { title: "TYPE", side: Side::Left, fit: Fit::Drop(2) },
    Column { title: "WITH", side: Side::Left, fit: Fit::Cut },
    Column { title: "ASSISTANT", side: Side::Left, fit: Fit::Drop(5) },
    Column { title: "MESSAGES", side: Side::Right, fit: Fit::Drop(4) },
    Column { title: "COST", side: Side::Right, fit: Fit::Drop(3) },
    Column { title: "AI", side: Side::Left, fit: Fit::Drop(6) },
];

/// Prints one page, or all from where it begins.
pub(crate) fn run(verb: &List, out: &mut dyn Write) -> Result<()> {
    let path = &verb.db.db;
    let served = WhileServed::Ask("GET /api/user/conversations (docs/api.md tells its filters)");
    let store = existing(path, SMALL_CACHE_BYTES, served)?;
    let snapshot = store.snapshot();
    let user = resolve::user(&snapshot, &verb.owner.user, path)?;
    let request = request(verb, &snapshot, user)?;

    let mut printer = Printer::new(verb, snapshot.clone(), user);
    if verb.all {
        for page in snapshot.pages(user, request) {
            printer.print(&page.map_err(explain)?, out)?;
        }
    } else {
        let page = snapshot.list(user, &request).map_err(explain)?;
        printer.print(&page, out)?;
        // On a terminal the page stands above what is said of it.
        out.flush()?;
        say_where(&snapshot, &page);
    }
    Ok(store.close()?)
}

fn request(verb: &List, snapshot: &Snapshot, user: UserId) -> Result<ListRequest> {
    let cursor = verb.cursor.as_deref().map(|token| snapshot.open_cursor(user, token));
    let whole_pages = verb.all.then_some(PageSize::MAX);
    Ok(ListRequest {
        filter: resolve::filter(snapshot, user, &verb.filters)?,
        created_from: verb.filters.from,
        created_to: verb.filters.to,
        order: verb.order.map(Into::into),
        page_size: verb.per_page.or(whole_pages),
        cursor: cursor.transpose().map_err(explain)?,
    })
}

/// What is wrong with the command line, told apart from what is wrong with the store.
fn explain(error: Error) -> anyhow::Error {
    match error {
        Error::InvalidCursor => anyhow!(Usage(format!(
            "--cursor: {error}; take the one that a page of this user in this store printed"
        ))),
        Error::CursorConflict { .. } => {
            anyhow!(Usage(format!("{error}; leave it out, the cursor carries it")))
        }
        error => anyhow!(error).context("cannot read the list"),
    }
}

/// Tells where the list goes on.
fn say_where(snapshot: &Snapshot, page: &Page) {
    if page.is_empty() {
        say("no conversations");
    }
    for (name, cursor) in [("next", page.next()), ("prev", page.prev())] {
        if let Some(cursor) = cursor {
            say(format_args!("{name}: --cursor={}", snapshot.seal_cursor(cursor)));
        }
    }
}

/// Prints pages of one list.
struct Printer {
    names: AssistantNames,
    form: Form,
}

enum Form {
    Table(Sheet),
    /// With a buffer for one line.
    Json(Vec<u8>),
}

impl Printer {
    fn new(verb: &List, snapshot: Snapshot, user: UserId) -> Self {
        let form = match verb.json.json {
            true => Form::Json(Vec::new()),
            false => Form::Table(Sheet::new(&COLUMNS)),
        };
        Self { names: AssistantNames::new(snapshot, user), form }
    }

    fn print(&mut self, page: &Page, out: &mut dyn Write) -> Result<()> {
        let Self { names, form } = self;
        match form {
            Form::Json(line) => {
                for row in page.rows() {
                    line.clear();
                    write_item(line, &row, names.name(row.assistant)?);
                    line.push(b'\n');
                    out.write_all(line).context("cannot print the list")?;
                }
            }
            Form::Table(sheet) => {
                let rows = page.rows().map(|row| Ok(cells(&row, names.name(row.assistant)?)));
                let rows = rows.collect::<Result<Vec<_>>>()?;
                sheet.write(out, &rows).context("cannot print the list")?;
            }
        }
        Ok(())
    }
}

/// A row of the table, in the order of [`COLUMNS`].
fn cells(row: &ConversationRef<'_>, assistant_name: &str) -> Vec<String> {
    vec![
        row.id.to_string(),
        row.created_at.to_string(),
        row.channel.kind().to_string(),
        with(&row.channel),
        assistant_name.to_owned(),
        row.message_count.to_string(),
        row.total_cost.to_string(),
        if row.ai_enabled { "on" } else { "off" }.to_owned(),
    ]
}

/// The other end of a conversation.
fn with(channel: &Channel<&str>) -> String {
    match channel {
        Channel::Whatsapp { customer: Contact { name, phone }, .. } => {
            let parts = [phone.map(Text::get), name.map(Text::get)];
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
    fn the_other_end() {
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
