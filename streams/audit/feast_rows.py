"""Which rows do the file of a feature view and a table of moments hold, in one form?

Entities become texts, times nanoseconds UTC: as fine as Feast compares them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.plain import plain
from features.stamps import StampError, read_stamps
from streams.audit.feast import View
from streams.audit.feast_files import FeastError

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

#: Column of Feast's entity table.
MOMENT = "event_timestamp"

#: No time: sorts before every real one.
NONE = -(2**63)


@dataclass(frozen=True, slots=True)
class Moments:
    entity: pa.Array
    ns: Int64
    note: str = ""


class Source:
    """The rows of a view's file, with the names that the view gives its columns."""

    def __init__(self, view: View) -> None:
        back = {new: old for old, new in view.field_mapping.items()}
        stamps = [view.timestamp_field, *([view.created_column] if view.created_column else [])]
        wanted = list(dict.fromkeys([*view.join_keys, *stamps, *view.features]))
        try:
            table = pq.read_table(view.path, columns=[back.get(name, name) for name in wanted])
        except (pa.ArrowInvalid, OSError) as error:
            raise FeastError(f"{view.path}: expected Parquet, found {error}") from None
        self.table = table.select([back.get(name, name) for name in wanted]).rename_columns(wanted)
        self.entity, has_key = entity_texts([self.table.column(k) for k in view.join_keys], self.table.num_rows)
        self.event = _file_stamps(view, self.table, view.timestamp_field)
        created = view.created_column
        self.created = _file_stamps(view, self.table, created) if created else np.full(self.event.size, NONE)
        self.unit = _finer([self.table.schema.field(name).type.unit for name in stamps])
        self.is_usable = has_key & (self.event != NONE)


def asked(entity_rows: pa.Table, view: View, moment: str | None) -> Moments:
    missing = [key for key in view.join_keys if key not in entity_rows.column_names]
    if missing:
        raise FeastError(
            f"expected the join keys of view {view.name} in the entity table, found no {', '.join(missing)} "
            f"among {', '.join(entity_rows.column_names)}"
        )
    column = entity_rows.column(_moment_column(entity_rows, moment))
    entity, has_key = entity_texts([entity_rows.column(key) for key in view.join_keys], entity_rows.num_rows)
    if not has_key.all():
        raise FeastError(
            f"entity table, row {int((~has_key).argmax())}: expected {', '.join(view.join_keys)}, found NULL"
        )
    try:
        ns = _ns(column) if pa.types.is_timestamp(column.type) else read_stamps(plain(column)).us
    except (StampError, pa.ArrowInvalid) as error:
        raise FeastError(f"entity table, column {moment or MOMENT}: {error}") from None
    if not pa.types.is_timestamp(column.type):
        ns = np.where(ns == NONE, ns, ns * 1_000)
    if (ns == NONE).any():
        raise FeastError(f"entity table, row {int((ns == NONE).argmax())}: expected a moment, found NULL")
    return Moments(entity, ns)


def _moment_column(entity_rows: pa.Table, moment: str | None) -> str:
    if (moment or MOMENT) in entity_rows.column_names:
        return moment or MOMENT
    stamps = [field.name for field in entity_rows.schema if pa.types.is_timestamp(field.type)]
    if moment is None and len(stamps) == 1:
        return str(stamps[0])
    raise FeastError(
        f"expected the column {moment or MOMENT!r} in the entity table, or one timestamp column, "
        f"found {', '.join(entity_rows.column_names)}"
    )


def entity_texts(keys: Sequence[pa.ChunkedArray], rows: int) -> tuple[pa.Array, Bool]:
    """The entity of each row as text, and whether it has one: a compact JSON array of texts for several keys.

    Whole numbers are written alike whatever their type, as the join compares 7 and 7.0 as equal.

    Examples
    --------
    >>> texts, _ = entity_texts([pa.chunked_array([[7.0, 8.0]]), pa.chunked_array([["a", 'b"']])], 2)
    >>> texts.to_pylist()
    ['["7","a"]', '["8","b\\\\""]']
    >>> entity_texts([pa.chunked_array([[7, None]])], 2)[0].to_pylist()
    ['7', None]
    """
    if not keys:
        return pa.array(["all"] * rows, pa.large_utf8()), np.ones(rows, np.bool_)
    texts = [_texts(plain(key)) for key in keys]
    if len(texts) == 1:
        return texts[0], texts[0].is_valid().to_numpy(zero_copy_only=False)
    quoted = []
    for text in texts:
        coded = text.dictionary_encode()
        words = [json.dumps(word, ensure_ascii=False) for word in coded.dictionary.to_pylist()]
        quoted.append(pa.array(words, pa.large_utf8()).take(coded.indices))
    comma, opening, closing, nothing = (pa.scalar(mark, pa.large_utf8()) for mark in (",", "[", "]", ""))
    inner = pc.binary_join_element_wise(*quoted, comma)
    entity = pc.binary_join_element_wise(opening, inner, closing, nothing)
    return entity, entity.is_valid().to_numpy(zero_copy_only=False)


def _texts(key: pa.Array) -> pa.Array:
    if pa.types.is_floating(key.type):
        key = pc.if_else(pc.is_nan(key), None, key)
        whole = pc.all(pc.equal(key, pc.floor(key))).as_py() is not False
        if whole and pc.all(pc.less(pc.abs(key), 2**53)).as_py() is not False:
            key = key.cast(pa.int64())
    return key.cast(pa.large_utf8())


def _file_stamps(view: View, table: pa.Table, name: str) -> Int64:
    column = table.column(name)
    if not pa.types.is_timestamp(column.type):
        raise FeastError(
            f"{view.path}: expected timestamps in the column {name!r}, as Feast does, found {column.type}; "
            "write it as a timestamp column"
        )
    try:
        return _ns(column)
    except pa.ArrowInvalid as error:
        raise FeastError(f"{view.path}: column {name!r}: expected times between 1678 and 2261, found {error}") from None


def _ns(column: pa.ChunkedArray) -> Int64:
    """int64[n]: nanoseconds UTC, so that the join compares as finely as Feast does."""
    kind = plain(column)
    numbers = kind.cast(pa.timestamp("ns", kind.type.tz)).cast(pa.int64())
    ns: Int64 = numbers.fill_null(NONE).to_numpy().astype(np.int64)
    return ns


def times(ns: Int64, unit: str = "us") -> pa.Array:
    """Timestamps in UTC from nanoseconds; `NONE` is NULL.

    Examples
    --------
    >>> times(np.array([1_700_000_000_000_000_000, NONE]), "s").cast(pa.int64()).to_pylist()
    [1700000000, None]
    """
    per_unit = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000}[unit]
    return pa.array(ns // per_unit, pa.timestamp(unit, "UTC"), mask=ns == NONE)


def _finer(units: Sequence[str]) -> str:
    """The finest of the units, microseconds at most: how finely times are written is evidence, too."""
    return next(unit for unit in ("us", "ms", "s") if unit in [u.replace("ns", "us") for u in units])
