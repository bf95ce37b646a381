//! Page statements: one statement reads a page, and whether the list has a row behind it.
//!
//! Bounds are row values over all columns of one index, `(customer_fp, pos) < ($1, $2)`, and the
//! order is that of the same columns. Only this index gives that order, so the plan depends on no
//! statistics, as in an embedded store: [`crate::plan_check`] verifies it on each connection.
//!
//! An equality and `order by pos` would not do: with wrong statistics PostgreSQL reads another index
//! and filters. Nor would `exists` for the look behind, because PostgreSQL drops the order inside it.

use std::fmt::Write as _;

use convodb::UserId;
use convodb::seam::{ListPlan, RangeTerms};

use crate::error::{Error, Result};
use crate::shape::{Column, Shape};
use crate::values::{Value, stored_position};

/// The columns of a conversation `c` of the assistant `a`: what [`crate::rows`] decodes.
pub(crate) const COLUMNS: &str = "c.pos, c.id, a.id, c.kind, c.message_count, c.cost, c.ai, \
     c.updated_ms, c.sender_name, c.sender_phone, c.customer_name, c.customer_phone, c.external, \
     c.variables";
/// The number of these columns.
pub(crate) const COLUMN_COUNT: usize = 14;

/// Joins the assistant of a conversation `c`, which its row has by number.
pub(crate) const ASSISTANT: &str = "left join lateral (select id, name from assistant \
     where owner = $1 and (owner, number) >= ($1, c.assistant) and (owner, number) <= ($1, c.assistant) \
     order by owner, number limit 1) a on true";

/// The number of the assistant with this fingerprint.
fn assistant_number(fingerprint: &str) -> String {
    format!(
        "(select number from assistant where owner = $1 and (owner, fp) >= ($1, {fingerprint}) \
         and (owner, fp) <= ($1, {fingerprint}) order by owner, fp limit 1)"
    )
}

/// One of the statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageStatement {
    pub(crate) shape: Shape,
    /// Whether it reads several ranges of the index, for a list of several types or assistants.
    pub(crate) is_union: bool,
    pub(crate) is_ascending: bool,
    pub(crate) looks_behind: bool,
}

/// What a parameter of a statement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parameter {
    Owner,
    Term(Column),
    Gap,
    /// The first position of the list.
    Start,
    /// The position after the last one of the list.
    End,
    Limit,
}

/// The text of a statement with its parameters.
pub(crate) struct Sql {
    pub(crate) text: String,
    parameters: Vec<Parameter>,
}

