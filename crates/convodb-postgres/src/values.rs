//! Values of parameters and columns.

use std::error::Error as StdError;
use std::fmt::Write as _;

use bytes::BytesMut;
use convodb::Timestamp;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

const SIGN: u64 = 1 << 63;

/// A position as it is stored.
pub(crate) const fn stored_position(position: u64) -> i64 {
    (position ^ SIGN).cast_signed()
}

/// The position that is stored so.
pub(crate) const fn position(stored: i64) -> u64 {
    stored.cast_unsigned() ^ SIGN
}

/// A time in milliseconds since 1970-01-01. No time is beyond `bigint`.
pub(crate) fn millis(at: Timestamp) -> i64 {
    i64::try_from(at.millis()).unwrap_or(i64::MAX)
}

/// A parameter of a statement of a write.
pub(crate) type SqlValue = Box<dyn ToSql + Send + Sync>;

/// A parameter of a page statement.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Int2(i16),
    Int4(i32),
    Int8(i64),
    Int2s(Vec<i16>),
    Int8s(Vec<i64>),
}

impl Value {
    pub(crate) fn as_sql(&self) -> &(dyn ToSql + Sync) {
        match self {
            Value::Int2(value) => value,
            Value::Int4(value) => value,
            Value::Int8(value) => value,
            Value::Int2s(values) => values,
            Value::Int8s(values) => values,
        }
    }

    /// The value as a literal of SQL.
    pub(crate) fn literal(&self) -> String {
        fn array<T: ToString>(values: &[T]) -> String {
            let values: Vec<String> = values.iter().map(T::to_string).collect();
            format!("'{{{}}}'", values.join(","))
        }
        match self {
            Value::Int2(value) => value.to_string(),
            Value::Int4(value) => value.to_string(),
            Value::Int8(value) => value.to_string(),
            Value::Int2s(values) => array(values),
            Value::Int8s(values) => array(values),
        }
    }
}

/// A whole number of up to 39 digits as `numeric`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numeric(pub(crate) i128);

impl ToSql for Numeric {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        let mut digits = Vec::new();
        let mut rest = self.0.unsigned_abs();
        while rest > 0 {
            digits.push(u16::try_from(rest % 10_000)?);
            rest /= 10_000;
        }
        let count = u16::try_from(digits.len())?;
        let sign: u16 = if self.0 < 0 { 0x4000 } else { 0 };
        // Number of digits of base 10,000, weight of the first one, sign, digits after the point.
        let header = [count, count.wrapping_sub(1), sign, 0];
        for word in header.into_iter().chain(digits.into_iter().rev()) {
            out.extend_from_slice(&word.to_be_bytes());
        }
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::NUMERIC
    }

    to_sql_checked!();
}

/// The name of a schema, quoted for SQL.
pub(crate) fn quoted(name: &str) -> String {
    let mut quoted = String::with_capacity(name.len() + 2);
    let _ = write!(quoted, "\"{}\"", name.replace('"', "\"\""));
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_positions_order_as_positions() {
        let positions = [0, 1, SIGN - 1, SIGN, SIGN + 1, u64::MAX];
        assert!(positions.is_sorted_by_key(|position| stored_position(*position)));
        assert_eq!(positions.map(|number| position(stored_position(number))), positions);
    }

    #[test]
    fn numbers_are_encoded_in_base_10000() {
        let encode = |number| {
            let mut out = BytesMut::new();
            Numeric(number).to_sql(&Type::NUMERIC, &mut out).unwrap();
            out.to_vec()
        };
        assert_eq!(encode(0), [0, 0, 0xff, 0xff, 0, 0, 0, 0]);
        assert_eq!(encode(-10_002), [0, 2, 0, 1, 0x40, 0, 0, 0, 0, 1, 0, 2]);
        assert_eq!(encode(i128::MAX).len(), 8 + 2 * 10);
    }

    #[test]
    fn a_literal_is_the_value() {
        assert_eq!(Value::Int8(i64::MIN).literal(), "-9223372036854775808");
        assert_eq!(Value::Int2s(vec![1, 2]).literal(), "'{1,2}'");
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
    }
}
