//! Where the vendor's own pages disagree, with the figures of this plan, and the rule that chose.

use serde::Serialize;

use crate::domain::memory;
use crate::domain::profile::Target;
use crate::domain::sizing::recommend::Recommendation;
use crate::domain::sizing::search::{Question, relative_speed, slots_cap};

/// The vendor's comparison of AWS services.
pub const COMPARISON: &str =
    "https://docs.dataops.live/docs/administration/comparing-aws-services-for-hosting-dataops-runners/";
/// The vendor's installation page.
pub const INSTALLATION: &str = "https://docs.dataops.live/docs/environment-management/runner-installation/";
/// The vendor's prerequisites of the Docker runner.
pub const PREREQUISITES: &str = "https://docs.dataops.live/docs/administration/docker-runner/prerequisites/";
/// The vendor's troubleshooting page of the Kubernetes runner.
pub const KUBERNETES_TROUBLE: &str =
    "https://docs.dataops.live/docs/administration/kubernetes-runner/troubleshooting/";
/// AWS on unlimited mode of burstable types.
const UNLIMITED: &str = "https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/burstable-performance-instances-unlimited-mode-concepts.html";
/// AWS on the node group's default disk.
const NODEGROUP: &str = "https://docs.aws.amazon.com/eks/latest/APIReference/API_CreateNodegroup.html";

/// What one page says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Statement {
    /// The statement.
    pub says: String,
    /// Its page.
    pub source: String,
}

/// Pages that disagree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// What about.
    pub topic: String,
    /// Who says what.
    pub statements: Vec<Statement>,
    /// What this plan does.
    pub chosen: String,
    /// By which rule.
    pub why: String,
}

fn conflict(topic: &str, statements: &[(&str, &str)], chosen: String, why: String) -> Conflict {
    Conflict {
        topic: topic.to_owned(),
        statements: statements
            .iter()
            .map(|(says, source)| Statement {
                says: (*says).to_owned(),
                source: (*source).to_owned(),
            })
            .collect(),
        chosen,
        why,
    }
}

/// Returns the conflicts that bear on the plan.
pub fn conflicts(question: &Question<'_>, answer: &Recommendation<'_>) -> Vec<Conflict> {
    let mut found = Vec::new();
    let host = &answer.offer.instance;
    let gib = f64::from(host.memory_mib) / 1024.0;
    let profile = question.profile;
    let minimum = (profile.host.minimum_vcpus, profile.host.minimum_memory_gib);
    if question.target == Target::Ec2 {
        let met = host.vcpus >= minimum.0 && gib >= minimum.1;
        found.push(conflict(
            "memory: 16 GB against 8 GiB (pilot: 8 GB against 4 GiB)",
            &[
                ("at least 4 cores and 16 GB for production, 2 cores and 8 GB for a pilot", INSTALLATION),
                ("c5.xlarge (8 GiB) for production, c5.large (4 GiB) for a proof of technology", COMPARISON),
            ],
            format!(
                "{} with {gib:.0} GiB, {} the installation page's {} vCPU and {:.0} GiB for this workload",
                host.name,
                if met { "which meets" } else { "below" },
                minimum.0,
                minimum.1
            ),
            if question.strict_minimums {
                "--strict-minimums: the installation page's minimum wins".to_owned()
            } else {
                format!(
                    "the newer page on AWS wins where the model confirms it: 99 % of the time {} need at most {:.0} \
                     of {:.0} MiB; --strict-minimums reverses this",
                    super::wording::counted(answer.evaluation.layout.per_host(), "job"),
                    memory::sum_quantile_mib(
                        &profile.job,
                        answer.evaluation.layout.per_host(),
                        memory::FIT_QUANTILE
                    ),
                    memory::budget_mib(f64::from(host.memory_mib), &profile.host)
                )
            },
        ));
        found.push(concurrency(question, answer));
        found.push(burstable(question, answer));
    }
    found.push(conflict(
        "jobs in a pipeline: \"median 7.3\"",
        &[
            ("the median is 7.3 jobs a pipeline", COMPARISON),
            (
                "about 1.9 million jobs in about 260 thousand pipelines, which is 7.31 each",
                COMPARISON,
            ),
        ],
        format!("a mean of {} jobs a pipeline", profile.pipeline.jobs_mean),
        "a median of whole numbers cannot be 7.3; the quotient of the page's own totals is the mean"
            .to_owned(),
    ));
    let mut disk = vec![
        ("50 GB minimum, 300 GB recommended", INSTALLATION),
        ("300 GiB for every option", COMPARISON),
    ];
    if question.target == Target::Eks {
        disk.push((
            "a managed node group gets 20 GiB unless it is told otherwise",
            NODEGROUP,
        ));
    }
    let early = |gib: f64| answer.disk.fill.days_until(0.8 * gib).p5;
    found.push(conflict(
        "disk: 50 against 300 GB",
        &disk,
        format!("{} GiB gp3", answer.disk.gib),
        format!(
            "smallest size, in steps of 100 GiB, whose early fillers reach 80 % no sooner than {:.0} days without \
             clean-up: 50 GiB last {} days, {} GiB last {}",
            profile.disk.unattended_days,
            early(50.0),
            answer.disk.gib,
            early(f64::from(answer.disk.gib))
        ),
    ));
    found.push(kubernetes_cost(question, answer));
    if question.target == Target::Eks {
        found.push(conflict(
            "node size on EKS",
            &[
                ("nodes of at least c6i.large", COMPARISON),
                ("the Fargate example requests 1 CPU and 1 GiB for each job", KUBERNETES_TROUBLE),
            ],
            format!("{} with {} a node", host.name, super::wording::counted(answer.offer.cap, "job pod")),
            format!(
                "the request decides: {:.0}m CPU and {:.0} MiB here; with a whole CPU a c6i.large runs one job at a time",
                profile.kubernetes.cpu_request_m, profile.kubernetes.memory_request_mib
            ),
        ));
    }
    found
}

