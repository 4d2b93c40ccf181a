"""What an answer's text has to be. Plain data; `constraint.py` enforces it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from berth_inference.errors import invalid


@dataclass(frozen=True, slots=True)
class Grammar:
    """Any JSON object, or JSON that a schema allows.

    `schema` is JSON text. Properties are generated in its order, so it is kept.
    """

    kind: Literal["json_object", "json_schema"]
    schema: str = '{"type":"object"}'

    @classmethod
    def json_object(cls) -> Grammar:
        """Any JSON object."""
        return cls("json_object")

    @classmethod
    def json_schema(cls, schema: Any) -> Grammar:
        """What a JSON Schema allows (draft 2020-12). Whether it can be enforced only the engine can say."""
        try:
            return cls("json_schema", json.dumps(schema, separators=(",", ":")))
        except RecursionError:
            raise invalid("response_format", "has a schema that is nested too deeply.") from None
