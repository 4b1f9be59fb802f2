//! Every operation of a deployment on EKS against the emulator, through the engine: made, found again, changed, removed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_ec2::config::Credentials;
use dataops_infra::aws::clients::Clients;
use dataops_infra::aws::deployed::Deployed;
use dataops_infra::aws::eks::{access, observe, preflight as eks_preflight, template};
use dataops_infra::aws::preflight::{Network, subnets};
use dataops_infra::domain::deployment::eks::name::{RoleOf, access_address};
use dataops_infra::domain::deployment::eks::observed::ObservedEks;
use dataops_infra::domain::deployment::eks::operation::{AddonSpec, EksOperation};
use dataops_infra::domain::deployment::eks::preflight::{EksNeed, findings};
use dataops_infra::domain::deployment::name::Place;
use dataops_infra::domain::deployment::operation::Operation;
use dataops_infra::domain::deployment::owner::{KEPT, Tags};
use dataops_infra::domain::deployment::preflight::{Quota, Status, SubnetFact};
use dataops_infra::domain::deployment::record::Record;
use dataops_infra::domain::deployment::step::{Action, Step};
use dataops_infra::engine::attempt::{Around, Failed, Patience, attempt};
use dataops_infra::engine::port::{Cloud as _, Done, Found, Ids};
use serde_json::{Value, json};
use tokio::sync::{Mutex, watch};

use super::bench::account::Account;
use super::bench::rule::Rule;

const CLUSTER: &str = "runner-cluster";
const NAME: &str = "runner-eks";
const GROUP: &str = "dataops-infra-runner-eks";
const ADMIN: &str = "arn:aws:iam::ACCOUNT:role/admin";

/// A deployment, the account it is in, and what its steps have made.
struct World {
    account: Account,
    clients: Clients,
    place: Place,
    record: Record,
    cloud: Deployed,
    ids: Ids,
    subnets: Vec<SubnetFact>,
}

async fn clients(account: &Account) -> Clients {
    let config = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new("eu-west-2"))
        .endpoint_url(&account.url)
        .credentials_provider(Credentials::new("test", "test", None, None, "bench"))
        // What is lost is to be seen by us, not by the SDK.
        .retry_config(RetryConfig::disabled())
        .load()
        .await;
    Clients::new(&config)
}

fn record(subnets: &[SubnetFact], generation: &str) -> Record {
    let vpc = &subnets[0].vpc;
    let subnets: Vec<Value> = subnets
        .iter()
        .map(|fact| json!({ "id": fact.subnet.id, "zone": fact.subnet.zone }))
        .collect();
    let record = json!({
        "schema": "dataops-infra/deployment/v1",
        "name": NAME,
        "generation": generation,
        "made_by": "0.1.0",
        "created_at": "2026-11-21T00:00:00Z",
        "phase": "present",
        "spec": {
            "workload": "kubernetes", "asked": "0", "instance_type": "c6i.2xlarge", "count": 1, "concurrency": 4,
            "check_interval": 1,
            "disk": { "gib": 300, "iops": 3000, "throughput": 125 },
            "image": { "id": "", "root_device": "/dev/xvda" },
            "vpc": vpc, "subnets": subnets, "token": "ours",
            "platform_url": "https://app.dataops.live", "runner_image": "a", "channel": "latest",
            "log_retention_days": 30, "tags": { "team": "data" },
            "alarms": { "wave_gib": 1.0, "days_to_full": 30, "burstable": false },
            "eks": {
                "cluster": CLUSTER, "version": "1.34", "min_nodes": 1, "max_nodes": 3,
                "log_types": ["audit"], "autoscaler": "cluster-autoscaler",
                "addons": { "vpc-cni": "", "coredns": "", "kube-proxy": "" },
                "storage": { "mode": "static" }, "namespace": "dataops",
                "chart": { "name": "runner" },
                "job": { "cpu_m": 1000, "memory_mib": 1024, "memory_limit_mib": 2048, "timeout_minutes": 60 },
            },
        },
    });
    let name = serde_json::from_value(record["name"].clone()).expect("a name");
    Record::read(&name, &record.to_string()).expect("a record")
}

const PATIENCE: Patience = Patience {
    online: Duration::from_secs(10),
    gone: Duration::from_secs(10),
    visible: Duration::from_secs(3),
    throttled: Duration::from_secs(3),
    look: Duration::from_millis(200),
};

