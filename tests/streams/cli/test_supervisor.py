"""Several processes as one: real ones, since that is what it is about."""

import os
import select
import signal
import subprocess
import sys

import pytest

from streams.cli.run import watch
from streams.cli.supervisor import StageFailed, Supervisor

SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
DEAF = [
    sys.executable, "-S", "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)",
]  # fmt: skip


def test_one_failure_ends_all_and_gives_its_status():
    """A pipeline that runs without one of its stages would look healthy and judge nothing."""
    with Supervisor() as children:
        other = children.start("other", SLEEP)
        children.start("bad", [sys.executable, "-S", "-c", "raise SystemExit(3)"])
        with pytest.raises(StageFailed, match="bad stage ended with status 3") as failed:
            watch(children)
    assert failed.value.status == 3
    assert other.poll() is not None


def test_a_stage_that_stands_down_stops_nobody():
    """A controller that a newer one took over from ends with 0, and nothing is wrong."""
    with Supervisor() as children:
        children.start("fine", [sys.executable, "-S", "-c", ""])
        assert watch(children) == 0


def test_a_signal_to_us_reaches_all_and_is_our_status():
    """Ctrl-C must leave nothing behind."""
    with Supervisor() as children:
        child = children.start("other", SLEEP)
        os.kill(os.getpid(), signal.SIGINT)
        assert watch(children) == 130
    assert child.returncode == -signal.SIGTERM


def test_who_does_not_hear_is_ended():
    """A worker that hangs in its shutdown would keep the terminal for ever."""
    children = Supervisor()
    child = children.start("deaf", DEAF, output=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    children.stop(grace_s=0.1)
    child.stdout.close()
    assert child.returncode == -signal.SIGKILL


def test_children_do_not_outlive_a_killed_parent():
    """kill -9 gives nobody a chance to tidy up; the kernel has to."""
    program = (
        "import os, subprocess; from streams.cli.supervisor import Supervisor; "
        f"print(Supervisor().start('x', {SLEEP!r}, output=subprocess.DEVNULL).pid, flush=True); os.kill(os.getpid(), 9)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    try:
        child = os.pidfd_open(int(run.stdout))
    except ProcessLookupError:
        return
    has_ended = bool(select.select([child], [], [], 5.0)[0])
    signal.pidfd_send_signal(child, signal.SIGKILL)
    os.close(child)
    assert has_ended
