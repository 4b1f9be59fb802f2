//! Reads what must hold before the first create.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use aws_sdk_cloudwatch::types::{Dimension, Metric, MetricDataQuery, MetricStat};
use aws_sdk_ec2::types::{DeviceType, InstanceType, LocationType};

use super::clients::Clients;
use super::error::{CallError, Refusal, classify};
use super::instance::{self, Earnest};
use super::parameter;
use super::role::or_missing;
use super::security_group::filter;
use crate::domain::deployment::operation::Launch;
use crate::domain::deployment::preflight::{
    GP3_QUOTA, ImageFact, Permission, Quota, RouteTable, SubnetFact, VCPU_QUOTA,
};
use crate::domain::deployment::spec::{SecretRef, Spec, Subnet};

const VPCS: &str = "ec2:DescribeVpcs";
const SUBNETS: &str = "ec2:DescribeSubnets";
const ROUTES: &str = "ec2:DescribeRouteTables";
const OFFERINGS: &str = "ec2:DescribeInstanceTypeOfferings";
const IMAGES: &str = "ec2:DescribeImages";
const QUOTA: &str = "servicequotas:GetServiceQuota";
const USAGE: &str = "cloudwatch:GetMetricData";
const SECRET: &str = "secretsmanager:DescribeSecret";
const GROUP: &str = "ec2:CreateSecurityGroup";

/// Which subnets are meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Network {
    /// The default ones of the default VPC.
    Default,
    /// All of a VPC.
    Vpc(String),
    /// These.
    Subnets(Vec<String>),
}

/// Reads subnets.
pub async fn subnets(clients: &Clients, network: &Network) -> Result<Vec<SubnetFact>, CallError> {
    let call = clients.ec2.describe_subnets();
    let call = match network {
        Network::Default => call.filters(filter("default-for-az", vec!["true".to_owned()])),
        Network::Vpc(vpc) => call.filters(filter("vpc-id", vec![vpc.clone()])),
        Network::Subnets(ids) => call.filters(filter("subnet-id", ids.clone())),
    };
    let mut pages = call.into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| classify(SUBNETS, &error))?;
        found.extend(page.subnets().iter().map(|subnet| {
            SubnetFact {
                subnet: Subnet {
                    id: subnet.subnet_id().unwrap_or_default().to_owned(),
                    zone: subnet.availability_zone().unwrap_or_default().to_owned(),
                },
                vpc: subnet.vpc_id().unwrap_or_default().to_owned(),
                free: subnet
                    .available_ip_address_count()
                    .and_then(|count| u32::try_from(count).ok())
                    .unwrap_or_default(),
                public: subnet.map_public_ip_on_launch().unwrap_or_default(),
                default_for_zone: subnet.default_for_az().unwrap_or_default(),
            }
        }));
    }
    found.sort_by(|a, b| (&a.subnet.zone, &a.subnet.id).cmp(&(&b.subnet.zone, &b.subnet.id)));
    Ok(found)
}

/// Whether a VPC exists.
pub async fn vpc_exists(clients: &Clients, vpc: &str) -> Result<bool, CallError> {
    let answer = clients
        .ec2
        .describe_vpcs()
        .filters(filter("vpc-id", vec![vpc.to_owned()]))
        .send()
        .await
        .map_err(|error| classify(VPCS, &error))?;
    Ok(!answer.vpcs().is_empty())
}

/// Reads the route tables of a VPC.
pub async fn routes(clients: &Clients, vpc: &str) -> Result<Vec<RouteTable>, CallError> {
    let mut pages = clients
        .ec2
        .describe_route_tables()
        .filters(filter("vpc-id", vec![vpc.to_owned()]))
        .into_paginator()
        .send();
    let mut tables = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| classify(ROUTES, &error))?;
        tables.extend(page.route_tables().iter().map(|table| {
            let out = table.routes().iter().find(|route| {
                route.destination_cidr_block() == Some("0.0.0.0/0")
                    && route.state().is_none_or(|state| state.as_str() == "active")
            });
            let out = out.and_then(|route| {
                route
                    .gateway_id()
                    .or(route.nat_gateway_id())
                    .or(route.transit_gateway_id())
                    .or(route.network_interface_id())
                    .or(route.vpc_peering_connection_id())
                    .or(route.instance_id())
            });
            RouteTable {
                vpc: table.vpc_id().unwrap_or_default().to_owned(),
                subnets: table
                    .associations()
                    .iter()
                    .filter_map(|association| association.subnet_id().map(str::to_owned))
                    .collect(),
                main: table
                    .associations()
                    .iter()
                    .any(|association| association.main().unwrap_or_default()),
                out: out.map(str::to_owned),
            }
        }));
    }
    Ok(tables)
}

/// Reads which of the types are offered in which zone.
pub async fn offered(
    clients: &Clients,
    types: &BTreeSet<String>,
) -> Result<BTreeSet<(String, String)>, CallError> {
    let types: Vec<String> = types.iter().cloned().collect();
    let mut pages = clients
        .ec2
        .describe_instance_type_offerings()
        .location_type(LocationType::AvailabilityZone)
        .filters(filter("instance-type", types))
        .into_paginator()
        .send();
    let mut offered = BTreeSet::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| classify(OFFERINGS, &error))?;
        offered.extend(page.instance_type_offerings().iter().filter_map(|row| {
            let name = row.instance_type().map(InstanceType::as_str)?;
            Some((name.to_owned(), row.location()?.to_owned()))
        }));
    }
    Ok(offered)
}