fn trust(service: &str, pods: bool) -> Value {
    let actions = if pods {
        json!(["sts:AssumeRole", "sts:TagSession"])
    } else {
        json!(["sts:AssumeRole"])
    };
    let service = json!({ "Service": service });
    json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Principal": service, "Action": actions }] })
}

fn managed(name: &str) -> String {
    format!("arn:aws:iam::aws:policy/{name}")
}

impl World {
    async fn open() -> Option<Self> {
        Some(Self::on(Account::open()?, "00112233445566aa").await)
    }

    async fn on(account: Account, generation: &str) -> Self {
        let clients = clients(&account).await;
        let place = Place {
            account: account.id.clone(),
            region: "eu-west-2".to_owned(),
        };
        let mut found = subnets(&clients, &Network::Default).await.expect("subnets");
        found.truncate(2);
        let record = record(&found, generation);
        let cloud = Deployed::new(clients.clone(), place.clone(), record.clone(), None);
        let mut world = Self {
            account,
            clients,
            place,
            record,
            cloud,
            ids: Ids::new(),
            subnets: found,
        };
        // The waits look whether the record is still there.
        let made = Operation::CreateRecord(Box::new(world.record.clone()));
        world
            .take(Action::Create, "record", made)
            .await
            .expect("a record");
        world
    }

    async fn take(&mut self, action: Action, address: &str, does: Operation) -> Result<Done, Failed> {
        let step = Step {
            address: address.to_owned(),
            kind: "test",
            action,
            reason: String::new(),
            differences: Vec::new(),
            fallbacks: Vec::new(),
            after: Vec::new(),
            does,
        };
        let record = Mutex::new(self.record.clone());
        let (_asked, stop) = watch::channel(false);
        let mut around = Around {
            cloud: &self.cloud,
            ids: self.ids.clone(),
            record: &record,
            patience: PATIENCE,
            stop,
            tell: &|_| {},
        };
        let done = Box::pin(attempt(&step, &mut around)).await?;
        if let Some(id) = &done.id {
            self.ids.insert(address.to_owned(), id.clone());
        }
        Ok(done)
    }

    async fn try_step(&mut self, address: &str, does: EksOperation) -> Result<Done, Failed> {
        let action = if does.is_removal() {
            Action::Delete
        } else {
            Action::Create
        };
        self.take(action, address, Operation::Eks(Box::new(does))).await
    }

