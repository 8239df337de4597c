"""Which commit of a unit counts, and who may make the next one?

Versions are files named by number and made by link(2), which fails if the name exists: of two writers one wins and
the other learns it. Old versions are deleted behind the `floor`, so a writer that slept while its next number came
and went could link it anew; therefore a commit counts only above the floor.
"""

import contextlib
import os
import re
from pathlib import Path

from streams import faults
from streams.lake import durable
from streams.lake.manifest import COMMITS, LakeCorrupt, LostOwnership, Manifest, decode, encode

_VERSION = re.compile(r"^m-(\d{12})\.json$")

#: Versions kept behind the newest, and for how long at least: a reader lists, then opens.
VERSIONS_KEPT = 64
VERSION_AGE_US = 60_000_000


class CommitLog:
    """The versions of one unit.

    Examples
    --------
    >>> import tempfile
    >>> log = CommitLog(Path(tempfile.mkdtemp()), "entity-p0")
    >>> log.head() is None
    True
    >>> log.commit(Manifest("entity-p0", 1, 1, "here", 0)); log.head().version
    1
    """

    def __init__(self, root: Path, unit: str) -> None:
        self.folder = root / COMMITS / unit
        self.unit = unit

    def path(self, version: int) -> Path:
        """The file of one version."""
        return self.folder / f"m-{version:012d}.json"

    def versions(self) -> list[int]:
        """Numbers present, ascending; empty where the unit does not exist."""
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return []
        return sorted(int(found[1]) for name in names if (found := _VERSION.match(name)))

    def floor(self) -> int:
        """Versions up to this one do not count."""
        try:
            return int((self.folder / "floor").read_text())
        except FileNotFoundError:
            return 0
        except ValueError:
            raise LakeCorrupt(f"{self.folder / 'floor'}: expected a number") from None

    def head(self) -> Manifest | None:
        """The newest commit: the truth about the unit. None if there is none.

        Raises
        ------
        LakeCorrupt
            It cannot be read.
        """
        while versions := self.versions():
            path = self.path(versions[-1])
            # Deleted between listing and opening: then there is a newer one.
            with contextlib.suppress(FileNotFoundError):
                return decode(path.read_bytes(), str(path))
        return None

    def commit(self, manifest: Manifest) -> None:
        """Make `manifest` the head.

        Raises
        ------
        LostOwnership
            Another writer has committed this version, or one above.
        OSError
            The disk refuses; nothing was committed.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.path(manifest.version)
        faults.hit("lake.commit.link.before")
        if not durable.claim(path, encode(manifest), token=f"g{manifest.generation}-{os.getpid()}"):
            raise LostOwnership(self._lost(manifest))
        if not self.is_head(manifest.version):
            # The number was free because its owner came and went. Readers take the highest: nobody believed ours.
            path.unlink(missing_ok=True)
            raise LostOwnership(self._lost(manifest))

    def is_head(self, version: int) -> bool:
        """Whether nobody has committed after `version`."""
        return self.versions()[-1] == version and self.floor() < version

    def prune(self, now_us: int) -> None:
        """Delete versions that no reader can still be about to open."""
        old = self.versions()[:-VERSIONS_KEPT]
        expired = [v for v in old if self._written_us(v) < now_us - VERSION_AGE_US]
        if not expired:
            return
        # The floor first: below it a number can be taken again, and must not count.
        durable.replace(self.folder / "floor", str(max(self.floor(), expired[-1])).encode())
        for version in old[: old.index(expired[-1]) + 1]:
            self.path(version).unlink(missing_ok=True)

    def copy(self, manifest: Manifest) -> None:
        """Put the readers' copy beside the versions: a convenience for people, which nothing here reads."""
        with contextlib.suppress(OSError):  # the commit stands without it
            durable.replace(self.folder / "manifest.json", encode(manifest), is_synced=False)

    def _written_us(self, version: int) -> int:
        try:
            return self.path(version).stat().st_mtime_ns // 1000
        except FileNotFoundError:
            return 0

    def _lost(self, manifest: Manifest) -> str:
        head = self.head()
        owner = f"{head.writer}, generation {head.generation}, version {head.version}" if head else "nobody"
        return (
            f"unit {self.unit}: expected to commit version {manifest.version} of generation "
            f"{manifest.generation}, found the unit owned by {owner}"
        )
