"""The entity stage's job in stock Faust, as one would write it: an agent, event by event, dicts, Parquet.

Decode JSON, keep count and mean of an entity over 60 s in panes of 10 s with 5 s of lateness, write two versions with
lineage and a hashed id per event, Parquet once a second, and (`--publish`) send the entity's current values to a topic
with `topic.send`. No snapshots, no histories, no witnesses, no by-time versions: less than the real stage does.
Run by `benchmarks.entity`.
"""

import argparse
import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from streams.transport.app import make_app, run_app

PANE_US, PANES, LATENESS_US = 10_000_000, 6, 5_000_000
COLUMNS = ("entity", "feature", "value", "event_time_us", "topic", "partition", "offset", "id")


class Windows:
    """Panes by entity, the watermark of each partition, and rows for the next file."""

    def __init__(self) -> None:
        self.panes: dict[str, dict[int, list[float]]] = {}
        self.marks: dict[int, int] = {}
        self.rows: list[tuple[Any, ...]] = []
        self.count = 0

    def apply(self, value: bytes, topic: str, partition: int, offset: int) -> dict[str, Any] | None:
        """One event; the entity's current values if it counts."""
        self.count += 1
        body = json.loads(value)
        entity, at_us, amount = body["user_id"], body["ts"], body["amount"]
        mark = self.marks.get(partition, 0)
        self.marks[partition] = max(mark, at_us - LATENESS_US)
        if at_us < mark or body["page"] == "health":
            return None
        panes = self.panes.setdefault(entity, {})
        pane = panes.setdefault(at_us // PANE_US, [0, 0.0])
        pane[0] += 1
        pane[1] += amount
        last = max(panes)
        for old in [p for p in panes if p <= last - PANES]:
            del panes[old]
        count = sum(p[0] for p in panes.values())
        values = {"clicks_60s": count, "amount_60s": sum(p[1] for p in panes.values()) / count}
        for name, x in values.items():
            cause = xxhash.xxh64_hexdigest(f"{name}|{entity}|{topic}|{partition}|{offset}".encode())
            self.rows.append((entity, name, x, at_us, topic, partition, offset, cause))
        return values


def main() -> None:
    """Run until told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("bootstrap")
    parser.add_argument("folder", type=Path)
    parser.add_argument("prefix")
    logging.basicConfig(level=logging.WARNING)
    parser.add_argument("--publish", action="store_true")
    options = parser.parse_args()
    app = make_app(options.prefix + "stock", options.bootstrap, batch=False, fetch_max_wait_ms=10, watchdog=False)
    features = app.topic(options.prefix + "features", value_serializer="json", key_serializer="raw")
    windows = Windows()

    async def consume(stream: Any) -> None:
        async for event in stream.events():
            message = event.message
            values = windows.apply(message.value, message.topic, message.partition, message.offset)
            if values is not None and options.publish:
                await features.send(key=message.key, value=values)

    app.agent(app.topic(options.prefix + "clicks", value_serializer="raw", key_serializer="raw"), name="consume")(
        consume
    )

    async def flush() -> None:
        number = 0
        while True:
            await asyncio.sleep(1)
            number += 1
            if windows.rows:
                columns = dict(zip(COLUMNS, map(list, zip(*windows.rows, strict=True)), strict=True))
                windows.rows = []
                pq.write_table(pa.table(columns), options.folder / f"{number}.parquet", compression="zstd")
            (options.folder / "count").write_text(str(windows.count))

    app.task(flush)
    raise SystemExit(run_app(app))


if __name__ == "__main__":
    main()
