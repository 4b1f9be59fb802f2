//! Another version of Kubernetes, or another release of the nodes' image: what may be asked for, and what the deployment is then.
//!
//! A control plane goes up by one minor version at a time, here as at AWS and with `eksctl`: what EKS found about the next version
//! holds for that one alone, nodes and add-ons follow before the version after it, and only the last step can be taken back at
//! EKS (<https://docs.aws.amazon.com/eks/latest/userguide/update-cluster.html>,
//! <https://docs.aws.amazon.com/eks/latest/userguide/rollback-cluster.html>).

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::observed::{Cluster, NodeGroup, ObservedEks};
use super::preflight::{AddonVersions, KubernetesVersion, version_finding};
use super::spec::{Autoscaler, Eks};
use crate::domain::deployment::preflight::{Finding, Status};
use crate::domain::deployment::record::{Pending, Record, Why};
use crate::domain::deployment::spec::Spec;

/// Minor versions that a node may be older than the API server
/// (<https://kubernetes.io/releases/version-skew-policy/#kubelet>).
const MOST_BEHIND: u32 = 3;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked<'a> {
    /// A version of Kubernetes, such as `1.35`.
    Kubernetes(&'a str),
    /// The newest image for the nodes, of the version that the control plane has.
    Nodes,
}

/// Why it is not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is no version.
    #[error("`{0}` is no version of Kubernetes such as 1.35")]
    NoVersion(String),
    /// There is no cluster.
    #[error("cluster {cluster} {why}")]
    NoCluster {
        /// Its name.
        cluster: String,
        /// Why not.
        why: String,
    },
    /// The cluster was there before.
    #[error("cluster {cluster} was adopted, and whoever runs it upgrades its control plane")]
    Adopted {
        /// Its name.
        cluster: String,
    },
    /// The cluster makes the nodes.
    #[error("cluster {cluster} makes its nodes itself (EKS Auto Mode or Karpenter) and replaces them itself")]
    NotOurs {
        /// Its name.
        cluster: String,
    },
    /// There is no node group.
    #[error("there is no node group yet")]
    NoNodes,
    /// It would go down.
    #[error(
        "the control plane has Kubernetes {is}, and {wanted} is older: what runs in the cluster may hold what only {is} knows, so \
         nothing here goes down"
    )]
    Down {
        /// What it has.
        is: String,
        /// What was asked for.
        wanted: String,
    },
    /// It is more than one version away.
    #[error(
        "from Kubernetes {is} to {wanted} are {count} minor versions, and a control plane goes up by one at a time"
    )]
    Far {
        /// What it has.
        is: String,
        /// What was asked for.
        wanted: String,
        /// How many there are.
        count: u32,
        /// The next one.
        next: String,
    },
    /// Another one is not finished.
    #[error("the change to {0} is not finished, so nothing else is begun")]
    Unfinished(String),
    /// The newest release is not known.
    #[error("the newest image for nodes of Kubernetes {version} could not be read: {why}")]
    NoRelease {
        /// The version.
        version: String,
        /// Why not.
        why: String,
    },
    /// EKS has no such add-on for the version.
    #[error("EKS has no version of the add-on {addon} for Kubernetes {version} in this region")]
    NoAddon {
        /// The add-on.
        addon: String,
        /// The version of Kubernetes.
        version: String,
    },
    /// The versions of add-ons are not known.
    #[error("the versions of add-ons for Kubernetes {0} could not be read")]
    NoAddons(String),
}

