"""What one worker owns as a whole, and how it becomes durable.

A unit is a partition group of the entity stage or a partition of `scored`. Between two cuts its rows wait in memory;
a cut takes rows, fences and (when due) the state at one moment, waits until every output handed over so far is out,
and commits all of it in one step.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from streams.clock import now_us
from streams.lake.snapshots import dump
from streams.lake.writer import LakeWriter
from streams.outbox import Outbox

#: How often large merges and sweeping are looked at.
TEND_EVERY_S = 30.0


@dataclass(slots=True)
class Unit:
    """Rows on their way into the lake, and whose turn it is.

    `turn` is held for one step: state moves, its outputs are handed over, its rows are noted. A cut takes its moment
    between steps, so a fence never runs ahead of a row or an output.
    """

    writer: LakeWriter
    snapshot_every_us: int
    tables: dict[str, list[pa.RecordBatch]] = field(default_factory=dict)
    rows: int = 0
    is_dirty: bool = False
    snapshot_us: int = field(default_factory=now_us)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _commit: asyncio.Lock = field(default_factory=asyncio.Lock)

    def note(self, tables: dict[str, list[pa.RecordBatch]]) -> None:
        """Rows for the next cut; also without rows, there is something to commit."""
        self.is_dirty = True
        for table, batches in tables.items():
            self.tables.setdefault(table, []).extend(batches)
            self.rows += sum(b.num_rows for b in batches)

    async def cut(
        self,
        outbox: Outbox,
        *,
        last: Callable[[], dict[str, list[pa.RecordBatch]]],
        fences: Callable[[], dict[str, int]],
        state: Callable[[], dict[str, Any]],
        force: bool = False,
    ) -> None:
        """Make durable what was noted; `last`, `fences` and `state` are asked at the moment of the cut."""
        async with self._commit:
            async with self.turn:
                if not self.is_dirty and not force:
                    return
                is_due = force or now_us() - self.snapshot_us >= self.snapshot_every_us
                self.note(last())
                tables, self.tables, self.rows, self.is_dirty = self.tables, {}, 0, False
                reached = fences()
                snapshot = _held(state()) if is_due else None
            if is_due:
                self.snapshot_us = now_us()
            await outbox.barrier()
            await asyncio.get_running_loop().run_in_executor(None, self._write, tables, reached, snapshot)

    async def tend(self) -> None:
        """Merge small files, drop what nobody reads any more, say that we are alive."""
        async with self._commit:
            await asyncio.get_running_loop().run_in_executor(None, self.writer.tend)

    def _write(
        self, tables: dict[str, list[pa.RecordBatch]], fences: dict[str, int], held: dict[str, Any] | None
    ) -> None:
        for table, batches in tables.items():
            for batch in batches:
                self.writer.append(table, batch)
        # After a crash the state comes from behind what the lake has; the lake never steps back.
        known = self.writer.manifest.next
        reached = {log: max(offset, known.get(log, 0)) for log, offset in fences.items()}
        snapshot = None if held is None else dump(held)
        self.writer.commit(reached, snapshot, None if held is None else fences)


def _held(state: dict[str, Any]) -> dict[str, Any]:
    """The state of this moment, whatever comes after it.

    Arrays are copies, or never written again; the rest is encoded at once. Sums and joining take a tenth of a second
    per hundred MB and wait for the thread that writes.
    """
    arrays = (np.ndarray, bytes)
    return {name: b if isinstance(b, arrays) else msgspec.Raw(msgspec.json.encode(b)) for name, b in state.items()}
