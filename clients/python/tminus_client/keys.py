"""Whose signature counts, and until when?

A key set is a JSON file of public keys. Two may be valid at once, so that keys can be changed under load;
one that is no longer listed is revoked.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Verify = Callable[[bytes, bytes, bytes], bool]  # (public key, message, signature)


class KeysError(ValueError):
    """A key file that cannot be used: what was expected, and what was found."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One Ed25519 public key (32 bytes), valid from `not_before_us` to just before `not_after_us`."""

    public: bytes
    not_before_us: int
    not_after_us: int


def ed25519_verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Did the owner of `public` sign `message`? Never raises for bad input."""
    # Imported at the first signature: the import costs more than everything else in this package.
    from nacl.exceptions import CryptoError
    from nacl.signing import VerifyKey

    try:
        VerifyKey(public).verify(message, signature)
    except (CryptoError, TypeError, ValueError):
        return False
    return True


def kid_of(public: bytes) -> str:
    """The id of a public key: the first 8 bytes of its BLAKE2b, in hexadecimal.

    Examples
    --------
    >>> kid_of(bytes(32))
    '9ab7a73a97a1a303'
    """
    return hashlib.blake2b(public).digest()[:8].hex()


def load(path: str | Path) -> dict[str, PublicKey]:
    """The key set in a file; raises `KeysError`."""
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise KeysError(f"expected a file of public keys at {path}: {error.strerror}") from None
    return parse(text, where=str(path))


def parse(text: bytes, where: str = "keys") -> dict[str, PublicKey]:
    """Public keys by id, from ``{"keys":[{"kid","public","not_before_us","not_after_us"}]}``; raises
    `KeysError`."""
    try:
        entries = json.loads(text)["keys"]
        found = dict(_entry(entry) for entry in entries)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise KeysError(f"{where}: expected {{'keys': [...]}} with public keys, found {error}") from None
    if not found:
        raise KeysError(f"{where}: expected at least one public key, found none")
    return found


def _entry(entry: Mapping[str, Any]) -> tuple[str, PublicKey]:
    public = bytes.fromhex(entry["public"])
    if len(public) != 32:
        raise ValueError(f"a public key of {len(public)} bytes")
    if entry["kid"] != kid_of(public):
        raise ValueError(f"kid {entry['kid']!r} on the key {kid_of(public)!r}")
    return entry["kid"], PublicKey(public, int(entry["not_before_us"]), int(entry["not_after_us"]))