impl Refusal {
    /// Returns what to do; `command` gives a command of this program for the deployment.
    pub fn way_out(&self, command: impl Fn(&str) -> String) -> String {
        match self {
            Self::NoVersion(_) => {
                "`dataops-infra doctor` says which one the cluster has; AWS lists those that there are \
                                   (aws eks describe-cluster-versions)"
                    .to_owned()
            }
            Self::NoCluster { .. } | Self::NoNodes => {
                format!("`{}` makes or mends it", command("up eks"))
            }
            Self::Adopted { cluster } => format!(
                "once it has the version (its owner's tools, or aws eks update-cluster-version --name {cluster}), `{}` brings \
                 nodes and add-ons of this deployment to it",
                command("upgrade --nodes")
            ),
            Self::NotOurs { .. } => {
                "its owner replaces nodes: an update of the NodePool or of the cluster".to_owned()
            }
            Self::Down { wanted, .. } => format!(
                "EKS itself can take nodes and then the control plane back for 7 days after an upgrade \
                 (https://docs.aws.amazon.com/eks/latest/userguide/rollback-cluster.html); `{}` then takes the rest along",
                command(&format!("upgrade --kubernetes-version {wanted}"))
            ),
            Self::Far { next, wanted, .. } => format!(
                "`{}` comes first; look at what runs then, and go on until {wanted}",
                command(&format!("upgrade --kubernetes-version {next}"))
            ),
            Self::Unfinished(_) => format!("`{}` goes on with it", command("up eks")),
            Self::NoRelease { .. } => {
                "allow ssm:GetParameters on parameter/aws/service/eks/optimized-ami/*".to_owned()
            }
            Self::NoAddon { .. } => {
                "take the add-on's feature out of the deployment, or wait until AWS has it for this version"
                    .to_owned()
            }
            Self::NoAddons(_) => "allow eks:DescribeAddonVersions".to_owned(),
        }
    }
}

/// Returns major and minor of a version such as `1.35`; none of anything else.
pub fn number(version: &str) -> Option<(u32, u32)> {
    let (major, minor) = version.split_once('.')?;
    let digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    (digits(major) && digits(minor)).then(|| Some((major.parse().ok()?, minor.parse().ok()?)))?
}

/// Compares versions such as `v1.13.2-eksbuild.3` and `1.34.8-20260410` by their numbers.
pub fn compared(one: &str, other: &str) -> Ordering {
    let numbers = |text: &str| -> Vec<u64> {
        text.split(|c: char| !c.is_ascii_digit())
            .filter_map(|part| part.parse().ok())
            .collect()
    };
    numbers(one).cmp(&numbers(other))
}

/// Whether a version of Kubernetes is older than another; versions that cannot be read are not.
pub fn is_older(one: &str, other: &str) -> bool {
    matches!((number(one), number(other)), (Some(one), Some(other)) if one < other)
}

/// Whether the nodes of a deployment are being changed.
pub fn is_begun(record: &Record) -> bool {
    record
        .pending
        .as_ref()
        .is_some_and(|pending| pending.why == Why::Nodes)
}

/// Returns the version that control plane and nodes shall have.
///
/// # Errors
///
/// That cannot be, or not from here.
pub fn target(record: &Record, eks: &Eks, seen: &ObservedEks, asked: Asked<'_>) -> Result<String, Refusal> {
    let name = || eks.cluster.clone();
    let no_cluster = |why: &str| Refusal::NoCluster {
        cluster: name(),
        why: why.to_owned(),
    };
    let cluster = seen.cluster.as_ref().map(|cluster| &cluster.it);
    let cluster = cluster.ok_or_else(|| no_cluster("is not there"))?;
    if matches!(cluster.status.as_str(), "CREATING" | "DELETING" | "FAILED") {
        return Err(no_cluster(&format!("is {}", cluster.status)));
    }
    if let Asked::Kubernetes(wanted) = asked {
        number(wanted).ok_or_else(|| Refusal::NoVersion(wanted.to_owned()))?;
        if eks.adopted {
            return Err(Refusal::Adopted { cluster: name() });
        }
    } else if eks.autoscaler == Autoscaler::Cluster {
        return Err(Refusal::NotOurs { cluster: name() });
    } else if seen.node_group.is_none() {
        return Err(Refusal::NoNodes);
    }
    if is_begun(record) {
        return match asked {
            Asked::Kubernetes(wanted) if wanted != eks.version => {
                let what = record.pending.as_ref().map(|pending| pending.image.clone());
                Err(Refusal::Unfinished(what.unwrap_or_default()))
            }
            _ => Ok(eks.version.clone()),
        };
    }
    match asked {
        Asked::Nodes => Ok(cluster.version.clone()),
        Asked::Kubernetes(wanted) => reachable(cluster, wanted).map(|()| wanted.to_owned()),
    }
}

