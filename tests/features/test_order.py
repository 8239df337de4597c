"""The order of events: tightest bounds, against every course of events on a grid; conflicts, by name."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.definitions import Precedes
from features.order import Order
from tests.oracles import design_twin as twin

EVENTS = ("prediction", "a", "b", "c")

pairs = st.tuples(st.sampled_from(EVENTS), st.sampled_from(EVENTS))
least = st.integers(0, 2).map(lambda n: n * twin.UNIT)
rule = st.tuples(pairs, least, st.none() | least).map(
    lambda r: (*r[0], r[1], None if r[2] is None else max(r[1], r[2], twin.UNIT))
)
rules = st.lists(rule, max_size=3)


def order_of(rules):
    declared = {}
    for first, then, least, most in rules:
        declared.setdefault(first, []).append(Precedes(before=then, min_us=least, max_us=most))
    return Order(declared)


def rounded(bound):
    """A bound as the grid shows it: a step of the order is one instant there."""
    return bound.us if bound.us in (float("inf"), float("-inf")) else bound.us + bound.steps


@given(rules)
@settings(deadline=None, max_examples=150)
def test_bounds_are_as_tight_as_the_courses_allow(rules):
    """A looser bound would call possible what is not; a tighter one would prove what is false."""
    order, found = order_of(rules), twin.courses(EVENTS, rules)
    if order.conflict():
        assert found["a"].size == 0
        return
    assert found["a"].size > 0
    for event in EVENTS[1:]:
        gap = -found[event]  # prediction - event
        for bound, seen in (
            (order.least(event, "prediction"), gap.min()),
            (order.most(event, "prediction"), gap.max()),
        ):
            if abs(rounded(bound)) < float("inf"):
                # Where several rules compete, the order's own steps are below the microsecond, not one instant each.
                assert abs(seen - rounded(bound)) <= 2
            else:
                # Nothing but the edge of the grid holds it, or two other events that the edge holds.
                assert abs(seen) >= twin.REACH - 2 * (2 * twin.UNIT + 1)
        assert order.is_before(event, "prediction") == bool((gap > 0).all())


@given(rules)
@settings(deadline=None, max_examples=150)
def test_a_conflict_is_a_cycle_that_really_conflicts(rules):
    """People mend what is named, so what is named must be the cause and all of it."""
    cycle = order_of(rules).conflict()
    if cycle:
        assert [edge.end for edge in cycle] == [edge.start for edge in (*cycle[1:], cycle[0])]
        named = [(e.rule.first, e.rule.then, e.rule.gap.min_us, e.rule.gap.max_us) for e in cycle]
        assert twin.courses(EVENTS, named)["a"].size == 0


@given(rules)
@settings(deadline=None, max_examples=50)
def test_the_reasons_add_up_to_the_bound(rules):
    """A proof whose lines do not give its result is none."""
    order = order_of(rules)
    if order.conflict():
        return
    for event in EVENTS[1:]:
        for bound, edges in (
            (order.most(event, "prediction"), order.why_most(event, "prediction")),
            (order.most("prediction", event), order.why_least(event, "prediction")),
        ):
            if bound.us < float("inf"):
                assert sum(e.bound.us for e in edges) == bound.us


def test_a_long_chain_is_quick():
    """A portfolio may declare thousands of events; reading a configuration must not wait for them."""
    declared = {f"e{i:04}": (Precedes(before=f"e{i + 1:04}", min_us=2, max_us=5),) for i in range(2000)}
    order = Order(declared)
    assert not order.conflict()
    assert (order.least("e0000", "e2000").us, order.most("e0000", "e2000").us) == (4_000, 10_000)


@pytest.mark.parametrize("event", ["login", "prediction"])
def test_an_event_is_not_before_itself(event):
    """What the prediction itself makes known was not known before it."""
    assert not Order({"login": (Precedes(before="prediction"),)}).is_before(event, event)
