//! A deployment on EKS: the control plane, its nodes and add-ons, the file system, and what runs in the cluster.

use super::board::Read;
use super::check::{Check, Remedy, Subject};
use super::code::Code;
use super::deployment::listed;
use super::scene::command;
use crate::domain::deployment::eks::observed::{Inside, Objects, ObservedEks};
use crate::domain::deployment::eks::spec::{Autoscaler, Eks, StorageMode};
use crate::domain::deployment::eks::upgrade::{compared, number};
use crate::domain::deployment::eks::{health, objects};
use crate::domain::deployment::record::Record;

/// Restarts of the runner's pod that are no accident any more.
const OFTEN: u32 = 3;

/// Days by which the newest image for nodes may be newer than theirs: AWS makes one about every week, and due it is once a month.
const DUE_DAYS: i32 = 31;

/// Makes the checks of a cluster; none for a deployment on EC2. `newest` is the newest release of the nodes' image, where it is
/// known.
pub fn checks(
    subject: &Subject,
    record: &Record,
    seen: &Read<ObservedEks>,
    newest: Option<&str>,
) -> Vec<Check> {
    let Some(eks) = record.spec.eks.as_deref() else {
        return Vec::new();
    };
    let seen = match seen {
        Ok(seen) => seen,
        Err(why) => {
            return Code::ALL
                .iter()
                .filter(|code| code.scope() == super::code::Scope::Cluster)
                .map(|code| Check::unknown(*code, why.to_string()).of(subject))
                .collect();
        }
    };
    let mut checks = vec![
        control_plane(subject, eks, seen),
        version(subject, eks, seen),
        nodes(subject, eks, seen, newest),
        addons(subject, eks, seen),
        storage(subject, record, eks, seen),
        reachable(eks, seen),
    ];
    match &seen.inside {
        Inside::Read(inside) => checks.extend([
            ready(subject, eks, inside),
            release(subject, inside),
            runner(subject, eks, inside),
        ]),
        Inside::Nothing | Inside::Unknown(_) => {
            let none = matches!(seen.inside, Inside::Nothing);
            for code in [Code::ClusterNodes, Code::ClusterRelease, Code::ClusterRunner] {
                checks.push(if none {
                    Check::skipped(code, "there is no cluster that could be asked")
                } else {
                    Check::unknown(code, "the cluster could not be read, see CLUSTER-REACHABLE")
                });
            }
        }
    }
    checks.into_iter().map(|check| check.of(subject)).collect()
}

/// Names `up eks` in what mends a check that deployments on EC2 have as well.
pub fn on_eks(mut check: Check) -> Check {
    if let Some(remedy) = &mut check.remedy {
        remedy.text = remedy.text.replace("up ec2", "up eks");
        let command = remedy.command.as_deref();
        remedy.command = command.map(|command| command.replace("up ec2", "up eks"));
    }
    check
}

fn up(subject: &Subject, text: impl Into<String>) -> Remedy {
    Remedy::new(text).run(command(subject, "up eks"))
}

/// Returns what EKS found, each with what mends it.
fn found(issues: &[String]) -> String {
    if issues.is_empty() {
        String::new()
    } else {
        format!("; {}", health::told(issues))
    }
}

fn control_plane(subject: &Subject, eks: &Eks, seen: &ObservedEks) -> Check {
    let code = Code::EksCluster;
    let Some(cluster) = &seen.cluster else {
        return Check::failed(
            code,
            format!("there is no cluster {}", eks.cluster),
            up(subject, "make it"),
        );
    };
    let cluster = &cluster.it;
    let says = format!("{} is {}{}", eks.cluster, cluster.status, found(&cluster.issues));
    match cluster.status.as_str() {
        "ACTIVE" if cluster.issues.is_empty() => Check::ok(code, says),
        "ACTIVE" => Check::warning(code, says, Remedy::new("mend what EKS names")),
        "CREATING" | "UPDATING" | "PENDING" => {
            Check::warning(code, says, Remedy::new("wait: EKS is at it, for minutes at most"))
        }
        _ => Check::failed(
            code,
            says,
            Remedy::new("a cluster that failed stays so: take the deployment down and make it anew")
                .run(command(subject, "down")),
        ),
    }
}

