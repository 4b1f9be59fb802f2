"""EKS: versions of Kubernetes, of node images and of add-ons.

Which there are on AWS changes every few weeks, so these are made to look like them: names, form and order are right, dates are
counted from today, so that a version does not fall out of support by itself.
"""

from datetime import datetime, timedelta, timezone

STANDARD, EXTENDED, UNSUPPORTED = "STANDARD_SUPPORT", "EXTENDED_SUPPORT", "UNSUPPORTED"
# Version, support, patch, days until standard and until extended support ends
# (https://docs.aws.amazon.com/eks/latest/userguide/kubernetes-versions.html: 14 months, then 12).
VERSIONS = [
    ("1.36", STANDARD, "1.36.1", 380, 745),
    ("1.35", STANDARD, "1.35.4", 126, 491),
    ("1.34", STANDARD, "1.34.8", 40, 405),
    ("1.33", EXTENDED, "1.33.11", -115, 250),
    ("1.32", EXTENDED, "1.32.14", -243, 122),
    ("1.31", UNSUPPORTED, "1.31.14", -361, -1),
]
DEFAULT = "1.35"
PLATFORM = "eks.9"
IMAGE = "ami-0000000000000e351"
# Of the newest image for nodes, unless a test says another.
DAY = "20260410"
# Name of the add-on -> its versions for every version of Kubernetes, newest first, or none: one that goes with Kubernetes.
# Then the one that is the default where none is asked for, its namespace, and whether it needs a role.
ADDONS = {
    "vpc-cni": (["v1.21.2-eksbuild.1", "v1.21.1-eksbuild.3", "v1.20.4-eksbuild.2"], 1, "kube-system", True),
    "kube-proxy": (None, 1, "kube-system", False),
    "coredns": (["v1.13.2-eksbuild.3", "v1.13.1-eksbuild.1", "v1.12.4-eksbuild.1"], 1, "kube-system", False),
    "eks-pod-identity-agent": (["v1.3.10-eksbuild.2", "v1.3.9-eksbuild.5"], 1, "kube-system", False),
    "aws-ebs-csi-driver": (["v1.57.1-eksbuild.1", "v1.56.0-eksbuild.1"], 1, "kube-system", True),
    "aws-efs-csi-driver": (["v3.0.1-eksbuild.1", "v2.3.0-eksbuild.2"], 1, "kube-system", True),
    "amazon-cloudwatch-observability": (
        ["v6.2.0-eksbuild.1", "v6.1.0-eksbuild.1", "v5.3.1-eksbuild.1"],
        0,
        "amazon-cloudwatch",
        True,
    ),
    "metrics-server": (["v0.8.1-eksbuild.2", "v0.8.0-eksbuild.6"], 1, "kube-system", False),
    "snapshot-controller": (["v8.5.0-eksbuild.1", "v8.3.0-eksbuild.1"], 1, "kube-system", False),
}
# Those with pods that are no daemons: without a node they are not healthy.
NEEDS_NODES = {
    "coredns",
    "aws-ebs-csi-driver",
    "aws-efs-csi-driver",
    "amazon-cloudwatch-observability",
    "metrics-server",
    "snapshot-controller",
}
# What EKS puts into a new cluster by itself, unless told otherwise.
SELF_MANAGED = {"vpc-cni", "kube-proxy", "coredns"}


def support(version):
    """Returns the support of a version, none if there is no such version."""
    return next((status for name, status, *_ in VERSIONS if name == version), None)


def minor(version):
    """Returns the number behind the dot."""
    return int(version.partition(".")[2])


def release_version(version, day=None):
    """Returns the release of the node image for a version of Kubernetes, the newest of a day."""
    patch = next(patch for name, _, patch, *_ in VERSIONS if name == version)
    return f"{patch}-{day or DAY}"


def cluster_version(row):
    """Returns a version as DescribeClusterVersions has it."""
    version, status, patch, standard, extended = row
    today = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    return {
        "clusterVersion": version,
        "clusterType": "eks",
        "defaultPlatformVersion": PLATFORM,
        "defaultVersion": version == DEFAULT,
        "releaseDate": today + timedelta(days=standard - 425),
        "endOfStandardSupportDate": today + timedelta(days=standard),
        "endOfExtendedSupportDate": today + timedelta(days=extended),
        "status": status.lower().replace("_", "-"),
        "versionStatus": status,
        "kubernetesPatchVersion": patch,
    }


def addon_versions(name, version):
    """Returns the versions of an add-on for a version of Kubernetes, newest first, and the default."""
    names, default, *_ = ADDONS[name]
    if names is None:
        patch = next(patch for known, _, patch, *_ in VERSIONS if known == version)
        names = [f"v{patch}-eksbuild.2", f"v{version}.0-eksbuild.2"]
    # The newest of a list is not there for versions that are only in extended support.
    if support(version) != STANDARD and len(names) > 2:
        return names[1:], names[1]
    return names, names[default]


def addon(name, only):
    """Returns an add-on as DescribeAddonVersions has it, for one version of Kubernetes or for all."""
    *_, namespace, needs_role = ADDONS[name]
    found = {}
    for version, status, *_ in VERSIONS:
        if status == UNSUPPORTED or (only and version != only):
            continue
        names, default = addon_versions(name, version)
        for each in names:
            found.setdefault(each, []).append(
                {"clusterVersion": version, "platformVersions": ["*"], "defaultVersion": each == default}
            )
    return {
        "addonName": name,
        "type": "observability" if name == "amazon-cloudwatch-observability" else "networking",
        "publisher": "eks",
        "owner": "aws",
        "defaultNamespace": namespace,
        "addonVersions": [
            {
                "addonVersion": each,
                "architecture": ["amd64", "arm64"],
                "computeTypes": ["ec2", "auto", "hybrid"],
                "compatibilities": compatibilities,
                "requiresConfiguration": False,
                "requiresIamPermissions": needs_role,
            }
            for each, compatibilities in sorted(found.items(), key=lambda pair: names_order(pair[0]), reverse=True)
        ],
    }


def names_order(name):
    """Returns what versions are sorted by."""
    return [int(part) for part in name.lstrip("v").replace("-eksbuild", "").split(".")]
