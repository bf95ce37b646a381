//! The rows that every engine is loaded with: the test kit's dataset, and one user more, the
//! adversary, whose rows alternate between two big lists that never meet. Each row has the
//! position that convodb will give it, so that every engine orders its lists alike.

pub(crate) mod record;
pub(crate) mod row;

use convodb::{AssistantId, Channel, Contact, Conversation, ConversationId, Cost, Timestamp};
use convodb_testkit::dataset::{Dataset, OWNERS};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::dataset::row::Row;

/// The seed of all stores.
pub(crate) const SEED: u64 = 20_260_101;
/// The dataset's users have the numbers from 1 on, in order of size.
pub(crate) const BIGGEST: u32 = 1;
/// An user of middling size: a few hundred rows of a million.
pub(crate) const MIDDLE: u32 = 100;
/// The user of the two lists that never meet.
#[expect(clippy::cast_possible_truncation, reason = "a thousand")]
pub(crate) const ADVERSARY: u32 = OWNERS as u32 + 1;
/// The adversary has a twentieth of the rows, half as many as the biggest user.
const ADVERSARY_SHARE: u64 = 20;
/// 2023-01-01 00:00:00 UTC.
const FIRST_MILLIS: u64 = 1_672_531_200_000;
const TWO_YEARS_MILLIS: u64 = 2 * 365 * 86_400_000;

/// One row with its place.
pub(crate) struct PlacedRow {
    pub(crate) user: u32,
    pub(crate) position: u64,
    pub(crate) conversation: Conversation,
}

impl PlacedRow {
    /// The row as the rivals store it.
    pub(crate) fn row(&self) -> Row {
        Row::from(&self.conversation.borrowed())
    }
}

/// The assistants of an user.
pub(crate) fn assistants(user: u32) -> Vec<AssistantId> {
    let rank = user as usize - 1;
    if user == ADVERSARY {
        return vec![Dataset::assistant(rank, 0), Dataset::assistant(rank, 1)];
    }
    (0..Dataset::assistants(rank)).map(|number| Dataset::assistant(rank, number)).collect()
}

/// Gives each row its place: positions of one user rise with the time of creation.
pub(crate) struct PositionAllocator {
    last: Vec<u64>,
}

impl PositionAllocator {
    pub(crate) fn new() -> Self {
        Self { last: vec![0; ADVERSARY as usize + 1] }
    }

    /// The next position of the user: the first of its millisecond, or after the one before.
    pub(crate) fn place(&mut self, user: u32, conversation: Conversation) -> PlacedRow {
        let first = conversation.created_at.millis() << 22;
        let last = &mut self.last[user as usize];
        *last = first.max(*last + 1);
        PlacedRow { user, position: *last, conversation }
    }
}

/// All rows of a store of `rows`, the adversary's on top, in order of arrival user by user.
pub(crate) fn all_rows(rows: u64) -> impl Iterator<Item = PlacedRow> {
    let mut placer = PositionAllocator::new();
    let adverse = rows / ADVERSARY_SHARE;
    let owned = Dataset::new(SEED, rows)
        .zip(0..rows)
        .map(|(row, _)| (u32::try_from(row.owner).unwrap_or(u32::MAX) + 1, row.conversation));
    let adverse = (0..adverse).map(move |number| (ADVERSARY, adversary_row(number, adverse)));
    owned.chain(adverse).map(move |(user, conversation)| placer.place(user, conversation))
}

/// How many rows [`corpus`] gives.
pub(crate) const fn total_rows(rows: u64) -> u64 {
    rows + rows / ADVERSARY_SHARE
}

/// Even rows: the first assistant on the widget. Odd ones: the second, on WhatsApp.
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

/// The id of an adverse assistant, by number.
pub(crate) fn adversary_assistant(number: usize) -> Uuid {
    assistants(ADVERSARY)[number].uuid()
}

/// All rows in the order of user and position, as records in memory: what engines that like their
/// rows sorted are loaded from. About 220 bytes a row.
pub(crate) struct SortedRows {
    records: Vec<u8>,
    /// User, position, and where the record begins and ends.
    order: Vec<(u32, u64, usize, usize)>,
}

impl SortedRows {
    /// Collects a corpus.
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

    /// User, position and record of each row.
    pub(crate) fn records(&self) -> impl Iterator<Item = (u32, u64, &[u8])> {
        let records = &self.records;
        self.order
            .iter()
            .map(|(user, position, start, end)| (*user, *position, &records[*start..*end]))
    }
}
