"""Types of JSON values as clients really send them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError


def integral(value: Any) -> Any:
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


_INTEGRAL = BeforeValidator(integral)

# Bounds come before the validator: behind it, they are left out of the JSON schema.
Positive = Annotated[int, Field(strict=True, ge=1), _INTEGRAL]
Natural = Annotated[int, Field(strict=True, ge=0), _INTEGRAL]
NaturalOrOff = Annotated[int, Field(strict=True, ge=-1), _INTEGRAL]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**63), _INTEGRAL]
SignedSeed = Annotated[int, Field(strict=True, ge=-(2**63), lt=2**63), _INTEGRAL]
FewLikeliest = Annotated[int, Field(strict=True, ge=0, le=20), _INTEGRAL]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Flag = Annotated[bool, Field(strict=True)]
Text = Annotated[str, Field(strict=True)]
LISTED = BeforeValidator(_listed, json_schema_input_type=Natural | tuple[Natural, ...])
TokenIds = Annotated[tuple[Natural, ...], LISTED]
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

    schema = {"description": f"Refused: {advice}", "enum": [None, *neutral]}
    return Annotated[Any, PlainValidator(check), WithJsonSchema(schema)]
