//! Verification of the counters of lists: those of each list that has counters equal the rows, and a
//! part of a list has counters only if that list has, because writes change no others.
//!
//! Memory: the counters of one user.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use crate::encoding::index_term::{Fingerprints, Term};
use crate::encoding::key::RowKey;
use crate::error::Result;
use crate::kv::audit::AuditedEntry;
use crate::model::conversation::ConversationRef;
use crate::model::id::UserId;
use crate::model::index_family::{IndexFamily, IndexState};
use crate::tables::Tables;
use crate::tables::list_counters::{self, ListCounts, all_months};
use crate::tables::schema::LIST_COUNTERS;
use crate::verify::report::{Ticker, VerifyReport};
use crate::verify::user_ranges::keys_of;

/// The counters that the rows of the current user require.
#[derive(Default)]
pub(super) struct CountedLists {
    /// The lists that have counters.
    stored: BTreeSet<Term>,
    required: ListCounts,
    /// The lists that have counters and are parts of lists that have none.
    orphans: BTreeSet<(UserId, Term)>,
}

impl CountedLists {
    /// Finds the lists of a user that have counters. One B-tree lookup for each.
    pub(super) fn begin_user(&mut self, tables: &Tables, user: UserId) -> Result<()> {
        self.stored.clear();
        let table = &tables.list_counters.table;
        let mut next = Some(Term::from_bits(0));
        while let Some(term) = next {
            let keys = *all_months(user, term).start()..=*keys_of(&(user..=user)).end();
            let found = table.range(keys)?.next().transpose()?.map(|(key, _)| key.term);
            self.stored.extend(found);
            next = found.and_then(|term| term.bits().checked_add(1)).map(Term::from_bits);
        }
        Ok(())
    }

    /// Counts a row in its lists.
    pub(super) fn add(
        &mut self,
        tables: &Tables,
        key: RowKey,
        row: &ConversationRef<'_>,
        fingerprints: &Fingerprints,
    ) {
        if !tables.families.must_have(IndexFamily::Counters, key) {
            return;
        }
        let mut short = None;
        for list in list_counters::lists(fingerprints) {
            let has_counters = !list.may_be_short() || self.stored.contains(&list.term);
            if has_counters {
                self.required.add(key.user, list.term, key.position, row.channel.kind());
                if list.is_part_of(short) {
                    self.orphans.insert((key.user, list.term));
                }
            } else if list.is_whole() {
                short = Some(list);
            }
        }
    }

    /// Compares what is stored for some users with what their rows require, unless it is being
    /// dropped.
    pub(super) fn check(
        &mut self,
        tables: &Tables,
        users: &RangeInclusive<UserId>,
        report: &mut VerifyReport,
        ticker: &mut Ticker<'_>,
    ) -> Result<()> {
        let mut required = std::mem::take(&mut self.required);
        let orphans = std::mem::take(&mut self.orphans);
        if tables.families.get(IndexFamily::Counters).public() == IndexState::Dropping {
            return Ok(());
        }
        let table = &tables.list_counters.table;
        for entry in table.audit_range(keys_of(users))? {
            let AuditedEntry { key, value: record, needs_lookup } = entry?;
            ticker.tick();
            let mut finding = |what| report.add_finding(LIST_COUNTERS.name, what, key.user);
            let counted = required.take(&key);
            match list_counters::decode(&key, record.value()) {
                Err(_) => finding("a record is damaged"),
                Ok(stored) if stored == counted => {}
                Ok(_) if counted.is_empty() => finding("a counter has no rows"),
                Ok(_) => finding("a counter is wrong"),
            }
            if needs_lookup && table.get(key)?.is_none() {
                finding("a counter is not found by its key");
            }
        }
        for (user, _) in orphans {
            let what = "a part of a list has counters, but the list has none";
            report.add_finding(LIST_COUNTERS.name, what, user);
        }
        for key in required.keys() {
            report.add_finding(LIST_COUNTERS.name, "a counter is missing", key.user);
        }
        Ok(())
    }
}
