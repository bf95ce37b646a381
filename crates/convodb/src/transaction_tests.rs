//! Damage that a write meets: it fails that write alone, and what it changed is taken back.

use redb::ReadableTable;

use crate::encoding::key::FixedKey;
use crate::error::Error;
use crate::model::channel::Channel;
use crate::model::message::{Message, Role};
use crate::model::timestamp::Timestamp;
use crate::storage::schema::{self, BytesTable};
use crate::testing::{RawStore, id, whatsapp_row};

/// Flips a bit of a table's first value.
fn damage<K: FixedKey>(store: &RawStore, definition: BytesTable<K>) {
    store.write(|write| {
        let mut table = write.open_table(definition).unwrap();
        let (key, mut value) = {
            let (key, value) = table.iter().unwrap().next().unwrap().unwrap();
            (key.value(), value.value().to_vec())
        };
        value[9] ^= 1;
        table.insert(key, value.as_slice()).unwrap();
    });
}

/// In one group: a write that meets the damage, then one that does not.
#[track_caller]
fn check(store: &RawStore, table: &str) {
    let user = store.user;
    store.transact(|transaction| {
        let message = Message::new(Role::User, "hi".to_owned(), Timestamp::MIN)?;
        let failed = transaction.append_message(user, id(1), &message);
        assert!(
            matches!(failed, Err(Error::Corrupted { table: damaged, .. }) if damaged == table),
            "{failed:?}"
        );
        transaction.roll_back();
        let mut other = whatsapp_row(4, "+2");
        other.channel = Channel::Test;
        transaction.insert(user, &other, &[])
    });
    let audit = store.audit();
    assert!(audit.faults.iter().all(|fault| fault.table == table), "{:?}", audit.faults);
    assert_eq!(audit.messages, 2, "the message was taken back");
}

#[test]
fn a_damaged_counter_fails_the_write_that_touches_it_alone() {
    let store = RawStore::with_rows();
    damage(&store, schema::TOTALS);
    check(&store, "totals.v1");
}

#[test]
fn a_damaged_row_fails_the_write_that_touches_it_alone() {
    let store = RawStore::new();
    let user = store.user;
    store.transact(|transaction| transaction.insert(user, &whatsapp_row(1, "+2"), &[]));
    damage(&store, schema::CONVERSATIONS);
    store.transact(|transaction| {
        let failed = transaction.delete(user, id(1));
        assert!(matches!(failed, Err(Error::Corrupted { table: "conversations.v1", .. })));
        transaction.roll_back();
        transaction.insert(user, &whatsapp_row(2, "+2"), &[])
    });
    assert_eq!(store.audit().conversations, 2);
}
