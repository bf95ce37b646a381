//! Demo data of `serve --demo`: a year of conversations of five invented businesses.
//!
//! Each conversation is generated from its number: its id, customer and texts are the same in every
//! demo, and only the times depend on the end of the year. One bulk load writes them, so a store has
//! the whole demo or nothing of it.

mod calendar;
mod customers;
mod dialogue;
mod random;
mod script;

use std::collections::HashSet;

use anyhow::{Context, Result, bail};
use convodb::{
    AssistantId, BulkOptions, Channel, ChannelKind, Contact, Conversation, ConversationId, Cost,
    Filter, ListRequest, Message, PageSize, Store, Timestamp, UserId, Variables,
};

use crate::serve::demo::calendar::Calendar;
use crate::serve::demo::customers::Customer;
use crate::serve::demo::dialogue::Dialogue;
use crate::serve::demo::random::SplitMix64;
use crate::serve::demo::script::Script;

/// The name of the user with the demo data.
pub(crate) const USER: &str = "demo";

/// How many conversations there are.
const CONVERSATIONS: u64 = 12_000;
const SEED: u64 = 0x636f_6e76_6f64_6221;
/// The latest conversation begins this long before the end, and is over then.
const LATEST_MILLIS: u64 = 3_600_000;

const SCRIPTS: [&str; 5] = [
    include_str!("scripts/shop.txt"),
    include_str!("scripts/bikes.txt"),
    include_str!("scripts/dentist.txt"),
    include_str!("scripts/guesthouse.txt"),
    include_str!("scripts/energy.txt"),
];

/// Returns the demo's user in this store. Generates its data, up to `end`, if there is none yet.
///
/// # Errors
/// Fails if the store has users but not this one: it is not a demo then.
pub(crate) fn ensure(store: &Store, end: Timestamp) -> Result<UserId> {
    let snapshot = store.snapshot();
    let scripts = scripts()?;
    let user = match snapshot.user_by_name(&USER.parse()?)? {
        Some(user) => user,
        None if snapshot.users()?.is_empty() => create_accounts(store, &scripts, end)?,
        None => bail!(
            "the store has users but no user {USER}: leave out --demo to serve it, or choose \
             another file for the demo"
        ),
    };
    if store.snapshot().list(user, &ListRequest::default())?.is_empty() {
        let mut loader = store.bulk_load(BulkOptions::default());
        let mut generator = Generator::new(&scripts, end)?;
        for number in 0..CONVERSATIONS {
            let (conversation, history) = generator.conversation(number)?;
            loader.push(user, &conversation, &history)?;
        }
        loader.finish()?;
    }
    Ok(user)
}

/// The most frequent customer phone number of the latest page.
pub(crate) fn frequent_phone(store: &Store, user: UserId) -> Result<Option<String>> {
    let filter = Filter { kind: Some(ChannelKind::Whatsapp), ..Filter::default() };
    let request = ListRequest { filter, page_size: Some(PageSize::MAX), ..ListRequest::default() };
    let page = store.snapshot().list(user, &request)?;
    let mut phones: Vec<String> = page
        .conversations()
        .filter_map(|row| row.channel.customer_phone().map(str::to_owned))
        .collect();
    phones.sort_unstable();
    let most = phones.chunk_by(|one, other| one == other).max_by_key(|same| same.len());
    Ok(most.and_then(|same| same.first().cloned()))
}

fn scripts() -> Result<Vec<Script<'static>>> {
    SCRIPTS.iter().map(|text| Script::parse(text).context("invalid script of the demo")).collect()
}

