//! What a deployment on EKS shall be: what was said goes before what was, and that before what is usual.

use std::collections::{BTreeMap, BTreeSet};

use super::addons;
use super::spec::{Autoscaler, Chart, Eks, Endpoint, Job, Storage, StorageMode};
use crate::domain::deployment::name::Name;
use crate::domain::memory::sum_quantile_mib;
use crate::domain::profile::Profile;
use crate::domain::settings;

/// Share of jobs whose memory the limit of a pod holds.
const LIMIT_QUANTILE: f64 = 0.999;
/// MiB that limits are rounded up to.
const LIMIT_STEP: f64 = 64.0;

/// The nodes, and what a job asks of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nodes {
    /// Nodes at least.
    pub min: u32,
    /// Nodes at most.
    pub max: u32,
    /// Job pods that fit one.
    pub pods: u32,
    /// What a job pod asks for.
    pub job: Job,
}

/// What is known of the cluster before it is decided on: read from AWS, or nothing where nobody is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterFacts {
    /// Version of Kubernetes: of a cluster that exists its own, else EKS's default of those in standard support.
    pub version: String,
    /// Whether EKS Auto Mode is on in the cluster that is adopted.
    pub auto_mode: bool,
    /// Version of each add-on that EKS takes for the version of Kubernetes that is wanted, by name.
    pub addons: BTreeMap<String, String>,
    /// Why the versions of add-ons could not be read, where they could not.
    pub unread: Option<String>,
    /// Add-ons that the adopted cluster has and that are not ours.
    pub present: BTreeSet<String>,
}

/// Why it cannot be decided.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecided {
    /// Nobody said which chart.
    #[error("the vendor's chart is not public, and nothing says where it is")]
    NoChart,
    /// Nobody knows which versions of the add-on there are.
    #[error("which version of the add-on {addon} EKS has for Kubernetes {version} could not be read: {why}")]
    UnreadAddon {
        /// The add-on.
        addon: String,
        /// The version of Kubernetes.
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
    /// It cannot be changed.
    #[error("`{key}` is {was} and cannot become {said}: {why}")]
    Fixed {
        /// The key.
        key: &'static str,
        /// What it is.
        was: String,
        /// What was said.
        said: String,
        /// Why not.
        why: &'static str,
    },
    /// A cluster of ours scales no nodes itself.
    #[error("`eks.autoscaler` is cluster, and the cluster is made: it has neither Auto Mode nor Karpenter")]
    NothingScales,
    /// The smallest number is above the largest.
    #[error("at least {min} nodes are more than at most {max}")]
    UpsideDown {
        /// Nodes at least.
        min: u32,
        /// Nodes at most.
        max: u32,
    },
}

impl Undecided {
    /// Whether it is for want of an answer, not of something that the user can say.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::UnreadAddon { .. })
    }

    /// Returns what to do.
    pub fn way_out(&self) -> String {
        match self {
            Self::NoChart => {
                "--chart-repository URL --chart NAME [--chart-version VERSION], or --chart ./PATH; \
                              DataOps.live gives the address with the installation guide"
                    .to_owned()
            }
            Self::UnreadAddon { .. } => {
                "allow eks:DescribeAddonVersions where it is not permitted, else run the command again"
                    .to_owned()
            }
            Self::NoAddon { .. } => "name another version of Kubernetes with --kubernetes-version".to_owned(),
            Self::Fixed {
                key: "eks.version", ..
            } => "leave the option out; `dataops-infra upgrade --kubernetes-version` goes up one version after the other"
                .to_owned(),
            Self::Fixed { .. } => {
                "leave the option out, or make another deployment and take this one down".to_owned()
            }
            Self::NothingScales => {
                "--autoscaler cluster-autoscaler or none, or adopt a cluster with --cluster NAME".to_owned()
            }
            Self::UpsideDown { .. } => "give --min-nodes and --max-nodes".to_owned(),
        }
    }
}

