"""The acceptance cases of the millisecond test, in the milliseconds in which people tell them.

T is the read. A history is (value, visible from), optionally (value, write time, visible time); None is NULL.
"""

import numpy as np
import pytest

from features.lineage import value_hash
from features.times import FOREVER_US
from monitors.kernels import intervals
from monitors.leakage import CellSet, Verdicts, VersionSet, bounds, covered, judge
from monitors.verdicts import REASONS, VERDICTS, Reason, Tier, Verdict

T = 1_700_000_000_000
MS = 1_000
DAY = 86_400_000
UNKNOWN = object()


def history(*versions, eps_ms=0, res_ms=1, seq=None, tier=Tier.E2) -> VersionSet:
    write = [v[1] * MS for v in versions]
    visible = [FOREVER_US if v[-1] is UNKNOWN else v[-1] * MS for v in versions]
    a, b = bounds(write, visible, clock_error_us=eps_ms * MS, resolution_us=res_ms * MS)
    return VersionSet(
        np.array([0, len(versions)]),
        a,
        b,
        np.array([value_hash(v[0]) for v in versions], np.uint64),
        ids=np.arange(1, len(versions) + 1).astype(np.uint64),
        seq=None if seq is None else np.array(seq),
        eps_us=np.array([eps_ms * MS]),
        resolution_us=np.array([res_ms * MS]),
        tier=np.array([tier], np.int8),
    )


def judged(versions: VersionSet, value, at=T, **cell) -> Verdicts:
    given = {name: np.array([v]) for name, v in cell.items()}
    hashes = np.array([value_hash(value)], np.uint64)
    return judge(versions, CellSet(np.array([0]), np.array([at * MS]), hashes, **given))


def told(versions: VersionSet, value, at=T, **cell) -> str:
    """A verdict as the specification writes it: PASS, LEAK(+5003), SKEW_AMBIGUOUS(same_ms)."""
    found = judged(versions, value, at, **cell)
    ((verdict, reason),) = found.words()
    if verdict is Verdict.LEAK:
        return f"LEAK(+{found.lead_us[0] / MS:.12g})"
    return f"{verdict}({reason})" if reason is not Reason.NONE else str(verdict)


def test_case_1_an_old_value_passes():
    assert told(history(("D", T - 3_600_000)), "D") == "PASS"


def test_case_2_the_trigger_null_leaks_and_the_old_date_does_not():
    """The seed story: the cancel clears the field 5,003 ms after the prediction."""
    versions = history(("D", T - DAY), (None, T + 5003))
    assert told(versions, None) == "LEAK(+5003)"
    assert told(versions, float("nan")) == "LEAK(+5003)"
    assert told(versions, "D") == "PASS"


@pytest.mark.parametrize(
    ("write", "value", "expected"),
    [
        (T - 1, 7, "PASS"),
        (T, 7, "SKEW_AMBIGUOUS(same_ms)"),
        (T + 1, 7, "LEAK(+1)"),
        (T, 5, "SKEW_AMBIGUOUS(same_ms)"),
    ],
)
def test_case_3_one_millisecond_decides(write, value, expected):
    """The name of the whole thing: what was known at T minus one millisecond?"""
    assert told(history((5, T - 10_000), (7, write)), value) == expected


@pytest.mark.parametrize(("value", "expected"), [(7, "PASS"), (5, "STALE")])
def test_case_3_a_position_decides_within_the_millisecond(value, expected):
    """The read carries its place in the same sequence, and the write stands before it."""
    versions = history((5, T - 10_000), (7, T), seq=[100, 200])
    found = judged(versions, value, position=201)
    assert VERDICTS[found.verdict[0]] == expected
    assert found.tier[0] == Tier.E1
    assert told(versions, 7, position=199) == "LEAK(+0.001)"  # after the read in order, at the same stamp
    assert told(versions, 7, position=200) == "SKEW_AMBIGUOUS(same_ms)"  # order says nothing about equals


