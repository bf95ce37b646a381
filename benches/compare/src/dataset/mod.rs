//! Dataset: the rows that every engine is loaded with.
//!
//! It is the test kit's dataset plus one more user, the adversary, whose rows alternate between two
//! long lists with an empty intersection. Each row has the position that convodb will assign, so
//! that all engines order their lists the same way.

pub(crate) mod record;

use convodb::{AssistantId, Channel, Contact, Conversation, ConversationId, Cost, Timestamp};
use convodb_bench::dataset::{Dataset, USERS};
use convodb_bench::row::{Row, next_position};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// The seed of all stores.
pub(crate) const SEED: u64 = 20_260_101;
/// The biggest user. Users are numbered from 1, in order of size.
pub(crate) const BIGGEST: u32 = 1;
/// A user of medium size: a few hundred of a million rows.
pub(crate) const MIDDLE: u32 = 100;
/// The user of the two lists with an empty intersection.
#[expect(clippy::cast_possible_truncation, reason = "there are about a thousand users")]
pub(crate) const ADVERSARY: u32 = USERS as u32 + 1;
/// The adversary adds one row per 20 rows, half as many as the biggest user has.
const ADVERSARY_SHARE: u64 = 20;
/// 2023-01-01 00:00:00 UTC.
const FIRST_MILLIS: u64 = 1_672_531_200_000;
const TWO_YEARS_MILLIS: u64 = 2 * 365 * 86_400_000;

/// A conversation with its user and position.
pub(crate) struct PlacedRow {
    pub(crate) user: u32,
    pub(crate) position: u64,
    pub(crate) conversation: Conversation,
}

impl PlacedRow {
    /// The row as the other engines store it.
    pub(crate) fn row(&self) -> Row {
        Row::from(&self.conversation.borrowed())
    }
}

/// The assistants of a user.
pub(crate) fn assistants(user: u32) -> Vec<AssistantId> {
    let rank = user as usize - 1;
    if user == ADVERSARY {
        return vec![Dataset::assistant(rank, 0), Dataset::assistant(rank, 1)];
    }
    (0..Dataset::assistants(rank)).map(|number| Dataset::assistant(rank, number)).collect()
}

/// Assigns positions, which increase with the creation time within a user.
pub(crate) struct PositionAllocator {
    last: Vec<u64>,
}

impl PositionAllocator {
    pub(crate) fn new() -> Self {
        Self { last: vec![0; ADVERSARY as usize + 1] }
    }

    /// Assigns the first position of the millisecond, or the one after the previous position.
    pub(crate) fn place(&mut self, user: u32, conversation: Conversation) -> PlacedRow {
        let last = &mut self.last[user as usize];
        *last = next_position(conversation.created_at.millis(), *last);
        PlacedRow { user, position: *last, conversation }
    }
}

/// The rows of a store of `rows` rows, then the adversary's, each user's in order of arrival.
pub(crate) fn all_rows(rows: u64) -> impl Iterator<Item = PlacedRow> {
    let mut positions = PositionAllocator::new();
    let count = rows / ADVERSARY_SHARE;
    let generated = Dataset::new(SEED, rows)
        .zip(0..rows)
        .map(|(row, _)| (u32::try_from(row.user).unwrap_or(u32::MAX) + 1, row.conversation));
    let adverse = (0..count).map(move |number| (ADVERSARY, adversary_row(number, count)));
    generated.chain(adverse).map(move |(user, conversation)| positions.place(user, conversation))
}

/// The number of rows of [`all_rows`].
pub(crate) const fn total_rows(rows: u64) -> u64 {
    rows + rows / ADVERSARY_SHARE
}

/// Even rows: the first assistant, on the widget. Odd rows: the second assistant, on WhatsApp.
fn adversary_row(number: u64, of: u64) -> Conversation {
    let odd = number % 2;
    let channel = if odd == 0 {
        Channel::Widget
    } else {
        let contact = |phone: String| Contact { name: None, phone: phone.parse().ok() };
        Channel::Whatsapp {
            sender: contact("+18009990000".to_owned()),
            customer: contact(format!("+1555999{:07}", number % 10_007)),
        }
    };
    let millis = FIRST_MILLIS + TWO_YEARS_MILLIS / of.max(1) * number;
    let at = Timestamp::from_millis(millis / 1000 * 1000).unwrap_or(Timestamp::MAX);
    let id = xxh3_128_with_seed(&number.to_le_bytes(), SEED);
    let assistant = assistants(ADVERSARY)[usize::from(odd == 1)];
    let id = ConversationId::new(uuid::Builder::from_random_bytes(id.to_le_bytes()).into_uuid());
    Conversation {
        message_count: 5,
        total_cost: Cost::from_nanos(25_000_000),
        ..Conversation::new(id, assistant, channel, at)
    }
}

/// The id of one of the adversary's assistants, by number.
pub(crate) fn adversary_assistant(number: usize) -> Uuid {
    assistants(ADVERSARY)[number].uuid()
}

/// All rows as records in memory, ordered by user and position, for engines that load sorted rows.
/// About 220 bytes per row.
pub(crate) struct SortedRows {
    records: Vec<u8>,
    /// User, position, start and end of the record in `records`.
    order: Vec<(u32, u64, usize, usize)>,
}

impl SortedRows {
    /// Collects and sorts the dataset.
    pub(crate) fn collect(rows: u64) -> anyhow::Result<Self> {
        let (mut records, mut order) = (Vec::new(), Vec::new());
        for placed in all_rows(rows) {
            let start = records.len();
            record::encode(placed.user, placed.position, &placed.row(), &mut records)?;
            order.push((placed.user, placed.position, start, records.len()));
        }
        order.sort_unstable();
        Ok(Self { records, order })
    }

    /// User, position and record of each row, in order.
    pub(crate) fn records(&self) -> impl Iterator<Item = (u32, u64, &[u8])> {
        let records = &self.records;
        self.order
            .iter()
            .map(|(user, position, start, end)| (*user, *position, &records[*start..*end]))
    }
}
