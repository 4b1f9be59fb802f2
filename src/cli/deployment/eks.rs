//! What is particular to a deployment on EKS before the first change: its cluster, the versions of everything, the network.

use std::collections::{BTreeMap, BTreeSet};

use super::calls::{Ground, unreadable};
use super::prepare::Want;
use super::shared::{Shared, secret_finding};
use super::site::{network, subnets};
use super::size::Size;
use super::specify::{Site, cluster as decide, node_image, specify};
use crate::aws::eks::{inside, preflight as read};
use crate::aws::observe::Parameters;
use crate::aws::preflight::{self, Network};
use crate::cli::outcome::{Exit, Failure};
use crate::domain::deployment::eks::addons;
use crate::domain::deployment::eks::choose::ClusterFacts;
use crate::domain::deployment::eks::objects;
use crate::domain::deployment::eks::observed::ObservedEks;
use crate::domain::deployment::eks::preflight::{EksFacts, EksNeed, findings};
use crate::domain::deployment::eks::secret;
use crate::domain::deployment::name::Place;
use crate::domain::deployment::observed::Observed;
use crate::domain::deployment::preflight::{Finding, Status, SubnetFact};
use crate::domain::deployment::record::Record;
use crate::domain::deployment::secret::Secret;
use crate::domain::deployment::spec::{Spec, Subnet, Token};
use crate::domain::deployment::step::{Action, Step};
use crate::domain::settings::{self, Target};
use crate::kubernetes::helm;

/// Returns the cluster of a deployment; none for one on EC2.
pub fn cluster(want: &Want, record: Option<&Record>) -> Option<String> {
    if let Some(record) = record {
        return Some(record.spec.eks.as_ref()?.cluster.clone());
    }
    if let Some(spec) = &want.spec {
        return Some(spec.eks.as_ref()?.cluster.clone());
    }
    let settings = &want.meant.settings;
    (settings.target == Some(Target::Eks)).then(|| {
        let cluster = settings.eks.cluster.clone();
        cluster.unwrap_or_else(|| want.meant.name.to_string())
    })
}

/// Returns the digest of what the secret in the cluster shall hold, where the token is known.
pub fn token_digest(want: &Want, stored: Option<&Parameters>) -> Option<String> {
    let name = &want.meant.name;
    let token = want.secret.clone().or_else(|| {
        let stored = stored?.get(&name.token())?;
        Some(Secret::new(&stored.value))
    })?;
    Some(secret::digest(&name.token_secret(), &secret::token(&token)))
}

/// Refuses to make one kind of deployment out of the other.
///
/// # Errors
///
/// It is on the other target.
pub fn same_target(want: &Want, base: Option<&Record>) -> Result<(), Failure> {
    let (Some(base), Some(said)) = (base, want.meant.settings.target) else {
        return Ok(());
    };
    let (is, on) = match base.spec.eks {
        Some(_) => (Target::Eks, "eks"),
        None => (Target::Ec2, "ec2"),
    };
    if is == said {
        return Ok(());
    }
    let name = &want.meant.name;
    Err(Failure::new(
        Exit::Refused,
        format!("{name} is on {on} and cannot move; nothing was changed"),
    )
    .hint(format!(
        "dataops-infra up {on} --name {name}, or make a deployment of another name and take this one down"
    )))
}

/// What is about to be made, and what is known of the account.
#[derive(Debug)]
pub struct Need {
    made: EksNeed,
    facts: EksFacts,
    subnets: Vec<SubnetFact>,
}

impl Need {
    /// Returns what must hold for the steps.
    pub fn findings(mut self, steps: &[Step]) -> Vec<Finding> {
        let makes = |address: &str| {
            let mut steps = steps.iter();
            steps.any(|step| step.address == address && step.action == Action::Create)
        };
        self.made.cluster = makes("cluster");
        self.made.node_group = makes("nodes");
        self.made.file_system = makes("file-system");
        self.made.addons.retain(|name| makes(&format!("addon-{name}")));
        let need = &self.made;
        if !need.cluster && !need.node_group && !need.file_system && need.addons.is_empty() {
            return Vec::new();
        }
        findings(need, &self.facts, &self.subnets)
    }
}

/// Whether everything that AWS has of it is there, so that versions and quotas need not be asked.
fn is_complete(seen: &ObservedEks, base: &Spec) -> bool {
    let Some(eks) = base.eks.as_deref() else {
        return false;
    };
    seen.cluster.is_some()
        && seen.node_group.is_some()
        && eks.addons.keys().all(|name| seen.addons.contains_key(name))
}

