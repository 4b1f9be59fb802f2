"""What every peer has to make: one host for the runner and what goes with it, under the names that `up` uses.

The token is there beforehand and is the user's, for all of them (CloudFormation could not make a SecureString).
"""

import hashlib
import json

REGION = "eu-west-2"
NAME = "bench"
TOKEN = "/runners/token"
IMAGE = "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"
INSTANCE_TYPE = "c5.xlarge"
DISK_GIB = 300
RETENTION_DAYS = 30
HOP_LIMIT = 2
USER_DATA_BYTES = 12 * 1024

RECORD = f"/dataops-infra/{NAME}/deployment"
REPORT = f"/dataops-infra/{NAME}/host"
LOG_GROUP = f"/dataops-infra/{NAME}"
ROLE = f"dataops-{NAME}-{REGION}"
ROLE_PATH = "/dataops-infra/"
POLICY = "host"
SECURITY_GROUP = f"dataops-infra-{NAME}"
TOPIC = f"dataops-infra-{NAME}"
DASHBOARD = f"dataops-infra-{NAME}-{REGION}"

TAGS = {"dataops-infra:deployment": NAME, "dataops-infra:generation": "0123456789abcdef", "team": "data"}
RECORD_VALUE = json.dumps({"name": NAME, "region": REGION, "instance_type": INSTANCE_TYPE, "disk_gib": DISK_GIB})
REPORT_VALUE = json.dumps({"stage": "waiting"})

ROOT = {"path": "/"}
FORECAST = "100 - m1 - 7 * 86400 * RATE(m1)"
# Name, namespace, metric, statistic, comparison, threshold, period, periods, missing data, other dimensions. A metric
# with spaces is an expression.
ALARMS = (
    ("disk-space-warning", "CWAgent", "disk_used_percent", "Maximum", ">=", 80, 300, 1, "missing", ROOT),
    ("disk-space-critical", "CWAgent", "disk_used_percent", "Maximum", ">=", 90, 300, 1, "breaching", ROOT),
    ("disk-forecast", "CWAgent", FORECAST, "Average", "<", 0, 21600, 4, "missing", ROOT),
    ("disk-inodes", "CWAgent", "disk_inodes_free", "Minimum", "<", 250000, 300, 1, "missing", ROOT),
    ("memory", "CWAgent", "mem_used_percent", "Average", ">=", 90, 300, 3, "missing", {}),
    ("cpu", "CWAgent", "cpu_usage_active", "Average", ">=", 90, 300, 6, "missing", {"cpu": "cpu-total"}),
    ("agent-silent", "CWAgent", "mem_used_percent", "SampleCount", "<", 1, 300, 3, "breaching", {}),
    ("status-system", "AWS/EC2", "StatusCheckFailed_System", "Maximum", ">=", 1, 60, 2, "missing", {}),
    ("status-instance", "AWS/EC2", "StatusCheckFailed_Instance", "Maximum", ">=", 1, 60, 3, "missing", {}),
)
OPERATORS = {">=": "GreaterThanOrEqualToThreshold", "<": "LessThanThreshold"}
EXPRESSION_METRIC = "disk_used_percent"


def tag_list(**more):
    return [{"Key": key, "Value": value} for key, value in {**TAGS, **more}.items()]


def trust_policy():
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"},
        ],
    }


def host_policy():
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["ssm:GetParameter"],
                "Resource": f"arn:aws:ssm:{REGION}:*:parameter{TOKEN}",
            },
            {
                "Effect": "Allow",
                "Action": ["ssm:PutParameter"],
                "Resource": f"arn:aws:ssm:{REGION}:*:parameter{REPORT}",
            },
            {
                "Effect": "Allow",
                "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
                "Resource": f"arn:aws:logs:{REGION}:*:log-group:{LOG_GROUP}:*",
            },
            {"Effect": "Allow", "Action": ["cloudwatch:PutMetricData"], "Resource": "*"},
        ],
    }


def user_data():
    """Returns a script of USER_DATA_BYTES that does nothing and does not compress well."""
    lines = ["#!/bin/bash", "exit 0"]
    length = sum(len(line) + 1 for line in lines)
    number = 0
    while length < USER_DATA_BYTES:
        line = "# " + hashlib.sha256(str(number).encode()).hexdigest()
        line = line[: USER_DATA_BYTES - length - 1]
        lines.append(line)
        length += len(line) + 1
        number += 1
    return "\n".join(lines) + "\n"


def alarms(instance, topic):
    """Returns the parameters of PutMetricAlarm, without tags, of each alarm."""
    for name, namespace, metric, statistic, comparison, threshold, period, periods, missing, dimensions in ALARMS:
        watched = [{"Name": key, "Value": value} for key, value in {"InstanceId": instance, **dimensions}.items()]
        alarm = {
            "AlarmName": f"dataops-infra/{NAME}/{name}",
            "AlarmDescription": f"{name} of {NAME}",
            "AlarmActions": [topic],
            "ComparisonOperator": OPERATORS[comparison],
            "Threshold": threshold,
            "EvaluationPeriods": periods,
            "TreatMissingData": missing,
        }
        if " " in metric:
            of = {"Namespace": namespace, "MetricName": EXPRESSION_METRIC, "Dimensions": watched}
            alarm["Metrics"] = [
                {"Id": "m1", "MetricStat": {"Metric": of, "Period": period, "Stat": statistic}, "ReturnData": False},
                {"Id": "e1", "Expression": metric, "Label": name, "ReturnData": True},
            ]
        else:
            alarm |= {
                "Namespace": namespace,
                "MetricName": metric,
                "Dimensions": watched,
                "Statistic": statistic,
                "Period": period,
            }
        yield alarm


