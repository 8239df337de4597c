"""One audit from files to outcome: read once, judge bucket by bucket, tell in the order of TRAIN.

1. LOGs and TRAIN are read in batches into stores, apart by a hash of the entity.
2. Per bucket the rows of each entity are sorted into histories and every cell is judged.
3. What the reports want row by row is put back into the order of TRAIN.

Only one bucket at a time needs memory; the verdicts do not depend on how many there are.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from features import comparison
from features.comparison import Evidence
from features.kinds import Kind
from features.stamps import ResolutionEvidence
from monitors.audit.outcome import Outcome
from streams.audit import intake as reading
from streams.audit.buckets import BucketJudge
from streams.audit.clocks import SourceClock
from streams.audit.intake import Intake, Label, LogIntake, Told
from streams.audit.request import AuditError, Request
from streams.audit.roles import LogRoles, TrainRoles, check_shared, log_roles, train_roles
from streams.audit.rows_out import Results
from streams.audit.store import FLUSH_BYTES, Store, by_hash
from streams.audit.tables import open_table
from streams.audit.telling import outcome_of

#: Rows need room as they are, sorted, as hashes and as verdicts; measured on wide logs of numbers.
_BYTES_PER_BYTE = 4
#: Buckets of about this size are judged fastest, on disk or not: histories stay in the processor's cache. One million
#: rows against five million versions: 6.6 s of CPU time in 24 buckets, 11.4 s in one.
_BUCKET_BYTES = 128 * 2**20
_BUCKETS_IN_MEMORY_MAX = 64
#: What the interpreter and its libraries take before the first row.
_BASE_BYTES = 220 * 2**20
_WAITING_BYTES_MIN = 4 * 2**20
#: Open files at a time, for all stores together.
_FILES_MAX = 512


@dataclass(slots=True)
class Audit:
    """A finished audit: the outcome, and what is needed to write tables row by row."""

    outcome: Outcome
    results: Results
    request: Request
    train: TrainRoles
    names: tuple[str, ...]
    audited: tuple[int, ...]
    kinds: dict[int, Kind | None]
    closing: ExitStack = field(default_factory=ExitStack)

    def close(self) -> None:
        """Remove what was kept on disk."""
        self.closing.close()

    def __enter__(self) -> "Audit":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def audit(
    request: Request,
    *,
    wants_rows: bool = True,
    told: Callable[[str], None] = lambda _: None,
) -> Audit:
    """Audit a training set against its logs.

    Parameters
    ----------
    wants_rows
        Whether verdicts and corrected values are needed row by row afterwards.
    told
        Called now and then with a line about the progress.

    Raises
    ------
    AuditError, streams.audit.tables.TableError
        The files cannot be read, or contradict the options or themselves.
    """
    train = train_roles(request, open_table(request.train))
    logs = [log_roles(request, open_table(path), train) for path in request.logs]
    with ExitStack() as closing:
        plan = _plan(request, train, logs, closing)
        taken, rows, train_store = _read(request, train, logs, plan, told)
        audited = tuple(i for i in range(len(train.candidates)) if any(i in log.found for log in taken.logs))
        kinds = _kinds(taken, audited)
        clocks = _clocks(request, taken, audited)
        results = Results(rows, plan.folder, plan.flush_bytes) if wants_rows or request.label else Results(0, None)
        judge = BucketJudge(taken, audited, kinds, clocks, rows, results)
        _widen(judge, taken, plan, told)
        for bucket in range(plan.buckets):
            told(f"judging, part {bucket + 1} of {plan.buckets}")
            judge.judge(train_store.take(bucket), judge.log_tables(bucket, keep=False))
        outcome = outcome_of(judge, train)
        return Audit(outcome, results, request, train, taken.names, audited, kinds, closing.pop_all())


@dataclass(frozen=True, slots=True)
class _Plan:
    buckets: int
    folder: Path | None
    bucket: Callable[[npt.NDArray[np.uint64]], npt.NDArray[np.int64]]
    flush_bytes: int = FLUSH_BYTES

    def store(self, name: str) -> Store:
        return Store(self.buckets, self.folder, name, flush_bytes=self.flush_bytes)


def _plan(request: Request, train: TrainRoles, logs: list[LogRoles], closing: ExitStack) -> _Plan:
    """In memory if all of it fits; else as many buckets as make one fit."""
    needed = _BYTES_PER_BYTE * (train.table.nbytes + sum(log.table.nbytes for log in logs))
    room = max(request.memory_bytes - _BASE_BYTES, request.memory_bytes // 4)
    if needed <= room:
        buckets = min(_BUCKETS_IN_MEMORY_MAX, 1 + needed // _BUCKET_BYTES)
        return _Plan(buckets, None, by_hash(buckets))
    folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="tminus-audit-")))
    most = max(2, _FILES_MAX // (len(logs) + 2))
    buckets = min(most, 1 + 2 * needed // max(room, 1))
    # The stores of all logs, of TRAIN and of the results wait at the same time.
    waiting = max(_WAITING_BYTES_MIN, min(FLUSH_BYTES, room // (4 * (len(logs) + 2))))
    return _Plan(buckets, folder, by_hash(buckets), waiting)


def _read(
    request: Request, train: TrainRoles, logs: list[LogRoles], plan: _Plan, told: Callable[[str], None]
) -> tuple[Intake, int, Store]:
    names = train.candidates
    label = None
    if request.label is not None:
        label = Label(len(names), request.label)
        names = (*names, request.label)
    taken = Intake(request, names, label, [Evidence() for _ in names], [Evidence() for _ in names])
    say = _progress(told)
    for roles in logs:
        reading.read_renames(taken, roles)
    for k, roles in enumerate(logs):
        taken.logs.append(reading.read_log(taken, roles, plan.store(f"log{k}"), plan.bucket, say))
    audited = sorted({i for log in taken.logs for i in log.found} - ({label.index} if label else set()))
    check_shared(train, (names[i] for i in audited), logs)
    _check_asked(request, train, logs, [names[i] for i in audited])
    if not any(log.rows for log in taken.logs):
        raise AuditError(f"{logs[0].table.path}: expected at least one row, found none")
    store = plan.store("train")
    rows = reading.read_train(taken, train, audited, store, plan.bucket, say)
    return taken, rows, store


def _check_asked(request: Request, train: TrainRoles, logs: list[LogRoles], audited: list[str]) -> None:
    for name in request.features:
        if name not in audited:
            raise AuditError(
                f"expected a history of {name!r} (--feature) in a LOG, found none: the logs tell of "
                f"{', '.join(audited[:8])}"
            )
    roles = {name for log in logs for name in log.table.schema.names if name not in log.columns}
    for name in train.candidates:
        if name not in audited:
            train.not_audited[name] = "has a meaning of its own in the LOG" if name in roles else "in no LOG"


def _progress(told: Callable[[str], None]) -> Told:
    return lambda path, rows: told(f"reading {path}: {rows:,} rows")


def _kinds(taken: Intake, audited: tuple[int, ...]) -> dict[int, Kind | None]:
    kinds = {i: comparison.resolve(taken.train_evidence[i], taken.log_evidence[i]) for i in audited}
    if taken.label is not None:
        i = taken.label.index
        kinds[i] = comparison.resolve(taken.log_evidence[i], taken.log_evidence[i])
    return kinds


def _components(taken: Intake) -> Iterator[list[LogIntake]]:
    """LOGs that share a feature are one source with one clock."""
    left = list(taken.logs)
    while left:
        source = [left.pop(0)]
        grown = True
        while grown:
            grown = False
            for log in list(left):
                if any(log.found & other.found for other in source):
                    source.append(log)
                    left.remove(log)
                    grown = True
        yield source


def _clocks(request: Request, taken: Intake, audited: tuple[int, ...]) -> dict[int, SourceClock]:
    """The clock of each LOG's source, by place of the LOG."""
    clocks: dict[int, SourceClock] = {}
    for source in _components(taken):
        evidence = ResolutionEvidence()
        for log in source:
            evidence.merge(log.resolution)
        resolution = request.resolution_us or evidence.resolution_us()
        clock = SourceClock(resolution, request.clock_error_us, tuple(str(log.roles.table.path) for log in source))
        clocks |= {taken.logs.index(log): clock for log in source}
    return clocks


def _widen(judge: BucketJudge, taken: Intake, plan: _Plan, told: Callable[[str], None]) -> None:
    """Where stamps step back against the sequence, the clock error is at least that much: known before judging."""
    if not any("seq" in log.roles.optional for log in taken.logs):
        return
    for bucket in range(plan.buckets):
        told(f"comparing clocks and sequences, part {bucket + 1} of {plan.buckets}")
        judge.watch_clocks(judge.log_tables(bucket, keep=True))
