//! From a workload to the size of a deployment; what the user says goes before what is recommended.

use sha2::{Digest as _, Sha256};

use crate::cli::outcome::{Context, Exit, Failure};
use crate::cli::question::{Asked, QuestionArgs, TargetArg, unanswerable};
use crate::domain::deployment::spec::{AlarmBasis, Disk, Spec};
use crate::domain::disk::wave_gib;
use crate::domain::plan::document::{PlanDocument, early_gap};
use crate::domain::settings::Settings;
use crate::domain::sizing::recommend::recommend;
use crate::domain::sizing::search::Families;

/// The size of a deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct Size {
    /// Name of the workload.
    pub workload: String,
    /// Digest of what was asked.
    pub asked: String,
    /// Type.
    pub instance_type: String,
    /// Threads of each host.
    pub vcpus: u32,
    /// Hosts.
    pub count: u32,
    /// Jobs at once on each.
    pub concurrency: u32,
    /// Seconds between asking for jobs.
    pub check_interval: u32,
    /// GiB of each disk.
    pub gib: u32,
    /// What thresholds rest on.
    pub alarms: AlarmBasis,
}

/// The question of a deployment, with the digest that says whether it was asked before.
#[derive(Debug)]
pub struct Sizing {
    asked: Asked,
    settings: Settings,
    /// Digest of everything that the answer depends on but prices and types.
    pub digest: String,
}

/// Returns the question of a deployment.
///
/// # Errors
///
/// The workload, an override, the region or a family is wrong.
pub fn question(
    settings: &Settings,
    args: &QuestionArgs,
    region: &str,
    context: &Context,
) -> Result<Sizing, Failure> {
    let mut args = args.clone();
    args.workload.clone_from(&settings.workload);
    args.target = Some(TargetArg::Ec2);
    args.set = settings
        .set
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    args.families = (!settings.families.is_empty()).then(|| settings.families.join(","));
    args.strict_minimums = settings.strict_minimums.unwrap_or_default();
    let context = Context {
        region: Some(region.to_owned()),
        ..context.clone()
    };
    let mut asked = args.ask(&context)?;
    let mut hash = Sha256::new();
    hash.update(format!(
        "{:?} {:?} {:?} {:?} {:?}",
        asked.loaded.profile, args.families, args.strict_minimums, args.seed, settings.instance_type
    ));
    hash.update(format!(
        "{:?} {:?} {:?}",
        settings.count, settings.concurrency, settings.disk_gib
    ));
    let digest = hash
        .finalize()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if let Some(name) = &settings.instance_type {
        // The search then has one type to choose from; what it cannot host it says.
        asked.families = Families::Any;
        asked.catalog.types.retain(|instance| instance.name == *name);
        if asked.catalog.types.is_empty() {
            return Err(Failure::new(
                Exit::BadInput,
                format!("`{name}` is no type that the catalog of {region} knows as a host"),
            )
            .hint(format!("dataops-infra catalog show --region {region} lists them")));
        }
    }
    Ok(Sizing {
        asked,
        settings: settings.clone(),
        digest,
    })
}

impl Sizing {
    /// Returns the size, simulating the workload unless everything is given.
    ///
    /// # Errors
    ///
    /// Nothing meets the objectives.
    pub fn answer(&self) -> Result<Size, Failure> {
        let profile = &self.asked.loaded.profile;
        let settings = &self.settings;
        let check_interval = profile.runner.check_interval_s.round().max(1.0) as u32;
        let basis = |days_to_full: u32, burstable: bool| AlarmBasis {
            wave_gib: (wave_gib(&profile.disk) * 10.0).round() / 10.0,
            days_to_full,
            burstable,
        };
        if let (Some(name), Some(concurrency), Some(gib)) =
            (&settings.instance_type, settings.concurrency, settings.disk_gib)
        {
            let instance = self.asked.catalog.get(name);
            return Ok(Size {
                workload: profile.name.clone(),
                asked: self.digest.clone(),
                instance_type: name.clone(),
                vcpus: instance.map_or(0, |instance| instance.vcpus),
                count: settings.count.unwrap_or(1),
                concurrency,
                check_interval,
                gib,
                alarms: basis(
                    0,
                    instance.is_some_and(|instance| instance.burstable_baseline.is_some()),
                ),
            });
        }
        let question = self.asked.question();
        let answer = recommend(&question).map_err(|why| unanswerable(&self.asked, &why))?;
        let instance = answer.offer.instance;
        Ok(Size {
            workload: profile.name.clone(),
            asked: self.digest.clone(),
            instance_type: instance.name.clone(),
            vcpus: instance.vcpus,
            count: settings.count.unwrap_or(answer.chosen.count),
            concurrency: settings
                .concurrency
                .unwrap_or_else(|| answer.evaluation.layout.per_host()),
            check_interval,
            gib: settings.disk_gib.unwrap_or(answer.disk.gib),
            alarms: basis(early_gap(&answer), instance.burstable_baseline.is_some()),
        })
    }

    /// Returns the size that a record keeps, if it answers the same question.
    pub fn remembered(&self, spec: &Spec) -> Option<Size> {
        (spec.asked == self.digest).then(|| self.kept(spec))
    }

    /// Returns the size that a record keeps.
    pub fn kept(&self, spec: &Spec) -> Size {
        Size {
            workload: spec.workload.clone(),
            asked: spec.asked.clone(),
            instance_type: spec.instance_type.clone(),
            vcpus: self.vcpus(&spec.instance_type),
            count: spec.count,
            concurrency: spec.concurrency,
            check_interval: spec.check_interval,
            gib: spec.disk.gib,
            alarms: spec.alarms,
        }
    }

    /// Returns the threads of a type, 0 for one that the catalog does not know.
    pub fn vcpus(&self, name: &str) -> u32 {
        self.asked.catalog.get(name).map_or(0, |instance| instance.vcpus)
    }

    /// Returns the plan that answers the question; `typed` are the options for commands to try next.
    ///
    /// # Errors
    ///
    /// Nothing meets the objectives.
    pub fn plan(&self, typed: &str) -> Result<PlanDocument, Failure> {
        let question = self.asked.question();
        let answer = recommend(&question).map_err(|why| unanswerable(&self.asked, &why))?;
        Ok(PlanDocument::new(
            &question,
            &self.asked.loaded,
            &answer,
            typed,
            self.asked.notices.clone(),
        ))
    }
}

/// IOPS and MiB/s that gp3 brings at any size (<https://aws.amazon.com/ebs/pricing/>).
const GP3: (u32, u32) = (3000, 125);

/// Returns the disk of a size.
pub fn disk(gib: u32, kms_key: Option<String>) -> Disk {
    Disk {
        gib,
        iops: GP3.0,
        throughput: GP3.1,
        kms_key,
    }
}
