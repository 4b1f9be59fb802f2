//! What is read once for all deployments of an account and region, and what follows from it before a launch.

use std::collections::{BTreeMap, BTreeSet};

use super::calls::Ground;
use super::prepare::{Prepared, Want};
use super::site::{image_of, network};
use super::specify::PLATFORM;
use crate::aws::error::CallError;
use crate::aws::observe;
use crate::aws::preflight::{self as read, Network};
use crate::cli::outcome::Failure;
use crate::domain::deployment::operation::Operation;
use crate::domain::deployment::preflight::{self, Facts, Finding, ImageFact, Need, Status, SubnetFact};
use crate::domain::deployment::record::Record;
use crate::domain::deployment::secret::Secret;
use crate::domain::deployment::spec::{SecretRef, Token};
use crate::platform::{self, Verdict};

/// What is read once for all deployments of an account and region.
#[derive(Debug, Default)]
pub struct Shared {
    /// Subnets by network.
    pub networks: BTreeMap<Network, Result<Vec<SubnetFact>, CallError>>,
    /// Images by identity.
    pub images: BTreeMap<String, Result<Option<ImageFact>, CallError>>,
    /// Whether secrets and parameters of the user's are there.
    pub secrets: Vec<(SecretRef, Result<bool, CallError>)>,
    /// What platforms say of tokens that are new to them, by address and token.
    pub verdicts: Vec<(String, Secret, Verdict)>,
}

/// Reads networks, images and the user's secrets, each once.
pub async fn common(
    ground: &Ground,
    wants: &[Want],
    records: &[Option<Record>],
    parameters: &observe::Parameters,
) -> Shared {
    let mut networks = BTreeSet::new();
    let mut images = BTreeSet::new();
    let mut secrets: Vec<SecretRef> = Vec::new();
    // Who replaces nodes has looked at everything before.
    let asking = wants
        .iter()
        .zip(records)
        .filter(|(want, _)| want.upgrade.is_none());
    for (want, record) in asking {
        if let Some(spec) = &want.spec {
            networks.insert(Network::Subnets(
                spec.subnets.iter().map(|subnet| subnet.id.clone()).collect(),
            ));
            // EKS chooses the image of its nodes.
            images.extend(Some(spec.image.id.clone()).filter(|id| !id.is_empty()));
            continue;
        }
        let settings = &want.meant.settings;
        networks.extend(network(settings, record.as_ref()));
        images.extend(
            image_of(settings, record.as_ref(), parameters)
                .map(|image| image.id)
                .filter(|id| !id.is_empty()),
        );
        let mut references = Vec::new();
        if let Some(Token::Theirs(reference)) = &want.token {
            references.push(reference.clone());
        }
        references.extend(settings.registry.clone());
        let known = |reference: &SecretRef| {
            record.as_ref().is_some_and(|record| {
                record.spec.registry.as_ref() == Some(reference)
                    || record.spec.token == Token::Theirs(reference.clone())
            })
        };
        for reference in references {
            if !known(&reference) && !secrets.contains(&reference) {
                secrets.push(reference);
            }
        }
    }
    let mut tokens: Vec<(String, Secret)> = Vec::new();
    for want in wants {
        let name = &want.meant.name;
        // A token that is stored has been accepted before, and a registration token cannot be asked about.
        let Some(secret) = &want.secret else { continue };
        let new = !parameters.contains_key(&name.token()) && secret.reveal().starts_with("glrt-");
        let url = want.meant.settings.platform_url.clone();
        let url = url
            .unwrap_or_else(|| PLATFORM.to_owned())
            .trim_end_matches('/')
            .to_owned();
        if new && !tokens.contains(&(url.clone(), secret.clone())) {
            tokens.push((url, secret.clone()));
        }
    }
    let clients = &ground.clients;
    let (networks, images, secrets, verdicts) = tokio::join!(
        futures_util::future::join_all(networks.into_iter().map(|network| async move {
            let subnets = read::subnets(clients, &network).await;
            (network, subnets)
        })),
        futures_util::future::join_all(images.into_iter().map(|id| async move {
            let image = read::image(clients, &id).await;
            (id, image)
        })),
        futures_util::future::join_all(secrets.into_iter().map(|reference| async move {
            let there = read::secret_exists(clients, &reference).await;
            (reference, there)
        })),
        futures_util::future::join_all(tokens.into_iter().map(|(url, secret)| async move {
            let verdict = platform::verify(&url, &secret).await;
            (url, secret, verdict)
        })),
    );
    Shared {
        networks: networks.into_iter().collect(),
        images: images.into_iter().collect(),
        secrets,
        verdicts,
    }
}

