//! The host's role: who may assume it, and the least it may do.

use serde_json::{Value, json};

use crate::domain::deployment::name::{Host, Name, Place};
use crate::domain::deployment::spec::{SecretRef, Spec, Token};

/// Returns who may assume the role: EC2.
pub fn trust(place: &Place) -> Value {
    let suffix = if place.partition() == "aws-cn" { ".cn" } else { "" };
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": { "Service": format!("ec2.amazonaws.com{suffix}") },
            "Action": "sts:AssumeRole",
        }],
    })
}

/// Returns what the host may do.
///
/// Read its secrets, report its state, write figures and logs, and be managed through Systems Manager, whose agent
/// needs the two message services
/// (<https://docs.aws.amazon.com/systems-manager/latest/userguide/systems-manager-setting-up-messageAPIs.html>).
/// Pipelines reach this role through the metadata service, so there is nothing else in it.
pub fn policy(name: &Name, spec: &Spec, place: &Place) -> Value {
    let mut parameters = Vec::new();
    let mut secrets = Vec::new();
    let mut place_of = |reference: &SecretRef| match reference {
        SecretRef::Parameter(parameter) => parameters.push(parameter_arn(parameter, place)),
        SecretRef::Secret(secret) => secrets.push(secret_arn(secret, place)),
    };
    match &spec.token {
        Token::Ours => place_of(&SecretRef::Parameter(name.token())),
        Token::Theirs(reference) => place_of(reference),
    }
    if let Some(registry) = &spec.registry {
        place_of(registry);
    }
    let reports: Vec<String> = Host::all(spec.count)
        .into_iter()
        .map(|host| parameter_arn(&name.report(host), place))
        .collect();
    let mut statements = vec![
        json!({
            "Sid": "Report",
            "Effect": "Allow",
            "Action": "ssm:PutParameter",
            "Resource": reports,
        }),
        json!({
            "Sid": "Figures",
            "Effect": "Allow",
            "Action": "cloudwatch:PutMetricData",
            "Resource": "*",
            "Condition": { "StringEquals": { "cloudwatch:namespace": "CWAgent" } },
        }),
        json!({
            "Sid": "Logs",
            "Effect": "Allow",
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"],
            "Resource": [
                place.arn("logs", &format!("log-group:{}", name.log_group())),
                place.arn("logs", &format!("log-group:{}:*", name.log_group())),
            ],
        }),
        json!({
            "Sid": "Management",
            "Effect": "Allow",
            "Action": [
                "ssm:UpdateInstanceInformation",
                "ssmmessages:CreateControlChannel",
                "ssmmessages:CreateDataChannel",
                "ssmmessages:OpenControlChannel",
                "ssmmessages:OpenDataChannel",
                "ec2messages:AcknowledgeMessage",
                "ec2messages:DeleteMessage",
                "ec2messages:FailMessage",
                "ec2messages:GetEndpoint",
                "ec2messages:GetMessages",
                "ec2messages:SendReply",
            ],
            "Resource": "*",
        }),
    ];
    if !parameters.is_empty() {
        statements.insert(
            0,
            json!({
                "Sid": "Parameters",
                "Effect": "Allow",
                "Action": "ssm:GetParameter",
                "Resource": parameters,
            }),
        );
    }
    if !secrets.is_empty() {
        statements.insert(
            0,
            json!({
                "Sid": "Secrets",
                "Effect": "Allow",
                "Action": "secretsmanager:GetSecretValue",
                "Resource": secrets,
            }),
        );
    }
    let foreign =
        matches!(spec.token, Token::Theirs(_)) || spec.registry.is_some() || spec.disk.kms_key.is_some();
    if foreign {
        // Which key encrypts a secret of the user's is not known here; only these services may use it for the host.
        statements.push(json!({
            "Sid": "Keys",
            "Effect": "Allow",
            "Action": "kms:Decrypt",
            "Resource": "*",
            "Condition": { "StringEquals": { "kms:ViaService": [
                format!("ssm.{}.amazonaws.com", place.region),
                format!("secretsmanager.{}.amazonaws.com", place.region),
            ] } },
        }));
    }
    json!({ "Version": "2012-10-17", "Statement": statements })
}

/// Returns the ARN of a parameter given by name or ARN.
pub fn parameter_arn(parameter: &str, place: &Place) -> String {
    if parameter.starts_with("arn:") {
        parameter.to_owned()
    } else {
        place.arn("ssm", &format!("parameter/{}", parameter.trim_start_matches('/')))
    }
}

/// Returns the ARN of a secret given by name or ARN; AWS adds six characters to the name.
pub fn secret_arn(secret: &str, place: &Place) -> String {
    if secret.starts_with("arn:") {
        secret.to_owned()
    } else {
        place.arn("secretsmanager", &format!("secret:{secret}-??????"))
    }
}