fn version(subject: &Subject, eks: &Eks, seen: &ObservedEks) -> Check {
    let code = Code::EksVersion;
    let Some(cluster) = &seen.cluster else {
        return Check::skipped(code, "there is no cluster");
    };
    let cluster = &cluster.it;
    let behind = seen
        .node_group
        .as_ref()
        .filter(|group| !group.it.version.is_empty() && group.it.version != cluster.version)
        .map(|group| {
            format!(
                "nodes run {}, the control plane {}",
                group.it.version, cluster.version
            )
        });
    if cluster.support == "EXTENDED" {
        let remedy = if eks.adopted {
            Remedy::new("whoever owns the cluster sets the support policy STANDARD and upgrades Kubernetes")
        } else {
            let next = next(&cluster.version);
            Remedy::new("upgrade Kubernetes, one minor version at a time")
                .run(command(subject, &format!("upgrade --kubernetes-version {next}")))
        };
        return Check::warning(
            code,
            format!(
                "Kubernetes {} may run into extended support, at six times the price of the control plane",
                cluster.version
            ),
            remedy,
        );
    }
    match behind {
        Some(says) => Check::warning(
            code,
            says,
            Remedy::new("bring the nodes to the version of the control plane")
                .run(command(subject, "upgrade --nodes")),
        ),
        None => Check::ok(code, format!("Kubernetes {}, standard support", cluster.version)),
    }
}

/// Returns the version after another.
fn next(version: &str) -> String {
    match number(version) {
        Some((major, minor)) => format!("{major}.{}", minor + 1),
        None => "VERSION".to_owned(),
    }
}

/// Returns the day of a release such as `1.34.8-20260410`.
fn day(release: &str) -> Option<jiff::civil::Date> {
    jiff::civil::Date::strptime("%Y%m%d", release.rsplit_once('-')?.1).ok()
}

/// Says that there is a newer image than that of the nodes, and whether it is due.
fn newer(is: &str, newest: Option<&str>) -> Option<(String, bool)> {
    let newest = newest.filter(|newest| compared(is, newest).is_lt())?;
    let days = day(is)?.until(day(newest)?).ok()?.get_days();
    let says = format!("; their image {is} is {days} days older than the newest, {newest}");
    Some((says, days >= DUE_DAYS))
}

fn nodes(subject: &Subject, eks: &Eks, seen: &ObservedEks, newest: Option<&str>) -> Check {
    let code = Code::EksNodes;
    if eks.autoscaler == Autoscaler::Cluster {
        return Check::skipped(code, "the cluster makes its nodes itself");
    }
    let Some(group) = &seen.node_group else {
        return Check::failed(code, "there is no node group", up(subject, "make it"));
    };
    let group = &group.it;
    let says = format!(
        "{}, {} nodes of {} to {}{}",
        group.status,
        group.desired,
        group.min,
        group.max,
        found(&group.issues)
    );
    match group.status.as_str() {
        "ACTIVE" if group.issues.is_empty() => match newer(&group.release_version, newest) {
            Some((more, true)) => Check::warning(
                code,
                says + &more,
                Remedy::new("replace the nodes by such of the newest image")
                    .run(command(subject, "upgrade --nodes")),
            ),
            Some((more, false)) => Check::ok(code, says + &more),
            None => Check::ok(code, says),
        },
        "CREATING" | "UPDATING" => {
            Check::warning(code, says, Remedy::new("wait: EKS is at it, for minutes at most"))
        }
        _ => Check::failed(
            code,
            says,
            Remedy::new("mend what EKS names; it tries again by itself, or `up` makes the group anew")
                .run(command(subject, "up eks")),
        ),
    }
}

