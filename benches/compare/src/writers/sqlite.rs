//! SQLite writer: one connection behind a mutex and one transaction per write, in WAL mode with
//! `synchronous = FULL`, so that every commit is durable.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, ensure};
use convodb_bench::row::created_at_millis;
use convodb_bench::sqlite::{self, INSERT, Locking};
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use crate::writers::{NewRow, Writer};

const CACHE_BYTES: usize = 1 << 30;
const MESSAGES: &str = "CREATE TABLE IF NOT EXISTS messages (user_id INTEGER NOT NULL, \
     position INTEGER NOT NULL, number INTEGER NOT NULL, role INTEGER NOT NULL, \
     content TEXT NOT NULL, cost_nanos INTEGER NOT NULL, created_at INTEGER NOT NULL, \
     PRIMARY KEY (user_id, position, number)) WITHOUT ROWID";

/// A store with composite indexes, open for writes.
pub(crate) struct SqliteWriter {
    connection: Mutex<Connection>,
}

impl SqliteWriter {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let connection = sqlite::open(path, CACHE_BYTES, Locking::Shared)?;
        connection.execute_batch(MESSAGES)?;
        Ok(Self { connection: Mutex::new(connection) })
    }
}

/// The first free position of a user in a millisecond.
fn free_position(connection: &Connection, user: u32, millis: u64) -> Result<u64> {
    let first = millis << 22;
    let last: Option<i64> = connection
        .prepare_cached(
            "SELECT max(position) FROM conversations \
             WHERE user_id = ?1 AND position BETWEEN ?2 AND ?3",
        )?
        .query_one(
            params![user, i64::try_from(first)?, i64::try_from(first + (1 << 22) - 1)?],
            |row| row.get(0),
        )?;
    Ok(last.map(u64::try_from).transpose()?.map_or(first, |last| last + 1))
}

impl Writer for SqliteWriter {
    fn insert(&self, rows: &[NewRow]) -> Result<()> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction()?;
        {
            let mut statement = transaction.prepare_cached(INSERT)?;
            for NewRow { user, row, .. } in rows {
                let position = free_position(&transaction, *user, row.created_at)?;
                ensure!(
                    created_at_millis(position) == row.created_at,
                    "no free position in the millisecond"
                );
                sqlite::insert(&mut statement, *user, position, row)?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn append(&self, user: u32, id: Uuid, content: &str, at: u64) -> Result<()> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction()?;
        let found: Option<i64> = transaction
            .prepare_cached(
                "UPDATE conversations SET message_count = message_count + 1, \
                 updated_at = max(updated_at, ?3) \
                 WHERE user_id = ?1 AND id = ?2 RETURNING position",
            )?
            .query_one(params![user, id.as_bytes(), i64::try_from(at)?], |row| row.get(0))
            .optional()?;
        ensure!(found.is_some(), "conversation not found");
        transaction
            .prepare_cached(
                "INSERT INTO messages VALUES (?1, ?2, 1 + ifnull((SELECT max(number) \
                 FROM messages WHERE user_id = ?1 AND position = ?2), 0), 0, ?3, 0, ?4)",
            )?
            .execute(params![user, found, content, i64::try_from(at)?])?;
        Ok(transaction.commit()?)
    }

    fn delete(&self, user: u32, ids: &[Uuid]) -> Result<()> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction()?;
        {
            let mut row = transaction.prepare_cached(
                "DELETE FROM conversations WHERE user_id = ?1 AND id = ?2 RETURNING position",
            )?;
            let mut messages = transaction
                .prepare_cached("DELETE FROM messages WHERE user_id = ?1 AND position = ?2")?;
            for id in ids {
                let position: i64 =
                    row.query_one(params![user, id.as_bytes()], |row| row.get(0))?;
                messages.execute(params![user, position])?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn reassign(&self, user: u32, ids: &[Uuid], assistant: Uuid) -> Result<()> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction()?;
        {
            let mut statement = transaction.prepare_cached(
                "UPDATE conversations SET assistant = ?3 WHERE user_id = ?1 AND id = ?2",
            )?;
            for id in ids {
                let changed =
                    statement.execute(params![user, id.as_bytes(), assistant.as_bytes()])?;
                ensure!(changed == 1, "conversation not found");
            }
        }
        Ok(transaction.commit()?)
    }
}
