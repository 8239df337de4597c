"""What does a Feast repository's default join return that had not been written yet?

Each view is joined as Feast would, audited with its created timestamps as write times, and put together again.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from monitors.audit.outcome import FeatureOutcome, Outcome, TableFinding
from monitors.verdicts import REASONS, VERDICTS, Severity, Verdict
from streams.audit import feast_join
from streams.audit.engine import Audit, audit
from streams.audit.feast import read_repository
from streams.audit.request import AuditError, Request
from streams.audit.scoring import scored
from streams.audit.tables import batches, open_table


@dataclass(frozen=True, slots=True)
class FeastAudit:
    """The outcome over all views; `cells` and `corrected` have the rows of the entity table, None without one.

    Parameters
    ----------
    cells
        ``<feature>__verdict``, ``<feature>__lead_us`` and ``<feature>__reason``; NULL in rows that the join leaves out.
    corrected
        The entity table with the features as they were surely readable.
    """

    outcome: Outcome
    cells: pa.Table | None
    corrected: pa.Table | None


def audit_repository(
    repo: Path, train: Path | None, request: Request, *, moment: str | None, told: Callable[[str], None]
) -> FeastAudit:
    """Audit every view that can be read.

    Parameters
    ----------
    train
        The entity table; None: the moments of the sources themselves.
    request
        Options that hold for every view; its files and columns do not count.
    moment
        Column of the entity table; None: found.

    Raises
    ------
    AuditError, streams.audit.unreadable.TableError
        The repository, a source or the entity table cannot be read.
    """
    repository = read_repository(repo)
    rows = None if train is None else _read_whole(train)
    carry = (request.label,) if request.label is not None and rows is not None else ()
    if carry and rows is not None and request.label not in rows.column_names:
        raise AuditError(f"{train}: expected the label column {request.label!r} (--label), found none")
    parts: list[tuple[feast_join.ViewTable, Outcome]] = []
    cells, corrected = rows.select([]) if rows is not None else None, rows
    for joined in feast_join.joined(repository, rows, moment=moment, carry=carry):
        told(f"joining view {joined.view.name}")
        with (
            tempfile.TemporaryDirectory(prefix="tminus-feast-") as folder,
            audit(_request_of(joined, request, Path(folder), has_label=bool(carry)), told=told) as found,
        ):
            parts.append((joined, scored(found) if carry else found.outcome))
            if cells is not None and corrected is not None and rows is not None:
                cells, corrected = _add(joined, found, rows.num_rows, cells, corrected)
    left = feast_join.left_out(repository, rows.column_names if rows is not None else None)
    return FeastAudit(_together(repo, train, rows, parts, left), cells, corrected)


def _read_whole(path: Path) -> pa.Table:
    table = open_table(path)
    return pa.Table.from_batches(list(batches(table, table.schema.names)), table.schema)


def _request_of(joined: feast_join.ViewTable, request: Request, folder: Path, *, has_label: bool) -> Request:
    if joined.train.num_rows == 0:
        raise AuditError(f"view {joined.view.name}: expected rows, but the join returns none for these moments")
    train, log = folder / "train.parquet", folder / "log.parquet"
    pq.write_table(joined.train, train)
    pq.write_table(joined.log, log)
    has_visible = feast_join.VISIBLE_TIME in joined.log.column_names
    return replace(
        request,
        train=train,
        logs=(log,),
        entity=feast_join.ENTITY,
        prediction_time=feast_join.PREDICTION_TIME,
        event_time=feast_join.EVENT_TIME,
        write_time=feast_join.WRITE_TIME,
        visible_time=feast_join.VISIBLE_TIME if has_visible else None,
        order="max_event_time",
        label=request.label if has_label else None,
        features=(),
    )


def _add(
    joined: feast_join.ViewTable, found: Audit, rows: int, cells: pa.Table, corrected: pa.Table
) -> tuple[pa.Table, pa.Table]:
    """The view's columns, at the rows of the entity table that the join returned."""
    results = pa.concat_tables(found.results.ranges())
    place = np.full(rows, -1, np.int64)
    place[joined.rows] = np.arange(joined.rows.size)
    at = pa.array(place, mask=place < 0)
    verdicts, reasons = (pa.array([w.value for w in words]) for words in (VERDICTS, REASONS))
    for index in found.audited:
        name = found.names[index]
        cells = cells.append_column(f"{name}__verdict", verdicts.take(results.column(f"v{index}").take(at)))
        cells = cells.append_column(f"{name}__lead_us", results.column(f"l{index}").take(at))
        cells = cells.append_column(f"{name}__reason", reasons.take(results.column(f"r{index}").take(at)))
        value = results.column(f"c{index}").take(at)
        there = corrected.schema.get_field_index(name)
        corrected = corrected.append_column(name, value) if there < 0 else corrected.set_column(there, name, value)
    return cells, corrected


def _together(
    repo: Path,
    train: Path | None,
    rows: pa.Table | None,
    parts: list[tuple[feast_join.ViewTable, Outcome]],
    left: dict[str, str],
) -> Outcome:
    features: dict[str, FeatureOutcome] = {}
    findings: list[TableFinding] = []
    for joined, outcome in parts:
        features |= outcome.features
        findings += [replace(f, subject=f.subject or joined.view.name) for f in outcome.findings]
        findings += [TableFinding("FEAST_JOIN", Severity.INFO, joined.view.name, note) for note in joined.notes]
    findings += [
        TableFinding("NOT_AUDITED", Severity.WARNING, name, f"{name} was not audited: {why}.")
        for name, why in left.items()
    ]
    cells = sum(outcome.cells for _, outcome in parts)
    unverifiable = sum(f.counts[Verdict.UNVERIFIABLE] for f in features.values())
    only = parts[0][1] if len(parts) == 1 else None
    rests_on = dict(pair for _, outcome in parts for pair in outcome.rests_on if not pair[0].startswith("clock of"))
    rests_on["readable from, at the latest"] = "the created timestamp: a row is assumed readable once it is created"
    rests_on["not readable before"] = "the created timestamp, and the event timestamp"
    return Outcome(
        train=str(train) if train is not None else f"the sources' own moments in {repo}",
        logs=tuple(str(joined.view.path) for joined, _ in parts),
        rows=rows.num_rows if rows is not None else sum(outcome.rows for _, outcome in parts),
        cells=cells,
        coverage=1 - unverifiable / cells,
        assumes=tuple(dict.fromkeys(a for _, outcome in parts for a in outcome.assumes)),
        rests_on=tuple(rests_on.items()),
        features=features,
        findings=tuple(findings),
        inflation=only.inflation if only is not None else None,
        inflation_note=only.inflation_note if only is not None else "views are audited one by one, no common score",
    )
