//! The clients of one account and region.

use aws_config::SdkConfig;

/// Clients that share credentials, region and connections.
#[derive(Clone, Debug)]
pub struct Clients {
    /// EC2.
    pub ec2: aws_sdk_ec2::Client,
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
}

impl Clients {
    /// Makes them; nothing is called yet.
    pub fn new(config: &SdkConfig) -> Self {
        Self {
            ec2: aws_sdk_ec2::Client::new(config),
            iam: aws_sdk_iam::Client::new(config),
            ssm: aws_sdk_ssm::Client::new(config),
            sns: aws_sdk_sns::Client::new(config),
            logs: aws_sdk_cloudwatchlogs::Client::new(config),
            cloudwatch: aws_sdk_cloudwatch::Client::new(config),
            tagging: aws_sdk_resourcegroupstagging::Client::new(config),
            quotas: aws_sdk_servicequotas::Client::new(config),
            sts: aws_sdk_sts::Client::new(config),
            secrets: aws_sdk_secretsmanager::Client::new(config),
        }
    }
}
