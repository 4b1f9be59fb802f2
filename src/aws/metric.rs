//! Metrics of alarms: whether they arrive, and under which dimensions.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use aws_sdk_cloudwatch::types::{Dimension, DimensionFilter, MetricDataQuery, MetricStat};

use super::clients::Clients;
use super::error::{CallError, classify};
use super::parameter::rfc3339;
use crate::domain::deployment::metric::{Feed, LATELY, Metric, Value};
use crate::domain::deployment::observed::Alarm;

const DATA: &str = "cloudwatch:GetMetricData";
const METRICS: &str = "cloudwatch:ListMetrics";

/// Metrics that one call may ask for
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html>).
const QUERIES: usize = 500;

fn dimensions(metric: &Metric) -> Vec<Dimension> {
    let dimension = |(name, value): (&String, &String)| Dimension::builder().name(name).value(value).build();
    metric.dimensions.iter().map(dimension).collect()
}

/// Asks whether the metric of each alarm has arrived lately, with exactly its dimensions; and where it has not, with which
/// others it is published.
pub async fn fed(
    clients: &Clients,
    alarms: &BTreeMap<String, Alarm>,
) -> Result<BTreeMap<String, Feed>, CallError> {
    let now = SystemTime::now();
    let metrics: Vec<(&String, Metric)> = alarms
        .iter()
        .map(|(name, alarm)| (name, Metric::of(alarm)))
        .collect();
    let mut fed = BTreeMap::new();
    for part in metrics.chunks(QUERIES) {
        let mut call = clients
            .cloudwatch
            .get_metric_data()
            .start_time((now - Duration::from_secs(LATELY)).into())
            .end_time((now + Duration::from_mins(1)).into());
        for (nth, (_, metric)) in part.iter().enumerate() {
            let it = aws_sdk_cloudwatch::types::Metric::builder()
                .namespace(&metric.namespace)
                .metric_name(&metric.name)
                .set_dimensions(Some(dimensions(metric)))
                .build();
            let stat = MetricStat::builder()
                .metric(it)
                .period(60)
                .stat("Average")
                .build();
            call = call.metric_data_queries(
                MetricDataQuery::builder()
                    .id(format!("m{nth}"))
                    .metric_stat(stat)
                    .build(),
            );
        }
        let mut token = None;
        loop {
            let page = call
                .clone()
                .set_next_token(token)
                .send()
                .await
                .map_err(|error| classify(DATA, &error))?;
            for result in page.metric_data_results() {
                let nth = result
                    .id()
                    .and_then(|id| id.strip_prefix('m')?.parse::<usize>().ok());
                if let Some((name, _)) = nth.and_then(|nth| part.get(nth)) {
                    let feed: &mut Feed = fed.entry((*name).clone()).or_default();
                    let points = result.timestamps().iter().zip(result.values());
                    let newest = points.max_by_key(|(at, _)| at.secs());
                    let newest = newest.and_then(|(at, value)| {
                        Some(Value {
                            value: *value,
                            at: rfc3339(at)?,
                        })
                    });
                    // Times of this form order as their texts do.
                    if newest.as_ref().map(|new| &new.at) > feed.last.as_ref().map(|old| &old.at) {
                        feed.last = newest;
                    }
                }
            }
            token = page.next_token().map(str::to_owned);
            if token.is_none() {
                break;
            }
        }
    }
    let mut asked: BTreeMap<(String, String), Vec<Metric>> = BTreeMap::new();
    for (name, metric) in &metrics {
        if fed.get(*name).is_none_or(|feed| feed.last.is_some()) {
            continue;
        }
        let key = (metric.namespace.clone(), metric.name.clone());
        if !asked.contains_key(&key) {
            // Evidence only: that it cannot be read changes nothing about what has not arrived.
            let others = published(clients, metric).await.unwrap_or_default();
            asked.insert(key.clone(), others);
        }
        if let (Some(fed), Some(others)) = (fed.get_mut(*name), asked.get(&key)) {
            fed.others = others
                .iter()
                .filter(|other| other.dimensions != metric.dimensions)
                .cloned()
                .collect();
        }
    }
    Ok(fed)
}

/// Lists the sets of dimensions that a metric of an instance was published with in the last hours.
async fn published(clients: &Clients, metric: &Metric) -> Result<Vec<Metric>, CallError> {
    let instance = metric.dimensions.get("InstanceId");
    let filter = instance.map(|id| DimensionFilter::builder().name("InstanceId").value(id).build());
    let answer = clients
        .cloudwatch
        .list_metrics()
        .namespace(&metric.namespace)
        .metric_name(&metric.name)
        .set_dimensions(filter.map(|filter| vec![filter]))
        .send()
        .await
        .map_err(|error| classify(METRICS, &error))?;
    Ok(answer
        .metrics()
        .iter()
        .map(|found| Metric {
            dimensions: found
                .dimensions()
                .iter()
                .filter_map(|pair| Some((pair.name()?.to_owned(), pair.value()?.to_owned())))
                .collect(),
            ..metric.clone()
        })
        .collect())
}