    #[track_caller]
    fn step<'a>(&'a mut self, address: &'a str, does: EksOperation) -> impl Future<Output = Done> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            match Box::pin(self.try_step(address, does)).await {
                Ok(done) => done,
                Err(failed) => panic!("{address} at {caller}: {failed}"),
            }
        }
    }

    fn admin(&self) -> String {
        ADMIN.replace("ACCOUNT", &self.place.account)
    }

    fn vpc(&self) -> String {
        self.subnets[0].vpc.clone()
    }

    async fn observed(&self) -> ObservedEks {
        observe::observe(&self.clients, &self.place, &self.record.name, CLUSTER)
            .await
            .expect("what there is")
    }

    /// Makes the roles of the cluster, of its nodes and of pods.
    async fn roles(&mut self) {
        for (of, service, policies) in [
            (
                RoleOf::Cluster,
                "eks.amazonaws.com",
                &["AmazonEKSClusterPolicy"][..],
            ),
            (
                RoleOf::Nodes,
                "ec2.amazonaws.com",
                &["AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly"],
            ),
            (RoleOf::Cni, "pods.eks.amazonaws.com", &["AmazonEKS_CNI_Policy"]),
            (RoleOf::Jobs, "pods.eks.amazonaws.com", &[]),
        ] {
            let trust = trust(service, service.starts_with("pods"));
            self.step(&of.address(), EksOperation::CreateRole { of, trust })
                .await;
            for policy in policies {
                let policy = managed(policy);
                self.step("policy", EksOperation::AttachPolicy { of, policy })
                    .await;
            }
        }
    }

    async fn cluster(&mut self) {
        self.step("cluster", EksOperation::CreateCluster).await;
        self.step("cluster-active", EksOperation::WaitCluster).await;
    }

    async fn template(&mut self) {
        let tags = Tags::from([("team".to_owned(), "data".to_owned())]);
        let digest = "d1".to_owned();
        self.step(
            "launch-template",
            EksOperation::CreateLaunchTemplate { tags, digest },
        )
        .await;
    }

    async fn versions(&self) -> BTreeMap<String, String> {
        let names = ["vpc-cni", "coredns", "kube-proxy", "eks-pod-identity-agent"];
        let names: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let found = eks_preflight::addons(&self.clients, "1.34", &names)
            .await
            .expect("versions");
        assert_eq!(found.keys().cloned().collect::<BTreeSet<_>>(), names);
        let pinned = |(name, read): (
            String,
            dataops_infra::domain::deployment::eks::preflight::AddonVersions,
        )| { (name, read.default.expect("a default")) };
        found.into_iter().map(pinned).collect()
    }

    fn addon(name: &str, version: &str) -> AddonSpec {
        let accounts = match name {
            "vpc-cni" => BTreeMap::from([("aws-node".to_owned(), RoleOf::Cni)]),
            _ => BTreeMap::new(),
        };
        AddonSpec {
            name: name.to_owned(),
            version: version.to_owned(),
            configuration: None,
            accounts,
        }
    }

    async fn storage(&mut self) {
        let vpc = self.vpc();
        // Those of the VPC.
        let cidrs = Vec::new();
        self.step("efs-security-group", EksOperation::CreateEfsGroup { vpc })
            .await;
        self.step("efs-security-group-nfs", EksOperation::AllowNfs { cidrs })
            .await;
        self.step("file-system", EksOperation::CreateFileSystem).await;
        self.step("file-system-available", EksOperation::WaitFileSystem)
            .await;
        for fact in self.subnets.clone() {
            let address = format!("mount-target-{}", fact.subnet.zone);
            let subnet = fact.subnet.id;
            self.step(&address, EksOperation::CreateMountTarget { subnet })
                .await;
        }
        self.step("mount-targets-available", EksOperation::WaitMountTargets)
            .await;
    }

    async fn everything(&mut self) {
        self.roles().await;
        self.cluster().await;
        let principal = self.admin();
        let admin = trust("ec2.amazonaws.com", false).to_string();
        let made = self.account.query(
            "test",
            "iam",
            "CreateRole",
            &[("RoleName", "admin"), ("AssumeRolePolicyDocument", &admin)],
        );
        assert!(
            made.0 == 200 || made.1.contains("EntityAlreadyExists"),
            "{}",
            made.1
        );
        let address = access_address(&principal);
        let entry = EksOperation::CreateAccessEntry {
            principal: principal.clone(),
        };
        self.step(&address, entry).await;
        self.step("access-policy", EksOperation::AssociateAccessPolicy { principal })
            .await;
        self.template().await;
        let versions = self.versions().await;
        for name in ["eks-pod-identity-agent", "vpc-cni", "kube-proxy"] {
            let addon = Self::addon(name, &versions[name]);
            self.step(&format!("addon-{name}"), EksOperation::CreateAddon { addon })
                .await;
        }
        self.step("nodes", EksOperation::CreateNodeGroup).await;
        let addon = Self::addon("coredns", &versions["coredns"]);
        self.step("addon-coredns", EksOperation::CreateAddon { addon })
            .await;
        self.step("nodes-active", EksOperation::WaitNodeGroup).await;
        for name in versions.keys() {
            let wait = EksOperation::WaitAddon { name: name.clone() };
            self.step(&format!("addon-{name}-active"), wait).await;
        }
        let identity = EksOperation::CreatePodIdentity {
            namespace: "dataops".to_owned(),
            account: "runner-eks-jobs".to_owned(),
            of: RoleOf::Jobs,
        };
        self.step("pod-identity-jobs", identity).await;
        self.storage().await;
        let name = format!("/aws/containerinsights/{CLUSTER}/performance");
        self.step(
            "logs-insights",
            EksOperation::CreateLogGroup { name: name.clone() },
        )
        .await;
        let days = 30;
        self.step("retention", EksOperation::SetRetention { name, days })
            .await;
    }
}

