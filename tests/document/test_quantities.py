from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_stagecoach.document.quantities import (
    MAX_BYTES,
    MIN_BYTES,
    QuantityError,
    parse_bytes,
    parse_cpu,
)


@pytest.mark.parametrize(
    ("value", "cores"),
    [
        (1, 1),
        (0.5, 0.5),
        ("0.5", 0.5),
        ("500m", 0.5),
        ("1500m", 1.5),
        ("2000m", 2),
        (" 2 ", 2),
        ("1m", 0.001),
        (0.001, 0.001),
        (4096, 4096),
        ("0.1", 0.1),
        (0.1, 0.1),
    ],
)
def test_cpu(value: object, cores: float) -> None:
    found = parse_cpu(value)
    assert found == cores
    assert type(found) is type(cores)


@pytest.mark.parametrize(
    "value",
    [0, -1, "0", "0m", "0.5m", 0.0001, 4097, "", "m", "1M", "1Ki", "1 core", "1e3", True, None, [], float("nan"), float("inf")],
)  # fmt: skip
def test_no_cpu(value: object) -> None:
    with pytest.raises(QuantityError):
        parse_cpu(value)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("1Gi", 1073741824),
        ("1G", 1_000_000_000),
        ("512Mi", 536870912),
        ("64Mi", 67108864),
        ("500M", 500_000_000),
        ("1.5Gi", 1610612736),
        ("2Ti", 2199023255552),
        ("1T", 10**12),
        ("2048Ki", 2097152),
        ("2000K", 2_000_000),
        ("2000k", 2_000_000),
        ("1 Gi", 1073741824),
        (134217728, 134217728),
        ("134217728", 134217728),
        ("2.0000001M", 2_000_001),
    ],
)
def test_bytes(value: object, size: int) -> None:
    assert parse_bytes(value) == size


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("512m", "write 512Mi"),
        ("512MB", "write 512M"),
        ("1g", "write 1Gi"),
        ("2gib", "write 2Gi"),
        ("512", "write 512Mi"),
        (512, "write 512Mi"),
        ("1Ei", None),
        ("1 apple", None),
        ("", None),
        ("Gi", None),
        ("-1Gi", None),
        (0, None),
        (1.5, None),
        (True, None),
        (None, None),
        ("999999999Ti", None),
    ],
)
def test_no_bytes(value: object, hint: str | None) -> None:
    with pytest.raises(QuantityError) as error:
        parse_bytes(value)
    assert error.value.hint == hint


@given(st.integers(1, 4_096_000))
def test_thousandths_of_a_core(thousandths: int) -> None:
    assert parse_cpu(f"{thousandths}m") == thousandths / 1000
    assert parse_cpu(thousandths / 1000) == thousandths / 1000


@given(st.integers(1, 999), st.sampled_from(["M", "G", "T", "Mi", "Gi", "Ti"]))
def test_every_unit(number: int, unit: str) -> None:
    base = 1024 if unit.endswith("i") else 1000
    expected = number * base ** (" KMGT".index(unit[0]))
    if expected < MIN_BYTES:
        with pytest.raises(QuantityError):
            parse_bytes(f"{number}{unit}")
    else:
        assert parse_bytes(f"{number}{unit}") == expected


@given(st.integers(MIN_BYTES, MAX_BYTES))
def test_plain_bytes(number: int) -> None:
    assert parse_bytes(number) == parse_bytes(str(number)) == number


@given(st.text(max_size=20) | st.floats() | st.integers() | st.none() | st.booleans())
def test_any_value_is_an_amount_or_an_error_of_ours(value: object) -> None:
    for parse in (parse_cpu, parse_bytes):
        try:
            amount = parse(value)
        except QuantityError:
            pass
        else:
            assert amount > 0
            assert parse(amount) == amount