/// Creates the user with its assistants in one transaction.
fn create_accounts(store: &Store, scripts: &[Script<'static>], at: Timestamp) -> Result<UserId> {
    let year = LATEST_MILLIS * 24 * 365;
    let founded = Timestamp::from_millis(at.millis().saturating_sub(year))?;
    let names: Vec<&str> = scripts.iter().map(|script| script.assistant).collect();
    Ok(store.write(move |transaction| {
        let user = transaction.create_user(USER, founded)?.id;
        for (business, name) in (0..).zip(names) {
            transaction.create_assistant(user, assistant(business), name)?;
        }
        Ok::<_, convodb::Error>(user)
    })?)
}

/// The id of the assistant of a business.
fn assistant(business: u64) -> AssistantId {
    AssistantId::new(SplitMix64::stream(!SEED, business).uuid())
}

/// Generates conversations in the order of their creation.
struct Generator<'s> {
    scripts: &'s [Script<'static>],
    calendar: Calendar,
    /// The businesses and numbers of the customers so far.
    known: HashSet<(usize, u64)>,
}

impl<'s> Generator<'s> {
    fn new(scripts: &'s [Script<'static>], end: Timestamp) -> Result<Self> {
        let end = Timestamp::from_millis(end.millis().saturating_sub(LATEST_MILLIS))?;
        Ok(Self { scripts, calendar: Calendar::new(end), known: HashSet::new() })
    }

    fn conversation(&mut self, number: u64) -> convodb::Result<(Conversation, Vec<Message>)> {
        let mut random = SplitMix64::stream(SEED, number);
        let id = ConversationId::new(random.uuid());
        let jitter = random.below(1 << 32);
        let created_at = self.calendar.moment(((number << 32) + jitter) / CONVERSATIONS)?;

        let business = random.weighted(self.scripts.iter().map(|script| script.weight));
        let script = &self.scripts[business];
        let kind = random.weighted(script.channels.iter().copied());
        let who = random.skewed(script.customers());
        let (mut customer, knows_us) = match kind {
            0 | 2 => {
                let customer = Customer::new(script, business as u64, who)?;
                (customer, !self.known.insert((business, who)))
            }
            _ => (Customer::visitor(script, number), false),
        };
        let contact = customer.contact.clone();
        let mut dialogue = Dialogue::new(script, &mut customer, random, created_at);
        let identifier = dialogue.identifier();
        let channel = match kind {
            0 => Channel::Whatsapp { sender: sender(script)?, customer: contact },
            1 => Channel::Widget,
            2 => Channel::Api { external_identifier: Some(identifier.parse()?) },
            _ => Channel::Test,
        };
        dialogue.play(kind == 3, knows_us)?;

        let assistant = assistant(business as u64);
        let mut conversation = Conversation::new(id, assistant, channel, created_at);
        let messages = dialogue.messages;
        conversation.variables = dialogue.variables.map(Variables::new).transpose()?;
        conversation.ai_enabled = !dialogue.handed_over;
        conversation.message_count = u32::try_from(messages.len()).unwrap_or(u32::MAX);
        let nanos = messages.iter().map(|message| message.cost().nanos()).sum();
        conversation.total_cost = Cost::from_nanos(nanos);
        let last = messages.last().map(Message::created_at);
        conversation.updated_at = last.unwrap_or(created_at);
        Ok((conversation, messages))
    }
}

fn sender(script: &Script<'_>) -> convodb::Result<Contact> {
    let (name, phone) = (script.sender.parse()?, script.sender_phone.parse()?);
    Ok(Contact { name: Some(name), phone: Some(phone) })
}

#[cfg(test)]
mod tests {
    use convodb::Role;
    use serde_json::Value;

    use super::*;

    const DAY_MILLIS: u64 = 24 * 3_600_000;

    fn end() -> Timestamp {
        "2026-01-31 12:00:00".parse().unwrap()
    }

    fn all(end: Timestamp) -> Vec<(Conversation, Vec<Message>)> {
        let scripts = scripts().unwrap();
        let mut generator = Generator::new(&scripts, end).unwrap();
        (0..CONVERSATIONS).map(|number| generator.conversation(number).unwrap()).collect()
    }

