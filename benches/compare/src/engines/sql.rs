//! What SQLite and PostgreSQL are asked: the same text for both, built once for each list and start.
//! A place is a key (`position < $n`), never a number of rows, but where that is the question.

use std::fmt::Write;

use crate::filter::{Field, ListFilter, SHAPES};
use crate::list::{List, PageStart};

/// The columns that a page reads, in the order of `decode` of either engine.
pub(crate) const COLUMNS: &str = "position, id, assistant, kind, sender_name, sender_phone, \
     customer_name, customer_phone, external_identifier, variables, message_count, cost_nanos, \
     ai_enabled, updated_at";

/// The texts of one list, one a start; their parameters in this order: user, the values that are
/// asked for, the place's position where there is one, the limit, the rows to skip where some are.
pub(crate) struct Statements {
    pub(crate) first: String,
    pub(crate) after: String,
    pub(crate) before: String,
    pub(crate) offset: String,
}

impl Statements {
    /// For the lists narrowed by these fields.
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

/// The composite indexes that serve every combination: user first, position last, one for each of
/// convodb's shapes, the leading field before the others. A text that most rows lack is indexed
/// where it is there.
pub(crate) fn composite_indexes() -> Vec<String> {
    SHAPES
        .iter()
        .map(|shape| {
            let columns: Vec<&str> = shape.iter().rev().map(|field| field.column()).collect();
            let there: Vec<String> = shape
                .iter()
                .filter(|field| !matches!(field, Field::Kind | Field::Assistant))
                .map(|field| format!("{} IS NOT NULL", field.column()))
                .collect();
            let partial = match there.is_empty() {
                true => String::new(),
                false => format!(" WHERE {}", there.join(" AND ")),
            };
            format!(
                "CREATE INDEX by_{} ON conversations (user_id, {}, position){partial}",
                columns.join("_"),
                columns.join(", ")
            )
        })
        .collect()
}

/// One index a column, as most applications have it.
pub(crate) fn single_indexes() -> Vec<String> {
    ["user_id", "kind", "assistant", "sender_phone", "customer_phone", "external_identifier"]
        .into_iter()
        .chain(["position"])
        .map(|column| format!("CREATE INDEX by_{column} ON conversations ({column})"))
        .collect()
}

/// What is asked of an engine with the composite indexes: without a type that is implied, so that
/// one index answers.
pub(crate) fn composite_filter(list: &List) -> ListFilter {
    list.filter.without_implied_kind()
}
