"""Types of JSON values as clients really send them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError


def _integral(value: Any) -> Any:
    """200.0 is an integer in JSON, whichever way a client's language printed it."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _listed(value: Any) -> Any:
    """One token id is a list of one."""
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else value


def _early_stopping(value: Any) -> bool | Literal["never"] | None:
    if value is None or isinstance(value, bool):
        return value
    if value == "never":
        return "never"
    if isinstance(value, str):
        raise PydanticCustomError("literal_error", "must be true, false or 'never'")
    raise PydanticCustomError("bool_type", "must be true, false or 'never'")


Integer = Annotated[int, Field(strict=True), BeforeValidator(_integral)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Flag = Annotated[bool, Field(strict=True)]
Text = Annotated[str, Field(strict=True)]
TokenId = Annotated[Integer, Field(ge=0)]
TokenIds = Annotated[tuple[TokenId, ...], BeforeValidator(_listed)]
EarlyStopping = Annotated[
    bool | Literal["never"] | None,
    PlainValidator(_early_stopping),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"const": "never"}, {"type": "null"}]}),
]


def refused(advice: str, *neutral: Any) -> Any:
    """Type of an argument that cannot be honoured: only values that ask for nothing pass."""

    def check(value: Any) -> Any:
        # 1 == True in Python, but not in JSON.
        alike = [plain for plain in neutral if isinstance(value, bool) == isinstance(plain, bool)]
        if value is None or value in alike:
            return value
        raise PydanticCustomError("refused", "is not supported: {advice}", {"advice": advice})

    return Annotated[Any, PlainValidator(check), WithJsonSchema({"description": f"Refused: {advice}"})]
