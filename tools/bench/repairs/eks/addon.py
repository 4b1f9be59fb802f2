"""EKS: add-ons."""

import json
import uuid

from . import catalog
from .cluster import check_tags, make_log_group
from .pod_identity import Association, check_role
from .state import Thing, call, in_use, invalid, issue, issue_of, missing, paged
from .update import Update

# Seconds between looks whether there are nodes.
LOOK = 0.1


class Addon(Thing):
    """An add-on in a cluster."""

    def __init__(self, cluster, parameters, version):
        backend, self.name, self.cluster = cluster.backend, parameters["addonName"], cluster
        arn = backend.arn_of(f"addon/{cluster.name}/{self.name}/{uuid.uuid4()}")
        super().__init__(backend, arn, parameters.get("tags"))
        self.version, self.configuration = version, parameters.get("configurationValues")
        self.role, self.associations = parameters.get("serviceAccountRoleArn"), []
        self.resolve = parameters.get("resolveConflicts") or "NONE"
        self.namespace = catalog.ADDONS[self.name][2]

    def document(self):
        return {
            "addonName": self.name,
            "clusterName": self.cluster.name,
            "status": self.status,
            "addonVersion": self.version,
            "health": self.health(),
            "addonArn": self.arn,
            "createdAt": self.created,
            "modifiedAt": self.modified,
            "serviceAccountRoleArn": self.role,
            "tags": self.tags,
            "publisher": "eks",
            "owner": "aws",
            "configurationValues": self.configuration,
            "podIdentityAssociations": [each.arn for each in self.associations] or None,
            "namespaceConfig": {"namespace": self.namespace},
        }

    def installed(self):
        """Becomes active, or does not: for a test's failure, or because EKS installed the same by itself."""
        failure = self.backend.knobs.failure("addon", self.name)
        if failure:
            found = issue_of(failure, "InternalFailure", "said the bench", self.name)
            return self.settle(failure.get("status", "CREATE_FAILED"), [found])
        if self.name in self.cluster.self_managed and self.resolve != "OVERWRITE":
            conflict = (
                "Conflicts found when trying to apply. Will not continue due to resolve conflicts mode. Conflicts:\n"
                f"DaemonSet.apps {self.name} - .spec.template.spec.containers"
            )
            return self.settle("CREATE_FAILED", [issue("ConfigurationConflict", conflict, self.name)])
        self.cluster.self_managed.discard(self.name)
        return self.look()

    def look(self):
        """Is healthy with a node, degraded without, if it is more than daemons."""
        if self.name in catalog.NEEDS_NODES and not self.cluster.has_nodes():
            few = "The add-on is unhealthy because it doesn't have the desired number of replicas."
            if self.status != "DEGRADED":
                self.settle("DEGRADED", [issue("InsufficientNumberOfReplicas", few, self.name)])
            self.later(LOOK, self.look)
            return None
        if self.name == "amazon-cloudwatch-observability":
            # The agent makes it, without retention.
            make_log_group(self.backend, f"/aws/containerinsights/{self.cluster.name}/performance")
        return self.settle("ACTIVE")

    def gone(self):
        """Is no more, with its pod identity associations."""
        failure = self.backend.knobs.failure("addon-deletion", self.name)
        if failure:
            found = issue_of(failure, "K8sResourceNotFound", "said the bench", self.name)
            return self.settle(failure.get("status", "DELETE_FAILED"), [found])
        for association in self.associations:
            self.cluster.associations.pop(association.id, None)
        self.cluster.addons.pop(self.name, None)
        return self.settle("DELETING")


def check_configuration(values):
    """Refuses settings that are no object in JSON; YAML is refused too, though AWS takes it, because ours are JSON."""
    if values is None:
        return
    try:
        known = isinstance(json.loads(values), dict)
    except ValueError:
        known = False
    if not known:
        invalid("ConfigurationValue is not in supported format. Reason: not a JSON object")


def check_addon(cluster, parameters):
    """Returns the version that is meant."""
    name = parameters["addonName"]
    if name not in catalog.ADDONS:
        invalid("Addon name specified is not supported", addonName=name, clusterName=cluster.name)
    names, default = catalog.addon_versions(name, cluster.version)
    version = parameters.get("addonVersion") or default
    if version not in names:
        invalid("Addon version specified is not supported", addonName=name, clusterName=cluster.name)
    check_configuration(parameters.get("configurationValues"))
    if arn := parameters.get("serviceAccountRoleArn"):
        if cluster.backend.role(arn) is None:
            invalid(f"Role {arn} could not be found", addonName=name)
    return version