/// Returns what a job pod asks for, by the workload.
///
/// The limit of memory holds all but one of a thousand jobs; what a request leaves free the jobs of a node share.
pub fn job(profile: &Profile) -> Job {
    let request = profile.kubernetes.memory_request_mib.ceil();
    let large = sum_quantile_mib(&profile.job, 1, LIMIT_QUANTILE);
    let limit = (large.max(request) / LIMIT_STEP).ceil() * LIMIT_STEP;
    Job {
        cpu_m: profile.kubernetes.cpu_request_m.ceil() as u32,
        memory_mib: request as u32,
        memory_limit_mib: limit as u32,
        timeout_minutes: (profile.job.timeout_s / 60.0).ceil().max(1.0) as u32,
    }
}

/// Decides what the cluster and what is in it shall be.
///
/// # Errors
///
/// Something must be said, or cannot be changed.
pub fn choose(
    name: &Name,
    said: &settings::Eks,
    was: Option<&Eks>,
    nodes: &Nodes,
    facts: &ClusterFacts,
) -> Result<Eks, Undecided> {
    let list = |said: &[String], was: Option<&Vec<String>>| {
        if said.is_empty() {
            was.cloned().unwrap_or_default()
        } else {
            said.to_vec()
        }
    };
    if nodes.min > nodes.max {
        return Err(Undecided::UpsideDown {
            min: nodes.min,
            max: nodes.max,
        });
    }
    let cluster = fixed(
        "eks.cluster",
        "a deployment stays in its cluster",
        said.cluster.as_ref(),
        was.map(|was| &was.cluster),
    )?
    .unwrap_or_else(|| name.to_string());
    let adopted = was.map_or(said.cluster.is_some(), |was| was.adopted);
    let version = version(said, was, adopted, facts)?;
    let secrets_key = match was {
        Some(was) => fixed(
            "eks.secrets_key",
            "EKS sets the key with the cluster",
            said.secrets_key.as_ref().map(Some).as_ref(),
            Some(&was.secrets_key.as_ref()),
        )?
        .flatten()
        .cloned(),
        None => said.secrets_key.clone(),
    };
    let autoscaler = said
        .autoscaler
        .or_else(|| was.map(|was| was.autoscaler))
        .unwrap_or(if facts.auto_mode {
            Autoscaler::Cluster
        } else if nodes.min == nodes.max {
            Autoscaler::None
        } else {
            Autoscaler::ClusterAutoscaler
        });
    if autoscaler == Autoscaler::Cluster && !adopted {
        return Err(Undecided::NothingScales);
    }
    let storage = storage(said, was)?;
    // Nodes keep their image until an upgrade says otherwise.
    let release = was
        .filter(|was| was.version == version)
        .and_then(|was| was.release.clone());
    Ok(Eks {
        release,
        addons: pinned(adopted, &version, storage.mode, was, facts)?,
        cluster,
        adopted,
        version,
        min_nodes: nodes.min,
        max_nodes: nodes.max,
        endpoint: Endpoint {
            public: said
                .public_endpoint
                .unwrap_or_else(|| was.is_none_or(|was| was.endpoint.public)),
            private: true,
            cidrs: if said.public_endpoint == Some(false) {
                Vec::new()
            } else {
                list(&said.public_cidrs, was.map(|was| &was.endpoint.cidrs))
            },
        },
        log_types: list(&said.log_types, was.map(|was| &was.log_types)),
        secrets_key,
        admins: list(&said.admins, was.map(|was| &was.admins)),
        autoscaler,
        storage,
        namespace: fixed(
            "eks.namespace",
            "what is in it would stay behind",
            said.namespace.as_ref(),
            was.map(|was| &was.namespace),
        )?
        .unwrap_or_else(|| name.to_string()),
        chart: chart(said, was)?,
        job: nodes.job,
        vault_secret: said
            .vault_secret
            .clone()
            .or_else(|| was.and_then(|was| was.vault_secret.clone())),
        job_policies: list(&said.job_policies, was.map(|was| &was.job_policies)),
    })
}

