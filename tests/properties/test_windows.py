"""The engine against its twin, on anything: values, who moved what, lateness, wherever batches are cut."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from features.kernels import newest, panes, texts
from tests.features.engines import a_window, an_engine, batch, seen
from tests.oracles.window_twin import Twin, Window

AGGREGATES = ("count", "sum", "mean", "min", "max", "last")
VALUES = st.none() | st.sampled_from([0.0, -0.0, 1.0, -2.0, 0.1, 0.2, 1e17])
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "entity": st.sampled_from("abc"),
            "event_time_us": st.integers(0, 60) | st.integers(0, 2000),
            "x": VALUES,
            "ok": st.none() | st.booleans(),
            "name": st.sampled_from([None, "n", "1", 1, 1.5, True]),
            "op": st.sampled_from([None, "c", "u", "d"]),
            "log": st.sampled_from(["t/0", "t/0", "by/0"]),
        }
    ),
    max_size=40,
)
WINDOWS = st.lists(
    st.tuples(
        st.sampled_from(AGGREGATES),
        st.sampled_from([(1, 1), (4, 2), (20, 1), (20, 4), (21, 3), (80, 2)]),
        st.sampled_from([None, "ok", "x > 0"]),
        st.sampled_from(["column", "expr", "rows"]),
    ),
    min_size=1,
    max_size=5,
)
WHERE = {None: None, "ok": lambda r: r["ok"], "x > 0": lambda r: r["x"] is not None and r["x"] > 0}
VALUE = {"column": lambda r: r["x"], "expr": lambda r: None if r["x"] is None else r["x"] * 2, "rows": None}
KINDS = {"x": "number", "ok": "bool", "name": "any"}


def both(windows, has_column, lateness):
    """The same declarations for engine and twin."""
    ours, theirs = [], []
    for i, (aggregate, (width, count), where, source) in enumerate(windows):
        source = "column" if source == "rows" and aggregate != "count" else source
        read = {"column": {"column": "x"}, "expr": {"expr": "x * 2"}, "rows": {}}[source]
        ours.append(a_window(f"f{i}", aggregate, window_us=width, panes=count, where=where, **read))
        theirs.append(Window(f"f{i}", aggregate, width // count, count, WHERE[where], VALUE[source]))
    if has_column:
        ours.append(a_window("name", None, window_us=0, column="name"))
    engine = an_engine(*ours, kinds=KINDS, lateness_us=lateness)
    return engine, Twin(theirs, lateness, ("name",) if has_column else ())


def cut(rows, lengths):
    """Consecutive rows of one log, in pieces of at most these lengths."""
    pieces, at = [], 0
    for length in [*lengths, *([len(rows)] * len(rows))]:
        if at == len(rows):
            break
        end = at + 1
        while end < len(rows) and end - at < length and rows[end]["log"] == rows[at]["log"]:
            end += 1
        pieces.append(rows[at:end])
        at = end
    return pieces


def feed(engine, pieces):
    outputs = [engine.on_rows(batch(engine.source, piece), piece[0]["log"]) for piece in pieces]
    versions = [o.versions for o in outputs]
    late = [o.late for o in outputs]
    return versions, late


def numbered(rows):
    return [row | {"offset": i} for i, row in enumerate(rows)]


def as_told(told, rows):
    """Twin versions as the engine shows them: numbers of cells of kind any only."""
    return [(*v[:4], v[4] if type(v[4]) in (int, float) else None, *v[5:]) for v in told]


@given(ROWS, WINDOWS, st.booleans(), st.sampled_from([0, 7, 25, 100]), st.lists(st.integers(1, 9), max_size=12))
def test_the_engine_agrees_with_a_loop_over_all_rows(rows, windows, has_column, lateness, lengths):
    """Same versions in the same order, same late rows, wherever batches are cut and whatever logs are mixed."""
    rows = numbered(rows)
    engine, twin = both(windows, has_column, lateness)
    versions, late = feed(engine, cut(rows, lengths))
    for row in rows:
        twin.on_row(row, row["log"])
    assert [v for b in versions for v in seen(b)] == as_told(twin.versions, rows)
    found = [r for b in late for r in b.select(["log_offset", "reason", "watermark_us"]).to_pylist()]
    assert [tuple(r.values()) for r in found] == twin.late
    ids = [i for b in versions for i in b.column("id").to_pylist()]
    assert len(set(ids)) == len(ids)


@given(ROWS, WINDOWS, st.integers(0, 40), st.sampled_from([0, 25]))
def test_restoring_in_mid_stream_changes_no_byte(rows, windows, at, lateness):
    """Crash and restore equals no crash."""
    rows = numbered(rows)
    straight, _ = both(windows, True, lateness)
    expected = feed(straight, cut(rows, []))[0]
    first, _ = both(windows, True, lateness)
    second, _ = both(windows, True, lateness)
    told = feed(first, cut(rows[:at], []))[0]
    second.restore(first.snapshot())
    told += feed(second, cut(rows[at:], []))[0]
    assert pa.Table.from_batches(told, straight_schema(told)).equals(
        pa.Table.from_batches(expected, straight_schema(expected))
    )
    everybody = np.arange(len(straight.entities), dtype=np.int32)
    assert second.current(everybody) == straight.current(everybody)


def straight_schema(batches):
    return batches[0].schema if batches else pa.schema([])


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 100), st.integers(-9, 9)), max_size=30), st.randoms())
def test_shuffling_within_the_lateness_changes_no_final_value(rows, chance):
    """Order of arrival is an accident; values are about what happened."""
    ready = [{"entity": e, "event_time_us": t, "x": float(x), "log": "t/0"} for e, t, x in rows]
    windows = [(a, (80, 4), None, "column") for a in AGGREGATES if a != "last"]  # ties of `last` go by log order
    last = [{"entity": e, "event_time_us": 101, "x": 0.0, "log": "t/0"} for e in "ab"]
    results = []
    for _ in range(2):
        engine, _ = both(windows, False, 101)
        feed(engine, cut(numbered(ready + last), [7, 3]))
        found = engine.current(np.arange(len(engine.entities), dtype=np.int32))
        results.append({engine.entities[k]: {n: v["value"] for n, v in row.items()} for k, row in found.items()})
        chance.shuffle(ready)
    assert results[0] == results[1]


def test_kernels_are_compiled():
    """Without this, a disabled JIT would make us compare Python with Python."""
    for kernel in (panes.pass_rows, newest.pass_column, texts.intern):
        assert hasattr(kernel, "py_func")
