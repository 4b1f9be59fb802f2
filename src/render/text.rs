//! A page for people at a terminal: paragraphs and tables that fit its width.

use comfy_table::{CellAlignment, ContentArrangement, presets};

use super::page::{Align, Block, Page, Table};
use super::style::{Style, inert, printable};
use super::wrap::{LongWord, width_of, wrap};

/// Paragraphs wider than this are hard to read, however wide the terminal.
const PARAGRAPH: usize = 100;
/// Blanks between two columns.
const GAP: usize = 2;
/// A column of words narrower than this reads badly: the rows then become blocks of names and values.
const NARROWEST: usize = 9;
/// A last column with cells of more lines than this goes below its rows.
const TALLEST: usize = 3;
/// What stands before a cell that is set below its row.
const INDENT: &str = "    ";
/// Rows that decide on the widths of columns whose words must be broken.
const SAMPLE: usize = 40;

/// Returns the page as text; no line is wider than the style says, except verbatim lines and addresses.
pub fn render(page: &Page, style: Style) -> String {
    let mut out = String::new();
    let mut after_heading = true;
    for block in &page.blocks {
        if !after_heading {
            out.push('\n');
        }
        after_heading = matches!(block, Block::Heading(_));
        for line in lines(block, style) {
            out.push_str(&line);
            out.push('\n');
        }
    }
    out
}

/// Returns the lines of one block.
fn lines(block: &Block, style: Style) -> Vec<String> {
    let measure = style.width.min(PARAGRAPH);
    match block {
        Block::Heading(title) => heading(&printable(title), style),
        Block::Text(text) => wrap(&printable(text), measure, LongWord::KeepAddresses),
        Block::Bullets(items) => items
            .iter()
            .flat_map(|item| hanging("- ", "  ", &printable(item), measure))
            .collect(),
        Block::Pairs(pairs) => names_and_values(pairs, style.width),
        Block::Table(table) => self::table(table, style),
        Block::Verbatim(lines) => lines.iter().map(|line| inert(line)).collect(),
    }
}

/// Returns a title: bold where that can be seen, else underlined.
fn heading(title: &str, style: Style) -> Vec<String> {
    let mut lines = wrap(title, style.width, LongWord::Break);
    if style.colour {
        return lines.iter().map(|line| style.bold(line)).collect();
    }
    let rule = lines.iter().map(|line| width_of(line)).max().unwrap_or(0);
    lines.push("=".repeat(rule));
    lines
}

/// Wraps `text` behind `first`, and behind `rest` from the second line on.
fn hanging(first: &str, rest: &str, text: &str, width: usize) -> Vec<String> {
    let inner = width.saturating_sub(width_of(first)).max(1);
    wrap(text, inner, LongWord::KeepAddresses)
        .into_iter()
        .enumerate()
        .map(|(n, line)| {
            format!("{}{line}", if n == 0 { first } else { rest })
                .trim_end()
                .to_owned()
        })
        .collect()
}

/// Returns aligned names and values.
fn names_and_values<K: AsRef<str>, V: AsRef<str>>(pairs: &[(K, V)], width: usize) -> Vec<String> {
    let longest = pairs
        .iter()
        .map(|(name, _)| width_of(&printable(name.as_ref())))
        .max()
        .unwrap_or(0);
    let column = longest.min(width / 3);
    let mut lines = Vec::new();
    for (name, value) in pairs {
        let names = wrap(&printable(name.as_ref()), column, LongWord::Break);
        let room = width.saturating_sub(column + GAP).max(1);
        let values = wrap(&printable(value.as_ref()), room, LongWord::KeepAddresses);
        for n in 0..names.len().max(values.len()) {
            let name = names.get(n).map_or("", String::as_str);
            let value = values.get(n).map_or("", String::as_str);
            let fill = " ".repeat(column.saturating_sub(width_of(name)) + GAP);
            lines.push(format!("{name}{fill}{value}").trim_end().to_owned());
        }
    }
    lines
}

/// A table whose cells are printable and whose rows all have as many cells as there are columns.
struct Grid {
    headers: Vec<String>,
    aligns: Vec<Align>,
    rows: Vec<Vec<String>>,
}

impl Grid {
    fn of(table: &Table) -> Self {
        let table = table.filled_up();
        let printable = |cells: &Vec<String>| {
            cells
                .iter()
                .map(|cell| printable(cell).trim_end().to_owned())
                .collect()
        };
        let (headers, aligns): (Vec<String>, _) = table.columns.into_iter().unzip();
        Self {
            headers: printable(&headers),
            aligns,
            rows: table.rows.iter().map(printable).collect(),
        }
    }

