//! What is wanted, compared with what there is: everything that is known before the first change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::calls::{Ground, unreadable};
use super::select::Meant;
use super::size::{Size, Sizing};
use super::specify::{PLATFORM, Site, specify};
use crate::aws::error::CallError;
use crate::aws::observe::{self, Caller};
use crate::aws::parameter;
use crate::aws::preflight::{self as read, Network};
use crate::cli::outcome::{Exit, Failure};
use crate::domain::deployment::name::{Host, Name, Place};
use crate::domain::deployment::observed::Observed;
use crate::domain::deployment::operation::Operation;
use crate::domain::deployment::owner::Generation;
use crate::domain::deployment::preflight::{self, Facts, Finding, ImageFact, Need, Status, SubnetFact};
use crate::domain::deployment::record::{LARGEST, Lease, Phase, Record, SCHEMA};
use crate::domain::deployment::resource::instance;
use crate::domain::deployment::secret::Secret;
use crate::domain::deployment::spec::{Image, SecretRef, Spec, Subnet, Token};
use crate::domain::deployment::up::{Ascent, Given, Wanted, forbidden, up};
use crate::domain::deployment::user_data;
use crate::domain::settings::{Settings, Ttl};
use crate::platform::{self, Verdict};

/// Canonical's parameter with the image of Ubuntu 24.04
/// (<https://documentation.ubuntu.com/aws/aws-how-to/instances/find-ubuntu-images/>).
pub const IMAGE_PARAMETER: &str =
    "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id";

/// Subnets that are tried at most.
const SUBNETS: usize = 6;

/// A deployment that is wanted.
#[derive(Clone, Debug)]
pub struct Want {
    /// Its name and what was said of it.
    pub meant: Meant,
    /// The question that its size answers.
    pub sizing: Arc<Sizing>,
    /// Where the token will be; none: as it was.
    pub token: Option<Token>,
    /// The token, where it was given.
    pub secret: Option<Secret>,
    /// Certificates that hosts trust.
    pub ca: Option<String>,
    /// A lease that exists is made anew.
    pub renew: bool,
    /// What a plan says that it shall be; goes before everything else.
    pub spec: Option<Spec>,
    /// Whether `up` waits until hosts are online.
    pub wait: bool,
    /// Whether this only shows what would change.
    pub preview: bool,
}

/// What is known before the first change.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The deployment.
    pub name: Name,
    /// Where.
    pub place: Place,
    /// The record as it will be.
    pub record: Record,
    /// The version of the record that exists.
    pub version: Option<i64>,
    /// The steps.
    pub ascent: Ascent,
    /// What must hold.
    pub findings: Vec<Finding>,
    /// The token, where it was given.
    pub secret: Option<Secret>,
    /// What was seen.
    pub observed: Observed,
    /// Whether the deployment shall be another than its record says, besides launches.
    pub changed: bool,
    /// What somebody should know.
    pub notes: Vec<String>,
}

/// What is read once for all deployments of an account and region.
#[derive(Debug, Default)]
struct Shared {
    networks: BTreeMap<Network, Result<Vec<SubnetFact>, CallError>>,
    images: BTreeMap<String, Result<Option<ImageFact>, CallError>>,
    secrets: Vec<(SecretRef, Result<bool, CallError>)>,
    /// What platforms say of tokens that are new to them, by address and token.
    verdicts: Vec<(String, Secret, Verdict)>,
}

/// Returns who calls, with the parameters of the deployments.
async fn first(
    ground: &Ground,
    names: &[Name],
    others: &[String],
) -> Result<(Caller, observe::Parameters), CallError> {
    tokio::try_join!(
        observe::caller(&ground.clients),
        observe::parameters(&ground.clients, names, others),
    )
}

/// Whether anything was said that changes the size.
fn says_size(settings: &Settings) -> bool {
    settings.workload.is_some()
        || !settings.set.is_empty()
        || !settings.families.is_empty()
        || settings.strict_minimums.is_some()
        || settings.instance_type.is_some()
        || settings.count.is_some()
        || settings.concurrency.is_some()
        || settings.disk_gib.is_some()
}

