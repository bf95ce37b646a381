//! Responses of the other server that an import reads: list pages, assistants, messages.
//!
//! An item of the list and its history become one line of an import.

use std::collections::BTreeMap;

use convodb::{AssistantId, ConversationId, Name, Timestamp};
use convodb_json::{Item, ItemError, ItemFields};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// Why a response does not follow the API.
pub(crate) type Malformed = &'static str;

/// One page of the list.
#[derive(Debug)]
pub(crate) struct ListPage {
    pub(crate) items: Vec<ListItem>,
    pub(crate) next: Option<String>,
}

/// One item of a page: its text, and its id and time.
#[derive(Clone, Debug)]
pub(crate) struct ListItem {
    pub(crate) text: String,
    pub(crate) id: Option<ConversationId>,
    pub(crate) created_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct WirePage<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
    next_cursor: &'a RawValue,
}

#[derive(Deserialize)]
struct WireHead {
    id: Option<Value>,
    created_at: Option<Value>,
}

impl ListPage {
    /// Parses the body of a page.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(body).map_err(|_| "it is not UTF-8")?;
        let page: WirePage<'_> =
            serde_json::from_str(text).map_err(|error| match error.is_data() {
                true => "it is not an object with an array `data` and a `next_cursor`",
                false => "it is not JSON, or incomplete",
            })?;
        let next = serde_json::from_str::<Option<String>>(page.next_cursor.get());
        let next = next.map_err(|_| "its `next_cursor` is neither a string nor null")?;
        let items = page.data.into_iter().map(ListItem::parse).collect();
        Ok(Self { items, next: next.filter(|next| !next.is_empty()) })
    }
}

impl ListItem {
    fn parse(json: &RawValue) -> Self {
        fn text<T: std::str::FromStr>(value: Option<&Value>) -> Option<T> {
            value?.as_str()?.parse().ok()
        }
        let head = serde_json::from_str::<WireHead>(json.get()).ok();
        let head = head.as_ref();
        Self {
            text: json.get().to_owned(),
            id: head.and_then(|head| text(head.id.as_ref())),
            created_at: head.and_then(|head| text(head.created_at.as_ref())),
        }
    }

    /// Merges the item with the response that has its history into a line of an import, and parses
    /// it.
    ///
    /// Fields in that response replace the item's, because they are as of the history. If the
    /// history has more messages than the item counts, some were appended in between, and its
    /// length counts.
    pub(crate) fn with_history(
        &self,
        response: &[u8],
    ) -> Result<(Vec<u8>, Result<Item, ItemError>), Malformed> {
        let object = |text| serde_json::from_str::<BTreeMap<String, &RawValue>>(text);
        let response = std::str::from_utf8(response).map_err(|_| "it is not UTF-8")?;
        let response = object(response).map_err(|_| "it is not a JSON object")?;
        let history = *response.get("history").ok_or("it has no `history`")?;
        let messages = serde_json::from_str::<Vec<&RawValue>>(history.get());
        let messages = messages.map_err(|_| "its `history` is not an array")?.len() as u64;
        let Ok(mut line) = object(&self.text) else {
            // Not an object: the parser reports it.
            return Ok((self.text.clone().into_bytes(), Item::parse(self.text.as_bytes())));
        };
        let same = response.get("id").map(|id| id.get()) == line.get("id").map(|id| id.get());
        // The server may repeat fields of the item, as of a later moment, beside its history.
        for field in ItemFields::names().iter().filter(|_| same) {
            if let Some(value) = response.get(*field) {
                line.insert((*field).to_owned(), *value);
            }
        }
        let count = line.get("message_count").and_then(|count| count.get().parse::<u64>().ok());
        let count = count.filter(|count| *count < messages).map(|_| messages.to_string());
        let count = count
            .map(RawValue::from_string)
            .transpose()
            .map_err(|_| "its message count is invalid")?;
        if let Some(count) = &count {
            line.insert("message_count".to_owned(), count);
        }
        line.insert("messages".to_owned(), history);
        let line = serde_json::to_vec(&line).map_err(|_| "it cannot be merged with its item")?;
        let item = Item::parse(&line);
        Ok((line, item))
    }
}

/// Pages of a history, joined into the response that a server without pages sends.
#[derive(Debug, Default)]
pub(crate) struct HistoryPages {
    /// The messages so far, separated by commas.
    messages: Vec<u8>,
    /// The other fields of the last page, each after a comma.
    fields: Vec<u8>,
}

impl HistoryPages {
    /// Adds the next page, and returns the cursor of the page after it.
    pub(crate) fn add(&mut self, page: &[u8]) -> Result<Option<String>, Malformed> {
        let page = serde_json::from_slice::<BTreeMap<String, &RawValue>>(page);
        let mut page = page.map_err(|_| "it is not a JSON object")?;
        let history = page.remove("history").ok_or("it has no `history`")?.get().trim();
        let messages = history.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let messages = messages.ok_or("its `history` is not an array")?.trim();
        if !messages.is_empty() {
            if !self.messages.is_empty() {
                self.messages.push(b',');
            }
            self.messages.extend_from_slice(messages.as_bytes());
        }
        let next = page.remove("next_cursor").map_or("null", RawValue::get);
        let next = serde_json::from_str::<Option<String>>(next);
        let next = next.map_err(|_| "its `next_cursor` is neither a string nor null")?;
        self.fields.clear();
        for (name, value) in page {
            self.fields.push(b',');
            convodb_json::json::string(&mut self.fields, &name);
            self.fields.push(b':');
            self.fields.extend_from_slice(value.get().as_bytes());
        }
        Ok(next)
    }

    /// The bytes of all messages so far.
    pub(crate) const fn bytes(&self) -> usize {
        self.messages.len()
    }

