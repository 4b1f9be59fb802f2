"""CloudWatch: alarms as AWS takes, keeps, lists and drives them."""

import json

from moto.cloudwatch.exceptions import ResourceNotFound, ValidationError
from moto.cloudwatch.models import Alarm, CloudWatchBackend
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.moto_api._internal import mock_random
from moto.sns.models import sns_backends

from . import replaces

NAME_LENGTH = 255
DESCRIPTION_LENGTH = 1024
NAMES_IN_ONE_CALL = 100
ACTIONS = 5
DIMENSIONS = 30
HIGH_RESOLUTION_PERIODS = (10, 20, 30)
DAY = 86400
WEEK = 7 * DAY
VALUES = {
    "ComparisonOperator": {
        "GreaterThanOrEqualToThreshold",
        "GreaterThanThreshold",
        "LessThanThreshold",
        "LessThanOrEqualToThreshold",
        "LessThanLowerOrGreaterThanUpperThreshold",
        "LessThanLowerThreshold",
        "GreaterThanUpperThreshold",
    },
    "Statistic": {"SampleCount", "Average", "Sum", "Minimum", "Maximum"},
    "TreatMissingData": {"breaching", "notBreaching", "ignore", "missing"},
}


def repair():
    """Does all of it."""
    begin_without_data()
    refuse_bad_alarms()
    list_in_pages()
    delete_whole()
    act_on_changes()


def require(true, message):
    if not true:
        raise ValidationError(message)


def begin_without_data():
    """PutMetricAlarm: a new alarm has no data yet; one that is there keeps its state and its tags."""

    @replaces(Alarm, "__init__")
    def init(construct, self, *args, **kwargs):
        construct(self, *args, **kwargs)
        self.state_value = "INSUFFICIENT_DATA"

    @replaces(CloudWatchBackend, "put_metric_alarm")
    def put_metric_alarm(put, self, **parameters):
        before = self.alarms.get(parameters["name"])
        alarm = put(self, **({**parameters, "tags": None} if before else parameters))
        if before:
            alarm.bench_history = history_of(before)
            for name in ("state_value", "state_reason", "state_reason_data", "state_updated_timestamp", "history"):
                setattr(alarm, name, getattr(before, name))
        return alarm


def check_period(period):
    require(
        period in HIGH_RESOLUTION_PERIODS or (period > 0 and period % 60 == 0),
        f"Period must be 10, 20, 30 or a multiple of 60, not {period}",
    )


def check_window(period, periods):
    limit = WEEK if period >= 3600 else DAY
    require(
        period * periods <= limit,
        f"Metrics cannot be checked across more than {limit} seconds (EvaluationPeriods * Period must be <= {limit}).",
    )


def check_metric(get, periods):
    """Refuses an alarm on one metric that does not say what to watch, and how."""
    require(get("MetricName") and get("Namespace"), "MetricName and Namespace are required, or Metrics")
    statistics = [name for name in ("Statistic", "ExtendedStatistic") if get(name)]
    require(len(statistics) == 1, "Exactly one of Statistic and ExtendedStatistic is required, or Metrics")
    require(get("Period") is not None, "Period is required, or Metrics")
    require(len(get("Dimensions") or []) <= DIMENSIONS, f"At most {DIMENSIONS} dimensions")
    check_period(get("Period"))
    check_window(get("Period"), periods)


def check_metrics(get, periods):
    """Refuses an alarm on several metrics that is on one too, or watches none or more than one of them."""
    metrics = get("Metrics")
    for name in ("MetricName", "Namespace", "Period", "Statistic", "ExtendedStatistic", "Dimensions", "Unit"):
        require(not get(name), f"{name} cannot be given together with Metrics")
    watched = [metric for metric in metrics if metric.get("ReturnData", True)]
    require(get("ThresholdMetricId") or len(watched) == 1, "Exactly one of the Metrics must have ReturnData")
    require(len({metric.get("Id") for metric in metrics}) == len(metrics), "The ids of Metrics must differ")
    for metric in metrics:
        stat = metric.get("MetricStat") or {}
        require(bool(stat) != bool(metric.get("Expression")), "Each of the Metrics has either MetricStat or Expression")
        period = stat.get("Period") or metric.get("Period")
        require(period or not stat, "MetricStat needs a Period")
        if period:
            check_period(period)
            check_window(period, periods)


def check_alarm(get):
    """Refuses what AWS refuses; `get` gives parameters by name."""
    name, periods = get("AlarmName") or "", get("EvaluationPeriods")
    require(0 < len(name) <= NAME_LENGTH, f"AlarmName must have 1 to {NAME_LENGTH} characters")
    require(len(get("AlarmDescription") or "") <= DESCRIPTION_LENGTH, f"AlarmDescription: {DESCRIPTION_LENGTH} at most")
    require(periods and periods > 0, "EvaluationPeriods is required")
    require(get("ComparisonOperator"), "ComparisonOperator is required")
    for parameter, values in VALUES.items():
        value = get(parameter)
        require(value is None or value in values, f"Value '{value}' at '{parameter}' is none of {sorted(values)}")
    datapoints = get("DatapointsToAlarm")
    require(datapoints is None or 0 < datapoints <= periods, "DatapointsToAlarm must be from 1 to EvaluationPeriods")
    require((get("Threshold") is None) == bool(get("ThresholdMetricId")), "One of Threshold and ThresholdMetricId")
    for parameter in ("AlarmActions", "OKActions", "InsufficientDataActions"):
        actions = get(parameter) or []
        require(len(actions) <= ACTIONS, f"{parameter}: {ACTIONS} at most")
        require(all(action.startswith("arn:") for action in actions), f"Invalid arn syntax in {parameter}: {actions}")
    (check_metrics if get("Metrics") else check_metric)(get, periods)


