"""How do several processes run as one: started together, told to stop together, none left behind?

Every child leads a process group of its own, so a Ctrl-C at the terminal reaches this process alone, which then
stops the children in order. Should this process be killed, Linux ends the children.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from types import FrameType, TracebackType
from typing import IO, Self

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LOOK_S = 0.05
#: A stage commits what it has applied when it is told to stop, and ends by itself after 9 s at the latest.
GRACE_S = 12.0


class StageFailed(Exception):
    """A stage ended by itself and should not have."""

    def __init__(self, name: str, status: int) -> None:
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        super().__init__(f"the {name} stage {how}, so all were stopped")
        self.status = 128 - status if status < 0 else status


def _end_with_parent() -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Supervisor:
    """Named child processes; usable as a context manager, which stops them all.

    Start children from the thread that lives longest: the end of the starting thread ends them.

    Examples
    --------
    >>> with Supervisor() as children:
    ...     _ = children.start("nap", [sys.executable, "-c", "pass"])
    ...     children.wait()
    ('nap', 0)
    """

    def __init__(self) -> None:
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self._reported: set[str] = set()
        self._signal: int | None = None
        self._old: dict[int, object] = {}

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        output: int | IO[bytes] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start one child; `output` takes both of its streams (None: ours)."""
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=None if output is None else subprocess.STDOUT,
            env=None if environ is None else {**os.environ, **environ},
            process_group=0,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
        )
        self.children[name] = child
        return child

    def ended(self) -> tuple[str, int] | None:
        """A child that has ended and was not reported yet, with its status (negative: the signal); else None."""
        for name, child in self.children.items():
            if name not in self._reported and child.poll() is not None:
                self._reported.add(name)
                return name, child.returncode
        return None

    def is_running(self, name: str) -> bool:
        """Is this child still there?"""
        return name in self.children and self.children[name].poll() is None

    def wait(self) -> tuple[str, int] | None:
        """Wait for the next child to end; None when a signal said stop, or nobody is left."""
        while self._signal is None:
            found = self.ended()
            if found is not None:
                return found
            if len(self._reported) == len(self.children):
                return None
            time.sleep(_LOOK_S)
        return None

    def stop_one(self, name: str, grace_s: float = GRACE_S) -> None:
        """Ask one child to end, as `stop` does; its end is not reported by `ended`."""
        self._reported.add(name)
        self._end([self.children[name]], grace_s)

    def stop(self, grace_s: float = GRACE_S) -> None:
        """Ask all to end, the first started last, and end those that do not within `grace_s` seconds."""
        self._end(list(reversed(self.children.values())), grace_s)

    def _end(self, children: Sequence[subprocess.Popen[bytes]], grace_s: float) -> None:
        alive = [c for c in children if c.poll() is None]
        for child in alive:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGTERM)
                os.killpg(child.pid, signal.SIGCONT)  # a stopped child could not hear it
        until = time.monotonic() + grace_s
        for child in alive:
            try:
                child.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()

    @property
    def signalled(self) -> int | None:
        """The signal that asked this process to stop; None if none did."""
        return self._signal

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._old[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        for number, handler in self._old.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        self._signal = number
