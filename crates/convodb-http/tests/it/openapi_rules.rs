//! Rules of the OpenAPI description: what code generators, importers and tools of language models
//! need beyond a valid document.
//!
//! Each rule is about a kind of place, so it holds for whatever is added. `.ci/clients` generates
//! clients from the description and runs them.

use std::collections::BTreeSet;

use serde_json::Value;

/// A schema with the place where it stands, as a JSON pointer.
type Placed<'v> = (String, &'v Value);

/// The keywords with one schema, with several by name, and with several in an array.
const ONE: [&str; 3] = ["items", "additionalProperties", "contentSchema"];
const BY_NAME: [&str; 1] = ["properties"];
const SEVERAL: [&str; 3] = ["allOf", "anyOf", "oneOf"];
const BODY: &str = "application/json";

fn document() -> Value {
    serde_json::from_str(convodb_http::openapi()).unwrap()
}

/// Every operation, by its id.
fn operations(document: &Value) -> Vec<(&str, &Value)> {
    let paths = document["paths"].as_object().unwrap().values();
    let operations = paths.flat_map(|path| path.as_object().unwrap().values());
    operations.map(|operation| (operation["operationId"].as_str().unwrap(), operation)).collect()
}

/// Every parameter, with its place.
fn parameters(document: &Value) -> Vec<Placed<'_>> {
    let mut all = Vec::new();
    for (id, operation) in operations(document) {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            all.push((format!("{id}.{}", parameter["name"].as_str().unwrap()), parameter));
        }
    }
    all
}

/// Every schema of the document, at whatever depth.
fn schemas(document: &Value) -> Vec<Placed<'_>> {
    let mut all = Vec::new();
    let components = document["components"]["schemas"].as_object().unwrap();
    components.iter().for_each(|(name, schema)| add(name.clone(), schema, &mut all));
    for (place, parameter) in parameters(document) {
        add(place, &parameter["schema"], &mut all);
    }
    for (id, operation) in operations(document) {
        let responses = operation["responses"].as_object().unwrap().values();
        for content in responses.chain([&operation["requestBody"]]).map(|part| &part["content"]) {
            for (name, content) in content.as_object().into_iter().flatten() {
                add(format!("{id}.{name}"), &content["schema"], &mut all);
            }
        }
    }
    all
}

fn add<'v>(place: String, schema: &'v Value, all: &mut Vec<Placed<'v>>) {
    for keyword in ONE {
        if schema[keyword].is_object() {
            add(format!("{place}/{keyword}"), &schema[keyword], all);
        }
    }
    for keyword in BY_NAME {
        for (name, inner) in schema[keyword].as_object().into_iter().flatten() {
            add(format!("{place}/{name}"), inner, all);
        }
    }
    for keyword in SEVERAL {
        for (at, inner) in schema[keyword].as_array().into_iter().flatten().enumerate() {
            add(format!("{place}/{keyword}/{at}"), inner, all);
        }
    }
    all.push((place, schema));
}

/// The types of a schema.
fn types(schema: &Value) -> Vec<&str> {
    match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn component<'v>(document: &'v Value, schema: &Value) -> Option<&'v Value> {
    schema["$ref"].as_str().and_then(|place| document.pointer(&place[1..]))
}

/// Asserts that no place breaks the rule.
#[track_caller]
fn assert_none(rule: &str, places: impl Iterator<Item = String>) {
    let places: Vec<_> = places.collect();
    assert!(places.is_empty(), "{rule}: {places:#?}");
}

#[test]
fn no_property_is_always_null() {
    let document = document();
    let broken = schemas(&document).into_iter().filter(|(place, schema)| {
        // Null is an alternative of a reference, never alone.
        types(schema) == ["null"] && !place.contains("/anyOf/")
    });
    assert_none("null alone is no type", broken.map(|(place, _)| place));
}

/// Generators make enumerations of `enum` and `const`, whose values cannot be booleans.
#[test]
fn no_boolean_is_an_enumeration() {
    let document = document();
    let broken = schemas(&document).into_iter().filter(|(_, schema)| {
        types(schema).contains(&"boolean")
            && !(schema["enum"].is_null() && schema["const"].is_null())
    });
    assert_none("a boolean has two values", broken.map(|(place, _)| place));
}

