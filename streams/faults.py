"""Where may a worker die? The named points at which a test can kill, stop or fail a process.

Nothing happens unless the environment variable TMINUS_FAULTS names a point: `name:count:action`, several
separated by commas. The action is taken once, at the count-th passage (from 1): `kill` ends the process with
SIGKILL, `stop` pauses it with SIGSTOP until somebody sends SIGCONT, `raise` fails like a broken disk.
"""

import errno
import os
import signal
from enum import StrEnum

VARIABLE = "TMINUS_FAULTS"

#: Every point in the code, in the order in which a worker passes them.
POINTS = (
    "lake.segment.write",
    "lake.segment.rename.before",
    "lake.segment.rename.after",
    "lake.snapshot.before",
    "lake.snapshot.after",
    "lake.commit.link.before",
    "lake.commit.link.after",
    "lake.copy.before",
    "outbox.ack.before",
    "outbox.written.before",
)


class Action(StrEnum):
    KILL = "kill"
    STOP = "stop"
    RAISE = "raise"


def parse(text: str) -> dict[str, tuple[int, Action]]:
    """What `text` asks for: per point the passage (from 1) and the action; empty text asks for nothing.

    Raises
    ------
    ValueError
        A point is not in `POINTS`, or an entry is not `name:count:action`.

    Examples
    --------
    >>> parse("lake.copy.before:3:kill")
    {'lake.copy.before': (3, <Action.KILL: 'kill'>)}
    """
    plan: dict[str, tuple[int, Action]] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, _, rest = entry.partition(":")
        count, _, action = rest.partition(":")
        if name not in POINTS:
            raise ValueError(f"{VARIABLE}: expected one of {', '.join(POINTS)}, found {name!r}")
        if not count.isdecimal() or int(count) < 1 or action not in list(Action):
            raise ValueError(f"{VARIABLE}: expected name:count:kill|stop|raise with count from 1, found {entry!r}")
        plan[name] = (int(count), Action(action))
    return plan


_plan = parse(os.environ.get(VARIABLE, ""))
_passed: dict[str, int] = {}


def hit(name: str) -> None:
    """Pass the point `name`: nothing, unless the environment asked for trouble here.

    Raises
    ------
    OSError
        The action is `raise`: an input/output error, as a broken disk would give.

    Examples
    --------
    >>> hit("lake.copy.before")
    """
    if not _plan:
        return
    count, action = _plan.get(name, (0, Action.RAISE))
    passed = _passed[name] = _passed.get(name, 0) + 1
    if passed != count:
        return
    if action is Action.RAISE:
        raise OSError(errno.EIO, f"fault {name} at passage {passed}")
    os.kill(os.getpid(), signal.SIGKILL if action is Action.KILL else signal.SIGSTOP)