/// Takes from what there is what says whose it is.
fn addresses(observed: &ObservedEks) -> BTreeSet<String> {
    let of = |tags: &Tags| tags.get("dataops-infra:address").cloned();
    let mut found: BTreeSet<String> = BTreeSet::new();
    found.extend(observed.cluster.as_ref().and_then(|it| of(&it.tags)));
    found.extend(observed.roles.values().filter_map(|it| of(&it.tags)));
    found.extend(observed.launch_template.as_ref().and_then(|it| of(&it.tags)));
    found.extend(observed.node_group.as_ref().and_then(|it| of(&it.tags)));
    found.extend(observed.addons.values().filter_map(|it| of(&it.tags)));
    found.extend(observed.access_entries.values().filter_map(|it| of(&it.tags)));
    found.extend(observed.pod_identities.values().filter_map(|it| of(&it.tags)));
    found.extend(observed.file_system.as_ref().and_then(|it| of(&it.tags)));
    found.extend(observed.efs_group.as_ref().and_then(|it| of(&it.tags)));
    found.extend(observed.log_groups.values().filter_map(|it| of(&it.tags)));
    found
}

#[tokio::test]
async fn everything_is_made_seen_and_found_again() {
    let Some(mut world) = World::open().await else {
        return;
    };
    let nothing = world.observed().await;
    assert!(
        addresses(&nothing).is_empty() && nothing.cluster.is_none(),
        "{nothing:?}"
    );
    Box::pin(world.everything()).await;
    let observed = world.observed().await;
    let mut expected: BTreeSet<String> = [
        "cluster",
        "role-eks",
        "role-node",
        "role-cni",
        "role-jobs",
        "launch-template",
        "nodes",
        "addon-vpc-cni",
        "addon-coredns",
        "addon-kube-proxy",
        "addon-eks-pod-identity-agent",
        "pod-identity-jobs",
        "file-system",
        "efs-security-group",
        "logs-insights",
    ]
    .map(str::to_owned)
    .into();
    expected.insert(access_address(&world.admin()));
    assert_eq!(addresses(&observed), expected);

    let cluster = observed.cluster.expect("a cluster").it;
    assert_eq!(
        (cluster.status.as_str(), cluster.support.as_str()),
        ("ACTIVE", "STANDARD")
    );
    assert_eq!(
        (cluster.log_types, cluster.authentication.as_str()),
        (vec!["audit".to_owned()], "API")
    );
    assert_eq!(cluster.vpc, world.vpc());
    assert!(cluster.endpoint.starts_with("https://") && !cluster.authority.is_empty());
    let group = observed.node_group.expect("a node group").it;
    assert_eq!((group.min, group.max, group.desired), (1, 3, 1));
    assert_eq!(group.template_version, Some(1));
    assert_eq!(group.labels["dataops-infra/deployment"], NAME);
    let template = observed.launch_template.expect("a template").it;
    assert_eq!((template.version, template.digest.as_str()), (1, "d1"));
    assert!(observed.others_in_cluster.is_empty());
    assert_eq!(observed.addons["vpc-cni"].it.pod_identities.len(), 1);
    let entry = &observed.access_entries[&world.admin()].it;
    assert_eq!(entry.policies, [access::admin_policy(&world.place)]);
    let identity = &observed.pod_identities["dataops/runner-eks-jobs"].it;
    assert!(
        identity
            .role
            .ends_with("role/dataops-infra/dataops-runner-eks-eu-west-2-jobs"),
        "{identity:?}"
    );
    let system = observed.file_system.expect("a file system").it;
    assert_eq!(
        (
            system.state.as_str(),
            system.encrypted,
            system.mount_targets.len()
        ),
        ("available", true, 2)
    );
    let doors = observed.efs_group.expect("a group").it.ingress;
    assert!(
        doors.iter().all(|door| door.starts_with("tcp 2049 ")) && !doors.is_empty(),
        "{doors:?}"
    );
    let role = &observed.roles[&RoleOf::Nodes].it;
    assert_eq!(
        role.attached,
        [
            managed("AmazonEC2ContainerRegistryPullOnly"),
            managed("AmazonEKSWorkerNodePolicy")
        ]
    );
    let logs = &observed.log_groups[&format!("/aws/containerinsights/{CLUSTER}/performance")];
    assert_eq!(logs.it.retention_days, Some(30));

    // A second run that knows nothing of the first finds the same things.
    let ids = std::mem::take(&mut world.ids);
    Box::pin(world.everything()).await;
    assert_eq!(world.ids, ids);
}

