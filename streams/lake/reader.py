"""Which files are alive, and how does one query them?

A reader takes the newest commit of every unit and believes it. It locks nothing and waits for nobody.
"""

from pathlib import Path

import duckdb

from streams.lake.commits import CommitLog
from streams.lake.manifest import COMMITS, Manifest, NoLake, check_root
from streams.lake.views import render_open_sql


class LakeReader:
    """The lake in `root`, as its writers have committed it.

    Raises
    ------
    NoLake
        There is none.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = check_root(Path(root))
        if not (self.root / COMMITS).is_dir():
            raise NoLake(f"expected a lake in {self.root}, found none; a running worker makes one")

    def units(self) -> list[str]:
        """Every unit that has ever committed, later stages first: what they refer to is then seen as well."""
        order = {"entity": 2, "model": 1}
        names = [folder.name for folder in (self.root / COMMITS).iterdir() if folder.is_dir()]
        return sorted(names, key=lambda name: (order.get(name.split("-")[0], 0), name))

    def heads(self) -> dict[str, Manifest]:
        """The newest commit of each unit.

        Raises
        ------
        LakeCorrupt
            One of them cannot be read.
        """
        return {unit: head for unit in self.units() if (head := CommitLog(self.root, unit).head())}

    def live(self, table: str) -> list[Path]:
        """The files of one table, the zero-row segment among them; together they are the table."""
        heads = self.heads().values()
        return [self.root / segment.file for head in heads for segment in head.tables.get(table, ())]

    def next(self) -> dict[str, dict[str, int]]:
        """The next offset of each consumed log, by unit."""
        return {unit: head.next for unit, head in self.heads().items() if head.next}


def connect(root: Path | str) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection with the views of the lake; `refresh` shows it what was committed since.

    Raises
    ------
    NoLake
        There is no lake in `root`.
    """
    reader = LakeReader(root)
    connection = duckdb.connect()
    refresh(connection, reader.root)
    return connection


def refresh(connection: duckdb.DuckDBPyConnection, root: Path | str) -> None:
    """Read `open.sql` again, made new by this release."""
    connection.execute(render_open_sql(Path(root)))
