"""What does `tminus sql "…"` run, and what may it not?

One statement that reads, on a connection of its own with the views of the lake. After the views are made, DuckDB
may touch no file outside the lake, load no extension and change no setting; a query that takes too long is
interrupted. This is containment against accidents, no wall against an attacker: who may run it may read the lake.
"""

import json
import math
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import duckdb

from streams.lake.manifest import LakeError, NoLake
from streams.lake.reader import connect

#: Exit status of the command line: usage, and bad or absent data.
EXIT_OK, EXIT_USAGE, EXIT_LAKE = 0, 2, 4

TIMEOUT_S = 300.0
MEMORY_MAX = "2GB"
THREADS_MAX = 4


class BadQuery(ValueError):
    """The text is not one statement that reads, or DuckDB refuses it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Column names and rows of a query."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


def contained(root: Path | str) -> duckdb.DuckDBPyConnection:
    """A connection as `reader.connect` gives it, confined to the lake.

    Raises
    ------
    NoLake
        There is no lake in `root`.
    """
    connection = connect(root)
    folder = str(Path(root).absolute()).replace("'", "''")
    connection.execute(
        f"SET allowed_directories = ['{folder}']; SET autoinstall_known_extensions = false;"
        "SET autoload_known_extensions = false; SET allow_community_extensions = false;"
        f"SET memory_limit = '{MEMORY_MAX}'; SET threads = {min(THREADS_MAX, os.cpu_count() or 1)};"
        "SET enable_external_access = false; SET lock_configuration = true"
    )
    return connection


def query(root: Path | str, text: str, *, timeout_s: float = TIMEOUT_S) -> Answer:
    """The answer of the lake to one statement.

    Raises
    ------
    BadQuery
        It is not one statement that reads, DuckDB refuses it, or it takes longer than `timeout_s` seconds.
    NoLake, LakeError
        There is no lake in `root`, or none that can be read.
    """
    connection = contained(root)
    timer = threading.Timer(timeout_s, connection.interrupt)
    timer.daemon = True
    try:
        _check_reads(connection, text)
        timer.start()
        cursor = connection.execute(text)
        return Answer([column[0] for column in cursor.description or []], cursor.fetchall())
    except duckdb.InterruptException:
        raise BadQuery(f"expected an answer within {timeout_s:g} s, found none; narrow the query") from None
    except duckdb.Error as problem:
        raise BadQuery(str(problem)) from None
    finally:
        timer.cancel()
        connection.close()


def _check_reads(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    statements = connection.extract_statements(text)
    if len(statements) != 1:
        raise BadQuery(f"expected one statement, found {len(statements)}")
    # No EXPLAIN: with ANALYZE it runs what it explains, a COPY into the lake for one.
    if statements[0].type != duckdb.StatementType.SELECT:
        kind = str(statements[0].type).rpartition(".")[2].split(":")[0]
        raise BadQuery(f"expected a statement that reads (SELECT, FROM, DESCRIBE, SHOW, SUMMARIZE), found {kind}")


def run(root: Path | str, text: str, *, as_json: bool, out: TextIO, err: TextIO) -> int:
    """`tminus sql`: print the answer to `out`, a complaint to `err`; the exit status.

    A terminal gets a table, anything else tab-separated lines under a line of names, `as_json` an array of objects.
    """
    try:
        answer = query(root, text)
    except BadQuery as problem:
        err.write(f"error: the query was refused\n  {problem}\n  what there is: tminus sql 'SHOW TABLES'\n")
        return EXIT_USAGE
    except NoLake as problem:
        err.write(f"error: {problem}\n")
        return EXIT_LAKE
    except (LakeError, duckdb.Error) as problem:
        err.write(f"error: the lake cannot be read\n  {problem}\n")
        return EXIT_LAKE
    if as_json:
        out.write(_json(answer))
    elif out.isatty():
        _table(answer, out)
    else:
        out.writelines("\t".join(map(_cell, row)) + "\n" for row in (answer.columns, *answer.rows))
    return EXIT_OK


def _json(answer: Answer) -> str:
    rows = (json.dumps(dict(zip(answer.columns, row, strict=True)), default=_plain) for row in _finite(answer.rows))
    return "[" + ",\n ".join(rows) + "]\n"


def _finite(rows: Iterable[tuple[Any, ...]]) -> Iterable[list[Any]]:
    for row in rows:  # JSON has neither NaN nor infinity
        yield [None if isinstance(x, float) and not math.isfinite(x) else x for x in row]


def _plain(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else str(value)


def _cell(value: object) -> str:
    """Tabs and line ends would tear a line of the output apart."""
    if value is None:
        return ""
    return str(_plain(value)).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def _table(answer: Answer, out: TextIO) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*answer.columns)
    for row in answer.rows:
        table.add_row(*(Text("NULL", style="dim") if value is None else Text(str(_plain(value))) for value in row))
    Console(file=out).print(table)
