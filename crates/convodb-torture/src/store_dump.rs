//! Store dump: the results of all queries of a small store as text.
//!
//! The dump of a damaged store is compared with the dump from before the damage.

use convodb::{
    ChannelKind, Conversation, ConversationId, Day, Error, Filter, ListRequest, Order, Snapshot,
    StatsRequest, Store, Timestamp, UserId,
};
use convodb_json::write_line;
use serde::{Deserialize, Serialize};

/// The ids, tokens and users that the queries name.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) ids: Vec<String>,
    pub(crate) tokens: Vec<String>,
    pub(crate) users: Vec<u32>,
}

/// A query, and the lines of its result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QueryResult {
    pub(crate) query: String,
    pub(crate) lines: Vec<String>,
}

/// The difference between the dumps of a damaged store and of the undamaged one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Difference {
    /// The number of queries that failed.
    pub(crate) errors: u64,
    /// Queries whose results lack lines.
    pub(crate) incomplete: Vec<String>,
    /// Conversations that were found, and lack messages.
    pub(crate) shortened: Vec<String>,
    /// Queries with wrong lines, with the found and the expected result.
    pub(crate) wrong: Vec<String>,
}

impl Difference {
    pub(crate) fn is_none(&self) -> bool {
        self.errors == 0 && self.finds_all() && self.wrong.is_empty()
    }

    /// Whether no result lacks lines, except those of failed queries.
    pub(crate) fn finds_all(&self) -> bool {
        self.incomplete.is_empty() && self.shortened.is_empty()
    }
}

type Lines = Result<Vec<String>, Error>;

/// Runs all queries, and calls `visit` with the name and the result of each.
fn run_queries(store: &Store, known: &Known, mut visit: impl FnMut(String, Lines)) {
    let snapshot = store.snapshot();
    let mut run = |query: String, result: &dyn Fn() -> Lines| {
        visit(query, result());
    };
    for user in known.users.iter().map(|user| UserId::new(*user)) {
        for (name, request) in lists() {
            run(format!("{user} {name}"), &|| list(&snapshot, user, &request));
        }
        for id in &known.ids {
            run(format!("{user} get {id}"), &|| single(&snapshot, user, id.parse()?));
        }
        run(format!("{user} statistics"), &|| statistics(&snapshot, user));
        run(format!("{user} assistants"), &|| {
            let bots = snapshot.assistants(user, 0, 100)?;
            Ok(bots.iter().map(|bot| format!("{} {} {}", bot.id, bot.number, bot.name)).collect())
        });
    }
    for token in &known.tokens {
        run(format!("token {token}"), &|| {
            let access = snapshot.authenticate(token, Timestamp::MIN)?;
            Ok(access.iter().map(|access| access.user.to_string()).collect())
        });
    }
    run("users".to_owned(), &|| {
        Ok(snapshot.users()?.iter().map(|user| format!("{} {}", user.id, user.name)).collect())
    });
}

/// Dumps an undamaged store.
///
/// # Errors
/// A query failed.
pub(crate) fn dump(store: &Store, known: &Known) -> Result<Vec<QueryResult>, String> {
    let mut all = Vec::new();
    let mut failed = None;
    run_queries(store, known, |query, lines| match lines {
        Ok(lines) => all.push(QueryResult { query, lines }),
        Err(error) => failed = Some(format!("{query}: {error}")),
    });
    failed.map_or(Ok(all), Err)
}

/// Compares the results of all queries with an earlier dump.
pub(crate) fn compare(store: &Store, known: &Known, expected: &[QueryResult]) -> Difference {
    let mut difference = Difference::default();
    let mut expected = expected.iter();
    run_queries(store, known, |query, lines| {
        let Some(before) = expected.next() else { return };
        match lines {
            Err(_) => difference.errors += 1,
            Ok(lines) if lines == before.lines => {}
            Ok(lines) if query.contains(" get ") && is_shortened(&lines, &before.lines) => {
                difference.shortened.push(query);
            }
            Ok(lines) if is_part(&lines, &before.lines) || query.ends_with("statistics") => {
                difference.incomplete.push(query);
            }
            Ok(lines) => {
                difference.wrong.push(format!("{query}: {lines:?}, expected {:?}", before.lines));
            }
        }
    });
    difference
}

/// Whether the conversation is the same, but some of its messages are missing.
fn is_shortened(lines: &[String], before: &[String]) -> bool {
    !lines.is_empty() && lines.first() == before.first() && is_part(lines, before)
}

/// Whether `whole` contains all lines of `part` in this order.
fn is_part(part: &[String], whole: &[String]) -> bool {
    let mut whole = whole.iter();
    part.iter().all(|line| whole.any(|other| other == line))
}

fn lists() -> Vec<(String, ListRequest)> {
    let kinds = ChannelKind::ALL.map(|kind| Filter { kind: Some(kind), ..Filter::default() });
    let mut filters = kinds.to_vec();
    filters.push(Filter::default());
    for text in ["+1", "+2", "+3"] {
        let phone = || text.parse().ok();
        filters.push(Filter { sender_phone: phone(), ..Filter::default() });
        filters.push(Filter { customer_phone: phone(), ..Filter::default() });
        let kind = Some(ChannelKind::Whatsapp);
        filters.push(Filter { kind, customer_phone: phone(), ..Filter::default() });
    }
    filters.push(Filter { external_identifier: "crm-1".parse().ok(), ..Filter::default() });
    let assistant = convodb_testkit::generators::assistants()[1];
    filters.push(Filter { assistant: Some(assistant), ..Filter::default() });
    let requests = |order| {
        move |(number, filter): (usize, Filter)| {
            let request = ListRequest { filter, order: Some(order), ..ListRequest::default() };
            (format!("list {number} {order:?}"), request)
        }
    };
    let upward = filters.clone().into_iter().enumerate().map(requests(Order::Ascending));
    upward.chain(filters.into_iter().enumerate().map(requests(Order::Descending))).collect()
}

fn list(snapshot: &Snapshot, user: UserId, request: &ListRequest) -> Lines {
    let mut lines = Vec::new();
    for page in snapshot.pages(user, request.clone()) {
        lines.extend(page?.conversations().map(|row| line(&row.owned(), None)));
    }
    Ok(lines)
}

fn single(snapshot: &Snapshot, user: UserId, id: ConversationId) -> Lines {
    let Some(row) = snapshot.conversation(user, id)? else { return Ok(Vec::new()) };
    let mut lines = vec![line(&row, None)];
    let messages = snapshot.messages(user, id)?.unwrap_or_default();
    // One line per message, so that a missing message differs from a wrong one.
    lines.extend(messages.iter().map(|message| line(&row, Some(std::slice::from_ref(message)))));
    Ok(lines)
}

fn statistics(snapshot: &Snapshot, user: UserId) -> Lines {
    let request =
        StatsRequest { by_kind: true, ..StatsRequest::new(Day::new(0), Day::new(u32::MAX)) };
    let stats = snapshot.stats(user, &request)?;
    Ok(stats.rows.iter().map(|row| format!("{row:?}")).collect())
}

/// The complete conversation as a JSON line.
fn line(row: &Conversation, messages: Option<&[convodb::Message]>) -> String {
    let mut out = Vec::new();
    write_line(&mut out, &row.borrowed(), "", messages);
    String::from_utf8_lossy(&out).into_owned()
}
