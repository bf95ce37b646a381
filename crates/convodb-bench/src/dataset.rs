//! Dataset generator: millions of realistic conversations from a seed.
//!
//! The same seed returns the same conversations on every machine. They are generated one at a time.
//!
//! The distribution is that of assistant platforms, with lengths and gaps fitted to a corpus of
//! 7,168 real chats: users and assistants by Zipf's law; 55% whatsapp, 30% widget, 12% api, 3%
//! test; customers by Zipf's law (half of them occur once, a few hundreds of times); 1 to 20 phone
//! numbers a user; variables on half of the conversations; two years of creation times in order of
//! arrival, with bursts and equal seconds.

use convodb::{
    AssistantId, BulkLoadReport, BulkOptions, Channel, Contact, Conversation, ConversationId, Cost,
    Result, Store, Timestamp, UserId, Variables,
};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, LogNormal, Zipf};
use uuid::Uuid;

/// The number of users of a dataset.
pub const USERS: usize = 1_000;
/// 2023-01-01 00:00:00 UTC, creation time of the first conversation.
const FIRST_MILLIS: u64 = 1_672_531_200_000;
const TWO_YEARS_SECONDS: f64 = 2.0 * 365.0 * 86_400.0;
/// Zipf exponent at which the first user has about a tenth of all rows.
const USER_SKEW: f64 = 0.9;

/// An endless iterator of conversations, distributed for a store of about `rows` rows.
pub struct Dataset {
    random: ChaCha8Rng,
    rows: u64,
    user: Zipf<f64>,
    messages: LogNormal<f64>,
    now_millis: u64,
}

/// A conversation and the number of its user.
pub struct Row {
    /// The number of the user, in descending order of size: user 0 has the most conversations.
    pub user: usize,
    /// The conversation.
    pub conversation: Conversation,
}

impl Dataset {
    /// Creates the dataset of a seed, spread so that `rows` rows cover two years.
    ///
    /// # Panics
    /// Never: the parameters of its distributions are constants in range.
    #[must_use]
    pub fn new(seed: u64, rows: u64) -> Self {
        let in_range = "a constant in range";
        Self {
            random: ChaCha8Rng::seed_from_u64(seed),
            rows,
            user: Zipf::new(USERS as f64, USER_SKEW).expect(in_range),
            messages: LogNormal::new(1.8, 1.9).expect(in_range),
            now_millis: FIRST_MILLIS,
        }
    }

    /// The number of assistants of a user: 1 to 50, more for larger users.
    #[must_use]
    pub fn assistants(user: usize) -> usize {
        (50 / (1 + user / 20)).max(1)
    }

    /// The id of a user's assistant.
    #[must_use]
    pub fn assistant(user: usize, number: usize) -> AssistantId {
        AssistantId::new(Uuid::from_u64_pair(0xA551_57A7, ((user as u64) << 16) | number as u64))
    }

    /// The phone number of a user's customer; customer 0 is the most frequent.
    #[must_use]
    pub fn customer_phone(user: usize, number: usize) -> String {
        format!("+1555{user:03}{number:07}")
    }

    /// One of a user's own phone numbers.
    #[must_use]
    pub fn sender_phone(user: usize, number: usize) -> String {
        format!("+1800{user:03}{number:03}")
    }

    /// The external identifier of a user's n-th API conversation; a few repeat.
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

    fn channel(&mut self, user: usize) -> Channel {
        let share = self.random.random_range(0..100);
        // The approximate row count of the user of this rank under Zipf's law.
        let share_of_user = self.rows as f64 * 0.1 / ((user + 1) as f64).powf(USER_SKEW);
        match share {
            0..55 => {
                let customers = index(share_of_user * 0.55 / 2.0);
                let customer = self.skewed(customers, 1.0);
                let sender = self.skewed(1 + 19 / (1 + user / 10), 1.0);
                Channel::Whatsapp {
                    sender: contact(&format!("Line {sender}"), &Self::sender_phone(user, sender)),
                    customer: contact(
                        &format!("Customer {customer}"),
                        &Self::customer_phone(user, customer),
                    ),
                }
            }
            55..85 => Channel::Widget,
            85..97 => {
                let number = self.random.random_range(0..index(share_of_user * 0.12).max(1));
                let identifier = Self::external_identifier(number).parse().ok();
                // About one API conversation in twelve has no identifier.
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

    /// Advances the time by about an even share of two years. One row in five shares the second of
    /// the previous row.
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

/// Truncates a non-negative number to an index.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "non-negative, small")]
fn index(number: f64) -> usize {
    number.max(0.0) as usize
}

impl Iterator for Dataset {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        let created_at = self.next_time();
        let user = index(self.user.sample(&mut self.random)) - 1;
        let assistant = self.skewed(Self::assistants(user), 1.0);
        // A version 4 UUID: the common case, and the worst case for the id table.
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
                Self::assistant(user, assistant),
                self.channel(user),
                created_at,
            )
        };
        Some(Row { user, conversation })
    }
}

/// Creates the users and their assistants, and bulk-loads `rows` rows. Returns the users' ids in
/// descending order of size. Calls `progress` with the number of generated rows now and then.
///
/// # Errors
/// An error of the store.
pub fn load(
    store: &Store,
    seed: u64,
    rows: u64,
    progress: impl FnMut(u64),
) -> Result<(Vec<UserId>, BulkLoadReport)> {
    load_with_progress(store, seed, rows, progress, |_, _| {})
}

/// [`load`], which also calls `writing` with the number of written entries and their total, after
/// all rows are generated.
///
/// # Errors
/// An error of the store.
pub fn load_with_progress(
    store: &Store,
    seed: u64,
    rows: u64,
    mut progress: impl FnMut(u64),
    writing: impl FnMut(u64, u64) + Send + 'static,
) -> Result<(Vec<UserId>, BulkLoadReport)> {
    let users = store.write(|transaction| {
        let mut users = Vec::with_capacity(USERS);
        for user_number in 0..USERS {
            let name = format!("owner-{user_number}");
            let user = transaction.create_user(name, Timestamp::MIN)?.id;
            for number in 0..Dataset::assistants(user_number) {
                let id = Dataset::assistant(user_number, number);
                transaction.create_assistant(user, id, format!("Assistant {number}"))?;
            }
            users.push(user);
        }
        Ok::<_, convodb::Error>(users)
    })?;
    let mut loader = store.bulk_load(BulkOptions::default());
    for (done, row) in (0..rows).zip(Dataset::new(seed, rows)) {
        loader.push(users[row.user], &row.conversation, &[])?;
        if done.is_multiple_of(10_000) {
            progress(done);
        }
    }
    Ok((users, loader.finish_with_progress(writing)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_follow_from_the_seed_and_have_the_documented_distribution() {
        let rows: Vec<Row> = Dataset::new(7, 20_000).take(20_000).collect();
        let again = Dataset::new(7, 20_000).nth(19_999).expect("endless").conversation;
        assert_eq!(rows[19_999].conversation, again);

        let share = |is: fn(&Row) -> bool| rows.iter().filter(|row| is(row)).count() / 200;
        assert!(
            (52..=58).contains(&share(|row| row.conversation.channel.customer_phone().is_some()))
        );
        assert!((8..=16).contains(&share(|row| row.user == 0)), "{}", share(|row| row.user == 0));
        assert!((45..=55).contains(&share(|row| row.conversation.variables.is_some())));
        let span = rows[19_999].conversation.created_at.millis() - FIRST_MILLIS;
        assert!((600..=860).contains(&(span / 86_400_000)), "about two years");
        assert!(rows.is_sorted_by_key(|row| row.conversation.created_at));
    }
}
