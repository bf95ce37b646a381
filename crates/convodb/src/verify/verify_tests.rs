//! Tests of verification: each kind of inconsistency, planted directly in the tables, is found.

use redb::{ReadableTable, Table, WriteTransaction};
use uuid::Uuid;

use crate::encoding::counter::{Cell, Counter};
use crate::encoding::index_term::{Field, Shape, Term};
use crate::encoding::key::{
    ActivityKey, CounterKey, DigestKey, FixedKey, IndexKey, ListCounterKey, RowKey, UuidKey,
};
use crate::encoding::list_counter::{Change, ListCounterBody, MonthCell, append_counters};
use crate::encoding::preview;
use crate::encoding::record::{self, AccountV1, QuotaV1, decode_small, encode_small};
use crate::encoding::row::encode_conversation;
use crate::encoding::time_bucket::Granularity;
use crate::kv::redb_key::RedbKey;
use crate::kv::table_spec::TableSpec;
use crate::model::channel::ChannelKind;
use crate::model::conversation::Conversation;
use crate::model::cost::Cost;
use crate::model::id::UserId;
use crate::model::index_family::IndexFamily;
use crate::model::message::{Message, Role};
use crate::model::position::SortKey;
use crate::model::preview::PreviewRef;
use crate::model::timestamp::Timestamp;
use crate::tables::activity_index::Activity;
use crate::tables::families::{self, FamilyState};
use crate::tables::schema::{self, Bytes};
use crate::tables::{conversations, counters};
use crate::testing::{RawStore, id};
use crate::verify::report::Finding;

/// Plants an inconsistency in a clean store and checks that verification finds it.
#[track_caller]
fn check(plant: impl FnOnce(&WriteTransaction), table: &str, what: &str) {
    let store = RawStore::with_rows();
    let clean = store.verify();
    assert!(clean.is_clean(), "{:?}", clean.findings);
    assert_eq!((clean.conversations, clean.messages, clean.entries), (3, 2, 49));
    store.write(plant);
    let report = store.verify();
    let found =
        report.findings.iter().any(|finding| finding.table == table && finding.what == what);
    assert!(found, "{:?}", report.findings);
    assert_eq!(report.finding_count, report.findings.len() as u64);
}

/// The keys and values of a table.
fn all<K: FixedKey>(table: &Table<'_, RedbKey<K>, &'static [u8]>) -> Vec<(K, Vec<u8>)> {
    let entries = table.iter().unwrap().map(Result::unwrap);
    entries.map(|(key, value)| (key.value(), value.value().to_vec())).collect()
}

/// Flips a bit in the middle of a table's last value.
fn damage<K: FixedKey>(spec: TableSpec<K, Bytes>) -> impl FnOnce(&WriteTransaction) {
    move |write| {
        let mut table = spec.open_for_write(write).unwrap();
        let (key, mut value) = all(&table).pop().unwrap();
        let middle = value.len() / 2;
        value[middle] ^= 1;
        table.insert(key, value.as_slice()).unwrap();
    }
}

/// Removes a table's first row.
fn lose<K: FixedKey>(spec: TableSpec<K, Bytes>) -> impl FnOnce(&WriteTransaction) {
    move |write| {
        let mut table = spec.open_for_write(write).unwrap();
        let (key, _) = all(&table).remove(0);
        table.remove(key).unwrap();
    }
}

#[test]
fn damaged_records_are_found() {
    let what = "a record is damaged";
    check(damage(schema::CONVERSATIONS), "conversations.v1", what);
    check(damage(schema::MESSAGES), "messages.v1", what);
    check(damage(schema::COUNTERS), "totals.v1", what);
    check(damage(schema::QUOTAS), "quotas.v1", "a record's checksum does not match");
    let checksum = "a record's checksum does not match";
    check(damage(schema::USERS), "users.v1", checksum);
    check(damage(schema::ASSISTANTS), "assistants.v1", checksum);
    check(plant_token(b"not a valid record"), "tokens.v1", checksum);
    check(plant_token(b"short"), "tokens.v1", "a record is too short");
}

fn plant_token(record: &'static [u8]) -> impl FnOnce(&WriteTransaction) {
    move |write| {
        let mut tokens = schema::TOKENS.open_for_write(write).unwrap();
        tokens.insert(DigestKey([1; 32]), record).unwrap();
    }
}

