"""A value is the same value in every Arrow type that can hold it, and no two different values are one."""

import math
import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from features import lineage
from features.comparison import (
    Evidence,
    Kind,
    cast_like,
    entity_hashes,
    hashes,
    id_hashes,
    numbers,
    resolve,
    shown,
)
from features.kernels import spelling

NUMBER_TYPES = (pa.int64(), pa.float64(), pa.string(), pa.large_string(), pa.decimal128(30, 0), pa.int32(), pa.uint64())

ints = st.integers(-(2**63), 2**64 - 1) | st.integers(-3, 3) | st.integers(2**53 - 3, 2**53 + 3)
floats = st.floats(allow_nan=True) | st.sampled_from([0.0, -0.0, 0.1, 1e308, 5e-324, 2.0**53, 2.0**60, 2.0**64])


def same(a: object, b: object) -> bool:
    """The naive twin: NULL = NULL = NaN, floats bitwise, else Python's exact equality of numbers."""
    a, b = (None if isinstance(x, float) and math.isnan(x) else x for x in (a, b))
    if a is None or b is None:
        return a is b
    return a == b and math.copysign(1, a) == math.copysign(1, b)


def of(values, kind=None) -> pa.Array:
    return pa.array(values, kind)


def observed(*columns: pa.Array, untyped: bool = False) -> Evidence:
    evidence = Evidence()
    for column in columns:
        evidence.observe(column, untyped=untyped)
    return evidence


def text(values) -> pa.Array:
    return pa.array(
        [None if v is None or (isinstance(v, float) and math.isnan(v)) else repr(v) for v in values], "string"
    )


def test_the_kernels_are_compiled():
    """Without this, a disabled JIT would hide that kernel and plain Python differ."""
    assert hasattr(spelling.read_numbers, "py_func")


@given(st.lists(st.none() | ints, max_size=12))
@example([2**63 + 5, 2**63 - 1, 2**64 - 1, -(2**63), -(2**63) + 1])
def test_integers_agree_with_the_twin_in_every_type(values):
    """Ids beyond 2**53 are where floats begin to call neighbours equal."""
    column = hashes(text(values), Kind.NUMBER)
    assert hashes(of(values, pa.decimal128(30, 0)), Kind.NUMBER).tolist() == column.tolist()
    for low, high, kind in ((-(2**63), 2**63, pa.int64()), (0, 2**64, pa.uint64())):
        fits = [v for v in values if v is None or low <= v < high]
        assert hashes(of(fits, kind), Kind.NUMBER).tolist() == hashes(text(fits), Kind.NUMBER).tolist()
    assert [[bool(a == b) for a in column] for b in column] == [[same(a, b) for a in values] for b in values]


@given(st.lists(st.none() | floats, max_size=12))
def test_floats_agree_with_the_twin_and_with_their_texts(values):
    column = hashes(of(values, pa.float64()), Kind.NUMBER)
    assert hashes(text(values), Kind.NUMBER).tolist() == column.tolist()
    assert [[bool(a == b) for a in column] for b in column] == [[same(a, b) for a in values] for b in values]


def test_what_is_too_long_for_64_bits_does_not_wrap_around():
    found = hashes(of([str(2**64 - 1), str(2**64), str(2**64 + 1), "0", "1"]), Kind.NUMBER)
    assert len(set(found.tolist())) == 5
    assert found[0] == hashes(of([2**64 - 1], pa.uint64()), Kind.NUMBER)[0]


@given(ints, floats)
def test_an_integer_equals_the_float_that_is_exactly_it(integer, number):
    for whole in (integer, int(number) if math.isfinite(number) and abs(number) < 2**63 else 1):
        pair = hashes(text([whole, number]), Kind.NUMBER)
        assert bool(pair[0] == pair[1]) == same(whole, number)


@given(st.lists(st.none() | floats, max_size=12))
def test_floats_hash_as_the_lineage_of_the_stream_does(values):
    expected = [0 if v is None else lineage.value_hash(v) for v in values]
    assert hashes(of(values, pa.float64()), Kind.NUMBER).tolist() == expected


@pytest.mark.parametrize(
    "column",
    [
        of(["42", " 42", "+42 ", "042", "42.0", "+4.2e1", "42.", " 420E-1"]),
        of([42] * 8, pa.int8()),
        of([42] * 8, pa.float16()),
        of([Decimal("42.00")] * 8),
        of(["42"] * 8).dictionary_encode(),
        of([42] * 8).dictionary_encode(),
        pa.compute.run_end_encode(of([42] * 8)),
        of([b"42"] * 8),
        of(["42"] * 8, pa.string_view()),
        of([99] + [42] * 8)[1:],
        pa.chunked_array([[42] * 3, [42] * 5]),
    ],
)
def test_forty_two_is_one_number(column):
    assert hashes(column, Kind.NUMBER).tolist() == hashes(of([42] * 8), Kind.NUMBER).tolist()


