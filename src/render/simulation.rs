//! Simulations as pages.

use super::page::{Page, Table};
use super::plan::{disk_table, percent, sparkline, sweep_table, wait_quantiles, worst_hour};
use crate::domain::plan::simulation::{Mean, QueueDocument, SimulationDocument};
use crate::domain::plan::wording::{counted, seconds};
use crate::domain::profile::Target;

/// Replications listed one by one.
const LISTED: usize = 20;
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

fn interval(mean: Mean, scale: f64, digits: usize, unit: &str) -> String {
    match mean.half_width {
        Some(half) => format!("{:.digits$} ± {:.digits$}{unit}", mean.mean * scale, half * scale),
        None => format!("{:.digits$}{unit}", mean.mean * scale),
    }
}

/// Sets a study as a page.
pub fn page(study: &SimulationDocument) -> Page {
    let mut page = Page::new();
    let inputs = &study.inputs;
    page.heading(format!(
        "{} on {} x {}",
        inputs.workload, inputs.count, inputs.instance_type
    ));
    page.text(format!(
        "{}, {} of {} from seed {}: {} jobs in {} pipelines.",
        match (inputs.target, inputs.max_nodes) {
            (Target::Eks, Some(max)) => {
                format!(
                    "{} a node, {} to {max} nodes",
                    counted(inputs.concurrency, "job pod"),
                    inputs.count
                )
            }
            _ => format!("concurrent = {}", inputs.concurrency),
        },
        counted(inputs.replications as u32, "replication"),
        counted(inputs.weeks, "week"),
        inputs.seed,
        study.jobs,
        study.pipelines
    ));
    page.pairs([
        ("mean wait", interval(study.wait_mean, 1.0, 2, " s")),
        ("wait", wait_quantiles(&study.queue_wait_seconds)),
        (
            "late jobs",
            format!(
                "{} wait longer than {:.0} s",
                interval(study.late_share, 100.0, 2, " %"),
                inputs.wait_seconds
            ),
        ),
        (
            "slowdown",
            format!(
                "{} times the ideal pipeline time",
                interval(study.slowdown, 1.0, 3, "")
            ),
        ),
        ("busy slots", format!("{:.2} on average", study.busy_slots_mean)),
        ("nodes", interval(study.nodes, 1.0, 2, "")),
        (
            "laws",
            format!(
                "{}: Little's residual {:.1e}, {} out of order, {} lost, {} of {} slots at most",
                if study.laws.hold { "hold" } else { "BROKEN" },
                study.laws.little_residual,
                study.laws.order_violations,
                study.laws.lost_jobs,
                study.laws.peak_slots,
                study.laws.slots
            ),
        ),
    ]);
    week(&mut page, study);
    hours(&mut page, study);
    page.heading(if inputs.max_nodes.is_some() {
        "Wait against the largest number of nodes"
    } else {
        "Wait against concurrency"
    })
    .table(sweep_table(&study.sweep));
    page.heading("Disk without clean-up: used GiB");
    let mut fan = Table::new(&[">day", ">5 %", ">50 %", ">95 %"]);
    for row in &study.disk_fan {
        fan.row([
            row.day.to_string(),
            format!("{:.0}", row.p5),
            format!("{:.0}", row.p50),
            format!("{:.0}", row.p95),
        ]);
    }
    page.table(fan)
        .heading("Disk: days without clean-up (5 / 50 / 95 % of hosts)")
        .table(disk_table(&study.disk));
    page.heading("Replications");
    let mut table = Table::new(&[
        ">replication",
        ">jobs",
        ">late",
        ">mean wait",
        ">95 % wait",
        ">slowdown",
    ]);
    for row in study.replications.iter().take(LISTED) {
        table.row([
            row.replication.to_string(),
            row.jobs.to_string(),
            percent(row.late_share),
            seconds(row.wait_mean),
            seconds(row.wait_p95),
            format!("{:.3}", row.slowdown),
        ]);
    }
    page.table(table);
    if study.replications.len() > LISTED {
        page.text(format!(
            "and {} more: --output json",
            study.replications.len() - LISTED
        ));
    }
    page
}

fn week(page: &mut Page, study: &SimulationDocument) {
    let rows = |values: &[f64]| -> Vec<String> {
        // One scale for all days, so that they can be compared.
        let line: Vec<char> = sparkline(values.iter().copied()).chars().collect();
        DAYS.iter()
            .zip(line.chunks(24))
            .map(|(day, hours)| format!("{day}  {}", hours.iter().collect::<String>()))
            .collect()
    };
    let scale = "     0     6     12    18   23".to_owned();
    let peak = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
    page.heading(format!(
        "Busy slots by hour of the week (full block: {:.1})",
        peak(&study.week.busy_slots)
    ));
    page.verbatim(std::iter::once(scale.clone()).chain(rows(&study.week.busy_slots)));
    page.heading(format!(
        "Late jobs by hour of the week (full block: {})",
        percent(peak(&study.week.late_share))
    ));
    page.verbatim(std::iter::once(scale).chain(rows(&study.week.late_share)));
}

fn hours(page: &mut Page, study: &SimulationDocument) {
    let mut table = Table::new(&[">hour", ">jobs", ">busy slots", ">95 % wait", ">late"]);
    for row in &study.hours {
        table.row([
            format!("{:02}", row.hour),
            format!("{:.1}", row.jobs),
            format!("{:.2}", row.busy_slots),
            seconds(row.wait_p95_seconds),
            percent(row.late_share),
        ]);
    }
    page.heading("Hours of the weekday").table(table);
    let worst = study
        .hours
        .iter()
        .max_by(|a, b| a.late_share.total_cmp(&b.late_share));
    if let Some(worst) = worst {
        page.text(worst_hour(worst));
    }
}

/// Sets a textbook queue as a page.
pub fn queue_page(queue: &QueueDocument) -> Page {
    let mut page = Page::new();
    page.heading(format!("{} at {} erlangs", queue.queue, queue.load));
    let mut table = Table::new(&["figure", ">simulated", ">standard error", ">exact", ">deviations"]);
    for figure in &queue.figures {
        table.row([
            figure.name.to_owned(),
            format!("{:.6}", figure.simulated),
            format!("{:.6}", figure.standard_error),
            figure
                .exact
                .map_or_else(|| "-".to_owned(), |exact| format!("{exact:.6}")),
            figure
                .deviations
                .map_or_else(|| "-".to_owned(), |deviations| format!("{deviations:.2}")),
        ]);
    }
    page.table(table);
    if let (Some(estimate), Some([low, high])) = (queue.allen_cunneen, queue.bounds) {
        page.text(format!(
            "Mean wait by Allen and Cunneen: {estimate:.6}; bounds of M/G/c: {low:.6} to {high:.6}."
        ));
    }
    page.text(format!(
        "{} runs of {} jobs, the first tenth of each left out; times in mean service times.",
        queue.runs, queue.jobs
    ));
    page
}
