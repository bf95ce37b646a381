//! Import of an embedded store: COPY in key order, one table after the other.
//!
//! Rows arrive in the order of their primary keys and each table is copied in one pass over the
//! users, so memory does not depend on the size of the store.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;

use convodb::seam::{Contents, History, Keys, Secrets};
use convodb::{Timestamp, User};
use tokio_postgres::Transaction;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use crate::conversation_row::ConversationRow;
use crate::copying::{CopyProgress, CopyReport, ROWS_PER_CALL};
use crate::error::{Error, Result};
use crate::rows::{change_number, role_number};
use crate::schema::FORMAT;
use crate::values::{Numeric, millis, stored_position};

/// Copies the content of a store into empty tables.
pub(crate) async fn copy(
    transaction: &Transaction<'_>,
    contents: Contents<'_>,
    history: &History,
    progress: impl FnMut(CopyProgress) + Send,
) -> Result<CopyReport> {
    let secrets = contents.secrets()?;
    let users = contents.users()?;
    let keys = Arc::new(Keys::new(secrets.clone()));
    let mut import = Import { transaction, contents, keys, users, progress };
    let report = CopyReport {
        users: import.accounts().await?,
        tokens: import.tokens().await?,
        assistants: import.assistants().await?,
        conversations: import.conversations().await?,
        messages: import.messages().await?,
        changes: import.changes().await?,
        responses: import.responses().await?,
    };
    import.heads().await?;
    import.totals().await?;
    import.time_marks().await?;
    let last_user = number(contents.last_user()?, "a user's number")?;
    put_store(transaction, &secrets, history, last_user, contents.retention()?).await?;
    Ok(report)
}

/// Puts the row of the store itself, which makes the tables a store.
pub(crate) async fn put_store(
    transaction: &Transaction<'_>,
    secrets: &Secrets,
    history: &History,
    last_user: i64,
    (retention, retention_until): (Option<Timestamp>, Option<Timestamp>),
) -> Result<()> {
    let cursor_keys: Vec<&[u8]> = secrets.cursors.iter().map(<[u8; 32]>::as_slice).collect();
    let sql = "insert into store (format, history, fingerprints, cursor_keys, last_user, \
               retention_ms, retention_until_ms) values ($1, $2, $3, $4, $5, $6, $7)";
    let fingerprints = secrets.fingerprints.as_slice();
    let (at, until) = (retention.map(millis), retention_until.map(millis));
    let values: [&(dyn ToSql + Sync); 7] =
        [&FORMAT, &history.encode(), &fingerprints, &cursor_keys, &last_user, &at, &until];
    transaction.execute(sql, &values).await?;
    Ok(())
}

struct Import<'t, 's, P> {
    transaction: &'t Transaction<'t>,
    contents: Contents<'s>,
    keys: Arc<Keys>,
    users: Vec<User>,
    progress: P,
}

impl<P: FnMut(CopyProgress) + Send> Import<'_, '_, P> {
    /// Copies rows into a table, with these columns and types.
    async fn copy<T>(
        &mut self,
        table: &'static str,
        columns: &[(&str, Type)],
        rows: impl Iterator<Item = Result<T>>,
        values: impl Fn(&T) -> Vec<&(dyn ToSql + Sync)>,
    ) -> Result<u64> {
        let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        let types: Vec<Type> = columns.iter().map(|(_, ty)| ty.clone()).collect();
        let sql = format!("copy {table} ({}) from stdin binary", names.join(", "));
        let sink = self.transaction.copy_in(&sql).await?;
        let mut writer = pin!(BinaryCopyInWriter::new(sink, &types));
        let mut copied = 0;
        for row in rows {
            writer.as_mut().write(&values(&row?)).await?;
            copied += 1;
            if copied % ROWS_PER_CALL == 0 {
                (self.progress)(CopyProgress { table, rows: copied });
            }
        }
        writer.as_mut().finish().await?;
        (self.progress)(CopyProgress { table, rows: copied });
        Ok(copied)
    }

    async fn accounts(&mut self) -> Result<u64> {
        let users = self.users.clone();
        let rows = users.iter().map(|user| {
            let (name, created) = (user.name.as_str().as_bytes(), millis(user.created_at));
            Ok((owner(user)?, name, created, user.closed))
        });
        let columns = [
            ("id", Type::INT4),
            ("name", Type::BYTEA),
            ("created_ms", Type::INT8),
            ("closed", Type::BOOL),
        ];
        self.copy("account", &columns, rows, |(id, name, created, closed)| {
            vec![id, name, created, closed]
        })
        .await
    }

