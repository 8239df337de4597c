"""What do the records of the control topics say? Bytes in, values out.

Nothing here trusts its input: whatever is not exactly what the format allows raises `Undecodable`, and
nothing else.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

FORMAT = 1

#: A signature covers its domain and the exact bytes of the value, so none can be used for another purpose.
CONTROL_DOMAIN = b"tminus.control/1\0"
CLAIM_DOMAIN = b"tminus.claim/1\0"
HEARTBEAT_DOMAIN = b"tminus.heartbeat/1\0"

#: A command is a few hundred bytes; what is longer is refused before it is parsed.
VALUE_BYTES_MAX = 65_536
#: Lengths of names (scope, node, environment, nonce).
NAME_CHARS_MAX = 256

MODES = ("live", "fallback")
SILENCES = ("hold", "fallback")

_INT64_MAX = 2**63 - 1


class Undecodable(ValueError):
    """The bytes are no record of this format."""


class Epoch(NamedTuple):
    """Who is in command: ordered, the greater wins.

    `offset` is the place of the controller's claim in the control log; `incarnation` grows when that log
    begins anew.
    """

    incarnation: int
    offset: int


class Claim(NamedTuple):
    """A controller takes the log over."""

    environment: str
    incarnation: int
    nonce: str


class Command(NamedTuple):
    """What holds for one scope. `expires_us` is None for standing commands; `lease_us` None leaves it to the
    node."""

    environment: str
    scope: str
    epoch: Epoch
    seq: int
    mode: str
    lease_us: int | None
    on_silence: str | None
    expires_us: int | None


class Heartbeat(NamedTuple):
    """Proof of life: the controller of `epoch` has written up to `control_offset`, and this is all that
    holds."""

    environment: str
    epoch: Epoch
    number: int
    time_us: int
    control_offset: int
    digest: str


def parse_object(value: bytes) -> dict[str, Any]:
    """The JSON object in `value`; raises `Undecodable` for anything else, however deep, long or odd.

    Examples
    --------
    >>> parse_object(b'{"a":1}')
    {'a': 1}
    """
    if len(value) > VALUE_BYTES_MAX:
        raise Undecodable(f"expected at most {VALUE_BYTES_MAX} bytes, found {len(value)}")
    try:
        found = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise Undecodable(f"expected JSON: {error}") from None
    if type(found) is not dict:
        raise Undecodable(f"expected a JSON object, found {type(found).__name__}")
    return found


def decode_claim(value: bytes) -> Claim:
    """A claim; raises `Undecodable`.

    Examples
    --------
    >>> decode_claim(b'{"format":1,"environment":"test","incarnation":0,"nonce":"a1"}')
    Claim(environment='test', incarnation=0, nonce='a1')
    """
    found = _formatted(value)
    return Claim(_name(found, "environment"), _count(found, "incarnation"), _name(found, "nonce"))


def decode_command(value: bytes) -> Command:
    """A command; raises `Undecodable`."""
    found = _formatted(value)
    return Command(
        environment=_name(found, "environment"),
        scope=_name(found, "scope"),
        epoch=_epoch(found),
        seq=_count(found, "seq"),
        mode=_one_of(found, "mode", MODES),
        lease_us=None if found.get("lease_us") is None else _count(found, "lease_us"),
        on_silence=None if found.get("on_silence") is None else _one_of(found, "on_silence", SILENCES),
        expires_us=None if found.get("expires_us") is None else _count(found, "expires_us"),
    )


def decode_heartbeat(value: bytes) -> Heartbeat:
    """A heartbeat; raises `Undecodable`."""
    found = _formatted(value)
    return Heartbeat(
        environment=_name(found, "environment"),
        epoch=_epoch(found),
        number=_count(found, "number"),
        time_us=_count(found, "time_us"),
        control_offset=_count(found, "control_offset"),
        digest=_name(found, "digest"),
    )


def claim_key(claim: Claim) -> bytes:
    """The one key that a claim may have.

    Examples
    --------
    >>> claim_key(Claim("test", 0, "a1"))
    b'["claim","a1"]'
    """
    return compact(["claim", claim.nonce])


def command_key(command: Command) -> bytes:
    """The one key that a command may have: its scope and epoch, so that compaction forgets no newer epoch."""
    return compact([command.scope, *command.epoch])


def compact(value: Any) -> bytes:
    """JSON without spaces, UTF-8 as it is.

    Examples
    --------
    >>> compact(["model:churn", 1, 42])
    b'["model:churn",1,42]'
    """
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def receipt(
    *,
    node: str,
    command: Command,
    value: bytes,
    sig: bytes,
    kid: str,
    received_us: int,
    effective_us: int,
) -> bytes:
    """A node's word that a command is in force there, with the signed command itself as proof of its
    epoch."""
    return compact(
        {
            "format": FORMAT,
            "environment": command.environment,
            "node": node,
            "scope": command.scope,
            "epoch": list(command.epoch),
            "seq": command.seq,
            "mode": command.mode,
            "effective_us": effective_us,
            "received_us": received_us,
            "command": base64.b64encode(value).decode(),
            "sig": base64.b64encode(sig).decode(),
            "kid": kid,
        }
    )


def _formatted(value: bytes) -> dict[str, Any]:
    found = parse_object(value)
    if type(found.get("format")) is not int or found["format"] != FORMAT:
        raise Undecodable(f"expected format {FORMAT}, found {found.get('format')!r}")
    return found


def _name(found: Mapping[str, Any], key: str) -> str:
    name = found.get(key)
    if type(name) is not str or not 0 < len(name) <= NAME_CHARS_MAX:
        raise Undecodable(f"{key}: expected text of 1 to {NAME_CHARS_MAX} characters")
    return name


def _one_of(found: Mapping[str, Any], key: str, choices: tuple[str, ...]) -> str:
    choice = found.get(key)
    if type(choice) is not str or choice not in choices:
        raise Undecodable(f"{key}: expected one of {', '.join(choices)}")
    return choice


def _count(found: Mapping[str, Any], key: str) -> int:
    return _whole(found.get(key), key)


def _whole(number: Any, key: str) -> int:
    if type(number) is not int or not 0 <= number <= _INT64_MAX:
        raise Undecodable(f"{key}: expected a whole number from 0 to 2^63-1")
    return number


def _epoch(found: Mapping[str, Any]) -> Epoch:
    epoch = found.get("epoch")
    if type(epoch) is not list or len(epoch) != 2:
        raise Undecodable("epoch: expected [incarnation, offset]")
    return Epoch(_whole(epoch[0], "epoch"), _whole(epoch[1], "epoch"))