fn concurrency(question: &Question<'_>, answer: &Recommendation<'_>) -> Conflict {
    let profile = question.profile;
    let slots = answer.evaluation.layout.per_host();
    let large = question
        .catalog
        .types
        .iter()
        .find(|instance| instance.name == "c5.large");
    let large = large.map_or_else(String::new, |instance| {
        format!(
            "; a c5.large holds {} (8 would need {:.0} of {:.0} MiB)",
            super::wording::counted(slots_cap(profile, Target::Ec2, instance), "job"),
            memory::sum_quantile_mib(&profile.job, 8, memory::FIT_QUANTILE),
            memory::budget_mib(f64::from(instance.memory_mib), &profile.host)
        )
    });
    conflict(
        "concurrent = 8 on any host",
        &[
            (
                "set concurrent to 8 after registration, whatever the host",
                INSTALLATION,
            ),
            ("c5.large (4 GiB) for a proof of technology", COMPARISON),
        ],
        format!("concurrent = {slots}"),
        format!("concurrency follows memory and the wait objective of this workload{large}"),
    )
}

fn burstable(question: &Question<'_>, answer: &Recommendation<'_>) -> Conflict {
    let profile = question.profile;
    let t3a = question
        .catalog
        .types
        .iter()
        .find(|instance| instance.name == "t3a.xlarge");
    let slow = t3a.and_then(|instance| relative_speed(profile, instance)).map_or_else(String::new, |speed| {
        let share = answer.cpu_share;
        format!(
            "; on a thread of t3a ({speed:.2} of {}'s, assumed) an undisturbed pipeline takes {:.3} times the ideal, limit {:.2}",
            profile.host.reference_thread,
            1.0 - share + share / speed,
            profile.slo.pipeline_slowdown
        )
    });
    conflict(
        "burstable or compute-optimised",
        &[
            ("t3a.large for a pilot, t3a.xlarge for production", PREREQUISITES),
            ("compute-optimised hosts, for memory use is steady", COMPARISON),
            (
                "above its baseline a burstable type is billed $0.05 for each vCPU-hour",
                UNLIMITED,
            ),
        ],
        answer.offer.instance.name.clone(),
        format!("the newer page wins; burstable types only on request (--families t3a or any){slow}"),
    )
}

fn kubernetes_cost(question: &Question<'_>, answer: &Recommendation<'_>) -> Conflict {
    let services = &question.catalog.services;
    let control_plane = services.eks_control_plane_hour.amount.per_month();
    let price = |name: &str| {
        question
            .catalog
            .types
            .iter()
            .find(|instance| instance.name == name)
            .and_then(|instance| instance.price.as_ref())
            .map(|price| price.amount.per_month() + services.gp3_gib_month.amount * 300)
    };
    let amounts = match (price("c6i.large"), price("c5.xlarge")) {
        (Some(node), Some(host)) => format!(
            "a new cluster with one c6i.large and its disk costs ${} before NAT and EFS, a c5.xlarge with its disk ${}",
            (control_plane + node).cents(),
            host.cents()
        ),
        _ => format!(
            "a new cluster costs ${} before its first node",
            control_plane.cents()
        ),
    };
    conflict(
        "Kubernetes \"most cost-effective\"",
        &[
            (
                "Kubernetes is the most cost-effective for firms that already run it",
                COMPARISON,
            ),
            (
                "EC2 is the most used option, EKS needs Kubernetes skill and pays for the control plane",
                COMPARISON,
            ),
        ],
        match answer.offer.instance.name.as_str() {
            name if question.target == Target::Ec2 => format!("{name} on EC2, as the workload asks"),
            name => format!("{name} nodes on EKS, as the workload asks"),
        },
        format!("it holds where a cluster exists already: {amounts}"),
    )
}
