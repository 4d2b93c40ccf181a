"""What the API server checks beside the schema: CEL rules, whose messages a user reads at `kubectl apply`.

Each rule is found under the path of the value that it is about, as in `inference.adapters[].strength`; "" is the
Workspace itself. The rules that depend on nothing but the new object have their twin in `validation`, for API
servers that do not evaluate CEL and for files that never meet one.
"""

from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True)
class Rule:
    """One entry of `x-kubernetes-validations`.

    `message` is what the user reads; `expression`, where given, is CEL that makes a better one of the values at
    hand. `field`, where given, is the field below the path that the API server names instead of the path.
    """

    rule: str
    message: str
    expression: str = ""
    field: str = ""

    def as_schema(self) -> dict[str, str]:
        """The rule as it stands in the CRD."""
        entry = {"rule": self.rule, "message": self.message}
        if self.expression:
            entry["messageExpression"] = self.expression
        if self.field:
            entry["fieldPath"] = self.field
        return entry


RULES: Final[dict[str, tuple[Rule, ...]]] = {
    "": (
        # A Service may be named so on every Kubernetes version; both it and the Deployment take the name.
        Rule(
            "size(self.metadata.name) <= 63 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
            "metadata.name must be a name that a Service can have: at most 63 lower-case letters, digits and '-', "
            "beginning with a letter and not ending with '-'",
        ),
        Rule(
            "!has(self.tuning)",
            "Berth serves models; it does not tune them: remove `tuning` and set `inference`",
            field=".tuning",
        ),
        # Not `required`: the API server then checks no rule at all, and a Workspace that only tunes would be told
        # to set inference without a word about tuning. Being needed always, inference cannot be removed either.
        Rule(
            "has(self.inference) || has(self.tuning)",
            "inference must be set: name a preset in inference.preset.name; to stop serving, delete the Workspace",
            field=".inference",
        ),
    ),
    "resource.labelSelector.matchExpressions[]": (
        Rule(
            "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : "
            "!has(self.values) || size(self.values) == 0",
            "In and NotIn need at least one value; Exists and DoesNotExist take none",
        ),
    ),
    "inference": (
        Rule(
            "has(self.preset) != has(self.template)",
            "exactly one of preset and template must be set: preset for a model that Berth knows, template for a "
            "pod of your own",
        ),
        Rule(
            "!has(self.template) || !has(self.adapters) || size(self.adapters) == 0",
            "adapters are merged by Berth's own server: give them to the template's server instead, or use a preset",
        ),
        Rule(
            "has(self.preset) == has(oldSelf.preset)",
            "preset and template cannot take each other's place: delete the Workspace and create it anew",
        ),
    ),
    "inference.preset": (
        Rule(
            "self.accessMode != 'private' || (has(self.presetOptions) && has(self.presetOptions.image))",
            "accessMode private needs an image in presetOptions.image",
        ),
        Rule(
            "self.accessMode == 'private' || !has(self.presetOptions) || !has(self.presetOptions.image)",
            "presetOptions.image needs accessMode: private",
        ),
    ),
    "inference.preset.name": (
        Rule(
            "self == oldSelf",
            "the preset's name cannot be changed: delete the Workspace and create it anew",
            expression="'the preset\\'s name cannot be changed (it is ' + oldSelf + ', not ' + self + '): "
            "delete the Workspace and create it anew'",
        ),
    ),
    "inference.adapters": (
        Rule(
            "self.all(a, self.exists_one(b, b.source.name == a.source.name))",
            "each adapter needs a name of its own in source.name",
        ),
    ),
    "inference.adapters[].source": (
        Rule(
            "!has(self.urls) || size(self.urls) == 0",
            "adapters are not downloaded from addresses: put the adapter into an image (under /data) or a volume, "
            "and set image or volumeSource instead of urls",
        ),
        Rule(
            "has(self.image) != has(self.volumeSource)",
            "exactly one of image and volumeSource must be set",
        ),
        Rule(
            "has(self.image) || !has(self.imagePullSecrets) || size(self.imagePullSecrets) == 0",
            "imagePullSecrets needs an image",
        ),
    ),
    "inference.adapters[].strength": (
        Rule(
            "self.matches('^([0-9]+([.][0-9]*)?|[.][0-9]+)$') && double(self) <= 1.0",
            'strength must be a number from 0 to 1, in quotes, such as "0.5"',
        ),
    ),
}

EXTENSIONS: Final[dict[str, dict[str, Any]]] = {
    # An empty object, so that the defaults below it apply where a user leaves it out altogether.
    "resource": {"default": {}},
    "status": {"default": {}},
    "resource.labelSelector": {"x-kubernetes-map-type": "atomic"},
    "resource.preferredNodes": {"x-kubernetes-list-type": "atomic"},
    "inference.adapters": {"x-kubernetes-list-type": "atomic"},
    "inference.preset.presetOptions.imagePullSecrets": {"x-kubernetes-list-type": "atomic"},
    "status.conditions": {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    "status.workerNodes": {"x-kubernetes-list-type": "set"},
}
"""What Kubernetes needs to know of a value beside its type: how lists and objects merge, and defaults of objects."""
