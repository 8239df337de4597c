"""A time in a payload, read once and checked."""

from collections.abc import Callable

from features import times
from features.definitions import TimeField
from streams.wire.records import DecodeError, Refusal

Reader = Callable[[object], int]


def stamp_reader(declared: TimeField) -> Reader:
    """A function from a JSON value to microseconds UTC.

    Integers and floats are in the declared unit, else in the unit in which they are a time between 1971 and
    2099; texts are ISO 8601. A stamp that is a time only in another unit than the declared one is refused.

    Examples
    --------
    >>> stamp_reader(TimeField(field="ts"))(1_700_000_000)
    1700000000000000
    """
    unit = times.UNIT_NAMES[declared.unit] if declared.unit else None
    name = declared.field
    factor = int(unit) if unit is not None and unit > 0 else 0  # a plain number: one multiplication per row

    def read(value: object) -> int:
        if factor and type(value) is int and times.EARLIEST_US <= (time_us := value * factor) <= times.LATEST_US:
            return time_us
        if isinstance(value, str):
            return _iso(name, value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise DecodeError(Refusal.WRONG_TYPE, f"{name}: expected a time, found {_shown(value)}")
        used = unit
        if used is None:
            used = times.unit_of(int(value)) if abs(value) < 1e19 else None
            if used is None:
                raise DecodeError(
                    Refusal.TIME_RANGE,
                    f"{name}: {value!r} is no time between 1971 and 2099 in s, ms, us or ns",
                )
        time_us = times.to_us(value, used) if isinstance(value, int) else _float_us(value, used)
        if not times.EARLIEST_US <= time_us <= times.LATEST_US:
            raise _misplaced(name, value, declared)
        return time_us

    return read


def _float_us(value: float, unit: times.Unit) -> int:
    if not abs(value) < 1e19:  # also NaN
        return 0
    return round(value / 1000) if unit is times.Unit.NANOSECOND else round(value * unit)


def _iso(name: str, text: str) -> int:
    try:
        time_us = times.parse_iso_us(text)
    except ValueError:
        raise DecodeError(Refusal.WRONG_TYPE, f"{name}: expected a time, found {_shown(text)}") from None
    if not times.EARLIEST_US <= time_us <= times.LATEST_US:
        raise DecodeError(Refusal.TIME_RANGE, f"{name}: {text!r} is not between 1971 and 2099")
    return time_us


def _misplaced(name: str, value: int | float, declared: TimeField) -> DecodeError:
    likely = times.unit_of(int(value)) if abs(value) < 1e19 else None
    if likely is None:
        return DecodeError(Refusal.TIME_RANGE, f"{name}: {value!r} is no time between 1971 and 2099 in {declared.unit}")
    found = next(short for short, unit in times.UNIT_NAMES.items() if unit is likely)
    return DecodeError(Refusal.TIME_UNIT, f"{name}: declared in {declared.unit}, {value!r} looks like {found}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
