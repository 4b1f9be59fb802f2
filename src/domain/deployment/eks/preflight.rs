//! What must hold before a cluster or a node group is made: facts to findings.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::call::CallError;
use crate::domain::deployment::preflight::{Finding, Quota, Status, SubnetFact};

/// Code of the quota of clusters in a region (<https://docs.aws.amazon.com/eks/latest/userguide/service-quotas.html>).
pub const CLUSTERS_QUOTA: &str = "L-1194D53C";
/// Code of the quota of managed node groups in a cluster.
pub const NODE_GROUPS_QUOTA: &str = "L-6D54EA21";
/// Code of the quota of nodes in a managed node group.
pub const NODES_QUOTA: &str = "L-BD136A63";
/// Code of the quota of file systems (<https://docs.aws.amazon.com/general/latest/gr/elasticfilesystem.html>).
pub const FILE_SYSTEMS_QUOTA: &str = "L-848C634D";

/// Roles that services make for themselves at the first use, and for whom: whoever makes the first cluster must be allowed
/// `iam:CreateServiceLinkedRole` (<https://docs.aws.amazon.com/eks/latest/userguide/using-service-linked-roles.html>).
pub const SERVICE_ROLES: [(&str, &str); 4] = [
    ("AWSServiceRoleForAmazonEKS", "eks.amazonaws.com"),
    (
        "AWSServiceRoleForAmazonEKSNodegroup",
        "eks-nodegroup.amazonaws.com",
    ),
    ("AWSServiceRoleForAutoScaling", "autoscaling.amazonaws.com"),
    (
        "AWSServiceRoleForAmazonElasticFileSystem",
        "elasticfilesystem.amazonaws.com",
    ),
];

/// Zones in which EKS makes no network interfaces of a control plane
/// (<https://docs.aws.amazon.com/eks/latest/userguide/network-reqs.html>).
const NO_ZONES: [&str; 3] = ["cac1-az3", "use1-az3", "usw1-az2"];

/// Free addresses that EKS needs in each subnet of a control plane, and that it recommends
/// (<https://docs.aws.amazon.com/eks/latest/userguide/network-reqs.html>).
const ADDRESSES: (u32, u32) = (6, 16);

/// Zones that a control plane needs.
const ZONES: usize = 2;

/// A version of Kubernetes as EKS tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KubernetesVersion {
    /// Such as `1.34`.
    pub version: String,
    /// Whether EKS takes it where nothing is said.
    pub default: bool,
    /// Whether it is in standard support, which costs a sixth of extended support.
    pub standard: bool,
    /// Until when, as a day.
    pub standard_until: Option<String>,
    /// Until when it is supported at all, as a day.
    pub extended_until: Option<String>,
}

impl KubernetesVersion {
    /// Returns major and minor as numbers, so that 1.9 comes before 1.10.
    pub fn number(&self) -> (u32, u32) {
        number(&self.version)
    }
}

fn number(version: &str) -> (u32, u32) {
    let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
    (
        major.parse().unwrap_or_default(),
        minor.parse().unwrap_or_default(),
    )
}

/// Versions of an add-on that fit a version of Kubernetes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddonVersions {
    /// The one that EKS takes where nothing is said.
    pub default: Option<String>,
    /// All, in the order of the answer: the newest first.
    pub versions: Vec<String>,
}

/// Facts of an account and region; none: could not be read.
#[derive(Clone, Debug, Default)]
pub struct EksFacts {
    /// Versions of Kubernetes, the newest first.
    pub versions: Option<Vec<KubernetesVersion>>,
    /// Why there are no versions.
    pub versions_unread: Option<CallError>,
    /// Versions of add-ons by name.
    pub addons: Option<BTreeMap<String, AddonVersions>>,
    /// Why there are no versions of add-ons, where they were asked for.
    pub addons_unread: Option<CallError>,
    /// Ranges of the VPC.
    pub cidrs: Option<Vec<String>>,
    /// Identities of zones by name.
    pub zone_ids: Option<BTreeMap<String, String>>,
    /// Clusters.
    pub clusters: Option<Quota>,
    /// Node groups of the cluster.
    pub node_groups: Option<Quota>,
    /// Nodes of a group.
    pub nodes: Option<Quota>,
    /// File systems.
    pub file_systems: Option<Quota>,
    /// Roles of services that are there.
    pub service_roles: Option<BTreeSet<&'static str>>,
}

impl EksFacts {
    /// Returns the version for a new cluster where the user says none: EKS's own choice if it is in standard support, else the
    /// newest that is.
    pub fn choice(&self) -> Option<&KubernetesVersion> {
        let versions = self.versions.as_deref()?;
        let standard = || versions.iter().filter(|version| version.standard);
        standard()
            .find(|version| version.default)
            .or_else(|| standard().max_by_key(|version| version.number()))
    }

