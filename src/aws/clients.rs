//! The clients of one account and region.

use aws_config::SdkConfig;
use aws_credential_types::provider::SharedCredentialsProvider;

/// Clients that share credentials, region and connections.
#[derive(Clone, Debug)]
pub struct Clients {
    /// EC2.
    pub ec2: aws_sdk_ec2::Client,
    /// Clusters.
    pub eks: aws_sdk_eks::Client,
    /// File systems.
    pub efs: aws_sdk_efs::Client,
    /// IAM.
    pub iam: aws_sdk_iam::Client,
    /// Systems Manager.
    pub ssm: aws_sdk_ssm::Client,
    /// Topics.
    pub sns: aws_sdk_sns::Client,
    /// Log groups.
    pub logs: aws_sdk_cloudwatchlogs::Client,
    /// Alarms and dashboards.
    pub cloudwatch: aws_sdk_cloudwatch::Client,
    /// Tags of everything.
    pub tagging: aws_sdk_resourcegroupstagging::Client,
    /// Quotas.
    pub quotas: aws_sdk_servicequotas::Client,
    /// Who calls.
    pub sts: aws_sdk_sts::Client,
    /// Secrets of the user's.
    pub secrets: aws_sdk_secretsmanager::Client,
    /// As whom all of them call; the login to a cluster is signed with it.
    pub credentials: Option<SharedCredentialsProvider>,
    /// The AWS profile that the user named, for programs that sign in by themselves.
    pub profile: Option<String>,
}

impl Clients {
    /// Makes them; nothing is called yet.
    pub fn new(config: &SdkConfig) -> Self {
        Self {
            ec2: aws_sdk_ec2::Client::new(config),
            eks: aws_sdk_eks::Client::new(config),
            efs: aws_sdk_efs::Client::new(config),
            iam: aws_sdk_iam::Client::new(config),
            ssm: aws_sdk_ssm::Client::new(config),
            sns: aws_sdk_sns::Client::new(config),
            logs: aws_sdk_cloudwatchlogs::Client::new(config),
            cloudwatch: aws_sdk_cloudwatch::Client::new(config),
            tagging: aws_sdk_resourcegroupstagging::Client::new(config),
            quotas: aws_sdk_servicequotas::Client::new(config),
            sts: aws_sdk_sts::Client::new(config),
            secrets: aws_sdk_secretsmanager::Client::new(config),
            credentials: config.credentials_provider(),
            profile: None,
        }
    }
}
