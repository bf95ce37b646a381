//! Measured lists: the filters that are asked of a user, with values of the user's own data.
//!
//! Five filters have 32 combinations. A phone or an identifier implies its type, so the type beside
//! it changes nothing; a phone beside an identifier contradicts it. What remains are 12 different
//! lists, which [`lists`] returns, and a thirteenth whose two filters have no row in common.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use anyhow::Result;
use convodb::{
    ChannelKind, Conversation, Day, Filter, IndexFamily, IndexState, ListRequest, Snapshot, Sort,
    StatsRequest, UserId,
};

/// The newest conversations of a user from which the values of the filters are taken.
const SAMPLE: usize = 20_000;
/// The customers and the assistants, the most frequent first, among which a pair that never met is
/// searched.
const MAX_CUSTOMERS: usize = 20;
const MAX_ASSISTANTS: usize = 50;

/// A list of one user.
#[derive(Clone, Debug)]
pub struct List {
    /// The fields that are filtered by, as in `type + assistant`.
    pub name: String,
    /// How many of the 32 combinations of filters read the same range.
    pub combinations: u32,
    /// The filter.
    pub filter: Filter,
    /// The time that sorts it.
    pub sort: Sort,
}

impl List {
    /// The request for its first page.
    #[must_use]
    pub fn request(&self) -> ListRequest {
        ListRequest::new().filter(self.filter.clone()).sort(self.sort)
    }
}

/// The user's number, the number of their conversations and that of their assistants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserSize {
    /// The user.
    pub user: UserId,
    /// The number of conversations.
    pub rows: u64,
    /// The number of assistants.
    pub assistants: u32,
}

/// The fields of a filter; the bit of a field is its index.
const FIELDS: [&str; 5] = ["type", "assistant", "sender", "customer", "external identifier"];
const KIND: u32 = 1;
const ASSISTANT: u32 = 1 << 1;
const SENDER: u32 = 1 << 2;
const CUSTOMER: u32 = 1 << 3;
const EXTERNAL: u32 = 1 << 4;

/// All 32 combinations, as bits.
const COMBINATIONS: u32 = 1 << FIELDS.len();

/// All days.
fn all_days() -> StatsRequest {
    StatsRequest::new(Day::new(0), Day::new(u32::MAX))
}

/// The users with conversations, those with the most first. Reads counters only.
///
/// # Errors
/// An error of the store.
pub fn users_by_size(snapshot: &Snapshot) -> Result<Vec<UserSize>> {
    let mut sizes = Vec::new();
    for user in snapshot.users()? {
        let rows = snapshot.stats(user.id, &all_days())?.total.conversations;
        let assistants = snapshot.assistant_count(user.id)?;
        sizes.push(UserSize { user: user.id, rows, assistants });
    }
    sizes.retain(|size| size.rows > 0);
    sizes.sort_by_key(|size| (Reverse(size.rows), size.user));
    Ok(sizes)
}

/// The name of a combination of fields.
fn name(bits: u32) -> String {
    let set = FIELDS.iter().enumerate().filter(|(bit, _)| bits & (1 << bit) != 0);
    let names: Vec<&str> = set.map(|(_, name)| *name).collect();
    if names.is_empty() { "no filter".to_owned() } else { names.join(" + ") }
}

/// Whether no row can match: a phone and an identifier.
const fn contradicts(bits: u32) -> bool {
    bits & (SENDER | CUSTOMER) != 0 && bits & EXTERNAL != 0
}

/// Whether a phone or an identifier implies the type that the combination names.
const fn names_implied_type(bits: u32) -> bool {
    bits & KIND != 0 && bits & (SENDER | CUSTOMER | EXTERNAL) != 0
}

/// The filter on the fields whose bits are set, with the values of a row; `None` if the row lacks one.
fn filter_of(bits: u32, row: &Conversation) -> Option<Filter> {
    let has = |bit: u32| bits & (1 << bit) != 0;
    let mut filter = Filter::default();
    if has(0) {
        filter.kind = Some(row.channel.kind());
    }
    if has(1) {
        filter.assistant = Some(row.assistant);
    }
    if has(2) {
        filter.sender_phone = Some(row.channel.sender_phone()?.parse().ok()?);
    }
    if has(3) {
        filter.customer_phone = Some(row.channel.customer_phone()?.parse().ok()?);
    }
    if has(4) {
        filter.external_identifier = Some(row.channel.external_identifier()?.parse().ok()?);
    }
    Some(filter)
}