def associate(addon, asked):
    """Makes the add-on's associations those that are asked for: other accounts are let go."""
    cluster = addon.cluster
    wanted = {each["serviceAccount"]: each["roleArn"] for each in asked}
    for account, role in wanted.items():
        check_role(cluster, addon.namespace, account, role)
    ours = {each.account: each for each in addon.associations}
    for account in wanted.keys() - ours.keys():
        for other in cluster.associations.values():
            if (other.namespace, other.account) == (addon.namespace, account):
                in_use(f"Association already exists: {other.id}", clusterName=cluster.name, addonName=addon.name)
    for account in ours.keys() - wanted.keys():
        cluster.associations.pop(ours[account].id, None)
    addon.associations = []
    for account, role in wanted.items():
        association = ours.get(account) or Association(cluster, addon.namespace, account, role, addon.tags)
        association.role, association.owner = role, addon.arn
        cluster.associations[association.id] = association
        addon.associations.append(association)


@call
def create_addon(backend, parameters):
    cluster, name = backend.active_cluster(parameters["clusterName"]), parameters["addonName"]
    version = check_addon(cluster, parameters)
    if name in cluster.addons:
        in_use("Addon already exists.", clusterName=cluster.name, addonName=name)
    check_tags(parameters.get("tags"))
    if parameters.get("resolveConflicts") == "PRESERVE":
        invalid("Resolve conflicts option PRESERVE is only for updates", addonName=name)
    addon = Addon(cluster, parameters, version)
    associate(addon, parameters.get("podIdentityAssociations") or [])
    cluster.addons[name] = addon
    addon.busy("CREATING", backend.knobs.seconds("addon", name), addon.installed)
    return {"addon": addon}


def addon(backend, parameters):
    """Returns the add-on that a call names."""
    cluster, name = backend.cluster(parameters["clusterName"]), parameters["addonName"]
    if name not in cluster.addons:
        missing(f"No addon: {name} found in cluster: {cluster.name}", clusterName=cluster.name, addonName=name)
    return cluster.addons[name]


@call
def describe_addon(backend, parameters):
    return {"addon": addon(backend, parameters)}


@call
def list_addons(backend, parameters):
    names, token = paged(backend.cluster(parameters["clusterName"]).addons, parameters)
    return {"addons": names, "nextToken": token}


@call
def delete_addon(backend, parameters):
    found = addon(backend, parameters)
    if found.status == "DELETING":
        in_use(f"Addon {found.name} is being deleted", addonName=found.name)
    found.busy("DELETING", backend.knobs.seconds("addon-deletion", found.name), found.gone)
    return {"addon": found}


@call
def update_addon(backend, parameters):
    found = addon(backend, parameters)
    cluster = found.cluster
    if found.status in ("CREATING", "UPDATING", "DELETING", "CREATE_FAILED"):
        in_use(f"Addon {found.name} cannot be updated as it is currently in {found.status} status", addonName=found.name)
    version = check_addon(cluster, {"addonVersion": found.version, **parameters})
    wanted = {"AddonVersion": version, "ResolveConflicts": parameters.get("resolveConflicts") or "NONE"}
    if "configurationValues" in parameters:
        wanted["ConfigurationValues"] = parameters["configurationValues"]
    if "podIdentityAssociations" in parameters:
        wanted["PodIdentityAssociations"] = parameters["podIdentityAssociations"]
        associate(found, parameters["podIdentityAssociations"])
    update = Update(cluster, "AddonUpdate", wanted, addon=found.name)
    cluster.updates[update.id] = update

    def done():
        failure = backend.knobs.failure("addon-update", found.name)
        if failure:
            problem = issue_of(failure, "ConfigurationConflict", "said the bench", found.name)
            update.fail(problem)
            return found.settle(failure.get("status", "UPDATE_FAILED"), [problem])
        found.version = version
        found.configuration = parameters.get("configurationValues", found.configuration)
        found.role = parameters.get("serviceAccountRoleArn", found.role)
        update.settle("Successful")
        return found.look()

    found.busy("UPDATING", backend.knobs.seconds("addon-update", found.name), done)
    return {"update": update}


@call
def describe_addon_versions(_, parameters):
    name, version = parameters.get("addonName"), parameters.get("kubernetesVersion")
    if name and name not in catalog.ADDONS:
        missing("Addon name specified is not supported", addonName=name)
    if version and catalog.support(version) in (None, catalog.UNSUPPORTED):
        invalid(f"Kubernetes version {version} is not supported")
    names, token = paged([each for each in catalog.ADDONS if not name or each == name], parameters)
    return {"addons": [catalog.addon(each, version) for each in names], "nextToken": token}
