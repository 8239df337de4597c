"""How does a file come into being so that nobody ever sees half of it?

Dot-name in the same folder, fsync, rename, fsync of the folder. The rename may only replace a file that the same
owner wrote under the same name and never committed; whoever needs "first one wins" takes `claim`, made of link(2).
These promises hold on local file systems, not on NFS and not on object stores.
"""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def write(path: Path, fill: Callable[[BinaryIO], object], *, before_rename: Callable[[], None] | None = None) -> int:
    """Write the file `path` whole or not at all, and return its size in bytes; the folder is not synced yet.

    Raises
    ------
    OSError
        The disk refuses; the dot-file is removed where that is possible.
    """
    temporary = path.with_name("." + path.name)
    try:
        with temporary.open("wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        if before_rename is not None:
            before_rename()
        temporary.rename(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return size


def claim(path: Path, content: bytes, *, token: str) -> bool:
    """Create `path` with `content` unless it exists; False if somebody was there first.

    `token` keeps the dot-files of two rivals apart.
    """
    temporary = path.with_name(f".{path.name}-{token}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace(path: Path, content: bytes, *, is_synced: bool = True) -> None:
    """Put `content` in the place of whatever `path` held, whole or not at all; rivals may do the same."""
    temporary = path.with_name(f".{path.name}-{os.getpid()}-{threading.get_ident()}")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        if is_synced:
            os.fsync(file.fileno())
    temporary.rename(path)
    if is_synced:
        sync_folder(path.parent)
