//! OpenAPI description: its examples are sent to a server, whose responses must match it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Read as _;

use convodb::Store;
use convodb_http::Config;
use serde_json::{Map, Value};

use crate::client::{Response, send};
use crate::harness::Server;

/// The examples in the order in which the test runs them: operation id, and name of the request
/// body's example.
const EXAMPLES: [(&str, &str); 27] = [
    ("readIndex", ""),
    ("importConversations", "example"),
    ("listConversations", ""),
    ("listChanges", ""),
    ("readStatistics", ""),
    ("readConversation", "page"),
    ("readConversation", "whole"),
    ("exportConversations", ""),
    ("readMe", ""),
    ("listAssistants", ""),
    ("listAllAssistants", ""),
    ("createConversation", "api"),
    ("createConversation", "whatsapp"),
    ("createConversation", "widget"),
    ("appendMessage", "user"),
    ("changeConversation", "example"),
    ("appendMessage", "assistant"),
    ("disableAi", ""),
    ("enableAi", ""),
    ("createAssistant", "example"),
    ("renameAssistant", "example"),
    ("deleteConversation", ""),
    ("readHealth", ""),
    ("readReadiness", ""),
    ("readMetrics", ""),
    ("readOpenApi", ""),
    ("readDocs", ""),
];

/// Fields whose value differs from run to run; only their type is compared.
const VOLATILE: [&str; 3] = ["updated_at", "conversation_id", "next_cursor"];

struct Description {
    document: Value,
    server: Server,
    token: String,
}

impl Description {
    fn new() -> Self {
        let store = Store::in_memory().unwrap();
        let since = "2025-01-01".parse().unwrap();
        let user = store.create_user("Acme", since).unwrap().id;
        let token = store.create_token(user, since).unwrap();
        let server = Server::start(&store, Config::default());
        let document = server.request("GET", "/openapi.json", "Host: test\r\n");
        assert_eq!(document.header("content-type"), "application/json");
        assert_eq!(document.text(), convodb_http::openapi());
        Self { document: document.json(), server, token }
    }

    /// Every operation, with its method and its path.
    fn operations(&self) -> Vec<(String, String, &Value)> {
        let mut all = Vec::new();
        for (path, item) in self.document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                all.push((method.to_uppercase(), path.clone(), operation));
            }
        }
        all
    }

    /// The target of a reference, or the value itself.
    fn resolved<'v>(&'v self, value: &'v Value) -> &'v Value {
        match value["$ref"].as_str() {
            Some(place) => self.resolved(self.document.pointer(&place[1..]).expect(place)),
            None => value,
        }
    }

    fn request(&self, method: &str, target: &str, headers: &str, body: &str) -> Response {
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nConnection: close\r\n\
             Authorization: Bearer {}\r\n{headers}Content-Length: {}\r\n\r\n",
            self.token,
            body.len()
        );
        send(self.server.address, &[head.as_bytes(), body.as_bytes()].concat())
    }

    /// The path with its query, and the headers, from the examples of all parameters.
    fn target(path: &str, operation: &Value) -> (String, String) {
        let (mut target, mut query, mut headers) = (path.to_owned(), Vec::new(), String::new());
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap();
            let example = parameter_text(&parameter["example"]);
            match parameter["in"].as_str().unwrap() {
                "path" => target = target.replace(&format!("{{{name}}}"), &example),
                "query" => {
                    let example = example.replace('+', "%2B").replace(' ', "%20");
                    query.push(format!("{name}={example}"));
                }
                _ => write!(headers, "{name}: {example}\r\n").unwrap(),
            }
        }
        (format!("{target}?{}", query.join("&")), headers)
    }

    /// Asserts that the schema describes every field of the value.
    fn check_fields(&self, schema: &Value, value: &Value, place: &str) {
        let schema = self.resolved(schema);
        match value {
            Value::Object(fields) => {
                let mut known = Map::new();
                self.properties(schema, &mut known);
                // A schema without properties allows any.
                for (name, value) in fields.iter().filter(|_| !known.is_empty()) {
                    let field = known
                        .get(name)
                        .unwrap_or_else(|| panic!("{place}.{name} is not described"));
                    self.check_fields(field, value, &format!("{place}.{name}"));
                }
            }
            Value::Array(items) => {
                items.iter().for_each(|item| self.check_fields(&schema["items"], item, place));
            }
            _ => {}
        }
    }

    fn properties(&self, schema: &Value, known: &mut Map<String, Value>) {
        let schema = self.resolved(schema);
        known.extend(schema["properties"].as_object().cloned().unwrap_or_default());
        let parts = schema["allOf"].as_array().into_iter().flatten();
        parts.for_each(|part| self.properties(part, known));
    }
}

