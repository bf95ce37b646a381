//! Each fault that the audit is for, planted past the engine and found.

use redb::{ReadableTable, Table, WriteTransaction};
use uuid::Uuid;

use crate::encoding::index_term::{Field, Term};
use crate::encoding::key::{DigestKey, FixedKey, IndexKey, UuidKey};
use crate::encoding::record::{AccountV1, CounterV1, encode_small};
use crate::encoding::row::encode_conversation;
use crate::kv::redb_key::RedbKey;
use crate::model::conversation::Conversation;
use crate::model::id::UserId;
use crate::tables::schema::{self, BytesTable};
use crate::tables::{conversations, counters};
use crate::testing::RawStore;

/// Plants a fault in a sound store and checks that the audit names its table and tells what it is.
#[track_caller]
fn check(plant: impl FnOnce(&WriteTransaction), table: &str, what: &str) {
    let store = RawStore::with_rows();
    let clean = store.verify();
    assert!(clean.is_clean(), "{:?}", clean.findings);
    assert_eq!((clean.conversations, clean.messages, clean.entries), (3, 2, 27));
    store.write(plant);
    let report = store.verify();
    let found = report.findings.iter().any(|fault| fault.table == table && fault.what == what);
    assert!(found, "{:?}", report.findings);
    assert_eq!(report.finding_count, report.findings.len() as u64);
}

/// The keys and values of a table.
fn all<K: FixedKey>(table: &Table<'_, RedbKey<K>, &'static [u8]>) -> Vec<(K, Vec<u8>)> {
    let entries = table.iter().unwrap().map(Result::unwrap);
    entries.map(|(key, value)| (key.value(), value.value().to_vec())).collect()
}

/// Flips a bit in the middle of a table's last value.
fn damage<K: FixedKey>(definition: BytesTable<K>) -> impl FnOnce(&WriteTransaction) {
    move |write| {
        let mut table = write.open_table(definition).unwrap();
        let (key, mut value) = all(&table).pop().unwrap();
        let middle = value.len() / 2;
        value[middle] ^= 1;
        table.insert(key, value.as_slice()).unwrap();
    }
}

/// Removes a table's first row.
fn lose<K: FixedKey>(definition: BytesTable<K>) -> impl FnOnce(&WriteTransaction) {
    move |write| {
        let mut table = write.open_table(definition).unwrap();
        let (key, _) = all(&table).remove(0);
        table.remove(key).unwrap();
    }
}

#[test]
fn damaged_records() {
    let what = "a record is damaged";
    check(damage(schema::CONVERSATIONS), "conversations.v1", what);
    check(damage(schema::MESSAGES), "messages.v1", what);
    check(damage(schema::COUNTERS), "totals.v1", what);
    let checksum = "a record's checksum does not match";
    check(damage(schema::USERS), "users.v1", checksum);
    check(damage(schema::ASSISTANTS), "assistants.v1", checksum);
    check(plant_token(b"a record of nothing"), "tokens.v1", checksum);
    check(plant_token(b"short"), "tokens.v1", "a record is too short");
}

fn plant_token(record: &'static [u8]) -> impl FnOnce(&WriteTransaction) {
    move |write| {
        let mut tokens = write.open_table(schema::TOKENS).unwrap();
        tokens.insert(DigestKey([1; 32]), record).unwrap();
    }
}

#[test]
fn look_ups_that_lead_astray() {
    let astray = |write: &WriteTransaction| {
        let mut ids = write.open_table(schema::CONVERSATION_IDS).unwrap();
        let stored = all(&ids);
        ids.insert(stored[0].0, stored[1].1.as_slice()).unwrap();
    };
    check(astray, "conversation_ids.v1", "a row's id does not lead to it");
    check(astray, "conversation_ids.v1", "an id leads to no row of it");
    let cut_short = |write: &WriteTransaction| {
        let mut ids = write.open_table(schema::CONVERSATION_IDS).unwrap();
        let (key, _) = all(&ids).remove(0);
        ids.insert(key, b"7 bytes".as_slice()).unwrap();
    };
    check(cut_short, "conversation_ids.v1", "a position is not 8 bytes");
    let orphan = |write: &WriteTransaction| {
        let key = DigestKey([1; 32]);
        let account = AccountV1 { name: "", number: 99, created_at: 0 };
        let mut tokens = write.open_table(schema::TOKENS).unwrap();
        tokens.insert(key, encode_small(&key, account).as_slice()).unwrap();
    };
    check(orphan, "tokens.v1", "a token's user does not exist");
    let repeat_number = |write: &WriteTransaction| {
        let mut sequences = write.open_table(schema::SEQUENCES).unwrap();
        let (key, _) = all(&sequences).remove(0);
        sequences.insert(key, 0_u64.to_be_bytes().as_slice()).unwrap();
    };
    check(repeat_number, "sequences.v1", "a user's number would be given again");
}

#[test]
fn rows_that_count_too_few_messages() {
    let miscount = |write: &WriteTransaction| {
        let mut rows = write.open_table(schema::CONVERSATIONS).unwrap();
        let (key, record) = all(&rows).pop().unwrap();
        let row = Conversation {
            message_count: 1,
            ..conversations::decode(key, &record).unwrap().owned()
        };
        let mut record = Vec::new();
        encode_conversation(key, &row.borrowed(), &mut record);
        rows.insert(key, record.as_slice()).unwrap();
    };
    check(miscount, "conversations.v1", "a row counts too few messages");
}

