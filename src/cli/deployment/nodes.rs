//! `upgrade --kubernetes-version`, `upgrade --nodes` and `resize` of a deployment on EKS: decided here, done by the steps of `up`.

use std::sync::Arc;

use super::prepare::Want;
use super::provision;
use super::reach::Reached;
use super::select::Meant;
use super::size::{self, disk};
use super::upgrade::ending;
use super::wants::Group;
use crate::aws::eks::preflight as read;
use crate::cli::outcome::{Context, Ending, Exit, Failure};
use crate::cli::question::{QuestionArgs, TargetArg};
use crate::cli::up::UpArgs;
use crate::cli::upgrade::JobArgs;
use crate::domain::deployment::eks::observed::ObservedEks;
use crate::domain::deployment::eks::spec::Autoscaler;
use crate::domain::deployment::eks::upgrade::{
    Asked, Refusal, findings, is_begun, is_older, target, wanted, wants_release,
};
use crate::domain::deployment::preflight::Finding;
use crate::domain::deployment::spec::Spec;
use crate::domain::deployment::up::Upgrade;
use crate::domain::settings::Settings;

/// Minutes that the runner may take to come back: its image is pulled by a node that is new.
const WAIT_MINUTES: u32 = 30;

/// How it is done.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// How long jobs may take.
    pub jobs: JobArgs,
    /// Whether EKS's findings about the next version are in the way.
    pub ignores_insights: bool,
    /// Whether nothing is asked.
    pub yes: bool,
}

/// Upgrades Kubernetes, or the nodes alone.
///
/// # Errors
///
/// It cannot be, something could not be read, or as `up`.
pub async fn upgrade(
    reached: &Reached,
    asked: Asked<'_>,
    manner: Manner,
    context: &Context,
) -> Result<Ending, Failure> {
    let Some(eks) = reached.record.spec.eks.as_deref() else {
        return Err(Failure::new(
            Exit::Refused,
            format!(
                "{} is on EC2, where there is no Kubernetes; nothing was changed",
                reached.name
            ),
        )
        .hint(
            "hosts: `upgrade --runner-version TAG`, and `resize`; their packages are updated by themselves",
        ));
    };
    let refused = |refusal: Refusal| refused(reached, &refusal);
    let nothing = ObservedEks::default();
    let seen = reached.observed.eks.as_deref().unwrap_or(&nothing);
    let record = &reached.record;
    let version = target(record, eks, seen, asked).map_err(refused)?;
    let is = seen.cluster.as_ref().map_or("", |cluster| &cluster.it.version);
    let goes_up = !eks.adopted && is_older(is, &version);
    let release = wants_release(record, eks, &version, asked);
    let clients = &reached.ground.clients;
    let facts = read::upgrade(clients, record, eks, &version, (goes_up, release))
        .await
        .map_err(|error| super::calls::unreadable("the node groups of the cluster", error, "upgrade"))?;
    let spec = wanted(record, seen, &version, asked, &facts).map_err(refused)?;
    let found = match spec.eks.as_deref() {
        Some(eks) => findings(eks, seen, &version, &facts, manner.ignores_insights),
        None => Vec::new(),
    };
    go(reached, spec, found, manner, context).await
}

fn refused(reached: &Reached, refusal: &Refusal) -> Failure {
    let exit = match refusal {
        Refusal::NoVersion(_) => Exit::BadInput,
        Refusal::NoRelease { .. } | Refusal::NoAddons(_) => Exit::Unknown,
        _ => Exit::Refused,
    };
    Failure::new(exit, format!("{}: {refusal}; nothing was changed", reached.name))
        .hint(refusal.way_out(|command| reached.command(command)))
}

/// Gives nodes another disk.
///
/// # Errors
///
/// It cannot be, or as `up`.
pub async fn resize(
    reached: &Reached,
    said: &Settings,
    jobs: JobArgs,
    yes: bool,
    context: &Context,
) -> Result<Ending, Failure> {
    let name = &reached.name;
    let refused = |what: &str, hint: String| {
        Err(Failure::new(
            Exit::Refused,
            format!("{name} is on EKS, where {what}; nothing was changed"),
        )
        .hint(hint))
    };
    let mut spec = reached.record.spec.clone();
    let Some(eks) = spec.eks.as_deref() else {
        return refused("this is not for", reached.command("status"));
    };
    if eks.autoscaler == Autoscaler::Cluster {
        let hint = "its owner changes the NodePool, or the cluster's own settings".to_owned();
        return refused("the cluster makes its nodes itself", hint);
    }
    if let Some(wanted) = said
        .instance_type
        .as_ref()
        .filter(|wanted| **wanted != spec.instance_type)
    {
        return refused(
            "a node group keeps the types that it was made with",
            format!(
                "make another deployment with --instance-type {wanted} (`dataops-infra up eks --name OTHER`), let it take the \
                 jobs, then `{}`",
                reached.command("down")
            ),
        );
    }
    if let Some(gib) = said.disk_gib
        && gib != spec.disk.gib
    {
        if is_begun(&reached.record) {
            return refused(
                "another change of the nodes is not finished",
                format!("`{}` goes on with it", reached.command("up eks")),
            );
        }
        // Simulated for the disk that was.
        spec.alarms.days_to_full = 0;
        spec.disk = disk(gib, spec.disk.kms_key.clone());
    }
    let manner = Manner {
        jobs,
        ignores_insights: false,
        yes,
    };
    go(reached, spec, Vec::new(), manner, context).await
}

/// Has it done by the steps of `up`.
async fn go(
    reached: &Reached,
    spec: Spec,
    findings: Vec<Finding>,
    manner: Manner,
    context: &Context,
) -> Result<Ending, Failure> {
    let ground = reached.ground.clone();
    let question = QuestionArgs {
        target: Some(TargetArg::Eks),
        ..QuestionArgs::default()
    };
    let settings = Settings {
        name: Some(reached.name.to_string()),
        region: Some(ground.region.clone()),
        ..Settings::default()
    };
    let sizing = size::question(&settings, &question, &ground.region, context)?;
    let want = Want {
        meant: Meant {
            name: reached.name.clone(),
            region: Some(ground.region.clone()),
            profile: ground.profile.clone(),
            settings,
        },
        sizing: Arc::new(sizing),
        token: None,
        secret: None,
        ca: None,
        renew: false,
        spec: Some(spec),
        wait: true,
        preview: false,
        resize: None,
        upgrade: Some(Upgrade {
            ending: ending(manner.jobs),
            force: manner.ignores_insights,
        }),
        findings,
    };
    let args = UpArgs {
        service: Some("eks".to_owned()),
        rest: Vec::new(),
        which: super::args::WhichArgs::default(),
        question,
        deployment: super::args::DeploymentArgs::default(),
        plan: None,
        yes: manner.yes,
        no_wait: false,
        wait_minutes: WAIT_MINUTES,
        renew: false,
        fargate: false,
    };
    let group = Group {
        ground,
        wants: vec![want],
    };
    provision::carry_out(vec![group], None, &args, context).await
}
