//! What must hold before the first create: facts of the account to findings, each with what mends it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::spec::Subnet;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It holds.
    Ok,
    /// It may go wrong.
    Warning,
    /// It will go wrong.
    Blocked,
    /// It could not be checked.
    Unknown,
}

/// A finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable name of the check.
    pub code: &'static str,
    /// How it ended.
    pub status: Status,
    /// What was seen.
    pub evidence: String,
    /// What mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    /// Notes that a check holds.
    pub fn ok(code: &'static str, evidence: impl Into<String>) -> Self {
        Self {
            code,
            status: Status::Ok,
            evidence: evidence.into(),
            remedy: None,
        }
    }

    /// Notes what does not hold.
    pub fn new(
        code: &'static str,
        status: Status,
        evidence: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            code,
            status,
            evidence: evidence.into(),
            remedy: Some(remedy.into()),
        }
    }
}

/// Code of the quota of vCPUs of on-demand instances of standard families
/// (<https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-quotas.html>).
pub const VCPU_QUOTA: &str = "L-1216C47A";

/// Code of the quota of TiB on gp3 volumes (<https://docs.aws.amazon.com/general/latest/gr/ebs-service.html>).
pub const GP3_QUOTA: &str = "L-7A658B76";

/// First letters of the families that [`VCPU_QUOTA`] counts.
const STANDARD: &str = "acdhimrtz";

/// A subnet as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubnetFact {
    /// Identity and zone.
    pub subnet: Subnet,
    /// VPC.
    pub vpc: String,
    /// Addresses that are free.
    pub free: u32,
    /// Whether instances get a public address.
    pub public: bool,
    /// Whether it is the default one of its zone.
    pub default_for_zone: bool,
}

/// A route table as read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteTable {
    /// VPC.
    pub vpc: String,
    /// Subnets that it is set for.
    pub subnets: Vec<String>,
    /// Whether it is for subnets that have none set.
    pub main: bool,
    /// Where everything else goes, such as `igw-…` or `nat-…`.
    pub out: Option<String>,
}

/// An image as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFact {
    /// Such as `ami-…`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `x86_64` or another.
    pub architecture: String,
    /// Device of its root volume.
    pub root_device: String,
    /// Whether that is on EBS.
    pub on_ebs: bool,
    /// `available` or another.
    pub state: String,
    /// Size of the root volume's snapshot, GiB.
    pub root_gib: Option<u32>,
}

/// A quota as read.
#[derive(Clone, Debug, PartialEq)]
pub enum Quota {
    /// Its value, and what is in use as far as AWS counts it.
    Value {
        /// The limit.
        limit: f64,
        /// In use.
        used: Option<f64>,
    },
    /// It could not be read.
    Unread(String),
}

/// Whether the caller may do something, by a dry run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permission {
    /// It would go through.
    Granted,
    /// It would not.
    Denied(String),
    /// AWS refuses the values, whoever asks.
    Invalid(String),
    /// Nobody knows.
    Unread(String),
}

/// What is needed of an account and region, over all deployments that are about to be made there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Need {
    /// vCPUs by type.
    pub vcpus: BTreeMap<String, u32>,
    /// GiB of gp3.
    pub gib: u32,
    /// Addresses.
    pub hosts: u32,
    /// Types that are tried.
    pub types: BTreeSet<String>,
}

/// Facts of an account and region.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Subnets that were asked for, or the default ones.
    pub subnets: Vec<SubnetFact>,
    /// Route tables of the VPC; none: they could not be read.
    pub routes: Option<Vec<RouteTable>>,
    /// Types offered by zone; none: they could not be read.
    pub offered: Option<BTreeSet<(String, String)>>,
    /// vCPUs.
    pub vcpus: Option<Quota>,
    /// TiB of gp3.
    pub gp3: Option<Quota>,
    /// The image.
    pub image: Option<ImageFact>,
    /// Dry runs by action.
    pub permissions: Vec<(&'static str, Permission)>,
}

/// Where a subnet's traffic goes out.
pub fn way_out<'a>(subnet: &SubnetFact, routes: &'a [RouteTable]) -> Option<&'a str> {
    let own = routes
        .iter()
        .find(|table| table.subnets.contains(&subnet.subnet.id));
    let main = || routes.iter().find(|table| table.main && table.vpc == subnet.vpc);
    own.or_else(main).and_then(|table| table.out.as_deref())
}

