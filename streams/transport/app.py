"""How is a Faust app made and run here?

Faust's defaults are those of a framework on somebody's laptop: it creates topics, serves an unauthenticated page on all
interfaces, captures `print`, leaves a folder in the working directory, and restarts an agent that raised, having
acknowledged what it failed on. `make_app` sets what production wants, `run_app` runs one worker in this process and
answers with an exit status.
"""

import asyncio
import atexit
import logging
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import faust
from aiokafka.errors import KafkaConnectionError
from mode.supervisors import CrashingSupervisor

from streams.transport import driver
from streams.transport.settings import BatchSettings, Hooks
from streams.transport.watchdog import EXIT_STATUS, Limits

log = logging.getLogger(__name__)

STATUS_FINE, STATUS_FAILED, STATUS_NO_BROKER = 0, 1, 3
SHUTDOWN_S = 9.0  # a worker that has not ended this long after its signal or failure is ended


class App(faust.App):
    """A Faust app that carries the settings of its batch topics."""

    batch_settings: BatchSettings
    owns_process = False  # set where this app is all that its process does
    _is_doomed = False

    def _crash(self, reason: BaseException) -> None:
        """Note the failure; a consumer that lost its group may not find an end, and the others wait for it."""
        super()._crash(reason)
        if self.owns_process and not self._is_doomed:
            self._is_doomed = True
            _end_within(SHUTDOWN_S)


class RawSchema(faust.Schema[Any, Any]):
    """Passes a message's value on as it is: the `RawFetch` of a batch topic."""

    def compile(self, app: Any, **_: Any) -> Callable[..., Awaitable[Any]]:
        """The function that makes events of messages."""
        create_event = app.create_event

        async def decode(message: Any, *, propagate: bool = False) -> Any:
            return create_event(None, message.value, message.headers, message)

        return decode


def make_app(
    app_id: str,
    bootstrap: str,
    *,
    batch_topics: Iterable[str] = (),
    hooks: Hooks | None = None,
    batch: bool = True,
    fetch_max_wait_ms: int = 100,
    fetch_min_bytes: int = 1,
    isolation_level: str = "read_committed",
    leader_sync_delay_ms: int = 0,
    watchdog: bool | Limits = True,
    session_timeout_s: float = 10.0,
    heartbeat_interval_s: float = 3.0,
    commit_interval_s: float = 1.0,
    max_fetch_bytes: int = 1 << 20,
    buffered_fetches: int = 16,
    instance_id: str | None = None,
    datadir: str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> App:
    """A Faust app with this project's settings; `app_id` is its consumer group.

    With `batch=False` it is stock Faust, event by event, on `kafka://`, with the same settings as far as they apply.

    Parameters
    ----------
    bootstrap
        `host:port` of one or more brokers, comma-separated.
    batch_topics
        Topics that deliver whole fetches; use `batch_topic` to make the Faust topic of each. Others go event by event.
    watchdog
        True for limits that fit the session timeout.
    buffered_fetches
        Fetches that may wait for an agent. Memory is about this times `max_fetch_bytes`, and 4096 is Faust's default.
    datadir
        Where Faust may put files; by default a temporary folder that goes with the process.
    overrides
        Further Faust settings, taken last.
    """
    driver.register()
    if watchdog is True:
        watchdog = Limits.for_session(int(session_timeout_s * 1e6))
    scheme = driver.SCHEME if batch else "kafka"
    options: dict[str, Any] = {
        "broker": ";".join(f"{scheme}://{address.strip()}" for address in bootstrap.split(",")),
        "datadir": datadir or _temporary_folder(),
        "topic_allow_declare": False,  # topics are declared by infrastructure; the embedded broker cannot at all
        "topic_disable_leader": True,
        "web_enabled": False,
        "worker_redirect_stdouts": False,
        "agent_supervisor": CrashingSupervisor,
        "stream_wait_empty": True,
        "stream_buffer_maxsize": buffered_fetches if batch else 1024,
        "consumer_auto_offset_reset": "earliest",
        "consumer_max_fetch_size": max_fetch_bytes,
        "consumer_group_instance_id": instance_id,
        "broker_session_timeout": session_timeout_s,
        "broker_heartbeat_interval": heartbeat_interval_s,
        "broker_commit_interval": commit_interval_s,
        **(overrides or {}),
    }
    app = App(app_id, **options)
    app.batch_settings = BatchSettings(
        topics=frozenset(batch_topics),
        hooks=hooks or Hooks(),
        fetch_max_wait_ms=fetch_max_wait_ms,
        fetch_min_bytes=fetch_min_bytes,
        isolation_level=isolation_level,
        leader_sync_delay_ms=leader_sync_delay_ms,
        watchdog=watchdog or None,
    )
    return app


def batch_topic(app: App, name: str) -> Any:
    """The Faust topic of a batch topic; its agents receive `RawFetch`. Raises `ValueError` for any other topic."""
    if name not in app.batch_settings.topics:
        raise ValueError(f"{name} is not among the batch topics of {app.conf.id}")
    return app.topic(name, schema=RawSchema())


def run_app(app: faust.App, *, shutdown_s: float = SHUTDOWN_S) -> int:
    """Run one worker until SIGTERM or SIGINT, or until it fails; returns the exit status for this process.

    0 after a signal, 1 after a failure (logged), 3 when no broker answered. A shutdown that takes longer than
    `shutdown_s` seconds ends the process with status 70, and so does the watchdog. Logging is the caller's to set up.
    """
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    if isinstance(app, App):
        app.owns_process = True
    worker = _Worker(app, shutdown_s=shutdown_s, loop=loop, quiet=True, override_logging=False, redirect_stdouts=False)
    worker.spinner = None
    error: BaseException | None = None
    starting = asyncio.ensure_future(worker.start(), loop=loop)
    worker._starting_fut = starting
    try:
        loop.run_until_complete(starting)
    except asyncio.CancelledError:
        pass  # a signal during the start
    except Exception as failed:
        error = failed
    try:
        worker.stop_and_shutdown()
    except Exception as failed:  # Faust raises here what ended the worker
        error = error or failed
    if not loop.is_running():
        # Faust leaves it open after a failed start; at exit its sockets may be gone before it is, with a traceback.
        loop.close()
    if isinstance(error, KafkaConnectionError):
        log.error("no broker answered: %s", error)
        return STATUS_NO_BROKER
    if error is not None:
        log.critical("this worker failed: %r", error, exc_info=error)
        return STATUS_FAILED
    return STATUS_FINE


class _Worker(faust.Worker):
    def __init__(self, app: faust.App, *, shutdown_s: float, **options: Any) -> None:
        super().__init__(app, **options)
        self._shutdown_s = shutdown_s

    def _schedule_shutdown(self, signal: signal.Signals) -> None:
        if self._signal_stop_time is None:
            _end_within(self._shutdown_s)
        super()._schedule_shutdown(signal)

    def _setproctitle(self, info: str, *, ident: str = "tminus") -> None:
        """Leave the process its name: it says which stage runs here."""


def _end_within(seconds: float) -> None:
    guard = threading.Timer(seconds, _give_up, [seconds])
    guard.daemon = True
    guard.start()


def _give_up(after_s: float) -> None:
    log.critical("this worker did not end within %s s of its signal or failure", after_s)
    os._exit(EXIT_STATUS)


def _temporary_folder() -> str:
    folder = tempfile.mkdtemp(prefix="tminus-faust-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