    #[test]
    fn only_the_times_depend_on_the_end() {
        let [one, other] =
            [end(), "2027-07-01".parse().unwrap()].map(|end| all(end).swap_remove(11_999));
        assert_eq!(all(end()).swap_remove(11_999), one);
        let texts = |messages: &[Message]| -> Vec<String> {
            messages.iter().map(|message| message.content().to_owned()).collect()
        };
        assert_eq!((one.0.id, texts(&one.1)), (other.0.id, texts(&other.1)));
        assert_eq!((one.0.channel, one.0.total_cost), (other.0.channel, other.0.total_cost));
        assert_ne!(one.0.created_at, other.0.created_at);
    }

    #[test]
    fn every_conversation_is_whole() {
        for (conversation, messages) in all(end()) {
            assert_eq!(messages.len(), conversation.message_count as usize);
            let cost: i64 = messages.iter().map(|message| message.cost().nanos()).sum();
            assert_eq!(cost, conversation.total_cost.nanos());
            assert!(messages.len() >= 2, "{messages:?}");
            assert!(messages.is_sorted_by_key(Message::created_at));
            assert!(messages.last().unwrap().created_at() <= end());
            assert_eq!(messages.last().unwrap().created_at(), conversation.updated_at);
            for message in &messages {
                let json = match message.role() {
                    Role::Tool => Some(message.content()),
                    _ => message.function_calls(),
                };
                let valid = json.map(serde_json::from_str::<Value>);
                assert!(valid.is_none_or(|json| json.is_ok()), "{message:?}");
                assert!(message.function_calls().is_some() || !message.content().is_empty());
                let is_template = message.content().contains(['[', ']', '#', '|']);
                assert!(!is_template || message.role() == Role::Tool, "{message:?}");
                let mut dollars = message.content().split('$').skip(1);
                assert!(dollars.all(|after| after.starts_with(|c: char| c.is_ascii_digit())));
            }
            // A call is answered by its result or by a message of a person.
            for pair in messages.windows(2) {
                let answered = matches!(pair[1].role(), Role::Tool | Role::System);
                assert!(pair[0].function_calls().is_none() || answered, "{pair:?}");
            }
        }
    }

    #[test]
    fn the_data_has_the_documented_mix() {
        let all = all(end());
        let percent = |test: &dyn Fn(&Conversation) -> bool| {
            100 * all.iter().filter(|(conversation, _)| test(conversation)).count() / all.len()
        };
        let kind = |kind| percent(&|c| c.channel.kind() == kind);
        assert!((43..55).contains(&kind(ChannelKind::Whatsapp)));
        assert!((28..40).contains(&kind(ChannelKind::Widget)));
        assert!((9..16).contains(&kind(ChannelKind::Api)));
        assert!((2..6).contains(&kind(ChannelKind::Test)));
        assert!((3..12).contains(&percent(&|c| !c.ai_enabled)), "handed over");

        let first = all.iter().map(|(c, _)| c.created_at).min().unwrap();
        let days = (end().millis() - first.millis()) / DAY_MILLIS;
        assert!((364..=366).contains(&days), "{days} days");
        let phones: Vec<_> = all.iter().filter_map(|(c, _)| c.channel.customer_phone()).collect();
        let distinct: HashSet<_> = phones.iter().collect();
        assert!(phones.len() > distinct.len() * 3 / 2, "customers come back");
    }

    #[test]
    fn only_an_empty_store_is_filled() {
        let store = Store::in_memory().unwrap();
        let user = ensure(&store, end()).unwrap();
        assert_eq!(ensure(&store, Timestamp::MAX).unwrap(), user);
        let rows = store.snapshot().conversations(user, &ListRequest::default());
        assert_eq!(rows.count() as u64, CONVERSATIONS);
        let phone = frequent_phone(&store, user).unwrap().unwrap();
        assert!(phone.starts_with('+'), "{phone}");
        assert!(store.snapshot().verify().unwrap().is_clean());

        let other = Store::in_memory().unwrap();
        other.create_user("Acme", end()).unwrap();
        assert!(ensure(&other, end()).unwrap_err().to_string().contains("leave out --demo"));
        assert_eq!(other.snapshot().users().unwrap().len(), 1);
    }
}
