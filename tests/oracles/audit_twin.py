"""The audit of a training set, written down once more, slowly: rows are dictionaries, histories are lists, Q is a list.

Straight from the text: bounds, the default of the resolution, both orders, sequences and positions, coverage,
tolerance, deletions, version ids, shares, leads and tiers. Times are microseconds; NULL is None (or NaN).
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isnan
from typing import Any

Row = Mapping[str, Any]

#: A resolution is found in the stamps themselves if there are at least so many.
ENOUGH_STAMPS = 200
UNITS_US = (86_400_000_000, 3_600_000_000, 60_000_000, 1_000_000, 1_000, 1)
WORST_FIRST = ("LEAK", "LEAK_OR_STALE", "STALE", "SKEW_AMBIGUOUS", "UNVERIFIABLE", "PASS")


@dataclass(frozen=True)
class Log:
    """One LOG file: its rows in the order of the file, and the unit in which its times were written."""

    rows: Sequence[Row]
    unit_us: int = 1

    @property
    def columns(self) -> set[str]:
        return set(self.rows[0]) if self.rows else set()

    @property
    def is_long(self) -> bool:
        return {"feature", "value"} <= self.columns


@dataclass(frozen=True)
class Options:
    entity: str = "entity"
    prediction_time: str = "prediction_time"
    label: str | None = None
    event_time: str = "event_time"
    write_time: str = "write_time"
    visible_time: str | None = None  # None: `visible_time` if there is one; "none": unknown
    order: str = "last_write"
    clock_error_us: int = 0
    resolution_us: int | None = None
    covers: Sequence[tuple[int, int]] = ()
    prediction_resolution_us: int = 1
    prediction_seq: str | None = None
    tolerance: Mapping[str, float] = field(default_factory=dict)
    features: Sequence[str] | None = None
    fail_on: str = "leak"


@dataclass(frozen=True)
class Version:
    """One row of a log, as one feature sees it."""

    a: float
    b: float
    value: Any
    seq: int
    id: Any
    is_assumed: bool  # b rests on "visible = write"


@dataclass(frozen=True)
class Cell:
    verdict: str
    reason: str = ""
    lead_us: int | None = None
    tier: int = 2


@dataclass(frozen=True)
class Feature:
    verdict: str
    tier: int
    counts: dict[str, int]
    low: float
    high: float
    lead_max: int | None


@dataclass(frozen=True)
class Report:
    """`cells[feature][row]`, in the order of TRAIN."""

    cells: dict[str, list[Cell]]
    features: dict[str, Feature]
    coverage: float
    assumes: list[str]
    status: int


def audit(train: Sequence[Row], logs: Sequence[Log], options: Options) -> Report:
    """Everything that the contract promises about verdicts."""
    names = _features(train, logs, options)
    cells = {}
    for name in names:
        told = Histories(name, logs, options)
        cells[name] = [_cell(row, name, told.of(row[options.entity]), options) for row in train]
    features = {name: _summary(found) for name, found in cells.items()}
    every = [cell for found in cells.values() for cell in found]
    uses = [log for log in logs if log.rows and any(_is_in(log, name) for name in names)]
    return Report(
        cells,
        features,
        coverage=sum(cell.verdict != "UNVERIFIABLE" for cell in every) / len(every),
        assumes=["visible = write"] if any(_visible_column(log, options) is None for log in uses) else [],
        status=_status({cell.verdict for cell in every}, options.fail_on),
    )


def _status(verdicts: set[str], fail_on: str) -> int:
    failing = {"leak": {"LEAK"}, "unverifiable": set(WORST_FIRST) - {"PASS", "STALE"}, "never": set()}[fail_on]
    return int(bool(verdicts & failing))


def _summary(cells: list[Cell]) -> Feature:
    counts = {word: sum(cell.verdict == word for cell in cells) for word in WORST_FIRST}
    verdict = next(word for word in WORST_FIRST if counts[word])
    tiers = [cell.tier for cell in cells if cell.verdict == verdict]
    leads = [cell.lead_us for cell in cells if cell.lead_us is not None]
    maybe = counts["LEAK"] + counts["LEAK_OR_STALE"] + counts["SKEW_AMBIGUOUS"]
    return Feature(
        verdict,
        tier=min(tiers) if verdict == "LEAK" else max(tiers),
        counts=counts,
        low=counts["LEAK"] / len(cells),
        high=maybe / len(cells),
        lead_max=max(leads, default=None),
    )


def _features(train: Sequence[Row], logs: Sequence[Log], options: Options) -> list[str]:
    """Every column of TRAIN that is also in a LOG and is no column with a meaning."""
    meant = {options.entity, options.prediction_time, options.label, options.prediction_seq}
    names = [name for name in train[0] if name not in meant and not name.endswith("__version")]
    return [
        name
        for name in names
        if (options.features is None or name in options.features) and any(_is_in(log, name) for log in logs)
    ]


def _is_in(log: Log, feature: str) -> bool:
    if log.is_long:
        return any(row["feature"] == feature for row in log.rows)
    return feature in log.columns


def _cell(row: Row, feature: str, versions: Sequence[Version], options: Options) -> Cell:
    verdict, reason, lead = _verdict(row, feature, versions, options)
    if options.prediction_seq is not None:
        return Cell(verdict, reason, lead, tier=1)
    # Whatever changes when the assumption is dropped rested on it.
    bare = [Version(v.a, inf if v.is_assumed else v.b, v.value, v.seq, v.id, False) for v in versions]
    return Cell(verdict, reason, lead, tier=2 if _verdict(row, feature, bare, options)[0] == verdict else 4)


def _verdict(row: Row, feature: str, versions: Sequence[Version], options: Options) -> tuple[str, str, int | None]:
    t_p = row[options.prediction_time]
    p_lo, p_hi = t_p, t_p + options.prediction_resolution_us
    if options.covers and not any(start <= p_lo and p_hi <= end for start, end in options.covers):
        return "UNVERIFIABLE", "no_coverage", None
    a: list[float] = [v.a for v in versions]
    b: list[float] = [v.b for v in versions]
    if options.prediction_seq is not None:
        a, b = [v.seq for v in versions], [v.seq + 1 for v in versions]
        p_lo, p_hi = row[options.prediction_seq], row[options.prediction_seq] + 1
    places = range(len(versions))
    least_later_b = [min(b[j + 1 :], default=inf) for j in places]
    q = [j for j in places if a[j] < p_hi and least_later_b[j] > p_lo]
    later = [j for j in places if a[j] >= p_hi]
    superseded = [j for j in places if j not in q and j not in later]

    x, tolerance = row[feature], options.tolerance.get(feature)
    holding = [j for j in places if same(x, versions[j].value, tolerance)]
    agree = [j in holding for j in q]
    if min(b, default=inf) > p_lo:
        agree.append(_is_null(x))  # ABSENT
    if all(agree):
        return "PASS", "", None
    if any(agree):
        is_open = any(b[j] == inf for j in q)
        return ("UNVERIFIABLE", "no_upper_bound", None) if is_open else ("SKEW_AMBIGUOUS", "", None)

    late, early = [j for j in holding if j in later], [j for j in holding if j in superseded]
    if late and early:
        named = [j for j in holding if versions[j].id is not None and versions[j].id == row.get(f"{feature}__version")]
        if not named:
            return "LEAK_OR_STALE", "", None
        late, early = [j for j in late if j in named], [j for j in early if j in named]
    if late:
        return "LEAK", "", int(max(1, min(versions[j].a - t_p for j in late)))
    if early:
        return "STALE", "", None
    return "UNVERIFIABLE", "phantom", None


def same(x: Any, y: Any, tolerance: float | None = None) -> bool:
    """NULL = NULL = NaN; floats bit by bit unless a tolerance is declared; everything else as it is."""
    if _is_null(x) or _is_null(y):
        return _is_null(x) and _is_null(y)
    are_numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (x, y))
    if are_numbers and tolerance is not None:
        return bool(x == y or abs(x - y) <= tolerance)
    if are_numbers and (isinstance(x, float) or isinstance(y, float)):
        return struct.pack("<d", x) == struct.pack("<d", y)
    return bool(x == y)


def _is_null(x: Any) -> bool:
    return x is None or (isinstance(x, float) and isnan(x))


class Histories:
    """The versions of one feature, entity by entity, in winning order."""

    def __init__(self, feature: str, logs: Sequence[Log], options: Options) -> None:
        self._feature, self._options = feature, options
        self._source = _source(feature, logs)
        self._eps, self._res = _clock_error(self._source, options), _resolution(self._source, options)
        self._known: dict[Any, list[Version]] = {}

    def of(self, entity: Any) -> list[Version]:
        """All versions of one entity; none: an empty list."""
        if entity not in self._known:
            self._known[entity] = self._read(entity)
        return self._known[entity]

    def _read(self, entity: Any) -> list[Version]:
        options, placed = self._options, []
        for file, log in enumerate(self._source):
            if not _is_in(log, self._feature):
                continue
            for place, row in enumerate(log.rows):
                if _concerns(row, entity, self._feature, log, options):
                    key = (row["seq"] if row.get("seq") is not None else row[options.write_time], file, place)
                    when = row[options.event_time] if options.order == "max_event_time" else 0
                    version = _version(row, self._feature, log, self._eps, self._res, options)
                    placed.append(((when, *key), version))
        return [version for _, version in sorted(placed, key=lambda pair: pair[0])]


def _concerns(row: Row, entity: Any, feature: str, log: Log, options: Options) -> bool:
    is_of_everybody = row.get("op") == "t" and row[options.entity] is None
    is_ours = row[options.entity] == entity or is_of_everybody
    return is_ours and (not log.is_long or row["feature"] in (feature, None))


def _version(row: Row, feature: str, log: Log, eps: int, res: int, options: Options) -> Version:
    op, column = row.get("op"), _visible_column(log, options)
    write: float = row[options.write_time]
    if column is None:
        visible = write
    else:
        visible = inf if column == "none" or row[column] is None else row[column]
    if op == "r":
        write = -inf  # a snapshot says by when, never from when on
    if (inputs := row.get("input_visible_from")) is not None:
        write, visible = max(write, inputs), max(visible, inputs)
    a, b = write - eps, visible + res + eps
    if op in ("d", "t"):
        value = None
    else:
        value = row["value"] if log.is_long else row[feature]
    return Version(a, b, value, row.get("seq") or 0, row.get("version"), is_assumed=column is None)


def _visible_column(log: Log, options: Options) -> str | None:
    """None: the write time stands for it."""
    if options.visible_time is not None:
        return options.visible_time
    return "visible_time" if "visible_time" in log.columns else None


def _source(feature: str, logs: Sequence[Log]) -> list[Log]:
    """The logs that tell of this feature, directly or through features they share."""
    known = {id(log) for log in logs if _is_in(log, feature)}
    while True:
        shared = {name for log in logs if id(log) in known for name in _told(log)}
        grown = {id(log) for log in logs if _told(log) & shared}
        if grown <= known:
            return [log for log in logs if id(log) in known]
        known |= grown


def _told(log: Log) -> set[str]:
    if log.is_long:
        return {row["feature"] for row in log.rows if row["feature"] is not None}
    meant = {"entity", "event_time", "write_time", "visible_time", "seq", "txid", "op", "version", "input_visible_from"}
    return log.columns - meant


def _resolution(source: Sequence[Log], options: Options) -> int:
    """Declared, else the largest unit that divides all of enough stamps, else the unit of the column."""
    if options.resolution_us is not None:
        return options.resolution_us
    stamps = []
    for log in source:
        column = _visible_column(log, options)
        name = options.write_time if column in (None, "none") else column
        stamps += [row[name] for row in log.rows if row[name] is not None]
    if len(stamps) >= ENOUGH_STAMPS:
        return next(unit for unit in UNITS_US if all(stamp % unit == 0 for stamp in stamps))
    return max((log.unit_us for log in source), default=1)


def _clock_error(source: Sequence[Log], options: Options) -> int:
    """Declared, and at least as much as stamps of one entity step back against its sequence."""
    steps = [options.clock_error_us]
    by_entity: dict[Any, list[tuple[int, int]]] = {}
    for log in source:
        for row in log.rows:
            if row.get("seq") is not None and row.get(options.write_time) is not None:
                by_entity.setdefault(row[options.entity], []).append((row["seq"], row[options.write_time]))
    for pairs in by_entity.values():
        steps += _steps_back([write for _, write in sorted(pairs)])
    return max(steps)


def _steps_back(writes: Iterable[int]) -> list[int]:
    steps, newest = [], -inf
    for write in writes:
        newest = max(newest, write)
        steps.append(int(newest - write))
    return steps