    /// Returns the version to pin an add-on at: EKS's own choice, else the newest.
    pub fn addon(&self, name: &str) -> Option<&str> {
        let found = self.addons.as_ref()?.get(name)?;
        found
            .default
            .as_deref()
            .or_else(|| found.versions.first().map(String::as_str))
    }
}

/// What is about to be made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EksNeed {
    /// Version of Kubernetes.
    pub version: String,
    /// Whether a cluster is made.
    pub cluster: bool,
    /// Whether a node group is made.
    pub node_group: bool,
    /// Nodes at most.
    pub max_nodes: u32,
    /// Whether a file system is made.
    pub file_system: bool,
    /// Add-ons.
    pub addons: BTreeSet<String>,
}

/// Works out the findings.
pub fn findings(need: &EksNeed, facts: &EksFacts, subnets: &[SubnetFact]) -> Vec<Finding> {
    let mut findings = vec![version_finding(
        &need.version,
        need.cluster,
        facts.versions.as_deref(),
    )];
    if need.cluster {
        findings.push(zones(facts, subnets));
        findings.push(addresses(subnets));
    }
    findings.extend(addons(need, facts));
    if need.cluster {
        let one = ("clusters", 1.0, "eks", CLUSTERS_QUOTA);
        findings.extend(quota("quota-clusters", one, facts.clusters.as_ref()));
    }
    if need.node_group {
        let one = ("node groups of the cluster", 1.0, "eks", NODE_GROUPS_QUOTA);
        findings.extend(quota("quota-node-groups", one, facts.node_groups.as_ref()));
        let nodes = ("nodes of a group", f64::from(need.max_nodes), "eks", NODES_QUOTA);
        findings.extend(quota("quota-nodes", nodes, facts.nodes.as_ref()));
    }
    if need.file_system {
        let one = ("file systems", 1.0, "elasticfilesystem", FILE_SYSTEMS_QUOTA);
        findings.extend(quota("quota-file-systems", one, facts.file_systems.as_ref()));
    }
    findings.push(service_roles(need, facts));
    findings
}

/// Says what EKS knows of a version of Kubernetes, of which a cluster is made or to which one goes.
pub fn version_finding(wanted: &str, made: bool, versions: Option<&[KubernetesVersion]>) -> Finding {
    let code = "eks-version";
    let Some(versions) = versions else {
        let remedy = "allow eks:DescribeClusterVersions";
        return Finding::new(
            code,
            Status::Unknown,
            "the versions of Kubernetes could not be read",
            remedy,
        );
    };
    let standard: Vec<&str> = versions
        .iter()
        .filter(|version| version.standard)
        .map(|version| version.version.as_str())
        .collect();
    let choose = format!("choose one in standard support: {}", standard.join(", "));
    match versions.iter().find(|version| version.version == wanted) {
        None => {
            let evidence = format!("EKS has no Kubernetes {wanted}");
            Finding::new(code, Status::Blocked, evidence, choose)
        }
        Some(found) if found.standard => {
            let until = found
                .standard_until
                .as_deref()
                .unwrap_or("a day that EKS does not tell");
            Finding::ok(
                code,
                format!(
                    "Kubernetes {} is in standard support until {until}",
                    found.version
                ),
            )
        }
        Some(found) => {
            let evidence = format!(
                "Kubernetes {} is in extended support, which costs six times as much an hour, until {}",
                found.version,
                found
                    .extended_until
                    .as_deref()
                    .unwrap_or("a day that EKS does not tell")
            );
            // A cluster with the policy STANDARD cannot be made of it; one that exists can have reached it.
            let status = if made { Status::Blocked } else { Status::Warning };
            Finding::new(code, status, evidence, choose)
        }
    }
}

fn zones(facts: &EksFacts, subnets: &[SubnetFact]) -> Finding {
    let code = "eks-zones";
    let names: BTreeSet<&str> = subnets.iter().map(|fact| fact.subnet.zone.as_str()).collect();
    let refused: Vec<&str> = names
        .iter()
        .copied()
        .filter(|zone| {
            let id = facts.zone_ids.as_ref().and_then(|ids| ids.get(*zone));
            id.is_some_and(|id| NO_ZONES.contains(&id.as_str()))
        })
        .collect();
    let all = names.iter().copied().collect::<Vec<_>>().join(", ");
    if !refused.is_empty() {
        let evidence = format!("EKS makes no control plane in {}", refused.join(", "));
        return Finding::new(
            code,
            Status::Blocked,
            evidence,
            "leave that zone out (--zones, --subnets)",
        );
    }
    if names.len() < ZONES {
        let evidence = match names.len() {
            0 => "there are no subnets".to_owned(),
            _ => format!("all subnets are in {all}"),
        };
        let remedy = "a control plane needs subnets in two zones: name more (--subnets, --zones)";
        return Finding::new(code, Status::Blocked, evidence, remedy);
    }
    Finding::ok(code, format!("subnets in {all}"))
}

