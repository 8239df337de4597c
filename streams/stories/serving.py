"""A serving node of the churn story: a process that answers requests the whole time, whatever happens around it.

It reads features from the feature view, asks the switchboard whether the models may be believed, and logs every
prediction with what it read. `--no-stamps` leaves the stamps out, so that bounds have to decide. One line on standard
output whenever an answer turns from the model's to the safe default or back.
"""

import argparse
import itertools
import json
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from confluent_kafka import Producer
from tminus_client import Switchboard
from tminus_client.features import FeatureView, Read

#: Model -> its features and safe default; a serving node knows its own.
MODELS: dict[str, tuple[tuple[str, ...], str | float]] = {
    "churn": (("clicks_3s", "last_login"), "keep"),
    "basket": (("amount_3s",), 0.0),
}
_READY_S = 20.0


def churn(values: dict[str, Any]) -> str:
    """The churn model: whoever has no login on record is about to leave. It learned that from a leak."""
    return "offer_discount" if values.get("last_login") is None else "keep"


def basket(values: dict[str, Any]) -> float:
    """The basket model: what this user will spend next."""
    return round(1.1 * float(values.get("amount_3s") or 20.0), 2)


def prediction(identity: str, model: str, user: int, read: Read, output: object, *, stamps: bool) -> dict[str, Any]:
    """One logged prediction."""
    names = MODELS[model][0]
    logged: dict[str, Any] = {
        "prediction_id": identity,
        "model": model,
        "version": "1",
        "entity": {"user": str(user)},
        "read_time": read.read_time_us,
        "output": output,
        "features": {name: read.values.get(name) for name in names},
    }
    if stamps:
        logged["read"] = {name: read.stamps[name] for name in names if name in read.stamps}
    return logged


class Announcer:
    """Says when a model's answer changes hands.

    Examples
    --------
    >>> said = Announcer("node-1", sys.stdout)
    >>> said.note("churn", False, "no_state", 1)
    >>> said.note("churn", True, "model", 2)
    {"node": "node-1", "model": "churn", "is_live": true, "why": "model", "at_us": 2}
    """

    def __init__(self, node: str, out: TextIO) -> None:
        self._node = node
        self._out = out
        self._live: dict[str, bool] = {}

    def note(self, model: str, is_live: bool, why: str, at_us: int) -> None:
        """Note the state at one request; the first is no change unless the model may be used."""
        if self._live.get(model, False) != is_live:
            line = {"node": self._node, "model": model, "is_live": is_live, "why": str(why), "at_us": at_us}
            self._out.write(json.dumps(line) + "\n")
            self._out.flush()
        self._live[model] = is_live


class Node:
    """One serving node: its view, its switches, its log."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._view = FeatureView(options.bootstrap, ["user"], prefix=options.prefix)
        self._board = Switchboard(
            options.bootstrap,
            keys=options.keys,
            environment=options.environment,
            node=options.node,
            state_dir=options.state,
            prefix=options.prefix,
        )
        self._switches: dict[str, Any] = {
            name: self._board.model(name, default=default) for name, (_, default) in MODELS.items()
        }
        models: dict[str, Callable[[dict[str, Any]], Any]] = {"churn": churn, "basket": basket}
        self._answer = {name: switch.protect(models[name]) for name, switch in self._switches.items()}
        self._announcer = Announcer(options.node, sys.stdout)
        self._producer = Producer(
            {
                "bootstrap.servers": options.bootstrap,
                "partitioner": "murmur2_random",  # the same user, the same partition, as for every other producer
                "linger.ms": 50,  # the embedded broker gives one batch per partition and fetch
                "broker.address.family": "v4",
                "log_level": 2,
            }
        )
        self._numbers = itertools.count()

    def wait_ready(self) -> bool:
        """Both logs were read to their ends."""
        return self._view.wait_ready(_READY_S) and self._board.wait_ready(_READY_S)

    def serve(self, user: int) -> None:
        """Answer one request for every model, and log what was predicted and from what."""
        for name in MODELS:
            switch = self._switches[name]
            self._announcer.note(name, switch.live, switch.why, time.time_ns() // 1000)
            read = self._view.read("user", str(user))
            self._answer[name](read.values)
            # The model is asked even when its answer is not used: that is how it can come back one day.
            output = {"churn": churn, "basket": basket}[name](read.values)
            identity = f"{self._options.node}-{name}-{next(self._numbers)}"
            logged = prediction(identity, name, user, read, output, stamps=not self._options.no_stamps)
            self._producer.produce(self._options.topic, json.dumps(logged).encode(), str(user).encode())
        self._producer.poll(0)

    def close(self) -> None:
        """Hand over what was logged, and say how it went."""
        self._producer.flush(2.0)
        answers = {name: dict(switch.answers) for name, switch in self._switches.items()}
        line = {"node": self._options.node, "answers": answers, "refused": self._board.refused}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        self._board.close()
        self._view.close()


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line of a node."""
    parser = argparse.ArgumentParser(prog="python -m streams.stories.serving", description=__doc__)
    parser.add_argument("--node", required=True)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--keys", type=Path, required=True, help="control.pub")
    parser.add_argument("--state", type=Path, required=True, help="folder of the durable control state")
    parser.add_argument("--environment", default="demo")
    parser.add_argument("--prefix", default="tminus.")
    parser.add_argument("--topic", default="predictions")
    parser.add_argument("--users", type=int, default=250)
    parser.add_argument("--rate", type=float, default=30.0, help="requests per second")
    parser.add_argument("--from-us", type=int, default=0, help="first request, microseconds UTC")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-stamps", action="store_true")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM."""
    options = arguments(argv)
    is_told: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        is_told.append(number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    node = Node(options)
    chance = random.Random(f"{options.seed}.{options.node}")
    node.wait_ready()
    due_us = max(options.from_us, time.time_ns() // 1000)
    while not is_told:
        wait_s = due_us / 1e6 - time.time()
        if wait_s > 0:
            time.sleep(min(wait_s, 0.1))
            continue
        node.serve(chance.randint(1, options.users))
        due_us += round(1e6 / options.rate)
    node.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
