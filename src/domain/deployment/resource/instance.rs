//! A host: what is compared of an instance, what can be mended while it runs, and what cannot.

use crate::domain::deployment::change::Difference;
use crate::domain::deployment::name::Host;
use crate::domain::deployment::observed::{Instance, Observed, Tagged, Volume};
use crate::domain::deployment::owner::Owner;
use crate::domain::deployment::record::Record;
use crate::domain::deployment::spec::{Launch, Spec};

/// How often one address may be launched anew, and so how many tokens are looked for.
const LAUNCHES: u32 = 64;

/// What stands at a host's address.
#[derive(Clone, Debug, Default)]
pub struct Standing<'a> {
    /// The instance that is the host now.
    pub current: Option<&'a Tagged<Instance>>,
    /// Instances of this address that are gone, by the launch that made them.
    pub gone: Vec<(u32, &'a Tagged<Instance>)>,
    /// Instances that live besides the current one; none is expected, and `down` removes them.
    pub besides: Vec<&'a Tagged<Instance>>,
}

/// Returns the launch and rung that made an instance of ours; none if its token is not of this life and address.
///
/// Tags can be copied ("launch more like this" copies them all); the token of the launch cannot.
pub fn fingerprint(owner: &Owner, address: &str, rungs: u32, instance: &Instance) -> Option<Launch> {
    (0..LAUNCHES)
        .flat_map(|launch| (0..rungs.max(1)).map(move |rung| Launch { launch, rung }))
        .find(|tried| {
            owner.generation.client_token(address, tried.launch, tried.rung) == instance.client_token
        })
}

/// Rungs that are looked for: an earlier run may have had a longer ladder.
pub const RUNGS: u32 = 128;

/// Returns what stands at a host's address.
pub fn standing<'a>(record: &Record, host: Host, observed: &'a Observed) -> Standing<'a> {
    let owner = record.owner();
    let address = host.address("host");
    let mut standing = Standing::default();
    let mut living = Vec::new();
    for instance in &observed.instances {
        if !owner.owns(&instance.tags, &address) {
            continue;
        }
        let Some(made) = fingerprint(&owner, &address, RUNGS, &instance.it) else {
            continue;
        };
        if instance.it.is_gone() {
            standing.gone.push((made.launch, instance));
        } else {
            living.push((made.launch, instance));
        }
    }
    // The latest launch is the host; the order of the rest does not matter.
    living.sort_by_key(|(launch, _)| std::cmp::Reverse(*launch));
    let mut living = living.into_iter().map(|(_, instance)| instance);
    standing.current = living.next();
    standing.besides = living.collect();
    standing
}

/// Returns the volume at an instance's root.
pub fn root_volume<'a>(instance: &Instance, observed: &'a Observed) -> Option<&'a Volume> {
    let id = instance.root_volume.as_ref()?;
    observed
        .volumes
        .iter()
        .map(|volume| &volume.it)
        .find(|volume| volume.id == *id)
}

/// What is to be done about an instance that differs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// The metadata service.
    pub metadata: Vec<Difference>,
    /// Security groups.
    pub groups: Vec<Difference>,
    /// It is stopped.
    pub stopped: Vec<Difference>,
    /// What no call mends while it runs.
    pub stuck: Vec<Difference>,
    /// Its type: changed while it is stopped.
    pub size: Vec<Difference>,
    /// Its root volume, where that can be made larger while it is in use.
    pub volume: Vec<Difference>,
}

/// Compares an instance with what it should be.
///
/// `group` is our security group, `profile` the ARN of our instance profile.
pub fn diff(
    spec: &Spec,
    instance: &Instance,
    volume: Option<&Volume>,
    group: Option<&str>,
    profile: &str,
) -> Diff {
    let mut diff = Diff::default();
    let mut types = std::iter::once(&spec.instance_type).chain(&spec.fallback_types);
    if !types.any(|name| *name == instance.instance_type) {
        diff.size.extend(Difference::of(
            "InstanceType",
            &instance.instance_type,
            &spec.instance_type,
        ));
    }
    diff.stuck
        .extend(Difference::of("ImageId", &instance.image, &spec.image.id));
    diff.stuck
        .extend(Difference::of("VpcId", &instance.vpc, &spec.vpc));
    diff.stuck.extend(Difference::of(
        "IamInstanceProfile",
        &instance.profile.clone().unwrap_or_else(|| "none".to_owned()),
        &profile.to_owned(),
    ));
    if let Some(volume) = volume {
        let disk = &spec.disk;
        diff.stuck.extend(Difference::of(
            "root volume VolumeType",
            &volume.kind,
            &"gp3".to_owned(),
        ));
        diff.volume
            .extend(Difference::of("root volume Size", &volume.gib, &disk.gib));
        diff.stuck
            .extend(Difference::of("root volume Encrypted", &volume.encrypted, &true));
        if let Some(iops) = volume.iops {
            diff.volume
                .extend(Difference::of("root volume Iops", &iops, &disk.iops));
        }
        if let Some(throughput) = volume.throughput {
            diff.volume.extend(Difference::of(
                "root volume Throughput",
                &throughput,
                &disk.throughput,
            ));
        }
    }
    diff.metadata.extend(Difference::of(
        "MetadataOptions.HttpTokens",
        &instance.http_tokens,
        &"required".to_owned(),
    ));
    diff.metadata.extend(Difference::of(
        "MetadataOptions.HttpPutResponseHopLimit",
        &instance.hop_limit,
        &HOP_LIMIT,
    ));
    diff.metadata.extend(Difference::of(
        "MetadataOptions.HttpEndpoint",
        &instance.metadata_enabled,
        &true,
    ));
    let should: Vec<&str> = group.into_iter().collect();
    let is: Vec<&str> = instance.security_groups.iter().map(String::as_str).collect();
    if is != should {
        diff.groups.push(Difference::new(
            "SecurityGroups",
            is.join(" "),
            group.unwrap_or("a new one"),
        ));
    }
    if matches!(instance.state.as_str(), "stopped" | "stopping") {
        diff.stopped
            .push(Difference::new("State", &instance.state, "running"));
    }
    diff
}

/// Network hops that the metadata service answers over: two, because jobs run in containers
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html>).
pub const HOP_LIMIT: i32 = 2;
