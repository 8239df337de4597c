"""What do the records of the control stage look like? One Struct per kind, in and out."""

from typing import Any, Literal, NamedTuple, TypeVar

import msgspec

from monitors import verdicts
from monitors.policy import State

FORMAT = 1

Severity = Literal["info", "warning", "page"]


class Epoch(NamedTuple):
    """Who is in command: (incarnation of the control log, offset of the claim); the greater wins."""

    incarnation: int
    offset: int


class Claim(msgspec.Struct, frozen=True):
    """A controller takes the control log over; where this record lands is its epoch.

    `end_offset` is where the log ended when it was made: it tells a takeover from an old claim that somebody copied.
    """

    environment: str
    incarnation: int
    nonce: str
    end_offset: int
    issued_us: int
    format: int = FORMAT


class Command(msgspec.Struct, frozen=True):
    """What holds for one scope until a greater (epoch, seq) comes.

    `policy` is what the controller has to remember; serving nodes ignore it. `route` and `expires_us` are empty until
    versions are routed and drills are run.
    """

    environment: str
    scope: str
    epoch: Epoch
    seq: int
    mode: Literal["live", "fallback"]
    default: Any
    lease_us: int | None
    on_silence: Literal["hold", "fallback"] | None
    issued_us: int
    who: str
    why: str
    evidence: list[str]
    policy: State
    route: dict[str, Any] = {}
    expires_us: int | None = None
    format: int = FORMAT


class Heartbeat(msgspec.Struct, frozen=True):
    """Proof of life: everything up to `control_offset` is written, and `digest` is all that holds."""

    environment: str
    epoch: Epoch
    number: int
    time_us: int
    control_offset: int
    digest: str
    format: int = FORMAT


class Receipt(msgspec.Struct, frozen=True):
    """A node's word that a command is in force there; `command` and `sig` (base64) prove its epoch."""

    node: str
    scope: str
    epoch: Epoch
    seq: int
    mode: str
    effective_us: int
    received_us: int
    command: bytes
    sig: bytes
    kid: str
    environment: str = ""
    format: int = FORMAT


class Finding(msgspec.Struct, frozen=True):
    """What a judge is sure enough of to act on."""

    finding_id: str
    model: str
    feature: str
    kind: str
    severity: Severity
    since_us: int
    evidence: dict[str, Any] = {}
    sql: str = ""
    format: int = FORMAT


class Release(msgspec.Struct, frozen=True):
    """A person signs a model off: it may go on probation. Travels on `findings`, signed with an operator's key."""

    environment: str
    model: str
    who: str
    why: str
    issued_us: int
    kind: Literal["RELEASE"] = "RELEASE"
    format: int = FORMAT


class _Kind(msgspec.Struct):
    kind: str
    format: int = FORMAT


class Source(NamedTuple):
    """Where a finding came from: exactly this record, so that it can be told from another like it."""

    partition: int
    offset: int
    digest: str


Record = TypeVar("Record", Claim, Command, Receipt, Finding, Release, _Kind)

_claim = msgspec.json.Decoder(Claim)
_command = msgspec.json.Decoder(Command)
_receipt = msgspec.json.Decoder(Receipt)
_finding = msgspec.json.Decoder(Finding)
_release = msgspec.json.Decoder(Release)
_kind = msgspec.json.Decoder(_Kind)
_encoder = msgspec.json.Encoder()


def encode(record: Any) -> bytes:
    """UTF-8 JSON without spaces.

    Examples
    --------
    >>> encode(["claim", "a1"])
    b'["claim","a1"]'
    """
    return _encoder.encode(record)


def encode_finding(finding: verdicts.Finding) -> bytes:
    """A judge's finding as it travels."""
    return _encoder.encode(
        Finding(
            finding.finding_id,
            finding.model,
            finding.feature,
            finding.kind,
            finding.severity.value,
            finding.since_us,
            finding.evidence,
            finding.sql,
        )
    )


def claim_key(nonce: str) -> bytes:
    """The record key of a claim."""
    return _encoder.encode(["claim", nonce])


def command_key(scope: str, epoch: Epoch) -> bytes:
    """The record key of a command: with the epoch in it, compaction keeps the newest of each epoch.

    Examples
    --------
    >>> command_key("model:churn", Epoch(1, 42))
    b'["model:churn",1,42]'
    """
    return _encoder.encode([scope, *epoch])


def decode_claim(value: bytes) -> Claim:
    """A claim; raises `ValueError` for anything else (as do the other decoders here)."""
    return _decoded(_claim, value)


def decode_command(value: bytes) -> Command:
    """A command."""
    return _decoded(_command, value)


def decode_receipt(value: bytes) -> Receipt:
    """A receipt."""
    return _decoded(_receipt, value)


def decode_finding(value: bytes) -> Finding | Release:
    """A record of the `findings` topic."""
    if _decoded(_kind, value).kind == "RELEASE":
        return _decoded(_release, value)
    return _decoded(_finding, value)


def _decoded(decoder: msgspec.json.Decoder[Record], value: bytes) -> Record:
    try:
        record = decoder.decode(value)
    except RecursionError:
        raise ValueError("expected JSON of a sane depth") from None
    if record.format != FORMAT:
        raise ValueError(f"expected format {FORMAT}, found {record.format}")
    return record
