"""What a real API server refuses of a Workspace, and in which words; each refusal beside what it must accept."""

from __future__ import annotations

import copy
import json
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config

from berth_operator.api import names
from berth_operator.api.crd import workspace_crd
from berth_operator.api.rules import RULES
from berth_operator.api.workspace import InvalidWorkspace, parse_workspace

Workspace = dict[str, Any]
Change = Callable[[Workspace], object]

REPOSITORY = Path(__file__).resolve().parents[2]

BY_PRESET: Workspace = {
    "apiVersion": names.API_VERSION,
    "kind": names.KIND,
    "metadata": {"name": "w"},
    "resource": {"labelSelector": {"matchLabels": {"apps": "phi-3"}}},
    "inference": {"preset": {"name": "phi-3-mini-4k-instruct"}},
}
TEMPLATE = {"spec": {"containers": [{"name": "server", "image": "registry.example.com/server:1"}]}}
BY_TEMPLATE: Workspace = {**BY_PRESET, "inference": {"template": TEMPLATE}}

CANNOT_TUNE = "Berth serves models; it does not tune them: remove `tuning` and set `inference`"
ONE_SOURCE = "exactly one of image and volumeSource must be set"
NEEDS_VALUES = "In and NotIn need at least one value; Exists and DoesNotExist take none"
STRENGTH = 'strength must be a number from 0 to 1, in quotes, such as "0.5"'
SERVICE_NAME = "metadata.name must be a name that a Service can have"


@dataclass(frozen=True)
class Case:
    """A change to a Workspace that is fine as it stands, and what the API server says to it (nothing: accepts)."""

    name: str
    change: Change
    refusal: str = ""
    start: str = "preset"


def adapter(name: str = "a", **source: Any) -> dict[str, Any]:
    return {"source": {"name": name, **(source or {"image": "registry.example.com/adapter:1"})}}


def adapters(*entries: dict[str, Any]) -> Change:
    return lambda w: w["inference"].update(adapters=list(entries))


def strength(value: Any) -> Change:
    return adapters({**adapter(), "strength": value})


def expression(**condition: Any) -> Change:
    return lambda w: w["resource"]["labelSelector"].update(matchExpressions=[{"key": "zone", **condition}])


def preset(**fields: Any) -> Change:
    return lambda w: w["inference"]["preset"].update(fields)


def named(name: str) -> Change:
    return lambda w: w["metadata"].update(name=name)


CREATED = [
    Case("a preset", lambda w: None),
    Case("a template", lambda w: None, start="template"),
    Case("no resource at all", lambda w: w.pop("resource")),
    Case("the older version", lambda w: w.update(apiVersion="kaito.sh/v1alpha1")),
    Case(
        "neither preset nor template", lambda w: w.update(inference={}), "exactly one of preset and template"
    ),
    Case(
        "both preset and template",
        lambda w: w["inference"].update(template=TEMPLATE),
        "exactly one of preset and template",
    ),
    Case("no inference", lambda w: w.pop("inference"), "inference must be set: name a preset"),
    Case("tuning beside inference", lambda w: w.update(tuning={"method": "lora"}), CANNOT_TUNE),
    Case(
        "tuning instead of inference",
        lambda w: (w.pop("inference"), w.update(tuning={"preset": {"name": "phi-3"}, "method": "qlora"})),
        CANNOT_TUNE,
    ),
    Case("a name of one letter", named("w")),
    Case("a name of 63 characters", named("a" * 63)),
    Case("a name of 64 characters", named("a" * 64), SERVICE_NAME),
    Case("a name that begins with a digit", named("7b"), SERVICE_NAME),
    Case("a name with a dot", named("llama-3.1"), SERVICE_NAME),
    Case("In with a value", expression(operator="In", values=["a"])),
    Case("Exists without values", expression(operator="Exists")),
    Case("In without values", expression(operator="In"), NEEDS_VALUES),
    Case("NotIn with an empty list", expression(operator="NotIn", values=[]), NEEDS_VALUES),
    Case("DoesNotExist with a value", expression(operator="DoesNotExist", values=["a"]), NEEDS_VALUES),
    Case(
        "private with an image",
        preset(accessMode="private", presetOptions={"image": "registry.example.com/m:1"}),
    ),
    Case("private without an image", preset(accessMode="private"), "accessMode private needs an image"),
    Case(
        "private with a pull secret alone",
        preset(accessMode="private", presetOptions={"imagePullSecrets": ["s"]}),
        "accessMode private needs an image",
    ),
    Case("public with a token", preset(presetOptions={"modelAccessSecret": "hf-token"})),
    Case(
        "public with an image",
        preset(presetOptions={"image": "registry.example.com/m:1"}),
        "presetOptions.image needs accessMode: private",
    ),
    Case("ten adapters of different names", adapters(*(adapter(f"a{i}") for i in range(10)))),
    Case("eleven adapters", adapters(*(adapter(f"a{i}") for i in range(11))), "must have at most 10 items"),
    Case("two adapters of one name", adapters(adapter("a"), adapter("b"), adapter("a")), "a name of its own"),
    Case("an adapter from a volume", adapters(adapter(volumeSource={"emptyDir": {}}))),
    Case("an adapter from nowhere", adapters({"source": {"name": "a"}}), ONE_SOURCE),
    Case(
        "an adapter from two places",
        adapters(adapter(image="i:1", volumeSource={"emptyDir": {}})),
        ONE_SOURCE,
    ),
    Case(
        "an adapter from an address", adapters(adapter(urls=["https://example.com/a"])), "not downloaded from"
    ),
    Case("an adapter whose name leaves its folder", adapters(adapter("../a")), "should match"),
    Case("an adapter whose name has a dot", adapters(adapter("a.b")), "should match"),
    Case("an adapter whose name is long", adapters(adapter("a" * 55))),
    Case("an adapter whose name is too long", adapters(adapter("a" * 56)), "may not be more than 55"),
    Case(
        "an adapter from a volume with a pull secret",
        adapters(adapter(volumeSource={"emptyDir": {}}, imagePullSecrets=["s"])),
        "imagePullSecrets needs an image",
    ),
    Case(
        "adapters beside a template",
        lambda w: w["inference"].update(adapters=[adapter()]),
        "give them to the template's server",
        start="template",
    ),
    *(Case(f"strength {value}", strength(value)) for value in ("0", "1", "1.0", "0.5", ".5", "0.123456789")),
    *(
        Case(f"strength {value!r}", strength(value), STRENGTH)
        for value in ("1.1", "-0.1", "abc", "", "1e-1", "NaN")
    ),
    Case("a strength that is no text", strength(0.5), "must be of type string"),
    Case(
        "a misspelt field", lambda w: w["inference"].update(presett={}), 'unknown field "inference.presett"'
    ),
    Case("a count that is text", lambda w: w["resource"].update(count="two"), "must be of type integer"),
    Case(
        "a count below zero", lambda w: w["resource"].update(count=-1), "should be greater than or equal to 0"
    ),
    Case("an unknown access mode", preset(accessMode="secret"), '"public", "private"'),
    Case("a preset's name of a megabyte", preset(name="x" * 2**20), "may not be more than 253"),
]

