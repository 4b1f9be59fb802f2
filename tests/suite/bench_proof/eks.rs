//! EKS and what belongs to a cluster: states that last, what is refused, what goes along with what.

mod addons;
mod clusters;
mod nodes;
mod storage;

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_sdk_eks::operation::create_cluster::builders::CreateClusterFluentBuilder;
use aws_sdk_eks::types::{
    AddonStatus, AuthenticationMode, Cluster, ClusterStatus, CreateAccessConfigRequest, NodegroupStatus,
    VpcConfigRequest,
};
use serde_json::{Value, json};

use super::config;
use crate::bench::account::Account;
use crate::bench::http::{Headers, Request, Response};

/// An account with what a cluster needs.
struct Scene {
    account: Account,
    eks: aws_sdk_eks::Client,
    ec2: aws_sdk_ec2::Client,
    iam: aws_sdk_iam::Client,
    /// In three zones.
    subnets: Vec<String>,
}

const NODE_POLICIES: [&str; 3] = [
    "AmazonEKSWorkerNodePolicy",
    "AmazonEC2ContainerRegistryPullOnly",
    "AmazonEKS_CNI_Policy",
];

impl Scene {
    async fn open() -> Option<Self> {
        let account = Account::open()?;
        let config = config(&account).await;
        let scene = Self {
            eks: aws_sdk_eks::Client::new(&config),
            ec2: aws_sdk_ec2::Client::new(&config),
            iam: aws_sdk_iam::Client::new(&config),
            subnets: Vec::new(),
            account,
        };
        let listed = scene.ec2.describe_subnets().send().await.expect("subnets");
        let ids = listed.subnets().iter().filter_map(|subnet| subnet.subnet_id());
        let subnets = ids.map(str::to_owned).collect();
        let scene = Self { subnets, ..scene };
        scene.role("eks", "eks.amazonaws.com", &["sts:AssumeRole"]).await;
        scene.role("node", "ec2.amazonaws.com", &["sts:AssumeRole"]).await;
        let pods = ["sts:AssumeRole", "sts:TagSession"];
        scene.role("pods", "pods.eks.amazonaws.com", &pods).await;
        for policy in NODE_POLICIES {
            scene.attach("node", policy).await;
        }
        Some(scene)
    }

    fn arn(&self, role: &str) -> String {
        format!("arn:aws:iam::{}:role/{role}", self.account.id)
    }

    async fn role(&self, name: &str, service: &str, actions: &[&str]) {
        let trust = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": {"Service": service}, "Action": actions},
        ]});
        let create = self.iam.create_role().role_name(name);
        let made = create.assume_role_policy_document(trust.to_string()).send().await;
        made.expect("the role is made");
    }

    async fn attach(&self, role: &str, policy: &str) {
        let arn = format!("arn:aws:iam::aws:policy/{policy}");
        let attach = self.iam.attach_role_policy().role_name(role).policy_arn(arn);
        attach.send().await.expect("the policy is attached");
    }

    fn network(&self, subnets: usize) -> VpcConfigRequest {
        let ids = self.subnets[..subnets].to_vec();
        VpcConfigRequest::builder().set_subnet_ids(Some(ids)).build()
    }

    /// As deployments make it.
    fn create(&self, name: &str) -> CreateClusterFluentBuilder {
        let access = CreateAccessConfigRequest::builder()
            .authentication_mode(AuthenticationMode::Api)
            .build();
        self.eks
            .create_cluster()
            .name(name)
            .role_arn(self.arn("eks"))
            .resources_vpc_config(self.network(3))
            .access_config(access)
            .bootstrap_self_managed_addons(false)
    }

    async fn cluster(&self, name: &str) -> Cluster {
        let answer = self.eks.describe_cluster().name(name).send().await;
        answer.expect("the cluster").cluster().expect("a cluster").clone()
    }

    /// Makes a cluster with the network add-on, and waits for it.
    async fn made(&self, name: &str) {
        self.create(name).send().await.expect("is made");
        self.eventually(async || self.cluster(name).await.status() == Some(&ClusterStatus::Active))
            .await;
        self.addon(name, "vpc-cni").await;
    }

    async fn addon(&self, cluster: &str, name: &str) {
        let create = self.eks.create_addon().cluster_name(cluster).addon_name(name);
        create.send().await.expect("the add-on is made");
    }

    async fn addon_status(&self, cluster: &str, name: &str) -> AddonStatus {
        let describe = self.eks.describe_addon().cluster_name(cluster).addon_name(name);
        let answer = describe.send().await.expect("the add-on");
        let addon = answer.addon().expect("an add-on");
        addon.status().expect("a status").clone()
    }

    async fn nodegroup(&self, cluster: &str, name: &str) -> aws_sdk_eks::types::Nodegroup {
        let describe = self.eks.describe_nodegroup();
        let answer = describe.cluster_name(cluster).nodegroup_name(name).send().await;
        answer
            .expect("the node group")
            .nodegroup()
            .expect("a node group")
            .clone()
    }

    async fn nodegroup_is(&self, cluster: &str, name: &str, status: NodegroupStatus) {
        self.eventually(async || self.nodegroup(cluster, name).await.status() == Some(&status))
            .await;
    }

    /// Waits until something holds; what never does ends the test.
    async fn eventually(&self, mut holds: impl AsyncFnMut() -> bool) {
        let began = Instant::now();
        while !holds().await {
            assert!(began.elapsed() < Duration::from_secs(30), "never");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// What the control of a Kubernetes bench is told: method, path and body.
#[derive(Clone)]
struct Control {
    url: String,
    told: Arc<Mutex<Vec<(String, String, Value)>>>,
}

impl Control {
    /// Answers everything with a status.
    fn start(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let told: Arc<Mutex<Vec<(String, String, Value)>>> = Arc::default();
        let log = Arc::clone(&told);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let Some(request) = Request::read(&stream) else {
                    continue;
                };
                let body = serde_json::from_slice(&request.body).unwrap_or_default();
                log.lock()
                    .expect("no panic")
                    .push((request.method, request.target, body));
                let answer = Response {
                    status,
                    headers: Headers::default(),
                    ..Response::default()
                };
                answer.write(&mut stream);
            }
        });
        Self { url, told }
    }

    fn told(&self) -> Vec<(String, String, Value)> {
        self.told.lock().expect("no panic").clone()
    }
}