fn addons(subject: &Subject, eks: &Eks, seen: &ObservedEks) -> Check {
    let code = Code::EksAddons;
    let mut wrong = Vec::new();
    for name in eks.addons.keys() {
        match seen.addons.get(name) {
            None => wrong.push(format!("{name} is missing")),
            Some(addon) if addon.it.status == "ACTIVE" => {}
            Some(addon) => wrong.push(format!(
                "{name} is {}{}",
                addon.it.status,
                found(&addon.it.issues)
            )),
        }
    }
    if wrong.is_empty() {
        return Check::ok(code, format!("{} add-ons are active", eks.addons.len()));
    }
    Check::failed(
        code,
        listed(&wrong),
        up(
            subject,
            "install what is missing; a degraded add-on mends itself once its pods run",
        ),
    )
}

fn storage(subject: &Subject, record: &Record, eks: &Eks, seen: &ObservedEks) -> Check {
    let code = Code::EksStorage;
    if eks.storage.mode == StorageMode::None {
        return Check::skipped(code, "there are no volumes");
    }
    if let Inside::Read(inside) = &seen.inside
        && let Some(claim) = inside.objects.get("claim")
        && !objects::is_bound(claim)
    {
        let phase = claim["status"]["phase"].as_str().unwrap_or("Pending");
        return Check::failed(
            code,
            format!(
                "{} is {phase}: no job's pod starts without it",
                objects::told(claim)
            ),
            Remedy::new(
                "its events say why; mostly the EFS driver does not run (EKS-ADDONS) or lacks its role",
            )
            .run(format!(
                "kubectl --namespace {} describe persistentvolumeclaim {}",
                eks.namespace,
                record.name.cache_claim()
            )),
        );
    }
    if let Some(theirs) = &eks.storage.file_system {
        return Check::skipped(code, format!("{theirs} is not of the deployment"));
    }
    let Some(file_system) = &seen.file_system else {
        return Check::failed(
            code,
            "there is no file system: caches are lost, and pods that want them do not start",
            up(subject, "make an empty one"),
        );
    };
    let file_system = &file_system.it;
    let mut wrong = Vec::new();
    if file_system.state != "available" {
        wrong.push(format!("{} is {}", file_system.id, file_system.state));
    }
    for subnet in &record.spec.subnets {
        match file_system.mount_targets.get(&subnet.zone) {
            None => wrong.push(format!("{} has no mount target", subnet.zone)),
            Some(target) if target.state != "available" => {
                wrong.push(format!("the mount target in {} is {}", subnet.zone, target.state));
            }
            Some(_) => {}
        }
    }
    if wrong.is_empty() {
        let says = format!(
            "{} with {} mount targets",
            file_system.id,
            file_system.mount_targets.len()
        );
        return Check::ok(code, says);
    }
    Check::failed(
        code,
        listed(&wrong),
        up(
            subject,
            "a node in a zone without a mount target starts no pod with a volume",
        ),
    )
}

fn reachable(eks: &Eks, seen: &ObservedEks) -> Check {
    let code = Code::ClusterReachable;
    match &seen.inside {
        Inside::Read(_) => Check::ok(code, format!("the API server of {} answers", eks.cluster)),
        Inside::Nothing => Check::skipped(code, "there is no cluster that could be asked"),
        Inside::Unknown(why) => {
            let mut text =
                "see what it says: the caller needs an access entry in the cluster (up eks --admin ARN, by \
                            somebody who has one)"
                    .to_owned();
            let public = seen.cluster.as_ref().is_none_or(|cluster| cluster.it.public);
            if !public {
                text.push_str(", and the API server is reached from within the VPC only");
            } else if !eks.endpoint.cidrs.is_empty() {
                text.push_str(&format!(
                    ", and only {} reach the API server from outside",
                    eks.endpoint.cidrs.join(", ")
                ));
            }
            Check::failed(code, why.clone(), Remedy::new(text))
        }
    }
}

