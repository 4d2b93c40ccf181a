"""What the embedded API server keeps over a restart, and what it makes of a damaged file."""

from pathlib import Path

import aiohttp
import pytest

from berth_local.apiserver import ApiServer, StateInUse
from berth_local.apiserver.journal import FILE, Journal
from berth_local.apiserver.store import Store

MAPS = "/api/v1/namespaces/default/configmaps"


def config_map(name: str, **more: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default", "uid": name},
        **more,
    }


def kept(folder: Path) -> tuple[list[str], int]:
    store, journal = Store(), Journal(folder)
    journal.load(store)
    journal.close()
    return sorted(stored.key[1] for _, stored in store), store.revision


def fill(folder: Path) -> int:
    store, journal = Store(), Journal(folder)
    journal.load(store)
    for name in ("a", "b", "c"):
        store.put("configmaps", config_map(name))
    store.delete("configmaps", ("default", "b"))
    journal.close()
    return store.revision


def test_objects_and_the_revision_survive(tmp_path: Path) -> None:
    revision = fill(tmp_path)
    assert kept(tmp_path) == (["a", "c"], revision)
    assert kept(tmp_path) == (["a", "c"], revision)


@pytest.mark.parametrize(
    ("tail", "names"),
    [
        (b'{"table":"configmaps","key":["default","d"],"revi', ["a", "c"]),
        (b"\x00\x00\x00\x00\n", ["a", "c"]),
        (b'{"table":"configmaps"}\n', ["a", "c"]),
        (b"[1]\n", ["a", "c"]),
    ],
    ids=["half a line", "zeros", "a line of another form", "no object"],
)
def test_a_damaged_end_is_given_up_and_the_rest_is_kept(
    tmp_path: Path, tail: bytes, names: list[str]
) -> None:
    fill(tmp_path)
    with (tmp_path / FILE).open("ab") as file:
        file.write(tail)
    assert kept(tmp_path)[0] == names
    assert tail not in (tmp_path / FILE).read_bytes()


def test_the_journal_is_its_owners_alone(tmp_path: Path) -> None:
    fill(tmp_path)
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0


def test_two_servers_cannot_share_a_folder(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with pytest.raises(StateInUse, match="another running server"):
        Journal(tmp_path)
    journal.close()
    Journal(tmp_path).close()


def test_a_long_journal_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("berth_local.apiserver.journal.COMPACT_LINES", 50)
    store, journal = Store(), Journal(tmp_path)
    journal.load(store)
    for number in range(500):
        store.put("configmaps", config_map("a", number=str(number)))
    journal.close()
    assert len((tmp_path / FILE).read_bytes().splitlines()) < 60
    assert kept(tmp_path) == (["a"], store.revision)


async def test_a_server_goes_on_where_it_stopped(tmp_path: Path) -> None:
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "boats.harbor.example"},
        "spec": {
            "group": "harbor.example",
            "scope": "Namespaced",
            "names": {"plural": "boats", "kind": "Boat"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
                    },
                }
            ],
        },
    }
    boats = "/apis/harbor.example/v1/namespaces/default/boats"
    boat = {"apiVersion": "harbor.example/v1", "kind": "Boat", "metadata": {"name": "b"}}
    async with aiohttp.ClientSession() as session:
        async with ApiServer(state=tmp_path, crds=[definition]) as server:
            async with session.post(server.url + boats, json=boat) as response:
                made = await response.json()
            child = {
                "metadata": {
                    "name": "c",
                    "ownerReferences": [
                        {
                            "apiVersion": "harbor.example/v1",
                            "kind": "Boat",
                            "name": "b",
                            "uid": made["metadata"]["uid"],
                        }
                    ],
                }
            }
            async with session.post(server.url + MAPS, json=child) as response:
                assert response.status == 201
                last = (await response.json())["metadata"]["resourceVersion"]
        async with ApiServer(state=tmp_path, crds=[definition]) as server:
            async with session.get(f"{server.url}{boats}/b") as response:
                assert await response.json() == made
            async with session.get(
                server.url + MAPS, params={"watch": "1", "resourceVersion": "2"}
            ) as response:
                assert b"too old resource version" in await response.content.readline()
            async with session.get(server.url + MAPS) as response:
                assert int((await response.json())["metadata"]["resourceVersion"]) >= int(last)
            await session.delete(f"{server.url}{boats}/b")
            async with session.get(
                server.url + MAPS, params={"watch": "1", "resourceVersion": last}
            ) as response:
                assert b'"DELETED"' in await response.content.readline()
