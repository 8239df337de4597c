"""Is a running worker of another group or configuration at work on this lake?

Each worker keeps one small file in `_owners`, whose modification time is its heartbeat. On the same machine a worker
is running as long as its process is; elsewhere, as long as its heartbeat is fresh. Nothing is locked: a file of a
worker that died stands in nobody's way.
"""

import contextlib
import os
import socket
import time
from pathlib import Path

import msgspec

from streams.lake import durable
from streams.lake.manifest import OWNERS, LakeBusy

#: A worker on another machine counts as running for this long after its last heartbeat.
HEARTBEAT_LIFE_US = 15_000_000
#: How often a worker renews it.
HEARTBEAT_PERIOD_US = 3_000_000


class Owner(msgspec.Struct, frozen=True):
    """A worker: its group (the same for all stages of one installation), configuration and process."""

    group: str
    config_digest: str
    host: str
    pid: int
    started: str

    @property
    def name(self) -> str:
        """Who it is, for people."""
        return f"group {self.group}, configuration {self.config_digest}, process {self.pid} on {self.host}"


class Claim:
    """This process's claim on a lake, renewed by `beat`."""

    def __init__(self, root: Path, group: str, config_digest: str) -> None:
        pid = os.getpid()
        self.owner = Owner(group, config_digest, _host(), pid, _started(pid))
        self._folder = root / OWNERS
        name = f"{self.owner.host}-{pid}-{group}-{config_digest}".replace("/", "_")
        self._path = self._folder / f"{name}.json"
        self._beaten_us = 0

    def take(self) -> None:
        """Announce this worker, then look for others: of two that start together both see each other.

        Raises
        ------
        LakeBusy
            A running worker has another group or configuration; the message names it.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._announce()
        rivals = self.rivals()
        if rivals:
            self.release()
            raise LakeBusy(
                f"{self._folder.parent}: expected no running worker of another group or configuration than "
                f"{self.owner.group} {self.owner.config_digest}, found {'; '.join(o.name for o in rivals)}"
            )

    def rivals(self) -> list[Owner]:
        """Running workers of another group or configuration; files of dead ones are removed."""
        found = []
        for path in sorted(self._folder.glob("*.json")):
            with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
                owner = msgspec.json.decode(path.read_bytes(), type=Owner)
                if not _is_running(owner, path):
                    path.unlink(missing_ok=True)
                elif (owner.group, owner.config_digest) != (self.owner.group, self.owner.config_digest):
                    found.append(owner)
        return found

    def beat(self, now_us: int) -> None:
        """Renew the heartbeat when it is due."""
        if now_us - self._beaten_us >= HEARTBEAT_PERIOD_US or now_us < self._beaten_us:
            self._beaten_us = now_us
            try:
                os.utime(self._path)
            except FileNotFoundError:
                self._announce()

    def release(self) -> None:
        """Take the announcement back."""
        self._path.unlink(missing_ok=True)

    def _announce(self) -> None:
        durable.replace(self._path, msgspec.json.encode(self.owner), is_synced=False)


def _host() -> str:
    # Containers may share a host name but not a space of process numbers.
    try:
        space = os.readlink("/proc/self/ns/pid").strip("pid:[]")
    except OSError:
        space = "0"
    return f"{socket.gethostname()}-{space}"


def _started(pid: int) -> str:
    """When the process started, in the kernel's ticks: process numbers are used again. Empty if unknown or gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def _is_running(owner: Owner, path: Path) -> bool:
    if owner.host == _host() and owner.started:
        return _started(owner.pid) == owner.started
    return time.time_ns() // 1000 - path.stat().st_mtime_ns // 1000 < HEARTBEAT_LIFE_US
