"""The acceptance cases of the millisecond test that concern files, one test each, through the command.

T is 1,700,000,000,000; the integers in the tables are milliseconds, so the resolution of the logs is one millisecond.
"""

import json
from pathlib import Path

import polars as pl
import pytest

from streams.stories import churn_table
from tests.streams.audit.asking import Audited, T, audit, rows

MS, HOUR = 1_000, 3_600_000
DAY = 24 * HOUR


def one(folder: Path, log: str, value: str, *options: str, read: str = "T") -> tuple[str, int | None]:
    """Verdict and lead of one cell: entity u1, read at T."""
    train = f"entity | prediction_time | x\nu1 | {read} | {value}"
    return audit(folder, train, log, *options).leads("x")[0]


def told(found: Audited, feature: str = "x") -> dict[str, int]:
    """How often each reason was given."""
    reasons: dict[str, int] = found.report["features"][feature]["reasons"]
    return {reason: n for reason, n in reasons.items() if n}


def test_1_a_value_written_an_hour_before_passes(tmp_path: Path):
    """The plain case, and the exit status of a clean table."""
    found = audit(tmp_path, "entity|prediction_time|x\nu1|T|D", "entity|write_time|x\nu1|T-3600000|D")
    assert found.leads("x") == [("PASS", None)]
    assert found.status == 0


CHURN = """
    entity | write_time | last_login | cancelled | txid | updated_at
    u1     | T-86400000 | D          | NULL      | 9    | T-86400000
    u1     | T+5003     | NULL       | NULL      | 570  | T-86400000
"""
CHURN_TRAIN = """
    entity | prediction_time | last_login | cancelled
    u1     | T               | NULL       | 1
    u1     | T               | D          | 1
"""


def test_2_a_trigger_that_nulls_a_column_is_caught_although_updated_at_stands_still(tmp_path: Path):
    """The churn story in two rows: nothing but the value and the commit tells."""
    found = audit(tmp_path, CHURN_TRAIN, CHURN, "--label", "cancelled")
    assert found.leads("last_login") == [("LEAK", 5_003 * MS), ("PASS", None)]
    assert found.status == 1
    assert not found.findings("COUPLED_TX")
    moved = CHURN.replace("570  | T-86400000", "570  | T+5003")
    assert audit(tmp_path, CHURN_TRAIN, moved, "--label", "cancelled").leads("last_login") == found.leads("last_login")


def test_2_a_label_and_a_change_in_one_transaction_are_coupled_from_the_first_instance(tmp_path: Path):
    """Proof from one example: the label row and the update share transaction 571."""
    labels = "entity | write_time | cancelled | txid\nu1 | T+5000 | 1 | 571"
    log = CHURN.replace("| NULL      |", "|").replace("| cancelled |", "|").replace("570", "571")
    found = audit(tmp_path, CHURN_TRAIN, [rows(log), rows(labels)], "--label", "cancelled")
    assert found.leads("last_login") == [("LEAK", 5_003 * MS), ("PASS", None)]
    assert [finding["subject"] for finding in found.findings("COUPLED_TX")] == ["last_login"]


@pytest.mark.parametrize(
    ("written", "value", "expected"),
    [
        ("T-1", "7", ("PASS", None)),
        ("T", "7", ("SKEW_AMBIGUOUS", None)),
        ("T+1", "7", ("LEAK", 1 * MS)),
        ("T", "5", ("SKEW_AMBIGUOUS", None)),
    ],
)
def test_3_one_millisecond_decides(tmp_path: Path, written: str, value: str, expected: tuple[str, int | None]):
    """Before, in and after the millisecond of the read."""
    log = f"entity|write_time|x\nu1|T-10000|5\nu1|{written}|7"
    found = audit(tmp_path, f"entity|prediction_time|x\nu1|T|{value}", log)
    assert found.leads("x") == [expected]
    assert told(found) == ({"same_ms": 1} if expected[0] == "SKEW_AMBIGUOUS" else {})