fn addresses(subnets: &[SubnetFact]) -> Finding {
    let code = "eks-addresses";
    let (needed, advised) = ADDRESSES;
    let told = |subnets: Vec<&SubnetFact>| {
        let told =
            |fact: &&SubnetFact| format!("{} ({}) has {}", fact.subnet.id, fact.subnet.zone, fact.free);
        subnets.iter().map(told).collect::<Vec<_>>().join(", ")
    };
    let below = |least: u32| {
        subnets
            .iter()
            .filter(|fact| fact.free < least)
            .collect::<Vec<_>>()
    };
    let remedy = format!(
        "choose subnets with {advised} free addresses each (--subnets); nodes and pods need more besides"
    );
    if !below(needed).is_empty() {
        let evidence = format!(
            "a control plane needs {needed} free addresses in each subnet; {}",
            told(below(needed))
        );
        Finding::new(code, Status::Blocked, evidence, remedy)
    } else if !below(advised).is_empty() {
        let evidence = format!(
            "AWS advises {advised} free addresses in each subnet; {}",
            told(below(advised))
        );
        Finding::new(code, Status::Warning, evidence, remedy)
    } else {
        Finding::ok(code, told(subnets.iter().collect()))
    }
}

fn addons(need: &EksNeed, facts: &EksFacts) -> Option<Finding> {
    let code = "eks-addons";
    if need.addons.is_empty() {
        return None;
    }
    let Some(known) = &facts.addons else {
        let remedy = "allow eks:DescribeAddonVersions";
        return Some(Finding::new(
            code,
            Status::Unknown,
            "the versions of add-ons could not be read",
            remedy,
        ));
    };
    let has = |name: &&String| known.get(*name).is_some_and(|found| !found.versions.is_empty());
    let (found, missing): (Vec<&String>, Vec<&String>) = need.addons.iter().partition(has);
    if missing.is_empty() {
        let told = found
            .iter()
            .map(|name| format!("{name} {}", facts.addon(name).unwrap_or_default()));
        return Some(Finding::ok(code, told.collect::<Vec<_>>().join(", ")));
    }
    let missing = missing
        .into_iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    Some(Finding::new(
        code,
        Status::Blocked,
        format!(
            "{missing} has no version for Kubernetes {} in this region",
            need.version
        ),
        "choose another version of Kubernetes",
    ))
}

fn quota(
    code: &'static str,
    (what, needed, service, quota): (&str, f64, &str, &str),
    read: Option<&Quota>,
) -> Option<Finding> {
    Some(match read? {
        Quota::Value { limit, used } => {
            let after = used.unwrap_or_default() + needed;
            let in_use = used.map_or_else(
                || "how many are in use is not known".to_owned(),
                |used| format!("{used} in use"),
            );
            let evidence = format!("{quota} allows {limit} {what}, {in_use}, {needed} needed");
            if after <= *limit {
                Finding::ok(code, evidence)
            } else {
                let remedy = format!(
                    "ask for {after} with: aws service-quotas request-service-quota-increase --service-code {service} \
                     --quota-code {quota} --desired-value {after}"
                );
                Finding::new(code, Status::Blocked, evidence, remedy)
            }
        }
        Quota::Unread(why) => Finding::new(
            code,
            Status::Unknown,
            format!("{quota} ({what}) could not be read: {why}"),
            format!("make sure that it allows {needed} more"),
        ),
    })
}

