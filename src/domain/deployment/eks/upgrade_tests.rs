use super::*;
use crate::domain::deployment::observed::Tagged;
use crate::domain::deployment::owner::Tags;
use crate::domain::testing;

fn seen(cluster: &str, nodes: &str) -> ObservedEks {
    ObservedEks {
        cluster: Some(Tagged {
            it: Cluster {
                status: "ACTIVE".to_owned(),
                version: cluster.to_owned(),
                ..Cluster::default()
            },
            tags: Tags::new(),
        }),
        node_group: Some(Tagged {
            it: NodeGroup {
                status: "ACTIVE".to_owned(),
                version: nodes.to_owned(),
                release_version: format!("{nodes}.8-20260410"),
                ..NodeGroup::default()
            },
            tags: Tags::new(),
        }),
        ..ObservedEks::default()
    }
}

fn known() -> Facts {
    let version = |version: &str| KubernetesVersion {
        version: version.to_owned(),
        standard: true,
        ..KubernetesVersion::default()
    };
    let names = ["v9.0.0-eksbuild.1", "v7.0.0-eksbuild.1", "v6.2.0-eksbuild.1"];
    let offered = AddonVersions {
        default: Some("v7.0.0-eksbuild.1".to_owned()),
        versions: names.map(str::to_owned).to_vec(),
    };
    let record = testing::eks();
    Facts {
        versions: Some(vec![version("1.35"), version("1.34")]),
        addons: Some(
            record
                .addons
                .keys()
                .map(|name| (name.clone(), offered.clone()))
                .collect(),
        ),
        release: Some(Ok("1.35.4-20260510".to_owned())),
        insights: Some(Ok(Vec::new())),
        others: Vec::new(),
    }
}

fn record() -> Record {
    testing::eks_record()
}

fn aim(record: &Record, seen: &ObservedEks, asked: Asked<'_>) -> Result<String, Refusal> {
    let eks = record.spec.eks.as_deref().expect("on EKS");
    target(record, eks, seen, asked)
}

#[test]
fn versions_are_numbers() {
    assert!(is_older("1.9", "1.10") && !is_older("1.10", "1.9") && !is_older("1.10", "1.10"));
    assert!(compared("1.34.8-20260410", "1.34.8-20260510").is_lt());
    assert!(compared("v1.9.2-eksbuild.10", "v1.9.2-eksbuild.9").is_gt());
    for odd in [
        "",
        "1",
        "1.",
        ".35",
        "1.35.2",
        "v1.35",
        "1.-1",
        "one.two",
        "1.99999999999",
    ] {
        assert_eq!(number(odd), None, "{odd}");
    }
}

