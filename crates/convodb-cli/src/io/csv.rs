//! CSV export: one record per conversation, for spreadsheets and other programs.
//!
//! The columns and their order are documented in docs/http-api.md; new columns are added at the end
//! only.

use std::io::Write;

use anyhow::{Context, Result};
use convodb::{Contact, ConversationRef, CostSum, Name, Phone, Variables};
use convodb_json::{AssistantNames, json};

/// The column names, in order.
pub(crate) const COLUMNS: [&str; 15] = [
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

/// Whether texts are changed so that no spreadsheet takes one for a formula.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Formulas {
    /// Texts are written as they are.
    Kept,
    /// A text that a spreadsheet could execute begins with an apostrophe.
    Defused,
}

impl Formulas {
    /// What `--csv-safe` says.
    pub(crate) const fn new(csv_safe: bool) -> Self {
        if csv_safe { Formulas::Defused } else { Formulas::Kept }
    }

    /// The text of a cell.
    pub(crate) fn cell(self, text: &str) -> String {
        let executable = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
        match self == Formulas::Defused && executable {
            true => format!("'{text}"),
            false => text.to_owned(),
        }
    }
}

/// Writes a header and then records. A missing value is an empty field.
pub(crate) struct CsvExport<W: Write> {
    records: csv::Writer<W>,
    formulas: Formulas,
}

impl<W: Write> CsvExport<W> {
    /// Writes the header.
    pub(crate) fn new(out: W, formulas: Formulas) -> Result<Self> {
        let mut records = csv::Writer::from_writer(out);
        records.write_record(COLUMNS).context("cannot write the export")?;
        Ok(Self { records, formulas })
    }

    /// Writes the record of a conversation.
    pub(crate) fn write(
        &mut self,
        row: &ConversationRef<'_>,
        names: &mut AssistantNames,
    ) -> Result<()> {
        let (channel, contacts) = (&row.channel, contacts(row));
        let [sender, customer] = contacts;
        let formulas = self.formulas;
        let text = |text: Option<&str>| formulas.cell(text.unwrap_or_default());
        let fields = [
            row.id.to_string(),
            row.created_at.to_rfc3339(),
            row.updated_at.to_rfc3339(),
            channel.kind().to_string(),
            row.assistant.to_string(),
            formulas.cell(names.name(row.assistant)?),
            row.message_count.to_string(),
            cost_text(row.total_cost),
            row.ai_enabled.to_string(),
            text(channel.external_identifier()),
            text(sender.name.map(Name::get)),
            text(sender.phone.map(Phone::get)),
            text(customer.name.map(Name::get)),
            text(customer.phone.map(Phone::get)),
            text(row.variables.map(Variables::get)),
        ];
        self.records.write_record(&fields).context("cannot write the export")
    }

    /// Writes what is buffered.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.records.flush().context("cannot write the export")
    }
}

/// A cost as JSON has it, with a fraction always, so that no program takes it for an integer.
pub(crate) fn cost_text(cost: impl Into<CostSum>) -> String {
    let mut text = Vec::new();
    json::cost_sum(&mut text, cost.into());
    String::from_utf8_lossy(&text).into_owned()
}

/// The sender and the customer of a conversation; both are empty unless it is over WhatsApp.
pub(crate) fn contacts<'a>(row: &ConversationRef<'a>) -> [Contact<&'a str>; 2] {
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
}
