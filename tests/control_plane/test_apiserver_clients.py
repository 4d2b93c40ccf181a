"""kopf and the official asynchronous client against the embedded API server."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from kubernetes.aio import client, config, watch

from berth_local.apiserver import ApiServer
from control_plane.transcript import BOATS, DEFINITION, NAMESPACE, NAMESPACES, boat

OPERATOR = """
import kopf

@kopf.on.startup()
def settings(settings, **_):
    settings.scanning.disabled = True
    settings.watching.server_timeout = 5

@kopf.on.event("harbor.example", "v1", "boats")
def seen(event, name, **_):
    print("EVENT", event["type"], name, flush=True)

@kopf.on.create("harbor.example", "v1", "boats")
def created(name, patch, **_):
    patch.status["phase"] = "afloat"
    print("CREATED", name, flush=True)

@kopf.on.delete("harbor.example", "v1", "boats")
def deleted(name, **_):
    print("DELETED", name, flush=True)
"""


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with ApiServer(crds=[DEFINITION]) as server, aiohttp.ClientSession() as session:
        await session.post(server.url + NAMESPACES, json={"metadata": {"name": NAMESPACE}})
        yield server


@pytest.fixture
async def api(server: ApiServer, tmp_path: Path) -> AsyncIterator[client.ApiClient]:
    configuration = client.Configuration()
    kubeconfig = server.write_kubeconfig(tmp_path / "kubeconfig")
    await config.load_kube_config(config_file=str(kubeconfig), client_configuration=configuration)
    async with client.ApiClient(configuration) as api:
        yield api


async def test_typed_objects_come_back_as_the_client_knows_them(api: client.ApiClient) -> None:
    core = client.CoreV1Api(api)
    made = await core.create_namespaced_config_map("default", {"metadata": {"name": "m"}, "data": {"a": "b"}})
    assert made.data == {"a": "b"}
    listed = await core.list_namespaced_config_map("default", label_selector="!x")
    assert [one.metadata.name for one in listed.items] == ["m"]
    replaced = await core.replace_namespaced_config_map(
        "m", "default", {"metadata": {"name": "m"}, "data": {}}
    )
    assert replaced.data is None
    with pytest.raises(client.ApiException) as refused:
        await core.read_namespaced_config_map("other", "default")
    assert refused.value.status == 404
    await core.delete_collection_namespaced_config_map("default")
    assert (await core.list_namespaced_config_map("default")).items == []


async def test_server_side_apply_and_status_of_custom_objects(api: client.ApiClient) -> None:
    custom = client.CustomObjectsApi(api)
    place: dict[str, Any] = {
        "group": "harbor.example",
        "version": "v1",
        "namespace": NAMESPACE,
        "plural": "boats",
    }
    created = await custom.create_namespaced_custom_object(**place, body=boat("b", sail="ab"))
    assert created["spec"]["crew"] == 2
    applied = await custom.patch_namespaced_custom_object(
        **place,
        name="b",
        body=boat("b", tags={"a": "b"}),
        field_manager="me",
        force=True,
        _content_type="application/apply-patch+yaml",
    )
    assert applied["spec"] == {"sail": "ab", "crew": 2, "tags": {"a": "b"}}
    await custom.patch_namespaced_custom_object_status(
        **place, name="b", body={"status": {"phase": "afloat"}}, _content_type="application/merge-patch+json"
    )
    found = await custom.get_namespaced_custom_object(**place, name="b")
    assert (found["status"], found["metadata"]["generation"]) == ({"phase": "afloat"}, 2)


async def test_the_clients_own_watch_lists_and_follows(api: client.ApiClient) -> None:
    core = client.CoreV1Api(api)
    await core.create_namespaced_config_map("default", {"metadata": {"name": "first"}})
    seen = []
    async with watch.Watch() as watching, asyncio.timeout(30):
        async for event in watching.stream(core.list_namespaced_config_map, "default", timeout_seconds=10):
            seen.append((event["type"], event["object"].metadata.name))
            if len(seen) == 1:
                await core.create_namespaced_config_map("default", {"metadata": {"name": "second"}})
            if len(seen) == 2:
                break
    assert seen == [("ADDED", "first"), ("ADDED", "second")]


@pytest.mark.timeout(120)
async def test_kopf_handles_creation_and_deletion(server: ApiServer, tmp_path: Path) -> None:
    program, kubeconfig = tmp_path / "operator.py", server.write_kubeconfig(tmp_path / "kubeconfig")
    program.write_text(OPERATOR)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "kopf",
        "run",
        "-n",
        NAMESPACE,
        "--standalone",
        str(program),
        stdout=asyncio.subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"KUBECONFIG": str(kubeconfig), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )
    assert process.stdout is not None
    said: list[str] = []

    async def hear(text: str) -> None:
        while text not in said:
            line = await process.stdout.readline()  # type: ignore[union-attr]
            assert line, said
            said.append(line.decode().strip())

    url = server.url + BOATS
    try:
        async with aiohttp.ClientSession() as session, asyncio.timeout(90):
            await session.post(url, json=boat("b", sail="ab"))
            await hear("CREATED b")
            while True:
                async with session.get(f"{url}/b") as response:
                    found = await response.json()
                if found.get("status", {}).get("phase") == "afloat":
                    break
                await asyncio.sleep(0.02)
            assert found["metadata"]["finalizers"] == ["kopf.zalando.org/KopfFinalizerMarker"]
            await session.delete(f"{url}/b")
            await hear("EVENT DELETED b")
            assert "DELETED b" in said
            async with session.get(f"{url}/b") as response:
                assert response.status == 404
    finally:
        process.terminate()
        await process.communicate()
