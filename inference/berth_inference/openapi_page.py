"""The OpenAPI page, without what FastAPI says of every route and is not so here."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from berth_inference.schemas.values import integral

_FRAMEWORK_ERRORS = ("HTTPValidationError", "ValidationError")


class DocumentedAPI(FastAPI):
    """FastAPI documents a 422 in a form of its own; `http_errors` answers in another, mostly with 400."""

    def openapi(self) -> dict[str, Any]:
        """The page as JSON."""
        page = super().openapi()
        schemas = page["components"]["schemas"]
        for name in _FRAMEWORK_ERRORS:
            schemas.pop(name, None)
        for operations in page["paths"].values():
            for operation in operations.values():
                if _FRAMEWORK_ERRORS[0] in str(operation["responses"].get("422")):
                    del operation["responses"]["422"]
        page["components"] = _with_integers(page["components"])
        return page


def _with_integers(value: Any) -> Any:
    """Bounds as they were declared: FastAPI makes floats of them, and 9.223372036854776e+18 is above 2^63."""
    if isinstance(value, dict):
        return {name: _with_integers(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_with_integers(inner) for inner in value]
    return integral(value)
