//! Conversations by the million from a seed: the same ones on every machine, made one at a time.
//!
//! The shape is that of assistant platforms, with lengths and gaps fitted to a corpus of 7,168
//! real chats: owners and assistants by Zipf's law, 55% whatsapp, 30% widget, 12% api, 3% test,
//! customers by Zipf's law (half of them come once, a few hundreds of times), 1 to 20 numbers an
//! owner, variables on half, two years of times in order of arrival, with bursts and equal seconds.

use convodb::{
    AssistantId, BulkLoadReport, BulkOptions, Channel, Contact, Conversation, ConversationId, Cost,
    Result, Store, Timestamp, UserId, Variables,
};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, LogNormal, Zipf};
use uuid::Uuid;

/// How many owners share a dataset.
pub const OWNERS: usize = 1_000;
/// 2023-01-01 00:00:00 UTC, when the first conversation begins.
const FIRST_MILLIS: u64 = 1_672_531_200_000;
const TWO_YEARS_SECONDS: f64 = 2.0 * 365.0 * 86_400.0;
/// The first owner's share of all rows is about a tenth.
const OWNER_SKEW: f64 = 0.9;

/// An endless supply of conversations for a store of about `rows`.
pub struct Dataset {
    random: ChaCha8Rng,
    rows: u64,
    owner: Zipf<f64>,
    messages: LogNormal<f64>,
    now_millis: u64,
}

/// One conversation and whose it is: the owner's number from 0, in order of size.
pub struct Row {
    /// Whose it is: 0 has the most.
    pub owner: usize,
    /// The conversation.
    pub conversation: Conversation,
}

impl Dataset {
    /// The dataset of this seed, spread so that `rows` of it take two years.
    ///
    /// # Panics
    /// Never: the parameters of its distributions are constants in range.
    #[must_use]
    pub fn new(seed: u64, rows: u64) -> Self {
        let in_range = "a constant in range";
        Self {
            random: ChaCha8Rng::seed_from_u64(seed),
            rows,
            owner: Zipf::new(OWNERS as f64, OWNER_SKEW).expect(in_range),
            messages: LogNormal::new(1.8, 1.9).expect(in_range),
            now_millis: FIRST_MILLIS,
        }
    }

    /// How many assistants an owner has: 1 to 50, the big ones more.
    #[must_use]
    pub fn assistants(owner: usize) -> usize {
        (50 / (1 + owner / 20)).max(1)
    }

    /// The id of an owner's assistant.
    #[must_use]
    pub fn assistant(owner: usize, number: usize) -> AssistantId {
        AssistantId::new(Uuid::from_u64_pair(0xA551_57A7, ((owner as u64) << 16) | number as u64))
    }

    /// The phone of an owner's customer; 0 comes most often.
    #[must_use]
    pub fn customer_phone(owner: usize, number: usize) -> String {
        format!("+1555{owner:03}{number:07}")
    }

    /// The phone of an owner's own number.
    #[must_use]
    pub fn sender_phone(owner: usize, number: usize) -> String {
        format!("+1800{owner:03}{number:03}")
    }

    /// The identifier of an owner's n-th conversation over the API, a few of which repeat.
    #[must_use]
    pub fn external_identifier(number: usize) -> String {
        format!("crm-{number:09}")
    }

    /// A Zipf-distributed number below `below`.
    fn skewed(&mut self, below: usize, skew: f64) -> usize {
        match Zipf::new(below.max(1) as f64, skew) {
            Ok(zipf) => index(zipf.sample(&mut self.random)) - 1,
            Err(_) => 0,
        }
    }

    fn channel(&mut self, owner: usize) -> Channel {
        let share = self.random.random_range(0..100);
        // What Zipf's law with this skew leaves to the owner of this rank, roughly.
        let owned = self.rows as f64 * 0.1 / ((owner + 1) as f64).powf(OWNER_SKEW);
        match share {
            0..55 => {
                let customers = index(owned * 0.55 / 2.0);
                let customer = self.skewed(customers, 1.0);
                let sender = self.skewed(1 + 19 / (1 + owner / 10), 1.0);
                Channel::Whatsapp {
                    sender: contact(&format!("Line {sender}"), &Self::sender_phone(owner, sender)),
                    customer: contact(
                        &format!("Customer {customer}"),
                        &Self::customer_phone(owner, customer),
                    ),
                }
            }
            55..85 => Channel::Widget,
            85..97 => {
                let number = self.random.random_range(0..index(owned * 0.12).max(1));
                let identifier = Self::external_identifier(number).parse().ok();
                // One in ten has none.
                Channel::Api { external_identifier: identifier.filter(|_| share != 96) }
            }
            _ => Channel::Test,
        }
    }

