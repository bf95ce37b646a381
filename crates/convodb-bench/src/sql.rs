//! SQL statements and indexes shared by SQLite and PostgreSQL.
//!
//! Pagination is by key (`position < $n`, `(updated_at, position) < ($n, $m)`). Only the statement that
//! measures `OFFSET` skips rows. A list of several values is a union of one statement for each, which
//! all end at the page's limit: an index cannot serve `IN` in the order of the list.

use std::fmt::Write;

use convodb::Sort;

use crate::filter::{ACTIVITY_SHAPES, Field, ListFilter, SHAPES, Value};

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
/// user, the values of each of the list's ranges, the sort key if the page has one (in a list by last activity the
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
    /// The number of rows between two positions, the first included. Its parameters are the user, the
    /// values and the positions.
    pub count: String,
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
    /// The statements for this number of ranges of these fields, newest first by this time.
    #[must_use]
    pub fn new(fields: &[Field], ranges: usize, sort: Sort) -> Self {
        let select = |bound, order, offset| select(fields, ranges, sort, bound, order, offset);
        Self {
            first: select("", "DESC", false),
            after: select("<", "DESC", false),
            before: select(">", "ASC", false),
            offset: select("", "DESC", true),
            count: count(fields, ranges),
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

/// The condition of each range, and the number of the last parameter in them.
fn conditions(fields: &[Field], ranges: usize) -> (Vec<String>, usize) {
    let mut number = 1;
    let mut conditions = Vec::with_capacity(ranges);
    for _ in 0..ranges {
        let mut matches = String::from("user_id = $1");
        for field in fields {
            if *field == Field::AiOff {
                let _ = write!(matches, " AND NOT {}", field.column());
            } else {
                number += 1;
                let _ = write!(matches, " AND {} = ${number}", field.column());
            }
        }
        conditions.push(matches);
    }
    (conditions, number)
}

fn count(fields: &[Field], ranges: usize) -> String {
    let (wheres, number) = conditions(fields, ranges);
    let (start, end) = (number + 1, number + 2);
    let one = |matches: &String| {
        format!(
            "(SELECT count(*) FROM conversations WHERE {matches} \
             AND position >= ${start} AND position < ${end})"
        )
    };
    format!("SELECT {}", wheres.iter().map(one).collect::<Vec<_>>().join(" + "))
}

fn select(
    fields: &[Field],
    ranges: usize,
    sort: Sort,
    bound: &str,
    order: &str,
    offset: bool,
) -> String {
    let (wheres, mut next) = conditions(fields, ranges);
    let mut next = || {
        next += 1;
        next
    };
    let bound = match sort {
        _ if bound.is_empty() => String::new(),
        Sort::CreatedAt => format!(" AND position {bound} ${}", next()),
        Sort::LastActivity => {
            format!(" AND (updated_at, position) {bound} (${}, ${})", next(), next())
        }
    };
    let sorted = match sort {
        Sort::CreatedAt => format!("position {order}"),
        Sort::LastActivity => format!("updated_at {order}, position {order}"),
    };
    let limit = next();
    let skipped = if offset { format!(" OFFSET ${}", next()) } else { String::new() };
    let one = |matches: &String, end: &str| {
        format!(
            "SELECT {COLUMNS} FROM conversations WHERE {matches}{bound} ORDER BY {sorted} LIMIT {end}"
        )
    };
    if let [matches] = &wheres[..] {
        return one(matches, &format!("${limit}{skipped}"));
    }
    let enough = match offset {
        true => format!("CAST(${limit} AS bigint) + CAST(${} AS bigint)", limit + 1),
        false => format!("${limit}"),
    };
    let parts = wheres.iter().enumerate().map(|(number, matches)| {
        format!("SELECT * FROM ({}) AS range_{number}", one(matches, &enough))
    });
    let parts = parts.collect::<Vec<_>>().join(" UNION ALL ");
    format!("{parts} ORDER BY {sorted} LIMIT ${limit}{skipped}")
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
    let fields = || shape.iter().rev();
    let columns: Vec<&str> =
        fields().filter(|field| **field != Field::AiOff).map(|field| field.column()).collect();
    let partial: Vec<String> = fields()
        .filter_map(|field| match field {
            Field::Kind | Field::Assistant => None,
            Field::AiOff => Some(format!("NOT {}", field.column())),
            _ => Some(format!("{} IS NOT NULL", field.column())),
        })
        .collect();
    let partial = match partial.is_empty() {
        true => String::new(),
        false => format!(" WHERE {}", partial.join(" AND ")),
    };
    let names: Vec<&str> = fields().map(|field| field.column()).collect();
    let name = [&[prefix], &names[..]].concat().join("_");
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

/// A list with its statements, prepared once for all its pages.
#[derive(Clone, Debug)]
pub struct ListStatements {
    /// The filters of its ranges, which have the same fields. With composite indexes they lack an
    /// implied type, so that one index is enough.
    pub ranges: Vec<ListFilter>,
    /// The time that sorts the list.
    pub sort: Sort,
    /// Its statements.
    pub statements: Statements,
}

impl ListStatements {
    /// The statements for a filter and a sort.
    #[must_use]
    pub fn new(filter: &ListFilter, sort: Sort) -> Self {
        let ranges = filter.ranges();
        let fields = ranges.first().map(ListFilter::fields).unwrap_or_default();
        let statements = Statements::new(&fields, ranges.len(), sort);
        Self { ranges, sort, statements }
    }

    /// The list with statements for SQLite, which numbers a parameter by `?1`, not by `$1`.
    #[must_use]
    pub fn for_sqlite(self) -> Self {
        let numbered = |statement: String| statement.replace('$', "?");
        let Statements { first, after, before, offset, count } = self.statements;
        let [first, after, before] = [first, after, before].map(numbered);
        let [offset, count] = [offset, count].map(numbered);
        Self { statements: Statements { first, after, before, offset, count }, ..self }
    }

    /// The values of all ranges that are parameters, in the order of the parameters.
    pub fn values(&self) -> impl Iterator<Item = Value<'_>> {
        let values =
            |range| Field::ALL.iter().filter_map(move |field| ListFilter::value(range, *field));
        self.ranges.iter().flat_map(values).filter(|value| *value != Value::AiOff)
    }
}
