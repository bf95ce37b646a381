//! Demo data of `serve --demo`: generated conversations, the same for the same end time.
//!
//! One bulk load writes them, so a store has the whole demo or nothing of it. Names and numbers are
//! invented; phone numbers are from ranges reserved for fiction, or resemble them.

use anyhow::{Result, bail};
use convodb::{
    AssistantId, BulkOptions, Channel, ChannelKind, Contact, Conversation, ConversationId, Cost,
    Filter, ListRequest, Message, PageSize, Role, Store, Timestamp, UserId, Variables,
};
use uuid::Builder;

/// The name of the user with the demo data.
pub(crate) const USER: &str = "demo";

const CONVERSATIONS: u64 = 20_000;
const SPAN_MINUTES: u64 = 730 * 24 * 60;
const CUSTOMERS: u64 = 4_000;
const SEED: u64 = 0x636f_6e76_6f64_6221;
const HOUR_MILLIS: u64 = 3_600_000;

const ASSISTANTS: [&str; 5] =
    ["Front Desk", "Order Support", "Appointments", "Billing Assistant", "Night Shift"];
const SENDERS: [(&str, &str); 3] = [
    ("Acme Support", "+15550100001"),
    ("Acme Orders", "+15550100002"),
    ("Acme Berlin", "+4915555000003"),
];
const QUESTIONS: [&str; 6] = [
    "Hello, is anybody there?",
    "Where is my order?",
    "Can I move my appointment to Thursday?",
    "I was charged twice this month.",
    "Do you also deliver on Saturdays?",
    "Thank you, that is all!",
];
const ANSWERS: [&str; 6] = [
    "Hello! I am the assistant of Acme. How can I help?",
    "Let me look that up for you. One moment, please.",
    "It is on its way and should be with you tomorrow.",
    "Done. You will get a confirmation in a minute.",
    "I am sorry about that. The amount goes back to your account within three days.",
    "You are welcome. Have a nice day!",
];

