"""Rows read together are the rows read one by one: whatever comes, nobody behind the seam can tell."""

import json
from typing import Any

import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from features.definitions import Definitions, Run, Source, TimeField
from streams.wire.records import AT_ITS_OWN_TIME, PlainRecord
from streams.wire.rows import RowDecoder

T_MS = 1_700_000_000_000
KINDS: dict[str, Any] = {"page": "text", "amount": "number", "ok": "bool", "what": "any"}
SOURCES = [
    Source(name="s", topic="t", entity_type="user", entity_field="user_id", kinds=KINDS, **more)
    for more in (
        {"event_time": TimeField(field="ts", unit="ms")},
        {"event_time": TimeField(field="ts"), "ingest_time": TimeField(field="at", unit="us"), "txid": "tx"},
        {"write_time": TimeField(field="ts", unit="ns"), "visible_time": TimeField(field="at")},
    )
]

_GOOD = {"user_id": 42, "ts": T_MS, "at": T_MS * 1000, "page": "x", "amount": 1.5, "ok": True, "what": 3, "more": 1}
stamps = st.sampled_from(
    [T_MS, T_MS * 1000, T_MS * 10**6 + 999, T_MS // 1000, 0, -1, 2**63, "2023-11-14T22:13:20Z", 1.5]
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=3), st.floats(), st.just(2**53 + 1), st.just(10**400)
)
fields: dict[str, st.SearchStrategy[Any]] = {
    "user_id": st.one_of(st.integers(0, 5), st.text(max_size=2), scalars), "ts": stamps, "at": stamps,
    "tx": scalars, "more": st.one_of(scalars, st.lists(scalars, max_size=2)),
} | dict.fromkeys(KINDS, scalars)  # fmt: skip
bodies = st.one_of(
    st.just(_GOOD),
    st.tuples(st.just(_GOOD), st.fixed_dictionaries({}, optional=fields)).map(lambda p: {**p[0], **p[1]}),
    st.fixed_dictionaries({}, optional=fields),
)
texts = st.builds(
    lambda body, is_ascii: json.dumps(body, ensure_ascii=is_ascii).encode("utf-8", "replace"), bodies, st.booleans()
)
pieces = st.sampled_from([b'"ts":1,', b"1e999", b"\\u0041", b"[", b"-0.0", b" "])
#: One byte of a text replaced, or something put into it.
broken = st.builds(
    lambda text, at, new: text[: at % len(text)] + new + text[at % len(text) + len(new) % 2 :],
    texts,
    st.integers(0, 400),
    st.one_of(st.binary(min_size=1, max_size=2), pieces),
)
sources = st.sampled_from(SOURCES)
values = st.lists(st.one_of(texts, texts, broken, st.none()), max_size=6)


def read(source: Source, records: list[PlainRecord], *, home: int | None, now_us: int, together: bool) -> Any:
    declared = Definitions(run=Run(partitions=3), sources={"s": source}, features={}, models={})
    decoder = RowDecoder(declared, source, home=home)
    decoder.few = 0 if together else len(records) + 1
    found = decoder.sort(records, topic="t", partition=2, received_us=now_us)
    batches = [decoder.columns(part) for part in found.split(3)]
    return decoder.columns(found), batches, found.foreign, found.rejected, found.empty, found.duplicates


def shown(batch: pa.RecordBatch) -> tuple[Any, str]:
    return batch.schema, repr(batch.to_pydict())  # NaN is NaN


@settings(max_examples=250, deadline=None)
@given(values, sources, st.sampled_from([None, 0]), st.sampled_from([AT_ITS_OWN_TIME, 5]), st.booleans())
@example([json.dumps(_GOOD).encode().replace(b'"more": 1', b'"more": 1e999')], SOURCES[0], None, 5, True)
@example([json.dumps(_GOOD).encode().replace(b'"more": 1', b'"more": "\xff"')] * 2, SOURCES[0], None, 5, True)
@example([json.dumps({**_GOOD, "amount": 2**53 + 1}).encode(), json.dumps(_GOOD).encode()], SOURCES[0], None, 5, True)
def test_rows_read_together_are_the_rows_read_one_by_one(values, source, home, now_us, is_append):
    """The complete reader is the twin: rows, what lives elsewhere, and every refusal with its reason."""
    records = [PlainRecord(i, v, b"k", T_MS + i, is_append and i % 2 == 0) for i, v in enumerate(values)]
    slow = read(source, records, home=home, now_us=now_us, together=False)
    fast = read(source, records, home=home, now_us=now_us, together=True)
    assert shown(fast[0]) == shown(slow[0])
    assert [shown(b) for b in fast[1]] == [shown(b) for b in slow[1]]
    assert fast[2:] == slow[2:]


def test_records_without_doubt_are_read_together():
    """Else everything would be right and slow, and nobody would notice."""
    decoder = RowDecoder(Definitions(run=Run(), sources={}, features={}, models={}), SOURCES[0], home=None)
    records = [PlainRecord(i, json.dumps(_GOOD).encode()) for i in range(99)] + [PlainRecord(99, b"{}")]
    found = decoder.sort(records, topic="t", partition=0, received_us=5)
    assert found.together is not None
    assert found.together.num_rows == 99
    assert (len(found.rows), len(found.rejected)) == (0, 1)
