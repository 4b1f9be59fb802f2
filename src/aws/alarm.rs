//! Alarms.

use std::collections::BTreeMap;

use aws_sdk_cloudwatch::types::{
    AlarmType, ComparisonOperator, Dimension, Metric, MetricAlarm, MetricDataQuery, MetricStat, Statistic,
    Tag,
};

use super::clients::Clients;
use super::error::{CallError, classify};
use super::parameter::rfc3339;
use crate::domain::deployment::observed::Alarm;
use crate::domain::deployment::owner::Tags;
use crate::domain::deployment::resource::alarm::{self, AlarmRule};

const DESCRIBE: &str = "cloudwatch:DescribeAlarms";
const LIST_TAGS: &str = "cloudwatch:ListTagsForResource";
const PUT: &str = "cloudwatch:PutMetricAlarm";
const TAG: &str = "cloudwatch:TagResource";
const DELETE: &str = "cloudwatch:DeleteAlarms";

/// Names of the queries of an alarm on an expression.
const METRIC: &str = "m1";
const EXPRESSION: &str = "e1";

/// Reads the alarms whose names begin so.
pub async fn beginning(clients: &Clients, prefix: &str) -> Result<BTreeMap<String, Alarm>, CallError> {
    let mut pages = clients
        .cloudwatch
        .describe_alarms()
        .alarm_name_prefix(prefix)
        .alarm_types(AlarmType::MetricAlarm)
        .max_records(100)
        .into_paginator()
        .send();
    let mut alarms = BTreeMap::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| classify(DESCRIBE, &error))?;
        for alarm in page.metric_alarms() {
            alarms.insert(alarm.alarm_name().unwrap_or_default().to_owned(), read(alarm));
        }
    }
    Ok(alarms)
}

fn read(alarm: &MetricAlarm) -> Alarm {
    let dimensions = |dimensions: &[Dimension]| -> BTreeMap<String, String> {
        dimensions
            .iter()
            .filter_map(|dimension| Some((dimension.name()?.to_owned(), dimension.value()?.to_owned())))
            .collect()
    };
    let stat = alarm.metrics().iter().find_map(MetricDataQuery::metric_stat);
    let mut fields = match stat {
        None => alarm::fields(
            alarm.namespace().unwrap_or_default(),
            alarm.metric_name().unwrap_or_default(),
            &dimensions(alarm.dimensions()),
            alarm.statistic().map_or("", Statistic::as_str),
            alarm
                .period()
                .and_then(|period| u32::try_from(period).ok())
                .unwrap_or_default(),
            None,
        ),
        Some(stat) => {
            let metric = stat.metric();
            let empty: &[Dimension] = &[];
            alarm::fields(
                metric.and_then(Metric::namespace).unwrap_or_default(),
                metric.and_then(Metric::metric_name).unwrap_or_default(),
                &dimensions(metric.map_or(empty, Metric::dimensions)),
                stat.stat().unwrap_or_default(),
                stat.period()
                    .and_then(|period| u32::try_from(period).ok())
                    .unwrap_or_default(),
                alarm.metrics().iter().find_map(MetricDataQuery::expression),
            )
        }
    };
    let number = |value: Option<i32>| value.unwrap_or_default().to_string();
    fields.extend([
        (
            "AlarmDescription",
            alarm.alarm_description().unwrap_or_default().to_owned(),
        ),
        (
            "ComparisonOperator",
            alarm
                .comparison_operator()
                .map_or("", ComparisonOperator::as_str)
                .to_owned(),
        ),
        ("Threshold", alarm.threshold().unwrap_or_default().to_string()),
        ("EvaluationPeriods", number(alarm.evaluation_periods())),
        (
            "TreatMissingData",
            alarm.treat_missing_data().unwrap_or("missing").to_owned(),
        ),
        (
            "ActionsEnabled",
            alarm.actions_enabled().unwrap_or_default().to_string(),
        ),
        ("AlarmActions", alarm.alarm_actions().join(" ")),
    ]);
    Alarm {
        fields,
        state: alarm.state_value().map_or("", |state| state.as_str()).to_owned(),
        changed_at: alarm
            .state_transitioned_timestamp()
            .or(alarm.state_updated_timestamp())
            .and_then(rfc3339),
    }
}

