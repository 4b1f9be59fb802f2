"""What an account really has, read in the same way whoever made it."""

import base64
import gzip

import boto3

import spec

# Nobody asks for user data of one size exactly, and `up` brings its own.
LEAST_USER_DATA = 8 * 1024
TAG = "dataops-infra:deployment"
TAGGABLE = 17


def plain(data):
    """Returns user data as cloud-init reads it."""
    return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data


class Account:
    """Reads an account through a proxy without delay."""

    def __init__(self, url):
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        session = boto3.Session(region_name=spec.REGION, **keys)
        services = (
            "ssm",
            "iam",
            "ec2",
            "logs",
            "sns",
            "cloudwatch",
            "sts",
            "cloudformation",
            "resourcegroupstaggingapi",
        )
        (
            self.ssm,
            self.iam,
            self.ec2,
            self.logs,
            self.sns,
            self.cloudwatch,
            self.sts,
            self.cloudformation,
            self.tagging,
        ) = (session.client(service, endpoint_url=url) for service in services)

    def prepare(self):
        """Makes the user's token, and has the emulator do what it does once for each account."""
        self.ssm.put_parameter(Name=spec.TOKEN, Value="not-a-real-value", Type="SecureString")
        self.ec2.describe_vpcs()
        self.ec2.describe_images(Owners=["099720109477"])
        self.sts.get_caller_identity()
        self.cloudformation.list_stacks()
        self.tagging.get_resources()
        self.everything()

    def everything(self):
        """Returns all that is neither there from the start nor has ended, by kind and name."""
        return {
            "parameter": [
                name
                for name in self.listed(self.ssm, "describe_parameters", "Parameters[].Name")
                # What the user has, and what AWS publishes.
                if name != spec.TOKEN and not name.startswith("/aws/")
            ],
            "role": self.listed(self.iam, "list_roles", "Roles[].RoleName"),
            "instance profile": self.listed(
                self.iam, "list_instance_profiles", "InstanceProfiles[].InstanceProfileName"
            ),
            "policy": self.listed(self.iam, "list_policies", "Policies[].PolicyName", Scope="Local"),
            "security group": self.listed(
                self.ec2, "describe_security_groups", "SecurityGroups[?GroupName!='default'].GroupName"
            ),
            "log group": self.listed(self.logs, "describe_log_groups", "logGroups[].logGroupName"),
            "topic": [arn.rpartition(":")[2] for arn in self.listed(self.sns, "list_topics", "Topics[].TopicArn")],
            "instance": self.listed(
                self.ec2, "describe_instances", "Reservations[].Instances[?State.Name!='terminated'].InstanceId[]"
            ),
            "volume": self.listed(self.ec2, "describe_volumes", "Volumes[].VolumeId"),
            "launch template": self.listed(
                self.ec2, "describe_launch_templates", "LaunchTemplates[].LaunchTemplateName"
            ),
            "alarm": self.listed(self.cloudwatch, "describe_alarms", "MetricAlarms[].AlarmName"),
            "dashboard": self.listed(self.cloudwatch, "list_dashboards", "DashboardEntries[].DashboardName"),
            "stack": self.listed(
                self.cloudformation, "list_stacks", "StackSummaries[?StackStatus!='DELETE_COMPLETE'].StackName"
            ),
        }

    @staticmethod
    def listed(client, operation, expression, **parameters):
        """Returns what an expression finds on all pages."""
        pages = client.get_paginator(operation).paginate(**parameters)
        return [found for found in pages.search(expression) if found is not None]

    def checked(self):
        """Returns how many of the things that were asked for are there, which are not, and what is not as asked."""
        there = self.everything()
        asked = [
            ("parameter", spec.RECORD),
            ("parameter", spec.REPORT),
            ("role", spec.ROLE),
            ("instance profile", spec.ROLE),
            ("security group", spec.SECURITY_GROUP),
            ("log group", spec.LOG_GROUP),
            ("topic", spec.TOPIC),
            ("dashboard", spec.DASHBOARD),
            *(("alarm", f"dataops-infra/{spec.NAME}/{alarm[0]}") for alarm in spec.ALARMS),
        ]
        missing = [f"{kind} {name}" for kind, name in asked if name not in there[kind]]
        hosts = len(there["instance"])
        if not hosts:
            missing.append("instance")
        known = {name for _, name in asked} | set(there["instance"]) | set(there["volume"]) | set(there["stack"])
        return {
            "asked": len(asked) + 1,
            "present": len(asked) + 1 - len(missing),
            "missing": missing,
            "instances": hosts,
            "besides": [f"{kind} {name}" for kind, names in there.items() for name in names if name not in known],
            "wrong": sorted(self.differences(there)),
            "there": {kind: names for kind, names in there.items() if names},
        }

    def differences(self, there):
        """Yields what is there and is not as it was asked for."""
        if spec.ROLE in there["role"] and not self.iam.list_role_policies(RoleName=spec.ROLE)["PolicyNames"]:
            yield "role without policy"
        if spec.ROLE in there["instance profile"]:
            found = self.iam.get_instance_profile(InstanceProfileName=spec.ROLE)["InstanceProfile"]
            if [role["RoleName"] for role in found["Roles"]] != [spec.ROLE]:
                yield "instance profile without role"
        for group in self.logs.describe_log_groups(logGroupNamePrefix=spec.LOG_GROUP)["logGroups"]:
            if not group.get("retentionInDays"):
                yield "log group without retention"
        for instance in there["instance"]:
            yield from self.host_differences(instance)
        tagged = self.tagged(there)
        if tagged < TAGGABLE:
            yield f"{tagged} of {TAGGABLE} taggable things have tags"

    def host_differences(self, instance_id):
        found = self.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
        options = found.get("MetadataOptions", {})
        if options.get("HttpTokens") != "required" or options.get("HttpPutResponseHopLimit") != spec.HOP_LIMIT:
            yield "host without IMDSv2 and hop limit 2"
        if found["InstanceType"] != spec.INSTANCE_TYPE:
            yield f"host is a {found['InstanceType']}"
        if not found.get("IamInstanceProfile"):
            yield "host without instance profile"
        if spec.SECURITY_GROUP not in [group["GroupName"] for group in found["SecurityGroups"]]:
            yield "host without security group"
        data = self.ec2.describe_instance_attribute(InstanceId=instance_id, Attribute="userData")
        if len(plain(base64.b64decode(data.get("UserData", {}).get("Value", "")))) < LEAST_USER_DATA:
            yield "host without user data"
        filters = [{"Name": "attachment.instance-id", "Values": [instance_id]}]
        volumes = self.ec2.describe_volumes(Filters=filters)["Volumes"]
        if [(row["Size"], row["VolumeType"], row["Encrypted"]) for row in volumes] != [(spec.DISK_GIB, "gp3", True)]:
            yield f"volumes {[(row['Size'], row['VolumeType'], row['Encrypted']) for row in volumes]}"
        if not all(self.has_tag(row.get("Tags", [])) for row in volumes):
            yield "volume without tags"

    @staticmethod
    def has_tag(tags):
        return any(tag["Key"] == TAG for tag in tags)

    def tagged(self, there):
        """Counts the things with tags, volumes left out."""
        rows = self.tagging.get_resources(TagFilters=[{"Key": TAG}])["ResourceTagMappingList"]
        count = sum(
            1
            for row in rows
            if ":volume/" not in row["ResourceARN"]
            and ":network-interface/" not in row["ResourceARN"]
            # The tags of a stack are those of its resources too.
            and ":cloudformation:" not in row["ResourceARN"]
        )
        if spec.ROLE in there["role"]:
            count += self.has_tag(self.iam.list_role_tags(RoleName=spec.ROLE)["Tags"])
        if spec.ROLE in there["instance profile"]:
            found = self.iam.get_instance_profile(InstanceProfileName=spec.ROLE)["InstanceProfile"]
            count += self.has_tag(found.get("Tags", []))
        return count
