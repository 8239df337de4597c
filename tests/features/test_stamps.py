"""A column of stamps means the same instants whatever type it arrives in, and what is no time is named by its row."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import times
from features.kernels import stamps as kernel
from features.stamps import DAY_US, HOUR_US, MINUTE_US, ResolutionEvidence, StampError, read_stamps

T_US = 1_700_000_000_123_456  # 2023-11-14T22:13:20.123456Z

some_us = st.integers(times.EARLIEST_US, times.LATEST_US)
columns_us = st.lists(st.none() | some_us, max_size=20)


def moment(us: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)


def read(values, kind=None, **options):
    return read_stamps(pa.array(values, kind), **options)


def test_the_kernel_is_compiled():
    """Without this, a disabled JIT would hide that kernel and plain Python differ."""
    assert hasattr(kernel.read_texts, "py_func")


@pytest.mark.parametrize(
    ("column", "unit"),
    [
        (pa.array([T_US // 10**6]), "s"),
        (pa.array([T_US // 1000]), "ms"),
        (pa.array([T_US]), "us"),
        (pa.array([T_US * 1000 + 999]), "ns"),
        (pa.array([T_US * 1000 + 999], pa.uint64()), "ns"),
        (pa.array([T_US / 1e6]), "s"),
        (pa.array([T_US // 10**6], pa.uint32()), "s"),
        (pa.array([str(T_US // 1000)]), "ms"),
        (pa.array([f"{T_US // 1000}.0"]), "ms"),
        (pa.array([str(T_US * 1000 + 999)]), "ns"),
        (pa.array(["1.700000000123456e9"]), "s"),
        (pa.array([Decimal(T_US)]), "us"),
        (pa.array([Decimal("1700000000.123456")]), "s"),
        (pa.array([T_US], pa.timestamp("us")), "us"),
        (pa.array([T_US * 1000 + 999], pa.timestamp("ns", tz="Asia/Kolkata")), "ns"),
        (pa.array([T_US // 1000], pa.timestamp("ms", tz="+02:00")), "ms"),
        (pa.array([T_US // 10**6], pa.timestamp("s")), "s"),
        (pa.array([date(2023, 11, 14)]), "date"),
        (pa.array([date(2023, 11, 14)], pa.date64()), "date"),
        (pa.array(["2023-11-14T22:13:20.123456Z"]), "text"),
        (pa.array(["2023-11-14T22:13:20.123456Z"], pa.large_string()), "text"),
        (pa.array(["2023-11-14T22:13:20.123456Z"], pa.string_view()), "text"),
        (pa.array([b"2023-11-14T22:13:20.123456Z"]), "text"),
        (pa.array(["2023-11-14T22:13:20.123456Z"]).dictionary_encode(), "text"),
        (pa.array([T_US]).dictionary_encode(), "us"),
        (pa.compute.run_end_encode(pa.array([T_US])), "us"),
        (pa.chunked_array([[T_US], [T_US]]), "us"),
    ],
)
def test_every_type_means_the_same_instant(column, unit):
    """A training set in Parquet must meet a log in CSV at the same microsecond."""
    found = read_stamps(column)
    step = max(found.unit_us, 1)
    assert found.units == {unit}
    assert found.us[0] == T_US // step * step


@pytest.mark.parametrize(
    ("text", "us", "unit_us"),
    [
        ("2023-11-14", 1_699_920_000_000_000, DAY_US),
        ("2023-11-14T22", 1_699_999_200_000_000, HOUR_US),
        ("2023-11-14 22:13", 1_699_999_980_000_000, MINUTE_US),
        ("2023-11-14T22:13:20", 1_700_000_000_000_000, 1_000_000),
        ("2023-11-14t22:13:20,5z", 1_700_000_000_500_000, 1_000),
        ("2023-11-14 22:13:20.123 UTC", 1_700_000_000_123_000, 1_000),
        ("2023-11-14T22:13:20.1234567899", 1_700_000_000_123_456, 1),
        (" 2023-11-15T03:43:20+05:30 ", 1_700_000_000_000_000, 1_000_000),
        ("2023-11-14 17:13:20-0500", 1_700_000_000_000_000, 1_000_000),
        ("2023-11-15 00:13:20+02", 1_700_000_000_000_000, 1_000_000),
        ("20231114T221320Z", 1_700_000_000_000_000, 1_000_000),
        ("2024-02-29", 1_709_164_800_000_000, DAY_US),
    ],
)
def test_a_text_shows_its_instant_and_its_resolution(text, us, unit_us):
    found = read([text])
    assert (int(found.us[0]), found.unit_us) == (us, unit_us)


@pytest.mark.parametrize(
    ("values", "unit_us"),
    [
        ([1_700_000_000.0], 1_000_000),
        ([1_700_000_000.5], 1_000),
        ([1_700_000_000.1234565], 1),
        ([1_700_000_000_000.5], 1),
        ([1_700_000_000.0, 1_700_000_000.5], 1_000_000),
        ([1_700_000_000, 1_700_000_000_000], 1_000_000),
        (["2023-11-14T22:13:20.123", "2023-11-14"], DAY_US),
    ],
)
def test_the_coarsest_stamp_shows_the_resolution_of_a_column(values, unit_us):
    """A finer claim would acquit by microseconds that nobody wrote."""
    assert read(values).unit_us == unit_us


@pytest.mark.parametrize(
    ("texts", "unit_us"),
    [
        (["2023-11-14T22:13:20", "2023-11-14T22:13:20.000001"], 1),
        (["2023-11-14T22:13:20Z", "2023-11-14T22:13:20.500Z"], 1_000),
        (["2023-11-14T22:13:20.5", "2023-11-14T22:13:20.000001"], 1),
        (["2023-11-14T22:13:20", "2023-11-14T22:13:21"], 1_000_000),
        (["2023-11-14T22:13", "2023-11-14T22:13:20.5"], MINUTE_US),
    ],
)
def test_a_fraction_of_zero_may_have_been_left_out(texts, unit_us):
    """Python and Java do so; else one stamp on a whole second would blur a log of microseconds."""
    assert read(texts).unit_us == unit_us
    evidence, other = ResolutionEvidence(), ResolutionEvidence()
    for text in texts:
        evidence.observe(read([text]))
    assert evidence.resolution_us() == unit_us
    other.observe(read(["2023-11-14T22:13:20"]))
    evidence.merge(other)  # another file, whose seconds are its own
    assert evidence.resolution_us() == max(unit_us, 1_000_000)


@given(columns_us)
def test_texts_agree_with_the_standard_library(values):
    """The twin: Python's own formatting, read back by the compiled reader."""
    texts = [None if us is None else moment(us).isoformat() for us in values]
    assert read(texts, pa.string()).us.tolist() == [times.NEVER_US if us is None else us for us in values]