/// Reads the tags of an alarm.
pub async fn tags(clients: &Clients, arn: &str) -> Result<Tags, CallError> {
    let answer = clients
        .cloudwatch
        .list_tags_for_resource()
        .resource_arn(arn)
        .send()
        .await
        .map_err(|error| classify(LIST_TAGS, &error))?;
    Ok(answer
        .tags()
        .iter()
        .filter_map(|tag| Some((tag.key()?.to_owned(), tag.value()?.to_owned())))
        .collect())
}

fn tags_for(tags: &Tags) -> Vec<Tag> {
    tags.iter()
        .map(|(key, value)| Tag::builder().key(key).value(value).build())
        .collect()
}

/// Writes an alarm; tags count only when it is new.
pub async fn put(
    clients: &Clients,
    rule: &AlarmRule,
    instance: &str,
    tags: Option<&Tags>,
) -> Result<(), CallError> {
    let alarm = &rule.alarm;
    let dimensions: Vec<Dimension> = rule
        .dimensions(instance)
        .iter()
        .map(|(name, value)| Dimension::builder().name(name).value(value).build())
        .collect();
    let (metric, expression) = rule.metric();
    let period = i32::try_from(alarm.period_s).unwrap_or(i32::MAX);
    let mut call = clients
        .cloudwatch
        .put_metric_alarm()
        .alarm_name(&rule.name)
        .alarm_description(rule.description())
        .actions_enabled(true)
        .set_alarm_actions(Some(rule.actions.clone()))
        .comparison_operator(ComparisonOperator::from(rule.comparison()))
        .threshold(alarm.condition.threshold)
        .evaluation_periods(i32::try_from(alarm.periods).unwrap_or(i32::MAX))
        .treat_missing_data(rule.missing_data())
        .set_tags(tags.map(tags_for));
    if let Some(expression) = expression {
        let metric = Metric::builder()
            .namespace(alarm.namespace)
            .metric_name(metric)
            .set_dimensions(Some(dimensions))
            .build();
        let stat = MetricStat::builder()
            .metric(metric)
            .period(period)
            .stat(alarm.statistic)
            .build();
        call = call
            .metrics(
                MetricDataQuery::builder()
                    .id(METRIC)
                    .metric_stat(stat)
                    .return_data(false)
                    .build(),
            )
            .metrics(
                MetricDataQuery::builder()
                    .id(EXPRESSION)
                    .expression(expression)
                    .label(alarm.name)
                    .return_data(true)
                    .build(),
            );
    } else {
        call = call
            .namespace(alarm.namespace)
            .metric_name(metric)
            .set_dimensions(Some(dimensions))
            .statistic(Statistic::from(alarm.statistic))
            .period(period);
    }
    call.send().await.map_err(|error| classify(PUT, &error))?;
    Ok(())
}

/// Sets tags.
pub async fn set_tags(clients: &Clients, arn: &str, tags: &Tags) -> Result<(), CallError> {
    clients
        .cloudwatch
        .tag_resource()
        .resource_arn(arn)
        .set_tags(Some(tags_for(tags)))
        .send()
        .await
        .map_err(|error| classify(TAG, &error))?;
    Ok(())
}

/// Removes alarms.
pub async fn delete(clients: &Clients, names: &[String]) -> Result<(), CallError> {
    clients
        .cloudwatch
        .delete_alarms()
        .set_alarm_names(Some(names.to_vec()))
        .send()
        .await
        .map_err(|error| classify(DELETE, &error))?;
    Ok(())
}
