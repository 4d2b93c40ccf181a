"""Manifest files: read, and applied to an API server as `kubectl apply --server-side` does."""

from pathlib import Path

import yaml

from berth_local.agent.client import ApiClient
from berth_local.agent.plan.objects import Object
from berth_operator.kube import KubeError, Resource

FIELD_MANAGER = "berth-cli"


class ManifestError(ValueError):
    """A file cannot be read, or holds something that is no Kubernetes object; the message says where."""


def read_manifests(path: Path) -> list[Object]:
    """Return the objects of a YAML or JSON file, Lists taken apart; raise ManifestError with file and place."""
    try:
        documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ManifestError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark is not None else ""
        raise ManifestError(f"{path}{place}: not YAML: {getattr(error, 'problem', None) or error}") from None
    objects: list[Object] = []
    for number, document in enumerate((one for one in documents if one is not None), 1):
        items = (
            document.get("items")
            if isinstance(document, dict) and document.get("kind") == "List"
            else [document]
        )
        for item in items or ():
            objects.append(_checked(item, f"{path}, document {number}"))
    if not objects:
        raise ManifestError(f"{path}: holds no object")
    return objects


async def apply(client: ApiClient, objects: list[Object]) -> list[Object]:
    """Apply the objects in order and return them as stored; raise KubeError or ManifestError for the first refused."""
    stored = []
    for body in objects:
        resource, namespaced = await find_resource(client, body["apiVersion"], body["kind"])
        meta = {**body["metadata"]}
        if namespaced:
            meta.setdefault("namespace", "default")
        stored.append(await client.apply(resource, {**body, "metadata": meta}, manager=FIELD_MANAGER))
    return stored


async def find_resource(client: ApiClient, api_version: str, kind: str) -> tuple[Resource, bool]:
    """Return where a kind's objects live and whether they have a namespace; raise ManifestError for one not served."""
    root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    try:
        served = (await client.get(root)).get("resources") or ()
    except KubeError as error:
        if error.status != 404:
            raise
        served = ()
    for entry in served:
        if entry["kind"] == kind and "/" not in entry["name"]:
            return Resource(api_version, entry["name"]), bool(entry["namespaced"])
    raise ManifestError(f"the embedded API server has no kind {kind} in {api_version}")


def _checked(document: object, where: str) -> Object:
    if not isinstance(document, dict):
        raise ManifestError(f"{where}: not an object")
    for field in ("apiVersion", "kind"):
        if not isinstance(document.get(field), str) or not document[field]:
            raise ManifestError(f"{where}: {field} is missing")
    meta = document.get("metadata")
    if not isinstance(meta, dict) or not isinstance(meta.get("name"), str):
        raise ManifestError(f"{where}: metadata.name is missing")
    return document
