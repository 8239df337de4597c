"""The controller's side of the control log: who is in command, and what every node comes to hold."""

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from tminus_client.keys import PublicKey
from tminus_client.rules import ControlState

from monitors.policy import Mode, Signal
from streams.control import records
from streams.control.log import Controller, Declared, Outgoing, Superseded
from streams.control.records import Epoch, Receipt
from tests.streams.control.hands import DECLARED, KEYS, SIGNER, Log, Operated, operate, receipt_of

PINNED = {SIGNER.kid: PublicKey(SIGNER.public, 0, 2**63 - 1)}
BREACH = {"who": "policy", "why": "a test", "evidence": ["f1"]}


def node() -> ControlState:
    return ControlState("test", PINNED)


def bootstrap(log: Log) -> ControlState:
    """A node that starts now."""
    fresh = node()
    for offset, record in log.records.items():
        fresh.on_control(offset, *record, now_us=1)
    return fresh


def held(state: ControlState) -> dict[str, tuple[Epoch, int, str]]:
    return {s: (Epoch(*h.command.epoch), h.command.seq, h.command.mode) for s, h in state.held.items()}


def test_a_declared_model_begins_live():
    """Silence of the configuration is not a command: the first word on every scope is the controller's assertion."""
    assert {mode for _, _, mode in held(bootstrap(operate(Log()).log)).values()} == {"live"}


def test_a_restarted_controller_keeps_what_was_commanded_and_why():
    log = Log()
    first = operate(log)
    first.write([first.controller.signal("model:a", Signal.BREACH, 5, **BREACH)])
    second = operate(log, "d")
    command = second.controller.held["model:a"]
    assert (command.mode, command.why, command.evidence) == ("fallback", "a test", ["f1"])
    assert command.policy.mode is Mode.FALLBACK
    assert command.epoch == second.controller.epoch > first.controller.epoch


def test_older_epochs_are_tidied_away():
    """Without tombstones the log would grow with every restart."""
    log = Log()
    operate(log)
    second = operate(log, "d")
    log.compact(tombstones_from=log.end)
    keys = [record.key for record in log.records.values()]
    assert keys == [records.claim_key("d-1"), *(records.command_key(s, second.controller.epoch) for s in DECLARED)]


def test_a_controller_that_was_superseded_commands_nothing_more():
    log = Log()
    first, second = operate(log), operate(log, "d")
    first.follow()
    with pytest.raises(Superseded):
        first.controller.signal("model:a", Signal.BREACH, 5, **BREACH)
    second.follow()
    assert second.controller.signal("model:a", Signal.BREACH, 5, **BREACH) is not None


def test_a_receipt_that_comes_before_the_log_makes_nobody_claim_back():
    """Two controllers would take over from each other without end, each told of the other by receipts first."""
    log = Log()
    first, second = operate(log), operate(log, "d")
    assert first.controller.observe_receipt(receipt_of(bootstrap(log).held["model:a"]))
    first.settle()
    assert first.controller.is_superseded
    second.settle()
    assert (second.claims, second.controller.is_superseded) == (1, False)


def test_what_a_predecessor_wrote_during_the_claim_is_kept():
    """A command that lands between the last look at the log and the claim would otherwise be undone."""
    log = Log()
    first = operate(log)
    second = Operated(Controller("test", DECLARED, SIGNER, KEYS), log, name="d")
    second.follow()
    first.write([first.controller.signal("model:a", Signal.BREACH, 5, **BREACH)])
    second.claim()
    assert held(bootstrap(log))["model:a"][2] == "fallback"


def test_a_scope_that_only_an_older_controller_knows_is_taken_over():
    """Nobody would vouch for it: its lease would lapse on every node."""
    log = Log()
    first = operate(log)
    second = operate(log, "d")
    first.write([first.controller.signal("model:new", Signal.BREACH, 5, **BREACH)])
    second.settle()
    assert held(bootstrap(log))["model:new"][0] == second.controller.epoch
    assert held(bootstrap(log))["model:new"][2] == "fallback"


def test_a_recreated_log_gets_a_higher_incarnation():
    """Offsets begin anew there; without this every node would refuse the controller for ever."""
    old = Log(end=500)
    first = operate(old)
    first.write([first.controller.signal("model:a", Signal.BREACH, 5, **BREACH)])
    second = operate(Log())
    assert second.controller.observe_receipt(receipt_of(bootstrap(old).held["model:a"]))
    second.settle()
    assert second.controller.epoch > first.controller.epoch
    assert second.controller.epoch.incarnation == 2
    assert held(bootstrap(second.log))["model:a"][2] == "fallback"


