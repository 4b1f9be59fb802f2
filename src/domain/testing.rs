//! Example values for tests of this room.

use super::deployment::eks::addons;
use super::deployment::eks::spec::{Autoscaler, Chart, Eks, Endpoint, Job, Storage, StorageMode};
use super::deployment::name::Name;
use super::deployment::owner::Generation;
use super::deployment::record::{Phase, Record, SCHEMA};
use super::deployment::spec::{AlarmBasis, Disk, Docker, Image, Spec, Subnet, Token};
use super::profile::{Profile, builtin};

/// Returns the production profile.
pub fn production() -> Profile {
    builtin("production").expect("built in").profile
}

/// Returns what a deployment of so many hosts could be.
pub fn spec(count: u32) -> Spec {
    Spec {
        workload: "production".to_owned(),
        asked: String::new(),
        instance_type: "m6i.2xlarge".to_owned(),
        fallback_types: Vec::new(),
        count,
        concurrency: 8,
        check_interval: 3,
        disk: Disk {
            gib: 200,
            iops: 3000,
            throughput: 125,
            kms_key: None,
        },
        image: Image {
            id: String::new(),
            root_device: "/dev/sda1".to_owned(),
            parameter: None,
        },
        vpc: String::new(),
        subnets: vec![Subnet {
            id: String::new(),
            zone: String::new(),
        }],
        public_address: None,
        token: Token::Ours,
        registry: None,
        platform_url: "https://app.dataops.live".to_owned(),
        runner_image: "dataopslive/dataops-runner".to_owned(),
        channel: "latest".to_owned(),
        docker: Docker::default(),
        topic: None,
        notify: vec![
            "team@example.com".to_owned(),
            "https://hooks.example.com/a".to_owned(),
        ],
        termination_protection: false,
        log_retention_days: 30,
        tags: [("team".to_owned(), "data".to_owned())].into(),
        alarms: AlarmBasis {
            wave_gib: 3.0,
            days_to_full: 12,
            burstable: true,
        },
        eks: None,
    }
}

/// Returns what a deployment on EKS could be, with everything that there can be of ours.
pub fn eks_spec() -> Spec {
    Spec {
        workload: "kubernetes".to_owned(),
        instance_type: "c6i.large".to_owned(),
        concurrency: 12,
        image: Image {
            id: String::new(),
            root_device: "/dev/xvda".to_owned(),
            parameter: None,
        },
        subnets: ["a", "b"]
            .map(|zone| Subnet {
                id: format!("subnet-0{zone}"),
                zone: format!("eu-west-2{zone}"),
            })
            .into(),
        eks: Some(Box::new(eks())),
        ..spec(1)
    }
}

/// Returns the record of the deployment `abc` on EKS.
pub fn eks_record() -> Record {
    Record {
        schema: SCHEMA.to_owned(),
        name: Name::new("abc").expect("sound"),
        generation: Generation::from_bytes([1; 8]),
        made_by: String::new(),
        created_at: String::new(),
        phase: Phase::Present,
        lease: None,
        pending: None,
        launches: std::collections::BTreeMap::new(),
        spec: eks_spec(),
    }
}

/// Returns a cluster of the deployment `abc`, with everything that there can be of ours.
pub fn eks() -> Eks {
    Eks {
        cluster: "abc".to_owned(),
        adopted: false,
        version: "1.34".to_owned(),
        release: None,
        min_nodes: 2,
        max_nodes: 4,
        endpoint: Endpoint::default(),
        log_types: vec!["audit".to_owned()],
        secrets_key: None,
        admins: vec!["arn:aws:iam::123456789012:role/admin".to_owned()],
        autoscaler: Autoscaler::ClusterAutoscaler,
        addons: addons::ALL
            .map(|name| (name.to_owned(), "v6.2.0-eksbuild.1".to_owned()))
            .into(),
        storage: Storage {
            file_system: None,
            mode: StorageMode::Static,
        },
        namespace: "dataops".to_owned(),
        chart: Chart {
            repository: Some("https://charts.example.com".to_owned()),
            name: "dataops-runner".to_owned(),
            version: Some("1.2.3".to_owned()),
        },
        job: Job {
            cpu_m: 250,
            memory_mib: 448,
            memory_limit_mib: 448,
            timeout_minutes: 360,
        },
        vault_secret: None,
        job_policies: vec!["arn:aws:iam::123456789012:policy/jobs".to_owned()],
    }
}
