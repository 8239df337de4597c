"""The vectors that keep clients in any language identical: current, and obeyed by this one."""

import json

import pytest
from tminus_client import keys
from tminus_client.rules import ControlState, Refusal

from clients.vectors import generate

FILES = sorted(generate.FOLDER.glob("*.json"))


def test_the_files_are_what_the_script_writes():
    """A vector that nobody generates any more would hold clients to a contract that is gone."""
    assert generate.main(["--check"]) == 0
    assert [f.name for f in FILES] == sorted(f"{case.__name__}.json" for case in generate.CASES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_this_client_decides_as_the_vector_says(path):
    vector = json.loads(path.read_text())
    state = ControlState(vector["environment"], keys.parse(json.dumps({"keys": vector["keys"]}).encode()))
    for record in vector["records"]:
        key, value = bytes.fromhex(record["key"]), record["value"] and bytes.fromhex(record["value"])
        headers = [(name, bytes.fromhex(v)) for name, v in record["headers"]]
        if record["topic"] == "control":
            decision = state.on_control(record["offset"], key, value, headers, vector["now_us"])
        else:
            decision = state.on_heartbeat(value, headers, vector["now_us"])
        assert decision == record["decision"], record
        assert sorted(state.renewal()) == record["renews"], record
    held = {s: (list(h.command.epoch), h.command.seq, h.command.mode) for s, h in state.held.items()}
    assert held == {s: (h["epoch"], h["seq"], h["mode"]) for s, h in vector["held"].items()}


def test_every_refusal_has_a_vector():
    """All but those that depend on limits and clocks of a node."""
    said = {r["decision"] for path in FILES for r in json.loads(path.read_text())["records"]}
    assert set(Refusal) - said == {Refusal.EXPIRED_KEY, Refusal.FULL}
