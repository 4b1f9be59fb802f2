//! The page of `doctor`: what was found first, with what mends it; then what could not be checked; then the rest.

use std::collections::BTreeMap;

use super::page::{Page, Table};
use crate::domain::doctor::check::{Check, Status, Subject};
use crate::domain::doctor::code::Code;

/// More subjects than these, and what is well is only counted.
const FEW: usize = 4;

/// Fills a page with checks.
pub fn fill(page: &mut Page, checks: &[Check]) {
    page.text(counted(checks));
    let mut findings: Vec<&Check> = checks.iter().filter(|check| check.status.is_finding()).collect();
    findings.sort_by_key(|check| {
        (
            std::cmp::Reverse(check.status),
            std::cmp::Reverse(check.code.severity()),
        )
    });
    if !findings.is_empty() {
        page.heading("Found");
    }
    for check in findings {
        finding(page, check);
    }
    grouped(page, checks, Status::Unknown, "Could not be checked");
    grouped(page, checks, Status::Skipped, "Skipped");
    well(page, checks);
}

/// Returns a page with all codes.
pub fn list() -> Page {
    let mut page = Page::new();
    let mut table = Table::new(&["check", "severity", "holds when"]);
    for code in Code::ALL {
        table.row([code.word(), code.severity().word(), code.title()]);
    }
    page.heading("Checks").table(table);
    page
}

fn counted(checks: &[Check]) -> String {
    let counts: Vec<String> = Status::ALL
        .into_iter()
        .filter_map(|status| {
            let count = checks.iter().filter(|check| check.status == status).count();
            (count > 0).then(|| format!("{count} {}", status.word()))
        })
        .collect();
    format!("{} checks: {}.", checks.len(), counts.join(", "))
}

fn of(subject: &Subject) -> String {
    let parts = [&subject.region, &subject.deployment, &subject.host];
    let parts: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
    parts.join(" ")
}

fn finding(page: &mut Page, check: &Check) {
    let status = check.status.word().to_uppercase();
    let of = of(&check.subject);
    let of = if of.is_empty() { of } else { format!(", {of}") };
    page.text(format!("{status} {}{of}: {}", check.code, check.evidence));
    let mut pairs = Vec::new();
    if let Some(remedy) = &check.remedy {
        pairs.push(("mend".to_owned(), remedy.text.clone()));
    }
    pairs.push((
        "read".to_owned(),
        format!("{} (doctor --explain {})", check.code.doc(), check.code),
    ));
    page.pairs(pairs);
    if let Some(command) = check.remedy.as_ref().and_then(|remedy| remedy.command.as_ref()) {
        page.verbatim([format!("      {command}")]);
    }
}

/// Lists checks with the same words together: one reason often stops many.
fn grouped(page: &mut Page, checks: &[Check], status: Status, heading: &str) {
    let mut groups: BTreeMap<(String, &str), Vec<&str>> = BTreeMap::new();
    for check in checks.iter().filter(|check| check.status == status) {
        let key = (of(&check.subject), check.evidence.as_str());
        groups.entry(key).or_default().push(check.code.word());
    }
    if groups.is_empty() {
        return;
    }
    page.heading(heading);
    page.bullets(groups.into_iter().map(|((of, why), codes)| {
        let of = if of.is_empty() { of } else { format!(" ({of})") };
        format!("{}{of}: {why}", codes.join(", "))
    }));
}

fn well(page: &mut Page, checks: &[Check]) {
    let well: Vec<&Check> = checks.iter().filter(|check| check.status == Status::Ok).collect();
    let mut subjects: Vec<&Subject> = well.iter().map(|check| &check.subject).collect();
    subjects.sort();
    subjects.dedup();
    if well.is_empty() || subjects.len() > FEW {
        return;
    }
    page.heading("In order");
    let several = subjects.iter().filter(|subject| subject.host.is_some()).count() > 1;
    let mut table = Table::new(&["check", "seen"]);
    for check in well {
        let mut code = check.code.word().to_owned();
        if let Some(host) = check.subject.host.as_ref().filter(|_| several) {
            code.push_str(&format!(" {host}"));
        }
        table.row([code, check.evidence.clone()]);
    }
    page.table(table);
}
