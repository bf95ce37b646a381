//! SQL statements and indexes shared by SQLite and PostgreSQL.
//!
//! Pagination is by key (`position < $n`). Only the statement that measures `OFFSET` skips rows.

use std::fmt::Write;

use crate::filter::{Field, ListFilter, SHAPES};
use crate::list::{List, PageStart};

/// The columns of a page, in the order of `row_of` in both engines.
pub(crate) const COLUMNS: &str = "position, id, assistant, kind, sender_name, sender_phone, \
     customer_name, customer_phone, external_identifier, variables, message_count, cost_nanos, \
     ai_enabled, updated_at";

/// The statements of one list, one per kind of page start. Their parameters are, in this order: the
/// user, the values of the filter, the position if the page has one, the limit, the offset if any.
pub(crate) struct Statements {
    pub(crate) first: String,
    pub(crate) after: String,
    pub(crate) before: String,
    pub(crate) offset: String,
}

impl Statements {
    /// The statements for a filter on these fields.
    pub(crate) fn new(fields: &[Field]) -> Self {
        Self {
            first: select(fields, "", "DESC", ""),
            after: select(fields, "<", "DESC", ""),
            before: select(fields, ">", "ASC", ""),
            offset: select(fields, "", "DESC", "OFFSET"),
        }
    }

    pub(crate) fn of(&self, start: PageStart) -> &str {
        match start {
            PageStart::First => &self.first,
            PageStart::After(_) => &self.after,
            PageStart::Before(_) => &self.before,
            PageStart::Offset { .. } => &self.offset,
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
pub(crate) fn composite_indexes() -> Vec<String> {
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
pub(crate) fn single_indexes() -> Vec<String> {
    ["user_id", "kind", "assistant", "sender_phone", "customer_phone", "external_identifier"]
        .into_iter()
        .chain(["position"])
        .map(|column| format!("CREATE INDEX by_{column} ON conversations ({column})"))
        .collect()
}

/// The filter for an engine with the composite indexes: without an implied type, so that one index
/// is enough.
pub(crate) fn composite_filter(list: &List) -> ListFilter {
    list.filter.without_implied_kind()
}
