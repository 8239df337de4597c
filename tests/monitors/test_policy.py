"""The fallback policy: a table that is total, and limits that hold for every sequence of signals."""

from itertools import pairwise, product

from hypothesis import example, given
from hypothesis import strategies as st

from monitors.policy import (
    ESCALATE_AFTER_US,
    TRANSITIONS,
    TRANSITIONS_MAX,
    TRANSITIONS_WINDOW_US,
    Mode,
    Signal,
    State,
    decide,
    is_aged,
)

MINUTE_US = 60_000_000
happenings = st.lists(st.tuples(st.sampled_from(Signal), st.integers(0, 20 * MINUTE_US)), max_size=60)


def walk(steps: list[tuple[Signal, int]]) -> list[tuple[int, Signal, State]]:
    """Every state on the way, with its time; each step waits some microseconds first."""
    now_us, state, seen = 0, State(), []
    for signal, wait_us in steps:
        now_us += wait_us
        state = decide(state, signal, now_us)
        seen.append((now_us, signal, state))
    return seen


def test_transition_table_is_total():
    assert set(TRANSITIONS) == set(product(Mode, Signal))


#: Three changes in the last hour, and the fourth would lead back to serving: no room would be left for a breach.
BRINK = [
    (Signal.BREACH, 0),
    (Signal.CLEAR, 59 * MINUTE_US),
    (Signal.BREACH, 1),
    (Signal.CLEAR, 1),
    (Signal.HELD, MINUTE_US),
]


@example(BRINK)
@given(happenings)
def test_a_served_model_can_always_be_taken_away(steps):
    """A latch on the wrong side would keep a model serving that may not be believed."""
    for now_us, _, state in walk(steps):
        assert not decide(state, Signal.BREACH, now_us).is_served


@given(happenings)
def test_only_probation_leads_back(steps):
    states = [State(), *(state for _, _, state in walk(steps))]
    for before, after in pairwise(states):
        if after.is_served and not before.is_served:
            assert before.mode is Mode.PROBATION


@given(st.lists(st.tuples(st.sampled_from([Signal.BREACH, Signal.CLEAR, Signal.HELD]), st.integers(0, 15 * MINUTE_US))))
def test_at_most_four_automatic_changes_an_hour(steps):
    """Flapping is worse than either side: after the fourth change only a person moves the model."""
    changes = []
    before = State()
    for now_us, _, state in walk(steps):
        if state.mode is not before.mode:
            changes.append(now_us)
        before = state
    for i, start in enumerate(changes):
        assert sum(t < start + TRANSITIONS_WINDOW_US for t in changes[i:]) <= TRANSITIONS_MAX


def test_a_latched_model_waits_for_a_person():
    flapping = [(Signal.BREACH, 0), (Signal.CLEAR, 1), (Signal.HELD, 1)] * 4
    last = walk(flapping)[-1][2]
    assert (last.mode, last.latched) == (Mode.FALLBACK, True)
    assert decide(last, Signal.CLEAR, 10 * TRANSITIONS_WINDOW_US) == last
    assert decide(last, Signal.RELEASE, 20).mode is Mode.PROBATION


def test_three_days_without_the_model_call_for_a_person():
    """Days are counted from the first loss: falling back from probation must not begin them anew."""
    steps = [(Signal.BREACH, 5), (Signal.RELEASE, MINUTE_US), (Signal.BREACH, MINUTE_US)]
    state = walk(steps)[-1][2]
    assert not is_aged(state, 4 + ESCALATE_AFTER_US)
    assert is_aged(state, 5 + ESCALATE_AFTER_US)
    escalated = decide(state, Signal.AGED, 5 + ESCALATE_AFTER_US)
    assert escalated.mode is Mode.ESCALATED
    assert not is_aged(escalated, 2 * ESCALATE_AFTER_US)


def test_a_clock_that_steps_back_does_no_harm():
    late = decide(State(since_us=100), Signal.BREACH, now_us=7)
    assert (late.mode, late.since_us, late.recent_us) == (Mode.FALLBACK, 100, (100,))
