//! PostgreSQL engine, over a Unix socket.
//!
//! It has the composite indexes, is loaded by `COPY` in the order of user and position, and then
//! vacuumed. Statements are prepared once; each page is one statement.

use std::path::Path;

use anyhow::{Context, Result};
use convodb::Sort;
use convodb_bench::filter::Value;
use convodb_bench::row::{Row, created_at_millis, kind_number, kind_of};
use convodb_bench::sql::{self, Key, ListStatements};
use postgres::binary_copy::BinaryCopyInWriter;
use postgres::types::{ToSql, Type};
use postgres::{Client, Statement};
use uuid::Uuid;

use crate::dataset::SortedRows;
use crate::dataset::record::decode;
use crate::engines::postgres_server::{self, Server};
use crate::engines::{Engine, positions};
use crate::list::{List, Page, PageQuery, PageStart};

const SCHEMA: &str = "CREATE TABLE conversations (user_id int4 NOT NULL, position int8 NOT NULL, \
     id uuid NOT NULL, assistant uuid NOT NULL, kind int2 NOT NULL, sender_name text, \
     sender_phone text, customer_name text, customer_phone text, external_identifier text, \
     variables text, message_count int4 NOT NULL, cost_nanos int8 NOT NULL, \
     ai_enabled bool NOT NULL, updated_at int8 NOT NULL)";

/// A running PostgreSQL server and its prepared lists.
pub(crate) struct Postgres {
    client: Client,
    _server: Server,
    lists: Vec<Prepared>,
}

struct Prepared {
    list: ListStatements,
    first: Statement,
    after: Statement,
    before: Statement,
    offset: Statement,
    count: Statement,
}

/// Loads the dataset into a new cluster.
pub(crate) fn load(path: &Path, sorted: &SortedRows) -> Result<()> {
    postgres_server::create_cluster(path)?;
    let server = Server::start(path)?;
    let mut client = server.connect()?;
    let mut transaction = client.transaction()?;
    transaction.batch_execute(SCHEMA)?;
    let types = [
        Type::INT4,
        Type::INT8,
        Type::UUID,
        Type::UUID,
        Type::INT2,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::INT4,
        Type::INT8,
        Type::BOOL,
        Type::INT8,
    ];
    let sink = transaction.copy_in("COPY conversations FROM STDIN WITH (FORMAT binary)")?;
    let mut writer = BinaryCopyInWriter::new(sink, &types);
    for (user, position, record) in sorted.records() {
        let row = decode(user, position, record)?;
        let values: [&(dyn ToSql + Sync); 15] = [
            &i32::try_from(user)?,
            &i64::try_from(position)?,
            &row.id,
            &row.assistant,
            &i16::from(kind_number(row.kind)),
            &row.sender_name,
            &row.sender_phone,
            &row.customer_name,
            &row.customer_phone,
            &row.external_identifier,
            &row.variables,
            &i32::try_from(row.message_count)?,
            &row.cost_nanos,
            &row.ai_enabled,
            &i64::try_from(row.updated_at)?,
        ];
        writer.write(&values)?;
    }
    writer.finish()?;
    transaction.commit()?;
    client.batch_execute("ALTER TABLE conversations ADD PRIMARY KEY (user_id, position)")?;
    client.batch_execute("CREATE UNIQUE INDEX by_id ON conversations (user_id, id)")?;
    for index in sql::composite_indexes() {
        client.batch_execute(&index)?;
    }
    client.batch_execute("VACUUM (FREEZE, ANALYZE) conversations")?;
    client.batch_execute("CHECKPOINT")?;
    Ok(())
}

impl Postgres {
    /// Starts the server of the cluster at `path` and connects.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let server = Server::start(path)?;
        Ok(Self { client: server.connect()?, _server: server, lists: Vec::new() })
    }

    /// The server's version, and the size of the table with its indexes in bytes.
    pub(crate) fn version_and_bytes(&mut self) -> Result<(String, u64)> {
        let statement = "SELECT current_setting('server_version'), \
             pg_total_relation_size('conversations')";
        let row = self.client.query_one(statement, &[])?;
        let bytes: i64 = row.try_get(1)?;
        Ok((row.try_get(0)?, u64::try_from(bytes)?))
    }
}

