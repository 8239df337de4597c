"""`tminus audit`: which cells of this training set could not have been known at the moment of prediction?"""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streams.cli.options import progress, progress_end
from streams.cli.quantities import COVERS, DURATION, MOMENT, RESOLUTION, SIZE, TOLERANCE

if TYPE_CHECKING:
    from monitors.audit.outcome import Outcome
    from streams.audit.request import Request

_FILE = click.Path(path_type=Path)


@click.command("audit")
@click.argument("train", type=_FILE, required=False)
@click.option(
    "--log",
    "logs",
    multiple=True,
    type=_FILE,
    metavar="LOG",
    help="Row versions, Parquet or CSV, wide or long; may be given again.",
)
@click.option("--entity", default="entity", metavar="NAME", help="Entity column, in both files.  [entity]")
@click.option(
    "--prediction-time",
    default="prediction_time",
    metavar="NAME",
    help="Column of TRAIN: when the features were read.  [prediction_time]",
)
@click.option("--label", metavar="NAME", help="Column of TRAIN that is no feature; measures what the leak is worth.")
@click.option("--event-time", metavar="NAME", help="Column of LOG: when it happened.  [event_time if present]")
@click.option(
    "--write-time", default="write_time", metavar="NAME", help="Column of LOG: not readable before this.  [write_time]"
)
@click.option(
    "--visible-time",
    metavar="NAME|none",
    help="Column of LOG: readable from this on at the latest; none: nobody knows.  "
    "[visible_time if present, else the write time, as an assumption]",
)
@click.option(
    "--order",
    type=click.Choice(["last_write", "max_event_time"]),
    default="last_write",
    help="Which of several visible versions wins.  [last_write]",
)
@click.option(
    "--clock-error",
    type=DURATION,
    default="0ms",
    metavar="DURATION",
    help="Bound on the offset between the two clocks.  [0ms]",
)
@click.option(
    "--resolution",
    type=RESOLUTION,
    metavar="DURATION",
    help="How coarse the log's times are.  [found from at least 200 stamps, else the column's unit]",
)
@click.option(
    "--covers",
    type=COVERS,
    multiple=True,
    metavar="FROM..TO",
    help="The log is complete in this range, TO excluded; may be given again.  [for all time]",
)
@click.option(
    "--prediction-resolution",
    type=RESOLUTION,
    default="1us",
    metavar="DURATION",
    help="How coarse TRAIN's prediction times are.  [1us]",
)
@click.option("--prediction-seq", metavar="NAME", help="Column of TRAIN: place of the read in the log's seq.")
@click.option(
    "--tolerance",
    type=TOLERANCE,
    multiple=True,
    metavar="NAME=X",
    help="A float feature is equal within X; may be given again.  [bitwise]",
)
@click.option(
    "--forward-dated",
    multiple=True,
    metavar="NAME",
    help="A feature that may happen after it is written, such as a due date; may be given again.",
)
@click.option(
    "--assumed-lag",
    type=DURATION,
    default="0s",
    metavar="DURATION",
    help="What training assumed between event and visibility.  [0s]",
)
@click.option("--latency-budget", type=DURATION, metavar="DURATION", help="Declared budget of that lag; gives LATE.")
@click.option("--feature", "features", multiple=True, metavar="NAME", help="Only this feature; may be given again.")
@click.option("--label-time", metavar="NAME", help="Column of TRAIN: when the label happened.")
@click.option("--horizon", type=DURATION, metavar="DURATION", help="How long after the prediction a label may come.")
@click.option("--extracted-at", type=MOMENT, metavar="TIME", help="When TRAIN was built.  [newest write of the logs]")
@click.option("--stamp", metavar="NAME", help="Column of LOG stamped by the application.  [updated_at if present]")
@click.option(
    "--feast",
    type=_FILE,
    metavar="REPO",
    help="Instead of --log: a Feast repository, whose join is made again; TRAIN is its entity table, or left away.",
)
@click.option("--json", "as_json", metavar="PATH", help="The report as JSON; - is standard output.")
@click.option("--html", type=_FILE, metavar="PATH", help="The report as one HTML file.")
@click.option("--junit", type=_FILE, metavar="PATH", help="The report for CI, as JUnit XML.")
@click.option("--corrected", type=_FILE, metavar="PATH", help="TRAIN with what was known instead, Parquet or CSV.")
@click.option("--cells", type=_FILE, metavar="PATH", help="The verdict of every cell, Parquet.")
@click.option(
    "--fail-on",
    type=click.Choice(["leak", "unverifiable", "never"]),
    default="leak",
    help="Exit status 1 on: any LEAK; anything but PASS and STALE; nothing.  [leak]",
)
@click.option(
    "--memory",
    type=SIZE,
    metavar="SIZE",
    help="Bound on memory; larger inputs are sorted on disk.  [half of the machine's]",
)
def command(
    train: Path | None,
    as_json: str | None,
    html: Path | None,
    junit: Path | None,
    corrected: Path | None,
    cells: Path | None,
    fail_on: str,
    **options: Any,
) -> int:
    """Which cells of TRAIN could not have been known at the moment of prediction?

    TRAIN has one row per entity and prediction time, LOG every version of the same columns with the time of its
    write. Times are timestamps, ISO 8601 text, or integers in s, ms, us or ns.
    """
    feast: Path | None = options.pop("feast")
    request = _request(train, options, feast)
    reports = [html, junit, corrected, cells, None if as_json in (None, "-") else Path(str(as_json))]
    _check_places(reports, [*([train] if train is not None else []), *request.logs])
    try:
        if feast is None:
            outcome = _of_files(request, cells, corrected)
        else:
            moment = None if options["prediction_time"] == "prediction_time" else options["prediction_time"]
            outcome = _of_feast(feast, train, request, moment, cells, corrected)
    finally:
        progress_end()
    if as_json is not None:
        from streams.audit.reports.document import document

        _say(document(outcome), as_json)
    if html is not None:
        from streams.audit.reports import html as page

        with _writing(html):
            html.write_text(page.render(outcome), encoding="utf-8")
    if junit is not None:
        from streams.audit.reports import junit as suite

        with _writing(junit):
            junit.write_text(suite.render(outcome, fail_on), encoding="utf-8")
    if as_json != "-":
        _show(
            outcome, {"--json": as_json, "--html": html, "--junit": junit, "--corrected": corrected, "--cells": cells}
        )
    return status(outcome, fail_on)