    async fn tokens(&mut self) -> Result<u64> {
        let rows = self.contents.tokens()?.map(|token| {
            let stored = token?;
            let token = &stored.token;
            let owner = i32::try_from(token.user.get());
            let owner = owner.map_err(|_| Error::TooLarge("a user's number"))?;
            let name = token.name.as_ref().map(|name| name.as_str().as_bytes().to_vec());
            let (digest, prefix) = (stored.digest.to_vec(), token.prefix.clone());
            let assistant = token.assistant.map(|id| id.uuid());
            let times = [token.expires_at, token.last_used_at].map(|at| at.map(millis));
            let (scopes, created) = (i16::from(stored.scopes), millis(token.created_at));
            Ok((digest, owner, name, prefix, scopes, assistant, created, times))
        });
        let columns = [
            ("digest", Type::BYTEA),
            ("owner", Type::INT4),
            ("name", Type::BYTEA),
            ("prefix", Type::TEXT),
            ("scopes", Type::INT2),
            ("assistant", Type::UUID),
            ("created_ms", Type::INT8),
            ("expires_ms", Type::INT8),
            ("last_used_ms", Type::INT8),
        ];
        self.copy("token", &columns, rows, |row| {
            let (digest, owner, name, prefix, scopes, assistant, created, [expires, used]) = row;
            vec![digest, owner, name, prefix, scopes, assistant, created, expires, used]
        })
        .await
    }

    async fn heads(&mut self) -> Result<u64> {
        let (users, contents) = (self.users.clone(), self.contents);
        let rows = users.iter().map(|user| {
            let (feed, trimmed) = contents.feed_numbers(user.id)?;
            let assistants = assistant_number(contents.last_assistant(user.id)?)?;
            let quota = contents.quota(user.id)?;
            let limits = [quota.max_conversations, quota.max_bytes].map(|limit| {
                // No limit is the highest number of 64 bits, stored as -1.
                limit.map(u64::cast_signed)
            });
            let feed = [number(feed, "a change's number")?, number(trimmed, "a change's number")?];
            let used = [number(quota.conversations, "a quota")?, number(quota.bytes, "a quota")?];
            Ok((owner(user)?, feed, assistants, used, limits))
        });
        let columns = [
            ("owner", Type::INT4),
            ("feed", Type::INT8),
            ("trimmed", Type::INT8),
            ("assistants", Type::INT4),
            ("conversations", Type::INT8),
            ("bytes", Type::INT8),
            ("max_conversations", Type::INT8),
            ("max_bytes", Type::INT8),
        ];
        self.copy("head", &columns, rows, |(owner, [feed, trimmed], assistants, used, limits)| {
            let [conversations, bytes] = used;
            let [max_conversations, max_bytes] = limits;
            vec![
                owner,
                feed,
                trimmed,
                assistants,
                conversations,
                bytes,
                max_conversations,
                max_bytes,
            ]
        })
        .await
    }

    async fn assistants(&mut self) -> Result<u64> {
        let (users, contents) = (self.users.clone(), self.contents);
        let mut rows = Vec::new();
        for user in &users {
            for assistant in contents.assistants(user.id)? {
                let fingerprint = self.keys.assistant(assistant.id).cast_signed();
                let number = assistant_number(assistant.number)?;
                let name = assistant.name.as_str().as_bytes().to_vec();
                rows.push((owner(user)?, number, assistant.id.uuid(), fingerprint, name));
            }
        }
        let columns = [
            ("owner", Type::INT4),
            ("number", Type::INT4),
            ("id", Type::UUID),
            ("fp", Type::INT8),
            ("name", Type::BYTEA),
        ];
        let rows = rows.into_iter().map(Ok);
        self.copy("assistant", &columns, rows, |(owner, number, id, fp, name)| {
            vec![owner, number, id, fp, name]
        })
        .await
    }

    async fn conversations(&mut self) -> Result<u64> {
        let (users, contents) = (self.users.clone(), self.contents);
        let keys = self.keys.clone();
        let rows = of_each(&users, move |user| {
            let numbers = contents.assistants(user.id)?;
            let numbers = numbers.into_iter().map(|assistant| (assistant.id, assistant.number));
            let numbers: HashMap<_, _> = numbers.collect();
            let (owner, keys) = (owner(user)?, keys.clone());
            Ok(contents.conversations(user.id)?.map(move |row| {
                let row = row?;
                let number = numbers.get(&row.conversation.assistant).copied();
                let missing = convodb::Error::AssistantNotFound;
                let number = assistant_number(number.ok_or(missing)?)?;
                Ok(ConversationRow::new(owner, number, row, &keys))
            }))
        });
        self.copy("conversation", &ConversationRow::COLUMNS, rows, ConversationRow::values).await
    }

    async fn messages(&mut self) -> Result<u64> {
        let (users, contents) = (self.users.clone(), self.contents);
        let rows = of_each(&users, move |user| {
            let owner = owner(user)?;
            Ok(contents.messages(user.id)?.map(move |message| {
                let (position, number, message) = message?;
                let calls = message.function_calls().map(|calls| calls.as_bytes().to_vec());
                Ok((
                    owner,
                    (stored_position(position), i64::from(number)),
                    role_number(message.role()),
                    message.content().as_bytes().to_vec(),
                    calls,
                    (message.cost().nanos(), millis(message.created_at())),
                ))
            }))
        });
        let columns = [
            ("owner", Type::INT4),
            ("pos", Type::INT8),
            ("number", Type::INT8),
            ("role", Type::INT2),
            ("content", Type::BYTEA),
            ("calls", Type::BYTEA),
            ("cost", Type::INT8),
            ("created_ms", Type::INT8),
        ];
        self.copy("message", &columns, rows, |row| {
            let (owner, (position, number), role, content, calls, (cost, created)) = row;
            vec![owner, position, number, role, content, calls, cost, created]
        })
        .await
    }

