"""How many calls of a log had to wait for one another, and how long those took.

Time alone does not tell: two calls that happened one after the other may have had no need to. So NEEDS says which
operation needs which; a call then follows those of them that had ended when it began. The longest path through that,
by the time that its calls took, is what a program with as many connections as it likes could not have gone below.
"""

IDENTITY = "sts:GetCallerIdentity"
# What is read before the first change, and before a dry run; and what is asked about things of which only that told.
READ = "read"
SECOND_READ = "second read"
DRY_RUN = "dry run"
# The record of the deployment: its first write (the lock) and later ones.
LOCK, RECORD = "lock", "record"
# What is read of instances and their reports after one was started or ended; and last of all whether the record is still
# what it was, which a removal at the same time changes.
LOOK = "look"
LOOKS = {"ec2:DescribeInstances", "ec2:DescribeInstanceStatus"}
LAST_LOOK = "last look"
LAST_LOOKS = {"ssm:GetParameters"}
STATE_CHANGES = ["ec2:RunInstances", "ec2:TerminateInstances"]
RECORD_SUFFIX = "/deployment"

SECOND_READS = {
    "ssm:ListTagsForResource",
    "logs:ListTagsForResource",
    "logs:ListTagsLogGroup",
    "sns:ListTagsForResource",
    "sns:ListSubscriptionsByTopic",
    "sns:GetTopicAttributes",
    "cloudwatch:ListTagsForResource",
    "iam:ListRoleTags",
    "iam:ListInstanceProfileTags",
    "iam:GetRolePolicy",
    "iam:ListRolePolicies",
    "iam:ListAttachedRolePolicies",
    "ec2:DescribeInstanceAttribute",
}
READ_PREFIXES = ("Get", "List", "Describe", "Lookup", "Filter")

MADE = [
    "ssm:PutParameter",
    "iam:CreateRole",
    "iam:CreateInstanceProfile",
    "ec2:CreateSecurityGroup",
    "logs:CreateLogGroup",
    "sns:CreateTopic",
]
CHANGES = [
    *MADE,
    "iam:PutRolePolicy",
    "iam:AddRoleToInstanceProfile",
    "logs:PutRetentionPolicy",
    "sns:Subscribe",
    "ec2:RunInstances",
    "ec2:TerminateInstances",
    "ec2:DeleteSecurityGroup",
    "iam:DeleteRolePolicy",
    "iam:RemoveRoleFromInstanceProfile",
    "iam:DeleteInstanceProfile",
    "iam:DeleteRole",
    "logs:DeleteLogGroup",
    "sns:DeleteTopic",
    "cloudwatch:PutMetricAlarm",
    "cloudwatch:PutDashboard",
    "cloudwatch:DeleteAlarms",
    "cloudwatch:DeleteDashboards",
    "ssm:DeleteParameter",
    "ssm:DeleteParameters",
]
BEFORE = [IDENTITY, READ, SECOND_READ, DRY_RUN, LOCK]

# Operation -> the operations of which it needs the answers, or that must have happened.
NEEDS = {
    # ARNs contain the account.
    READ: [IDENTITY],
    SECOND_READ: [IDENTITY, READ],
    DRY_RUN: [IDENTITY, READ, SECOND_READ],
    # Nothing is changed before all that can refuse has answered, and nothing before the record.
    LOCK: [IDENTITY, READ, SECOND_READ, DRY_RUN],
    **{operation: BEFORE for operation in CHANGES},
    "iam:PutRolePolicy": [*BEFORE, "iam:CreateRole"],
    "iam:AddRoleToInstanceProfile": [*BEFORE, "iam:CreateRole", "iam:CreateInstanceProfile"],
    "logs:PutRetentionPolicy": [*BEFORE, "logs:CreateLogGroup"],
    "sns:Subscribe": [*BEFORE, "sns:CreateTopic"],
    # The host uses these from its first second; a launch is tried again until the profile is seen.
    "ec2:RunInstances": [
        *BEFORE,
        *MADE,
        "iam:PutRolePolicy",
        "iam:AddRoleToInstanceProfile",
        "ec2:RunInstances",
    ],
    # A look that was too early is repeated.
    LOOK: [*STATE_CHANGES, LOOK],
    "cloudwatch:PutMetricAlarm": [*BEFORE, "sns:CreateTopic", "ec2:RunInstances", LOOK],
    "cloudwatch:PutDashboard": [*BEFORE, "ec2:RunInstances", LOOK],
    # Removing: a group or a profile only once the instance has ended.
    "ec2:TerminateInstances": [*BEFORE, "cloudwatch:DeleteAlarms"],
    "ec2:DeleteSecurityGroup": [*BEFORE, "ec2:TerminateInstances", LOOK],
    "iam:RemoveRoleFromInstanceProfile": [*BEFORE, "ec2:TerminateInstances", LOOK],
    "iam:DeleteInstanceProfile": [*BEFORE, "iam:RemoveRoleFromInstanceProfile"],
    "iam:DeleteRole": [*BEFORE, "iam:RemoveRoleFromInstanceProfile", "iam:DeleteRolePolicy"],
    # Last: what was done.
    LAST_LOOK: [*BEFORE, *CHANGES, LOOK, RECORD],
    RECORD: [*BEFORE, *CHANGES, LOOK, RECORD],
}


def kinds(calls):
    """Yields the key in NEEDS of each call, in the order of their beginning."""
    changed = state_changed = False
    for call in calls:
        operation = f"{call['service']}:{call['operation']}"
        record = call["service"] == "ssm" and (call["name"] or "").endswith(RECORD_SUFFIX)
        if operation == IDENTITY:
            yield IDENTITY
        elif call["dry_run"]:
            yield DRY_RUN
        elif call["operation"].startswith(READ_PREFIXES):
            if state_changed and operation in LOOKS:
                yield LOOK
            elif state_changed and operation in LAST_LOOKS:
                yield LAST_LOOK
            else:
                yield SECOND_READ if operation in SECOND_READS else READ
        elif record:
            yield RECORD if changed else LOCK
            changed = True
        else:
            changed = True
            state_changed = state_changed or operation in STATE_CHANGES
            yield operation


def longest(calls):
    """Returns the calls of the longest path, first to last."""
    calls = sorted(calls, key=lambda call: call["start"])
    best = []
    for index, (call, kind) in enumerate(zip(calls, kinds(calls))):
        before = None
        for earlier in range(index):
            _, total, earlier_kind, _ = best[earlier]
            ended = calls[earlier]["end"] <= call["start"]
            if ended and earlier_kind in NEEDS.get(kind, ()) and (before is None or total > best[before][1]):
                before = earlier
        total = call["end"] - call["start"] + (best[before][1] if before is not None else 0)
        best.append((call, total, kind, before))
    path = []
    at = max(range(len(best)), key=lambda index: best[index][1], default=None)
    while at is not None:
        call, _, kind, before = best[at]
        path.append({"kind": kind, "seconds": call["end"] - call["start"], "name": call["name"]})
        at = before
    return path[::-1]


def writes(call):
    """Says whether a call changed something, or wrote again what was there."""
    return call["status"] < 400 and not call["dry_run"] and not call["operation"].startswith(READ_PREFIXES)


def in_sequence(calls):
    """Returns the most calls of which each began after the one before it had ended, needed or not."""
    count, free_at = 0, float("-inf")
    for call in sorted(calls, key=lambda call: call["end"]):
        if call["start"] >= free_at:
            count, free_at = count + 1, call["end"]
    return count
