//! The account and region: what a launch needs, from the facts of `deployment::preflight`.

use std::collections::BTreeSet;

use super::board::Read;
use super::check::{Check, Remedy, Status};
use super::code::Code;
use crate::domain::deployment::preflight::{
    self, Facts, Finding, ImageFact, Need, RouteTable, SubnetFact, VCPU_QUOTA,
};
use crate::domain::deployment::preflight::{GP3_QUOTA, Status as Preflight};

/// What is looked at where there is no deployment: what the vendor names for production, with its disk
/// (<https://docs.dataops.live/docs/administration/comparing-aws-services-for-hosting-dataops-runners/>).
pub const TYPICAL: (&str, u32, u32) = ("c5.xlarge", 4, 300);

/// What the account is asked about.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Asked {
    /// Types that are launched.
    pub types: BTreeSet<String>,
    /// vCPUs of the largest host; none: not known.
    pub vcpus: Option<u32>,
    /// GiB of the largest disk.
    pub gib: u32,
    /// Whether there are deployments already: then what fails is the next launch, not the first.
    pub running: bool,
    /// Whether hosts get a public address.
    pub public_address: Option<bool>,
    /// Whether all deployments are on EKS, which chooses the image of nodes.
    pub on_eks: bool,
}

/// What the account says.
#[derive(Clone, Debug)]
pub struct Account {
    /// The quota of vCPUs, and those in use.
    pub vcpus: Read<(f64, Option<f64>)>,
    /// The quota of gp3, TiB.
    pub gp3: Read<f64>,
    /// Subnets.
    pub subnets: Read<Vec<SubnetFact>>,
    /// Route tables.
    pub routes: Read<Vec<RouteTable>>,
    /// Types by zone.
    pub offered: Read<BTreeSet<(String, String)>>,
    /// The image.
    pub image: Read<Option<ImageFact>>,
}

/// Makes the checks of an account and region.
pub fn checks(asked: &Asked, account: &Account) -> Vec<Check> {
    vec![
        vcpus(asked, account),
        disk(asked, account),
        network(asked, account),
        offering(asked, account),
        image(asked, account),
        permissions(account),
    ]
}

/// Refusals are noted where they happen (`Board::note`) and win over this.
fn permissions(account: &Account) -> Check {
    let code = Code::AccountPermissions;
    match (&account.subnets, &account.offered, &account.image) {
        (Err(why), Err(_), Err(_)) => Check::unknown(code, format!("nothing could be read: {why}")),
        _ => Check::ok(code, "nothing that was read was refused"),
    }
}

fn vcpus(asked: &Asked, account: &Account) -> Check {
    let code = Code::AccountQuotaVcpus;
    let (limit, used) = match &account.vcpus {
        Ok(quota) => *quota,
        Err(why) => return Check::unknown(code, why.to_string()),
    };
    let needed = f64::from(asked.vcpus.unwrap_or(TYPICAL.1));
    let in_use = used.map_or_else(
        || "how many are in use is not known".to_owned(),
        |used| format!("{used} in use"),
    );
    let evidence = format!("{VCPU_QUOTA} allows {limit} vCPUs, {in_use}; a host has {needed}");
    let free = limit - used.unwrap_or_default();
    let wish = used.unwrap_or_default().max(limit) + needed;
    let remedy = || {
        Remedy::new("ask AWS for more").run(format!(
            "aws service-quotas request-service-quota-increase --service-code ec2 --quota-code {VCPU_QUOTA} \
             --desired-value {wish}"
        ))
    };
    if limit < needed {
        return Check::failed(code, evidence, remedy());
    }
    if free >= needed {
        return Check::ok(code, evidence);
    }
    if asked.running {
        // The host that is lost gives its own back.
        return Check::ok(
            code,
            format!("{evidence}: a lost host can be replaced, a second one beside it not"),
        );
    }
    Check::failed(code, evidence, remedy())
}

