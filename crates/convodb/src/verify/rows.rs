//! Verification of rows, and in step with them of messages and counters.
//!
//! Each row decodes, is found by a lookup, and has its user, its assistant, its messages, their
//! preview and its share of the counters; each message and counter has its rows. Rows also determine which ids and
//! index entries must exist ([`SetHash`]). Memory: the counters and assistants of one user.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::ops::RangeInclusive;

use crate::encoding::counter::Counter;
use crate::encoding::key::{FixedKey, MessageKey, RowKey};
use crate::encoding::record;
use crate::error::Result;
use crate::kv::audit::AuditedEntry;
use crate::model::conversation::ConversationRef;
use crate::model::cost::Cost;
use crate::model::id::{AssistantId, UserId};
use crate::model::index_family::IndexFamily;
use crate::model::message::Message;
use crate::model::preview::{Excerpt, Preview};
use crate::tables::Tables;
use crate::tables::conversations::{KeptPreview, StoredRow};
use crate::tables::counters::CounterPlace;
use crate::tables::families::FamilyState;
use crate::tables::quotas::CountedUsage;
use crate::tables::schema::{Bytes, CONVERSATIONS, COUNTERS, MESSAGES};
use crate::tables::{counters, messages};
use crate::verify::list_counters::CountedLists;
use crate::verify::report::{Ticker, VerifyReport};
use crate::verify::set_hash::SetHash;
use crate::verify::user_ranges::keys_of;

type MessageEntry<'a> = AuditedEntry<'a, MessageKey, Bytes>;
type MessageEntries<'a> = Box<dyn Iterator<Item = Result<MessageEntry<'a>>> + 'a>;

/// The verification of the rows of some users.
struct Verifier<'a, 'f> {
    tables: &'a Tables,
    report: &'a mut VerifyReport,
    set_hash: &'a mut SetHash<'f>,
    usage: &'a mut CountedUsage,
    /// The messages of rows after those that were checked.
    messages: Peekable<MessageEntries<'a>>,
    /// The last message that was checked.
    last_message: Option<MessageKey>,
    /// The current user, once there is a row.
    user: Option<UserId>,
    /// Whether assistants of the current user exist.
    assistants: BTreeMap<AssistantId, bool>,
    /// The counters of all rows of the current user so far.
    counted: BTreeMap<CounterPlace, Counter>,
    lists: CountedLists,
    /// The users whose counters are not checked yet.
    unchecked: RangeInclusive<UserId>,
}

/// The messages of a row.
#[derive(Default)]
struct FoundMessages {
    /// The number of the last one; 0 without any.
    last_number: u32,
    /// The beginning of the first one, if it decodes.
    first: Option<Excerpt>,
    /// The last one, if it decodes.
    last: Option<Message>,
}

/// Verifies rows, messages and counters of some users.
pub(super) fn verify(
    tables: &Tables,
    users: &RangeInclusive<UserId>,
    report: &mut VerifyReport,
    set_hash: &mut SetHash<'_>,
    usage: &mut CountedUsage,
    ticker: &mut Ticker<'_>,
) -> Result<()> {
    let messages: MessageEntries<'_> = tables.messages.table.audit_range(keys_of(users))?;
    let mut verifier = Verifier {
        tables,
        report,
        set_hash,
        usage,
        messages: messages.peekable(),
        last_message: None,
        user: None,
        assistants: BTreeMap::new(),
        counted: BTreeMap::new(),
        lists: CountedLists::default(),
        unchecked: users.clone(),
    };
    for entry in tables.conversations.rows.audit_range(keys_of(users))? {
        ticker.tick();
        verifier.check_row(&entry?, ticker)?;
    }
    verifier.check_messages_before(None, ticker)?;
    verifier.check_counters_through(*users.end(), ticker)?;
    ticker.flush();
    Ok(())
}

