"""Who may command: where do keys live, and what does a signature cover?

Ed25519. A signature covers a domain and the exact bytes of a value, so that none can be used for another purpose.
The secret key is a file that only its owner may read; the public keys are a set in a file that every serving node
pins, two of them valid at once while keys are changed.
"""

import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from features.times import FOREVER_US

CONTROL_DOMAIN = b"tminus.control/1\0"
CLAIM_DOMAIN = b"tminus.claim/1\0"
HEARTBEAT_DOMAIN = b"tminus.heartbeat/1\0"
RELEASE_DOMAIN = b"tminus.release/1\0"

Headers = Sequence[tuple[str, bytes | None]]


class KeyFileError(ValueError):
    """A key file that must not or cannot be used; says what to do."""


class PublicKey(msgspec.Struct, frozen=True):
    """One public key (hexadecimal), valid from `not_before_us` to just before `not_after_us`."""

    kid: str
    public: str
    not_before_us: int = 0
    not_after_us: int = FOREVER_US


class _KeySet(msgspec.Struct, frozen=True):
    keys: list[PublicKey]


class _SecretKey(msgspec.Struct, frozen=True):
    kid: str
    seed: str

    def __repr__(self) -> str:
        return f"_SecretKey({self.kid!r})"


def kid_of(public: bytes) -> str:
    """The id of a public key: the first 8 bytes of its BLAKE2b, in hexadecimal.

    Examples
    --------
    >>> kid_of(bytes(32))
    '9ab7a73a97a1a303'
    """
    return hashlib.blake2b(public).digest()[:8].hex()


class Signer:
    """A secret key.

    Examples
    --------
    >>> signer = Signer(bytes(32))
    >>> signer.kid, len(signer.sign(CONTROL_DOMAIN, b"{}"))
    ('10d41ad57be310ea', 64)
    """

    def __init__(self, seed: bytes) -> None:
        from nacl.signing import SigningKey  # costs more than the rest of this file

        self._key = SigningKey(seed)
        self.public: bytes = bytes(self._key.verify_key)
        self.kid = kid_of(self.public)

    def sign(self, domain: bytes, value: bytes) -> bytes:
        """The 64 bytes of the signature over `domain` and `value`."""
        return bytes(self._key.sign(domain + value).signature)

    def headers(self, domain: bytes, value: bytes) -> list[tuple[str, bytes]]:
        """Signature and key id, as the headers that travel with `value`."""
        return [("sig", self.sign(domain, value)), ("kid", self.kid.encode())]

    def public_key(self, not_before_us: int = 0, not_after_us: int = FOREVER_US) -> PublicKey:
        """The public half, for a key set."""
        return PublicKey(self.kid, self.public.hex(), not_before_us, not_after_us)


@dataclass(frozen=True, slots=True)
class PublicKeys:
    """A set of public keys by id.

    Examples
    --------
    >>> signer = Signer(bytes(32))
    >>> keys = PublicKeys({signer.kid: signer.public_key()})
    >>> keys.is_signed(CONTROL_DOMAIN, b"{}", signer.headers(CONTROL_DOMAIN, b"{}"), now_us=1)
    True
    >>> keys.is_signed(CONTROL_DOMAIN, b"{ }", signer.headers(CONTROL_DOMAIN, b"{}"), now_us=1)
    False
    """

    by_kid: dict[str, PublicKey]

    def is_signed(self, domain: bytes, value: bytes, headers: Headers | None, now_us: int | None) -> bool:
        """Is `value` signed for `domain` by a key of this set, valid at `now_us` (None: whenever)?

        Anything odd is False: no signature, two of them, an unknown key, one out of its time.
        """
        sigs = [v for name, v in headers or () if name == "sig"]
        kids = [v for name, v in headers or () if name == "kid"]
        if len(sigs) != 1 or len(kids) != 1 or not sigs[0] or not kids[0]:
            return False
        key = self.by_kid.get(kids[0].decode("ascii", "replace"))
        if key is None or (now_us is not None and not key.not_before_us <= now_us < key.not_after_us):
            return False
        return _verify(bytes.fromhex(key.public), domain + value, sigs[0])


def generate(folder: Path, name: str = "control") -> Signer:
    """Make a key pair: ``<name>.key`` (its owner's alone) and ``<name>.pub`` in `folder`; existing ones are kept.

    Raises
    ------
    KeyFileError
        There is a key of that name already: overwriting it would silence the controller that holds it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    signer = Signer(os.urandom(32))
    secret = folder / f"{name}.key"
    try:
        handle = os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise KeyFileError(
            f"expected no key at {secret}, found one; delete it first if nothing signs with it"
        ) from None
    with os.fdopen(handle, "wb") as out:
        out.write(msgspec.json.encode(_SecretKey(signer.kid, signer._key.encode().hex())))
    save_public(folder / f"{name}.pub", [signer.public_key()])
    return signer


def load(path: Path) -> Signer:
    """The secret key in a file.

    Raises
    ------
    KeyFileError
        There is none, or somebody else may read it.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise KeyFileError(
                    f"{path}: expected a file that only its owner may read, found mode {mode:04o}; chmod 600 it"
                )
            found = msgspec.json.decode(file.read(), type=_SecretKey)
        signer = Signer(bytes.fromhex(found.seed))
    except OSError as error:
        raise KeyFileError(f"expected a secret key at {path}: {error.strerror}") from None
    except KeyFileError:
        raise
    except ValueError:
        # The message of the decoder could quote the secret.
        raise KeyFileError(f"{path}: expected a secret key as made by tminus, found something else") from None
    if signer.kid != found.kid:
        raise KeyFileError(f"{path}: the key's id does not belong to it; the file is damaged")
    return signer


def load_public(path: Path) -> PublicKeys:
    """The key set in a file; raises `KeyFileError`."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_KeySet).keys
        wrong = [key.kid for key in found if kid_of(bytes.fromhex(key.public)) != key.kid]
    except OSError as error:
        raise KeyFileError(f"expected public keys at {path}: {error.strerror}") from None
    except ValueError as error:
        raise KeyFileError(f"{path}: expected a set of public keys, found {error}") from None
    if wrong or not found:
        raise KeyFileError(
            f"{path}: expected public keys with their ids, found wrong ids {wrong}" if wrong else f"{path}: no keys"
        )
    return PublicKeys({key.kid: key for key in found})


def save_public(path: Path, keys: Sequence[PublicKey]) -> None:
    """Write a key set for serving nodes."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_bytes(msgspec.json.encode(_KeySet(list(keys))))
    partial.replace(path)


def _verify(public: bytes, message: bytes, signature: bytes) -> bool:
    from nacl.exceptions import CryptoError
    from nacl.signing import VerifyKey

    try:
        VerifyKey(public).verify(message, signature)
    except (CryptoError, TypeError, ValueError):
        return False
    return True
