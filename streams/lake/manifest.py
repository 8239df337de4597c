"""What does one commit say?

A manifest lists everything of its unit that is alive: the segments of each table, the vector of next offsets, the
snapshot and the one before. Whoever holds the highest version of a unit needs nothing else of that unit.
"""

from pathlib import Path

import msgspec

FORMAT = 1

#: Folders of the lake that are no tables.
COMMITS, SNAPSHOTS, OWNERS = "_commits", "_snapshots", "_owners"

#: The unit that names the zero-row segments; it never changes, and no writer may take it.
ZERO_UNIT = "zero"

#: A lake path is used in DuckDB's globs, where these characters mean something else.
GLOB_CHARACTERS = "*?[]"


class LakeError(Exception):
    """The lake cannot be used as asked; the message says what was expected and what was found."""


class NoLake(LakeError):
    """There is no lake in that folder."""


class LakeCorrupt(LakeError):
    """A file of the lake is not what it must be."""


class LostOwnership(LakeError):
    """Another writer has taken over the unit: this one must stop, and has overwritten nothing."""


class LakeBusy(LakeError):
    """A running worker of another group or configuration owns the lake."""


class Segment(msgspec.Struct, frozen=True, omit_defaults=True):
    """One immutable Parquet file: rows of the commits `first` to `last` of its unit.

    `level` counts how often its rows were merged; times are of the table's time column (microseconds UTC), None
    where it has none. `file` is relative to the lake.
    """

    file: str
    rows: int
    size: int
    first: int
    last: int
    level: int = 0
    min_event_time_us: int | None = None
    max_event_time_us: int | None = None


class SnapshotRef(msgspec.Struct, frozen=True):
    """A snapshot file, relative to the lake, and the next offsets that its state has reached."""

    file: str
    fence: dict[str, int]


class Manifest(msgspec.Struct, frozen=True):
    """One commit of one unit. `next` maps "topic/partition" to the next offset to consume."""

    unit: str
    version: int
    generation: int
    writer: str
    committed_us: int
    next: dict[str, int] = {}
    tables: dict[str, list[Segment]] = {}
    snapshot: SnapshotRef | None = None
    previous_snapshot: SnapshotRef | None = None
    rows: dict[str, int] = {}
    format: int = FORMAT


def encode(manifest: Manifest) -> bytes:
    """The manifest as JSON."""
    return msgspec.json.encode(manifest)


def decode(content: bytes, origin: str = "manifest") -> Manifest:
    """The manifest in `content`.

    Raises
    ------
    LakeCorrupt
        It is no manifest, or of a format that this release does not know.

    Examples
    --------
    >>> decode(encode(Manifest("entity-p3", 1, 7, "host:1", 0))).generation
    7
    """
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except msgspec.DecodeError as problem:
        raise LakeCorrupt(f"{origin}: expected a commit of format {FORMAT}, found: {problem}") from None
    if manifest.format != FORMAT:
        raise LakeCorrupt(f"{origin}: expected a commit of format {FORMAT}, found format {manifest.format}")
    return manifest


def check_root(root: Path) -> Path:
    """`root` made absolute.

    Raises
    ------
    LakeError
        Its path holds a character that has a meaning in globs.
    """
    whole = root.absolute()
    if set(str(whole)) & set(GLOB_CHARACTERS):
        raise LakeError(f"expected a lake path without any of {GLOB_CHARACTERS}, found {whole}")
    return whole
