"""Where the embedded API server answers otherwise than kube-apiserver, and why that is meant.

The comparison of the two (test_conformance.py) fails on any other difference, and on an entry here that no longer
occurs. docs/embedded-control-plane.md tells users of the ones that they could notice.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Agreed:
    """A difference at paths that match, in the steps that match; both are regular expressions, matched in full."""

    step: str
    path: str
    why: str

    def covers(self, step: str, path: str) -> bool:
        return bool(re.fullmatch(self.step, step) and re.fullmatch(self.path, path))


AGREED = [
    Agreed(
        "define boats|boats are served",
        r"body\.(status|metadata\.finalizers|metadata\.managedFields).*",
        "a definition is served at once here; there, controllers establish it a moment later and sign for it",
    ),
    Agreed("discover boats", r"body\.resources\.0\.storageVersionHash", "only storage migration asks for it"),
    Agreed(
        "half of an object|a list for an object|apply half of an object|JSON patch that is none|a page from nowhere|"
        "a secret that is not base64",
        r"body\.message",
        "the end of the message is the JSON or YAML parser's own wording",
    ),
    Agreed("another apiVersion", "warnings", "fields are not looked at in an object of the wrong version"),
    Agreed(".*", r".*managedFields\.\d+\.time", "an entry always has a time here; there, not in some cases"),
    Agreed(
        "its status|one more condition|deployments as a (list|table)",
        r".*\.f:conditions\..*\.f:(lastTransitionTime|lastUpdateTime)",
        "a time that was not given is owned there, as Go's zero time",
    ),
    Agreed(
        ".*as a table",
        r"body\.columnDefinitions\.\d+\.description",
        "columns are described in brief or not at all",
    ),
    Agreed(
        "a service by a bad name",
        r"body\.(message|details\.causes\.0\.message)",
        "newer versions allow a digit first in a Service's name, and word the refusal otherwise",
    ),
    Agreed("services as a table", r"body\.rows\.\d\.cells\.2", "addresses come from another network"),
    Agreed(
        "a pod on a node|the pod runs|pods of a node|delete the pod|delete it now",
        r"body\.(items\.0\.)?spec\.(preemptionPolicy|priority|tolerations)",
        "what the priority and toleration admission plugins add; nothing here would act on it",
    ),
    Agreed(
        "the pod on another node",
        r"body\.(message|details\.causes\.0\.message)",
        "there, followed by a Go diff",
    ),
    Agreed("may I", r"body\.(metadata|status\.reason)", "the answer says why: there are no users here"),
    Agreed(
        "a node",
        r"body\.(spec|status)",
        "no taint for a node that is not ready yet, no empty strings for its facts",
    ),
]
