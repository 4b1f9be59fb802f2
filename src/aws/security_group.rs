//! Security groups.

use aws_sdk_ec2::types::{
    Filter, IpPermission, IpRange, ResourceType, SecurityGroup as Group, Tag, TagSpecification,
};

use super::clients::Clients;
use super::error::{CallError, classify};
use crate::domain::deployment::observed::{SecurityGroup, Tagged};
use crate::domain::deployment::owner::Tags;

const DESCRIBE: &str = "ec2:DescribeSecurityGroups";
const RULES: &str = "ec2:DescribeSecurityGroupRules";
const CREATE: &str = "ec2:CreateSecurityGroup";
const REVOKE: &str = "ec2:RevokeSecurityGroupIngress";
const AUTHORIZE: &str = "ec2:AuthorizeSecurityGroupEgress";
const DELETE: &str = "ec2:DeleteSecurityGroup";

/// Filter values that one call may hold
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Filtering.html>).
pub const VALUES: usize = 200;

/// Reads an EC2 filter.
pub fn filter(name: &str, values: Vec<String>) -> Filter {
    Filter::builder().name(name).set_values(Some(values)).build()
}

/// Returns tags of EC2 as ours.
pub fn tags_of(tags: &[Tag]) -> Tags {
    tags.iter()
        .filter_map(|tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned())))
        .collect()
}

/// Returns our tags for something that is being made.
pub fn tags_for(kind: ResourceType, tags: &Tags) -> TagSpecification {
    let tags = tags
        .iter()
        .map(|(key, value)| Tag::builder().key(key).value(value).build())
        .collect();
    TagSpecification::builder()
        .resource_type(kind)
        .set_tags(Some(tags))
        .build()
}

/// Reads the groups of these names, in every VPC.
pub async fn named(clients: &Clients, names: &[String]) -> Result<Vec<Tagged<SecurityGroup>>, CallError> {
    let mut groups = Vec::new();
    for names in names.chunks(VALUES) {
        let mut pages = clients
            .ec2
            .describe_security_groups()
            .filters(filter("group-name", names.to_vec()))
            .into_paginator()
            .send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| classify(DESCRIBE, &error))?;
            groups.extend(page.security_groups().iter().map(read));
        }
    }
    Ok(groups)
}

fn read(group: &Group) -> Tagged<SecurityGroup> {
    let open = |rule: &IpPermission| {
        rule.ip_protocol() == Some("-1")
            && rule
                .ip_ranges()
                .iter()
                .any(|range| range.cidr_ip() == Some("0.0.0.0/0"))
    };
    Tagged {
        tags: tags_of(group.tags()),
        it: SecurityGroup {
            id: group.group_id().unwrap_or_default().to_owned(),
            name: group.group_name().unwrap_or_default().to_owned(),
            vpc: group.vpc_id().unwrap_or_default().to_owned(),
            ingress: group
                .ip_permissions()
                .iter()
                .map(|rule| format!("{rule:?}"))
                .collect(),
            egress_open: group.ip_permissions_egress().iter().any(open),
        },
    }
}

/// Makes a group.
pub async fn create(
    clients: &Clients,
    name: &str,
    description: &str,
    vpc: &str,
    tags: &Tags,
) -> Result<String, CallError> {
    let answer = clients
        .ec2
        .create_security_group()
        .group_name(name)
        .description(description)
        .vpc_id(vpc)
        .tag_specifications(tags_for(ResourceType::SecurityGroup, tags))
        .send()
        .await
        .map_err(|error| classify(CREATE, &error))?;
    answer.group_id.ok_or(CallError::Malformed {
        action: CREATE,
        cause: "no group id".to_owned(),
    })
}

/// Takes away every rule that lets something in.
pub async fn revoke_ingress(clients: &Clients, group: &str) -> Result<(), CallError> {
    let mut rules = Vec::new();
    let mut pages = clients
        .ec2
        .describe_security_group_rules()
        .filters(filter("group-id", vec![group.to_owned()]))
        .into_paginator()
        .send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| classify(RULES, &error))?;
        let ingress = page
            .security_group_rules()
            .iter()
            .filter(|rule| rule.is_egress() == Some(false));
        rules.extend(ingress.filter_map(|rule| rule.security_group_rule_id().map(str::to_owned)));
    }
    if rules.is_empty() {
        return Ok(());
    }
    clients
        .ec2
        .revoke_security_group_ingress()
        .group_id(group)
        .set_security_group_rule_ids(Some(rules))
        .send()
        .await
        .map_err(|error| classify(REVOKE, &error))?;
    Ok(())
}

/// Lets everything out.
pub async fn open_egress(clients: &Clients, group: &str) -> Result<(), CallError> {
    let all = IpPermission::builder()
        .ip_protocol("-1")
        .ip_ranges(IpRange::builder().cidr_ip("0.0.0.0/0").build())
        .build();
    clients
        .ec2
        .authorize_security_group_egress()
        .group_id(group)
        .ip_permissions(all)
        .send()
        .await
        .map_err(|error| classify(AUTHORIZE, &error))?;
    Ok(())
}

/// Removes a group.
pub async fn delete(clients: &Clients, group: &str) -> Result<(), CallError> {
    clients
        .ec2
        .delete_security_group()
        .group_id(group)
        .send()
        .await
        .map_err(|error| classify(DELETE, &error))?;
    Ok(())
}