/// The values of a filter, as a key.
fn key_of(filter: &Filter) -> String {
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    [
        text(filter.kind.map(ChannelKind::as_str)),
        filter.assistant.map(|id| id.uuid().to_string()).unwrap_or_default(),
        text(filter.sender_phone.as_ref().map(convodb::Phone::as_str)),
        text(filter.customer_phone.as_ref().map(convodb::Phone::as_str)),
        text(filter.external_identifier.as_ref().map(convodb::ExternalIdentifier::as_str)),
    ]
    .join("\u{0}")
}

/// The values of a combination among the rows, the most frequent first; on a tie, the newest.
fn by_frequency(bits: u32, rows: &[Conversation]) -> impl Iterator<Item = Filter> {
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for (at, row) in rows.iter().enumerate() {
        if let Some(filter) = filter_of(bits, row) {
            counts.entry(key_of(&filter)).or_insert((0, at)).0 += 1;
        }
    }
    let mut counts: Vec<(usize, usize)> = counts.into_values().collect();
    counts.sort_by_key(|(count, at)| (Reverse(*count), *at));
    counts.into_iter().filter_map(move |(_, at)| filter_of(bits, &rows[at]))
}

fn most_frequent(bits: u32, rows: &[Conversation]) -> Option<Filter> {
    by_frequency(bits, rows).next()
}

/// The newest rows of a user.
fn sample(snapshot: &Snapshot, user: UserId) -> Result<Vec<Conversation>> {
    let rows = snapshot.conversations(user, &ListRequest::default()).take(SAMPLE);
    Ok(rows.collect::<convodb::Result<_>>()?)
}

/// The different lists of a user: for each combination of fields, the one with the most frequent
/// values among the user's newest 20,000 conversations. A combination that none of them has is left
/// out. The last list is empty although each of its two filters matches rows, if the user has such
/// a pair of customer and assistant.
///
/// # Errors
/// An error of the store.
pub fn lists(snapshot: &Snapshot, user: UserId) -> Result<Vec<List>> {
    let rows = sample(snapshot, user)?;
    let mut lists = Vec::new();
    for bits in 0..COMBINATIONS {
        if contradicts(bits) || names_implied_type(bits) {
            continue;
        }
        let Some(filter) = most_frequent(bits, &rows) else { continue };
        // The same list with the type that its text implies.
        let combinations = if bits & (SENDER | CUSTOMER | EXTERNAL) != 0 { 2 } else { 1 };
        lists.push(List { name: name(bits), combinations, filter, sort: Sort::CreatedAt });
    }
    // What is asked most, and has the fewest fields, first.
    lists.sort_by_key(|list| list.name.matches('+').count());
    lists.extend(nothing_in_common(snapshot, user, &rows)?);
    Ok(lists)
}

/// The lists by last activity of a user: for each combination of fields that has one, the list with
/// the same values as in [`lists`]; none if the store lacks their index.
///
/// # Errors
/// An error of the store.
pub fn activity_lists(snapshot: &Snapshot, user: UserId) -> Result<Vec<List>> {
    if snapshot.index_state(IndexFamily::LastActivity) != IndexState::Ready {
        return Ok(Vec::new());
    }
    let rows = sample(snapshot, user)?;
    let combinations = [0, KIND, ASSISTANT, SENDER, CUSTOMER, KIND | ASSISTANT].into_iter();
    let lists = combinations.filter_map(|bits| {
        let filter = most_frequent(bits, &rows)?;
        let combinations = if bits & (SENDER | CUSTOMER) != 0 { 2 } else { 1 };
        let name = format!("{}, by last activity", name(bits));
        Some(List { name, combinations, filter, sort: Sort::LastActivity })
    });
    Ok(lists.collect())
}

