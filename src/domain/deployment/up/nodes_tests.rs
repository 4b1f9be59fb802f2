use std::collections::BTreeMap;

use super::*;
use crate::domain::deployment::eks::observed::{Inside, Objects, ObservedEks, Release};
use crate::domain::deployment::name::Place;
use crate::domain::deployment::observed::{Observed, Tagged};
use crate::domain::deployment::record::Record;
use crate::domain::deployment::step::Step;
use crate::domain::deployment::up::{Ascent, Given, Wanted, up};
use crate::domain::testing;

/// What the test is about; everything else is not there, and so is made.
fn seen(record: &Record, kubernetes: &str, nodes: &str) -> ObservedEks {
    let owner = record.owner();
    ObservedEks {
        cluster: Some(Tagged {
            it: Cluster {
                status: "ACTIVE".to_owned(),
                version: kubernetes.to_owned(),
                ..Cluster::default()
            },
            tags: owner.tags("cluster"),
        }),
        launch_template: Some(Tagged {
            it: LaunchTemplate {
                id: "lt-1".to_owned(),
                version: 1,
                digest: template_digest(&record.spec),
            },
            tags: owner.tags("launch-template"),
        }),
        node_group: Some(Tagged {
            it: NodeGroup {
                status: "ACTIVE".to_owned(),
                version: nodes.to_owned(),
                release_version: format!("{nodes}.8-20260410"),
                template_version: Some(1),
                min: 2,
                max: 4,
                ..NodeGroup::default()
            },
            tags: owner.tags("nodes"),
        }),
        inside: Inside::Read(Box::new(Objects {
            release: Some(Release {
                status: "deployed".to_owned(),
                ..Release::default()
            }),
            ..Objects::default()
        })),
        ..ObservedEks::default()
    }
}

fn ascent(base: &Record, record: &Record, seen: &ObservedEks, upgrade: Option<Upgrade>) -> Ascent {
    let place = Place {
        account: "123456789012".to_owned(),
        region: "eu-west-2".to_owned(),
    };
    let observed = Observed {
        eks: Some(Box::new(seen.clone())),
        ..Observed::default()
    };
    let wanted = Wanted {
        place: &place,
        record,
        base: Some((base, 1)),
        token: Given::Token,
        token_digest: None,
        user_data: &BTreeMap::new(),
        wait: true,
        resize: None,
        upgrade,
    };
    up(&wanted, &observed)
}

fn upgraded() -> (Record, Record) {
    let base = testing::eks_record();
    let mut record = base.clone();
    let eks = record.spec.eks.as_mut().expect("on EKS");
    eks.version = "1.35".to_owned();
    eks.release = Some("1.35.4-20260510".to_owned());
    (base, record)
}

const ASKED: Option<Upgrade> = Some(Upgrade {
    ending: Ending::Within(1800),
    force: true,
});

fn of<'a>(ascent: &'a Ascent, address: &str) -> &'a Step {
    let found = ascent.steps.iter().find(|step| step.address == address);
    found.unwrap_or_else(|| panic!("{address}: {:#?}", addresses(ascent)))
}

fn addresses(ascent: &Ascent) -> Vec<&str> {
    ascent.steps.iter().map(|step| step.address.as_str()).collect()
}

/// Whether a step waits for another, however far back.
fn waits(ascent: &Ascent, address: &str, other: &str) -> bool {
    let step = of(ascent, address);
    step.after
        .iter()
        .any(|after| after == other || waits(ascent, after, other))
}

#[test]
fn the_control_plane_then_add_ons_then_nodes_without_jobs() {
    let (base, record) = upgraded();
    let ascent = ascent(&base, &record, &seen(&base, "1.34", "1.34"), ASKED);
    assert!(
        ascent
            .stuck
            .iter()
            .all(|(_, one)| one.field != "Kubernetes version"),
        "{:?}",
        ascent.stuck
    );
    for (address, before) in [
        ("cluster-version", "record"),
        ("cluster-active", "cluster-version"),
        ("addon-vpc-cni", "cluster-version"),
        ("addon-coredns", "cluster-version"),
        (DRAIN, "addon-coredns"),
        (DRAIN, "addon-kube-proxy"),
        ("nodes-replaced", DRAIN),
        ("nodes-active", "nodes-replaced"),
        (RETURN, "nodes-active"),
        ("release", RETURN),
        ("online", RETURN),
        ("record-settled", "online"),
        ("record-settled", "autoscaler-deployment"),
        ("autoscaler-deployment", "cluster-version"),
    ] {
        assert!(
            waits(&ascent, address, before),
            "{address} does not wait for {before}"
        );
    }
    let step = |address| match &of(&ascent, address).does {
        Operation::Eks(does) => (**does).clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        step("cluster-version"),
        EksOperation::UpdateVersion {
            version: "1.35".to_owned(),
            force: true
        }
    );
    assert_eq!(
        step("nodes-replaced"),
        EksOperation::UpdateNodeGroup {
            version: Some("1.35".to_owned()),
            release: Some("1.35.4-20260510".to_owned()),
        }
    );
    let Operation::UpdateRecord(written, _) = &of(&ascent, "record").does else {
        panic!("the record is written first");
    };
    assert_eq!(written.pending, Some(goal(&record.spec)));
    assert_eq!(written.spec, record.spec);
}