def _of_files(request: "Request", cells: Path | None, corrected: Path | None) -> "Outcome":
    from streams.audit.engine import audit
    from streams.audit.reports.tables import write_cells, write_corrected
    from streams.audit.scoring import scored
    from streams.cli.first_use import compiling_told

    with compiling_told(progress), audit(request, wants_rows=bool(corrected or cells), told=progress) as found:
        outcome = scored(found)
        if cells is not None:
            progress(f"writing {cells}")
            with _writing(cells):
                write_cells(found, cells)
        if corrected is not None:
            progress(f"writing {corrected}")
            with _writing(corrected):
                write_corrected(found, corrected)
    return outcome


def _of_feast(
    repo: Path,
    train: Path | None,
    request: "Request",
    moment: str | None,
    cells: Path | None,
    corrected: Path | None,
) -> "Outcome":
    from streams.audit.feast_audit import audit_repository
    from streams.audit.reports.tables import write_table
    from streams.cli.first_use import compiling_told

    if train is None and (cells is not None or corrected is not None):
        raise click.UsageError("--cells and --corrected need TRAIN: without it there is no table whose rows they are")
    with compiling_told(progress):
        found = audit_repository(repo, train, request, moment=moment, told=progress)
    for path, table in ((cells, found.cells), (corrected, found.corrected)):
        if path is not None and table is not None:
            with _writing(path):
                write_table(table, path)
    return found.outcome


