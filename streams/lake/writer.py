"""How do rows, next offsets and state of one unit become true in one step?

A unit is what one worker owns as a whole: a partition group of the entity stage, a partition of `scored`, the
control stage. Everything that it appends between two commits appears together, or not at all.
"""

import contextlib
import os
import re
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pyarrow as pa

from streams import faults
from streams.lake import compaction, durable, layout, snapshots, sweeping
from streams.lake.commits import VERSIONS_KEPT, CommitLog
from streams.lake.compaction import Merge
from streams.lake.files import segment_file, write_segment
from streams.lake.manifest import (
    SNAPSHOTS,
    ZERO_UNIT,
    LostOwnership,
    Manifest,
    Segment,
    SnapshotRef,
    check_root,
)
from streams.lake.owners import Claim
from streams.lake.tables import conform

#: Merges up to this many rows happen right after a commit (about 50 ms); larger ones wait for `tend`.
PROMPT_ROWS_MAX = 100_000
#: Attempts to take a unit over while its owner still commits.
TAKE_ATTEMPTS_MAX = 50

_UNIT = re.compile(r"^[a-z0-9][a-z0-9_.-]{0,63}$")


@dataclass(frozen=True, slots=True)
class Restored:
    """Where to go on: rows below `next` are in the lake; `snapshot` (None: begin empty) has seen rows below `fence`."""

    generation: int
    next: dict[str, int]
    snapshot: bytes | None
    fence: dict[str, int]


def _wall_us() -> int:
    return time.time_ns() // 1000


