//! SQL statements and indexes shared by SQLite and PostgreSQL.
//!
//! Pagination is by key (`position < $n`, `(updated_at, position) < ($n, $m)`). Only the statement that measures `OFFSET` skips rows.

use std::fmt::Write;

use convodb::Sort;

use crate::filter::{ACTIVITY_SHAPES, Field, ListFilter, SHAPES};

/// The columns of a page, in the order in which both engines read them.
pub const COLUMNS: &str = "position, id, assistant, kind, sender_name, sender_phone, \
     customer_name, customer_phone, external_identifier, variables, message_count, cost_nanos, \
     ai_enabled, updated_at";

/// The sort key of a row: its position, and before it, in a list by last activity, its last change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The time of the last change in milliseconds; a list by creation ignores it.
    pub updated_at: u64,
    /// The position.
    pub position: u64,
}

impl Key {
    /// The lowest key.
    pub const MIN: Key = Key { updated_at: 0, position: 0 };
    /// The highest key.
    pub const MAX: Key = Key { updated_at: u64::MAX, position: u64::MAX };

    /// The key of a row in a list that this time sorts; in a list by creation, the position alone.
    #[must_use]
    pub const fn of(sort: Sort, updated_at: u64, position: u64) -> Self {
        match sort {
            Sort::CreatedAt => Self { updated_at: 0, position },
            Sort::LastActivity => Self { updated_at, position },
        }
    }

    /// The next key.
    #[must_use]
    pub const fn next(self) -> Self {
        Self { position: self.position + 1, ..self }
    }
}

/// The statements of one list, one per kind of page start. Their parameters are, in this order: the
/// user, the values of the filter, the sort key if the page has one (in a list by last activity the
/// last change and the position, else the position), the limit, the offset if any.
#[derive(Clone, Debug)]
pub struct Statements {
    /// The first page.
    pub first: String,
    /// The page after a row.
    pub after: String,
    /// The page before a row, in reverse order.
    pub before: String,
    /// The page after a number of rows.
    pub offset: String,
}

/// Where a page starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the beginning of the list.
    First,
    /// After the row with this key.
    After(Key),
    /// Before the row with this key.
    Before(Key),
    /// After this many rows, by `OFFSET`.
    Offset(u64),
}

impl Statements {
    /// The statements for a filter on these fields, newest first by this time.
    #[must_use]
    pub fn new(fields: &[Field], sort: Sort) -> Self {
        Self {
            first: select(fields, sort, "", "DESC", ""),
            after: select(fields, sort, "<", "DESC", ""),
            before: select(fields, sort, ">", "ASC", ""),
            offset: select(fields, sort, "", "DESC", "OFFSET"),
        }
    }

    /// The statement of a page start.
    #[must_use]
    pub fn of(&self, start: Start) -> &str {
        match start {
            Start::First => &self.first,
            Start::After(_) => &self.after,
            Start::Before(_) => &self.before,
            Start::Offset(_) => &self.offset,
        }
    }
}

fn select(fields: &[Field], sort: Sort, bound: &str, order: &str, offset: &str) -> String {
    let mut sql = format!("SELECT {COLUMNS} FROM conversations WHERE user_id = $1");
    let mut number = 1;
    let mut next = || {
        number += 1;
        number
    };
    for field in fields {
        let _ = write!(sql, " AND {} = ${}", field.column(), next());
    }
    match sort {
        _ if bound.is_empty() => {}
        Sort::CreatedAt => {
            let _ = write!(sql, " AND position {bound} ${}", next());
        }
        Sort::LastActivity => {
            let (time, position) = (next(), next());
            let _ = write!(sql, " AND (updated_at, position) {bound} (${time}, ${position})");
        }
    }
    let sorted = match sort {
        Sort::CreatedAt => format!("position {order}"),
        Sort::LastActivity => format!("updated_at {order}, position {order}"),
    };
    let _ = write!(sql, " ORDER BY {sorted} LIMIT ${}", next());
    if !offset.is_empty() {
        let _ = write!(sql, " OFFSET ${}", next());
    }
    sql
}

/// The composite indexes that serve every list: one for each of convodb's shapes, with the user
/// first, then the leading field and the others, the sort key last. Indexes on texts that most rows
/// lack are partial.
#[must_use]
pub fn composite_indexes() -> Vec<String> {
    let by_creation = SHAPES.iter().map(|shape| index("by", shape, "position"));
    let by_activity =
        ACTIVITY_SHAPES.iter().map(|shape| index("active_by", shape, "updated_at, position"));
    by_creation.chain(by_activity).collect()
}

fn index(prefix: &str, shape: &[Field], sort_key: &str) -> String {
    let columns: Vec<&str> = shape.iter().rev().map(|field| field.column()).collect();
    let present: Vec<String> = shape
        .iter()
        .filter(|field| !matches!(field, Field::Kind | Field::Assistant))
        .map(|field| format!("{} IS NOT NULL", field.column()))
        .collect();
    let partial = match present.is_empty() {
        true => String::new(),
        false => format!(" WHERE {}", present.join(" AND ")),
    };
    let name = [&[prefix], &columns[..]].concat().join("_");
    let columns = [&["user_id"], &columns[..], &[sort_key]].concat().join(", ");
    format!("CREATE INDEX {name} ON conversations ({columns}){partial}")
}

/// One index per column, as in most applications.
#[must_use]
pub fn single_indexes() -> Vec<String> {
    ["user_id", "kind", "assistant", "sender_phone", "customer_phone", "external_identifier"]
        .into_iter()
        .chain(["position"])
        .map(|column| format!("CREATE INDEX by_{column} ON conversations ({column})"))
        .collect()
}

/// A filter with its statements, prepared once for all pages of a list.
#[derive(Clone, Debug)]
pub struct ListStatements {
    /// The filter. With composite indexes it lacks an implied type, so that one index is enough.
    pub filter: ListFilter,
    /// Its fields.
    pub fields: Vec<Field>,
    /// The time that sorts the list.
    pub sort: Sort,
    /// Its statements.
    pub statements: Statements,
}

impl ListStatements {
    /// The statements for a filter and a sort.
    #[must_use]
    pub fn new(filter: ListFilter, sort: Sort) -> Self {
        let fields = filter.fields();
        let statements = Statements::new(&fields, sort);
        Self { filter, fields, sort, statements }
    }
}
