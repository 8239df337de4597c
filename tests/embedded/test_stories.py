"""The demo as a newcomer sees it, and what it leaves behind: nothing but the lake."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from streams.lake.sql import query
from streams.stories.telling import LINES_MAX

pytestmark = pytest.mark.embedded


def _start(folder: Path, *options: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "streams.cli.main", "demo", "--lake", str(folder / "lake"), *options]
    environ = {**os.environ, "TMPDIR": str(folder)}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ, start_new_session=True
    )


def _play(folder: Path, *options: str) -> tuple[int, str, str]:
    child = _start(folder, *options)
    try:
        told, said = child.communicate(timeout=150)
    finally:
        child.kill()
    return child.returncode, told, said


def _rows(folder: Path, text: str) -> list[tuple[Any, ...]]:
    return query(folder / "lake", text).rows


def _left_behind(folder: Path) -> list[str]:
    """Temporary files, and processes that were told of this folder."""
    files = [p.name for p in folder.iterdir() if p.name != "lake"]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            files += [line] if str(folder) in line else []
    return files


def test_the_leak_and_the_drift_are_caught_and_the_models_switched(tmp_path: Path):
    """The whole thread once, on real processes and the real protocol, and told in forty lines."""
    status, told, said = _play(tmp_path)
    assert status == 0, told + said
    assert len(told.splitlines()) <= LINES_MAX
    assert told.splitlines()[-1].startswith("Everything was cleaned up")
    assert said == ""  # progress is for terminals
    findings = {(m, f, k): s for m, f, k, s in _rows(tmp_path, "SELECT model, feature, kind, severity FROM findings")}
    assert findings == {("churn", "last_login", "COUPLED_TX"): "page", ("basket", "amount_3s", "DRIFT"): "page"}
    switched = _rows(tmp_path, "SELECT DISTINCT node, scope FROM receipts WHERE mode = 'fallback'")
    assert len(switched) == 6  # three nodes, two models
    assert _rows(tmp_path, "SELECT count(*) FROM verdicts WHERE form = 'served' AND verdict = 'LEAK'") == [(0,)]
    assert _rows(tmp_path, "SELECT count(*) > 0 FROM verdicts WHERE form = 'exposure' AND verdict = 'LEAK'") == [
        (True,)
    ]
    assert _left_behind(tmp_path) == []
    for text in [line.split('"')[1] for line in told.splitlines() if line.startswith("  tminus sql")]:
        assert _rows(tmp_path, text)  # what people are told to type has an answer


def test_the_quiet_story_moves_nothing(tmp_path: Path):
    """No trigger, no drift: no finding, no alert, no transition; else nobody would believe the loud one."""
    status, told, said = _play(tmp_path, "--variant", "quiet")
    assert status == 0, told + said
    assert _rows(tmp_path, "SELECT (SELECT count(*) FROM findings), (SELECT count(*) FROM alerts)") == [(0, 0)]
    assert _rows(tmp_path, "SELECT DISTINCT mode FROM control") == [("live",)]
    assert _rows(tmp_path, "SELECT count(*) > 1000 FROM verdicts WHERE verdict = 'PASS'") == [(True,)]


def test_a_late_trigger_gives_exposure_and_no_finding(tmp_path: Path):
    """Thirty milliseconds later in another transaction: nothing proves it, so nothing is claimed."""
    status, told, said = _play(tmp_path, "--variant", "late-trigger")
    assert status == 0, told + said
    assert _rows(tmp_path, "SELECT count(*) FROM findings WHERE model = 'churn'") == [(0,)]
    exposed = (
        "SELECT count(*) > 0 FROM verdicts WHERE form = 'exposure' AND verdict = 'LEAK' AND feature = 'last_login'"
    )
    assert _rows(tmp_path, exposed) == [(True,)]


def test_a_killed_controller_is_told_and_ctrl_c_ends_it_cleanly(tmp_path: Path):
    """One model holds, the other falls back when its lease lapses; then stopped in the middle of everything."""
    child = _start(tmp_path)
    try:
        _until(lambda: '"is_live": true' in _said_by_nodes(tmp_path), 60)
        os.kill(_commander(tmp_path), signal.SIGKILL)
        _until(lambda: '"why": "silence"' in _said_by_nodes(tmp_path), 60)
        child.send_signal(signal.SIGINT)
        told, said = child.communicate(timeout=40)
    finally:
        child.kill()
    assert child.returncode == 130, told + said
    assert "The controller was ended by SIGKILL in the middle of the story." in told
    assert "heard no controller for a whole lease: basket gives its safe default." in told
    assert "You stopped the story before its end." in told
    assert "Traceback" not in told + said
    assert _left_behind(tmp_path) == []


def _said_by_nodes(folder: Path) -> str:
    return "".join(p.read_text() for p in folder.glob("tminus-demo-*/node-*.log"))


def _commander(folder: Path) -> int:
    """The process of this demo's control stage."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if b"streams.commander" in line and str(folder).encode() in line:
                return int(entry.name)
    raise AssertionError("no control stage is running")


def _until(is_so: Any, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.1)
