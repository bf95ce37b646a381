//! A monthly bill: the cost of each assistant, and a bar chart of the cost of each day.
//!
//! The figures come from counters that every write updates. A bill reads a few hundred counters and
//! no conversation, however many conversations exist. Costs are whole billionths of a dollar, so
//! sums are exact: the program checks that the bill by assistant and the bill by day agree.
//!
//! Run it: `cargo run -p convodb --example billing`

#![expect(clippy::print_stdout, reason = "an example prints its results")]

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
/// The length of the bar of the most expensive day, in characters.
const BAR_LENGTH: i128 = 40;

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
        let id = row.assistant.ok_or("a row by assistant has no assistant")?;
        let name = snapshot.assistant(user, id)?.ok_or("the assistant of a row is missing")?.name;
        let (name, volume) = (name.as_str(), row.volume);
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
    let highest = days.rows.iter().map(|row| row.volume.cost.nanos()).max().unwrap_or(1).max(1);
    for row in &days.rows {
        let day = row.period.ok_or("a row by day has no day")?;
        let length = usize::try_from(row.volume.cost.nanos() * BAR_LENGTH / highest)?;
        println!("{day}  {:<40} {}", "#".repeat(length), row.volume.cost);
    }
    if days.total != total || days.rows.len() != 31 || total.conversations != CONVERSATIONS {
        return Err("the bill by assistant and the bill by day differ".into());
    }
    println!("\nthe bill by assistant and the bill by day agree to the billionth of a dollar");
    store.close()?;
    Ok(())
}

/// Loads a month of conversations of three assistants, and one of February, which is not on the
/// bill. Returns the user and the expected cost of each assistant.
fn seed(store: &Store) -> Result<(UserId, BTreeMap<AssistantId, CostSum>), Box<dyn Error>> {
    let first: Timestamp = FROM.parse()?;
    let user = store.create_user("Acme", first)?.id;
    let mut assistants = Vec::new();
    for name in ["Support", "Sales", "Appointments"] {
        let id = AssistantId::generate(first);
        assistants.push(store.create_assistant(user, id, name)?.id);
    }
    let mut expected: BTreeMap<AssistantId, i128> = BTreeMap::new();
    let mut load = store.bulk_load(BulkOptions::default());
    let month = u64::try_from(FROM.parse::<Day>()?.days_until(TO.parse()?))? * 86_400_000;
    for n in 0..=CONVERSATIONS {
        // More conversations at the beginning of the month; the last one is in February.
        let offset = n * n * (month - 1) / (CONVERSATIONS * CONVERSATIONS);
        let millis = first.millis() + if n == CONVERSATIONS { month } else { offset };
        let at = Timestamp::from_millis(millis)?;
        let assistant = assistants[usize::try_from(n * n % 7 % 3)?];
        let cost = Cost::from_nanos(i64::try_from(1_000_000 + n * 7_919 % 4_000_003)?);
        let id = ConversationId::generate(at);
        let mut conversation = Conversation::new(id, assistant, Channel::Widget, at);
        conversation.message_count = 2;
        conversation.total_cost = cost;
        let question = Message::new(Role::User, "What does it cost?", at)?;
        let answer = Message::new(Role::Assistant, "See your bill.", at)?;
        load.push(user, &conversation, &[question, answer.with_cost(cost)])?;
        if n < CONVERSATIONS {
            *expected.entry(assistant).or_default() += i128::from(cost.nanos());
        }
    }
    load.finish()?;
    let costs = expected.into_iter().map(|(id, nanos)| (id, CostSum::from_nanos(nanos)));
    Ok((user, costs.collect()))
}
