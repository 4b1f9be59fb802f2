//! What `doctor` reads besides what the other files read: the time, quotas, metrics of alarms, facts of a host.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use aws_sdk_cloudwatch::types::{Dimension, DimensionFilter, MetricDataQuery, MetricStat};
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::DateTime;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::date_time::Format;

use super::clients::Clients;
use super::command;
use super::error::{CallError, Refusal, classify};
use crate::domain::deployment::observed::Alarm;
use crate::domain::doctor::alarm::{Fed, LATELY, Metric};
use crate::domain::doctor::facts::{self, HostFacts, Told};
use crate::domain::doctor::machine::Greeting;

const DATA: &str = "cloudwatch:GetMetricData";
const METRICS: &str = "cloudwatch:ListMetrics";

/// What a question without a signature is called: nobody needs a permission for it.
const GREETING: &str = "AWS";

/// Metrics that one call may ask for
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html>).
const QUERIES: usize = 500;

/// Asks AWS for nothing, without a signature: the answer has a date, also where the clock is too wrong for signatures.
pub async fn greet(url: &str) -> Result<Greeting, CallError> {
    let silent = |cause: String| CallError::Unreachable {
        action: GREETING,
        cause: format!("{url}: {cause}"),
    };
    let mut request = HttpRequest::new(SdkBody::empty());
    request.set_uri(url).map_err(|error| silent(error.to_string()))?;
    let connector = Connector::builder()
        .proxy_config(ProxyConfig::from_env())
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .build();
    let answer = connector
        .call(request)
        .await
        .map_err(|error| silent(innermost(&error)))?;
    let date = answer
        .headers()
        .get("date")
        .and_then(|text| DateTime::from_str(text, Format::HttpDate).ok());
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or_default());
    Ok(Greeting {
        url: url.to_owned(),
        skew_s: date.map(|date| now - date.secs()),
    })
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}

fn dimensions(metric: &Metric) -> Vec<Dimension> {
    let dimension = |(name, value): (&String, &String)| Dimension::builder().name(name).value(value).build();
    metric.dimensions.iter().map(dimension).collect()
}

/// Asks whether the metric of each alarm has arrived lately, with exactly its dimensions; and where it has not, with which
/// others it is published.
pub async fn fed(
    clients: &Clients,
    alarms: &BTreeMap<String, Alarm>,
) -> Result<BTreeMap<String, Fed>, CallError> {
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
                .stat("SampleCount")
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
                    let some = !result.values().is_empty();
                    let entry: &mut Fed = fed.entry((*name).clone()).or_default();
                    entry.arrived |= some;
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
        if fed.get(*name).is_none_or(|fed| fed.arrived) {
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

/// Asks a host for its facts.
///
/// # Errors
///
/// As `command::run`; what it answered was no facts.
pub async fn host_facts(
    clients: &Clients,
    instance: &str,
    told: &Told,
    within: Duration,
) -> Result<HostFacts, CallError> {
    // What is left of the time is for the way there and back.
    let limit = within.as_secs() * 2 / 3;
    let script = facts::script(&facts::question(limit.max(2), Some(told)));
    let output = command::run(clients, instance, &script, within).await?;
    facts::read(&output.stdout).map_err(|why| {
        let complaint = output.stderr.lines().rev().find(|line| !line.trim().is_empty());
        let complaint = complaint.map_or_else(String::new, |line| {
            let line: String = line.chars().filter(|c| !c.is_control()).take(200).collect();
            format!(" ({line})")
        });
        CallError::Malformed {
            action: command::INVOCATION,
            cause: format!("{why}{complaint}"),
        }
    })
}

/// Runs fixes on a host; returns what went wrong, if anything.
///
/// # Errors
///
/// As `command::run`.
pub async fn mend(
    clients: &Clients,
    instance: &str,
    script: &str,
    within: Duration,
) -> Result<Option<String>, CallError> {
    let output = command::run(clients, instance, script, within).await?;
    let complaint = output.stderr.lines().rev().find(|line| !line.trim().is_empty());
    Ok((output.exit != 0).then(|| complaint.unwrap_or("no reason is given").trim().to_owned()))
}

/// Whether a host's agent is known not to answer, as opposed to nobody knowing.
pub fn is_offline(error: &CallError) -> bool {
    error
        .refusal()
        .is_some_and(|refusal| refusal != Refusal::Throttled)
}
