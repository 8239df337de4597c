"""The control stage of an installation: its settings from the declarations, its rows into the lake.

The desk never waits for a disk: rows of the lake go through a bounded queue to a thread that commits them.
"""

import logging
import os
import queue
import threading
from collections import defaultdict
from typing import Any

import pyarrow as pa

from features.definitions import Definitions, Model
from streams import stage
from streams.control.desk import ControlSettings
from streams.control.log import Declared
from streams.control.stage import run
from streams.lake.tables import TABLES
from streams.lake.writer import LakeWriter

log = logging.getLogger(__name__)

UNIT = "control"
#: Tables that the desk writes; findings are the model stage's.
TABLES_HERE = frozenset({"control", "receipts", "alerts"})
#: Rows that may wait for the disk; beyond, the desk waits too: an audit trail with holes is none.
QUEUE_MAX = 100_000
_GATHER_S = 0.2
_TEND_EVERY = 150


class LakeSink:
    """Rows from the desk's thread into the lake, committed several times a second."""

    def __init__(self, writer: LakeWriter) -> None:
        self._writer = writer
        self._rows: queue.Queue[tuple[str, list[dict[str, Any]]] | None] = queue.Queue(QUEUE_MAX)
        self._thread = threading.Thread(target=self._run, name="lake", daemon=True)
        self._thread.start()

    def __call__(self, table: str, rows: list[dict[str, Any]]) -> None:
        """Note rows of one table."""
        if table in TABLES_HERE and rows:
            self._rows.put((table, rows))

    def close(self) -> None:
        """Commit what waits, and stop."""
        self._rows.put(None)
        self._thread.join()
        self._writer.close()

    def _run(self) -> None:
        try:
            rounds = 0
            while self._round():
                rounds += 1
                if rounds % _TEND_EVERY == 0:
                    self._writer.tend()
        except Exception:
            log.exception("the lake cannot be written, the control stage ends")
            os._exit(1)

    def _round(self) -> bool:
        """Gather what comes within a moment and commit it; False at the end."""
        found: dict[str, list[dict[str, Any]]] = defaultdict(list)
        goes_on = True
        try:
            item = self._rows.get(timeout=_GATHER_S)
            while item is not None:
                found[item[0]] += item[1]
                item = self._rows.get(timeout=_GATHER_S / 4)
            goes_on = False
        except queue.Empty:
            pass
        for table, rows in found.items():
            self._writer.append(table, pa.Table.from_pylist(rows, schema=TABLES[table].schema))
        if found:
            self._writer.commit({})
        return goes_on


def settings_of(definitions: Definitions, place: stage.Place) -> ControlSettings:
    """What the control stage needs to know, from the declarations."""
    operators = place.keys / "operator.pub"
    return ControlSettings(
        bootstrap=place.bootstrap,
        environment=definitions.run.environment,
        key=place.keys / "control.key",
        public=place.keys / "control.pub",
        operators=operators if operators.exists() else None,
        models={m.name: _declared(m) for m in definitions.models.values()},
        prefix=definitions.run.prefix,
        session_timeout_s=place.session_timeout_s,
        fetch_wait_ms=5 if place.is_embedded else 100,
        client=definitions.kafka,
        # Static membership lets a restarted controller take over at once; the embedded broker makes it slow.
        instance_id=None if place.is_embedded else "controller",
    )


def _declared(model: Model) -> Declared:
    return Declared(
        default=model.fallback.default,
        lease_us=model.fallback.lease_us,
        on_silence=model.fallback.on_silence,
        escalate_after_us=model.fallback.escalate_after_us,
        owner=model.owner,
        runbook=model.runbook,
    )


def main(argv: list[str] | None = None) -> int:
    """Run the control stage until it is told to stop."""
    options = stage.arguments("control", argv)
    stage.set_up_logging()
    definitions = stage.load(options)
    place = stage.place(options, definitions.kafka)
    settings = settings_of(definitions, place)
    writer = LakeWriter(place.lake, UNIT, place.group, definitions.digest)
    writer.open()
    sink = LakeSink(writer)
    try:
        return run(settings, sink)
    finally:
        sink.close()


if __name__ == "__main__":
    raise SystemExit(stage.run(main))