/// Refuses a version that the control plane does not get to by one step.
fn reachable(cluster: &Cluster, wanted: &str) -> Result<(), Refusal> {
    let is = cluster.version.clone();
    let (Some(from), Some(to)) = (number(&is), number(wanted)) else {
        return Err(Refusal::NoVersion(wanted.to_owned()));
    };
    let wanted = wanted.to_owned();
    if to < from {
        return Err(Refusal::Down { is, wanted });
    }
    if to.0 == from.0 && to.1 - from.1 <= 1 {
        return Ok(());
    }
    if to.0 != from.0 {
        return Err(Refusal::NoVersion(wanted));
    }
    Err(Refusal::Far {
        count: to.1 - from.1,
        next: format!("{}.{}", from.0, from.1 + 1),
        is,
        wanted,
    })
}

/// What EKS found about the next version (<https://docs.aws.amazon.com/eks/latest/userguide/cluster-insights.html>).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Insight {
    /// Such as `Deprecated APIs removed in Kubernetes v1.32`.
    pub name: String,
    /// `PASSING`, `WARNING`, `ERROR` or `UNKNOWN`.
    pub status: String,
    /// Why.
    pub reason: String,
    /// What EKS says is to be done.
    pub recommendation: String,
}

/// What is known before an upgrade; none: could not be read.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Versions of Kubernetes, the newest first.
    pub versions: Option<Vec<KubernetesVersion>>,
    /// Versions of add-ons for the version that is wanted, by name.
    pub addons: Option<BTreeMap<String, AddonVersions>>,
    /// The newest release of the nodes' image for the version that is wanted, or why it is not known.
    pub release: Option<Result<String, String>>,
    /// What EKS found, or why it is not known; none: it was not asked, because the control plane stays.
    pub insights: Option<Result<Vec<Insight>, String>>,
    /// Node groups of others in the cluster, with their versions.
    pub others: Vec<(String, String)>,
}

/// Whether the newest release is to be read: the version becomes another, or it is what is asked for.
pub fn wants_release(record: &Record, eks: &Eks, target: &str, asked: Asked<'_>) -> bool {
    !is_begun(record) && (eks.version != target || asked == Asked::Nodes)
}

/// Returns what the deployment shall be.
///
/// Add-ons keep their versions where Kubernetes keeps its own; else they get those that EKS takes for the new one, and what is newer
/// already and fits stays.
///
/// # Errors
///
/// Something is not known, or there is none.
pub fn wanted(
    record: &Record,
    seen: &ObservedEks,
    target: &str,
    asked: Asked<'_>,
    facts: &Facts,
) -> Result<Spec, Refusal> {
    let mut spec = record.spec.clone();
    let Some(eks) = spec.eks.as_deref_mut() else {
        return Ok(spec);
    };
    let reads_release = wants_release(record, eks, target, asked);
    if eks.version != target {
        let known = facts.addons.as_ref();
        let known = known.ok_or_else(|| Refusal::NoAddons(target.to_owned()))?;
        for (addon, version) in &mut eks.addons {
            let found = known.get(addon).and_then(|found| fitting(found, version));
            let found = found.ok_or_else(|| Refusal::NoAddon {
                addon: addon.clone(),
                version: target.to_owned(),
            })?;
            *version = found.to_owned();
        }
        target.clone_into(&mut eks.version);
        eks.release = None;
    }
    if reads_release && let Some(group) = seen.node_group.as_ref().map(|group| &group.it) {
        match (&facts.release, asked) {
            (Some(Ok(newest)), _) => {
                if compared(&group.release_version, newest).is_lt() || is_older(&group.version, target) {
                    eks.release = Some(newest.clone());
                }
            }
            (Some(Err(why)), Asked::Nodes) => {
                return Err(Refusal::NoRelease {
                    version: target.to_owned(),
                    why: why.clone(),
                });
            }
            // EKS takes the newest by itself where the version changes.
            (_, Asked::Kubernetes(_)) | (None, Asked::Nodes) => {}
        }
    }
    Ok(spec)
}

/// Returns the version of an add-on to take.
fn fitting<'a>(found: &'a AddonVersions, is: &str) -> Option<&'a str> {
    let usual = found.default.as_ref().or_else(|| found.versions.first())?;
    let same = found.versions.iter().find(|version| *version == is);
    Some(match same {
        Some(same) if compared(same, usual).is_gt() => same,
        _ => usual,
    })
}

