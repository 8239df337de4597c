"""What a node believes: signed commands of claimed epochs, the greatest (epoch, seq) per scope, and nothing else."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tminus_client import rules
from tminus_client.keys import PublicKey
from tminus_client.rules import ControlState, Decision, Refusal
from tminus_client.wire import Epoch

from monitors.policy import Signal
from streams.control.log import Controller, Outgoing, digest
from streams.signing import CONTROL_DOMAIN, HEARTBEAT_DOMAIN
from tests.streams.control.hands import DECLARED, KEYS, SIGNER, STRANGER, Log, operate

PINNED = {SIGNER.kid: PublicKey(SIGNER.public, 100, 1_000)}
NOW_US = 500


def node(environment: str = "test") -> ControlState:
    return ControlState(environment, PINNED)


def read(state: ControlState, log: Log) -> ControlState:
    for offset, record in log.records.items():
        state.on_control(offset, *record, now_us=NOW_US)
    return state


def breached() -> tuple[Log, Controller, Outgoing]:
    """A log with live assertions, and the command that would follow."""
    operated = operate(Log())
    command = operated.controller.signal("model:a", Signal.BREACH, 5, who="policy", why="w", evidence=[])
    return operated.log, operated.controller, command


def test_the_greatest_epoch_and_seq_holds():
    log, _, command = breached()
    state = read(node(), log)
    assert state.held["model:a"].command.mode == "live"
    assert state.on_control(log.end, *command, now_us=NOW_US) is Decision.ACCEPTED
    assert (state.held["model:a"].command.mode, state.refused) == ("fallback", {})


@given(st.randoms(use_true_random=False))
def test_commands_are_a_join(order: random.Random):
    """Order and repetition change nothing once the claims are known."""
    log, _, command = breached()
    log.append(command)
    operate(log, "d")
    claims = {o: r for o, r in log.records.items() if r.key.startswith(b'["claim"')}
    rest = [item for item in log.records.items() if item[0] not in claims] * 2
    order.shuffle(rest)
    state = node()
    for offset, record in [*claims.items(), *rest]:
        state.on_control(offset, *record, now_us=NOW_US)
    assert state.held == read(node(), log).held


def changed(record: Outgoing, rng: random.Random) -> Outgoing:
    """The record with one thing wrong, at random."""
    key, value, headers = record
    wrong = rng.randrange(8)
    if wrong == 0:
        return Outgoing(flip(key, rng), value, headers)
    if wrong == 1:
        return Outgoing(key, flip(value, rng), headers)
    if wrong in (2, 3):
        return Outgoing(key, value, [(n, flip(v, rng) if i == wrong - 2 else v) for i, (n, v) in enumerate(headers)])
    if wrong == 4:
        return Outgoing(key, value[: rng.randrange(len(value))], headers)
    if wrong == 5:
        return Outgoing(key, value, headers[: rng.randrange(2)])
    if wrong == 6:
        return Outgoing(key, value, headers + headers)
    return Outgoing(key, value, STRANGER.headers(CONTROL_DOMAIN, value))


def flip(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]


def test_ten_thousand_forgeries_are_refused_and_counted():
    """One accepted would let anybody who may write to the topic switch models on."""
    log, _, command = breached()
    state = read(node(), log)
    before = dict(state.held)
    rng = random.Random(4)
    for _ in range(10_000):
        assert isinstance(state.on_control(log.end, *changed(command, rng), now_us=NOW_US), Refusal)
    assert state.held == before
    assert state.refused.total() == 10_000
    assert set(state.refused) >= {"unsigned", "unknown_key", "bad_signature", "key_mismatch"}


def resigned(record: Outgoing, old: bytes, new: bytes) -> Outgoing:
    value = record.value.replace(old, new)
    assert value != record.value
    return Outgoing(record.key, value, SIGNER.headers(CONTROL_DOMAIN, value))


def test_well_signed_records_are_still_judged():
    log, _, command = breached()
    cases = {
        Refusal.OTHER_ENVIRONMENT: resigned(command, b'"test"', b'"prod"'),
        Refusal.KEY_MISMATCH: resigned(command, b"model:a", b"model:b"),
        Refusal.UNDECODABLE: resigned(command, b'"fallback"', b'"maybe"'),
        Refusal.BAD_SIGNATURE: command._replace(headers=SIGNER.headers(HEARTBEAT_DOMAIN, command.value)),
        Refusal.REPLAYED: log.records[1],
        Refusal.UNKNOWN_EPOCH: Outgoing(
            b'["model:a",1,99]', *resigned(command, b'"epoch":[1,0]', b'"epoch":[1,99]')[1:]
        ),
    }
    for refusal, record in cases.items():
        state = read(node(), log)
        assert state.on_control(log.end, *record, now_us=NOW_US) is refusal
        assert state.refused == {refusal: 1}


@pytest.mark.parametrize(("now_us", "decision"), [(99, "expired_key"), (100, "accepted"), (1_000, "expired_key")])
def test_a_key_counts_in_its_time_only(now_us, decision):
    log, _, command = breached()
    assert read(node(), log).on_control(log.end, *command, now_us=now_us) == decision


def test_a_stale_controller_is_refused():
    """It was paused, a newer one took over, and now it wakes up and writes."""
    log, _, command = breached()
    operate(log, "d")
    state = read(node(), log)
    assert state.on_control(log.end, *command, now_us=NOW_US) is Refusal.SUPERSEDED
    assert state.held["model:a"].command.mode == "live"


def test_a_claim_copied_to_a_new_place_is_no_new_epoch():
    log, _, _ = breached()
    state = read(node(), log)
    assert state.on_control(log.end, *log.records[0], now_us=NOW_US) is Refusal.REPLAYED
    assert state.highest == Epoch(1, 0)


def test_a_tombstone_commands_nothing():
    log, _, _ = breached()
    state = read(node(), log)
    assert state.on_control(log.end, log.records[1].key, None, None, now_us=NOW_US) is Decision.NOTHING
    assert "model:a" in state.held


def test_a_drill_expires_on_the_controllers_clock():
    """Nodes' clocks differ; what counts is the time that heartbeats show."""
    log, controller, command = breached()
    drill = resigned(command, b'"expires_us":null', b'"expires_us":700')
    state = read(node(), log)
    state.on_heartbeat(*controller.heartbeat(700)[1:], now_us=NOW_US)
    assert state.on_control(log.end, *drill, now_us=NOW_US) is Refusal.EXPIRED
    assert read(node(), log).on_control(log.end, *drill, now_us=NOW_US) is Decision.ACCEPTED


