"""Which small files should become one, and which are past their time?

Ten neighbours of one level become one file of the next level, so a table has few files however many commits it has
seen, and each row is rewritten once per level. Inputs stay on disk for a grace period: a reader that opened its list
of files before the swap still finds them.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from streams.lake import durable
from streams.lake.files import read_segments, segment_file, write_segment
from streams.lake.manifest import Manifest, Segment
from streams.lake.tables import TABLES

#: Neighbours that make a merge. 100 files cost a query about 7 ms, 10,000 cost it 765 ms (measured).
FAN_IN = 10
#: Rows of the largest file that merging makes: about a second of work.
ROWS_MAX = 2_000_000
#: A file that was replaced is deleted after this long.
GRACE_US = 24 * 3_600_000_000


@dataclass(frozen=True, slots=True)
class Merge:
    """Neighbouring segments of one table that should become one."""

    table: str
    inputs: tuple[Segment, ...]

    @property
    def rows(self) -> int:
        """Rows of all inputs."""
        return sum(segment.rows for segment in self.inputs)


def plan(manifest: Manifest, *, rows_max: int = ROWS_MAX) -> list[Merge]:
    """Merges that are due and make files of at most `rows_max` rows; at most one a table and level.

    Examples
    --------
    >>> ten = [Segment(f"dlq/{n}", 5, 900, n, n) for n in range(10)]
    >>> [merge.rows for merge in plan(Manifest("p0", 10, 1, "here", 0, tables={"dlq": ten}))]
    [50]
    """
    return [
        Merge(table, group)
        for table, segments in manifest.tables.items()
        for _, neighbours in groupby(segments, key=lambda segment: segment.level)
        for group in _group(list(neighbours), rows_max)
    ]


def _group(neighbours: list[Segment], rows_max: int) -> Iterator[tuple[Segment, ...]]:
    if len(neighbours) < FAN_IN:
        return
    taken: list[Segment] = []
    for segment in neighbours:
        if sum(s.rows for s in taken) + segment.rows > rows_max:
            if len(taken) > 1:
                break
            taken = []  # a file as large as files become: step over it
        taken.append(segment)
    if len(taken) > 1:
        yield tuple(taken)


def merge(root: Path, unit: str, generation: int, due: Merge) -> Segment:
    """Write the merged file. Touches nothing but that new file, so it may run beside commits, in a thread."""
    first, last = due.inputs[0].first, due.inputs[-1].last
    rows = read_segments(root, due.table, due.inputs)
    name = segment_file(due.table, unit, generation, first, last)
    level = max(segment.level for segment in due.inputs) + 1
    segment = write_segment(root, due.table, rows, name, first=first, last=last, level=level)
    durable.sync_folder((root / name).parent)
    return segment


def swap(segments: list[Segment], due: Merge, merged: Segment) -> list[Segment]:
    """`segments` with the inputs of `due` replaced by `merged`.

    Raises
    ------
    ValueError
        The inputs are no longer alive, side by side.
    """
    at = segments.index(due.inputs[0]) if due.inputs[0] in segments else len(segments)
    if tuple(segments[at : at + len(due.inputs)]) != due.inputs:
        raise ValueError(f"expected the inputs of the merge {merged.file} to be alive, found others")
    return [*segments[:at], merged, *segments[at + len(due.inputs) :]]


def expired(manifest: Manifest, now_us: int, *, held: Collection[str] = ()) -> dict[str, list[Segment]]:
    """Segments whose newest row is older than its table's tier, by table; `held` files stay, however old.

    Examples
    --------
    >>> old = Segment("dlq/h-p0-g1-1-1.parquet", 5, 900, 1, 1, max_event_time_us=0)
    >>> manifest = Manifest("p0", 1, 1, "here", 0, tables={"dlq": [old]})
    >>> len(expired(manifest, 91 * 86_400_000_000)["dlq"]), expired(manifest, 89 * 86_400_000_000)
    (1, {})
    """
    found: dict[str, list[Segment]] = {}
    for table, segments in manifest.tables.items():
        limit_us = now_us - TABLES[table].tier.value if table in TABLES else 0
        for segment in segments:
            newest_us = segment.max_event_time_us
            if newest_us is not None and newest_us < limit_us and segment.file not in held:
                found.setdefault(table, []).append(segment)
    return found
