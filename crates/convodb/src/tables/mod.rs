//! Tables: what a store contains, as one value for each committed state.
//!
//! [`schema`] declares the tables in groups, and one module implements the operations of each
//! group. A snapshot uses the opened tables of its commit, so a page opens no table. The writer
//! changes its own copy and publishes a clone with each commit; clones share all entries.

pub(crate) mod accounts;
pub(crate) mod activity_index;
pub(crate) mod change_feed;
pub(crate) mod conversations;
pub(crate) mod counters;
pub(crate) mod epochs;
pub(crate) mod erasure_marks;
pub(crate) mod families;
pub(crate) mod idempotency;
pub(crate) mod index_build;
pub(crate) mod indexes;
pub(crate) mod list_counters;
pub(crate) mod messages;
pub(crate) mod meta;
pub(crate) mod name_cache;
pub(crate) mod old_counters;
pub(crate) mod quotas;
pub(crate) mod schema;
pub(crate) mod sequences;
pub(crate) mod staged_inserts;
pub(crate) mod state;
mod user_versions;

use std::sync::Arc;

use redb::{ReadTransaction, WriteTransaction};

use crate::error::Result;
use crate::kv::table::{AnyTable, Extent, PendingWrites};
use crate::metrics::MetricsRegistry;
use crate::model::id::{AssistantId, UserId};
use crate::model::index_family::IndexFamily;
use crate::model::position::Position;
use crate::model::timestamp::Timestamp;
use crate::tables::families::Families;
use crate::tables::name_cache::AssistantNameCache;
use crate::tables::schema::{
    Accounts, ActivityIndex, ChangeFeed, Conversations, Counters, Idempotency, Indexes,
    ListCounters, Messages, Quotas, Sequences, StagedInserts,
};
use crate::tables::staged_inserts::RunningInserts;
use crate::tables::user_versions::UserVersions;

/// Every table of one committed state, and the caches of readers.
#[derive(Clone)]
pub(crate) struct Tables {
    pub(crate) conversations: Conversations,
    pub(crate) indexes: Indexes,
    pub(crate) messages: Messages,
    pub(crate) counters: Counters,
    pub(crate) accounts: Accounts,
    pub(crate) sequences: Sequences,
    pub(crate) change_feed: ChangeFeed,
    pub(crate) idempotency: Idempotency,
    pub(crate) staged: StagedInserts,
    pub(crate) quotas: Quotas,
    pub(crate) activity: ActivityIndex,
    pub(crate) list_counters: ListCounters,
    /// Which of the optional indexes there are.
    pub(crate) families: Families,
    running_inserts: Arc<RunningInserts>,
    assistant_names: Arc<AssistantNameCache>,
    metrics: Arc<MetricsRegistry>,
    user_versions: UserVersions,
}

impl Tables {
    /// Opens all tables as of `read`.
    pub(crate) fn open(read: &ReadTransaction) -> Result<Self> {
        Ok(Self {
            conversations: Conversations::open(read)?,
            indexes: Indexes::open(read)?,
            messages: Messages::open(read)?,
            counters: Counters::open(read)?,
            accounts: Accounts::open(read)?,
            sequences: Sequences::open(read)?,
            change_feed: ChangeFeed::open(read)?,
            idempotency: Idempotency::open(read)?,
            staged: StagedInserts::open(read)?,
            quotas: Quotas::open(read)?,
            activity: ActivityIndex::open(read)?,
            list_counters: ListCounters::open(read)?,
            families: Families::open(read)?,
            running_inserts: Arc::default(),
            assistant_names: Arc::default(),
            metrics: Arc::default(),
            user_versions: UserVersions::default(),
        })
    }

    /// The same tables with the metrics of an earlier opening.
    pub(crate) fn counted_by(self, metrics: Arc<MetricsRegistry>) -> Self {
        Self { metrics, ..self }
    }

    pub(crate) const fn metrics(&self) -> &Arc<MetricsRegistry> {
        &self.metrics
    }

    /// The inserts of this process that are staged.
    pub(crate) const fn running_inserts(&self) -> &Arc<RunningInserts> {
        &self.running_inserts
    }

    /// The first free position of the user's millisecond `at`. Two B-tree lookups.
    pub(crate) fn free_position(&self, user: UserId, at: Timestamp) -> Result<Position> {
        let after_rows = self.conversations.free_position(user, at)?;
        Ok(after_rows.max(self.staged.free_position(user, at)?))
    }