#[test]
fn what_was_begun_goes_on_from_everywhere() {
    let (_, mut record) = upgraded();
    record.pending = Some(goal(&record.spec));
    let on = |seen: &ObservedEks| ascent(&record, &record, seen, None);
    // EKS is at the control plane, and still says the former version.
    let mut at = seen(&record, "1.34", "1.34");
    at.cluster.as_mut().expect("seen").it.status = "UPDATING".to_owned();
    let going = on(&at);
    assert!(waits(&going, "cluster-version", "cluster-settled"));
    assert!(!going.steps.iter().any(|step| step.address == "record"));
    // EKS is at the nodes.
    let mut at = seen(&record, "1.35", "1.34");
    at.node_group.as_mut().expect("seen").it.status = "UPDATING".to_owned();
    let going = on(&at);
    assert!(waits(&going, "nodes-replaced", "nodes-settled"));
    assert!(!addresses(&going).contains(&"cluster-version"));
    // Nodes are new, and the runner is still away.
    let mut at = seen(&record, "1.35", "1.35");
    at.node_group.as_mut().expect("seen").it.release_version = "1.35.4-20260510".to_owned();
    let going = on(&at);
    assert!(
        !addresses(&going).contains(&"nodes-replaced"),
        "{:?}",
        addresses(&going)
    );
    assert!(waits(&going, "record-settled", RETURN) && waits(&going, "online", RETURN));
}

#[test]
fn nothing_is_begun_that_nobody_asked_for() {
    let (base, record) = upgraded();
    let without = |step: &Step| {
        !["cluster-version", "nodes-replaced", "record-settled", RETURN].contains(&step.address.as_str())
    };
    // `up` with another version only says so.
    let told = ascent(&base, &record, &seen(&base, "1.34", "1.34"), None);
    assert!(told.steps.iter().all(without));
    assert!(
        told.stuck
            .iter()
            .any(|(_, one)| one.field == "Kubernetes version")
    );
    // The cluster was taken back by EKS: an `up` does not take it up again.
    let told = ascent(&record, &record, &seen(&record, "1.34", "1.34"), None);
    assert!(told.steps.iter().all(without));
    // There is nothing to change.
    let mut new = seen(&record, "1.35", "1.35");
    new.node_group.as_mut().expect("seen").it.release_version = "1.35.4-20260601".to_owned();
    let nothing = ascent(&record, &record, &new, ASKED);
    assert!(nothing.steps.iter().all(without));
    assert_eq!(nothing.record, record);
}

#[test]
fn nodes_of_an_adopted_cluster_follow_it() {
    let (mut base, mut record) = upgraded();
    for record in [&mut base, &mut record] {
        record.spec.eks.as_mut().expect("on EKS").adopted = true;
    }
    let ascent = ascent(&base, &record, &seen(&base, "1.35", "1.34"), ASKED);
    assert!(!addresses(&ascent).contains(&"cluster-version"));
    assert!(waits(&ascent, "nodes-replaced", DRAIN));
}

#[test]
fn another_disk_is_another_template_and_other_nodes() {
    let base = testing::eks_record();
    let mut record = base.clone();
    record.spec.disk.gib = 400;
    let seen = seen(&base, "1.34", "1.34");
    let ascent_with = |upgrade| ascent(&base, &record, &seen, upgrade);
    let asked = ascent_with(ASKED);
    assert!(waits(&asked, "nodes-replaced", "launch-template-version"));
    let Operation::Eks(does) = &of(&asked, "nodes-replaced").does else {
        panic!("a call");
    };
    assert_eq!(
        **does,
        EksOperation::UpdateNodeGroup {
            version: None,
            release: None
        }
    );
    let told = ascent_with(None);
    assert!(told.stuck.iter().any(|(_, one)| one.field == "disk of nodes"));
    // Killed between the template and the nodes.
    let mut half = seen.clone();
    let template = &mut half.launch_template.as_mut().expect("seen").it;
    (template.version, template.digest) = (2, template_digest(&record.spec));
    record.pending = Some(goal(&record.spec));
    let going = ascent(&record, &record, &half, None);
    assert!(!addresses(&going).contains(&"launch-template-version"));
    assert!(addresses(&going).contains(&"nodes-replaced"));
}

#[test]
fn jobs_are_aborted_only_where_that_is_asked_for() {
    let (base, record) = upgraded();
    let now = Upgrade {
        ending: Ending::Now,
        force: false,
    };
    for (upgrade, expected) in [
        (ASKED, ClusterOperation::Drain { seconds: 1800 }),
        (Some(now), ClusterOperation::Abort),
    ] {
        let ascent = ascent(&base, &record, &seen(&base, "1.34", "1.34"), upgrade);
        let Operation::Cluster(does) = &of(&ascent, DRAIN).does else {
            panic!("in the cluster");
        };
        assert_eq!(**does, expected);
    }
}
