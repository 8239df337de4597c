"""What does a controller write on the control log, and when must it stop?

Pure: records come in as bytes, records go out as values, signing is a function of the value. The log itself is the
controller's memory. A controller claims the log; the place where the claim lands is its epoch, and everything it
writes carries it. Then it asserts every scope anew, so that nothing of an older epoch is left to be believed, and
writes tombstones for what the older epochs wrote.

Who stops: a controller that finds on the log the claim of one who had read its own. Who claims again: one that learns
of a higher epoch otherwise: from a receipt (the log was recreated or cut), or from a claim that somebody copied.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from monitors import policy
from monitors.policy import Signal, State
from streams.control import records
from streams.control.records import Claim, Command, Epoch, Heartbeat, Receipt
from streams.signing import CLAIM_DOMAIN, CONTROL_DOMAIN, HEARTBEAT_DOMAIN, Headers, PublicKeys, Signer

_CLAIM_KEY_START = b'["claim",'


@dataclass(frozen=True, slots=True)
class Declared:
    """What the configuration says about the control of one model.

    Parameters
    ----------
    default
        The safe default, for the record; serving nodes hold their own.
    escalate_after_us
        Time without the model after which a person is required.
    """

    default: Any = None
    lease_us: int | None = 5_000_000
    on_silence: Literal["hold", "fallback"] | None = None
    escalate_after_us: int = policy.ESCALATE_AFTER_US
    owner: str = ""
    runbook: str = ""


class Outgoing(NamedTuple):
    """One record to write on the control log; a tombstone has no value."""

    key: bytes
    value: bytes | None
    headers: list[tuple[str, bytes]]


class Superseded(Exception):
    """Another controller has claimed the log since: this one must stop."""


class Controller:
    """The state of one controller.

    The caller writes what it is given, in order, and says where it landed (`wrote`); it feeds every record of the
    control log to `observe` and every receipt to `observe_receipt`, before the claim and after it.

    Parameters
    ----------
    environment
        Signed into everything.
    declared
        Scopes that must have a state, such as ``model:churn``.
    signer
        The secret key that commands are signed with.
    keys
        Public keys of controllers: whose commands count.
    """

    def __init__(self, environment: str, declared: Mapping[str, Declared], signer: Signer, keys: PublicKeys) -> None:
        self.environment = environment
        self.declared = dict(declared)
        self.held: dict[str, Command] = {}
        self.epoch: Epoch | None = None
        self.highest = Epoch(1, -1)
        self.refused: Counter[str] = Counter()
        self.is_superseded = False
        self._signer = signer
        self._keys = keys
        self._nonce = ""
        self._claims: dict[str, Epoch] = {}
        self._must_claim = True
        self._disturbed: set[str] = set()
        self._seq = 0
        self._number = 0
        self._last_offset = -1
        self._written: dict[bytes, tuple[int, bytes | None]] = {}  # of this epoch: where, and what
        self._live_keys: dict[bytes, None] = {}  # keys on the log that no tombstone covers, oldest first

    def observe(self, offset: int, key: bytes | None, value: bytes | None, headers: Headers | None) -> None:
        """Take one record of the control log; whatever is not validly signed changes nothing and is counted."""
        if key is None:
            self.refused["undecodable"] += 1
            return
        self._watch_own(offset, key, value)
        if value is None:
            self._live_keys.pop(key, None)
            return
        self._live_keys.pop(key, None)
        self._live_keys[key] = None
        if key.startswith(_CLAIM_KEY_START):
            self._observe_claim(offset, key, value, headers)
        else:
            self._observe_command(offset, key, value, headers)

    def observe_receipt(self, receipt: Receipt) -> bool:
        """Learn from a receipt; True if the command in it is truly signed.

        A receipt can teach a higher epoch only with the signed command of that epoch as proof.
        """
        headers = [("sig", receipt.sig), ("kid", receipt.kid.encode("utf-8", "replace"))]
        # Whenever it was signed: a node may still hold what an old key commanded.
        if not self._keys.is_signed(CONTROL_DOMAIN, receipt.command, headers, now_us=None):
            self.refused["receipt"] += 1
            return False
        try:
            command = records.decode_command(receipt.command)
        except ValueError:
            self.refused["receipt"] += 1
            return False
        if command.environment != self.environment:
            self.refused["other_environment"] += 1
            return False
        self._learn(command.epoch)
        # What is in force at a node under a higher epoch stands, even if the log that said so is lost.
        self._join(command)
        return True

    @property
    def must_claim(self) -> bool:
        """Must this controller claim (again) before it may command?"""
        return self._must_claim and not self.is_superseded

    def claim(self, end_offset: int, nonce: str, now_us: int) -> Outgoing:
        """The claim to write; `end_offset` is where the log ends now, `nonce` was never used before.

        The log must have been read up to there, and this controller must not be superseded by what it says.

        The incarnation grows when the log ends at or below an offset that an epoch of it had: it was recreated or
        cut, and offsets no longer tell what is newer.
        """
        incarnation = self.highest.incarnation + (end_offset <= self.highest.offset)
        self._nonce = nonce
        value = records.encode(Claim(self.environment, incarnation, nonce, end_offset, now_us))
        return Outgoing(records.claim_key(nonce), value, self._signer.headers(CLAIM_DOMAIN, value))

    def claimed(self, offset: int, claim: Outgoing) -> None:
        """The claim landed at `offset`: that is this controller's epoch, unless a higher one is known."""
        assert claim.value is not None
        epoch = Epoch(records.decode_claim(claim.value).incarnation, offset)
        self._claims[self._nonce] = epoch
        self._last_offset = offset
        self._live_keys[claim.key] = None
        self.epoch = epoch
        self._must_claim = epoch < self.highest
        self.highest = max(self.highest, epoch)
        self._seq = self._number = 0
        self._written = {claim.key: (offset, claim.value)}
        self._disturbed = set()

    def assert_all(self, now_us: int) -> list[Outgoing]:
        """Every scope anew in this epoch, then tombstones for what older epochs left on the log.

        A declared scope without a record begins live. The others keep their state and its reason.
        """
        self._check()
        old = [key for key in self._live_keys if key != records.claim_key(self._nonce)]
        commands = [self._assert(scope, now_us) for scope in sorted(self.declared.keys() | self.held.keys())]
        # Commands before claims: a command whose claim is gone would be refused by a node that just starts.
        old.sort(key=lambda key: key.startswith(_CLAIM_KEY_START))
        return [*commands, *(Outgoing(key, None, []) for key in old)]

    def assert_disturbed(self, now_us: int) -> list[Outgoing]:
        """Anew what somebody wrote over: a foreign record under our key would survive compaction in our place."""
        disturbed, self._disturbed = sorted(self._disturbed), set()
        if disturbed:
            self._check()
        return [self._assert(scope, now_us) for scope in disturbed if scope in self.held]

    def signal(
        self, scope: str, signal: Signal, now_us: int, *, who: str, why: str, evidence: Sequence[str]
    ) -> Outgoing | None:
        """The command that follows from a signal; None if nothing changes. Raises `Superseded`."""
        self._check()
        before = self.state(scope)
        after = policy.decide(before, signal, now_us)
        if after == before:
            return None
        return self._command(scope, after, now_us, who, why, list(evidence))

    def aged(self, now_us: int) -> list[str]:
        """Scopes that have been without their model for too long, and nobody was called yet."""
        return [
            scope
            for scope, command in self.held.items()
            if policy.is_aged(command.policy, now_us, self.declared.get(scope, Declared()).escalate_after_us)
        ]

    def state(self, scope: str) -> State:
        """Where a scope stands; one never heard of is live."""
        command = self.held.get(scope)
        return State() if command is None else command.policy

    def heartbeat(self, now_us: int) -> Outgoing:
        """The next heartbeat (for the heartbeat topic, without key). Raises `Superseded`."""
        self._check()
        assert self.epoch is not None
        self._number += 1
        mine = [(scope, c.seq) for scope, c in self.held.items() if c.epoch == self.epoch]
        beat = Heartbeat(self.environment, self.epoch, self._number, now_us, self._last_offset, digest(mine))
        value = records.encode(beat)
        return Outgoing(b"", value, self._signer.headers(HEARTBEAT_DOMAIN, value))

    def wrote(self, outgoing: Outgoing, offset: int) -> None:
        """A record landed at `offset` of the control log."""
        self._last_offset = max(self._last_offset, offset)
        self._live_keys.pop(outgoing.key, None)
        if outgoing.value is not None:
            self._live_keys[outgoing.key] = None
            self._written[outgoing.key] = (offset, outgoing.value)

    def _check(self) -> None:
        if self.is_superseded:
            raise Superseded(f"epoch {self.epoch} was superseded by {self.highest}")
        if self._must_claim or self.epoch is None:
            raise RuntimeError("expected a claim before a command")

    def _assert(self, scope: str, now_us: int) -> Outgoing:
        held = self.held.get(scope)
        if held is None:
            return self._command(scope, State(since_us=now_us), now_us, "controller", "declared", [])
        return self._command(scope, held.policy, now_us, held.who, held.why, held.evidence)

    def _command(self, scope: str, state: State, now_us: int, who: str, why: str, evidence: list[str]) -> Outgoing:
        assert self.epoch is not None
        declared = self.declared.get(scope)
        held = self.held.get(scope)
        if declared is None:  # no longer in the configuration, or never: what was said last stands
            declared = Declared() if held is None else Declared(held.default, held.lease_us, held.on_silence)
        self._seq += 1
        command = Command(
            environment=self.environment,
            scope=scope,
            epoch=self.epoch,
            seq=self._seq,
            mode="live" if state.is_served else "fallback",
            default=declared.default,
            lease_us=declared.lease_us,
            on_silence=declared.on_silence,
            issued_us=now_us,
            who=who,
            why=why,
            evidence=evidence,
            policy=state,
        )
        self.held[scope] = command
        value = records.encode(command)
        return Outgoing(records.command_key(scope, self.epoch), value, self._signer.headers(CONTROL_DOMAIN, value))

    def _observe_claim(self, offset: int, key: bytes, value: bytes, headers: Headers | None) -> None:
        claim = self._valid(CLAIM_DOMAIN, value, headers, records.decode_claim)
        if claim is None:
            return
        if key != records.claim_key(claim.nonce):
            self.refused["key_mismatch"] += 1
            return
        epoch = Epoch(claim.incarnation, offset)
        is_copy = self._claims.setdefault(claim.nonce, epoch) != epoch
        self.refused["replayed"] += is_copy
        # Whoever takes over has seen this controller's claim. A claim made before it is a copy, or lost the race to
        # land first; a node that starts later would still take it for the newest epoch, so claim above it.
        has_seen_ours = self.epoch is not None and (
            claim.incarnation > self.epoch.incarnation or claim.end_offset > self.epoch.offset
        )
        self._learn(epoch, is_takeover=has_seen_ours and not is_copy)

    def _observe_command(self, offset: int, key: bytes, value: bytes, headers: Headers | None) -> None:
        command = self._valid(CONTROL_DOMAIN, value, headers, records.decode_command)
        if command is None:
            return
        if key != records.command_key(command.scope, command.epoch):
            self.refused["key_mismatch"] += 1
            return
        # Up to the claim the log decides, and a predecessor may have written while this one claimed. What lands
        # later under an older epoch counts nowhere, unless it is the only word on a scope: then it is taken over.
        if self.epoch is None or offset < self.epoch.offset:
            self._learn(command.epoch)
            self._join(command)
        elif command.scope not in self.held:
            self._join(command)
            self._disturbed.add(command.scope)

    def _valid(self, domain: bytes, value: bytes, headers: Headers | None, decode: Any) -> Any:
        # Whenever it was signed: a rotated key must not make a controller forget what it once commanded.
        if not self._keys.is_signed(domain, value, headers, now_us=None):
            self.refused["bad_signature"] += 1
            return None
        try:
            found = decode(value)
        except ValueError:
            self.refused["undecodable"] += 1
            return None
        if found.environment != self.environment:
            self.refused["other_environment"] += 1
            return None
        return found

    def _join(self, command: Command) -> None:
        held = self.held.get(command.scope)
        if held is None or (command.epoch, command.seq) > (held.epoch, held.seq):
            self.held[command.scope] = command

    def _learn(self, epoch: Epoch, *, is_takeover: bool = False) -> None:
        if self.epoch is not None and epoch > self.epoch:
            # Even when a receipt told of that epoch before: only now is it known that its claim is on the log.
            self.is_superseded |= is_takeover
            self._must_claim |= epoch > self.highest
        self.highest = max(self.highest, epoch)

    def _watch_own(self, offset: int, key: bytes, value: bytes | None) -> None:
        written = self._written.get(key)
        if written is None or offset <= written[0] or value == written[1]:
            return
        if key == records.claim_key(self._nonce):
            self._must_claim = True  # without the claim no node that starts later would believe the commands
        for scope, command in self.held.items():
            if records.command_key(scope, command.epoch) == key:
                self._disturbed.add(scope)


def digest(held: Sequence[tuple[str, int]]) -> str:
    """What a heartbeat says about the commands of its epoch: BLAKE2b over the sorted (scope, seq).

    Examples
    --------
    >>> digest([("b", 2), ("a", 1)]) == digest([("a", 1), ("b", 2)])
    True
    """
    return hashlib.blake2b(records.encode(sorted(held)), digest_size=16).hexdigest()
