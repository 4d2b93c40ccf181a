"""Errors as the Kubernetes API words them: each is a `Status` with a reason, a message and, at times, causes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from berth_local.apiserver.objects import Object


@dataclass(frozen=True, slots=True)
class Cause:
    """One fault of a refused object: `field` is a path such as `spec.ports[0].port`."""

    field: str
    message: str
    reason: str = "FieldValueInvalid"

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class ApiError(Exception):
    """A request that fails with an HTTP status, a reason of the API's vocabulary and a message for the user."""

    def __init__(self, code: int, reason: str, message: str, details: Object | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.details = code, reason, message, details

    def status(self) -> Object:
        """Return the `Status` object that answers the request."""
        status: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        status |= {"message": self.message} | ({"reason": self.reason} if self.reason else {})
        if self.details is not None:
            status["details"] = self.details
        return status | {"code": self.code}


def qualified(name: str, group: str) -> str:
    """Return a plural or kind with its group: `deployments.apps`, `pods`."""
    return f"{name}.{group}" if group else name


def _details(name: str, group: str, kind: str) -> Object:
    details = {"name": name, "group": group, "kind": kind}
    return {key: value for key, value in details.items() if value}


def not_found(group: str, plural: str, name: str) -> ApiError:
    """No object of that name."""
    return ApiError(
        404, "NotFound", f'{qualified(plural, group)} "{name}" not found', _details(name, group, plural)
    )


def already_exists(group: str, plural: str, name: str) -> ApiError:
    """The name is taken."""
    message = f'{qualified(plural, group)} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, _details(name, group, plural))


STALE = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(group: str, plural: str, name: str, why: str = STALE) -> ApiError:
    """The object is not as the request supposed."""
    message = f'Operation cannot be fulfilled on {qualified(plural, group)} "{name}": {why}'
    return ApiError(409, "Conflict", message, _details(name, group, plural))


def apply_conflict(conflicts: Sequence[tuple[str, str]]) -> ApiError:
    """Server-side apply met fields of other managers.

    `conflicts` are (who, field) pairs, who as `"name"`, or `"name" using apps/v1` of one that updates.
    """
    causes = [{"reason": "FieldManagerConflict", "message": f"conflict with {who}", "field": field}
              for who, field in conflicts]  # fmt: skip
    people = sorted({who for who, _ in conflicts})
    count = f"{len(conflicts)} conflict" + ("s" if len(conflicts) > 1 else "")
    if len(conflicts) == 1:
        text = f"conflict with {conflicts[0][0]}: {conflicts[0][1]}"
    else:
        parts = []
        for person in people:
            fields = "".join(f"\n- {field}" for who, field in conflicts if who == person)
            parts.append(f"conflicts with {person}:{fields}")
        text = "\n".join(parts)
    return ApiError(409, "Conflict", f"Apply failed with {count}: {text}", {"causes": causes})


def invalid(group: str, kind: str, name: str, causes: Sequence[Cause]) -> ApiError:
    """The object breaks its kind's rules."""
    texts = [str(cause) for cause in causes]
    text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    details: dict[str, Any] = _details(name, group, kind)
    details["causes"] = [
        {"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in causes
    ]
    return ApiError(422, "Invalid", f'{qualified(kind, group)} "{name}" is invalid: {text}', details)


def unprocessable_patch() -> ApiError:
    """A JSON patch that cannot be carried out."""
    return ApiError(422, "Invalid", "the server rejected our request due to an error in our request", {})


def bad_request(message: str) -> ApiError:
    """The request itself makes no sense."""
    return ApiError(400, "BadRequest", message)


def forbidden(
    group: str, plural: str, name: str, why: str, causes: Sequence[Cause] = (), prefix: str = "is forbidden"
) -> ApiError:
    """The state of the cluster forbids the request."""
    details = _details(name, group, plural)
    if causes:
        details["causes"] = [{"reason": c.reason, "message": c.message, "field": c.field} for c in causes]
    return ApiError(403, "Forbidden", f'{qualified(plural, group)} "{name}" {prefix}: {why}', details)


def expired(message: str) -> ApiError:
    """The resourceVersion or continue token is older than what is remembered."""
    return ApiError(410, "Expired", message)


def too_large(limit: int) -> ApiError:
    """The body is larger than the server takes; `limit` in bytes."""
    return ApiError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit}")


def unsupported_media(accepted: Sequence[str]) -> ApiError:
    """The body's content type is none of those that fit."""
    listed = ", ".join(accepted)
    message = f"the body of the request was in an unknown format - accepted media types include: {listed}"
    return ApiError(415, "UnsupportedMediaType", message)


def not_acceptable(offered: Sequence[str]) -> ApiError:
    """The client takes none of the formats that are offered."""
    return ApiError(
        406, "NotAcceptable", f"only the following media types are accepted: {', '.join(offered)}"
    )


def method_not_allowed() -> ApiError:
    """The path is known, the method has no meaning there."""
    return ApiError(
        405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {}
    )


def no_such_resource() -> ApiError:
    """A path below a known resource that names nothing."""
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})