def status(outcome: "Outcome", fail_on: str) -> int:
    """1 if the outcome has what `fail_on` names, else 0."""
    from monitors.verdicts import Verdict

    counts = [feature.counts for feature in outcome.features.values()]
    if fail_on == "leak":
        return int(any(c[Verdict.LEAK] for c in counts))
    if fail_on == "unverifiable":
        return int(any(n for c in counts for v, n in c.items() if v not in (Verdict.PASS, Verdict.STALE)))
    return 0


def _request(train: Path | None, options: dict[str, Any], feast: Path | None) -> "Request":
    from streams.audit.request import Request
    from streams.cli.quantities import half_of_memory

    if feast is not None and options["logs"]:
        raise click.UsageError("expected --feast or --log, found both: the repository names its own files")
    if feast is None and (train is None or not options["logs"]):
        raise click.UsageError("expected TRAIN and at least one --log LOG (or --feast REPO)")
    return Request(
        train=train if train is not None else Path(),
        logs=options["logs"],
        entity=options["entity"],
        prediction_time=options["prediction_time"],
        label=options["label"],
        event_time=options["event_time"],
        write_time=options["write_time"],
        visible_time=options["visible_time"],
        order=options["order"],
        clock_error_us=options["clock_error"],
        resolution_us=options["resolution"],
        covers=options["covers"],
        prediction_resolution_us=options["prediction_resolution"],
        prediction_seq=options["prediction_seq"],
        tolerance=dict(options["tolerance"]),
        forward_dated=frozenset(options["forward_dated"]),
        assumed_lag_us=options["assumed_lag"],
        latency_budget_us=options["latency_budget"],
        features=options["features"],
        label_time=options["label_time"],
        horizon_us=options["horizon"],
        extracted_at_us=options["extracted_at"],
        stamp=options["stamp"],
        memory_bytes=options["memory"] or half_of_memory(),
    )


def _check_places(written: list[Path | None], read: list[Path]) -> None:
    """A report that could not be written, or not without a loss, is found out before an hour of work, not after it."""
    taken = {path.absolute().resolve() for path in read}
    for path in written:
        if path is None:
            continue
        if not path.absolute().parent.is_dir():
            raise click.UsageError(f"{path}: expected a folder that exists, found none")
        if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
            raise click.UsageError(f"{path}: expected a place to write to, found: {os.strerror(errno.EACCES)}")
        if path.is_dir():
            raise click.UsageError(f"{path}: expected the name of a file to write, found a folder")
        if path.absolute().resolve() in taken:
            raise click.UsageError(f"{path}: expected a file of its own, found TRAIN, a LOG or another report")
        taken.add(path.absolute().resolve())


@contextlib.contextmanager
def _writing(place: Path | str) -> Iterator[None]:
    """A full disk or a folder that is not ours is no finding and no fault: say which, with exit status 2."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        found = os.strerror(error.errno) if error.errno else str(error)
        raise click.UsageError(f"{place}: expected a place to write to, found: {found}") from None


def _say(document: dict[str, Any], where: str) -> None:
    import json

    text = json.dumps(document, indent=2, default=str, allow_nan=False)
    with _writing("standard output" if where == "-" else where):
        if where == "-":
            click.echo(text)
        else:
            Path(where).write_text(text + "\n", encoding="utf-8")


def _show(outcome: "Outcome", written: dict[str, Any]) -> None:
    import shutil

    from streams.audit.reports import summary

    is_terminal = sys.stdout is not None and sys.stdout.isatty()  # None: whoever started us closed it
    width = shutil.get_terminal_size().columns if is_terminal else 100
    with _writing("standard output"):
        click.echo(summary.render(outcome, width=width, color=is_terminal and not os.environ.get("NO_COLOR")))
        for option, path in written.items():
            if path is not None:
                click.echo(f"{option[2:]:<10} {path}")
