"""One partition group of the entity stage: everything about the entities that live there.

Rows of all sources, predictions and witnesses of our own writes come in, batch by batch, in the order of each log;
effects go out. The order between logs is accidental and must not matter: what is judged waits for coverage, and is
judged against what had arrived by an instant, not against what happens to be here.
"""

from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from features.batches import prediction_schema
from features.definitions import Definitions, Model
from features.engine import EngineOutput, SourceEngine
from features.history import History
from features.times import FOREVER_US, NEVER_US
from streams.pipeline import rows as lake_rows
from streams.pipeline.accounting import Account
from streams.pipeline.coverage import Coverage
from streams.pipeline.effects import Effects, FeatureRows, Publication, Scored
from streams.pipeline.judging import Judge
from streams.pipeline.labels import Labels
from streams.pipeline.pending import Queue
from streams.pipeline.transactions import Row, Transactions, coupled_batch
from streams.wire.logs import Sorted
from streams.wire.outgoing import Written
from streams.wire.predictions import Prediction

#: Reads remembered per entity and model, to tell by how much a coupled change came after one.
READS_MAX = 8


@dataclass(slots=True)
class Fence:
    """How far one log has been applied, and what must not be told twice.

    Below `told` the lake already has the rows (it may be ahead of the state after a crash); below `resent` rows were
    in the log before this owner, so their outputs may have been sent before.
    """

    next: int = 0
    told: int = 0
    resent: int = 0
    account: Account = field(default_factory=Account)