def test_3_a_position_in_the_sequence_decides_where_the_millisecond_cannot(tmp_path: Path):
    """The read knows its place among the writes: order decides, at tier E1."""
    log = "entity|write_time|seq|x\nu1|T-10000|1|5\nu1|T|2|7"
    train = "entity|prediction_time|at|x\nu1|T|3|7\nu1|T|3|5"
    found = audit(tmp_path, train, log, "--prediction-seq", "at")
    assert found.verdicts("x") == ["PASS", "STALE"]
    assert found.report["features"]["x"]["tier"] == "E1"


@pytest.mark.parametrize(
    ("written", "expected"), [("T-3", ("SKEW_AMBIGUOUS", None)), ("T-6", ("PASS", None)), ("T+6", ("LEAK", 1 * MS))]
)
def test_4_a_clock_error_of_five_milliseconds_is_five_milliseconds_of_doubt(tmp_path: Path, written, expected):
    """And the lead is the least that the bounds prove."""
    log = f"entity|write_time|x\nu1|T-10000|5\nu1|{written}|7"
    found = audit(tmp_path, "entity|prediction_time|x\nu1|T|7", log, "--clock-error", "5ms")
    assert found.leads("x") == [expected]
    assert told(found) == ({"skew": 1} if expected[0] == "SKEW_AMBIGUOUS" else {})


def test_5_seconds_and_days_cannot_decide_within_themselves(tmp_path: Path):
    """A stamp in seconds says nothing about 400 ms; the stamp of a day says nothing about that day."""
    seconds, day = T // 1000, "2023-11-14"
    for written, verdict in ((seconds, "SKEW_AMBIGUOUS"), (seconds - 1, "PASS")):
        log = f"entity|write_time|x\nu1|{seconds - 100}|5\nu1|{written}|7"
        found = audit(tmp_path, "entity|prediction_time|x\nu1|T+400|7", log)
        assert found.verdicts("x") == [verdict]
        assert told(found) == ({"resolution": 1} if verdict != "PASS" else {})
    dated = f"entity|write_time|x\nu1|2023-11-01|5\nu1|{day}|7"
    for csv in (False, True):
        found = audit(tmp_path, "entity|prediction_time|x\nu1|T|7", dated, csv=csv)
        assert found.verdicts("x") == ["SKEW_AMBIGUOUS"]
        assert told(found) == {"resolution": 1}


def test_6_the_stamp_of_the_transactions_start_is_believed_least(tmp_path: Path):
    """`now()` is when the transaction began: with it alone PASS at tier E4, with the commit a LEAK of two seconds."""
    train = "entity|prediction_time|x\nu1|T|7"
    log = rows("entity|updated_at|committed|x\nu1|T-90000|T-89000|5\nu1|T-2000|T+2000|7")
    alone = [{name: row[name] for name in row if name != "committed"} for row in log]
    found = audit(tmp_path, train, alone, "--write-time", "updated_at")
    assert found.leads("x") == [("PASS", None)]
    assert found.report["features"]["x"]["tier"] == "E4"
    found = audit(tmp_path, train, log, "--write-time", "committed")
    assert found.leads("x") == [("LEAK", 2_000 * MS)]
    assert found.report["features"]["x"]["tier"] == "E2"
    assert [finding["subject"] for finding in found.findings("STAMP_IS_TXN_START")] == ["updated_at"]


def test_7_a_lower_bound_convicts_and_never_acquits(tmp_path: Path):
    """The broker's append time says when a row was not readable yet, never when it was."""
    none = ("--visible-time", "none")
    assert one(tmp_path, "entity|write_time|x\nu1|T-200|7", "7", *none) == ("UNVERIFIABLE", None)
    assert one(tmp_path, "entity|write_time|x\nu1|T+200|7", "7", *none) == ("LEAK", 200 * MS)
    assert one(tmp_path, "entity|write_time|visible_time|x\nu1|T-200|T-150|7", "7") == ("PASS", None)
    found = audit(tmp_path, "entity|prediction_time|x\nu1|T|7", "entity|write_time|x\nu1|T-200|7", *none)
    assert told(found) == {"no_upper_bound": 1}
    assert found.report["assumes"] == []
    assert found.report["coverage"] == 0


