//! Example values for tests of this room.

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
    }
}