    fn variables(&mut self) -> Option<Variables> {
        if self.random.random_bool(0.5) {
            return None;
        }
        let (plan, order) =
            (self.random.random_range(0..4), self.random.random_range(0..1_000_000));
        let json = format!(
            "{{\"plan\":\"tier-{plan}\",\"order\":{order},\"language\":\"en\",\"page\":\"/help/{}\"}}",
            order % 97
        );
        Variables::new(json).ok()
    }

    /// Time goes on by about an even share of two years; one row in five comes in the same second.
    fn next_time(&mut self) -> Timestamp {
        if self.random.random_bool(0.8) {
            let mean_seconds = TWO_YEARS_SECONDS / self.rows.max(1) as f64 / 0.8;
            let gap = -mean_seconds * (1.0 - self.random.random::<f64>()).ln();
            self.now_millis += index(gap * 1000.0) as u64;
        }
        Timestamp::from_millis(self.now_millis / 1000 * 1000).unwrap_or(Timestamp::MAX)
    }
}

fn contact(name: &str, phone: &str) -> Contact {
    Contact { name: name.parse().ok(), phone: phone.parse().ok() }
}

/// A non-negative number as an index.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "non-negative, small")]
fn index(number: f64) -> usize {
    number.max(0.0) as usize
}

impl Iterator for Dataset {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        let created_at = self.next_time();
        let owner = index(self.owner.sample(&mut self.random)) - 1;
        let assistant = self.skewed(Self::assistants(owner), 1.0);
        // A version 4 UUID: the common case, and the hardest on the id table.
        let id = uuid::Builder::from_random_bytes(self.random.random()).into_uuid();
        let messages = index(self.messages.sample(&mut self.random)).clamp(1, 2_000);
        let message_count = u32::try_from(messages).unwrap_or(1);
        let conversation = Conversation {
            variables: self.variables(),
            message_count,
            // Half a cent a message.
            total_cost: Cost::from_nanos(i64::from(message_count) * 5_000_000),
            ai_enabled: self.random.random_bool(0.9),
            updated_at: Timestamp::from_millis(
                created_at.millis() + u64::from(message_count) * 20_000,
            )
            .unwrap_or(created_at),
            ..Conversation::new(
                ConversationId::new(id),
                Self::assistant(owner, assistant),
                self.channel(owner),
                created_at,
            )
        };
        Some(Row { owner, conversation })
    }
}

/// Makes the owners and their assistants, and loads `rows` rows. Gives the owners' ids, biggest
/// first. `progress` is told how many rows are in.
///
/// # Errors
/// A fault of the store.
pub fn load(
    store: &Store,
    seed: u64,
    rows: u64,
    mut progress: impl FnMut(u64),
) -> Result<(Vec<UserId>, BulkLoadReport)> {
    let owners = store.write(|transaction| {
        let mut owners = Vec::with_capacity(OWNERS);
        for owner in 0..OWNERS {
            let name = format!("owner-{owner}").parse()?;
            let user = transaction.create_user(name, Timestamp::MIN)?.id;
            for number in 0..Dataset::assistants(owner) {
                let id = Dataset::assistant(owner, number);
                transaction.create_assistant(user, id, format!("Assistant {number}").parse()?)?;
            }
            owners.push(user);
        }
        Ok(owners)
    })?;
    let mut loader = store.bulk_load(BulkOptions::default());
    for (done, row) in (0..rows).zip(Dataset::new(seed, rows)) {
        loader.push(owners[row.owner], &row.conversation, &[])?;
        if done.is_multiple_of(10_000) {
            progress(done);
        }
    }
    Ok((owners, loader.finish(|_, _| {})?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_rows_and_the_mix_is_as_said() {
        let rows: Vec<Row> = Dataset::new(7, 20_000).take(20_000).collect();
        let again = Dataset::new(7, 20_000).nth(19_999).expect("endless").conversation;
        assert_eq!(rows[19_999].conversation, again);

        let share = |of: fn(&Row) -> bool| rows.iter().filter(|row| of(row)).count() / 200;
        assert!(
            (52..=58).contains(&share(|row| row.conversation.channel.customer_phone().is_some()))
        );
        assert!((8..=16).contains(&share(|row| row.owner == 0)), "{}", share(|row| row.owner == 0));
        assert!((45..=55).contains(&share(|row| row.conversation.variables.is_some())));
        let span = rows[19_999].conversation.created_at.millis() - FIRST_MILLIS;
        assert!((600..=860).contains(&(span / 86_400_000)), "about two years");
        assert!(rows.is_sorted_by_key(|row| row.conversation.created_at));
    }
}
