//! Long item: a line parsed as it arrives, so that its text is never in memory as a whole.
//!
//! A scanner follows strings and brackets. It keeps the text of the object without its messages, and
//! parses each message when its last byte has arrived. The first wrong message ends the parsing: the
//! rest of the line is dropped. In memory are the parsed messages, the text of one message, and the
//! other fields.

use convodb::Message;
use serde_json::value::RawValue;

use crate::field::InvalidField;
use crate::parse::{Item, ItemError, parse_message};

/// The most bytes of one message as text: 1 MiB of content and 64 KiB of function calls, as JSON.
const MAX_MESSAGE_BYTES: usize = 8 << 20;
/// The most bytes of the other fields.
const MAX_FIELDS_BYTES: usize = 1 << 20;
/// More bytes than the longer of `messages` and `history` has.
const NAME_BYTES: usize = 9;

/// Parses one line piece by piece.
///
/// ```
/// use convodb_json::{Item, LongItem};
/// let line = br#"{"id": "7c9e6679-7425-40de-944b-e07fc1f90ae7", "type": "test",
///     "assistant_id": "a1b2c3d4-5678-40ab-8def-1234567890ab", "created_at": "2025-01-25",
///     "messages": [{"role": "user", "content": "Hello", "created_at": "2025-01-25"}]}"#;
/// let mut long = LongItem::default();
/// for piece in line.chunks(7) {
///     long.push(piece);
/// }
/// assert_eq!(long.finish(), Item::parse(line));
/// ```
#[derive(Debug, Default)]
pub struct LongItem {
    /// The bytes of the line so far.
    read: usize,
    string: InString,
    /// How many brackets are open; those of a list of messages and its object are not among them.
    depth: u32,
    /// The text of the object, with `[]` in place of its messages.
    fields: Vec<u8>,
    /// The beginning of the last string between the outermost braces: the name of the field whose
    /// value is read.
    name: Vec<u8>,
    list: Option<List>,
    /// The text of the message that is read.
    message: Vec<u8>,
    messages: Vec<Message>,
    /// The bytes of the messages in memory.
    bytes: usize,
    /// Where the fields lack the text of the messages, and how many bytes it has.
    removed: Option<(usize, usize)>,
    error: Option<ItemError>,
}

/// The list of messages that is read.
#[derive(Clone, Copy, Debug)]
struct List {
    name: &'static str,
    /// The bytes of the line before its first message.
    begin: usize,
    /// The messages of another list before it, which makes the line invalid at its end.
    others: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum InString {
    #[default]
    No,
    Yes,
    /// After a backslash.
    Escaped,
}

impl LongItem {
    /// Reads the next bytes of the line. Linear in their number.
    pub fn push(&mut self, piece: &[u8]) {
        for byte in piece {
            if self.error.is_some() {
                return;
            }
            self.read += 1;
            let read = match self.list {
                Some(list) => self.read_message(list, *byte),
                None => self.read_field(*byte),
            };
            self.error = read.err();
        }
        if self.error.is_some() {
            // The line is rejected, so nothing of it is needed.
            (self.messages, self.message, self.fields) = Default::default();
            self.bytes = 0;
        }
    }

    /// The bytes of the parsed messages in memory.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the item at the end of the line.
    ///
    /// # Errors
    /// As [`Item::parse`]; besides if a message has more than 8 MiB, or the other fields more than
    /// 1 MiB.
    pub fn finish(self) -> Result<Item, ItemError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.list.is_some() {
            return Err(ItemError::Syntax { column: self.read + 1 });
        }
        Item::parse_with(&self.fields, self.messages).map_err(|error| match (error, self.removed) {
            (ItemError::Syntax { column }, Some((at, bytes))) if column > at => {
                ItemError::Syntax { column: column + bytes }
            }
            (error, _) => error,
        })
    }

