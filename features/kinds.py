"""What kind of values does a column hold, and how does one of them look?"""

import json
import math
from enum import StrEnum
from typing import Any

import pyarrow as pa

from features import lineage
from features.plain import plain

_SHOWN_MAX = 200


class Kind(StrEnum):
    """How the values of one feature are compared.

    Examples
    --------
    >>> str(Kind.TIME)
    'time'
    """

    NUMBER = "number"
    NUMBER_32 = "number32"  # one side holds 32-bit floats: both are compared as such
    TEXT = "text"
    BOOL = "bool"
    TIME = "time"
    NESTED = "nested"


def kind_of(arrow: pa.DataType) -> Kind:
    """What the Arrow type of a plain column says.

    Examples
    --------
    >>> str(kind_of(pa.int8())), str(kind_of(pa.list_(pa.int8())))
    ('number', 'nested')
    """
    if pa.types.is_boolean(arrow):
        return Kind.BOOL
    if pa.types.is_integer(arrow) or pa.types.is_floating(arrow) or pa.types.is_decimal(arrow):
        return Kind.NUMBER
    if pa.types.is_temporal(arrow) and not pa.types.is_interval(arrow):
        return Kind.TIME
    return Kind.NESTED if pa.types.is_nested(arrow) else Kind.TEXT


def shown(column: pa.Array | pa.ChunkedArray, row: int, *, letters_max: int | None = _SHOWN_MAX) -> str | None:
    """One value as people see it, cut to `letters_max` letters (None: not at all); None for NULL and NaN.

    Examples
    --------
    >>> shown(pa.array([3.0]), 0), shown(pa.array([[1, None]]), 0), shown(pa.array([None]), 0)
    ('3', '[1, null]', None)
    >>> shown(pa.array([1_700_000_000], pa.timestamp("s", "UTC")), 0)
    '2023-11-14 22:13:20Z'
    """
    one = plain(column.slice(row, 1))
    scalar = one[0]
    if not scalar.is_valid:
        return None
    kind = one.type
    if pa.types.is_nested(kind):
        text = json.dumps(_jsonable(scalar.as_py()), ensure_ascii=False)
    elif pa.types.is_temporal(kind):
        text = _arrow_text(one)
    else:
        value = scalar.as_py()
        if isinstance(value, bytes):
            value = value.decode(errors="backslashreplace")
        text = lineage.canonical(value if isinstance(value, bool | int | float | str) else str(value))  # type: ignore[assignment]
    if text is None or letters_max is None or len(text) <= letters_max:
        return text
    return text[: letters_max - 1] + "…"


def _arrow_text(one: pa.Array) -> str:
    """Arrow's own text knows times that Python has no object for."""
    try:
        return str(one.cast(pa.large_utf8())[0].as_py())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return str(one[0])


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if value is None or isinstance(value, bool | int | str):
        return value
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
