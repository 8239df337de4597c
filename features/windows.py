"""What lies in this entity's window now?

A window covers P panes of fixed width. A pane is `floor(event time / pane width)`, so panes of all entities begin at
the same instants. An entity's window ends with pane E, the greatest of

- the panes of its own applied rows (they passed `where` and were on time),
- the pane of its log's watermark,

and covers panes E - P + 1 to E. A tumbling window has one pane. E never steps back. A row in a pane up to E - P lies
outside the window and is not applied.

**Time moves windows.** When the watermark passes into pane w, windows that end before w lose their oldest panes. Where
that changes a value, a version is made *by time*: it carries the coordinates of the row that moved the watermark,
happened at the beginning of pane w, and is one version, however many panes fell out. If that row is applied to the
same window, the row's own version tells loss and gain together: at most one version per row, entity and feature.

**Rows move windows.** An applied row that changes a value makes a version; one that does not makes none.

An entity belongs to the log that last gave it an applied row. Usually that is the only one; the window of an entity
whose rows come in two logs depends on how these are interleaved.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from features.aggregates import AGGREGATES, LAST, MAX, MIN
from features.canonical import scalar_of
from features.definitions import Feature
from features.kernels import panes
from features.lineage import Scalar

Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

#: Slots of a wheel: enough for panes of the window and of the lateness, up to this (256 KiB a log). Beyond, keys that
#: fall due in different rounds share a slot and are looked at more than once.
SLOTS_MAX = 65_536
_KEYS_FIRST = 64


@dataclass(frozen=True, slots=True)
class Changes:
    """Values that a batch changed, in order of (row, by time before own, feature, key).

    Parameters
    ----------
    row, feature, key
        int64[m]: row of the batch, feature of the ring, key.
    by_time
        bool[m]: changed by time alone.
    value
        float64[m]: NaN is NULL.
    time_us, input_time_us, window_end_us
        int64[m]: event time of the version, of its newest input, and end of the window.
    outside
        bool[n]: rows of the batch that passed `where` and came on time, but lie before the window of their key.
    """

    row: Int64
    feature: Int64
    key: Int64
    by_time: Bool
    value: Float64
    time_us: Int64
    input_time_us: Int64
    window_end_us: Int64
    outside: Bool


class Ring:
    """Windows of all features that share `where`, width and panes.

    Parameters
    ----------
    features
        Window features, in order of declaration.
    inputs
        Name of the input of each feature; features with one name share its panes.
    lateness_us
        Of the source: bounds how far rows lie ahead of the watermark.

    Examples
    --------
    >>> clicks = Feature(name="clicks", source="s", aggregate="count", window_us=20, panes=2)
    >>> ring = Ring([clicks], [""], lateness_us=0)
    >>> times = np.array([5, 15, 25])
    >>> changes = ring.apply(np.zeros(3, np.int32), times, times, np.ones(3, bool), {"": np.zeros(3)}, log=0, keys=1)
    >>> changes.value.tolist(), changes.window_end_us.tolist()     # the third row replaces the first: no change
    ([1.0, 2.0], [10, 20])
    """

    def __init__(self, features: Sequence[Feature], inputs: Sequence[str], *, lateness_us: int) -> None:
        self.features = list(features)
        self.pane_us = features[0].pane_us
        self.panes = features[0].panes
        self.inputs = list(dict.fromkeys(inputs))
        made_of = [AGGREGATES[str(feature.aggregate)] for feature in features]
        sources = [self.inputs.index(name) for name in inputs]
        cells = list(dict.fromkeys((m.accumulator, s) for m, s in zip(made_of, sources, strict=True) if m.accumulator))
        wants_last = {s for m, s in zip(made_of, sources, strict=True) if m.code == LAST}
        self._lay_out(len(cells), wants_last)
        self._kinds = _int32(m.code for m in made_of)
        self._sources = _int32(sources)
        places = [
            cells.index((m.accumulator, s)) if m.accumulator else -1 for m, s in zip(made_of, sources, strict=True)
        ]
        self._cell_of = _int32(self._cells[c] if c >= 0 else -1 for c in places)
        self._cell_kind = _int32(kind for kind, _ in cells)
        self._cell_source = _int32(source for _, source in cells)
        self._empty = np.array([{MIN: np.inf, MAX: -np.inf}.get(kind, 0.0) for kind, _ in cells], np.float64)
        span = self.panes + lateness_us // self.pane_us + 2
        self._slots = min(2 ** int(span - 1).bit_length(), SLOTS_MAX)
        self._heads = np.empty((0, self._slots), np.int32)
        self._marks = np.empty(0, np.int64)
        self._words = np.empty((0, self._width), np.int64)

    def _lay_out(self, cells: int, wants_last: set[int]) -> None:
        """Give each thing that a key holds its words; counts are 32 bits wide, so two of them share a word."""
        at = panes.FIRST_FREE
        newest, counts, lasts = [], [], []
        for source in range(len(self.inputs)):
            newest.append(at)
            counts.append(2 * (at + 1))
            at += 1 + (self.panes + 1) // 2
            lasts.append(at if source in wants_last else -1)
            at += source in wants_last
        self._newest, self._counts, self._lasts = _int32(newest), _int32(counts), _int32(lasts)
        self._cells = _int32(at + c * self.panes for c in range(cells))
        at += cells * self.panes
        self._places = _int32(at + 3 * f for f in range(len(self.features)))
        self._width = at + 3 * len(self.features)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._heads.nbytes + self._marks.nbytes + self._words.nbytes

    def present(self, key: int, feature: int) -> tuple[Scalar, int, int]:
        """Present value, event time (microseconds) and id of its version; id 0: there is none."""
        at = self._places[feature]
        words = self._words[key]
        value = words[at + panes.VALUE : at + panes.VALUE + 1].view(np.float64)[0]
        return (
            scalar_of(float(value)),
            int(words[at + panes.VALUE_TIME]),
            int(words[at + panes.VALUE_ID].view(np.uint64)),
        )

    def presents(self, keys: Int32, feature: int) -> tuple[Float64, Int64, npt.NDArray[np.uint64]]:
        """`present` of many keys: numbers (NaN is NULL), event times and ids, each [n]."""
        at = self._places[feature]
        value, time_us, ids = (self._words[keys, at + word] for word in (panes.VALUE, panes.VALUE_TIME, panes.VALUE_ID))
        return value.view(np.float64), time_us, ids.view(np.uint64)

    def note_ids(self, key: Int64, feature: Int64, ids: npt.NDArray[np.uint64]) -> None:
        """Remember the ids of the versions that `apply` found, in its order."""
        panes.note_ids(key, self._places[feature] + panes.VALUE_ID, ids, self._words.view(np.uint64))

    def apply(
        self,
        key: Int32,
        event_time_us: Int64,
        watermark_us: Int64,
        is_open: Bool,
        inputs: dict[str, Float64],
        *,
        log: int,
        keys: int,
    ) -> Changes:
        """Apply the rows of one batch of one log.

        Parameters
        ----------
        watermark_us
            int64[n]: the log's watermark after each row.
        is_open
            bool[n]: on time, and selected by `where`.
        inputs
            float64[n] by name: NaN is NULL.
        log
            Number of the log; a new one is the next number.
        keys
            How many keys there are by now.
        """
        self._reserve(keys, log + 1)
        columns = np.stack([inputs[name] for name in self.inputs])
        columns[~np.isfinite(columns)] = np.nan
        words = self._words
        found, value, outside, _ = panes.pass_rows(
            key, event_time_us, watermark_us // self.pane_us, is_open, columns, log, self.panes, self.pane_us,
            self._kinds, self._sources, self._cell_of, self._places, self._newest, self._counts, self._lasts,
            self._cells, self._cell_kind, self._cell_source, self._empty, words, words.view(np.int32),
            words.view(np.float64), self._heads, self._marks,
        )  # fmt: skip
        row, own, feature, changed, input_time_us, end = np.ascontiguousarray(found.T)
        by_time = own == 0
        time_us = np.where(by_time, end * self.pane_us, event_time_us[row])
        return Changes(row, feature, changed, by_time, value, time_us, input_time_us, (end + 1) * self.pane_us, outside)

    def snapshot(self, keys: int) -> dict[str, npt.NDArray[Any]]:
        """Arrays from which `restore` makes the same state."""
        return {"words": self._words[:keys].copy(), "heads": self._heads.copy(), "marks": self._marks.copy()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        self._words, self._heads, self._marks = (np.array(state[name]) for name in ("words", "heads", "marks"))

    def _reserve(self, keys: int, logs: int) -> None:
        """Room for that many keys (by half as many again, so growing costs a constant per key) and logs."""
        known = len(self._words)
        if keys > known:
            wider = np.empty((max(keys, known + known // 2, _KEYS_FIRST), self._width), np.int64)
            wider[:known] = self._words
            self._make_blank(wider[known:])
            self._words = wider
        while logs > len(self._marks):
            self._heads = np.concatenate([self._heads, np.full((1, self._slots), -1, np.int32)])
            self._marks = np.append(self._marks, panes.NEVER)

    def _make_blank(self, words: Int64) -> None:
        """Make these the state of keys without rows."""
        blank = np.zeros((1, self._width), np.int64)
        blank[:, [panes.END, *self._newest, *(self._places + panes.VALUE_TIME)]] = panes.NEVER
        blank.view(np.int32)[:, [panes.NEWER, panes.OLDER]] = panes.UNWHEELED
        numbers = blank.view(np.float64)
        numbers[:, self._places + panes.VALUE] = np.nan
        for at, empty in zip(self._cells, self._empty, strict=True):
            numbers[:, at : at + self.panes] = empty
        words[:] = blank


def _int32(numbers: Iterable[int]) -> Int32:
    return np.array(list(numbers), np.int32)