def refuse_bad_alarms():
    """PutMetricAlarm: only what AWS takes."""

    @replaces(CloudWatchResponse, "put_metric_alarm")
    def put_metric_alarm(put, self):
        # Composite alarms come the same way.
        if self._get_param("AlarmRule") is None:
            check_alarm(self._get_param)
        return put(self)


def list_in_pages():
    """DescribeAlarms: all filters together, by name, in pages, and metric alarms unless others are asked for."""

    def describe_alarms(self):
        get = self._get_param
        names, prefix = get("AlarmNames", []), get("AlarmNamePrefix")
        require(not (names and prefix), "AlarmNames and AlarmNamePrefix cannot be used together")
        require(len(names) <= NAMES_IN_ONE_CALL, f"At most {NAMES_IN_ONE_CALL} names")
        count = int(get("MaxRecords", 50))
        require(1 <= count <= 100, "MaxRecords must be from 1 to 100")
        token = get("NextToken")
        require(token is None or token.startswith("after:"), "NextToken is invalid")
        types, state, action = get("AlarmTypes", ["MetricAlarm"]), get("StateValue"), get("ActionPrefix")
        found = [
            alarm
            for _, alarm in sorted(self.cloudwatch_backend.alarms.items())
            if (not names or alarm.name in names)
            and alarm.name.startswith(prefix or "")
            and (not state or alarm.state_value == state)
            and (not action or any(each.startswith(action) for each in alarm.alarm_actions))
            and ("MetricAlarm" if alarm.rule is None else "CompositeAlarm") in types
            and (not token or alarm.name > token.removeprefix("after:"))
        ]
        page = found[:count]
        result = {
            "MetricAlarms": [alarm for alarm in page if alarm.rule is None],
            "CompositeAlarms": [alarm for alarm in page if alarm.rule is not None],
        }
        if len(found) > count:
            result["NextToken"] = f"after:{page[-1].name}"
        return ActionResult(result)

    CloudWatchResponse.describe_alarms = describe_alarms


def delete_whole():
    """DeleteAlarms: all or, if one is not there or they are too many, none; their tags go too."""

    @replaces(CloudWatchBackend, "delete_alarms")
    def delete_alarms(delete, self, alarm_names):
        require(len(alarm_names) <= NAMES_IN_ONE_CALL, f"At most {NAMES_IN_ONE_CALL} names")
        missing = [name for name in alarm_names if name not in self.alarms]
        if missing:
            raise ResourceNotFound(f"Alarm(s) do not exist: {', '.join(missing)}")
        for name in alarm_names:
            self.tagger.delete_all_tags_for_resource(self.alarms[name].alarm_arn)
        return delete(self, alarm_names)


def history_of(alarm):
    return alarm.__dict__.setdefault("bench_history", [])


def act(backend, alarm, action):
    """Does what an alarm does, as far as it can be seen: a message to a topic. Returns why it failed."""
    if not action.startswith("arn:aws:sns:"):
        return None
    region = action.split(":")[3]
    topic = sns_backends[backend.account_id][region].topics.get(action)
    if topic is None:
        return "Resource: AWS::SNS::Topic not found"
    message = json.dumps({"AlarmName": alarm.name, "NewStateValue": alarm.state_value, "NewStateReason": alarm.state_reason})
    subject = f'{alarm.state_value}: "{alarm.name}" in {backend.region_name}'
    topic.sent_notifications.append((str(mock_random.uuid4()), message, subject, None, None))
    return None


def act_on_changes():
    """SetAlarmState: a change is in the history, and so is each action that it sets off; moto keeps neither."""

    @replaces(CloudWatchBackend, "set_alarm_state")
    def set_alarm_state(set_state, self, alarm_name, reason, reason_data, state_value):
        alarm = self.alarms.get(alarm_name)
        before = alarm.state_value if alarm else None
        set_state(self, alarm_name, reason, reason_data, state_value)
        if before == state_value:
            return
        history = history_of(alarm)
        history.append((utcnow(), "StateUpdate", f"Alarm updated from {before} to {state_value}", {"newState": reason}))
        actions = {
            "ALARM": alarm.alarm_actions,
            "OK": alarm.ok_actions,
            "INSUFFICIENT_DATA": alarm.insufficient_data_actions,
        }
        for action in (actions[state_value] or []) if alarm.actions_enabled else []:
            failed = act(self, alarm, action)
            summary = f"Successfully executed action {action}"
            if failed:
                summary = f'Failed to execute action {action}. Received error: "{failed}"'
            history.append((utcnow(), "Action", summary, {"actionState": "Failed" if failed else "Succeeded"}))

    def describe_alarm_history(self):
        get = self._get_param
        alarm = self.cloudwatch_backend.alarms.get(get("AlarmName") or "")
        items = [] if alarm is None else list(history_of(alarm))
        if get("HistoryItemType"):
            items = [item for item in items if item[1] == get("HistoryItemType")]
        if get("StartDate"):
            items = [item for item in items if item[0] >= get("StartDate").replace(tzinfo=None)]
        if get("ScanBy", "TimestampDescending") == "TimestampDescending":
            items.reverse()
        shown = [
            {
                "AlarmName": get("AlarmName"),
                "AlarmType": "MetricAlarm",
                "Timestamp": at,
                "HistoryItemType": kind,
                "HistorySummary": summary,
                "HistoryData": json.dumps(data),
            }
            for at, kind, summary, data in items[: int(get("MaxRecords", 100))]
        ]
        return ActionResult({"AlarmHistoryItems": shown})

    CloudWatchResponse.describe_alarm_history = describe_alarm_history