#[test]
fn records_that_changed_places() {
    let swap = |write: &WriteTransaction| {
        let mut rows = write.open_table(schema::CONVERSATIONS).unwrap();
        let stored = all(&rows);
        rows.insert(stored[0].0, stored[1].1.as_slice()).unwrap();
        rows.insert(stored[1].0, stored[0].1.as_slice()).unwrap();
    };
    check(swap, "conversations.v1", "a record is damaged");
}

#[test]
fn missing_entries_of_every_index_table() {
    for leading in [Field::Kind, Field::Assistant, Field::Sender, Field::Customer] {
        let lose_entry = move |write: &WriteTransaction| {
            let mut index = write.open_table(schema::index(leading)).unwrap();
            let key = index.iter().unwrap().next().unwrap().unwrap().0.value();
            index.remove(key).unwrap();
        };
        check(lose_entry, schema::INDEX_NAMES[leading as usize], "a row's entry is missing");
    }
}

#[test]
fn entries_that_no_row_has() {
    let copy_of_an_entry = |change: fn(IndexKey) -> IndexKey| {
        move |write: &WriteTransaction| {
            let mut index = write.open_table(schema::index(Field::Customer)).unwrap();
            let key = index.iter().unwrap().next().unwrap().unwrap().0.value();
            index.insert(change(key), ()).unwrap();
        }
    };
    let to_no_row = |key: IndexKey| IndexKey { position: key.position.next(), ..key };
    check(copy_of_an_entry(to_no_row), "index_customer.v1", "an entry leads to no row");
    let of_another_term =
        |key: IndexKey| IndexKey { term: Term::from_bits(key.term.bits() ^ 1), ..key };
    let what = "an entry is not one that its row has";
    check(copy_of_an_entry(of_another_term), "index_customer.v1", what);
}

#[test]
fn lost_rows_ids_and_messages() {
    check(lose(schema::CONVERSATION_IDS), "conversation_ids.v1", "a row's id does not lead to it");
    check(lose(schema::CONVERSATIONS), "conversation_ids.v1", "an id leads to no row of it");
    check(lose(schema::CONVERSATIONS), "index_sender.v1", "an entry leads to no row");
    check(lose(schema::MESSAGES), "messages.v1", "a message is missing");
    check(lose(schema::ASSISTANTS), "conversations.v1", "a row's assistant does not exist");
    let what = "an assistant's number does not lead to it";
    check(lose(schema::ASSISTANT_NUMBERS), "assistant_numbers.v1", what);
    let what = "a number leads to no assistant of it";
    check(lose(schema::ASSISTANTS), "assistant_numbers.v1", what);
    let what = "a user's name does not lead to the user";
    check(lose(schema::USER_NAMES), "user_names.v1", what);
    check(lose(schema::USERS), "user_names.v1", "a name leads to no user of it");
    check(lose(schema::USERS), "conversations.v1", "a row's user does not exist");
    check(lose(schema::USERS), "assistants.v1", "an assistant's user does not exist");
    let lose_last_row = |write: &WriteTransaction| {
        let mut rows = write.open_table(schema::CONVERSATIONS).unwrap();
        let (key, _) = all(&rows).pop().unwrap();
        rows.remove(key).unwrap();
    };
    check(lose_last_row, "messages.v1", "a message has no row");
}

#[test]
fn lost_and_damaged_changes() {
    check(damage(schema::CHANGES), "changes.v1", "a record's checksum does not match");
    check(lose(schema::CHANGES), "changes.v1", "a change is missing");
    let lose_last = |write: &WriteTransaction| {
        let mut changes = write.open_table(schema::CHANGES).unwrap();
        let (key, _) = all(&changes).pop().unwrap();
        changes.remove(key).unwrap();
    };
    check(lose_last, "changes.v1", "the last change is not the last that was noted");
    let lose_all = |write: &WriteTransaction| {
        let mut changes = write.open_table(schema::CHANGES).unwrap();
        for (key, _) in all(&changes) {
            changes.remove(key).unwrap();
        }
    };
    check(lose_all, "changes.v1", "all changes are missing");
    let damaged_answer = |write: &WriteTransaction| {
        let mut answers = write.open_table(schema::IDEMPOTENCY).unwrap();
        let key = UuidKey { user: UserId::new(1), uuid: Uuid::nil() };
        answers.insert(key, b"a record of nothing".as_slice()).unwrap();
    };
    check(damaged_answer, "answers.v1", "a record's checksum does not match");
}

#[test]
fn wrong_missing_and_extra_counters() {
    let miscount = |write: &WriteTransaction| {
        let mut counters = write.open_table(schema::COUNTERS).unwrap();
        let (key, record) = all(&counters).remove(0);
        let mut total = counters::decode(key, &record).unwrap();
        total.cost_nanos += 1;
        counters.insert(key, encode_small(&key, total).as_slice()).unwrap();
    };
    check(miscount, "totals.v1", "a counter is wrong");
    check(lose(schema::COUNTERS), "totals.v1", "a counter is missing");
    let extra = |write: &WriteTransaction| {
        let mut counters = write.open_table(schema::COUNTERS).unwrap();
        let (mut key, _) = all(&counters).remove(0);
        key.kind = 0;
        let one = CounterV1 { conversations: 1, ..CounterV1::default() };
        counters.insert(key, encode_small(&key, one).as_slice()).unwrap();
    };
    check(extra, "totals.v1", "a counter has no rows");
}