/// Returns what was said or was, refusing a change.
fn fixed<T: Clone + PartialEq + std::fmt::Debug>(
    key: &'static str,
    why: &'static str,
    said: Option<&T>,
    was: Option<&T>,
) -> Result<Option<T>, Undecided> {
    match (said, was) {
        (Some(said), Some(was)) if said != was => Err(Undecided::Fixed {
            key,
            was: shown(was),
            said: shown(said),
            why,
        }),
        (said, was) => Ok(was.or(said).cloned()),
    }
}

/// Returns a value in a sentence.
fn shown(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    let text = text
        .strip_prefix("Some(")
        .and_then(|text| text.strip_suffix(')'))
        .unwrap_or(&text);
    if text == "None" {
        "none".to_owned()
    } else {
        text.trim_matches('"').to_owned()
    }
}

/// Returns the version of Kubernetes; a control plane goes up by one minor version and never down
/// (<https://docs.aws.amazon.com/eks/latest/userguide/update-cluster.html>).
fn version(
    said: &settings::Eks,
    was: Option<&Eks>,
    adopted: bool,
    facts: &ClusterFacts,
) -> Result<String, Undecided> {
    let Some(was) = was else {
        return Ok(said.version.clone().unwrap_or_else(|| facts.version.clone()));
    };
    // Whoever owns an adopted cluster upgrades it; what is there then is how it is.
    if adopted {
        return Ok(if facts.version.is_empty() {
            was.version.clone()
        } else {
            facts.version.clone()
        });
    }
    let Some(wanted) = &said.version else {
        return Ok(was.version.clone());
    };
    let minor = |version: &str| {
        version
            .split_once('.')
            .and_then(|(_, minor)| minor.parse::<u32>().ok())
    };
    match (minor(&was.version), minor(wanted)) {
        (Some(from), Some(to)) if to == from || to == from + 1 => Ok(wanted.clone()),
        _ => Err(Undecided::Fixed {
            key: "eks.version",
            was: was.version.clone(),
            said: wanted.clone(),
            why: "a control plane goes up by one minor version at a time and never down",
        }),
    }
}

fn storage(said: &settings::Eks, was: Option<&Eks>) -> Result<Storage, Undecided> {
    const WHY: &str = "Kubernetes changes no volume that exists";
    let Some(was) = was.map(|was| &was.storage) else {
        return Ok(Storage {
            file_system: said.file_system.clone(),
            mode: said.storage.unwrap_or(StorageMode::Static),
        });
    };
    if let Some(mode) = said.storage
        && mode != was.mode
    {
        return Err(Undecided::Fixed {
            key: "eks.storage",
            was: was.mode.word().to_owned(),
            said: mode.word().to_owned(),
            why: WHY,
        });
    }
    if let Some(file_system) = &said.file_system
        && said.file_system != was.file_system
    {
        return Err(Undecided::Fixed {
            key: "eks.file_system",
            was: was
                .file_system
                .clone()
                .unwrap_or_else(|| "one of the deployment's".to_owned()),
            said: file_system.clone(),
            why: WHY,
        });
    }
    Ok(was.clone())
}

/// Returns where the chart is; who names another repository or chart means its newest version, unless they name one.
fn chart(said: &settings::Eks, was: Option<&Eks>) -> Result<Chart, Undecided> {
    let before = was.map(|was| &was.chart);
    let name = said
        .chart
        .clone()
        .or_else(|| before.map(|before| before.name.clone()))
        .ok_or(Undecided::NoChart)?;
    let repository = if Chart::is_path(&name) {
        None
    } else {
        said.chart_repository
            .clone()
            .or_else(|| before.and_then(|before| before.repository.clone()))
    };
    if repository.is_none() && !Chart::is_path(&name) {
        return Err(Undecided::NoChart);
    }
    let same = before.is_some_and(|before| before.name == name && before.repository == repository);
    let version = said
        .chart_version
        .clone()
        .or_else(|| before.filter(|_| same).and_then(|before| before.version.clone()));
    Ok(Chart {
        repository,
        name,
        version,
    })
}