    /// Returns every cell of a column, the header first.
    fn column(&self, n: usize) -> impl Iterator<Item = &str> {
        std::iter::once(self.headers[n].as_str()).chain(self.rows.iter().map(move |row| row[n].as_str()))
    }

    /// Returns how wide each column is set, or nothing if words would have to be cut to crumbs.
    fn widths(&self, width: usize) -> Option<Vec<usize>> {
        let count = self.headers.len();
        let room = width.checked_sub(GAP * count.saturating_sub(1))?;
        let natural: Vec<usize> = (0..count).map(|n| natural(self.column(n))).collect();
        if natural.iter().sum::<usize>() <= room {
            return Some(natural);
        }
        let words = (0..count)
            .map(|n| {
                self.column(n)
                    .flat_map(str::split_whitespace)
                    .map(width_of)
                    .max()
                    .unwrap_or(0)
            })
            .collect::<Vec<_>>();
        // Numbers are never broken, words only where the line is too short for the longest of each column.
        let floor = |cap: usize| -> Vec<usize> {
            (0..count)
                .map(|n| match self.aligns[n] {
                    Align::Right => words[n],
                    Align::Left => words[n].min(cap),
                })
                .collect()
        };
        // What is left goes to the narrow columns first, so that only the widest wrap.
        let fill = |floor: &Vec<usize>| -> Option<Vec<usize>> {
            (0..=room)
                .rev()
                .map(|level| -> Vec<usize> {
                    (0..count).map(|n| natural[n].min(level).max(floor[n])).collect()
                })
                .find(|widths| widths.iter().sum::<usize>() <= room)
        };
        // Where words must be broken anyway, the shortest table is the best, and of those the one that breaks least.
        fill(&words).or_else(|| {
            (NARROWEST..=room)
                .rev()
                .filter_map(|cap| fill(&floor(cap)))
                .min_by_key(|widths| self.height(widths))
        })
    }

    /// Returns the lines that the first rows take with these widths; the others are like them.
    fn height(&self, widths: &[usize]) -> usize {
        self.rows
            .iter()
            .take(SAMPLE)
            .map(|row| lines_of(row, widths))
            .sum()
    }

    /// Takes the last column off, if all others fit as they are and it alone makes tall rows.
    fn split(&mut self, width: usize, widths: &[usize]) -> Option<Vec<String>> {
        let last = self.headers.len().checked_sub(1).filter(|last| *last > 0)?;
        let tall = |row: &Vec<String>| lines_of(&row[last..], &widths[last..]) > TALLEST;
        if self.aligns[last] == Align::Right || !self.rows.iter().any(tall) {
            return None;
        }
        let others: usize = (0..last).map(|n| natural(self.column(n)) + GAP).sum();
        if others > width + GAP {
            return None;
        }
        self.aligns.pop();
        let notes = self.rows.iter_mut().filter_map(Vec::pop);
        Some(self.headers.pop().into_iter().chain(notes).collect())
    }

    /// Returns the lines of the header, of the rule below it, and of each row.
    fn lay_out(&self, widths: &[usize]) -> Vec<Vec<String>> {
        let fold = |cells: &Vec<String>| -> Vec<String> {
            let cells = cells.iter().zip(widths);
            cells
                .map(|(cell, width)| wrap(cell, *width, LongWord::Break).join("\n"))
                .collect()
        };
        let mut set = comfy_table::Table::new();
        set.load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(fold(&self.headers))
            .add_row(widths.iter().map(|width| "-".repeat(*width)))
            .add_rows(self.rows.iter().map(fold));
        let last = self.headers.len().saturating_sub(1);
        for (n, align) in self.aligns.iter().enumerate() {
            if let Some(column) = set.column_mut(n) {
                column.set_padding((0, if n == last { 0 } else { GAP as u16 }));
                column.set_cell_alignment(match align {
                    Align::Left => CellAlignment::Left,
                    Align::Right => CellAlignment::Right,
                });
            }
        }
        let mut lines = set.lines().map(|line| line.trim_end().to_owned());
        let heights = [lines_of(&self.headers, widths), 1].into_iter();
        heights
            .chain(self.rows.iter().map(|row| lines_of(row, widths)))
            .map(|height| lines.by_ref().take(height).collect())
            .collect()
    }
}

