"""The status of CustomResourceDefinitions, which the server itself writes."""

import json

from berth_local.apiserver.kinds.custom import CLEANUP
from berth_local.apiserver.objects import Object, now

DEFINITIONS = "customresourcedefinitions.apiextensions.k8s.io"


def has_rules(definition: Object) -> bool:
    """Say whether a definition has CEL rules, which are not evaluated here."""
    return '"x-kubernetes-validations"' in json.dumps(definition["spec"])


def established(definition: Object) -> None:
    """Write into a new, valid definition that its names are accepted and its resources served."""
    meta, spec = definition["metadata"], definition["spec"]
    meta["finalizers"] = [*(meta.get("finalizers") or ()), CLEANUP]
    moment = now()
    definition["status"] = {
        "conditions": [
            {
                "type": "NamesAccepted",
                "status": "True",
                "lastTransitionTime": moment,
                "reason": "NoConflicts",
                "message": "no conflicts found",
            },
            {
                "type": "Established",
                "status": "True",
                "lastTransitionTime": moment,
                "reason": "InitialNamesAccepted",
                "message": "the initial names have been accepted",
            },
        ],
        "acceptedNames": dict(spec["names"]),
        "storedVersions": [one["name"] for one in spec["versions"] if one.get("storage")],
    }
