//! What is wrong with a profile: all of it at once, each with its place.

use std::fmt;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// The file as the user named it; a file that is extended has its own name here.
    pub file: String,
    /// Line, from 1; 0 when the file as a whole is meant.
    pub line: u32,
    /// Column in characters, from 1; 0 when the file as a whole is meant.
    pub column: u32,
    /// The full key, such as `job.rss_median_mib`; empty when none is concerned.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub expected: Option<String>,
    /// What was probably meant, as a whole phrase.
    pub suggestion: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(f, " {}:", self.key)?;
        }
        write!(f, " {}", self.message)?;
        if let Some(expected) = &self.expected {
            write!(f, "; expected {expected}")?;
        }
        if let Some(suggestion) = &self.suggestion {
            write!(f, "; {suggestion}")?;
        }
        Ok(())
    }
}

/// Everything that is wrong with a profile, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ProfileErrors {
    /// The file as the user named it.
    pub file: String,
    /// At least one problem.
    pub problems: Vec<Problem>,
}

/// Problems shown at most; a file of another kind would have thousands.
pub(in crate::domain) const MAX_PROBLEMS: usize = 50;

/// Collects problems of one file.
pub(in crate::domain) struct Problems<'a> {
    file: &'a str,
    list: Vec<Problem>,
    hidden: usize,
}

impl<'a> Problems<'a> {
    pub(in crate::domain) fn new(file: &'a str) -> Self {
        Self {
            file,
            list: Vec::new(),
            hidden: 0,
        }
    }

    /// Adds a problem; beyond the first fifty only their number is kept.
    pub(in crate::domain) fn add(
        &mut self,
        place: Place,
        key: impl Into<String>,
        message: impl Into<String>,
        expected: Option<String>,
        suggestion: Option<String>,
    ) {
        if self.is_full() {
            self.hidden += 1;
            return;
        }
        self.list.push(Problem {
            file: self.file.to_owned(),
            line: place.line,
            column: place.column,
            key: key.into(),
            message: message.into(),
            expected,
            suggestion,
        });
    }

    /// Returns whether further problems would not be shown, so that work on them can be spared.
    pub(in crate::domain) fn is_full(&self) -> bool {
        self.list.len() >= MAX_PROBLEMS
    }

    pub(in crate::domain) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns the error; the problems stand in the order of the file.
    pub(in crate::domain) fn into_errors(mut self) -> ProfileErrors {
        self.list.sort_by_key(|problem| (problem.line, problem.column));
        if self.hidden > 0 {
            self.list.push(Problem {
                file: self.file.to_owned(),
                line: 0,
                column: 0,
                key: String::new(),
                message: format!("{} more problems are not shown", self.hidden),
                expected: None,
                suggestion: None,
            });
        }
        ProfileErrors {
            file: self.file.to_owned(),
            problems: self.list,
        }
    }
}

/// A place in a file, both from 1; 0 stands for the file as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::domain) struct Place {
    pub(in crate::domain) line: u32,
    pub(in crate::domain) column: u32,
}

/// Returns text from a file so that it is safe to print: short, without control characters, in backquotes.
pub(in crate::domain) fn quoted(text: &str) -> String {
    format!("`{}`", bare(text))
}

/// Returns text from a file so that it is safe to print: short, and without control characters.
pub(in crate::domain) fn bare(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(40)
        .map(|c| if is_printable(c) { c } else { '\u{fffd}' })
        .collect();
    if text.chars().nth(40).is_some() {
        shown.push('…');
    }
    shown
}

/// Returns whether a character may go to a terminal: no control, no change of writing direction.
pub(in crate::domain) fn is_printable(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}
