"""CloudWatch Logs: only retention periods that there are, and tags that go with their group."""

from moto.logs.exceptions import InvalidParameterException, ResourceNotFoundException
from moto.logs.models import LogsBackend

from . import replaces

DAYS = {1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}


def repair():
    """PutRetentionPolicy: only DAYS. DeleteLogGroup: a new group of the name has no tags of the old one. ListTagsForResource: not of a
    group that is not there."""

    @replaces(LogsBackend, "put_retention_policy")
    def put_retention_policy(put, self, log_group_name, retention_in_days):
        if int(retention_in_days) not in DAYS:
            raise InvalidParameterException(
                constraint=f"Member must satisfy enum value set: {sorted(DAYS)}",
                parameter="retentionInDays",
                value=retention_in_days,
            )
        return put(self, log_group_name, retention_in_days)

    @replaces(LogsBackend, "delete_log_group")
    def delete_log_group(delete, self, log_group_name):
        group = self.groups.get(log_group_name)
        if group:
            self.tagger.delete_all_tags_for_resource(group.arn)
        return delete(self, log_group_name)

    @replaces(LogsBackend, "list_tags_for_resource")
    def list_tags_for_resource(listed, self, resource_arn):
        name = resource_arn.partition(":log-group:")[2]
        if name and name not in self.groups:
            raise ResourceNotFoundException()
        return listed(self, resource_arn)
