"""Drift: the judge beside its naive twin, and the contract of every detector."""

import json
import math
from dataclasses import asdict

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitors import drift
from monitors.drift import DriftJudge, DriftMonitor, Guarantee
from monitors.kernels import martingale
from monitors.reference import DriftReference, edges_of, effect_between, variance_inflation
from tests.monitors import detector_contract as contract
from tests.oracles import martingale_twin as twin

ALPHA = 0.0008  # of one feature of a model with three


def build(alpha=ALPHA):
    return lambda values, life: DriftMonitor(DriftReference.fit(values), alpha=alpha, seed=life)


def normal(rng, n):
    return rng.normal(size=n)


def autocorrelated(rng, n, rho=0.8):
    noise, out = rng.normal(size=n), np.zeros(n)
    for i in range(1, n):
        out[i] = rho * out[i - 1] + noise[i]
    return out


# --- the twin -----------------------------------------------------------------------------------------------------


@st.composite
def lives(draw):
    """A reference, a stream that may drift, atoms, NaN and infinities, and where the stream is cut."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = rng.normal(size=draw(st.integers(0, 700)))
    rows = min(values.size, draw(st.integers(0, 300)))
    values[draw(st.integers(rows, values.size)) :] += draw(st.sampled_from([0.0, 0.0, 0.4, -1.5, 30.0]))
    values = np.round(values, draw(st.sampled_from([0, 1, 9])))
    for odd in (math.nan, math.inf, -math.inf):
        values[rng.random(values.size) < draw(st.sampled_from([0.0, 0.0, 0.05, 0.5]))] = odd
    cuts = sorted(draw(st.lists(st.integers(0, values.size - rows), max_size=4)))
    return values[:rows], values[rows:], cuts, draw(st.integers(0, 2**64 - 1)), draw(st.integers(0, 5))


@settings(max_examples=150, deadline=None)
@given(lives(), st.sampled_from([0.5, 0.01, 1e-9]), st.sampled_from([1.0, 1.0, 3.0]))
def test_the_martingale_agrees_with_its_naive_twin(life, alpha, vif):
    """Same bag, same e-value, same alarm, and no better start than the one it names."""
    rows, stream, cuts, seed, partition = life
    fit = DriftReference.fit(rows)
    numbers = [value for value in rows.tolist() if not math.isnan(value)]
    counted = [value for i, value in enumerate(numbers) if i % 10]
    fit = DriftReference(fit.edges, fit.bag, fit.quantiles, vif, fit.rows, fit.missing)
    ours = DriftMonitor(fit, alpha=alpha, seed=seed)
    edges = [edge for edge in fit.edges.tolist() if not math.isnan(edge)]
    naive = twin.MartingaleTwin(edges, counted, alpha=alpha, temper=1 / vif, seed=seed)
    alarm = None
    for a, b in zip([0, *cuts], [*cuts, stream.size], strict=True):
        alarm = ours.observe(stream[a:b], 1_000 + np.arange(a, b), partition + np.arange(a, b) % 3) or alarm
    for i, value in enumerate(stream.tolist()):
        naive.observe(value, partition + i % 3, 1_000 + i)
        if naive.has_alarmed:
            break
    assert ours.has_alarmed == naive.has_alarmed == (alarm is not None)
    assert ours.missing == naive.missing
    at_or_above = [sum(1 for cell in naive.bag if cell >= edge) for edge in range(17)]
    assert ours.snapshot()["bag"].tolist() == at_or_above
    assert ours.log_e == pytest.approx(naive.log_e, rel=1e-9, abs=1e-9)
    if naive.checks:
        money = [max(naive.money[bet, t + 1] for t in range(naive.checks)) for bet in naive.bets_in_order()]
        assert ours.snapshot()["best"] == pytest.approx(money, rel=1e-9, abs=1e-9)
    if alarm is not None:
        assert (alarm.alarm.offset, alarm.alarm.partition) == (1_000 + i, partition + i % 3)
        assert alarm.change.partition == partition + (alarm.change.offset - 1_000) % 3
        start = alarm.change.seen // 100 + 1
        assert naive.best_money(start) == pytest.approx(max(naive.money.values()), rel=1e-9)


def test_kernels_are_compiled():
    """Without this, a disabled JIT would make us compare Python with Python."""
    for kernel in (martingale.follow, martingale.find_cells, martingale.fill_bag):
        assert hasattr(kernel, "py_func")


def test_no_kernel_is_compiled_on_a_first_event():
    """To numba a read-only or strided column is another type; compiling takes seconds, in the middle of the stream."""
    drift.warm_up()
    before = len(martingale.follow.signatures)
    monitor = build()(np.arange(100.0), 0)
    arrow = pa.array(np.arange(50.0)).to_numpy()
    assert not arrow.flags.writeable
    monitor.observe(arrow, np.arange(100)[::2], 0)
    monitor.observe(np.arange(50, dtype=np.float32), np.arange(50, dtype=np.int32), np.zeros(50, np.int32))
    assert len(martingale.follow.signatures) == before == 1


def test_start_weights_are_the_whole_money_and_no_more():
    """Their sum is what the promise divides by: above 1, the promise is broken for the long-lived."""
    total = math.fsum(martingale.start_weight(t) for t in range(1, 100_001))
    assert total == pytest.approx(1 - 1 / math.log2(100_002), rel=1e-12)


# --- the contract, and controls that it can be broken -------------------------------------------------------------

NULLS = {
    "normal": normal,
    "heavy-tailed": lambda rng, n: rng.standard_cauchy(n),
    "nine tenths zeros": lambda rng, n: np.where(rng.random(n) < 0.9, 0.0, rng.exponential(size=n)),
    "yes or no": lambda rng, n: (rng.random(n) < 0.3).astype(float),
}


@pytest.mark.parametrize("draw", NULLS.values(), ids=NULLS.keys())
def test_false_alarms_stay_within_the_stated_rate(draw):
    """The promise itself, with a budget loose enough that breaking it would show in 400 lives of 20,000 values."""
    contract.keeps_its_rate(build(alpha=0.1), 0.1, draw, lives=400, rows=200, events=20_000)


@pytest.mark.parametrize(("sigma", "delay_max"), [(1.0, 200), (0.5, 500)])
def test_a_shift_is_found_within_the_stated_delay(sigma, delay_max):
    contract.finds_a_shift(build(), sigma, delay_max, rows=2_000, stable=3_000, lives=21)


def test_the_contract_can_be_broken():
    """A law that no detector fails proves nothing about those that keep it."""
    with pytest.raises(AssertionError, match="median delay inf"):
        contract.finds_a_shift(lambda *_: contract.NeverAlarm(), 1.0, 200, rows=10, stable=10, lives=3)
    contract.keeps_its_rate(lambda *_: contract.NeverAlarm(), 0.1, normal, lives=20, rows=1, events=1)
    with pytest.raises(AssertionError, match="20 of 20 lives"):
        contract.keeps_its_rate(lambda *_: contract.AlwaysAlarm(), 0.1, normal, lives=20, rows=1, events=1)
    with pytest.raises(AssertionError, match="median delay inf"):  # an alarm before the change found nothing
        contract.finds_a_shift(lambda *_: contract.AlwaysAlarm(), 1.0, 200, rows=10, stable=10, lives=3)


@settings(max_examples=60, deadline=None)
@given(lives())
def test_batches_and_restores_change_nothing(life):
    rows, stream, cuts, _, _ = life
    contract.ignores_batches(build(alpha=0.5), rows, stream, cuts)
    contract.survives_a_restore(build(alpha=0.5), rows, stream, cuts[0] if cuts else 0)


def test_state_stays_small_and_absence_is_no_news():
    contract.stays_small(build(), bytes_max=6_500)
    contract.lets_nothing_pass_for_news(build())


# --- what an alarm says -------------------------------------------------------------------------------------------


def test_a_frozen_bag_stays_frozen():
    """After the alarm the drifted values must not become the new normal before a person has looked."""
    rng = np.random.default_rng(2)
    monitor = build()(rng.normal(size=500), 0)
    assert monitor.observe(rng.normal(3, size=1_000), np.arange(1_000), 0) is not None
    before = monitor.snapshot()
    assert monitor.observe(rng.normal(3, size=1_000), np.arange(1_000, 2_000), 0) is None
    assert monitor.has_alarmed
    assert all(np.array_equal(before[name], array, equal_nan=True) for name, array in monitor.snapshot().items())


def test_an_alarm_measures_the_change_since_it_began():
    """A million stable values before it must not dilute the effect that people are shown."""
    rng = np.random.default_rng(4)
    monitor = build()(rng.normal(size=2_000), 0)
    stream = rng.normal(size=201_000) + (np.arange(201_000) >= 200_000)
    alarm = monitor.observe(stream, np.arange(201_000), 0, 10 * np.arange(201_000))
    assert alarm.change.seen == alarm.change.offset == alarm.change.time_us // 10 == 200_000
    assert alarm.n_current == alarm.alarm.offset + 1 - 200_000
    assert alarm.effect.ks == pytest.approx(0.38, abs=0.08)
    assert alarm.effect.shift_sigma == pytest.approx(1.0, abs=0.25)
    assert alarm.effect.psi > 3 * alarm.effect.psi_expected
    assert alarm.quantiles_current[2] - alarm.quantiles_reference[2] == pytest.approx(1.0, abs=0.3)
    assert alarm.log_e >= alarm.log_e_limit == pytest.approx(-math.log(ALPHA))


def test_a_constant_that_moves_is_noticed_in_both_directions():
    """Without an edge just above an atom, everything above a constant would look like the constant."""
    for moved in (1.0 + 1e-9, 1.0 - 1e-9):
        monitor = build()(np.ones(200), 0)
        assert monitor.observe(np.ones(3_000), np.arange(3_000), 0) is None
        assert monitor.observe(np.full(300, moved), 3_000 + np.arange(300), 0) is not None


def test_dependence_is_tempered_and_said():
    """Autocorrelation 0.8 makes an untempered martingale alarm on stable streams, so the word must change as well."""
    rng = np.random.default_rng(6)
    alarms = {"tempered": 0, "untempered": 0}
    for life in range(20):
        stream = autocorrelated(rng, 12_000)
        fit = DriftReference.fit(stream[:2_000])
        bold = DriftReference(fit.edges, fit.bag, fit.quantiles, 1.0, fit.rows, fit.missing)
        for name, one in (("tempered", fit), ("untempered", bold)):
            monitor = DriftMonitor(one, alpha=0.01, seed=life)
            alarms[name] += monitor.observe(stream[2_000:], np.arange(10_000), 0) is not None
        assert DriftMonitor(fit, alpha=0.01, seed=0).guarantee is Guarantee.APPROXIMATE
        assert 4 < fit.vif < 16  # in theory (1 + 0.8) / (1 - 0.8) = 9
    assert alarms["tempered"] <= 1
    assert alarms["untempered"] >= 10


def test_independent_references_are_called_exact():
    rng = np.random.default_rng(8)
    inflated = sum(variance_inflation(rng.normal(size=2_000)) > drift.VIF_EXACT for _ in range(100))
    assert inflated <= 12  # measured: 5 of 100


@given(st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0, 3.0, math.inf]), max_size=60), st.integers(0, 40))
def test_edges_increase_and_give_every_atom_its_own_cell(values, distinct):
    """Levels that share a value collapse; the cells must still tell below, at and above it."""
    sample = np.array([*values, *range(distinct)], float)
    edges = edges_of(sample)
    live = edges[~np.isnan(edges)]
    assert edges.size == martingale.CELLS
    assert live.size < martingale.CELLS
    assert np.array_equal(edges[: live.size], live)
    assert (np.diff(live) > 0).all()
    assert set(live) <= {*sample, *np.nextafter(sample, np.inf)}
    for value, times in zip(*np.unique(sample, return_counts=True), strict=True):
        if times >= 0.25 * sample.size:  # levels are at most 0.11 apart: at least two of them share this value
            assert {value, np.nextafter(value, np.inf)} <= set(live)


def test_effects_of_nothing_are_nothing():
    none = np.zeros(17, np.int64)
    some = np.array([10] * 4 + [0] * 13)
    assert all(math.isnan(value) for value in asdict(effect_between(none, some)).values())
    assert effect_between(some, some).ks == effect_between(some, some).psi == 0


def test_an_impossible_alpha_or_ragged_input_is_refused():
    fit = DriftReference.fit(np.arange(100.0))
    for alpha in (0.0, 1.0, 1e-200, math.nan):
        with pytest.raises(ValueError, match="expected an alpha"):
            DriftMonitor(fit, alpha=alpha, seed=0)
    with pytest.raises(ValueError, match="as many values as offsets"):
        DriftMonitor(fit, alpha=0.1, seed=0).observe(np.zeros(3), np.arange(2), 0)
    with pytest.raises(ValueError, match="at least 30 reference rows, found 29"):
        DriftJudge("m", ("f",), reference_rows=29, alpha=0.1)
    with pytest.raises(ValueError, match="every feature once"):
        DriftJudge("m", ("f", "f"), reference_rows=30, alpha=0.1)


# --- the judge of a model -----------------------------------------------------------------------------------------


def story(rng, rows=3_000, change=2_200):
    """Predictions of a model with three features, of which `amount` drifts at row `change`; `note` is no number."""
    at = np.arange(rows)
    columns = {
        "amount": rng.lognormal(3, 1, size=rows) * np.where(at < change, 1, 3),
        "age": rng.normal(40, 12, size=rows),
        "note": np.full(rows, np.nan),
    }
    return columns, at, 1_700_000_000_000_000 + 1_000 * at


def judge_of(columns, rows=1_000):
    return DriftJudge("churn's", tuple(columns), reference_rows=rows, alpha=ALPHA)


def feed(judge, columns, offsets, times_us, cuts):
    findings = []
    for a, b in zip([0, *cuts], [*cuts, offsets.size], strict=True):
        part = {name: column[a:b] for name, column in columns.items()}
        findings += judge.observe(part, offsets[a:b], partition=3, read_time_us=times_us[a:b])
    return findings


def test_the_judge_pages_once_for_the_feature_that_drifts():
    columns, offsets, times_us = story(np.random.default_rng(1))
    (finding,) = feed(judge_of(columns), columns, offsets, times_us, [10, 990, 1_700])
    assert (finding.model, finding.feature, finding.kind, finding.severity) == ("churn's", "amount", "DRIFT", "page")
    evidence = json.loads(json.dumps(finding.evidence))
    assert abs(evidence["change_offset"] - 2_200) <= 100
    assert 2_200 < evidence["alarm_offset"] <= 2_500
    assert finding.since_us == times_us[evidence["change_offset"]] == evidence["change_time_us"]
    assert evidence["n_reference"] == 900
    assert evidence["guarantee"] == "exact"
    assert evidence["log_e"] >= evidence["log_e_limit"]


def test_a_model_without_drift_has_no_finding():
    columns, offsets, times_us = story(np.random.default_rng(1), rows=20_000, change=10**9)
    judge = judge_of(columns)
    assert feed(judge, columns, offsets, times_us, []) == []
    assert judge.monitor("note").missing == 19_000


def test_the_sql_of_a_finding_shows_what_it_says():
    """The query is what a person runs first; it must count the rows that the evidence counts."""
    columns, offsets, times_us = story(np.random.default_rng(1))
    (finding,) = feed(judge_of(columns), columns, offsets, times_us, [])
    with duckdb.connect() as lake:
        lake.execute("CREATE TABLE prediction_values (model TEXT, feature TEXT, read_time_us BIGINT, value_num DOUBLE)")
        for name, column in columns.items():
            frame = {"t": times_us, "v": column}
            lake.register("frame", pa.table(frame))
            lake.execute("INSERT INTO prediction_values SELECT 'churn''s', ?, t, v FROM frame", [name])
        shown = {row[0]: row[1:] for row in lake.execute(finding.sql).fetchall()}
    assert list(shown) == ["reference", "current"]
    assert shown["reference"][0] == 1_000
    assert shown["current"][0] == finding.evidence["n_current"]
    assert shown["current"][1] > 2 * shown["reference"][1]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 3_000), max_size=6).map(sorted), st.integers(0, 3_000))
def test_a_judge_restored_anywhere_says_the_same(cuts, stop):
    """In the middle of the reference, of a block, after the alarm; whatever the batches were."""
    columns, offsets, times_us = story(np.random.default_rng(1))
    whole = judge_of(columns)
    expected = feed(whole, columns, offsets, times_us, [])
    first, second = judge_of(columns), judge_of(columns)
    head = {name: column[:stop] for name, column in columns.items()}
    found = feed(first, head, offsets[:stop], times_us[:stop], [cut for cut in cuts if cut <= stop])
    second.restore(first.snapshot())
    tail = {name: column[stop:] for name, column in columns.items()}
    found += feed(second, tail, offsets[stop:], times_us[stop:], [])
    assert found == expected
    contract.is_same_state(whole, second)


def test_a_snapshot_of_another_definition_is_refused():
    """To judge with a reference of other features or another length would look like drift."""
    columns, *_ = story(np.random.default_rng(1), rows=10)
    shot = judge_of(columns).snapshot()
    with pytest.raises(ValueError, match="expected a snapshot of amount, age with 1000"):
        DriftJudge("churn's", ("amount", "age"), reference_rows=1_000, alpha=ALPHA).restore(shot)
    with pytest.raises(ValueError, match="found amount, age, note with 1000"):
        judge_of(columns, rows=500).restore(shot)


def test_an_absent_column_is_missing():
    judge = DriftJudge("m", ("a", "b"), reference_rows=30, alpha=ALPHA)
    at = np.arange(50)
    assert judge.observe({"a": at + 0.5}, at, partition=0, read_time_us=at) == []
    assert judge.monitor("b").missing == 20


def test_a_judge_without_features_is_quiet():
    judge = DriftJudge("m", (), reference_rows=30, alpha=ALPHA)
    at = np.arange(50)
    assert judge.observe({}, at, partition=0, read_time_us=at) == []
    judge.restore(judge.snapshot())
    assert judge.has_reference
