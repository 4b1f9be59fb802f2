//! From a workload to the size of a deployment; what the user says goes before what is recommended.

use sha2::{Digest as _, Sha256};

use crate::cli::outcome::{Context, Exit, Failure};
use crate::cli::question::{Asked, QuestionArgs, TargetArg, unanswerable};
use crate::domain::catalog::InstanceType;
use crate::domain::deployment::eks::choose::{Nodes, job};
use crate::domain::deployment::eks::spec::Eks;
use crate::domain::deployment::spec::{AlarmBasis, Disk, Spec};
use crate::domain::disk::wave_gib;
use crate::domain::plan::document::{PlanDocument, early_gap};
use crate::domain::profile::Target;
use crate::domain::settings::{Autoscaler, Settings};
use crate::domain::sizing::evaluate::Layout;
use crate::domain::sizing::pods;
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
    /// Hosts; a deployment on EKS is one runner, whatever the nodes are.
    pub count: u32,
    /// Jobs at once on each host; on EKS in the whole node group.
    pub concurrency: u32,
    /// Seconds between asking for jobs.
    pub check_interval: u32,
    /// GiB of each disk.
    pub gib: u32,
    /// What thresholds rest on.
    pub alarms: AlarmBasis,
    /// The nodes, on EKS.
    pub nodes: Option<Nodes>,
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
    let eks = settings.target == Some(Target::Eks);
    args.target = Some(if eks { TargetArg::Eks } else { TargetArg::Ec2 });
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
    if eks {
        hash.update(format!(
            " eks {:?} {:?} {:?}",
            settings.eks.min_nodes, settings.eks.max_nodes, settings.eks.autoscaler
        ));
    }
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
        if let (Some(name), Some(gib)) = (&settings.instance_type, settings.disk_gib)
            && self.asked.target == Target::Eks
            && let (Some(instance), Some(_), Some(_)) = (
                self.asked.catalog.get(name),
                settings.eks.min_nodes,
                settings.eks.max_nodes,
            )
        {
            let fits = pods::allocatable(profile, instance).job_pods;
            return self.on_nodes(instance, (1, 1, fits), gib, basis(0, is_burstable(instance)));
        }
        if let (Some(name), Some(concurrency), Some(gib), Target::Ec2) = (
            &settings.instance_type,
            settings.concurrency,
            settings.disk_gib,
            self.asked.target,
        ) {
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
                alarms: basis(0, instance.is_some_and(is_burstable)),
                nodes: None,
            });
        }
        let question = self.asked.question();
        let answer = recommend(&question).map_err(|why| unanswerable(&self.asked, &why))?;
        let instance = answer.offer.instance;
        if let Layout::Nodes { min, max, pods } = answer.evaluation.layout {
            let gib = settings.disk_gib.unwrap_or(answer.disk.gib);
            let basis = basis(early_gap(&answer), is_burstable(instance));
            return self.on_nodes(instance, (min, max, pods), gib, basis);
        }
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
            alarms: basis(early_gap(&answer), is_burstable(instance)),
            nodes: None,
        })
    }

    /// Returns the size of a node group of this type; what is said of its limits goes before the `(least, most, pods)` that were
    /// found.
    fn on_nodes(
        &self,
        instance: &InstanceType,
        (least, most, pods): (u32, u32, u32),
        gib: u32,
        alarms: AlarmBasis,
    ) -> Result<Size, Failure> {
        let profile = &self.asked.loaded.profile;
        let settings = &self.settings;
        if pods == 0 {
            return Err(Failure::new(
                Exit::Refused,
                format!(
                    "no job pod of {:.0}m CPU and {:.0} MiB fits a node of {}",
                    profile.kubernetes.cpu_request_m, profile.kubernetes.memory_request_mib, instance.name
                ),
            )
            .hint("a larger --instance-type, or a smaller request with --set kubernetes.cpu_request=250m"));
        }
        let (min, max) = limits(settings, least, most);
        Ok(Size {
            workload: profile.name.clone(),
            asked: self.digest.clone(),
            instance_type: instance.name.clone(),
            vcpus: instance.vcpus,
            count: 1,
            concurrency: settings.concurrency.unwrap_or(max.max(min) * pods),
            check_interval: profile.runner.check_interval_s.round().max(1.0) as u32,
            gib,
            alarms,
            nodes: Some(Nodes {
                min,
                max,
                pods,
                job: job(profile),
            }),
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
            nodes: spec.eks.as_deref().map(|eks| nodes_of(eks, spec.concurrency)),
        }
    }

    /// Returns the size that a record keeps, with the limits of its node group that are said; jobs at once go with the nodes unless
    /// they are said too.
    pub fn within(&self, spec: &Spec, settings: &Settings) -> Size {
        let mut size = self.kept(spec);
        if let Some(nodes) = &mut size.nodes {
            let was = nodes.max;
            (nodes.min, nodes.max) = limits(settings, nodes.min, nodes.max);
            if nodes.max != was {
                size.concurrency = nodes.max * nodes.pods;
            }
        }
        size.concurrency = settings.concurrency.unwrap_or(size.concurrency);
        size
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

/// Returns the limits of the node group: what was said, else what was found.
///
/// Who says one limit moves the other with it where it must; where nobody scales there is one number.
fn limits(settings: &Settings, least: u32, most: u32) -> (u32, u32) {
    let said = (settings.eks.min_nodes, settings.eks.max_nodes);
    let (min, max) = match said {
        (Some(min), Some(max)) => (min, max),
        (Some(min), None) => (min, most.max(min)),
        (None, Some(max)) => (least.min(max), max),
        (None, None) => (least, most),
    };
    if settings.eks.autoscaler == Some(Autoscaler::None) && said.0.is_none() {
        (max, max)
    } else {
        (min, max)
    }
}

fn is_burstable(instance: &InstanceType) -> bool {
    instance.burstable_baseline.is_some()
}

/// Returns the nodes that a record keeps.
pub fn nodes_of(eks: &Eks, concurrency: u32) -> Nodes {
    Nodes {
        min: eks.min_nodes,
        max: eks.max_nodes,
        pods: (concurrency / eks.max_nodes.max(1)).max(1),
        job: eks.job,
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
