//! Raw store for tests: tables without an engine, to plant what the engine would not write.

use redb::{Database, ReadTransaction, ReadableDatabase, WriteTransaction};
use uuid::Uuid;

use crate::encoding::index_term::Fingerprinter;
use crate::engine::store_file;
use crate::error::Result;
use crate::model::channel::Channel;
use crate::model::contact::Contact;
use crate::model::conversation::Conversation;
use crate::model::id::{AssistantId, ConversationId, UserId};
use crate::model::message::{Message, Role};
use crate::model::timestamp::Timestamp;
use crate::options::WriteRules;
use crate::tables::Tables;
use crate::tables::meta;
use crate::transaction::Transaction;
use crate::verify::report::VerifyReport;
use crate::verify::verify;

/// A redb database with the tables of a store, and a user.
pub(crate) struct RawStore {
    pub(crate) database: Database,
    pub(crate) fingerprinter: Fingerprinter,
    pub(crate) user: UserId,
}

pub(crate) fn assistant() -> AssistantId {
    AssistantId::new(Uuid::from_u128(9))
}

pub(crate) fn id(number: u64) -> ConversationId {
    ConversationId::new(Uuid::from_u128(u128::from(number)))
}

/// Conversation `number`, created `number` milliseconds after a fixed time, with a customer of this
/// phone.
pub(crate) fn whatsapp_row(number: u64, customer: &str) -> Conversation {
    let contact = |phone: &str| Contact { name: None, phone: Some(phone.parse().unwrap()) };
    let channel = Channel::Whatsapp { sender: contact("+1"), customer: contact(customer) };
    let at = Timestamp::from_millis(1_737_800_000_000 + number).unwrap();
    Conversation::new(id(number), assistant(), channel, at)
}

impl RawStore {
    /// A store with one user and one assistant.
    pub(crate) fn new() -> Self {
        let database = store_file::in_memory(1 << 20).unwrap();
        let secrets = meta::secrets(&database.begin_read().unwrap()).unwrap();
        let fingerprinter = Fingerprinter::new(secrets.fingerprints);
        let mut store = Self { database, fingerprinter, user: UserId::new(0) };
        let user = store.transact(|transaction| {
            let user = transaction.create_user("one", Timestamp::MIN)?.id;
            transaction.create_assistant(user, assistant(), "Bot")?;
            Ok(user)
        });
        store.user = user;
        store
    }

    /// A store with three rows. The AI of the second one is off, the last one has two messages.
    pub(crate) fn with_rows() -> Self {
        let store = Self::new();
        let user = store.user;
        store.transact(|transaction| {
            for number in 1..=3 {
                let row = Conversation { ai_enabled: number != 2, ..whatsapp_row(number, "+2") };
                transaction.insert(user, row, Vec::new())?;
            }
            for _ in 0..2 {
                let message = Message::new(Role::User, "hi".to_owned(), Timestamp::MIN)?;
                transaction.append_message(user, id(3), &message)?;
            }
            Ok(())
        });
        store
    }

    /// Runs a write and flushes it.
    pub(crate) fn transact<T>(&self, work: impl FnOnce(&mut Transaction<'_>) -> Result<T>) -> T {
        let mut tables = self.tables();
        let done = work(&mut Transaction::new(&mut tables, &self.fingerprinter, WriteRules::NONE))
            .unwrap();
        self.write(|write| tables.flush(write).unwrap());
        done
    }

    /// Runs a redb write transaction.
    pub(crate) fn write<T>(&self, work: impl FnOnce(&WriteTransaction) -> T) -> T {
        let write = self.database.begin_write().unwrap();
        let done = work(&write);
        write.commit().unwrap();
        done
    }

    pub(crate) fn read(&self) -> ReadTransaction {
        self.database.begin_read().unwrap()
    }

    pub(crate) fn tables(&self) -> Tables {
        Tables::open(&self.read()).unwrap()
    }

    /// Verifies the store, by one thread and by several: their reports must be equal.
    pub(crate) fn verify(&self) -> VerifyReport {
        let verify =
            |threads| verify(&self.tables(), &self.fingerprinter, threads, |_, _| {}).unwrap();
        let report = verify(1);
        assert_eq!(report, verify(3));
        report
    }
}
