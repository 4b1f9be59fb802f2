//! The command line as typed.

use clap::{Parser, Subcommand};

use super::outcome::Format;
use super::{calibrate, catalog, explain, export, plan, simulate, workload};

/// Recommends, provisions, watches and removes DataOps Runner hosts on AWS.
#[derive(Debug, Parser)]
#[command(name = "dataops-infra", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Format of the answer.
    #[arg(long, global = true, value_enum, default_value_t = Format::Table)]
    pub output: Format,
    /// AWS region.
    #[arg(long, global = true)]
    pub region: Option<String>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Recommend a host for a workload.
    Plan(plan::PlanArgs),
    /// Show the queue behind the recommendation.
    Simulate(simulate::SimulateArgs),
    /// Make a profile from real job history.
    Calibrate(calibrate::CalibrateArgs),
    /// Explain why a service is refused.
    Explain(explain::ExplainArgs),
    /// Show or refresh the priced instance table.
    Catalog(catalog::CatalogArgs),
    /// List, show and check workload profiles.
    Workload(workload::WorkloadArgs),
    /// Write the answer for other tools.
    Export(export::ExportArgs),
}