/// Tools of language models take the arguments of a call from the fields at the top of a body. A
/// response may also be an array of named objects.
#[test]
fn every_json_body_is_a_named_object() {
    let document = document();
    let responses = document["components"]["responses"].as_object().unwrap();
    let mut bodies: Vec<_> =
        responses.iter().map(|(name, response)| (name.clone(), response)).collect();
    for (id, operation) in operations(&document) {
        bodies.push((format!("request of {id}"), &operation["requestBody"]));
        bodies.push((format!("response of {id}"), &operation["responses"]["200"]));
    }
    let is_object = |schema: &Value| {
        component(&document, schema).is_some_and(|found| found["type"] == "object")
    };
    let broken = bodies.into_iter().filter(|(place, body)| {
        let schema = &body["content"][BODY]["schema"];
        let is_array = !place.starts_with("request") && schema["type"] == "array";
        let object = if is_array { &schema["items"] } else { schema };
        !schema.is_null() && !is_object(object)
    });
    assert_none("not a component of the type object", broken.map(|(place, _)| place));
}

/// Of an object inside another one, generators would make up a name.
#[test]
fn every_object_with_fields_is_a_component() {
    let document = document();
    let components = document["components"]["schemas"].as_object().unwrap();
    let broken = schemas(&document).into_iter().filter(|(place, schema)| {
        schema["properties"].is_object() && !components.contains_key(place.as_str())
    });
    assert_none("an object without a name", broken.map(|(place, _)| place));
}

/// An enumeration inside an object would be named after its field, and could have the name of the
/// object.
#[test]
fn every_choice_in_an_object_is_a_component() {
    let document = document();
    let components = document["components"]["schemas"].as_object().unwrap();
    let broken = schemas(&document).into_iter().filter(|(place, schema)| {
        let has_choice = schema["enum"].as_array().is_some_and(|values| values.len() > 1);
        // Places of parameters have a dot.
        has_choice && !place.contains('.') && !components.contains_key(place.as_str())
    });
    assert_none("an enumeration without a name", broken.map(|(place, _)| place));
}

#[test]
fn every_object_without_fields_is_free() {
    let document = document();
    let broken = schemas(&document).into_iter().filter(|(_, schema)| {
        let other = &schema["additionalProperties"];
        types(schema).contains(&"object")
            && schema["properties"].is_null()
            && !(*other == true || other.is_object())
    });
    assert_none("an object without any field", broken.map(|(place, _)| place));
}

/// Generators support alternatives of the type of a value, and of a reference and null.
#[test]
fn alternatives_differ_in_their_type() {
    let document = document();
    let broken = schemas(&document).into_iter().filter(|(_, schema)| {
        let nullable = schema["anyOf"].as_array().is_some_and(|parts| {
            !(parts.len() == 2 && parts[0]["$ref"].is_string() && parts[1]["type"] == "null")
        });
        let kinds = schema["oneOf"].as_array().is_some_and(|parts| {
            let kinds: BTreeSet<_> = parts.iter().flat_map(types).collect();
            kinds.len() != parts.len()
        });
        nullable || kinds || !schema["allOf"].is_null()
    });
    assert_none("alternatives that generators cannot distinguish", broken.map(|(place, _)| place));
}

#[test]
fn every_array_describes_its_items() {
    let document = document();
    let broken = schemas(&document)
        .into_iter()
        .filter(|(_, schema)| types(schema).contains(&"array") && !schema["items"].is_object());
    assert_none("an array of nothing", broken.map(|(place, _)| place));
}

#[test]
fn every_array_in_a_query_is_one_parameter() {
    let document = document();
    let broken = parameters(&document).into_iter().filter(|(_, parameter)| {
        types(&parameter["schema"]).contains(&"array")
            && !(parameter["explode"] == false && parameter["style"] == "form")
    });
    assert_none("an array without `explode: false`", broken.map(|(place, _)| place));
}

/// A day has a format; a pattern would make it a text.
#[test]
fn every_day_has_the_format_of_dates() {
    let document = document();
    let broken = schemas(&document).into_iter().filter(|(place, schema)| {
        let is_pattern = schema["pattern"].as_str().is_some_and(|text| text.ends_with(r"-\d{2}$"));
        let name = place.rsplit(['.', '/']).next().unwrap_or_default();
        let is_day = matches!(name, "from" | "to" | "period") && types(schema).contains(&"string");
        is_pattern || is_day && schema["format"] != "date"
    });
    assert_none("a day without `format: date`", broken.map(|(place, _)| place));
}

