"""What is the newest value of this column?

The newest value of an entity's column, with every version kept by whoever takes the changes. Under ``last_write`` the
row written last is current, and a row that repeats the present value makes no version: ORMs rewrite all columns, and a
benign rewrite is no change. Under ``max_event_time`` an older event never replaces a newer one, and every row makes a
version. NULL is a value; a deleting change event makes NULL. Histories have no lateness.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.canonical import cell_of
from features.definitions import Feature
from features.kernels.newest import pass_column
from features.lineage import Scalar
from features.times import NEVER_US

Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]
UInt64 = npt.NDArray[np.uint64]
Bool = npt.NDArray[np.bool_]

_KEYS_FIRST = 64


@dataclass(frozen=True, slots=True)
class Cells:
    """One column of a batch, as versions hold it: text, hash and number of each row."""

    text: pa.Array
    hash: UInt64
    number: npt.NDArray[np.float64]


class Newest:
    """Present values of one `column` feature.

    Examples
    --------
    >>> newest = Newest(Feature(name="f", source="s", column="x"), by_event_time=False)
    >>> cells = Cells(pa.array(["1", "1", "2"]), np.array([7, 7, 8], np.uint64), np.array([1.0, 1.0, 2.0]))
    >>> newest.apply(np.zeros(3, np.int32), np.array([1, 2, 3]), cells, keys=1)[0].tolist(), newest.present(0)[0]
    ([0, 2], 2)
    """

    def __init__(self, feature: Feature, *, by_event_time: bool) -> None:
        self.features = [feature]
        self._by_event_time = by_event_time
        self.known = np.zeros(0, np.bool_)
        self.hash = np.zeros(0, np.uint64)
        self.time_us = np.zeros(0, np.int64)
        self.value_id = np.zeros(0, np.uint64)
        self._number = np.zeros(0, np.float64)
        self._text: list[str | None] = []

    @property
    def feature(self) -> Feature:
        """The one feature."""
        return self.features[0]

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays; texts come on top."""
        return sum(a.nbytes for a in (self.known, self.hash, self.time_us, self.value_id, self._number))

    def apply(self, key: Int32, event_time_us: Int64, cells: Cells, *, keys: int) -> tuple[Int64, Int64]:
        """int64[m] rows that make a version; int64[c] those of them that became the present value when they came."""
        self._reserve(keys)
        made, taken = pass_column(
            key, event_time_us, cells.hash, self._by_event_time, self.known, self.hash, self.time_us
        )
        self._number[key[taken]] = cells.number[taken]
        texts = cells.text.take(pa.array(taken)).to_pylist()
        for k, text in zip(key[taken].tolist(), texts, strict=True):
            self._text[k] = text
        return made, taken

    def present(self, key: int, feature: int = 0) -> tuple[Scalar, int, int]:
        """Present value, event time (microseconds) and id of its version; id 0: there is none."""
        value = cell_of(self._text[key], int(self.hash[key]), float(self._number[key]))
        return value, int(self.time_us[key]), int(self.value_id[key])

    def presents(self, keys: Int32, feature: int = 0) -> tuple[list[Scalar], Int64, UInt64]:
        """`present` of many keys: scalars, event times and ids."""
        cells = zip(keys.tolist(), self.hash[keys].tolist(), self._number[keys].tolist(), strict=True)
        return [cell_of(self._text[k], h, x) for k, h, x in cells], self.time_us[keys], self.value_id[keys]

    def note_ids(self, key: Int64, feature: Int64, ids: UInt64) -> None:
        """Remember the ids of present versions: of several the last."""
        self.value_id[key] = ids

    def snapshot(self, keys: int) -> dict[str, Any]:
        """Arrays and texts from which `restore` makes the same state."""
        return {
            "known": self.known[:keys].copy(),
            "hash": self.hash[:keys].copy(),
            "time_us": self.time_us[:keys].copy(),
            "value_id": self.value_id[:keys].copy(),
            "number": self._number[:keys].copy(),
            "text": self._text[:keys],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        self.known, self.hash, self.time_us = (np.array(state[name]) for name in ("known", "hash", "time_us"))
        self.value_id, self._number = np.array(state["value_id"]), np.array(state["number"])
        self._text = list(state["text"])

    def _reserve(self, keys: int) -> None:
        size = len(self._text)
        if keys <= size:
            return
        more = max(keys, size + size // 2, _KEYS_FIRST) - size
        self.known = np.concatenate([self.known, np.zeros(more, np.bool_)])
        self.hash = np.concatenate([self.hash, np.zeros(more, np.uint64)])
        self.time_us = np.concatenate([self.time_us, np.full(more, NEVER_US)])
        self.value_id = np.concatenate([self.value_id, np.zeros(more, np.uint64)])
        self._number = np.concatenate([self._number, np.full(more, np.nan)])
        self._text += [None] * more
