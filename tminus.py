"""tminus in a notebook: `tminus.audit(train, log)` takes data frames and gives the corrected frame back.

The command runs in a process of its own, away from the folder of the notebook, so nothing that lies there under the
name of one of our packages (`features`, `polars.py`) is imported by it. This file imports the standard library alone;
pyarrow comes with the first audit, pandas and Polars are never imported but used where the caller has done so.

    >>> import tminus
    >>> tminus.audit("nowhere.parquet", "log.parquet")
    Traceback (most recent call last):
    tminus.AuditError: expected a file nowhere.parquet as train, found none
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import datetime
    import subprocess

    import duckdb

    from _tminus_frames import Given

__all__ = ["AuditError", "LeakFound", "Report", "audit", "connect"]

#: What the child is asked to run; `-I` keeps it from the caller's folder, PYTHONPATH and user packages.
_COMMAND = ("-I", "-m", "streams.cli.main", "audit")
#: How long an interrupted child may take to put its files away.
_GOODBYE_S = 5.0
#: What the command writes for us, by option.
_MADE = {"json": "report.json", "html": "report.html", "corrected": "corrected.parquet", "cells": "cells.parquet"}
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class AuditError(ValueError):
    """The audit was asked wrongly, or its input is unreadable or contradicts itself.

    Parameters
    ----------
    code
        Stable, with a page in `docs/errors/`; empty where the mistake was found before the command ran.
    status
        Exit status of the command: 2 usage, 4 input.
    """

    def __init__(self, message: str, *, code: str = "", status: int = 2) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class LeakFound(AssertionError):
    """`Report.raise_for_leak` found one."""


class Report:
    """What an audit found. In a notebook it shows itself as the HTML report, elsewhere as the summary.

    Parameters
    ----------
    status
        0 clean, 1 findings that `fail_on` names.
    report
        The JSON report as a dict (`docs/audit.md` says what is in it).
    """

    def __init__(self, folder: Path, given: Given, status: int, summary: str) -> None:
        import json
        import shutil
        import weakref

        self.status = status
        self.report: dict[str, Any] = json.loads((folder / _MADE["json"]).read_text())
        self._folder, self._given, self._summary = folder, given, summary
        self._frames: dict[str, Any] = {}
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)

    @property
    def corrected(self) -> Any:
        """The training set as it could have been known: a frame of the kind that was given, an Arrow table for a path.

        Cells that pass stay as they are; every other cell of an audited feature holds the newest value that was surely
        readable at the prediction, missing where there was none. Integers become nullable ones where that happens.
        """
        return self._frame("corrected", self._corrected)

    @property
    def cells(self) -> Any:
        """The verdict of every cell: rows as in the training set, columns ``<feature>__verdict`` and ``__lead_us``."""
        return self._frame("cells", lambda: self._given.like(self._table("cells")))

    @property
    def features(self) -> list[dict[str, Any]]:
        """One small dict per feature, the worst first, without any frame: what a person wants to know in one look."""
        order = ("LEAK", "LEAK_OR_STALE", "STALE", "SKEW_AMBIGUOUS", "UNVERIFIABLE", "PASS")
        found = [
            {
                "feature": name,
                "verdict": one["verdict"],
                "tier": one["tier"],
                "leaked": one["counts"]["LEAK"],
                "leak_share": (one["leak_share"]["low"], one["leak_share"]["high"]),
                "lead_us_p50": (one.get("lead_us") or {}).get("p50"),
            }
            for name, one in self.report["features"].items()
        ]
        return sorted(found, key=lambda one: (order.index(one["verdict"]), -one["leaked"]))

    @property
    def html(self) -> str:
        """The HTML report, one whole document."""
        return (self._folder / _MADE["html"]).read_text(encoding="utf-8")

    def raise_for_leak(self) -> Report:
        """Raise `LeakFound` if any cell leaks, else return the report; for scripts and tests."""
        leaking = [one for one in self.features if one["verdict"] == "LEAK"]
        if leaking:
            said = ", ".join(f"{one['feature']} ({one['leaked']:,} rows)" for one in leaking)
            raise LeakFound(f"expected no value from after the prediction, found {said}")
        return self

    def __repr__(self) -> str:
        return self._summary

    def _repr_html_(self) -> str:
        from html import escape

        # A document inside a document: its styles stay inside, and nothing in it may run.
        return (
            f'<iframe srcdoc="{escape(self.html)}" sandbox="" title="tminus audit" '
            'style="width:100%;height:42rem;border:1px solid #8886;border-radius:4px"></iframe>'
        )

    def _frame(self, name: str, made: Callable[[], Any]) -> Any:
        if name not in self._frames:
            self._frames[name] = made()
        return self._frames[name]

    def _table(self, name: str) -> Any:
        from pyarrow import parquet

        return parquet.read_table(self._folder / f"{name}.parquet", partitioning=None)

    def _corrected(self) -> Any:
        import pyarrow.compute as pc

        table, cells = self._table("corrected"), self._table("cells")
        changed = {
            name: pc.fill_null(pc.not_equal(cells[f"{name}__verdict"].cast("string"), "PASS"), True).combine_chunks()
            for name in self.report["features"]
            if f"{name}__verdict" in cells.column_names
        }
        return self._given.corrected(table, changed)


def audit(
    train: Any,
    log: Any,
    *,
    entity: str = "entity",
    prediction_time: str = "prediction_time",
    label: str | None = None,
    event_time: str | None = None,
    write_time: str | None = None,
    visible_time: str | None = None,
    order: str | None = None,
    clock_error: str | datetime.timedelta | None = None,
    resolution: str | datetime.timedelta | None = None,
    covers: str | Iterable[str] = (),
    prediction_resolution: str | datetime.timedelta | None = None,
    prediction_seq: str | None = None,
    tolerance: Mapping[str, float] | None = None,
    forward_dated: str | Iterable[str] = (),
    assumed_lag: str | datetime.timedelta | None = None,
    latency_budget: str | datetime.timedelta | None = None,
    feature: str | Iterable[str] = (),
    label_time: str | None = None,
    horizon: str | datetime.timedelta | None = None,
    extracted_at: str | datetime.datetime | None = None,
    stamp: str | None = None,
    fail_on: str | None = None,
    memory: str | None = None,
    json: str | os.PathLike[str] | None = None,
    html: str | os.PathLike[str] | None = None,
    junit: str | os.PathLike[str] | None = None,
    corrected: str | os.PathLike[str] | None = None,
    cells: str | os.PathLike[str] | None = None,
) -> Report:
    """Which cells of a training set could not have been known at the moment of prediction?

    Parameters
    ----------
    train
        One row per (entity, prediction time): a pandas or Polars frame, an Arrow table (or anything else with
        ``__arrow_c_stream__``), or the path of a Parquet or CSV file.
    log
        The row versions, likewise; or a list of several logs of any kind.
    entity, ..., memory
        The options of `tminus audit`, whose help explains them. Durations are text (``"5s"``) or timedeltas,
        ``covers`` is ``"FROM..TO"`` or several of them, ``tolerance`` maps features to numbers.
    json, html, junit, corrected, cells
        Files to write as well; the last two are Parquet whatever their names.

    Returns
    -------
    Report
        Its `corrected` is a frame of the kind of `train`.

    Raises
    ------
    AuditError
        What was expected, what was found, which row.
    """
    options = dict(locals())  # every keyword is the option of the command with the same name
    import shutil
    import tempfile

    import _tminus_frames as frames

    if junit is not None:
        options["junit"] = os.path.abspath(junit)  # the command runs in another folder
    wanted = {option: path for option in _MADE if (path := options.pop(option)) is not None}
    folder = Path(tempfile.mkdtemp(prefix="tminus-"))
    try:
        given, logs = frames.given(options.pop("train"), "train"), frames.logs(options.pop("log"))
        given.expect(entity=entity, prediction_time=prediction_time, label=label, label_time=label_time)
        for one in logs:
            one.expect(entity=entity)
        words = [given.stored(folder), *(f"--log={one.stored(folder)}" for one in logs)]
        for name, value in options.items():
            words += [f"--{name.replace('_', '-')}={text}" for text in _texts(name, value)]
        status, summary = _run([*words, *(f"--{option}={name}" for option, name in _MADE.items())], folder)
        for option, path in wanted.items():
            shutil.copyfile(folder / _MADE[option], path)
        return Report(folder, given, status, summary)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _texts(name: str, value: Any) -> list[str]:
    """An option as the command reads it, once or again and again."""
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    if hasattr(value, "total_seconds"):
        return [f"{(value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds}us"]
    if hasattr(value, "isoformat"):
        return [value.isoformat()]
    if isinstance(value, Mapping):
        return [f"{key}={x!r}" for key, x in value.items()]
    if isinstance(value, Iterable):
        return [text for one in value for text in _texts(name, one)]
    raise AuditError(f"{name}: expected a text such as '5s' or a timedelta, found {value!r}")


def connect(lake: str | os.PathLike[str]) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection with the views of a lake (`docs/lake.md`), as they were committed last.

    Raises
    ------
    FileNotFoundError
        There is no lake in this folder.
    """
    script = Path(lake) / "open.sql"
    if not script.is_file():
        raise FileNotFoundError(f"expected a lake in {lake}, found no {script}; a run or a replay of tminus makes one")
    import duckdb

    text, here = script.read_text(encoding="utf-8"), str(script.resolve().parent).replace("'", "''")
    there = re.search(r"^SET VARIABLE tminus_root = '(.*)';$", text, re.MULTILINE)
    if there and there[1] != here:  # the lake was moved or copied, and the script names the old place
        text = text.replace(there[1], here)
    connection = duckdb.connect()
    connection.execute(text)
    return connection


