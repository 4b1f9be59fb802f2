//! The plan as a page: verdict first, then why, then what it rests on.

use super::page::{Page, Table};
use crate::domain::plan::alternatives::Alternative;
use crate::domain::plan::cost::CostLine;
use crate::domain::plan::document::{Answer, PlanDocument};
use crate::domain::plan::notices::Severity;
use crate::domain::plan::prediction::{DiskRow, HourRow, Prediction, QueueWait, SweepRow};
use crate::domain::plan::wording::{counted, seconds};
use crate::domain::profile::{Basis, Target};

/// Eighths of a cell, for charts of one line.
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Sets the plan as a page.
pub fn page(plan: &PlanDocument) -> Page {
    let mut page = Page::new();
    verdict(&mut page, plan);
    considered(&mut page, &plan.alternatives);
    waits(&mut page, &plan.sweep, plan);
    hours(&mut page, &plan.prediction);
    disk(&mut page, plan);
    cost(&mut page, plan);
    alarms(&mut page, plan);
    conflicts(&mut page, plan);
    if !plan.notices.is_empty() {
        page.heading("Notices").bullets(plan.notices.iter().map(|notice| {
            let mark = match notice.severity {
                Severity::Warning => "warning: ",
                Severity::Info => "",
            };
            format!("{mark}{} ({})", notice.message, notice.code)
        }));
    }
    assumptions(&mut page, plan);
    page.heading("Next").verbatim(plan.next.clone());
    page
}

/// Returns a share as a percentage with one decimal, two when it is small.
pub fn percent(share: f64) -> String {
    if share > 0.0 && share < 0.001 {
        format!("{:.2} %", share * 100.0)
    } else {
        format!("{:.1} %", share * 100.0)
    }
}

/// Draws values as one line of blocks, the largest as a full one.
pub fn sparkline(values: impl IntoIterator<Item = f64>) -> String {
    let values: Vec<f64> = values.into_iter().collect();
    let largest = values.iter().copied().fold(0.0, f64::max);
    let block = |value: f64| {
        let eighths = if largest > 0.0 {
            (value / largest * 8.0).ceil() as usize
        } else {
            0
        };
        BLOCKS[eighths.min(8)]
    };
    values.into_iter().map(block).collect()
}

fn verdict(page: &mut Page, plan: &PlanDocument) {
    let (answer, prediction) = (&plan.recommendation, &plan.prediction);
    let gib = f64::from(answer.memory_mib) / 1024.0;
    page.heading(format!("{} on {}", plan.inputs.workload, place(answer)));
    let group = answer.node_group.as_ref().map_or(String::new(), |group| {
        format!(", node group {} to {}", group.min, group.max)
    });
    page.text(format!(
        "{} x {} ({} vCPU, {gib:.0} GiB){group}, {}, {} GiB gp3: ${} a month in {}.{}",
        answer.count,
        answer.instance_type,
        answer.vcpus,
        match answer.target {
            Target::Ec2 => format!("concurrent = {}", answer.concurrency),
            Target::Eks => format!("{} a node", counted(answer.concurrency, "job pod")),
        },
        answer.disk.size_gib,
        plan.cost.monthly_total,
        plan.inputs.region,
        if answer.borderline {
            " BORDERLINE: see the notices."
        } else {
            ""
        }
    ));
    let objectives = &plan.inputs.objectives;
    let holds = &answer.holds;
    let open = |open: bool| if open { " or beyond" } else { "" };
    page.pairs([
        (
            "decided by",
            format!("{} ({})", answer.binding.constraint, answer.binding.says),
        ),
        (
            "late jobs",
            format!(
                "{} ± {} wait longer than {:.0} s{}; limit {}",
                percent(answer.binding.late_share),
                percent(answer.binding.late_share_half_width),
                objectives.wait_seconds,
                match objectives.scope {
                    crate::domain::profile::Scope::AllHours => "",
                    crate::domain::profile::Scope::WorstHour => " in the worst hour",
                },
                percent(objectives.late_share)
            ),
        ),
        (
            "slowdown",
            format!(
                "{:.3} ± {:.3} times the ideal pipeline time; limit {:.2}",
                answer.binding.slowdown, answer.binding.slowdown_half_width, objectives.pipeline_slowdown
            ),
        ),
        ("job wait", wait_quantiles(&prediction.queue_wait_seconds)),
        (
            "pipeline time",
            format!(
                "median {}, 75 % {}, 95 % {}",
                seconds(prediction.pipeline_seconds.p50),
                seconds(prediction.pipeline_seconds.p75),
                seconds(prediction.pipeline_seconds.p95)
            ),
        ),
        (
            "busy slots",
            format!(
                "{:.2} on average, {} at most 99.9 % of the time; CPU {}",
                prediction.busy_slots_mean,
                prediction.busy_slots_p999,
                percent(prediction.cpu_utilization)
            ),
        ),
        (
            "memory",
            prediction.memory_headroom_mib.map_or_else(
                || "packed by the pods' requests".to_owned(),
                |mib| format!("{mib:.0} MiB to spare with all slots running (99 %)"),
            ),
        ),
        (
            "disk",
            format!(
                "80 % full after {} days without clean-up (early fillers); asked for {:.0}",
                prediction.days_until_disk_80_percent, objectives.unattended_days
            ),
        ),
        (
            "holds for",
            format!(
                "{:.0}{} to {:.0}{} pipelines a weekday ({:.2} to {:.2} times this load)",
                holds.pipelines_per_weekday[0],
                open(holds.low_open),
                holds.pipelines_per_weekday[1],
                open(holds.high_open),
                holds.multiples[0],
                holds.multiples[1]
            ),
        ),
        (
            "prices",
            format!(
                "{}, {}, catalog {}",
                plan.inputs.catalog.price_region, plan.inputs.catalog.date, plan.inputs.catalog.origin
            ),
        ),
    ]);
}

