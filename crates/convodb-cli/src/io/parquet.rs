//! Parquet export: the columns of the CSV export with types, and messages as JSON text on request.
//!
//! Compressed with zstd. A row group has 16,384 conversations and is in memory until it is written.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, Result};
use convodb::{ConversationRef, ListRequest, Message, Name, Phone, Snapshot, UserId, Variables};
use convodb_json::csv::contacts;
use convodb_json::{AssistantNames, Messages, write_line};
use parquet::basic::{Compression, ZstdLevel};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::Type;

const GROUP_ROWS: usize = 16_384;

/// The columns of [`convodb_json::csv`], in the same order; `total_cost` is exact, in USD.
const SCHEMA: &str = "
    REQUIRED BYTE_ARRAY id (STRING);
    REQUIRED INT64 created_at (TIMESTAMP(MILLIS, true));
    REQUIRED INT64 updated_at (TIMESTAMP(MILLIS, true));
    REQUIRED BYTE_ARRAY type (STRING);
    REQUIRED BYTE_ARRAY assistant_id (STRING);
    REQUIRED BYTE_ARRAY assistant_name (STRING);
    REQUIRED INT64 message_count;
    REQUIRED INT64 total_cost (DECIMAL(18, 9));
    REQUIRED BOOLEAN ai_enabled;
    OPTIONAL BYTE_ARRAY external_identifier (STRING);
    OPTIONAL BYTE_ARRAY whatsapp_sender_name (STRING);
    OPTIONAL BYTE_ARRAY whatsapp_sender_phone (STRING);
    OPTIONAL BYTE_ARRAY customer_name (STRING);
    OPTIONAL BYTE_ARRAY customer_phone (STRING);
    OPTIONAL BYTE_ARRAY variables (JSON);
";
const MESSAGES: &str = "OPTIONAL BYTE_ARRAY messages (JSON);";

/// A column of the current row group.
enum Column {
    Numbers(Vec<i64>),
    Booleans(Vec<bool>),
    Texts(Vec<ByteArray>),
    /// With a definition level for each row: 1 where it has a value.
    OptionalTexts(Vec<ByteArray>, Vec<i16>),
}

/// A value of one row and column.
enum Cell {
    Number(i64),
    Boolean(bool),
    Text(String),
    OptionalText(Option<String>),
}

impl Column {
    fn of(field: &Type) -> Self {
        match field.get_physical_type() {
            parquet::basic::Type::INT64 => Column::Numbers(Vec::new()),
            parquet::basic::Type::BOOLEAN => Column::Booleans(Vec::new()),
            _ if field.is_optional() => Column::OptionalTexts(Vec::new(), Vec::new()),
            _ => Column::Texts(Vec::new()),
        }
    }

    /// Appends the value of the next row, whose type is the column's.
    fn push(&mut self, cell: Cell) {
        match (self, cell) {
            (Column::Numbers(column), Cell::Number(number)) => column.push(number),
            (Column::Booleans(column), Cell::Boolean(on)) => column.push(on),
            (Column::Texts(column), Cell::Text(text)) => column.push(text.into_bytes().into()),
            (Column::OptionalTexts(column, levels), Cell::OptionalText(text)) => {
                levels.push(i16::from(text.is_some()));
                column.extend(text.map(|text| ByteArray::from(text.into_bytes())));
            }
            _ => unreachable!("cells are in the order of the schema"),
        }
    }

    fn write(&mut self, out: &mut ColumnWriter<'_>) -> parquet::errors::Result<()> {
        match (&mut *self, out) {
            (Column::Numbers(column), ColumnWriter::Int64ColumnWriter(out)) => {
                out.write_batch(column, None, None)?;
                column.clear();
            }
            (Column::Booleans(column), ColumnWriter::BoolColumnWriter(out)) => {
                out.write_batch(column, None, None)?;
                column.clear();
            }
            (Column::Texts(column), ColumnWriter::ByteArrayColumnWriter(out)) => {
                out.write_batch(column, None, None)?;
                column.clear();
            }
            (Column::OptionalTexts(column, levels), ColumnWriter::ByteArrayColumnWriter(out)) => {
                out.write_batch(column, Some(levels), None)?;
                column.clear();
                levels.clear();
            }
            _ => unreachable!("columns are in the order of the schema"),
        }
        Ok(())
    }
}

/// Writes the user's list as a Parquet file; calls `step` after each conversation.
pub(crate) fn write(
    out: &mut (dyn Write + Send),
    (snapshot, user): (&Snapshot, UserId),
    request: &ListRequest,
    messages: Messages,
    mut step: impl FnMut(),
) -> Result<()> {
    let extra = if messages == Messages::Included { MESSAGES } else { "" };
    let schema =
        Arc::new(parse_message_type(&format!("message conversations {{ {SCHEMA} {extra} }}"))?);
    let compression = Compression::ZSTD(ZstdLevel::default());
    let properties = WriterProperties::builder().set_compression(compression).build();
    let mut file = SerializedFileWriter::new(out, schema.clone(), Arc::new(properties))?;
    let mut columns: Vec<Column> = schema.get_fields().iter().map(|f| Column::of(f)).collect();
    let mut names = AssistantNames::new(snapshot.clone(), user);
    let mut buffered = 0;
    for row in snapshot.conversations(user, request) {
        let row = row.context("cannot read the store")?;
        let mut cells = cells(&row.borrowed(), names.name(row.assistant)?);
        if messages == Messages::Included {
            let history = snapshot.messages(user, row.id)?.unwrap_or_default();
            cells.push(Cell::OptionalText(Some(messages_json(&row.borrowed(), &history)?)));
        }
        for (column, cell) in columns.iter_mut().zip(cells) {
            column.push(cell);
        }
        buffered += 1;
        step();
        if buffered == GROUP_ROWS {
            write_group(&mut file, &mut columns)?;
            buffered = 0;
        }
    }
    if buffered > 0 {
        write_group(&mut file, &mut columns)?;
    }
    file.close().context("cannot write the export")?;
    Ok(())
}

