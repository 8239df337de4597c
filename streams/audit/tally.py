"""What is counted while bucket after bucket is judged, and how it becomes the outcome of a feature.

Everything here is independent of the order and the size of the buckets: sums, smallest rows, sorted leads.
"""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from features.kinds import Kind
from monitors.audit.outcome import EXAMPLES_MAX, LEAD_CLASSES_US, Example, FeatureOutcome, Latency, Leads, worst
from monitors.kernels import intervals
from monitors.leakage import Verdicts
from monitors.verdicts import REASONS, VERDICTS, Reason, Tier, Verdict

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

_KIND_WORDS = {kind: kind.value.removesuffix("32") for kind in Kind}
#: Leads kept one by one; above that, equal ones are counted together.
_LEADS_APART = 1_000_000


@dataclass(slots=True)
class FeatureTally:
    """Counts of one feature over the buckets seen so far."""

    name: str
    kind: Kind | None
    verdicts: Counter[int] = field(default_factory=Counter)
    reasons: Counter[int] = field(default_factory=Counter)
    tiers: dict[tuple[int, int], int] = field(default_factory=dict)  # (verdict, tier) -> cells
    entities: Counter[int] = field(default_factory=Counter)
    examples: dict[int, list[Example]] = field(default_factory=dict)
    versions: int = 0
    replaced: int = 0
    _leads: list[tuple[Int64, Int64]] = field(default_factory=list)
    _waiting: int = 0

    def count(self, found: Verdicts, group: Int64) -> None:
        """Count the cells of one bucket; no entity is in two buckets."""
        for word, number in enumerate(np.bincount(found.verdict, minlength=len(VERDICTS)).tolist()):
            self.verdicts[word] += number
            if number and word != intervals.PASS:
                self.entities[word] += int(np.unique(group[found.verdict == word]).size)
        for code, number in enumerate(np.bincount(found.reason, minlength=len(REASONS)).tolist()):
            self.reasons[code] += number
        both = found.verdict.astype(np.int64) * len(Tier) + found.tier
        for code, number in enumerate(np.bincount(both).tolist()):
            if number:
                key = divmod(code, len(Tier))
                self.tiers[key] = self.tiers.get(key, 0) + number
        leads = found.lead_us[found.verdict == intervals.LEAK]
        if leads.size:
            self._leads.append(np.unique(leads, return_counts=True))
            self._waiting += self._leads[-1][0].size
            if self._waiting > _LEADS_APART and len(self._leads) > 1:
                self._merge()

    def wanted_rows(self, found: Verdicts, row: Int64) -> list[int]:
        """Cells of this bucket that may become examples: per verdict the smallest rows that are not beaten yet."""
        wanted = []
        for word in np.unique(found.verdict).tolist():
            if word == intervals.PASS:
                continue
            at = np.flatnonzero(found.verdict == word)
            have = self.examples.get(word, [])
            if len(have) >= EXAMPLES_MAX:
                at = at[row[at] < have[-1].row]
            if at.size > EXAMPLES_MAX:
                at = at[np.argpartition(row[at], EXAMPLES_MAX - 1)[:EXAMPLES_MAX]]
            wanted += at.tolist()
        return wanted

    def keep_example(self, word: int, example: Example) -> None:
        """One of the smallest rows with this verdict, perhaps."""
        kept = sorted([*self.examples.get(word, []), example], key=lambda e: e.row)
        self.examples[word] = kept[:EXAMPLES_MAX]

    def outcome(self, rows: int, resolution_us: int, clock_error_us: int, latency: Latency | None) -> FeatureOutcome:
        """The feature's line in the report."""
        counts = {VERDICTS[i]: self.verdicts[i] for i in range(len(VERDICTS))}
        verdict = worst(counts)
        code = VERDICTS.index(verdict)
        tiers = [tier for word, tier in self.tiers if word == code]
        low = counts[Verdict.LEAK]
        high = low + counts[Verdict.LEAK_OR_STALE] + counts[Verdict.SKEW_AMBIGUOUS]
        shown = self.examples.get(code, [])
        return FeatureOutcome(
            name=self.name,
            verdict=verdict,
            # One proof is enough to convict; everything else is as strong as its weakest cell.
            tier=Tier(min(tiers) if verdict is Verdict.LEAK else max(tiers, default=Tier.E5)),
            counts=counts,
            reasons={REASONS[i]: n for i, n in sorted(self.reasons.items()) if n and REASONS[i] is not Reason.NONE},
            leak_share_low=low / rows,
            leak_share_high=high / rows,
            kind="incomparable" if self.kind is None else _KIND_WORDS[self.kind],
            resolution_us=resolution_us,
            clock_error_us=clock_error_us,
            versions=self.versions,
            replaced=self.replaced,
            leads=self._leads_found(),
            entities=self.entities[code],
            latency=latency,
            example=shown[0] if shown else None,
            examples=tuple(shown),
        )

    def _merge(self) -> None:
        values = np.concatenate([v for v, _ in self._leads])
        counts = np.concatenate([c for _, c in self._leads])
        distinct, place = np.unique(values, return_inverse=True)
        self._leads = [(distinct, np.bincount(place, counts).astype(np.int64))]
        self._waiting = distinct.size

    def _leads_found(self) -> Leads | None:
        if not self._leads:
            return None
        self._merge()
        values, counts = self._leads[0]
        upto = np.cumsum(counts)
        total = int(upto[-1])

        def quantile(q: float) -> int:
            # The smallest value with at least the share q at or below it: always one that occurred.
            return int(values[np.searchsorted(upto, np.ceil(q * total), side="left")])

        classes = np.searchsorted(np.array(LEAD_CLASSES_US), values, side="left")
        histogram = np.bincount(classes, counts, minlength=len(LEAD_CLASSES_US) + 1).astype(np.int64)
        return Leads(quantile(0.5), quantile(0.95), int(values[-1]), tuple(histogram.tolist()))
