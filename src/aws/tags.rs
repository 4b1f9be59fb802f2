//! Tags: everything that carries the name of a deployment, in one question.

use std::collections::BTreeMap;

use aws_sdk_resourcegroupstagging::types::TagFilter;

use super::clients::Clients;
use super::error::{CallError, classify};
use crate::domain::deployment::name::Name;
use crate::domain::deployment::owner::{DEPLOYMENT, Tags};

const RESOURCES: &str = "tag:GetResources";

/// Values that one filter may hold
/// (<https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/API_GetResources.html>).
const VALUES: usize = 20;

/// Returns the tags of whatever carries one of the names, by ARN.
///
/// The answer can be some seconds old. IAM, dashboards and subscriptions are not in it.
pub async fn named(clients: &Clients, names: &[Name]) -> Result<BTreeMap<String, Tags>, CallError> {
    let parts = names.chunks(VALUES).map(|names| {
        let names = names.iter().map(Name::to_string).collect();
        let filter = TagFilter::builder()
            .key(DEPLOYMENT)
            .set_values(Some(names))
            .build();
        read(clients, filter, None)
    });
    let parts = futures_util::future::try_join_all(parts).await?;
    Ok(parts.into_iter().flatten().collect())
}

/// Returns the tags of parameters that carry any name: the deployments of the region.
pub async fn parameters(clients: &Clients) -> Result<BTreeMap<String, Tags>, CallError> {
    let filter = TagFilter::builder().key(DEPLOYMENT).build();
    read(clients, filter, Some("ssm:parameter")).await
}

async fn read(
    clients: &Clients,
    filter: TagFilter,
    kind: Option<&str>,
) -> Result<BTreeMap<String, Tags>, CallError> {
    let mut question = clients
        .tagging
        .get_resources()
        .tag_filters(filter)
        .resources_per_page(100);
    if let Some(kind) = kind {
        question = question.resource_type_filters(kind);
    }
    let mut pages = question.into_paginator().send();
    let mut found = BTreeMap::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| classify(RESOURCES, &error))?;
        for resource in page.resource_tag_mapping_list() {
            let tags = resource
                .tags()
                .iter()
                .map(|tag| (tag.key().to_owned(), tag.value().to_owned()))
                .collect();
            found.insert(resource.resource_arn().unwrap_or_default().to_owned(), tags);
        }
    }
    Ok(found)
}
