//! CSV export: one record per conversation, for spreadsheets and other programs.
//!
//! The columns and their order are documented in docs/http-api.md; new columns are added at the end
//! only. The HTTP export and the command line both write these records.

use convodb::{
    Contact, Conversation, ConversationRef, CostSum, ListRequest, Name, Phone, Result, Snapshot,
    UserId, Variables,
};

use crate::assistant_names::AssistantNames;
use crate::json;

/// The column names, in order.
pub const COLUMNS: [&str; 15] = [
    "id",
    "created_at",
    "updated_at",
    "type",
    "assistant_id",
    "assistant_name",
    "message_count",
    "total_cost",
    "ai_enabled",
    "external_identifier",
    "whatsapp_sender_name",
    "whatsapp_sender_phone",
    "customer_name",
    "customer_phone",
    "variables",
];

/// The mark by which spreadsheets recognise a file in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Whether texts are changed so that no spreadsheet takes one for a formula.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Formulas {
    /// Texts are written as they are.
    #[default]
    Kept,
    /// A text that a spreadsheet could execute begins with an apostrophe.
    Defused,
}

impl Formulas {
    /// Returns the text of a cell.
    #[must_use]
    pub fn cell(self, text: &str) -> String {
        let executable = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
        match self == Formulas::Defused && executable {
            true => format!("'{text}"),
            false => text.to_owned(),
        }
    }
}

/// The form of a CSV export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CsvOptions {
    /// How texts are written that a spreadsheet could take for formulas.
    pub formulas: Formulas,
    /// Whether the file begins with a byte order mark, without which Excel misreads UTF-8.
    pub byte_order_mark: bool,
}

/// Writes a CSV export of rows that the caller reads: the header, then records.
///
/// ```
/// use convodb::{Channel, Conversation, ConversationId, Timestamp};
/// use convodb_json::csv::{CsvOptions, CsvWriter};
/// let at: Timestamp = "2025-01-25".parse()?;
/// let bot = "a1b2c3d4-5678-40ab-8def-1234567890ab".parse()?;
/// let row = Conversation::new(ConversationId::generate(at), bot, Channel::Widget, at);
/// let (writer, mut out) = (CsvWriter::new(CsvOptions::default()), Vec::new());
/// writer.header(&mut out);
/// writer.record(&mut out, &row.borrowed(), "Support");
/// assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 2);
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CsvWriter(CsvOptions);

impl CsvWriter {
    /// A writer of CSV in this form.
    #[must_use]
    pub const fn new(options: CsvOptions) -> Self {
        Self(options)
    }

    /// Appends what precedes the first record.
    pub fn header(self, out: &mut Vec<u8>) {
        if self.0.byte_order_mark {
            out.extend_from_slice(BYTE_ORDER_MARK);
        }
        out.extend_from_slice(COLUMNS.join(",").as_bytes());
        out.push(b'\n');
    }

    /// Appends the record of a conversation.
    pub fn record(self, out: &mut Vec<u8>, row: &ConversationRef<'_>, assistant_name: &str) {
        write_record(out, &fields(row, assistant_name, self.0.formulas));
    }
}

/// The records of a list as CSV, after a header. A missing value is an empty field.
///
/// In memory is one page of rows.
///
/// ```
/// use convodb::{ListRequest, Store};
/// use convodb_json::csv::{CsvOptions, ExportCsv};
/// # let store = Store::in_memory()?;
/// # let user = store.create_user("Acme", "2025-01-25".parse()?)?.id;
/// let request = ListRequest::default();
/// let mut csv = ExportCsv::new(store.snapshot(), user, &request, CsvOptions::default());
/// let mut out = Vec::new();
/// while csv.fill(&mut out, 4096)? {}
/// assert!(out.starts_with(b"id,created_at,updated_at,type,"));
/// # Ok::<(), convodb::Error>(())
/// ```
pub struct ExportCsv {
    rows: Box<dyn Iterator<Item = Result<Conversation>> + Send>,
    names: AssistantNames,
    writer: CsvWriter,
    has_header: bool,
    written: u64,
}

