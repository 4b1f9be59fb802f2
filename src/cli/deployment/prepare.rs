//! What is wanted, compared with what there is: everything that is known before the first change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::calls::{Ground, unreadable};
use super::eks;
use super::select::Meant;
use super::shared::{Shared, common, is_launch, launches, secret_finding, token_finding};
use super::site::{image_of, image_parameter, network, subnets};
use super::size::{Size, Sizing};
use super::specify::{Site, specify};
use crate::aws::error::CallError;
use crate::aws::observe::{self, Caller};
use crate::aws::parameter;
use crate::cli::outcome::{Exit, Failure};
use crate::domain::deployment::name::{Host, Name, Place};
use crate::domain::deployment::observed::Observed;
use crate::domain::deployment::owner::Generation;
use crate::domain::deployment::preflight::{Finding, Status};
use crate::domain::deployment::record::{LARGEST, Lease, Phase, Record, SCHEMA};
use crate::domain::deployment::resource::instance;
use crate::domain::deployment::secret::Secret;
use crate::domain::deployment::spec::{Image, Spec, Token};
use crate::domain::deployment::up::{Ascent, Given, Resize, Upgrade, Wanted, forbidden, up};
use crate::domain::deployment::user_data;
use crate::domain::settings::{Settings, Target, Ttl};

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
    /// Whether hosts are resized.
    pub resize: Option<Resize>,
    /// Whether nodes are replaced.
    pub upgrade: Option<Upgrade>,
    /// What was found before.
    pub findings: Vec<Finding>,
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
    /// Whether nodes are replaced.
    pub upgrades: bool,
    /// What somebody should know.
    pub notes: Vec<String>,
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

/// Whether the number of jobs is all that was said of the size.
fn says_only_jobs(settings: &Settings) -> bool {
    let mut others = settings.clone();
    others.concurrency = None;
    settings.concurrency.is_some() && !says_size(&others)
}

