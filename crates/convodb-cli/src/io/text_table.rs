//! Tables for people: aligned columns, fitted to the terminal, each row on one line.
//!
//! Where the terminal is too narrow the least telling columns are left out, then long texts are
//! cut. What is not a terminal gets everything. Control characters are replaced: texts come from
//! customers, and a terminal obeys what it is sent.

use std::io::{self, Write};

use comfy_table::{
    Cell, CellAlignment, ColumnConstraint, ContentArrangement, Row, Table, Width, presets,
};

/// Spaces between two columns.
const GAP: u16 = 2;
/// A column whose texts may be cut keeps this much of them before another column is left out.
const CUT_TO: u16 = 16;

/// A column of a [`Sheet`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    /// What stands above it.
    pub(crate) title: &'static str,
    /// On which side its texts stand.
    pub(crate) side: Side,
    /// Whether it stays in a narrow terminal.
    pub(crate) fit: Fit,
}

/// On which side of a column its texts stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

/// What becomes of a column in a narrow terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// It stays whole.
    Whole,
    /// It stays; its texts are cut.
    Cut,
    /// It is left out, the higher its number the sooner.
    Drop(u8),
}

/// A table that is printed in blocks of rows: the header once, and the columns of later blocks at
/// least as wide as those before.
pub(crate) struct Sheet {
    columns: Vec<Column>,
    /// The indexes of the columns that are shown, once the first block is known.
    shown: Option<Vec<usize>>,
    widths: Vec<u16>,
    /// The characters of a line, where there is a limit.
    limit: Option<u16>,
}

impl Sheet {
    /// A table for standard output.
    pub(crate) fn new(columns: &[Column]) -> Self {
        let limit = terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| width.0);
        Self::with_limit(columns, limit)
    }

    fn with_limit(columns: &[Column], limit: Option<u16>) -> Self {
        Self { columns: columns.to_vec(), shown: None, widths: vec![0; columns.len()], limit }
    }

    /// Prints a block of rows, each with a text for every column.
    pub(crate) fn write(&mut self, out: &mut dyn Write, rows: &[Vec<String>]) -> io::Result<()> {
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
            let mut line = Row::from(shown.iter().map(|at| Cell::new(printable(&row[*at]))));
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
            let Column { side, fit, .. } = self.columns[*at];
            column.set_padding((0, GAP));
            if side == Side::Right {
                column.set_cell_alignment(CellAlignment::Right);
            }
            let least = self.widths[*at].max(width);
            // A column that may be cut gives way where there is a limit.
            if fit != Fit::Cut || self.limit.is_none() {
                let lower = Width::Fixed(least + GAP);
                column.set_constraint(ColumnConstraint::LowerBoundary(lower));
            }
            self.widths[*at] = least;
        }
    }

    /// The columns that fit, by the width of the first block.
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

/// The indexes of the columns that stay within `limit` characters, in order.
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

/// The text without what a terminal would obey.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [
        Column { title: "NAME", side: Side::Left, fit: Fit::Cut },
        Column { title: "ID", side: Side::Left, fit: Fit::Whole },
        Column { title: "N", side: Side::Right, fit: Fit::Drop(1) },
    ];

    #[track_caller]
    fn check(limit: Option<u16>, blocks: &[&[[&str; 3]]], expected: &str) {
        let mut sheet = Sheet::with_limit(&COLUMNS, limit);
        let mut out = Vec::new();
        for block in blocks {
            let rows: Vec<Vec<String>> =
                block.iter().map(|row| row.map(str::to_owned).to_vec()).collect();
            sheet.write(&mut out, &rows).unwrap();
        }
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn columns_line_up_over_blocks() {
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
    fn a_narrow_terminal_loses_columns_and_then_the_ends_of_texts() {
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
    fn a_table_without_rows_has_a_header() {
        check(None, &[&[]], "NAME  ID  N\n");
    }

    #[test]
    fn the_least_telling_columns_go_first() {
        let fits = [Fit::Whole, Fit::Drop(1), Fit::Drop(3), Fit::Drop(2)];
        assert_eq!(choose(&[10, 10, 10, 10], &fits, None), [0, 1, 2, 3]);
        assert_eq!(choose(&[10, 10, 10, 10], &fits, Some(40)), [0, 1, 3]);
        assert_eq!(choose(&[10, 10, 10, 10], &fits, Some(24)), [0, 1]);
        assert_eq!(choose(&[10, 10, 10, 10], &fits, Some(5)), [0]);
    }

    #[test]
    fn a_terminal_is_not_sent_what_it_obeys() {
        assert_eq!(printable("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }
}
