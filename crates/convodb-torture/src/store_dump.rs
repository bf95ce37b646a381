//! All that a small store answers, as lines of text, to be held against what it answered before it
//! was damaged.

use convodb::{
    ChannelKind, Conversation, ConversationId, Day, Error, Filter, ListRequest, Order,
    ReportRequest, Snapshot, Store, UserId,
};
use convodb_http::write_line;
use serde::{Deserialize, Serialize};

/// What is asked for by name.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) ids: Vec<String>,
    pub(crate) tokens: Vec<String>,
    pub(crate) users: Vec<u32>,
}

/// A question, and the lines of its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answered {
    pub(crate) question: String,
    pub(crate) lines: Vec<String>,
}

/// How the answers of a damaged store differ from those that it gave before.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Difference {
    /// Questions that were answered by an error of the store.
    pub(crate) errors: u64,
    /// Questions whose answers lack something.
    pub(crate) lacking: Vec<String>,
    /// Questions whose answers hold what was never so, with both answers.
    pub(crate) wrong: Vec<String>,
}

impl Difference {
    pub(crate) fn is_none(&self) -> bool {
        self.errors == 0 && self.lacking.is_empty() && self.wrong.is_empty()
    }
}

type Lines = Result<Vec<String>, Error>;

/// Asks everything. An error is an answer of its own.
pub(crate) fn ask(store: &Store, known: &Known, mut take: impl FnMut(String, Lines)) {
    let snapshot = store.snapshot();
    let mut ask = |question: String, answer: &dyn Fn() -> Lines| {
        take(question, answer());
    };
    for user in known.users.iter().map(|user| UserId::new(*user)) {
        for (name, request) in lists() {
            ask(format!("{user} {name}"), &|| list(&snapshot, user, &request));
        }
        for id in &known.ids {
            ask(format!("{user} get {id}"), &|| single(&snapshot, user, id.parse()?));
        }
        ask(format!("{user} report"), &|| report(&snapshot, user));
        ask(format!("{user} assistants"), &|| {
            let bots = snapshot.assistants(user, 0, 100)?;
            Ok(bots.iter().map(|bot| format!("{} {} {}", bot.id, bot.number, bot.name)).collect())
        });
    }
    for token in &known.tokens {
        ask(format!("token {token}"), &|| {
            Ok(snapshot.authenticate(token)?.iter().map(ToString::to_string).collect())
        });
    }
    ask("users".to_owned(), &|| {
        Ok(snapshot.users()?.iter().map(|user| format!("{} {}", user.id, user.name)).collect())
    });
}

/// All answers of a store that is whole.
pub(crate) fn of_whole(store: &Store, known: &Known) -> Result<Vec<Answered>, String> {
    let mut all = Vec::new();
    let mut fault = None;
    ask(store, known, |question, lines| match lines {
        Ok(lines) => all.push(Answered { question, lines }),
        Err(error) => fault = Some(format!("{question}: {error}")),
    });
    fault.map_or(Ok(all), Err)
}

/// How a store's answers differ from the expected ones.
pub(crate) fn compare(store: &Store, known: &Known, expected: &[Answered]) -> Difference {
    let mut difference = Difference::default();
    let mut expected = expected.iter();
    ask(store, known, |question, lines| {
        let Some(before) = expected.next() else { return };
        match lines {
            Err(_) => difference.errors += 1,
            Ok(lines) if lines == before.lines => {}
            Ok(lines) if is_part(&lines, &before.lines) || question.ends_with("report") => {
                difference.lacking.push(question);
            }
            Ok(lines) => {
                difference.wrong.push(format!("{question}: {lines:?} for {:?}", before.lines));
            }
        }
    });
    difference
}

/// Whether all of `part` stand in `whole`, in this order.
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
    let bot = convodb_testkit::generators::assistants()[1];
    filters.push(Filter { assistant: Some(bot), ..Filter::default() });
    let asked = |order| {
        move |(number, filter): (usize, Filter)| {
            let request = ListRequest { filter, order: Some(order), ..ListRequest::default() };
            (format!("list {number} {order:?}"), request)
        }
    };
    let upward = filters.clone().into_iter().enumerate().map(asked(Order::Ascending));
    upward.chain(filters.into_iter().enumerate().map(asked(Order::Descending))).collect()
}

fn list(snapshot: &Snapshot, user: UserId, request: &ListRequest) -> Lines {
    let mut lines = Vec::new();
    for page in snapshot.pages(user, request.clone()) {
        lines.extend(page?.rows().map(|row| line(&row.owned(), None)));
    }
    Ok(lines)
}

fn single(snapshot: &Snapshot, user: UserId, id: ConversationId) -> Lines {
    let Some(row) = snapshot.get(user, id)? else { return Ok(Vec::new()) };
    let mut lines = vec![line(&row, None)];
    let history = snapshot.history(user, id)?.unwrap_or_default();
    // A line for each message, so that a missing one is told from a wrong one.
    lines.extend(history.iter().map(|message| line(&row, Some(std::slice::from_ref(message)))));
    Ok(lines)
}

fn report(snapshot: &Snapshot, user: UserId) -> Lines {
    let request =
        ReportRequest { by_kind: true, ..ReportRequest::new(Day::new(0), Day::new(u32::MAX)) };
    let report = snapshot.report(user, &request)?;
    Ok(report.rows.iter().map(|row| format!("{row:?}")).collect())
}

/// All that a conversation has, to the last byte.
fn line(row: &Conversation, messages: Option<&[convodb::Message]>) -> String {
    let mut out = Vec::new();
    write_line(&mut out, &row.borrowed(), "", messages);
    String::from_utf8_lossy(&out).into_owned()
}
