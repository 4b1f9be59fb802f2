//! What a check says.

use serde_json::{Value, json};

use super::code::Code;
use super::fix::Fix;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// It holds.
    Ok,
    /// There was nothing to check, and why.
    Skipped,
    /// It could not be checked.
    Unknown,
    /// It holds for now, or not quite.
    Warning,
    /// It does not hold.
    Failed,
}

impl Status {
    /// All of them, as the summary lists them.
    pub const ALL: [Self; 5] = [
        Self::Ok,
        Self::Warning,
        Self::Failed,
        Self::Skipped,
        Self::Unknown,
    ];

    /// Returns the word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }

    /// Whether something was found.
    pub fn is_finding(self) -> bool {
        matches!(self, Self::Warning | Self::Failed)
    }
}

/// What mends it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remedy {
    /// In words.
    pub text: String,
    /// A command that does it, or helps.
    pub command: Option<String>,
}

impl Remedy {
    /// Returns a remedy in words.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            command: None,
        }
    }

    /// Adds a command.
    pub fn run(mut self, command: impl Into<String>) -> Self {
        self.command = Some(command.into());
        self
    }
}

/// Of what a check is.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// Region, where AWS was asked.
    pub region: Option<String>,
    /// Deployment.
    pub deployment: Option<String>,
    /// Address of the host, such as `host` or `host-2`.
    pub host: Option<String>,
}

/// A check with its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Which.
    pub code: Code,
    /// Of what.
    pub subject: Subject,
    /// How it ended.
    pub status: Status,
    /// What was seen.
    pub evidence: String,
    /// What mends it.
    pub remedy: Option<Remedy>,
    /// What can be done about it at once.
    pub fix: Option<Fix>,
}

impl Check {
    /// Notes how a check ended, of nothing in particular yet.
    pub fn new(code: Code, status: Status, evidence: impl Into<String>) -> Self {
        Self {
            code,
            subject: Subject::default(),
            status,
            evidence: evidence.into(),
            remedy: None,
            fix: None,
        }
    }

    /// Notes that it holds.
    pub fn ok(code: Code, evidence: impl Into<String>) -> Self {
        Self::new(code, Status::Ok, evidence)
    }

    /// Notes that there was nothing to check.
    pub fn skipped(code: Code, why: impl Into<String>) -> Self {
        Self::new(code, Status::Skipped, why)
    }

    /// Notes that it could not be checked.
    pub fn unknown(code: Code, why: impl Into<String>) -> Self {
        Self::new(code, Status::Unknown, why)
    }

    /// Notes that it holds for now, or not quite.
    pub fn warning(code: Code, evidence: impl Into<String>, remedy: Remedy) -> Self {
        Self::new(code, Status::Warning, evidence).mended_by(remedy)
    }

    /// Notes that it does not hold.
    pub fn failed(code: Code, evidence: impl Into<String>, remedy: Remedy) -> Self {
        Self::new(code, Status::Failed, evidence).mended_by(remedy)
    }

    /// Adds what mends it.
    pub fn mended_by(mut self, remedy: Remedy) -> Self {
        self.remedy = Some(remedy);
        self
    }

    /// Adds what can be done at once.
    pub fn fixed_by(mut self, fix: Fix) -> Self {
        self.fix = Some(fix);
        self
    }

    /// Says of what it is.
    pub fn of(mut self, subject: &Subject) -> Self {
        self.subject = subject.clone();
        self
    }

    /// Returns the check for programs.
    pub fn document(&self) -> Value {
        let mut document = json!({
            "code": self.code.word(),
            "title": self.code.title(),
            "severity": self.code.severity().word(),
        });
        let subject = &self.subject;
        for (key, value) in [
            ("region", &subject.region),
            ("deployment", &subject.deployment),
            ("host", &subject.host),
        ] {
            if let Some(value) = value {
                document[key] = value.as_str().into();
            }
        }
        document["status"] = self.status.word().into();
        document["evidence"] = self.evidence.as_str().into();
        if let Some(remedy) = &self.remedy {
            document["remedy"] = json!({ "text": remedy.text });
            if let Some(command) = &remedy.command {
                document["remedy"]["command"] = command.as_str().into();
            }
        }
        if let Some(fix) = &self.fix {
            document["fix"] = fix.word().into();
        }
        document["doc"] = self.code.doc().into();
        document
    }
}
