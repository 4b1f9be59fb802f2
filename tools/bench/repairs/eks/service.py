"""EKS: how calls come to what answers them."""

import json

import moto.eks.models as models
from moto.core.responses import ActionResult
from moto.eks.responses import EKSResponse
from moto.eks.urls import response, url_paths

from . import access, addon, cluster, fargate, insight, nodegroup, pod_identity, tags, update  # noqa: F401  they answer calls
from .state import CALLS, Refused, backends, once, rendered


def answered(name, function):
    """Returns the method that answers a call."""

    def answer(self):
        backend = backends[self.current_account][self.region]
        parameters = {key: value for key, value in self.params.items() if value is not None}
        try:
            backend.advance()
            backend.caller = self.get_access_key()
            if "clientRequestToken" in parameters:
                result = once(backend, name, parameters, lambda: function(backend, parameters))
            else:
                result = function(backend, parameters)
            return ActionResult(rendered(result))
        except Refused as refused:
            body = json.dumps({"message": refused.message, **refused.names})
            headers = {"status": refused.status, "x-amzn-ErrorType": refused.code, "Content-Type": "application/json"}
            return refused.status, headers, body

    return answer


def replace_moto():
    """Answers every call in the place of moto."""
    for name in [name for name in vars(EKSResponse) if not name.startswith("_") and name != "eks_backend"]:
        # What is not answered here is not known.
        delattr(EKSResponse, name)
    for name, function in CALLS.items():
        setattr(EKSResponse, name, answered(name, function))
    initialized = EKSResponse.__init__

    def init(self):
        initialized(self)
        self.automated_parameter_parsing = True

    EKSResponse.__init__ = init
    models.eks_backends = backends
    # One for all: ARNs in paths have slashes, which moto's patterns do not take.
    url_paths.clear()
    url_paths["{0}/.*$"] = response.dispatch
