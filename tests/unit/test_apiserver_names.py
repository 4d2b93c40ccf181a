"""Names, labels and owners that objects may not have."""

from typing import Any

import pytest

from berth_local.apiserver.addresses import AddressesUsedUp, AddressPool, is_allowed
from berth_local.apiserver.names import LABEL_1035, PATH_SEGMENT, SUBDOMAIN, generated, metadata_faults

OWNER = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}


@pytest.mark.parametrize(
    ("meta", "rule", "fields"),
    [
        ({"name": "a.b-c"}, SUBDOMAIN, []),
        ({"name": "a.b"}, LABEL_1035, ["metadata.name"]),
        ({"name": "1a"}, LABEL_1035, ["metadata.name"]),
        ({"name": "A"}, SUBDOMAIN, ["metadata.name"]),
        ({"name": "a" * 254}, SUBDOMAIN, ["metadata.name"]),
        ({"name": "\u00e9"}, SUBDOMAIN, ["metadata.name"]),
        ({"name": "system:node"}, PATH_SEGMENT, []),
        ({"name": "a/b"}, PATH_SEGMENT, ["metadata.name"]),
        ({}, SUBDOMAIN, ["metadata.name"]),
        ({"name": "a", "labels": {"x": "y" * 64}}, SUBDOMAIN, ["metadata.labels"]),
        ({"name": "a", "labels": {"a/b/c": "y"}}, SUBDOMAIN, ["metadata.labels"]),
        ({"name": "a", "annotations": {"A_b/c": "any text: at all"}}, SUBDOMAIN, ["metadata.annotations"]),
        ({"name": "a", "annotations": {"a": "x" * 300_000}}, SUBDOMAIN, ["metadata.annotations"]),
        ({"name": "a", "finalizers": ["a b"]}, SUBDOMAIN, ["metadata.finalizers[0]"]),
        (
            {"name": "a", "ownerReferences": [OWNER, {**OWNER, "uid": ""}]},
            SUBDOMAIN,
            ["metadata.ownerReferences[1].uid"],
        ),
        (
            {"name": "a", "ownerReferences": [{**OWNER, "controller": True}] * 2},
            SUBDOMAIN,
            ["metadata.ownerReferences"],
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_metadata_that_may_not_be(meta: Any, rule: str, fields: list[str]) -> None:
    assert [cause.field for cause in metadata_faults(meta, rule, namespaced=True)] == fields


def test_generated_names_keep_the_prefix_and_differ() -> None:
    names = {generated("web-") for _ in range(50)}
    assert len(names) > 45
    assert all(name.startswith("web-") and len(name) == 9 for name in names)
    assert len(generated("x" * 300)) == 253


def test_a_freed_address_is_not_given_to_the_next_service() -> None:
    pool = AddressPool()
    first = pool.allocate([])
    assert first == "127.96.0.1"
    assert pool.allocate([]) == "127.96.0.2"
    assert pool.allocate(["127.96.0.3"]) == "127.96.0.4"


def test_addresses_come_round_again_and_end() -> None:
    pool = AddressPool()
    pool._last = 0x7F60FFFE
    assert pool.allocate([]) == "127.96.0.1"
    every = [f"127.96.{high}.{low}" for high in range(256) for low in range(256)]
    with pytest.raises(AddressesUsedUp):
        pool.allocate(every)


@pytest.mark.parametrize(
    ("address", "allowed"), [("127.96.3.4", True), ("10.0.0.1", False), ("127.0.0.1", False), ("x", False)]
)
def test_addresses_that_a_service_may_ask_for(address: str, allowed: bool) -> None:
    assert is_allowed(address) is allowed
