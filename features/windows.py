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

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from features.aggregates import AGGREGATES, MAX, MIN
from features.definitions import Feature
from features.kernels import panes

Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

#: Slots of a wheel: enough for panes of the window and of the lateness, up to this (256 KiB a log). Beyond, keys that
#: fall due in different rounds share a slot and are looked at more than once.
SLOTS_MAX = 65_536
_KEYS_FIRST = 64

#: Arrays with one entry per key.
_STATE = (
    "end",
    "home",
    "due",
    "newer",
    "older",
    "opened",
    "counts",
    "newest",
    "cells",
    "last",
    "value",
    "value_time_us",
)


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
        cells: dict[tuple[int, int], int] = {}
        self._kinds = np.empty(len(features), np.int32)
        self._sources = np.array([self.inputs.index(name) for name in inputs], np.int32)
        self._cell_of = np.full(len(features), -1, np.int32)
        for f, feature in enumerate(features):
            made_of = AGGREGATES[str(feature.aggregate)]
            self._kinds[f] = made_of.code
            if made_of.accumulator is not None:
                cell = (made_of.accumulator, int(self._sources[f]))
                self._cell_of[f] = cells.setdefault(cell, len(cells))
        self._cell_kind = np.array([kind for kind, _ in cells], np.int32)
        self._cell_source = np.array([source for _, source in cells], np.int32)
        self._empty = np.array([{MIN: np.inf, MAX: -np.inf}.get(kind, 0.0) for kind, _ in cells], np.float64)
        span = self.panes + lateness_us // self.pane_us + 2
        self._slots = min(2 ** int(span - 1).bit_length(), SLOTS_MAX)
        self._heads = np.empty((0, self._slots), np.int32)
        self._marks = np.empty(0, np.int64)
        self.value_id = np.zeros((0, len(features)), np.uint64)
        self._arrays: dict[str, npt.NDArray[Any]] = {name: self._blank(name, 0) for name in _STATE}

    @property
    def value(self) -> Float64:
        """float64[keys, features]: present values."""
        return self._arrays["value"]

    @property
    def value_time_us(self) -> Int64:
        """int64[keys, features]: event times of the versions that hold the present values; NEVER_US: there is none."""
        return self._arrays["value_time_us"]

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        wheels = self._heads.nbytes + self._marks.nbytes
        return wheels + self.value_id.nbytes + sum(a.nbytes for a in self._arrays.values())

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
        a = self._arrays
        found, value, outside = panes.pass_rows(
            key, event_time_us, watermark_us // self.pane_us, is_open, columns, log, self.pane_us,
            self._kinds, self._sources, self._cell_of, self._cell_kind, self._cell_source, self._empty,
            a["end"], a["home"], a["due"], a["newer"], a["older"], a["opened"], a["counts"], a["newest"], a["cells"],
            a["last"], a["value"], a["value_time_us"], self._heads, self._marks,
        )  # fmt: skip
        row, own, feature, changed, input_time_us, end = np.ascontiguousarray(found.T)
        by_time = own == 0
        time_us = np.where(by_time, end * self.pane_us, event_time_us[row])
        return Changes(row, feature, changed, by_time, value, time_us, input_time_us, (end + 1) * self.pane_us, outside)

    def snapshot(self, keys: int) -> dict[str, npt.NDArray[Any]]:
        """Arrays from which `restore` makes the same state."""
        state = {name: array[:keys].copy() for name, array in self._arrays.items()}
        return state | {
            "value_id": self.value_id[:keys].copy(),
            "heads": self._heads.copy(),
            "marks": self._marks.copy(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        self._arrays = {name: np.array(state[name]) for name in _STATE}
        self.value_id, self._heads, self._marks = (np.array(state[name]) for name in ("value_id", "heads", "marks"))

    def _reserve(self, keys: int, logs: int) -> None:
        """Room for that many keys (doubling, so that growing costs a constant per key) and logs."""
        known = len(self.value_id)
        if keys > known:
            more = max(keys, 2 * known, _KEYS_FIRST) - known
            self._arrays = {name: np.concatenate([a, self._blank(name, more)]) for name, a in self._arrays.items()}
            self.value_id = np.concatenate([self.value_id, np.zeros((more, len(self.features)), np.uint64)])
        while logs > len(self._marks):
            self._heads = np.concatenate([self._heads, np.full((1, self._slots), -1, np.int32)])
            self._marks = np.append(self._marks, panes.NEVER)

    def _blank(self, name: str, keys: int) -> npt.NDArray[Any]:
        """State of keys without rows."""
        features, inputs = len(self.features), len(self.inputs)
        if name == "home":
            return np.zeros(keys, np.int16)
        if name in ("newer", "older"):
            return np.full(keys, panes.UNWHEELED, np.int32)
        if name == "opened":
            return np.zeros((keys, self.panes), np.uint8)
        if name == "counts":
            return np.zeros((keys, inputs, self.panes), np.uint32)
        if name == "cells":
            return np.tile(self._empty[None, :, None], (keys, 1, self.panes))
        if name in ("last", "value"):
            return np.full((keys, inputs if name == "last" else features), np.nan)
        width = {"newest": (keys, inputs), "value_time_us": (keys, features)}.get(name, (keys,))
        return np.full(width, panes.NEVER, np.int64)