fn ready(subject: &Subject, eks: &Eks, inside: &Objects) -> Check {
    let code = Code::ClusterNodes;
    if eks.autoscaler == Autoscaler::Cluster {
        return Check::skipped(code, "the cluster makes its nodes itself");
    }
    let sick: Vec<String> = inside
        .nodes
        .iter()
        .filter(|(_, ready)| !**ready)
        .map(|(name, _)| format!("{name} is not ready"))
        .collect();
    let well = inside.nodes.len() - sick.len();
    if sick.is_empty() && well as u64 >= u64::from(eks.min_nodes) {
        return Check::ok(code, format!("{well} nodes are ready"));
    }
    let remedy = Remedy::new(
        "a node that does not join mostly has no way out, no role that EKS knows, or no network add-on; see EKS-NODES \
         and EKS-ADDONS",
    )
    .run(command(subject, "kubeconfig"));
    let says = format!("{well} of at least {} nodes are ready", eks.min_nodes);
    let says = if sick.is_empty() {
        says
    } else {
        format!("{says}; {}", listed(&sick))
    };
    if well == 0 {
        Check::failed(code, says, remedy)
    } else {
        Check::warning(code, says, remedy)
    }
}

fn release(subject: &Subject, inside: &Objects) -> Check {
    let code = Code::ClusterRelease;
    let Some(release) = &inside.release else {
        return Check::failed(code, "the chart is not installed", up(subject, "install it"));
    };
    let says = format!(
        "{}, revision {}, is {}",
        release.chart, release.revision, release.status
    );
    match release.status.as_str() {
        "deployed" => Check::ok(code, says),
        "superseded" | "unknown" => Check::warning(
            code,
            says,
            up(subject, "look at it with helm history, or upgrade it"),
        ),
        status if status.starts_with("pending") => Check::failed(
            code,
            says,
            up(
                subject,
                "a run of Helm was interrupted: unless one is under way, `up` goes on from there",
            ),
        ),
        _ => Check::failed(
            code,
            says,
            up(
                subject,
                "see CLUSTER-RUNNER for the cause; `up` upgrades the release again",
            ),
        ),
    }
}