    async fn totals(&mut self) -> Result<u64> {
        let (users, contents) = (self.users.clone(), self.contents);
        let rows = of_each(&users, move |user| {
            let owner = owner(user)?;
            Ok(contents.counters(user.id)?.map(move |counter| {
                let counter = counter?;
                let (span, kind) = (i64::from(counter.bucket), i16::from(counter.kind));
                Ok((owner, span, kind, counter, Numeric(counter.cost_nanos)))
            }))
        });
        let columns = [
            ("owner", Type::INT4),
            ("span", Type::INT8),
            ("assistant", Type::UUID),
            ("kind", Type::INT2),
            ("conversations", Type::INT8),
            ("messages", Type::INT8),
            ("cost", Type::NUMERIC),
        ];
        self.copy("total", &columns, rows, |(owner, span, kind, counter, cost)| {
            let (conversations, messages) = (&counter.conversations, &counter.messages);
            vec![owner, span, &counter.assistant, kind, conversations, messages, cost]
        })
        .await
    }

    async fn changes(&mut self) -> Result<u64> {
        let (users, contents) = (self.users.clone(), self.contents);
        let rows = of_each(&users, move |user| {
            let owner = owner(user)?;
            Ok(contents.changes(user.id)?.map(move |change| {
                let change = change?;
                let kind = change_number(change.kind);
                let left: Option<Uuid> = change.left.map(|id| id.uuid());
                let position = stored_position(change.position);
                let number = number(change.number, "a change's number")?;
                Ok((owner, number, kind, change.id.uuid(), position, left))
            }))
        });
        let columns = [
            ("owner", Type::INT4),
            ("number", Type::INT8),
            ("kind", Type::INT2),
            ("id", Type::UUID),
            ("pos", Type::INT8),
            ("left_assistant", Type::UUID),
        ];
        self.copy("change", &columns, rows, |(owner, number, kind, id, position, left)| {
            vec![owner, number, kind, id, position, left]
        })
        .await
    }

    async fn time_marks(&mut self) -> Result<u64> {
        let (users, contents) = (self.users.clone(), self.contents);
        let rows = of_each(&users, move |user| {
            let owner = owner(user)?;
            Ok(contents.time_marks(user.id)?.map(move |mark| {
                let (hour, change) = mark?;
                Ok((owner, i64::from(hour), number(change, "a change's number")?))
            }))
        });
        let columns = [("owner", Type::INT4), ("hour", Type::INT8), ("number", Type::INT8)];
        self.copy("change_mark", &columns, rows, |(owner, hour, number)| vec![owner, hour, number])
            .await
    }

    async fn responses(&mut self) -> Result<u64> {
        let (users, contents) = (self.users.clone(), self.contents);
        let rows = of_each(&users, move |user| {
            let owner = owner(user)?;
            Ok(contents.responses(user.id)?.map(move |response| {
                let response = response?;
                let request = response.request.to_vec();
                Ok((owner, response.key, request, response.response, millis(response.at)))
            }))
        });
        let columns = [
            ("owner", Type::INT4),
            ("key", Type::UUID),
            ("request", Type::BYTEA),
            ("answer", Type::BYTEA),
            ("at_ms", Type::INT8),
        ];
        self.copy("answer", &columns, rows, |(owner, key, request, answer, at)| {
            vec![owner, key, request, answer, at]
        })
        .await
    }
}

/// The rows of each user, one user after the other. After an error no row follows.
fn of_each<'u, T, I>(
    users: &'u [User],
    rows: impl FnMut(&'u User) -> Result<I> + 'u,
) -> impl Iterator<Item = Result<T>> + 'u
where
    T: 'u,
    I: Iterator<Item = Result<T>> + 'u,
{
    users.iter().map(rows).flat_map(|rows| {
        let (rows, error) = match rows {
            Ok(rows) => (Some(rows), None),
            Err(error) => (None, Some(Err(error))),
        };
        error.into_iter().chain(rows.into_iter().flatten())
    })
}

fn owner(user: &User) -> Result<i32> {
    i32::try_from(user.id.get()).map_err(|_| Error::TooLarge("a user's number"))
}

fn assistant_number(number: u32) -> Result<i32> {
    i32::try_from(number).map_err(|_| Error::TooLarge("an assistant's number"))
}

fn number(number: u64, what: &'static str) -> Result<i64> {
    i64::try_from(number).map_err(|_| Error::TooLarge(what))
}