#[test]
fn wrong_usage_is_found() {
    let put = |user: u32, conversations: u64| {
        move |write: &WriteTransaction| {
            let mut quotas = schema::QUOTAS.open_for_write(write).unwrap();
            let user = UserId::new(user);
            let record = quotas.get(user).unwrap().map(|record| record.value().to_vec());
            let stored = record.map(|record| decode_small(&user, &record).unwrap());
            let quota = QuotaV1 { conversations, ..stored.unwrap_or_default() };
            quotas.insert(user, encode_small(&user, quota).as_slice()).unwrap();
        }
    };
    check(put(1, 4), "quotas.v1", "a user's usage is wrong");
    check(put(99, 1), "quotas.v1", "a quota's user does not exist");
    check(lose(schema::QUOTAS), "quotas.v1", "a user's usage is missing");
    check(lose(schema::MESSAGES), "quotas.v1", "a user's usage is wrong");
}

#[test]
fn wrong_lookups_are_found() {
    let wrong_position = |write: &WriteTransaction| {
        let mut ids = schema::CONVERSATION_IDS.open_for_write(write).unwrap();
        let stored = all(&ids);
        ids.insert(stored[0].0, stored[1].1.as_slice()).unwrap();
    };
    check(wrong_position, "conversation_ids.v1", "a row's id does not lead to it");
    check(wrong_position, "conversation_ids.v1", "an id leads to no row with this id");
    let cut_short = |write: &WriteTransaction| {
        let mut ids = schema::CONVERSATION_IDS.open_for_write(write).unwrap();
        let (key, _) = all(&ids).remove(0);
        ids.insert(key, b"7 bytes".as_slice()).unwrap();
    };
    check(cut_short, "conversation_ids.v1", "a position is not 8 bytes");
    let orphan = |write: &WriteTransaction| {
        let key = DigestKey([1; 32]);
        let account = AccountV1 { name: "", number: 99, created_at: 0 };
        let mut tokens = schema::TOKENS.open_for_write(write).unwrap();
        tokens.insert(key, encode_small(&key, account).as_slice()).unwrap();
    };
    check(orphan, "tokens.v1", "a token's user does not exist");
    let repeat_number = |write: &WriteTransaction| {
        let mut sequences = schema::SEQUENCES.open_for_write(write).unwrap();
        let (key, _) = all(&sequences).remove(0);
        sequences.insert(key, 0_u64.to_be_bytes().as_slice()).unwrap();
    };
    check(repeat_number, "sequences.v1", "a user's number would be assigned again");
}

#[test]
fn rows_that_count_too_few_messages_are_found() {
    let miscount = |write: &WriteTransaction| {
        let mut rows = schema::CONVERSATIONS.open_for_write(write).unwrap();
        let (key, record) = all(&rows).pop().unwrap();
        let mut row = conversations::decode(key, &record).unwrap().owned();
        row.message_count = 1;
        let mut record = Vec::new();
        encode_conversation(key, &row.borrowed(), 1, &mut record);
        rows.insert(key, record.as_slice()).unwrap();
    };
    check(miscount, "conversations.v1", "a row counts too few messages");
}

#[test]
fn rows_with_fewer_messages_than_were_stored_are_found() {
    let lose_last = |write: &WriteTransaction| {
        let mut messages = schema::MESSAGES.open_for_write(write).unwrap();
        let (key, _) = all(&messages).pop().unwrap();
        messages.remove(key).unwrap();
    };
    check(lose_last, "messages.v1", "a row has not as many messages as were stored");
    let lose_all = |write: &WriteTransaction| {
        let mut messages = schema::MESSAGES.open_for_write(write).unwrap();
        for (key, _) in all(&messages) {
            messages.remove(key).unwrap();
        }
    };
    check(lose_all, "messages.v1", "a row has not as many messages as were stored");
}

#[test]
fn swapped_records_are_found() {
    let swap = |write: &WriteTransaction| {
        let mut rows = schema::CONVERSATIONS.open_for_write(write).unwrap();
        let stored = all(&rows);
        rows.insert(stored[0].0, stored[1].1.as_slice()).unwrap();
        rows.insert(stored[1].0, stored[0].1.as_slice()).unwrap();
    };
    check(swap, "conversations.v1", "a record is damaged");
}

#[test]
fn missing_entries_of_every_index_are_found() {
    for leading in [Field::Kind, Field::Assistant, Field::Sender, Field::Customer, Field::AiOff] {
        let lose_entry = move |write: &WriteTransaction| {
            let mut index = schema::index(leading).open_for_write(write).unwrap();
            let key = index.iter().unwrap().next().unwrap().unwrap().0.value();
            index.remove(key).unwrap();
        };
        check(lose_entry, schema::index(leading).name, "a row's entry is missing");
    }
}