    /// Reads a byte of the object, but of its messages.
    fn read_field(&mut self, byte: u8) -> Result<(), ItemError> {
        if self.fields.len() >= MAX_FIELDS_BYTES {
            return Err(ItemError::LongFields { max: MAX_FIELDS_BYTES });
        }
        self.fields.push(byte);
        let was = self.string;
        self.string = was.after(byte);
        if was != InString::No {
            if self.depth == 1 && self.string != InString::No && self.name.len() < NAME_BYTES {
                self.name.push(byte);
            }
            return Ok(());
        }
        match byte {
            b'"' if self.depth == 1 => self.name.clear(),
            b'[' if self.depth == 1 => match self.name.as_slice() {
                b"messages" => self.begin_list("messages"),
                b"history" => self.begin_list("history"),
                _ => self.depth += 1,
            },
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        Ok(())
    }

    fn begin_list(&mut self, name: &'static str) {
        self.list = Some(List { name, begin: self.read, others: self.messages.len() });
        self.depth = 0;
    }

    /// Reads a byte of the messages.
    fn read_message(&mut self, list: List, byte: u8) -> Result<(), ItemError> {
        let was = self.string;
        self.string = was.after(byte);
        match byte {
            b',' | b']' if was == InString::No && self.depth == 0 => {
                return self.end_message(list, byte == b']');
            }
            b'{' | b'[' if was == InString::No => self.depth += 1,
            b'}' | b']' if was == InString::No => {
                let column = self.read;
                self.depth = self.depth.checked_sub(1).ok_or(ItemError::Syntax { column })?;
            }
            byte if byte.is_ascii_whitespace() && self.message.is_empty() => return Ok(()),
            _ => {}
        }
        if self.message.len() >= MAX_MESSAGE_BYTES {
            return Err(self.wrong(list, "message", "must have at most 8388608 bytes"));
        }
        self.message.push(byte);
        Ok(())
    }

    /// Parses the message whose last byte was read, and ends the list after the last one.
    fn end_message(&mut self, list: List, is_last: bool) -> Result<(), ItemError> {
        let is_first = self.messages.len() == list.others;
        let is_empty_list = is_last && is_first && self.message.is_empty();
        if !is_empty_list {
            let message = self.parsed_message(list)?;
            let calls = message.function_calls().map_or(0, str::len);
            self.bytes += size_of::<Message>() + message.content().len() + calls;
            self.messages.push(message);
            self.message.clear();
        }
        if is_last {
            self.removed = Some((self.fields.len(), self.read - list.begin - 1));
            self.fields.push(b']');
            self.list = None;
            self.depth = 1;
        }
        Ok(())
    }

    fn parsed_message(&self, list: List) -> Result<Message, ItemError> {
        // The comma or bracket after the message has been read.
        let begin = self.read - 1 - self.message.len();
        let text = std::str::from_utf8(&self.message)
            .map_err(|error| ItemError::Syntax { column: begin + error.valid_up_to() + 1 })?;
        serde_json::from_str::<&RawValue>(text)
            .map_err(|error| ItemError::Syntax { column: begin + error.column() })?;
        parse_message(text)
            .map_err(|InvalidField { field, reason }| self.wrong(list, field, reason))
    }

    fn wrong(&self, list: List, field: &'static str, reason: &'static str) -> ItemError {
        let index = self.messages.len() - list.others;
        ItemError::Message { list: list.name, index, field, reason }
    }
}

impl InString {
    const fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (InString::No, b'"') | (InString::Escaped, _) => InString::Yes,
            (InString::No, _) | (InString::Yes, b'"') => InString::No,
            (InString::Yes, b'\\') => InString::Escaped,
            (InString::Yes, _) => InString::Yes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: &str = r#""id":"7c9e6679-7425-40de-944b-e07fc1f90ae7","type":"test","assistant_id":"a1b2c3d4-5678-40ab-8def-1234567890ab","created_at":"2025-01-25 10:15:00""#;
    const MESSAGE: &str = r#"{"role":"user","content":"a ] \" , [ é \\","function_calls":[{"a":[1,"]"]}],"cost":0.5,"created_at":"2025-01-25"}"#;

    fn long(line: &[u8], size: usize) -> Result<Item, ItemError> {
        let mut long = LongItem::default();
        line.chunks(size).for_each(|piece| long.push(piece));
        long.finish()
    }

