//! Topics and their subscriptions.

use std::collections::BTreeMap;

use aws_sdk_sns::types::Tag;

use super::clients::Clients;
use super::error::{CallError, classify};
use super::role::or_missing;
use crate::domain::deployment::observed::Topic;
use crate::domain::deployment::owner::Tags;

const GET: &str = "sns:GetTopicAttributes";
const SUBSCRIPTIONS: &str = "sns:ListSubscriptionsByTopic";
const LIST_TAGS: &str = "sns:ListTagsForResource";
const CREATE: &str = "sns:CreateTopic";
const SUBSCRIBE: &str = "sns:Subscribe";
const UNSUBSCRIBE: &str = "sns:Unsubscribe";
const TAG: &str = "sns:TagResource";
const DELETE: &str = "sns:DeleteTopic";

/// Reads a topic; its subscriptions are asked for only if it says that it has some.
pub async fn read(clients: &Clients, arn: &str) -> Result<Option<Topic>, CallError> {
    let answer = clients.sns.get_topic_attributes().topic_arn(arn).send().await;
    let Some(answer) = or_missing(answer.map_err(|error| classify(GET, &error)))? else {
        return Ok(None);
    };
    let some = ["SubscriptionsConfirmed", "SubscriptionsPending"]
        .iter()
        .any(|count| {
            let attributes = answer.attributes();
            attributes
                .and_then(|attributes| attributes.get(*count))
                .is_none_or(|count| count != "0")
        });
    let mut topic = Topic {
        subscriptions: BTreeMap::new(),
    };
    if some {
        let mut pages = clients
            .sns
            .list_subscriptions_by_topic()
            .topic_arn(arn)
            .into_paginator()
            .send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| classify(SUBSCRIPTIONS, &error))?;
            topic
                .subscriptions
                .extend(page.subscriptions().iter().filter_map(|subscription| {
                    Some((
                        subscription.endpoint()?.to_owned(),
                        subscription.subscription_arn()?.to_owned(),
                    ))
                }));
        }
    }
    Ok(Some(topic))
}

/// Reads the tags of a topic.
pub async fn tags(clients: &Clients, arn: &str) -> Result<Tags, CallError> {
    let answer = clients
        .sns
        .list_tags_for_resource()
        .resource_arn(arn)
        .send()
        .await
        .map_err(|error| classify(LIST_TAGS, &error))?;
    Ok(answer
        .tags()
        .iter()
        .map(|tag| (tag.key().to_owned(), tag.value().to_owned()))
        .collect())
}

fn tags_for(action: &'static str, tags: &Tags) -> Result<Vec<Tag>, CallError> {
    tags.iter()
        .map(|(key, value)| {
            Tag::builder()
                .key(key)
                .value(value)
                .build()
                .map_err(|error| CallError::Malformed {
                    action,
                    cause: error.to_string(),
                })
        })
        .collect()
}

/// Makes a topic.
pub async fn create(clients: &Clients, name: &str, tags: &Tags) -> Result<(), CallError> {
    clients
        .sns
        .create_topic()
        .name(name)
        .set_tags(Some(tags_for(CREATE, tags)?))
        .send()
        .await
        .map_err(|error| classify(CREATE, &error))?;
    Ok(())
}

/// Subscribes an address; returns its subscription, `pending confirmation` where its owner is asked first.
pub async fn subscribe(clients: &Clients, topic: &str, address: &str) -> Result<String, CallError> {
    let protocol = if address.starts_with("https://") {
        "https"
    } else {
        "email"
    };
    let answer = clients
        .sns
        .subscribe()
        .topic_arn(topic)
        .protocol(protocol)
        .endpoint(address)
        .return_subscription_arn(false)
        .send()
        .await
        .map_err(|error| classify(SUBSCRIBE, &error))?;
    Ok(answer.subscription_arn().unwrap_or_default().to_owned())
}

/// Ends a subscription.
pub async fn unsubscribe(clients: &Clients, arn: &str) -> Result<(), CallError> {
    clients
        .sns
        .unsubscribe()
        .subscription_arn(arn)
        .send()
        .await
        .map_err(|error| classify(UNSUBSCRIBE, &error))?;
    Ok(())
}

/// Sets tags.
pub async fn set_tags(clients: &Clients, arn: &str, tags: &Tags) -> Result<(), CallError> {
    clients
        .sns
        .tag_resource()
        .resource_arn(arn)
        .set_tags(Some(tags_for(TAG, tags)?))
        .send()
        .await
        .map_err(|error| classify(TAG, &error))?;
    Ok(())
}

/// Removes a topic with its subscriptions.
pub async fn delete(clients: &Clients, arn: &str) -> Result<(), CallError> {
    clients
        .sns
        .delete_topic()
        .topic_arn(arn)
        .send()
        .await
        .map_err(|error| classify(DELETE, &error))?;
    Ok(())
}