UPDATED = [
    Case("another count", lambda w: w["resource"].update(count=2)),
    Case("another machine type", lambda w: w["resource"].update(instanceType="Standard_NC48ads_A100_v4")),
    Case("an adapter more", adapters(adapter())),
    Case(
        "another access mode",
        preset(accessMode="private", presetOptions={"image": "registry.example.com/m:2"}),
    ),
    Case(
        "another template",
        lambda w: w["inference"]["template"]["spec"]["containers"][0].update(
            image="registry.example.com/server:2"
        ),
        start="template",
    ),
    Case(
        "another preset",
        preset(name="phi-3-mini-128k-instruct"),
        "the preset's name cannot be changed (it is phi-3-mini-4k-instruct, not phi-3-mini-128k-instruct): "
        "delete the Workspace and create it anew",
    ),
    Case(
        "a template in the preset's place",
        lambda w: w.update(inference={"template": TEMPLATE}),
        "preset and template cannot take each other's place",
    ),
    Case(
        "a preset in the template's place",
        lambda w: w.update(inference={"preset": {"name": "tiny-chat"}}),
        "preset and template cannot take each other's place",
        start="template",
    ),
    Case("inference removed", lambda w: w.pop("inference"), "inference must be set"),
    Case(
        "inference exchanged for tuning",
        lambda w: (w.pop("inference"), w.update(tuning={"method": "lora"})),
        CANNOT_TUNE,
    ),
]


def test_every_rule_has_a_case_that_it_refuses() -> None:
    refusals = [case.refusal for case in (*CREATED, *UPDATED) if case.refusal]
    unproven = [
        rule.message
        for rules in RULES.values()
        for rule in rules
        if not any(
            text in rule.message or text.startswith(rule.message.partition(":")[0]) for text in refusals
        )
    ]
    assert unproven == []


@pytest.mark.parametrize("case", CREATED, ids=lambda case: case.name)
def test_the_operator_refuses_what_the_api_server_refuses_and_nothing_else(case: Case) -> None:
    workspace = _changed(BY_PRESET if case.start == "preset" else BY_TEMPLATE, case)
    if not case.refusal:
        parse_workspace(workspace)
        return
    with pytest.raises(InvalidWorkspace) as caught:
        parse_workspace(workspace)
    assert all(problem.remedy for problem in caught.value.problems)