/// Returns the demo's user in this store. Generates its data, up to `end`, if there is none yet.
///
/// # Errors
/// Fails if the store has users but not this one: it is not a demo then.
pub(crate) fn ensure(store: &Store, end: Timestamp) -> Result<UserId> {
    let snapshot = store.snapshot();
    let user = match snapshot.user_by_name(&USER.parse()?)? {
        Some(user) => user,
        None if snapshot.users()?.is_empty() => create_accounts(store, end)?,
        None => bail!(
            "the store has users but no user {USER}: leave out --demo to serve it, or choose \
             another file for the demo"
        ),
    };
    if store.snapshot().list(user, &ListRequest::default())?.is_empty() {
        load(store, user, end)?;
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

/// Creates the user with its assistants in one transaction.
fn create_accounts(store: &Store, at: Timestamp) -> Result<UserId> {
    let ids = assistant_ids();
    Ok(store.write(move |transaction| {
        let user = transaction.create_user(USER, at)?.id;
        for (id, name) in ids.into_iter().zip(ASSISTANTS) {
            transaction.create_assistant(user, id, name)?;
        }
        Ok::<_, convodb::Error>(user)
    })?)
}

fn load(store: &Store, user: UserId, end: Timestamp) -> Result<()> {
    let mut loader = store.bulk_load(BulkOptions::default());
    let mut generator = Generator { random: SplitMix64(SEED), end, assistants: assistant_ids() };
    for number in 0..CONVERSATIONS {
        let (conversation, history) = generator.conversation(number)?;
        loader.push(user, &conversation, &history)?;
    }
    loader.finish()?;
    Ok(())
}

fn assistant_ids() -> [AssistantId; 5] {
    let mut random = SplitMix64(!SEED);
    ASSISTANTS.map(|_| AssistantId::new(random.uuid()))
}

/// Generates conversations in the order of their creation.
struct Generator {
    random: SplitMix64,
    end: Timestamp,
    assistants: [AssistantId; 5],
}

impl Generator {
    fn conversation(&mut self, number: u64) -> convodb::Result<(Conversation, Vec<Message>)> {
        let created_at = self.moment(number)?;
        let id = ConversationId::new(self.random.uuid());
        let assistant = self.assistants[self.random.weighted(&[40, 25, 18, 12, 5])];
        let mut conversation = Conversation::new(id, assistant, self.channel()?, created_at);
        conversation.variables = self.variables()?;
        conversation.ai_enabled = self.random.below(100) < 92;

        let count = 1 + self.random.below(6) + self.random.skewed(40);
        // Each answer costs the same within a conversation: 0.0004 to 0.0031 USD.
        let answer_cost = 400_000 + 100_000 * self.random.below(28);
        let pause_millis = 5_000 + self.random.below(120_000);
        let sent_at = |n: u64| {
            let millis = created_at.millis() + n * pause_millis;
            Timestamp::from_millis(millis.min(self.end.millis()))
        };
        conversation.message_count = u32::try_from(count).unwrap_or(u32::MAX);
        conversation.total_cost = nanos(count / 2 * answer_cost);
        conversation.updated_at = sent_at(count - 1)?;
        let mut history = Vec::new();
        // Short conversations have messages; long ones have only their number.
        if count <= 12 {
            for n in 0..count {
                let at = sent_at(n)?;
                let (role, texts) =
                    if n % 2 == 0 { (Role::User, QUESTIONS) } else { (Role::Assistant, ANSWERS) };
                let text = texts[self.random.index(texts.len())];
                let cost = if n % 2 == 0 { Cost::ZERO } else { nanos(answer_cost) };
                history.push(Message::new(role, text.to_owned(), at)?.with_cost(cost));
            }
        }
        Ok((conversation, history))
    }

    /// The creation time of a conversation. The rate triples over the two years, and most
    /// conversations start in the daytime.
    fn moment(&mut self, number: u64) -> convodb::Result<Timestamp> {
        let even = (CONVERSATIONS - 1 - number) * SPAN_MINUTES / CONVERSATIONS;
        let minutes = (even + even * even / SPAN_MINUTES) / 2 + self.random.below(60);
        let at = self.end.millis().saturating_sub(minutes * 60_000 + self.random.below(60_000));
        let hour = at / HOUR_MILLIS % 24;
        let at_night = hour < 7 && self.random.below(5) > 0;
        let back = if at_night { (7 + self.random.below(8)) * HOUR_MILLIS } else { 0 };
        Timestamp::from_millis(at.saturating_sub(back))
    }

    fn channel(&mut self) -> convodb::Result<Channel> {
        Ok(match self.random.weighted(&[55, 30, 12, 3]) {
            0 => {
                let (name, phone) = SENDERS[self.random.weighted(&[70, 20, 10])];
                let sender = Contact { name: Some(name.parse()?), phone: Some(phone.parse()?) };
                Channel::Whatsapp { sender, customer: self.customer()? }
            }
            1 => Channel::Widget,
            2 => {
                let identifier = format!("crm-{:05}", self.random.skewed(3_000));
                let known = self.random.below(10) > 0;
                let external_identifier = if known { Some(identifier.parse()?) } else { None };
                Channel::Api { external_identifier }
            }
            _ => Channel::Test,
        })
    }

    /// A customer: few return often, many come once. Some have no name, a few no phone number.
    fn customer(&mut self) -> convodb::Result<Contact> {
        let number = 1 + self.random.skewed(CUSTOMERS);
        let phone = match number % 3 {
            0 => format!("+4915550{:06}", 100_000 + number * 37),
            _ => format!("+1555{:07}", 2_000_000 + number * 211),
        };
        let name = format!("Customer {number:04}");
        Ok(Contact {
            name: if number % 8 == 5 { None } else { Some(name.parse()?) },
            phone: if number % 25 == 7 { None } else { Some(phone.parse()?) },
        })
    }

    fn variables(&mut self) -> convodb::Result<Option<Variables>> {
        if self.random.below(2) == 0 {
            return Ok(None);
        }
        let language = ["en", "de", "es"][self.random.weighted(&[70, 20, 10])];
        let plan = ["free", "basic", "pro"][self.random.index(3)];
        let order = 10_000 + self.random.below(90_000);
        let text = format!(r#"{{"language":"{language}","plan":"{plan}","order":"A-{order}"}}"#);
        Variables::new(text).map(Some)
    }
}

fn nanos(nanos: u64) -> Cost {
    Cost::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))
}

/// The SplitMix64 generator of Steele, Lea and Flood: the same numbers on every machine.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`. The bias is negligible, because bounds are far below 2^32.
    fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 32) % bound
    }

    fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// A number below `bound`, the cube of a uniform one: small numbers are far more frequent.
    fn skewed(&mut self, bound: u64) -> u64 {
        let unit = 1 << 20;
        let even = self.below(unit);
        even * even / unit * even / unit * bound / unit
    }

    /// An index with a probability proportional to its weight.
    fn weighted(&mut self, weights: &[u64]) -> usize {
        let mut left = self.below(weights.iter().sum());
        for (at, weight) in weights.iter().enumerate() {
            match left.checked_sub(*weight) {
                Some(rest) => left = rest,
                None => return at,
            }
        }
        0
    }

    fn uuid(&mut self) -> uuid::Uuid {
        let bytes = (u128::from(self.next()) << 64 | u128::from(self.next())).to_be_bytes();
        Builder::from_random_bytes(bytes).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end() -> Timestamp {
        "2026-01-31 12:00:00".parse().unwrap()
    }

    fn all() -> Vec<(Conversation, Vec<Message>)> {
        let mut generator =
            Generator { random: SplitMix64(SEED), end: end(), assistants: assistant_ids() };
        (0..CONVERSATIONS).map(|number| generator.conversation(number).unwrap()).collect()
    }

    #[test]
    fn the_data_is_deterministic() {
        assert_eq!(all(), all());
    }

    #[test]
    fn the_data_has_the_documented_mix() {
        let all = all();
        let percent = |test: &dyn Fn(&Conversation) -> bool| {
            100 * all.iter().filter(|(conversation, _)| test(conversation)).count() / all.len()
        };
        let kind = |kind| percent(&|c| c.channel.kind() == kind);
        assert!((53..57).contains(&kind(ChannelKind::Whatsapp)));
        assert!((28..32).contains(&kind(ChannelKind::Widget)));
        assert!((10..14).contains(&kind(ChannelKind::Api)));
        assert!((2..5).contains(&kind(ChannelKind::Test)));
        assert!((48..52).contains(&percent(&|c| c.variables.is_some())));

        let first = all.iter().map(|(c, _)| c.created_at).min().unwrap();
        let last = all.iter().map(|(c, _)| c.created_at).max().unwrap();
        let days = (end().millis() - first.millis()) / (24 * HOUR_MILLIS);
        assert!((650..=731).contains(&days), "{days} days");
        assert!(last <= end() && all.iter().all(|(c, _)| c.updated_at <= end()));

        for (conversation, history) in &all {
            let known = history.len() == conversation.message_count as usize;
            assert!(known || history.is_empty(), "a history is complete or empty");
            let cost: i64 = history.iter().map(|message| message.cost().nanos()).sum();
            assert!(history.is_empty() || cost == conversation.total_cost.nanos());
        }
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