impl ExportCsv {
    /// Prepares the export of the user's list. Reads nothing.
    ///
    /// The filter, the time bounds and the order of `request` apply. Its page size and its cursor
    /// are ignored.
    #[must_use]
    pub fn new(
        snapshot: Snapshot,
        user: UserId,
        request: &ListRequest,
        options: CsvOptions,
    ) -> Self {
        Self {
            rows: Box::new(snapshot.conversations(user, request)),
            names: AssistantNames::new(snapshot, user),
            writer: CsvWriter::new(options),
            has_header: false,
            written: 0,
        }
    }

    /// Appends records to `out` until it has at least `bytes`. Returns `false` at the end of the
    /// list.
    ///
    /// # Errors
    /// Fails if the store cannot be read. `out` may then end with an incomplete export.
    pub fn fill(&mut self, out: &mut Vec<u8>, bytes: usize) -> Result<bool> {
        if !std::mem::replace(&mut self.has_header, true) {
            self.writer.header(out);
        }
        while out.len() < bytes {
            let Some(row) = self.rows.next().transpose()? else { return Ok(false) };
            let name = self.names.name(row.assistant)?;
            self.writer.record(out, &row.borrowed(), name);
            self.written += 1;
        }
        Ok(true)
    }

    /// Returns how many conversations have been written.
    #[must_use]
    pub const fn written(&self) -> u64 {
        self.written
    }
}

fn fields(row: &ConversationRef<'_>, assistant_name: &str, formulas: Formulas) -> [String; 15] {
    let [sender, customer] = contacts(row);
    let text = |text: Option<&str>| formulas.cell(text.unwrap_or_default());
    [
        row.id.to_string(),
        row.created_at.to_rfc3339(),
        row.updated_at.to_rfc3339(),
        row.channel.kind().to_string(),
        row.assistant.to_string(),
        formulas.cell(assistant_name),
        row.message_count.to_string(),
        cost_text(row.total_cost),
        row.ai_enabled.to_string(),
        text(row.channel.external_identifier()),
        text(sender.name.map(Name::get)),
        text(sender.phone.map(Phone::get)),
        text(customer.name.map(Name::get)),
        text(customer.phone.map(Phone::get)),
        text(row.variables.map(Variables::get)),
    ]
}

/// Appends a record; a field that needs it is quoted (RFC 4180).
fn write_record(out: &mut Vec<u8>, fields: &[String]) {
    for (at, field) in fields.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        if field.contains(['"', ',', '\n', '\r']) {
            out.push(b'"');
            json::raw(out, &field.replace('"', "\"\""));
            out.push(b'"');
        } else {
            json::raw(out, field);
        }
    }
    out.push(b'\n');
}

/// Returns a cost as JSON has it, with a fraction always, so that no program takes it for an
/// integer.
#[must_use]
pub fn cost_text(cost: impl Into<CostSum>) -> String {
    let mut text = Vec::new();
    json::cost_sum(&mut text, cost.into());
    String::from_utf8_lossy(&text).into_owned()
}

/// Returns the sender and the customer of a conversation; both are empty unless it is over
/// WhatsApp.
#[must_use]
pub fn contacts<'a>(row: &ConversationRef<'a>) -> [Contact<&'a str>; 2] {
    match row.channel {
        convodb::Channel::Whatsapp { sender, customer } => [sender, customer],
        _ => [Contact::default(), Contact::default()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_texts_that_a_spreadsheet_could_execute_are_defused() {
        for formula in ["=1+1", "+4915", "-1", "@SUM(A1)", "\t=1", "\r=1"] {
            assert_eq!(Formulas::Defused.cell(formula), format!("'{formula}"));
            assert_eq!(Formulas::Kept.cell(formula), formula);
        }
        for plain in ["", "Acme", "a=b", "'=1", "{\"a\":1}", " =1"] {
            assert_eq!(Formulas::Defused.cell(plain), plain);
        }
    }

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        let fields = ["", "a b", "a,b", "a\"b", "a\nb", "\r", "é"].map(str::to_owned);
        let mut out = Vec::new();
        write_record(&mut out, &fields);
        let expected = ",a b,\"a,b\",\"a\"\"b\",\"a\nb\",\"\r\",é\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
