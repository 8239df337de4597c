"""Durations, moments, sizes and tolerances as people type them on a command line."""

import re
from typing import Any

import click

_SIZES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_SIZE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?\s*$", re.IGNORECASE)

#: A century: longer durations are slips of the hand, and times may be added to them without overflow.
DURATION_MAX_US = 100 * 365 * 86_400_000_000


class Duration(click.ParamType):
    """Microseconds of "250ms", "30s", "5m"; at least `least_us`."""

    name = "duration"

    def __init__(self, least_us: int = 0) -> None:
        self.least_us = least_us

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The duration, or a complaint with examples."""
        from features.times import parse_duration_us

        if isinstance(value, int):
            return value
        try:
            found = 0 if value.strip() == "0" else parse_duration_us(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if not self.least_us <= found <= DURATION_MAX_US:
            self.fail(f"expected {self.least_us} us to 36500d, found {value!r}", param, ctx)
        return found


class Moment(click.ParamType):
    """Microseconds UTC of an ISO 8601 stamp, or of an integer whose unit is found by magnitude."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The moment, or a complaint."""
        from features.times import parse_iso_us, to_us, unit_of

        if isinstance(value, int):
            return value
        text = value.strip()
        if re.fullmatch(r"\d{5,}", text):
            unit = unit_of(int(text))
            if unit is not None:
                return to_us(int(text), unit)
            self.fail(f"expected a time between 1971 and 2099, found {text!r}", param, ctx)
        try:
            return parse_iso_us(text)
        except ValueError:
            self.fail(f"expected a time such as 2026-03-01T12:00:00Z or 1700000000, found {value!r}", param, ctx)


class Covers(click.ParamType):
    """A half-open range of moments, "FROM..TO"; an end that is left away is open."""

    name = "range"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """The range, or a complaint."""
        from features.times import FOREVER_US, NEVER_US

        if isinstance(value, tuple):
            return value
        first, dots, last = value.partition("..")
        if not dots:
            self.fail(f"expected FROM..TO, such as 2026-01-01..2026-02-01, found {value!r}", param, ctx)
        start = Moment().convert(first, param, ctx) if first.strip() else NEVER_US
        end = Moment().convert(last, param, ctx) if last.strip() else FOREVER_US
        if start >= end:
            self.fail(f"expected FROM before TO, found {value!r}", param, ctx)
        return start, end


class Tolerance(click.ParamType):
    """ "NAME=X": a feature and how far equal values may lie apart."""

    name = "tolerance"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float]:
        """The pair, or a complaint."""
        if isinstance(value, tuple):
            return value
        name, _, text = value.rpartition("=")
        try:
            found = float(text)
        except ValueError:
            found = -1.0
        if not name or not 0 <= found < float("inf"):
            self.fail(f"expected NAME=X with X a number from 0 on, such as amount=0.01, found {value!r}", param, ctx)
        return name, found


class Size(click.ParamType):
    """Bytes of "512MB", "2GiB"."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The size, or a complaint."""
        if isinstance(value, int):
            return value
        match = _SIZE.match(value)
        if match is None:
            self.fail(f"expected a size such as 512MB or 2GiB, found {value!r}", param, ctx)
        found = int(float(match[1]) * _SIZES[(match[2] or "").lower()])
        if found < 1:
            self.fail(f"expected a size above 0, found {value!r}", param, ctx)
        return found


DURATION, MOMENT, COVERS, TOLERANCE, SIZE = Duration(), Moment(), Covers(), Tolerance(), Size()
#: A stamp is an interval, and an interval of nothing would hold no instant.
RESOLUTION = Duration(least_us=1)


def half_of_memory() -> int:
    """Half of this machine's memory, bytes."""
    import os

    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