@pytest.mark.parametrize(("write", "expected"), [(T - 3, "SKEW_AMBIGUOUS(skew)"), (T - 6, "PASS"), (T + 6, "LEAK(+1)")])
def test_case_4_a_clock_error_costs_certainty_and_lead(write, expected):
    """With 5 ms of clock error a write 6 ms later proves a lead of 1 ms, not of 6."""
    assert told(history((5, T - 10_000), (7, write), eps_ms=5), 7) == expected


def test_case_5_coarse_stamps_are_ambiguous_within_their_unit():
    def second(stamp):
        return history((5, T - 100_000), (7, stamp), res_ms=1_000)

    assert told(second(T), 7, at=T + 400) == "SKEW_AMBIGUOUS(resolution)"
    assert told(second(T - 1_000), 7, at=T + 400) == "PASS"
    midnight = T - T % DAY
    assert told(history((5, midnight - 9 * DAY), (7, midnight), res_ms=DAY), 7) == "SKEW_AMBIGUOUS(resolution)"


def test_case_7_a_lower_bound_convicts_and_never_acquits():
    """Append times alone prove no PASS; the store's acknowledgement does."""
    assert told(history((7, T - 200, UNKNOWN)), 7) == "UNVERIFIABLE(no_upper_bound)"
    assert told(history((7, T + 200, UNKNOWN)), 7) == "LEAK(+200)"
    assert told(history((7, T - 200, T - 150)), 7) == "PASS"


def test_case_8_values_are_compared_not_only_times():
    assert told(history((7, T - 10_000), (7, T + 50)), 7) == "PASS"
    toggle = history((None, T - 30_000), ("a", T - 20_000), (None, T + 20_000))
    assert told(toggle, None) == "LEAK_OR_STALE"
    assert told(toggle, None, named=np.uint64(3)) == "LEAK(+20000)"
    assert told(toggle, None, named=np.uint64(1)) == "STALE"
    assert told(history((5, T - 10_000), (7, T - 5_000)), 5) == "STALE"
    assert told(history((5, T - 10_000)), 99) == "UNVERIFIABLE(phantom)"


def test_case_8_a_log_that_begins_after_the_read_says_nothing():
    at = np.array([T * MS])
    is_covered = covered(at, at + 1, [((T + 1) * MS, FOREVER_US)])
    assert told(history((5, T - 10_000)), 5, covered=is_covered[0]) == "UNVERIFIABLE(no_coverage)"


def test_case_9_a_backfill_is_judged_by_when_it_was_written():
    """It happened three days before; that helps nobody who reads two hours before it arrives."""
    versions = history((42, T + 7_200_000))
    assert told(versions, 42) == "LEAK(+7200000)"
    assert told(versions, None) == "PASS"


@pytest.mark.parametrize(("input_visible", "expected"), [(T - 90_000, "PASS"), (T + 40_000, "LEAK(+40000)")])
def test_case_10_a_derived_value_is_no_older_than_its_newest_input(input_visible, expected):
    """Recomputed offline from later rows, it carries its input's time, whatever its own stamp says."""
    a, b = bounds([(T - 60_000) * MS], input_visible_from_us=[input_visible * MS])
    assert told(VersionSet(np.array([0, 1]), a, b, np.array([value_hash(0.25)], np.uint64)), 0.25) == expected


def test_a_null_before_the_first_version_is_no_stale_value():
    """ABSENT equals NULL, but a NULL that leaks must not be excused by the time before the first write."""
    assert told(history(("D", T - DAY), (None, T + 1)), None) == "LEAK(+1)"
    assert told(history(("D", T + 1)), None) == "PASS"
    assert told(VersionSet(np.array([0, 0]), *bounds([]), np.array([], np.uint64)), None) == "PASS"


def test_a_read_between_write_and_acknowledgement_says_so():
    """Neither clock nor resolution is at fault: the value was on its way."""
    assert told(history((5, T - DAY), (7, T - 10, T + 10)), 7) == "SKEW_AMBIGUOUS(in_flight)"