/// The value of a parameter as a client sends it; the items of a list with commas.
fn parameter_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(parameter_text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// The example of a body with this name, or the only one.
fn example(content: &Value, name: &str) -> Option<Value> {
    let named = content["examples"][name]["value"].clone();
    [named, content["examples"]["example"]["value"].clone(), content["example"].clone()]
        .into_iter()
        .find(|value| !value.is_null())
}

/// The media type of a body that a client gets without asking for another, with its description.
fn media_type(content: &Value) -> Option<(&String, &Value)> {
    let on_request = |name: &str| name.starts_with("text/csv") || name == "text/event-stream";
    let mut types = content.as_object()?.iter().filter(|(name, _)| !on_request(name));
    let only = types.next();
    assert!(types.next().is_none());
    only
}

#[track_caller]
fn assert_same(response: &Value, example: &Value, place: &str) {
    match (response, example) {
        (Value::Object(response), Value::Object(example)) => {
            let names: Vec<_> = response.keys().collect();
            assert_eq!(names, example.keys().collect::<Vec<_>>(), "{place}");
            for (name, value) in response {
                if VOLATILE.contains(&name.as_str()) && example[name].is_string() {
                    assert!(value.is_string(), "{place}.{name}");
                } else {
                    assert_same(value, &example[name], &format!("{place}.{name}"));
                }
            }
        }
        (Value::Array(response), Value::Array(example)) => {
            assert_eq!(response.len(), example.len(), "{place}");
            response.iter().zip(example).for_each(|(one, other)| assert_same(one, other, place));
        }
        _ => assert_eq!(response, example, "{place}"),
    }
}

#[test]
fn every_example_request_gets_its_example_response() {
    let description = Description::new();
    let operations = description.operations();
    let mut tried = BTreeSet::new();
    for (id, body) in EXAMPLES {
        let of_id = |(_, _, operation): &&(String, String, &Value)| operation["operationId"] == id;
        let (method, path, operation) = operations.iter().find(of_id).expect(id);
        let sent = media_type(&operation["requestBody"]["content"]);
        let (sent_type, sent) = sent.map_or(("", String::new()), |(media_type, content)| {
            let example = example(content, body).expect(id);
            let text = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
            (media_type, text)
        });
        let (mut target, mut headers) = Description::target(path, operation);
        // The whole history is the one without a page.
        if body == "whole" {
            target.truncate(target.find('?').unwrap());
        }
        // A key belongs to one request: the first example of a body.
        if tried.iter().any(|(tried, _)| tried == id) {
            headers.clear();
        }
        headers += &format!("Content-Type: {sent_type}\r\n");
        let response = description.request(method, &target, &headers, &sent);
        assert_eq!(response.status, 200, "{id} {body}: {}", response.text());
        let success = description.resolved(&operation["responses"]["200"]);
        let (media_type, content) = media_type(&success["content"]).expect(id);
        assert_eq!(response.header("content-type"), media_type, "{id}");
        if media_type == "application/json" {
            description.check_fields(&content["schema"], &response.json(), id);
        }
        if let Some(example) = example(content, body) {
            match example.as_str() {
                Some(text) => assert_eq!(response.text(), text, "{id}"),
                None => assert_same(&response.json(), &example, id),
            }
        }
        for (name, header) in success["headers"].as_object().unwrap() {
            let required = description.resolved(header)["required"] == true;
            assert!(!required || response.maybe_header(name).is_some(), "{id} has no {name}");
        }
        tried.insert((id.to_owned(), body.to_owned()));
    }
    // Every example of a request was sent.
    for (_, path, operation) in &operations {
        let id = operation["operationId"].as_str().unwrap();
        let content = &operation["requestBody"]["content"];
        let bodies = media_type(content).map(|(_, content)| match &content["examples"] {
            Value::Object(examples) => examples.keys().cloned().collect(),
            _ => vec!["example".to_owned()],
        });
        match bodies {
            Some(bodies) => bodies.into_iter().for_each(|body| {
                assert!(tried.contains(&(id.to_owned(), body.clone())), "{path} {body}");
            }),
            None => assert!(tried.iter().any(|(tried, _)| tried == id), "{path}"),
        }
    }
}

/// The server's URL is made as those of lists: absolute for a known host.
#[test]
fn the_description_has_the_url_of_the_server() {
    let description = Description::new();
    let servers = |headers: &str| {
        let response = description.server.request("GET", "/openapi.json", headers);
        assert_eq!(response.maybe_header("content-encoding"), None);
        response.json()["servers"][0]["url"].as_str().unwrap().to_owned()
    };
    assert_eq!(servers("Host: localhost:8080\r\n"), "http://localhost:8080");
    let gzip = "Host: localhost\r\nAccept-Encoding: gzip\r\n";
    assert_eq!(servers(gzip), "http://localhost");
    assert_eq!(servers("Host: evil\r\n"), "/");
    let store = Store::in_memory().unwrap();
    let public_url = Some("https://api.example.com/v1/".parse().unwrap());
    let server = Server::start(&store, Config { public_url, ..Config::default() });
    let public = server.request("GET", "/openapi.json", "");
    assert_eq!(public.json()["servers"][0]["url"], "https://api.example.com/v1");
    let gzip = server.request("GET", "/openapi.json", "Accept-Encoding: gzip\r\n");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&*gzip.body).read_to_string(&mut text).unwrap();
    assert_eq!(text, public.text());
}

