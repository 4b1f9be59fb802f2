//! All answers of a run, and the questions that got none.
//!
//! Every check that was asked for is on the board at the end: one that nobody answered is `unknown`, never left out.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::check::{Check, Remedy, Status, Subject};
use super::code::Code;
use crate::domain::call::CallError;

/// Why something could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gap {
    /// It took too long, with the seconds it was given.
    Slow(u64),
    /// The call failed.
    Call(CallError),
    /// Something else, which says why itself, was not read before.
    After(String),
}

impl std::fmt::Display for Gap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Slow(seconds) => write!(f, "did not answer within {seconds} s"),
            // Why is said once.
            Self::Call(CallError::Credentials { action, .. }) => {
                write!(f, "{action}: no usable AWS credentials, see MACHINE-CREDENTIALS")
            }
            Self::Call(error) => error.fmt(f),
            Self::After(why) => f.write_str(why),
        }
    }
}

/// What is read, or why it was not.
pub type Read<T> = Result<T, Gap>;

/// How a run of all checks ended; the exit code follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was found.
    Clean,
    /// Something was found.
    Findings,
    /// Nothing was found, and something could not be checked.
    Unchecked,
}

/// The answers.
#[derive(Clone, Debug, Default)]
pub struct Board {
    checks: BTreeMap<(Subject, Code), Option<Check>>,
    denied: BTreeMap<Subject, BTreeMap<&'static str, String>>,
}

impl Board {
    /// Asks for a check: it will be on the board, answered or not.
    pub fn ask(&mut self, subject: &Subject, code: Code) {
        self.checks.entry((subject.clone(), code)).or_insert(None);
    }

    /// Takes back what was asked of a subject that there is not.
    pub fn forget(&mut self, subject: &Subject) {
        self.checks.retain(|(other, _), _| other != subject);
    }

    /// Notes answers; those that nobody asked for are dropped.
    pub fn put(&mut self, checks: impl IntoIterator<Item = Check>) {
        for check in checks {
            if let Some(place) = self.checks.get_mut(&(check.subject.clone(), check.code)) {
                *place = Some(check);
            }
        }
    }

    /// Notes why something was not read; missing permissions are one check of their own.
    pub fn note(&mut self, region: &Subject, gap: &Gap) {
        if let Gap::Call(CallError::Denied { action, cause }) = gap {
            let denied = self.denied.entry(region.clone()).or_default();
            denied.insert(action, cause.clone());
        }
    }

    /// Returns the answers; what has none is `unknown` for this reason.
    pub fn close(mut self, why: &str) -> Vec<Check> {
        let asked: Vec<(Subject, Code)> = self.checks.keys().cloned().collect();
        for (subject, code) in asked {
            if code == Code::AccountPermissions
                && let Some(denied) = self.denied.get(&subject)
            {
                let check = permissions(denied).of(&subject);
                self.checks.insert((subject, code), Some(check));
            }
        }
        let mut checks: Vec<Check> = self
            .checks
            .into_iter()
            .map(|((subject, code), check)| check.unwrap_or_else(|| Check::unknown(code, why).of(&subject)))
            .collect();
        // As the table has them, machine first; within a code by subject.
        checks.sort_by(|a, b| {
            let place = |check: &Check| {
                (
                    check.subject.region.clone(),
                    check.subject.deployment.clone(),
                    check.code,
                    check.subject.host.clone(),
                )
            };
            place(a).cmp(&place(b))
        });
        checks
    }
}

fn permissions(denied: &BTreeMap<&'static str, String>) -> Check {
    let actions: Vec<&str> = denied.keys().copied().collect();
    let says = denied.values().next().cloned().unwrap_or_default();
    Check::failed(
        Code::AccountPermissions,
        format!("not permitted: {} ({says})", actions.join(", ")),
        Remedy::new("give the caller what this prints").run("dataops-infra export iam-policy --for doctor"),
    )
}

/// Returns how all of it ended. A finding wins over what could not be checked, because it can be acted upon; that AWS could
/// not be asked at all (`Code::is_means`) is no finding about what was to be checked.
pub fn verdict(checks: &[Check]) -> Verdict {
    let found = |check: &&Check| check.status.is_finding() && !check.code.is_means();
    let open = |check: &&Check| check.status == Status::Unknown || check.status.is_finding();
    if checks.iter().any(|check| found(&check)) {
        Verdict::Findings
    } else if checks.iter().any(|check| open(&check)) {
        Verdict::Unchecked
    } else {
        Verdict::Clean
    }
}

/// Returns how many checks ended how.
pub fn summary(checks: &[Check]) -> Value {
    let mut summary = json!({ "checks": checks.len() });
    for status in Status::ALL {
        let count = checks.iter().filter(|check| check.status == status).count();
        summary[status.word()] = count.into();
    }
    summary["verdict"] = match verdict(checks) {
        Verdict::Clean => "clean",
        Verdict::Findings => "findings",
        Verdict::Unchecked => "unchecked",
    }
    .into();
    summary
}
