//! Drives an alarm to ALARM and back, and reads what came of it.

use aws_sdk_cloudwatch::types::{HistoryItemType, MetricAlarm, ScanBy, StateValue};
use aws_smithy_types::DateTime;

use super::clients::Clients;
use super::error::{CallError, classify};

const DESCRIBE: &str = "cloudwatch:DescribeAlarms";
const SET: &str = "cloudwatch:SetAlarmState";
const HISTORY: &str = "cloudwatch:DescribeAlarmHistory";
const PUT: &str = "cloudwatch:PutMetricAlarm";

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