/// Works out what the deployment shall be.
///
/// # Errors
///
/// The cluster or its network cannot be read, or something must be said.
pub async fn spec(
    ground: &Ground,
    want: &Want,
    base: Option<&Record>,
    seen: &Observed,
    size: Size,
    shared: &Shared,
    findings: &mut Vec<Finding>,
) -> Result<(Spec, Option<Need>), Failure> {
    // Everything was decided and looked at before.
    if let (Some(spec), true) = (&want.spec, want.upgrade.is_some()) {
        return Ok((spec.clone(), None));
    }
    let settings = &want.meant.settings;
    let nothing = ObservedEks::default();
    let seen = seen.eks.as_deref().unwrap_or(&nothing);
    let was = base.map(|base| &base.spec);
    let adopts = was
        .and_then(|was| was.eks.as_deref())
        .map_or(settings.eks.cluster.is_some(), |was| was.adopted);
    let said = settings.eks != settings::Eks::default();
    if let Some(was) = was
        && want.spec.is_none()
        && !said
        && is_complete(seen, was)
    {
        let facts = ClusterFacts {
            version: was
                .eks
                .as_ref()
                .map(|eks| eks.version.clone())
                .unwrap_or_default(),
            ..ClusterFacts::default()
        };
        let site = Site {
            vpc: was.vpc.clone(),
            subnets: was.subnets.clone(),
            image: node_image(),
        };
        let eks = decide(&want.meant.name, settings, Some(was), &size, &facts)?;
        let spec = specify(settings, Some(was), size, want.token.clone(), None, site, eks);
        return Ok((spec, None));
    }
    let (vpc, subnets, facts) = place(ground, want, base, seen, shared, adopts).await?;
    let theirs = seen.cluster.as_ref().map(|cluster| cluster.it.version.clone());
    let version = settings
        .eks
        .version
        .clone()
        .or_else(|| was.and_then(|was| Some(was.eks.as_ref()?.version.clone())))
        .or_else(|| {
            want.spec
                .as_ref()
                .and_then(|spec| Some(spec.eks.as_ref()?.version.clone()))
        })
        .or_else(|| theirs.clone().filter(|_| adopts));
    let names: BTreeSet<String> = addons::ALL.iter().map(|name| (*name).to_owned()).collect();
    let cluster = cluster(want, base).filter(|_| adopts);
    let known = read::facts(
        &ground.clients,
        &vpc,
        version.as_deref(),
        &names,
        cluster.as_deref(),
    )
    .await;
    if version.is_none() && known.versions.is_none() {
        let failure = Failure::new(
            Exit::Unknown,
            "the versions of Kubernetes that EKS offers could not be read",
        )
        .hint("allow eks:DescribeClusterVersions, or name one with --kubernetes-version");
        return Err(match known.versions_unread {
            Some(why) => failure.because(why),
            None => failure,
        });
    }
    for (reference, there) in &shared.secrets {
        let ours = want.token == Some(Token::Theirs(reference.clone()))
            || settings.registry.as_ref() == Some(reference);
        if ours {
            findings.push(secret_finding(reference, there));
        }
    }
    let spec = if let Some(spec) = &want.spec {
        spec.clone()
    } else {
        let cluster_facts = ClusterFacts {
            version: version
                .or_else(|| Some(known.choice()?.version.clone()))
                .unwrap_or_default(),
            auto_mode: adopts && seen.cluster.as_ref().is_some_and(|cluster| cluster.it.auto_mode),
            addons: names
                .iter()
                .filter_map(|name| Some((name.clone(), known.addon(name)?.to_owned())))
                .collect::<BTreeMap<_, _>>(),
            unread: known.addons_unread.as_ref().map(ToString::to_string),
            present: seen
                .addons
                .iter()
                .filter(|(name, addon)| {
                    let address = format!("addon-{name}");
                    !base.is_some_and(|base| base.owner().owns(&addon.tags, &address))
                })
                .map(|(name, _)| name.clone())
                .collect(),
        };
        let eks = decide(&want.meant.name, settings, was, &size, &cluster_facts)?;
        let site = Site {
            vpc,
            subnets,
            image: node_image(),
        };
        specify(settings, was, size, want.token.clone(), None, site, eks)
    };
    let eks = spec.eks.as_deref();
    let need = Need {
        made: EksNeed {
            version: eks.map(|eks| eks.version.clone()).unwrap_or_default(),
            max_nodes: eks.map_or(0, |eks| eks.max_nodes),
            addons: eks
                .map(|eks| eks.addons.keys().cloned().collect())
                .unwrap_or_default(),
            ..EksNeed::default()
        },
        facts: known,
        subnets: facts,
    };
    Ok((spec, Some(need)))
}