class EntityPartition:
    """State of partition group `partition`.

    Parameters
    ----------
    generation
        Of the writer: orders verdicts of different owners.
    witnessed
        A `written` log is among the inputs: it says when our own values became visible. Else (replay of records
        without one) they count as visible at the ingest time of their newest input.
    is_live
        There are topics behind it: False makes neither publications nor records of `verdicts`.
    """

    def __init__(
        self, definitions: Definitions, partition: int, *, generation: int, witnessed: bool, is_live: bool = True
    ) -> None:
        self.definitions = definitions
        self.partition = partition
        self.generation = generation
        self.witnessed = witnessed
        self.is_live = is_live
        self.engines = {
            s.name: SourceEngine(definitions, s, clock_error_us=definitions.clock_error_us(s))
            for s in definitions.entity_sources()
        }
        self.history = History()
        self.coverage = Coverage()
        self.fences: dict[str, Fence] = {}
        self.origins: dict[str, dict[int, int]] = {}  # logs of forwarded rows: highest original offset applied
        self.labels = {m.name: Labels(m.label) for m in definitions.models.values() if m.label}
        self.transactions = {name: Transactions() for name in self.labels}
        self.queues: dict[str, dict[str, Queue]] = {name: {} for name in definitions.models}
        self.gaps: set[str] = set()
        self.appended: set[str] = set()  # logs whose records carry the broker's append time
        self._logs: dict[str, list[str]] = {name: [] for name in definitions.sources}
        self._written_logs: list[str] = []
        self._judge = Judge(definitions, self.history, witnessed=witnessed)
        self._reads: dict[str, dict[str, list[int]]] = {name: {} for name in self.labels}  # newest ones, rising
        self._early: dict[str, list[Written]] = {}  # by log: witnesses of rows that are still to be applied (again)

    # -- inputs ---------------------------------------------------------------------------------------------------

    def attach(
        self,
        log: str,
        source: str | None,
        *,
        origins: int = 0,
        resent_below: int = 0,
        is_direct: bool = True,
        is_appended: bool = False,
    ) -> None:
        """Declare a log.

        Parameters
        ----------
        source
            Whose rows it holds; None: witnesses of our own writes.
        origins
            Partitions it is forwarded from; 0: it is no log of forwarded rows.
        resent_below
            Offsets below were in the log before this owner.
        is_direct
            False: no row of this group can be among them, so nothing here waits for its coverage.
        is_appended
            Its records carry the broker's append time. Said here, not learnt from rows: a witness may come before them.
        """
        fence = self.fences.setdefault(log, Fence())
        fence.resent = resent_below
        if is_appended:
            self.appended.add(log)
        logs = self._written_logs if source is None else self._logs[source]
        if is_direct and log not in logs:
            logs.append(log)
        if origins:
            self.coverage.expect(log, origins)
            self.origins.setdefault(log, {})

    def on_rows(self, source: str, log: str, found: Sorted[Any], rows: pa.RecordBatch, end: int) -> Effects:
        """Apply the decoded records of one fetch of a source: offsets from the fence to `end`."""
        fence = self.fences[log]
        effects = Effects()
        declared = self.definitions.sources[source]
        out = self.engines[source].on_rows(rows, log)
        self._arrived(log, found, rows)
        keys = self._judge.keys(source, declared.entity_type, out.versions)
        self.history.append(out.versions, keys, log)
        self._witness_early(log, end)
        effects.add("features", lake_rows.features(out.versions, declared.topic, log, witnessed=self.witnessed))
        if out.late.num_rows:
            effects.add("late", lake_rows.late(out.late, declared))
        if found.rejected:
            effects.add("dlq", lake_rows.dead_letters(found.rejected))
        for model in self._labelled_by(source):
            first = self.labels[model.name].observe(rows)
            effects.add("labels", lake_rows.labels(model, declared, rows, first))
        self._couple(source, log, rows, out, effects)
        self._publish(source, log, out, end, effects)
        applied = rows.num_rows - out.late.num_rows
        fence.account.add(fence.next, end, fence.told, found, applied=applied, late=out.late.num_rows)
        return self._passed(fence, end, effects)

    def on_predictions(
        self, source: str, log: str, found: Sorted[Prediction], batches: dict[str, pa.RecordBatch], end: int
    ) -> Effects:
        """Take in the decoded predictions of one fetch."""
        fence = self.fences[log]
        effects = Effects()
        topic = self.definitions.sources[source].topic
        for name, rows in batches.items():
            model = self.definitions.models[name]
            self._queue(model, log, rows.schema).push(rows)
            if name in self._reads:
                self._note_reads(name, rows)
            effects.add("predictions", lake_rows.predictions(model, topic, rows))
            effects.add("prediction_values", lake_rows.prediction_values(model, topic, rows))
        effects.add("dlq", lake_rows.dead_letters(found.rejected))
        for marker in found.markers:
            self.coverage.mark(log, marker[0], marker[2])
        if log in self.origins:
            self.origins[log].update(found.newest_origin)
        fence.account.add(fence.next, end, fence.told, found, applied=len(found.rows), late=0)
        return self._passed(fence, end, effects)

    def on_written(self, log: str, records: list[Written], end: int) -> Effects:
        """Take in witnesses of our own writes."""
        fence = self.fences[log]
        effects = Effects()
        for record in records:
            log_of = f"{record.topic}/{record.partition}"
            self._witness(log_of, record)
            # After a crash both logs are read again, and this one may come first.
            if log_of in self.fences and record.last >= self.fences[log_of].next:
                self._early.setdefault(log_of, []).append(record)
        if records:
            self.coverage.reach(log, max(r.acked_us for r in records))  # one producer writes them as it is acknowledged
        effects.add("written", lake_rows.written(records, self.appended))
        fence.account.consumed(fence.next, end, fence.told, applied=len(records))
        return self._passed(fence, end, effects)

    def on_gap(self, log: str, start: int) -> None:
        """The log begins at `start`, above the fence: what came before can no longer be read."""
        fence = self.fences[log]
        fence.account.skip(fence.next, start)
        fence.next = start
        self.gaps.add(log)

    # -- judgement ------------------------------------------------------------------------------------------------

    def judge(self) -> Effects:
        """Verdicts that are due: first ones, whose reads are covered, and final ones, whose labels have matured."""
        effects = Effects()
        for model in self.definitions.models.values():
            read_until = self._covered(model, matured=False)
            matured_until = self._covered(model, matured=True)
            for log, queue in self.queues[model.name].items():
                self._first(model, log, queue, read_until, effects)
                self._final(model, log, queue, matured_until, effects)
        return effects

    def close(self) -> Effects:
        """No more input will come: everything is covered."""
        for logs in (*self._logs.values(), self._written_logs):
            for log in logs:
                self.coverage.finish(log)
        return self.judge()

    def forget(self) -> None:
        """Drop versions that no prediction, waiting or still to come, can be judged against.

        A prediction that arrives more than `history` after its read is UNVERIFIABLE whatever is kept, and is judged
        against versions up to `history` before its read; so twice that behind what has been covered is enough.
        """
        logs = [log for model in self.definitions.models.values() for log in self._logs[model.predictions]]
        waiting = [queue.oldest_us() for queues in self.queues.values() for queue in queues.values()]
        bound_us = min([self.coverage.until(logs), *waiting])
        if NEVER_US < bound_us < FOREVER_US:
            self.history.prune(bound_us - 2 * self.definitions.run.history_us)

    def take_accounts(self) -> pa.RecordBatch:
        """Where the offsets since the last cut went: rows of `accounting`."""
        counts = {log: fence.account.take(fence.next) for log, fence in self.fences.items()}
        return lake_rows.accounting({log: c for log, c in counts.items() if c["first"] < c["next"]})

    def snapshot(self) -> dict[str, Any]:
        """Arrays, bytes and JSON-ables, by dotted name; with the fences inside."""
        state: dict[str, Any] = {
            "fences": {log: fence.next for log, fence in self.fences.items()},
            "origins": {log: [list(p) for p in found.items()] for log, found in self.origins.items()},
            "gaps": sorted(self.gaps),
            "appended": sorted(self.appended),
            "entities": self._judge.snapshot(),
            "coverage": self.coverage.snapshot(),
            "labels": {name: labels.snapshot() for name, labels in self.labels.items()},
            "transactions": {name: t.snapshot() for name, t in self.transactions.items()},
            "reads": self._reads,
            "early": {log: [list(msgspec.structs.astuple(r)) for r in found] for log, found in self._early.items()},
            "queues": [[model, log] for model, queues in self.queues.items() for log in queues],
        }
        state |= {f"history.{k}": v for k, v in self.history.snapshot().items()}
        for name, engine in self.engines.items():
            state |= {f"engine.{name}.{k}": v for k, v in engine.snapshot().items()}
        for model, log in state["queues"]:
            state |= {f"queue.{model}.{log}.{k}": v for k, v in self.queues[model][log].snapshot().items()}
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        for log, offset in state["fences"].items():
            self.fences[log] = Fence(next=offset)
        self.origins = {log: dict(found) for log, found in state["origins"].items()}
        self.gaps = set(state["gaps"])
        self.appended = set(state["appended"])
        self._judge.restore(state["entities"])
        self.coverage.restore(state["coverage"])
        for name, labels in self.labels.items():
            labels.restore(state["labels"][name])
            self.transactions[name].restore(state["transactions"][name])
        self._reads = {name: {e: list(r) for e, r in reads.items()} for name, reads in state["reads"].items()}
        self._early = {log: [Written(*r) for r in found] for log, found in state["early"].items()}
        self.history.restore(_under(state, "history."))
        for name, engine in self.engines.items():
            engine.restore(_under(state, f"engine.{name}."))
        for model, log in state["queues"]:
            declared = self.definitions.models[model]
            queue = self._queue(declared, log, prediction_schema(self.definitions, declared))
            queue.restore(_under(state, f"queue.{model}.{log}."))

    def _first(self, model: Model, log: str, queue: Queue, until_us: int, effects: Effects) -> None:
        rows = queue.unjudged(until_us)
        if rows is None:
            return
        judged = self._judge.served(model, rows)
        queue.note(judged)
        topic = self.definitions.sources[model.predictions].topic
        effects.add("verdicts", lake_rows.verdicts(model, topic, "served", 0, self.generation, rows, judged))
        if self.is_live:
            effects.leaks += lake_rows.leaks(model, topic, rows, judged)
        effects.scored.append(Scored(model.name, "served", log, lake_rows.served(model, topic, rows, judged)))

    def _final(self, model: Model, log: str, queue: Queue, until_us: int, effects: Effects) -> None:
        matured = queue.mature(until_us, model.matures_after_us)
        if matured is None:
            return
        rows, before = matured
        topic = self.definitions.sources[model.predictions].topic
        judged = self._judge.served(model, rows)
        changed = judged.differs(before)
        effects.add("verdicts", lake_rows.verdicts(model, topic, "served", 1, self.generation, rows, judged, changed))
        if not model.label:
            return
        exposed = self._judge.exposure(model, rows)
        effects.add("verdicts", lake_rows.verdicts(model, topic, "exposure", 1, self.generation, rows, exposed))
        positive = self.labels[model.name].positive(
            rows.column("entity").to_pylist(), rows.column("read_time_us").to_numpy()
        )
        effects.scored.append(
            Scored(model.name, "matured", log, lake_rows.matured(model, topic, rows, exposed, positive))
        )

    def _covered(self, model: Model, *, matured: bool) -> int:
        sources = {self.definitions.features[f].source for f in model.features}
        if matured and model.label:
            sources.add(model.label.source)
        covered_us = self.coverage.until([log for source in sources for log in self._logs[source]])
        witnessed_us = self.coverage.until(self._written_logs)
        if matured and NEVER_US < witnessed_us < FOREVER_US:
            # A witness is written after the acknowledgement it tells: those of the instant must be in, too.
            witnessed_us -= self.definitions.run.clock_error_us
        return min(covered_us, witnessed_us)

    # -- parts of a step ------------------------------------------------------------------------------------------

    def _passed(self, fence: Fence, end: int, effects: Effects) -> Effects:
        """Move the fence; what the lake was told before a crash is not told again."""
        fence.next = end
        if end <= fence.told:
            effects.tables.clear()
        return effects

    def _witness(self, log: str, record: Written) -> None:
        sent_us = None if record.resent else record.sent_us
        self.history.witness(log, record.first, record.last, sent_us, record.acked_us)

    def _witness_early(self, log: str, end: int) -> None:
        """Witnesses that came before the rows below `end`; told twice, they change nothing."""
        early = self._early.pop(log, [])
        for record in early:
            self._witness(log, record)
        if waiting := [record for record in early if record.last >= end]:
            self._early[log] = waiting

    def _arrived(self, log: str, found: Sorted[Any], rows: pa.RecordBatch) -> None:
        if rows.num_rows:
            self.coverage.reach(log, int(rows.column("ingest_time_us").to_numpy().max()))
        for origin, _, covered_us in found.markers:
            self.coverage.mark(log, origin, covered_us)
        if log in self.origins:
            self.origins[log].update(found.newest_origin)

    def _publish(self, source: str, log: str, out: EngineOutput, end: int, effects: Effects) -> None:
        fence = self.fences[log]
        if not self.is_live or not len(out.changed_entities):
            return
        declared = self.definitions.sources[source]
        engine = self.engines[source]
        rows = FeatureRows(declared.entity_type, source, end - 1, engine.present(out.changed_entities))
        effects.publications.append(Publication(log, fence.next, end - 1, fence.resent, rows))

    def _couple(self, source: str, log: str, rows: pa.RecordBatch, out: EngineOutput, effects: Effects) -> None:
        txids = rows.column("txid").to_pylist()
        if not any(txids):
            return
        declared = self.definitions.sources[source]
        changes = lake_rows.changed_columns(self.definitions, declared, rows, out.versions)
        for model in self.definitions.models.values():
            if model.label is None or model.entity_type != declared.entity_type:
                continue
            is_label = (
                self.labels[model.name].events(rows) if model.label.source == source else np.zeros(len(txids), bool)
            )
            told = self._told(model, declared.topic, rows, txids, is_label, changes)
            if told is None:
                continue
            effects.scored.append(Scored(model.name, "coupled", log, told))
            effects.add("coupled", lake_rows.coupled(model, told))

    def _told(
        self,
        model: Model,
        topic: str,
        rows: pa.RecordBatch,
        txids: list[str | None],
        is_label: np.ndarray[Any, np.dtype[np.bool_]],
        changes: dict[int, list[str]],
    ) -> pa.RecordBatch | None:
        names = ("clock_domain", "entity", "write_time_us", "origin_partition", "origin_offset")
        domains, entities, commits, partitions, offsets = (rows.column(n).to_pylist() for n in names)
        reads = self._reads[model.name]
        transactions = self.transactions[model.name]
        domain_out: list[str] = []
        txid_out: list[str] = []
        told: list[Row] = []
        for i, txid in enumerate(txids):
            if txid is None or commits[i] is None:
                continue
            before = [read for read in reads.get(entities[i], ()) if read < commits[i]]
            lead = commits[i] - before[-1] if before else None
            columns: list[str | None] = [f for f in changes.get(i, []) if f in model.features]
            columns = columns or [None]
            found: list[Row] = [
                (
                    model.entity_type,
                    entities[i],
                    bool(is_label[i]),
                    c,
                    commits[i],
                    topic,
                    partitions[i],
                    offsets[i],
                    lead,
                )
                for c in columns
            ]
            new = transactions.observe(domains[i] or "", txid, found)
            told += new
            domain_out += [domains[i] or ""] * len(new)
            txid_out += [txid] * len(new)
        return coupled_batch(domain_out, txid_out, told) if told else None

    def _note_reads(self, model: str, rows: pa.RecordBatch) -> None:
        """When each entity was last asked about: evidence for people, so a few reads are enough."""
        known = self._reads[model]
        for entity, read_us in zip(
            rows.column("entity").to_pylist(), rows.column("read_time_us").to_pylist(), strict=True
        ):
            known[entity] = sorted([*known.get(entity, ()), read_us])[-READS_MAX:]

    def _queue(self, model: Model, log: str, schema: pa.Schema) -> Queue:
        queues = self.queues[model.name]
        if log not in queues:
            queues[log] = Queue(schema, len(model.features))
        return queues[log]

    def _labelled_by(self, source: str) -> list[Model]:
        return [m for m in self.definitions.models.values() if m.label and m.label.source == source]


def _under(state: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}
