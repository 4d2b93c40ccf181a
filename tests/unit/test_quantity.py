"""Kubernetes quantities and durations are read and written exactly."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_operator.quantity import (
    GIB,
    MIB,
    bytes_of,
    format_bytes,
    gibibytes,
    parse_duration,
    parse_quantity,
    round_up_bytes,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", "0"),
        ("4", "4"),
        ("500m", "0.5"),
        ("1.5", "1.5"),
        (".5", "0.5"),
        ("1.", "1"),
        ("+2", "2"),
        ("-2", "-2"),
        ("16Gi", str(16 * 2**30)),
        ("0.5Gi", str(2**29)),
        ("1k", "1000"),
        ("1Ki", "1024"),
        ("250M", "250000000"),
        ("1e3", "1000"),
        ("1E3", "1000"),
        ("2E", "2000000000000000000"),
        ("100u", "0.0001"),
        ("1n", "0.000000001"),
    ],
)
def test_a_quantity_has_its_exact_value(text: str, value: str) -> None:
    assert parse_quantity(text) == Decimal(value)


@pytest.mark.parametrize(
    "text", ["", " ", "Gi", "16 Gi", "16gi", "16GB", "1e", "--1", "1_000", "٣", "inf", "nan", "1e999"]
)
def test_what_is_no_quantity_is_refused_with_the_forms_that_are(text: str) -> None:
    with pytest.raises(ValueError, match="16Gi, 500m or 4"):
        parse_quantity(text)


@pytest.mark.parametrize(("text", "count"), [("1", 1), ("1.5", 2), ("100m", 1), ("1.1Ki", 1127)])
def test_a_part_of_a_byte_counts_as_a_byte(text: str, count: int) -> None:
    assert bytes_of(text) == count


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0"), (1000, "1000"), (1024, "1Ki"), (16 * GIB, "16Gi"), (1280 * MIB, "1280Mi")]
)
def test_bytes_are_written_in_the_largest_unit_that_is_exact(count: int, text: str) -> None:
    assert format_bytes(count) == text


@given(st.integers(min_value=0, max_value=2**70))
def test_written_bytes_read_back_as_they_were(count: int) -> None:
    assert bytes_of(format_bytes(count)) == count


@pytest.mark.parametrize(
    ("count", "unit", "text"),
    [(GIB, GIB, "1Gi"), (GIB + 1, GIB, "2Gi"), (3 * MIB - 1, MIB, "3Mi"), (0, GIB, "0")],
)
def test_rounding_up_never_loses_a_byte(count: int, unit: int, text: str) -> None:
    assert round_up_bytes(count, unit) == text


def test_people_read_gibibytes_to_one_decimal() -> None:
    assert gibibytes(7_642_159_104) == "7.1 GiB"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30m", 1800), ("90s", 90), ("1h", 3600), ("1h30m", 5400), ("1h1m1s", 3661), ("0s", 0)],
)
def test_a_duration_is_seconds(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "30 m", "m", "1.5h", "30m1h", "-1m", "1d"])
def test_what_is_no_duration_is_refused_with_the_forms_that_are(text: str) -> None:
    with pytest.raises(ValueError, match="30m, 90s or 1h30m"):
        parse_duration(text)