    /// Returns the response with the messages of all pages and the fields of the last one.
    pub(crate) fn into_response(self) -> Vec<u8> {
        let Self { messages: mut response, fields } = self;
        // One move of the bytes, where a new buffer would need as much memory again.
        response.splice(0..0, *b"{\"history\":[");
        response.push(b']');
        response.extend(fields);
        response.push(b'}');
        response
    }
}

/// Parses a page of the assistants list: returns those with an id and a name, and whether more
/// follow.
pub(crate) fn assistants(body: &[u8]) -> Result<(Vec<(AssistantId, Name)>, bool), Malformed> {
    #[derive(Deserialize)]
    struct Page {
        data: Vec<Value>,
        next_page_url: Option<Value>,
    }
    let page: Page =
        serde_json::from_slice(body).map_err(|_| "it is not an object with an array `data`")?;
    let parse = |item: &Value| {
        let text = |field| item.get(field).and_then(Value::as_str);
        Some((text("uuid")?.parse().ok()?, text("name")?.parse().ok()?))
    };
    let more = page.next_page_url.is_some_and(|url| url.is_string());
    Ok((page.data.iter().filter_map(parse).collect(), more))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ITEM: &str = r#"{"id":"7c9e6679-7425-40de-944b-e07fc1f90ae7","assistant_id":"a1b2c3d4-5678-40ab-8def-1234567890ab","assistant_name":"Bot","type":"widget","variables":{"n":1.10},"message_count":1,"total_cost":0.5,"created_at":"2025-01-25 10:15:00","updated_at":"2025-01-25 10:16:00"}"#;

    fn page(data: &str, next: &str) -> Result<ListPage, Malformed> {
        ListPage::parse(
            format!(r#"{{"data":[{data}],"path":"x","next_cursor":{next}}}"#).as_bytes(),
        )
    }

    #[test]
    fn a_page_without_items_or_cursor_is_malformed() {
        let read = page(&format!("{ITEM},3"), "\"abc\"").unwrap();
        assert_eq!(read.next.as_deref(), Some("abc"));
        assert_eq!((read.items[0].id.is_some(), read.items[1].id), (true, None));
        assert_eq!(read.items[0].created_at.unwrap().to_string(), "2025-01-25 10:15:00");
        assert_eq!(page("", "null").unwrap().next, None);
        assert!(page("", "3").unwrap_err().contains("next_cursor"));
        for wrong in ["", "[]", "<html>", r#"{"data":[]}"#, r#"{"data":{},"next_cursor":null}"#] {
            assert!(ListPage::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_item_and_its_history_become_one_line() {
        let item = &page(ITEM, "null").unwrap().items[0];
        let message = r#"{"role":"user","content":"hi","created_at":"2025-01-25 10:15:01"}"#;
        let response =
            format!(r#"{{"status":true,"history":[{message},{message}],"variables":null}}"#);
        let (_, line) = item.with_history(response.as_bytes()).unwrap();
        let line = line.unwrap();
        assert_eq!(line.messages.len(), 2);
        assert_eq!(line.conversation.message_count, 2, "appended in between");
        assert_eq!(line.conversation.variables.unwrap().as_str(), r#"{"n":1.10}"#);

        // Newer fields count if they are of the same conversation.
        let response = ITEM.replace("0.5", "0.75").replace('{', r#"{"history":[],"#);
        let response = response.replace(r#"{"history":[],"n":1.10}"#, r#"{"n":2}"#);
        let (_, line) = item.with_history(response.as_bytes()).unwrap();
        let line = line.unwrap().conversation;
        assert_eq!(line.total_cost.to_string(), "0.75");
        assert_eq!(line.variables.unwrap().as_str(), r#"{"n":2}"#);

        assert_eq!(item.with_history(b"{}").unwrap_err(), "it has no `history`");
        assert!(item.with_history(b"[1").is_err());
    }

    #[test]
    fn pages_of_a_history_become_one_response() {
        let mut pages = HistoryPages::default();
        let page = |history: &str, next: &str, count: u32| {
            format!(
                r#"{{"status":true,"history":[{history}],"message_count":{count},"next_cursor":{next}}}"#
            )
        };
        assert_eq!(
            pages.add(page("1, 2", "\"after-2\"", 2).as_bytes()),
            Ok(Some("after-2".to_owned()))
        );
        assert_eq!(
            pages.add(page("3", "\"after-3\"", 3).as_bytes()),
            Ok(Some("after-3".to_owned()))
        );
        assert_eq!(pages.add(page("", "null", 3).as_bytes()), Ok(None));
        let response = String::from_utf8(pages.into_response()).unwrap();
        assert_eq!(response, r#"{"history":[1, 2,3],"message_count":3,"status":true}"#);
        for (page, expected) in [
            ("[]", "it is not a JSON object"),
            ("{}", "it has no `history`"),
            (r#"{"history":{}}"#, "its `history` is not an array"),
            (r#"{"history":[],"next_cursor":1}"#, "its `next_cursor` is neither a string nor null"),
        ] {
            assert_eq!(HistoryPages::default().add(page.as_bytes()), Err(expected), "{page}");
        }
    }

    #[test]
    fn assistants_without_an_id_are_skipped() {
        let uuid = "a1b2c3d4-5678-40ab-8def-1234567890ab";
        let body = format!(
            r#"{{"data":[{{"id":1,"uuid":"{uuid}","name":"Bot"}},{{"id":2,"name":"Old"}}],"next_page_url":"x"}}"#
        );
        let (found, more) = assistants(body.as_bytes()).unwrap();
        assert_eq!((found.len(), more), (1, true));
        assert!(!assistants(br#"{"data":[],"next_page_url":null}"#).unwrap().1);
        assert!(assistants(b"[]").is_err());
    }
}