class Server:
    """The Workspaces of one namespace on a real API server, written as `kubectl` writes them."""

    def __init__(self, api: client.ApiClient, namespace: str) -> None:
        self.namespace = namespace
        self.api = client.CustomObjectsApi(api)

    def create(self, workspace: Workspace, *, dry_run: bool = True) -> None:
        group, version = workspace["apiVersion"].split("/")
        self.api.create_namespaced_custom_object(
            group, version, self.namespace, names.PLURAL, workspace, **_options(dry_run)
        )

    def replace(self, workspace: Workspace) -> None:
        name = workspace["metadata"]["name"]
        live = self.api.get_namespaced_custom_object(
            names.GROUP, names.VERSION, self.namespace, names.PLURAL, name
        )
        workspace["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
        self.api.replace_namespaced_custom_object(
            names.GROUP, names.VERSION, self.namespace, names.PLURAL, name, workspace, **_options(True)
        )

    def delete(self, name: str) -> None:
        self.api.delete_namespaced_custom_object(
            names.GROUP, names.VERSION, self.namespace, names.PLURAL, name
        )


def _options(dry_run: bool) -> dict[str, str]:
    return {"field_validation": "Strict"} | ({"dry_run": "All"} if dry_run else {})


@pytest.fixture(scope="module")
def server(real_cluster_kubeconfig: Path) -> Iterator[Server]:
    with config.new_client_from_config(str(real_cluster_kubeconfig)) as api:
        _install_crd(client.ApiextensionsV1Api(api))
        namespace = f"crd-rules-{uuid.uuid4().hex[:8]}"
        core = client.CoreV1Api(api)
        core.create_namespace({"metadata": {"name": namespace}})
        server = Server(api, namespace)
        try:
            _wait_for_the_rules(server)
            yield server
        finally:
            core.delete_namespace(namespace)


def _install_crd(api: client.ApiextensionsV1Api) -> None:
    crd = workspace_crd()
    try:
        live = api.read_custom_resource_definition(crd["metadata"]["name"])
    except client.ApiException as error:
        if error.status != 404:
            raise
        api.create_custom_resource_definition(crd)
    else:
        crd["metadata"]["resourceVersion"] = live.metadata.resource_version
        api.replace_custom_resource_definition(crd["metadata"]["name"], crd)


def _wait_for_the_rules(server: Server) -> None:
    """An API server takes a moment to serve a CRD, and to serve by its new text after a change."""
    tuning = {**BY_PRESET, "tuning": {}}
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            server.create(tuning)
        except client.ApiException as error:
            if error.status == 422 and CANNOT_TUNE in json.loads(error.body)["message"]:
                return
        time.sleep(0.1)
    raise TimeoutError("the API server does not apply the CRD's rules 30 s after it was written")


@pytest.fixture(scope="module")
def live(server: Server) -> Iterator[dict[str, Workspace]]:
    """A Workspace of each kind that really exists, for updates to be tried on."""
    workspaces = {
        "preset": {**BY_PRESET, "metadata": {"name": "by-preset"}},
        "template": {**BY_TEMPLATE, "metadata": {"name": "by-template"}},
    }
    for workspace in workspaces.values():
        server.create(workspace, dry_run=False)
    yield workspaces
    for workspace in workspaces.values():
        server.delete(workspace["metadata"]["name"])


@pytest.mark.real_apiserver
@pytest.mark.parametrize("case", CREATED, ids=lambda case: case.name)
def test_a_new_workspace(server: Server, case: Case) -> None:
    workspace = _changed(BY_PRESET if case.start == "preset" else BY_TEMPLATE, case)
    _expect(case, _answer(lambda: server.create(workspace)))


@pytest.mark.real_apiserver
@pytest.mark.parametrize("case", UPDATED, ids=lambda case: case.name)
def test_a_change_to_a_workspace(server: Server, live: dict[str, Workspace], case: Case) -> None:
    workspace = _changed(live[case.start], case)
    _expect(case, _answer(lambda: server.replace(workspace)))


@pytest.mark.real_apiserver
@pytest.mark.parametrize(
    "path",
    [
        *sorted((REPOSITORY / "examples").glob("*.yaml")),
        *sorted((REPOSITORY / "tests/data/kaito").glob("*.yaml")),
    ],
    ids=lambda path: path.name,
)
def test_an_example_applies(server: Server, path: Path) -> None:
    server.create(yaml.safe_load(path.read_text()))


@pytest.mark.real_apiserver
def test_defaults_are_filled_in(server: Server) -> None:
    workspace = copy.deepcopy(BY_PRESET)
    del workspace["resource"]
    workspace["inference"]["adapters"] = [adapter()]
    stored = server.api.create_namespaced_custom_object(
        names.GROUP, names.VERSION, server.namespace, names.PLURAL, workspace, **_options(True)
    )
    assert stored["resource"] == {"count": 1}
    assert stored["inference"]["preset"]["accessMode"] == "public"
    assert stored["inference"]["adapters"][0]["strength"] == "1.0"
    # Before anybody has looked, a status says so: tools that compare it with the generation see work to do.
    assert stored["status"] == {"observedGeneration": -1}


def _changed(workspace: Workspace, case: Case) -> Workspace:
    result = copy.deepcopy(workspace)
    case.change(result)
    return result


def _expect(case: Case, answer: str) -> None:
    if case.refusal:
        assert case.refusal in answer
    else:
        assert answer == ""


def _answer(write: Callable[[], None]) -> str:
    """What the API server says: nothing where it accepts."""
    try:
        write()
    except client.ApiException as error:
        if error.status not in (400, 422):
            raise
        return str(json.loads(error.body)["message"])
    return ""
