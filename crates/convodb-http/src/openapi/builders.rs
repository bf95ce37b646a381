//! The words that schemas are made of, with their bounds. Those of the engine are asked of the
//! engine, so that the document cannot say others.

use std::ops::RangeInclusive;

use convodb::{ChannelKind, Role, TextKind};
use serde_json::Value;
use utoipa::openapi::builders::SchemaType;
use utoipa::openapi::{
    ArrayBuilder, Object, ObjectBuilder, Ref, RefOr, Schema, SchemaFormat, Type,
};

/// The most that an amount may be: 64 bits of billionths, without what a double cannot tell apart.
const USD: f64 = 9_223_372_036.85;

/// A schema, or the name of one.
pub(super) type Shape = RefOr<Schema>;

/// A field of an object.
pub(super) struct Field {
    name: &'static str,
    shape: Shape,
    required: bool,
}

/// A field that is always there.
pub(super) fn always(name: &'static str, shape: impl Into<Shape>) -> Field {
    Field { name, shape: shape.into(), required: true }
}

/// A field that may be left out.
pub(super) fn maybe(name: &'static str, shape: impl Into<Shape>) -> Field {
    Field { name, shape: shape.into(), required: false }
}

/// An object of these fields, in this order.
pub(super) fn object(tells: &str, fields: impl IntoIterator<Item = Field>) -> Object {
    let object = ObjectBuilder::new().description(described(tells));
    let add = |object: ObjectBuilder, field: Field| {
        let object = object.property(field.name, field.shape);
        if field.required { object.required(field.name) } else { object }
    };
    fields.into_iter().fold(object, add).build()
}

/// The schema of this name in the document.
pub(super) fn named(name: &str) -> Shape {
    Ref::from_schema_name(name).into()
}

/// A list of items of one schema.
pub(super) fn list(tells: &str, item: impl Into<Shape>) -> Shape {
    ArrayBuilder::new().description(described(tells)).items(item.into()).into()
}

/// Any JSON.
pub(super) fn anything() -> Object {
    ObjectBuilder::new().schema_type(SchemaType::AnyValue).build()
}

/// A text, whose length counts characters where the engine counts bytes.
pub(super) fn text(tells: &str, length: RangeInclusive<usize>) -> Object {
    string(tells).min_length(Some(*length.start())).max_length(Some(*length.end())).build()
}

/// A text of one of the engine's kinds.
pub(super) fn text_of<K: TextKind>(tells: &str) -> Object {
    text(tells, 1..=K::MAX_BYTES)
}

/// A text of any length.
pub(super) fn any_text(tells: &str) -> Object {
    string(tells).build()
}

/// A text of this form.
pub(super) fn formed(tells: &str, pattern: &str) -> Object {
    string(tells).pattern(Some(pattern)).build()
}

/// The URL of something.
pub(super) fn url(tells: &str) -> Object {
    string(tells).format(Some(SchemaFormat::Custom("uri".to_owned()))).build()
}

/// A UUID.
pub(super) fn uuid(tells: &str) -> Object {
    string(tells).format(Some(SchemaFormat::Custom("uuid".to_owned()))).build()
}

/// One of these words.
pub(super) fn word(tells: &str, words: impl IntoIterator<Item = &'static str>) -> Object {
    string(tells).enum_values(Some(words)).build()
}

/// A conversation's type.
pub(super) fn kind(tells: &str) -> Object {
    word(tells, ChannelKind::ALL.map(ChannelKind::as_str))
}

/// Who says a message.
pub(super) fn role() -> Object {
    word("Who says it", [Role::User, Role::Assistant, Role::System].map(Role::as_str))
}

/// A time as answers print it.
pub(super) fn time(tells: &str) -> Object {
    formed(&format!("{tells}; UTC"), r"^\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}$")
}

/// A time as requests may give it.
pub(super) fn given_time(tells: &str) -> Object {
    let date = r"^\d{4}-\d{2}-\d{2}";
    let clock = r"([ Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})?)?$";
    let tells = format!(
        "{tells}: a date, `YYYY-MM-DD HH:MM:SS` (UTC), or RFC 3339; from 1970-01-01 to 2109-05-15"
    );
    formed(&tells, &format!("{date}{clock}"))
}

/// A whole number within bounds.
pub(super) fn integer(tells: &str, range: RangeInclusive<u64>) -> Object {
    let (least, most) = (*range.start(), *range.end());
    let number = ObjectBuilder::new().schema_type(Type::Integer).description(described(tells));
    let number = number.minimum(usize::try_from(least).ok());
    let most = usize::try_from(most).ok().filter(|most| *most < usize::MAX);
    number.maximum(most).build()
}

/// An amount in USD.
pub(super) fn usd(tells: &str) -> Object {
    let tells = format!("{tells}, in USD, with at most nine decimals");
    let number = ObjectBuilder::new().schema_type(Type::Number).description(Some(tells));
    number.minimum(Some(-USD)).maximum(Some(USD)).build()
}

/// `true` or `false`.
pub(super) fn boolean(tells: &str) -> Object {
    ObjectBuilder::new().schema_type(Type::Boolean).description(described(tells)).build()
}

/// One value and no other.
pub(super) fn constant(tells: &str, kind: Type, value: impl Into<Value>) -> Object {
    let constant = ObjectBuilder::new().schema_type(kind).description(described(tells));
    constant.enum_values(Some([value.into()])).build()
}

/// Nothing but null.
pub(super) fn null(tells: &str) -> Object {
    ObjectBuilder::new().schema_type(Type::Null).description(described(tells)).build()
}

/// The same, or null.
pub(super) fn or_null(mut object: Object) -> Object {
    let kind = match object.schema_type {
        SchemaType::Type(kind) => vec![kind, Type::Null],
        SchemaType::Array(kinds) => kinds.into_iter().chain([Type::Null]).collect(),
        SchemaType::AnyValue => return object,
    };
    object.schema_type = SchemaType::Array(kind);
    if let Some(words) = &mut object.enum_values {
        words.push(Value::Null);
    }
    object
}

fn string(tells: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).description(described(tells))
}

fn described(tells: &str) -> Option<&str> {
    Some(tells).filter(|tells| !tells.is_empty())
}
