//! Where hosts go and from which image they start: from what was said to subnets and an image.

use std::collections::{BTreeMap, BTreeSet};

use super::calls::unreadable;
use crate::aws::error::CallError;
use crate::aws::observe;
use crate::aws::preflight::Network;
use crate::cli::outcome::{Exit, Failure};
use crate::domain::deployment::preflight::SubnetFact;
use crate::domain::deployment::record::Record;
use crate::domain::deployment::spec::{Image, Subnet};
use crate::domain::settings::Settings;

/// Canonical's parameter with the image of Ubuntu 24.04
/// (<https://documentation.ubuntu.com/aws/aws-how-to/instances/find-ubuntu-images/>).
pub const IMAGE_PARAMETER: &str =
    "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id";

/// Subnets that are tried at most.
const SUBNETS: usize = 6;

/// Returns the network that is meant; none where the record's stays.
pub fn network(settings: &Settings, base: Option<&Record>) -> Option<Network> {
    if !settings.subnets.is_empty() {
        return Some(Network::Subnets(settings.subnets.clone()));
    }
    if let Some(vpc) = &settings.vpc {
        return Some(Network::Vpc(vpc.clone()));
    }
    match base {
        Some(_) if settings.zones.is_empty() => None,
        Some(base) => Some(Network::Vpc(base.spec.vpc.clone())),
        None => Some(Network::Default),
    }
}

/// Returns the parameter with the image.
pub fn image_parameter(settings: &Settings) -> String {
    settings
        .ami_parameter
        .clone()
        .unwrap_or_else(|| IMAGE_PARAMETER.to_owned())
}

/// Returns the identity of the image that is meant; none where the record's stays.
pub fn image_of(
    settings: &Settings,
    base: Option<&Record>,
    parameters: &observe::Parameters,
) -> Option<Image> {
    if let Some(ami) = &settings.ami {
        return Some(Image {
            id: ami.clone(),
            root_device: String::new(),
            parameter: None,
        });
    }
    // An image that is newer than the one it was made with is no reason to replace a host.
    let same = base.is_some_and(|base| {
        settings.ami_parameter.is_none() || settings.ami_parameter == base.spec.image.parameter
    });
    if same {
        return None;
    }
    let name = image_parameter(settings);
    Some(Image {
        id: parameters
            .get(&name)
            .map(|parameter| parameter.value.clone())
            .unwrap_or_default(),
        root_device: String::new(),
        parameter: Some(name),
    })
}

/// Returns the VPC and the subnets to try.
///
/// # Errors
///
/// There are none that fit, or they could not be read.
pub fn subnets(
    settings: &Settings,
    network: &Network,
    read: &BTreeMap<Network, Result<Vec<SubnetFact>, CallError>>,
    region: &str,
) -> Result<(String, Vec<Subnet>), Failure> {
    let refused = |why: String, hint: &str| Failure::new(Exit::Refused, why).hint(hint);
    let facts = match read.get(network) {
        Some(Ok(facts)) => facts,
        Some(Err(error)) => {
            return Err(unreadable("the subnets", error.clone(), "up"));
        }
        None => return Err(refused("no network was read".to_owned(), "run the command again")),
    };
    let mut chosen: Vec<&SubnetFact> = facts
        .iter()
        .filter(|fact| settings.zones.is_empty() || settings.zones.contains(&fact.subnet.zone))
        .collect();
    match network {
        Network::Default if facts.is_empty() => {
            return Err(refused(
                format!("{region} has no default VPC with default subnets"),
                "name a network: --vpc vpc-… or --subnets subnet-…,subnet-…",
            ));
        }
        Network::Vpc(vpc) if facts.is_empty() => {
            return Err(refused(
                format!("{vpc} does not exist in {region}, or has no subnets"),
                "aws ec2 describe-vpcs lists those that exist",
            ));
        }
        Network::Subnets(ids) => {
            let missing: Vec<&str> = ids
                .iter()
                .filter(|id| facts.iter().all(|fact| fact.subnet.id != **id))
                .map(String::as_str)
                .collect();
            if !missing.is_empty() {
                return Err(refused(
                    format!("{} does not exist in {region}", missing.join(", ")),
                    "aws ec2 describe-subnets lists those that exist",
                ));
            }
            chosen.sort_by_key(|fact| ids.iter().position(|id| *id == fact.subnet.id));
        }
        _ => {}
    }
    let Some(first) = chosen.first() else {
        return Err(refused(
            format!("no subnet is in {}", settings.zones.join(", ")),
            "name other zones, or subnets with --subnets",
        ));
    };
    let vpc = first.vpc.clone();
    if let Some(other) = chosen.iter().find(|fact| fact.vpc != vpc) {
        return Err(refused(
            format!("the subnets are in different VPCs: {vpc} and {}", other.vpc),
            "name subnets of one VPC",
        ));
    }
    // One for each zone first, so that the ladder has as many zones as there are.
    let mut zones = BTreeSet::new();
    let (mut ordered, mut rest): (Vec<Subnet>, Vec<Subnet>) = (Vec::new(), Vec::new());
    for fact in chosen {
        if zones.insert(fact.subnet.zone.clone()) || matches!(network, Network::Subnets(_)) {
            ordered.push(fact.subnet.clone());
        } else {
            rest.push(fact.subnet.clone());
        }
    }
    ordered.extend(rest);
    ordered.truncate(SUBNETS);
    Ok((vpc, ordered))
}
