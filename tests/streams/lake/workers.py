"""Workers that may be killed: small processes forked from one that has its imports behind it.

Run as a module it is that process. It takes one JSON command a line on its input and answers each with one line:
`start` a job, `wait` until a worker ends or stops, `continue` a stopped one.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
BATCH = 5
LOST, BUSY, BROKEN_DISK = 9, 8, 7


class Workers:
    """The other end of the pipe."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def ask(self, **command: Any) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(self, root: Path, until: int, faults: str = "", **more: Any) -> int:
        """Begin a worker that commits batches up to offset `until`; its process number."""
        return int(self.ask(do="start", root=str(root), until=until, faults=faults, **more))

    def wait(self, pid: int) -> str:
        """What became of it: `exit 0`, `killed 9`, `stopped`."""
        return str(self.ask(do="wait", pid=pid))

    def run(self, root: Path, until: int, faults: str = "", **more: Any) -> str:
        """Start and wait."""
        return self.wait(self.start(root, until, faults, **more))

    def wake(self, pid: int) -> None:
        """Send SIGCONT."""
        self.ask(do="continue", pid=pid)


@contextmanager
def running() -> Iterator[Workers]:
    """Workers for the time of a test module; whoever is left over is killed."""
    command = [sys.executable, "-m", "tests.streams.lake.workers"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Workers(process)
        assert process.stdin
        process.stdin.close()
        process.wait(timeout=30)


def _work(job: dict[str, Any]) -> int:
    """Commit batches from where the lake stands; the state is the sum of all offsets, in the snapshot."""
    import numpy as np

    from streams import faults
    from streams.lake import commits, compaction, snapshots
    from streams.lake.manifest import LakeBusy, LostOwnership
    from tests.streams.lake import rows

    faults._plan = faults.parse(job["faults"])
    compaction.GRACE_US = job.get("grace_us", compaction.GRACE_US)
    commits.VERSION_AGE_US = job.get("grace_us", commits.VERSION_AGE_US)
    writer = rows.writer(Path(job["root"]), job.get("unit", "entity-p0"))
    if "group" in job:
        writer._claim.__init__(writer.root, job["group"], "other")  # type: ignore[misc]
    try:
        restored = writer.open()
        fence = restored.fence.get("events/0", 0)
        total = int(snapshots.load(restored.snapshot)["sum"][0]) if restored.snapshot else 0
        assert total == sum(range(fence)), "the state is what its fence says"
        told = restored.next.get("events/0", 0)
        total += sum(range(fence, told))
        while told < job["until"]:
            last = told + BATCH - 1
            writer.append("dlq", rows.letters(told, last))
            writer.append("late", rows.late(told, last))
            total, told = total + sum(range(told, last + 1)), last + 1
            state = snapshots.dump({"sum": np.array([total])}) if told // BATCH % 2 else None
            writer.commit({"events/0": told}, state, {"events/0": told} if state else None)
            if job.get("tend"):
                writer.tend()
    except LostOwnership:
        return LOST
    except LakeBusy:
        return BUSY
    except OSError:
        return BROKEN_DISK
    return 0


def _start(job: dict[str, Any]) -> int:
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            code = _work(job)
        finally:
            os._exit(code)
    return pid


def _serve() -> None:
    import numpy  # noqa: F401

    import tests.streams.lake.rows  # noqa: F401

    alive: set[int] = set()
    for line in sys.stdin:
        command = json.loads(line)
        answer: object = None
        if command["do"] == "start":
            answer = _start(command)
            alive.add(int(str(answer)))
        elif command["do"] == "continue":
            os.kill(command["pid"], signal.SIGCONT)
        else:
            _, status = os.waitpid(command["pid"], os.WUNTRACED)
            if os.WIFSTOPPED(status):
                answer = "stopped"
            else:
                alive.discard(command["pid"])
                signalled = os.WIFSIGNALED(status)
                answer = f"killed {os.WTERMSIG(status)}" if signalled else f"exit {os.WEXITSTATUS(status)}"
        print(json.dumps(answer), flush=True)
    for pid in alive:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    _serve()
