//! What to know before acting on a plan.

use serde::Serialize;

use super::wording;
use crate::domain::profile::{Basis, Loaded, Scope, Target};
use crate::domain::sizing::pods;
use crate::domain::sizing::recommend::Recommendation;
use crate::domain::sizing::search::{Question, Reason};

/// How much a notice matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Look at it before acting.
    Warning,
}

/// Something to know.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Notice {
    /// Stable code.
    pub code: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// The message.
    pub message: String,
    /// Its source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// Returns what bears on this plan.
pub fn notices(question: &Question<'_>, loaded: &Loaded, answer: &Recommendation<'_>) -> Vec<Notice> {
    let mut notices = Vec::new();
    let mut add = |code, severity, message: String, source: Option<&str>| {
        notices.push(Notice {
            code,
            severity,
            message,
            source: source.map(str::to_owned),
        });
    };
    let profile = question.profile;
    let slo = &profile.slo;
    if answer.borderline {
        add(
            "borderline",
            Severity::Warning,
            format!(
                "the decision is close: an objective lies within chance of this answer, or forty replications did \
                 not separate a cheaper option from one. Another seed may decide otherwise; measured data \
                 (calibrate) or a margin of your own should. The answer has {} late and a slowdown of {}",
                wording::percent(answer.evaluation.late),
                wording::ratio(answer.evaluation.slowdown)
            ),
            None,
        );
    }
    let assumed = loaded
        .assumptions
        .iter()
        .filter(|a| a.basis == Basis::Assumed)
        .count();
    add(
        "assumed-values",
        Severity::Info,
        format!(
            "{assumed} of {} values are our assumptions, among them arrivals, CPU and memory of a job; \
             `calibrate` replaces what job history can tell",
            loaded.assumptions.len()
        ),
        None,
    );
    let (hour, share) = answer.record.weekly.worst_hour();
    if share > 1.0 - slo.wait_quantile && slo.scope == Scope::AllHours {
        add(
            "busy-hour-late",
            Severity::Warning,
            format!(
                "the objective holds over all hours, not in each: at {hour:02} h {:.1} % of jobs wait longer than {:.0} s, \
                 for schedules start together; spread them over the hour, or plan with --scope worst-hour",
                share * 100.0,
                slo.wait_s
            ),
            None,
        );
    }
    if let Some(best) = answer.outside.first() {
        add(
            "cheaper-outside-list",
            Severity::Info,
            format!(
                "{} x {} meets the same objectives for ${} a month less, by thread speeds that are assumed, not \
                 measured; --families any would choose it",
                best.count,
                best.instance_type,
                (answer.monthly - best.monthly).cents()
            ),
            None,
        );
    }
    if question.catalog.price_region != question.catalog.region {
        add(
            "prices-of-another-region",
            Severity::Warning,
            format!(
                "the table has no prices for {}; those of {} stand in, so amounts are off while the ranking rarely \
                 is; run `dataops-infra catalog refresh --region {}`",
                question.catalog.region, question.catalog.price_region, question.catalog.region
            ),
            None,
        );
    }
    let growth = crate::domain::disk::growth_gib_per_day(&profile.disk, answer.disk.load);
    add(
        "disk-growth",
        Severity::Info,
        format!(
            "without clean-up the disk grows by {growth:.1} GiB a day, {:.1} of them leftovers of {:.0} jobs; image \
             layers grow with the calendar, not with the load",
            profile.disk.leftover_mib_per_job * answer.disk.load.jobs_per_day / 1024.0,
            answer.disk.load.jobs_per_day
        ),
        None,
    );
    if profile.runner.concurrent != answer.evaluation.layout.per_host() && question.target == Target::Ec2 {
        add(
            "concurrency-differs",
            Severity::Info,
            format!(
                "set concurrent = {} on this host, not {}",
                answer.evaluation.layout.per_host(),
                profile.runner.concurrent
            ),
            Some(super::conflicts::INSTALLATION),
        );
    }
    if answer.offer.instance.vcpus * answer.chosen.count > 5 {
        add(
            "vcpu-quota",
            Severity::Info,
            format!(
                "a new account may run 5 standard vCPUs (quota L-1216C47A); this plan needs {}, twice that during a \
                 blue/green upgrade",
                answer.offer.instance.vcpus * answer.chosen.count
            ),
            Some("https://docs.aws.amazon.com/cli/latest/userguide/cli_service-quotas_code_examples.html"),
        );
    }
    if question.target == Target::Eks {
        let node = pods::allocatable(profile, answer.offer.instance);
        add(
            "pods-per-node",
            Severity::Info,
            format!(
                "a {} offers {:.0}m CPU and {:.0} MiB to job pods of {:.0}m and {:.0} MiB: {:.2} by CPU, {:.2} by \
                 memory; the request, not the load, decides the node size",
                answer.offer.instance.name,
                node.job_cpu_m,
                node.job_memory_mib,
                profile.kubernetes.cpu_request_m,
                profile.kubernetes.memory_request_mib,
                node.by_cpu,
                node.by_memory
            ),
            None,
        );
    }
    let unconsidered =
        |wanted: fn(&Reason) -> bool| answer.refused.iter().filter(|(_, reason)| wanted(reason)).count();
    let unpriced = unconsidered(|reason| matches!(reason, Reason::NoPrice));
    let unmeasured = unconsidered(|reason| matches!(reason, Reason::NoThreadSpeed));
    let small = unconsidered(|reason| matches!(reason, Reason::TooSmall));
    if unpriced + unmeasured + small > 0 {
        add(
            "types-not-considered",
            Severity::Info,
            format!(
                "{unpriced} types without a price, {unmeasured} without a thread speed and {small} below 2 vCPU and 4 GiB \
                 (the smallest host that the vendor names) are no candidates; see `catalog show`"
            ),
            None,
        );
    }
    notices
}
