//! Columns: which parts of each conversation a page has.

use convodb::{ConversationRef, PreviewRef};
use convodb_json::{
    AssistantNames, ItemFields, json, write_named_item, write_preview, write_selected_item,
};

use crate::error::FieldError;

/// The name of the parameter.
pub(crate) const FIELDS: &str = "fields";
const PREVIEW: &str = "preview";

/// The columns of a page. The default is whole items without previews.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Columns {
    /// The fields of each item; `None` for all.
    pub(crate) fields: Option<ItemFields>,
    /// Whether each item has the beginnings of its first and last message.
    pub(crate) preview: bool,
}

impl Columns {
    /// Parses names separated by commas. A preview alone is added to whole items.
    ///
    /// # Errors
    /// The error of the field, with all names, for an unknown one.
    pub(crate) fn parse(text: &str) -> Result<Self, FieldError> {
        let mut columns = Self::default();
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            if name == PREVIEW {
                columns.preview = true;
                continue;
            }
            let fields = columns.fields.unwrap_or(ItemFields::NONE).with(name);
            let unknown = || FieldError::none_of(FIELDS, &Self::known());
            columns.fields = Some(fields.ok_or_else(unknown)?);
        }
        Ok(columns)
    }

    /// Appends the item of a row with these columns. `preview` is that of the row, if it was read.
    pub(crate) fn write_item(
        self,
        out: &mut Vec<u8>,
        row: &ConversationRef<'_>,
        names: &mut AssistantNames,
        preview: Option<Option<PreviewRef<'_>>>,
    ) -> convodb::Result<()> {
        match self.fields {
            None => write_named_item(out, row, names)?,
            Some(fields) => write_selected_item(out, row, names, fields)?,
        }
        if let Some(preview) = preview {
            // The object continues.
            out.pop();
            let is_first = out.last() == Some(&b'{');
            json::raw(out, if is_first { "\"preview\":" } else { ",\"preview\":" });
            write_preview(out, preview);
            out.push(b'}');
        }
        Ok(())
    }

    /// All names.
    pub(crate) fn known() -> Vec<&'static str> {
        ItemFields::names().iter().copied().chain([PREVIEW]).collect()
    }

    /// The names of these columns, for a URL; none for the default.
    pub(crate) fn names(self) -> Vec<&'static str> {
        let fields = self.fields.unwrap_or(ItemFields::NONE);
        let names = Self::known().into_iter();
        names.filter(|name| fields.has(name) || self.preview && *name == PREVIEW).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_parsed_as_they_are_named() {
        for (text, names) in [
            ("", ""),
            (",", ""),
            ("preview", "preview"),
            ("customer, id", "id,customer"),
            ("preview,type,type", "type,preview"),
        ] {
            let columns = Columns::parse(text).unwrap();
            assert_eq!(columns.names().join(","), names, "{text}");
            assert_eq!(Columns::parse(names).unwrap(), columns);
        }
        assert!(Columns::parse("id,phone").is_err() && Columns::parse("ID").is_err());
    }
}
