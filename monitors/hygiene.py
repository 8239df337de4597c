"""Can the times in these files be trusted?

Units, causal order, stamps that step back against a sequence; zone offsets have a file of their own, `monitors.zones`,
and so have stamps that are no commit times, `monitors.commits`. Every watch counts; the order and the pieces of the
rows change nothing.

How to call them (arrays of one length; a missing time is `NEVER_US`, an unknown visible time `FOREVER_US`):

* `UnitWatch.observe` once per column of stamps, with the units seen in it; leave typed (Arrow timestamp) columns out.
* `CausalWatch`: one per LOG, any batches of its rows.
* `BackstepWatch` (or `backstep_us`): one per source, whole entities in the order of `seq`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from features.times import FOREVER_US, NEVER_US
from monitors.audit.occurrences import Occurrences, about, rows_of
from monitors.audit.outcome import TableFinding
from monitors.kernels import steps
from monitors.verdicts import JSON, Severity

Int64 = npt.NDArray[np.int64]
Int16 = npt.NDArray[np.int16]
Int32 = npt.NDArray[np.int32]
Bool = npt.NDArray[np.bool_]

#: Features of one LOG that get a finding each; more share one.
FEATURES_APART_MAX = 5

#: A step back of this size is no error of a clock.
NO_CLOCK_US = 3_600_000_000

_NUMBERS = ("s", "ms", "us", "ns")


class UnitWatch:
    """Finds columns of numbers that mean different units in different rows or files.

    Examples
    --------
    >>> watch = UnitWatch()
    >>> watch.observe("a.parquet: write_time", {"ms"})
    >>> watch.observe("b.parquet: write_time", {"us"})
    >>> [(f.kind, f.subject) for f in watch.findings()]
    [('UNIT_MISMATCH', 'write_time')]
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], set[str]] = {}  # (column, file) -> units

    def observe(self, where: str, units: Collection[str]) -> None:
        """Note units (``"s"``, ``"ms"``, ``"us"``, ``"ns"``, ``"text"``, ``"date"``) of ``"file: column"``."""
        file, _, column = where.rpartition(": ")
        self._seen.setdefault((column, file), set()).update(units)

    def findings(self) -> tuple[TableFinding, ...]:
        """Columns that mix units, and columns whose unit differs from file to file."""
        mixed = [_mixed(column, file, units) for (column, file), units in sorted(self._seen.items()) if _mixes(units)]
        return (*mixed, *self._disagreements())

    def _disagreements(self) -> list[TableFinding]:
        by_column: dict[str, dict[str, str]] = {}
        for (column, file), units in sorted(self._seen.items()):
            numbers = units & set(_NUMBERS)
            if len(numbers) == 1:
                by_column.setdefault(column, {})[file] = next(iter(numbers))
        return [_differing(column, files) for column, files in by_column.items() if len(set(files.values())) > 1]


def _mixes(units: set[str]) -> bool:
    return len(units) > 1 and not units.isdisjoint(_NUMBERS)


def _mixed(column: str, file: str, units: set[str]) -> TableFinding:
    order = [*_NUMBERS, "date", "text"]
    names: list[JSON] = [*sorted(units, key=order.index)]
    return TableFinding(
        "UNIT_MISMATCH",
        Severity.WARNING,
        column,
        f"Column {column!r} of {file} mixes {' and '.join(map(str, names))}; each value was read in the unit of its "
        "magnitude.",
        "Let its producers agree on one unit, or store timestamps.",
        {"file": file, "units": names},
    )


def _differing(column: str, files: dict[str, str]) -> TableFinding:
    told = ", ".join(f"{unit} in {file}" for file, unit in files.items())
    return TableFinding(
        "UNIT_MISMATCH",
        Severity.WARNING,
        column,
        f"Column {column!r} counts {told}; each file was read in the unit of its magnitude.",
        "Write one unit everywhere, or store timestamps.",
        {"units": dict(files)},
    )