#[test]
fn every_number_has_a_format_that_holds_it() {
    let document = document();
    let broken = schemas(&document).into_iter().filter(|(_, schema)| {
        let format = schema["format"].as_str().unwrap_or_default();
        let is_small = schema["maximum"].as_i64().is_some_and(|max| max <= i64::from(i32::MAX));
        types(schema).iter().any(|kind| match *kind {
            "integer" => format != if is_small { "int32" } else { "int64" },
            "number" => format != "double",
            _ => false,
        })
    });
    assert_none("a number whose size is not described", broken.map(|(place, _)| place));
}

/// A property with a default counts as always present in some generated types.
#[test]
fn no_field_has_a_default() {
    let document = document();
    let is_field = |place: &str| !place.contains('.');
    let broken = schemas(&document)
        .into_iter()
        .filter(|(place, schema)| is_field(place) && !schema["default"].is_null());
    assert_none("a field with a default", broken.map(|(place, _)| place));
}

/// Converted collections send the examples of all parameters.
#[test]
fn every_parameter_has_an_example_of_its_type() {
    let document = document();
    let broken = parameters(&document).into_iter().filter(|(_, parameter)| {
        let schema = component(&document, &parameter["schema"]).unwrap_or(&parameter["schema"]);
        let example = &parameter["example"];
        let allowed = |schema: &Value, value: &Value| {
            schema["enum"].as_array().is_none_or(|values| values.contains(value))
        };
        !types(schema).iter().any(|kind| match *kind {
            "string" => example.is_string() && allowed(schema, example),
            "integer" => example.is_u64(),
            "array" => example.as_array().is_some_and(|items| {
                let schema = component(&document, &schema["items"]).unwrap_or(&schema["items"]);
                !items.is_empty() && items.iter().all(|item| allowed(schema, item))
            }),
            _ => false,
        })
    });
    assert_none("a parameter without an example", broken.map(|(place, _)| place));
}

/// Tools of language models have the description alone, so it says what the operation does.
#[test]
fn every_description_begins_with_what_the_operation_does() {
    let document = document();
    let broken = operations(&document).into_iter().filter(|(_, operation)| {
        let text = operation["description"].as_str().unwrap_or("Requires");
        ["Requires", "Extension"].iter().any(|rest| text.starts_with(rest))
    });
    assert_none("a description of conditions alone", broken.map(|(id, _)| id.to_owned()));
}

#[test]
fn every_tag_operation_and_parameter_is_described() {
    let document = document();
    let is_empty = |value: &Value| value["description"].as_str().is_none_or(str::is_empty);
    let tags = document["tags"].as_array().unwrap();
    let names: BTreeSet<_> = tags.iter().map(|tag| tag["name"].as_str().unwrap()).collect();
    let tags = tags.iter().map(|tag| (tag["name"].to_string(), tag));
    let operations = operations(&document);
    for (id, operation) in &operations {
        let tag = operation["tags"][0].as_str().unwrap();
        assert!(names.contains(tag), "{id} has the tag {tag}, which is not described");
    }
    let operations = operations.into_iter().map(|(id, operation)| (id.to_owned(), operation));
    let all = tags.chain(operations).chain(parameters(&document));
    assert_none("without a description", all.filter(|(_, it)| is_empty(it)).map(|(name, _)| name));
}

/// A schema that only itself or another unused one refers to is unused.
#[test]
fn every_schema_is_reachable_from_an_operation() {
    let document = document();
    let mut found = BTreeSet::new();
    let mut open = vec![&document["paths"]];
    while let Some(value) = open.pop() {
        match value {
            Value::Object(fields) => {
                open.extend(fields.values());
                if let Some(place) = fields.get("$ref").and_then(Value::as_str)
                    && found.insert(place)
                {
                    open.extend(document.pointer(&place[1..]));
                }
            }
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    let schemas = document["components"]["schemas"].as_object().unwrap().keys();
    let broken = schemas.filter(|name| {
        let place = format!("#/components/schemas/{name}");
        !found.contains(place.as_str())
    });
    assert_none("an unused schema", broken.cloned());
}