@given(columns_us, st.integers(-23 * 60, 23 * 60))
def test_a_zone_moves_no_instant(values, minutes):
    zone = timezone(timedelta(minutes=minutes))
    texts = [None if us is None else str(moment(us).astimezone(zone)) for us in values]
    assert read(texts, pa.string()).us.tolist() == [times.NEVER_US if us is None else us for us in values]


@given(st.lists(st.none() | st.tuples(some_us, st.sampled_from(times.Unit)), max_size=20))
def test_numbers_agree_with_one_at_a_time(values):
    """Mixed units in one column: each value by its own magnitude, as `times.unit_of` says."""
    numbers = [None if v is None else (v[0] * 1000 if v[1] < 0 else v[0] // int(v[1])) for v in values]
    wanted = [times.NEVER_US if n is None else times.to_us(n, times.unit_of(n)) for n in numbers]
    assert read(numbers, pa.int64()).us.tolist() == wanted
    assert read([None if n is None else str(n) for n in numbers], pa.string()).us.tolist() == wanted


@given(st.lists(st.floats(4e7, 4e9) | st.floats(4e10, 4e12), min_size=1, max_size=20))
def test_a_float_and_its_text_are_one_instant(values):
    """Else a table saved as CSV would be judged otherwise than the Parquet beside it."""
    ours, texts = read(values), read([repr(v) for v in values])
    assert ours.us.tolist() == texts.us.tolist()
    assert (ours.units, ours.unit_us) == (texts.units, texts.unit_us)


@given(st.lists(st.none() | some_us, min_size=1, max_size=20), st.integers(0, 20))
def test_a_cut_changes_nothing(values, cut):
    """Slices of Arrow arrays carry offsets into buffers of others; the rows must stay theirs."""
    for kind in (pa.int64(), pa.string(), pa.timestamp("us")):
        column = pa.array(values, pa.int64()).cast(kind)
        whole, parts = read_stamps(column), [read_stamps(column[:cut]), read_stamps(column[cut:])]
        assert np.concatenate([p.us for p in parts]).tolist() == whole.us.tolist()
        assert frozenset().union(*(p.units for p in parts)) == whole.units
        assert max(p.unit_us for p in parts) == whole.unit_us


@pytest.mark.parametrize(
    "column",
    [
        pa.array([None], pa.null()),
        pa.array([None], pa.timestamp("ns")),
        pa.array([float("nan")]),
        pa.array([None], pa.int64()),
        pa.array([""]),
        pa.array(["  "]),
        pa.array(["NaT"]),
        pa.array(["nan"]),
        pa.array([None], pa.decimal128(20, 2)),
    ],
)
def test_nothing_is_missing_not_a_time(column):
    found = read_stamps(column)
    assert found.missing.tolist() == [True]
    assert (found.us[0], found.units, found.unit_us) == (times.NEVER_US, frozenset(), 1)


@pytest.mark.parametrize("kind", [pa.int64(), pa.string(), pa.float64(), pa.timestamp("us"), pa.date32(), pa.null()])
def test_an_empty_column_is_no_error(kind):
    assert read([], kind).us.size == 0


@pytest.mark.parametrize(
    ("column", "row", "found"),
    [
        (pa.array([T_US, 0]), 1, "0"),
        (pa.array([T_US, None, -5]), 2, "-5"),
        (pa.array([T_US, 2**64 - 1], pa.uint64()), 1, str(2**64 - 1)),
        (pa.array([20231114]), 0, "20231114 (a date as a number? write 2023-11-14)"),
        (pa.array(["20231114"]), 0, "'20231114' (a date as a number? write 2023-11-14)"),
        (pa.array([1.7e9, float("inf")]), 1, "inf"),
        (pa.array(["2023-11-14", "yesterday"]), 1, "'yesterday'"),
        (pa.array(["2023-11-14", "2023-02-29"]), 1, "'2023-02-29'"),
        (pa.array(["2023-11-14", "x" * 80]), 1, repr("x" * 57 + "...")),
        (pa.array(["2023-11-14T24:61"]), 0, "'2023-11-14T24:61'"),
        (pa.array(["1700000000.5", "1e3"]), 1, "'1e3'"),
        (pa.array(["2023-11-14", "1970-12-31"]), 1, "'1970-12-31'"),
        (pa.array([date(2023, 11, 14), date(2100, 1, 2)]), 1, "2100-01-02"),
        (pa.array([2**62], pa.timestamp("s")), 0, f"{2**62} in a column of type timestamp[s], out of any calendar"),
        (pa.array([b"2023-11-14", b"\xff"]), 1, "bytes that are no UTF-8 text"),
        (pa.array([Decimal("1e20")]), 0, None),
        (pa.array([True]), 0, "a column of type bool"),
        (pa.array([[T_US]]), 0, None),
        (pa.array([{"t": T_US}]), 0, None),
        (pa.array([1.7e9], pa.float32()), 0, None),
        (pa.array([1], pa.time64("us")), 0, None),
        (pa.array([1], pa.duration("us")), 0, None),
    ],
)
def test_what_is_no_time_is_named_by_its_row(column, row, found):
    """Never a guess, never a traceback: the first row that cannot be a time, and what stands there."""
    with pytest.raises(StampError) as caught:
        read_stamps(column)
    assert caught.value.row == row
    assert caught.value.found == found or found is None


def test_event_times_may_lie_outside_our_century():
    """A date of birth is an honest event time; only a number needs the bounds, to find its unit."""
    assert read(["1912-06-23"], bounded=False).us[0] < 0
    assert read([date(9999, 12, 31)], bounded=False).us[0] > times.LATEST_US
    with pytest.raises(StampError):
        read([12], bounded=False)


@given(st.lists(some_us, min_size=1, max_size=40), st.integers(1, 40), st.sampled_from([1, 1_000, MINUTE_US, DAY_US]))
def test_resolution_does_not_depend_on_the_batches(values, size, step):
    values = [us // step * step for us in values] * 10
    whole, parts, merged = ResolutionEvidence(), ResolutionEvidence(), ResolutionEvidence()
    whole.observe(read(values))
    for i in range(0, len(values), size):
        parts.observe(read(values[i : i + size]))
        one = ResolutionEvidence()
        one.observe(read(values[i : i + size]))
        merged.merge(one)
    assert whole.resolution_us() == parts.resolution_us() == merged.resolution_us()


def test_two_hundred_stamps_show_a_resolution_and_fewer_their_unit():
    """Whole seconds in a microsecond column: a claim only after two hundred of them (the audit's contract)."""
    evidence = ResolutionEvidence()
    evidence.observe(read([1_700_000_000_000_000 + 1_000_000 * i for i in range(199)] + [None]))
    assert evidence.resolution_us() == 1
    evidence.observe(read([1_700_000_000_000_000]))
    assert evidence.resolution_us() == 1_000_000
    evidence.observe(read([1_700_000_000_001_000]))
    assert evidence.resolution_us() == 1_000
    assert ResolutionEvidence().resolution_us() == 1