/// Exactly the operations that document 401 refuse a request without a token.
#[test]
fn error_responses_match_their_examples() {
    let description = Description::new();
    for (method, path, operation) in description.operations() {
        let error = &operation["responses"]["401"];
        let target = path.replace("{uuid}", "x");
        let response =
            description.server.request(&method, &target, "Host: test\r\nContent-Length: 0\r\n");
        assert_eq!(error.is_null(), response.status == 200, "{path}: {}", response.text());
        if !error.is_null() {
            let error = description.resolved(error);
            let content = &error["content"]["application/json"];
            assert_eq!((response.status, &response.json()), (401, &content["example"]), "{path}");
            description.check_fields(&content["schema"], &response.json(), &path);
        }
        if !operation["responses"]["404"].is_null() && path.contains("{uuid}") {
            let json = "Content-Type: application/json\r\n";
            let response = description.request(&method, &target, json, r#"{"name":"A"}"#);
            let error = description.resolved(&operation["responses"]["404"]);
            let example = &error["content"]["application/json"]["example"];
            assert_eq!((response.status, &response.json()), (404, example), "{method} {path}");
        }
    }
}

/// Every reference resolves, and every component is referenced.
#[test]
fn references_and_components_match() {
    let description = Description::new();
    let text = convodb_http::openapi();
    let mut referred = BTreeSet::new();
    for rest in text.split("\"$ref\":\"#").skip(1) {
        let place = rest.split('"').next().unwrap();
        assert!(description.document.pointer(place).is_some(), "{place} does not exist");
        referred.insert(place.to_owned());
    }
    for kind in ["schemas", "responses", "headers"] {
        for name in description.document["components"][kind].as_object().unwrap().keys() {
            let place = format!("/components/{kind}/{name}");
            assert!(referred.contains(&place), "{place} is not referenced");
        }
    }
    let ids: BTreeSet<_> = description
        .operations()
        .iter()
        .map(|(_, _, operation)| operation["operationId"].to_string())
        .collect();
    assert_eq!(ids.len(), description.operations().len(), "operation ids are unique");
}

#[test]
fn operations_outside_the_reference_api_are_marked_as_extensions() {
    let description = Description::new();
    let is_reference = |operation: &Value| {
        let text = operation["description"].as_str().unwrap_or_default();
        !text.ends_with("Extension: the reference API does not have this operation.")
    };
    let operations = description.operations();
    let reference: BTreeSet<_> = operations
        .iter()
        .filter(|(_, _, operation)| is_reference(operation))
        .map(|(_, _, operation)| operation["operationId"].as_str().unwrap())
        .collect();
    let expected = [
        "appendMessage",
        "createConversation",
        "disableAi",
        "enableAi",
        "listAllAssistants",
        "listAssistants",
        "listConversations",
        "readConversation",
        "readMe",
    ];
    assert_eq!(reference, expected.into());
}
