"""How does a node remember what was commanded when everything else is gone?

One small file: a line with a checksum, then JSON. It is replaced as a whole (a dot-name, fsync, rename,
fsync of the folder) and readable by its owner only. A file that is damaged in any way counts as none.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

_MAGIC = b"tminus-state/1 "
#: A snapshot of a large portfolio is a few megabytes; a longer file is not ours.
FILE_BYTES_MAX = 256 * 1024 * 1024


def save(path: Path, snapshot: dict[str, Any]) -> None:
    """Replace the file at `path`; the folder is made if needed. Raises `OSError` when the disk refuses."""
    body = json.dumps(snapshot, ensure_ascii=False, separators=(",", ":")).encode()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(_MAGIC + _checksum(body) + b"\n" + body)
            out.flush()
            os.fsync(out.fileno())
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def load(path: Path) -> dict[str, Any] | None:
    """The snapshot at `path`; None when there is none, or none that can be trusted."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            return None
        head, _, body = path.read_bytes().partition(b"\n")
    except OSError:
        return None
    if head != _MAGIC + _checksum(body):
        return None
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if type(found) is dict else None


def _checksum(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=16).hexdigest().encode()