def test_8_values_are_compared_and_not_only_times(tmp_path: Path):
    """A harmless rewrite passes; what toggles needs a version id to be told apart; what never was is a phantom."""
    assert one(tmp_path, "entity|write_time|x\nu1|T-10000|7\nu1|T+50|7", "7") == ("PASS", None)
    toggle = "entity|write_time|version|x\nu1|T-30000|1|NULL\nu1|T-20000|2|a\nu1|T+20000|3|NULL"
    assert one(tmp_path, toggle, "NULL") == ("LEAK_OR_STALE", None)
    named = "entity|prediction_time|x|x__version\nu1|T|NULL|3\nu1|T|NULL|1"
    assert audit(tmp_path, named, toggle).leads("x") == [("LEAK", 20_000 * MS), ("STALE", None)]
    changed = "entity|write_time|x\nu1|T-10000|5\nu1|T-5000|7"
    assert one(tmp_path, changed, "5") == ("STALE", None)
    found = audit(tmp_path, "entity|prediction_time|x\nu1|T|99", changed)
    assert (found.verdicts("x"), told(found)) == (["UNVERIFIABLE"], {"phantom": 1})
    covers = ("--covers", "2023-11-14T22:13:20.001Z..2024-01-01T00:00:00Z")
    found = audit(tmp_path, "entity|prediction_time|x\nu1|T|7", changed, *covers)
    assert (found.verdicts("x"), told(found)) == (["UNVERIFIABLE"], {"no_coverage": 1})


def test_9_a_join_by_event_time_returns_what_was_backfilled_later(tmp_path: Path):
    """The default of most feature stores: it joins by when a thing happened, and hands back what nobody could read."""
    log = rows(f"entity|event_time|write_time|x\nu1|T-{3 * DAY}|T+7200000|42")
    lag = ("--assumed-lag", "0s", "--latency-budget", "2s")
    by_hand = "entity|prediction_time|x\nu1|T|42\nu1|T|NULL"
    assert audit(tmp_path, by_hand, log, *lag).leads("x") == [("LEAK", 7_200_000 * MS), ("PASS", None)]
    asked = pl.DataFrame({"entity": ["u1"], "prediction_time": [T]})
    joined = asked.join_asof(
        pl.DataFrame(log).select("entity", "event_time", "x"),
        left_on="prediction_time", right_on="event_time", by="entity",
    ).select("entity", "prediction_time", "x")  # fmt: skip
    assert joined["x"].to_list() == [42]
    found = audit(tmp_path, joined.to_arrow(), log, *lag)
    assert found.leads("x") == [("LEAK", 7_200_000 * MS)]
    assert found.report["features"]["x"]["latency"]["backfill_share"] == 1
    assert [finding["subject"] for finding in found.findings("LATE")] == ["x"]


def test_10_a_derived_value_is_as_old_as_its_newest_input(tmp_path: Path):
    """Computed a minute before the read, from what became visible 40 s after it: recomputed offline."""
    for inputs, expected in (("T-90000", ("PASS", None)), ("T+40000", ("LEAK", 40_000 * MS))):
        log = f"entity|write_time|input_visible_from|x\nu1|T-60000|{inputs}|0.25"
        assert one(tmp_path, log, "0.25") == expected


