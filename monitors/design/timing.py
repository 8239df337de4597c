"""Is a feature's value known when the model is asked?

The anchor makes the value known, a delay later; the order bounds how long before the prediction the anchor lies. What
holds in every course of events that the order allows is proved; what holds in some of them is said to be so.
"""

from dataclasses import dataclass

from features.definitions import Delay, Feature
from features.order import Bound
from features.times import duration_text
from monitors.design.chances import known_share, shares_by_rule
from monitors.design.question import Question, told
from monitors.design.words import Design, KnownShare, Reason, Ruling

_SURE = KnownShare(1.0, 1.0)
#: A p99 says nothing about 1 % of the delays.
_BEYOND_P99 = 0.01


@dataclass(frozen=True, slots=True)
class Arrival:
    """When a value becomes known, counted from its anchor, microseconds. None: not declared."""

    least_us: int
    p99_us: int | None
    max_us: int | None
    period_us: int  # a refresh or the end of a window comes up to this much later
    reasons: tuple[Reason, ...]

    @property
    def bound_us(self) -> int | None:
        """What it takes at most: the greatest delay, else that of 99 %."""
        return self.p99_us if self.max_us is None else self.max_us


def timing(question: Question, feature: Feature, join: str) -> list[Ruling]:
    """Every rule about time that holds; at least one, the best of which is KNOWABLE.

    `join`: how training joins the feature, or that which is made from it.
    """
    anchor, asked = feature.hints.anchor, question.asked
    if not anchor:
        return [Ruling(Design.UNDECLARED, (Reason(f"nothing declares which event makes {feature.name} known"),))]
    order, arrival = question.order, _arrival(feature, join)
    facts: tuple[Reason, ...] = (
        Reason(f"{feature.name} becomes known with {anchor}", f"[feature.{feature.name}] anchor"),
    )
    latest, soonest = order.least(anchor, asked), order.most(anchor, asked)
    if soonest <= Bound(0) or soonest < Bound(arrival.least_us):
        return [_never(question, feature, arrival, facts)]
    if not order.is_before(anchor, asked):
        return [_unordered(question, feature, arrival, facts)]
    facts = (*facts, *told(order.why_least(anchor, asked)))
    gap_us = int(latest.us)
    facts = (*facts, Reason(f"so {anchor} comes {_at_least(gap_us)}before {asked}"), *arrival.reasons)
    return _too_late(question, feature, arrival, gap_us, facts) or [_enough(arrival, feature, gap_us, facts)]


def _never(question: Question, feature: Feature, arrival: Arrival, facts: tuple[Reason, ...]) -> Ruling:
    anchor, asked, order = feature.hints.anchor, question.asked, question.order
    soonest = order.most(anchor, asked)
    slack_us = int(soonest.us) - arrival.least_us
    path = tuple(told(order.why_most(anchor, asked)[::-1]))  # from the prediction on
    end: tuple[Reason, ...]
    if anchor == asked:
        end = (Reason(f"so {feature.name} is known no sooner than the prediction is made: it cannot be an input"),)
    elif soonest <= Bound(0):
        after = duration_text(-int(soonest.us))
        by = f"at least {after} " if soonest.us else ""
        is_same = soonest == Bound(0) == order.least(anchor, asked)
        said = f"so {anchor} falls together with {asked}" if is_same else f"so {anchor} comes {by}after {asked}"
        end = (Reason(said),)
    else:
        most = duration_text(int(soonest.us))
        end = (*arrival.reasons, Reason(f"so {anchor} comes at most {most} before {asked}, which is not enough"))
    return Ruling(Design.NEVER_KNOWABLE, (*facts, *path, *end), slack_us, KnownShare(0.0, 0.0))


def _unordered(question: Question, feature: Feature, arrival: Arrival, facts: tuple[Reason, ...]) -> Ruling:
    anchor, asked = feature.hints.anchor, question.asked
    share = _share(question, feature, arrival)
    why = Reason(f"nothing in [order] puts {anchor} before {asked}, so it may come after it")
    return Ruling(Design.SOMETIMES, (*facts, why, *_share_told(question, feature, arrival, share)), None, share)


def _too_late(
    question: Question, feature: Feature, arrival: Arrival, gap_us: int, facts: tuple[Reason, ...]
) -> list[Ruling]:
    """Rulings of an anchor that comes before the prediction, by a gap that is not always enough."""
    found = []
    share = _share(question, feature, arrival)
    p99_us, max_us = arrival.p99_us, arrival.max_us
    is_late = p99_us is not None and p99_us > gap_us
    if gap_us < arrival.least_us:
        why = Reason(f"so the gap can be shorter than the least delay, {duration_text(arrival.least_us)}")
        reasons = (*facts, why, *_share_told(question, feature, arrival, share))
        found.append(Ruling(Design.SOMETIMES, reasons, gap_us - arrival.least_us, share))
    elif max_us is not None and max_us > gap_us and not is_late:
        why = Reason(f"so the greatest delay, {duration_text(max_us)}, can be longer than the gap")
        found.append(
            Ruling(
                Design.SOMETIMES, (*facts, why, *_share_told(question, feature, arrival, share)), gap_us - max_us, share
            )
        )
    if p99_us is not None and is_late:
        why = Reason(f"so more than 1 % may come too late: the p99 of the delay is {duration_text(p99_us)}")
        found.append(Ruling(Design.LATE_BY_DESIGN, (*facts, why), gap_us - p99_us, share))
    end_us = arrival.period_us + (arrival.least_us if arrival.bound_us is None else arrival.bound_us)
    if arrival.period_us and end_us > gap_us:
        why = Reason(f"so the value may be complete only {duration_text(end_us)} after {feature.hints.anchor}")
        found.append(Ruling(Design.WINDOW_OVERRUN, (*facts, why), gap_us - end_us))
    return found