def test_a_forged_receipt_teaches_nothing():
    """Otherwise whoever may write receipts could make a controller claim without end."""
    log = Log()
    operated = operate(log)
    command = bootstrap(log).held["model:a"]
    value = command.value.replace(b"[1,0]", b"[9,0]")
    forged = Receipt("n1", "model:a", Epoch(9, 0), 1, "live", 1, 1, value, command.sig, command.kid)
    assert not operated.controller.observe_receipt(forged)
    assert not operated.controller.must_claim


def test_a_copied_claim_is_claimed_above():
    """To a node that starts after compaction a copy looks like the newest epoch."""
    log = Log()
    operated = operate(log)
    log.append(log.records[0])
    operated.settle()
    assert not operated.controller.is_superseded
    assert bootstrap(log).highest == operated.controller.epoch


def test_a_tombstone_under_our_key_is_answered():
    """Nodes keep what they hold, but one that starts later would find nothing."""
    log = Log()
    operated = operate(log)
    log.append(Outgoing(records.command_key("model:a", operated.controller.epoch), None, []))
    log.compact(tombstones_from=0)
    assert "model:a" not in held(bootstrap(log))
    operated.settle()
    assert "model:a" in held(bootstrap(log))


scopes = st.sampled_from(["model:a", "model:b", "model:c"])


class ControlLog(RuleBasedStateMachine):
    """Controllers come, pause and wake up; somebody writes over their records; the log is compacted.

    Whatever happens, once the newest controller has looked, a node that saw everything (some of it twice) and a node
    that starts on the compacted log hold the same, all of it of the newest epoch.
    """

    @initialize()
    def begin(self) -> None:
        self.log = Log()
        self.started = 0
        self.operated: list[Operated] = []
        self.seen = 0
        self.veteran = node()
        self.history: list[tuple[int, Outgoing]] = []
        self.start(with_c=False)

    @rule(with_c=st.booleans())
    def start(self, with_c: bool) -> None:
        self.started += 1
        declared = {**DECLARED, "model:c": Declared()} if with_c else DECLARED
        # A tombstone written while no controller lived is answered from what nodes say that they hold.
        receipts = [receipt_of(h) for h in self.veteran.held.values()]
        self.operated = [*self.operated[-1:], operate(self.log, f"c{self.started}", declared, receipts)]
        self.read()

    @rule(scope=scopes, signal=st.sampled_from(Signal), newest=st.booleans(), looks=st.booleans())
    def command(self, scope: str, signal: Signal, newest: bool, looks: bool) -> None:
        operated = self.operated[-1 if newest else 0]
        if looks:
            operated.settle()
        try:
            command = operated.controller.signal(scope, signal, 1, **BREACH)
        except (Superseded, RuntimeError):
            return
        if command is not None:
            operated.write([command])
        self.read()

    @rule(data=st.data(), tombstone=st.booleans())
    def write_over(self, data: st.DataObject, tombstone: bool) -> None:
        """Somebody who may write but not sign: copies of old records, tombstones."""
        _, record = data.draw(st.sampled_from(self.history))
        self.log.append(Outgoing(record.key, None, []) if tombstone else record)
        self.read()

    @rule(scope=scopes)
    def receipt(self, scope: str) -> None:
        """A node's receipt reaches a controller, before or after the log does."""
        if scope in self.veteran.held:
            for operated in self.operated:
                operated.controller.observe_receipt(receipt_of(self.veteran.held[scope]))

    @rule(data=st.data())
    def compact(self, data: st.DataObject) -> None:
        self.log.compact(data.draw(st.integers(0, self.operated[-1].read)))

    @rule(data=st.data())
    @precondition(lambda self: self.history)
    def deliver_again(self, data: st.DataObject) -> None:
        offset, record = data.draw(st.sampled_from(self.history))
        self.veteran.on_control(offset, *record, now_us=1)

    @rule()
    def agree(self) -> None:
        newest = self.operated[-1]
        newest.settle()
        self.read()
        self.log.compact(newest.read)
        late = bootstrap(self.log)
        assert held(late) == held(self.veteran)
        assert {epoch for epoch, _, _ in held(late).values()} == {newest.controller.epoch}
        assert late.highest == self.veteran.highest == newest.controller.epoch
        modes = {s: c.mode for s, c in newest.controller.held.items()}
        assert {s: mode for s, (_, _, mode) in held(late).items()} == modes

    def read(self) -> None:
        """The veteran reads on, before anything can be compacted away."""
        for offset, record in list(self.log.records.items()):
            if offset >= self.seen:
                self.veteran.on_control(offset, *record, now_us=1)
                if record.value is not None:
                    self.history.append((offset, record))
        self.seen = self.log.end

    def teardown(self) -> None:
        self.agree()


ControlLog.TestCase.settings = settings(
    max_examples=2_000 if os.environ.get("TMINUS_HYPOTHESIS") == "soak" else 60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestControlLog = ControlLog.TestCase
