"""Predictions that wait: for the coverage of their read time, then for their label to mature.

One queue per model and log, in offset order. Heads leave only in that order, so whatever is told about a model's
predictions is told in the order of their offsets, and a reader can drop repetitions by a fence.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.times import FOREVER_US

Int8 = npt.NDArray[np.int8]
Int64 = npt.NDArray[np.int64]


@dataclass(slots=True)
class Judged:
    """Verdicts of a block of predictions: [n, features] each."""

    verdict: Int8
    reason: Int8
    tier: Int8
    lead_us: Int64
    version: npt.NDArray[np.uint64]  # id of the decisive version, 0 if none

    def differs(self, other: "Judged") -> npt.NDArray[np.bool_]:
        """Which cells changed, bool[n, features]."""
        return np.asarray(
            (self.verdict != other.verdict)
            | (self.reason != other.reason)
            | (self.tier != other.tier)
            | (self.lead_us != other.lead_us)
            | (self.version != other.version)
        )

    def head(self, n: int) -> "Judged":
        """The first n predictions."""
        return Judged(self.verdict[:n], self.reason[:n], self.tier[:n], self.lead_us[:n], self.version[:n])

    def tail(self, n: int) -> "Judged":
        """All but the first n predictions."""
        return Judged(self.verdict[n:], self.reason[n:], self.tier[n:], self.lead_us[n:], self.version[n:])

    @staticmethod
    def none(features: int) -> "Judged":
        """Verdicts of no prediction."""
        return Judged(
            np.empty((0, features), np.int8),
            np.empty((0, features), np.int8),
            np.empty((0, features), np.int8),
            np.empty((0, features), np.int64),
            np.empty((0, features), np.uint64),
        )

    def plus(self, other: "Judged") -> "Judged":
        """Both blocks, one after the other."""
        return Judged(
            *(
                np.concatenate([getattr(self, f), getattr(other, f)])
                for f in ("verdict", "reason", "tier", "lead_us", "version")
            )
        )


class Queue:
    """Predictions of one model from one log."""

    def __init__(self, schema: pa.Schema, features: int) -> None:
        self._rows: pa.Table = schema.empty_table()
        self._features = features
        self.judged = Judged.none(features)

    def __len__(self) -> int:
        return int(self._rows.num_rows)

    def oldest_us(self) -> int:
        """Least read time that waits; FOREVER_US if nothing does."""
        return pc.min(self._rows.column("read_time_us")).as_py() if len(self) else FOREVER_US

    def push(self, rows: pa.RecordBatch) -> None:
        """Append predictions in offset order."""
        self._rows = pa.concat_tables([self._rows, pa.Table.from_batches([rows])])

    def unjudged(self, covered_us: int) -> pa.RecordBatch | None:
        """The next predictions whose read time lies before `covered_us`; None if the head does not."""
        done = len(self.judged.verdict)
        n = _prefix(self._rows, done, covered_us)
        return _block(self._rows, done, n) if n else None

    def note(self, judged: Judged) -> None:
        """The verdicts of what `unjudged` gave."""
        self.judged = self.judged.plus(judged)

    def mature(self, covered_us: int, after_us: int) -> tuple[pa.RecordBatch, Judged] | None:
        """Take the judged predictions whose read time + `after_us` lies before `covered_us`, with their verdicts."""
        n = min(_prefix(self._rows, 0, covered_us - after_us), len(self.judged.verdict))
        if not n:
            return None
        taken, verdicts = _block(self._rows, 0, n), self.judged.head(n)
        self._rows, self.judged = self._rows.slice(n), self.judged.tail(n)
        return taken, verdicts

    def snapshot(self) -> dict[str, object]:
        """Arrow bytes and arrays."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self._rows.schema) as writer:
            writer.write_table(self._rows)
        j = self.judged
        return {
            "rows": sink.getvalue().to_pybytes(),
            "verdict": j.verdict,
            "reason": j.reason,
            "tier": j.tier,
            "lead_us": j.lead_us,
            "version": j.version,
        }

    def restore(self, state: dict[str, object]) -> None:
        """Take over a snapshot."""
        with pa.ipc.open_stream(state["rows"]) as reader:
            self._rows = reader.read_all()
        shape = (-1, self._features)
        self.judged = Judged(
            *(np.asarray(state[f]).reshape(shape) for f in ("verdict", "reason", "tier", "lead_us", "version"))
        )


def _prefix(rows: pa.Table, start: int, before_us: int) -> int:
    """How many rows from `start` on have a read time before `before_us`, up to the first that has not."""
    if start >= rows.num_rows:
        return 0
    waits = rows.column("read_time_us").slice(start).to_numpy() >= before_us
    return int(np.argmax(waits)) if waits.any() else len(waits)


def _block(rows: pa.Table, start: int, n: int) -> pa.RecordBatch:
    batches = rows.slice(start, n).combine_chunks().to_batches()
    return batches[0]