impl PageStatement {
    /// Every statement.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let both = [false, true];
        Shape::ALL.into_iter().flat_map(move |shape| {
            let unions = if shape.has_unions() { &[false, true][..] } else { &[false][..] };
            unions.iter().flat_map(move |&is_union| {
                both.into_iter().flat_map(move |is_ascending| {
                    both.map(|looks_behind| Self { shape, is_union, is_ascending, looks_behind })
                })
            })
        })
    }

    /// The statement that reads a page; `None` if no conversation can match.
    pub(crate) fn of(plan: &ListPlan<'_>) -> Result<Option<Self>> {
        let mut ranges = plan.ranges();
        let is_union = ranges.len() > 1;
        let Some(terms) = ranges.next() else { return Ok(None) };
        let unknown = || crate::error::corrupted("conversation", "a list has no index");
        let shape = Shape::of(terms).ok_or_else(unknown)?;
        let (is_ascending, looks_behind) = (plan.is_ascending(), plan.looks_behind());
        Ok(Some(Self { shape, is_union, is_ascending, looks_behind }))
    }

    /// The text of the statement.
    pub(crate) fn sql(self) -> Sql {
        let mut sql = Sql { text: String::new(), parameters: vec![Parameter::Owner] };
        let behind = match self.looks_behind {
            true => format!("({}) is not null", self.look_behind(&mut sql)),
            false => "false".to_owned(),
        };
        let rows = self.rows(&mut sql);
        let text = &mut sql.text;
        let _ = write!(
            text,
            "select b.behind, c.range_number, {COLUMNS}, a.name from (select {behind} as behind) b \
             left join ({rows}) c on true {ASSISTANT}"
        );
        sql
    }

    /// The text of the statement that counts the rows from the gap to the end, up to the limit.
    pub(crate) fn count_sql(self) -> Sql {
        let mut sql = Sql { text: String::new(), parameters: vec![Parameter::Owner] };
        let range = self.range(&mut sql, true);
        let limit = sql.parameter(Parameter::Limit);
        let mut rows = format!("({range} limit {limit}) r");
        if self.is_union {
            rows = format!("{} cross join lateral {rows}", self.ranges(&mut sql));
        }
        sql.text = format!("select count(*) from (select 1 from {rows} limit {limit}) n");
        sql
    }

    /// The rows from the gap on.
    fn rows(self, sql: &mut Sql) -> String {
        let range = self.range(sql, self.is_ascending);
        let limit = sql.parameter(Parameter::Limit);
        if !self.is_union {
            return format!("select 0::bigint as range_number, r.* from ({range} limit {limit}) r");
        }
        let ranges = self.ranges(sql);
        let order = if self.is_ascending { "" } else { " desc" };
        format!(
            "select n.number - 1 as range_number, r.* from {ranges} \
             cross join lateral ({range} limit {limit}) r order by r.pos{order} limit {limit}"
        )
    }

    /// A row on the other side of the gap, if there is one.
    fn look_behind(self, sql: &mut Sql) -> String {
        let range = self.range(sql, !self.is_ascending);
        match self.is_union {
            false => format!("select 1 from ({range} limit 1) r"),
            true => {
                let ranges = self.ranges(sql);
                format!("select 1 from {ranges} cross join lateral ({range} limit 1) r limit 1")
            }
        }
    }

    /// The ranges of a union, numbered from 1.
    fn ranges(self, sql: &mut Sql) -> String {
        let has = |column| self.shape.0.contains(&column);
        let (mut arrays, mut columns) = (Vec::new(), Vec::new());
        if has(Column::Kind) {
            arrays.push(sql.parameter(Parameter::Term(Column::Kind)) + "::smallint[]");
            columns.push("kind");
        }
        if has(Column::Assistant) {
            arrays.push(sql.parameter(Parameter::Term(Column::Assistant)) + "::bigint[]");
            columns.push("fp");
        }
        let (arrays, columns) = (arrays.join(", "), columns.join(", "));
        let mut text = format!("unnest({arrays}) with ordinality as n ({columns}, number)");
        if has(Column::Assistant) {
            let _ = write!(text, " cross join lateral {} m", assistant_number("n.fp"));
        }
        text
    }

    /// The rows of one range from the gap on, in one direction.
    fn range(self, sql: &mut Sql, is_ascending: bool) -> String {
        let (near, far) = match is_ascending {
            true => (">=", ("<", Parameter::End)),
            false => ("<", (">=", Parameter::Start)),
        };
        let mut columns: Vec<&str> = self.shape.0.iter().map(|column| column.name()).collect();
        columns.push("pos");
        let terms: Vec<String> =
            self.shape.0.iter().map(|column| self.term(sql, *column) + ", ").collect();
        let terms = terms.concat();
        let (gap, (far, bound)) = (sql.parameter(Parameter::Gap), far);
        let bound = sql.parameter(bound);
        let order = if is_ascending { "" } else { " desc" };
        let mut text = String::from("select * from conversation where owner = $1");
        for column in self.shape.0.iter().filter(|column| column.is_optional()) {
            let _ = write!(text, " and {} is not null", column.name());
        }
        let all = columns.join(", ");
        let _ =
            write!(text, " and ({all}) {near} ({terms}{gap}) and ({all}) {far} ({terms}{bound})");
        let ordered: Vec<String> =
            columns.iter().map(|column| format!("{column}{order}")).collect();
        let _ = write!(text, " order by {}", ordered.join(", "));
        text
    }

    /// The value of a column that a range has.
    fn term(self, sql: &mut Sql, column: Column) -> String {
        match (self.is_union, column) {
            (true, Column::Kind) => "n.kind".to_owned(),
            (true, Column::Assistant) => "m.number".to_owned(),
            (false, Column::Assistant) => assistant_number(&sql.parameter(Parameter::Term(column))),
            _ => sql.parameter(Parameter::Term(column)),
        }
    }
}

