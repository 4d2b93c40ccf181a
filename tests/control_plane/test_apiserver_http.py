"""What the embedded API server refuses, and what it survives."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from berth_local.apiserver import ApiServer, LogOptions, NotLoopback
from control_plane.api_session import Api, api_session
from control_plane.transcript import BOATS, DEFINITION, DEFINITIONS, NAMESPACE, NAMESPACES, boat

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"


async def logs(pod: dict[str, Any], options: LogOptions) -> AsyncIterator[bytes]:
    if options.previous:
        raise LookupError(f'previous terminated container "{options.container}" not found')
    for line in (b"one\n", b"two\n", b"three\n")[-(options.tail_lines or 3) :]:
        yield line


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with ApiServer(crds=[DEFINITION], pod_logs=logs) as server, api_session(server) as api:
        yield api


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.1", "example.com", "::"])
def test_it_listens_on_loopback_alone(host: str) -> None:
    with pytest.raises(NotLoopback, match=r"use 127\.0\.0\.1"):
        ApiServer(host)


@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Host": "127.0.0.1.evil.example:80"}],
    ids=["another name for this machine", "a page of another site", "a name that begins like an address"],
)
async def test_a_web_page_cannot_reach_it(api: Api, headers: dict[str, str]) -> None:
    async with api.session.get(api.url + "/api/v1/secrets", headers=headers) as response:
        assert response.status == 403
        assert (await response.json())["reason"] == "Forbidden"


@pytest.mark.parametrize(
    ("body", "type"),
    [
        (b"", "application/json"),
        (b"{", "application/json"),
        (b"null", "application/json"),
        (b'"x"', "application/json"),
        (b'{"metadata": 3}', "application/json"),
        (b'{"metadata": {"name": 3}}', "application/json"),
        (b'{"metadata": {"name": "a", "labels": {"a": 1}}}', "application/json"),
        (b'{"data": {"a": NaN}}', "application/json"),
        (b"\xff\xfe", "application/json"),
        (b"[" * 100_000, "application/json"),
        (b"a: [", "application/yaml"),
        (b"? {a: b}\n: c", "application/yaml"),
        (b"!!python/object/apply:os.system [ls]", "application/yaml"),
        (b"a: &a [*a]", "application/yaml"),
    ],
    ids=lambda value: repr(value[:24]) if isinstance(value, bytes) else value.rpartition("/")[2],
)
async def test_what_is_no_object_is_400(api: Api, body: bytes, type: str) -> None:
    status, answer = await api.ask("POST", MAPS, body, type)
    assert (status, answer["reason"]) == (400, "BadRequest")


async def test_yaml_is_taken(api: Api) -> None:
    text = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: y}\ndata: {a: '2026-01-01'}\n"
    status, answer = await api.ask("POST", MAPS, text, "application/yaml")
    assert (status, answer["data"]) == (201, {"a": "2026-01-01"})


@pytest.mark.parametrize(("size", "what"), [(1_600_000, "object"), (3_200_000, "body")])
async def test_what_is_too_large_is_413(api: Api, size: int, what: str) -> None:
    status, answer = await api.ask("POST", MAPS, {"metadata": {"name": "a"}, "data": {"a": "x" * size}})
    assert (status, answer["reason"]) == (413, "RequestEntityTooLarge"), what


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/api/v2", 404),
        ("GET", "/apis/nowhere.example/v1", 404),
        ("GET", "/api/v1/namespaces/default/pods/x/attach", 404),
        ("POST", "/api/v1/pods", 405),
        ("DELETE", "/api/v1/pods", 405),
        ("TRACE", MAPS, 405),
        ("POST", "/version", 405),
        ("GET", "/api/v1//pods", 400),
        ("GET", MAPS + "?labelSelector=a in b", 400),
        ("GET", MAPS + "?limit=x", 400),
        ("GET", MAPS + "?watch=1&timeoutSeconds=x", 400),
        ("DELETE", MAPS + "/x?gracePeriodSeconds=x", 400),
    ],
)
async def test_requests_that_make_no_sense(api: Api, method: str, path: str, code: int) -> None:
    assert (await api.ask(method, path))[0] == code


async def test_only_json_is_answered(api: Api) -> None:
    headers = {"Accept": "application/vnd.kubernetes.protobuf"}
    async with api.session.get(api.url + MAPS, headers=headers) as response:
        assert response.status == 406


async def test_an_inert_kind_is_stored_with_a_warning(api: Api) -> None:
    job = {
        "metadata": {"name": "j"},
        "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}},
    }
    async with api.session.post(api.url + "/apis/batch/v1/namespaces/default/jobs", json=job) as response:
        assert response.status == 201
        assert "nothing in Berth's embedded control plane acts on them" in response.headers["Warning"]


async def test_a_warning_cannot_break_out_of_its_header(api: Api) -> None:
    body = {"metadata": {"name": "w"}, 'a"b\r\nX-Evil: \u00e9': 1}
    async with api.session.post(api.url + MAPS, json=body) as response:
        assert response.status == 201
        assert "X-Evil" not in response.headers
        assert response.headers["Warning"] == '299 - "unknown field \\"a\\"b??X-Evil: ?\\""'


POD = {"metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}}


@pytest.mark.parametrize(
    ("query", "code", "text"),
    [
        ({}, 200, "one\ntwo\nthree\n"),
        ({"tailLines": "1"}, 200, "three\n"),
        ({"limitBytes": "5"}, 200, "one\nt"),
        ({"container": "other"}, 400, "container other is not valid for pod p"),
        ({"previous": "true"}, 400, 'previous terminated container "c" not found'),
        ({"tailLines": "-1"}, 400, "tailLines must be a number that is not negative, not '-1'"),
    ],
    ids=["all", "the last line", "the first bytes", "of no container", "that is not there", "of nonsense"],
)
async def test_pod_logs(api: Api, query: dict[str, str], code: int, text: str) -> None:
    await api.create(PODS, POD)
    status, answer = await api.ask("GET", f"{PODS}/p/log", **query)
    assert (status, answer if status == 200 else answer["message"]) == (code, text)


async def test_a_binding_gives_a_pod_its_node_once(api: Api) -> None:
    pod = {"metadata": {"name": "q"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    await api.create(PODS, pod)
    binding = {"metadata": {"name": "q"}, "target": {"kind": "Node", "name": "n"}}
    await api.create(f"{PODS}/q/binding", binding)
    _, found = await api.ask("GET", f"{PODS}/q")
    assert found["spec"]["nodeName"] == "n"
    assert [one["type"] for one in found["status"]["conditions"]] == ["PodScheduled"]
    assert (await api.ask("POST", f"{PODS}/q/binding", binding))[0] == 409


async def test_every_service_has_an_address_of_its_own(api: Api) -> None:
    services = "/api/v1/namespaces/default/services"
    made = [
        await api.create(services, {"metadata": {"name": f"s{number}"}, "spec": {"ports": [{"port": 80}]}})
        for number in range(20)
    ]
    addresses = {one["spec"]["clusterIP"] for one in made}
    assert len(addresses) == 20
    assert all(address.startswith("127.96.") for address in addresses)
    taken = {
        "metadata": {"name": "t"},
        "spec": {"clusterIP": made[0]["spec"]["clusterIP"], "ports": [{"port": 1}]},
    }
    status, answer = await api.ask("POST", services, taken)
    assert (status, "already allocated" in answer["message"]) == (422, True)


def broken(**changes: Any) -> dict[str, Any]:
    definition = json.loads(json.dumps(DEFINITION).replace("boats", "rafts").replace("Boat", "Raft"))
    return {**definition, "spec": {**definition["spec"], **changes}}


@pytest.mark.parametrize(
    ("definition", "field"),
    [
        (broken(group="other.example"), "metadata.name"),
        (broken(scope="Everywhere"), "spec.scope"),
        (broken(versions=[]), "spec.versions"),
        (
            broken(versions=[{"name": "v1", "served": True, "storage": True}]),
            "spec.versions[0].schema.openAPIV3Schema",
        ),
        (broken(conversion={"strategy": "Webhook"}), "spec.conversion.strategy"),
    ],
    ids=["of another group", "of no scope", "with no version", "with no schema", "with a webhook"],
)
async def test_a_definition_that_cannot_be_served_is_refused(api: Api, definition: Any, field: str) -> None:
    status, answer = await api.ask("POST", DEFINITIONS, definition)
    assert (status, answer["details"]["causes"][0]["field"]) == (422, field)


async def test_a_changed_definition_judges_what_is_written_next(api: Api) -> None:
    await api.create(NAMESPACES, {"metadata": {"name": NAMESPACE}})
    path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/crew/maximum"
    assert (await api.ask("POST", BOATS, boat("b", sail="ab", crew=20)))[0] == 422
    patch = [{"op": "replace", "path": path, "value": 30}]
    status, _ = await api.ask(
        "PATCH", f"{DEFINITIONS}/boats.harbor.example", patch, "application/json-patch+json"
    )
    assert status == 200
    assert (await api.ask("POST", BOATS, boat("b", sail="ab", crew=20)))[0] == 201


async def test_a_definition_with_rules_is_served_with_a_warning_that_they_are_not_evaluated(api: Api) -> None:
    definition = broken()
    rules = [{"rule": "self.sail != 'no'"}]
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"][
        "x-kubernetes-validations"
    ] = rules
    async with api.session.post(api.url + DEFINITIONS, json=definition) as response:
        assert response.status == 201
        assert "not evaluated" in response.headers["Warning"]
