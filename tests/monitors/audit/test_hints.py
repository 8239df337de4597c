"""Which column is too good to be true? A hint asks for a lot, because it proves nothing."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from monitors.audit.hints import too_good
from monitors.audit.outcome import TableFinding
from monitors.verdicts import Severity

T = 1_700_000_000_000_000
N = 4_000


def asked(values: pa.Array, as_of: pa.Array, label: Any, entity: Any = None) -> TableFinding | None:
    entity = np.arange(len(values)) if entity is None else entity
    return too_good(
        "column",
        values,
        as_of,
        label if isinstance(label, pa.Array) else pa.array(label),
        prediction_time_us=np.full(len(values), T),
        entity=entity.astype(np.uint64),
    )


@pytest.fixture
def chance() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def label(chance: np.random.Generator) -> np.ndarray:
    return chance.random(N) < 0.3


def test_a_column_that_tells_the_label_only_afterwards_is_too_good(chance, label):
    """AUC about 0.98 in the table, one half as of the prediction; a hint, with the numbers that it rests on."""
    before = chance.normal(size=N)
    hint = asked(pa.array(before + 3 * label), pa.array(before), label)
    assert hint is not None
    assert (hint.kind, hint.severity, hint.subject) == ("TOO_GOOD", Severity.INFO, "column")
    assert hint.evidence["auc"] == pytest.approx(0.98, abs=0.01)
    assert hint.evidence["auc_as_of"] == pytest.approx(0.5, abs=0.03)
    assert hint.evidence["auc_null_flag"] == pytest.approx(0.5, abs=0.03)
    assert "a hint, never a verdict" in hint.message


def test_a_column_that_was_as_good_when_it_was_read_is_simply_good(chance, label):
    """Without a jump there is nothing to explain, even if some cells differ."""
    values = chance.normal(size=N) + 3 * label
    as_of = np.where(chance.random(N) < 0.02, 0.0, values)
    assert asked(pa.array(values), pa.array(values), label) is None
    assert asked(pa.array(values), pa.array(as_of), label) is None


def test_a_good_column_below_the_threshold_gives_no_hint(chance, label):
    """Most leaks look like this: hence the verdicts."""
    before = chance.normal(size=N)
    assert asked(pa.array(before + 1.5 * label), pa.array(before), label) is None


def test_a_value_that_occurs_with_one_class_only_is_told_with_its_rows(label):
    """NULL in 2,512 flights, all cancelled: the AUC is far below any threshold, the coincidence is not."""
    missing = label & (np.arange(N) % 4 == 0)
    values = pa.array(["N1"] * N, mask=missing)
    hint = asked(values, pa.nulls(N, pa.string()), label)
    assert hint is not None
    assert f"column is NULL in {missing.sum():,} rows, all of them positive" in hint.message
    assert hint.evidence["auc"] < 0.7
    (pure,) = hint.evidence["pure_values"]
    assert (pure["value"], pure["class"], pure["rows"]) == (None, "positive", missing.sum())


def test_a_strong_column_is_not_described_by_a_value_of_the_common_class(label):
    """Thirty minutes early is never late: true, and beside the point."""
    values = pa.array(np.where(label, 100 + np.arange(N) % 400, np.arange(N) % 5))
    hint = asked(values, pa.array(np.zeros(N, np.int64)), label)
    assert hint is not None
    assert "column is too good to be true: alone it separates the label with an AUC of 1.000" in hint.message
    assert {pure["class"] for pure in hint.evidence["pure_values"]} == {"negative"}


def test_a_pure_value_is_shown_as_people_write_it(label):
    """A sentinel instead of NULL."""
    values = pa.array(np.where(label, -1, np.arange(N) % 7))
    hint = asked(values, pa.array(np.arange(N) % 7), label)
    assert hint is not None
    assert f"column is '-1' in {label.sum():,} rows, all of them positive" in hint.message


def test_a_sentinel_date_is_one_value_whenever_the_question_was_asked(chance, label):
    """To a model it is an age, a different one in every row."""
    day = np.where(label & (np.arange(N) % 3 == 0), 47_481, 19_000)
    hint = too_good(
        "closed",
        pa.array(day.astype(np.int32), pa.date32()),
        pa.array([19_000] * N, pa.date32()),
        pa.array(label),
        prediction_time_us=T + chance.integers(0, 10**12, N),
        entity=np.arange(N, dtype=np.uint64),
    )
    assert hint is not None
    assert hint.message.startswith("closed is '2099-12-31' in ")


def test_a_value_that_was_as_pure_when_it_was_read_is_signal(chance, label):
    """Users who asked to be forgotten before they left: NULL was there to be read."""
    missing = label & (np.arange(N) % 4 == 0)
    values = pa.array(chance.normal(size=N), mask=missing)
    as_of = pa.array(np.where(np.arange(N) % 50 == 0, 9.0, values.fill_null(0).to_numpy()), mask=missing)
    assert asked(values, as_of, label) is None


def test_many_values_alone_make_no_column_good(chance, label):
    """A name in every row separates the classes perfectly where it was learned, and not at all elsewhere."""
    names = pa.array([f"u{i}" for i in range(N)])
    assert asked(names, pa.nulls(N, pa.string()), label) is None
    assert asked(pa.array(chance.random(N)), pa.nulls(N, pa.float64()), label) is None


def test_rows_of_one_entity_count_once():
    """Five users, a thousand rows each: no number of rows is evidence about more than five."""
    user = np.arange(5_000) % 5
    label = user < 2
    values = pa.array(np.where(label, 1.0, 0.0))
    assert asked(values, pa.array(np.zeros(5_000)), label, entity=user) is None


def test_a_value_of_a_few_entities_is_no_coincidence_worth_telling(chance, label):
    """A thousand rows of three users who all left."""
    entity = np.where(np.arange(N) < 1_000, np.arange(N) % 3, np.arange(N))
    label = np.where(np.arange(N) < 1_000, True, label)
    values = pa.array(["x"] * N, mask=np.arange(N) < 1_000)
    assert asked(values, pa.array(["x"] * N), label, entity=entity) is None


def test_chance_alone_gives_no_hint():
    """Columns of noise in small tables: values of a dozen rows, and a number for every row."""
    for seed in range(200):
        noise = np.random.default_rng(seed)
        label = noise.random(120) < 0.5
        assert asked(pa.array(noise.choice(list("abcdefghijk"), 120)), pa.nulls(120, pa.string()), label) is None
        assert asked(pa.array(noise.random(120)), pa.nulls(120, pa.float64()), label) is None


def test_a_jump_within_the_error_of_few_entities_gives_no_hint(chance):
    """A hundred rows each of fifty users: 0.98 against 0.7 may be luck."""
    user = np.arange(5_000) % 50
    label, noise = user < 25, chance.normal(size=5_000)
    values, as_of = pa.array(noise + 3 * label), pa.array(noise + 0.8 * label)
    assert asked(values, as_of, label, entity=user) is None
    assert asked(values, as_of, label, entity=np.arange(5_000)) is not None


def test_shuffled_rows_give_the_identical_hint(chance, label):
    """Which row came first decides nothing."""
    before = np.round(chance.normal(size=N), 1)
    after, order = np.where(label, 5.0, before), chance.permutation(N)
    entity = np.arange(N) // 2
    one = asked(pa.array(after), pa.array(before), label, entity=entity)
    other = asked(pa.array(after[order]), pa.array(before[order]), label[order], entity=entity[order])
    assert one is not None
    assert one == other


def test_a_permuted_label_gives_no_hint(chance, label):
    """The same columns against an answer that is not theirs."""
    before = chance.normal(size=N)
    values = pa.array(before + 3 * label)
    assert asked(values, pa.array(before), chance.permutation(label)) is None


def test_without_two_classes_there_is_nothing_to_separate(label):
    """Numbers, one class, NULL."""
    values, as_of = pa.array(np.arange(N)), pa.array(np.zeros(N, np.int64))
    assert asked(values, as_of, np.arange(N)) is None
    assert asked(values, as_of, np.zeros(N)) is None
    assert asked(values, as_of, pa.nulls(N)) is None
    assert asked(pa.array([], pa.int64()), pa.array([], pa.int64()), pa.array([], pa.bool_())) is None
