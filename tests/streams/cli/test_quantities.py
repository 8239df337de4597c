"""What people type for durations, moments and sizes."""

from typing import Any

import click
import pytest

from features.times import FOREVER_US, NEVER_US
from streams.cli.quantities import COVERS, DURATION, MOMENT, SIZE, TOLERANCE

T_US = 1_700_000_000_000_000


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (DURATION, "0", 0),
        (DURATION, "250ms", 250_000),
        (MOMENT, "1700000000", T_US),
        (MOMENT, "2023-11-14T22:13:20Z", T_US),
        (COVERS, "1700000000..1700000001000", (T_US, T_US + 1_000_000)),
        (COVERS, "1700000000..", (T_US, FOREVER_US)),
        (COVERS, "..1700000000", (NEVER_US, T_US)),
        (SIZE, "2GiB", 2**31),
        (SIZE, "1", 1),
        (TOLERANCE, "a=b=0.5", ("a=b", 0.5)),
    ],
)
def test_it_means_what_it_says(kind: click.ParamType, text: str, value: Any):
    """The units of the contract, and open ends."""
    assert kind.convert(text, None, None) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (DURATION, "5x"),
        (MOMENT, "12"),
        (COVERS, "2026-02-01..2026-01-01"),
        (SIZE, "0"),
        (SIZE, "much"),
        (TOLERANCE, "a"),
    ],
)
def test_else_it_is_refused_with_an_example(kind: click.ParamType, text: str):
    """A guess would be an answer to another question."""
    with pytest.raises(click.BadParameter, match="expected"):
        kind.convert(text, None, None)
