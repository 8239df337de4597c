"""Which pictures convince? One row's history, how late the values came, and three scores with their intervals.

Drawings have no fixed width: places are per cent or distances from the left, so letters keep their size on a phone and
on paper. Each carries its content as text for those who cannot see it.
"""

import math
from dataclasses import dataclass

from monitors.audit.outcome import LEAD_CLASSES_US, Example, Inflation, Leads, TimelineEntry
from streams.audit.reports import wording
from streams.audit.reports.markup import Html, join, tag

#: Versions drawn of one example.
VERSIONS_MAX = 5

_SPINE, _TEXT, _ROW, _LINE = 112, 130, 48, 17


@dataclass(frozen=True, slots=True)
class _Moment:
    """Something that happens at a time; `order` settles what is drawn first at equal times."""

    at_us: int
    order: int
    value: str | None  # what is in bold
    words: str
    note: str = ""  # a line of its own
    is_bad: bool = False
    is_read: bool = False
    is_hollow: bool = False


def timeline(example: Example) -> Html:
    """The example's versions, its prediction and its label, downwards in time; distances are written, not drawn."""
    moments = _moments(example)
    title = f"Row {example.row:,}: what was known when"
    told = [f"{_offset(m, example)}: {m.value or ''} {m.words}".replace("  ", " ") for m in moments]
    places = [26]
    for moment, after in zip(moments, [*moments[1:], None], strict=True):
        places.append(places[-1] + _ROW + _LINE * (bool(moment.note) + (after is not None and after.is_read)))
    height, read = places[-1], places[next(i for i, m in enumerate(moments) if m.is_read)]
    late = [y for y, m in zip(places, moments, strict=False) if m.is_bad and m.order == 1 and y > read]
    parts = [
        tag("title", title),
        tag("desc", "; ".join(told)),
        tag("rect", class_="zone", x=0, y=read, width="100%", height=height - read),
        tag("line", class_="spine", x1=_SPINE, y1=8, x2=_SPINE, y2=height - 8),
        *(tag("line", class_="late", x1=_SPINE, y1=read, x2=_SPINE, y2=y) for y in late[:1]),
        tag("line", class_="read", x1=0, y1=read, x2="100%", y2=read),
        *(_drawn(m, y, example) for m, y in zip(moments, places, strict=False)),
    ]
    return tag("svg", *parts, class_="wide", role="img", width="100%", height=height)


def _moments(example: Example) -> list[_Moment]:
    moments = [m for entry in _near(example.timeline) for m in _of_version(entry, example)]
    moments.append(_Moment(example.prediction_time_us, 3, None, "The prediction reads", is_read=True))
    if example.label_time_us is not None:
        moments.append(
            _Moment(example.label_time_us, 4, wording.told_value(example.label, 24), "is the outcome: the label")
        )
    return sorted(moments, key=lambda m: (m.at_us, m.order))


def _near(entries: tuple[TimelineEntry, ...]) -> list[TimelineEntry]:
    """The versions that tell the story: the decisive one, what was current, one before, and what came next."""
    places = {"current": 1, "future": 2}
    before = [i for i, e in enumerate(entries) if e.place not in places and not e.is_decisive]
    wanted = [i for i in range(len(entries)) if i not in before[:-1]]

    def weight(i: int) -> tuple[int, int]:
        entry = entries[i]
        place = 0 if entry.is_decisive else places.get(entry.place, 3)
        return place, i if entry.place == "future" else -i  # the first of the later ones, the last of the others

    return [entries[i] for i in sorted(sorted(wanted, key=weight)[:VERSIONS_MAX])]


def _of_version(entry: TimelineEntry, example: Example) -> list[_Moment]:
    """One moment of a version that matters little; of the others every time that is known and not the same."""
    value = wording.told_value(entry.value, 24)
    known = [
        (entry.event_time_us, 0, "happens"),
        (entry.write_time_us, 1, "is written"),
        (entry.visible_time_us, 2, "can be read"),
    ]
    steps = [(at, order, word) for at, order, word in known if at is not None]
    if not steps and entry.by_us is not None:
        steps = [(entry.by_us, 2, "could be read by then")]
    if not entry.is_decisive and entry.place == "superseded":
        steps = steps[-1:]
    elif not entry.is_decisive and entry.place == "future":
        steps = [step for step in steps if step[1] == 1] or steps[:1]
    moments: list[_Moment] = []
    for at, order, word in steps:
        if moments and moments[-1].at_us == at:
            last = moments.pop()
            order, word = max(1, last.order), f"{last.words.replace(' and ', ', ')} and {word}"
        note = _note(entry, example) if order == 1 else ""
        moments.append(_Moment(at, order, value, word, note, is_bad=entry.is_decisive, is_hollow=order == 0))
    return moments


def _note(entry: TimelineEntry, example: Example) -> str:
    """What must be said of the write of a version, under it."""
    said = ["what the training row holds"] if entry.is_decisive else []
    read = example.prediction_time_us
    if entry.place == "current" and entry.by_us is None:
        said.append("nobody saw when it could be read")
    elif entry.place == "current" and entry.from_us is not None and entry.by_us is not None and entry.by_us > read:
        said.append(f"readable from between {_apart(entry.from_us - read)} and {_apart(entry.by_us - read)}")
    return "; ".join(said)


def _offset(moment: _Moment, example: Example) -> str:
    return "" if moment.is_read else _apart(moment.at_us - example.prediction_time_us)