fn place(answer: &Answer) -> &'static str {
    match answer.target {
        Target::Ec2 => "EC2",
        Target::Eks => "EKS",
    }
}

fn considered(page: &mut Page, alternatives: &[Alternative]) {
    let mut table = Table::new(&[">n", "type", ">jobs", ">$/month", ">late", ">slowdown", "why"]);
    let number = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    for row in alternatives.iter().filter(|row| row.verdict != "not-considered") {
        table.row([
            row.count.to_string(),
            row.instance_type.clone(),
            number(row.concurrency.map(|jobs| jobs.to_string())),
            number(row.monthly_total.clone()),
            number(row.late_share.map(percent)),
            number(row.slowdown.map(|slowdown| format!("{slowdown:.3}"))),
            format!("{}: {}", row.verdict, row.reasons.join("; ")),
        ]);
    }
    page.heading("Considered").table(table);
    let refused: Vec<String> = alternatives
        .iter()
        .filter(|row| row.verdict == "not-considered")
        .map(|row| format!("{}: {}", row.instance_type, row.reasons.join("; ")))
        .collect();
    page.bullets(refused);
}

fn waits(page: &mut Page, sweep: &[SweepRow], plan: &PlanDocument) {
    let by_nodes = sweep.iter().any(|row| row.max_nodes.is_some());
    page.heading(if by_nodes {
        "Wait against the largest number of nodes"
    } else {
        "Wait against concurrency"
    });
    page.table(sweep_table(sweep));
    page.text(format!(
        "late: share of jobs that wait longer than {:.0} s; slowdown: pipeline time relative to unlimited slots on \
         an undisturbed reference thread; ± 95 % interval.",
        plan.inputs.objectives.wait_seconds
    ));
}

/// Sets the sweep as a table.
pub fn sweep_table(sweep: &[SweepRow]) -> Table {
    let by_nodes = sweep.iter().any(|row| row.max_nodes.is_some());
    let first = if by_nodes { ">max nodes" } else { ">jobs" };
    let mut table = Table::new(&[first, ">mean", ">95 %", ">99 %", ">late", ">slowdown", ""]);
    for row in sweep {
        let mark = match (row.chosen, row.fits_memory) {
            (true, _) => "chosen",
            (false, false) => "over the memory cap",
            (false, true) => "",
        };
        table.row([
            row.max_nodes.unwrap_or(row.concurrency).to_string(),
            seconds(row.wait_mean),
            seconds(row.wait_p95),
            seconds(row.wait_p99),
            format!(
                "{} ± {:.1}",
                percent(row.late_share),
                row.late_share_half_width * 100.0
            ),
            format!("{:.3} ± {:.3}", row.slowdown, row.slowdown_half_width),
            mark.to_owned(),
        ]);
    }
    table
}

fn hours(page: &mut Page, prediction: &Prediction) {
    page.heading("Hours of the weekday").verbatim([
        "             0     6     12    18   23".to_owned(),
        format!(
            "busy slots   {}",
            sparkline(prediction.hours.iter().map(|hour| hour.busy_slots))
        ),
        format!(
            "late jobs    {}",
            sparkline(prediction.hours.iter().map(|hour| hour.late_share))
        ),
    ]);
    if let Some(worst) = prediction.hours.get(prediction.worst_hour) {
        page.text(worst_hour(worst));
    }
}

