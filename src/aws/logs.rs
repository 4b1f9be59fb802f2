//! Log groups.

use std::collections::BTreeMap;

use super::clients::Clients;
use super::error::{CallError, classify};
use crate::domain::deployment::observed::LogGroup;
use crate::domain::deployment::owner::Tags;

const DESCRIBE: &str = "logs:DescribeLogGroups";
const LIST_TAGS: &str = "logs:ListTagsForResource";
const CREATE: &str = "logs:CreateLogGroup";
const RETENTION: &str = "logs:PutRetentionPolicy";
const TAG: &str = "logs:TagResource";
const UNTAG: &str = "logs:UntagResource";
const DELETE: &str = "logs:DeleteLogGroup";

/// Reads the log groups whose names begin so.
pub async fn beginning(clients: &Clients, prefix: &str) -> Result<BTreeMap<String, LogGroup>, CallError> {
    let mut pages = clients
        .logs
        .describe_log_groups()
        .log_group_name_prefix(prefix)
        .into_paginator()
        .send();
    let mut groups = BTreeMap::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| classify(DESCRIBE, &error))?;
        for group in page.log_groups() {
            let read = LogGroup {
                retention_days: group
                    .retention_in_days()
                    .and_then(|days| u32::try_from(days).ok()),
            };
            groups.insert(group.log_group_name().unwrap_or_default().to_owned(), read);
        }
    }
    Ok(groups)
}

/// Reads the tags of a log group.
pub async fn tags(clients: &Clients, arn: &str) -> Result<Tags, CallError> {
    let answer = clients
        .logs
        .list_tags_for_resource()
        .resource_arn(arn)
        .send()
        .await
        .map_err(|error| classify(LIST_TAGS, &error))?;
    Ok(answer.tags().cloned().unwrap_or_default().into_iter().collect())
}

/// Makes a log group.
pub async fn create(clients: &Clients, name: &str, tags: &Tags) -> Result<(), CallError> {
    clients
        .logs
        .create_log_group()
        .log_group_name(name)
        .set_tags(Some(tags.clone().into_iter().collect()))
        .send()
        .await
        .map_err(|error| classify(CREATE, &error))?;
    Ok(())
}

/// Sets the days that it keeps.
pub async fn set_retention(clients: &Clients, name: &str, days: u32) -> Result<(), CallError> {
    clients
        .logs
        .put_retention_policy()
        .log_group_name(name)
        .retention_in_days(i32::try_from(days).unwrap_or(i32::MAX))
        .send()
        .await
        .map_err(|error| classify(RETENTION, &error))?;
    Ok(())
}

/// Sets tags.
pub async fn set_tags(clients: &Clients, arn: &str, tags: &Tags) -> Result<(), CallError> {
    clients
        .logs
        .tag_resource()
        .resource_arn(arn)
        .set_tags(Some(tags.clone().into_iter().collect()))
        .send()
        .await
        .map_err(|error| classify(TAG, &error))?;
    Ok(())
}

/// Takes a tag away.
pub async fn remove_tag(clients: &Clients, arn: &str, key: &str) -> Result<(), CallError> {
    clients
        .logs
        .untag_resource()
        .resource_arn(arn)
        .tag_keys(key)
        .send()
        .await
        .map_err(|error| classify(UNTAG, &error))?;
    Ok(())
}

/// Removes a log group with everything in it.
pub async fn delete(clients: &Clients, name: &str) -> Result<(), CallError> {
    clients
        .logs
        .delete_log_group()
        .log_group_name(name)
        .send()
        .await
        .map_err(|error| classify(DELETE, &error))?;
    Ok(())
}
