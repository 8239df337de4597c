"""The engine in small: who gets a version, with whose coordinates and bounds, and who came too late."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.definitions import TimeField
from features.engine import warm_up
from features.lineage import canonical, origin_hash, read_id, text_hash, value_hash, version_ids
from features.times import FOREVER_US, NEVER_US
from tests.features.engines import a_window, an_engine, batch, run


def told(engine, rows, *names, log="events/0"):
    return [tuple(v.values()) for v in run(engine, rows, log).versions.select(list(names)).to_pylist()]


def at(*times, **options):
    return [{"event_time_us": t, **options} for t in times]


def test_time_alone_changes_a_value_and_says_who_moved_it():
    """Without this, a user who has gone quiet would keep her clicks for ever."""
    engine = an_engine(a_window())
    rows = [
        {"entity": "a", "event_time_us": 5},
        {"entity": "b", "event_time_us": 41, "origin_partition": 3, "origin_offset": 77, "ingest_time_us": 43},
    ]
    names = ("entity", "value", "by_time", "event_time_us", "ingest_time_us", "input_event_time_us", "window_end_us",
             "partition", "offset", "log_offset")  # fmt: skip
    assert told(engine, rows, *names) == [
        ("a", "1", False, 5, 5, 5, 10, 0, 0, 0),
        ("a", "0", True, 40, 43, 41, 50, 3, 77, 1),
        ("b", "1", False, 41, 43, 41, 50, 3, 77, 1),
    ]


def test_several_panes_that_fall_out_at_once_make_one_version():
    """A row after a long silence must not replay the silence pane by pane."""
    engine = an_engine(a_window(window_us=40, panes=4))
    rows = [*at(5, 15, 25), {"entity": "b", "event_time_us": 1000}]
    assert told(engine, rows, "entity", "value")[3:] == [("a", "0"), ("b", "1")]


def test_loss_and_gain_by_one_row_are_one_version():
    """Both would have the same cause, so the same id, and nobody could ever read the value between."""
    engine = an_engine(a_window(window_us=10, panes=1))
    assert told(engine, at(5, 6, 15), "value", "by_time") == [("1", False), ("2", False), ("1", False)]


def test_a_row_that_changes_no_value_makes_no_version():
    """One pane falls out as one row comes in: the count stays."""
    engine = an_engine(a_window())
    assert told(engine, at(5, 15, 25), "value") == [("1",), ("2",)]


def test_expiries_come_before_the_row_by_feature_then_by_first_appearance():
    """The order of versions is part of the log: it must not depend on where batches are cut."""
    engine = an_engine(a_window("f"), a_window("g", window_us=40, panes=2), a_window("h"))
    rows = [{"entity": e, "event_time_us": 5} for e in "ba"] + [{"entity": "a", "event_time_us": 500}]
    found = told(engine, rows, "log_offset", "feature", "entity", "by_time")
    assert [v for v in found if v[0] == 2] == [
        (2, "f", "b", True), (2, "g", "b", True), (2, "h", "b", True),
    ]  # fmt: skip
    engine = an_engine(a_window("f"), a_window("g", window_us=40, panes=2))
    rows[2]["entity"] = "c"
    found = told(engine, rows, "log_offset", "feature", "entity", "by_time")
    assert [v[1:] for v in found if v[0] == 2] == [
        ("f", "b", True), ("f", "a", True), ("g", "b", True), ("g", "a", True), ("f", "c", False), ("g", "c", False),
    ]  # fmt: skip


def test_late_rows_say_why():
    """A side output, not an error: and never a silent loss."""
    engine = an_engine(a_window(), lateness_us=100)
    out = run(engine, at(200, 99, 150))
    assert out.late.select(["log_offset", "watermark_us", "reason"]).to_pylist() == [
        {"log_offset": 1, "watermark_us": 100, "reason": "behind_watermark"},
        {"log_offset": 2, "watermark_us": 100, "reason": "outside_window"},
    ]
    assert out.applied == 1


def test_histories_have_no_lateness():
    """The newest value is the one written last, however old the event: it is what serving reads."""
    columns = a_window("name", None, window_us=0, column="name")
    engine = an_engine(columns, a_window(), kinds={"name": "any"})
    out = run(engine, [{"event_time_us": 900, "name": "x"}, {"event_time_us": 3, "name": "y"}])
    assert [(v["feature"], v["value"]) for v in out.versions.to_pylist()] == [("name", "x"), ("f", "1"), ("name", "y")]
    assert (out.late.num_rows, out.applied) == (0, 2)


def test_a_benign_rewrite_of_a_column_is_no_version_and_deleting_is_one():
    """ORMs rewrite every column; NULL is a value; the image of a deleting event is what was, not what is."""
    engine = an_engine(a_window("name", None, window_us=0, column="name"), kinds={"name": "any"})
    rows = [
        {"name": None},
        {"name": 1},
        {"name": 1.0},
        {"name": "1"},
        {"name": "1", "op": "u"},
        {"name": "1", "op": "d"},
    ]
    assert told(engine, rows, "log_offset", "value", "value_num") == [
        (0, None, None), (1, "1", 1.0), (3, "1", None), (5, None, None),
    ]  # fmt: skip
    assert engine.current(np.array([0]))[0]["name"]["value"] is None


def test_by_event_time_an_older_event_is_kept_and_does_not_replace():
    """Both can be current, depending on which becomes readable first; serving shows the newer."""
    newest = a_window("name", None, window_us=0, column="name")
    engine = an_engine(newest, kinds={"name": "any"}, order="max_event_time")
    rows = [{"event_time_us": t, "name": name} for t, name in ((20, "a"), (20, "b"), (10, "c"))]
    found = told(engine, rows, "value", "id")
    assert [value for value, _ in found] == ["a", "b", "c"]
    assert engine.current(np.array([0]))[0]["name"] == {"value": "b", "id": found[1][1], "event_time_us": 20}


@pytest.mark.parametrize(
    ("declared", "row", "expected"),
    [
        ({}, {}, (NEVER_US, FOREVER_US, None)),
        ({}, {"append_time_us": 500}, (400, FOREVER_US, 500)),
        ({}, {"append_time_us": 500, "write_time_us": 450}, (350, FOREVER_US, 450)),
        ({"write_time": TimeField(field="w")}, {"write_time_us": 450}, (350, 551, 450)),
        ({"write_time": TimeField(field="w")}, {"append_time_us": 500}, (400, FOREVER_US, 500)),
        ({"format": "debezium"}, {"write_time_us": 450, "visible_time_us": 450}, (350, 551, 450)),
        ({"write_time": TimeField(field="w"), "visible_time": TimeField(field="v")}, {"write_time_us": 450},
         (350, FOREVER_US, 450)),
    ],
)  # fmt: skip
def test_bounds_of_visibility_follow_from_what_the_source_declares(declared, row, expected):
    """A lower bound can only convict, an upper one is needed to acquit; missing evidence is never made up."""
    engine = an_engine(a_window(), clock_error_us=100, **declared)
    assert told(engine, [row], "source_from_us", "source_by_us", "input_visible_from_us") == [expected]


def test_an_id_follows_from_its_cause_alone():
    """Computing it again after a crash gives the same id, so sinks can drop what they have."""
    feature = a_window()
    engine = an_engine(feature)
    run(engine, at(3, entity="z"))
    row = {"entity": "é", "event_time_us": 5, "origin_partition": 3, "origin_offset": 9}
    (found,) = told(engine, [row], "id", "id64", "definition")
    cause = [text_hash("é"), 3, 9, 10]
    origin = origin_hash(feature.definition, "user", "events")
    types = (np.uint64, np.int64, np.int64, np.int64)
    columns = [np.array([c], t) for c, t in zip(cause, types, strict=True)]
    assert found[1] == int(version_ids(np.array([origin], np.uint64), *columns)[0]) == read_id(found[0])
    assert found[2] == feature.definition
    assert engine.current(np.array([1]))[1]["f"] == {"value": 1, "id": found[0], "event_time_us": 5}


def test_empty_windows_are_zero_or_null():
    """Counting nothing gives 0; the mean of nothing does not exist."""
    names = ("count", "sum", "mean", "min", "max", "last")
    features = [a_window(n, n, column="x") for n in names]
    engine = an_engine(*features, kinds={"x": "number"})
    found = told(engine, [{"x": None}], "feature", "value")
    assert found == [("count", "0"), ("sum", "0")]
    assert len(told(engine, at(1, x=2.0), "feature")) == 6
    emptied = told(engine, at(100, x=None, entity="b"), "feature", "value", "entity")
    expected = {"count": "0", "sum": "0", "mean": None, "min": None, "max": None, "last": None}
    assert {f: v for f, v, entity in emptied if entity == "a"} == expected


def test_what_runs_over_is_null_and_what_is_not_finite_is_skipped():
    """An infinite feature would poison whatever is computed from it."""
    engine = an_engine(
        a_window("total", "sum", column="x"), a_window("ratio", "max", expr="1 / x"), kinds={"x": "number"}
    )
    rows = [{"x": 0.0}, {"x": math.inf}, {"x": 1.7e308}, {"x": 1.7e308}]
    assert [v for f, v in told(engine, rows, "feature", "value_num") if f == "total"] == [0.0, 1.7e308, None]
    assert engine.current(np.array([0]))[0]["ratio"]["value"] == 1 / 1.7e308


def test_entities_of_two_logs_do_not_move_each_other():
    """The order between logs is accidental: a fast log must not empty the windows of a slow one."""
    engine = an_engine(a_window())
    run(engine, at(5, entity="slow"), "events/0")
    assert told(engine, at(10_000, entity="fast"), "entity", log="by-user.s/0") == [("fast",)]
    assert told(engine, at(6, entity="slow"), "entity", "value", log="events/0") == [("slow", "2")]


def test_a_row_that_opens_an_older_pane_is_forgotten_in_its_turn():
    """Out of order, and on time: its pane falls out before the one that was opened first."""
    engine = an_engine(a_window(window_us=40, panes=4), lateness_us=30)
    rows = [*at(35, 12), {"entity": "b", "event_time_us": 85}]
    assert told(engine, rows, "entity", "value", "by_time")[2] == ("a", "1", True)


def test_an_entity_moves_with_the_log_that_last_brought_it():
    """Rows of one entity in two logs make one window; a log moves what it last fed, and only that."""
    engine = an_engine(a_window(window_us=10, panes=1), lateness_us=100)
    direct, forwarded = "events/0", "by-user.s/0"
    run(engine, at(55), direct)
    assert told(engine, at(155), "value", log=forwarded) == []  # its pane alone is in the window: 1 again
    run(engine, at(400, entity="b"), direct)
    assert engine.current(np.array([0]))[0]["f"]["value"] == 1
    moved = told(engine, at(400, entity="c"), "entity", "value", "by_time", log=forwarded)
    assert moved[0] == ("a", "0", True)


def test_a_window_stays_where_its_log_has_moved_it():
    """Time that another log has let pass for an entity is not taken back by the log that feeds it next."""
    engine = an_engine(a_window(), lateness_us=0)
    run(engine, at(5), "events/0")
    run(engine, at(1000, entity="b"), "events/0")
    out = run(engine, at(6), "by-user.s/0")
    assert out.late.column("reason").to_pylist() == ["outside_window"]


def test_the_last_of_two_rows_at_one_time_is_the_one_in_the_log():
    engine = an_engine(a_window("last", "last", column="x"), kinds={"x": "number"}, lateness_us=10)
    rows = [{"event_time_us": t, "x": x} for t, x in ((5, 1.0), (5, 2.0), (4, 3.0), (5, -0.0))]
    assert told(engine, rows, "value", "hash") == [(v, value_hash(float(v))) for v in ("1", "2", "0")]


def test_a_window_far_ahead_of_the_wheel_still_falls_due():
    """Lateness of a thousand panes, a stamp in the year 2099, and then time goes on from there."""
    engine = an_engine(a_window(window_us=2, panes=2), lateness_us=100_000)
    rows = [{"entity": "a", "event_time_us": t} for t in (10, 90_000, 200_000)]
    run(engine, rows)
    found = told(engine, [{"entity": "b", "event_time_us": 4_000_000_000_000_000}], "entity", "value", "by_time")
    assert found == [("a", "0", True), ("b", "1", False)]


def test_expressions_and_kinds_must_fit():
    """Said when the definitions are loaded, not when the first event comes."""
    for wrong, expected in (
        ({"column": "missing", "aggregate": "sum"}, "missing"),
        ({"column": "t", "aggregate": "sum"}, "numbers"),
        ({"aggregate": "sum"}, "numbers"),
        ({"column": "t", "aggregate": None}, "kind 'any'"),
        ({"where": "t > 5"}, "type"),
    ):
        with pytest.raises(ValueError, match=expected):
            an_engine(a_window(**wrong), kinds={"t": "text"})


def test_nothing_in_nothing_out():
    engine = an_engine(a_window())
    out = engine.on_rows(batch(engine.source, []), "events/0")
    assert (out.versions.num_rows, out.late.num_rows, out.applied, out.changed_entities.size) == (0, 0, 0, 0)
    without = an_engine()
    assert run(without, at(1, 0)).applied == 2


def test_state_of_a_key_is_small():
    """250 bytes for eight panes; growing leaves room for half as many again."""
    engine = an_engine(a_window(window_us=80, panes=8), kinds={"x": "number"})
    run(engine, [{"entity": f"user-{i}", "event_time_us": 1} for i in range(20_000)])
    assert engine.nbytes / 20_000 < 250


def test_warming_up_leaves_nothing_to_compile():
    """A first event that waits for a compiler is an outage of seconds."""
    from features.kernels import newest, panes, texts

    warm_up()
    kernels = (panes.pass_rows, panes.note_ids, newest.pass_column, texts.intern)
    before = [len(k.signatures) for k in kernels]
    engine = an_engine(
        a_window("g", "mean", column="x", where="x > 0"), a_window("n", None, window_us=0, column="n"),
        kinds={"x": "number", "n": "any"},
    )  # fmt: skip
    run(engine, [{"x": 1.0, "n": "x"}, {"x": 2.0, "n": 1}])
    assert [len(k.signatures) for k in kernels] == before


@given(st.lists(st.floats(allow_infinity=False) | st.integers(0, 5000).map(float), max_size=20))
def test_number_texts_agree_with_the_scalar_way(numbers):
    """A value has one text, whoever writes it."""
    from features.canonical import number_texts

    expected = [canonical(0.0 if x == 0 else x) for x in numbers]
    assert number_texts(np.array(numbers, np.float64)).to_pylist() == expected
    assert all(t is None for t, x in zip(expected, numbers, strict=True) if math.isnan(x))
