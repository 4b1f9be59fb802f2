//! Pages about deployments: steps, checks, what is in the way, what was done, what there is.

use super::page::{Page, Table};
use crate::domain::deployment::change::Difference;
use crate::domain::deployment::down::Stays;
use crate::domain::deployment::preflight::{Finding, Status};
use crate::domain::deployment::step::{Action, Block, Step};

/// Adds the steps, with what they change.
pub fn steps(page: &mut Page, title: impl Into<String>, steps: &[Step]) {
    page.heading(title);
    if steps.is_empty() {
        page.text("Nothing differs.");
        return;
    }
    let mut table = Table::new(&["action", "address", "kind", "why"]);
    for step in steps {
        let mut why = step.reason.clone();
        for difference in &step.differences {
            why.push_str(&format!("; {difference}"));
        }
        if step.fallbacks.len() > 1 {
            why.push_str(&format!("; then {}", step.fallbacks[1..].join(", ")));
        }
        table.row([step.action.word(), &step.address, step.kind, &why]);
    }
    page.table(table);
    let count = |action: Action| steps.iter().filter(|step| step.action == action).count();
    let parts: Vec<String> = [Action::Create, Action::Update, Action::Delete, Action::Keep]
        .into_iter()
        .map(|action| (action, count(action)))
        .filter(|(_, count)| *count > 0)
        .map(|(action, count)| format!("{count} to {}", action.word()))
        .collect();
    if !parts.is_empty() {
        page.text(format!("{}.", parts.join(", ")));
    }
}

/// Adds the checks; those that hold only where there are others, or if all are wanted.
pub fn findings(page: &mut Page, findings: &[Finding], all: bool) {
    let shown: Vec<&Finding> = findings
        .iter()
        .filter(|finding| all || finding.status != Status::Ok)
        .collect();
    if shown.is_empty() {
        return;
    }
    page.heading("Preflight");
    let mut table = Table::new(&["check", "status", "seen"]);
    for finding in shown {
        let status = match finding.status {
            Status::Ok => "ok",
            Status::Warning => "warning",
            Status::Blocked => "BLOCKED",
            Status::Unknown => "not checked",
        };
        let mut seen = finding.evidence.clone();
        if let Some(remedy) = &finding.remedy {
            seen.push_str(&format!("; {remedy}"));
        }
        table.row([finding.code, status, &seen]);
    }
    page.table(table);
}

/// Adds what is in the way.
pub fn blocks(page: &mut Page, blocks: &[Block]) {
    if blocks.is_empty() {
        return;
    }
    page.heading("In the way");
    page.bullets(blocks.iter().map(|block| format!("{} {}", block.what, block.why)));
}

/// Adds what differs and is not mended.
pub fn stuck(page: &mut Page, stuck: &[(String, Difference)]) {
    if stuck.is_empty() {
        return;
    }
    page.heading("Differs and is not changed while a host runs");
    page.bullets(
        stuck
            .iter()
            .map(|(address, difference)| format!("{address}: {difference}")),
    );
}

/// Adds what stays.
pub fn stays(page: &mut Page, stays: &[Stays]) {
    if stays.is_empty() {
        return;
    }
    page.heading("Stays");
    page.bullets(stays.iter().map(|stays| format!("{}: {}", stays.what, stays.why)));
}
