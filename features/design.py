"""What was declared for the design phase, and does it name things that exist?

Anchors, delays, inputs and the order of events change no value that is computed; `tminus check` proves from them what
can be known at prediction time. So a wrong name here would be a wrong proof: it is refused like any other.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from msgspec import UnsetType

from features import declared
from features.definitions import Definitions, Delay, FeatureHints, LabelHints, ModelHints, Precedes, Share
from features.order import Order
from features.problems import Code, Where, nearest

T = TypeVar("T")
Complain = Callable[[Code, str, str, str, str | None], None]  # code, table, key, message, nearest known name


def feature_hints(where: Where, table: declared.FeatureTable) -> FeatureHints:
    """What a feature's table says beside how to compute it."""
    return FeatureHints(
        anchor=_set(table.anchor, ""),
        delay=_delay(where, "delay", table.delay),
        cadence_us=None if isinstance(table.cadence, UnsetType) else where.us("cadence", table.cadence, above=0),
        inputs=tuple(_set(table.inputs, [])),
        forward_dated=_set(table.forward_dated, False),
        ttl_us=where.maybe_us("ttl", table.ttl),
        owner=_set(table.owner, ""),
        tags=tuple(_set(table.tags, [])),
    )


def label_hints(where: Where, table: declared.LabelTable) -> LabelHints:
    """When the label event happens and how long its writing takes."""
    return LabelHints(anchor=_set(table.anchor, ""), delay=_delay(where, "label.delay", table.delay))


def model_hints(table: declared.ModelTable) -> ModelHints:
    """When the model is asked and what its training rows are chosen by."""
    return ModelHints(
        anchor=_set(table.anchor, "") or "prediction",
        selection=tuple(_set(table.selection, [])),
        tags=tuple(_set(table.tags, [])),
    )


def precedes(where: Where, event: str, rule: declared.OrderRule) -> Precedes:
    """One rule that begins with `event`."""
    gap = declared.GapTable() if isinstance(rule.gap, UnsetType) else rule.gap
    least_us, most_us = where.us(event, gap.min), where.maybe_us(event, gap.max)
    if most_us is not None and most_us < max(least_us, 1):
        message = f"before {rule.before!r}: expected a gap of at most something above its least, found {gap.max!r}"
        where.complain(Code.CONTRADICTION, event, message)
        most_us = None
    shares = tuple(Share(share=s.share, within_us=where.us(event, s.within)) for s in gap.quantiles)
    if any(a.share >= b.share or a.within_us > b.within_us for a, b in pairwise(shares)):
        where.complain(Code.CONTRADICTION, event, f"before {rule.before!r}: expected quantiles in ascending order")
    if any(s.within_us < least_us or (most_us is not None and s.within_us > most_us) for s in shares):
        where.complain(Code.CONTRADICTION, event, f"before {rule.before!r}: expected quantiles between min and max")
    return Precedes(before=rule.before, min_us=least_us, max_us=most_us, shares=shares)


def check_order(where: Where, order: Mapping[str, tuple[Precedes, ...]]) -> None:
    """Complain about rules that no course of events can fulfil together, naming the cycle."""
    cycle = Order(order).conflict()
    if cycle:
        says = ", ".join(map(str, cycle))
        where.complain(Code.CONTRADICTION, cycle[0].rule.first, f"no course of events can fulfil all of these: {says}")


@dataclass(frozen=True, slots=True)
class Target:
    """What a name in `inputs` or `selection` means: a feature, a source as a whole, or one of its columns."""

    feature: str = ""
    source: str = ""
    column: str = ""


def targets(definitions: Definitions, name: str) -> list[Target]:
    """Everything that `name` can mean: a feature, a source, `source.column`, or a column that something reads.

    Examples
    --------
    >>> from features.definitions import Run, Source
    >>> users = Source(name="users", topic="users", kinds={"status": "any"})
    >>> found = Definitions(run=Run(), sources={"users": users}, features={}, models={})
    >>> targets(found, "users.plan"), targets(found, "status") == targets(found, "users.status")
    ([Target(feature='', source='users', column='plan')], True)
    >>> targets(found, "plan")
    []
    """
    found = [Target(feature=name)] if name in definitions.features else []
    for source in definitions.sources.values():
        if name == source.name:
            found.append(Target(source=name))
        elif name.startswith(f"{source.name}."):
            found.append(Target(source=source.name, column=name.removeprefix(f"{source.name}.")))
        if name in source.kinds:
            found.append(Target(source=source.name, column=name))
    return found


