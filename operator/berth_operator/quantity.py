"""Kubernetes quantities (`500m`, `16Gi`, `1.5`) and durations (`30m`, `1h30m`), read and written exactly."""

import math
import re
from decimal import Decimal
from typing import Final

_BINARY: Final = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}

_QUANTITY = re.compile(
    r"(?P<number>[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+))"
    r"(?P<suffix>[KMGTPE]i|[numkMGTPE]?|[eE][+-]?[0-9]{1,2})",
    re.ASCII,
)
_DURATION = re.compile(r"(?:(?P<h>[0-9]{1,4})h)?(?:(?P<m>[0-9]{1,6})m)?(?:(?P<s>[0-9]{1,8})s)?", re.ASCII)

GIB: Final = 2**30
MIB: Final = 2**20


def parse_quantity(text: str) -> Decimal:
    """The value of a Kubernetes quantity in its base unit (bytes, cores, pieces).

    Raises ValueError, with the forms that are understood, for anything else.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:60]!r} is not a quantity; write it as 16Gi, 500m or 4")
    number, suffix = Decimal(match["number"]), match["suffix"]
    if suffix in _BINARY:
        return number * _BINARY[suffix]
    return number.scaleb(_DECIMAL[suffix] if suffix in _DECIMAL else int(suffix[1:]))


def bytes_of(text: str) -> int:
    """A quantity of bytes as a whole number, rounded up as Kubernetes does."""
    return math.ceil(parse_quantity(text))


def format_bytes(count: int) -> str:
    """The shortest exact quantity in binary units: `16Gi` for 17179869184, `1000` for 1000."""
    for suffix, size in reversed(_BINARY.items()):
        if count and count % size == 0:
            return f"{count // size}{suffix}"
    return str(count)


def round_up_bytes(count: int, unit: int = GIB) -> str:
    """The smallest whole multiple of `unit` bytes that holds `count` bytes, as a quantity."""
    return format_bytes(math.ceil(count / unit) * unit)


def gibibytes(count: int) -> str:
    """A number of bytes for people, to one decimal: `7.1 GiB`."""
    return f"{count / GIB:.1f} GiB"


def parse_duration(text: str) -> int:
    """Seconds in a duration such as `30m`, `90s` or `1h30m`. Raises ValueError for anything else."""
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        raise ValueError(f"{text[:60]!r} is not a duration; write it as 30m, 90s or 1h30m")
    return int(match["h"] or 0) * 3600 + int(match["m"] or 0) * 60 + int(match["s"] or 0)
