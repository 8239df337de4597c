"""What all stages have in common: where they run, how their arguments are read, how their process ends."""

import argparse
import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.definitions import Definitions
from streams.broker.admin import is_embedded, probe

log = logging.getLogger(__name__)

EXIT_USAGE, EXIT_NO_BROKER = 2, 3


@dataclass(frozen=True, slots=True)
class Place:
    """Where a stage runs."""

    bootstrap: str
    lake: Path
    group: str  # of the installation: who may share the lake
    is_embedded: bool
    fetch_wait_ms: int
    leader_sync_delay_ms: int
    session_timeout_s: float
    keys: Path


def arguments(stage: str, argv: list[str] | None = None) -> argparse.Namespace:
    """`--config FILE ... --bootstrap HOST:PORT --lake DIR [--keys DIR]` of one stage's process."""
    parser = argparse.ArgumentParser(prog=f"tminus run {stage}")
    parser.add_argument("--config", nargs="+", type=Path, required=True)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--lake", type=Path, required=True)
    parser.add_argument("--keys", type=Path, default=Path("keys"))
    parser.add_argument("--group", default="tminus")
    parser.add_argument("--session-timeout", type=float, default=10.0, metavar="SECONDS")
    return parser.parse_args(argv)


def place(options: argparse.Namespace, settings: dict[str, str]) -> Place:
    """The place that arguments name; raises `BrokerUnavailable` within 10 s where no broker answers."""
    probe(options.bootstrap, settings=settings)
    embedded = is_embedded(options.bootstrap, settings=settings)
    return Place(
        bootstrap=options.bootstrap,
        lake=options.lake.absolute(),
        group=options.group,
        is_embedded=embedded,
        # The embedded broker sleeps a whole wait after an empty look and has a race between leader and followers.
        fetch_wait_ms=10 if embedded else 100,
        leader_sync_delay_ms=150 if embedded else 0,
        session_timeout_s=options.session_timeout,
        keys=options.keys,
    )


def add_agents(app: Any, topics: list[str], on_fetch: Callable[[Any], Awaitable[None]]) -> None:
    """One agent per batch topic; an exception in it ends the worker, nothing lost."""
    from streams.transport.app import batch_topic

    for name in topics:

        async def consume(stream: Any) -> None:
            async for fetch in stream:
                await on_fetch(fetch)

        consume.__name__ = "consume_" + "".join(c if c.isalnum() else "_" for c in name)
        app.agent(batch_topic(app, name), name=f"{app.conf.id}.{name}")(consume)


def add_task(app: Any, task: Callable[[], Awaitable[None]]) -> None:
    """A background task of the app whose failure ends the worker: a judge that stopped judging must be seen."""

    async def guarded() -> None:
        try:
            await task()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.exception("a background task failed, this worker ends")
            await app.crash(error)

    app.task(guarded)


def set_up_logging() -> None:
    """One line per event on standard error."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    logging.getLogger("streams").setLevel(logging.INFO)


def load(options: argparse.Namespace) -> Definitions:
    """The definitions in the configuration files."""
    from streams.settings import load_definitions

    return load_definitions(options.config)


def run(main: Callable[[], int]) -> int:
    """Exit status of a stage's process; a mistake of the user's or an absent broker is a sentence, not a traceback."""
    from streams.cli.errors import explained

    with explained() as outcome:
        outcome.status = main()
    return outcome.status
