"""From counts to the outcome that reports are made of."""

from features.times import duration_text
from monitors.audit.outcome import Outcome, TableFinding
from monitors.verdicts import Severity, Verdict
from streams.audit.buckets import BucketJudge
from streams.audit.clocks import SourceClock
from streams.audit.request import Request
from streams.audit.roles import LogRoles, TrainRoles

VISIBLE_IS_WRITE = "visible = write"


def outcome_of(judge: BucketJudge, train: TrainRoles) -> Outcome:
    """The outcome without inflation; features in the order of TRAIN's columns."""
    taken, request = judge.taken, judge.taken.request
    features = {}
    for index in judge.audited:
        clock = judge.clocks[next(k for k, log in enumerate(taken.logs) if index in log.found)]
        outcome = judge.tallies[index].outcome(
            judge.rows, clock.resolution_us, clock.effective_error_us, judge.watches.latency(index)
        )
        features[outcome.name] = outcome
    cells = judge.rows * len(features)
    unverifiable = sum(f.counts[Verdict.UNVERIFIABLE] for f in features.values())
    roles = [log.roles for log in taken.logs]
    return Outcome(
        train=str(request.train),
        logs=tuple(str(path) for path in request.logs),
        rows=judge.rows,
        cells=cells,
        coverage=1 - unverifiable / cells,
        assumes=_assumes(judge),
        rests_on=tuple(_rests_on(request, roles, list(dict.fromkeys(_told(c) for c in judge.clocks.values())))),
        features=features,
        not_audited=train.not_audited,
        findings=(*_unused(judge), *judge.watches.findings()),
    )


def _assumes(judge: BucketJudge) -> tuple[str, ...]:
    used = [log for log in judge.taken.logs if log.found & set(judge.audited)]
    return (VISIBLE_IS_WRITE,) if any(log.roles.is_visible_assumed for log in used) else ()


def _told(clock: SourceClock) -> tuple[str, str]:
    files = ", ".join(clock.files)
    error = f"{duration_text(clock.effective_error_us)} clock error"
    if clock.backstep_us > clock.clock_error_us:
        error += f" (declared {duration_text(clock.clock_error_us)}, but its stamps step back by more)"
    return f"clock of {files}", f"resolution {duration_text(clock.resolution_us)}, {error}"


def _rests_on(request: Request, roles: list[LogRoles], clocks: list[tuple[str, str]]) -> list[tuple[str, str]]:
    said = [
        ("entity", f"column {request.entity!r}"),
        (
            "prediction time",
            f"column {request.prediction_time!r}, known to {duration_text(request.prediction_resolution_us)}",
        ),
        ("not readable before", f"column {request.write_time!r} of the log"),
        ("readable from, at the latest", _visible(request, roles)),
        ("winner of several visible versions", request.order.replace("_", " ")),
        *clocks,
        ("the log is complete", "for all time" if not request.covers else f"in {len(request.covers)} declared ranges"),
    ]
    if request.prediction_seq is not None:
        said.append(("order of reads and writes", f"{request.prediction_seq!r} against the log's 'seq'"))
    if any("seq" in r.optional for r in roles):
        said.append(("order of writes", "column 'seq' of the log"))
    said += [(f"equality of {name}", f"within {x:g}") for name, x in request.tolerance.items()]
    return said


def _visible(request: Request, roles: list[LogRoles]) -> str:
    if request.visible_time == "none":
        return "nobody knows (--visible-time none)"
    if any(r.is_visible_assumed for r in roles):
        return f"the write time itself: assumed, because there is no column {request.visible_time or 'visible_time'!r}"
    return f"column {request.visible_time or 'visible_time'!r} of the log"


def _unused(judge: BucketJudge) -> list[TableFinding]:
    return [
        TableFinding(
            "UNUSED_LOG",
            Severity.WARNING,
            str(log.roles.table.path),
            f"{log.roles.table.path} shares no column with the training set and told nothing.",
            "Rename its columns, or leave it away.",
        )
        for log in judge.taken.logs
        if not log.found
    ]