@pytest.mark.parametrize(
    "word", ["", " ", "n/a", "4 2", "4_2", "0x2a", "--1", "1e", "e1", ".", "+", "1,5", "４２", "1" * 25]
)
def test_what_is_no_number_equals_itself_alone(word):
    """An empty text is a value; a number too long to be exact stays a text, lest it equal its neighbour."""
    found = hashes(of([word, "42", None, "0"]), Kind.NUMBER)
    assert found[0] == hashes(of([word]), Kind.TEXT)[0]
    assert len(set(found.tolist())) == 4


def test_a_cell_of_32_bits_equals_the_log_that_it_was_made_from():
    """0.1 is not the nearest float32 to 0.1: compared bitwise, every cell would be a phantom."""
    log, train = of([0.1, 1e300, None, 0.5]), of([0.1, np.inf, None, 0.5], pa.float32())
    kind = resolve(observed(train), observed(log))
    assert kind is Kind.NUMBER_32
    assert hashes(train, kind).tolist() == hashes(log, kind).tolist()


times_us = st.integers(31_536_000_000_000, 4_102_444_800_000_000)


@given(st.lists(st.none() | times_us, max_size=12))
def test_times_are_equal_in_every_type(values):
    stamps = of(values, pa.timestamp("us"))
    expected = hashes(stamps, Kind.TIME).tolist()
    for column in (
        stamps.cast(pa.timestamp("ns", "Europe/Berlin")),
        stamps.cast(pa.string()),
        of(values, pa.int64()),
        of([None if v is None else float(v) for v in values], pa.float64()),
        of([None if v is None else str(v) for v in values], pa.string()),
    ):
        assert hashes(column, Kind.TIME).tolist() == expected
    assert len(set(expected)) == len({v for v in values if v is not None}) + (None in values)


def test_times_keep_their_nanoseconds_and_never_overflow_into_others():
    stamps = hashes(of([1, 2, 1_000, None], pa.timestamp("ns")), Kind.TIME)
    far = hashes(of([2**62, 2**62 + 1, 0], pa.timestamp("s")), Kind.TIME)
    assert len(set(stamps.tolist())) == 4
    assert len(set(far.tolist())) == 3
    assert hashes(of([date(2023, 11, 14)]), Kind.TIME) == hashes(of([datetime(2023, 11, 14)]), Kind.TIME)


def test_nested_values_are_equal_by_content():
    kind = Kind.NESTED
    assert (
        hashes(of([[1, None], None, []]), kind).tolist()
        == hashes(of([[1.0, None], None, []], pa.large_list(pa.float64())), kind).tolist()
    )
    assert hashes(of([[1, 2]], pa.list_(pa.int8(), 2)), kind) == hashes(of([[1, 2]]), kind)
    assert (
        hashes(of([{"a": 1, "b": None}]), kind)
        == hashes(of([{"b": None, "a": 1.0}]), kind)
        == hashes(of([{"a": 1}]), kind)
    )
    pairs = of([[("a", 1), ("b", 2)], [("b", 2), ("a", 1)], None, []], pa.map_(pa.string(), pa.int64()))
    found = hashes(pairs, kind)
    assert found[0] == found[1]
    assert found[2] == 0
    assert hashes(pairs[1:], kind).tolist() == found[1:].tolist()
    different = hashes(of([[1, 2], [2, 1], [1], [], [None], [None, 1], None]), kind)
    assert len(set(different.tolist())) == 7
    swapped = hashes(of([{"a": 1, "b": 2}, {"a": 2, "b": 1}, {"a": 1, "b": 1}]), kind)
    assert len(set(swapped.tolist())) == 3
    assert hashes(of([[{"x": [1]}], [{"x": [2]}]]), kind).size == 2


EVERY_TYPE = [
    of([None, True]),
    of([None, 1]),
    of([None, 1.5], pa.float32()),
    of([None, Decimal("1.5")]),
    of([None, "a"]),
    of([None, b"\xff"]),
    of([None, b"ab"], pa.binary(2)),
    of([None, "a"]).dictionary_encode(),
    of([None, date(2023, 1, 1)]),
    of([None, 1], pa.timestamp("ns", "UTC")),
    of([None, 1], pa.duration("ms")),
    of([None, 1], pa.time64("ns")),
    of([None, (1, 2, 3)], pa.month_day_nano_interval()),
    of([None, [1]]),
    of([None, {"a": 1}]),
    of([None, [("a", 1)]], pa.map_(pa.string(), pa.int64())),
    of([None, None], pa.null()),
    pa.UnionArray.from_sparse(of([0, 1], pa.int8()), [of([None, 1]), of(["a", "b"])]),
]


