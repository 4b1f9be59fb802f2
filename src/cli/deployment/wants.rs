//! From what was typed to what is wanted, and where: shared by `up` and `plan --live`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::args::{DeploymentArgs, WhichArgs};
use super::calls::{Ground, ground};
use super::prepare::Want;
use super::select::{Meant, select};
use super::size;
use super::specify::certificates;
use super::token::token;
use crate::cli::outcome::{Context, Exit, Failure};
use crate::cli::question::QuestionArgs;

/// The deployments of one account and region.
#[derive(Clone, Debug)]
pub struct Group {
    /// How to call.
    pub ground: Ground,
    /// What is wanted there.
    pub wants: Vec<Want>,
}

/// Puts deployments together that share AWS profile and region.
///
/// # Errors
///
/// No region is named for one of them.
pub async fn grounds(meant: Vec<Meant>, context: &Context) -> Result<Vec<(Ground, Vec<Meant>)>, Failure> {
    let mut groups: BTreeMap<(Option<String>, Option<String>), Vec<Meant>> = BTreeMap::new();
    for one in meant {
        groups
            .entry((one.profile.clone(), one.region.clone()))
            .or_default()
            .push(one);
    }
    let mut grounds = Vec::new();
    for ((profile, region), meant) in groups {
        let ground = ground(region.as_deref(), profile.as_deref(), context).await?;
        grounds.push((ground, meant));
    }
    Ok(grounds)
}

/// What is to be done with deployments.
#[derive(Clone, Copy, Debug, Default)]
pub struct How {
    /// Wait until hosts are online.
    pub wait: bool,
    /// Begin leases anew.
    pub renew: bool,
    /// Only show what would change.
    pub preview: bool,
}

/// Returns what is wanted, by account and region.
///
/// # Errors
///
/// An option, the file, a workload or a token is wrong.
pub async fn groups(
    which: &WhichArgs,
    question: &QuestionArgs,
    args: &DeploymentArgs,
    how: How,
    context: &Context,
    command: &str,
) -> Result<Vec<Group>, Failure> {
    let flags = args.settings(which, question, context)?;
    let meant = select(which, &flags, context, command)?;
    let stdin = args
        .token_file
        .as_ref()
        .is_some_and(|file| file.as_os_str() == "-");
    if stdin && meant.len() > 1 {
        return Err(Failure::new(
            Exit::BadInput,
            "standard input holds one token, and several deployments are meant",
        )
        .hint("name the token of each in the file: token: {file: …}"));
    }
    let mut groups = Vec::new();
    let mut sizings: BTreeMap<String, Arc<size::Sizing>> = BTreeMap::new();
    for (ground, meant) in grounds(meant, context).await? {
        let mut wants = Vec::new();
        for meant in meant {
            let settings = &meant.settings;
            // Reading catalog and workload once is enough for deployments that ask the same.
            let key = format!(
                "{} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
                ground.region,
                settings.target,
                settings.eks.min_nodes,
                settings.eks.max_nodes,
                settings.eks.autoscaler,
                settings.workload,
                settings.set,
                settings.families,
                settings.strict_minimums,
                settings.instance_type,
                settings.count,
                settings.concurrency,
                settings.disk_gib
            );
            let sizing = match sizings.get(&key) {
                Some(sizing) => Arc::clone(sizing),
                None => {
                    let sizing = Arc::new(size::question(settings, question, &ground.region, context)?);
                    sizings.insert(key, Arc::clone(&sizing));
                    sizing
                }
            };
            let (token, secret) = token(settings, stdin)?;
            let said = settings.token.is_some() || secret.is_some();
            let ca = certificates(settings)?;
            wants.push(Want {
                sizing,
                token: said.then_some(token),
                secret,
                ca,
                renew: how.renew,
                spec: None,
                wait: how.wait,
                preview: how.preview,
                resize: None,
                upgrade: None,
                findings: Vec::new(),
                meant,
            });
        }
        groups.push(Group { ground, wants });
    }
    Ok(groups)
}
