"""`make soak`: the larger figures, run by hand; the output goes to docs/soak/ with date and versions.

Nothing here is new: the same laws as in the tests, over more seeds, cells and lives.
"""

import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np

from monitors.drift import DriftMonitor
from monitors.reference import DriftReference
from tests.monitors import detector_contract
from tests.properties import test_verdict_worlds as worlds
from tests.streams.audit import test_worlds as files

ROOT = Path(__file__).parents[1]
CELLS = 1_000_000
LIVES = 2_000


def verdicts() -> str:
    """Random cells against the literal twin and the possible worlds."""
    counts: Counter[str] = Counter()
    seed = 100
    while sum(counts.values()) < CELLS:
        rng = random.Random(seed)
        counts += worlds.check([worlds.world(rng) for _ in range(worlds.CELLS // 4)])
        seed += 1
    shown = ", ".join(f"{word} {n:,}" for word, n in sorted(counts.items()))
    return f"{sum(counts.values()):,} cells: 0 false PASS, 0 false LEAK, 0 differences from the twin ({shown})"


def audits() -> str:
    """Random files through `tminus audit`, against the literal twin and the possible worlds."""
    counts: Counter[str] = Counter()
    seed = 1_000
    while counts.total() < CELLS:
        with tempfile.TemporaryDirectory() as folder:
            counts += files.run(Path(folder), seed, entities=400)
        seed += 1
    shown = ", ".join(f"{word} {n:,}" for word, n in sorted(counts.items()))
    return f"{counts.total():,} cells: 0 false PASS, 0 false LEAK, 0 differences from the twin ({shown})"


def drift() -> str:
    """Whole lives of a stable stream at a stated rate."""
    rate = 0.01

    def build(reference: np.ndarray, life: int) -> DriftMonitor:
        return DriftMonitor(DriftReference.fit(reference), alpha=rate, seed=life)

    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.normal(size=n)

    alarms = detector_contract.keeps_its_rate(build, rate, draw, lives=LIVES, rows=2_000, events=20_000)
    return f"{LIVES:,} lives of 20,000 events at a stated rate of {rate:.0%}: {alarms} false alarms"


def control() -> str:
    """The control log under compaction, duplication, reordering and two controllers."""
    return _tests("tests/streams/control/test_log.py", TMINUS_HYPOTHESIS="soak")


def kills() -> str:
    """The kill loop on Apache Kafka, with a seed of today."""
    return _tests("tests/kafka/test_entity_stage.py", CI="true", TMINUS_SEED=str(int(time.time())))


def _tests(path: str, **environ: str) -> str:
    command = [sys.executable, "-m", "pytest", "-q", "-s", path]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **environ}, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else f"FAILED\n{done.stdout}{done.stderr}"


def main() -> int:
    """Run everything (or what is named), print and keep the output."""
    known: dict[str, Callable[[], str]] = {f.__name__: f for f in (verdicts, audits, drift, control, kills)}
    names = sys.argv[1:] or list(known)
    packages = ("numpy", "numba", "polars", "pyarrow", "duckdb", "confluent-kafka", "aiokafka", "faust-streaming")
    lines = [
        f"# Soak of {datetime.now(UTC):%Y-%m-%d}",
        "",
        f"Python {platform.python_version()}, " + ", ".join(f"{p} {version(p)}" for p in packages),
    ]
    has_failed = False
    for name in names:
        began = time.monotonic()
        outcome = known[name]()
        has_failed |= outcome.startswith("FAILED")
        lines += [
            "",
            f"## {name} ({time.monotonic() - began:.0f} s)",
            "",
            str(known[name].__doc__),
            "",
            "```",
            outcome,
            "```",
        ]
        print("\n".join(lines[-7:]), flush=True)
    folder = ROOT / "docs" / "soak"
    folder.mkdir(exist_ok=True)
    (folder / f"{datetime.now(UTC):%Y-%m-%d}.md").write_text("\n".join(lines) + "\n")
    return int(has_failed)


if __name__ == "__main__":
    raise SystemExit(main())