def _apart(us: int) -> str:
    return f"{'−' if us < 0 else '+'}{wording.duration(abs(us))}" if us else "same instant"


def _drawn(moment: _Moment, y: int, example: Example) -> Html:
    colour = " bad" if moment.is_bad or moment.is_read else ""
    if moment.is_read:
        mark = tag("path", class_="dot bad", d=f"M{_SPINE - 8} {y}l8 -8l8 8l-8 8z")
    else:
        shape = "ring" if moment.is_hollow else "dot"
        mark = tag("circle", class_=f"{shape}{colour}", cx=_SPINE, cy=y, r=7 if moment.is_bad else 5)
    value = [tag("tspan", moment.value, class_="v"), " "] if moment.value is not None else []
    top = y - 8 if moment.is_read else y + 1
    below = top + _LINE + (5 if moment.is_read else 0)
    return tag(
        "g",
        mark,
        tag("text", _offset(moment, example), class_=f"end s{colour}", x=_SPINE - 16, y=y + 4),
        tag("text", *value, moment.words, class_="b bad" if moment.is_read else None, x=_TEXT, y=top),
        tag("text", wording.moment(moment.at_us), class_="s", x=_TEXT, y=below),
        tag("text", moment.note, class_=f"s{colour}", x=_TEXT, y=below + _LINE) if moment.note else None,
    )


def histogram(leads: Leads, name: str) -> Html:
    """Bars of how many values came how late; empty classes at both ends are left out."""
    counts = leads.histogram
    total, most = max(sum(counts), 1), max(max(counts, default=0), 1)
    filled = [i for i, n in enumerate(counts) if n] or [0]
    rows, told = [], []
    for place, i in enumerate(range(filled[0], filled[-1] + 1)):
        y, width = 6 + 28 * place, 40 * counts[i] / most
        label, said = _class(i), f"{counts[i]:,} ({wording.share(counts[i] / total)})"
        told.append(f"{label}: {said}")
        rows += [
            tag("text", label, class_="s end", x=106, y=y + 15),
            tag("rect", class_="bar", x=114, y=y, width=f"{width:.2f}%", height=20),
            tag("text", said, class_="s", x=f"{width:.2f}%", dx=122, y=y + 15),
        ]
    height = 12 + 28 * (filled[-1] - filled[0] + 1)
    title = f"How late the values of {wording.clean(name, 60)} came"
    return tag("svg", tag("title", title), tag("desc", "; ".join(told)), *rows, role="img", width="100%", height=height)


def _class(i: int) -> str:
    if i == 0:
        return f"up to {wording.duration(LEAD_CLASSES_US[0])}"
    if i == len(LEAD_CLASSES_US):
        return f"over {wording.duration(LEAD_CLASSES_US[-1])}"
    return f"{wording.duration(LEAD_CLASSES_US[i - 1])} to {wording.duration(LEAD_CLASSES_US[i])}"


#: What each of three scores is, for people; with the class of its colour.
WAYS = (
    ("leaky", "As this table shows it", "t-leak"),
    ("as_of", "With what was known", "t-cool"),
    ("deployed", "In production, if trained on this", "t-warn"),
)


def three_scores(inflation: Inflation) -> Html | None:
    """Points with intervals on one axis; None where a figure is not finite."""
    ways = [(getattr(inflation.scores, key), title, style) for key, title, style in WAYS]
    figures = [x for estimate, _, _ in ways for x in (estimate.value, estimate.low, estimate.high)]
    if not all(map(math.isfinite, figures)):
        return None
    chance = 0.5 if inflation.metric == "auc" else 0.0
    step = _step(min(*figures, chance), max(*figures, 1.0))
    low, high = math.floor(min(*figures, chance) / step) * step, math.ceil(max(*figures, 1.0) / step - 1e-9) * step

    def x(value: float) -> str:
        return f"{6 + 88 * (value - low) / (high - low):.2f}%"

    base, rows = 74 * len(ways) + 2, []
    ticks = [low + i * step for i in range(round((high - low) / step) + 1)]
    for tick in ticks:
        rows.append(tag("line", class_="axis", x1=x(tick), x2=x(tick), y1=0, y2=base))
        rows.append(
            tag("text", f"{tick:g}" if step >= 1 else f"{tick:.2f}"[:5], class_="s mid", x=x(tick), y=base + 18)
        )
    for i, (estimate, title, style) in enumerate(ways):
        y = 74 * i
        rows += [
            tag("text", title, class_="b", x=0, y=y + 18),
            tag("text", wording.figure(estimate), class_="s", x=0, y=y + 36),
            tag(
                "g",
                tag("line", class_="range", x1=x(estimate.low), x2=x(estimate.high), y1=y + 54, y2=y + 54),
                tag("circle", cx=x(estimate.value), cy=y + 54, r=6),
                class_=style,
            ),
        ]
    told = "; ".join(f"{title}: {wording.figure(estimate)}" for estimate, title, _ in ways)
    name = wording.clean(inflation.metric, 20).upper()
    return tag(
        "svg",
        tag("title", f"{name}, three ways"),
        tag("desc", told),
        join(rows),
        role="img",
        width="100%",
        height=base + 24,
    )


def _step(low: float, high: float) -> float:
    """A round step that makes at most six of the axis."""
    for power in range(-3, 300):
        for digit in (1, 2, 5):
            if (high - low) / (digit * 10.0**power) <= 6:
                return float(digit * 10.0**power)
    return high - low