    /// Whether the user has any conversation, or one that is being inserted. Two B-tree lookups.
    pub(crate) fn any_position(&self, user: UserId) -> Result<bool> {
        Ok(self.conversations.any(user)? || self.staged.any(user)?)
    }

    /// Appends the name of the user's assistant to `out`, and returns whether the assistant exists.
    /// One B-tree lookup if the name is not cached.
    pub(crate) fn assistant_name(
        &self,
        user: UserId,
        id: AssistantId,
        out: &mut String,
    ) -> Result<bool> {
        self.accounts.assistant_name(&self.assistant_names, user, id, out)
    }

    /// An upper bound of the number of entries or rows that an optional family has.
    pub(crate) fn estimate_of(&self, family: IndexFamily) -> Result<u64> {
        match family {
            IndexFamily::LastActivity => self.activity.table.estimate(),
            IndexFamily::AiOff => self.indexes.ai_off.estimate(),
            IndexFamily::Previews => self.conversations.rows.estimate(),
            IndexFamily::Counters => self.list_counters.table.estimate(),
        }
    }

    /// Each table, in the order of the WAL, which is part of the format.
    fn all(&self) -> impl Iterator<Item = &dyn AnyTable> {
        let conversations = self.conversations.all().into_iter().chain(self.indexes.all());
        let conversations = conversations.chain(self.messages.all()).chain(self.counters.all());
        let accounts = self.accounts.all().into_iter().chain(self.sequences.all());
        let feed = self.change_feed.all().into_iter().chain(self.idempotency.all());
        let rest = self.staged.all().into_iter().chain(self.quotas.all());
        let rest = rest.chain(self.activity.all()).chain(self.list_counters.all());
        conversations.chain(accounts).chain(feed).chain(rest)
    }

    /// [`Tables::all`] for writing.
    fn all_mut(&mut self) -> impl Iterator<Item = &mut dyn AnyTable> {
        let conversations = self.conversations.all_mut().into_iter().chain(self.indexes.all_mut());
        let conversations =
            conversations.chain(self.messages.all_mut()).chain(self.counters.all_mut());
        let accounts = self.accounts.all_mut().into_iter().chain(self.sequences.all_mut());
        let feed = self.change_feed.all_mut().into_iter().chain(self.idempotency.all_mut());
        let rest = self.staged.all_mut().into_iter().chain(self.quotas.all_mut());
        let rest = rest.chain(self.activity.all_mut()).chain(self.list_counters.all_mut());
        conversations.chain(accounts).chain(feed).chain(rest)
    }
}

/// Group commit and checkpoints: each [`AnyTable`] operation on all tables.
impl Tables {
    /// Whether the memtables are empty.
    pub(crate) fn is_flushed(&self) -> bool {
        self.all().all(AnyTable::is_flushed)
    }

    pub(crate) fn savepoint(&mut self) {
        self.all_mut().for_each(AnyTable::savepoint);
    }

    pub(crate) fn rollback_to_savepoint(&mut self) {
        self.all_mut().for_each(AnyTable::rollback_to_savepoint);
    }

    pub(crate) fn rollback(&mut self) {
        self.all_mut().for_each(AnyTable::rollback);
    }

    pub(crate) fn pending(&self) -> PendingWrites {
        self.all().fold(PendingWrites::default(), |sum, table| {
            let PendingWrites { bytes, changes, removals } = table.pending();
            PendingWrites {
                bytes: sum.bytes + bytes,
                changes: sum.changes + changes,
                removals: sum.removals + removals,
            }
        })
    }

    /// The number of changes of the group.
    pub(crate) fn group_changes(&self) -> usize {
        self.all().map(AnyTable::changes).sum()
    }

    /// The last group that changed what belongs to the user, or a later one.
    pub(crate) fn user_version(&self, user: UserId) -> u64 {
        self.user_versions.of(user)
    }

    /// Records that group `seqno`, which bypassed the memtables, may have changed what belongs to
    /// any user.
    pub(crate) fn change_all_users(&mut self, seqno: u64) {
        self.user_versions.change_all(seqno);
    }

    /// The users whose change feeds the group has changed.
    pub(crate) fn changed_users(&self) -> Vec<UserId> {
        distinct(self.change_feed.changes.changed_keys().map(|key| key.user).collect())
    }

    /// Whether the group removes access tokens.
    pub(crate) fn revokes_tokens(&self) -> bool {
        self.accounts.tokens.removes()
    }