#[test]
fn entries_without_a_matching_row_are_found() {
    let copy_of_an_entry = |change: fn(IndexKey) -> IndexKey| {
        move |write: &WriteTransaction| {
            let mut index = schema::index(Field::Customer).open_for_write(write).unwrap();
            let key = index.iter().unwrap().next().unwrap().unwrap().0.value();
            index.insert(change(key), ()).unwrap();
        }
    };
    let to_no_row = |key: IndexKey| IndexKey { position: key.position.next(), ..key };
    check(copy_of_an_entry(to_no_row), "index_customer.v1", "an entry leads to no row");
    let of_another_term =
        |key: IndexKey| IndexKey { term: Term::from_bits(key.term.bits() ^ 1), ..key };
    let what = "an entry does not match its row";
    check(copy_of_an_entry(of_another_term), "index_customer.v1", what);
}

#[test]
fn wrong_entries_of_the_index_by_last_activity_are_found() {
    let change = |change: fn(ActivityKey) -> Option<ActivityKey>| {
        move |write: &WriteTransaction| {
            let mut index = schema::INDEX_ACTIVITY.open_for_write(write).unwrap();
            let key = index.iter().unwrap().next().unwrap().unwrap().0.value();
            index.remove(key).unwrap();
            if let Some(other) = change(key) {
                index.insert(other, ()).unwrap();
            }
        }
    };
    let table = "index_activity.v1";
    check(change(|_| None), table, "a row's entry is missing");
    let of_no_row = |key: ActivityKey| Some(ActivityKey { at: key.at.next(), ..key });
    check(change(of_no_row), table, "an entry leads to no row");
    let of_another_time = |key: ActivityKey| {
        let at = SortKey::of_activity(key.at.activity() + 1, key.at.position());
        Some(ActivityKey { at, ..key })
    };
    check(change(of_another_time), table, "an entry does not match its row");
}

#[test]
fn wrong_previews_are_found() {
    let change = |change: fn(RowKey, Vec<u8>) -> Vec<u8>| {
        move |write: &WriteTransaction| {
            let mut rows = schema::CONVERSATIONS.open_for_write(write).unwrap();
            let (key, record) = all(&rows).pop().unwrap();
            rows.insert(key, change(key, record).as_slice()).unwrap();
        }
    };
    let table = "conversations.v1";
    let without = |key: RowKey, record: Vec<u8>| record::without_appendix(&key, &record);
    check(change(without), table, "a row's preview is missing");
    let of_no_messages = |key: RowKey, record: Vec<u8>| {
        let mut record = record::without_appendix(&key, &record);
        preview::append(key, None, &mut record);
        record
    };
    let differs = "a row's preview differs from its messages";
    check(change(of_no_messages), table, differs);
    let of_another = |key: RowKey, record: Vec<u8>| {
        let mut record = record::without_appendix(&key, &record);
        let one = Message::new(Role::User, "ho", Timestamp::MIN).unwrap();
        preview::append(key, PreviewRef::of(&[one]).as_ref(), &mut record);
        record
    };
    check(change(of_another), table, differs);
    let damaged = |_: RowKey, mut record: Vec<u8>| {
        let last_text = record.len() - 11;
        record[last_text] ^= 1;
        record
    };
    check(change(damaged), table, "a record is damaged");
    let not_kept = |write: &WriteTransaction| {
        families::put(write, IndexFamily::Previews, FamilyState::Absent).unwrap();
    };
    check(not_kept, table, "a row keeps a preview, which the store does not");
}

#[test]
fn missing_rows_ids_messages_and_accounts_are_found() {
    check(lose(schema::CONVERSATION_IDS), "conversation_ids.v1", "a row's id does not lead to it");
    check(lose(schema::CONVERSATIONS), "conversation_ids.v1", "an id leads to no row with this id");
    check(lose(schema::CONVERSATIONS), "index_sender.v1", "an entry leads to no row");
    check(lose(schema::MESSAGES), "messages.v1", "a message is missing");
    check(lose(schema::ASSISTANTS), "conversations.v1", "a row's assistant does not exist");
    let what = "an assistant's number does not lead to it";
    check(lose(schema::ASSISTANT_NUMBERS), "assistant_numbers.v1", what);
    let what = "a number leads to no assistant with this number";
    check(lose(schema::ASSISTANTS), "assistant_numbers.v1", what);
    let what = "a user's name does not lead to the user";
    check(lose(schema::USER_NAMES), "user_names.v1", what);
    check(lose(schema::USERS), "user_names.v1", "a name leads to no user with this name");
    check(lose(schema::USERS), "conversations.v1", "a row's user does not exist");
    check(lose(schema::USERS), "assistants.v1", "an assistant's user does not exist");
    let lose_last_row = |write: &WriteTransaction| {
        let mut rows = schema::CONVERSATIONS.open_for_write(write).unwrap();
        let (key, _) = all(&rows).pop().unwrap();
        rows.remove(key).unwrap();
    };
    check(lose_last_row, "messages.v1", "a message has no row");
}

