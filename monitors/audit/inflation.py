"""How much of the score is the leak worth?

One small model (`monitors.audit.additive`) and one split, scored three ways:

* *leaky*: trained and scored on the table as it is. What a notebook shows.
* *as of*: trained and scored on the corrected table, in which every cell that did not pass holds the newest value that
  was surely readable at its prediction. What an honest experiment would have shown.
* *deployed*: trained on the table as it is, scored on the corrected one. What production will see, because there the
  leaked values do not exist yet. It can lie below *as of*: a model that leans on the leak has learned little else.

What the figures are not. They are those of this model, not of the reader's: a stronger one will have other figures in
all three columns. They rest on what was readable: where nobody knows that, the caller must leave features or rows out,
and if these differ from the others, the figures are of the others. And a label that is wrong stays wrong.

What the 95 % intervals cover: another draw of the entities that are scored, with the models and the split as they are
(percentile bootstrap, the same draws for all figures). They do not cover the choice of the training rows, of the model
or of the table, and nothing that will change after it.

What keeps it honest: an entity is never in both parts; bins, categories and means are fitted on the training part of
the very table that the model is trained on; nothing is tuned; the order of rows changes no digit.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from monitors.audit.additive import Additive, fit_logistic, fit_ridge
from monitors.audit.encoding import CATEGORIES_MAX, Codes, Encoder, Reading, read_pair
from monitors.audit.figures import RESAMPLES, Judged
from monitors.audit.labels import Label, read_label
from monitors.audit.outcome import Inflation, Scores
from monitors.audit.splits import in_order, shares

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]

#: Quantile bins of a number: as many as leave this many training rows in each, and no more. With few and wide bins, a
#: whole bin changes sides at once, and F1 at a fixed threshold says more about the bins than about the table.
ROWS_PER_BIN, BINS_MAX = 100, 32
#: Levels of all features together: the effort of a fit grows with their third power.
LEVELS_MAX = 400
#: Share of the entities that are kept for scoring.
TEST_SHARE = 0.3
#: Rows (of each class, if there are classes) and entities in each part, below which nothing is said.
ROWS_MIN, ENTITIES_MIN = 50, 20
#: Features in the model, changed ones first; and changed features that are scored one by one, most changed first.
FEATURES_MAX, APART_MAX = 20, 20
#: Rows times pairs of features that one step of a fit may touch: about a quarter of a second.
VISITS_MAX = 25_000_000


def measure(
    leaky: Mapping[str, pa.Array],
    as_of: Mapping[str, pa.Array],
    label: pa.Array,
    *,
    prediction_time_us: Int64,
    entity: UInt64,
    seed: int = 0,
) -> Inflation | str:
    """Score one model three ways; a sentence instead where that means nothing.

    Parameters
    ----------
    leaky, as_of
        The same features of the same rows: as they are in the table, and corrected.
    label
        Two classes, the greater value being the positive one, or numbers; rows where it is NULL are left out.
    prediction_time_us, entity
        int64[n] microseconds UTC, and uint64[n] hashes of the entities.
    seed
        Chooses the split and the resamples.

    Raises
    ------
    ValueError
        The tables do not have the same features and rows.

    Examples
    --------
    >>> user = np.arange(2_000)
    >>> leaves = user % 5 < 2
    >>> found = measure(
    ...     {"closed": pa.array(leaves)},
    ...     {"closed": pa.array(np.zeros(2_000, bool))},
    ...     pa.array(leaves),
    ...     prediction_time_us=np.full(2_000, 1_700_000_000_000_000),
    ...     entity=user.astype(np.uint64),
    ... )
    >>> found.scores.leaky.value, found.scores.as_of.value, found.scores.deployed.value
    (1.0, 0.5, 0.5)
    >>> measure({}, {}, pa.array([1]), prediction_time_us=np.zeros(1, np.int64), entity=np.zeros(1, np.uint64))
    'the label has one class only: 1'
    """
    _check(leaky, as_of, (len(label), prediction_time_us.size, entity.size))
    read = read_label(label)
    if isinstance(read, str):
        return read
    if not leaky:
        return "no feature was audited, so there is nothing to train on"
    rows = np.flatnonzero(~np.isnan(read.values))
    changes = _changes(leaky, as_of, prediction_time_us, rows)
    chosen = sorted(changes, key=lambda name: (-changes[name], name))[:FEATURES_MAX]
    pairs = {name: read_pair(leaky[name], as_of[name], prediction_time_us) for name in sorted(chosen)}
    content = [reading.bits() for pair in pairs.values() for reading in pair]
    rows = in_order(rows, [entity, prediction_time_us.view(np.uint64), read.values.view(np.uint64), *content])
    rows = _thinned(rows, entity, len(pairs))
    is_test = shares(entity[rows], seed) < TEST_SHARE
    train, test = rows[~is_test], rows[is_test]
    for part, members in (("to train", train), ("to score", test)):
        too_few = _too_few(read, members, entity)
        if too_few:
            return f"{too_few} {part}: too few to measure anything"
    bins = max(2, min(BINS_MAX, train.size // ROWS_PER_BIN, LEVELS_MAX // len(pairs)))
    sides = {
        name: (_Side.of(*pair, bins, train, test), _Side.of(pair[1], pair[1], bins, train, test))
        for name, pair in pairs.items()
    }
    measured = _Measured(read, sides, train, Judged.drawn(read.values[test], entity[test], seed))
    apart = [name for name in chosen if changes[name]][:APART_MAX]
    whole, f1, per_feature = measured.all_ways(apart)
    return Inflation(
        metric="auc" if read.is_binary else "r2",
        scores=whole,
        f1=f1,
        per_feature=per_feature,
        rows_train=train.size,
        rows_test=test.size,
        model=_model(read, bins, len(pairs), len(leaky)),
        split=f"{1 - TEST_SHARE:.0%} of the entities to train, {TEST_SHARE:.0%} to score, chosen by a hash; intervals: "
        f"95 %, {RESAMPLES} resamples of the entities scored, with the models as fitted",
        seed=seed,
    )


@dataclass(frozen=True, slots=True)
class _Side:
    """One feature of one of the two tables, in levels that were fitted on its training rows.

    `served` are the corrected values of the test rows in these levels: what production will hand to this model.
    """

    levels: int
    train: Codes
    test: Codes
    served: Codes

    @classmethod
    def of(cls, own: Reading, corrected: Reading, bins: int, train: Int64, test: Int64) -> "_Side":
        encoder = Encoder(own.take(train), bins=bins)
        tested = encoder.codes(own.take(test))
        served = tested if corrected is own else encoder.codes(corrected.take(test))
        return cls(encoder.levels, encoder.codes(own.take(train)), tested, served)


@dataclass(slots=True)
class _Measured:
    """All fits on one split: `sides` holds every feature as it is and corrected."""

    label: Label
    sides: Mapping[str, tuple[_Side, _Side]]
    train: Int64
    judged: Judged

    def all_ways(self, apart: list[str]) -> tuple[Scores, Scores | None, dict[str, Scores]]:
        """The scores of the whole table, their F1, and those with only one feature as it is."""
        honest = [new for _, new in self.sides.values()]
        as_of, _ = self._answers(honest)
        figure = self.judged.auc if self.label.is_binary else self.judged.r2
        as_of_figure = figure(as_of)

        own, served = self._answers([old for old, _ in self.sides.values()]) if apart else (as_of, as_of)
        whole = Scores(figure(own), as_of_figure, figure(served))
        f1 = None
        if self.label.is_binary:
            f1 = Scores(self.judged.f1(own), self.judged.f1(as_of), self.judged.f1(served))
        if len(apart) == 1:  # then the whole table is the table with only this feature as it is
            return whole, f1, {apart[0]: whole}
        per_feature = {}
        for feature in apart:
            own, served = self._answers([old if name == feature else new for name, (old, new) in self.sides.items()])
            per_feature[feature] = Scores(figure(own), as_of_figure, figure(served))
        return whole, f1, per_feature

    def _answers(self, table: list[_Side]) -> tuple[Float64, Float64]:
        """What a model trained on this table answers to its test rows, and to the corrected ones."""
        levels = [side.levels for side in table]
        fit = fit_logistic if self.label.is_binary else fit_ridge
        model: Additive = fit([side.train for side in table], levels, self.label.values[self.train])
        return model.answers([side.test for side in table]), model.answers([side.served for side in table])


def _check(leaky: Mapping[str, pa.Array], as_of: Mapping[str, pa.Array], sizes: tuple[int, ...]) -> None:
    if leaky.keys() != as_of.keys():
        raise ValueError(f"expected the same features in both tables, found {sorted(leaky)} and {sorted(as_of)}")
    found = {*sizes, *(len(column) for column in (*leaky.values(), *as_of.values()))}
    if len(found) != 1:
        raise ValueError(f"expected columns of one length, found lengths {sorted(found)}")


def _changes(
    leaky: Mapping[str, pa.Array], as_of: Mapping[str, pa.Array], prediction_time_us: Int64, rows: Int64
) -> dict[str, int]:
    """In how many of the rows the two tables differ, per feature, as far as a model can see."""
    found = {}
    for name, column in leaky.items():
        if column.equals(as_of[name]):
            found[name] = 0
            continue
        old, new = read_pair(column, as_of[name], prediction_time_us)
        found[name] = int(old.differs(new)[rows].sum())
    return found


def _thinned(rows: Int64, entity: UInt64, features: int) -> Int64:
    """Whole entities, as many as a fit with so many features can take."""
    share = VISITS_MAX / (rows.size * features * (features + 1) / 2 or 1)
    return rows if share >= 1 else rows[shares(entity[rows], 0x7E57) < share]


def _too_few(label: Label, rows: Int64, entity: UInt64) -> str:
    entities = np.unique(entity[rows]).size
    if entities < ENTITIES_MIN:
        return f"expected at least {ENTITIES_MIN} entities, found {entities}"
    if not label.is_binary:
        return "" if rows.size >= ROWS_MIN else f"expected at least {ROWS_MIN} rows, found {rows.size}"
    positives = int(label.values[rows].sum())
    fewest = min(positives, rows.size - positives)
    return "" if fewest >= ROWS_MIN else f"expected at least {ROWS_MIN} rows of each class, found {fewest}"


def _model(label: Label, bins: int, used: int, there: int) -> str:
    kind = f"logistic regression for {label.positive!r}" if label.is_binary else "ridge regression"
    of = f" of {there:,}, changed ones first" if used < there else ""
    return (
        f"{kind} on {used} feature{'' if used == 1 else 's'}{of}: {bins} quantile bins a number, "
        f"{CATEGORIES_MAX} values a category, a level for NULL"
    )
