//! How text is set: its width, and whether escape codes are welcome.

use std::io::IsTerminal;

/// Width when nobody says otherwise.
pub const DEFAULT_WIDTH: usize = 80;

/// Widths outside make unreadable pages; a `COLUMNS` of 3 or 99999 is a mistake.
const SENSIBLE: std::ops::RangeInclusive<usize> = 40..=400;

/// The setting of a page of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Columns available.
    pub width: usize,
    /// Whether headings are bold and words coloured.
    pub colour: bool,
}

impl Default for Style {
    fn default() -> Self {
        Self {
            width: DEFAULT_WIDTH,
            colour: false,
        }
    }
}

/// What the environment says about colours and width.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `NO_COLOR`.
    pub no_color: Option<String>,
    /// `TERM`.
    pub term: Option<String>,
    /// `COLUMNS`.
    pub columns: Option<String>,
}

impl Environment {
    /// Reads the three variables.
    pub fn read() -> Self {
        let read = |name| std::env::var(name).ok();
        Self {
            no_color: read("NO_COLOR"),
            term: read("TERM"),
            columns: read("COLUMNS"),
        }
    }

    /// Returns whether a terminal may get colours; an empty `NO_COLOR` does not count, as no-color.org has it.
    pub fn allows_colour(&self) -> bool {
        self.no_color.as_deref().is_none_or(str::is_empty) && self.term.as_deref() != Some("dumb")
    }

    /// Returns the columns, from the terminal if there is one.
    pub fn width(&self, terminal: Option<usize>) -> usize {
        terminal
            .or_else(|| self.columns.as_deref()?.trim().parse().ok())
            .filter(|columns| *columns > 0)
            .unwrap_or(DEFAULT_WIDTH)
            .clamp(*SENSIBLE.start(), *SENSIBLE.end())
    }
}

impl Style {
    /// Returns the style for stdout as it is now.
    pub fn of_stdout(no_color: bool) -> Self {
        let stdout = std::io::stdout();
        let environment = Environment::read();
        let terminal = terminal_size::terminal_size_of(&stdout).map(|(width, _)| usize::from(width.0));
        Self {
            width: environment.width(terminal),
            colour: !no_color && environment.allows_colour() && stdout.is_terminal(),
        }
    }

    /// Returns the style for stderr; `colour` is what [`Style::stderr_colour`] said.
    pub fn of_stderr(colour: bool) -> Self {
        let terminal =
            terminal_size::terminal_size_of(std::io::stderr()).map(|(width, _)| usize::from(width.0));
        Self {
            width: Environment::read().width(terminal),
            colour,
        }
    }

    /// Returns whether stderr is a terminal that may get colours and bars.
    pub fn stderr_colour(no_color: bool) -> bool {
        !no_color && Environment::read().allows_colour() && std::io::stderr().is_terminal()
    }

    /// Returns `text` in bold where colours are allowed.
    pub fn bold(self, text: &str) -> String {
        paint(text, "1", self.colour)
    }
}

/// Wraps `text` in an escape sequence such as `1;31`, if `colour` is set.
pub(super) fn paint(text: &str, code: &str, colour: bool) -> String {
    if colour && !text.is_empty() {
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
}

/// Returns `text` without control characters, so that a profile's name cannot drive the terminal.
pub(super) fn printable(text: &str) -> String {
    inert(text).replace('\t', "    ")
}

/// Returns `text` without control characters but for line ends and tabs.
pub(super) fn inert(text: &str) -> String {
    let harmless = |c: &char| matches!(c, '\n' | '\t') || !c.is_control();
    text.chars().filter(harmless).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_color_counts_when_it_has_a_value() {
        let with = |no_color: Option<&str>, term: &str| {
            Environment {
                no_color: no_color.map(str::to_owned),
                term: Some(term.to_owned()),
                columns: None,
            }
            .allows_colour()
        };
        assert!(with(None, "xterm"));
        assert!(with(Some(""), "xterm"));
        assert!(!with(Some("1"), "xterm"));
        assert!(!with(None, "dumb"));
    }

    #[test]
    fn the_terminal_is_asked_before_columns() {
        let environment = Environment {
            columns: Some("120".to_owned()),
            ..Environment::default()
        };
        assert_eq!(environment.width(Some(100)), 100);
        assert_eq!(environment.width(None), 120);
        assert_eq!(environment.width(Some(3)), 40);
        assert_eq!(Environment::default().width(None), DEFAULT_WIDTH);
        for nonsense in ["", "0", "-1", "wide"] {
            let columns = Some(nonsense.to_owned());
            let environment = Environment {
                columns,
                ..Environment::default()
            };
            assert_eq!(environment.width(None), DEFAULT_WIDTH, "{nonsense}");
        }
    }

    #[test]
    fn escape_codes_in_input_do_not_reach_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mred\u{7}\nb\tc"), "a[31mred\nb    c");
    }
}