def dashboard(instance):
    """Returns the body of the dashboard."""
    metrics = [["CWAgent", "disk_used_percent", "InstanceId", instance, "path", "/"]]
    return {
        "widgets": [
            {"type": "text", "width": 24, "height": 2, "properties": {"markdown": f"{NAME} {TAGS['team']}"}},
            {"type": "metric", "width": 12, "height": 6, "properties": {"region": REGION, "metrics": metrics}},
        ]
    }


def template():
    """Returns the CloudFormation template; what has no tags here gets those of the stack."""
    tags = tag_list()
    instance, topic = {"Ref": "Host"}, {"Ref": "Topic"}
    body = json.dumps(dashboard("${Host}"))
    resources = {
        "Record": ("SSM::Parameter", {"Name": RECORD, "Type": "String", "Value": RECORD_VALUE}),
        "Report": ("SSM::Parameter", {"Name": REPORT, "Type": "String", "Value": REPORT_VALUE}),
        "Role": (
            "IAM::Role",
            {
                "RoleName": ROLE,
                "Path": ROLE_PATH,
                "AssumeRolePolicyDocument": trust_policy(),
                "Policies": [{"PolicyName": POLICY, "PolicyDocument": host_policy()}],
                "Tags": tags,
            },
        ),
        "Profile": (
            "IAM::InstanceProfile",
            {"InstanceProfileName": ROLE, "Path": ROLE_PATH, "Roles": [{"Ref": "Role"}]},
        ),
        "SecurityGroup": (
            "EC2::SecurityGroup",
            {"GroupName": SECURITY_GROUP, "GroupDescription": NAME, "Tags": tags},
        ),
        "Logs": (
            "Logs::LogGroup",
            {"LogGroupName": LOG_GROUP, "RetentionInDays": RETENTION_DAYS, "Tags": tags},
        ),
        "Topic": ("SNS::Topic", {"TopicName": TOPIC, "Tags": tags}),
        "Host": (
            "EC2::Instance",
            {
                "ImageId": {"Ref": "Image"},
                "InstanceType": INSTANCE_TYPE,
                "IamInstanceProfile": {"Ref": "Profile"},
                "SecurityGroupIds": [{"Fn::GetAtt": ["SecurityGroup", "GroupId"]}],
                "MetadataOptions": {
                    "HttpTokens": "required",
                    "HttpPutResponseHopLimit": HOP_LIMIT,
                    "HttpEndpoint": "enabled",
                },
                "BlockDeviceMappings": [
                    {
                        "DeviceName": "/dev/sda1",
                        "Ebs": {
                            "VolumeSize": DISK_GIB,
                            "VolumeType": "gp3",
                            "Encrypted": True,
                            "DeleteOnTermination": True,
                        },
                    }
                ],
                "PropagateTagsToVolumeOnCreation": True,
                "UserData": {"Fn::Base64": user_data()},
                "Tags": tag_list(Name=NAME),
            },
        ),
        "Dashboard": (
            "CloudWatch::Dashboard",
            {"DashboardName": DASHBOARD, "DashboardBody": {"Fn::Sub": body}},
        ),
    }
    for number, alarm in enumerate(alarms(instance, topic), 1):
        resources[f"Alarm{number}"] = ("CloudWatch::Alarm", {**alarm, "Tags": tags})
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Parameters": {
            "Image": {"Type": "AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>", "Default": IMAGE},
        },
        "Resources": {
            key: {"Type": f"AWS::{kind}", "Properties": properties} for key, (kind, properties) in resources.items()
        },
    }


def ansible_variables():
    """Returns what the playbook needs."""
    return {
        "region": REGION,
        "deployment": NAME,
        "image_parameter": IMAGE,
        "instance_type": INSTANCE_TYPE,
        "disk_gib": DISK_GIB,
        "retention_days": RETENTION_DAYS,
        "hop_limit": HOP_LIMIT,
        "parameters": [{"name": RECORD, "value": RECORD_VALUE}, {"name": REPORT, "value": REPORT_VALUE}],
        "log_group": LOG_GROUP,
        "role": ROLE,
        "role_path": ROLE_PATH,
        "policy": POLICY,
        "security_group": SECURITY_GROUP,
        "topic": TOPIC,
        # Texts that look like JSON would become documents, and be quoted otherwise.
        "trust_policy": trust_policy(),
        "host_policy": host_policy(),
        "user_data": user_data(),
        "resource_tags": TAGS,
        "alarms": [
            {
                "name": f"dataops-infra/{NAME}/{name}",
                "description": f"{name} of {NAME}",
                "namespace": namespace,
                "metric": metric,
                "statistic": statistic,
                "comparison": OPERATORS[comparison],
                "threshold": threshold,
                "period": period,
                "periods": periods,
                "missing": missing,
                "dimensions": dimensions,
                "expression": " " in metric,
            }
            for (
                name,
                namespace,
                metric,
                statistic,
                comparison,
                threshold,
                period,
                periods,
                missing,
                dimensions,
            ) in ALARMS
        ],
        "expression_metric": EXPRESSION_METRIC,
    }