/// Returns the width of the widest line in some cells.
fn natural<'a>(cells: impl Iterator<Item = &'a str>) -> usize {
    cells.flat_map(str::lines).map(width_of).max().unwrap_or(0)
}

/// Returns how many lines a row takes.
fn lines_of(row: &[String], widths: &[usize]) -> usize {
    let cells = row.iter().zip(widths);
    let heights = cells.map(|(cell, width)| wrap(cell, *width, LongWord::Break).len());
    heights.max().unwrap_or(1)
}

/// Returns a table.
///
/// A last column that would be a narrow, tall strip goes below its row instead. Where the width is too small for the
/// columns, each row becomes a block of names and values.
fn table(table: &Table, style: Style) -> Vec<String> {
    let mut grid = Grid::of(table);
    let Some(mut widths) = grid.widths(style.width) else {
        return records(&grid, style.width);
    };
    let mut notes = Vec::new();
    if let Some(column) = grid.split(style.width, &widths) {
        widths = (0..grid.headers.len()).map(|n| natural(grid.column(n))).collect();
        let measure = style.width.min(PARAGRAPH);
        notes = column
            .iter()
            .map(|note| hanging(INDENT, INDENT, note, measure))
            .collect();
        // The rule stands between the header and the first row, and has no note.
        notes.insert(1, Vec::new());
    }
    let mut notes = notes.into_iter();
    let mut lines = Vec::new();
    for (n, mut group) in grid.lay_out(&widths).into_iter().enumerate() {
        group.extend(
            notes
                .next()
                .unwrap_or_default()
                .into_iter()
                .filter(|line| !line.is_empty()),
        );
        if n == 0 {
            group = group.iter().map(|line| style.bold(line)).collect();
        }
        lines.append(&mut group);
    }
    lines
}

