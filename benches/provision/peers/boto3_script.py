"""The deployment as people script it with boto3: call after call, or with a pool of threads.

    python boto3_script.py create|delete [--threads]

Running `create` again changes nothing. With `--threads` each call starts as soon as what it needs is there: the least
that a program can do that makes the same calls.
"""

import argparse
import json
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import spec

THREADS = 16
SERVICES = ("ssm", "iam", "ec2", "logs", "sns", "cloudwatch")


class InOrder:
    """An executor that does the call at once, in the caller."""

    def submit(self, call, *args):
        done = Future()
        done.set_result(call(*args))
        return done


class Deployment:
    def __init__(self, executor):
        self.executor = executor
        session = boto3.Session(region_name=spec.REGION)
        config = Config(max_pool_connections=THREADS)
        self.ssm, self.iam, self.ec2, self.logs, self.sns, self.cloudwatch = (
            session.client(service, config=config) for service in SERVICES
        )

    def start(self, call, *needs):
        """Starts a call once the ones that it needs are done; it gets their results."""
        return self.executor.submit(lambda: call(*(need.result() for need in needs)))

    def image(self):
        return self.ssm.get_parameter(Name=spec.IMAGE)["Parameter"]["Value"]

    def parameter(self, name, value):
        try:
            if self.ssm.get_parameter(Name=name)["Parameter"]["Value"] == value:
                return
        except self.ssm.exceptions.ParameterNotFound:
            self.ssm.put_parameter(Name=name, Value=value, Type="String", Tags=spec.tag_list())
            return
        self.ssm.put_parameter(Name=name, Value=value, Type="String", Overwrite=True)

    def role(self):
        try:
            self.iam.get_role(RoleName=spec.ROLE)
        except self.iam.exceptions.NoSuchEntityException:
            self.iam.create_role(
                RoleName=spec.ROLE,
                Path=spec.ROLE_PATH,
                AssumeRolePolicyDocument=json.dumps(spec.trust_policy()),
                Tags=spec.tag_list(),
            )

    def policy(self, _role):
        self.iam.put_role_policy(
            RoleName=spec.ROLE, PolicyName=spec.POLICY, PolicyDocument=json.dumps(spec.host_policy())
        )

    def profile(self):
        """Says whether the profile has the role."""
        try:
            found = self.iam.get_instance_profile(InstanceProfileName=spec.ROLE)
            return bool(found["InstanceProfile"]["Roles"])
        except self.iam.exceptions.NoSuchEntityException:
            self.iam.create_instance_profile(InstanceProfileName=spec.ROLE, Path=spec.ROLE_PATH, Tags=spec.tag_list())
            return False

    def role_in_profile(self, _role, has_role):
        if not has_role:
            self.iam.add_role_to_instance_profile(InstanceProfileName=spec.ROLE, RoleName=spec.ROLE)

    def security_group(self):
        found = self.ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": [spec.SECURITY_GROUP]}])
        for group in found["SecurityGroups"]:
            return group["GroupId"]
        return self.ec2.create_security_group(
            GroupName=spec.SECURITY_GROUP,
            Description=spec.NAME,
            TagSpecifications=[{"ResourceType": "security-group", "Tags": spec.tag_list()}],
        )["GroupId"]

    def log_group(self):
        found = self.logs.describe_log_groups(logGroupNamePrefix=spec.LOG_GROUP)["logGroups"]
        for group in found:
            if group["logGroupName"] == spec.LOG_GROUP:
                return group.get("retentionInDays")
        self.logs.create_log_group(logGroupName=spec.LOG_GROUP, tags=spec.TAGS)
        return None

    def retention(self, days):
        if days != spec.RETENTION_DAYS:
            self.logs.put_retention_policy(logGroupName=spec.LOG_GROUP, retentionInDays=spec.RETENTION_DAYS)

    def topic(self):
        return self.sns.create_topic(Name=spec.TOPIC, Tags=spec.tag_list())["TopicArn"]

    def running(self):
        states = ["pending", "running", "stopping", "stopped"]
        found = self.ec2.describe_instances(
            Filters=[
                {"Name": "tag:Name", "Values": [spec.NAME]},
                {"Name": "instance-state-name", "Values": states},
            ]
        )
        return [instance["InstanceId"] for row in found["Reservations"] for instance in row["Instances"]]

    def instance(self, image, group, running, *_needed):
        if running:
            return running[0]
        while True:
            try:
                return self.launch(image, group)
            except ClientError as error:
                # A new profile takes a while to be seen.
                if "iamInstanceProfile" not in str(error):
                    raise
                time.sleep(1)

    def launch(self, image, group):
        tags = [{"ResourceType": kind, "Tags": spec.tag_list(Name=spec.NAME)} for kind in ("instance", "volume")]
        ebs = {"VolumeSize": spec.DISK_GIB, "VolumeType": "gp3", "Encrypted": True, "DeleteOnTermination": True}
        launched = self.ec2.run_instances(
            MinCount=1,
            MaxCount=1,
            ImageId=image,
            InstanceType=spec.INSTANCE_TYPE,
            IamInstanceProfile={"Name": spec.ROLE},
            SecurityGroupIds=[group],
            BlockDeviceMappings=[{"DeviceName": "/dev/sda1", "Ebs": ebs}],
            MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": spec.HOP_LIMIT},
            UserData=spec.user_data(),
            TagSpecifications=tags,
        )
        return launched["Instances"][0]["InstanceId"]

    def alarm(self, alarm):
        self.cloudwatch.put_metric_alarm(**alarm, Tags=spec.tag_list())

    def dashboard(self, instance):
        self.cloudwatch.put_dashboard(DashboardName=spec.DASHBOARD, DashboardBody=json.dumps(spec.dashboard(instance)))

    def create(self):
        # What others wait for first: with a pool the first in the queue are the first to start.
        role, profile = self.start(self.role), self.start(self.profile)
        image, group, running, topic = (
            self.start(call) for call in (self.image, self.security_group, self.running, self.topic)
        )
        log_group = self.start(self.log_group)
        rest = [
            self.start(lambda: self.parameter(spec.RECORD, spec.RECORD_VALUE)),
            self.start(lambda: self.parameter(spec.REPORT, spec.REPORT_VALUE)),
            self.start(self.retention, log_group),
        ]
        policy, joined = self.start(self.policy, role), self.start(self.role_in_profile, role, profile)
        instance = self.start(self.instance, image, group, running, policy, joined)
        rest.append(self.start(self.dashboard, instance))
        alarms = list(spec.alarms(instance.result(), topic.result()))
        rest.extend(self.start(lambda alarm=alarm: self.alarm(alarm)) for alarm in alarms)
        for done in rest:
            done.result()

    def terminate(self, running):
        if running:
            self.ec2.terminate_instances(InstanceIds=running)
            self.ec2.get_waiter("instance_terminated").wait(InstanceIds=running)

    def delete_security_group(self, _ended):
        self.ec2.delete_security_group(GroupName=spec.SECURITY_GROUP)

    def delete_alarms(self):
        self.cloudwatch.delete_alarms(AlarmNames=[f"dataops-infra/{spec.NAME}/{alarm[0]}" for alarm in spec.ALARMS])

    def remove_role(self, _ended):
        self.iam.remove_role_from_instance_profile(InstanceProfileName=spec.ROLE, RoleName=spec.ROLE)

    def delete_topic(self, account):
        self.sns.delete_topic(TopicArn=f"arn:aws:sns:{spec.REGION}:{account}:{spec.TOPIC}")

    def delete(self):
        ended = self.start(self.terminate, self.start(self.running))
        sts = boto3.client("sts", region_name=spec.REGION)
        account = self.start(lambda: sts.get_caller_identity()["Account"])
        removed = self.start(self.remove_role, ended)
        policy = self.start(lambda: self.iam.delete_role_policy(RoleName=spec.ROLE, PolicyName=spec.POLICY))
        rest = [
            self.start(self.delete_alarms),
            self.start(lambda: self.cloudwatch.delete_dashboards(DashboardNames=[spec.DASHBOARD])),
            self.start(lambda: self.logs.delete_log_group(logGroupName=spec.LOG_GROUP)),
            self.start(self.delete_topic, account),
            self.start(self.delete_security_group, ended),
            self.start(lambda _: self.iam.delete_instance_profile(InstanceProfileName=spec.ROLE), removed),
            self.start(lambda *_: self.iam.delete_role(RoleName=spec.ROLE), removed, policy),
            self.start(lambda: self.ssm.delete_parameters(Names=[spec.RECORD, spec.REPORT])),
        ]
        for done in rest:
            done.result()


def main():
    parser = argparse.ArgumentParser(description="One deployment with boto3.")
    parser.add_argument("what", choices=("create", "delete"))
    parser.add_argument("--threads", action="store_true")
    options = parser.parse_args()
    if options.threads:
        with ThreadPoolExecutor(THREADS) as executor:
            getattr(Deployment(executor), options.what)()
    else:
        getattr(Deployment(InOrder()), options.what)()


if __name__ == "__main__":
    main()
