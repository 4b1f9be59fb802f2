//! What to know before acting on a plan.

use serde::Serialize;

use super::wording;
use crate::domain::catalog::InstanceType;
use crate::domain::profile::{Basis, Loaded, Profile, Scope, Target};
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
    if question.target == Target::Eks
        && let Some(message) = vendors_node(question, answer)
    {
        add(
            "vendors-node-too-small",
            Severity::Info,
            message,
            Some(super::conflicts::COMPARISON),
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

/// The smallest node that a page of the vendor names.
const VENDORS_NODE: &str = "c6i.large";

/// Says why the vendor's smallest node does not do, where it was tried and another was chosen.
fn vendors_node(question: &Question<'_>, answer: &Recommendation<'_>) -> Option<String> {
    let tried = answer
        .others
        .iter()
        .filter(|other| other.instance_type == VENDORS_NODE && other.meets.is_none())
        .max_by_key(|other| other.count)?;
    let because = wording::reason(tried.reasons.first()?, question.profile.slo.wait_s);
    let node = question.catalog.get(VENDORS_NODE)?;
    Some(format!(
        "{}; with {} of them, {because}",
        too_small(question.profile, node, answer.offer.instance),
        tried.count
    ))
}

/// Says how many job pods a node and the chosen one hold, with the arithmetic.
fn too_small(profile: &Profile, node: &InstanceType, chosen: &InstanceType) -> String {
    let cluster = &profile.kubernetes;
    let (small, large) = (
        pods::allocatable(profile, node),
        pods::allocatable(profile, chosen),
    );
    let more = small.job_pods + 1;
    let request = small.job_cpu_m / f64::from(more);
    // Only where CPU is what is short would a smaller request of CPU help.
    let smaller = if small.by_cpu < small.by_memory
        && cluster.memory_request_mib * f64::from(more) <= small.job_memory_mib
    {
        format!(
            ", and {} would hold {more} at a request of {request:.0}m or less",
            node.name
        )
    } else {
        String::new()
    };
    format!(
        "{} is not enough for job pods of {:.0}m CPU and {:.0} MiB: of its {:.0}m and {:.0} MiB system pods and agents \
         take {:.0}m and {:.0} MiB, and what is left holds {}; {} holds {}{smaller}",
        node.name,
        cluster.cpu_request_m,
        cluster.memory_request_mib,
        small.cpu_m,
        small.memory_mib,
        cluster.system_cpu_m,
        cluster.system_memory_mib,
        small.job_pods,
        chosen.name,
        large.job_pods,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::catalog::Catalog;
    use crate::domain::testing::production;

    #[test]
    fn the_vendors_own_request_fills_the_vendors_own_node() {
        let catalog = Catalog::embedded("us-east-1").expect("known");
        let mut profile = production();
        profile.kubernetes.cpu_request_m = 1000.0;
        let get = |name| catalog.get(name).expect("in the catalog");
        insta::assert_snapshot!(too_small(&profile, get("c6i.large"), get("c6i.xlarge")), @"c6i.large is not enough for job pods of 1000m CPU and 448 MiB: of its 1930m and 3168 MiB system pods and agents take 300m and 450 MiB, and what is left holds 1; c6i.xlarge holds 3, and c6i.large would hold 2 at a request of 815m or less");
        profile.kubernetes.memory_request_mib = 2048.0;
        insta::assert_snapshot!(too_small(&profile, get("c6i.large"), get("m6i.xlarge")), @"c6i.large is not enough for job pods of 1000m CPU and 2048 MiB: of its 1930m and 3168 MiB system pods and agents take 300m and 450 MiB, and what is left holds 1; m6i.xlarge holds 3");
    }
}
