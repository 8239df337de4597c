"""For which share of the predictions is an event's value known, if gaps are declared with quantiles?

Whatever else is unknown lies between its tightest bounds, and a share between two declared quantiles between those;
so the answer is an interval that holds for every distribution that the declarations allow.
"""

from collections.abc import Iterable, Iterator

from features.definitions import Precedes
from features.order import Edge, Order, Rule
from monitors.design.words import KnownShare

Us = int | float
Delays = Iterable[tuple[Us, float]]

_NOTHING = KnownShare(0.0, 1.0)


def known_share(order: Order, anchor: str, asked: str, delays: Delays, least_us: int) -> KnownShare:
    """Bounds of the share of predictions with `t(anchor) + delay <= t(asked)`.

    Parameters
    ----------
    delays
        (delay, share of the delays that it does not cover), such as (p99, 0.01) or (max, 0.0).
    least_us
        The least delay, microseconds.

    Examples
    --------
    >>> from features.definitions import Share
    >>> gap = Precedes(before="departure", shares=(Share(share=0.6, within_us=120),))
    >>> order = Order({"asked": (gap, Precedes(before="scheduled", min_us=120, max_us=120))})
    >>> known_share(order, "departure", "scheduled", [(0, 0.0)], 0)
    KnownShare(low=0.6, high=0.6)
    """
    found = [share for _, share, _ in shares_by_rule(order, anchor, asked, delays, least_us)]
    low = max((share.low for share in found), default=0.0)
    return KnownShare(low, max(low, min((share.high for share in found), default=1.0)))


def shares_by_rule(
    order: Order, anchor: str, asked: str, delays: Delays, least_us: int
) -> Iterator[tuple[Rule, KnownShare, list[Edge]]]:
    """What each rule with quantiles tells by itself, where it tells something, and the rules that connect it."""
    for rule in order.rules:
        if not rule.gap.shares:
            continue
        # The anchor follows the rule's later event: it is known if the gap is short enough.
        room = (
            order.least(rule.first, asked).us - order.most(rule.then, anchor).us,
            order.most(rule.first, asked).us - order.least(rule.then, anchor).us,
        )
        low = max((_within(rule.gap, room[0] - us)[0] - left for us, left in delays), default=0.0)
        short = KnownShare(max(0.0, low), _within(rule.gap, room[1] - least_us)[1])
        if short != _NOTHING:
            yield rule, short, [*order.why_most(rule.first, asked), *order.why_least(rule.then, anchor)]
        # The prediction follows it: it is known if the gap is long enough.
        need = (
            -order.most(rule.then, asked).us - order.most(anchor, rule.first).us,
            -order.least(rule.then, asked).us - order.least(anchor, rule.first).us,
        )
        low = max((1 - _below(rule.gap, need[1] + us)[1] - left for us, left in delays), default=0.0)
        long = KnownShare(max(0.0, low), 1 - _below(rule.gap, need[0] + least_us)[0])
        if long != _NOTHING:
            yield rule, long, [*order.why_least(anchor, rule.first), *order.why_least(rule.then, asked)]


def _within(gap: Precedes, us: Us) -> tuple[float, float]:
    """Bounds of the share of gaps that are at most `us` long."""
    low = max((s.share for s in gap.shares if s.within_us <= us), default=0.0)
    high = min((s.share for s in gap.shares if s.within_us >= us), default=1.0)
    if gap.max_us is not None and us >= gap.max_us:
        low = 1.0
    return (low, max(low, high)) if us >= gap.min_us else (0.0, 0.0)


def _below(gap: Precedes, us: Us) -> tuple[float, float]:
    """Bounds of the share of gaps that are shorter than `us`."""
    low = max((s.share for s in gap.shares if s.within_us < us), default=0.0)
    if gap.max_us is not None and us > gap.max_us:
        low = 1.0
    return (low, max(low, _within(gap, us)[1])) if us > gap.min_us else (0.0, 0.0)
