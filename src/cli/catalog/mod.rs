//! `dataops-infra catalog`: shows the priced instance table, and refreshes it from AWS.
//!
//! `load` is also how other commands get their catalog: the refreshed file of the region if there is one, else the
//! embedded table.

mod cache;
mod refresh;
mod show;

pub use cache::{Notice, load};

use super::outcome::{Context, Exit, Failure, Outcome};

/// Region of a table that nobody named one for: the one whose prices are complete.
const DEFAULT_REGION: &str = crate::domain::catalog::STAND_IN_REGION;

/// Arguments of `catalog`.
#[derive(Debug, clap::Args)]
pub struct CatalogArgs {
    /// What to do with the table.
    #[command(subcommand)]
    pub action: Action,
}

/// The two things to do with the table.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// Show instance types and prices of a region, with the date and source of each price.
    Show(show::ShowArgs),
    /// Read instance types and prices of a region from AWS into the cache directory.
    #[command(after_help = refresh::HELP)]
    Refresh,
}

/// Runs the command.
///
/// # Errors
///
/// Says what failed and what to do next.
pub fn run(args: &CatalogArgs, context: &Context) -> Outcome {
    match &args.action {
        Action::Show(args) => show::run(args, context),
        Action::Refresh => refresh::run(context),
    }
}

/// Returns the region that the user means.
fn region(context: &Context) -> Result<&str, Failure> {
    let region = context.region.as_deref().unwrap_or(DEFAULT_REGION);
    // The name becomes a file name and a host name.
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if region.is_empty() || region.len() > 40 || !region.bytes().all(letters) {
        return Err(
            Failure::new(Exit::BadInput, format!("{region:?} is no name of an AWS region"))
                .hint("dataops-infra catalog show --region eu-west-2"),
        );
    }
    Ok(region)
}
