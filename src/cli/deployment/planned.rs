//! A plan as a file: what `plan --live --out` writes, and `up --plan` applies exactly or not at all.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::calls::ground;
use super::prepare::{Prepared, Want};
use super::select::Meant;
use super::size;
use super::specify::certificates;
use super::token::token;
use super::wants::Group;
use crate::cli::outcome::{Context, Exit, Failure};
use crate::cli::up::UpArgs;
use crate::domain::deployment::name::Name;
use crate::domain::deployment::spec::{Spec, Token};
use crate::domain::settings::Settings;

/// The part of a plan that is about an account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Live {
    /// The deployment.
    pub name: Name,
    /// The account it was planned for.
    pub account: String,
    /// Its region.
    pub region: String,
    /// Version of the record that was seen; none: there was none.
    pub record_version: Option<i64>,
    /// Generation of that record.
    pub generation: Option<String>,
    /// Everything that it shall be.
    pub spec: Spec,
    /// Time to live of the lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
    /// The steps as they were shown.
    pub steps: Value,
}

impl Live {
    /// Sets down what was prepared.
    pub fn new(prepared: &Prepared) -> Self {
        Self {
            name: prepared.name.clone(),
            account: prepared.place.account.clone(),
            region: prepared.place.region.clone(),
            record_version: prepared.version,
            generation: prepared
                .version
                .map(|_| prepared.record.generation.as_str().to_owned()),
            spec: prepared.record.spec.clone(),
            ttl: prepared.record.lease.as_ref().map(|lease| lease.ttl.clone()),
            steps: steps(prepared),
        }
    }

    /// Refuses what has changed since the plan was made.
    ///
    /// # Errors
    ///
    /// The account, the record or the steps are others now.
    pub fn check(&self, now: &Prepared) -> Result<(), Failure> {
        let mut changes = Vec::new();
        if now.place.account != self.account {
            changes.push(format!(
                "it was made for account {}, and the caller is in {}",
                self.account, now.place.account
            ));
        }
        if now.version != self.record_version {
            changes.push(format!(
                "the record is {} instead of {}",
                version(now.version),
                version(self.record_version)
            ));
        }
        let is = steps(now);
        if changes.is_empty() && is != self.steps {
            let list = |value: &Value| -> Vec<String> {
                value
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|step| {
                        format!(
                            "{} {}",
                            step["action"].as_str().unwrap_or_default(),
                            step["address"].as_str().unwrap_or_default()
                        )
                    })
                    .collect()
            };
            let (was, is) = (list(&self.steps), list(&is));
            let more: Vec<&String> = is.iter().filter(|step| !was.contains(step)).collect();
            let fewer: Vec<&String> = was.iter().filter(|step| !is.contains(step)).collect();
            let names = |steps: &[&String]| {
                steps
                    .iter()
                    .map(|step| step.as_str())
                    .collect::<Vec<_>>()
                    .join(", ")
            };
            changes.push(match (more.is_empty(), fewer.is_empty()) {
                (true, true) => "the same steps would change other things".to_owned(),
                (true, false) => format!("no longer to do: {}", names(&fewer)),
                (false, true) => format!("to do besides: {}", names(&more)),
                (false, false) => format!("to do besides: {}; no longer: {}", names(&more), names(&fewer)),
            });
        }
        if changes.is_empty() {
            return Ok(());
        }
        Err(Failure::new(
            Exit::Refused,
            format!(
                "the plan is stale; nothing was changed\n  {}",
                changes.join("\n  ")
            ),
        )
        .hint("make it anew with dataops-infra plan --live --out FILE"))
    }
}

fn version(version: Option<i64>) -> String {
    version.map_or_else(
        || "not there".to_owned(),
        |version| format!("at version {version}"),
    )
}

fn steps(prepared: &Prepared) -> Value {
    // Waiting changes nothing, and `up` may be told not to.
    let steps: Vec<_> = prepared
        .ascent
        .steps
        .iter()
        .filter(|step| step.action != crate::domain::deployment::step::Action::Wait)
        .map(|step| {
            let mut value = serde_json::json!(step);
            if let Some(after) = value["after"].as_array_mut() {
                after.retain(|address| {
                    !address.as_str().is_some_and(|address| {
                        address.starts_with("online") || address.starts_with("running")
                    })
                });
            }
            value
        })
        .collect();
    steps.into()
}

/// Reads a plan.
///
/// # Errors
///
/// The file cannot be read, or holds no plan of an account.
pub async fn read(
    path: &Path,
    args: &UpArgs,
    wait: bool,
    context: &Context,
) -> Result<(Group, Live), Failure> {
    let shown = path.display();
    let bytes = std::fs::read(path)
        .map_err(|error| Failure::new(Exit::BadInput, format!("cannot read {shown}")).because(error))?;
    let document: Value = serde_json::from_slice(&bytes)
        .map_err(|error| Failure::new(Exit::BadInput, format!("{shown} is no JSON")).because(error))?;
    if document["schema"] != crate::domain::plan::document::SCHEMA {
        return Err(Failure::new(
            Exit::BadInput,
            format!("{shown} is no plan: expected the schema dataops-infra/plan/v1"),
        )
        .hint("dataops-infra plan --live --name NAME --out plan.json"));
    }
    if document["live"].is_null() {
        return Err(Failure::new(
            Exit::BadInput,
            format!("{shown} was made without looking at an account"),
        )
        .hint("dataops-infra plan --live --name NAME --out plan.json"));
    }
    let live: Live = serde_json::from_value(document["live"].clone()).map_err(|error| {
        Failure::new(Exit::BadInput, format!("{shown}: `live` cannot be read")).because(error)
    })?;
    let flags = args.deployment.settings(&args.which, &args.question, context)?;
    if let Some(region) = &context.region_flag
        && *region != live.region
    {
        return Err(Failure::new(
            Exit::BadInput,
            format!("the plan is for {}, --region says {region}", live.region),
        ));
    }
    let stdin = args
        .deployment
        .token_file
        .as_ref()
        .is_some_and(|file| file.as_os_str() == "-");
    let (_, secret) = token(&flags, stdin)?;
    let settings = Settings {
        name: Some(live.name.to_string()),
        region: Some(live.region.clone()),
        instance_type: Some(live.spec.instance_type.clone()),
        ttl: live.ttl.as_deref().and_then(crate::domain::settings::Ttl::parse),
        ..Settings::default()
    };
    let ca = certificates(&flags)?;
    let sizing = size::question(&settings, &args.question, &live.region, context)?;
    let profile = context.aws_profile.clone();
    let ground = ground(Some(&live.region), profile.as_deref(), context).await?;
    let want = Want {
        meant: Meant {
            name: live.name.clone(),
            region: Some(live.region.clone()),
            profile,
            settings,
        },
        sizing: Arc::new(sizing),
        token: Some(live.spec.token.clone()).filter(|token| matches!(token, Token::Theirs(_))),
        secret,
        ca,
        renew: args.renew,
        spec: Some(live.spec.clone()),
        wait,
        resize: None,
        upgrade: None,
        findings: Vec::new(),
        preview: false,
    };
    Ok((
        Group {
            ground,
            wants: vec![want],
        },
        live,
    ))
}