#[tokio::test]
async fn answers_that_are_lost_make_nothing_twice() {
    let Some(mut world) = World::open().await else {
        return;
    };
    for call in [
        "iam:CreateRole",
        "eks:CreateCluster",
        "eks:CreateAccessEntry",
        "ec2:CreateLaunchTemplate",
        "eks:CreateAddon",
        "eks:CreateNodegroup",
        "eks:CreatePodIdentityAssociation",
        "elasticfilesystem:CreateFileSystem",
        "elasticfilesystem:CreateMountTarget",
        "ec2:CreateSecurityGroup",
        "ec2:AuthorizeSecurityGroupIngress",
        "logs:CreateLogGroup",
    ] {
        world.account.rule(Rule::on(call).lose().times(1));
    }
    Box::pin(world.everything()).await;
    for (call, once) in [
        ("eks:CreateCluster", 1),
        ("eks:CreateNodegroup", 1),
        ("ec2:CreateLaunchTemplate", 1),
        ("elasticfilesystem:CreateFileSystem", 1),
        ("ec2:CreateSecurityGroup", 1),
    ] {
        let calls = world.account.calls_of(call);
        assert_eq!(calls.len(), once, "{call} is looked for, not made again");
        assert_eq!(calls[0].answer, None, "{call} was lost");
    }
    let observed = world.observed().await;
    assert!(observed.cluster.is_some() && observed.node_group.is_some() && observed.file_system.is_some());
    assert_eq!(
        world
            .clients
            .efs
            .describe_file_systems()
            .send()
            .await
            .expect("systems")
            .file_systems()
            .len(),
        1
    );
}