def test_10_a_due_date_may_lie_ahead_if_that_was_declared(tmp_path: Path):
    """An event five days after its write is a violation of causality, or a due date."""
    log = f"entity|event_time|write_time|due_date\nu1|T+{5 * DAY}|T-{DAY}|2023-11-19"
    train = "entity|prediction_time|due_date\nu1|T|2023-11-19"
    found = audit(tmp_path, train, log)
    assert [finding["subject"] for finding in found.findings("FUTURE_DATED")] == ["due_date"]
    found = audit(tmp_path, train, log, "--forward-dated", "due_date")
    assert found.leads("due_date") == [("PASS", None)]
    assert not found.findings("FUTURE_DATED")


def test_11_deleted_entities_that_are_missing_from_the_table_are_found(tmp_path: Path):
    """Survivorship: those that were deleted after the prediction have no row, and they were the positives."""
    drawn = ["entity|write_time|op|x"] + [f"u{i}|T-10000|c|{i}" for i in range(40)]
    log = "\n".join(drawn + [f"u{i}|T+1000|d|NULL" for i in range(30, 40)])
    train = "\n".join(["entity|prediction_time|x|y"] + [f"u{i}|T|{i}|{i % 2}" for i in range(30)])
    found = audit(tmp_path, train, log, "--label", "y")
    assert found.verdicts("x") == ["PASS"] * 30
    (finding,) = found.findings("ROW_EXISTENCE")
    assert "10" in finding["message"]
    whole = train + "".join(f"\nu{i}|T|{i}|1" for i in range(30, 40))
    assert not audit(tmp_path, whole, log, "--label", "y").findings("ROW_EXISTENCE")


def test_11_a_changed_key_is_no_deletion(tmp_path: Path):
    """Delete and create with the old key named: the history goes on under the new one."""
    log = """
        entity | write_time | op | x    | previous_entity
        old    | T-10000    | c  | 7    | NULL
        old    | T-500      | d  | NULL | NULL
        new    | T-500      | c  | 7    | old
    """
    found = audit(tmp_path, "entity|prediction_time|x\nnew|T|7", log)
    assert found.leads("x") == [("PASS", None)]
    assert not found.findings("ROW_EXISTENCE")