/// Works out what is to be known, and what is in the way.
pub fn findings(
    eks: &Eks,
    seen: &ObservedEks,
    target: &str,
    facts: &Facts,
    ignores_insights: bool,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is = seen.cluster.as_ref().map_or("", |cluster| &cluster.it.version);
    if !is_older(is, target) {
        return findings;
    }
    findings.push(version_finding(target, false, facts.versions.as_deref()));
    findings.push(skew(seen, target, facts));
    findings.extend(facts.insights.as_ref().map(|found| match found {
        Ok(found) => insights(found, target, ignores_insights),
        Err(why) => Finding::new(
            "eks-insights",
            Status::Unknown,
            format!("what EKS found about Kubernetes {target} could not be read: {why}"),
            "allow eks:ListInsights and eks:DescribeInsight, or look: aws eks list-insights",
        ),
    }));
    if facts.addons.is_some() {
        let told = eks
            .addons
            .iter()
            .map(|(name, version)| format!("{name} {version}"));
        let told: Vec<String> = told.collect();
        findings.push(Finding::ok("eks-addons", told.join(", ")));
    }
    findings
}

/// Nodes that would be too old for the new control plane; EKS refuses the upgrade then.
fn skew(seen: &ObservedEks, target: &str, facts: &Facts) -> Finding {
    let code = "eks-skew";
    let ours = seen.node_group.as_ref().map(|group: &_| {
        let group: &NodeGroup = &group.it;
        ("of this deployment".to_owned(), group.version.clone())
    });
    let all: Vec<(String, String)> = ours.into_iter().chain(facts.others.iter().cloned()).collect();
    let too_old = |version: &str| match (number(version), number(target)) {
        (Some(is), Some(wanted)) => is.1 + MOST_BEHIND < wanted.1,
        _ => false,
    };
    let told = |groups: &[&(String, String)]| {
        let told = groups
            .iter()
            .map(|(name, version)| format!("{name} at {version}"));
        told.collect::<Vec<_>>().join(", ")
    };
    let old: Vec<&(String, String)> = all.iter().filter(|(_, version)| too_old(version)).collect();
    if old.is_empty() {
        return Finding::ok(
            code,
            format!("node groups: {}", told(&all.iter().collect::<Vec<_>>())),
        );
    }
    Finding::new(
        code,
        Status::Blocked,
        format!(
            "nodes may be {MOST_BEHIND} minor versions older than the control plane, and these would be more: node groups {}",
            told(&old)
        ),
        "upgrade them first: `upgrade --nodes` for this deployment's, aws eks update-nodegroup-version for others",
    )
}

fn insights(found: &[Insight], target: &str, ignored: bool) -> Finding {
    let code = "eks-insights";
    let with = |status: &str| -> Vec<String> {
        let found = found.iter().filter(|insight| insight.status == status);
        found.map(told).collect()
    };
    let (errors, mut others) = (with("ERROR"), with("WARNING"));
    others.extend(with("UNKNOWN"));
    let looked = format!("EKS looked at what Kubernetes {target} changes");
    if !errors.is_empty() && !ignored {
        return Finding::new(
            code,
            Status::Blocked,
            format!("{looked}: {}", errors.join("; ")),
            "do what it recommends and wait until EKS has looked again, within a day or with aws eks start-insights-refresh; or \
             go on all the same with --ignore-insights",
        );
    }
    if errors.is_empty() && others.is_empty() {
        return Finding::ok(code, format!("{looked} and found nothing"));
    }
    let all: Vec<String> = errors.into_iter().chain(others).collect();
    let remedy = "see whether it concerns what runs in the cluster";
    Finding::new(
        code,
        Status::Warning,
        format!("{looked}: {}", all.join("; ")),
        remedy,
    )
}

fn told(insight: &Insight) -> String {
    let mut text = format!("{} ({})", insight.name, insight.status);
    for part in [&insight.reason, &insight.recommendation] {
        if !part.is_empty() {
            text.push_str(&format!(": {part}"));
        }
    }
    text
}

/// Returns what the nodes are to be, for people.
pub fn goal(spec: &Spec) -> Pending {
    let image = match spec.eks.as_deref() {
        Some(eks) => match &eks.release {
            Some(release) => format!("nodes of Kubernetes {} ({release})", eks.version),
            None => format!("nodes of Kubernetes {}", eks.version),
        },
        None => "nodes".to_owned(),
    };
    Pending {
        why: Why::Nodes,
        image,
    }
}

#[cfg(test)]
#[path = "upgrade_tests.rs"]
mod tests;
