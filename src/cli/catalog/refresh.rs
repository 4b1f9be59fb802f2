//! `dataops-infra catalog refresh`.

use crate::cli::outcome::{Context, Outcome};

pub(super) const HELP: &str = "\
Examples:
  dataops-infra catalog refresh
  dataops-infra catalog refresh --region eu-west-2
  dataops-infra catalog refresh --region eu-west-2 --profile billing

Needs ec2:DescribeInstanceTypes, ec2:DescribeInstanceTypeOfferings and
pricing:GetProducts. Writes catalog-REGION.json into $DATAOPS_INFRA_CACHE_DIR,
else $XDG_CACHE_HOME/dataops-infra, else ~/.cache/dataops-infra. Other commands
use the file from then on; delete it to return to the embedded table.";

#[cfg(not(feature = "aws"))]
pub(super) fn run(_context: &Context) -> Outcome {
    use crate::cli::outcome::{Exit, Failure};
    Err(Failure::new(
        Exit::Failed,
        "this build of dataops-infra cannot call AWS; the embedded catalog stays in use",
    )
    .hint("build it with the feature `aws`, which is on by default"))
}

#[cfg(feature = "aws")]
pub(super) use calls::run;

#[cfg(feature = "aws")]
mod calls {
    use std::path::Path;
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use serde_json::json;

    use super::{Context, Outcome};
    use crate::aws::catalog::{ACTIONS, Progress, read};
    use crate::aws::error::CallError;
    use crate::aws::session::{Access, load};
    use crate::cli::catalog::{cache, region};
    use crate::cli::outcome::{Answer, Exit, Failure};
    use crate::domain::catalog::Catalog;
    use crate::render::page::Page;
    use crate::render::spinner::Spinner;

    /// Runs the command.
    pub(in crate::cli::catalog) fn run(context: &Context) -> Outcome {
        let region = region(context)?;
        let path = cache::file(region, |name| std::env::var(name).ok())?;
        cache::prepare(&path)?;
        let catalog = fetch(region, context)?;
        let fetched_at = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let mut document = catalog.document();
        document["fetched_at"] = fetched_at.clone().into();
        cache::write(&path, &format!("{document:#}\n"))?;
        Ok(answer(&catalog, &path, &fetched_at))
    }

    fn fetch(region: &str, context: &Context) -> Result<Catalog, Failure> {
        // The SDK reads AWS_ENDPOINT_URL itself, and lets AWS_ENDPOINT_URL_EC2 go before it; a flag goes before both.
        let from_environment = std::env::var("AWS_ENDPOINT_URL").ok();
        let access = Access {
            region: region.to_owned(),
            profile: context.aws_profile.clone(),
            endpoint_url: context
                .endpoint_url
                .clone()
                .filter(|url| Some(url) != from_environment.as_ref()),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| {
                Failure::new(Exit::Failed, "could not start the runtime for network calls").because(error)
            })?;
        let (spinner, progress) = (
            Spinner::start(context.progress, "asking AWS"),
            Progress::default(),
        );
        let today = cache::today().to_string();
        let reading = runtime.block_on(async {
            let config = load(&access).await;
            let mut reading = std::pin::pin!(read(&config, &today, &progress));
            loop {
                tokio::select! {
                    catalog = &mut reading => break catalog,
                    () = tokio::time::sleep(Duration::from_millis(250)) => spinner.say(format!(
                        "reading {region}: {} instance types, {} prices",
                        progress.types.load(Ordering::Relaxed),
                        progress.prices.load(Ordering::Relaxed)
                    )),
                }
            }
        });
        reading.map_err(|error| failure(error, region))
    }

    fn failure(error: CallError, region: &str) -> Failure {
        let (exit, hint) = match &error {
            CallError::Credentials { .. } => (
                Exit::Unknown,
                "sign in (`aws sso login`), or name a profile: dataops-infra catalog refresh --profile NAME"
                    .to_owned(),
            ),
            CallError::Denied { .. } => (Exit::Unknown, format!("the caller needs {}", ACTIONS.join(", "))),
            CallError::Unreachable { .. } => (
                Exit::Unknown,
                match Catalog::embedded(region) {
                    Err(error) if !error.exists && !error.nearest.is_empty() => {
                        format!(
                            "is the region right? did you mean {}?",
                            error.nearest.join(" or ")
                        )
                    }
                    _ => "check the network, the proxy and --endpoint-url".to_owned(),
                },
            ),
            CallError::Refused { .. } | CallError::Malformed { .. } => (
                Exit::Failed,
                format!("dataops-infra catalog refresh --region {region}"),
            ),
        };
        let message = format!("could not read the catalog of {region} from AWS; the catalog is as it was");
        Failure::new(exit, message).because(error).hint(hint)
    }

    fn answer(catalog: &Catalog, path: &Path, fetched_at: &str) -> Answer {
        let priced = catalog.types.iter().filter(|row| row.price.is_some()).count();
        let services = catalog.services.items();
        let (kept, read): (Vec<_>, Vec<_>) = services
            .iter()
            .partition(|(_, price)| price.date != catalog.date || price.region != catalog.region);
        let names = |items: &[&(&str, &crate::domain::catalog::Price)]| {
            items
                .iter()
                .map(|(item, _)| (*item).to_owned())
                .collect::<Vec<String>>()
        };
        let (kept, read) = (names(&kept), names(&read));
        let mut page = Page::new();
        page.heading(format!("Refreshed the catalog of {}", catalog.region))
            .pairs([
                (
                    "instance types",
                    format!("{}, {priced} with a price", catalog.types.len()),
                ),
                (
                    "other prices read",
                    if read.is_empty() {
                        "none".to_owned()
                    } else {
                        read.join(", ")
                    },
                ),
                (
                    "other prices kept from the embedded table",
                    if kept.is_empty() {
                        "none".to_owned()
                    } else {
                        kept.join(", ")
                    },
                ),
                ("written to", path.display().to_string()),
            ]);
        page.text(format!(
            "Next: dataops-infra catalog show --region {}",
            catalog.region
        ));
        Answer {
            document: json!({
                "schema": "dataops-infra/catalog-refresh/v1",
                "region": catalog.region,
                "fetched_at": fetched_at,
                "path": path.display().to_string(),
                "types": catalog.types.len(),
                "priced": priced,
                "services_read": read,
                "services_kept": kept,
            }),
            page,
            exit: Exit::Done,
        }
    }
}
