//! What `plan` and `simulate` ask in common: workload, overrides, region, families, seed.

use std::num::NonZeroUsize;

use super::outcome::{Context, Exit, Failure};
use super::{catalog, workload};
use crate::domain::catalog::Catalog;
use crate::domain::plan::notices::{Notice, Severity};
use crate::domain::plan::wording;
use crate::domain::profile::{Loaded, Target, nearest};
use crate::domain::sizing::recommend::Unanswerable;
use crate::domain::sizing::search::{Families, Question};

/// Region when neither flag, environment nor file names one.
pub const DEFAULT_REGION: &str = "us-east-1";

/// Options of `plan` and `simulate`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct QuestionArgs {
    /// Workload: a built-in profile, a YAML file, or - for standard input [default: production].
    #[arg(long, short = 'w', value_name = "NAME|FILE")]
    pub workload: Option<String>,
    /// Where the runner lives; else the workload says.
    #[arg(long, value_enum, value_name = "ec2|eks")]
    pub target: Option<TargetArg>,
    /// Families that may be chosen: qualified (named by the vendor), compute, any, or a list such as c5,c6i
    /// [default: qualified].
    #[arg(long, value_name = "FAMILIES")]
    pub families: Option<String>,
    /// Meet the installation page's minimum of CPUs and memory.
    #[arg(long)]
    pub strict_minimums: bool,
    /// Hours over which the wait is judged.
    #[arg(long, value_name = "all-hours|worst-hour")]
    pub scope: Option<String>,
    /// Wait in seconds that few jobs may exceed.
    #[arg(long, value_name = "SECONDS")]
    pub wait: Option<String>,
    /// Share of jobs that must wait no longer, such as 0.95.
    #[arg(long, value_name = "SHARE")]
    pub wait_quantile: Option<String>,
    /// Mean pipeline time relative to the ideal, such as 1.1.
    #[arg(long, value_name = "RATIO")]
    pub slowdown: Option<String>,
    /// Change any value of the workload, such as arrivals.pipelines_per_weekday=300; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Seed of the simulation.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Threads to compute with; changes no result. Default: all.
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
}

/// The target as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum TargetArg {
    /// EC2 hosts.
    Ec2,
    /// EKS nodes.
    Eks,
}

impl TargetArg {
    /// Returns the word as typed.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ec2 => "ec2",
            Self::Eks => "eks",
        }
    }
}

/// A question with everything it borrows.
#[derive(Debug)]
pub struct Asked {
    /// The workload with the overrides.
    pub loaded: Loaded,
    /// Types and prices.
    pub catalog: Catalog,
    /// What the catalog has to say.
    pub notices: Vec<Notice>,
    /// Families.
    pub families: Families,
    /// Target.
    pub target: Target,
    strict_minimums: bool,
    seed: u64,
    threads: usize,
}

impl QuestionArgs {
    /// Reads workload and catalog.
    ///
    /// # Errors
    ///
    /// The workload, an override, the region or a family is wrong.
    pub fn ask(&self, context: &Context) -> Result<Asked, Failure> {
        let loaded = workload::load_with(self.workload(), &self.overrides()?)?;
        let region = context.region.as_deref().unwrap_or(DEFAULT_REGION);
        let (catalog, notices) = catalog::load(region, context)?;
        let target = match self.target {
            Some(TargetArg::Ec2) => Target::Ec2,
            Some(TargetArg::Eks) => Target::Eks,
            None => loaded.profile.target,
        };
        Ok(Asked {
            families: families(self.families.as_deref().unwrap_or("qualified"), &catalog)?,
            target,
            notices: notices
                .into_iter()
                .map(|notice| Notice {
                    code: notice.code,
                    severity: if notice.severity == "warning" {
                        Severity::Warning
                    } else {
                        Severity::Info
                    },
                    message: notice.message,
                    source: None,
                })
                .collect(),
            loaded,
            catalog,
            strict_minimums: self.strict_minimums,
            seed: self.seed,
            threads: self
                .threads
                .or_else(|| std::thread::available_parallelism().ok())
                .map_or(1, NonZeroUsize::get)
                .min(256),
        })
    }