impl Sql {
    /// The name of a parameter in the text.
    fn parameter(&mut self, parameter: Parameter) -> String {
        let found = self.parameters.iter().position(|other| *other == parameter);
        let at = found.unwrap_or_else(|| {
            self.parameters.push(parameter);
            self.parameters.len() - 1
        });
        format!("${}", at + 1)
    }

    /// A value of each parameter, as a literal, for an explanation.
    pub(crate) fn examples(&self, is_union: bool) -> String {
        let example = |parameter: &Parameter| match parameter {
            Parameter::Term(Column::Kind | Column::Assistant) if is_union => "'{1,2}'",
            _ => "1",
        };
        self.parameters.iter().map(example).collect::<Vec<_>>().join(", ")
    }

    /// The values of the parameters: the owner, the terms of the plan, the gap and the limit.
    pub(crate) fn values(
        &self,
        user: UserId,
        plan: &ListPlan<'_>,
        gap: u64,
        limit: usize,
    ) -> Result<Vec<Value>> {
        self.values_within(user, plan, gap, plan.span(), limit)
    }

    /// [`Self::values`] for a part of the positions of the plan.
    pub(crate) fn values_within(
        &self,
        user: UserId,
        plan: &ListPlan<'_>,
        gap: u64,
        (start, end): (u64, u64),
        limit: usize,
    ) -> Result<Vec<Value>> {
        let value = |parameter: &Parameter| {
            Ok(match parameter {
                Parameter::Owner => Value::Int4(owner(user)?),
                Parameter::Term(column) => term_value(plan, *column),
                Parameter::Gap => Value::Int8(stored_position(gap)),
                Parameter::Start => Value::Int8(stored_position(start)),
                Parameter::End => Value::Int8(stored_position(end)),
                Parameter::Limit => Value::Int8(i64::try_from(limit).unwrap_or(i64::MAX)),
            })
        };
        self.parameters.iter().map(value).collect()
    }
}

/// The number of a user as it is stored.
///
/// # Errors
/// [`convodb::Error::UserNotFound`] if no user here can have it.
pub(crate) fn owner(user: UserId) -> Result<i32> {
    i32::try_from(user.get()).map_err(|_| Error::Store(convodb::Error::UserNotFound))
}

/// The value of a column, or the values of all ranges of a union.
fn term_value(plan: &ListPlan<'_>, column: Column) -> Value {
    let fingerprint = |terms: &RangeTerms| {
        let of = match column {
            Column::External => terms.external,
            Column::Customer => terms.customer,
            Column::Sender => terms.sender,
            Column::Assistant | Column::Kind => terms.assistant,
        };
        of.unwrap_or_default().cast_signed()
    };
    let kind = |terms: &RangeTerms| i16::from(terms.kind.unwrap_or_default());
    let mut ranges = plan.ranges();
    let varies = ranges.len() > 1 && !column.is_optional();
    match (column, varies) {
        (Column::Kind, true) => Value::Int2s(ranges.map(kind).collect()),
        (_, true) => Value::Int8s(ranges.map(fingerprint).collect()),
        (Column::Kind, false) => Value::Int2(ranges.next().map(kind).unwrap_or_default()),
        (_, false) => Value::Int8(ranges.next().map(fingerprint).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_twelve_shapes_in_both_directions() {
        let single = PageStatement::all().filter(|statement| !statement.is_union).count();
        let unions = PageStatement::all().filter(|statement| statement.is_union).count();
        // Types and assistants: k, a, ak, sa, ca, csa, ea.
        assert_eq!((single, unions), (12 * 4, 7 * 4));
    }

    #[test]
    fn a_statement_bounds_all_columns_of_its_index() {
        let statement = PageStatement {
            shape: Shape(&[Column::Customer, Column::Assistant]),
            is_union: false,
            is_ascending: false,
            looks_behind: false,
        };
        let sql = statement.sql();
        let term = assistant_number("$3");
        let bounds = format!(
            "owner = $1 and customer_fp is not null \
             and (customer_fp, assistant, pos) < ($2, {term}, $4) \
             and (customer_fp, assistant, pos) >= ($2, {term}, $5) \
             order by customer_fp desc, assistant desc, pos desc limit $6"
        );
        assert!(sql.text.contains(&bounds), "{}", sql.text);
        assert_eq!(sql.parameters.len(), 6);
    }
}
