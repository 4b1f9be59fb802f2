"""Service Quotas: those that a deployment needs; moto knows those of VPC alone."""

from moto.servicequotas.models import ServiceQuotasBackend

from . import replaces

# Service, its name, code, name of the quota, value, and the class in the usage metric.
QUOTAS = [
    (
        "ec2",
        "Amazon Elastic Compute Cloud (Amazon EC2)",
        "L-1216C47A",
        "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances",
        64.0,
        "Standard/OnDemand",
    ),
    (
        "ebs",
        "Amazon Elastic Block Store (Amazon EBS)",
        "L-7A658B76",
        "Storage for General Purpose SSD (gp3) volumes, in TiB",
        50.0,
        None,
    ),
    # https://docs.aws.amazon.com/general/latest/gr/eks.html
    ("eks", "Amazon Elastic Kubernetes Service (Amazon EKS)", "L-1194D53C", "Clusters", 100.0, None),
    (
        "eks",
        "Amazon Elastic Kubernetes Service (Amazon EKS)",
        "L-6D54EA21",
        "Managed node groups per cluster",
        30.0,
        None,
    ),
    (
        "eks",
        "Amazon Elastic Kubernetes Service (Amazon EKS)",
        "L-BD136A63",
        "Nodes per managed node group",
        450.0,
        None,
    ),
    # https://docs.aws.amazon.com/general/latest/gr/elasticfilesystem.html
    ("elasticfilesystem", "Amazon Elastic File System (EFS)", "L-848C634D", "File systems per account", 1000.0, None),
]


def quota(backend, service, name, code, title, value, usage):
    """Returns a quota as GetServiceQuota answers it."""
    partition, region, account = backend.partition, backend.region_name, backend.account_id
    document = {
        "ServiceCode": service,
        "ServiceName": name,
        "QuotaArn": f"arn:{partition}:servicequotas:{region}:{account}:{service}/{code}",
        "QuotaCode": code,
        "QuotaName": title,
        "Value": value,
        "Unit": "None",
        "Adjustable": True,
        "GlobalQuota": False,
        "QuotaAppliedAtLevel": "ACCOUNT",
    }
    if usage:
        document["UsageMetric"] = {
            "MetricNamespace": "AWS/Usage",
            "MetricName": "ResourceCount",
            "MetricDimensions": {"Class": usage, "Resource": "vCPU", "Service": "EC2", "Type": "Resource"},
            "MetricStatisticRecommendation": "Maximum",
        }
    return document


def repair():
    """Puts QUOTAS beside those that moto knows."""

    @replaces(ServiceQuotasBackend, "get_service_quota")
    def get_service_quota(get, self, service_code, quota_code):
        for service, name, code, *rest in QUOTAS:
            if (service, code) == (service_code, quota_code):
                return quota(self, service, name, code, *rest)
        return get(self, service_code, quota_code)

    @replaces(ServiceQuotasBackend, "list_aws_default_service_quotas")
    def list_aws_default_service_quotas(listed, self, service_code):
        known = [quota(self, *row) for row in QUOTAS if row[0] == service_code]
        return known or listed(self, service_code)
