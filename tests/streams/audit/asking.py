"""`tminus audit` as a person types it, in this process: small tables in, exit status, report and cells out."""

import contextlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from streams.cli.main import main

#: The instant of the acceptance cases, milliseconds.
T = 1_700_000_000_000
T_US = T * 1_000

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Audited:
    """What one run left behind."""

    status: int
    report: dict[str, Any]
    cells: pa.Table | None
    out: str
    err: str

    def verdicts(self, feature: str) -> list[str]:
        return [shown for shown, _ in self.leads(feature)]

    def leads(self, feature: str) -> list[tuple[str, int | None]]:
        """(verdict, lead in microseconds) of every row of TRAIN."""
        assert self.cells is not None, self.err
        columns = (self.cells.column(f"{feature}__{what}").to_pylist() for what in ("verdict", "lead_us"))
        return list(zip(*columns, strict=True))

    def counts(self, feature: str) -> dict[str, int]:
        """Counts by verdict, without those that do not occur."""
        return {word: n for word, n in self.report["features"][feature]["counts"].items() if n}

    def findings(self, kind: str) -> list[dict[str, Any]]:
        return [finding for finding in self.report["findings"] if finding["kind"] == kind]


def run(*arguments: str | Path) -> tuple[int, str, str]:
    """(exit status, standard output, standard error)."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as end:
        main(["audit", *map(str, arguments)])
    return int(end.value.code or 0), out.getvalue(), err.getvalue()


def audit(folder: Path, train: Any, logs: Any, *options: str, csv: bool = False) -> Audited:
    """Write TRAIN and the logs (a table, rows or a path each) into `folder` and audit them."""
    folder.mkdir(parents=True, exist_ok=True)
    logs = logs if isinstance(logs, list) and not _is_rows(logs) else [logs]
    train_path = write(folder, "train", train, csv=csv)
    paths = [write(folder, f"log{i}", log, csv=csv) for i, log in enumerate(logs)]
    cells = folder / "cells.parquet"
    cells.unlink(missing_ok=True)
    named = [part for path in paths for part in ("--log", str(path))]
    status, out, err = run(train_path, *named, "--json", "-", "--cells", cells, *options)
    report = json.loads(out) if out.startswith("{") else {}
    return Audited(status, report, pq.read_table(cells) if cells.exists() else None, out, err)


def write(folder: Path, name: str, content: Any, *, csv: bool = False) -> Path:
    """The path of a file that holds this table, these rows, or the text drawn as a table."""
    if isinstance(content, Path):
        return content
    if isinstance(content, str):
        content = rows(content)
    table = content if isinstance(content, pa.Table) else pa.Table.from_pylist(list(content))
    path = folder / f"{name}.{'csv' if csv else 'parquet'}"
    if csv:
        pyarrow.csv.write_csv(table, path)
    else:
        pq.write_table(table, path)
    return path


def rows(drawn: str) -> list[dict[str, Any]]:
    """Rows from a drawn table: `T-500` is half a second before T in milliseconds, NULL is None.

    >>> rows('''
    ...     entity | write_time | plan
    ...     u1     | T+5        | NULL
    ... ''')
    [{'entity': 'u1', 'write_time': 1700000000005, 'plan': None}]
    """
    lines = [[cell.strip() for cell in line.split("|")] for line in drawn.splitlines() if line.strip()]
    return [dict(zip(lines[0], map(_read, line), strict=True)) for line in lines[1:]]


def _read(cell: str) -> Any:
    if cell == "NULL":
        return None
    if match := re.fullmatch(r"T([+-][\d_]+)?", cell):
        return T + int(match[1] or 0)
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(cell)
    return cell


def _is_rows(content: Any) -> bool:
    return bool(content) and isinstance(content[0], dict)