    /// Returns the options that were given, for commands to try next; the families are left out, for those commands
    /// differ in them.
    pub fn typed(&self) -> String {
        let mut words = vec!["--workload".to_owned(), quoted(self.workload())];
        let mut add = |option: &str, value: Option<&str>| {
            if let Some(value) = value {
                words.extend([option.to_owned(), quoted(value)]);
            }
        };
        add("--target", self.target.map(TargetArg::word));
        add("--scope", self.scope.as_deref());
        add("--wait", self.wait.as_deref());
        add("--wait-quantile", self.wait_quantile.as_deref());
        add("--slowdown", self.slowdown.as_deref());
        for setting in &self.set {
            add("--set", Some(setting));
        }
        if self.strict_minimums {
            words.push("--strict-minimums".to_owned());
        }
        words.join(" ")
    }

    /// Returns the workload that was asked for.
    pub fn workload(&self) -> &str {
        self.workload.as_deref().unwrap_or("production")
    }

    fn overrides(&self) -> Result<Vec<(String, String)>, Failure> {
        let mut overrides = Vec::new();
        let flags = [
            ("slo.scope", &self.scope),
            ("slo.wait_s", &self.wait),
            ("slo.wait_quantile", &self.wait_quantile),
            ("slo.pipeline_slowdown", &self.slowdown),
        ];
        for (key, value) in flags {
            if let Some(value) = value {
                overrides.push((key.to_owned(), value.clone()));
            }
        }
        for setting in &self.set {
            let Some((key, value)) = setting.split_once('=') else {
                return Err(Failure::new(
                    Exit::BadInput,
                    format!("--set {setting}: expected SECTION.KEY=VALUE, such as slo.wait_s=20"),
                )
                .hint("dataops-infra workload show production lists every key"));
            };
            overrides.push((key.trim().to_owned(), value.trim().to_owned()));
        }
        Ok(overrides)
    }
}

/// Returns a word as a shell reads it back.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

impl Asked {
    /// Returns the question as the search wants it.
    pub fn question(&self) -> Question<'_> {
        Question {
            profile: &self.loaded.profile,
            catalog: &self.catalog,
            target: self.target,
            families: self.families.clone(),
            strict_minimums: self.strict_minimums,
            seed: self.seed,
            threads: self.threads,
        }
    }
}

fn families(text: &str, catalog: &Catalog) -> Result<Families, Failure> {
    match text {
        "qualified" => return Ok(Families::Qualified),
        "compute" => return Ok(Families::Compute),
        "any" => return Ok(Families::Any),
        _ => {}
    }
    let list: Vec<String> = text.split(',').map(|family| family.trim().to_owned()).collect();
    let known = |family: &str| catalog.types.iter().any(|instance| instance.family() == family);
    if let Some(unknown) = list.iter().find(|family| !known(family)) {
        let near = nearest(
            unknown,
            catalog
                .types
                .iter()
                .map(super::super::domain::catalog::InstanceType::family),
        );
        let failure = Failure::new(
            Exit::BadInput,
            format!(
                "--families {text}: `{unknown}` is no family of the catalog for {}; expected qualified, compute, \
                 any, or a list such as c5,c6i",
                catalog.region
            ),
        );
        return Err(match near {
            Some(near) => failure.hint(format!(
                "did you mean `{near}`? `dataops-infra catalog show` lists them"
            )),
            None => failure.hint("dataops-infra catalog show"),
        });
    }
    Ok(Families::List(list))
}