def _enough(arrival: Arrival, feature: Feature, gap_us: int, facts: tuple[Reason, ...]) -> Ruling:
    if arrival.bound_us is None:
        return Ruling(Design.UNDECLARED, (*facts, Reason(f"nothing declares how long {feature.name} takes at most")))
    slack_us = gap_us - arrival.bound_us - arrival.period_us
    reasons = (*facts, Reason(f"so it is known {_at_least(slack_us)}before it is needed"))
    if arrival.max_us is None:
        reasons = (*reasons, Reason("for 99 % of the delays: no greatest delay is declared"))
        return Ruling(Design.KNOWABLE, reasons, slack_us, KnownShare(1 - _BEYOND_P99, 1.0))
    return Ruling(Design.KNOWABLE, reasons, slack_us, _SURE)


def _arrival(feature: Feature, join: str) -> Arrival:
    """Delay, serving lag, cadence and window of a feature, with the lines that say so."""
    hints, table = feature.hints, f"[feature.{feature.name}]"
    delay = hints.delay or Delay()
    reasons = [Reason(_delay_told(feature.name, delay), f"{table} delay")] if hints.delay else []
    lag_us = feature.serving_lag_us or 0
    if lag_us:
        reasons.append(Reason(f"a read may lag behind by {duration_text(lag_us)}", f"{table} serving_lag"))
    period_us = hints.cadence_us or 0
    if period_us:
        reasons.append(Reason(f"it is refreshed once in {duration_text(period_us)}", f"{table} cadence"))
    if feature.tumbling and join != "as_of":  # as_of takes what the window held by then
        said = f"its window is complete up to {duration_text(feature.window_us)} later, and it is not joined as_of"
        reasons.append(Reason(said, f"{table} window"))
        period_us += feature.window_us
    return Arrival(
        least_us=delay.min_us,
        p99_us=None if delay.p99_us is None else delay.p99_us + lag_us,
        max_us=None if delay.max_us is None else delay.max_us + lag_us,
        period_us=period_us,
        reasons=tuple(reasons),
    )


def _delay_told(name: str, delay: Delay) -> str:
    parts = [f"at least {duration_text(delay.min_us)}"] if delay.min_us else []
    parts += [f"in 99 % of all cases at most {duration_text(delay.p99_us)}"] if delay.p99_us is not None else []
    parts += [f"at most {duration_text(delay.max_us)}"] if delay.max_us is not None else []
    return f"{name} takes {', '.join(parts) or 'nobody knows how long'}"


def _share(question: Question, feature: Feature, arrival: Arrival) -> KnownShare | None:
    """The share of the predictions at which the value is known; None if nothing is declared that tells."""
    anchor, asked, order = feature.hints.anchor, question.asked, question.order
    delays = _delays(arrival)
    known = known_share(order, anchor, asked, delays, arrival.least_us)
    always = max((1 - left for us, left in delays if us <= order.least(anchor, asked).us), default=0.0)
    share = KnownShare(max(known.low, always), max(known.high, always))
    return None if share == KnownShare(0.0, 1.0) else share


def _share_told(question: Question, feature: Feature, arrival: Arrival, share: KnownShare | None) -> list[Reason]:
    """The quantiles that give the share, and the share."""
    if share is None:
        return []
    by_rule = shares_by_rule(question.order, feature.hints.anchor, question.asked, _delays(arrival), arrival.least_us)
    reasons = []
    for rule, _, edges in by_rule:
        quantiles = ", ".join(f"{100 * s.share:.4g} % within {duration_text(s.within_us)}" for s in rule.gap.shares)
        said = f"{rule.then} comes after {rule.first}: {quantiles}"
        reasons += [*told(edges), Reason(said, f"{rule.place} quantiles")]
    return [*dict.fromkeys(reasons), Reason(f"so it is known for {share} of the predictions")]


def _delays(arrival: Arrival) -> list[tuple[int, float]]:
    found = [] if arrival.max_us is None else [(arrival.max_us + arrival.period_us, 0.0)]
    return found if arrival.p99_us is None else [*found, (arrival.p99_us + arrival.period_us, _BEYOND_P99)]


def _at_least(us: int) -> str:
    return f"at least {duration_text(us)} " if us else ""