#[test]
fn missing_and_damaged_changes_are_found() {
    check(damage(schema::CHANGES), "changes.v1", "a record's checksum does not match");
    check(lose(schema::CHANGES), "changes.v1", "a change is missing");
    let lose_last = |write: &WriteTransaction| {
        let mut changes = schema::CHANGES.open_for_write(write).unwrap();
        let (key, _) = all(&changes).pop().unwrap();
        changes.remove(key).unwrap();
    };
    check(lose_last, "changes.v1", "the last change is not the last that was appended");
    let lose_all = |write: &WriteTransaction| {
        let mut changes = schema::CHANGES.open_for_write(write).unwrap();
        for (key, _) in all(&changes) {
            changes.remove(key).unwrap();
        }
    };
    check(lose_all, "changes.v1", "all changes are missing");
    let damaged_response = |write: &WriteTransaction| {
        let mut responses = schema::IDEMPOTENCY.open_for_write(write).unwrap();
        let key = UuidKey { user: UserId::new(1), uuid: Uuid::nil() };
        responses.insert(key, b"not a valid record".as_slice()).unwrap();
    };
    check(damaged_response, "answers.v1", "a record's checksum does not match");
}

#[test]
fn wrong_missing_and_extra_counters_are_found() {
    let miscount = |write: &WriteTransaction| {
        let mut counters = schema::COUNTERS.open_for_write(write).unwrap();
        let (key, record) = all(&counters).remove(0);
        let body = counters::open(&key, &record).unwrap();
        let (cell, _) = body.cells().next().unwrap().unwrap();
        let (one, mut changed) = (Counter { cost_nanos: 1, ..Counter::default() }, Vec::new());
        body.append_changed(&key, cell, &one, &mut changed).unwrap();
        counters.insert(key, changed.as_slice()).unwrap();
    };
    check(miscount, "totals.v1", "a counter is wrong");
    check(lose(schema::COUNTERS), "totals.v1", "a counter is missing");
    let extra = |write: &WriteTransaction| {
        let mut counters = schema::COUNTERS.open_for_write(write).unwrap();
        let (key, record) = all(&counters).remove(0);
        let body = counters::open(&key, &record).unwrap();
        let (one, mut changed) = (Counter { conversations: 1, ..Counter::default() }, Vec::new());
        let unused = Cell::new(6, ChannelKind::Test);
        body.append_changed(&key, unused, &one, &mut changed).unwrap();
        counters.insert(key, changed.as_slice()).unwrap();
    };
    check(extra, "totals.v1", "a counter has no rows");
    let extra_record = |write: &WriteTransaction| {
        let mut counters = schema::COUNTERS.open_for_write(write).unwrap();
        let (key, record) = all(&counters).remove(0);
        let other = CounterKey { assistant: Uuid::max(), ..key };
        let mut moved = Vec::new();
        record::rekey(&record, &key, &other, &mut moved);
        counters.insert(other, moved.as_slice()).unwrap();
    };
    check(extra_record, "totals.v1", "a counter has no rows");
    let damaged = |write: &WriteTransaction| {
        let mut counters = schema::COUNTERS.open_for_write(write).unwrap();
        let (key, _) = all(&counters).remove(0);
        let mut damaged = Vec::new();
        record::seal_version(record::V2, &key, &mut damaged, |body| body.push(0));
        counters.insert(key, damaged.as_slice()).unwrap();
    };
    check(damaged, "totals.v1", "a record is damaged");
}