@pytest.mark.parametrize("column", EVERY_TYPE, ids=lambda c: str(c.type))
def test_no_type_brings_a_traceback_and_only_null_is_zero(column):
    """Whatever stands in a stranger's file is compared under any kind, or differs; it never stops the audit."""
    evidence = observed(column)
    assert resolve(evidence, evidence) is not None
    for kind in Kind:
        found = hashes(column, kind)
        assert (found == 0).tolist() == column.is_null().to_pylist()
        for wanted in EVERY_TYPE[:-1]:  # no file holds unions
            assert cast_like(column, wanted.type, kind).type == wanted.type
    for found in (entity_hashes(column), id_hashes(column)):
        assert (found == 0).tolist() == column.is_null().to_pylist()
    assert (shown(column, 0), numbers(column).shape) == (None, (2,))


@given(st.lists(st.none() | ints, max_size=12))
def test_an_entity_is_one_in_every_type(values):
    expected = entity_hashes(text(values)).tolist()
    assert entity_hashes(of(values, pa.decimal128(30, 0))).tolist() == expected
    fits = [v for v in values if v is None or abs(v) <= 2**53]
    for column in (of(fits, pa.int64()), of(fits, pa.float64()), text([None if v is None else float(v) for v in fits])):
        assert entity_hashes(column).tolist() == entity_hashes(text(fits)).tolist()
    assert [h == 0 for h in expected] == [v is None for v in values]


@given(st.lists(st.text(), min_size=2, max_size=6, unique=True))
def test_entities_of_different_names_differ(names):
    """Only the shortest spelling of a number is the number: "042" and "1.10" are names."""
    assert len(set(entity_hashes(of(names)).tolist())) == len({n[:-2] if n.endswith(".0") else n for n in names})


def test_names_that_look_like_numbers_stay_names():
    ids = entity_hashes(of(["42", "042", " 42", "+42", "42e0", "1.1", "1.10", "-0", "0", "", "1" * 30, "1" * 29 + "2"]))
    assert len(set(ids.tolist())) == 12
    assert entity_hashes(of([1.1])) == ids[5]


def test_uuids_are_their_texts():
    """One writer stores sixteen bytes, the next one thirty-six letters."""
    ids = [uuid.UUID(int=i**40) for i in range(4)]
    stored = pa.ExtensionArray.from_storage(pa.uuid(), of([None] + [i.bytes for i in ids], pa.binary(16)))
    assert entity_hashes(stored[1:]).tolist() == entity_hashes(of([str(i) for i in ids])).tolist()
    assert entity_hashes(stored)[0] == 0


@pytest.mark.parametrize(
    ("train", "log", "kind"),
    [
        (of([1]), of([1.5]), Kind.NUMBER),
        (of([1]), of(["1", "n/a"]), Kind.NUMBER),
        (of([1]), of(["n/a"]), None),
        (of([1]), of(["true", "false"]), Kind.NUMBER),
        (of([1]), of([True]), Kind.NUMBER),
        (of([1]), of([None], pa.string()), Kind.NUMBER),
        (of([1]), of([[1]]), None),
        (of([True]), of(["t", "x"]), Kind.BOOL),
        (of([True]), of(["yes"]), None),
        (of(["1"]), of(["1"]), Kind.TEXT),
        (of(["1"]), of(["1"]).dictionary_encode(), Kind.TEXT),
        (of([1], pa.timestamp("s")), of(["2023-11-14 22:13:20"]), Kind.TIME),
        (of([1], pa.timestamp("s")), of([1_700_000_000]), Kind.TIME),
        (of([1], pa.timestamp("s")), of([12]), None),
        (of([1], pa.timestamp("s")), of(["soon"]), None),
        (of([1], pa.timestamp("s")), of([True]), None),
        (of([[1]]), of(["[1]"]), None),
        (of([float("nan")]), of(["a"]), Kind.TEXT),
        (of([None], pa.int64()), of([None], pa.string()), Kind.NUMBER),
        (of([], pa.null()), of([], pa.null()), Kind.TEXT),
    ],
)
def test_typed_columns_decide_how_a_feature_is_compared(train, log, kind):
    assert resolve(observed(train), observed(log)) is kind
    assert resolve(observed(log), observed(train)) is kind