    /// Appends the group to a WAL record: the puts of each table, then, if anything is removed, the
    /// removed keys of each table.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        self.all().for_each(|table| table.encode_puts(out));
        if self.all().any(AnyTable::removes) {
            self.all().for_each(|table| table.encode_removals(out));
        }
    }

    /// Adds a WAL record to the changes that [`Tables::end_checkpoint`] makes visible; `None` if
    /// [`Tables::encode`] did not write `bytes`.
    pub(crate) fn replay(&mut self, bytes: &[u8]) -> Option<()> {
        self.replay_without(&[], bytes)
    }

    /// [`Tables::replay`] for a record of a store without the tables of these names.
    pub(crate) fn replay_without(&mut self, lacking: &[&str], mut bytes: &[u8]) -> Option<()> {
        let has = |table: &&mut dyn AnyTable| !lacking.contains(&table.name());
        self.all_mut().filter(has).try_for_each(|table| table.replay_puts(&mut bytes))?;
        if !bytes.is_empty() {
            self.all_mut().filter(has).try_for_each(|table| table.replay_removals(&mut bytes))?;
        }
        bytes.is_empty().then_some(())
    }

    /// Ends group `seqno`.
    pub(crate) fn commit(&mut self, seqno: u64) {
        let mut users = Vec::new();
        self.of_users().for_each(|table| table.changed_users(&mut users));
        // A write of one user changes some fifteen tables, and counts once.
        self.user_versions.change(distinct(users), seqno);
        if self.accounts.assistants.changes() > 0 {
            self.assistant_names = Arc::default();
        }
        self.all_mut().for_each(AnyTable::commit);
    }

    pub(crate) fn begin_checkpoint(&mut self) {
        self.all_mut().for_each(AnyTable::begin_checkpoint);
    }

    pub(crate) fn end_checkpoint(&mut self, read: &ReadTransaction) -> Result<()> {
        self.families = Families::open(read)?;
        self.all_mut().try_for_each(|table| table.end_checkpoint(read))
    }

    /// Writes the memtables into the redb tables.
    pub(crate) fn flush(&self, write: &WriteTransaction) -> Result<()> {
        self.all().try_for_each(|table| table.flush(write))
    }
}

/// Maintenance: sizes, copies, and removal of a user.
impl Tables {
    /// Each table by name, with its approximate number of entries.
    pub(crate) fn counts(&self) -> Result<Vec<(&'static str, u64)>> {
        self.all().map(|table| Ok((table.name(), table.count()?))).collect()
    }

    /// Each table by name, with its size. Reads every page.
    pub(crate) fn extents(&self) -> Result<Vec<(&'static str, Extent)>> {
        self.all().map(|table| Ok((table.name(), table.measure()?))).collect()
    }

