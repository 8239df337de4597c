"""May this model be believed right now, given what was said about it so far?

The whole policy is one table, every (mode, signal) pair present, so that somebody who does not program can
review it. Around it stand two limits: a model may change its mode four times an hour, then it stays away until
a person acts; and three days without the model call for a person.
"""

from dataclasses import dataclass, replace
from enum import StrEnum


class Mode(StrEnum):
    """Where a model stands; serving nodes use it in PRIMARY only and give the safe default in all others."""

    PRIMARY = "primary"
    FALLBACK = "fallback"
    PROBATION = "probation"  # scored in shadow, not yet served
    ESCALATED = "escalated"  # too long without the model: only a person leads out


class Signal(StrEnum):
    """What may happen to a model."""

    BREACH = "breach"  # a limit was crossed
    CLEAR = "clear"  # all limits are kept
    HELD = "held"  # clear for the whole probation
    AGED = "aged"  # three days without the model
    RELEASE = "release"  # a person signed off


P, F, B, E = Mode.PRIMARY, Mode.FALLBACK, Mode.PROBATION, Mode.ESCALATED
S = Signal
TRANSITIONS: dict[tuple[Mode, Signal], Mode] = {
    (P, S.BREACH): F, (P, S.CLEAR): P, (P, S.HELD): P, (P, S.AGED): P, (P, S.RELEASE): P,
    (F, S.BREACH): F, (F, S.CLEAR): B, (F, S.HELD): F, (F, S.AGED): E, (F, S.RELEASE): B,
    (B, S.BREACH): F, (B, S.CLEAR): B, (B, S.HELD): P, (B, S.AGED): E, (B, S.RELEASE): B,
    (E, S.BREACH): E, (E, S.CLEAR): E, (E, S.HELD): E, (E, S.AGED): E, (E, S.RELEASE): B,
}  # fmt: skip

#: More automatic changes than this within the window are flapping: a person has to look (DESIGN: control).
TRANSITIONS_MAX = 4
TRANSITIONS_WINDOW_US = 3_600_000_000

#: Default time without the model after which a person is required.
ESCALATE_AFTER_US = 3 * 86_400_000_000

#: Signals that come from a person or from the calendar; they cannot flap, so they are not counted.
_UNCOUNTED = frozenset({S.RELEASE, S.AGED})


@dataclass(frozen=True, slots=True)
class State:
    """What the policy remembers about one model; carried by every command, so that it survives restarts.

    Parameters
    ----------
    mode
        Where the model stands.
    since_us
        Since when, microseconds UTC.
    away_since_us
        Since when the model is not served; 0 in PRIMARY.
    recent_us
        Times of the automatic changes of the last hour, oldest first, at most `TRANSITIONS_MAX`.
    latched
        It wanted to change once too often; only RELEASE opens it.
    """

    mode: Mode = Mode.PRIMARY
    since_us: int = 0
    away_since_us: int = 0
    recent_us: tuple[int, ...] = ()
    latched: bool = False

    @property
    def is_served(self) -> bool:
        """May serving nodes use the model?"""
        return self.mode is Mode.PRIMARY


def decide(state: State, signal: Signal, now_us: int) -> State:
    """The state after `signal` at `now_us` (microseconds UTC); total, and never raises.

    Times that run backwards count as standing still. Into PRIMARY leads only a change that leaves room for one
    more, so that a latch always falls on the safe side: a served model can be taken away at any time.

    Examples
    --------
    >>> decide(State(), Signal.BREACH, now_us=10).mode
    <Mode.FALLBACK: 'fallback'>
    >>> decide(State(Mode.FALLBACK, 5), Signal.RELEASE, now_us=10).mode
    <Mode.PROBATION: 'probation'>
    """
    if signal is S.RELEASE:
        state = replace(state, latched=False, recent_us=())
    if state.latched and signal not in _UNCOUNTED:
        return state
    target = TRANSITIONS[state.mode, signal]
    if target is state.mode:
        return state
    now_us = max(now_us, state.since_us)
    recent = tuple(t for t in state.recent_us if t > now_us - TRANSITIONS_WINDOW_US)
    if signal not in _UNCOUNTED:
        room = TRANSITIONS_MAX - len(recent)
        if room < (2 if target is P else 1):
            return replace(state, latched=True)
        recent = (*recent, now_us)
    away_since_us = 0 if target is P else now_us if state.is_served else state.away_since_us
    return State(target, now_us, away_since_us, recent, state.latched)


def is_aged(state: State, now_us: int, after_us: int = ESCALATE_AFTER_US) -> bool:
    """Has the model been away for `after_us`, and has nobody been called yet?

    Examples
    --------
    >>> is_aged(State(Mode.FALLBACK, 0, 0), ESCALATE_AFTER_US), is_aged(State(), ESCALATE_AFTER_US)
    (True, False)
    """
    return state.mode in (F, B) and now_us - state.away_since_us >= after_us