/// Whether the limits of the node group are all that was said of the size, but for the number of jobs.
fn says_only_limits(settings: &Settings) -> bool {
    let mut others = settings.clone();
    others.concurrency = None;
    (others.eks.min_nodes, others.eks.max_nodes) = (None, None);
    let said = settings.eks.min_nodes.is_some() || settings.eks.max_nodes.is_some();
    said && !says_size(&others)
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
        || settings.eks.min_nodes.is_some()
        || settings.eks.max_nodes.is_some()
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
        .filter(|want| want.meant.settings.target != Some(Target::Eks))
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
    let clusters: BTreeMap<Name, String> = wants
        .iter()
        .zip(&records)
        .filter_map(|(want, record)| {
            let name = &want.meant.name;
            let cluster = eks::cluster(want, record.as_ref())?;
            Some((name.clone(), cluster))
        })
        .collect();
    let compared: Vec<String> = wants
        .iter()
        // What the cluster holds is compared with what is stored.
        .filter(|want| want.secret.is_some() || clusters.contains_key(&want.meant.name))
        .map(|want| want.meant.name.token())
        .filter(|name| parameters.contains_key(name))
        .collect();
    let stored = async { Ok(parameter::read(&ground.clients, &compared, true).await) };
    let ((observed, shared), sizes, stored) = tokio::try_join!(
        async {
            tokio::try_join!(
                async {
                    observe::observe_with(&ground.clients, &place, &names, parameters.clone(), &clusters)
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
        let mut seen = observed.remove(name).unwrap_or_default();
        let mut notes = Vec::new();
        let given = given(&want, &seen, &stored, &mut notes);
        let token_digest = clusters
            .contains_key(name)
            .then(|| eks::token_digest(&want, stored.as_ref().ok()))
            .flatten();
        let one = async {
            let (size, mut findings) = (size?, want.findings.clone());
            let base = record.as_ref();
            eks::same_target(&want, base)?;
            let (spec, need) = if clusters.contains_key(name) {
                eks::spec(ground, &want, base, &seen, size, &shared, &mut findings).await?
            } else {
                let spec = spec(&place, &want, base, size, &shared, &parameters, &mut findings)?;
                (spec, None)
            };
            let record = record_of(name, &want, base, spec, now)?;
            if base.is_none() {
                eks::look_inside(ground, &place, &record, &mut seen).await;
            }
            let mut one = one(
                ground,
                &place,
                &want,
                base,
                record,
                seen,
                given,
                token_digest.as_deref(),
                &shared,
                findings,
            )?;
            if let Some(need) = need {
                one.findings.extend(need.findings(&one.ascent.steps));
            }
            one.findings
                .extend(eks::tools(&one.record, &one.ascent.steps).await);
            Ok(one)
        }
        .await;
        let one = one.map(|one| Prepared { notes, ..one });
        prepared.push((want, one));
    }
    let findings = launches(ground, &prepared, &shared).await;
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

/// Works out the sizes, each question once.
async fn sizes(wants: &[Want], records: &[Option<Record>]) -> Result<Vec<Result<Size, Failure>>, Failure> {
    let mut answered: BTreeMap<String, Size> = BTreeMap::new();
    let mut sizes = Vec::new();
    for (want, record) in wants.iter().zip(records) {
        let sizing = Arc::clone(&want.sizing);
        let base = want.spec.as_ref().or(record.as_ref().map(|record| &record.spec));
        // Another number of jobs alone asks nothing anew: the host is as it is.
        let only_jobs = says_only_jobs(&want.meant.settings);
        let kept = base.and_then(|spec| {
            if let (true, Some(concurrency)) = (only_jobs, want.meant.settings.concurrency)
                && want.spec.is_none()
            {
                return Some(Size {
                    concurrency,
                    ..sizing.kept(spec)
                });
            }
            // Nor do other limits of a node group alone: its nodes are as they are.
            if want.spec.is_none() && spec.eks.is_some() && says_only_limits(&want.meant.settings) {
                return Some(sizing.within(spec, &want.meant.settings));
            }
            let asked_anew = want.spec.is_none() && says_size(&want.meant.settings);
            if asked_anew {
                sizing.remembered(spec)
            } else {
                Some(sizing.kept(spec))
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
        Some(network) => subnets(settings, &network, &shared.networks, &place.region)?,
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
        None,
    ))
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

/// Compares the token that was given with the one that is stored.
fn given(
    want: &Want,
    observed: &Observed,
    stored: &Result<observe::Parameters, CallError>,
    notes: &mut Vec<String>,
) -> Given {
    let Some(secret) = &want.secret else {
        return Given::Nothing;
    };
    if observed.token.is_none() {
        return Given::Token;
    }
    match stored {
        Err(error) => {
            notes.push(format!(
                "the token given could not be compared with the stored one, which stays ({error})"
            ));
            Given::Token
        }
        Ok(stored) => match stored.get(&want.meant.name.token()) {
            Some(parameter) if parameter.value == secret.reveal() => Given::Token,
            _ => Given::Other,
        },
    }
}

/// Returns the record as it shall be.
fn record_of(
    name: &Name,
    want: &Want,
    base: Option<&Record>,
    spec: Spec,
    now: Timestamp,
) -> Result<Record, Failure> {
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
    Ok(record)
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
    record: Record,
    observed: Observed,
    token: Given,
    token_digest: Option<&str>,
    shared: &Shared,
    mut findings: Vec<Finding>,
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
    let on_eks = record.spec.eks.is_some();
    let launches = !on_eks
        && Host::all(record.spec.count)
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
    let scripts = if on_eks {
        BTreeMap::new()
    } else {
        user_data::scripts(&record, place, want.ca.as_deref()).map_err(|error| {
            Failure::new(
                Exit::BadInput,
                format!("{name}: the host's script cannot be made"),
            )
            .because(error)
        })?
    };
    let wanted = Wanted {
        place,
        record: &record,
        base: base.zip(version),
        token,
        token_digest,
        user_data: &scripts,
        wait: want.wait,
        resize: want.resize,
        upgrade: want.upgrade,
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
        upgrades: want.upgrade.is_some(),
        notes: Vec::new(),
        record,
    })
}

fn generation() -> Result<Generation, Failure> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| {
        Failure::new(Exit::Failed, "the system gives no random numbers").because(error.to_string())
    })?;
    Ok(Generation::from_bytes(bytes))
}
