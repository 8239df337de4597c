"""The model stage: a Faust agent that feeds judges with scored batches and sends what they find."""

import asyncio
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec
from faust.types import TP

from features.definitions import Definitions
from monitors import drift
from monitors.verdicts import Finding
from streams import stage
from streams.lake.snapshots import load
from streams.lake.writer import LakeWriter
from streams.outbox import Outbox, Outgoing
from streams.pipeline.model import ModelPartition
from streams.pipeline.rows import findings as finding_rows
from streams.transport.app import make_app, run_app
from streams.transport.records import RawFetch, iter_records
from streams.transport.settings import Hooks
from streams.units import TEND_EVERY_S, Unit
from streams.wire.scored import ScoredError, decode_scored

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Owned:
    """One partition of `scored` in this worker's hands; below `told` the lake already has the rows."""

    partition: int
    state: ModelPartition
    unit: Unit
    told: int


class ModelWorker(Hooks):
    """Everything between the transport and the judges."""

    def __init__(self, definitions: Definitions, place: stage.Place) -> None:
        self.definitions = definitions
        self.place = place
        self.topic = definitions.run.prefix + "scored"
        self.owned: dict[int, Owned] = {}
        self.outbox: Outbox | None = None

    async def on_assigned(self, partitions: frozenset[TP]) -> Mapping[TP, int]:
        """Restore each partition from the lake."""
        if self.outbox is None:
            self.outbox = Outbox(
                self.place.bootstrap, prefix=self.definitions.run.prefix, settings=dict(self.definitions.kafka)
            )
        loop = asyncio.get_running_loop()
        for tp in sorted(partitions):
            self.owned[tp.partition] = await loop.run_in_executor(None, self._open, tp.partition)
        return {TP(self.topic, n): owned.state.next for n, owned in self.owned.items()}

    async def on_revoked(self, partitions: frozenset[TP]) -> None:
        """Make durable what was judged, and let go."""
        for owned in list(self.owned.values()):
            await self.cut(owned, force=True)
            owned.unit.writer.close()
        self.owned.clear()

    def _open(self, partition: int) -> Owned:
        writer = LakeWriter(self.place.lake, f"model-p{partition}", self.place.group, self.definitions.digest)
        restored = writer.open()
        state = ModelPartition(self.definitions)
        if restored.snapshot is not None:
            state.restore(load(restored.snapshot))
        told = restored.next.get(f"{self.topic}/{partition}", 0)
        return Owned(partition, state, Unit(writer, self.definitions.run.snapshot_every_us), told)

    async def on_fetch(self, fetch: RawFetch) -> None:
        """One message of the transport: scored batches of any number of models."""
        owned = self.owned[fetch.partition]
        async with owned.unit.turn:
            found: list[Finding] = []
            for record in iter_records(fetch):
                if record.offset < owned.state.next:
                    continue
                found += self._judge(owned, record.offset, record.value)
            owned.state.next = max(owned.state.next, fetch.end)
            owned.unit.note({})
            await self._tell(found)
        if found:
            await self.cut(owned)  # what a person may act on tonight must be in the lake when they look

    def _judge(self, owned: Owned, offset: int, value: bytes | None) -> list[Finding]:
        try:
            scored = decode_scored(value or b"")
        except ScoredError as error:
            log.warning("%s/%s offset %s: %s", self.topic, owned.partition, offset, error)
            return []
        effects = owned.state.on_scored(scored)
        if offset >= owned.told:
            owned.unit.note(effects.tables)
            if effects.findings:
                owned.unit.note({"findings": [finding_rows(effects.findings)]})
        return effects.findings

    async def _tell(self, found: list[Finding]) -> None:
        assert self.outbox is not None
        await self.outbox.send(
            [Outgoing(self.definitions.run.prefix + "findings", encode_finding(f), f.model.encode()) for f in found]
        )

    async def cut(self, owned: Owned, *, force: bool = False) -> None:
        """Make durable what has been judged."""
        assert self.outbox is not None
        await owned.unit.cut(
            self.outbox,
            last=dict,
            fences=lambda: {f"{self.topic}/{owned.partition}": owned.state.next},
            state=owned.state.snapshot,
            force=force,
        )

    async def keep(self) -> None:
        """Cut again and again."""
        while True:
            await asyncio.sleep(self.definitions.run.commit_every_us / 1e6)
            for owned in self._mine():
                await self.cut(owned)

    async def tend(self) -> None:
        """Keep our part of the lake tidy."""
        while True:
            await asyncio.sleep(TEND_EVERY_S)
            for owned in self._mine():
                await owned.unit.tend()

    def _mine(self) -> Iterator[Owned]:
        for owned in list(self.owned.values()):
            if self.owned.get(owned.partition) is owned:
                yield owned


def encode_finding(finding: Finding) -> bytes:
    """A record of `findings`."""
    return msgspec.json.encode({"format": 1, **msgspec.to_builtins(finding)})


def main(argv: list[str] | None = None) -> int:
    """Run one worker of the model stage until it is told to stop."""
    options = stage.arguments("model", argv)
    stage.set_up_logging()
    definitions = stage.load(options)
    place = stage.place(options, definitions.kafka)
    drift.warm_up()
    worker = ModelWorker(definitions, place)
    app = make_app(
        f"{place.group}-model",
        place.bootstrap,
        batch_topics=[worker.topic],
        hooks=worker,
        fetch_max_wait_ms=place.fetch_wait_ms,
        leader_sync_delay_ms=place.leader_sync_delay_ms,
        session_timeout_s=place.session_timeout_s,
        heartbeat_interval_s=place.session_timeout_s / 4,
    )
    stage.add_agents(app, [worker.topic], worker.on_fetch)
    stage.add_task(app, worker.keep)
    stage.add_task(app, worker.tend)
    return run_app(app)


if __name__ == "__main__":
    raise SystemExit(stage.run(main))
