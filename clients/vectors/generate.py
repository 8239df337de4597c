"""Which decisions must every client come to, in any language?

Writes one JSON file per case: keys, the records that a node reads in order (bytes in hexadecimal), the decision on
each, and what it holds in the end. The records are made by the controller's code and the decisions are written here by
hand, so that a client is held against the contract and not against another client.

    python -m clients.vectors.generate           write the files
    python -m clients.vectors.generate --check   exit status 1 if a file is not what it should be
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from monitors.policy import Signal
from streams.control import records
from streams.control.log import Controller, Declared, Outgoing
from streams.signing import CONTROL_DOMAIN, HEARTBEAT_DOMAIN, PublicKeys, Signer

FOLDER = Path(__file__).parent
SIGNER, STRANGER = Signer(bytes(range(32))), Signer(bytes(32))
NOT_BEFORE_US, NOT_AFTER_US, NOW_US = 1_000, 9_000, 5_000
WHO: dict[str, Any] = {"who": "policy", "why": "COUPLED_TX on last_login", "evidence": ["f1"]}

Step = tuple[str, int | None, Outgoing, str, list[str]]  # topic, offset, record, decision, renewed scopes


class Case:
    """A log with one controller in command of two models, and what a node has to say to each record."""

    def __init__(self) -> None:
        keys = PublicKeys({SIGNER.kid: SIGNER.public_key()})
        self.steps: list[Step] = []
        self.end = 0
        self.controller = Controller("test", {"model:a": Declared(), "model:b": Declared()}, SIGNER, keys)
        self._claim("one")

    def control(self, record: Outgoing, decision: str, offset: int | None = None, renews: Sequence[str] = ()) -> None:
        """The node reads a record of the control log."""
        place = self.end if offset is None else offset
        self.end = max(self.end, place + 1)
        self.steps.append(("control", place, record, decision, list(renews)))

    def heartbeat(self, record: Outgoing, decision: str, renews: Sequence[str] = ()) -> None:
        """The node reads a heartbeat."""
        self.steps.append(("heartbeat", None, record._replace(key=b""), decision, list(renews)))

    def takeover(self, nonce: str) -> Controller:
        """Another controller claims and asserts; the older one is returned."""
        older, keys = self.controller, PublicKeys({SIGNER.kid: SIGNER.public_key()})
        self.controller = Controller("test", older.declared, SIGNER, keys)
        for topic, offset, record, _, _ in self.steps:
            if topic == "control" and offset is not None:
                self.controller.observe(offset, *record)
        self._claim(nonce)
        return older

    def breach(self, controller: Controller | None = None) -> Outgoing:
        """The command that takes model a away."""
        command = (controller or self.controller).signal("model:a", Signal.BREACH, NOW_US, **WHO)
        assert command is not None
        return command

    def written(self, command: Outgoing) -> Outgoing:
        """The controller knows that its command lands next."""
        self.controller.wrote(command, self.end)
        return command

    def _claim(self, nonce: str) -> None:
        claim = self.controller.claim(self.end, nonce, NOW_US)
        self.controller.claimed(self.end, claim)
        self.control(claim, "claimed")
        for record in self.controller.assert_all(NOW_US):
            self.controller.wrote(record, self.end)
            self.control(record, "nothing" if record.value is None else "accepted")


def resigned(record: Outgoing, old: bytes, new: bytes, domain: bytes = CONTROL_DOMAIN) -> Outgoing:
    """The record with a changed value and a good signature over it."""
    assert record.value is not None
    assert old in record.value
    value = record.value.replace(old, new)
    return Outgoing(record.key, value, SIGNER.headers(domain, value))


def flipped(data: bytes) -> bytes:
    return data[:20] + bytes([data[20] ^ 1]) + data[21:]


def greatest_holds(case: Case) -> None:
    """The greater (epoch, seq) holds; duplicates, older commands and tombstones change nothing."""
    first = case.steps[1][2]
    case.control(case.breach(), "accepted")
    case.control(first, "replayed")
    case.control(first._replace(value=None, headers=[]), "nothing")
    case.control(case.steps[0][2], "nothing", offset=0)


def stale_controller(case: Case) -> None:
    """What a paused controller writes after a takeover is refused, and so are its heartbeats."""
    older = case.takeover("two")
    case.control(case.breach(older), "superseded")
    case.heartbeat(older.heartbeat(NOW_US), "superseded")
    case.heartbeat(case.controller.heartbeat(NOW_US), "noted", ["model:a", "model:b"])


def forged(case: Case) -> None:
    """Anything that is not signed by a pinned key for this purpose, bit by bit, is refused."""
    command = case.breach()
    assert command.value is not None
    (_, sig), kid = command.headers
    case.control(command._replace(headers=[]), "unsigned")
    case.control(command._replace(headers=[*command.headers, *command.headers]), "unsigned")
    case.control(command._replace(headers=STRANGER.headers(CONTROL_DOMAIN, command.value)), "unknown_key")
    case.control(command._replace(value=flipped(command.value)), "bad_signature")
    case.control(command._replace(headers=[("sig", flipped(sig)), kid]), "bad_signature")
    case.control(command._replace(headers=SIGNER.headers(HEARTBEAT_DOMAIN, command.value)), "bad_signature")


def misplaced(case: Case) -> None:
    """Well signed, yet not for here: another environment, another scope, an epoch nobody claimed, another format."""
    command = case.breach()
    case.control(resigned(command, b'"test"', b'"prod"'), "other_environment")
    case.control(resigned(command, b"model:a", b"model:b"), "key_mismatch")
    case.control(resigned(command, b'"fallback"', b'"sideways"'), "undecodable")
    case.control(resigned(command, b'"seq":3', b'"seq":true'), "undecodable")
    case.control(resigned(command, b'"format":1', b'"format":2'), "undecodable")
    unclaimed = resigned(command, b'"epoch":[1,0]', b'"epoch":[1,1]')
    case.control(unclaimed._replace(key=b'["model:a",1,1]'), "unknown_epoch")
    case.control(case.steps[0][2], "replayed")


def new_incarnation(case: Case) -> None:
    """The control log began anew: a claim of a higher incarnation wins although its offset is small."""
    command = records.decode_command(case.steps[1][2].value or b"")
    case.controller.highest = records.Epoch(1, 900)
    claim = case.controller.claim(3, "two", NOW_US)
    case.controller.claimed(case.end, claim)
    case.control(claim, "claimed")
    for record in case.controller.assert_all(NOW_US)[:2]:
        case.control(record, "accepted")
    assert command.epoch.incarnation == 1


def leases(case: Case) -> None:
    """A heartbeat renews once, when the node has read as far as the controller wrote and holds the same."""
    both = ["model:a", "model:b"]
    case.heartbeat(case.controller.heartbeat(NOW_US), "noted", both)
    beat = case.controller.heartbeat(NOW_US)
    case.heartbeat(beat, "noted", both)
    case.heartbeat(beat, "replayed")
    command = case.written(case.breach())
    case.heartbeat(case.controller.heartbeat(NOW_US), "noted")
    case.control(command, "accepted", renews=both)
    missed = case.controller.signal("model:b", Signal.BREACH, NOW_US, **WHO)
    assert missed is not None
    case.written(missed)
    case.control(Outgoing(b'["x"]', None, []), "nothing")
    case.heartbeat(case.controller.heartbeat(NOW_US), "noted")


def drills(case: Case) -> None:
    """A command with a time to live is judged on the controller's clock, as heartbeats show it."""
    command = case.breach()
    case.control(resigned(command, b'"expires_us":null', b'"expires_us":6000'), "accepted")
    case.heartbeat(case.controller.heartbeat(7_000), "noted", ["model:a", "model:b"])
    later = resigned(command, b'"seq":3', b'"seq":4')
    case.control(resigned(later, b'"expires_us":null', b'"expires_us":7000'), "expired")
    case.control(resigned(later, b'"seq":4', b'"seq":5'), "accepted")


