"""How does a program that knows nothing of us end when we end?

`python guard.py LOG FOLDER COMMAND...` runs the command with its output appended to LOG, prints its process id, and
ends it (SIGTERM, then SIGKILL) as soon as anything is written to stdin, stdin closes, or this process gets another
parent. A pipe closes however its owner dies, so a broker started this way survives no `kill -9` of the test run that
started it. An owner that dies without a word can no longer tidy up: then FOLDER is removed here.
Should the guard itself be killed, Linux ends the command.
The guard exits with the command's exit status (128 + signal when a signal ended it).
Standard library only: it is started with `-I -S`.
"""

import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys

_LOOK_S = 0.1
_GRACE_S = 10.0  # an orderly stop of Apache Kafka takes half a second
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def _end_with_guard() -> None:
    # Safe here, unlike in the caller: the signal comes when the starting *thread* ends, and a guard has only one.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main(log: str, folder: str, command: list[str]) -> int:
    """Run `command` under guard and return its exit status."""
    parent = os.getppid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the owner, who then writes to us
    before_exec = _end_with_guard if sys.platform == "linux" else None
    with open(log, "ab") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=before_exec,  # noqa: PLW1509
        )
    sys.stdout.write(f"{child.pid}\n")
    sys.stdout.flush()
    while child.poll() is None:
        ready, _, _ = select.select([0], [], [], _LOOK_S)
        orphaned = os.getppid() != parent or (bool(ready) and not os.read(0, 1))
        if ready or orphaned:
            _end(child)
        if orphaned:
            shutil.rmtree(folder, ignore_errors=True)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