/// Returns each row as names and values, with a blank line between rows.
fn records(grid: &Grid, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for row in &grid.rows {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        let pairs: Vec<(&String, &String)> = grid
            .headers
            .iter()
            .zip(row)
            .filter(|(_, value)| !value.is_empty())
            .collect();
        lines.extend(names_and_values(&pairs, width));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(page: &Page, width: usize) -> String {
        render(page, Style { width, colour: false })
    }

    fn hosts() -> Table {
        let mut table = Table::new(&[
            "instance type",
            ">vCPUs",
            ">GiB",
            ">$/month",
            "verdict",
            "reasons",
        ]);
        table.row([
            "c5.xlarge",
            "4",
            "8",
            "148.10",
            "chosen",
            "the vendor names it for production",
        ]);
        table.row([
            "t3a.xlarge",
            "4",
            "16",
            "133.79",
            "rejected",
            "burstable: dearer than c5.xlarge once the mean use of its processors passes 50 %",
        ]);
        table
    }

    #[test]
    fn a_page_reads_from_top_to_bottom() {
        let mut page = Page::new();
        page.heading("Recommendation")
            .text("One c5.xlarge with 300 GiB takes this workload, and the queue stays short.")
            .pairs([("instance type", "c5.xlarge"), ("disk", "300 GiB gp3")])
            .bullets(["first thing to know, which is long enough to wrap", "second"])
            .verbatim(["dataops-infra plan --workload production"]);
        insta::assert_snapshot!(plain(&page, 40), @r"
        Recommendation
        ==============
        One c5.xlarge with 300 GiB takes this
        workload, and the queue stays short.

        instance type  c5.xlarge
        disk           300 GiB gp3

        - first thing to know, which is long
          enough to wrap
        - second

        dataops-infra plan --workload production
        ");
    }

    #[test]
    fn the_widest_column_of_a_table_wraps() {
        let mut page = Page::new();
        page.table(hosts());
        insta::assert_snapshot!(plain(&page, 80), @r"
        instance type  vCPUs  GiB  $/month  verdict   reasons
        -------------  -----  ---  -------  --------  ----------------------------------
        c5.xlarge          4    8   148.10  chosen    the vendor names it for production
        t3a.xlarge         4   16   133.79  rejected  burstable: dearer than c5.xlarge
                                                      once the mean use of its
                                                      processors passes 50 %
        ");
    }

    #[test]
    fn a_table_too_wide_for_the_line_becomes_blocks() {
        let mut page = Page::new();
        page.table(hosts());
        insta::assert_snapshot!(plain(&page, 40), @r"
        instance type  c5.xlarge
        vCPUs          4
        GiB            8
        $/month        148.10
        verdict        chosen
        reasons        the vendor names it for
                       production

        instance type  t3a.xlarge
        vCPUs          4
        GiB            16
        $/month        133.79
        verdict        rejected
        reasons        burstable: dearer than
                       c5.xlarge once the mean
                       use of its processors
                       passes 50 %
        ");
    }

    #[test]
    fn eight_columns_fit_eighty() {
        let mut table = Table::new(&[
            "what", "region", "zone", "state", ">count", ">price", "source", "reason",
        ]);
        table.row([
            "security-group/dataops-runner-london",
            "eu-west-2",
            "eu-west-2a",
            "create",
            "1",
            "0.00",
            "https://docs.aws.amazon.com/vpc/latest/userguide/security-groups.html",
            "no inbound rule is asked for, and only the platform is reached",
        ]);
        let mut page = Page::new();
        page.table(table);
        let text = plain(&page, 80);
        assert!(text.lines().all(|line| width_of(line) <= 80), "{text}");
        assert!(text.contains("0.00"));
    }

    #[test]
    fn nothing_is_wider_than_the_line() {
        let mut page = Page::new();
        page.heading("A heading that goes on for longer than the narrowest of terminals is wide")
            .text("Words of a paragraph, with one that is far-too-long-for-any-narrow-line-at-all-indeed-it-is.")
            .pairs([("a name that is itself quite long", "and a value that is longer still, to be sure")])
            .table(hosts());
        for width in 40..200 {
            for line in plain(&page, width).lines() {
                assert!(width_of(line) <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn rows_of_the_wrong_length_are_filled_up() {
        let mut table = Table::new(&["a", "b"]);
        table.rows.push(vec!["1".to_owned()]);
        table
            .rows
            .push(vec!["1".to_owned(), "2".to_owned(), "3".to_owned()]);
        let mut page = Page::new();
        page.table(table);
        insta::assert_snapshot!(plain(&page, 40), @r"
        a  b
        -  -  -
        1
        1  2  3
        ");
    }

    #[test]
    fn colour_is_only_in_headings() {
        let mut page = Page::new();
        page.heading("Cost").table(hosts());
        let text = render(
            &page,
            Style {
                width: 100,
                colour: true,
            },
        );
        assert!(text.starts_with("\u{1b}[1mCost\u{1b}[0m\n\u{1b}[1minstance type"));
        assert_eq!(text.matches('\u{1b}').count(), 4);
    }

    #[test]
    fn a_tall_last_column_goes_below_its_rows() {
        let mut table = Table::new(&[
            "type",
            ">vCPUs",
            ">GiB",
            ">slots",
            ">p95 wait",
            ">$/month",
            "verdict",
            "reasons",
        ]);
        let reason =
            "8 GiB is less than the 16 GB that the installation page asks for; it would save 12.41 a month";
        table.row(["c5.xlarge", "4", "8", "6", "12.4 s", "148.10", "chosen", ""]);
        table.row([
            "c5a.xlarge",
            "4",
            "8",
            "6",
            "13.0 s",
            "136.42",
            "rejected",
            reason,
        ]);
        let mut page = Page::new();
        page.table(table);
        insta::assert_snapshot!(plain(&page, 80), @r"
        type        vCPUs  GiB  slots  p95 wait  $/month  verdict
            reasons
        ----------  -----  ---  -----  --------  -------  --------
        c5.xlarge       4    8      6    12.4 s   148.10  chosen
        c5a.xlarge      4    8      6    13.0 s   136.42  rejected
            8 GiB is less than the 16 GB that the installation page asks for; it would
            save 12.41 a month
        ");
    }

    #[test]
    fn where_words_must_be_broken_the_shortest_table_is_taken() {
        let mut table = Table::new(&["address", "kind", "action", "after", "reason"]);
        table.row([
            "security-group/dataops-runner-london",
            "security group",
            "create",
            "vpc/default, role/dataops-runner-london-host",
            "no inbound rule; outbound to the platform only",
        ]);
        let mut page = Page::new();
        page.table(table);
        insta::assert_snapshot!(plain(&page, 80), @r"
        address             kind            action  after               reason
        ------------------  --------------  ------  ------------------  ----------------
        security-group/     security group  create  vpc/default,        no inbound rule;
        dataops-runner-                             role/dataops-       outbound to the
        london                                      runner-london-host  platform only
        ");
    }
}