fn network(settings: &Settings, base: Option<&Record>) -> Option<Network> {
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

fn image_parameter(settings: &Settings) -> String {
    settings
        .ami_parameter
        .clone()
        .unwrap_or_else(|| IMAGE_PARAMETER.to_owned())
}

/// Returns the identity of the image that is meant; none where the record's stays.
fn image_of(settings: &Settings, base: Option<&Record>, parameters: &observe::Parameters) -> Option<Image> {
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

/// Prepares deployments of one account and region.
///
/// # Errors
///
/// What is common to all of them cannot be read; what concerns one is in its own result.
pub async fn prepare(
    ground: &Ground,
    wants: Vec<Want>,
    now: Timestamp,
) -> Result<(Caller, Vec<(Name, Result<Prepared, Failure>)>), Failure> {
    let names: Vec<Name> = wants.iter().map(|want| want.meant.name.clone()).collect();
    let image_parameters: BTreeSet<String> = wants
        .iter()
        .filter(|want| want.meant.settings.ami.is_none() && want.spec.is_none())
        .map(|want| image_parameter(&want.meant.settings))
        .collect();
    let image_parameters: Vec<String> = image_parameters.into_iter().collect();
    let unread = |error| unreadable(&format!("the account in {}", ground.region), error, "up");
    let (caller, parameters) = first(ground, &names, &image_parameters).await.map_err(unread)?;
    let place = ground.place(&caller);

    let records: Vec<Option<Record>> = names
        .iter()
        .map(|name| Record::read(name, &parameters.get(&name.record())?.value).ok())
        .collect();
    let given: Vec<String> = wants
        .iter()
        .filter(|want| want.secret.is_some())
        .map(|want| want.meant.name.token())
        .filter(|name| parameters.contains_key(name))
        .collect();
    let stored = async { Ok(parameter::read(&ground.clients, &given, true).await) };
    let ((observed, shared), sizes, stored) = tokio::try_join!(
        async {
            tokio::try_join!(
                async {
                    observe::observe(&ground.clients, &place, &names, parameters.clone())
                        .await
                        .map_err(unread)
                },
                async { Ok(common(ground, &wants, &records, &parameters).await) },
            )
        },
        sizes(&wants, &records),
        stored,
    )?;

    let mut observed = observed;
    let mut prepared = Vec::new();
    for (((want, record), name), size) in wants.into_iter().zip(records).zip(&names).zip(sizes) {
        let seen = observed.remove(name).unwrap_or_default();
        let one = size.and_then(|size| {
            one(
                ground,
                &place,
                &want,
                record.as_ref(),
                seen,
                size,
                &shared,
                &parameters,
                now,
            )
        });
        prepared.push((want, one));
    }
    tokens(&stored, &mut prepared);
    let findings = preflight(ground, &prepared, &shared).await;
    let mut results = Vec::new();
    for (want, one) in prepared {
        let one = one.map(|mut one| {
            if one.ascent.steps.iter().any(is_launch) {
                one.findings.extend(findings.clone());
            }
            one
        });
        results.push((want.meant.name.clone(), one));
    }
    Ok((caller, results))
}

fn is_launch(step: &crate::domain::deployment::step::Step) -> bool {
    matches!(step.does, Operation::Launch(_))
}

/// Reads networks, images and the user's secrets, each once.
async fn common(
    ground: &Ground,
    wants: &[Want],
    records: &[Option<Record>],
    parameters: &observe::Parameters,
) -> Shared {
    let mut networks = BTreeSet::new();
    let mut images = BTreeSet::new();
    let mut secrets: Vec<SecretRef> = Vec::new();
    for (want, record) in wants.iter().zip(records) {
        if let Some(spec) = &want.spec {
            networks.insert(Network::Subnets(
                spec.subnets.iter().map(|subnet| subnet.id.clone()).collect(),
            ));
            images.insert(spec.image.id.clone());
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

/// Works out the sizes, each question once.
async fn sizes(wants: &[Want], records: &[Option<Record>]) -> Result<Vec<Result<Size, Failure>>, Failure> {
    let mut answered: BTreeMap<String, Size> = BTreeMap::new();
    let mut sizes = Vec::new();
    for (want, record) in wants.iter().zip(records) {
        let sizing = Arc::clone(&want.sizing);
        let base = want.spec.as_ref().or(record.as_ref().map(|record| &record.spec));
        let kept = base.and_then(|spec| {
            let asked_anew = want.spec.is_none() && says_size(&want.meant.settings);
            if asked_anew {
                sizing.remembered(spec)
            } else {
                Some(Size {
                    vcpus: sizing.vcpus(&spec.instance_type),
                    workload: spec.workload.clone(),
                    asked: spec.asked.clone(),
                    instance_type: spec.instance_type.clone(),
                    count: spec.count,
                    concurrency: spec.concurrency,
                    check_interval: spec.check_interval,
                    gib: spec.disk.gib,
                    alarms: spec.alarms,
                })
            }
        });
        let known = kept.or_else(|| answered.get(&sizing.digest).cloned());
        sizes.push(match known {
            Some(size) => Ok(size),
            None => {
                let digest = sizing.digest.clone();
                // It computes; calls go on meanwhile.
                let answer = tokio::task::spawn_blocking(move || sizing.answer()).await;
                let answer = answer.map_err(|error| {
                    Failure::new(Exit::Failed, "the simulation ended unexpectedly").because(error)
                })?;
                if let Ok(size) = &answer {
                    answered.insert(digest, size.clone());
                }
                answer
            }
        });
    }
    Ok(sizes)
}

/// Returns the subnets to try.
fn subnets(
    settings: &Settings,
    network: &Network,
    shared: &Shared,
    region: &str,
) -> Result<(String, Vec<Subnet>), Failure> {
    let refused = |why: String, hint: &str| Failure::new(Exit::Refused, why).hint(hint);
    let facts = match shared.networks.get(network) {
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

/// Works out what the deployment shall be.
fn spec(
    place: &Place,
    want: &Want,
    base: Option<&Record>,
    size: Size,
    shared: &Shared,
    parameters: &observe::Parameters,
    findings: &mut Vec<Finding>,
) -> Result<Spec, Failure> {
    if let Some(spec) = &want.spec {
        return Ok(spec.clone());
    }
    let settings = &want.meant.settings;
    let was = base.map(|base| &base.spec);
    let (vpc, subnets) = match network(settings, base) {
        Some(network) => subnets(settings, &network, shared, &place.region)?,
        None => was
            .map(|was| (was.vpc.clone(), was.subnets.clone()))
            .unwrap_or_default(),
    };
    let image = match image_of(settings, base, parameters) {
        None => was.map_or_else(
            || Image {
                id: String::new(),
                root_device: String::new(),
                parameter: None,
            },
            |was| was.image.clone(),
        ),
        Some(image) if image.id.is_empty() => {
            let name = image.parameter.unwrap_or_default();
            return Err(Failure::new(
                Exit::Refused,
                format!(
                    "the parameter {name}, which names the image, does not exist in {}",
                    place.region
                ),
            )
            .hint("name an image with --ami, or another parameter with --ami-parameter"));
        }
        Some(image) => {
            let root_device = match shared.images.get(&image.id) {
                Some(Ok(Some(fact))) => fact.root_device.clone(),
                Some(Err(error)) => return Err(unreadable("the image", error.clone(), "up")),
                _ => String::new(),
            };
            Image { root_device, ..image }
        }
    };
    for (reference, there) in &shared.secrets {
        let ours = want.token == Some(Token::Theirs(reference.clone()))
            || settings.registry.as_ref() == Some(reference);
        if ours {
            findings.push(secret_finding(reference, there));
        }
    }
    let site = Site { vpc, subnets, image };
    Ok(specify(
        settings,
        was,
        size,
        want.token.clone(),
        want.ca.as_deref(),
        site,
    ))
}

fn secret_finding(reference: &SecretRef, there: &Result<bool, CallError>) -> Finding {
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
fn token_finding(secret: &Secret, url: &str, shared: &Shared) -> Finding {
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

/// Returns the lease, kept as it is unless another is asked for.
fn lease(ttl: Option<Ttl>, base: Option<&Record>, renew: bool, now: Timestamp) -> Option<Lease> {
    let was = base.and_then(|base| base.lease.clone());
    let Some(ttl) = ttl else {
        return match was {
            Some(lease) if renew => Ttl::parse(&lease.ttl).map(|ttl| leased(ttl, now)).or(Some(lease)),
            was => was,
        };
    };
    match was {
        Some(lease) if !renew && lease.ttl == ttl.to_string() => Some(lease),
        _ => Some(leased(ttl, now)),
    }
}

fn leased(ttl: Ttl, now: Timestamp) -> Lease {
    let minutes = SignedDuration::from_mins(i64::from(ttl.minutes()));
    let expires = now.saturating_add(minutes).unwrap_or(now);
    Lease {
        ttl: ttl.to_string(),
        expires_at: rfc3339(expires),
    }
}

/// Returns a time to the second.
pub fn rfc3339(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Prepares one deployment.
#[expect(
    clippy::too_many_arguments,
    reason = "everything that is known, each from elsewhere"
)]
fn one(
    ground: &Ground,
    place: &Place,
    want: &Want,
    base: Option<&Record>,
    observed: Observed,
    size: Size,
    shared: &Shared,
    parameters: &observe::Parameters,
    now: Timestamp,
) -> Result<Prepared, Failure> {
    let name = &want.meant.name;
    let down = format!("dataops-infra down --name {name} --region {}", ground.region);
    let version = match &observed.record {
        Some((Err(unreadable), _)) => {
            return Err(Failure::new(Exit::Refused, unreadable.to_string())
                .hint("a version of dataops-infra that knows the record can go on; nothing was changed"));
        }
        Some((Ok(_), version)) => Some(*version),
        None => None,
    };
    if let Some(why) = base.and_then(forbidden) {
        return Err(Failure::new(Exit::Refused, format!("{name}: {why}")).hint(down));
    }
    let mut findings = Vec::new();
    let spec = spec(place, want, base, size, shared, parameters, &mut findings)?;
    let record = match base {
        Some(base) => Record {
            lease: lease(want.meant.settings.ttl, Some(base), want.renew, now),
            spec,
            ..base.clone()
        },
        None => Record {
            schema: SCHEMA.to_owned(),
            name: name.clone(),
            generation: generation()?,
            made_by: crate::cli::outcome::generated_by().to_owned(),
            created_at: rfc3339(now),
            phase: Phase::Present,
            lease: lease(want.meant.settings.ttl, None, false, now),
            pending: None,
            launches: BTreeMap::new(),
            spec,
        },
    };
    let length = record.text().len();
    if length > LARGEST {
        return Err(Failure::new(
            Exit::BadInput,
            format!("the record of {name} would have {length} characters, {LARGEST} are allowed"),
        )
        .hint("use fewer or shorter tags, addresses and mirrors"));
    }
    let launches = Host::all(record.spec.count)
        .into_iter()
        .any(|host| instance::standing(&record, host, &observed).current.is_none());
    if launches && record.spec.docker.ca_digest.is_some() && want.ca.is_none() {
        return Err(Failure::new(
            Exit::BadInput,
            format!("{name} has a host to launch and trusts certificates that only you have"),
        )
        .hint("add --ca-file FILE"));
    }
    let no_token = record.spec.token == Token::Ours && observed.token.is_none() && want.secret.is_none();
    if no_token && want.preview {
        findings.push(Finding::new(
            "token",
            Status::Warning,
            "no token is given",
            "`up` needs --token-file, --token-env, --token-parameter or --token-secret",
        ));
    } else if no_token {
        return Err(Failure::new(Exit::BadInput, format!("{name} needs the token of a runner")).hint(
            "--token-file FILE (- for standard input), --token-env VARIABLE, --token-parameter NAME or --token-secret NAME",
        ));
    }
    if let Some(secret) = &want.secret {
        findings.push(token_finding(secret, &record.spec.platform_url, shared));
    }
    let scripts = user_data::scripts(&record, place, want.ca.as_deref()).map_err(|error| {
        Failure::new(
            Exit::BadInput,
            format!("{name}: the host's script cannot be made"),
        )
        .because(error)
    })?;
    let wanted = Wanted {
        place,
        record: &record,
        base: base.zip(version),
        token: if want.secret.is_some() {
            Given::Token
        } else {
            Given::Nothing
        },
        user_data: &scripts,
        wait: want.wait,
    };
    let ascent = up(&wanted, &observed);
    let changed = base.is_some_and(|base| base.spec != record.spec);
    Ok(Prepared {
        name: name.clone(),
        place: place.clone(),
        version,
        ascent,
        findings,
        secret: want.secret.clone(),
        observed,
        changed,
        notes: Vec::new(),
        record,
    })
}

/// Compares tokens that were given with those that are stored.
fn tokens(
    stored: &Result<observe::Parameters, CallError>,
    prepared: &mut [(Want, Result<Prepared, Failure>)],
) {
    for (want, one) in prepared.iter_mut() {
        let Ok(ready) = one else { continue };
        let (Some(secret), true) = (&ready.secret, ready.observed.token.is_some()) else {
            continue;
        };
        match stored {
            Err(error) => ready.notes.push(format!(
                "the token given could not be compared with the stored one, which stays ({error})"
            )),
            Ok(stored) => {
                let is = stored
                    .get(&ready.name.token())
                    .map(|parameter| parameter.value.as_str());
                if is != Some(secret.reveal()) {
                    let scripts = user_data::scripts(&ready.record, &ready.place, want.ca.as_deref())
                        .unwrap_or_default();
                    let base = ready.observed.record.as_ref();
                    let base = base.and_then(|(record, version)| Some((record.as_ref().ok()?, *version)));
                    let wanted = Wanted {
                        place: &ready.place,
                        record: &ready.record,
                        base,
                        token: Given::Other,
                        user_data: &scripts,
                        wait: want.wait,
                    };
                    ready.ascent = up(&wanted, &ready.observed);
                }
            }
        }
    }
}

/// Checks what launches need, once for all of them.
async fn preflight(
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

fn generation() -> Result<Generation, Failure> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| {
        Failure::new(Exit::Failed, "the system gives no random numbers").because(error.to_string())
    })?;
    Ok(Generation::from_bytes(bytes))
}
