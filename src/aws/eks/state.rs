//! What a wait makes of what EKS and EFS say: come, not yet, or never.
//!
//! States that do not mend themselves end a wait at once, with what EKS says is wrong.

use crate::domain::deployment::eks::health::{may_mend, told};
use crate::domain::deployment::eks::observed::{Addon, Cluster, FileSystem, MountTarget, NodeGroup};
use crate::engine::port::{Done, Ids, Sight};

/// Returns what is known of something with its state: `what is STATE: findings`.
fn seen(what: &str, status: &str, issues: &[String]) -> String {
    if issues.is_empty() {
        format!("{what} is {status}")
    } else {
        format!("{what} is {status}: {}", told(issues))
    }
}

/// Whether one of the findings will not go away while one waits.
fn is_hopeless(issues: &[String]) -> bool {
    issues.iter().any(|issue| !may_mend(issue))
}

/// Returns a sight with facts.
fn come<const N: usize>(facts: [(&'static str, &str); N]) -> Sight {
    Sight::Come(Done {
        facts: facts
            .into_iter()
            .map(|(name, value)| (name, value.to_owned()))
            .collect(),
        ..Done::default()
    })
}

/// A cluster that is to be active.
pub fn cluster(name: &str, cluster: Option<&Cluster>) -> Sight {
    let what = format!("cluster {name}");
    let Some(cluster) = cluster else {
        return Sight::NotYet(format!("{what} is not visible yet"));
    };
    match cluster.status.as_str() {
        "ACTIVE" => come([
            ("cluster", name),
            ("kubernetes", &cluster.version),
            ("endpoint", &cluster.endpoint),
        ]),
        // Its findings say why it failed; one that is being removed is somebody's wish.
        "FAILED" | "DELETING" => Sight::Never(seen(&what, &cluster.status, &cluster.issues)),
        status => Sight::NotYet(seen(&what, status, &cluster.issues)),
    }
}

/// A cluster that is to be gone.
pub fn cluster_gone(name: &str, cluster: Option<&Cluster>) -> Sight {
    let what = format!("cluster {name}");
    match cluster {
        None => Sight::Come(Done::default()),
        Some(cluster) if cluster.status == "FAILED" => {
            Sight::Never(seen(&what, &cluster.status, &cluster.issues))
        }
        Some(cluster) => Sight::NotYet(seen(&what, &cluster.status, &cluster.issues)),
    }
}

/// A node group that is to be active.
pub fn nodes(name: &str, group: Option<&NodeGroup>) -> Sight {
    let what = format!("node group {name}");
    let Some(group) = group else {
        return Sight::NotYet(format!("{what} is not visible yet"));
    };
    match group.status.as_str() {
        "ACTIVE" => come([
            ("node_group", name),
            ("nodes", &group.desired.to_string()),
            ("nodes_max", &group.max.to_string()),
        ]),
        "CREATE_FAILED" | "DELETE_FAILED" | "DELETING" => {
            Sight::Never(seen(&what, &group.status, &group.issues))
        }
        status if is_hopeless(&group.issues) => Sight::Never(seen(&what, status, &group.issues)),
        status => Sight::NotYet(seen(&what, status, &group.issues)),
    }
}

/// A node group that is to be gone.
pub fn nodes_gone(name: &str, group: Option<&NodeGroup>) -> Sight {
    let what = format!("node group {name}");
    match group {
        None => Sight::Come(Done::default()),
        Some(group) if group.status == "DELETE_FAILED" => {
            Sight::Never(seen(&what, &group.status, &group.issues))
        }
        Some(group) => Sight::NotYet(seen(&what, &group.status, &group.issues)),
    }
}

/// An add-on that is to be active.
///
/// One that is degraded because its pods have no node yet comes when the nodes do.
pub fn addon(name: &str, addon: Option<&Addon>) -> Sight {
    let what = format!("add-on {name}");
    let Some(addon) = addon else {
        return Sight::NotYet(format!("{what} is not visible yet"));
    };
    match addon.status.as_str() {
        "ACTIVE" => come([("addon", name), ("version", &addon.version)]),
        "CREATE_FAILED" | "UPDATE_FAILED" | "DELETE_FAILED" | "DELETING" => {
            Sight::Never(seen(&what, &addon.status, &addon.issues))
        }
        status if is_hopeless(&addon.issues) => Sight::Never(seen(&what, status, &addon.issues)),
        status => Sight::NotYet(seen(&what, status, &addon.issues)),
    }
}

/// An add-on that is to be gone.
pub fn addon_gone(name: &str, addon: Option<&Addon>) -> Sight {
    let what = format!("add-on {name}");
    match addon {
        None => Sight::Come(Done::default()),
        Some(addon) if addon.status == "DELETE_FAILED" => {
            Sight::Never(seen(&what, &addon.status, &addon.issues))
        }
        Some(addon) => Sight::NotYet(seen(&what, &addon.status, &addon.issues)),
    }
}

/// A file system that is to be available.
pub fn file_system(id: &str, system: Option<&FileSystem>) -> Sight {
    let Some(system) = system else {
        return Sight::NotYet(format!("{id} is not visible yet"));
    };
    match system.state.as_str() {
        // Another throughput is set, which does not keep it from being used.
        "available" | "updating" => come([("file_system", id)]),
        "error" | "deleting" | "deleted" => Sight::Never(format!("{id} is {}", system.state)),
        state => Sight::NotYet(format!("{id} is {state}")),
    }
}

fn each<'a>(targets: impl Iterator<Item = (&'a String, &'a MountTarget)>) -> String {
    let told =
        |(zone, target): (&String, &MountTarget)| format!("{} in {zone} is {}", target.id, target.state);
    targets.map(told).collect::<Vec<_>>().join(", ")
}

/// Mount targets that are to be available: those that steps made, and all that there are.
pub fn mount_targets(targets: &[(String, MountTarget)], ids: &Ids) -> Sight {
    let pairs = || targets.iter().map(|(zone, target)| (zone, target));
    let failed =
        || pairs().filter(|(_, target)| matches!(target.state.as_str(), "error" | "deleting" | "deleted"));
    if failed().next().is_some() {
        return Sight::Never(each(failed()));
    }
    let missing = ids
        .iter()
        .filter(|(address, id)| address.starts_with("mount-target-") && id.starts_with("fsmt-"))
        .find(|(_, id)| !targets.iter().any(|(_, target)| target.id == **id));
    if let Some((_, id)) = missing {
        return Sight::NotYet(format!("{id} is not visible yet"));
    }
    let coming = || pairs().filter(|(_, target)| !matches!(target.state.as_str(), "available" | "updating"));
    if targets.is_empty() {
        Sight::NotYet("there is no mount target yet".to_owned())
    } else if coming().next().is_some() {
        Sight::NotYet(each(coming()))
    } else {
        Sight::Come(Done::default())
    }
}

/// Mount targets that are to be gone.
pub fn mount_targets_gone(targets: &[(String, MountTarget)]) -> Sight {
    let left: Vec<_> = targets
        .iter()
        .filter(|(_, target)| target.state != "deleted")
        .collect();
    if left.is_empty() {
        Sight::Come(Done::default())
    } else {
        Sight::NotYet(each(left.iter().map(|(zone, target)| (zone, target))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(status: &str, issue: Option<&str>) -> NodeGroup {
        NodeGroup {
            status: status.to_owned(),
            issues: issue.map(str::to_owned).into_iter().collect(),
            ..NodeGroup::default()
        }
    }

    #[test]
    fn a_wait_for_nodes_ends_where_waiting_does_not_help() {
        let look = |status, issue| nodes("abc", Some(&group(status, issue)));
        assert!(matches!(nodes("abc", None), Sight::NotYet(_)));
        assert!(matches!(look("CREATING", None), Sight::NotYet(_)));
        assert!(matches!(look("ACTIVE", None), Sight::Come(_)));
        let Sight::Never(why) = look(
            "CREATE_FAILED",
            Some("NodeCreationFailure: Instances failed to join (i-1)"),
        ) else {
            panic!("a group that failed does not come");
        };
        assert!(
            why.starts_with("node group abc is CREATE_FAILED: NodeCreationFailure: Instances failed"),
            "{why}"
        );
        assert!(why.contains("way out"), "{why}");
        let quota =
            Some("AsgInstanceLaunchFailures: Could not launch. VcpuLimitExceeded - more vCPU capacity");
        assert!(matches!(look("CREATING", quota), Sight::Never(_)));
        let capacity =
            Some("AsgInstanceLaunchFailures: Could not launch. InsufficientInstanceCapacity - none");
        let Sight::NotYet(seen) = look("CREATING", capacity) else {
            panic!("capacity may come");
        };
        assert!(seen.contains("InsufficientInstanceCapacity"), "{seen}");
        assert!(matches!(look("DELETING", None), Sight::Never(_)));
    }

    #[test]
    fn an_add_on_waits_for_nodes_and_not_for_conflicts() {
        let look = |status: &str, issue: &str| {
            let read = Addon {
                status: status.to_owned(),
                issues: vec![issue.to_owned()],
                ..Addon::default()
            };
            addon("coredns", Some(&read))
        };
        let few = "InsufficientNumberOfReplicas: The add-on is unhealthy because it doesn't have the desired number";
        assert!(matches!(look("DEGRADED", few), Sight::NotYet(_)));
        assert!(matches!(look("CREATING", few), Sight::NotYet(_)));
        let conflict = "ConfigurationConflict: Conflicts found when trying to apply";
        assert!(matches!(look("CREATE_FAILED", conflict), Sight::Never(_)));
        assert!(matches!(look("DEGRADED", conflict), Sight::Never(_)));
    }

    #[test]
    fn what_is_gone_has_come_where_that_is_wanted() {
        assert_eq!(cluster_gone("abc", None), Sight::Come(Done::default()));
        let is = |status: &str| Cluster {
            status: status.to_owned(),
            ..Cluster::default()
        };
        assert!(matches!(
            cluster_gone("abc", Some(&is("DELETING"))),
            Sight::NotYet(_)
        ));
        assert!(matches!(cluster("abc", Some(&is("DELETING"))), Sight::Never(_)));
        assert!(matches!(cluster("abc", Some(&is("UPDATING"))), Sight::NotYet(_)));
        assert!(matches!(
            nodes_gone("abc", Some(&group("DELETE_FAILED", None))),
            Sight::Never(_)
        ));
    }

    #[test]
    fn mount_targets_come_when_all_have_that_steps_made() {
        let target = |id: &str, state: &str| {
            let target = MountTarget {
                id: id.to_owned(),
                subnet: "subnet-1".to_owned(),
                state: state.to_owned(),
            };
            ("eu-west-2a".to_owned(), target)
        };
        let ids = Ids::from([("mount-target-eu-west-2a".to_owned(), "fsmt-1".to_owned())]);
        assert!(matches!(mount_targets(&[], &ids), Sight::NotYet(_)));
        assert!(matches!(
            mount_targets(&[target("fsmt-2", "available")], &ids),
            Sight::NotYet(_)
        ));
        assert!(matches!(
            mount_targets(&[target("fsmt-1", "creating")], &ids),
            Sight::NotYet(_)
        ));
        assert!(matches!(
            mount_targets(&[target("fsmt-1", "error")], &ids),
            Sight::Never(_)
        ));
        assert!(matches!(
            mount_targets(&[target("fsmt-1", "available")], &ids),
            Sight::Come(_)
        ));
        assert!(matches!(
            mount_targets_gone(&[target("fsmt-1", "deleting")]),
            Sight::NotYet(_)
        ));
        assert!(matches!(
            mount_targets_gone(&[target("fsmt-1", "deleted")]),
            Sight::Come(_)
        ));
    }
}