impl Engine for Postgres {
    fn prepare(&mut self, lists: &[List]) -> Result<()> {
        self.lists.clear();
        for list in lists {
            let list = ListStatements::new(&list.filter.without_implied_kind(), list.sort);
            let statements = &list.statements;
            self.lists.push(Prepared {
                first: self.client.prepare(&statements.first)?,
                after: self.client.prepare(&statements.after)?,
                before: self.client.prepare(&statements.before)?,
                offset: self.client.prepare(&statements.offset)?,
                count: self.client.prepare(&statements.count)?,
                list,
            });
        }
        Ok(())
    }

    fn count(&mut self, list: &List, created: Option<(u64, u64)>) -> Result<u64> {
        let prepared = self.lists.get(list.number).context("list not prepared")?;
        let user = i32::try_from(list.user)?;
        let range = positions(created);
        let (start, end) = (i64::try_from(range.start)?, i64::try_from(range.end)?);
        let matched: Vec<Parameter<'_>> = prepared.list.values().filter_map(parameter).collect();
        let mut values: Vec<&(dyn ToSql + Sync)> = vec![&user];
        values.extend(matched.iter().map(Parameter::value));
        values.extend([&start as &(dyn ToSql + Sync), &end]);
        let count: i64 = self.client.query_one(&prepared.count, &values)?.try_get(0)?;
        Ok(u64::try_from(count)?)
    }

    fn page(&mut self, query: &PageQuery<'_>) -> Result<Page> {
        let prepared = self.lists.get(query.list.number).context("list not prepared")?;
        let user = i32::try_from(query.list.user)?;
        let limit = i64::try_from(query.page_size + 1)?;
        let (statement, key, offset) = match query.start {
            PageStart::First => (&prepared.first, Key::MIN, 0),
            PageStart::After(key) => (&prepared.after, key, 0),
            PageStart::Before(key) => (&prepared.before, key, 0),
            PageStart::Offset { rows, .. } => (&prepared.offset, Key::MIN, rows),
        };
        let (time, position) = (i64::try_from(key.updated_at)?, i64::try_from(key.position)?);
        let offset = i64::try_from(offset)?;
        let matched: Vec<Parameter<'_>> = prepared.list.values().filter_map(parameter).collect();
        let mut values: Vec<&(dyn ToSql + Sync)> = Vec::with_capacity(8);
        values.push(&user);
        values.extend(matched.iter().map(Parameter::value));
        if let PageStart::After(_) | PageStart::Before(_) = query.start {
            if prepared.list.sort == Sort::LastActivity {
                values.push(&time);
            }
            values.push(&position);
        }
        values.push(&limit);
        if let PageStart::Offset { .. } = query.start {
            values.push(&offset);
        }
        let found = self.client.query(statement, &values)?;
        let more = found.len() > query.page_size;
        let rows = found.iter().take(query.page_size).map(row_of);
        let mut rows: Vec<Row> = rows.collect::<Result<_>>()?;
        if matches!(query.start, PageStart::Before(_)) {
            rows.reverse();
        }
        Ok(Page { rows, more })
    }
}

/// A value as a parameter of a statement.
enum Parameter<'a> {
    Kind(i16),
    Assistant(Uuid),
    Text(&'a str),
}

impl Parameter<'_> {
    fn value(&self) -> &(dyn ToSql + Sync) {
        match self {
            Parameter::Kind(kind) => kind,
            Parameter::Assistant(id) => id,
            Parameter::Text(text) => text,
        }
    }
}

const fn parameter(value: Value<'_>) -> Option<Parameter<'_>> {
    match value {
        Value::Kind(kind) => Some(Parameter::Kind(kind as i16)),
        Value::Assistant(id) => Some(Parameter::Assistant(id)),
        Value::Text(text) => Some(Parameter::Text(text)),
        Value::AiOff => None,
    }
}

fn row_of(row: &postgres::Row) -> Result<Row> {
    let position = u64::try_from(row.try_get::<_, i64>(0)?)?;
    Ok(Row {
        id: row.try_get(1)?,
        assistant: row.try_get(2)?,
        kind: kind_of(u8::try_from(row.try_get::<_, i16>(3)?)?)?,
        sender_name: row.try_get(4)?,
        sender_phone: row.try_get(5)?,
        customer_name: row.try_get(6)?,
        customer_phone: row.try_get(7)?,
        external_identifier: row.try_get(8)?,
        variables: row.try_get(9)?,
        message_count: u32::try_from(row.try_get::<_, i32>(10)?)?,
        cost_nanos: row.try_get(11)?,
        ai_enabled: row.try_get(12)?,
        created_at: created_at_millis(position),
        updated_at: u64::try_from(row.try_get::<_, i64>(13)?)?,
    })
}
