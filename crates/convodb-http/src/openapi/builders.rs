//! Schema builders: the JSON types of the description, with their bounds.
//!
//! Bounds of the engine's types come from the engine's constants, so they cannot diverge.

use std::ops::RangeInclusive;

use convodb::AssistantIds;
use serde_json::Value;
use utoipa::openapi::schema::AnyOfBuilder;
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::{
    ArrayBuilder, KnownFormat, Object, ObjectBuilder, Ref, RefOr, Schema, SchemaFormat, Type,
};

/// The largest amount in USD that a request may have: 64 bits of billionths, less the digits that a
/// double cannot represent.
const USD: f64 = 9_223_372_036.85;

/// A schema, or a reference to a named one.
pub(super) type SchemaRef = RefOr<Schema>;

/// A field of an object.
pub(super) struct Field {
    name: &'static str,
    schema: SchemaRef,
    required: bool,
}

/// A field that is always present.
pub(super) fn required(name: &'static str, schema: impl Into<SchemaRef>) -> Field {
    Field { name, schema: schema.into(), required: true }
}

/// A field that may be absent.
pub(super) fn optional(name: &'static str, schema: impl Into<SchemaRef>) -> Field {
    Field { name, schema: schema.into(), required: false }
}

/// An object with these fields, in this order.
pub(super) fn object(description: &str, fields: impl IntoIterator<Item = Field>) -> Object {
    let object = ObjectBuilder::new().description(non_empty(description));
    let add = |object: ObjectBuilder, field: Field| {
        let object = object.property(field.name, field.schema);
        if field.required { object.required(field.name) } else { object }
    };
    fields.into_iter().fold(object, add).build()
}

/// A reference to the schema component of this name.
pub(super) fn named(name: &str) -> SchemaRef {
    Ref::from_schema_name(name).into()
}

/// An object with any fields.
pub(super) fn free_object(description: &str) -> Object {
    let any = utoipa::openapi::schema::AdditionalProperties::FreeForm(true);
    let object = ObjectBuilder::new().description(non_empty(description));
    object.additional_properties(Some(any)).build()
}

/// A reference to the schema component of this name, with a description of its use.
pub(super) fn named_as(name: &str, description: &str) -> SchemaRef {
    let mut reference = Ref::from_schema_name(name);
    reference.description = description.to_owned();
    reference.into()
}

/// A reference to the schema component of this name, or null.
pub(super) fn named_or_null(name: &str, description: &str) -> SchemaRef {
    let null = ObjectBuilder::new().schema_type(Type::Null);
    AnyOfBuilder::new().description(non_empty(description)).item(named(name)).item(null).into()
}

/// An array of items of one schema.
pub(super) fn list(description: &str, item: impl Into<SchemaRef>) -> SchemaRef {
    ArrayBuilder::new().description(non_empty(description)).items(item.into()).into()
}

/// Up to 20 values of a filter, which passes any of them.
pub(super) fn several(description: &str, item: impl Into<SchemaRef>) -> SchemaRef {
    let description = format!(
        "{description}. Extension: up to {} values, for any of them, separated by commas. The \
         parameter may be repeated instead, with or without `[]`",
        AssistantIds::MAX
    );
    let values = ArrayBuilder::new().description(Some(description)).items(item.into());
    values.max_items(Some(AssistantIds::MAX)).into()
}

/// Any JSON value.
pub(super) fn any_json() -> Object {
    ObjectBuilder::new().schema_type(SchemaType::AnyValue).build()
}

/// A string with bounds on its length. A schema counts characters, the engine counts bytes.
pub(super) fn text(description: &str, length: RangeInclusive<usize>) -> Object {
    string_type(description)
        .min_length(Some(*length.start()))
        .max_length(Some(*length.end()))
        .build()
}

/// A string of one of the engine's text types.
pub(super) fn text_of(max_bytes: usize, description: &str) -> Object {
    text(description, 1..=max_bytes)
}