#[tokio::test]
async fn what_is_of_somebody_else_is_not_taken_over() {
    let Some(account) = Account::open() else {
        return;
    };
    let mut theirs = World::on(account, "00112233445566aa").await;
    Box::pin(theirs.everything()).await;
    let World {
        clients,
        place,
        mut record,
        subnets,
        account,
        ids,
        ..
    } = theirs;
    record.generation = serde_json::from_value(json!("ffffffffffffffff")).expect("a generation");
    let cloud = Deployed::new(clients.clone(), place.clone(), record.clone(), None);
    let mut world = World {
        account,
        clients,
        place,
        record,
        cloud,
        ids,
        subnets,
    };
    let versions = world.versions().await;
    let addon = World::addon("coredns", &versions["coredns"]);
    let principal = world.admin();
    let (tags, digest, vpc) = (Tags::new(), "d1".to_owned(), world.vpc());
    let identity = EksOperation::CreatePodIdentity {
        namespace: "dataops".to_owned(),
        account: "runner-eks-jobs".to_owned(),
        of: RoleOf::Jobs,
    };
    let role = EksOperation::CreateRole {
        of: RoleOf::Jobs,
        trust: trust("pods.eks.amazonaws.com", true),
    };
    let logs = format!("/aws/containerinsights/{CLUSTER}/performance");
    for does in [
        role,
        EksOperation::CreateCluster,
        EksOperation::CreateAccessEntry { principal },
        EksOperation::CreateLaunchTemplate { tags, digest },
        EksOperation::CreateNodeGroup,
        EksOperation::CreateAddon { addon },
        identity,
        EksOperation::CreateEfsGroup { vpc },
        EksOperation::CreateLogGroup { name: logs },
    ] {
        match world.try_step("x", does.clone()).await {
            Err(Failed::Foreign(what)) => assert!(what.contains("generation 00112233445566aa"), "{what}"),
            other => panic!("{does:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn changes_are_waited_for() {
    let Some(mut world) = World::open().await else {
        return;
    };
    Box::pin(world.everything()).await;
    let times = json!({ "cluster-update": 1, "nodegroup-update": 1, "addon-update": 1 });
    world.account.knobs(&json!({ "times": times }));
    let tags = Tags::from([("team".to_owned(), "other".to_owned())]);
    let template = world.ids["launch-template"].clone();
    let newer = EksOperation::NewTemplateVersion {
        template,
        tags,
        digest: "d2".to_owned(),
    };
    world.step("launch-template", newer).await;
    let read = template::read(&world.clients, GROUP)
        .await
        .expect("read")
        .expect("there")
        .it;
    assert_eq!((read.version, read.digest.as_str()), (2, "d2"));

    // Wanted otherwise than it was made.
    let eks = world.record.spec.eks.as_deref_mut().expect("on EKS");
    eks.log_types = vec!["api".to_owned()];
    eks.endpoint.cidrs = vec!["1.2.3.0/24".to_owned()];
    world.cloud = Deployed::new(
        world.clients.clone(),
        world.place.clone(),
        world.record.clone(),
        None,
    );
    world.step("logging", EksOperation::UpdateLogging).await;
    world.step("endpoint", EksOperation::UpdateEndpoint).await;
    // The same again changes nothing, and is no error.
    world.step("endpoint", EksOperation::UpdateEndpoint).await;
    let version = "1.35".to_owned();
    // Nobody hears that it was begun: it is seen by the cluster's state.
    world
        .account
        .rule(Rule::on("eks:UpdateClusterVersion").lose().times(1));
    world
        .step(
            "version",
            EksOperation::UpdateVersion {
                version,
                force: false,
            },
        )
        .await;
    world
        .step("limits", EksOperation::ScaleNodeGroup { min: 2, max: 5 })
        .await;
    let version = Some("1.35".to_owned());
    world
        .step(
            "nodes",
            EksOperation::UpdateNodeGroup {
                version,
                release: None,
            },
        )
        .await;
    let observed = world.observed().await;
    let cluster = observed.cluster.expect("a cluster").it;
    assert_eq!(
        (cluster.version.as_str(), cluster.status.as_str()),
        ("1.35", "ACTIVE")
    );
    assert_eq!(
        (cluster.log_types, cluster.cidrs),
        (vec!["api".to_owned()], vec!["1.2.3.0/24".to_owned()])
    );
    let group = observed.node_group.expect("a node group").it;
    assert_eq!((group.min, group.max, group.desired), (2, 5, 2));
    assert_eq!(
        (group.version.as_str(), group.template_version),
        ("1.35", Some(2))
    );

    let names = BTreeSet::from(["kube-proxy".to_owned()]);
    let found = eks_preflight::addons(&world.clients, "1.35", &names)
        .await
        .expect("versions");
    let newer = found["kube-proxy"].default.clone().expect("a default");
    let addon = World::addon("kube-proxy", &newer);
    world
        .step("addon-kube-proxy", EksOperation::UpdateAddon { addon })
        .await;
    assert_eq!(world.observed().await.addons["kube-proxy"].it.version, newer);

    let failure =
        json!({ "nodegroup-update": { "code": "PodEvictionFailure", "message": "Reached max retries" } });
    world
        .account
        .knobs(&json!({ "fail": failure, "release": "20260510" }));
    let newest = eks_preflight::release(&world.clients, "1.35", false)
        .await
        .expect("a release");
    assert!(
        newest.starts_with("1.35.") && newest.ends_with("-20260510"),
        "{newest}"
    );
    let patched = EksOperation::UpdateNodeGroup {
        version: None,
        release: Some(newest.clone()),
    };
    match world.try_step("nodes", patched.clone()).await {
        Err(Failed::Never(why)) => assert!(why.contains("PodEvictionFailure: Reached max retries"), "{why}"),
        other => panic!("{other:?}"),
    }
    // The answer is lost and the change fails: that the group is active again is no success.
    world
        .account
        .rule(Rule::on("eks:UpdateNodegroupVersion").lose().times(1));
    match world.try_step("nodes", patched.clone()).await {
        Err(Failed::Never(why)) => assert!(why.contains("did not come about"), "{why}"),
        other => panic!("{other:?}"),
    }
    let failure = json!({ "nodegroup-update": null });
    world.account.knobs(&json!({ "fail": failure }));
    world.step("nodes", patched.clone()).await;
    // Again it is nothing: what there is, is what is wanted.
    world.step("nodes", patched).await;
    let group = world.observed().await.node_group.expect("a node group").it;
    assert_eq!(group.release_version, newest);
}

#[tokio::test]
async fn a_wait_ends_with_what_eks_says_is_wrong() {
    let Some(mut world) = World::open().await else {
        return;
    };
    world.roles().await;
    world.cluster().await;
    world.template().await;
    let failures = json!({
        "nodegroup": { "code": "NodeCreationFailure", "message": "Instances failed to join the kubernetes cluster" },
        "addon/kube-proxy": { "code": "ConfigurationConflict", "message": "Conflicts found" },
    });
    world.account.knobs(&json!({ "fail": failures }));
    world.step("nodes", EksOperation::CreateNodeGroup).await;
    match world.try_step("nodes-active", EksOperation::WaitNodeGroup).await {
        Err(Failed::Never(why)) => {
            assert!(
                why.contains("CREATE_FAILED: NodeCreationFailure: Instances failed") && why.contains("NAT"),
                "{why}"
            );
        }
        other => panic!("{other:?}"),
    }
    let versions = world.versions().await;
    let addon = World::addon("kube-proxy", &versions["kube-proxy"]);
    world
        .step("addon-kube-proxy", EksOperation::CreateAddon { addon })
        .await;
    let name = "kube-proxy".to_owned();
    match world.try_step("addon", EksOperation::WaitAddon { name }).await {
        Err(Failed::Never(why)) => assert!(why.contains("CREATE_FAILED: ConfigurationConflict"), "{why}"),
        other => panic!("{other:?}"),
    }
    // CoreDNS has no node to run on, which nodes would mend: it is waited for.
    let addon = World::addon("coredns", &versions["coredns"]);
    world
        .step("addon-coredns", EksOperation::CreateAddon { addon })
        .await;
    let wait = Operation::Eks(Box::new(EksOperation::WaitAddon {
        name: "coredns".to_owned(),
    }));
    let seen = world.cloud.watch(&wait, &world.ids).await.expect("an answer");
    assert!(format!("{seen:?}").starts_with("NotYet"), "{seen:?}");

    // Another run removes the deployment: nobody is to wait for its cluster.
    let deleted = world.account.json(
        "test",
        "ssm",
        "AmazonSSM.DeleteParameter",
        &json!({ "Name": format!("/dataops-infra/{NAME}/deployment") }),
    );
    assert_eq!(deleted.0, 200);
    match world.try_step("cluster-active", EksOperation::WaitCluster).await {
        Err(Failed::Never(why)) => assert!(why.contains("record is gone"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn everything_goes_again() {
    let Some(mut world) = World::open().await else {
        return;
    };
    Box::pin(world.everything()).await;
    let observed = world.observed().await;
    let times = json!({ "nodegroup-deletion": 1, "cluster-deletion": 1, "addon-deletion": 1, "mount-target-deletion": 1 });
    world.account.knobs(&json!({ "times": times }));
    for identity in observed.pod_identities.values() {
        let id = identity.it.id.clone();
        world
            .step("identity", EksOperation::DeletePodIdentity { id })
            .await;
    }
    world.step("nodes", EksOperation::DeleteNodeGroup).await;
    for name in observed.addons.keys() {
        world
            .step("addon", EksOperation::DeleteAddon { name: name.clone() })
            .await;
        world
            .step("addon", EksOperation::WaitAddonGone { name: name.clone() })
            .await;
    }
    world.step("nodes", EksOperation::WaitNodeGroupGone).await;
    let principal = world.admin();
    world
        .step("access", EksOperation::DeleteAccessEntry { principal })
        .await;
    world.step("cluster", EksOperation::DeleteCluster).await;
    world.step("cluster", EksOperation::WaitClusterGone).await;
    // Again: gone is what was wanted.
    world.step("cluster", EksOperation::DeleteCluster).await;
    let system = observed.file_system.expect("a file system").it;
    for target in system.mount_targets.values() {
        let id = target.id.clone();
        world.step("target", EksOperation::DeleteMountTarget { id }).await;
    }
    let file_system = system.id.clone();
    world
        .step("targets", EksOperation::WaitMountTargetsGone { file_system })
        .await;
    let id = system.id.clone();
    world
        .step("file-system", EksOperation::KeepFileSystem { id: id.clone() })
        .await;
    let kept = world.observed().await.file_system.expect("is kept");
    assert!(
        kept.tags.contains_key(KEPT) && !kept.tags.contains_key("dataops-infra:generation"),
        "{kept:?}"
    );
    world
        .step("file-system", EksOperation::DeleteFileSystem { id })
        .await;
    let template = world.ids["launch-template"].clone();
    world
        .step("template", EksOperation::DeleteLaunchTemplate { template })
        .await;
    for name in observed.log_groups.keys() {
        world
            .step("logs", EksOperation::DeleteLogGroup { name: name.clone() })
            .await;
    }
    for (of, role) in &observed.roles {
        for policy in role.it.attached.clone() {
            world
                .step("policy", EksOperation::DetachPolicy { of: *of, policy })
                .await;
        }
        world.step("role", EksOperation::DeleteRole { of: *of }).await;
    }
    let group = Operation::DeleteSecurityGroup {
        group: world.ids["efs-security-group"].clone(),
    };
    world.take(Action::Delete, "group", group).await.expect("goes");
    let left = world.observed().await;
    assert!(addresses(&left).is_empty(), "{left:?}");
    assert!(
        left.cluster.is_none() && left.roles.is_empty() && left.file_system.is_none(),
        "{left:?}"
    );
}

#[tokio::test]
async fn tags_are_mended_on_everything() {
    let Some(mut world) = World::open().await else {
        return;
    };
    Box::pin(world.everything()).await;
    let observed = world.observed().await;
    let cluster = observed.cluster.as_ref().expect("a cluster").it.arn.clone();
    let place = world.place.clone();
    let more = Tags::from([("cost".to_owned(), "42".to_owned())]);
    let system = &observed.file_system.as_ref().expect("a file system").it.id;
    let template = &observed.launch_template.as_ref().expect("a template").it.id;
    for arn in [
        cluster,
        observed.roles[&RoleOf::Jobs].it.arn.clone(),
        place.arn("elasticfilesystem", &format!("file-system/{system}")),
        place.arn("ec2", &format!("launch-template/{template}")),
        place.arn(
            "logs",
            &format!("log-group:/aws/containerinsights/{CLUSTER}/performance"),
        ),
    ] {
        let tags = more.clone();
        world.step("tag", EksOperation::Tag { arn, tags }).await;
    }
    let observed = world.observed().await;
    let has = |tags: &Tags| tags.get("cost").map(String::as_str) == Some("42");
    assert!(has(&observed.cluster.expect("a cluster").tags));
    assert!(has(&observed.roles[&RoleOf::Jobs].tags) && !has(&observed.roles[&RoleOf::Nodes].tags));
    assert!(has(&observed.file_system.expect("a file system").tags));
    assert!(has(&observed.launch_template.expect("a template").tags));
    assert!(has(&observed.log_groups
        [&format!("/aws/containerinsights/{CLUSTER}/performance")]
        .tags));
}

#[tokio::test]
async fn the_nodes_disk_and_metadata_are_in_the_template() {
    let Some(mut world) = World::open().await else {
        return;
    };
    world.template().await;
    let versions = world
        .clients
        .ec2
        .describe_launch_template_versions()
        .launch_template_id(&world.ids["launch-template"])
        .send()
        .await
        .expect("versions");
    let data = versions.launch_template_versions()[0]
        .launch_template_data()
        .expect("data");
    let disk = data.block_device_mappings()[0].ebs().expect("a disk");
    assert_eq!((disk.volume_size(), disk.encrypted()), (Some(300), Some(true)));
    let metadata = data.metadata_options().expect("options");
    assert_eq!(metadata.http_put_response_hop_limit(), Some(1));
    assert_eq!(
        metadata
            .http_tokens()
            .map(aws_sdk_ec2::types::LaunchTemplateHttpTokensState::as_str),
        Some("required")
    );
    assert!(data.image_id().is_none() && data.security_group_ids().is_empty());
}

#[tokio::test]
async fn the_account_is_asked_before() {
    let Some(world) = World::open().await else {
        return;
    };
    let addons = BTreeSet::from(["coredns".to_owned(), "vpc-cni".to_owned()]);
    let facts = eks_preflight::facts(&world.clients, &world.vpc(), None, &addons, None).await;
    let choice = facts.choice().expect("a version").version.clone();
    let need = EksNeed {
        version: choice,
        cluster: true,
        node_group: true,
        max_nodes: 3,
        file_system: true,
        addons,
    };
    assert!(facts.cidrs.as_ref().is_some_and(|cidrs| !cidrs.is_empty()));
    let found = findings(&need, &facts, &world.subnets);
    let blocked: Vec<_> = found
        .iter()
        .filter(|finding| finding.status == Status::Blocked)
        .collect();
    assert!(blocked.is_empty(), "{blocked:?}");
    assert!(
        !matches!(facts.clusters, Some(Quota::Unread(_)) | None),
        "{:?}",
        facts.clusters
    );
}

#[tokio::test]
async fn a_step_that_lacks_an_identity_says_which() {
    let Some(world) = World::open().await else {
        return;
    };
    let nodes = Operation::Eks(Box::new(EksOperation::CreateNodeGroup));
    let error = world
        .cloud
        .perform(&nodes, &Ids::new())
        .await
        .expect_err("nothing was made");
    assert!(
        error
            .to_string()
            .contains("identity of launch-template is not known"),
        "{error}"
    );
    let found = world.cloud.look(&nodes, &Ids::new()).await;
    assert_eq!(found, Ok(Found::Absent));
}
