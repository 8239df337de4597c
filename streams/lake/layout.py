"""What does an empty lake consist of?

A zero-row segment for every table, because DuckDB refuses an empty list of files; one constant commit that names
them; and `open.sql`. All of it is a function of the release, so any worker may write it at any time.
"""

from pathlib import Path

from streams.lake import durable
from streams.lake.files import write_zero
from streams.lake.manifest import COMMITS, ZERO_UNIT, Manifest, check_root, encode
from streams.lake.tables import TABLES
from streams.lake.views import render_open_sql


def prepare(root: Path) -> None:
    """Make `root` a lake, or bring it up to this release; changes nothing where that is done already.

    Raises
    ------
    LakeError
        The path cannot be a lake.
    OSError
        The disk refuses.
    """
    root = check_root(root)
    root.mkdir(parents=True, exist_ok=True)
    tables = {name: [write_zero(root, name)] for name in TABLES}
    zero = Manifest(ZERO_UNIT, 1, 1, "release", 0, tables=tables, rows=dict.fromkeys(TABLES, 0))
    folder = root / COMMITS / ZERO_UNIT
    folder.mkdir(parents=True, exist_ok=True)
    _put(folder / "m-000000000001.json", encode(zero))
    _put(root / "open.sql", render_open_sql(root).encode())


def _put(path: Path, content: bytes) -> None:
    if not path.exists() or path.read_bytes() != content:
        durable.replace(path, content)