fn runner(subject: &Subject, eks: &Eks, inside: &Objects) -> Check {
    let code = Code::ClusterRunner;
    if inside.pods.is_empty() {
        return if inside.release.is_some() {
            Check::failed(
                code,
                "the release has no pod: a quota of the namespace or an admission policy may refuse it",
                Remedy::new(format!(
                    "kubectl --namespace {} get events says why",
                    eks.namespace
                ))
                .run(command(subject, "kubeconfig")),
            )
        } else {
            Check::skipped(code, "the chart is not installed")
        };
    }
    let told = |pod: &crate::domain::deployment::eks::observed::Pod| {
        let mut says = format!("{} is {}", pod.name, pod.phase);
        if pod.restarts > 0 {
            says.push_str(&format!(", restarted {} times", pod.restarts));
        }
        if let Some(why) = &pod.why {
            says.push_str(&format!(": {why}"));
        }
        says
    };
    let logs = || {
        Remedy::new("the last lines of its log say more")
            .run(format!("kubectl --namespace {} logs --previous", eks.namespace))
    };
    let sick: Vec<String> = inside.pods.iter().filter(|pod| !pod.ready).map(told).collect();
    if !sick.is_empty() {
        return Check::failed(code, listed(&sick), logs());
    }
    let often: Vec<String> = inside
        .pods
        .iter()
        .filter(|pod| pod.restarts >= OFTEN)
        .map(told)
        .collect();
    if often.is_empty() {
        let all: Vec<String> = inside.pods.iter().map(told).collect();
        Check::ok(code, format!("{}, ready; {} job pods", listed(&all), inside.jobs))
    } else {
        Check::warning(code, listed(&often), logs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::deployment::eks::observed::{
        Addon, Cluster, FileSystem, MountTarget, NodeGroup, Pod, Release,
    };
    use crate::domain::deployment::observed::Tagged;
    use crate::domain::deployment::owner::Generation;
    use crate::domain::doctor::board::Gap;
    use crate::domain::doctor::check::Status;
    use crate::domain::doctor::code::Scope;
    use crate::domain::testing;

    fn record() -> Record {
        Record {
            generation: Generation::from_bytes([0xab; 8]),
            ..testing::eks_record()
        }
    }

    fn of<T: Default>(it: T) -> Tagged<T> {
        Tagged {
            it,
            ..Tagged::default()
        }
    }

    fn well() -> ObservedEks {
        let record = record();
        let eks = record.spec.eks.as_deref().expect("a cluster");
        let addon = Addon {
            status: "ACTIVE".to_owned(),
            ..Addon::default()
        };
        let target = MountTarget {
            state: "available".to_owned(),
            ..MountTarget::default()
        };
        ObservedEks {
            cluster: Some(of(Cluster {
                status: "ACTIVE".to_owned(),
                version: "1.34".to_owned(),
                support: "STANDARD".to_owned(),
                public: true,
                ..Cluster::default()
            })),
            node_group: Some(of(NodeGroup {
                status: "ACTIVE".to_owned(),
                version: "1.34".to_owned(),
                min: 2,
                max: 4,
                desired: 2,
                ..NodeGroup::default()
            })),
            addons: eks
                .addons
                .keys()
                .map(|name| (name.clone(), of(addon.clone())))
                .collect(),
            file_system: Some(of(FileSystem {
                id: "fs-1".to_owned(),
                state: "available".to_owned(),
                encrypted: true,
                mount_targets: record
                    .spec
                    .subnets
                    .iter()
                    .map(|subnet| (subnet.zone.clone(), target.clone()))
                    .collect(),
            })),
            inside: Inside::Read(Box::new(Objects {
                release: Some(Release {
                    status: "deployed".to_owned(),
                    chart: "dataops-runner-1.2.3".to_owned(),
                    revision: 1,
                    description: String::new(),
                }),
                nodes: [("one".to_owned(), true), ("two".to_owned(), true)].into(),
                pods: vec![Pod {
                    name: "abc-1".to_owned(),
                    phase: "Running".to_owned(),
                    ready: true,
                    ..Pod::default()
                }],
                ..Objects::default()
            })),
            ..ObservedEks::default()
        }
    }

    fn inside(seen: &mut ObservedEks) -> &mut Objects {
        match &mut seen.inside {
            Inside::Read(inside) => inside,
            _ => panic!("it was read"),
        }
    }

    /// Returns what is not well.
    fn not_well(seen: ObservedEks) -> Vec<(Code, Status)> {
        checks(&Subject::default(), &record(), &Ok(seen), None)
            .into_iter()
            .filter(|check| check.status != Status::Ok)
            .map(|check| (check.code, check.status))
            .collect()
    }

    #[test]
    fn what_is_well_is_clean_and_every_check_is_made() {
        assert_eq!(not_well(well()), []);
        let wanted: Vec<Code> = Code::ALL
            .iter()
            .copied()
            .filter(|code| code.scope() == Scope::Cluster)
            .collect();
        let unread = Err(Gap::Slow(5));
        for seen in [Ok(well()), Ok(ObservedEks::default()), unread] {
            let mut made: Vec<Code> = checks(&Subject::default(), &record(), &seen, None)
                .into_iter()
                .map(|check| check.code)
                .collect();
            made.sort_unstable();
            assert_eq!(made, wanted);
        }
    }

    #[test]
    fn each_fault_is_found_by_its_check_alone() {
        type Break = fn(&mut ObservedEks);
        let cases: [(Break, Code, Status); 13] = [
            (
                |seen| seen.cluster.as_mut().unwrap().it.status = "FAILED".to_owned(),
                Code::EksCluster,
                Status::Failed,
            ),
            (
                |seen| seen.cluster.as_mut().unwrap().it.status = "UPDATING".to_owned(),
                Code::EksCluster,
                Status::Warning,
            ),
            (
                |seen| seen.cluster.as_mut().unwrap().it.support = "EXTENDED".to_owned(),
                Code::EksVersion,
                Status::Warning,
            ),
            (
                |seen| seen.node_group.as_mut().unwrap().it.version = "1.33".to_owned(),
                Code::EksVersion,
                Status::Warning,
            ),
            (
                |seen| seen.node_group.as_mut().unwrap().it.status = "CREATE_FAILED".to_owned(),
                Code::EksNodes,
                Status::Failed,
            ),
            (
                |seen| seen.addons.get_mut("coredns").unwrap().it.status = "DEGRADED".to_owned(),
                Code::EksAddons,
                Status::Failed,
            ),
            (
                |seen| seen.file_system.as_mut().unwrap().it.mount_targets.clear(),
                Code::EksStorage,
                Status::Failed,
            ),
            (|seen| seen.file_system = None, Code::EksStorage, Status::Failed),
            (
                |seen| *inside(seen).nodes.get_mut("one").unwrap() = false,
                Code::ClusterNodes,
                Status::Warning,
            ),
            (
                |seen| inside(seen).nodes.clear(),
                Code::ClusterNodes,
                Status::Failed,
            ),
            (
                |seen| inside(seen).release.as_mut().unwrap().status = "pending-install".to_owned(),
                Code::ClusterRelease,
                Status::Failed,
            ),
            (
                |seen| inside(seen).pods[0].ready = false,
                Code::ClusterRunner,
                Status::Failed,
            ),
            (
                |seen| inside(seen).pods[0].restarts = 7,
                Code::ClusterRunner,
                Status::Warning,
            ),
        ];
        for (number, (damage, code, status)) in cases.into_iter().enumerate() {
            let mut seen = well();
            damage(&mut seen);
            assert_eq!(not_well(seen), [(code, status)], "case {number}");
        }
    }

    #[test]
    fn a_cluster_that_cannot_be_read_is_one_finding() {
        let mut seen = well();
        seen.inside = Inside::Unknown("401: Unauthorized".to_owned());
        assert_eq!(
            not_well(seen),
            [
                (Code::ClusterReachable, Status::Failed),
                (Code::ClusterNodes, Status::Unknown),
                (Code::ClusterRelease, Status::Unknown),
                (Code::ClusterRunner, Status::Unknown),
            ]
        );
    }

    #[test]
    fn a_newer_image_is_told_and_due_once_a_month() {
        let of = |is: &str, newest: Option<&str>| {
            let mut seen = well();
            let group = &mut seen.node_group.as_mut().unwrap().it;
            is.clone_into(&mut group.release_version);
            let checks = checks(&Subject::default(), &record(), &Ok(seen), newest);
            let found = checks.into_iter().find(|check| check.code == Code::EksNodes);
            let found = found.expect("a check");
            (found.status, found.evidence)
        };
        let is = "1.34.8-20260410";
        for newest in [None, Some(is), Some("1.34.8-20260401"), Some("odd")] {
            let (status, says) = of(is, newest);
            assert_eq!(status, Status::Ok);
            assert!(!says.contains("older than"), "{says}");
        }
        let (status, says) = of(is, Some("1.34.8-20260424"));
        assert_eq!(status, Status::Ok);
        assert!(says.contains("14 days older than the newest"), "{says}");
        let (status, says) = of(is, Some("1.34.9-20260512"));
        assert_eq!(status, Status::Warning);
        assert!(says.contains("32 days older than the newest"), "{says}");
    }
}