def test_a_stamp_is_never_a_leak():
    """The node read it, so it was readable: a bound that says otherwise convicts the clock."""
    versions = history((5, T - DAY), (7, T + 20))
    found = judged(versions, 7, stamps=np.uint64(2))
    assert found.words() == [(Verdict.PASS, Reason.NONE)]
    assert (found.tier[0], found.clock_gap_us[0]) == (Tier.E0, 20 * MS)


def test_the_clock_gap_is_exactly_what_reconciles_bounds_and_stamp():
    """One microsecond less would leave the contradiction."""
    gap = int(judged(history((7, T + 20)), 7, stamps=np.uint64(1)).clock_gap_us[0])
    for eps_us, remaining in [(gap, 0), (gap - 1, 1)]:
        a, b = bounds([(T + 20) * MS], clock_error_us=eps_us)
        versions = VersionSet(
            np.array([0, 1]), a, b, np.array([value_hash(7)], np.uint64), ids=np.array([1], np.uint64)
        )
        assert judged(versions, 7, stamps=np.uint64(1)).clock_gap_us[0] == remaining


def test_a_stamp_is_stale_only_if_a_newer_version_was_surely_readable():
    assert told(history((5, T - DAY), (7, T - 10)), 5, stamps=np.uint64(1)) == "STALE"
    assert told(history((5, T - DAY), (7, T - 10, UNKNOWN)), 5, stamps=np.uint64(1)) == "PASS"


def test_a_stamp_that_is_unknown_or_holds_another_value_proves_nothing():
    """Evidence that contradicts itself is no evidence, in either direction."""
    versions = history((5, T - DAY), (7, T + 10))
    assert told(versions, 5, stamps=np.uint64(9)) == "UNVERIFIABLE(stamp_unknown)"
    assert told(versions, 7, stamps=np.uint64(1)) == "UNVERIFIABLE(stamp_mismatch)"


def test_a_history_whose_beginning_was_dropped_convicts_nobody_of_a_leak():
    """The dropped versions may have held the value: stale is possible again, phantom can no longer be claimed."""
    whole = history(("D", T - DAY), (None, T + 5))
    cut = VersionSet(whole.start, whole.a_us, whole.b_us, whole.hashes, ids=whole.ids, begins=np.array([False]))
    assert told(cut, "D") == "PASS"
    assert told(cut, None) == "LEAK_OR_STALE(no_coverage)"
    assert told(cut, None, named=np.uint64(2)) == "LEAK(+5)"
    assert told(cut, 99) == "UNVERIFIABLE(no_coverage)"
    assert told(cut, "D", at=T - 2 * DAY) == "UNVERIFIABLE(no_coverage)"


def test_the_tier_is_that_of_the_weakest_input():
    versions = history((7, T - 10), tier=Tier.E3)
    assert judged(versions, 7).tier[0] == Tier.E3
    assert judged(versions, 7, tier=np.int8(Tier.E4)).tier[0] == Tier.E4
    assert judged(versions, 7, stamps=np.uint64(1), tier=np.int8(Tier.E4)).tier[0] == Tier.E4
    beaten = history((5, T - DAY), (7, T - 10), tier=Tier.E3)
    assert judged(beaten, 5, stamps=np.uint64(1)).tier[0] == Tier.E3  # "not the newest" rests on the bounds


def test_the_kernel_speaks_the_codes_of_the_words():
    """It writes them out, so that a cached compilation cannot disagree silently; this holds the two together."""
    assert [v.code for v in VERDICTS] == [getattr(intervals, v.name) for v in VERDICTS]
    spoken = [r for r in REASONS if r is not Reason.PLACEHOLDER]  # nothing here tells a missing value yet
    assert [r.code for r in spoken] == [getattr(intervals, r.name) for r in spoken]


def test_kernels_are_compiled():
    """Without this, a disabled JIT would make us compare Python with Python."""
    assert hasattr(intervals.judge_cells, "py_func")
