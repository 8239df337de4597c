"""What leaves for the serving nodes, many rows at a time, is what `FeatureRow` says of one."""

from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st

from features.canonical import scalar_of
from features.engine import Present
from features.lineage import show_id
from streams.pipeline.effects import FeatureRows
from streams.wire.feature_rows import encode_rows
from streams.wire.outgoing import CurrentValue, FeatureRow, json_key

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
numbers = st.one_of(
    st.floats(allow_infinity=False), st.integers(-(2**54), 2**54).map(float), st.sampled_from([-0.0, 1e-5, 1e10, 1e300])
)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), texts)
ids = st.one_of(st.just(0), st.integers(1, 2**64 - 1))
rows = st.lists(st.tuples(texts, numbers, ids, scalars, ids, st.integers(-(2**62), 2**62)), max_size=5)


@example([("a", np.nan, 1, None, 1, 0), ("b", np.nan, 0, "x", 0, 0)], "user", "g", 1, 0)
@example([("a", np.nan, 1, None, 1, 0), ("b", 1.0, 2, "x", 3, 0)], "user", "g", 1, 0)
@given(rows, texts, texts, st.integers(0, 2**40), st.sampled_from([0, 0, 9]))
def test_rows_encoded_together_are_the_records_encoded_one_by_one(rows, kind, group, offset, few):
    """Keys byte for byte (compaction goes by them), values as any JSON reader sees them; absent features are absent."""
    entities, numbers, ids, scalars, others, times = (list(c) for c in zip(*rows, strict=True)) if rows else [[]] * 6
    at = np.array(times, np.int64)
    columns: dict[str, Any] = {
        'mean "x"': (np.array(numbers, np.float64), at, np.array(ids, np.uint64)),
        "plan": (scalars, at, np.array(others, np.uint64)),
    }
    present = Present(pa.array(entities, pa.utf8()), columns)
    keys, values = encode_rows(FeatureRows(kind, group, offset, present), 3, few=few)
    assert keys == [json_key(kind, entity, group) for entity in entities]
    expected = []
    for entity, number, number_id, scalar, scalar_id, time_us in rows:
        cells = {'mean "x"': (scalar_of(number), number_id), "plan": (scalar, scalar_id)}
        current = {n: CurrentValue(v, show_id(i), time_us) for n, (v, i) in cells.items() if i}
        expected.append(FeatureRow(kind, entity, group, offset, 3, current))
    decoded = [msgspec.json.decode(value, type=FeatureRow) for value in values]
    assert [repr(d) for d in decoded] == [repr(msgspec.convert(msgspec.to_builtins(e), FeatureRow)) for e in expected]
