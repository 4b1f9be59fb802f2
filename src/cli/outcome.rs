//! How a command ends: a document to print, or a failure with its exit code and the next command to try.

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
}

impl Failure {
    /// Makes a failure.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hint: None,
        }
    }

    /// Adds the next thing to try.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
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
    /// `--profile`, the AWS one.
    pub aws_profile: Option<String>,
    /// `--endpoint-url`.
    pub endpoint_url: Option<String>,
    /// `--quiet`.
    pub quiet: bool,
    /// `-v`, counted.
    pub verbose: u8,
    /// Whether stderr may show colours and bars.
    pub progress: bool,
    /// `--log-format json`.
    pub json_log: bool,
}

/// The end of every command.
pub type Outcome = Result<Answer, Failure>;