CASES: tuple[Callable[[Case], None], ...] = (
    greatest_holds,
    stale_controller,
    forged,
    misplaced,
    new_incarnation,
    leases,
    drills,
)


def vectors() -> Iterator[tuple[str, str]]:
    """File name and text of every vector."""
    for write in CASES:
        case = Case()
        write(case)
        yield f"{write.__name__}.json", json.dumps(_shown(write.__doc__ or "", case), indent=1) + "\n"


def _shown(why: str, case: Case) -> dict[str, Any]:
    key = SIGNER.public_key(NOT_BEFORE_US, NOT_AFTER_US)
    held: dict[str, Any] = {}
    for _, _, record, decision, _ in case.steps:
        if decision == "accepted":
            command = records.decode_command(record.value or b"")
            held[command.scope] = {"epoch": list(command.epoch), "seq": command.seq, "mode": command.mode}
    return {
        "format": 1,
        "why": why,
        "environment": "test",
        "now_us": NOW_US,
        "keys": [{f: getattr(key, f) for f in ("kid", "public", "not_before_us", "not_after_us")}],
        "records": [
            {
                "topic": topic,
                **({} if offset is None else {"offset": offset}),
                "key": record.key.hex(),
                "value": None if record.value is None else record.value.hex(),
                "headers": [[name, value.hex()] for name, value in record.headers],
                "decision": decision,
                "renews": renews,
            }
            for topic, offset, record, decision, renews in case.steps
        ],
        "held": held,
    }


def main(arguments: Sequence[str]) -> int:
    """Write the vectors, or compare them."""
    stale = []
    for name, text in vectors():
        path = FOLDER / name
        if "--check" not in arguments:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(name)
    if stale:
        print(f"stale: {', '.join(stale)}; run python -m clients.vectors.generate", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