/// Returns what happens in the worst hour.
pub fn worst_hour(worst: &HourRow) -> String {
    format!(
        "Most late jobs at {:02} h: {} of {:.0} an hour, 95 % wait {}, {:.1} slots busy.",
        worst.hour,
        percent(worst.late_share),
        worst.jobs,
        seconds(worst.wait_p95_seconds),
        worst.busy_slots
    )
}

fn disk(page: &mut Page, plan: &PlanDocument) {
    page.heading("Disk: days without clean-up (5 / 50 / 95 % of hosts)")
        .table(disk_table(&plan.prediction.disk));
}

/// Sets the fill of the disks as a table.
pub fn disk_table(rows: &[DiskRow]) -> Table {
    let mut table = Table::new(&[">GiB", ">$/month", ">to 80 %", ">to 90 %", ">full"]);
    let days = |days: crate::domain::disk::Days| {
        let day = |day: u32| {
            if day >= crate::domain::disk::LAST_DAY {
                format!("{day}+")
            } else {
                day.to_string()
            }
        };
        format!("{} / {} / {}", day(days.p5), day(days.p50), day(days.p95))
    };
    for row in rows {
        table.row([
            row.size_gib.to_string(),
            row.monthly.clone(),
            days(row.to_80_percent),
            days(row.to_90_percent),
            days(row.to_full),
        ]);
    }
    table
}

fn cost(page: &mut Page, plan: &PlanDocument) {
    let mut table = cost_table("what", &plan.cost.lines);
    table.row(["total", "", "", "", plan.cost.monthly_total.as_str()]);
    page.heading(format!(
        "Cost a month of {} hours, {}",
        plan.cost.hours_per_month, plan.cost.currency
    ));
    page.table(table);
    page.table(cost_table("not in the total", &plan.cost.extras));
}

fn cost_table(what: &str, lines: &[CostLine]) -> Table {
    let mut table = Table::new(&[what, ">quantity", "unit", ">price", ">$/month"]);
    for line in lines {
        table.row([
            line.what.clone(),
            line.quantity.clone(),
            line.unit.to_owned(),
            line.unit_price.to_string(),
            line.monthly.clone(),
        ]);
    }
    table
}

/// Returns the quantiles of the wait with the interval of the 95th percentile.
pub fn wait_quantiles(wait: &QueueWait) -> String {
    format!(
        "median {}, 95 % {} ({} to {}), 99 % {}",
        seconds(wait.p50),
        seconds(wait.p95),
        seconds(wait.ci95_p95[0]),
        seconds(wait.ci95_p95[1]),
        seconds(wait.p99)
    )
}

fn alarms(page: &mut Page, plan: &PlanDocument) {
    let mut table = Table::new(&["alarm", "metric and condition", "why"]);
    for alarm in &plan.alarms {
        let action = if alarm.action == "notify" {
            String::new()
        } else {
            format!("; {}", alarm.action)
        };
        table.row([
            alarm.name.to_owned(),
            format!(
                "{} {} ({}), {} x {} s{action}",
                alarm.metric, alarm.condition, alarm.statistic, alarm.periods, alarm.period_s
            ),
            alarm.why.clone(),
        ]);
    }
    page.heading("Alarms that go with it").table(table);
}

fn conflicts(page: &mut Page, plan: &PlanDocument) {
    page.heading("Where the vendor's pages disagree");
    for conflict in &plan.conflicts {
        page.text(format!(
            "{}: this plan takes {}.",
            conflict.topic, conflict.chosen
        ));
        let statements = conflict
            .statements
            .iter()
            .map(|statement| format!("{} <{}>", statement.says, statement.source));
        page.bullets(statements.chain([format!("rule: {}", conflict.why)]));
    }
}

fn assumptions(page: &mut Page, plan: &PlanDocument) {
    let mut table = Table::new(&["key", ">value", "unit", "basis"]);
    // Pods and nodes decide nothing on EC2; the JSON keeps them.
    let bears = |key: &str| {
        plan.inputs.target == Target::Eks || !(key.starts_with("kubernetes.") || key == "slo.min_nodes")
    };
    for assumption in plan
        .assumptions
        .iter()
        .filter(|assumption| bears(&assumption.key))
    {
        let basis = match assumption.basis {
            Basis::User => format!("user ({})", assumption.source),
            basis => basis.word().to_owned(),
        };
        table.row([
            assumption.key.clone(),
            assumption.value.clone(),
            assumption.unit.clone(),
            basis,
        ]);
    }
    page.heading("What it rests on").table(table);
    page.text("Sources of each value: --output json, or `dataops-infra workload show`.");
}
