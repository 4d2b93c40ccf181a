"""Objects that a pod names and that are not there, by the kubelet's words: Secrets, ConfigMaps, keys in them."""

import re

from berth_operator.plan.observed import Object
from berth_operator.plan.reasons import Culprit, Finding, Reason

NOT_FOUND = re.compile(r'\b(?P<kind>secret|configmap)s? "(?P<name>[^"]+)" not found', re.IGNORECASE)
NO_KEY = re.compile(
    r"couldn't find key (?P<key>\S+) in (?P<kind>Secret|ConfigMap) (?:[^/\s]+/)?(?P<name>\S+)", re.IGNORECASE
)
NO_KEY_IN_VOLUME = re.compile(r"references non-existent (?P<kind>secret|config) key: (?P<key>\S+)")
PULL_SECRETS = re.compile(r"Unable to retrieve some image pull secrets \((?P<names>[^)]*)\)")


def missing_object(text: str, what: str, namespace: str) -> Finding | None:
    """Return the finding if the kubelet's `text` about `what` names a Secret or ConfigMap that is missing."""
    key = ""
    if (found := NOT_FOUND.search(text)) is not None:
        name = found["name"]
    elif (found := NO_KEY.search(text)) is not None:
        name, key = found["name"].rstrip(".,;"), found["key"]
    elif (found := NO_KEY_IN_VOLUME.search(text)) is not None:
        name, key = "", found["key"]
    else:
        return None
    is_secret = found["kind"].lower() == "secret"
    reason = Reason.SECRET_MISSING if is_secret else Reason.CONFIG_MAP_MISSING
    kind = "Secret" if is_secret else "ConfigMap"
    culprit = Culprit(kind, name) if name else None
    thing = f'{culprit} in namespace "{namespace}"' if culprit else f"the {kind} that it mounts"
    if key:
        return Finding(
            reason,
            f'{what} needs the key "{key}" of {thing}, which has none',
            f'add "{key}" to it, or correct the Workspace',
            culprit or Culprit(kind, key),
            cause=f"{name}/{key}",
        )
    return Finding(
        reason,
        f"{what} needs {thing}, which does not exist",
        "create it, or correct the Workspace",
        culprit,
        cause=name,
    )


def missing_pull_secrets(events: tuple[Object, ...]) -> list[str]:
    """Return the names of the image pull secrets that the kubelet could not find."""
    for event in reversed(events):
        if found := PULL_SECRETS.search(str(event.get("message", ""))):
            return [name.strip() for name in found["names"].split(",") if name.strip()]
    return []
