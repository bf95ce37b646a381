//! Text tables: aligned columns, fitted to the width of the terminal, one line per row.
//!
//! In a narrow terminal, the least important columns are dropped and long texts are cut. A pipe or
//! file gets everything. Control characters are escaped, because texts come from customers.

use std::io::{self, Write};

use comfy_table::{
    Cell, CellAlignment, ColumnConstraint, ContentArrangement, Row, Table, Width, presets,
};

use crate::console::printable;

/// Spaces between two columns.
const GAP: u16 = 2;
/// Characters that a column with [`Fit::Cut`] needs before another column is dropped.
const CUT_TO: u16 = 16;

/// A column of a [`TextTable`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    /// Its header.
    pub(crate) title: &'static str,
    /// The alignment of its texts.
    pub(crate) align: Align,
    /// Its behaviour in a narrow terminal.
    pub(crate) fit: Fit,
}

/// The alignment of texts in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// The behaviour of a column in a narrow terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// Never cut or dropped.
    Whole,
    /// Texts are cut.
    Cut,
    /// The column is dropped, those with higher numbers first.
    Drop(u8),
}

/// A table printed in blocks of rows, with one header. Columns never become narrower in later
/// blocks.
pub(crate) struct TextTable {
    columns: Vec<Column>,
    /// The indexes of the columns that are printed; chosen with the first block.
    shown: Option<Vec<usize>>,
    widths: Vec<u16>,
    /// Maximum characters of a line; `None` if the output is not a terminal.
    limit: Option<u16>,
}

impl TextTable {
    /// A table for standard output.
    pub(crate) fn new(columns: &[Column]) -> Self {
        let limit = terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| width.0);
        Self::with_limit(columns, limit)
    }

    fn with_limit(columns: &[Column], limit: Option<u16>) -> Self {
        Self { columns: columns.to_vec(), shown: None, widths: vec![0; columns.len()], limit }
    }

    /// Prints a block of rows. Each row has a text for every column.
    pub(crate) fn write(&mut self, out: &mut dyn Write, rows: &[Vec<String>]) -> io::Result<()> {
        let printable = |row: &Vec<String>| row.iter().map(|text| printable(text)).collect();
        let rows: Vec<Vec<String>> = rows.iter().map(printable).collect();
        let rows = rows.as_slice();
        let with_header = self.shown.is_none();
        let shown = self.shown.take().unwrap_or_else(|| self.choose(rows));
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        if with_header {
            let titles = shown.iter().map(|at| Cell::new(self.columns[*at].title));
            let mut header = Row::from(titles);
            header.max_height(1);
            table.set_header(header);
        }
        for row in rows {
            let mut line = Row::from(shown.iter().map(|at| Cell::new(&row[*at])));
            line.max_height(1);
            table.add_row(line);
        }
        if let Some(limit) = self.limit {
            table.set_width(limit).set_content_arrangement(ContentArrangement::Dynamic);
        }
        self.arrange(&mut table, &shown);
        for line in table.trim_fmt().lines() {
            writeln!(out, "{line}")?;
        }
        self.shown = Some(shown);
        Ok(())
    }

    fn arrange(&mut self, table: &mut Table, shown: &[usize]) {
        let widths = table.column_max_content_widths();
        for ((column, at), width) in table.column_iter_mut().zip(shown).zip(widths) {
            let Column { align, fit, .. } = self.columns[*at];
            column.set_padding((0, GAP));
            if align == Align::Right {
                column.set_cell_alignment(CellAlignment::Right);
            }
            let least = self.widths[*at].max(width);
            // A column with `Fit::Cut` may shrink below its texts if the width is limited.
            if fit != Fit::Cut || self.limit.is_none() {
                let lower = Width::Fixed(least + GAP);
                column.set_constraint(ColumnConstraint::LowerBoundary(lower));
            }
            self.widths[*at] = least;
        }
    }

    /// The columns that fit, by the widths of the first block.
    fn choose(&self, rows: &[Vec<String>]) -> Vec<usize> {
        let widths = self.columns.iter().enumerate().map(|(at, column)| {
            let texts = rows.iter().map(|row| row[at].chars().count());
            let longest = texts.chain([column.title.len()]).max().unwrap_or(0);
            let width = u16::try_from(longest).unwrap_or(u16::MAX);
            if column.fit == Fit::Cut { width.min(CUT_TO) } else { width }
        });
        let fits: Vec<Fit> = self.columns.iter().map(|column| column.fit).collect();
        choose(&widths.collect::<Vec<_>>(), &fits, self.limit)
    }
}