# Running the command.


def _run(words: Sequence[str], folder: Path) -> tuple[int, str]:
    """Exit status and summary of an audit that came to its end."""
    import subprocess

    environ = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "TMINUS_"))}
    # What the child leaves behind when it is killed lies in our folder and goes with it.
    environ |= {"TMPDIR": str(folder), "NO_COLOR": "1"}
    reader, writer, is_shown = _ears()
    with open(folder / "summary.txt", "wb") as out, open(reader, "rb", buffering=0) as words_said:
        try:
            child = subprocess.Popen(
                [sys.executable or "python", *_COMMAND, *words],
                cwd=folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=writer,
            )
        except OSError as error:
            raise AuditError(f"expected to start {sys.executable!r} for the audit, found: {error}") from None
        finally:
            os.close(writer)
        try:
            said = _heard(words_said, is_shown)
            status = child.wait()
        except BaseException:
            _end(child)
            raise
    if status in (0, 1) and (folder / _MADE["json"]).exists():
        lines = (folder / "summary.txt").read_text(encoding="utf-8").splitlines()
        ours = [[option, name] for option, name in _MADE.items()]  # where it left its files concerns us alone
        return status, "\n".join(line for line in lines if line.split() not in ours)
    raise _failure(status, said)


def _ears() -> tuple[int, int, bool]:
    """Two ends for what the child says; a terminal where we have one, for only there the child shows its progress."""
    if sys.stderr is not None and sys.stderr.isatty():
        try:
            import pty

            return *pty.openpty(), True
        except (ImportError, OSError):
            pass
    return *os.pipe(), False