/// All 32 combinations of filters by name, with values as in [`lists`]; a contradiction takes its
/// identifier from another row. Combinations that the user's rows lack are left out.
///
/// # Errors
/// An error of the store.
pub fn combinations(snapshot: &Snapshot, user: UserId) -> Result<Vec<List>> {
    let rows = sample(snapshot, user)?;
    let mut lists = Vec::new();
    for bits in 0..COMBINATIONS {
        let filter = if contradicts(bits) {
            let identifier = most_frequent(EXTERNAL, &rows).and_then(|f| f.external_identifier);
            most_frequent(bits & !EXTERNAL, &rows)
                .filter(|_| identifier.is_some())
                .map(|filter| Filter { external_identifier: identifier, ..filter })
        } else {
            most_frequent(bits, &rows)
        };
        lists.extend(filter.map(|filter| List {
            name: name(bits),
            combinations: 1,
            filter,
            sort: Sort::CreatedAt,
        }));
    }
    Ok(lists)
}

/// The list of a frequent customer with a big assistant that never met them.
fn nothing_in_common(
    snapshot: &Snapshot,
    user: UserId,
    rows: &[Conversation],
) -> Result<Option<List>> {
    let by_assistant = StatsRequest { by_assistant: true, ..all_days() };
    let mut groups = snapshot.stats(user, &by_assistant)?.rows;
    groups.sort_by_key(|group| Reverse(group.volume.conversations));
    groups.truncate(MAX_ASSISTANTS);
    for customer in by_frequency(CUSTOMER, rows).take(MAX_CUSTOMERS) {
        for group in &groups {
            let filter = Filter { assistant: group.assistant, ..customer.clone() };
            let request = ListRequest::new().filter(filter.clone());
            if snapshot.list(user, &request)?.is_empty() {
                let name = "assistant + customer, disjoint".to_owned();
                return Ok(Some(List { name, combinations: 0, filter, sort: Sort::CreatedAt }));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset;
    use convodb::{IndexFamilies, Store};

    #[test]
    fn the_lists_of_a_user_are_the_different_combinations_of_filters() -> Result<()> {
        let store = Store::in_memory()?;
        store.add_indexes(IndexFamilies::ALL)?;
        dataset::load(&store, 7, 3_000, |_| {})?;
        let snapshot = store.snapshot();
        let users = users_by_size(&snapshot)?;
        assert!(users.is_sorted_by_key(|size| Reverse(size.rows)));
        assert_eq!(users.iter().map(|size| size.rows).sum::<u64>(), 3_000);
        let user = users[0].user;

        let rows = |list: &List| {
            let request = ListRequest::new().filter(list.filter.clone());
            snapshot.conversations(user, &request).count() as u64
        };
        let mut lists = lists(&snapshot, user)?;
        assert_eq!((lists[0].name.as_str(), rows(&lists[0])), ("no filter", users[0].rows));
        let last = lists.pop().expect("lists");
        assert_eq!(last.name, "assistant + customer, disjoint");
        assert_eq!(rows(&last), 0);
        for part in [
            Filter { assistant: None, ..last.filter.clone() },
            Filter { customer_phone: None, ..last.filter.clone() },
        ] {
            assert!(rows(&List { filter: part, ..last.clone() }) > 0, "each filter alone matches");
        }
        assert_eq!(lists.len(), 12);
        assert!(lists.iter().all(|list| rows(list) > 0));
        // The other twelve of the 32 contradict themselves.
        assert_eq!(lists.iter().map(|list| list.combinations).sum::<u32>(), 20);

        let by_activity = activity_lists(&snapshot, user)?;
        assert_eq!(by_activity.len(), 6);
        for list in &by_activity {
            let page = snapshot.list(user, &list.request())?;
            assert!(page.changes_cursor().is_some() && !page.is_empty(), "{}", list.name);
        }

        let all = combinations(&snapshot, user)?;
        assert_eq!(all.len(), 32);
        let contradicts = |list: &&List| {
            let Filter { sender_phone, customer_phone, external_identifier, .. } = &list.filter;
            (sender_phone.is_some() || customer_phone.is_some()) && external_identifier.is_some()
        };
        let (none, some): (Vec<&List>, Vec<&List>) = all.iter().partition(contradicts);
        assert_eq!((none.len(), some.len()), (12, 20));
        assert!(none.into_iter().all(|list| rows(list) == 0));
        assert!(some.into_iter().all(|list| rows(list) > 0));
        Ok(())
    }
}