/// Returns VPC and subnets: those of a cluster that is adopted, else as for hosts.
async fn place(
    ground: &Ground,
    want: &Want,
    base: Option<&Record>,
    seen: &ObservedEks,
    shared: &Shared,
    adopts: bool,
) -> Result<(String, Vec<Subnet>, Vec<SubnetFact>), Failure> {
    let settings = &want.meant.settings;
    let region = &ground.region;
    if adopts && base.is_none() && seen.cluster.is_none() {
        let name = settings.eks.cluster.clone().unwrap_or_default();
        return Err(Failure::new(
            Exit::Refused,
            format!("there is no cluster {name} in {region}; nothing was changed"),
        )
        .hint("`aws eks list-clusters` lists those that exist; without --cluster one is made"));
    }
    let said = network(settings, base);
    let of_cluster = match &seen.cluster {
        Some(cluster) if adopts && settings.subnets.is_empty() && base.is_none() => {
            Some(Network::Subnets(cluster.it.subnets.clone()))
        }
        _ => None,
    };
    let unread = |error| unreadable("the subnets", error, "up");
    let known = match &want.spec {
        Some(spec) => Some((spec.vpc.clone(), spec.subnets.clone())),
        None if said.is_none() => base.map(|base| (base.spec.vpc.clone(), base.spec.subnets.clone())),
        None => None,
    };
    if let Some((vpc, subnets)) = known {
        let ids = subnets.iter().map(|subnet| subnet.id.clone()).collect();
        let facts = preflight::subnets(&ground.clients, &Network::Subnets(ids))
            .await
            .map_err(unread)?;
        return Ok((vpc, subnets, facts));
    }
    let network = of_cluster.or(said).unwrap_or(Network::Default);
    let mut read = shared.networks.clone();
    if !read.contains_key(&network) {
        let facts = preflight::subnets(&ground.clients, &network).await;
        read.insert(network.clone(), facts);
    }
    let (vpc, chosen) = subnets(settings, &network, &read, region)?;
    let facts = match read.remove(&network) {
        Some(Ok(facts)) => facts,
        _ => Vec::new(),
    };
    let facts = facts
        .into_iter()
        .filter(|fact| chosen.iter().any(|subnet| subnet.id == fact.subnet.id))
        .collect();
    Ok((vpc, chosen, facts))
}

/// Checks the user's Helm, and whether it reaches the chart, where a release is to be made.
pub async fn tools(record: &Record, steps: &[Step]) -> Vec<Finding> {
    let releases = steps.iter().any(|step| step.address == "release");
    let (true, Some(eks)) = (releases, record.spec.eks.as_deref()) else {
        return Vec::new();
    };
    let chart = eks.chart.clone();
    let asked = tokio::task::spawn_blocking(move || {
        let version = helm::version()?;
        Ok::<_, helm::Unusable>((version, helm::show(&chart)?))
    });
    let remedy = "install Helm 3.8 or later, or 4, and put it into PATH";
    match asked.await {
        Ok(Ok((version, shown))) => {
            let what = match &eks.chart.repository {
                Some(repository) => format!("{} of {repository}", eks.chart.name),
                None => eks.chart.name.clone(),
            };
            let chart = match shown {
                Ok(text) => {
                    let version = text.lines().find_map(|line| line.strip_prefix("version: "));
                    Finding::ok("chart", format!("{what} {}", version.unwrap_or_default()))
                }
                Err(why) => Finding::new(
                    "chart",
                    Status::Blocked,
                    format!("{what} cannot be read: {why}"),
                    "check --chart-repository, --chart and --chart-version, and sign in (`helm registry login`)",
                ),
            };
            vec![Finding::ok("helm", version), chart]
        }
        Ok(Err(error)) => vec![Finding::new("helm", Status::Blocked, error.to_string(), remedy)],
        Err(_) => vec![Finding::new(
            "helm",
            Status::Unknown,
            "could not be asked",
            remedy,
        )],
    }
}

/// Looks into a cluster that is there already, before there is a record that says what to look for.
pub async fn look_inside(ground: &Ground, place: &Place, record: &Record, seen: &mut Observed) {
    let Some(seen) = seen.eks.as_deref_mut() else {
        return;
    };
    if let Some(cluster) = &seen.cluster {
        let wanted = objects::wanted(record, place);
        seen.inside = inside::observe(&ground.clients, place, record, &cluster.it, &wanted).await;
    }
}