/// Reads an image.
pub async fn image(clients: &Clients, id: &str) -> Result<Option<ImageFact>, CallError> {
    let answer = clients
        .ec2
        .describe_images()
        .filters(filter("image-id", vec![id.to_owned()]))
        .send()
        .await
        .map_err(|error| classify(IMAGES, &error))?;
    Ok(answer.images().first().map(|image| {
        let root = image.root_device_name().unwrap_or_default();
        let mapping = image
            .block_device_mappings()
            .iter()
            .find(|mapping| mapping.device_name() == Some(root));
        ImageFact {
            id: id.to_owned(),
            name: image.name().unwrap_or_default().to_owned(),
            architecture: image.architecture().map_or("", |value| value.as_str()).to_owned(),
            root_device: root.to_owned(),
            on_ebs: image.root_device_type() == Some(&DeviceType::Ebs),
            state: image.state().map_or("", |state| state.as_str()).to_owned(),
            root_gib: mapping
                .and_then(|mapping| mapping.ebs()?.volume_size())
                .and_then(|gib| u32::try_from(gib).ok()),
        }
    }))
}

/// Reads the quota of vCPUs, and how many are in use as far as CloudWatch knows.
pub async fn vcpus(clients: &Clients) -> Quota {
    let (limit, used) = tokio::join!(quota(clients, "ec2", VCPU_QUOTA), vcpus_in_use(clients));
    match limit {
        Ok(limit) => Quota::Value {
            limit,
            used: used.unwrap_or_default(),
        },
        Err(error) => Quota::Unread(error.to_string()),
    }
}

/// Reads the quota of gp3 volumes, TiB.
pub async fn gp3(clients: &Clients) -> Quota {
    match quota(clients, "ebs", GP3_QUOTA).await {
        Ok(limit) => Quota::Value { limit, used: None },
        Err(error) => Quota::Unread(error.to_string()),
    }
}

/// Reads a quota.
pub async fn quota(clients: &Clients, service: &str, code: &str) -> Result<f64, CallError> {
    let answer = clients
        .quotas
        .get_service_quota()
        .service_code(service)
        .quota_code(code)
        .send()
        .await
        .map_err(|error| classify(QUOTA, &error))?;
    answer
        .quota()
        .and_then(aws_sdk_servicequotas::types::ServiceQuota::value)
        .ok_or(CallError::Malformed {
            action: QUOTA,
            cause: "no value".to_owned(),
        })
}

/// Reads the usage that AWS counts every five minutes, instead of every instance of the account
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch-Service-Quota-Integration.html>).
pub async fn vcpus_in_use(clients: &Clients) -> Result<Option<f64>, CallError> {
    let dimension = |name: &str, value: &str| Dimension::builder().name(name).value(value).build();
    let metric = Metric::builder()
        .namespace("AWS/Usage")
        .metric_name("ResourceCount")
        .dimensions(dimension("Service", "EC2"))
        .dimensions(dimension("Type", "Resource"))
        .dimensions(dimension("Resource", "vCPU"))
        .dimensions(dimension("Class", "Standard/OnDemand"))
        .build();
    let stat = MetricStat::builder()
        .metric(metric)
        .period(300)
        .stat("Maximum")
        .build();
    let now = SystemTime::now();
    let answer = clients
        .cloudwatch
        .get_metric_data()
        .metric_data_queries(MetricDataQuery::builder().id("used").metric_stat(stat).build())
        .start_time((now - Duration::from_hours(1)).into())
        .end_time(now.into())
        .send()
        .await
        .map_err(|error| classify(USAGE, &error))?;
    Ok(answer
        .metric_data_results()
        .first()
        .and_then(|result| result.values().first().copied()))
}

/// Whether a secret of the user's exists.
pub async fn secret_exists(clients: &Clients, reference: &SecretRef) -> Result<bool, CallError> {
    match reference {
        SecretRef::Parameter(name) => {
            let read = parameter::read(clients, std::slice::from_ref(name), false).await?;
            Ok(!read.is_empty())
        }
        SecretRef::Secret(name) => {
            let answer = clients.secrets.describe_secret().secret_id(name).send().await;
            Ok(or_missing(answer.map_err(|error| classify(SECRET, &error)))?.is_some())
        }
    }
}

/// Tries what AWS lets one try: a launch and a security group, both dry.
pub async fn permissions(clients: &Clients, spec: &Spec, launch: &Launch) -> Vec<(&'static str, Permission)> {
    let group = async {
        let call = clients
            .ec2
            .create_security_group()
            .group_name("dataops-infra-dry-run")
            .description("dry run")
            .vpc_id(&spec.vpc)
            .tag_specifications(super::security_group::tags_for(
                aws_sdk_ec2::types::ResourceType::SecurityGroup,
                &launch.tags,
            ))
            .dry_run(true);
        call.send()
            .await
            .map_err(|error| classify(GROUP, &error))
            .map(|_| ())
    };
    let run = async {
        instance::run(clients, spec, launch, None, None, Earnest::Dry)
            .await
            .map(|_| ())
    };
    let (run, group) = tokio::join!(run, group);
    vec![("ec2:RunInstances", permission(run)), (GROUP, permission(group))]
}

fn permission(tried: Result<(), CallError>) -> Permission {
    match tried {
        Ok(()) => Permission::Granted,
        Err(error) => match &error {
            CallError::Denied { cause, .. } => Permission::Denied(cause.clone()),
            CallError::Refused { why, cause, .. } => match why {
                // Capacity is what the ladder is for.
                Refusal::DryRun | Refusal::Capacity => Permission::Granted,
                Refusal::Throttled => Permission::Unread(cause.clone()),
                _ => Permission::Invalid(cause.clone()),
            },
            _ => Permission::Unread(error.to_string()),
        },
    }
}
