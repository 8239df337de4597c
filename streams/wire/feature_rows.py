"""Current rows of feature groups as records: many at a time, equal to `FeatureRow` one by one."""

from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.canonical import number_texts, scalar_of
from features.lineage import show_id
from streams.pipeline.effects import FeatureRows
from streams.wire.outgoing import FORMAT, CurrentValue, FeatureRow, encode, json_key

#: What JSON escapes in a text (RFC 8259, section 7).
_ESCAPED = r'["\\\x00-\x1f]'
#: Fewer rows are quicker made one by one: calls into Arrow cost some 300 us in all (measured).
FEW = 32
_json = msgspec.json.Encoder()


def encode_rows(rows: FeatureRows, generation: int, *, few: int = FEW) -> tuple[list[bytes], list[bytes]]:
    """Keys and values of the records, in order.

    Parameters
    ----------
    few
        Fewer rows are encoded one by one.

    Examples
    --------
    >>> from features.engine import Present
    >>> count = (np.array([3.0]), np.array([7]), np.array([255], np.uint64))
    >>> keys, values = encode_rows(FeatureRows("user", "clicks", 9, Present(pa.array(["42"]), {"n": count})), 1)
    >>> keys
    [b'["user","42","clicks"]']
    >>> msgspec.json.decode(values[0])["values"]
    {'n': {'value': 3, 'id': '00000000000000ff', 'event_time_us': 7}}
    """
    if len(rows.present.entities) < few:
        return _one_by_one(rows, generation)
    kind, group = _text(rows.entity_type), _text(rows.group)
    entities = _quoted(rows.present.entities)
    keys = _joined(f"[{kind},", entities, f",{group}]")
    cells = [_cell(name, *column) for name, column in rows.present.columns.items()]
    values = _with_commas(cells)
    before = f',"group":{group},"offset":{rows.offset},"generation":{generation},"values":{{'
    records = _joined(f'{{"entity_type":{kind},"entity":', entities, before, values, f'}},"format":{FORMAT}}}')
    return _bytes(keys), _bytes(records)


def _one_by_one(rows: FeatureRows, generation: int) -> tuple[list[bytes], list[bytes]]:
    entities = rows.present.entities.to_pylist()
    current: list[dict[str, CurrentValue]] = [{} for _ in entities]
    for name, (values, time_us, ids) in rows.present.columns.items():
        scalars = values if isinstance(values, list) else [scalar_of(x) for x in values.tolist()]
        for i, (value, at_us, version) in enumerate(zip(scalars, time_us.tolist(), ids.tolist(), strict=True)):
            if version:
                current[i][name] = CurrentValue(value, show_id(version), at_us)
    records = [
        encode(FeatureRow(rows.entity_type, entity, rows.group, rows.offset, generation, cells))
        for entity, cells in zip(entities, current, strict=True)
    ]
    return [json_key(rows.entity_type, entity, rows.group) for entity in entities], records


def _cell(name: str, values: Any, time_us: npt.NDArray[np.int64], ids: npt.NDArray[np.uint64]) -> pa.Array:
    """One feature of each row, null where it is absent."""
    if isinstance(values, list):
        shown = pa.array([_json.encode(x).decode() for x in values], pa.utf8())
    else:
        shown = number_texts(values).fill_null("null")
    times = pa.array(time_us, mask=ids == 0).cast(pa.utf8())
    return _joined(f'{_text(name)}:{{"value":', shown, ',"id":"', _hexadecimal(ids), '","event_time_us":', times, "}")


def _with_commas(cells: list[pa.Array]) -> pa.Array:
    """The cells of each row that are there; `null_handling="skip"` loses rows without any (Arrow 26)."""
    if not any(cell.null_count for cell in cells):
        return pc.binary_join_element_wise(*cells, ",")
    behind_commas = _joined(*(_joined(",", cell).fill_null("") for cell in cells))
    return pc.utf8_slice_codeunits(behind_commas, 1)  # `binary_slice` fails on empty ones


def _hexadecimal(ids: npt.NDArray[np.uint64]) -> pa.Array:
    digits = ids.astype(">u8").tobytes().hex().encode()
    bounds = np.arange(ids.size + 1, dtype=np.int32) * 16
    return pa.StringArray.from_buffers(ids.size, pa.py_buffer(bounds), pa.py_buffer(digits))


def _quoted(texts: pa.Array) -> pa.Array:
    """Texts as JSON shows them."""
    if pc.any(pc.match_substring_regex(texts, _ESCAPED)).as_py():
        return pa.array([_text(t) for t in texts.to_pylist()], pa.utf8())
    return _joined('"', texts, '"')


def _text(text: str) -> str:
    return _json.encode(text).decode()


def _joined(*parts: Any) -> pa.Array:
    return pc.binary_join_element_wise(*parts, "")


def _bytes(texts: pa.Array) -> list[bytes]:
    """Quicker than making a scalar of each."""
    _, bounds, content = texts.buffers()
    at = np.frombuffer(bounds, np.int32)[texts.offset : texts.offset + len(texts) + 1].tolist()
    body = content.to_pybytes() if content is not None else b""
    return [body[start:end] for start, end in pairwise(at)]