def _heard(words_said: IO[bytes], is_shown: bool) -> str:
    pieces = []
    while True:
        try:
            piece = words_said.read(65_536)
        except OSError:  # how a terminal says that its other end was closed
            break
        if not piece:
            break
        pieces.append(piece)
        if is_shown:
            sys.stderr.write(piece.decode("utf-8", "replace"))
            sys.stderr.flush()
    return b"".join(pieces).decode("utf-8", "replace")


def _end(child: subprocess.Popen[bytes]) -> None:
    """Interrupt the child as Ctrl-C would, and do not wait for ever."""
    import signal
    import subprocess

    try:
        child.send_signal(signal.SIGINT)
        child.wait(_GOODBYE_S)
    except (OSError, subprocess.TimeoutExpired):
        pass
    finally:
        child.kill()
        child.wait()


def _failure(status: int, said: str) -> BaseException:
    lines = [line.rstrip("\r").rsplit("\r", 1)[-1].rstrip() for line in _ANSI.sub("", said).split("\n")]
    text = "\n".join(line for line in lines if line)
    if status == 130:
        return KeyboardInterrupt()
    if status in (2, 4):
        code = re.search(r"\((TM\d+)\)", text)
        return AuditError(text.removeprefix("error: "), code=code[1] if code else "", status=status)
    missing = re.search(r"No module named '?([\w.]+)", text)
    if missing:
        return AuditError(
            f"expected tminus with all it needs in the environment of {sys.executable}, found no module {missing[1]!r} "
            "there; install tminus into the environment of this notebook (packages of the user, of PYTHONPATH and of "
            "the notebook's folder are left out on purpose)"
        )
    return RuntimeError(f"a fault of tminus, not of the input (exit status {status}):\n{text}")
