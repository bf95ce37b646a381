//! A walk that survives its process: pages by a filter, forward and back, resumed from a text.
//!
//! A support team reads all WhatsApp conversations of one business number, ten a page. Between two
//! pages the program ends; all that is kept of it is one short text, the sealed cursor. Another process
//! opens the same file, continues exactly there although conversations came and went meanwhile, and
//! then goes all the way back.
//!
//! Run it: `cargo run -p convodb --example page_walk`

#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use std::error::Error;
use std::path::Path;

use convodb::{
    AssistantId, Channel, Contact, Conversation, ConversationId, Error as StoreError, Filter,
    ListRequest, Page, PageSize, Store, Timestamp, UserId,
};

const NUMBER: &str = "+15550100001";

fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("walk.convodb");
    let (user, wanted) = seed(&path)?;

    let (read, kept) = first_process(&path, user)?;
    println!("the process ended; what is kept is {kept}\n");
    let changed = meanwhile(&path, user, &read)?;
    let rest = second_process(&path, user, &kept)?;

    // Newest first: what the two have read is the list as the first one found it. What was deleted
    // had been read already, and what is new lies before the place where the walk goes on.
    let all: Vec<_> = read.iter().chain(&rest).copied().collect();
    if all != wanted || rest.contains(&changed) {
        return Err("the walk skipped or repeated a conversation".into());
    }
    println!("\n{} conversations, each met once", all.len());
    Ok(())
}

/// Reads two pages and gives what it read, and its place as text.
fn first_process(
    path: &Path,
    user: UserId,
) -> Result<(Vec<ConversationId>, String), Box<dyn Error>> {
    let store = Store::open(path)?;
    let filter = Filter { sender_phone: Some(NUMBER.parse()?), ..Filter::default() };
    let request =
        ListRequest { filter, page_size: Some(PageSize::new(10)?), ..ListRequest::default() };
    let mut read = Vec::new();
    let mut kept = String::new();
    for page in store.snapshot().pages(user, request).take(2) {
        let page = page?;
        show("->", &page);
        read.extend(page.conversations().map(|row| row.id));
        kept = store.snapshot().seal_cursor(page.next_cursor().ok_or("there are more")?);
    }
    store.close()?;
    Ok((read, kept))
}

/// What happens between the two: a new conversation, and one that was read is deleted.
fn meanwhile(
    path: &Path,
    user: UserId,
    read: &[ConversationId],
) -> Result<ConversationId, Box<dyn Error>> {
    let store = Store::open(path)?;
    let bot = store.snapshot().assistants(user, 0, 1)?.remove(0).id;
    let new = conversation(bot, "2025-03-01".parse()?)?;
    let id = new.id;
    store.insert(user, new, Vec::new())?;
    // The very conversation beside which the cursor lies.
    store.delete(user, *read.last().ok_or("something was read")?)?;
    store.close()?;
    Ok(id)
}

/// Goes on where the text says, to the end, and back to the beginning. Gives what lay ahead.
fn second_process(
    path: &Path,
    user: UserId,
    kept: &str,
) -> Result<Vec<ConversationId>, Box<dyn Error>> {
    let store = Store::open(path)?;
    let snapshot = store.snapshot();
    // A text that was changed, or given to another user, is refused before anything is read.
    let mut forged = kept.to_owned();
    forged.replace_range(30..31, if &kept[30..31] == "A" { "B" } else { "A" });
    if !matches!(snapshot.open_cursor(user, &forged), Err(StoreError::InvalidCursor)) {
        return Err("a forged cursor was opened".into());
    }

    // The cursor carries the filter, the order and the page size.
    let mut request = ListRequest::at(snapshot.open_cursor(user, kept)?);
    let mut rest = Vec::new();
    let last = loop {
        let page = snapshot.list(user, &request)?;
        show("->", &page);
        rest.extend(page.conversations().map(|row| row.id));
        match page.next_cursor() {
            Some(next) => request = ListRequest::at(*next),
            None => break page,
        }
    };
    let mut back = last.len();
    let mut page = last;
    while let Some(prev) = page.prev_cursor().copied() {
        page = snapshot.list(user, &ListRequest::at(prev))?;
        show("<-", &page);
        back += page.len();
    }
    let filter = Filter { sender_phone: Some(NUMBER.parse()?), ..Filter::default() };
    let all = snapshot.conversations(user, &ListRequest { filter, ..ListRequest::default() });
    if back != all.count() {
        return Err("the way back is not as long as the list".into());
    }
    store.close()?;
    Ok(rest)
}

fn show(arrow: &str, page: &Page) {
    let mut rows = page.conversations();
    let (first, last) = (rows.next(), rows.next_back());
    let day = |row: Option<convodb::ConversationRef<'_>>| {
        row.map_or_else(String::new, |row| row.created_at.day().to_string())
    };
    let work = page.cost();
    println!(
        "{arrow} {:>2} conversations, {} to {}, for {} entries and {} rows read",
        page.len(),
        day(first),
        day(last),
        work.entries,
        work.rows
    );
}

/// 90 conversations, of which every other one is over the number; gives those, newest first.
fn seed(path: &Path) -> Result<(UserId, Vec<ConversationId>), Box<dyn Error>> {
    let store = Store::open(path)?;
    let first: Timestamp = "2025-01-01".parse()?;
    let user = store.create_user("Acme".parse()?, first)?.id;
    let bot = store.create_assistant(user, AssistantId::generate(first), "Support".parse()?)?.id;
    let mut wanted = Vec::new();
    let mut rows = Vec::new();
    for n in 0..90 {
        let at = Timestamp::from_millis(first.millis() + n * 43_200_000)?;
        let mut row = conversation(bot, at)?;
        if n % 2 == 0 {
            wanted.push(row.id);
        } else {
            row.channel = Channel::Widget;
        }
        rows.push(row);
    }
    store.write(move |transaction| {
        rows.iter().try_for_each(|row| transaction.insert(user, row.clone(), Vec::new()))
    })?;
    store.close()?;
    wanted.reverse();
    Ok((user, wanted))
}

fn conversation(bot: AssistantId, at: Timestamp) -> convodb::Result<Conversation> {
    let sender = Contact { name: Some("Shop".parse()?), phone: Some(NUMBER.parse()?) };
    let channel = Channel::Whatsapp { sender, customer: Contact::default() };
    Ok(Conversation::new(ConversationId::generate(at), bot, channel, at))
}
