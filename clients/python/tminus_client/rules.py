"""Which of the records on the control topics count?

Pure: bytes, offsets and times come in, decisions go out. What a node holds is a join: per scope the command
with the greatest (epoch, seq). So duplicates, reordered commands and compaction change nothing, and a
controller that was paused and wakes up cannot win. An epoch exists once its claim was read: (incarnation,
offset of the claim).
"""

import base64
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

from tminus_client import wire
from tminus_client.keys import PublicKey, Verify, ed25519_verify
from tminus_client.wire import Command, Epoch, Heartbeat, Undecodable

Headers = Sequence[tuple[str, bytes | None]] | None

_Record = TypeVar("_Record")

_CLAIM_KEY_START = b'["claim",'

#: Claims remembered. A controller claims once per start; what is older than this many claims cannot win any
#: more.
CLAIMS_MAX = 1024
#: Scopes held; one per model of the portfolio.
SCOPES_MAX = 100_000
#: Epochs whose heartbeat numbers are remembered.
HEARTBEAT_EPOCHS_MAX = 16


class Refusal(StrEnum):
    """Why a record does not count."""

    UNDECODABLE = "undecodable"  # not of this format
    UNSIGNED = "unsigned"  # without exactly one sig and one kid
    UNKNOWN_KEY = "unknown_key"  # signed with a key that is not pinned
    EXPIRED_KEY = "expired_key"  # outside the time of its key
    BAD_SIGNATURE = "bad_signature"  # changed, or signed for another purpose
    OTHER_ENVIRONMENT = "other_environment"
    KEY_MISMATCH = "key_mismatch"  # the record's key says something else than its value
    UNKNOWN_EPOCH = "unknown_epoch"  # nobody claimed it in this log
    REPLAYED = "replayed"  # not newer than what is held, or a claim's nonce for the second time
    SUPERSEDED = "superseded"  # of an older epoch than what is known
    EXPIRED = "expired"  # a drill or one-shot after its time
    FULL = "full"  # more scopes than a node holds


#: Old heartbeats of controllers that are gone, or that were read in an earlier life: nobody's attack.
_USUAL_IN_THE_PAST = frozenset({Refusal.SUPERSEDED, Refusal.REPLAYED})


class Decision(StrEnum):
    """What became of a record that was not refused."""

    ACCEPTED = "accepted"  # a command, now held
    CLAIMED = "claimed"  # an epoch, now known
    NOTHING = "nothing"  # a tombstone or a duplicate: changes nothing
    NOTED = "noted"  # a heartbeat; `ControlState.renewal` says whether it renews


class Held(NamedTuple):
    """A command in force, with the bytes and the signature that prove it."""

    command: Command
    value: bytes
    sig: bytes
    kid: str


class _Refused(Exception):
    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal


def digest(held: Iterable[tuple[str, int]]) -> str:
    """What a heartbeat says about the commands of its epoch: BLAKE2b over the sorted (scope, seq).

    Examples
    --------
    >>> digest([("b", 2), ("a", 1)]) == digest([("a", 1), ("b", 2)])
    True
    """
    return hashlib.blake2b(wire.compact(sorted(held)), digest_size=16).hexdigest()


