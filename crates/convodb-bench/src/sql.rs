//! SQL statements and indexes shared by SQLite and PostgreSQL.
//!
//! Pagination is by key (`position < $n`). Only the statement that measures `OFFSET` skips rows.

use std::fmt::Write;

use crate::filter::{Field, ListFilter, SHAPES};

/// The columns of a page, in the order in which both engines read them.
pub const COLUMNS: &str = "position, id, assistant, kind, sender_name, sender_phone, \
     customer_name, customer_phone, external_identifier, variables, message_count, cost_nanos, \
     ai_enabled, updated_at";

/// The statements of one list, one per kind of page start. Their parameters are, in this order: the
/// user, the values of the filter, the position if the page has one, the limit, the offset if any.
#[derive(Clone, Debug)]
pub struct Statements {
    /// The first page.
    pub first: String,
    /// The page after a position.
    pub after: String,
    /// The page before a position, in reverse order.
    pub before: String,
    /// The page after a number of rows.
    pub offset: String,
}

/// Where a page starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the beginning of the list.
    First,
    /// After the row at this position.
    After(u64),
    /// Before the row at this position.
    Before(u64),
    /// After this many rows, by `OFFSET`.
    Offset(u64),
}

impl Statements {
    /// The statements for a filter on these fields.
    #[must_use]
    pub fn new(fields: &[Field]) -> Self {
        Self {
            first: select(fields, "", "DESC", ""),
            after: select(fields, "<", "DESC", ""),
            before: select(fields, ">", "ASC", ""),
            offset: select(fields, "", "DESC", "OFFSET"),
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

fn select(fields: &[Field], bound: &str, order: &str, offset: &str) -> String {
    let mut sql = format!("SELECT {COLUMNS} FROM conversations WHERE user_id = $1");
    let mut number = 1;
    let mut next = || {
        number += 1;
        number
    };
    for field in fields {
        let _ = write!(sql, " AND {} = ${}", field.column(), next());
    }
    if !bound.is_empty() {
        let _ = write!(sql, " AND position {bound} ${}", next());
    }
    let _ = write!(sql, " ORDER BY position {order} LIMIT ${}", next());
    if !offset.is_empty() {
        let _ = write!(sql, " OFFSET ${}", next());
    }
    sql
}

/// The composite indexes that serve every combination of filters: one for each of convodb's shapes,
/// with the user first, then the leading field and the others, the position last. Indexes on texts
/// that most rows lack are partial.
#[must_use]
pub fn composite_indexes() -> Vec<String> {
    SHAPES
        .iter()
        .map(|shape| {
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
            format!(
                "CREATE INDEX by_{} ON conversations (user_id, {}, position){partial}",
                columns.join("_"),
                columns.join(", ")
            )
        })
        .collect()
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
    /// Its statements.
    pub statements: Statements,
}

impl ListStatements {
    /// The statements for a filter.
    #[must_use]
    pub fn new(filter: ListFilter) -> Self {
        let fields = filter.fields();
        let statements = Statements::new(&fields);
        Self { filter, fields, statements }
    }
}
