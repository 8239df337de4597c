"""The switch: what is answered, why, and what silence does."""

import threading

import pytest
from tminus_client import switch as module
from tminus_client.switch import Switch, Why


class Clock:
    """A monotonic clock that moves when told."""

    def __init__(self) -> None:
        self.at = 1_000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "monotonic", clock)
    return clock


def live(on_silence: str = "fallback") -> Switch[str]:
    switch = Switch("churn", "default", on_silence, lease_s=5.0)
    switch.command(live=True)
    return switch


def test_a_switch_that_knows_nothing_gives_the_default():
    switch = Switch("churn", "default")
    assert (switch.live, switch.value("model"), switch.why) == (False, "default", Why.NO_STATE)


def test_a_command_takes_the_model_away_and_gives_it_back(clock):
    switch = live()
    switch.command(live=False)
    assert (switch.live, switch.why) == (False, Why.COMMANDED)
    switch.command(live=True)
    assert (switch.live, switch.why) == (True, Why.MODEL)


def test_silence_takes_away_what_must_not_be_served_unwatched(clock):
    switch = live()
    clock.at += 4.9
    assert switch.live
    clock.at += 0.1
    assert (switch.live, switch.why, switch.is_stale) == (False, Why.SILENCE, True)


def test_silence_holds_what_was_declared_so(clock):
    switch = live("hold")
    clock.at += 86_400
    assert (switch.live, switch.is_stale) == (True, True)


def test_heartbeats_keep_a_model_alive(clock):
    switch = live()
    for _ in range(10):
        clock.at += 3
        switch.renew(clock.at)
    assert switch.live


def test_a_stuttering_controller_does_not_make_answers_flap(clock):
    """One heartbeat each 6 s with a lease of 5 s would switch twice each time."""
    switch = live()
    for _ in range(10):
        clock.at += 6
        switch.renew(clock.at)
        assert not switch.live


def test_after_a_lapse_a_whole_lease_of_heartbeats_brings_the_model_back(clock):
    switch = live()
    clock.at += 60
    seen = []
    for _ in range(7):
        switch.renew(clock.at)
        seen.append(switch.live)
        clock.at += 1
    assert seen == [False] * 5 + [True] * 2


def test_what_the_code_declares_comes_before_what_the_command_says(clock):
    """The owner of the risk has the last word; without one the command's counts."""
    owned, open_ = live("fallback"), Switch("churn", "default")
    for switch in (owned, open_):
        switch.command(live=True, lease_s=1.0, on_silence="hold")
    clock.at += 60
    assert (owned.live, open_.live) == (False, True)


def test_an_exception_gives_the_default_and_is_kept():
    switch = live()

    @switch.protect
    def broken() -> str:
        raise ValueError("no")

    assert broken() == "default"
    assert isinstance(switch.last_error, ValueError)
    assert switch.answers == {Why.EXCEPTION: 1}


def test_a_protected_function_is_not_called_while_the_model_is_away():
    switch = Switch("churn", "default")
    calls: list[int] = []
    protected = switch.protect(calls.append)
    assert (protected(1), calls, switch.answers) == ("default", [], {Why.NO_STATE: 1})
    switch.command(live=True)
    protected(2)
    assert calls == [2]


def test_a_function_over_its_budget_gives_the_default():
    switch, release = live(), threading.Event()
    slow = switch.protect(budget_s=0.01)(lambda: release.wait(10) and "model")
    assert slow() == "default"
    release.set()
    quick = switch.protect(budget_s=10)(lambda x: x + "!")
    assert quick("model") == "model!"
    assert switch.answers == {Why.LATENCY: 1, Why.MODEL: 1}


def test_hanging_calls_are_bounded(monkeypatch):
    """A model that hangs for ever must not eat all threads of the server."""
    monkeypatch.setattr(module, "CALLS_MAX", 2)
    monkeypatch.setattr(module, "_pool", module._Pool())
    switch, release = live(), threading.Event()
    hanging = switch.protect(budget_s=0.001)(lambda: release.wait(10) and "model")
    assert [hanging() for _ in range(3)] == ["default"] * 3
    assert switch.answers == {Why.LATENCY: 2, Why.BUSY: 1}
    release.set()


def test_a_coroutine_function_is_refused():
    async def later() -> str:
        return "model"

    with pytest.raises(TypeError, match="coroutine"):
        live().protect(later)
