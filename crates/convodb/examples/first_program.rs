//! A first program: insert, list, a write that rolls back, update, statistics and the change feed.

#![expect(clippy::print_stdout, reason = "an example prints its results")]

use anyhow::{Context, anyhow};
use convodb::*;

fn main() -> anyhow::Result<()> {
    let store = Store::in_memory()?; // on disk: Store::open("support.convodb")?
    let now = Timestamp::now();
    let user = store.create_user("Acme", now)?.id;
    let bot = store.create_assistant(user, AssistantId::generate(now), "Support")?.id;

    // Three WhatsApp conversations with one customer. Each write is durable when it returns.
    for subject in ["order", "refund", "invoice"] {
        let channel = Channel::whatsapp("+14155551234", "+4915112345678")?;
        let id = ConversationId::generate(now);
        store.insert(user, Conversation::new(id, bot, channel, now), Vec::new())?;
        let question = Message::new(Role::User, format!("Where is my {subject}?"), now)?;
        store.append_message(user, id, question.with_cost("0.0021".parse()?))?;
    }

    // The customer's conversations, newest first, two a page. The cursor continues the list.
    let snapshot = store.snapshot();
    let filter = Filter::new().customer_phone("+4915112345678")?;
    let first = snapshot.list(user, &ListRequest::new().filter(filter).page_size(2)?)?;
    let next = *first.next_cursor().context("the list ends too early")?;
    let second = snapshot.list(user, &ListRequest::at(next))?;
    assert!((first.len(), second.len()) == (2, 1) && second.next_cursor().is_none());

    // A business rule: the second message of a conversation is refused, and nothing is stored.
    let id = first.conversations().next().context("the first page is empty")?.id;
    let message = Message::new(Role::User, "Hello?", now)?;
    let refused = store.write(move |transaction| {
        transaction.append_message(user, id, &message)?;
        Err::<(), _>(anyhow!("one message is enough"))
    });
    println!("refused: {refused:?}");

    // An update: a person takes over, and the assistant no longer answers.
    store.update(user, id, now, |conversation| {
        conversation.ai_enabled = false;
        Ok(())
    })?;

    // Statistics of the month, from counters.
    let month = StatsRequest::new(now.day().month_start(), now.day().next_month());
    let total = store.snapshot().stats(user, &month)?.total;
    println!("{} conversations for {} USD this month", total.conversations, total.cost);

    // The change feed since the snapshot of the list.
    let start = snapshot.changes_since(user, ChangesSince::Now, PageSize::MAX)?.next_cursor;
    let feed = store.snapshot().changes_since(user, ChangesSince::Cursor(start), PageSize::MAX)?;
    for change in feed.changes {
        println!("conversation {} was {}", change.id, change.kind);
    }
    Ok(store.close()?)
}