class ControlState:
    """Everything a node knows from the control topics.

    Parameters
    ----------
    environment
        Commands of any other environment are refused.
    keys
        Pinned public keys, by id.
    verify
        The signature check; replaced in tests of speed only.
    """

    def __init__(self, environment: str, keys: Mapping[str, PublicKey], verify: Verify = ed25519_verify) -> None:
        self.environment = environment
        self.held: dict[str, Held] = {}
        self.highest = Epoch(-1, -1)
        self.refused: Counter[str] = Counter()
        self.controller_time_us = 0  # the controller's clock, as heartbeats show it
        self._keys = keys
        self._verify = verify
        self._claims: set[Epoch] = set()
        self._nonces: dict[str, Epoch] = {}
        self._next_offset = 0
        self._numbers: dict[Epoch, int] = {}
        self._pending: Heartbeat | None = None

    def on_control(
        self, offset: int, key: bytes | None, value: bytes | None, headers: Headers, now_us: int
    ) -> Decision | Refusal:
        """Judge one record of the control log; refusals are counted in `refused`."""
        self._next_offset = offset + 1
        if value is None:
            return Decision.NOTHING  # a tombstone tidies the log; it commands nothing
        try:
            if key is not None and key.startswith(_CLAIM_KEY_START):
                return self._on_claim(offset, key, value, headers, now_us)
            return self._on_command(key, value, headers, now_us)
        except _Refused as refused:
            self.refused[refused.refusal] += 1
            return refused.refusal

    def on_heartbeat(
        self, value: bytes | None, headers: Headers, now_us: int, *, is_past: bool = False
    ) -> Decision | Refusal:
        """Note one heartbeat; ask `renewal` afterwards, and again after each control record.

        One of the past (`is_past`: written before this node began to follow) teaches its number and renews
        nothing.
        """
        try:
            if value is None:
                raise _Refused(Refusal.UNDECODABLE)
            self._check_signature(wire.HEARTBEAT_DOMAIN, value, headers, now_us)
            beat = _decoded(wire.decode_heartbeat, value)
            if beat.environment != self.environment:
                raise _Refused(Refusal.OTHER_ENVIRONMENT)
            if beat.epoch < self.highest:
                raise _Refused(Refusal.SUPERSEDED)
            if beat.number <= self._numbers.get(beat.epoch, -1):
                raise _Refused(Refusal.REPLAYED)
        except _Refused as refused:
            if not (is_past and refused.refusal in _USUAL_IN_THE_PAST):
                self.refused[refused.refusal] += 1
            return refused.refusal
        self._numbers[beat.epoch] = beat.number
        if len(self._numbers) > HEARTBEAT_EPOCHS_MAX:
            del self._numbers[min(self._numbers)]
        self.controller_time_us = max(self.controller_time_us, beat.time_us)
        if not is_past:
            self._pending = beat
        return Decision.NOTED

    def renewal(self) -> frozenset[str]:
        """Scopes whose lease the newest heartbeat renews; each heartbeat renews once.

        Empty until the node has read as far as the controller had written, and while it holds something else
        than the controller says.
        """
        beat = self._pending
        if beat is None or beat.epoch != self.highest or self._next_offset <= beat.control_offset:
            return frozenset()
        mine = {s: h.command.seq for s, h in self.held.items() if h.command.epoch == beat.epoch}
        if digest(mine.items()) != beat.digest:
            return frozenset()
        self._pending = None
        return frozenset(mine)

    def snapshot(self) -> dict[str, Any]:
        """What must survive a restart, as JSON values."""
        return {
            "environment": self.environment,
            "highest": list(self.highest),
            "number": self._numbers.get(self.highest, -1),
            "held": [
                [base64.b64encode(h.value).decode(), base64.b64encode(h.sig).decode(), h.kid]
                for h in self.held.values()
            ],
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Take over a snapshot of an earlier life, as far as its signatures and environment hold.

        A key whose time has run out still proves what was accepted in its time; a key that is no longer
        listed does not. Raises nothing: what cannot be read is counted as undecodable.
        """
        try:
            if snapshot["environment"] != self.environment:
                self.refused[Refusal.OTHER_ENVIRONMENT] += 1
                return
            highest = Epoch(*map(int, snapshot["highest"]))
            for value, sig, kid in snapshot["held"]:
                self._restore_one(Held(_EMPTY, base64.b64decode(value), base64.b64decode(sig), str(kid)))
            self._numbers[highest] = int(snapshot["number"])
        except (KeyError, TypeError, ValueError):
            self.refused[Refusal.UNDECODABLE] += 1
            return
        self.highest = max(self.highest, highest)

    def _restore_one(self, held: Held) -> None:
        known = self._keys.get(held.kid)
        if known is None or not self._verify(known.public, wire.CONTROL_DOMAIN + held.value, held.sig):
            self.refused[Refusal.BAD_SIGNATURE if known else Refusal.UNKNOWN_KEY] += 1
            return
        command = wire.decode_command(held.value)
        if command.environment != self.environment:
            self.refused[Refusal.OTHER_ENVIRONMENT] += 1
            return
        self.held[command.scope] = held._replace(command=command)
        self.highest = max(self.highest, command.epoch)

    def _on_claim(self, offset: int, key: bytes, value: bytes, headers: Headers, now_us: int) -> Decision:
        self._check_signature(wire.CLAIM_DOMAIN, value, headers, now_us)
        claim = _decoded(wire.decode_claim, value)
        if claim.environment != self.environment:
            raise _Refused(Refusal.OTHER_ENVIRONMENT)
        if key != wire.claim_key(claim):
            raise _Refused(Refusal.KEY_MISMATCH)
        epoch = Epoch(claim.incarnation, offset)
        first = self._nonces.setdefault(claim.nonce, epoch)
        if first != epoch:
            raise _Refused(Refusal.REPLAYED)
        if epoch in self._claims:
            return Decision.NOTHING
        self._claims.add(epoch)
        if len(self._claims) > CLAIMS_MAX:
            self._forget_oldest_claim()
        self.highest = max(self.highest, epoch)
        return Decision.CLAIMED

    def _forget_oldest_claim(self) -> None:
        oldest = min(self._claims)
        self._claims.discard(oldest)
        self._nonces = {nonce: epoch for nonce, epoch in self._nonces.items() if epoch != oldest}

    def _on_command(self, key: bytes | None, value: bytes, headers: Headers, now_us: int) -> Decision:
        sig, kid = self._check_signature(wire.CONTROL_DOMAIN, value, headers, now_us)
        command = _decoded(wire.decode_command, value)
        if command.environment != self.environment:
            raise _Refused(Refusal.OTHER_ENVIRONMENT)
        if key != wire.command_key(command):
            raise _Refused(Refusal.KEY_MISMATCH)
        if command.epoch not in self._claims:
            raise _Refused(Refusal.UNKNOWN_EPOCH)
        if command.expires_us is not None and command.expires_us <= self.controller_time_us:
            raise _Refused(Refusal.EXPIRED)
        now_held = self.held.get(command.scope)
        if now_held is not None:
            if command.epoch < now_held.command.epoch:
                raise _Refused(Refusal.SUPERSEDED)
            if (command.epoch, command.seq) <= (now_held.command.epoch, now_held.command.seq):
                raise _Refused(Refusal.REPLAYED)
        elif len(self.held) >= SCOPES_MAX:
            raise _Refused(Refusal.FULL)
        self.held[command.scope] = Held(command, value, sig, kid)
        return Decision.ACCEPTED

    def _check_signature(self, domain: bytes, value: bytes, headers: Headers, now_us: int) -> tuple[bytes, str]:
        if len(value) > wire.VALUE_BYTES_MAX:
            raise _Refused(Refusal.UNDECODABLE)
        sigs = [v for name, v in headers or () if name == "sig"]
        kids = [v for name, v in headers or () if name == "kid"]
        if len(sigs) != 1 or len(kids) != 1 or not sigs[0] or not kids[0]:
            raise _Refused(Refusal.UNSIGNED)
        kid = kids[0].decode("ascii", "replace")
        key = self._keys.get(kid)
        if key is None:
            raise _Refused(Refusal.UNKNOWN_KEY)
        if not key.not_before_us <= now_us < key.not_after_us:
            raise _Refused(Refusal.EXPIRED_KEY)
        if not self._verify(key.public, domain + value, sigs[0]):
            raise _Refused(Refusal.BAD_SIGNATURE)
        return sigs[0], kid


_EMPTY = Command("", "", Epoch(-1, -1), 0, "fallback", None, None, None)


def _decoded(decode: Callable[[bytes], _Record], value: bytes) -> _Record:
    try:
        return decode(value)
    except Undecodable:
        raise _Refused(Refusal.UNDECODABLE) from None