/// The indexes of the columns that fit into `limit` characters, in order.
fn choose(widths: &[u16], fits: &[Fit], limit: Option<u16>) -> Vec<usize> {
    let mut shown: Vec<usize> = (0..widths.len()).collect();
    let limit = limit.map_or(usize::MAX, usize::from);
    let taken = |shown: &[usize]| -> usize {
        shown.iter().map(|at| usize::from(widths[*at]) + usize::from(GAP)).sum()
    };
    while taken(&shown) > limit {
        let rank = |at: usize| match fits[at] {
            Fit::Drop(rank) => Some(rank),
            Fit::Whole | Fit::Cut => None,
        };
        let least = shown.iter().enumerate().filter_map(|(i, at)| Some((rank(*at)?, i))).max();
        let Some((_, i)) = least else { break };
        shown.remove(i);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [
        Column { title: "NAME", align: Align::Left, fit: Fit::Cut },
        Column { title: "ID", align: Align::Left, fit: Fit::Whole },
        Column { title: "N", align: Align::Right, fit: Fit::Drop(1) },
    ];

    #[track_caller]
    fn check(limit: Option<u16>, blocks: &[&[[&str; 3]]], expected: &str) {
        let mut table = TextTable::with_limit(&COLUMNS, limit);
        let mut out = Vec::new();
        for block in blocks {
            let rows: Vec<Vec<String>> =
                block.iter().map(|row| row.map(str::to_owned).to_vec()).collect();
            table.write(&mut out, &rows).unwrap();
        }
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn columns_line_up_across_blocks() {
        check(
            None,
            &[&[["Front Desk", "aa", "1000"], ["Bob", "b", "7"]], &[["x", "c", "12"]]],
            "NAME        ID     N\n\
             Front Desk  aa  1000\n\
             Bob         b      7\n\
             x           c     12\n",
        );
    }

    #[test]
    fn a_narrow_terminal_cuts_texts_and_drops_columns() {
        let row = ["A rather long name of somebody", "0123456789", "12"];
        let wide = "NAME                            ID           N\n\
                    A rather long name of somebody  0123456789  12\n";
        check(Some(60), &[&[row]], wide);
        let cut = "NAME                ID           N\n\
                   A rather long nam…  0123456789  12\n";
        check(Some(36), &[&[row]], cut);
        let dropped = "NAME                ID\n\
                       A rather long nam…  0123456789\n";
        check(Some(32), &[&[row]], dropped);
    }

    #[test]
    fn control_and_bidi_characters_are_escaped() {
        check(
            None,
            &[&[["a\u{1b}[2J\nb", "\u{202e}c", "1"]]],
            "NAME              ID         N\n\
             a\\u{1b}[2J\\u{a}b  \\u{202e}c  1\n",
        );
    }

    #[test]
    fn a_table_without_rows_has_a_header() {
        check(None, &[&[]], "NAME  ID  N\n");
    }

    #[test]
    fn the_least_important_columns_are_dropped_first() {
        let fits = [Fit::Whole, Fit::Drop(1), Fit::Drop(3), Fit::Drop(2)];
        assert_eq!(choose(&[10, 10, 10, 10], &fits, None), [0, 1, 2, 3]);
        assert_eq!(choose(&[10, 10, 10, 10], &fits, Some(40)), [0, 1, 3]);
        assert_eq!(choose(&[10, 10, 10, 10], &fits, Some(24)), [0, 1]);
        assert_eq!(choose(&[10, 10, 10, 10], &fits, Some(5)), [0]);
    }
}
