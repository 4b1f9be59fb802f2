//! How runs over deployments end: one answer for one, a summary for several.

use serde_json::{Value, json};

use crate::cli::outcome::{Answer, Ending, Exit, Failure, generated_by};
use crate::domain::deployment::name::Name;
use crate::engine::attempt::is_unknown;
use crate::engine::run::Report;
use crate::render::page::{Page, Table};

/// How one deployment ended.
#[derive(Debug)]
pub struct End {
    /// Its name.
    pub name: Name,
    /// Its region.
    pub region: String,
    /// What is told of it as data.
    pub document: Value,
    /// What is told of it in words; of several the first line.
    pub says: String,
    /// Exit code.
    pub exit: Exit,
    /// What went wrong, where something did.
    pub failure: Option<Failure>,
    /// Commands that come next.
    pub next: Vec<String>,
}

/// Returns the answer of one; `more` adds to the page what the document has.
pub fn one(end: End, schema: &str, more: impl FnOnce(&mut Page, &Value)) -> Ending {
    let mut document = json!({ "schema": schema, "generated_by": generated_by() });
    if let (Value::Object(document), Value::Object(more)) = (&mut document, end.document) {
        document.extend(more);
    }
    let mut page = Page::new();
    page.heading(format!("{} in {}", end.name, end.region))
        .text(&end.says);
    more(&mut page, &document);
    if !end.next.is_empty() {
        page.heading("Next").verbatim(end.next);
    }
    let answer = Answer {
        document,
        page,
        exit: end.exit,
    };
    match end.failure {
        Some(failure) => Ending::Refused(answer, failure),
        None => Ending::Answer(answer),
    }
}

/// Returns the answer of several, or of none; `hint` says how to go on where some failed.
pub fn several(ends: &[End], schema: &str, heading: &str, hint: &str) -> Ending {
    let mut table = Table::new(&["deployment", "region", "status", "says"]);
    let mut exit = Exit::Done;
    for end in ends {
        table.row([
            end.name.as_str(),
            &end.region,
            end.document["status"].as_str().unwrap_or_default(),
            end.says.lines().next().unwrap_or_default(),
        ]);
        exit = worse(exit, end.exit);
    }
    let mut page = Page::new();
    if ends.is_empty() {
        page.text(heading);
    } else {
        page.heading(heading).table(table);
    }
    let document = json!({
        "schema": schema,
        "generated_by": generated_by(),
        "deployments": ends.iter().map(|end| end.document.clone()).collect::<Vec<_>>(),
    });
    let answer = Answer { document, page, exit };
    let messages: Vec<String> = ends
        .iter()
        .filter_map(|end| end.failure.as_ref())
        .map(|failure| failure.message.clone())
        .collect();
    if messages.is_empty() {
        Ending::Answer(answer)
    } else {
        Ending::Refused(answer, Failure::new(exit, messages.join("\n")).hint(hint))
    }
}

/// Returns the exit code that says more: a failed step before a refusal, a refusal before what could not be read.
pub fn worse(one: Exit, other: Exit) -> Exit {
    let weight = |exit: Exit| match exit {
        Exit::Done => 0,
        Exit::Findings => 1,
        Exit::BadInput => 2,
        Exit::Unknown => 3,
        Exit::Refused => 4,
        Exit::Failed => 5,
    };
    if weight(other) > weight(one) { other } else { one }
}

/// Names the steps of which nobody knows whether they were taken; none where there are none.
pub fn unanswered(report: &Report) -> Option<String> {
    let unknown: Vec<&str> = report
        .failed
        .iter()
        .filter(|(_, failed)| is_unknown(failed))
        .map(|(address, _)| address.as_str())
        .collect();
    (!unknown.is_empty()).then(|| format!("unknown, because there was no answer: {}", unknown.join(", ")))
}
