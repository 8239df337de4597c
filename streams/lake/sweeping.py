"""Which files of a unit does nobody need any more?

An owner deletes only what it or an earlier owner wrote: names hold the generation of their writer, so one that
slept and woke up cannot delete what its successor needs.
"""

import contextlib
import re
from pathlib import Path

from streams.lake.files import owner_of
from streams.lake.manifest import COMMITS, SNAPSHOTS, Manifest

_GENERATION = re.compile(r"^\.?(?:s|m-\d+\.json)-g?(\d+)-")


def sweep_segments(root: Path, manifest: Manifest, before_us: int) -> int:
    """Delete segments that `manifest` does not name and that were last touched before `before_us`; how many."""
    alive = {segment.file for segments in manifest.tables.values() for segment in segments}
    swept = 0
    for path in _own_segments(root, manifest, f"h-{manifest.unit}-g*.parquet"):
        with contextlib.suppress(FileNotFoundError):
            if str(path.relative_to(root)) not in alive and path.stat().st_mtime_ns < before_us * 1000:
                path.unlink()
                swept += 1
    return swept


def sweep_dot_files(root: Path, manifest: Manifest) -> None:
    """Delete what earlier owners left half-written. One that still lives learns by it that it has lost."""
    for path in _own_segments(root, manifest, f".h-{manifest.unit}-g*.parquet"):
        path.unlink(missing_ok=True)
    half_written = [*(root / SNAPSHOTS / manifest.unit).glob(".s-*"), *(root / COMMITS / manifest.unit).glob(".m-*")]
    for path in half_written:
        if _generation_of(path.name) <= manifest.generation:
            path.unlink(missing_ok=True)


def sweep_snapshots(root: Path, manifest: Manifest) -> None:
    """Delete snapshots that `manifest` does not name."""
    kept = {ref.file for ref in (manifest.snapshot, manifest.previous_snapshot) if ref}
    for path in (root / SNAPSHOTS / manifest.unit).glob("s-*.bin"):
        if _generation_of(path.name) <= manifest.generation and str(path.relative_to(root)) not in kept:
            path.unlink(missing_ok=True)


def _own_segments(root: Path, manifest: Manifest, pattern: str) -> list[Path]:
    found = []
    for path in root.glob(f"[!_]*/{pattern}"):
        unit, generation = owner_of(path.name) or ("", 0)
        if unit == manifest.unit and generation <= manifest.generation:
            found.append(path)
    return found


def _generation_of(name: str) -> int:
    """Of a snapshot `s-<generation>-…` or of a commit's dot-file `.m-<version>.json-g<generation>-…`."""
    found = _GENERATION.match(name)
    return int(found[1]) if found else 0