/// Says whether a secret of the user's is there.
pub fn secret_finding(reference: &SecretRef, there: &Result<bool, CallError>) -> Finding {
    let (what, name) = match reference {
        SecretRef::Parameter(name) => ("the parameter", name),
        SecretRef::Secret(name) => ("the secret", name),
    };
    let code = "secret";
    match there {
        Ok(true) => Finding::ok(code, format!("{what} {name} exists")),
        Ok(false) => Finding::new(
            code,
            Status::Blocked,
            format!("{what} {name} does not exist in this account and region"),
            "make it, or name another",
        ),
        Err(error) => Finding::new(
            code,
            Status::Unknown,
            format!("{what} {name} could not be looked up: {error}"),
            "make sure that it exists: the host reads it when it starts",
        ),
    }
}

/// Says what kind of token it is, and whether the platform accepts it.
pub fn token_finding(secret: &Secret, url: &str, shared: &Shared) -> Finding {
    let code = "token";
    if !secret.reveal().starts_with("glrt-") {
        return Finding::ok(
            code,
            "a registration token: the host registers a runner with it, tagged with the deployment's name; whether the \
             platform accepts it shows when it does",
        );
    }
    let kind =
        "an authentication token: tags and rights are set on the platform, where the runner was created";
    let verdict = shared
        .verdicts
        .iter()
        .find(|(at, known, _)| at == url && known == secret)
        .map(|(_, _, verdict)| verdict);
    match verdict {
        None => Finding::ok(code, kind),
        Some(Verdict::Accepted) => Finding::ok(code, format!("{kind}; {url} accepts it")),
        Some(Verdict::Rejected(status)) => Finding::new(
            code,
            Status::Blocked,
            format!("{url} rejects it (HTTP {status})"),
            "create a runner on the platform and use its token, which begins with glrt-",
        ),
        Some(Verdict::Unknown(why)) => Finding::new(
            code,
            Status::Unknown,
            format!("{url} could not be asked from here: {why}"),
            "the host will ask when it registers",
        ),
    }
}

/// Whether a step launches a host.
pub fn is_launch(step: &crate::domain::deployment::step::Step) -> bool {
    matches!(step.does, Operation::Launch(_))
}

/// Checks what launches need, once for all of them.
pub async fn launches(
    ground: &Ground,
    prepared: &[(Want, Result<Prepared, Failure>)],
    shared: &Shared,
) -> Vec<Finding> {
    let mut need = Need::default();
    let mut first: Option<(&Prepared, &crate::domain::deployment::operation::Launch)> = None;
    let mut subnet_ids = BTreeSet::new();
    let mut vpcs = BTreeSet::new();
    for (want, one) in prepared {
        let Ok(one) = one else { continue };
        for step in &one.ascent.steps {
            let Operation::Launch(launch) = &step.does else {
                continue;
            };
            let spec = &one.record.spec;
            *need.vcpus.entry(spec.instance_type.clone()).or_default() +=
                want.sizing.vcpus(&spec.instance_type);
            need.gib += spec.disk.gib;
            need.hosts += 1;
            need.types.insert(spec.instance_type.clone());
            need.types.extend(spec.fallback_types.iter().cloned());
            subnet_ids.extend(spec.subnets.iter().map(|subnet| subnet.id.clone()));
            vpcs.insert(spec.vpc.clone());
            if first.is_none() {
                first = Some((one, launch));
            }
        }
    }
    let Some((one, launch)) = first else {
        return Vec::new();
    };
    let clients = &ground.clients;
    let spec = &one.record.spec;
    let routes = async {
        let mut tables = Vec::new();
        for vpc in &vpcs {
            tables.extend(read::routes(clients, vpc).await?);
        }
        Ok::<_, CallError>(tables)
    };
    let (routes, offered, vcpus, gp3, permissions) = tokio::join!(
        routes,
        read::offered(clients, &need.types),
        read::vcpus(clients),
        read::gp3(clients),
        read::permissions(clients, spec, launch),
    );
    let subnets: Vec<SubnetFact> = shared
        .networks
        .values()
        .filter_map(|facts| facts.as_ref().ok())
        .flatten()
        .filter(|fact| subnet_ids.contains(&fact.subnet.id))
        .cloned()
        .collect();
    let facts = Facts {
        subnets,
        routes: routes.ok(),
        offered: offered.ok(),
        vcpus: Some(vcpus),
        gp3: Some(gp3),
        image: match shared.images.get(&spec.image.id) {
            Some(Ok(image)) => image.clone(),
            _ => None,
        },
        permissions,
    };
    let mut findings = preflight::findings(&need, &facts, spec.disk.gib, spec.public_address);
    // A host that is launched anew uses what its record says, which was looked up when it was made.
    if !shared.images.contains_key(&spec.image.id) {
        findings.retain(|finding| finding.code != "image");
    }
    if facts.subnets.is_empty() {
        findings.retain(|finding| !matches!(finding.code, "free-addresses" | "route-out" | "type-offered"));
    }
    findings
}