impl<'a> Verifier<'a, '_> {
    fn check_row(
        &mut self,
        entry: &AuditedEntry<'_, RowKey, Bytes>,
        ticker: &mut Ticker<'_>,
    ) -> Result<()> {
        let (key, record) = (entry.key, entry.value.value());
        self.report.conversations += 1;
        self.usage.add_conversation(key.user, record::own(record).len());
        if self.user != Some(key.user) {
            self.begin_user(key.user, ticker)?;
        }
        if entry.needs_lookup && self.tables.conversations.rows.get(key)?.is_none() {
            self.row_finding("a row is not found by its key", key.user);
        }
        self.check_messages_before(Some(key), ticker)?;
        let messages = self.check_messages_of(key, ticker)?;
        match StoredRow::decode(key, record) {
            Ok(row) => {
                self.check_preview(&row, &messages);
                self.check_decoded(&row, messages.last_number)?;
            }
            Err(_) => self.row_finding("a record is damaged", key.user),
        }
        Ok(())
    }

    fn begin_user(&mut self, user: UserId, ticker: &mut Ticker<'_>) -> Result<()> {
        if let Some(before) = self.user.replace(user) {
            self.check_counters_through(before, ticker)?;
        }
        self.assistants.clear();
        self.lists.begin_user(self.tables, user)?;
        if !self.tables.accounts.has_user(user)? {
            self.row_finding("a row's user does not exist", user);
        }
        Ok(())
    }

    /// The assistant exists; the messages are counted and as many as were stored.
    fn check_decoded(&mut self, stored: &StoredRow<'_>, last_message: u32) -> Result<()> {
        let (key, row) = (stored.key(), &stored.conversation());
        let user = key.user;
        let exists = match self.assistants.get(&row.assistant) {
            Some(exists) => *exists,
            None => {
                let exists = self.tables.accounts.has_assistant(user, row.assistant)?;
                self.assistants.insert(row.assistant, exists);
                exists
            }
        };
        if !exists {
            self.row_finding("a row's assistant does not exist", user);
        }
        if last_message > row.message_count {
            self.row_finding("a row counts too few messages", user);
        } else if !stored.stored_messages().allows(last_message) {
            let what = "a row has not as many messages as were stored";
            self.report.add_finding(MESSAGES.name, what, user);
        }
        let fingerprints = self.set_hash.expect(key, row);
        self.lists.add(self.tables, key, row, &fingerprints);
        for counted in counters::places(key, row) {
            let counter = self.counted.entry(counted).or_default();
            if counter.add(&Counter::of(row)).is_none() {
                self.report.add_finding(COUNTERS.name, "a sum leaves its range", user);
            }
        }
        self.check_values(row, user);
        Ok(())
    }

    /// Warns of values of a row that an update refuses.
    fn check_values(&mut self, row: &ConversationRef<'_>, user: UserId) {
        if row.updated_at < row.created_at {
            let what = "updated_at is before created_at";
            self.report.add_warning(CONVERSATIONS.name, what, user);
        }
        if row.total_cost < Cost::ZERO {
            self.report.add_warning(CONVERSATIONS.name, "total_cost is negative", user);
        }
    }

    /// Checks the messages before those of `row`, or all that are left: they have no row, or one that
    /// is still to be inserted.
    fn check_messages_before(
        &mut self,
        row: Option<RowKey>,
        ticker: &mut Ticker<'_>,
    ) -> Result<()> {
        let mut orphaned = None;
        while let Some(message) = self.next_message(|key| row.is_none_or(|row| key.row() < row)) {
            let message = message?;
            let key = message.key;
            let is_first = orphaned.replace(key.row()) != Some(key.row());
            if is_first && self.tables.staged.table.get(key.row())?.is_none() {
                self.report.add_finding(MESSAGES.name, "a message has no row", key.user);
            }
            self.check_message(&message, ticker)?;
        }
        Ok(())
    }

    /// Checks the messages of a row.
    fn check_messages_of(&mut self, row: RowKey, ticker: &mut Ticker<'_>) -> Result<FoundMessages> {
        let mut found = FoundMessages::default();
        while let Some(message) = self.next_message(|key| key.row() == row) {
            let entry = message?;
            let key = entry.key;
            let message = self.check_message(&entry, ticker)?;
            if found.last_number == 0 {
                found.first = message.as_ref().map(|message| Excerpt::of(message).owned());
            }
            (found.last_number, found.last) = (key.number, message);
        }
        Ok(found)
    }

    /// The preview that a row keeps is that of its messages, and it keeps one if it must.
    fn check_preview(&mut self, row: &StoredRow<'_>, messages: &FoundMessages) {
        let (key, families) = (row.key(), &self.tables.families);
        let finding = match row.preview() {
            Err(_) => Some("a record is damaged"),
            Ok(KeptPreview::Unknown) => {
                let is_missing = families.must_have(IndexFamily::Previews, key);
                is_missing.then_some("a row's preview is missing")
            }
            Ok(KeptPreview::Known(_))
                if row.keeps_preview()
                    && families.get(IndexFamily::Previews) == FamilyState::Absent =>
            {
                Some("a row keeps a preview, which the store does not")
            }
            Ok(KeptPreview::Known(preview)) => {
                let is_right = match (&messages.first, &messages.last) {
                    (Some(first), Some(last)) => {
                        let own = Preview { first: first.borrowed(), last: Excerpt::of(last) };
                        preview.is_some_and(|preview| preview == own)
                    }
                    // Damaged messages are findings of their own.
                    _ => preview.is_none() || messages.last_number > 0,
                };
                (!is_right).then_some("a row's preview differs from its messages")
            }
        };
        if let Some(what) = finding {
            self.row_finding(what, key.user);
        }
    }

    /// The next message if it passes, or the error of reading it.
    fn next_message(
        &mut self,
        passes: impl Fn(MessageKey) -> bool,
    ) -> Option<Result<MessageEntry<'a>>> {
        self.messages.next_if(|message| message.as_ref().map_or(true, |entry| passes(entry.key)))
    }

    /// A message decodes and is found by a lookup, and is the next of its row. Returns it if it
    /// decodes.
    fn check_message(
        &mut self,
        entry: &MessageEntry<'_>,
        ticker: &mut Ticker<'_>,
    ) -> Result<Option<Message>> {
        let (key, record) = (entry.key, entry.value.value());
        ticker.tick();
        self.report.messages += 1;
        self.usage.add(key.user, MessageKey::WIDTH, record.len());
        let mut finding = |what| self.report.add_finding(MESSAGES.name, what, key.user);
        let message = messages::decode(key, record).ok();
        if message.is_none() {
            finding("a record is damaged");
        }
        if entry.needs_lookup && self.tables.messages.table.get(key)?.is_none() {
            finding("a message is not found by its key");
        }
        let before = self.last_message.replace(key).filter(|before| before.row() == key.row());
        if key.number != before.map_or(1, |before| before.number.wrapping_add(1)) {
            finding("a message is missing");
        }
        Ok(message)
    }

    /// The stored counters of the unchecked users up to `last` equal those counted from their rows.
    fn check_counters_through(&mut self, last: UserId, ticker: &mut Ticker<'_>) -> Result<()> {
        let users = *self.unchecked.start()..=last;
        self.unchecked = UserId::new(last.get().saturating_add(1))..=*self.unchecked.end();
        for entry in self.tables.counters.table.audit_range(keys_of(&users))? {
            let AuditedEntry { key, value: record, needs_lookup } = entry?;
            let mut finding = |what| self.report.add_finding(COUNTERS.name, what, key.user);
            let mut counters = 0;
            match counters::open(&key, record.value()) {
                Err(_) => finding("a record is damaged"),
                Ok(body) => {
                    for counter in body.cells() {
                        counters += 1;
                        let Ok((cell, stored)) = counter else {
                            finding("a record is damaged");
                            break;
                        };
                        match self.counted.remove(&(key, cell)) {
                            None => finding("a counter has no rows"),
                            Some(counted) if stored != counted => finding("a counter is wrong"),
                            Some(_) => {}
                        }
                    }
                }
            }
            if needs_lookup && self.tables.counters.table.get(key)?.is_none() {
                finding("a counter is not found by its key");
            }
            self.report.counters += counters;
        }
        for (key, _) in std::mem::take(&mut self.counted).into_keys() {
            self.report.add_finding(COUNTERS.name, "a counter is missing", key.user);
        }
        self.lists.check(self.tables, &users, self.report, ticker)
    }

    fn row_finding(&mut self, what: &'static str, user: UserId) {
        self.report.add_finding(CONVERSATIONS.name, what, user);
    }
}