fn service_roles(need: &EksNeed, facts: &EksFacts) -> Finding {
    let code = "eks-service-roles";
    let Some(there) = &facts.service_roles else {
        let evidence = "whether the roles of EKS's services are there could not be read";
        return Finding::new(
            code,
            Status::Unknown,
            evidence,
            "allow iam:GetRole on service-linked roles",
        );
    };
    let wanted = |role: &str| match role {
        "AWSServiceRoleForAmazonEKS" => need.cluster,
        "AWSServiceRoleForAmazonElasticFileSystem" => need.file_system,
        _ => need.node_group,
    };
    let missing: Vec<&str> = SERVICE_ROLES
        .iter()
        .filter(|(role, _)| wanted(role) && !there.contains(role))
        .map(|(_, service)| *service)
        .collect();
    if missing.is_empty() {
        Finding::ok(code, "the roles of the services are there")
    } else {
        Finding::ok(
            code,
            format!(
                "AWS makes the roles of {} at the first use, for which the caller needs iam:CreateServiceLinkedRole",
                missing.join(", ")
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::deployment::spec::Subnet;

    fn subnet(zone: &str, free: u32) -> SubnetFact {
        SubnetFact {
            subnet: Subnet {
                id: format!("subnet-{zone}"),
                zone: zone.to_owned(),
            },
            vpc: "vpc-1".to_owned(),
            free,
            public: true,
            default_for_zone: true,
        }
    }

    fn facts() -> EksFacts {
        let version = |version: &str, default: bool, standard: bool| KubernetesVersion {
            version: version.to_owned(),
            default,
            standard,
            standard_until: Some("2026-12-02".to_owned()),
            extended_until: Some("2027-12-02".to_owned()),
        };
        EksFacts {
            versions: Some(vec![
                version("1.35", false, true),
                version("1.34", true, true),
                version("1.30", false, false),
            ]),
            addons: Some(BTreeMap::from([(
                "coredns".to_owned(),
                AddonVersions {
                    default: Some("v1.12.3-eksbuild.1".to_owned()),
                    versions: vec!["v1.12.4-eksbuild.1".to_owned(), "v1.12.3-eksbuild.1".to_owned()],
                },
            )])),
            cidrs: Some(vec!["10.0.0.0/16".to_owned()]),
            zone_ids: Some(BTreeMap::from([("us-east-1e".to_owned(), "use1-az3".to_owned())])),
            clusters: Some(Quota::Value {
                limit: 100.0,
                used: Some(1.0),
            }),
            service_roles: Some(SERVICE_ROLES.iter().map(|(role, _)| *role).collect()),
            ..EksFacts::default()
        }
    }

    fn need() -> EksNeed {
        EksNeed {
            version: "1.34".to_owned(),
            cluster: true,
            addons: BTreeSet::from(["coredns".to_owned()]),
            ..EksNeed::default()
        }
    }

    fn status(need: &EksNeed, facts: &EksFacts, subnets: &[SubnetFact], code: &str) -> Status {
        let found = findings(need, facts, subnets);
        let found = found.iter().find(|finding| finding.code == code);
        found.expect("a finding of that code").status
    }

    #[test]
    fn a_sound_account_has_nothing_in_the_way() {
        let subnets = [subnet("a", 200), subnet("b", 200)];
        let found = findings(&need(), &facts(), &subnets);
        assert!(
            found.iter().all(|finding| finding.status == Status::Ok),
            "{found:?}"
        );
        assert_eq!(
            facts().choice().map(|version| version.version.as_str()),
            Some("1.34")
        );
        assert_eq!(facts().addon("coredns"), Some("v1.12.3-eksbuild.1"));
    }

    #[test]
    fn networks_that_a_control_plane_refuses() {
        let of = |subnets: &[SubnetFact], code| status(&need(), &facts(), subnets, code);
        assert_eq!(of(&[subnet("a", 200)], "eks-zones"), Status::Blocked);
        assert_eq!(
            of(&[subnet("a", 200), subnet("us-east-1e", 200)], "eks-zones"),
            Status::Blocked
        );
        assert_eq!(
            of(&[subnet("a", 5), subnet("b", 200)], "eks-addresses"),
            Status::Blocked
        );
        assert_eq!(
            of(&[subnet("a", 6), subnet("b", 200)], "eks-addresses"),
            Status::Warning
        );
    }

    #[test]
    fn versions_out_of_standard_support_are_not_begun_with() {
        let subnets = [subnet("a", 200), subnet("b", 200)];
        let mut old = need();
        old.version = "1.30".to_owned();
        assert_eq!(status(&old, &facts(), &subnets, "eks-version"), Status::Blocked);
        old.cluster = false;
        assert_eq!(status(&old, &facts(), &subnets, "eks-version"), Status::Warning);
        old.version = "1.20".to_owned();
        assert_eq!(status(&old, &facts(), &subnets, "eks-version"), Status::Blocked);
        let unread = EksFacts::default();
        assert_eq!(status(&need(), &unread, &subnets, "eks-version"), Status::Unknown);
    }

    #[test]
    fn minor_versions_are_numbers() {
        assert!(number("1.10") > number("1.9"));
        let mut facts = facts();
        for version in facts.versions.iter_mut().flatten() {
            version.default = false;
        }
        assert_eq!(
            facts.choice().map(|version| version.version.as_str()),
            Some("1.35")
        );
    }
}