/// Works out the findings.
pub fn findings(need: &Need, facts: &Facts, disk_gib: u32, public_address: Option<bool>) -> Vec<Finding> {
    let mut findings = Vec::new();
    offering(need, facts, &mut findings);
    vcpus(need, facts, &mut findings);
    volumes(need, facts, &mut findings);
    addresses(need, facts, &mut findings);
    routes(facts, public_address, &mut findings);
    image(facts, disk_gib, &mut findings);
    permissions(facts, &mut findings);
    findings
}

fn zones(facts: &Facts) -> Vec<&str> {
    let zones: BTreeSet<&str> = facts
        .subnets
        .iter()
        .map(|fact| fact.subnet.zone.as_str())
        .collect();
    zones.into_iter().collect()
}

fn offering(need: &Need, facts: &Facts, findings: &mut Vec<Finding>) {
    let zones = zones(facts);
    let Some(offered) = &facts.offered else {
        findings.push(Finding::new(
            "type-offered",
            Status::Unknown,
            "the offerings could not be read",
            "allow ec2:DescribeInstanceTypeOfferings",
        ));
        return;
    };
    let has = |name: &String| {
        zones
            .iter()
            .any(|zone| offered.contains(&(name.clone(), (*zone).to_owned())))
    };
    let (found, missing): (Vec<&String>, Vec<&String>) = need.types.iter().partition(|name| has(name));
    let names = |names: &[&String]| {
        names
            .iter()
            .map(|name| name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    if missing.is_empty() {
        findings.push(Finding::ok(
            "type-offered",
            format!("{} in {}", names(&found), zones.join(", ")),
        ));
    } else {
        findings.push(Finding::new(
            "type-offered",
            Status::Blocked,
            format!("{} is not offered in {}", names(&missing), zones.join(", ")),
            "choose subnets in other zones (--subnets, --zones) or another type (--instance-type)",
        ));
    }
}

fn vcpus(need: &Need, facts: &Facts, findings: &mut Vec<Finding>) {
    let code = "quota-vcpus";
    let standard = |name: &str| name.starts_with(|c: char| STANDARD.contains(c));
    let needed: u32 = need
        .vcpus
        .iter()
        .filter(|(name, _)| standard(name))
        .map(|(_, vcpus)| vcpus)
        .sum();
    if let Some((other, _)) = need.vcpus.iter().find(|(name, _)| !standard(name)) {
        findings.push(Finding::new(
            code,
            Status::Unknown,
            format!("{other} is counted by a quota of its own, which is not checked"),
            "look it up in Service Quotas",
        ));
    }
    if needed == 0 {
        return;
    }
    match &facts.vcpus {
        Some(Quota::Value { limit, used }) => {
            let in_use = used.unwrap_or_default();
            let after = in_use + f64::from(needed);
            let used = used.map_or_else(
                || "how many are in use is not known".to_owned(),
                |used| format!("{used} in use"),
            );
            let evidence = format!("{VCPU_QUOTA} allows {limit} vCPUs, {used}, {needed} needed");
            findings.push(if after <= *limit {
                Finding::ok(code, evidence)
            } else {
                Finding::new(
                    code,
                    Status::Blocked,
                    evidence,
                    format!(
                        "ask for {after} with: aws service-quotas request-service-quota-increase --service-code ec2 \
                         --quota-code {VCPU_QUOTA} --desired-value {after}"
                    ),
                )
            });
        }
        Some(Quota::Unread(why)) => findings.push(Finding::new(
            code,
            Status::Unknown,
            format!("{VCPU_QUOTA} could not be read: {why}"),
            format!("make sure that it allows {needed} more vCPUs; a new account has 5"),
        )),
        None => {}
    }
}

fn volumes(need: &Need, facts: &Facts, findings: &mut Vec<Finding>) {
    let code = "quota-gp3";
    let needed = f64::from(need.gib) / 1024.0;
    match &facts.gp3 {
        Some(Quota::Value { limit, .. }) => {
            let evidence =
                format!("{GP3_QUOTA} allows {limit} TiB, {needed:.2} needed; what is in use is not counted");
            findings.push(if needed <= *limit {
                Finding::ok(code, evidence)
            } else {
                Finding::new(
                    code,
                    Status::Blocked,
                    evidence,
                    format!(
                        "ask for at least {:.0} with Service Quotas, service ebs",
                        needed.ceil()
                    ),
                )
            });
        }
        Some(Quota::Unread(why)) => findings.push(Finding::new(
            code,
            Status::Unknown,
            format!("{GP3_QUOTA} could not be read: {why}"),
            format!("make sure that it allows {needed:.2} TiB more"),
        )),
        None => {}
    }
}

fn addresses(need: &Need, facts: &Facts, findings: &mut Vec<Finding>) {
    let free: u32 = facts.subnets.iter().map(|fact| fact.free).sum();
    let evidence = format!(
        "{free} free in {} subnets, {} needed",
        facts.subnets.len(),
        need.hosts
    );
    findings.push(if free >= need.hosts {
        Finding::ok("free-addresses", evidence)
    } else {
        Finding::new(
            "free-addresses",
            Status::Blocked,
            evidence,
            "name other subnets with --subnets",
        )
    });
}

fn routes(facts: &Facts, public_address: Option<bool>, findings: &mut Vec<Finding>) {
    let code = "route-out";
    let Some(routes) = &facts.routes else {
        findings.push(Finding::new(
            code,
            Status::Unknown,
            "the route tables could not be read",
            "allow ec2:DescribeRouteTables",
        ));
        return;
    };
    let mut without = Vec::new();
    let mut unaddressed = Vec::new();
    for fact in &facts.subnets {
        match way_out(fact, routes) {
            None => without.push(fact.subnet.id.as_str()),
            Some(out) if out.starts_with("igw-") && !public_address.unwrap_or(fact.public) => {
                unaddressed.push(fact.subnet.id.as_str());
            }
            Some(_) => {}
        }
    }
    if !without.is_empty() {
        findings.push(Finding::new(
            code,
            Status::Warning,
            format!("no default route in {}", without.join(", ")),
            "the host needs the platform, Docker's registry and AWS: add a NAT or internet gateway, or set a proxy and VPC \
             endpoints",
        ));
    }
    if !unaddressed.is_empty() {
        findings.push(Finding::new(
            code,
            Status::Warning,
            format!(
                "{} go out by an internet gateway but hosts get no public address there",
                unaddressed.join(", ")
            ),
            "use --public-address true, or a subnet behind a NAT gateway",
        ));
    }
    if without.is_empty() && unaddressed.is_empty() {
        let ways: BTreeSet<&str> = facts
            .subnets
            .iter()
            .filter_map(|fact| way_out(fact, routes))
            .collect();
        let ways: Vec<&str> = ways.into_iter().collect();
        findings.push(Finding::ok(code, ways.join(", ")));
    }
}

fn image(facts: &Facts, disk_gib: u32, findings: &mut Vec<Finding>) {
    let code = "image";
    let Some(image) = &facts.image else {
        findings.push(Finding::new(
            code,
            Status::Blocked,
            "the image does not exist in this region, or not for this account",
            "name another with --ami or --ami-parameter",
        ));
        return;
    };
    let mut faults = Vec::new();
    if image.architecture != "x86_64" {
        faults.push(format!(
            "it is for {}, the runner's images for x86_64",
            image.architecture
        ));
    }
    if image.state != "available" {
        faults.push(format!("it is {}", image.state));
    }
    if !image.on_ebs {
        faults.push("its root is not on EBS".to_owned());
    }
    if image.root_gib.is_some_and(|gib| gib > disk_gib) {
        faults.push(format!(
            "its root needs {} GiB, the disk has {disk_gib}",
            image.root_gib.unwrap_or_default()
        ));
    }
    findings.push(if faults.is_empty() {
        Finding::ok(
            code,
            format!("{} ({}), root at {}", image.id, image.name, image.root_device),
        )
    } else {
        Finding::new(
            code,
            Status::Blocked,
            format!("{} ({}): {}", image.id, image.name, faults.join("; ")),
            "name another with --ami or --ami-parameter",
        )
    });
}

fn permissions(facts: &Facts, findings: &mut Vec<Finding>) {
    for (action, permission) in &facts.permissions {
        let code = "permission";
        findings.push(match permission {
            Permission::Granted => Finding::ok(code, format!("{action} is permitted")),
            Permission::Denied(why) => Finding::new(
                code,
                Status::Blocked,
                format!("{action} is not permitted: {why}"),
                "grant what `dataops-infra export iam-policy --for up` prints",
            ),
            Permission::Invalid(why) => Finding::new(
                "launch",
                Status::Blocked,
                format!("{action} would be refused: {why}"),
                "change what the message names",
            ),
            Permission::Unread(why) => Finding::new(
                code,
                Status::Unknown,
                format!("{action} could not be tried: {why}"),
                "try again",
            ),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(id: &str, zone: &str, public: bool) -> SubnetFact {
        SubnetFact {
            subnet: Subnet {
                id: id.to_owned(),
                zone: zone.to_owned(),
            },
            vpc: "vpc-1".to_owned(),
            free: 10,
            public,
            default_for_zone: true,
        }
    }

    fn sound() -> (Need, Facts) {
        let need = Need {
            vcpus: BTreeMap::from([("c5.xlarge".to_owned(), 4)]),
            gib: 300,
            hosts: 1,
            types: BTreeSet::from(["c5.xlarge".to_owned()]),
        };
        let facts = Facts {
            subnets: vec![subnet("subnet-1", "a", true)],
            routes: Some(vec![RouteTable {
                vpc: "vpc-1".to_owned(),
                main: true,
                out: Some("igw-1".to_owned()),
                ..RouteTable::default()
            }]),
            offered: Some(BTreeSet::from([("c5.xlarge".to_owned(), "a".to_owned())])),
            vcpus: Some(Quota::Value {
                limit: 5.0,
                used: Some(1.0),
            }),
            gp3: Some(Quota::Value {
                limit: 50.0,
                used: None,
            }),
            image: Some(ImageFact {
                id: "ami-1".to_owned(),
                name: "ubuntu".to_owned(),
                architecture: "x86_64".to_owned(),
                root_device: "/dev/sda1".to_owned(),
                on_ebs: true,
                state: "available".to_owned(),
                root_gib: Some(8),
            }),
            permissions: vec![("ec2:RunInstances", Permission::Granted)],
        };
        (need, facts)
    }

    fn bad(need: &Need, facts: &Facts) -> Vec<Finding> {
        let mut all = findings(need, facts, 300, None);
        all.retain(|finding| finding.status != Status::Ok);
        all
    }

    #[test]
    fn a_sound_account_has_no_findings() {
        let (need, facts) = sound();
        assert_eq!(bad(&need, &facts), []);
    }

    #[test]
    fn the_quota_names_its_code_and_the_number_to_ask_for() {
        let (need, mut facts) = sound();
        facts.vcpus = Some(Quota::Value {
            limit: 5.0,
            used: Some(4.0),
        });
        let found = bad(&need, &facts);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].status, Status::Blocked);
        assert!(found[0].evidence.contains(VCPU_QUOTA));
        assert!(
            found[0]
                .remedy
                .as_ref()
                .is_some_and(|text| text.contains("--desired-value 8"))
        );
    }

    #[test]
    fn what_could_not_be_read_is_never_fine() {
        let (need, mut facts) = sound();
        facts.vcpus = Some(Quota::Unread("denied".to_owned()));
        facts.routes = None;
        facts.offered = None;
        assert!(
            bad(&need, &facts)
                .iter()
                .all(|finding| finding.status == Status::Unknown)
        );
        assert_eq!(bad(&need, &facts).len(), 3);
    }

    #[test]
    fn each_fault_blocks() {
        let faults: [fn(&mut Facts); 6] = [
            |facts| facts.subnets[0].free = 0,
            |facts| facts.offered = Some(BTreeSet::new()),
            |facts| facts.image = None,
            |facts| {
                if let Some(image) = &mut facts.image {
                    image.architecture = "arm64".to_owned();
                }
            },
            |facts| {
                if let Some(image) = &mut facts.image {
                    image.root_gib = Some(400);
                }
            },
            |facts| facts.permissions[0].1 = Permission::Denied("no".to_owned()),
        ];
        for fault in faults {
            let (need, mut facts) = sound();
            fault(&mut facts);
            let found = bad(&need, &facts);
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(found[0].status, Status::Blocked);
        }
    }

    #[test]
    fn a_subnet_without_a_way_out_warns() {
        let (need, mut facts) = sound();
        facts.routes = Some(Vec::new());
        assert_eq!(bad(&need, &facts)[0].status, Status::Warning);
        let (need, mut facts) = sound();
        facts.subnets[0].public = false;
        assert!(bad(&need, &facts)[0].evidence.contains("no public address"));
    }
}