@pytest.mark.parametrize(
    ("train", "log", "kind"),
    [
        (["1", "2.0"], ["1.0"], Kind.NUMBER),
        (["1", "NaN"], [None], Kind.NUMBER),
        (["1"], ["x"], Kind.TEXT),
        (["007"], ["7"], Kind.TEXT),
        (["+7"], ["7"], Kind.TEXT),
        (["True"], ["false"], Kind.BOOL),
        (["2023-11-14"], ["2023-11-14T00:00:00Z"], Kind.TIME),
        (["2023-11-14"], ["20"], Kind.TEXT),
        ([None], [None], Kind.TEXT),
    ],
)
def test_texts_of_files_without_types_are_read_if_all_of_them_can_be(train, log, kind):
    sides = [observed(of(side, pa.string()), untyped=True) for side in (train, log)]
    assert resolve(*sides) is kind
    assert resolve(sides[0], observed(of(log, pa.string()))) in {Kind.TEXT, kind if log == [None] else Kind.TEXT}


@given(
    st.lists(st.none() | st.sampled_from(["1", "007", "x", "true", "2023-11-14", "", "1.5", "NaN"]), max_size=12),
    st.integers(0, 12),
    st.booleans(),
)
def test_evidence_does_not_depend_on_the_cut(values, cut, untyped):
    column = of(values, pa.string())
    assert observed(column, untyped=untyped) == observed(column[:cut], column[cut:], untyped=untyped)


@given(st.lists(st.none() | st.floats(width=32) | st.just(1.7e9), max_size=12), st.integers(0, 12))
def test_evidence_of_numbers_does_not_depend_on_the_cut(values, cut):
    column = of(values, pa.float64())
    assert observed(column) == observed(column[:cut], column[cut:])


def test_samples_name_their_rows_over_all_batches():
    evidence = observed(of([None, "a"]), of(["b", None, "c", "d"]))
    assert [(sample.row, sample.value) for sample in evidence.samples] == [(1, "a"), (2, "b"), (4, "c")]


@pytest.mark.parametrize(
    ("column", "wanted", "expected"),
    [
        (of(["1", "2.5", "x", None, str(2**60 + 1)]), pa.int64(), [1, None, None, None, 2**60 + 1]),
        (of(["1", "2.5", "x", None]), pa.float64(), [1.0, 2.5, None, None]),
        (of([1, 300]), pa.int8(), [1, None]),
        (of([0.1, None]), pa.float32(), [float(np.float32(0.1)), None]),
        (of(["1.5", "x"]), pa.decimal128(5, 2), [Decimal("1.50"), None]),
        (of(["true", "0", "x", None]), pa.bool_(), [True, False, None, None]),
        (of([1.0, 7.0, None]), pa.bool_(), [True, None, None]),
        (of(["2023-11-14T22:13:20+01:00", "x"]), pa.timestamp("s"), [datetime(2023, 11, 14, 21, 13, 20), None]),
        (of([1_700_000_000]), pa.timestamp("ms", "UTC"), [datetime.fromtimestamp(1_700_000_000, UTC)]),
        (of([datetime(2023, 11, 14, 1)]), pa.date32(), [date(2023, 11, 14)]),
        (of([1_699_916_400], pa.timestamp("s", "Asia/Tokyo")), pa.date32(), [date(2023, 11, 13)]),
        (of([1_001], pa.timestamp("ns")), pa.timestamp("us", "UTC"), [datetime.fromtimestamp(1e-6, UTC)]),
        (of(["9999-12-31", "2023-11-14"]), pa.timestamp("ns"), [None, datetime(2023, 11, 14)]),
        (of([1, None]), pa.string(), ["1", None]),
        (of([1.0, 0.5, float("nan")]), pa.string(), ["1", "0.5", None]),
        (of([b"a", b"\xff"]), pa.string(), ["a", None]),
        (of(["a", None]), pa.dictionary(pa.int8(), pa.string()), ["a", None]),
        (of(["1", "x"]), pa.dictionary(pa.int8(), pa.int64()), [1, None]),
        (of([[1], None]), pa.list_(pa.float64()), [[1.0], None]),
        (of([[1]]), pa.string(), ["[1]"]),
        (of(["x"]), pa.list_(pa.int64()), [None]),
        (of([timedelta(1)]), pa.timestamp("us"), [None]),
    ],
)
def test_a_value_of_the_log_takes_the_type_of_the_training_set(column, wanted, expected):
    """What does not fit is NULL, and it alone."""
    found = cast_like(column, wanted, Kind.TEXT)
    assert found.type == wanted
    assert found.to_pylist() == expected


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), max_size=8), st.sampled_from(NUMBER_TYPES))
def test_what_fits_keeps_its_hash_when_cast(values, wanted):
    """The corrected table must itself pass the audit that made it."""
    column = text(values)
    cast = cast_like(column, wanted, Kind.NUMBER)
    ours, theirs = hashes(column, Kind.NUMBER), hashes(cast, Kind.NUMBER)
    is_exact = wanted != pa.float64()
    assert all(b in (a, 0) or not is_exact for a, b in zip(ours.tolist(), theirs.tolist(), strict=True))