/// A string of any length.
pub(super) fn string(description: &str) -> Object {
    string_type(description).build()
}

/// A string that matches a regular expression.
pub(super) fn pattern(description: &str, pattern: &str) -> Object {
    string_type(description).pattern(Some(pattern)).build()
}

/// An absolute or relative URL.
pub(super) fn url(description: &str) -> Object {
    string_type(description).format(Some(SchemaFormat::Custom("uri-reference".to_owned()))).build()
}

/// A UUID.
pub(super) fn uuid(description: &str) -> Object {
    string_type(description).format(Some(SchemaFormat::Custom("uuid".to_owned()))).build()
}

/// A UUID in a request; a blank one counts as not given.
pub(super) fn given_uuid(description: &str) -> Object {
    pattern(description, "^([0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})?$")
}

/// One of several fixed strings.
pub(super) fn enumeration(
    description: &str,
    values: impl IntoIterator<Item = &'static str>,
) -> Object {
    string_type(description).enum_values(Some(values)).build()
}

/// A day.
pub(super) fn date(description: &str) -> Object {
    string_type(description).format(Some(SchemaFormat::KnownFormat(KnownFormat::Date))).build()
}

/// A time as responses print it.
pub(super) fn time(description: &str) -> Object {
    pattern(&format!("{description}; UTC"), r"^\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}$")
}

/// A time as requests may state it.
pub(super) fn time_input(description: &str) -> Object {
    let date = r"\d{4}-\d{2}-\d{2}";
    let clock = r"([ Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})?)?";
    let description = format!(
        "{description}: a date, `YYYY-MM-DD HH:MM:SS` (UTC), or RFC 3339; from 1970-01-01 to \
         2109-05-15"
    );
    // A blank one counts as not given.
    pattern(&description, &format!("^({date}{clock})?$"))
}

/// An integer within bounds.
pub(super) fn integer(description: &str, range: RangeInclusive<u64>) -> Object {
    let (min, max) = (*range.start(), *range.end());
    // Without a format, generated clients may choose an integer of 32 bits.
    let format = if max > i32::MAX as u64 { KnownFormat::Int64 } else { KnownFormat::Int32 };
    let number = ObjectBuilder::new().schema_type(Type::Integer);
    let number = number.format(Some(SchemaFormat::KnownFormat(format)));
    let number = number.description(non_empty(description)).minimum(usize::try_from(min).ok());
    let max = usize::try_from(max).ok().filter(|max| *max < usize::MAX);
    number.maximum(max).build()
}

/// An amount in USD, of one message or one request.
pub(super) fn usd(description: &str) -> Object {
    usd_builder(description).minimum(Some(-USD)).maximum(Some(USD)).build()
}

/// A sum of amounts in USD, which has no bound that a double represents.
pub(super) fn usd_sum(description: &str) -> Object {
    usd_builder(description).build()
}

fn usd_builder(description: &str) -> ObjectBuilder {
    let description = format!("{description}, in USD, with at most nine decimals");
    let number = ObjectBuilder::new().schema_type(Type::Number).description(Some(description));
    number.format(Some(SchemaFormat::KnownFormat(KnownFormat::Double)))
}

/// `true` or `false`.
pub(super) fn boolean(description: &str) -> Object {
    ObjectBuilder::new().schema_type(Type::Boolean).description(non_empty(description)).build()
}

/// The same schema, or null.
pub(super) fn or_null(mut object: Object) -> Object {
    let types = match object.schema_type {
        SchemaType::Type(kind) => vec![kind, Type::Null],
        SchemaType::Array(types) => types.into_iter().chain([Type::Null]).collect(),
        SchemaType::AnyValue => return object,
    };
    object.schema_type = SchemaType::Array(types);
    if let Some(values) = &mut object.enum_values {
        values.push(Value::Null);
    }
    object
}

fn string_type(description: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).description(non_empty(description))
}

fn non_empty(description: &str) -> Option<&str> {
    Some(description).filter(|text| !text.is_empty())
}