def beat(state: ControlState, controller: Controller, time_us: int = 600) -> Decision | Refusal:
    return state.on_heartbeat(*controller.heartbeat(time_us)[1:], now_us=NOW_US)


def test_a_lease_is_renewed_once_the_node_has_read_as_far_as_the_controller_wrote():
    log, controller, command = breached()
    state = read(node(), log)
    controller.wrote(command, log.end)
    assert beat(state, controller) is Decision.NOTED
    assert state.renewal() == frozenset()
    state.on_control(log.end, *command, now_us=NOW_US)
    assert state.renewal() == {"model:a", "model:b"}
    assert state.renewal() == frozenset()


def test_a_node_that_has_not_read_as_far_is_not_renewed_even_if_it_holds_the_same():
    """What it has yet to read may take the model away."""
    operated = operate(Log())
    log, state = operated.log, read(node(), operated.log)
    tombstone = Outgoing(b'["model:old",0,0]', None, [])
    operated.controller.wrote(tombstone, log.end)
    beat(state, operated.controller)
    assert state.renewal() == frozenset()
    state.on_control(log.end, *tombstone, now_us=NOW_US)
    assert state.renewal() == {"model:a", "model:b"}


def test_a_node_that_holds_something_else_is_not_renewed():
    """It reads on, yet misses a command: the controller does not vouch for what it serves."""
    log, controller, command = breached()
    controller.wrote(command, log.end)
    state = read(node(), log)
    state.on_control(log.end + 5, b'["x"]', None, None, now_us=NOW_US)
    beat(state, controller)
    assert state.renewal() == frozenset()


def test_a_replayed_heartbeat_renews_nothing():
    """Otherwise a dead controller could be made to look alive."""
    operated = operate(Log())
    state, controller = read(node(), operated.log), operated.controller
    recorded = controller.heartbeat(600)[1:]
    assert state.on_heartbeat(*recorded, now_us=NOW_US) is Decision.NOTED
    assert state.renewal()
    assert state.on_heartbeat(*recorded, now_us=NOW_US) is Refusal.REPLAYED
    assert not state.renewal()


def test_heartbeats_of_an_older_epoch_are_refused():
    log, controller, _ = breached()
    operate(log, "d")
    assert beat(read(node(), log), controller) is Refusal.SUPERSEDED


def test_a_restored_node_holds_what_it_held_and_knows_what_it_knew():
    log, controller, _ = breached()
    state = read(node(), log)
    recorded = controller.heartbeat(600)[1:]
    state.on_heartbeat(*recorded, now_us=NOW_US)
    again = node()
    again.restore(state.snapshot())
    assert (again.held, again.highest) == (state.held, state.highest)
    assert again.on_heartbeat(*recorded, now_us=NOW_US) is Refusal.REPLAYED


def test_a_snapshot_does_not_speak_for_other_keys_or_environments():
    log, _, _ = breached()
    snapshot = read(node(), log).snapshot()
    elsewhere, revoked = node("prod"), ControlState("test", {})
    elsewhere.restore(snapshot)
    revoked.restore(snapshot)
    assert (elsewhere.held, revoked.held) == ({}, {})


def test_both_sides_compute_the_same_digest():
    held = [("model:ü", 3), ("model:a", 1)]
    assert digest(held) == rules.digest(held)


def test_limits_are_reached(monkeypatch):
    """Whoever holds a key could otherwise fill a node's memory."""
    monkeypatch.setattr(rules, "SCOPES_MAX", 1)
    monkeypatch.setattr(rules, "CLAIMS_MAX", 2)
    log = Log()
    for name in "abc":
        operate(log, name)
    state = read(node(), log)
    assert (list(state.held), len(state._claims), len(state._nonces)) == (["model:a"], 2, 2)
    assert state.refused[Refusal.FULL] == 3


def test_the_keys_of_the_controllers_verify_the_same_signatures():
    _, _, command = breached()
    assert KEYS.is_signed(CONTROL_DOMAIN, command.value, command.headers, now_us=1)
    assert set(DECLARED) == {"model:a", "model:b"}