/// Says why there is no recommendation, and what would help.
pub fn unanswerable(asked: &Asked, why: &Unanswerable) -> Failure {
    let wait = asked.loaded.profile.slo.wait_s;
    match why {
        Unanswerable::TooMuch { jobs_per_week, busy_slots, largest } => {
            let mut message = format!(
                "{jobs_per_week:.3e} jobs a week keep {busy_slots:.0} slots busy on average: too many to simulate, \
                 and far beyond one deployment"
            );
            if let Some((name, slots)) = largest.as_ref().filter(|(_, slots)| *slots > 0) {
                let hosts = (busy_slots * 2.0 / f64::from(*slots)).ceil();
                message.push_str(&format!(
                    "; at twice the mean for peaks that is about {hosts:.0} hosts of {name} with {slots} jobs each"
                ));
            }
            Failure::new(Exit::Refused, message)
                .hint("split the workload over several deployments, each with its own tag, and plan one of them")
        }
        Unanswerable::NoOffer { refused } => {
            let mut message = "no instance type of the allowed families can be considered".to_owned();
            for (name, reason) in refused.iter().take(8) {
                message.push_str(&format!("\n  {name}: {}", wording::reason(reason, wait)));
            }
            if refused.len() > 8 {
                message.push_str(&format!("\n  and {} more", refused.len() - 8));
            }
            Failure::new(Exit::Refused, message)
                .hint("try --families any, or smaller requests in the workload")
        }
        Unanswerable::NothingMeets { tried } => {
            let mut message = "no arrangement of the allowed families meets the objectives".to_owned();
            let simulated = tried.iter().filter(|other| !other.evaluations.is_empty());
            for other in simulated.rev().take(5) {
                let reasons: Vec<String> =
                    other.reasons.iter().map(|reason| wording::reason(reason, wait)).collect();
                message.push_str(&format!(
                    "\n  {} x {} for ${}: {}",
                    other.count,
                    other.instance_type,
                    other.monthly.cents(),
                    reasons.join("; ")
                ));
            }
            Failure::new(Exit::Refused, message).hint(
                "relax the objective that fails (--wait, --wait-quantile, --slowdown), or try --families any",
            )
        }
        Unanswerable::PickupTooSlow { late } => {
            let profile = &asked.loaded.profile;
            Failure::new(
                Exit::Refused,
                format!(
                    "with a slot always free {:.0} % of jobs would still wait longer than {wait} s (limit {:.1} %): \
                     the runner asks every {} s{}{}",
                    late * 100.0,
                    (1.0 - profile.slo.wait_quantile) * 100.0,
                    profile.runner.check_interval_s,
                    match profile.runner.pickup_delay_s {
                        delay if delay > 0.0 => format!(", picks up {delay} s later"),
                        _ => String::new(),
                    },
                    match asked.target {
                        Target::Eks => format!(", a pod takes {} s to start", profile.kubernetes.pod_start_s),
                        Target::Ec2 => String::new(),
                    }
                ),
            )
            .hint("no host changes that; allow a longer wait (--wait), or lower runner.pickup_delay_s")
        }
        Unanswerable::DiskTooSmall { growth_gib_per_day } => Failure::new(
            Exit::Refused,
            format!(
                "no volume of up to {} GiB lasts {:.0} days without clean-up at {growth_gib_per_day:.1} GiB a day \
                 (the simulation knows {} days)",
                crate::domain::disk::LARGEST_GIB,
                asked.loaded.profile.disk.unattended_days,
                crate::domain::disk::LAST_DAY
            ),
        )
        .hint("lower disk.unattended_days to how often somebody or something cleans up"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        question: QuestionArgs,
    }

    #[test]
    fn the_options_can_be_typed_again() {
        let line = [
            "x",
            "--workload",
            "my team.yaml",
            "--target",
            "eks",
            "--wait",
            "45",
            "--set",
            "host.thread_speeds={c6i: 1.2}",
            "--strict-minimums",
            "--families",
            "c5,c6i",
        ];
        assert_eq!(
            Line::parse_from(line).question.typed(),
            "--workload 'my team.yaml' --target eks --wait 45 --set 'host.thread_speeds={c6i: 1.2}' --strict-minimums"
        );
        assert_eq!(Line::parse_from(["x"]).question.typed(), "--workload production");
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }
}
