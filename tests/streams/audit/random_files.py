"""Random training sets with their logs, so small and so crowded in time that everything collides.

Times are small integers until they are rendered: `rendered` moves them to a real date and stretches them by a step.
One world is one pair of files with one set of options; most of its settings are drawn once, rows and cells often.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tests.oracles.audit_twin import Log, Options, Row
from tests.streams.audit.asking import T_US

TIMES = ("prediction_time", "write_time", "visible_time", "event_time", "input_visible_from")
X_VALUES = (None, 1, 2, 3)
Y_VALUES = (None, 0.5, 0.5625, 2.0)


@dataclass(frozen=True)
class World:
    """Rows with small times, and the options that go with them."""

    train: list[dict[str, Any]]
    logs: list[list[dict[str, Any]]]
    options: Options

    def rendered(self, step_us: int = 1, base_us: int = T_US) -> "World":
        """The same world with times in microseconds, `step_us` apart."""

        def moved(row: Row) -> dict[str, Any]:
            return {
                name: base_us + value * step_us if name in TIMES and value is not None else value
                for name, value in row.items()
            }

        options = replace(
            self.options,
            clock_error_us=self.options.clock_error_us * step_us,
            resolution_us=None if self.options.resolution_us is None else self.options.resolution_us * step_us,
            prediction_resolution_us=self.options.prediction_resolution_us * step_us,
            covers=[(base_us + start * step_us, base_us + end * step_us) for start, end in self.options.covers],
        )
        return World([moved(row) for row in self.train], [[moved(row) for row in log] for log in self.logs], options)

    def told(self) -> list[Log]:
        """The logs as the twin takes them."""
        return [Log(log) for log in self.logs]

    def arguments(self) -> list[str]:
        """The options as a person types them (times must be rendered)."""
        options = self.options
        asked = ["--order", options.order, "--clock-error", f"{options.clock_error_us}us"]
        asked += ["--prediction-resolution", f"{options.prediction_resolution_us}us"]
        if options.resolution_us is not None:
            asked += ["--resolution", f"{options.resolution_us}us"]
        if options.visible_time is not None:
            asked += ["--visible-time", options.visible_time]
        if options.prediction_seq is not None:
            asked += ["--prediction-seq", options.prediction_seq]
        for start, end in options.covers:
            asked += ["--covers", f"{start}..{end}"]
        for name, tolerance in options.tolerance.items():
            asked += ["--tolerance", f"{name}={tolerance}"]
        return [*asked, "--fail-on", options.fail_on]


def world(rng: random.Random, entities: int = 40, **fixed: Any) -> World:
    """A world of `entities` histories with three rows of two features each.

    Settings (each drawn unless named in `fixed`): order, eps, res, width, visible ("column", "gaps", "none", "write"),
    has_seq, backstep, has_ops, has_inputs, has_ids, position, is_long, covers, tolerance, fail_on.
    """
    drawn: Mapping[str, Callable[[], Any]] = {
        "order": lambda: rng.choice(["last_write", "last_write", "max_event_time"]),
        "eps": lambda: rng.choice([0, 0, 1, 3]),
        "res": lambda: rng.choice([1, 1, 4]),
        "width": lambda: rng.choice([1, 1, 1, 4]),
        "visible": lambda: rng.choice(["column", "column", "gaps", "write", "write", "none"]),
        "has_seq": lambda: rng.random() < 0.35,
        "backstep": lambda: rng.choice([0, 0, 2]),
        "has_ops": lambda: rng.random() < 0.35,
        "has_inputs": lambda: rng.random() < 0.2,
        "has_ids": lambda: rng.random() < 0.3,
        "position": lambda: rng.random() < 0.3,
        "is_long": lambda: rng.random() < 0.3,
        "covers": lambda: rng.random() < 0.15,
        "tolerance": lambda: rng.random() < 0.15,
        "fail_on": lambda: rng.choice(["leak", "unverifiable", "never"]),
    }
    how = {name: fixed.get(name, draw()) for name, draw in drawn.items()}
    how["position"] = how["position"] and how["has_seq"]
    log: list[dict[str, Any]] = []
    train = [_asked(rng, "nobody", [], how)]
    for entity in range(entities):
        history = _history(rng, entity, how)
        if entity % 9 == 8:  # the log also tells of entities that nobody asks for
            log += _history(rng, -entity, how) if not how["is_long"] else _long(_history(rng, -entity, how))
        log += _long(history) if how["is_long"] else history
        train += [_asked(rng, f"e{entity}", history, how) for _ in range(3)]
    # Rows of one entity keep their order, since ties go by it; entities come mixed.
    log = _mixed(rng, log)
    rng.shuffle(train)
    options = Options(
        order=how["order"],
        clock_error_us=how["eps"],
        resolution_us=how["res"],
        prediction_resolution_us=how["width"],
        visible_time="none" if how["visible"] == "none" else None,
        prediction_seq="at" if how["position"] else None,
        covers=[(-6, 3), (4, 9)] if how["covers"] else [],
        tolerance={"y": 0.0625} if how["tolerance"] else {},
        fail_on=how["fail_on"],
    )
    return World(train, [log], options)


def _history(rng: random.Random, entity: int, how: Mapping[str, Any]) -> list[dict[str, Any]]:
    writes = sorted(rng.randrange(-12, 13) for _ in range(rng.choice([0, 1, 2, 3, 3, 5])))
    # A sequence may contradict the stamps; what exceeds the declared clock error widens it.
    places = sorted(range(len(writes)), key=lambda j: (writes[j] + rng.randint(0, how["eps"] + how["backstep"]), j))
    history: list[dict[str, Any]] = []
    for at, write in enumerate(writes):
        row: dict[str, Any] = {"entity": f"e{entity}", "write_time": write, "event_time": write - rng.choice([0, 1, 7])}
        if how["visible"] in ("column", "gaps"):
            is_known = how["visible"] == "column" or rng.random() < 0.8
            row["visible_time"] = write + rng.choice([0, 0, 0, 2, 6]) if is_known else None
        if how["has_seq"]:
            row["seq"] = 2 * places.index(at) - 3
        if how["has_ops"]:
            row["op"] = rng.choice("cuuuuud" if how["has_seq"] else "cuuuudr")
        if how["has_inputs"]:
            row["input_visible_from"] = write + rng.choice([-2, 0, 3]) if rng.random() < 0.8 else None
        if how["has_ids"]:
            row["version"] = at + 1
        row |= {"x": rng.choice(X_VALUES), "y": rng.choice(Y_VALUES)}
        # Two rows that are equal in everything are one row told twice; what that means among ties is tested apart.
        if row not in history:
            history.append(row)
    if not how["has_seq"] and rng.random() < 0.5:
        # A file need not be sorted; rows with equal keys keep their order.
        history.sort(key=lambda row: row["write_time"], reverse=True)
        history = _ties_forward(history)
    return history


def _ties_forward(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(history, key=lambda row: -row["write_time"])


def _long(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for row in history:
        meant = {name: value for name, value in row.items() if name not in ("x", "y")}
        for feature in ("x", "y"):
            value = row[feature]
            said = meant | {"feature": feature, "value": None if value is None else float(value)}
            if said not in found:
                found.append(said)
    return found


def _asked(rng: random.Random, entity: str, history: list[dict[str, Any]], how: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {"entity": entity, "prediction_time": rng.randrange(-10, 11)}
    # Mostly values that the entity really had at some time: any other one is only a phantom.
    row["x"] = rng.choice([version["x"] for version in history] * 2 + [*X_VALUES, 4])
    row["y"] = rng.choice([version["y"] for version in history] * 2 + [*Y_VALUES, 7.0])
    if how["position"]:
        row["at"] = rng.randrange(-4, 9)
    if how["has_ids"]:
        row |= {"x__version": rng.choice([None, 1, 2, 3]), "y__version": rng.choice([None, 1, 2, 3])}
    return row


def _mixed(rng: random.Random, log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    queues: dict[str, list[dict[str, Any]]] = {}
    for row in log:
        queues.setdefault(row["entity"], []).append(row)
    turns = [row["entity"] for row in log]
    rng.shuffle(turns)
    return [queues[entity].pop(0) for entity in turns]
