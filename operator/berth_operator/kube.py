"""The one place that speaks to the Kubernetes API: plain dicts in, plain dicts out, errors of our own.

The official client brings connections, TLS, kubeconfig and in-cluster credentials; its typed models are left
aside, because server-side apply wants exactly the fields that were meant and nothing that a model added.
"""

import json
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp
import yaml
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.client.exceptions import ApiException

from berth_operator.api.names import FIELD_MANAGER

Object = dict[str, Any]

REQUEST_SECONDS = 30.0
"""An API server that takes longer is in trouble; the work queue tries again, later and slower."""

STREAM_SECONDS = 24 * 3600.0
"""A log is followed for as long as somebody looks at it."""

TEXT_LIMIT = 500
"""Characters kept of a message that is not ours: enough to name a cause, too few to carry a page of HTML."""


class KubeError(Exception):
    """An API request failed; `status` is the HTTP status, or 0 when no answer came."""

    def __init__(self, status: int, reason: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(f"{message[:TEXT_LIMIT]} ({status} {reason})" if status else message[:TEXT_LIMIT])
        self.status = status
        self.reason = reason
        self.retry_after = retry_after


class NoCluster(Exception):
    """There is nothing that says where the cluster is, or who we are to it."""


class NotFound(KubeError):
    """The object does not exist."""


class Conflict(KubeError):
    """The object changed meanwhile, exists already, or another manager owns a field."""


class Refused(KubeError):
    """The API server judged the request itself wrong (400, 403, 413, 422): the same request cannot succeed."""


NOT_STORABLE = (
    "failed to create typed patch object",  # a field that does not exist, or of the wrong type
    "failed to convert new object",  # a value that its type cannot hold: a quantity of words, a port of 2^63
    "etcdserver: request is too large",
)
"""How an API server begins its refusal of an applied object that can never be stored; it answers 500 and not 400."""


def _check_that_there_is_one(kubeconfig: str | None) -> None:
    """The library takes a file that is not there for an empty one."""
    default = str(Path("~/.kube/config").expanduser())
    named = (
        [kubeconfig] if kubeconfig is not None else os.environ.get("KUBECONFIG", default).split(os.pathsep)
    )
    if not any(Path(path).is_file() for path in named if path):
        not_in_one = "" if kubeconfig is not None else " and not in a cluster"
        raise NoCluster(f"no usable kubeconfig{not_in_one}: {os.pathsep.join(named)} is no file")


_KINDS = {400: Refused, 403: Refused, 404: NotFound, 409: Conflict, 413: Refused, 422: Refused}


def error_from(status: int, headers: Mapping[str, str], text: str) -> KubeError:
    """Read a failed answer. Only a Kubernetes `Status` is believed; anything else is named by its HTTP status."""
    reason, message = "Unknown", f"the API server answered {status}"
    try:
        answer = json.loads(text)
    except ValueError:
        answer = None
    if isinstance(answer, dict) and answer.get("kind") == "Status":
        reason, message = str(answer.get("reason") or reason), str(answer.get("message") or message)
    wait = headers.get("Retry-After", "")
    kind = Refused if message.startswith(NOT_STORABLE) else _KINDS.get(status, KubeError)
    return kind(status, reason, message, float(wait) if wait.isdigit() else None)


def object_from(text: str) -> Object:
    """Read the object of a successful answer. Raises `KubeError` for anything else, as a proxy's login page is."""
    try:
        answer = json.loads(text)
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or not answer.get("kind"):
        raise KubeError(
            0, "Unreadable", "what came is no object of Kubernetes: does a proxy stand before the API server?"
        )
    return answer


class Resource:
    """Where the objects of one kind live: `Resource("apps/v1", "deployments")`, `Resource("v1", "services")`."""

    def __init__(self, api_version: str, plural: str) -> None:
        self.api_version = api_version
        self.plural = plural
        self._root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"

    def path(
        self, namespace: str | None = None, name: str | None = None, subresource: str | None = None
    ) -> str:
        """The path of one object, of a namespace's objects, or of all; every part is quoted."""
        parts = [self._root]
        if namespace is not None:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name is not None:
            parts.append(quote(name, safe=""))
        if subresource is not None:
            parts.append(subresource)
        return "/".join(parts)


class KubeClient:
    """An asynchronous client over plain objects. Use it as an async context manager."""

    def __init__(self, configuration: Configuration) -> None:
        self._api = ApiClient(configuration)
        self._api.user_agent = FIELD_MANAGER

    @classmethod
    async def connect(cls, kubeconfig: str | None = None, context: str | None = None) -> Self:
        """Connect as a pod of the cluster, else by a kubeconfig file, `KUBECONFIG` or the default place.

        `context` is one of the kubeconfig's, its present one unless given.

        Raises `NoCluster` where none of them is usable.
        """
        configuration = Configuration()
        try:
            if kubeconfig is None and context is None and "KUBERNETES_SERVICE_HOST" in os.environ:
                config.load_incluster_config(client_configuration=configuration)
            else:
                _check_that_there_is_one(kubeconfig)
                await config.load_kube_config(kubeconfig, context, configuration)
        except (
            config.ConfigException,
            OSError,
            yaml.YAMLError,
            AttributeError,
            LookupError,
            TypeError,
        ) as error:
            # The last three are how the library fails on YAML that is no kubeconfig.
            what = " ".join(str(error).split())
            raise NoCluster(f"no usable kubeconfig and not in a cluster: {what}") from error
        return cls(configuration)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._api.close()

    async def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """Return the object, or None when it does not exist."""
        try:
            return await self._request("GET", resource.path(namespace, name))
        except NotFound:
            return None

    async def list_all(
        self, resource: Resource, namespace: str | None = None, selector: str = "", fields: str = ""
    ) -> list[Object]:
        """Return the objects of a namespace, or of all, that match a label selector and a field selector."""
        query = [("labelSelector", selector)] if selector else []
        if fields:
            query.append(("fieldSelector", fields))
        answer = await self._request("GET", resource.path(namespace), query)
        items = answer.get("items") or []
        kind = str(answer.get("kind", "")).removesuffix("List")
        return [{"apiVersion": resource.api_version, "kind": kind, **item} for item in items]

    async def apply(self, resource: Resource, body: Object, subresource: str | None = None) -> Object:
        """Server-side apply: these fields are ours and have these values; fields we stop naming go."""
        meta = body["metadata"]
        return await self._request(
            "PATCH",
            resource.path(meta["namespace"], meta["name"], subresource),
            [("fieldManager", FIELD_MANAGER), ("force", "true")],
            body,
            "application/apply-patch+yaml",
        )

    async def merge(
        self, resource: Resource, namespace: str, name: str, body: Object, subresource: str | None = None
    ) -> Object:
        """Merge-patch an object or its subresource."""
        return await self._request(
            "PATCH",
            resource.path(namespace, name, subresource),
            [("fieldManager", FIELD_MANAGER)],
            body,
            "application/merge-patch+json",
        )

    async def lines(self, path: str, query: list[tuple[str, str]]) -> AsyncIterator[str]:
        """Yield the lines of an answer that may go on for ever, such as a log that is followed."""
        try:
            request = await self._api.param_serialize(
                "GET", path, query_params=query, auth_settings=["BearerToken"]
            )
            response = await self._api.call_api(*request, _request_timeout=STREAM_SECONDS)
            if response.status >= 300:
                raise error_from(
                    response.status, response.headers, (await response.read()).decode(errors="replace")
                )
            async for line in response.response.content:
                yield line.decode(errors="replace").rstrip("\n")
        except ApiException as error:
            raise error_from(error.status or 0, error.headers or {}, str(error.body or "")) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise KubeError(0, "Unreachable", f"no answer from the API server: {error}") from error

    async def create(self, resource: Resource, body: Object) -> Object:
        """Create an object."""
        namespace = body["metadata"]["namespace"]
        return await self._request("POST", resource.path(namespace), [("fieldManager", FIELD_MANAGER)], body)

    async def _request(
        self,
        method: str,
        path: str,
        query: list[tuple[str, str]] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> Object:
        headers = {"Accept": "application/json", "Content-Type": content_type}
        try:
            request = await self._api.param_serialize(
                method,
                path,
                query_params=query or [],
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
            )
            response = await self._api.call_api(*request, _request_timeout=REQUEST_SECONDS)
            text = (await response.read()).decode(errors="replace")
        except ApiException as error:
            raise error_from(error.status or 0, error.headers or {}, str(error.body or "")) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            what = str(error) or type(error).__name__
            raise KubeError(0, "Unreachable", f"no answer from the API server: {what}") from error
        if response.status >= 300:
            raise error_from(response.status, response.headers, text)
        return object_from(text)