/// Returns the add-ons of ours with their versions: as they were, unless Kubernetes has become another.
fn pinned(
    adopted: bool,
    version: &str,
    storage: StorageMode,
    was: Option<&Eks>,
    facts: &ClusterFacts,
) -> Result<BTreeMap<String, String>, Undecided> {
    let before = was.map(|was| &was.addons);
    let same = was.is_some_and(|was| was.version == version);
    let mut pinned = BTreeMap::new();
    for name in addons::needed(adopted, facts.auto_mode, storage) {
        let ours = before.and_then(|before| before.get(name));
        if ours.is_none() && facts.present.contains(name) {
            continue;
        }
        let found = match ours {
            Some(ours) if same => Some(ours),
            ours => facts.addons.get(name).or(ours),
        };
        let Some(found) = found else {
            let (addon, version) = (name.to_owned(), version.to_owned());
            return Err(match facts.unread.clone() {
                Some(why) => Undecided::UnreadAddon { addon, version, why },
                None => Undecided::NoAddon { addon, version },
            });
        };
        pinned.insert(name.to_owned(), found.clone());
    }
    Ok(pinned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::profile::builtin;
    use crate::domain::testing;

    fn nodes() -> Nodes {
        Nodes {
            min: 2,
            max: 4,
            pods: 6,
            job: job(&builtin("kubernetes").expect("built in").profile),
        }
    }

    fn facts(present: &[&str]) -> ClusterFacts {
        ClusterFacts {
            version: "1.34".to_owned(),
            auto_mode: false,
            addons: addons::ALL
                .map(|name| (name.to_owned(), "v1.0.0-eksbuild.1".to_owned()))
                .into(),
            unread: None,
            present: present.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn said() -> settings::Eks {
        settings::Eks {
            chart: Some("./chart".to_owned()),
            ..settings::Eks::default()
        }
    }

    fn decide(said: &settings::Eks, was: Option<&Eks>, facts: &ClusterFacts) -> Result<Eks, Undecided> {
        choose(&Name::new("abc").expect("sound"), said, was, &nodes(), facts)
    }

    #[test]
    fn a_new_cluster_gets_what_is_usual() {
        let eks = decide(&said(), None, &facts(&[])).expect("decided");
        assert_eq!((eks.cluster.as_str(), eks.adopted), ("abc", false));
        assert_eq!((eks.namespace.as_str(), eks.version.as_str()), ("abc", "1.34"));
        assert_eq!(eks.autoscaler, Autoscaler::ClusterAutoscaler);
        assert_eq!(eks.storage.mode, StorageMode::Static);
        assert_eq!(eks.addons.len(), addons::ALL.len());
        assert_eq!(eks.job.cpu_m, 250);
        assert!(eks.job.memory_limit_mib > eks.job.memory_mib, "{:?}", eks.job);
        // The number is fixed: nothing to scale.
        let fixed = Nodes { max: 2, ..nodes() };
        let name = Name::new("abc").expect("sound");
        let eks = choose(&name, &said(), None, &fixed, &facts(&[])).expect("decided");
        assert_eq!(eks.autoscaler, Autoscaler::None);
    }

    #[test]
    fn nothing_said_again_changes_nothing() {
        let was = testing::eks();
        let again = Nodes {
            min: was.min_nodes,
            max: was.max_nodes,
            pods: 3,
            job: was.job,
        };
        let name = Name::new("abc").expect("sound");
        for known in [facts(&[]), ClusterFacts::default()] {
            let now = choose(&name, &settings::Eks::default(), Some(&was), &again, &known);
            assert_eq!(now.as_ref(), Ok(&was));
        }
    }

    #[test]
    fn an_adopted_cluster_gets_only_what_is_missing() {
        let adopt = settings::Eks {
            cluster: Some("team".to_owned()),
            ..said()
        };
        let present = facts(&[addons::CNI, addons::POD_IDENTITY]);
        let eks = decide(&adopt, None, &present).expect("decided");
        assert_eq!((eks.cluster.as_str(), eks.adopted), ("team", true));
        let names: Vec<&str> = eks.addons.keys().map(String::as_str).collect();
        assert_eq!(names, [addons::OBSERVABILITY, addons::EFS]);
        // What we installed stays ours although it is there now.
        let later = facts(&[addons::CNI, addons::POD_IDENTITY]);
        assert_eq!(
            decide(&adopt, Some(&eks), &later).expect("decided").addons,
            eks.addons
        );
        let automatic = ClusterFacts {
            auto_mode: true,
            ..facts(&[])
        };
        let eks = decide(&adopt, None, &automatic).expect("decided");
        assert_eq!(eks.autoscaler, Autoscaler::Cluster);
        assert!(!eks.addons.contains_key(addons::POD_IDENTITY));
    }

    #[test]
    fn what_cannot_be_is_refused_with_a_way_out() {
        let was = testing::eks();
        let eks = settings::Eks::default;
        let cases: [(settings::Eks, Option<&Eks>); 9] = [
            (eks(), None),
            (
                settings::Eks {
                    chart: Some("runner".to_owned()),
                    ..eks()
                },
                None,
            ),
            (
                settings::Eks {
                    autoscaler: Some(Autoscaler::Cluster),
                    ..said()
                },
                None,
            ),
            (
                settings::Eks {
                    cluster: Some("other".to_owned()),
                    ..eks()
                },
                Some(&was),
            ),
            (
                settings::Eks {
                    version: Some("1.36".to_owned()),
                    ..eks()
                },
                Some(&was),
            ),
            (
                settings::Eks {
                    version: Some("1.33".to_owned()),
                    ..eks()
                },
                Some(&was),
            ),
            (
                settings::Eks {
                    storage: Some(StorageMode::Dynamic),
                    ..eks()
                },
                Some(&was),
            ),
            (
                settings::Eks {
                    file_system: Some("fs-0a1b2c3d".to_owned()),
                    ..eks()
                },
                Some(&was),
            ),
            (
                settings::Eks {
                    secrets_key: Some("alias/late".to_owned()),
                    ..eks()
                },
                Some(&was),
            ),
        ];
        let told: Vec<String> = cases
            .iter()
            .map(
                |(said, was)| match decide(said, *was, &ClusterFacts { ..facts(&[]) }) {
                    Ok(_) => "decided".to_owned(),
                    Err(why) => why.to_string(),
                },
            )
            .collect();
        insta::assert_snapshot!(told.join("\n"), @"
        the vendor's chart is not public, and nothing says where it is
        the vendor's chart is not public, and nothing says where it is
        `eks.autoscaler` is cluster, and the cluster is made: it has neither Auto Mode nor Karpenter
        `eks.cluster` is abc and cannot become other: a deployment stays in its cluster
        `eks.version` is 1.34 and cannot become 1.36: a control plane goes up by one minor version at a time and never down
        `eks.version` is 1.34 and cannot become 1.33: a control plane goes up by one minor version at a time and never down
        `eks.storage` is static and cannot become dynamic: Kubernetes changes no volume that exists
        `eks.file_system` is one of the deployment's and cannot become fs-0a1b2c3d: Kubernetes changes no volume that exists
        `eks.secrets_key` is none and cannot become alias/late: EKS sets the key with the cluster
        ");
        let version = settings::Eks {
            version: Some("1.35".to_owned()),
            ..eks()
        };
        let up = decide(&version, Some(&was), &facts(&[])).expect("one version up");
        assert!(up.addons.values().all(|version| version == "v1.0.0-eksbuild.1"));
        let nothing = ClusterFacts {
            addons: BTreeMap::new(),
            ..facts(&[])
        };
        insta::assert_snapshot!(decide(&said(), None, &nothing).expect_err("no add-on"), @"EKS has no version of the add-on vpc-cni for Kubernetes 1.34 in this region");
        let silent = ClusterFacts {
            unread: Some("eks:DescribeAddonVersions: AWS does not answer: no answer in time".to_owned()),
            ..nothing
        };
        let unread = decide(&said(), None, &silent).expect_err("silence is not none");
        assert!(
            unread.is_unknown() && unread.to_string().contains("does not answer"),
            "{unread}"
        );
    }
}
