"""EKS: pod identity associations."""

from .cluster import check_tags
from .state import Thing, call, hexadecimal, in_use, invalid, missing, not_now, paged

# Who takes the role, and how (https://docs.aws.amazon.com/eks/latest/userguide/pod-id-role.html).
PRINCIPAL, ACTIONS = "pods.eks.amazonaws.com", ("sts:AssumeRole", "sts:TagSession")


class Association(Thing):
    """A service account and its role."""

    def __init__(self, cluster, namespace, account, role, tags):
        self.id = f"a-{hexadecimal(17)}"
        super().__init__(cluster.backend, cluster.backend.arn_of(f"podidentityassociation/{cluster.name}/{self.id}"), tags)
        self.cluster, self.namespace, self.account, self.role, self.owner = cluster, namespace, account, role, None
        self.session_tags = True

    def summary(self):
        return {
            "clusterName": self.cluster.name,
            "namespace": self.namespace,
            "serviceAccount": self.account,
            "associationArn": self.arn,
            "associationId": self.id,
            "ownerArn": self.owner,
        }

    def document(self):
        return {
            **self.summary(),
            "roleArn": self.role,
            "tags": self.tags,
            "createdAt": self.created,
            "modifiedAt": self.modified,
            "disableSessionTags": not self.session_tags,
        }


def check_role(cluster, namespace, account, arn):
    """Refuses a role that is not there or that the pods cannot take; AWS says the latter only when a pod asks.

    The tags of a session: https://docs.aws.amazon.com/eks/latest/userguide/pod-id-abac.html
    """
    backend = cluster.backend
    role = backend.role(arn)
    keys = {
        "aws:RequestTag/eks-cluster-arn": cluster.arn,
        "aws:RequestTag/eks-cluster-name": cluster.name,
        "aws:RequestTag/kubernetes-namespace": namespace,
        "aws:RequestTag/kubernetes-service-account": account,
        "aws:SourceArn": cluster.arn,
        "aws:SourceAccount": backend.account_id,
    }
    if role is None:
        invalid("Role provided in the request does not exist.")
    if not backend.trusts(role, PRINCIPAL, ACTIONS, keys):
        invalid("Trust policy of role provided in the request is not valid for EKS Pod Identity.")


@call
def create_pod_identity_association(backend, parameters):
    cluster = backend.active_cluster(parameters["clusterName"])
    namespace, account = parameters["namespace"], parameters["serviceAccount"]
    check_tags(parameters.get("tags"))
    check_role(cluster, namespace, account, parameters["roleArn"])
    for other in cluster.associations.values():
        if (other.namespace, other.account) == (namespace, account):
            in_use(f"Association already exists: {other.id}", clusterName=cluster.name)
    association = Association(cluster, namespace, account, parameters["roleArn"], parameters.get("tags"))
    association.session_tags = not parameters.get("disableSessionTags")
    cluster.associations[association.id] = association
    return {"association": association}


def association(backend, parameters):
    """Returns the association that a call names."""
    cluster, name = backend.cluster(parameters["clusterName"]), parameters["associationId"]
    if name not in cluster.associations:
        missing(f"Association {name} not found in cluster {cluster.name}", clusterName=cluster.name)
    return cluster.associations[name]


@call
def describe_pod_identity_association(backend, parameters):
    return {"association": association(backend, parameters)}


@call
def list_pod_identity_associations(backend, parameters):
    cluster = backend.cluster(parameters["clusterName"])
    chosen = {
        name: each
        for name, each in cluster.associations.items()
        if parameters.get("namespace") in (None, each.namespace) and parameters.get("serviceAccount") in (None, each.account)
    }
    names, token = paged(chosen, parameters)
    return {"associations": [chosen[name].summary() for name in names], "nextToken": token}


@call
def update_pod_identity_association(backend, parameters):
    found = association(backend, parameters)
    refuse_owned(found)
    if role := parameters.get("roleArn"):
        check_role(found.cluster, found.namespace, found.account, role)
        found.role = role
    found.settle("ACTIVE")
    return {"association": found}


@call
def delete_pod_identity_association(backend, parameters):
    found = association(backend, parameters)
    refuse_owned(found)
    found.cluster.associations.pop(found.id)
    return {"association": found}


def refuse_owned(found):
    """One of an add-on is changed with the add-on."""
    if found.owner:
        not_now(f"Association {found.id} is owned by {found.owner}", clusterName=found.cluster.name)
