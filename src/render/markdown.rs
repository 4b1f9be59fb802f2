//! A page for merge requests and wikis, as GitHub and GitLab read Markdown.

use super::page::{Align, Block, Page, Table};
use super::style::{inert, printable};

/// Returns the page as Markdown.
pub fn render(page: &Page) -> String {
    let blocks: Vec<String> = page.blocks.iter().map(block).collect();
    let mut out = blocks.join("\n\n");
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

fn block(block: &Block) -> String {
    match block {
        Block::Heading(title) => format!("## {}", inline(title).replace('\n', " ")),
        Block::Text(text) => paragraph(text),
        Block::Bullets(items) => {
            let item = |text: &String| format!("- {}", paragraph(text).replace('\n', "\n  "));
            items.iter().map(item).collect::<Vec<_>>().join("\n")
        }
        Block::Pairs(pairs) => {
            let pair = |(name, value): &(String, String)| {
                let line = format!("- **{}**: {}", inline(name), inline(value).replace('\n', "\n  "));
                line.trim_end().to_owned()
            };
            pairs.iter().map(pair).collect::<Vec<_>>().join("\n")
        }
        Block::Table(table) => self::table(table),
        Block::Verbatim(lines) => fenced(&inert(&lines.join("\n"))),
    }
}

/// Returns lines behind a fence longer than any run of backticks in them.
fn fenced(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}text\n{text}\n{fence}")
}

fn table(table: &Table) -> String {
    let table = table.filled_up();
    let cell = |text: &String| inline(text).replace('|', "\\|").replace('\n', "<br>");
    let rule = |align: &Align| match align {
        Align::Left => "---".to_owned(),
        Align::Right => "---:".to_owned(),
    };
    let line = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
    let mut lines = vec![
        line(table.columns.iter().map(|(header, _)| cell(header)).collect()),
        line(table.columns.iter().map(|(_, align)| rule(align)).collect()),
    ];
    lines.extend(table.rows.iter().map(|row| line(row.iter().map(cell).collect())));
    lines.join("\n")
}

/// Escapes what would otherwise be markup inside a line; what stands between backticks stays code.
///
/// Underscores inside words are left: neither reader takes them for emphasis, and names such as
/// `memory_mib` stay readable in the source. Addresses stay as they are, so that they become links.
fn inline(text: &str) -> String {
    let text = printable(text);
    let parts: Vec<&str> = text.split('`').collect();
    if parts.len().is_multiple_of(2) {
        return words(&text);
    }
    let part = |(n, part): (usize, &&str)| {
        if n % 2 == 0 {
            words(part)
        } else {
            (*part).to_owned()
        }
    };
    parts.iter().enumerate().map(part).collect::<Vec<_>>().join("`")
}

/// Escapes word by word.
fn words(text: &str) -> String {
    let word = |word: &str| {
        if word.starts_with("https://") {
            return word.to_owned();
        }
        let mut out = String::with_capacity(word.len());
        let mut before = ' ';
        let mut rest = word.chars().peekable();
        while let Some(c) = rest.next() {
            let next = rest.peek().copied().unwrap_or(' ');
            let inside = before.is_alphanumeric() && next.is_alphanumeric();
            let markup = match c {
                '\\' | '`' | '*' | '<' => true,
                '_' | '~' => !inside,
                ']' => matches!(next, '(' | '[' | ':'),
                _ => false,
            };
            if markup {
                out.push('\\');
            }
            out.push(c);
            before = c;
        }
        out
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// Escapes a paragraph, and what would start a list, a heading or a rule at the head of a line.
fn paragraph(text: &str) -> String {
    let line = |line: &str| {
        let line = inline(line.trim_start());
        let digits = line.chars().take_while(char::is_ascii_digit).count();
        let numbered = digits > 0 && matches!(line[digits..].chars().next(), Some('.' | ')'));
        if numbered && line[digits + 1..].starts_with(' ') {
            format!("{}\\{}", &line[..digits], &line[digits..])
        } else if line.starts_with(['#', '+', '-', '=', '|', '>', '[']) {
            format!("\\{line}")
        } else {
            line
        }
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_become_markdown() {
        let mut table = Table::new(&["type", ">$/month"]);
        table.row(["c5.xlarge", "148.10"]);
        table.row(["a|b", "two\nlines"]);
        let mut page = Page::new();
        page.heading("Host")
            .text("# not a heading, *not* bold, <b>\n1. not a list; memory_mib _x_")
            .bullets(["one", "two\nlines"])
            .pairs([("disk", "300 GiB")])
            .table(table)
            .verbatim(["```", "code"]);
        insta::assert_snapshot!(render(&page), @r"
        ## Host

        \# not a heading, \*not\* bold, \<b>
        1\. not a list; memory_mib \_x\_

        - one
        - two
          lines

        - **disk**: 300 GiB

        | type | $/month |
        | --- | ---: |
        | c5.xlarge | 148.10 |
        | a\|b | two<br>lines |

        ````text
        ```
        code
        ````
        ");
    }

    #[test]
    fn addresses_and_code_stay_as_they_are() {
        for (text, expected) in [
            (
                "see https://example.com/a_b/*c",
                "see https://example.com/a_b/*c\n",
            ),
            (
                "set `image: *x` there [vendor 1]",
                "set `image: *x` there [vendor 1]\n",
            ),
            ("one ` alone *x", "one \\` alone \\*x\n"),
            ("[a](b) [x] [y]: z", "\\[a\\](b) [x] [y\\]: z\n"),
        ] {
            let mut page = Page::new();
            page.text(text);
            assert_eq!(render(&page), expected);
        }
    }

    #[test]
    fn rows_of_the_wrong_length_are_filled_up() {
        let mut table = Table::new(&["a", "b"]);
        table.rows.push(vec!["1".to_owned()]);
        let mut page = Page::new();
        page.table(table);
        assert_eq!(render(&page), "| a | b |\n| --- | --- |\n| 1 |  |\n");
    }

    #[test]
    fn an_empty_page_is_empty() {
        assert_eq!(render(&Page::new()), "");
    }
}