/// Changes a row together with its counters, but without the checks of an update.
#[track_caller]
fn check_warning(change: impl FnOnce(&mut Conversation), what: &'static str) {
    let store = RawStore::with_rows();
    assert_eq!(store.verify().warning_count, 0);
    let mut tables = store.tables();
    let (key, old) = tables.conversations.get(store.user, id(1)).unwrap().unwrap();
    let mut new = old.clone();
    change(&mut new);
    let (old, new) = (old.borrowed(), new.borrowed());
    tables.conversations.put(key, &new, new.message_count, None, &mut Vec::new());
    tables.counters.apply(key, Some(&old), Some(&new)).unwrap();
    let fingerprints = store.fingerprinter.row(new.assistant, &new.channel, new.ai_enabled);
    let activity = |at| Some(Activity { fingerprints: &fingerprints, at });
    tables.activity.apply(key, activity(old.updated_at), activity(new.updated_at)).unwrap();
    store.write(|write| tables.flush(write).unwrap());

    let report = store.verify();
    assert!(report.is_clean(), "{:?}", report.findings);
    let finding = Finding { table: "conversations.v1", what, user: store.user };
    assert_eq!((report.warnings, report.warning_count), (vec![finding], 1));
}

#[test]
fn an_update_before_the_creation_is_a_warning() {
    let what = "updated_at is before created_at";
    check_warning(|row| row.updated_at = Timestamp::MIN, what);
}

#[test]
fn a_negative_cost_is_a_warning() {
    check_warning(|row| row.total_cost = Cost::from_nanos(-1), "total_cost is negative");
}

#[test]
fn wrong_missing_and_extra_counters_of_lists_are_found() {
    let table = "list_counters.v1";
    let miscount = |write: &WriteTransaction| {
        let mut counters = schema::LIST_COUNTERS.open_for_write(write).unwrap();
        let (key, record) = all(&counters).remove(0);
        let body = ListCounterBody::open(&key, &record).unwrap();
        let (cell, _) = body.cells().next().unwrap().unwrap();
        let mut changed = Vec::new();
        body.append_changed(&key, cell, Change::Add, &mut changed).unwrap();
        counters.insert(key, changed.as_slice()).unwrap();
    };
    check(miscount, table, "a counter is wrong");
    check(lose(schema::LIST_COUNTERS), table, "a counter is missing");
    check(damage(schema::LIST_COUNTERS), table, "a record is damaged");
    let move_to = |other: fn(ListCounterKey) -> ListCounterKey| {
        move |write: &WriteTransaction| {
            let mut counters = schema::LIST_COUNTERS.open_for_write(write).unwrap();
            let (key, record) = all(&counters).remove(0);
            let mut moved = Vec::new();
            record::rekey(&record, &key, &other(key), &mut moved);
            counters.insert(other(key), moved.as_slice()).unwrap();
        }
    };
    let of_another_month = move_to(|key| ListCounterKey { month: key.month.following(), ..key });
    check(of_another_month, table, "a counter has no rows");
    let of_another_list = move_to(|key| {
        let term = Term::from_bits(key.term.bits() ^ 1);
        ListCounterKey { term, ..key }
    });
    check(of_another_list, table, "a counter has no rows");
    let of_another_user = move_to(|key| ListCounterKey { user: UserId::new(99), ..key });
    check(of_another_user, table, "a counter has no rows");
}

/// Counters of a part of a list alone equal its rows, but the next write would not change them.
#[test]
fn counters_of_a_part_of_a_list_without_counters_are_found() {
    let store = RawStore::with_rows();
    let (key, row) = store.tables().conversations.get(store.user, id(1)).unwrap().unwrap();
    let fingerprints = store.fingerprinter.row(row.assistant, &row.channel, row.ai_enabled);
    let plant = |shape: &[Field]| {
        let (_, term) = fingerprints.term(Shape::of(shape)).unwrap();
        let day = row.created_at.day();
        let key = ListCounterKey { user: key.user, term, month: Granularity::Month.of(day) };
        let cell = MonthCell::new(day, row.channel.kind());
        let mut record = Vec::new();
        append_counters(&key, [(cell, 3)], &mut record);
        store.write(|write| {
            let mut counters = schema::LIST_COUNTERS.open_for_write(write).unwrap();
            counters.insert(key, record.as_slice()).unwrap();
        });
        store.verify()
    };
    let report = plant(&[Field::Customer, Field::Assistant]);
    let what = "a part of a list has counters, but the list has none";
    let finding = Finding { table: "list_counters.v1", what, user: store.user };
    assert_eq!((report.findings, report.finding_count), (vec![finding], 1));
    let repaired = plant(&[Field::Customer]);
    assert!(repaired.is_clean(), "{:?}", repaired.findings);
}
