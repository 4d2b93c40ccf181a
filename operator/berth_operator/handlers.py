"""kopf's part: it keeps the watches, and its handlers only say what was seen.

`on.event` handlers write nothing to users' objects: no finalizer, no annotation. They are not retried when they
fail, so they do nothing that can.
"""

from collections.abc import Callable, Collection
from typing import Any

import kopf

from berth_operator.cluster_cache import WATCHED
from berth_operator.kube import Object, Resource

Seen = Callable[[Resource, str | None, Object], None]
"""Told of every event: the kind, the event's type (None where a watch found the object at its start), the object."""

WATCH_SECONDS = 300
"""Each watch is renewed after this long, so that one that went silent does not stay so."""


def watch_settings() -> kopf.OperatorSettings:
    """Return kopf's settings for bounded watches of our objects only."""
    settings = kopf.OperatorSettings()
    # Every kind is known by name: no need to list CRDs and namespaces, nor for the right to.
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.watching.server_timeout = WATCH_SECONDS
    settings.watching.client_timeout = WATCH_SECONDS + 30
    settings.watching.connect_timeout = 10
    settings.networking.request_timeout = 30
    # A worker for each object that was heard of lately; half a second covers a burst of updates.
    settings.queueing.idle_timeout = 0.5
    for resource, selector in WATCHED:
        if selector:
            group, _, version = resource.api_version.rpartition("/")
            settings.watching.label_selectors[group, version, resource.plural] = selector
    return settings


def watch_registry(seen: Seen, unreadable: Collection[Resource] = ()) -> kopf.OperatorRegistry:
    """Return the handlers that pass every event on, of every kind that may be read."""
    registry = kopf.OperatorRegistry()
    # By service account in a cluster, by kubeconfig elsewhere; asked again when a token has expired.
    kopf.on.login(id="login", registry=registry)(_login)
    for resource, _ in WATCHED:
        if resource not in unreadable:
            _pass_on(registry, seen, resource)
    return registry


def _login(**arguments: Any) -> kopf.ConnectionInfo | None:
    return kopf.login_via_client(**arguments)


def _pass_on(registry: kopf.OperatorRegistry, seen: Seen, resource: Resource) -> None:
    group, _, version = resource.api_version.rpartition("/")

    async def pass_on(event: kopf.RawEvent, **_: Any) -> None:
        seen(resource, event["type"], dict(event["object"]))

    kopf.on.event(group, version, resource.plural, id=f"watch-{resource.plural}", registry=registry)(pass_on)
