"""One cell with the history that decided about it, for people."""

import numpy as np
import pyarrow as pa

from features.kinds import Kind, shown
from features.times import FOREVER_US, NEVER_US
from monitors.audit.judging import History, Judged
from monitors.audit.outcome import Example, TimelineEntry
from monitors.kernels import intervals
from monitors.leakage import CellSet
from monitors.verdicts import REASONS, VERDICTS, Tier
from streams.audit.histories import Rows

#: Versions shown of one entity.
_TIMELINE_MAX = 8


def example_of(
    feature: int,
    kind: Kind,
    rows: Rows,
    history: History,
    train: pa.Table,
    column: pa.Array,
    cells: CellSet,
    judged: Judged,
    at: int,
) -> Example:
    """Cell `at` of a bucket, with its timeline."""
    found, as_of = judged.verdicts, int(judged.as_of[at])
    timeline, earlier, later = _timeline(feature, kind, rows, history, cells, int(found.version[at]), at)
    word = int(found.verdict[at])
    return Example(
        row=int(train.column("#row")[at].as_py()),
        entity=shown(train.column("#name"), at) or "",
        prediction_time_us=int(cells.p_lo_us[at]),
        value=shown(column, at),
        as_of=shown(rows.pick(feature, np.array([as_of]), None, kind), 0),
        is_as_of_known=bool(judged.is_known[at]),
        verdict=VERDICTS[word],
        reason=REASONS[int(found.reason[at])],
        tier=Tier(int(found.tier[at])),
        lead_us=int(found.lead_us[at]) if word == intervals.LEAK else None,
        label=shown(train.column("#label"), at) if _has(train, "#label") else None,
        label_time_us=_known(train.column("#label_time")[at].as_py()) if _has(train, "#label_time") else None,
        timeline=timeline,
        earlier=earlier,
        later=later,
    )


def _has(train: pa.Table, name: str) -> bool:
    """Whether there is such a column, without a list of all names: there may be ten thousand, and as many examples."""
    return bool(train.schema.get_field_index(name) >= 0)


def _timeline(
    feature: int, kind: Kind, rows: Rows, history: History, cells: CellSet, decisive: int, at: int
) -> tuple[tuple[TimelineEntry, ...], int, int]:
    group = int(cells.group[at])
    first, end = int(history.start[group]), int(history.start[group + 1])
    if first == end:
        return (), 0, 0
    places = _places(history, cells, first, end, at)
    middle = next((i for i, place in enumerate(places) if place != "superseded"), len(places) - 1)
    begin = max(0, min(middle - 2, len(places) - _TIMELINE_MAX))
    near = [first + i for i in range(begin, min(begin + _TIMELINE_MAX, len(places)))]
    if decisive >= 0 and decisive not in near:
        near = sorted([*near[: _TIMELINE_MAX - 1], decisive])
    values = rows.pick(feature, np.array(near), None, kind)
    entries = tuple(
        TimelineEntry(
            value=shown(values, i),
            event_time_us=_known(rows.core["#event"][j]) if "#event" in rows.core else None,
            write_time_us=_known(rows.core["#write"][j]),
            visible_time_us=None if rows.is_visible_assumed[j] else _known(rows.core["#visible"][j]),
            from_us=_known(history.a_us[j]),
            by_us=_known(history.b_us[j]),
            place=places[j - first],
            is_decisive=j == decisive,
        )
        for i, j in enumerate(near)
    )
    return entries, sum(j < near[0] for j in range(first, end)), sum(j > near[-1] for j in range(first, end))


def _places(history: History, cells: CellSet, first: int, end: int, at: int) -> list[str]:
    p_lo = int(cells.p_lo_us[at])
    p_hi = p_lo + 1 if cells.p_hi_us is None else int(cells.p_hi_us[at])
    least_later, places = FOREVER_US, []
    for j in range(end - 1, first - 1, -1):
        if history.a_us[j] >= p_hi:
            places.append("future")
        else:
            places.append("superseded" if least_later <= p_lo else "current")
        least_later = min(least_later, int(history.b_us[j]))
    return places[::-1]


def _known(time_us: int) -> int | None:
    return None if time_us in (NEVER_US, FOREVER_US) else int(time_us)