class LakeWriter:
    """The one writer of a unit. Not for several threads at once.

    Parameters
    ----------
    root
        Folder of the lake; made when absent.
    unit
        Such as ``entity-p3``, ``model-p0``, ``control``: small letters, digits, dot, dash and underscore.
    group, config_digest
        What all running workers on one lake must have in common; all stages of an installation share the group.
    generation_hint
        A lower bound for the generation, where something else numbers owners.
    now_us
        The clock, for heartbeats and ages of files.

    Examples
    --------
    >>> import tempfile
    >>> writer = LakeWriter(Path(tempfile.mkdtemp()), "control", "demo", "c0ffee")
    >>> writer.open().generation
    1
    >>> rows = {"entity_type": ["user"], "feature": ["clicks"], "n": [1]}
    >>> times = {"p50_us": [9], "p99_us": [9], "max_us": [9], "at_us": [1_700_000_000_000_000]}
    >>> writer.append("latency", pa.table(rows | times))
    >>> writer.commit({"tminus.findings/0": 7})
    2
    >>> writer.close()
    """

    def __init__(
        self,
        root: Path | str,
        unit: str,
        group: str,
        config_digest: str,
        generation_hint: int | None = None,
        *,
        now_us: Callable[[], int] = _wall_us,
    ) -> None:
        if not _UNIT.match(unit) or unit == ZERO_UNIT:
            raise ValueError(f"expected a unit such as entity-p3, found {unit!r}")
        self.root = check_root(Path(root))
        self.unit = unit
        self.generation = 0
        self._hint = generation_hint or 1
        self._now_us = now_us
        self._log = CommitLog(self.root, unit)
        self._claim = Claim(self.root, group, config_digest)
        self._name = f"{group}:{socket.gethostname()}:{os.getpid()}"
        self._manifest: Manifest | None = None
        self._pending: dict[str, list[pa.Table]] = {}

    # -- owning ------------------------------------------------------------------------------------------------

    def open(self) -> Restored:
        """Take the unit over, from whoever has it.

        Raises
        ------
        LakeBusy
            A running worker of another group or configuration is on this lake.
        LostOwnership
            Others took the unit over as often as we did.
        LakeCorrupt
            The newest commit cannot be read.
        """
        layout.prepare(self.root)
        self._claim.take()
        for folder in (self._log.folder, self.root / SNAPSHOTS / self.unit):
            folder.mkdir(parents=True, exist_ok=True)
            durable.sync_folder(folder.parent)
        self._manifest = self._take()
        self.generation = self._manifest.generation
        sweeping.sweep_dot_files(self.root, self._manifest)
        self.sweep()
        snapshot, fence = self._restore(self._manifest)
        return Restored(self.generation, dict(self._manifest.next), snapshot, fence)

    def close(self) -> None:
        """Stop being a running worker; rows not committed are dropped."""
        self._pending.clear()
        self._manifest = None
        self._claim.release()

    @property
    def manifest(self) -> Manifest:
        """The newest commit that this writer made.

        Raises
        ------
        LostOwnership
            The writer is not open, or has lost its unit.
        """
        if self._manifest is None:
            raise LostOwnership(
                f"unit {self.unit}: expected an open writer, found one that is closed or has lost its unit"
            )
        return self._manifest

    def _take(self) -> Manifest:
        for _ in range(TAKE_ATTEMPTS_MAX):
            head = self._log.head() or Manifest(self.unit, 0, 0, "", 0)
            taken = msgspec.structs.replace(
                head,
                version=head.version + 1,
                generation=max(head.generation + 1, self._hint),
                writer=self._name,
                committed_us=self._now_us(),
            )
            # The owner may commit in the same moment; it loses at its next commit, not we.
            with contextlib.suppress(LostOwnership):
                self._log.commit(taken)
                durable.sync_folder(self._log.folder)
                self._log.copy(taken)
                return taken
        raise LostOwnership(f"unit {self.unit}: expected to take it over, found {TAKE_ATTEMPTS_MAX} others doing so")

    def _restore(self, manifest: Manifest) -> tuple[bytes | None, dict[str, int]]:
        """The newest snapshot that is whole: with the one before, more rows are applied again, and no more."""
        for ref in (manifest.snapshot, manifest.previous_snapshot):
            if ref is not None:
                with contextlib.suppress(FileNotFoundError, snapshots.SnapshotCorrupt):
                    saved = (self.root / ref.file).read_bytes()
                    snapshots.verify(saved)
                    return saved, dict(ref.fence)
        return None, {}

    # -- writing -----------------------------------------------------------------------------------------------

    @property
    def pending_rows(self) -> int:
        """Rows appended since the last commit; they are in memory."""
        return sum(part.num_rows for parts in self._pending.values() for part in parts)

    def append(self, table: str, rows: pa.Table | pa.RecordBatch) -> None:
        """Add rows to the next commit.

        Raises
        ------
        ValueError
            They do not fit the table.
        """
        if rows.num_rows:
            self._pending.setdefault(table, []).append(conform(table, rows))

    def commit(
        self, next: Mapping[str, int], snapshot: bytes | None = None, fence: Mapping[str, int] | None = None
    ) -> int:
        """Make everything appended true, together with the next offsets and, where given, the snapshot.

        `next` may name only the logs that moved. Without rows, moves and snapshot nothing is written. After an
        `OSError` (disk full, say) nothing was committed and the same call may be tried again.

        Returns
        -------
        The version of the newest commit.

        Raises
        ------
        LostOwnership
            Another writer has taken over: stop. Nothing of theirs was touched.
        ValueError
            An offset would step back, or the fence of the snapshot lies beyond the next offsets.
        """
        before = self.manifest
        moved = _advance(before, next, snapshot, fence)
        if not self._pending and snapshot is None and moved == before.next:
            self._claim.beat(self._now_us())
            return before.version
        with self._losing():
            version = before.version + 1
            tables = self._write_pending(before, version)
            ref = None if snapshot is None else self._write_snapshot(version, snapshot, fence or {})
            kept = (ref, before.snapshot) if ref else (before.snapshot, before.previous_snapshot)
            self._link(tables, next=moved, snapshot=kept[0], previous_snapshot=kept[1])
            self._pending.clear()
            self._settle()
            self._after_commit(is_snapshot=ref is not None)
        return self.manifest.version

    def _write_pending(self, before: Manifest, version: int) -> dict[str, list[Segment]]:
        tables = dict(before.tables)
        for table, parts in self._pending.items():
            name = segment_file(table, self.unit, self.generation, version, version)
            segment = write_segment(self.root, table, pa.concat_tables(parts), name, first=version, last=version)
            tables[table] = [*tables.get(table, ()), segment]
        for table in self._pending:
            durable.sync_folder(self.root / table)
        return tables

    def _write_snapshot(self, version: int, content: bytes, fence: Mapping[str, int]) -> SnapshotRef:
        path = self.root / SNAPSHOTS / self.unit / f"s-{self.generation}-{version}.bin"
        faults.hit("lake.snapshot.before")
        durable.write(path, lambda file: file.write(content))
        durable.sync_folder(path.parent)
        faults.hit("lake.snapshot.after")
        return SnapshotRef(str(path.relative_to(self.root)), dict(fence))

    def _link(self, tables: dict[str, list[Segment]], **changes: object) -> None:
        before = self.manifest
        manifest = msgspec.structs.replace(
            before,
            version=before.version + 1,
            committed_us=self._now_us(),
            tables=tables,
            rows={table: sum(segment.rows for segment in segments) for table, segments in tables.items()},
            **changes,
        )
        self._log.commit(manifest)
        self._manifest = manifest

    def _settle(self) -> None:
        """The commit has happened, whatever fails in here; it only is not yet safe from a power failure."""
        faults.hit("lake.commit.link.after")
        durable.sync_folder(self._log.folder)
        faults.hit("lake.copy.before")
        version = self.manifest.version
        if not self._log.is_head(version):
            raise LostOwnership(f"unit {self.unit}: another writer committed after version {version}")
        self._log.copy(self.manifest)

    def _after_commit(self, *, is_snapshot: bool) -> None:
        now_us = self._now_us()
        self._claim.beat(now_us)
        if is_snapshot:
            sweeping.sweep_snapshots(self.root, self.manifest)
        if self.manifest.version % VERSIONS_KEPT == 0:
            self._log.prune(now_us)
        self._compact(PROMPT_ROWS_MAX)

    @contextlib.contextmanager
    def _losing(self) -> Iterator[None]:
        """A disk that refuses is the world's fault; files that vanished under us tell of a new owner."""
        try:
            yield
        except LostOwnership:
            self._manifest = None
            raise
        except FileNotFoundError as problem:
            manifest = self._manifest
            if manifest is not None and self._log.is_head(manifest.version):
                raise
            self._manifest = None
            raise LostOwnership(
                f"unit {self.unit}: another writer has taken over and swept {problem.filename}"
            ) from None

    # -- tidying -----------------------------------------------------------------------------------------------

    def tend(self) -> None:
        """Merge what is large, delete what is past its grace, renew the heartbeat. Once a minute is plenty."""
        with self._losing():
            self._compact(compaction.ROWS_MAX)
            self.sweep()
        self._claim.beat(self._now_us())

    def _compact(self, rows_max: int) -> None:
        while due := [merge for merge in compaction.plan(self.manifest) if merge.rows <= rows_max]:
            self.swap([(merge, compaction.merge(self.root, self.unit, self.generation, merge)) for merge in due])

    def swap(self, merges: list[tuple[Merge, Segment]]) -> None:
        """Replace the inputs of `merges` by what `compaction.merge` wrote, in one version.

        Raises
        ------
        LostOwnership, ValueError
            The unit, or an input, is no longer ours.
        """
        tables = dict(self.manifest.tables)
        for due, merged in merges:
            tables[due.table] = compaction.swap(tables[due.table], due, merged)
        inputs = [self.root / segment.file for due, _ in merges for segment in due.inputs]
        # The grace counts from the swap, and is kept in the time of the file: touched before, in case we die in
        # between, and after, in case we sleep in between.
        _touch(inputs)
        self._link(tables)
        self._settle()
        _touch(inputs)

    def sweep(self) -> int:
        """Delete files of this unit that no commit names and whose grace is over; how many."""
        return sweeping.sweep_segments(self.root, self.manifest, self._now_us() - compaction.GRACE_US)


def _advance(
    before: Manifest, next: Mapping[str, int], snapshot: bytes | None, fence: Mapping[str, int] | None
) -> dict[str, int]:
    moved = before.next | dict(next)
    for log, offset in before.next.items():
        if moved[log] < offset:
            raise ValueError(f"expected the next offset of {log} to be at least {offset}, found {moved[log]}")
    if (snapshot is None) != (fence is None):
        raise ValueError("expected a snapshot and its fence together, found one of them")
    for log, offset in (fence or {}).items():
        if offset > moved.get(log, 0):
            raise ValueError(f"expected the fence of {log} to be at most {moved.get(log, 0)}, found {offset}")
    return moved


def _touch(paths: Iterable[Path]) -> None:
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.utime(path)