    /// Writes every table into another, empty database, and passes each entry with its table to
    /// `seen` before it writes the entry.
    pub(crate) fn copy(
        &self,
        write: &WriteTransaction,
        mut seen: impl FnMut(&'static str, &[u8], &[u8]) -> Result<()>,
    ) -> Result<()> {
        self.all().try_for_each(|table| {
            table.copy(write, &mut |key, value| seen(table.name(), key, value))
        })
    }

    /// The tables that contain what belongs to a user and what reads of that user depend on.
    fn of_users(&self) -> impl Iterator<Item = &dyn AnyTable> {
        let rows = self.conversations.all().into_iter().chain(self.indexes.all());
        let derived = self.messages.all().into_iter().chain(self.counters.all());
        let feed = self.change_feed.all().into_iter().chain(self.idempotency.all());
        let accounts = &self.accounts;
        let accounts: [&dyn AnyTable; 3] =
            [&accounts.users, &accounts.assistants, &accounts.assistant_numbers];
        let derived = derived.chain(self.activity.all()).chain(self.list_counters.all());
        rows.chain(derived).chain(feed).chain(self.quotas.all()).chain(accounts)
    }

    /// The tables that contain conversation data: all but accounts, sequences and quotas.
    fn conversation_data_mut(&mut self) -> impl Iterator<Item = &mut dyn AnyTable> {
        let rows = self.conversations.all_mut().into_iter().chain(self.indexes.all_mut());
        let derived = self.messages.all_mut().into_iter().chain(self.counters.all_mut());
        let feed = self.change_feed.all_mut().into_iter().chain(self.idempotency.all_mut());
        let derived = derived.chain(self.activity.all_mut()).chain(self.list_counters.all_mut());
        rows.chain(derived).chain(feed).chain(self.staged.all_mut())
    }

    /// Removes conversation data of the user, at most `limit` entries of each table, and returns
    /// how many entries it removed. If it returns 0, only the account is left: see
    /// [`Tables::remove_account`].
    pub(crate) fn remove_conversation_data(&mut self, user: UserId, limit: usize) -> Result<usize> {
        let (mut entries, mut counted_bytes) = (0, 0);
        for table in self.conversation_data_mut() {
            let removed = table.remove_of_user(user, limit)?;
            entries += removed.entries;
            if quotas::is_counted(table.name()) {
                counted_bytes += removed.bytes;
            }
        }
        if counted_bytes > 0 {
            self.quotas.free(user, counted_bytes)?;
        }
        Ok(entries)
    }

    /// Removes the user's account, assistants, sequences and quota, and returns the number of
    /// assistants.
    /// Leaves tokens and the lookup by name, whose keys do not begin with the user's number.
    pub(crate) fn remove_account(&mut self, user: UserId) -> Result<usize> {
        self.accounts.users.remove(user)?;
        self.quotas.table.remove(user)?;
        self.sequences.table.remove_of_user(user, usize::MAX)?;
        self.accounts.assistant_numbers.remove_of_user(user, usize::MAX)?;
        Ok(self.accounts.assistants.remove_of_user(user, usize::MAX)?.entries)
    }
}

/// Each of these users once.
fn distinct(mut users: Vec<UserId>) -> Vec<UserId> {
    users.sort_unstable();
    users.dedup();
    users
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::RawStore;

    /// The WAL encodes the tables in this order, so it is part of the format.
    #[test]
    fn the_order_of_the_tables_never_changes() {
        let mut tables = RawStore::new().tables();
        let names: Vec<&str> = tables.all().map(AnyTable::name).collect();
        let format_1 = [
            "conversations.v1",
            "conversation_ids.v1",
            "index_type.v1",
            "index_assistant.v1",
            "index_sender.v1",
            "index_customer.v1",
            "index_external.v1",
            "messages.v1",
            "totals.v1",
            "users.v1",
            "user_names.v1",
            "assistants.v1",
            "assistant_numbers.v1",
            "tokens.v1",
            "sequences.v1",
        ];
        let of_format = |format: u32| -> Vec<&str> {
            let lacking: Vec<&str> = schema::lacking(format).collect();
            names.iter().copied().filter(|name| !lacking.contains(name)).collect()
        };
        assert_eq!(of_format(1), format_1);
        let format_2 = [&format_1[..], &["changes.v1", "change_marks.v1", "answers.v1"]].concat();
        assert_eq!(of_format(2), format_2);
        assert_eq!(of_format(3), [&format_2[..], &["staged.v1", "quotas.v1"]].concat());
        assert_eq!(of_format(schema::FORMAT), names);
        let added: Vec<&str> =
            names.iter().copied().filter(|name| !of_format(3).contains(name)).collect();
        assert_eq!(added, ["index_ai_off.v1", "index_activity.v1", "list_counters.v1"]);
        assert!(tables.all_mut().map(|table| table.name()).eq(names));
    }

    #[test]
    fn a_table_is_conversation_data_or_part_of_accounts_sequences_and_quotas() {
        let mut tables = RawStore::new().tables();
        let data: Vec<&str> = tables.conversation_data_mut().map(|table| table.name()).collect();
        let rest_of = ["sequences.v1", "quotas.v1"];
        let accounts = [tables.accounts.all().map(AnyTable::name).to_vec(), rest_of.to_vec()];
        let rest: Vec<&str> =
            tables.all().map(AnyTable::name).filter(|name| !data.contains(name)).collect();
        assert_eq!(rest, accounts.concat());
    }

    /// Access tokens authenticate a user, user names find one, and a staged insert is not visible: no
    /// read of the user shows them.
    #[test]
    fn every_table_but_those_without_users_counts_for_their_versions() {
        let tables = RawStore::new().tables();
        let of_users: Vec<&str> = tables.of_users().map(AnyTable::name).collect();
        let rest = tables.all().map(AnyTable::name).filter(|name| !of_users.contains(name));
        assert!(rest.eq(["user_names.v1", "tokens.v1", "sequences.v1", "staged.v1"]));
    }
}
