//! A first program: the basic operations of a store, from the first user to the change feed.
//!
//! Run it: `cargo run -p convodb --example first_program`

#![expect(clippy::print_stdout, reason = "an example prints its results")]

use convodb::*;

const CUSTOMER: &str = "+4915112345678";

/// The program's own error type. A write that returns an error is rolled back.
#[derive(Debug, thiserror::Error)]
enum SupportError {
    #[error("a conversation has at most two messages")]
    TooLong,
    #[error(transparent)]
    Store(#[from] Error),
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let store = Store::open(directory.path().join("support.convodb"))?;
    let now = Timestamp::now();
    let user = store.create_user("Acme".parse()?, now)?.id;
    let bot = store.create_assistant(user, AssistantId::generate(now), "Support".parse()?)?.id;

    // Three WhatsApp conversations with one customer. Each write is durable when it returns.
    for subject in ["order", "refund", "invoice"] {
        let id = ConversationId::generate(now);
        let channel = Channel::whatsapp("+14155551234", CUSTOMER)?;
        store.insert(user, Conversation::new(id, bot, channel, now), Vec::new())?;
        let question = Message::new(Role::User, format!("Where is my {subject}?"), now)?;
        store.append_message(user, id, question)?;
        let answer = Message::new(Role::Assistant, "On its way.", now)?;
        store.append_message(user, id, answer.with_cost("0.0021".parse()?))?;
    }

    // The customer's conversations, newest first, two a page. The cursor continues the list.
    let snapshot = store.snapshot();
    let filter = Filter::new().customer_phone(CUSTOMER)?;
    let first = snapshot.list(user, &ListRequest::new().filter(filter).page_size(2)?)?;
    let next = *first.next_cursor().ok_or("the second page is missing")?;
    let second = snapshot.list(user, &ListRequest::at(next))?;
    println!("pages of {} and {} conversations", first.len(), second.len());
    assert!((first.len(), second.len()) == (2, 1) && second.next_cursor().is_none());

    // A business rule: the third message of a conversation is refused, and nothing is stored.
    let id = first.conversations().next().ok_or("the first page is empty")?.id;
    let message = Message::new(Role::User, "Thank you!", now)?;
    let refused = store.write(move |transaction| {
        let messages = transaction.append_message(user, id, &message)?;
        if messages <= 2 { Ok(()) } else { Err(SupportError::TooLong) }
    });
    assert!(matches!(refused, Err(SupportError::TooLong)));

    // An update: a person takes over, and the assistant no longer answers.
    let updated = store.update(user, id, Timestamp::now(), |conversation| {
        conversation.ai_enabled = false;
        Ok(())
    })?;
    assert_eq!((updated.ai_enabled, updated.message_count), (false, 2));

    // Statistics of the month, from counters.
    let today = now.day();
    let month = StatsRequest::new(today.month_start(), today.next_month());
    let total = store.snapshot().stats(user, &month)?.total;
    println!("{} conversations for {} USD this month", total.conversations, total.cost);
    assert_eq!((total.messages, total.cost), (6, "0.0063".parse()?));

    // The change feed, from the snapshot of the list until now. It always returns a next cursor.
    let start = snapshot.changes_since(user, ChangesSince::Now, PageSize::MAX)?.next_cursor;
    let feed = store.snapshot().changes_since(user, ChangesSince::Cursor(start), PageSize::MAX)?;
    for change in &feed.changes {
        println!("conversation {} was {}", change.id, change.kind);
    }
    assert_eq!(feed.changes.iter().map(|change| change.id).collect::<Vec<_>>(), [id]);
    Ok(store.close()?)
}