#[test]
fn one_version_up_and_never_down() {
    let ask = |cluster: &str, wanted: &str| aim(&record(), &seen(cluster, "1.34"), Asked::Kubernetes(wanted));
    assert_eq!(ask("1.34", "1.35").as_deref(), Ok("1.35"));
    // Upgraded by hand, by EKS at the end of the support, or taken back by it: the rest follows.
    assert_eq!(ask("1.33", "1.33").as_deref(), Ok("1.33"));
    assert_eq!(ask("1.35", "1.35").as_deref(), Ok("1.35"));
    let told: Vec<String> = [
        ("1.34", "1.36"),
        ("1.34", "1.33"),
        ("1.34", "2.0"),
        ("1.34", "latest"),
    ]
    .into_iter()
    .map(|(cluster, wanted)| {
        let refusal = ask(cluster, wanted).expect_err("refused");
        format!(
            "{refusal}\n  {}",
            refusal.way_out(|command| format!("dataops-infra {command}"))
        )
    })
    .collect();
    insta::assert_snapshot!(told.join("\n"), @r"
    from Kubernetes 1.34 to 1.36 are 2 minor versions, and a control plane goes up by one at a time
      `dataops-infra upgrade --kubernetes-version 1.35` comes first; look at what runs then, and go on until 1.36
    the control plane has Kubernetes 1.34, and 1.33 is older: what runs in the cluster may hold what only 1.34 knows, so nothing here goes down
      EKS itself can take nodes and then the control plane back for 7 days after an upgrade (https://docs.aws.amazon.com/eks/latest/userguide/rollback-cluster.html); `dataops-infra upgrade --kubernetes-version 1.33` then takes the rest along
    `2.0` is no version of Kubernetes such as 1.35
      `dataops-infra doctor` says which one the cluster has; AWS lists those that there are (aws eks describe-cluster-versions)
    `latest` is no version of Kubernetes such as 1.35
      `dataops-infra doctor` says which one the cluster has; AWS lists those that there are (aws eks describe-cluster-versions)
    ");
}

#[test]
fn whose_it_is_decides_what_may_be_asked() {
    let mut adopted = record();
    adopted.spec.eks.as_mut().expect("on EKS").adopted = true;
    let ours = seen("1.35", "1.34");
    assert_eq!(
        aim(&adopted, &ours, Asked::Kubernetes("1.35")),
        Err(Refusal::Adopted {
            cluster: "abc".to_owned()
        })
    );
    // Its nodes follow it.
    assert_eq!(aim(&adopted, &ours, Asked::Nodes).as_deref(), Ok("1.35"));
    let mut automatic = adopted;
    automatic.spec.eks.as_mut().expect("on EKS").autoscaler = Autoscaler::Cluster;
    assert!(matches!(
        aim(&automatic, &ours, Asked::Nodes),
        Err(Refusal::NotOurs { .. })
    ));
    let none = ObservedEks::default();
    assert!(matches!(
        aim(&record(), &none, Asked::Nodes),
        Err(Refusal::NoCluster { .. })
    ));
}

#[test]
fn what_was_begun_is_finished_first() {
    let mut begun = record();
    begun.spec.eks.as_mut().expect("on EKS").version = "1.35".to_owned();
    begun.pending = Some(goal(&begun.spec));
    let half = seen("1.34", "1.34");
    assert_eq!(
        aim(&begun, &half, Asked::Kubernetes("1.35")).as_deref(),
        Ok("1.35")
    );
    assert_eq!(aim(&begun, &half, Asked::Nodes).as_deref(), Ok("1.35"));
    assert_eq!(
        aim(&begun, &half, Asked::Kubernetes("1.36")),
        Err(Refusal::Unfinished("nodes of Kubernetes 1.35".to_owned()))
    );
}

#[test]
fn add_ons_and_image_go_with_the_version() {
    let mut before = record();
    let addons = &mut before.spec.eks.as_mut().expect("on EKS").addons;
    addons.insert("coredns".to_owned(), "v9.0.0-eksbuild.1".to_owned());
    let seen = seen("1.34", "1.34");
    let asked = Asked::Kubernetes("1.35");
    let spec = wanted(&before, &seen, "1.35", asked, &known()).expect("decided");
    let eks = spec.eks.expect("on EKS");
    assert_eq!(eks.version, "1.35");
    assert_eq!(eks.release.as_deref(), Some("1.35.4-20260510"));
    assert_eq!(eks.addons["vpc-cni"], "v7.0.0-eksbuild.1");
    assert_eq!(eks.addons["coredns"], "v9.0.0-eksbuild.1", "newer, and fits");
    let mut without = known();
    without.addons.as_mut().expect("known").remove("coredns");
    let refused = wanted(&before, &seen, "1.35", asked, &without).expect_err("refused");
    assert!(matches!(refused, Refusal::NoAddon { .. }), "{refused}");
    let unread = Facts::default();
    let refused = wanted(&before, &seen, "1.35", asked, &unread).expect_err("refused");
    assert_eq!(refused, Refusal::NoAddons("1.35".to_owned()));
}

#[test]
fn nodes_get_the_newest_image_and_nothing_else() {
    let seen = seen("1.34", "1.34");
    let with = |release: Result<&str, &str>| Facts {
        release: Some(release.map(str::to_owned).map_err(str::to_owned)),
        ..Facts::default()
    };
    let ask = |release| wanted(&record(), &seen, "1.34", Asked::Nodes, &with(release));
    let spec = ask(Ok("1.34.9-20260510")).expect("decided");
    let mut expected = record().spec;
    expected.eks.as_mut().expect("on EKS").release = Some("1.34.9-20260510".to_owned());
    assert_eq!(spec, expected);
    assert_eq!(ask(Ok("1.34.8-20260410")), Ok(record().spec), "they have it");
    assert!(matches!(ask(Err("no")), Err(Refusal::NoRelease { .. })));
}

#[test]
fn what_eks_finds_is_in_the_way_unless_it_is_ignored() {
    let insight = |status: &str| Insight {
        name: "Deprecated APIs removed in Kubernetes v1.35".to_owned(),
        status: status.to_owned(),
        reason: "Deprecated API usage detected".to_owned(),
        recommendation: "Update manifests".to_owned(),
    };
    let of = |found: Result<Vec<Insight>, String>, ignores: bool| {
        let facts = Facts {
            insights: Some(found),
            ..known()
        };
        let all = findings(&testing::eks(), &seen("1.34", "1.34"), "1.35", &facts, ignores);
        let found = all.into_iter().find(|finding| finding.code == "eks-insights");
        let found = found.expect("a finding");
        (found.status, found.evidence)
    };
    let (status, says) = of(Ok(vec![insight("ERROR")]), false);
    assert_eq!(status, Status::Blocked);
    assert!(says.contains("usage detected: Update manifests"), "{says}");
    assert_eq!(of(Ok(vec![insight("ERROR")]), true).0, Status::Warning);
    assert_eq!(of(Ok(vec![insight("WARNING")]), false).0, Status::Warning);
    assert_eq!(of(Ok(vec![insight("UNKNOWN")]), false).0, Status::Warning);
    assert_eq!(of(Ok(vec![insight("PASSING")]), false).0, Status::Ok);
    assert_eq!(of(Err("denied".to_owned()), false).0, Status::Unknown);
    // Where the control plane stays, nothing is asked.
    assert!(findings(&testing::eks(), &seen("1.35", "1.34"), "1.35", &known(), false).is_empty());
}

#[test]
fn nodes_may_be_three_versions_older() {
    let status = |ours: &str, others: &str| {
        let facts = Facts {
            others: vec![("theirs".to_owned(), others.to_owned())],
            ..known()
        };
        let all = findings(&testing::eks(), &seen("1.34", ours), "1.35", &facts, false);
        let found = all.into_iter().find(|finding| finding.code == "eks-skew");
        found.expect("a finding").status
    };
    assert_eq!(status("1.34", "1.32"), Status::Ok);
    assert_eq!(status("1.34", "1.31"), Status::Blocked);
    assert_eq!(status("1.31", "1.34"), Status::Blocked);
}
