//! From what was said, what was before and what is usual to the whole intent.

use super::size::{Size, disk};
use crate::cli::outcome::{Exit, Failure};
use crate::domain::deployment::eks::choose::{ClusterFacts, choose};
use crate::domain::deployment::eks::spec::Eks;
use crate::domain::deployment::name::Name;
use crate::domain::deployment::spec::{Docker, Image, Spec, Subnet, Token};
use crate::domain::deployment::user_data;
use crate::domain::settings::{Packages, Settings};

/// Address of the platform.
pub const PLATFORM: &str = "https://app.dataops.live";
/// Image of the runner (<https://docs.dataops.live/docs/environment-management/runner-installation/>).
const RUNNER_IMAGE: &str = "dataopslive/dataops-runner";
/// Channel of the runner's image.
const CHANNEL: &str = "latest";
/// Days that logs are kept.
const RETENTION_DAYS: u32 = 30;

/// Where hosts are, and from what image.
#[derive(Clone, Debug)]
pub struct Site {
    /// VPC.
    pub vpc: String,
    /// Subnets.
    pub subnets: Vec<Subnet>,
    /// Image.
    pub image: Image,
}

/// Reads the certificates that hosts shall trust.
///
/// # Errors
///
/// The file cannot be read.
pub fn certificates(settings: &Settings) -> Result<Option<String>, Failure> {
    let Some(path) = &settings.docker.ca_file else {
        return Ok(None);
    };
    let text = std::fs::read_to_string(path);
    text.map(Some).map_err(|error| {
        Failure::new(Exit::BadInput, format!("cannot read {}", path.display())).because(error)
    })
}

/// Returns the image of nodes: EKS chooses one for its version of Kubernetes, whose root volume has this name.
pub fn node_image() -> Image {
    Image {
        id: String::new(),
        root_device: "/dev/xvda".to_owned(),
        parameter: None,
    }
}

/// Returns what the cluster and what is in it shall be; none for hosts of EC2.
///
/// # Errors
///
/// Something must be said, or cannot be changed.
pub fn cluster(
    name: &Name,
    settings: &Settings,
    was: Option<&Spec>,
    size: &Size,
    facts: &ClusterFacts,
) -> Result<Option<Eks>, Failure> {
    let Some(nodes) = &size.nodes else {
        return Ok(None);
    };
    let was = was.and_then(|was| was.eks.as_deref());
    choose(name, &settings.eks, was, nodes, facts)
        .map(Some)
        .map_err(|why| {
            let exit = if why.is_unknown() {
                Exit::Unknown
            } else {
                Exit::BadInput
            };
            Failure::new(exit, format!("{name}: {why}")).hint(why.way_out())
        })
}

/// Returns the intent: what was said goes before what was, and that before what is usual.
pub fn specify(
    settings: &Settings,
    was: Option<&Spec>,
    size: Size,
    token: Option<Token>,
    ca: Option<&str>,
    site: Site,
    eks: Option<Eks>,
) -> Spec {
    let docker = Docker {
        distribution: settings
            .docker
            .packages
            .map_or(was.is_some_and(|was| was.docker.distribution), |packages| {
                packages == Packages::Distribution
            }),
        mirror: settings
            .docker
            .mirror
            .clone()
            .or_else(|| was.and_then(|was| was.docker.mirror.clone())),
        registry_mirrors: either(
            &settings.docker.registry_mirrors,
            was.map(|was| was.docker.registry_mirrors.as_slice()),
        ),
        proxy: settings
            .docker
            .proxy
            .clone()
            .or_else(|| was.and_then(|was| was.docker.proxy.clone())),
        ca_digest: ca
            .map(user_data::digest)
            .or_else(|| was.and_then(|was| was.docker.ca_digest.clone())),
    };
    let mut tags = was.map(|was| was.tags.clone()).unwrap_or_default();
    tags.extend(settings.tags.clone());
    // Who names a topic of theirs gives up ours, and the other way round.
    let topic = match (&settings.topic, settings.notify.is_empty()) {
        (Some(topic), _) => Some(topic.clone()),
        (None, false) => None,
        (None, true) => was.and_then(|was| was.topic.clone()),
    };
    let kms_key = settings
        .kms_key
        .clone()
        .or_else(|| was.and_then(|was| was.disk.kms_key.clone()));
    let text = |said: &Option<String>, was: Option<&String>, usual: &str| {
        said.clone()
            .or_else(|| was.cloned())
            .unwrap_or_else(|| usual.to_owned())
    };
    Spec {
        workload: size.workload,
        asked: size.asked,
        instance_type: size.instance_type,
        fallback_types: either(
            &settings.fallback_types,
            was.map(|was| was.fallback_types.as_slice()),
        ),
        count: size.count,
        concurrency: size.concurrency,
        check_interval: size.check_interval,
        disk: disk(size.gib, kms_key),
        image: site.image,
        vpc: site.vpc,
        subnets: site.subnets,
        public_address: settings
            .public_address
            .or_else(|| was.and_then(|was| was.public_address)),
        token: token
            .or_else(|| was.map(|was| was.token.clone()))
            .unwrap_or(Token::Ours),
        registry: settings
            .registry
            .clone()
            .or_else(|| was.and_then(|was| was.registry.clone())),
        platform_url: text(&settings.platform_url, was.map(|was| &was.platform_url), PLATFORM)
            .trim_end_matches('/')
            .to_owned(),
        runner_image: text(
            &settings.runner_image,
            was.map(|was| &was.runner_image),
            RUNNER_IMAGE,
        ),
        channel: text(&settings.channel, was.map(|was| &was.channel), CHANNEL),
        docker,
        notify: if topic.is_some() {
            Vec::new()
        } else {
            either(&settings.notify, was.map(|was| was.notify.as_slice()))
        },
        topic,
        termination_protection: settings
            .termination_protection
            .unwrap_or_else(|| was.is_some_and(|was| was.termination_protection)),
        log_retention_days: settings
            .log_retention_days
            .or_else(|| was.map(|was| was.log_retention_days))
            .unwrap_or(RETENTION_DAYS),
        tags,
        alarms: size.alarms,
        eks: eks.map(Box::new),
    }
}

fn either(said: &[String], was: Option<&[String]>) -> Vec<String> {
    if said.is_empty() {
        was.map(<[String]>::to_vec).unwrap_or_default()
    } else {
        said.to_vec()
    }
}