    /// A line is the same item, or has the same error, as when it is parsed as a whole.
    #[test]
    fn a_line_is_parsed_as_a_whole_line_is() {
        for line in [
            format!("{{{IDS}}}"),
            format!("{{{IDS},\"messages\":[]}}"),
            format!("{{{IDS},\"messages\" : [ ] }}"),
            format!("{{{IDS},\"messages\":[{MESSAGE}]}}"),
            format!("{{\"history\":[ {MESSAGE} ,\t{MESSAGE}],{IDS},\"next_cursor\":null}}"),
            format!("{{\"x\":{{\"messages\":[1]}},{IDS},\"variables\":{{\"messages\":[2]}}}}"),
            format!(
                "{{{IDS},\"y\":\"messages\",\"z\":[1,[2]],\"messages\":[{MESSAGE}],\"total_cost\":7.5}}"
            ),
            format!("{{{IDS},\"messages\":null,\"history\":[{MESSAGE}]}}"),
            // Errors.
            format!("{{{IDS},\"messages\":[{MESSAGE}],\"history\":[{MESSAGE}]}}"),
            format!("{{{IDS},\"messages\":[{MESSAGE}],\"messages\":[]}}"),
            format!("{{{IDS},\"history\":[{MESSAGE}],\"next_cursor\":\"after-1\"}}"),
            format!("{{{IDS},\"messages\":[{MESSAGE},{{\"role\":\"user\"}},{MESSAGE}]}}"),
            format!("{{{IDS},\"messages\":[{MESSAGE},7]}}"),
            format!("{{{IDS},\"messages\":[{MESSAGE}],\"message_count\":0}}"),
            format!("{{{IDS},\"messages\":{{}}}}"),
            format!("[{{{IDS},\"messages\":[{MESSAGE}]}}]"),
            "7".to_owned(),
            String::new(),
        ] {
            let whole = Item::parse(line.as_bytes());
            for size in [1, 2, 3, 64, line.len().max(1)] {
                assert_eq!(long(line.as_bytes(), size), whole, "{line} by {size}");
            }
        }
    }

    #[test]
    fn invalid_json_is_a_syntax_error() {
        for line in [
            format!("{{{IDS},\"messages\":[{MESSAGE},,{MESSAGE}]}}"),
            format!("{{{IDS},\"messages\":[{MESSAGE},]}}"),
            format!("{{{IDS},\"messages\":[{MESSAGE} {MESSAGE}]}}"),
            format!("{{{IDS},\"messages\":[{MESSAGE}}}"),
            format!("{{{IDS},\"messages\":[{MESSAGE}"),
            format!("{{{IDS},\"messages\":[{MESSAGE}]"),
            format!("{{{IDS},\"messages\":[{{\"role\":]}}"),
            format!("{{{IDS},\"messages\" [{MESSAGE}]}}"),
            format!("{{{IDS},\"messages\":[{MESSAGE}]}} x"),
        ] {
            for size in [1, line.len()] {
                let error = long(line.as_bytes(), size).unwrap_err();
                let ItemError::Syntax { column } = error else { panic!("{error} in {line}") };
                assert!((1..=line.len() + 1).contains(&column), "{column} of {line}");
            }
        }
        let line = format!("{{{IDS},\"messages\":[{MESSAGE}],}}");
        assert_eq!(long(line.as_bytes(), 5), Item::parse(line.as_bytes()), "the column counts");
    }

    #[test]
    fn a_wrong_message_ends_the_parsing_and_frees_the_memory() {
        let mut long = LongItem::default();
        long.push(format!("{{{IDS},\"messages\":[{MESSAGE},").as_bytes());
        assert!(long.bytes() > MESSAGE.len() / 2);
        long.push(b"1,");
        assert_eq!(long.bytes(), 0);
        for _ in 0..100 {
            long.push(MESSAGE.as_bytes());
        }
        assert_eq!((long.bytes(), long.message.capacity(), long.fields.capacity()), (0, 0, 0));
        let error = long.finish().unwrap_err().to_string();
        assert_eq!(error, "messages[1].message must be an object with each field at most once");
    }

    #[test]
    fn long_fields_and_messages_are_rejected() {
        let text = "x".repeat(MAX_FIELDS_BYTES);
        let error = long(format!("{{{IDS},\"other\":\"{text}\"}}").as_bytes(), 4096).unwrap_err();
        assert_eq!(error.to_string(), "the line has more than 1048576 bytes beside its messages");
        let text = "x".repeat(MAX_MESSAGE_BYTES);
        let line = format!("{{{IDS},\"messages\":[{{\"content\":\"{text}\"}}]}}");
        let error = long(line.as_bytes(), 4096).unwrap_err();
        assert_eq!(error.to_string(), "messages[0].message must have at most 8388608 bytes");
    }
}
