//! Counters of formats 1 to 3, for upgrades: a record for each type, and for each single day.
//!
//! Format 1 has counters of days alone; formats 2 and 3 also have those that they add up to.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::encoding::counter::Counter;
use crate::encoding::key::{CounterKey, kind_of_number};
use crate::encoding::record::{CounterV1, decode_small, encode_small};
use crate::encoding::time_bucket::Granularity;
use crate::error::Result;
use crate::model::id::UserId;
use crate::tables::counters::{CounterDeltas, out_of_range, places_of};
use crate::tables::schema::{COUNTERS, Counters};

/// Adds the counters of format 2 to those of format 1: by day of all assistants, and by month.
/// Returns the users with counters. Memory: the added counters.
pub(crate) fn add_rollups(counters: &mut Counters) -> Result<BTreeSet<UserId>> {
    let mut rollups: BTreeMap<CounterKey, Counter> = BTreeMap::new();
    let mut users = BTreeSet::new();
    for entry in counters.table.iter()? {
        let (key, record) = entry?;
        if !key.bucket.is_day_of_assistant() {
            return Err(COUNTERS.corrupted("a counter of format 1 does not span a day"));
        }
        let counter = decode(&key, record.value())?;
        let day = key.bucket.start();
        for (granularity, assistant) in
            [(Granularity::DayAllAssistants, Uuid::nil()), (Granularity::Month, key.assistant)]
        {
            let key = CounterKey { bucket: granularity.of(day), assistant, ..key };
            rollups.entry(key).or_default().add(&counter).ok_or_else(out_of_range)?;
        }
        users.insert(key.user);
    }
    for (key, counter) in rollups {
        counters.table.put(key, &encode(&key, &counter));
    }
    Ok(users)
}

/// Replaces the counters of format 3 by those of format 4. Those of weeks and months are made of
/// those of days. Memory: all counters.
pub(crate) fn convert(counters: &mut Counters) -> Result<()> {
    let mut deltas = CounterDeltas::default();
    let mut old = Vec::new();
    for entry in counters.table.iter()? {
        let (key, record) = entry?;
        old.push(key);
        if key.bucket.is_day_of_assistant() {
            let counter = decode(&key, record.value())?;
            let kind = kind_of_number(key.kind);
            let kind = kind.ok_or_else(|| COUNTERS.corrupted("a counter has no known type"))?;
            for place in places_of(key.user, key.bucket.start(), key.assistant, kind) {
                deltas.count(place, &counter)?;
            }
        }
    }
    for key in old {
        counters.table.remove(key)?;
    }
    for (key, record) in deltas.records() {
        counters.table.put(key, &record);
    }
    Ok(())
}

fn decode(key: &CounterKey, record: &[u8]) -> Result<Counter> {
    let decoded = decode_small::<_, CounterV1>(key, record);
    let CounterV1 { conversations, messages, cost_nanos } =
        decoded.map_err(|what| COUNTERS.corrupted(what))?;
    Ok(Counter { conversations, messages, cost_nanos })
}

fn encode(key: &CounterKey, counter: &Counter) -> Vec<u8> {
    let Counter { conversations, messages, cost_nanos } = *counter;
    encode_small(key, CounterV1 { conversations, messages, cost_nanos })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::counter::Cell;
    use crate::encoding::key::kind_number;
    use crate::encoding::time_bucket::TimeBucket;
    use crate::model::timestamp::Day;
    use crate::tables::counters::stored;
    use crate::testing::RawStore;

    type Records = Vec<(CounterKey, BTreeMap<Cell, Counter>)>;

    fn keys(counters: &Counters) -> Vec<CounterKey> {
        counters.table.iter().unwrap().map(|entry| entry.unwrap().0).collect()
    }

    fn records(counters: &Counters) -> Records {
        keys(counters).into_iter().map(|key| (key, stored(&counters.table, key).unwrap())).collect()
    }

    /// Replaces the counters by those that format 1 had for the same rows.
    fn to_format_1(counters: &mut Counters, current: &Records) {
        for (key, _) in current {
            counters.table.remove(*key).unwrap();
        }
        for (key, cells) in current {
            for (cell, counter) in cells {
                let day = Day::new(key.bucket.start().get() + u32::from(cell.day()));
                if key.bucket == Granularity::Week.of(day) {
                    let kind = u32::from(kind_number(cell.kind().unwrap()));
                    let bucket = TimeBucket::from_bits(day.get());
                    let key = CounterKey { kind, bucket, ..*key };
                    counters.table.put(key, &encode(&key, counter));
                }
            }
        }
    }

    #[test]
    fn counters_of_older_formats_become_those_of_their_rows() {
        let store = RawStore::with_rows();
        let mut tables = store.tables();
        let counters = &mut tables.counters;
        let expected = records(counters);
        to_format_1(counters, &expected);
        let days = keys(counters);
        assert!(!days.is_empty() && days.iter().all(|key| key.bucket.is_day_of_assistant()));

        assert_eq!(add_rollups(counters).unwrap(), BTreeSet::from([store.user]));
        let rollups: Vec<_> =
            keys(counters).into_iter().filter(|key| !days.contains(key)).collect();
        assert!(rollups.iter().any(|key| key.assistant.is_nil()));
        assert!(rollups.iter().any(|key| key.bucket == Granularity::Month.of(key.bucket.start())));
        convert(counters).unwrap();
        assert_eq!(records(counters), expected);
    }
}