fn disk(asked: &Asked, account: &Account) -> Check {
    let code = Code::AccountQuotaDisk;
    let limit = match &account.gp3 {
        Ok(limit) => *limit,
        Err(why) => return Check::unknown(code, why.to_string()),
    };
    let needed = f64::from(asked.gib) / 1024.0;
    let evidence = format!(
        "{GP3_QUOTA} allows {limit} TiB of gp3, a host has {needed:.2}; what is in use is not counted"
    );
    if needed <= limit {
        return Check::ok(code, evidence);
    }
    Check::failed(
        code,
        evidence,
        Remedy::new("ask AWS for more").run(format!(
            "aws service-quotas request-service-quota-increase --service-code ebs --quota-code {GP3_QUOTA} \
             --desired-value {:.0}",
            needed.ceil()
        )),
    )
}

/// Takes over what the preflight of `up` says; what blocks the first launch is a warning where hosts run already.
fn taken(code: Code, asked: &Asked, findings: &[Finding], names: &[&str]) -> Check {
    let ours: Vec<&Finding> = findings
        .iter()
        .filter(|finding| names.contains(&finding.code))
        .collect();
    let rank = |status: Preflight| match status {
        Preflight::Ok => Status::Ok,
        Preflight::Unknown => Status::Unknown,
        Preflight::Warning => Status::Warning,
        Preflight::Blocked if asked.running => Status::Warning,
        Preflight::Blocked => Status::Failed,
    };
    let status = ours
        .iter()
        .map(|finding| rank(finding.status))
        .max()
        .unwrap_or(Status::Unknown);
    let worst: Vec<&&Finding> = ours
        .iter()
        .filter(|finding| rank(finding.status) == status)
        .collect();
    let evidence: Vec<&str> = worst.iter().map(|finding| finding.evidence.as_str()).collect();
    let mut evidence = evidence.join("; ");
    if status == Status::Warning && asked.running {
        evidence.push_str("; running hosts go on, a new one may not come up");
    }
    let check = Check::new(code, status, evidence);
    match worst.iter().find_map(|finding| finding.remedy.clone()) {
        Some(remedy) if status.is_finding() => check.mended_by(Remedy::new(remedy)),
        _ => check,
    }
}

fn facts(account: &Account) -> Facts {
    Facts {
        subnets: account.subnets.clone().unwrap_or_default(),
        routes: account.routes.clone().ok(),
        offered: account.offered.clone().ok(),
        image: account.image.clone().ok().flatten(),
        ..Facts::default()
    }
}

fn findings(asked: &Asked, account: &Account) -> Vec<Finding> {
    let need = Need {
        hosts: 1,
        types: asked.types.clone(),
        ..Need::default()
    };
    preflight::findings(&need, &facts(account), asked.gib, asked.public_address)
}

fn network(asked: &Asked, account: &Account) -> Check {
    let code = Code::AccountNetwork;
    match (&account.subnets, &account.routes) {
        (Err(why), _) | (_, Err(why)) => return Check::unknown(code, why.to_string()),
        (Ok(subnets), _) if subnets.is_empty() => {
            let text = "name subnets that are there with --subnets or --vpc";
            let evidence = "there are no such subnets; without a choice those of the default VPC are meant";
            return Check::warning(code, evidence, Remedy::new(text));
        }
        _ => {}
    }
    taken(
        code,
        asked,
        &findings(asked, account),
        &["free-addresses", "route-out"],
    )
}

fn offering(asked: &Asked, account: &Account) -> Check {
    let code = Code::AccountType;
    if let Err(why) = &account.offered {
        return Check::unknown(code, why.to_string());
    }
    match &account.subnets {
        Err(why) => return Check::unknown(code, why.to_string()),
        Ok(subnets) if subnets.is_empty() => {
            return Check::skipped(code, "without subnets there are no zones to look in");
        }
        Ok(_) => {}
    }
    taken(code, asked, &findings(asked, account), &["type-offered"])
}

fn image(asked: &Asked, account: &Account) -> Check {
    let code = Code::AccountImage;
    if asked.on_eks {
        return Check::skipped(code, "EKS chooses the image of nodes");
    }
    if let Err(why) = &account.image {
        return Check::unknown(code, why.to_string());
    }
    taken(code, asked, &findings(asked, account), &["image"])
}
