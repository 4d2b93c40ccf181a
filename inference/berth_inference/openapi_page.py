"""The OpenAPI page, without what FastAPI says of every route and is not so here."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

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
        return page
