"""What goes with what is deleted: dependents, namespaces' content, definitions' objects."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from berth_local.apiserver import ApiServer
from control_plane.api_session import Api, api_session, until
from control_plane.transcript import BOATS, DEFINITION, DEFINITIONS, NAMESPACE, NAMESPACES, boat

CORE = f"/api/v1/namespaces/{NAMESPACE}"
MERGE = "application/merge-patch+json"


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with ApiServer(crds=[DEFINITION]) as server, api_session(server) as api:
        await api.create(NAMESPACES, {"metadata": {"name": NAMESPACE}})
        yield api


def owned_by(owner: Any, **more: Any) -> dict[str, Any]:
    reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], **more}
    return reference | {"name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]}


async def make(api: Api, name: str, *owners: Any, **more: Any) -> Any:
    references = [owned_by(owner, **more) for owner in owners]
    return await api.create(f"{CORE}/configmaps", {"metadata": {"name": name, "ownerReferences": references}})


async def test_dependents_of_dependents_go_with_their_owner(api: Api) -> None:
    owner = await api.create(BOATS, boat("owner", sail="ab"))
    child = await make(api, "child", owner)
    await make(api, "grandchild", child)
    await make(api, "stranger")
    status, answer = await api.ask("DELETE", f"{BOATS}/owner")
    assert (status, answer["status"]) == (200, "Success")
    await api.gone(f"{CORE}/configmaps/child")
    await api.gone(f"{CORE}/configmaps/grandchild")
    assert (await api.ask("GET", f"{CORE}/configmaps/stranger"))[0] == 200


async def test_a_dependent_of_two_stays_while_one_is_left_and_forgets_the_other(api: Api) -> None:
    first, second = (
        await api.create(BOATS, boat("one", sail="ab")),
        await api.create(BOATS, boat("two", sail="ab")),
    )
    await make(api, "shared", first, second)
    await api.ask("DELETE", f"{BOATS}/one")

    async def forgotten() -> bool:
        _, found = await api.ask("GET", f"{CORE}/configmaps/shared")
        return [one["name"] for one in found["metadata"]["ownerReferences"]] == ["two"]

    await until(forgotten)


async def test_orphaned_dependents_stay_without_an_owner(api: Api) -> None:
    owner = await api.create(BOATS, boat("owner", sail="ab"))
    await make(api, "child", owner)
    await api.ask("DELETE", f"{BOATS}/owner", {"propagationPolicy": "Orphan"})
    await api.gone(f"{BOATS}/owner")
    status, found = await api.ask("GET", f"{CORE}/configmaps/child")
    assert status == 200
    assert "ownerReferences" not in found["metadata"]


async def test_a_foreground_deletion_waits_for_dependents_that_block_it(api: Api) -> None:
    owner = await api.create(BOATS, boat("owner", sail="ab"))
    held = {"name": "child", "finalizers": ["harbor.example/hold"]}
    held["ownerReferences"] = [owned_by(owner, blockOwnerDeletion=True)]
    await api.create(f"{CORE}/configmaps", {"metadata": held})
    status, answer = await api.ask("DELETE", f"{BOATS}/owner", {"propagationPolicy": "Foreground"})
    assert (status, answer["metadata"]["finalizers"]) == (200, ["foregroundDeletion"])

    async def child_is_asked_to_go() -> bool:
        _, found = await api.ask("GET", f"{CORE}/configmaps/child")
        return "deletionTimestamp" in found["metadata"]

    await until(child_is_asked_to_go)
    assert (await api.ask("GET", f"{BOATS}/owner"))[0] == 200
    await api.ask("PATCH", f"{CORE}/configmaps/child", {"metadata": {"finalizers": None}}, MERGE)
    await api.gone(f"{CORE}/configmaps/child")
    await api.gone(f"{BOATS}/owner")


async def test_an_object_whose_owner_never_was_goes(api: Api) -> None:
    nobody = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "nobody", "uid": "no-such-uid"}}
    await make(api, "child", nobody)
    await api.gone(f"{CORE}/configmaps/child")


async def test_an_owner_in_another_namespace_is_none(api: Api) -> None:
    elsewhere = await api.create("/api/v1/namespaces/default/configmaps", {"metadata": {"name": "owner"}})
    await make(api, "child", elsewhere)
    await api.gone(f"{CORE}/configmaps/child")


async def test_a_namespace_takes_its_content_along_and_takes_nothing_new(api: Api) -> None:
    await api.create(BOATS, boat("b", sail="ab"))
    held = {"metadata": {"name": "held", "finalizers": ["harbor.example/hold"]}}
    await api.create(f"{CORE}/configmaps", held)
    status, answer = await api.ask("DELETE", f"{NAMESPACES}/{NAMESPACE}")
    assert (status, answer["status"]["phase"]) == (200, "Terminating")
    await api.gone(f"{BOATS}/b")
    status, refused = await api.ask("POST", f"{CORE}/configmaps", {"metadata": {"name": "late"}})
    assert (status, refused["details"]["causes"][0]["reason"]) == (403, "NamespaceTerminating")
    assert (await api.ask("GET", f"{NAMESPACES}/{NAMESPACE}"))[0] == 200
    await api.ask("PATCH", f"{CORE}/configmaps/held", {"metadata": {"finalizers": None}}, MERGE)
    await api.gone(f"{NAMESPACES}/{NAMESPACE}")


async def test_a_definition_takes_its_objects_and_its_path_along(api: Api) -> None:
    await api.create(BOATS, boat("b", sail="ab"))
    async with api.watch(BOATS, resourceVersion="0") as events:
        assert (await anext(events))["type"] == "ADDED"
        status, answer = await api.ask("DELETE", f"{DEFINITIONS}/boats.harbor.example")
        assert (status, answer["kind"]) == (200, "CustomResourceDefinition")
        assert (await anext(events))["type"] == "DELETED"
        await api.gone(f"{DEFINITIONS}/boats.harbor.example")
    assert (await api.ask("GET", BOATS))[0] == 404
    await api.create(DEFINITIONS, DEFINITION)
    assert (await api.ask("GET", BOATS))[1]["items"] == []
