"""The model stage: what has been judged cell by cell becomes evidence for or against a model.

Batches of one model come in the order of one partition of `scored`. Rows told twice (after a crash of the stage in
front) are recognised by their source coordinates and dropped.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from features.definitions import Definitions, Model
from monitors.budget import Budget, Judge
from monitors.coupling import Coupling
from monitors.drift import DriftJudge
from monitors.verdicts import Finding
from streams.pipeline.effects import Scored


@dataclass(slots=True)
class ModelEffects:
    """What one batch led to."""

    findings: list[Finding] = field(default_factory=list)
    tables: dict[str, list[pa.RecordBatch]] = field(default_factory=dict)


class ModelPartition:
    """Judges of all models whose key falls into one partition of `scored`."""

    def __init__(self, definitions: Definitions) -> None:
        self.definitions = definitions
        self._coupling = {m.name: _coupling(m) for m in definitions.models.values() if m.label}
        self._drift = {m.name: _drift(m) for m in definitions.models.values()}
        self._fences: dict[tuple[str, str, str, int], int] = {}
        self.next = 0
        self.unknown = 0

    def on_scored(self, scored: Scored) -> ModelEffects:
        """Take in one batch; findings opened or raised by it."""
        effects = ModelEffects()
        if scored.model not in self.definitions.models:
            self.unknown += 1
            return effects
        if scored.kind == "coupled":
            if scored.model in self._coupling:
                effects.findings += self._coupling[scored.model].observe(scored.rows)
            return effects
        rows = self._new(scored)
        if scored.kind == "served" and rows.num_rows:
            effects.findings += self._observe(scored.model, rows)
        return effects

    def _observe(self, model: str, rows: pa.RecordBatch) -> list[Finding]:
        values = {f: rows.column(f).to_numpy() for f in self.definitions.models[model].features}
        return self._drift[model].observe(
            values,
            rows.column("origin_offset").to_numpy(),
            partition=rows.column("origin_partition").to_numpy().astype(np.int64),
            read_time_us=rows.column("read_time_us").to_numpy(),
        )

    def _new(self, scored: Scored) -> pa.RecordBatch:
        """The rows above the fence of their origin; moves the fence."""
        rows = scored.rows
        if not rows.num_rows:
            return rows
        topic = rows.column("topic")[0].as_py()
        partitions = rows.column("origin_partition").to_numpy()
        offsets = rows.column("origin_offset").to_numpy()
        is_new = np.zeros(rows.num_rows, bool)
        for partition in np.unique(partitions):
            key = (scored.model, scored.kind, topic, int(partition))
            mine = partitions == partition
            is_new |= mine & (offsets > self._fences.get(key, -1))
            self._fences[key] = max(self._fences.get(key, -1), int(offsets[mine].max()))
        return rows.filter(pa.array(is_new))

    def snapshot(self) -> dict[str, Any]:
        """Arrays and JSON-ables, by dotted name."""
        state: dict[str, Any] = {
            "next": self.next,
            "fences": [[*key, offset] for key, offset in self._fences.items()],
            "coupling": {name: judge.snapshot() for name, judge in self._coupling.items()},
        }
        for name, judge in self._drift.items():
            state |= {f"drift.{name}.{k}": v for k, v in judge.snapshot().items()}
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        self.next = state["next"]
        self._fences = {(m, k, t, p): offset for m, k, t, p, offset in state["fences"]}
        for name, judge in self._coupling.items():
            if name in state["coupling"]:
                judge.restore(state["coupling"][name])
        for name, drift in self._drift.items():
            prefix = f"drift.{name}."
            saved = {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}
            if saved:
                drift.restore(saved)


def _coupling(model: Model) -> Coupling:
    as_of = [f for f in model.features if model.join.get(f) == "as_of"]
    return Coupling(model.name, model.features, as_of=as_of)


def _drift(model: Model) -> DriftJudge:
    share = Budget().share(Judge.SHAPES, len(model.features))
    return DriftJudge(model.name, model.features, reference_rows=model.reference_rows, alpha=share.alpha)
