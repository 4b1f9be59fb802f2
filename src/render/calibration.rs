//! The page of `calibrate`: what was read, what was found, what is unknown, and whether it can be believed.

use super::page::{Page, Table};
use crate::domain::calibration::check::{Check, Verdict};
use crate::domain::calibration::estimate::{Figure, shown};
use crate::domain::calibration::report::{Report, Rows};
use crate::domain::calibration::rows::Effect;

/// Sets the report.
pub fn page(report: &Report) -> Page {
    let mut page = Page::new();
    page.heading("Job history");
    let rows = &report.rows;
    page.pairs([
        ("file", report.inputs.file.clone()),
        (
            "rows",
            format!(
                "{} read, {} used, {} run times",
                rows.read, rows.used, rows.measured
            ),
        ),
        (
            "pipelines",
            format!("{} in {:.1} days", rows.pipelines, rows.days),
        ),
        ("hours", format!("in {}", report.inputs.timezone)),
    ]);
    page.table(unused(rows));

    page.heading("Found");
    let mut table = Table::new(&["key", ">value", ">± error", ">n"]);
    for one in &report.estimates {
        let value = match &one.value {
            Figure::Number(value) => shown(*value),
            Figure::Weights(weights) => sparkline(weights),
        };
        let error = one.standard_error.map_or_else(String::new, shown);
        table.row([one.key.clone(), value, error, one.n.to_string()]);
    }
    page.table(table);

    page.text("n counts what each rests on: jobs, pipelines, stages. --output json and the comments of the profile say how each was found.");

    page.heading("Not in the history");
    page.text(format!("These keep the values of {}.", report.inputs.base));
    let mut table = Table::new(&["key", "why", "how to find out"]);
    for one in &report.unknown {
        table.row([one.key.clone(), one.why.clone(), one.how_to_measure.clone()]);
    }
    page.table(table);

    page.heading("Check against the measured waits");
    check(&mut page, &report.check);

    if !report.notices.is_empty() {
        page.heading("Notices");
        page.bullets(report.notices.iter().map(|notice| match notice.severity {
            "warning" => format!("warning: {}", notice.message),
            _ => notice.message.clone(),
        }));
    }
    page.heading("Next");
    let file = report.inputs.file.as_str();
    match &report.written_to {
        Some(path) => page.verbatim([format!("dataops-infra plan --workload {path}")]),
        None if report.check.verdict == Verdict::Rejected => page.text(
            "The profile does not reproduce the measured waits, so it is not written; --force writes it all the same. \
             Look at --concurrency, --runner and --tag first: does the file hold the jobs of one runner?",
        ),
        None => page.verbatim([format!("dataops-infra calibrate {file} --out team.yaml")]),
    };
    page
}

fn unused(rows: &Rows) -> Table {
    let mut table = Table::new(&[">rows", "not used because", "effect", "first lines"]);
    for one in &rows.unused {
        let effect = match one.effect {
            Effect::Dropped => "dropped",
            Effect::Partial => "used in part",
        };
        let lines: Vec<String> = one.lines.iter().map(u64::to_string).collect();
        table.row([
            one.rows.to_string(),
            one.text.to_owned(),
            effect.to_owned(),
            lines.join(", "),
        ]);
    }
    table
}

fn check(page: &mut Page, check: &Check) {
    let verdict = match check.verdict {
        Verdict::Agrees => "agrees",
        Verdict::Rejected => "rejected",
        Verdict::Unchecked => "not checked",
    };
    page.text(format!("{verdict}: {}", check.reason));
    let mut table = Table::new(&["", ">median", ">P95", ">mean", ">over 30 s"]);
    let share = |share: f64| format!("{:.2} %", 100.0 * share);
    let second = |seconds: f64| format!("{seconds:.1} s");
    for (name, waits) in [("measured", check.measured), ("predicted", check.predicted)] {
        if let Some(w) = waits {
            let cells = [
                second(w.p50),
                second(w.p95),
                second(w.mean),
                share(w.share_over_30s),
            ];
            table.row(std::iter::once(name.to_owned()).chain(cells));
        }
    }
    if let Some(range) = check.predicted_range {
        let pair = |[low, high]: [f64; 2]| format!("{low:.1}..{high:.1} s");
        let late = format!(
            "{:.2}..{:.2} %",
            100.0 * range.share_over_30s[0],
            100.0 * range.share_over_30s[1]
        );
        table.row([
            "by chance".to_owned(),
            pair(range.p50),
            pair(range.p95),
            String::new(),
            late,
        ]);
    }
    page.table(table);
    if check.replications > 0 {
        let basis = if check.concurrency_basis == "given" {
            "as given"
        } else {
            "estimated; say the real number with --concurrency"
        };
        page.text(format!(
            "{} replays of {} weeks on {} slots ({basis}), seed {}.",
            check.replications, check.weeks, check.concurrency, check.seed
        ));
    }
}

/// Draws 24 weights as bars.
fn sparkline(weights: &[f64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = weights.iter().copied().fold(0.0, f64::max);
    let bar = |weight: &f64| {
        let level = if most > 0.0 {
            (weight / most * 7.0).round() as usize
        } else {
            0
        };
        BARS[level.min(7)]
    };
    weights.iter().map(bar).collect()
}
