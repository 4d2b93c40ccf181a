"""What a write request asks beside its body, read from query parameters and, for deletions, from DeleteOptions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from berth_local.apiserver.errors import Cause, bad_request, invalid
from berth_local.apiserver.objects import Object, dig

STRICT, WARN, IGNORE = "Strict", "Warn", "Ignore"
BACKGROUND, FOREGROUND, ORPHAN = "Background", "Foreground", "Orphan"


@dataclass(slots=True)
class WriteOptions:
    """How to create, update or patch. `warnings` collects what the answer's Warning headers say."""

    manager: str = "unknown"
    dry_run: bool = False
    validation: str = WARN
    force: bool = False
    warnings: list[str] = field(default_factory=list)


def _refusal(kind: str, field_name: str, message: str, reason: str) -> Exception:
    return invalid("meta.k8s.io", kind, "", [Cause(field_name, message, reason)])


def write_options(
    query: Mapping[str, str], user_agent: str, kind: str, *, apply: bool = False
) -> WriteOptions:
    """Read the options of a write; `kind` is CreateOptions, UpdateOptions or PatchOptions. ApiError 422 when wrong."""
    validation = query.get("fieldValidation") or WARN
    if validation not in (STRICT, WARN, IGNORE):
        message = f'Unsupported value: "{validation}": supported values: "", "Ignore", "Strict", "Warn"'
        raise _refusal(kind, "fieldValidation", message, "FieldValueNotSupported")
    manager = query.get("fieldManager", "")
    if apply and not manager:
        message = "Required value: is required for apply patch"
        raise _refusal(kind, "fieldManager", message, "FieldValueRequired")
    if len(manager) > 128:
        message = "Too long: may not be more than 128 bytes"
        raise _refusal(kind, "fieldManager", message, "FieldValueTooLong")
    force = truth(query.get("force"))
    if force and not apply:
        message = "Forbidden: may not be specified for non-apply patch"
        raise _refusal(kind, "force", message, "FieldValueForbidden")
    return WriteOptions(
        manager=manager or user_agent.partition("/")[0] or "unknown",
        dry_run=_dry_run(query.get("dryRun"), kind),
        validation=validation,
        force=force,
    )


def truth(text: str | None) -> bool:
    """Read a boolean query parameter: absent, 0 and false are false, all else is true."""
    return text is not None and text.lower() not in ("0", "false")


def _dry_run(value: Any, kind: str) -> bool:
    values = [value] if isinstance(value, str) and value else value or []
    for one in values:
        if one != "All":
            message = f'Unsupported value: "{one}": supported values: "All"'
            raise _refusal(kind, "dryRun", message, "FieldValueNotSupported")
    return bool(values)


@dataclass(slots=True)
class DeleteOptions:
    """How to delete: `grace` in seconds, None for the object's own; uid and revision must match where given."""

    policy: str = BACKGROUND
    grace: int | None = None
    uid: str = ""
    revision: str = ""
    dry_run: bool = False


def delete_options(query: Mapping[str, str], body: Object) -> DeleteOptions:
    """Read the options of a deletion: the body's, else the query's. ApiError 400 or 422 when wrong."""
    if body.get("kind", "DeleteOptions") != "DeleteOptions":
        raise bad_request(f"the body of a deletion must be DeleteOptions, not {body['kind']}")
    policy = body.get("propagationPolicy") or query.get("propagationPolicy") or ""
    orphan = body.get("orphanDependents", query.get("orphanDependents"))
    if not policy and orphan is not None:
        policy = ORPHAN if orphan in (True, "true") else BACKGROUND
    if policy and policy not in (BACKGROUND, FOREGROUND, ORPHAN):
        message = (
            f'Unsupported value: "{policy}": supported values: "Foreground", "Background", "Orphan", "nil"'
        )
        raise _refusal("DeleteOptions", "propagationPolicy", message, "FieldValueNotSupported")
    grace = body.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
    try:
        seconds = None if grace is None else int(grace)
    except (TypeError, ValueError):
        raise bad_request(f"gracePeriodSeconds must be a whole number of seconds, not {grace!r}") from None
    if seconds is not None and seconds < 0:
        message = f"Invalid value: {seconds}: must be greater than or equal to 0"
        raise _refusal("DeleteOptions", "gracePeriodSeconds", message, "FieldValueInvalid")
    return DeleteOptions(
        policy=policy or BACKGROUND,
        grace=seconds,
        uid=str(dig(body, "preconditions", "uid") or ""),
        revision=str(dig(body, "preconditions", "resourceVersion") or ""),
        dry_run=_dry_run(body.get("dryRun") or query.get("dryRun"), "DeleteOptions"),
    )