@dataclass(slots=True)
class CausalWatch:
    """Finds versions that were written before they happened, or readable before they were written.

    Parameters
    ----------
    file
        The LOG.
    names
        Names of the features by their codes.
    features
        Codes of the features of a wide LOG, which share each row; unused where rows come with a code each.
    forward_dated
        Names of features whose event time may lie ahead.

    Examples
    --------
    >>> watch = CausalWatch("log.csv", ["due_date"], [0], forward_dated=())
    >>> written, row = np.array([500]), np.array([0])
    >>> watch.observe(np.array([900]), written, written, row, clock_error_us=0, resolution_us=1)
    >>> [(f.kind, f.subject) for f in watch.findings()]
    [('FUTURE_DATED', 'due_date')]
    """

    file: str
    names: Sequence[str]
    features: Collection[int]
    forward_dated: Collection[str]
    _future: dict[int, Occurrences] = field(default_factory=dict)
    _ahead_us: dict[int, int] = field(default_factory=dict)
    _early: Occurrences = field(default_factory=Occurrences)
    _early_us: int = 0
    _total: int = 0

    def observe(
        self,
        event_us: Int64 | None,
        write_us: Int64,
        visible_us: Int64,
        row: Int64,
        *,
        clock_error_us: int,
        resolution_us: int,
        feature: Int32 | None = None,
    ) -> None:
        """Take in some rows: int64[n] times and row numbers, of a long LOG int32[n] codes (negative: none) as well."""
        self._total += row.size
        written = write_us != NEVER_US
        early = written & (visible_us != FOREVER_US) & (visible_us != NEVER_US) & (visible_us < write_us)
        at = np.flatnonzero(early)
        at = at[write_us[at] - visible_us[at] >= resolution_us]  # coarser stamps of visibility agree with the write
        if at.size:
            self._early.add(row[at])
            self._early_us = max(self._early_us, int((write_us[at] - visible_us[at]).max()))
        if event_us is None:
            return
        at = np.flatnonzero(written & (event_us != NEVER_US) & (event_us > write_us))
        ahead = event_us[at] - write_us[at]
        at, ahead = (x[ahead > clock_error_us + resolution_us] for x in (at, ahead))
        if at.size:
            self._count_future(row[at], ahead, None if feature is None else feature[at])

    def findings(self) -> tuple[TableFinding, ...]:
        """FUTURE_DATED by feature, and VISIBLE_BEFORE_WRITE."""
        early = [self._visible_before_write()] if self._early.count else []
        undeclared = [i for i in sorted(self._future) if self.names[i] not in self.forward_dated]
        if len(undeclared) > FEATURES_APART_MAX:
            worst = max(undeclared, key=lambda i: (self._future[i].count, -i))
            return (self._future_dated(worst, undeclared), *early)
        return (*(self._future_dated(i, [i]) for i in undeclared), *early)

    def _count_future(self, row: Int64, ahead: Int64, feature: Int32 | None) -> None:
        for code in self.features if feature is None else np.unique(feature[feature >= 0]).tolist():
            mine = slice(None) if feature is None else feature == code
            self._future.setdefault(code, Occurrences()).add(row[mine])
            self._ahead_us[code] = max(self._ahead_us.get(code, 0), int(ahead[mine].max()))

    def _future_dated(self, worst: int, features: list[int]) -> TableFinding:
        seen, ahead = self._future[worst], self._ahead_us[worst]
        names: list[JSON] = [self.names[i] for i in features]
        one = len(features) == 1
        whose = repr(self.names[worst]) if one else f"{len(features)} features"
        return TableFinding(
            "FUTURE_DATED",
            Severity.WARNING,
            self.names[worst] if one else self.file,
            f"{seen.count:,} versions of {whose} in {self.file} were written before they happened, by up to "
            f"{about(ahead)} (first: row {seen.first}).",
            f"Name {'it' if one else 'each'} with --forward-dated if such times are meant (a due date); else mend the "
            "clock, zone or unit of its event times.",
            {"file": self.file, "features": names, "ahead_us_max": ahead, **seen.evidence()},
        )

    def _visible_before_write(self) -> TableFinding:
        return TableFinding(
            "VISIBLE_BEFORE_WRITE",
            Severity.WARNING,
            self.file,
            f"{rows_of(self._early.count, self._total)} of {self.file} were readable before they were written, by up "
            f"to {about(self._early_us)} (first: row {self._early.first}); such rows prove nothing.",
            "Compare the clocks of the two columns, and check that --write-time and --visible-time are not swapped.",
            {"file": self.file, "early_us_max": self._early_us, **self._early.evidence()},
        )


def backstep_us(start: Int64, order_write_us: Int64) -> int:
    """The greatest step back of the stamps against the sequence inside one entity, microseconds; 0: none.

    Parameters
    ----------
    start
        int64[g + 1], rows of each entity.
    order_write_us
        int64[n], stamps in the order of the sequence; NEVER_US where there is none.

    Examples
    --------
    >>> backstep_us(np.array([0, 3, 4]), np.array([100, 140, 110, 20]))
    30
    """
    return int(steps.step_back(start, order_write_us).max(initial=0))


@dataclass(slots=True)
class BackstepWatch:
    """How far the stamps of one source step back, and where.

    Parameters
    ----------
    files
        The LOGs of the source.

    Examples
    --------
    >>> watch = BackstepWatch(("log.csv",))
    >>> watch.observe(np.array([0, 2]), np.array([140_000, 100_000]), np.array([0, 1]))
    >>> watch.backstep_us, watch.findings(0)[0].kind
    (40000, 'CLOCK_BACKSTEP')
    """

    files: Sequence[str]
    backstep_us: int = 0
    _seen: dict[int, Occurrences] = field(default_factory=dict)

    def observe(self, start: Int64, order_write_us: Int64, row: Int64, file: Int16 | None = None) -> None:
        """Take in whole entities as for `backstep_us`, with row numbers and int16[n] places in `files` (None: 0)."""
        back = steps.step_back(start, order_write_us)
        if not back.any():
            return
        self.backstep_us = max(self.backstep_us, int(back.max()))
        places = np.zeros(row.size, np.int16) if file is None else file
        for place in np.unique(places[back > 0]).tolist():
            self._seen.setdefault(place, Occurrences()).add(row[(back > 0) & (places == place)])

    def findings(self, declared_us: int) -> tuple[TableFinding, ...]:
        """CLOCK_BACKSTEP, a warning if the clock error declared is less than the stamps themselves show."""
        if not self.backstep_us:
            return ()
        place = min(self._seen)
        count = sum(seen.count for seen in self._seen.values())
        first = self._seen[place]
        said = (
            f"clock error widened from {about(declared_us)} to {about(self.backstep_us)}"
            if self.backstep_us > declared_us
            else f"within the declared clock error of {about(declared_us)}"
        )
        finding = TableFinding(
            "CLOCK_BACKSTEP",
            Severity.WARNING if self.backstep_us > declared_us else Severity.INFO,
            ", ".join(self.files),
            f"{count:,} stamps step back against the sequence by up to {about(self.backstep_us)} (first: "
            f"{self.files[place]}, row {first.first}); {said}.",
            "Mend the clock of the writer, or declare its error with --clock-error."
            if self.backstep_us < NO_CLOCK_US
            else "No clock is that wrong: is 'seq' the order of these writes? If not, leave that column out.",
            {
                "backstep_us": self.backstep_us,
                "declared_us": declared_us,
                "count": count,
                "file": self.files[place],
                "rows": [*first.rows],
            },
        )
        return (finding,)
