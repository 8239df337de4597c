"""Which features change in the very transaction that writes the label?

A trigger that clears a column when the label is written runs in the label's transaction, so one row of the label and a
*changed* feature of the same entity under one (clock domain, transaction id) prove the coupling: no statistics, no
clocks. The first coincidence opens a finding (`COUPLED_TX`, warning), the third distinct entity raises it to page.

A transaction over many entities proves less: a nightly job changes everybody's columns. There a feature counts only if
its changed share among the labelled entities exceeds that among the unlabelled ones of the same transaction.

The fold is a join: rows told twice or in another order leave the same coincidences, as long as the bounds below are
not reached. A finding already emitted is never taken back, even if a late row turns its transaction into a bulk one.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from monitors.verdicts import JSON, Finding, Severity

KIND = "COUPLED_TX"

#: Distinct entities that turn a warning into a page: below that, one wrongly shared transaction could still explain it.
ENTITIES_TO_PAGE = 3

#: Transactions that may still grow; the one untouched for longest is settled first: what it proved stays.
TRANSACTIONS_MAX = 4_096

#: A transaction over more entities than this says nothing about any of them here; statistics may still use it.
TRANSACTION_ENTITIES_MAX = 10_000

#: Entities held over all open transactions; beyond it the oldest are settled early.
MEMBERS_MAX = 100_000

#: Coincidences kept per feature; more would prove nothing new, so the count means "at least" from here on.
COINCIDENCES_MAX = 1_000

#: Entities and offsets shown in the evidence.
SHOWN_MAX = 10
_OFFSETS_MAX = 4

#: What a batch of coupled rows must have: one row per changed feature, feature null where a row changed none.
COLUMNS = (
    "clock_domain", "txid", "entity_type", "entity", "is_label", "feature", "commit_time_us",
    "topic", "partition", "offset",
)  # fmt: skip

Entity = tuple[str, str]  # type, id
Key = tuple[str, str]  # clock domain, transaction id
Offset = tuple[str, int, int]  # topic, partition, offset

_RANK = {None: 0, Severity.INFO: 1, Severity.WARNING: 1, Severity.PAGE: 2}


@dataclass(slots=True)
class _Member:
    """One entity in one transaction: a join of its rows."""

    is_labelled: bool = False
    commit_time_us: int = 2**63 - 1
    lead_us: int | None = None
    changed: set[str] = field(default_factory=set)
    offsets: list[Offset] = field(default_factory=list)

    def join(self, is_label: bool, feature: str | None, commit_us: int, lead_us: int | None, at: Offset) -> None:
        self.is_labelled |= is_label
        self.commit_time_us = min(self.commit_time_us, commit_us)
        if lead_us is not None:
            self.lead_us = lead_us if self.lead_us is None else min(self.lead_us, lead_us)
        if feature is not None:
            self.changed.add(feature)
        if at not in self.offsets:
            self.offsets = sorted([*self.offsets, at])[:_OFFSETS_MAX]


@dataclass(slots=True)
class _Transaction:
    members: dict[Entity, _Member] = field(default_factory=dict)
    is_too_large: bool = False

    def coincidences(self, feature: str) -> dict[Entity, _Member]:
        """Labelled entities whose `feature` changed, if that says more than the transaction says of everybody."""
        labelled = {e: m for e, m in self.members.items() if m.is_labelled}
        changed = {e: m for e, m in labelled.items() if feature in m.changed}
        others = len(self.members) - len(labelled)
        others_changed = sum(feature in m.changed for m in self.members.values()) - len(changed)
        # Shares compared without division; with no others there is nothing to explain the change away.
        exceeds = not others or len(changed) * others > others_changed * len(labelled)
        return changed if exceeds else {}


class Coupling:
    """Tier 0 of the post-label test for one model.

    Parameters
    ----------
    model
        Its name.
    features
        Its features; changes of anything else are ignored.
    as_of
        Features that training joins as of the read: their coupling is told (severity info) and not acted on.

    Examples
    --------
    >>> judge = Coupling("churn", ["last_login"])
    >>> row = {"clock_domain": "db", "txid": "571", "entity_type": "user", "entity": "42", "is_label": True}
    >>> row |= {"feature": "last_login", "commit_time_us": 5_003_000, "topic": "cdc", "partition": 0, "offset": 7}
    >>> [(f.kind, f.severity.value) for f in judge.observe(pa.RecordBatch.from_pylist([row]))]
    [('COUPLED_TX', 'warning')]
    >>> judge.observe(pa.RecordBatch.from_pylist([row]))
    []
    """

    def __init__(self, model: str, features: Collection[str], *, as_of: Collection[str] = ()) -> None:
        self._model = model
        self._as_of = frozenset(as_of)
        self._open: OrderedDict[Key, _Transaction] = OrderedDict()
        self._members = 0
        self._proofs: dict[str, dict[Key, dict[Entity, _Member]]] = {f: {} for f in features}
        self._emitted: dict[str, Severity] = {}

    def observe(self, rows: pa.RecordBatch) -> list[Finding]:
        """Take in rows of transactions; findings opened or raised by them, at most one per feature.

        Parameters
        ----------
        rows
            `COLUMNS`, and optionally `lead_us`: commit time minus read time of the entity's last prediction,
            microseconds, null if there was none. Rows without a transaction id are ignored.

        Raises
        ------
        ValueError
            A column is missing.
        """
        missing = [name for name in COLUMNS if name not in rows.schema.names]
        if missing:
            raise ValueError(f"expected columns {', '.join(COLUMNS)}, found none named {', '.join(missing)}")
        touched: dict[Key, None] = {}
        for row in rows.to_pylist():
            if row["txid"] is not None:
                touched[self._take(row)] = None
        for key in touched:
            self._prove(key)
        self._settle()
        # Read whole batches before speaking: the unlabelled rows of a bulk transaction often come right behind.
        return list(self._raised()) if touched else []

    def finding(self, feature: str) -> Finding | None:
        """The present state of a feature's finding; None if it never coincided with a label."""
        proven = self._entities(feature)
        severity = self._severity(feature, len(proven))
        if severity is None:
            return None
        first = sorted(proven.items(), key=lambda item: (item[1][1].commit_time_us, item[1][1].offsets, item[0]))
        shown = first[:SHOWN_MAX]
        leads = [m.lead_us for _, (_, m) in shown]
        evidence: dict[str, JSON] = {
            "entities": [list(entity) for entity, _ in shown],
            "count": len(proven),
            "txids": [txid for _, ((_, txid), _) in shown],
            "offsets": [list(o) for _, (_, m) in shown for o in m.offsets],
            "leads_ms": [None if lead is None else lead / 1000 for lead in leads],
        }
        since_us = first[0][1][1].commit_time_us
        return Finding.of(self._model, feature, KIND, severity, since_us, evidence, _sql(self._model, feature))

    def snapshot(self) -> dict[str, JSON]:
        """State as JSON values; `restore` takes it back.

        Examples
        --------
        >>> Coupling("churn", ["last_login"]).snapshot()
        {'open': [], 'proofs': {'last_login': []}, 'emitted': {}}
        """
        return {
            "open": [[*key, t.is_too_large, _dump(t.members)] for key, t in self._open.items()],
            "proofs": {f: [[*key, _dump(p)] for key, p in sorted(by.items())] for f, by in self._proofs.items()},
            "emitted": {f: severity.value for f, severity in sorted(self._emitted.items())},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Become what `snapshot` told; features no longer the model's are dropped, new ones begin empty."""
        self._open = OrderedDict()
        for domain, txid, is_too_large, members in state["open"]:
            self._open[domain, txid] = _Transaction(_load(members), is_too_large)
        self._members = sum(len(t.members) for t in self._open.values())
        for feature in self._proofs:
            told = state["proofs"].get(feature, [])
            self._proofs[feature] = {(domain, txid): _load(members) for domain, txid, members in told}
        self._emitted = {f: Severity(s) for f, s in state["emitted"].items() if f in self._proofs}

    def _take(self, row: dict[str, Any]) -> Key:
        key = (row["clock_domain"], row["txid"])
        transaction = self._open.setdefault(key, _Transaction())
        self._open.move_to_end(key)
        if transaction.is_too_large:
            return key
        entity = (row["entity_type"], row["entity"])
        if entity not in transaction.members:
            if len(transaction.members) == TRANSACTION_ENTITIES_MAX:
                self._members -= len(transaction.members)
                self._open[key] = _Transaction(is_too_large=True)
                return key
            transaction.members[entity] = _Member()
            self._members += 1
        feature = row["feature"] if row["feature"] in self._proofs else None
        at = (row["topic"], row["partition"], row["offset"])
        transaction.members[entity].join(row["is_label"], feature, row["commit_time_us"], row.get("lead_us"), at)
        return key

    def _prove(self, key: Key) -> None:
        """Bring the coincidences of one transaction up to date."""
        for feature in self._proofs:
            found = self._open[key].coincidences(feature)
            if not found:
                self._proofs[feature].pop(key, None)
            elif key in self._proofs[feature] or self._has_room(feature, len(found)):
                self._proofs[feature][key] = dict(sorted(found.items())[:COINCIDENCES_MAX])

    def _has_room(self, feature: str, more: int) -> bool:
        """Whether `more` coincidences fit, if need be at the expense of repeated ones of the same entities."""
        proofs = self._proofs[feature]
        if not proofs or sum(map(len, proofs.values())) + more <= COINCIDENCES_MAX:
            return True
        if self._emitted.get(feature) is not Severity.WARNING:
            return False  # nothing left to raise
        # One entity that coincides every day must not crowd out the second and third.
        kept: dict[Key, dict[Entity, _Member]] = {}
        for entity, (key, member) in self._entities(feature).items():
            kept.setdefault(key, {})[entity] = member
        self._proofs[feature] = kept
        return sum(map(len, kept.values())) + more <= COINCIDENCES_MAX

    def _settle(self) -> None:
        while len(self._open) > TRANSACTIONS_MAX or self._members > MEMBERS_MAX:
            _, oldest = self._open.popitem(last=False)
            self._members -= len(oldest.members)

    def _entities(self, feature: str) -> dict[Entity, tuple[Key, _Member]]:
        """Distinct coupled entities, each with its earliest coincidence."""
        found: dict[Entity, tuple[Key, _Member]] = {}
        for key, members in sorted(self._proofs[feature].items()):
            for entity, member in members.items():
                if entity not in found or member.commit_time_us < found[entity][1].commit_time_us:
                    found[entity] = (key, member)
        return found

    def _severity(self, feature: str, entities: int) -> Severity | None:
        if not entities:
            return None
        if feature in self._as_of:
            return Severity.INFO
        return Severity.PAGE if entities >= ENTITIES_TO_PAGE else Severity.WARNING

    def _raised(self) -> Iterator[Finding]:
        for feature in self._proofs:
            if self._emitted.get(feature) is Severity.PAGE:
                continue
            finding = self.finding(feature)
            if finding is not None and _RANK[finding.severity] > _RANK[self._emitted.get(feature)]:
                self._emitted[feature] = finding.severity
                yield finding


def _dump(members: dict[Entity, _Member]) -> list[JSON]:
    told: list[JSON] = []
    for entity, m in sorted(members.items()):
        changed: list[JSON] = [*sorted(m.changed)]
        told.append([*entity, m.is_labelled, m.commit_time_us, m.lead_us, changed, [list(o) for o in m.offsets]])
    return told


def _load(told: list[Any]) -> dict[Entity, _Member]:
    return {
        (kind, entity): _Member(labelled, commit_us, lead_us, set(changed), [(t, p, o) for t, p, o in offsets])
        for kind, entity, labelled, commit_us, lead_us, changed, offsets in told
    }


def _sql(model: str, feature: str) -> str:
    """The coincidences, entity by entity, with the leak they make of a joined training set."""
    return f"""\
SELECT changed.entity_type, changed.entity, changed.txid, changed.commit_time_us,
       changed.topic, changed."partition", changed."offset", max(v.lead_us) / 1000 AS lead_ms
FROM coupled AS changed
JOIN coupled AS label USING (model, clock_domain, txid, entity_type, entity)
LEFT JOIN verdicts AS v
  ON v.model = changed.model AND v.entity_type = changed.entity_type AND v.entity = changed.entity
 AND v.feature = changed.feature AND v.form = 'exposure' AND v.verdict = 'LEAK'
WHERE changed.model = {_quoted(model)} AND changed.feature = {_quoted(feature)} AND label.is_label
GROUP BY ALL
ORDER BY changed.commit_time_us"""


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
