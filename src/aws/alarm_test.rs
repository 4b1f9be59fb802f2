//! Drives an alarm to ALARM and back, and reads what came of it.

use std::collections::BTreeMap;

use aws_sdk_cloudwatch::types::{
    Dimension, DimensionFilter, HistoryItemType, Metric as CloudWatchMetric, MetricAlarm, MetricDataQuery,
    MetricStat, ScanBy, StateValue,
};
use aws_smithy_types::DateTime;

use super::clients::Clients;
use super::error::{CallError, classify};
use super::parameter::rfc3339;
use crate::domain::alarm_test::{Metric, lately_min};
use crate::domain::deployment::resource::alarm::AlarmRule;

const DESCRIBE: &str = "cloudwatch:DescribeAlarms";
const DATA: &str = "cloudwatch:GetMetricData";
const METRICS: &str = "cloudwatch:ListMetrics";
const SET: &str = "cloudwatch:SetAlarmState";
const HISTORY: &str = "cloudwatch:DescribeAlarmHistory";
const PUT: &str = "cloudwatch:PutMetricAlarm";

/// Metrics in one call of GetMetricData
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html>).
const QUERIES: usize = 500;

/// An alarm as it is, whole.
#[derive(Clone, Debug)]
pub struct Subject(MetricAlarm);

impl Subject {
    /// Reads an alarm; none where there is none of the name.
    pub async fn read(clients: &Clients, name: &str) -> Result<Option<Self>, CallError> {
        let answer = clients
            .cloudwatch
            .describe_alarms()
            .alarm_names(name)
            .send()
            .await
            .map_err(|error| classify(DESCRIBE, &error))?;
        Ok(answer.metric_alarms().first().cloned().map(Self))
    }

    /// Returns its state: `OK`, `ALARM` or `INSUFFICIENT_DATA`.
    pub fn state(&self) -> &str {
        self.0.state_value().map_or("", StateValue::as_str)
    }

    /// Returns what it does on ALARM.
    pub fn actions(&self) -> &[String] {
        self.0.alarm_actions()
    }

    /// Writes it as it was, but with these actions on ALARM.
    pub async fn put(&self, clients: &Clients, actions: &[String]) -> Result<(), CallError> {
        let alarm = &self.0;
        let some = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
        clients
            .cloudwatch
            .put_metric_alarm()
            .set_alarm_name(alarm.alarm_name().map(str::to_owned))
            .set_alarm_description(alarm.alarm_description().map(str::to_owned))
            .set_actions_enabled(alarm.actions_enabled())
            .set_ok_actions(some(alarm.ok_actions()))
            .set_alarm_actions(Some(actions.to_vec()))
            .set_insufficient_data_actions(some(alarm.insufficient_data_actions()))
            .set_metric_name(alarm.metric_name().map(str::to_owned))
            .set_namespace(alarm.namespace().map(str::to_owned))
            .set_statistic(alarm.statistic().cloned())
            .set_extended_statistic(alarm.extended_statistic().map(str::to_owned))
            .set_dimensions(alarm.dimensions.clone().filter(|list| !list.is_empty()))
            .set_period(alarm.period())
            .set_unit(alarm.unit().cloned())
            .set_evaluation_periods(alarm.evaluation_periods())
            .set_datapoints_to_alarm(alarm.datapoints_to_alarm())
            .set_threshold(alarm.threshold())
            .set_comparison_operator(alarm.comparison_operator().cloned())
            .set_treat_missing_data(alarm.treat_missing_data().map(str::to_owned))
            .set_evaluate_low_sample_count_percentile(
                alarm.evaluate_low_sample_count_percentile().map(str::to_owned),
            )
            .set_metrics(alarm.metrics.clone().filter(|list| !list.is_empty()))
            .set_threshold_metric_id(alarm.threshold_metric_id().map(str::to_owned))
            .send()
            .await
            .map_err(|error| classify(PUT, &error))?;
        Ok(())
    }
}

/// Sets the state of an alarm until its next evaluation.
pub async fn set_state(clients: &Clients, name: &str, state: &str, reason: &str) -> Result<(), CallError> {
    clients
        .cloudwatch
        .set_alarm_state()
        .alarm_name(name)
        .state_value(StateValue::from(state))
        .state_reason(reason)
        .send()
        .await
        .map_err(|error| classify(SET, &error))?;
    Ok(())
}

/// Returns kind and summary of what happened to an alarm since then (seconds since 1970), oldest first.
pub async fn history(clients: &Clients, name: &str, since: i64) -> Result<Vec<(String, String)>, CallError> {
    let answer = clients
        .cloudwatch
        .describe_alarm_history()
        .alarm_name(name)
        .start_date(DateTime::from_secs(since))
        .scan_by(ScanBy::TimestampAscending)
        .max_records(100)
        .send()
        .await
        .map_err(|error| classify(HISTORY, &error))?;
    Ok(answer
        .alarm_history_items()
        .iter()
        .map(|item| {
            (
                item.history_item_type()
                    .map_or("", HistoryItemType::as_str)
                    .to_owned(),
                item.history_summary().unwrap_or_default().to_owned(),
            )
        })
        .collect())
}

