"""A Workspace reads as a whole or not at all, and whoever wrote it learns what to change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from berth_operator.api.problems import MAX_PROBLEMS
from berth_operator.api.workspace import InvalidWorkspace, Problem, parse_workspace
from berth_operator.presets import load_presets
from unit.workspaces import IMAGE, VALID, changed, problems_of

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((REPOSITORY / "examples").glob("*.yaml"))
KAITO = sorted((REPOSITORY / "tests/data/kaito").glob("*.yaml"))


def test_every_field_is_read() -> None:
    workspace = parse_workspace(VALID)
    assert workspace.metadata.namespace == "models"
    assert workspace.metadata.annotations == {"kaito.sh/enablelb": "True"}
    assert workspace.resource.count == 2
    assert workspace.resource.instance_type == "Standard_NC24ads_A100_v4"
    assert workspace.resource.label_selector.match_labels == {"apps": "phi-3", "example.com/pool": ""}
    assert workspace.resource.label_selector.match_expressions[0].values == ["a", "b"]
    assert workspace.resource.preferred_nodes == ["node-1.example"]
    assert workspace.inference is not None
    assert workspace.inference.preset is not None
    assert workspace.inference.preset.preset_options.model_access_secret == "hf-token"
    assert workspace.inference.config == "settings"
    assert [adapter.strength for adapter in workspace.inference.adapters] == ["0.5", "1.0"]
    assert workspace.status.state == "Ready"
    assert workspace.status.conditions[0].type == "Ready"


def test_a_preset_s_name_is_enough() -> None:
    workspace = parse_workspace({"metadata": {"name": "w"}, "inference": {"preset": {"name": "tiny-chat"}}})
    assert workspace.resource.count == 1
    assert workspace.resource.label_selector.match_labels == {}
    assert workspace.inference is not None
    assert workspace.inference.preset is not None
    assert workspace.inference.preset.access_mode == "public"
    assert workspace.status.observed_generation == -1


def test_a_workspace_cannot_be_altered_once_read() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse_workspace(VALID).resource.count = 3  # type: ignore[misc]


def test_null_is_as_good_as_left_out() -> None:
    workspace = parse_workspace(
        changed(
            lambda w: (
                w["resource"].update(count=None, labelSelector=None, preferredNodes=None),
                w["inference"].update(config=None, template=None, adapters=None),
                w.update(tuning=None, status=None),
            )
        )
    )
    assert workspace.resource.count == 1
    assert workspace.inference is not None
    assert workspace.inference.adapters == []


@pytest.mark.parametrize(
    "status", ["ruined", {"conditions": "no"}, {"conditions": [{}]}, [], 3, {"state": "Odd"}], ids=str
)
def test_a_ruined_status_is_no_fault_of_the_user_s(status: Any) -> None:
    assert parse_workspace({**VALID, "status": status}).status.conditions == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_valid_and_names_a_preset_that_exists(path: Path) -> None:
    workspace = parse_workspace(yaml.safe_load(path.read_text()))
    assert workspace.inference is not None
    if workspace.inference.preset is not None:
        assert workspace.inference.preset.name in load_presets(REPOSITORY / "presets")


def test_examples_have_names_of_their_own() -> None:
    names = [yaml.safe_load(path.read_text())["metadata"]["name"] for path in EXAMPLES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("path", KAITO, ids=lambda path: path.name)
def test_a_manifest_written_for_kaito_reads_unchanged(path: Path) -> None:
    workspace = parse_workspace(yaml.safe_load(path.read_text()))
    assert workspace.resource.instance_type == "Standard_NC24ads_A100_v4"
    assert workspace.inference is not None
    assert workspace.inference.preset is not None
    assert workspace.inference.preset.name in load_presets(REPOSITORY / "presets")


REFUSED: list[tuple[str, Callable[[dict[str, Any]], object], str, str, str]] = [
    (
        "another API's version",
        lambda w: w.update(apiVersion="kaito.sh/v2"),
        "apiVersion",
        'does not know "kaito.sh/v2"',
        "use kaito.sh/v1alpha1 or kaito.sh/v1beta1",
    ),
    ("another kind", lambda w: w.update(kind="Pod"), "kind", '"Pod" is not a Workspace', "use Workspace"),
    (
        "a name that no Service can have",
        lambda w: w["metadata"].update(name="llama-3.1"),
        "metadata.name",
        '"llama-3.1" cannot be the name of a Service',
        "beginning with a letter",
    ),
    ("no metadata", lambda w: w.pop("metadata"), "metadata", "is missing", "set it"),
    ("no inference", lambda w: w.pop("inference"), "inference", "is missing", "inference.preset.name"),
    (
        "inference without a model",
        lambda w: w.update(inference={}),
        "inference",
        "neither preset nor template is set",
        "name a preset",
    ),
    (
        "both kinds of model",
        lambda w: w["inference"].update(template={"spec": {"containers": [{}]}}),
        "inference",
        "both preset and template are set",
        "keep preset",
    ),
    (
        "tuning",
        lambda w: w.update(tuning={}),
        "tuning",
        "Berth serves models; it does not tune them",
        "remove `tuning` and set `inference`",
    ),
    (
        "a misspelt field",
        lambda w: w["inference"].update(presett={}),
        "inference.presett",
        "is not a field that Berth knows",
        "did you mean preset?",
    ),
    (
        "a field of KAITO's that Berth lacks",
        lambda w: w["resource"].update(partition={"mode": "mig"}),
        "resource.partition",
        "is not a field that Berth knows",
        "remove it",
    ),
    (
        "a count in quotes",
        lambda w: w["resource"].update(count="2"),
        "resource.count",
        'must be a whole number, not "2"',
        "kubectl explain workspace.resource.count",
    ),
    (
        "half a pod",
        lambda w: w["resource"].update(count=0.5),
        "resource.count",
        "must be a whole number, not 0.5",
        "kubectl explain",
    ),
    (
        "true as a count",
        lambda w: w["resource"].update(count=True),
        "resource.count",
        "not true",
        "kubectl explain",
    ),
    (
        "a thousand and one pods",
        lambda w: w["resource"].update(count=1001),
        "resource.count",
        "cannot be 1001",
        "use 1000 or less",
    ),
    (
        "fewer pods than none",
        lambda w: w["resource"].update(count=-1),
        "resource.count",
        "cannot be -1",
        "use 0 or more",
    ),
    (
        "a label that is a number",
        lambda w: w["resource"]["labelSelector"]["matchLabels"].update(pool=7),
        "resource.labelSelector.matchLabels.pool",
        "must be text, not 7",
        "put quotes around it",
    ),
    (
        "a label that no node can have",
        lambda w: w["resource"]["labelSelector"]["matchLabels"].update({"a b": "c"}),
        "resource.labelSelector.matchLabels",
        '"a b" is not the name of a label',
        "kubectl get nodes --show-labels",
    ),
    (
        "a label with two slashes",
        lambda w: w["resource"]["labelSelector"]["matchLabels"].update({"a/b/c": "d"}),
        "resource.labelSelector.matchLabels",
        "is not the name of a label",
        "kubectl get nodes --show-labels",
    ),
    (
        "a label's value with a space",
        lambda w: w["resource"]["labelSelector"]["matchLabels"].update(pool="a b"),
        "resource.labelSelector.matchLabels.pool",
        '"a b" is not the value of a label',
        "kubectl explain",
    ),
    (
        "In without values",
        lambda w: w["resource"]["labelSelector"]["matchExpressions"][0].pop("values"),
        "resource.labelSelector.matchExpressions[0].values",
        "In needs at least one value",
        "add one",
    ),
    (
        "Exists with values",
        lambda w: w["resource"]["labelSelector"]["matchExpressions"][0].update(operator="Exists"),
        "resource.labelSelector.matchExpressions[0].values",
        "Exists takes no values",
        "remove them",
    ),
    (
        "an operator of another API",
        lambda w: w["resource"]["labelSelector"]["matchExpressions"][0].update(operator="Gt"),
        "resource.labelSelector.matchExpressions[0].operator",
        'cannot be "Gt"',
        "'In', 'NotIn', 'Exists' or 'DoesNotExist'",
    ),
    (
        "private without an image",
        lambda w: w["inference"]["preset"]["presetOptions"].pop("image"),
        "inference.preset.presetOptions.image",
        "is missing, though accessMode is private",
        "use accessMode: public",
    ),
    (
        "public with an image",
        lambda w: w["inference"]["preset"].update(accessMode="public"),
        "inference.preset.presetOptions.image",
        "is set, though accessMode is public",
        "use accessMode: private",
    ),
    (
        "a preset without a name",
        lambda w: w["inference"]["preset"].update(name=""),
        "inference.preset.name",
        "is empty",
        "set it",
    ),
    (
        "a Secret that no Secret can be named",
        lambda w: w["inference"]["preset"]["presetOptions"].update(modelAccessSecret="HF_TOKEN"),
        "inference.preset.presetOptions.modelAccessSecret",
        '"HF_TOKEN" is not a Kubernetes name',
        "kubectl explain",
    ),
    (
        "an image with a space",
        lambda w: w["inference"]["preset"]["presetOptions"].update(image="a b"),
        "inference.preset.presetOptions.image",
        '"a b" is not the name of an image',
        "kubectl explain",
    ),
    (
        "a template without containers",
        lambda w: w.update(inference={"template": {"spec": {"containers": []}}}),
        "inference.template.spec.containers",
        "the template has no containers",
        "port 5000",
    ),
    (
        "a template of text",
        lambda w: w.update(inference={"template": {"spec": {"containers": ["server"]}}}),
        "inference.template.spec.containers",
        "holds something that is not a container",
        "as in a Deployment",
    ),
    (
        "two adapters of one name",
        lambda w: w["inference"]["adapters"][1]["source"].update(name="a"),
        "inference.adapters[1].source.name",
        'another adapter is named "a" too',
        "a name of its own",
    ),
    (
        "eleven adapters",
        lambda w: w["inference"].update(
            adapters=[{"source": {"name": f"a{i}", "image": IMAGE}} for i in range(11)]
        ),
        "inference.adapters",
        "has more than 10 entries",
        "shorten it",
    ),
    (
        "an adapter whose name leaves its folder",
        lambda w: w["inference"]["adapters"][0]["source"].update(name="../../etc"),
        "inference.adapters[0].source.name",
        '"../../etc" is not the name of an adapter',
        "kubectl explain",
    ),
    (
        "an adapter whose name is no label",
        lambda w: w["inference"]["adapters"][0]["source"].update(name="a.b"),
        "inference.adapters[0].source.name",
        '"a.b" is not the name of an adapter',
        "kubectl explain",
    ),
    (
        "adapters beside a template",
        lambda w: (
            w["inference"].pop("preset"),
            w["inference"].update(template={"spec": {"containers": [{"name": "a", "image": IMAGE}]}}),
        ),
        "inference.adapters",
        "whose server is not Berth's",
        "use a preset",
    ),
    (
        "an adapter from a volume with a pull secret",
        lambda w: w["inference"]["adapters"][1]["source"].update(imagePullSecrets=["registry"]),
        "inference.adapters[1].source.imagePullSecrets",
        "there is no image",
        "remove them",
    ),
    (
        "an adapter from a volume of two kinds",
        lambda w: w["inference"]["adapters"][1]["source"]["volumeSource"].update(emptyDir={}),
        "inference.adapters[1].source.volumeSource",
        "one kind of volume",
        "persistentVolumeClaim",
    ),
    (
        "an adapter from a volume with a name",
        lambda w: w["inference"]["adapters"][1]["source"].update(volumeSource={"name": "v"}),
        "inference.adapters[1].source.volumeSource",
        "one kind of volume",
        "without a name",
    ),
    (
        "an adapter from two places",
        lambda w: w["inference"]["adapters"][1]["source"].update(image=IMAGE),
        "inference.adapters[1].source",
        "both image and volumeSource are set",
        "exactly one",
    ),
    (
        "an adapter from nowhere",
        lambda w: w["inference"]["adapters"][1]["source"].pop("volumeSource"),
        "inference.adapters[1].source",
        "neither image nor volumeSource is set",
        "exactly one",
    ),
    (
        "an adapter from an address",
        lambda w: w["inference"]["adapters"][0].update(source={"name": "a", "urls": ["https://example.com"]}),
        "inference.adapters[0].source.urls",
        "adapters are not downloaded from addresses",
        "set image or volumeSource",
    ),
    *(
        (
            f"strength {value}",
            lambda w, value=value: w["inference"]["adapters"][0].update(strength=value),  # type: ignore[misc]
            "inference.adapters[0].strength",
            "is not a number from 0 to 1",
            '"0.5"',
        )
        for value in ("1.01", "-1", "NaN", "inf", "1e-1", "0,5", "", "\u0660.\u0665", "9" * 16)
    ),
    (
        "a strength without quotes",
        lambda w: w["inference"]["adapters"][0].update(strength=0.5),
        "inference.adapters[0].strength",
        "must be text, not 0.5",
        "put quotes around it",
    ),
]


@pytest.mark.parametrize(
    ("change", "path", "message", "remedy"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_a_fault_is_named_with_its_place_and_its_remedy(
    change: Callable[[dict[str, Any]], object], path: str, message: str, remedy: str
) -> None:
    (problem,) = problems_of(changed(change))
    assert problem.path == path
    assert message in problem.message
    assert remedy in problem.remedy


@pytest.mark.parametrize("strength", ["0", "1", "0.5", ".5", "1.", "1.000", "0000.25"])
def test_a_strength_from_0_to_1_is_accepted(strength: str) -> None:
    workspace = parse_workspace(changed(lambda w: w["inference"]["adapters"][0].update(strength=strength)))
    assert workspace.inference is not None
    assert workspace.inference.adapters[0].strength == strength


def test_every_fault_is_told_at_once_in_the_order_of_the_document() -> None:
    found = problems_of(
        changed(
            lambda w: (
                w["resource"].update(count="many", labelSelector={"matchLabels": {"a": 1}}),
                w["inference"]["adapters"][1].update(strength=2),
            )
        )
    )
    assert [problem.path for problem in found] == [
        "resource.count",
        "resource.labelSelector.matchLabels.a",
        "inference.adapters[1].strength",
    ]


def test_a_problem_reads_as_one_sentence() -> None:
    problem = Problem("resource.count", "cannot be -1", "use 0 or more")
    assert str(problem) == "resource.count: cannot be -1; use 0 or more"
    assert str(Problem("", "a Workspace is an object", "write its fields")) == (
        "a Workspace is an object; write its fields"
    )
    assert str(InvalidWorkspace([problem, problem])).count("resource.count") == 2


def test_more_problems_than_anyone_reads_are_counted() -> None:
    unknown = {f"field{i}": i for i in range(100)}
    found = problems_of(changed(lambda w: w["resource"].update(unknown)))
    assert len(found) == MAX_PROBLEMS + 1
    assert "80 more problems" in found[-1].message