fn write_group<W: Write + Send>(
    file: &mut SerializedFileWriter<W>,
    columns: &mut [Column],
) -> Result<()> {
    let mut group = file.next_row_group()?;
    for column in columns {
        if let Some(mut out) = group.next_column()? {
            column.write(out.untyped())?;
            out.close()?;
        }
    }
    group.close().context("cannot write the export")?;
    Ok(())
}

/// The values of a row, in the order of the schema.
fn cells(row: &ConversationRef<'_>, assistant_name: &str) -> Vec<Cell> {
    // A timestamp has 42 bits, so the conversion never fails.
    let millis =
        |at: convodb::Timestamp| Cell::Number(i64::try_from(at.millis()).unwrap_or(i64::MAX));
    let optional = |text: Option<&str>| Cell::OptionalText(text.map(str::to_owned));
    let [sender, customer] = contacts(row);
    vec![
        Cell::Text(row.id.to_string()),
        millis(row.created_at),
        millis(row.updated_at),
        Cell::Text(row.channel.kind().to_string()),
        Cell::Text(row.assistant.to_string()),
        Cell::Text(assistant_name.to_owned()),
        Cell::Number(row.message_count.into()),
        Cell::Number(row.total_cost.nanos()),
        Cell::Boolean(row.ai_enabled),
        optional(row.channel.external_identifier()),
        optional(sender.name.map(Name::get)),
        optional(sender.phone.map(Phone::get)),
        optional(customer.name.map(Name::get)),
        optional(customer.phone.map(Phone::get)),
        optional(row.variables.map(Variables::get)),
    ]
}

/// The array `messages` of the conversation's line in a JSON lines export.
fn messages_json(row: &ConversationRef<'_>, history: &[Message]) -> Result<String> {
    #[derive(serde::Deserialize)]
    struct Line<'a> {
        #[serde(borrow)]
        messages: &'a serde_json::value::RawValue,
    }
    let mut line = Vec::new();
    write_line(&mut line, row, "", Some(history));
    let Line { messages } = serde_json::from_slice(&line)?;
    Ok(messages.get().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use convodb::{AssistantId, Channel, Conversation, ConversationId, Role, Store, Timestamp};
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::RowAccessor;

    #[test]
    fn a_parquet_file_reads_back_as_written() {
        let store = Store::in_memory().unwrap();
        let at: Timestamp = "2025-01-25T10:15:00.250Z".parse().unwrap();
        let user = store.create_user("acme", at).unwrap().id;
        let bot = AssistantId::generate(at);
        store.create_assistant(user, bot, "Bot").unwrap();
        for (number, channel) in
            [Channel::Widget, Channel::Api { external_identifier: Some("crm-1".parse().unwrap()) }]
                .into_iter()
                .enumerate()
        {
            let id = ConversationId::new(uuid::Uuid::from_u128(number as u128));
            store.insert(user, Conversation::new(id, bot, channel, at), Vec::new()).unwrap();
            let message = Message::new(Role::User, "Hello \"you\"".to_owned(), at).unwrap();
            let message = message.with_cost("0.0032".parse().unwrap());
            store.append_message(user, id, message).unwrap();
        }
        let mut bytes = Vec::new();
        let request = ListRequest { order: Some(convodb::Order::Ascending), ..Default::default() };
        let (snapshot, mut rows) = (store.snapshot(), 0);
        write(&mut bytes, (&snapshot, user), &request, Messages::Included, || rows += 1).unwrap();
        assert_eq!(rows, 2);

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.parquet");
        std::fs::write(&path, bytes).unwrap();
        let reader = SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap();
        let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[1].get_timestamp_millis(1).unwrap(), 1_737_800_100_250);
        assert_eq!(rows[1].get_string(3).unwrap(), "api");
        assert_eq!(rows[1].get_long(6).unwrap(), 1);
        assert_eq!(rows[1].get_string(9).unwrap(), "crm-1");
        assert!(rows[0].get_string(9).is_err(), "a widget has no external identifier");
        let messages = rows[0].get_string(15).unwrap();
        assert!(
            messages.starts_with(r#"[{"role":"user","content":"Hello \"you\"","#),
            "{messages}"
        );
        let cost = format!("{:?}", rows[0].get_decimal(7).unwrap());
        assert!(cost.contains("scale: 9"), "{cost}");
    }
}