fn dimensions(rule: &AlarmRule, instance: &str) -> Vec<Dimension> {
    rule.dimensions(instance)
        .into_iter()
        .map(|(name, value)| Dimension::builder().name(name).value(value).build())
        .collect()
}

/// Returns what is seen of the metrics of alarms, on exactly their dimensions, with the time in seconds since 1970.
///
/// One call serves all; where a metric is silent, one more asks under which dimensions the host publishes it instead.
pub async fn metrics(clients: &Clients, rules: &[(&AlarmRule, &str)], now: i64) -> Vec<Metric> {
    let mut seen = Vec::new();
    for part in rules.chunks(QUERIES) {
        match latest(clients, part, now).await {
            Ok(values) => seen.extend(values),
            Err(error) => seen.extend(part.iter().map(|_| Metric::Unread(error.to_string()))),
        }
    }
    let nearer = seen
        .into_iter()
        .zip(rules)
        .map(|(metric, (rule, instance))| async move {
            match metric {
                Metric::Silent { minutes, .. } => match elsewhere(clients, rule, instance).await {
                    Ok(elsewhere) => Metric::Silent { minutes, elsewhere },
                    // The finding stands without the hint.
                    Err(_) => metric,
                },
                other => other,
            }
        });
    futures_util::future::join_all(nearer).await
}

async fn latest(clients: &Clients, rules: &[(&AlarmRule, &str)], now: i64) -> Result<Vec<Metric>, CallError> {
    let most = rules
        .iter()
        .map(|(rule, _)| lately_min(rule))
        .max()
        .unwrap_or_default();
    let queries = rules.iter().enumerate().map(|(nth, (rule, instance))| {
        let (metric, _) = rule.metric();
        let metric = CloudWatchMetric::builder()
            .namespace(rule.alarm.namespace)
            .metric_name(metric)
            .set_dimensions(Some(dimensions(rule, instance)))
            .build();
        let stat = MetricStat::builder()
            .metric(metric)
            // A value an hour old is no sign of life, whatever the period of the alarm.
            .period(i32::try_from(rule.alarm.period_s.min(300)).unwrap_or(300))
            .stat(rule.alarm.statistic)
            .build();
        MetricDataQuery::builder()
            .id(format!("m{nth}"))
            .metric_stat(stat)
            .build()
    });
    let mut pages = clients
        .cloudwatch
        .get_metric_data()
        .set_metric_data_queries(Some(queries.collect()))
        .start_time(DateTime::from_secs(now - i64::from(most) * 60))
        .end_time(DateTime::from_secs(now))
        .scan_by(ScanBy::TimestampDescending)
        .into_paginator()
        .send();
    let mut newest: BTreeMap<String, (DateTime, f64)> = BTreeMap::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| classify(DATA, &error))?;
        for result in page.metric_data_results() {
            let points = result.timestamps().iter().zip(result.values());
            let Some((at, value)) = points.max_by_key(|(at, _)| at.secs()) else {
                continue;
            };
            let id = result.id().unwrap_or_default().to_owned();
            let known = newest.entry(id).or_insert((*at, *value));
            if at.secs() > known.0.secs() {
                *known = (*at, *value);
            }
        }
    }
    Ok(rules
        .iter()
        .enumerate()
        .map(|(nth, (rule, _))| {
            let minutes = lately_min(rule);
            match newest.get(&format!("m{nth}")) {
                Some((at, value)) if at.secs() >= now - i64::from(minutes) * 60 => Metric::Arrives {
                    value: *value,
                    at: rfc3339(at).unwrap_or_default(),
                },
                _ => Metric::Silent {
                    minutes,
                    elsewhere: Vec::new(),
                },
            }
        })
        .collect())
}

/// Returns the dimensions under which an instance publishes a metric of that name, other than those of the alarm.
async fn elsewhere(
    clients: &Clients,
    rule: &AlarmRule,
    instance: &str,
) -> Result<Vec<BTreeMap<String, String>>, CallError> {
    let should = rule.dimensions(instance);
    let (metric, _) = rule.metric();
    let filter = DimensionFilter::builder()
        .name("InstanceId")
        .value(instance)
        .build();
    let answer = clients
        .cloudwatch
        .list_metrics()
        .namespace(rule.alarm.namespace)
        .metric_name(metric)
        .dimensions(filter)
        .send()
        .await
        .map_err(|error| classify(METRICS, &error))?;
    Ok(answer
        .metrics()
        .iter()
        .map(|metric| {
            let pairs = metric.dimensions().iter();
            pairs
                .filter_map(|one| Some((one.name()?.to_owned(), one.value()?.to_owned())))
                .collect::<BTreeMap<_, _>>()
        })
        .filter(|found| *found != should)
        .take(3)
        .collect())
}
