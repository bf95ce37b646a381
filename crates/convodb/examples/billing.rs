//! A month's bill: what each assistant cost, and a bar for each day.
//!
//! The figures come from counters that each write keeps, so a bill reads a few hundred of them and no
//! conversation, however many there are. Costs are whole billionths of a dollar: sums are exact, and
//! the bill agrees with itself to the last digit, which this program checks.
//!
//! Run it: `cargo run -p convodb --example billing`

#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use std::collections::BTreeMap;
use std::error::Error;

use convodb::{
    AssistantId, BulkOptions, Channel, Conversation, ConversationId, Cost, CostSum, Day, Message,
    Period, Role, StatsRequest, Store, Timestamp, UserId,
};

/// The days of the bill: January 2025.
const FROM: &str = "2025-01-01";
const TO: &str = "2025-02-01";
const CONVERSATIONS: u64 = 2_000;
/// How wide the bar of the dearest day is.
const BAR: i128 = 40;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let store = Store::open(directory.path().join("billing.convodb"))?;
    let (user, expected) = seed(&store)?;
    let snapshot = store.snapshot();
    let month = StatsRequest::new(FROM.parse()?, TO.parse()?);

    let by_assistant = StatsRequest { by_assistant: true, ..month.clone() };
    let bill = snapshot.stats(user, &by_assistant)?;
    println!("{:<14} {:>13} {:>9} {:>14}", "assistant", "conversations", "messages", "USD");
    for row in &bill.rows {
        let id = row.assistant.ok_or("the rows are by assistant")?;
        let name = snapshot.assistant(user, id)?.ok_or("an assistant is never lost")?.name;
        let volume = row.volume;
        let name = name.as_str();
        let cost = volume.cost.to_string();
        println!("{name:<14} {:>13} {:>9} {cost:>14}", volume.conversations, volume.messages);
        if volume.cost != expected[&id] {
            return Err(format!("{name} was billed {cost}, not {}", expected[&id]).into());
        }
    }
    let total = bill.total;
    println!(
        "{:<14} {:>13} {:>9} {:>14}\n",
        "total",
        total.conversations,
        total.messages,
        total.cost.to_string()
    );

    let by_day = StatsRequest { period: Some(Period::Day), ..month };
    let days = snapshot.stats(user, &by_day)?;
    let dearest = days.rows.iter().map(|row| row.volume.cost.nanos()).max().unwrap_or(1).max(1);
    for row in &days.rows {
        let day = row.period.ok_or("the rows are by day")?;
        let width = usize::try_from(row.volume.cost.nanos() * BAR / dearest)?;
        println!("{day}  {:<40} {}", "#".repeat(width), row.volume.cost);
    }
    if days.total != total || days.rows.len() != 31 || total.conversations != CONVERSATIONS {
        return Err("the two bills of one month differ".into());
    }
    println!("\nboth bills agree, to the billionth of a dollar");
    store.close()?;
    Ok(())
}

/// A month of conversations for three assistants, and one of February's that is not on the bill.
/// Gives what each assistant is to cost.
fn seed(store: &Store) -> Result<(UserId, BTreeMap<AssistantId, CostSum>), Box<dyn Error>> {
    let first: Timestamp = FROM.parse()?;
    let user = store.create_user("Acme".parse()?, first)?.id;
    let mut assistants = Vec::new();
    for name in ["Support", "Sales", "Appointments"] {
        let id = AssistantId::generate(first);
        assistants.push(store.create_assistant(user, id, name.parse()?)?.id);
    }
    let mut expected: BTreeMap<AssistantId, i128> = BTreeMap::new();
    let mut load = store.bulk_load(BulkOptions::default());
    let month = u64::from(TO.parse::<Day>()?.get() - FROM.parse::<Day>()?.get()) * 86_400_000;
    for n in 0..=CONVERSATIONS {
        // Spread over the month, busier at its beginning; the last one is February's.
        let part = n * n * (month - 1) / (CONVERSATIONS * CONVERSATIONS);
        let millis = first.millis() + if n == CONVERSATIONS { month } else { part };
        let at = Timestamp::from_millis(millis)?;
        let assistant = assistants[usize::try_from(n * n % 7 % 3)?];
        let cost = Cost::from_nanos(i64::try_from(1_000_000 + n * 7_919 % 4_000_003)?);
        let id = ConversationId::generate(at);
        let mut conversation = Conversation::new(id, assistant, Channel::Widget, at);
        conversation.message_count = 2;
        conversation.total_cost = cost;
        let question = Message::new(Role::User, "What do you cost?".to_owned(), at)?;
        let answer = Message::new(Role::Assistant, "See your bill.".to_owned(), at)?;
        load.push(user, &conversation, &[question, answer.with_cost(cost)])?;
        if n < CONVERSATIONS {
            *expected.entry(assistant).or_default() += i128::from(cost.nanos());
        }
    }
    load.finish()?;
    let sums = expected.into_iter().map(|(id, nanos)| (id, CostSum::from_nanos(nanos)));
    Ok((user, sums.collect()))
}
