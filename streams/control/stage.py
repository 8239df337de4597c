"""The control stage as a process: who hands findings to the desk?

A Faust app of its own, event by event, that never shares a consumer with bulk topics. Receipts are not among its
topics: aiokafka fetches nothing from a broker for 100 ms while any partition there has records nobody took yet, and a
wave of receipts took the p99 from finding to fallback from 14 to 106 ms; the desk reads them itself. Everything that
waits for the broker happens on one thread beside the event loop, one thing after the other, so that the group's
heartbeats go on while a command waits for its acknowledgement.

Run one controller. Two do no harm: the newer claim wins, the older process ends with status 0 as soon as it sees it,
without having acknowledged what it was at.
"""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from streams import signing
from streams.control.desk import ControlSettings, Desk, Sink
from streams.control.log import Declared, Superseded
from streams.transport.app import App, make_app, run_app

log = logging.getLogger(__name__)

#: The process ends with this when a newer controller has taken over: nothing is wrong.
EXIT_SUPERSEDED = 0
#: And with this when it cannot go on (the broker stayed away, an invariant broke): it wants to be restarted.
EXIT_FAILED = 1


def make_control_app(settings: ControlSettings, sink: Sink | None = None) -> App:
    """The Faust app of the control stage; `sink(table, rows)` gets the rows of the lake, on the desk's thread."""
    app = make_app(
        settings.prefix + "control-stage",
        settings.bootstrap,
        fetch_max_wait_ms=settings.fetch_wait_ms,
        leader_sync_delay_ms=settings.leader_sync_delay_ms,
        instance_id=settings.instance_id,
        session_timeout_s=settings.session_timeout_s,
        heartbeat_interval_s=settings.session_timeout_s / 3,
        overrides={"stream_wait_empty": False},
    )
    desk = Desk(settings, sink)
    thread = ThreadPoolExecutor(1, thread_name_prefix="desk")
    is_open = asyncio.Event()

    async def do(deed: Callable[..., None], *arguments: Any) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(thread, deed, *arguments)
        except asyncio.CancelledError:
            raise
        except Superseded as superseded:
            log.warning("%s; this controller ends", superseded)
            _end(EXIT_SUPERSEDED)
        except Exception:
            log.exception("the control stage cannot go on")
            _end(EXIT_FAILED)

    @app.agent(app.topic(settings.topics["findings"], key_serializer="raw", value_serializer="raw"))
    async def findings(stream: Any) -> None:
        async for event in stream.events():
            await is_open.wait()
            message = event.message
            await do(desk.finding, event.value or b"", message.partition, message.offset, _headers(message))

    @app.task  # type: ignore[untyped-decorator]
    async def command() -> None:
        await do(desk.open)
        is_open.set()
        log.info("in command, epoch %s", desk.controller.epoch)
        while not app.should_stop:
            await do(desk.tick)
            await app.sleep(settings.heartbeat_s)

    return app


def run(settings: ControlSettings, sink: Sink | None = None) -> int:
    """Run the control stage in this process until it is told to stop; returns the exit status."""
    return run_app(make_control_app(settings, sink))


def main(arguments: list[str] | None = None) -> int:
    """`python -m streams.control.stage`: the control stage alone, its models given by name."""
    parser = argparse.ArgumentParser(prog="python -m streams.control.stage", description=__doc__)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--prefix", default="tminus.")
    parser.add_argument("--environment", default="default")
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("--public", type=Path, required=True)
    parser.add_argument("--operators", type=Path)
    parser.add_argument("--model", action="append", default=[])
    parser.add_argument("--fetch-wait-ms", type=int, default=100)
    parser.add_argument("--heartbeat-s", type=float, default=1.0)
    parser.add_argument("--session-timeout-s", type=float, default=10.0)
    parser.add_argument("--instance-id")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    settings = ControlSettings(
        bootstrap=options.bootstrap,
        environment=options.environment,
        key=options.key,
        public=options.public,
        operators=options.operators,
        models={name: Declared() for name in options.model},
        prefix=options.prefix,
        fetch_wait_ms=options.fetch_wait_ms,
        heartbeat_s=options.heartbeat_s,
        session_timeout_s=options.session_timeout_s,
        instance_id=options.instance_id,
    )
    try:
        return run(settings)
    except signing.KeyFileError as error:
        print(error, file=sys.stderr)
        return 2


def _headers(message: Any) -> list[tuple[str, bytes | None]]:
    headers = message.headers or ()
    return list(headers.items() if isinstance(headers, dict) else headers)


def _end(status: int) -> None:
    """End at once, so that no offset of unfinished work is committed."""
    logging.shutdown()
    os._exit(status)


if __name__ == "__main__":
    sys.exit(main())
