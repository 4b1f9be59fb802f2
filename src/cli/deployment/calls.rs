//! How AWS is reached for a deployment, and what its errors mean for the user.

use std::collections::BTreeMap;
use std::future::Future;

use crate::aws::clients::Clients;
use crate::aws::error::CallError;
use crate::aws::observe::{self, Caller};
use crate::aws::session::{self, Access};
use crate::cli::outcome::{Context, Exit, Failure};
use crate::domain::deployment::name::{Name, Place};
use crate::domain::deployment::observed::Observed;

/// An account and region, and how to call there.
#[derive(Clone, Debug)]
pub struct Ground {
    /// Clients.
    pub clients: Clients,
    /// Region.
    pub region: String,
    /// AWS profile, for commands to try next.
    pub profile: Option<String>,
}

impl Ground {
    /// Returns the place, once it is known who calls.
    pub fn place(&self, caller: &Caller) -> Place {
        Place {
            account: caller.account.clone(),
            region: self.region.clone(),
        }
    }
}

/// Sets up the calls of a region with a profile; none of the region: what AWS' own files say.
///
/// # Errors
///
/// No region is named anywhere.
pub async fn ground(
    region: Option<&str>,
    profile: Option<&str>,
    context: &Context,
) -> Result<Ground, Failure> {
    let region = match region {
        Some(region) => region.to_owned(),
        None => session::default_region(profile).await.ok_or_else(|| {
            Failure::new(Exit::BadInput, "no region is named")
                .hint("add --region eu-west-2, or set AWS_REGION or `region` in the AWS profile")
        })?,
    };
    // The SDK reads AWS_ENDPOINT_URL itself, and lets AWS_ENDPOINT_URL_EC2 go before it; a flag goes before both.
    let from_environment = std::env::var("AWS_ENDPOINT_URL").ok();
    let access = Access {
        region: region.clone(),
        profile: profile.map(str::to_owned),
        endpoint_url: context
            .endpoint_url
            .clone()
            .filter(|url| Some(url) != from_environment.as_ref()),
    };
    let config = session::load(&access).await;
    Ok(Ground {
        clients: Clients {
            profile: profile.map(str::to_owned),
            ..Clients::new(&config)
        },
        region,
        profile: profile.map(str::to_owned),
    })
}

/// Reads who calls, and what there is of deployments; `command` is whose policy allows that.
///
/// # Errors
///
/// Something cannot be read.
pub async fn seen(
    ground: &Ground,
    names: &[Name],
    command: &str,
) -> Result<(Place, BTreeMap<Name, Observed>), Failure> {
    let unread = |error| unreadable(&format!("the account in {}", ground.region), error, command);
    let (caller, parameters) = tokio::try_join!(
        observe::caller(&ground.clients),
        observe::parameters(&ground.clients, names, &[]),
    )
    .map_err(unread)?;
    let place = ground.place(&caller);
    let seen = observe::observe(&ground.clients, &place, names, parameters)
        .await
        .map_err(unread)?;
    Ok((place, seen))
}

/// Runs something that calls AWS.
///
/// # Errors
///
/// Its own, or there is no runtime.
pub fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::new(Exit::Failed, "could not start the runtime for network calls").because(error)
        })?
        .block_on(work)
}

/// Returns what a failed reading means: it could not be checked, or AWS refused.
pub fn unreadable(what: &str, error: CallError, command: &str) -> Failure {
    let (exit, hint) = match &error {
        CallError::Credentials { .. } => (
            Exit::Unknown,
            "sign in (`aws sso login`), or name a profile with --profile NAME".to_owned(),
        ),
        CallError::Denied { .. } => (
            Exit::Unknown,
            format!("the caller needs what `dataops-infra export iam-policy --for {command}` prints"),
        ),
        CallError::Unreachable { .. } => (
            Exit::Unknown,
            "check the region, the network, the proxy and --endpoint-url; then run the command again"
                .to_owned(),
        ),
        CallError::Refused { .. } | CallError::Malformed { .. } => {
            (Exit::Failed, "run the command again".to_owned())
        }
    };
    Failure::new(exit, format!("could not read {what}"))
        .because(error)
        .hint(hint)
}
