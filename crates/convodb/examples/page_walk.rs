//! A list read page by page across two processes: a sealed cursor is the only state between them.
//!
//! A support team reads all WhatsApp conversations of one business number, ten a page. After two
//! pages the program ends and stores one short token, the sealed cursor. A second process opens the
//! same file and continues exactly there, although conversations were inserted and deleted in the
//! meantime. Then it reads all pages back to the beginning.
//!
//! Run it: `cargo run -p convodb --example page_walk`

#![expect(clippy::print_stdout, reason = "an example prints its results")]

use std::error::Error;
use std::path::Path;

use convodb::{
    AssistantId, Channel, Conversation, ConversationId, ConversationRef, Error as StoreError,
    Filter, ListRequest, Page, PageCost, Store, Timestamp, UserId,
};

/// The business number whose conversations are read.
const NUMBER: &str = "+15550100001";

fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("walk.convodb");
    let (user, expected) = seed(&path)?;

    let (first_part, token) = read_two_pages(&path, user)?;
    println!("the first process ends and stores the cursor {token}\n");
    let inserted = change_the_list(&path, user, &first_part)?;
    let second_part = read_the_rest(&path, user, &token)?;

    // Newest first: both parts together are the list as the first process found it. The deleted
    // conversation was read before, and the new one is ahead of the cursor's position.
    let read: Vec<_> = first_part.iter().chain(&second_part).copied().collect();
    if read != expected || second_part.contains(&inserted) {
        return Err("the walk skipped or repeated a conversation".into());
    }
    println!("\n{} conversations, each read exactly once", read.len());
    Ok(())
}

/// The conversations of the business number.
fn filter() -> convodb::Result<Filter> {
    Filter::new().sender_phone(NUMBER)
}

/// The first process: reads two pages. Returns the ids that it read, and its position as a token.
fn read_two_pages(
    path: &Path,
    user: UserId,
) -> Result<(Vec<ConversationId>, String), Box<dyn Error>> {
    let store = Store::open(path)?;
    let snapshot = store.snapshot();
    let request = ListRequest::new().filter(filter()?).page_size(10)?;
    let mut ids = Vec::new();
    let mut token = String::new();
    for page in snapshot.pages(user, request).take(2) {
        let page = page?;
        print_page("next:", &page);
        ids.extend(page.conversations().map(|conversation| conversation.id));
        token = snapshot.seal_cursor(page.next_cursor().ok_or("the list ends too early")?);
    }
    store.close()?;
    Ok((ids, token))
}

/// Between the two processes: inserts a conversation and deletes one that was read. Returns the id
/// of the inserted one.
fn change_the_list(
    path: &Path,
    user: UserId,
    read: &[ConversationId],
) -> Result<ConversationId, Box<dyn Error>> {
    let store = Store::open(path)?;
    let bot = store.snapshot().assistants(user, 0, 1)?.remove(0).id;
    let new = conversation(bot, "2025-03-01".parse()?)?;
    let id = new.id;
    store.insert(user, new, Vec::new())?;
    // The conversation directly before the cursor's position.
    store.delete(user, *read.last().ok_or("no conversation was read")?)?;
    store.close()?;
    Ok(id)
}

/// The second process: continues at the token to the end of the list, then reads back to the
/// beginning. Returns the ids that it read on the way to the end.
fn read_the_rest(
    path: &Path,
    user: UserId,
    token: &str,
) -> Result<Vec<ConversationId>, Box<dyn Error>> {
    let store = Store::open(path)?;
    let snapshot = store.snapshot();
    // A token that was modified, or issued to another user, is rejected before anything is read.
    let mut forged = token.to_owned();
    forged.replace_range(30..31, if &token[30..31] == "A" { "B" } else { "A" });
    if !matches!(snapshot.open_cursor(user, &forged), Err(StoreError::InvalidCursor)) {
        return Err("a forged cursor was accepted".into());
    }

    // The cursor contains the filter, the order and the page size.
    let mut ids = Vec::new();
    let mut page = snapshot.list(user, &ListRequest::at(snapshot.open_cursor(user, token)?))?;
    loop {
        print_page("next:", &page);
        ids.extend(page.conversations().map(|conversation| conversation.id));
        let Some(next) = page.next_cursor() else { break };
        page = snapshot.list(user, &ListRequest::at(*next))?;
    }
    let mut count = page.len();
    while let Some(prev) = page.prev_cursor() {
        page = snapshot.list(user, &ListRequest::at(*prev))?;
        print_page("prev:", &page);
        count += page.len();
    }
    if count != snapshot.conversations(user, &ListRequest::new().filter(filter()?)).count() {
        return Err("the pages back to the beginning are not the whole list".into());
    }
    store.close()?;
    Ok(ids)
}

/// Prints the extent of a page and the cost of reading it, which has a fixed bound.
fn print_page(label: &str, page: &Page) {
    let mut conversations = page.conversations();
    let (first, last) = (conversations.next(), conversations.next_back());
    let day = |conversation: Option<ConversationRef<'_>>| {
        conversation.map_or_else(String::new, |found| found.created_at.day().to_string())
    };
    let PageCost { entries, rows, .. } = page.cost();
    assert!(entries + rows <= PageCost::bound(page.page_size()));
    println!(
        "{label} {:>2} conversations, {} to {}; read {entries} index entries and {rows} rows",
        page.len(),
        day(first),
        day(last),
    );
}

/// Creates a store of 90 conversations, every second one over the business number. Returns the ids
/// of those, newest first.
fn seed(path: &Path) -> Result<(UserId, Vec<ConversationId>), Box<dyn Error>> {
    let store = Store::open(path)?;
    let first: Timestamp = "2025-01-01".parse()?;
    let user = store.create_user("Acme", first)?.id;
    let bot = store.create_assistant(user, AssistantId::generate(first), "Support")?.id;
    let mut expected = Vec::new();
    let mut conversations = Vec::new();
    for n in 0..90 {
        let at = Timestamp::from_millis(first.millis() + n * 43_200_000)?;
        let mut new = conversation(bot, at)?;
        if n % 2 == 0 {
            expected.push(new.id);
        } else {
            new.channel = Channel::Widget;
        }
        conversations.push(new);
    }
    store.write(move |transaction| {
        conversations.into_iter().try_for_each(|new| transaction.insert(user, new, Vec::new()))
    })?;
    store.close()?;
    expected.reverse();
    Ok((user, expected))
}

/// A conversation over the business number.
fn conversation(bot: AssistantId, at: Timestamp) -> convodb::Result<Conversation> {
    let channel = Channel::whatsapp(NUMBER, "+4915112345678")?;
    Ok(Conversation::new(ConversationId::generate(at), bot, channel, at))
}
