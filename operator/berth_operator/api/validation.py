"""What a schema cannot say of a Workspace: rules between fields. Pure; the CRD's CEL rules say the same."""

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from berth_operator.api import names
from berth_operator.api.problems import Problem, shown
from berth_operator.api.spec import Adapter, Inference, LabelSelector, PresetRef
from berth_operator.api.template import template_problems

if TYPE_CHECKING:
    from berth_operator.api.workspace import Workspace

MAX_SERVICE_NAME = 63

NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
"""A Service's name (DNS-1035): the Service and the Deployment carry the Workspace's name."""

LABEL_KEY = re.compile(
    r"([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
    r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)
STRENGTH = re.compile(r"[0-9]+([.][0-9]*)?|[.][0-9]+", re.ASCII)


def validate(workspace: "Workspace") -> list[Problem]:
    """Every fault that reading the Workspace field by field does not show, in document order."""
    return [problem for check in _CHECKS for problem in check(workspace)]


def _kind(workspace: "Workspace") -> Iterator[Problem]:
    served = [f"{names.GROUP}/{version}" for version in names.SERVED_VERSIONS]
    if workspace.api_version and workspace.api_version not in served:
        yield Problem(
            "apiVersion", f"Berth does not know {shown(workspace.api_version)}", f"use {' or '.join(served)}"
        )
    if workspace.kind and workspace.kind != names.KIND:
        yield Problem("kind", f"{shown(workspace.kind)} is not a Workspace", f"use {names.KIND}")


def _name(workspace: "Workspace") -> Iterator[Problem]:
    name = workspace.metadata.name
    if len(name) > MAX_SERVICE_NAME or not NAME.fullmatch(name):
        yield Problem(
            "metadata.name",
            f"{shown(name)} cannot be the name of a Service",
            "use at most 63 lower-case letters, digits and '-', beginning with a letter",
        )


def _node_labels(workspace: "Workspace") -> Iterator[Problem]:
    yield from selector_problems(workspace.resource.label_selector, "resource.labelSelector")


def _tuning(workspace: "Workspace") -> Iterator[Problem]:
    if workspace.tuning is not None:
        yield Problem(
            "tuning", "Berth serves models; it does not tune them", "remove `tuning` and set `inference`"
        )


def _inference(workspace: "Workspace") -> Iterator[Problem]:
    if workspace.inference is not None:
        yield from inference_problems(workspace.inference)
    elif workspace.tuning is None:
        yield Problem("inference", "is missing", "name a preset in inference.preset.name")


_CHECKS: tuple[Callable[["Workspace"], Iterator[Problem]], ...] = (
    _kind,
    _name,
    _node_labels,
    _inference,
    _tuning,
)


def selector_problems(selector: LabelSelector, path: str) -> Iterator[Problem]:
    """Faults of a label selector that would make the API server refuse the pods that carry it."""
    for key in selector.match_labels:
        if not _is_label_key(key):
            yield Problem(f"{path}.matchLabels", f"{shown(key)} is not the name of a label", _LABEL_REMEDY)
    for index, condition in enumerate(selector.match_expressions):
        here = f"{path}.matchExpressions[{index}]"
        if not _is_label_key(condition.key):
            yield Problem(f"{here}.key", f"{shown(condition.key)} is not the name of a label", _LABEL_REMEDY)
        takes_values = condition.operator in ("In", "NotIn")
        if takes_values and not condition.values:
            yield Problem(f"{here}.values", f"{condition.operator} needs at least one value", "add one")
        if condition.values and not takes_values:
            yield Problem(f"{here}.values", f"{condition.operator} takes no values", "remove them")


_LABEL_REMEDY = "write it as `kubectl get nodes --show-labels` prints it, before the '='"


def _is_label_key(key: str) -> bool:
    prefix, slash, _ = key.rpartition("/")
    return LABEL_KEY.fullmatch(key) is not None and len(prefix) <= 253 and (not slash or bool(prefix))


def inference_problems(inference: Inference) -> Iterator[Problem]:
    """Faults of `inference`: what to serve, and with which adapters."""
    if inference.preset is not None and inference.template is not None:
        yield Problem(
            "inference",
            "both preset and template are set",
            "keep preset for a model that Berth knows, or template for a pod of your own",
        )
    if inference.preset is None and inference.template is None:
        yield Problem(
            "inference",
            "neither preset nor template is set",
            "name a preset in inference.preset.name, or give a pod template of your own",
        )
    if inference.preset is not None:
        yield from _preset_problems(inference.preset)
    if inference.template is not None:
        yield from template_problems(inference.template)
        if inference.adapters and inference.preset is None:
            yield Problem(
                "inference.adapters",
                "are set beside template, whose server is not Berth's to give adapters to",
                "give them to the template's own server, or use a preset",
            )
    seen: set[str] = set()
    for index, adapter in enumerate(inference.adapters):
        path = f"inference.adapters[{index}]"
        if adapter.source.name in seen:
            yield Problem(
                f"{path}.source.name",
                f"another adapter is named {shown(adapter.source.name)} too",
                "give each adapter a name of its own",
            )
        seen.add(adapter.source.name)
        yield from _adapter_problems(adapter, path)


def _preset_problems(preset: PresetRef) -> Iterator[Problem]:
    image = preset.preset_options.image
    path = "inference.preset.presetOptions.image"
    if preset.access_mode == "private" and image is None:
        yield Problem(path, "is missing, though accessMode is private", "name it, or use accessMode: public")
    if preset.access_mode == "public" and image is not None:
        yield Problem(path, "is set, though accessMode is public", "use accessMode: private, or remove it")


def _adapter_problems(adapter: Adapter, path: str) -> Iterator[Problem]:
    source = adapter.source
    if source.urls:
        yield Problem(
            f"{path}.source.urls",
            "adapters are not downloaded from addresses",
            "put the adapter into an image (under /data) or a volume, and set image or volumeSource",
        )
    elif (source.image is None) == (source.volume_source is None):
        both = (
            "both image and volumeSource are set" if source.image else "neither image nor volumeSource is set"
        )
        yield Problem(f"{path}.source", both, "set exactly one of them")
    if source.image is None and source.image_pull_secrets:
        yield Problem(f"{path}.source.imagePullSecrets", "are set, though there is no image", "remove them")
    kinds = source.volume_source
    if kinds is not None and (len(kinds) != 1 or "name" in kinds):
        yield Problem(
            f"{path}.source.volumeSource",
            f"must hold one kind of volume and nothing else, not {shown(', '.join(kinds) or 'none')}",
            "write it as `persistentVolumeClaim: {claimName: NAME}`, without a name",
        )
    if not STRENGTH.fullmatch(adapter.strength) or not 0 <= float(adapter.strength) <= 1:
        yield Problem(
            f"{path}.strength",
            f"{shown(adapter.strength)} is not a number from 0 to 1",
            'write a number such as "0.5", in quotes',
        )
