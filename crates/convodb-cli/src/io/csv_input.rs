//! CSV import: each record becomes the JSON line of a conversation without messages.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use csv::{Reader, ReaderBuilder, StringRecord};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Columns whose cells are JSON: numbers, booleans, objects.
const JSON_COLUMNS: [&str; 4] = ["message_count", "total_cost", "ai_enabled", "variables"];

/// The records of a CSV file with the columns of an export, in any order.
pub(crate) struct CsvInput {
    reader: Reader<Limited>,
    /// The bytes that the current record may still have.
    left: Rc<Cell<usize>>,
    max_bytes: usize,
    columns: StringRecord,
    record: StringRecord,
}

/// A reader that fails if a record is too long, as it is after a quote that is never closed.
struct Limited {
    reader: Box<dyn Read>,
    left: Rc<Cell<usize>>,
}

impl Read for Limited {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        let Some(left) = self.left.get().checked_sub(read) else {
            let what = "a record of the CSV is too long: a quote is not closed";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        };
        self.left.set(left);
        Ok(read)
    }
}

/// A record that was read.
pub(crate) enum Record {
    /// A line of JSON.
    Line,
    /// It has another number of cells than the header.
    Uneven,
}

impl CsvInput {
    /// Reads the header. A record has at most about `max_bytes`.
    pub(crate) fn new(reader: Box<dyn Read>, separator: u8, max_bytes: usize) -> io::Result<Self> {
        let left = Rc::new(Cell::new(max_bytes));
        let limited = Limited { reader, left: left.clone() };
        let mut reader =
            ReaderBuilder::new().delimiter(separator).flexible(true).from_reader(limited);
        let columns = reader.headers().map_err(io_error)?;
        let columns = columns.iter().map(str::trim).collect();
        Ok(Self { reader, left, max_bytes, columns, record: StringRecord::new() })
    }

    /// Writes the next record to `line`, which is empty, and returns the number of its first line;
    /// `None` at the end. The cells of an uneven record are written as they are.
    ///
    /// # Errors
    /// Fails if the input cannot be read, or a record is not UTF-8 or too long.
    pub(crate) fn next(&mut self, line: &mut Vec<u8>) -> io::Result<Option<(u64, Record)>> {
        self.left.set(self.max_bytes);
        if !self.reader.read_record(&mut self.record).map_err(io_error)? {
            return Ok(None);
        }
        let number = self.record.position().map_or(0, csv::Position::line);
        if self.record.len() != self.columns.len() {
            let cells: Vec<&str> = self.record.iter().collect();
            line.extend_from_slice(cells.join(",").as_bytes());
            return Ok(Some((number, Record::Uneven)));
        }
        serde_json::to_writer(line, &object(&self.columns, &self.record)?)?;
        Ok(Some((number, Record::Line)))
    }
}

/// A record as a JSON object; an empty cell is a missing value.
fn object(columns: &StringRecord, record: &StringRecord) -> io::Result<Box<RawValue>> {
    let mut fields: Vec<(String, Box<RawValue>)> = Vec::new();
    let (mut sender, mut customer) = (Map::new(), Map::new());
    for (column, cell) in columns.iter().zip(record).filter(|(_, cell)| !cell.is_empty()) {
        // The apostrophe of an export with --csv-safe; no phone number begins with it.
        let phone = || Value::from(cell.strip_prefix('\'').unwrap_or(cell));
        match column {
            "whatsapp_sender_name" => drop(sender.insert("name".to_owned(), cell.into())),
            "whatsapp_sender_phone" => drop(sender.insert("phone".to_owned(), phone())),
            "customer_name" => drop(customer.insert("name".to_owned(), cell.into())),
            "customer_phone" => drop(customer.insert("phone".to_owned(), phone())),
            _ => {
                let json = match JSON_COLUMNS.contains(&column) {
                    // As Python prints them.
                    true if cell == "True" || cell == "False" => cell.to_ascii_lowercase(),
                    true => cell.to_owned(),
                    false => Value::from(cell).to_string(),
                };
                // Other text stays a text, and the parser says what it must be.
                let json = RawValue::from_string(json)
                    .or_else(|_| RawValue::from_string(Value::from(cell).to_string()))?;
                fields.push((column.to_owned(), json));
            }
        }
    }
    for (name, contact) in [("whatsapp_sender", sender), ("customer", customer)] {
        if !contact.is_empty() {
            fields
                .push((name.to_owned(), RawValue::from_string(Value::from(contact).to_string())?));
        }
    }
    let fields: Vec<String> =
        fields.iter().map(|(name, json)| format!("\"{name}\":{json}")).collect();
    Ok(RawValue::from_string(format!("{{{}}}", fields.join(",")))?)
}

fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        csv::ErrorKind::Utf8 { pos, .. } => {
            let line = pos.map_or(0, |pos| pos.line());
            let what = format!("the record at line {line} is not UTF-8");
            io::Error::new(io::ErrorKind::InvalidData, what)
        }
        _ => io::Error::new(io::ErrorKind::InvalidData, "it is not CSV"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "id,type,ai_enabled,variables,customer_name,customer_phone\n";

    fn read(text: &str, max_bytes: usize) -> io::Result<Vec<(u64, String)>> {
        let text = format!("{HEADER}{text}").into_bytes();
        let mut input = CsvInput::new(Box::new(io::Cursor::new(text)), b',', max_bytes)?;
        let (mut all, mut line) = (Vec::new(), Vec::new());
        while let Some((number, _)) = input.next(&mut line)? {
            all.push((number, String::from_utf8(std::mem::take(&mut line)).unwrap()));
        }
        Ok(all)
    }

    #[test]
    fn a_record_becomes_a_json_line() {
        let text = "a,api,True,\"{\"\"n\"\": 1.10}\",\"x, \"\"y\"\"\nz\",'+49\nb,,maybe,,,\nc,d\n";
        let expected = [
            (
                2,
                r#"{"id":"a","type":"api","ai_enabled":true,"variables":{"n": 1.10},"customer":{"name":"x, \"y\"\nz","phone":"+49"}}"#,
            ),
            (4, r#"{"id":"b","ai_enabled":"maybe"}"#),
            (5, "c,d"),
        ];
        let expected = expected.map(|(number, line)| (number, line.to_owned()));
        assert_eq!(read(text, 1 << 20).unwrap(), expected);
    }

    #[test]
    fn an_open_quote_does_not_take_all_memory() {
        let text = format!("a,\"{}", "x".repeat(1 << 20));
        let error = read(&text, 1 << 18).unwrap_err();
        assert!(error.to_string().contains("a quote is not closed"), "{error}");
    }
}
