//! How a command ends: a document to print, or a failure with its exit code and the next command to try.

use std::error::Error;

use crate::render::log::{Log, Message};
use crate::render::page::Page;

/// Exit codes, as README documents them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done; nothing to change; nothing found.
    Done = 0,
    /// A step failed.
    Failed = 1,
    /// The input is wrong.
    BadInput = 2,
    /// Refused: unsupported target, preflight blocked, ownership not proven, plan stale.
    Refused = 3,
    /// Findings or differences.
    Findings = 4,
    /// Could not check.
    Unknown = 5,
}

/// Returns what every document carries as `generated_by`.
pub fn generated_by() -> &'static str {
    concat!("dataops-infra ", env!("CARGO_PKG_VERSION"))
}

/// What a command says when it has an answer.
#[derive(Debug)]
pub struct Answer {
    /// The document for `--output json` and `yaml`.
    pub document: serde_json::Value,
    /// The same for people.
    pub page: Page,
    /// The code to end with.
    pub exit: Exit,
}

/// Why a command has no answer.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The code to end with.
    pub exit: Exit,
    /// What failed and why; several lines are allowed.
    pub message: String,
    /// The next command or change to try.
    pub hint: Option<String>,
    /// What caused it; the message does not repeat it.
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// Makes a failure.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hint: None,
            source: None,
        }
    }

    /// Returns the same once more, for another who is concerned; its cause is a text from then on.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self {
            exit: self.exit,
            message: self.message.clone(),
            hint: self.hint.clone(),
            source: self.source.as_ref().map(|source| source.to_string().into()),
        }
    }

    /// Adds the cause, which is printed below the message.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(cause.into());
        self
    }

    /// Writes the failure to stderr.
    pub fn print(&self, log: Log) {
        log.say(&Message {
            level: "error",
            chain: &chain(self),
            hint: self.hint.as_deref(),
            exit_code: Some(self.exit as u8),
        });
    }

    /// Adds the next thing to try.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Returns an error's text and those of its causes, from the outermost in.
fn chain(error: &dyn Error) -> Vec<String> {
    let mut texts = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    texts
}

/// The format of stdout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
    /// For programs and people.
    Yaml,
    /// For merge requests and wikis.
    Markdown,
}

/// Global options, resolved.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// `--output`.
    pub format: Format,
    /// `--region`, else the environment (`AWS_REGION`, `AWS_DEFAULT_REGION`), else none.
    pub region: Option<String>,
    /// `--region` alone.
    pub region_flag: Option<String>,
    /// `--profile`, the AWS one, else `AWS_PROFILE`.
    pub aws_profile: Option<String>,
    /// `--profile` alone.
    pub profile_flag: Option<String>,
    /// `--endpoint-url`.
    pub endpoint_url: Option<String>,
    /// `--quiet`.
    pub quiet: bool,
    /// `-v`, counted.
    pub verbose: u8,
    /// Whether stderr may show colours and bars.
    pub progress: bool,
    /// How stderr looks.
    pub log: Log,
}

impl Context {
    /// Writes a warning to stderr, unless `--quiet`.
    pub fn warn(&self, message: impl Into<String>) {
        self.say("warning", message.into());
    }

    /// Writes a note to stderr, unless `--quiet`.
    pub fn note(&self, message: impl Into<String>) {
        self.say("note", message.into());
    }

    fn say(&self, level: &'static str, message: String) {
        if !self.quiet {
            self.log.say(&Message {
                level,
                chain: &[message],
                hint: None,
                exit_code: None,
            });
        }
    }
}

/// The end of every command.
pub type Outcome = Result<Answer, Failure>;

/// All that a command may end with.
#[derive(Debug)]
pub enum Ending {
    /// An answer in the format that was asked for.
    Answer(Answer),
    /// Text in a format of its own: a completion script, a manual page.
    Raw(Vec<u8>),
    /// The same, with an exit code of its own: a profile that is written and could not be checked.
    Written(Vec<u8>, Exit),
    /// An answer on stdout, and on stderr why the command did not do what it was asked for.
    Refused(Answer, Failure),
    /// No answer.
    Failed(Failure),
}

impl From<Outcome> for Ending {
    fn from(outcome: Outcome) -> Self {
        outcome.map_or_else(Self::Failed, Self::Answer)
    }
}