STREAM = [{"entity": f"u{i % 7}", "event_time": T // 1000 - 900 + i, "x": i // 7} for i in range(280)]
HYGIENE_TRAIN = [
    {"entity": f"u{i % 7}", "prediction_time": T // 1000 - 880 + 9 * i, "x": (9 * i) // 7 + i % 3} for i in range(28)
]


def stamped(factor: int, *, shift: int = 0, lag: int = 1) -> list[dict[str, object]]:
    """The stream with stamps in another unit, written `lag` seconds after it happened."""
    return [
        row | {"event_time": (row["event_time"] + shift) * factor, "write_time": (row["event_time"] + lag) * factor}
        for row in STREAM
    ]


def test_12_seconds_microseconds_and_nanoseconds_are_one_stream(tmp_path: Path):
    """Units are found by magnitude; logs that disagree are named."""
    seconds = audit(tmp_path, HYGIENE_TRAIN, stamped(1))
    for factor in (1_000, 1_000_000, 1_000_000_000):
        other = audit(tmp_path, HYGIENE_TRAIN, stamped(factor))
        assert other.leads("x") == seconds.leads("x")
    assert not seconds.findings("UNIT_MISMATCH")
    mixed = audit(tmp_path, HYGIENE_TRAIN, [stamped(1)[:140], stamped(1_000_000)[140:]])
    assert mixed.leads("x") == seconds.leads("x")
    assert mixed.findings("UNIT_MISMATCH")


def test_12_one_producer_three_hours_ahead_is_named_after_three_records(tmp_path: Path):
    """A zone error of three hours: the stamps lie 10,800,000 ms ahead."""
    ahead = stamped(1, shift=3 * 3600, lag=1)[:3]
    found = audit(tmp_path, HYGIENE_TRAIN, [stamped(1)[3:], ahead])
    (finding,) = found.findings("TZ_OFFSET")
    assert "10,800,000" in finding["message"] or "10800000" in json.dumps(finding)
    assert not audit(tmp_path, HYGIENE_TRAIN, [stamped(1)[3:], stamped(1)[:3]]).findings("TZ_OFFSET")


def test_12_a_clock_that_steps_back_costs_its_step_in_certainty(tmp_path: Path):
    """Stamps that fall by 40 ms while the sequence rises prove a clock error of 40 ms."""
    log = "entity|write_time|seq|x\nu1|T-10000|1|5\nu1|T-9960|2|6\nu1|T-10000|3|8\nu1|T-30|4|7"
    found = audit(tmp_path, "entity|prediction_time|x\nu1|T|7", log)
    assert found.verdicts("x") == ["SKEW_AMBIGUOUS"]
    (finding,) = found.findings("CLOCK_BACKSTEP")
    assert "40" in finding["message"]
    other = log.replace("u1|T-10000|3|8", "u2|T-9000|2|8\nu2|T-9040|3|8")  # another entity, the same clock
    assert audit(tmp_path, "entity|prediction_time|x\nu1|T|7", other).verdicts("x") == ["SKEW_AMBIGUOUS"]
    steady = log.replace("T-10000|3", "T-9950|3")
    assert audit(tmp_path, "entity|prediction_time|x\nu1|T|7", steady).verdicts("x") == ["PASS"]


def test_12_duplicates_and_another_order_of_rows_change_nothing(tmp_path: Path):
    """Delivery is at least once, and in any order."""
    plain = audit(tmp_path, HYGIENE_TRAIN, stamped(1_000))
    twice = stamped(1_000)[::-1] + stamped(1_000)[::2]
    assert audit(tmp_path, HYGIENE_TRAIN, twice).leads("x") == plain.leads("x")


#: Share of cancels that clear the column: AUC and F1 as trained, honestly, and in production; share of leaked cells.
CHURN_FIGURES = {
    1.0: ((0.997, 0.678, 0.521), (0.996, 0.495, 0.091), 0.3875),
    0.5: ((0.836, 0.684, 0.681), (0.722, 0.509, 0.325), 0.193),
    0.05: ((0.704, 0.683, 0.685), (0.526, 0.503, 0.492), 0.021),
    0.01: ((0.686, 0.683, 0.682), (0.508, 0.496, 0.501), 0.006),
}


@pytest.mark.parametrize("rho", CHURN_FIGURES)
def test_15_the_churn_story_is_worth_what_was_measured(tmp_path: Path, rho: float):
    """A score of 0.997 that is 0.678 honestly and 0.521 in production; every figure within 0.02."""
    train, log = churn_table.tables(seed=1, rho=rho)
    found = audit(tmp_path, train, log, "--entity", "user_id", "--label", "cancelled")
    auc, f1, leaked = CHURN_FIGURES[rho]
    inflation, ways = found.report["inflation"], ("leaky", "as_of", "deployed")
    assert inflation["metric"] == "auc"
    assert [inflation[way] for way in ways] == pytest.approx(auc, abs=0.02)
    assert [inflation["f1"][way] for way in ways] == pytest.approx(f1, abs=0.02)
    features = found.report["features"]
    assert features["last_login"]["leak_share"]["low"] == pytest.approx(leaked, abs=0.02)
    assert features["last_login"]["lead_us"]["max"] >= 1
    others = {name: feature["verdict"] for name, feature in features.items() if name != "last_login"}
    assert set(others.values()) <= {"PASS", "LEAK"}
    assert found.status == 1


def test_15_without_the_trigger_nothing_of_the_label_leaks(tmp_path: Path):
    """Only what is lost for other reasons after the question: a tenth of one in a hundred."""
    train, log = churn_table.tables(seed=1, rho=0.0)
    found = audit(tmp_path, train, log, "--entity", "user_id", "--label", "cancelled")
    assert found.report["features"]["last_login"]["leak_share"]["high"] < 0.01
    assert not found.findings("COUPLED_TX")