def check_names(definitions: Definitions, places: Mapping[str, str], complain: Complain) -> None:
    """Complain about every anchor, event, input and selected column that nothing declares, and inputs in a circle.

    Parameters
    ----------
    places
        The file of every declared table, wrong ones included: what those declare is not known, and not missed.
    """
    events = _Events(definitions, complain)
    for feature in definitions.features.values():
        table = f"feature.{feature.name}"
        events.anchor(table, "anchor", feature.hints.anchor)
        for event in feature.mutable_by:
            events.near(table, "mutable_by", event)
        _check_inputs(definitions, places, complain, table, "inputs", feature.hints.inputs)
    for model in definitions.models.values():
        table = f"model.{model.name}"
        (events.near if model.hints.anchor == "prediction" else events.anchor)(table, "anchor", model.hints.anchor)
        if model.label is not None:
            events.anchor(table, "label.anchor", model.label.hints.anchor)
        _check_inputs(definitions, places, complain, table, "selection", model.hints.selection)
    _check_circle(definitions, complain)


class _Events:
    """The events of [order]; without such a table any name is an event of which no order is known."""

    def __init__(self, definitions: Definitions, complain: Complain) -> None:
        self._known = Order(definitions.order).events
        self._complain = complain

    def anchor(self, table: str, key: str, event: str) -> None:
        """An anchor outside the order proves nothing, so it must be in it."""
        if event and event != "prediction" and self._known and event not in self._known:
            self._say(table, key, event, nearest(event, self._known))

    def near(self, table: str, key: str, event: str) -> None:
        """An event may be unordered, but hardly if it is almost the name of one that is not."""
        near = nearest(event, self._known)
        if near is not None and event not in self._known:
            self._say(table, key, event, near)

    def _say(self, table: str, key: str, event: str, near: str | None) -> None:
        message = f"expected an event of [order] (one without rules is declared as {event} = []), found {event!r}"
        self._complain(Code.UNKNOWN_NAME, table, key, message, near)


def _check_inputs(
    definitions: Definitions, places: Mapping[str, str], complain: Complain, table: str, key: str, names: Iterable[str]
) -> None:
    known = [*definitions.features, *definitions.sources]
    columns = [found for s in definitions.sources.values() for c in s.kinds for found in (c, f"{s.name}.{c}")]
    for name in names:
        is_wrong_elsewhere = any(f"{kind}.{name.split('.')[0]}" in places for kind in ("feature", "source"))
        if not targets(definitions, name) and not is_wrong_elsewhere:
            message = f"expected a feature, a source or a column as source.column, found {name!r}"
            complain(Code.UNKNOWN_NAME, table, key, message, nearest(name, [*known, *columns]))


def _check_circle(definitions: Definitions, complain: Complain) -> None:
    """Complain once about features that are made from each other."""
    made_from = {
        f.name: [n for n in f.hints.inputs if n in definitions.features] for f in definitions.features.values()
    }
    done: set[str] = set()
    for name in made_from:
        circle = _circle(made_from, [name], done)
        if circle:
            message = f"features cannot be made from each other: {' from '.join(circle)}"
            complain(Code.CONTRADICTION, f"feature.{circle[0]}", "inputs", message, None)
            return


def _circle(made_from: Mapping[str, list[str]], path: list[str], done: set[str]) -> list[str]:
    if path[-1] in done:
        return []
    for name in made_from[path[-1]]:
        found = [*path[path.index(name) :], name] if name in path else _circle(made_from, [*path, name], done)
        if found:
            return found
    done.add(path[-1])
    return []


def _delay(where: Where, key: str, table: declared.DelayTable | UnsetType) -> Delay | None:
    if isinstance(table, UnsetType):
        return None
    before = len(where.problems)
    us = {name: where.maybe_us(f"{key}.{name}", getattr(table, name)) for name in ("min", "p99", "max")}
    given = {name: value for name, value in us.items() if value is not None}
    if len(where.problems) == before and list(given.values()) != sorted(given.values()):
        shown = ", ".join(f"{name} = {getattr(table, name)!r}" for name in given)
        where.complain(Code.CONTRADICTION, key, f"expected min <= p99 <= max, found {shown}")
    return Delay(min_us=us["min"] or 0, p99_us=us["p99"], max_us=us["max"])


def _set(value: T | UnsetType, otherwise: T) -> T:
    return otherwise if isinstance(value, UnsetType) else value
