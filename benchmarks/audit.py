"""How fast is an audit, what does it cost in memory, and what do others miss or accuse wrongly?

Run it with `python -m benchmarks.audit` (1,000,000 rows, 10 features, 5,000,000 versions; `--scale 0.05` for a
twentieth). Every verdict is planted (`benchmarks/peers/planted.py`), so errors are counted, not argued about. The
peers run in turns, in an environment made from `benchmarks/audit.lock` (`--peers FOLDER` keeps it); times are wall
clocks of whole processes, from the shell to the written answer. An as-of join knows one word, "differs"; that is
counted as an accusation. What the figures do not show: other people's data, and files on a slow disk.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.peers.planted import FEATURES, LEAK, VERSIONS, World, world
from features.lineage import number_hashes
from monitors import leakage
from monitors.kernels import grouping
from monitors.verdicts import VERDICTS

HERE = Path(__file__).parent
ROWS, VERSIONS_ALL = 1_000_000, 5_000_000
PEERS = ("duckdb", "polars", "pandas", "timefence")
_SMALL_ROUNDS = 11


@dataclass(frozen=True, slots=True)
class Run:
    """One process: wall and CPU seconds, peak memory, what it printed (what it complained, if it failed)."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    status: int
    out: str


#: A small process between us and what is measured: the kernel counts a parent's memory as its child's until the child
#: has become another program.
_LAUNCHER = """
import json, os, subprocess, sys, time
begin = time.perf_counter()
child = subprocess.Popen(sys.argv[2:], stdout=open(sys.argv[1], "wb"))
_, code, used = os.wait4(child.pid, 0)
wall = time.perf_counter() - begin
status = child.returncode = os.waitstatus_to_exitcode(code)
print(json.dumps([wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, status]))
"""


def run(command: Sequence[str | Path], **environ: str) -> Run:
    """Run a process and ask the kernel what it took."""
    with tempfile.NamedTemporaryFile("r") as out:
        launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, out.name, *map(str, command)]
        told = subprocess.run(launcher, env={**os.environ, **environ}, capture_output=True, text=True, check=True)
        wall, cpu, peak, status = json.loads(told.stdout)
        return Run(wall, cpu, peak, status, out.read() if status == 0 else told.stderr)


def main() -> None:
    """Print one table after the other."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.audit")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--peers", type=Path, help="folder of the peers' environment; 'none' leaves them out")
    parser.add_argument("--memory", default="256MB", help="the bound of the bounded run")
    options = parser.parse_args()
    rows, versions = round(ROWS * options.scale), round(VERSIONS_ALL * options.scale)
    print(
        f"CPython {platform.python_version()}, numpy {np.__version__}, pyarrow {pa.__version__}, {os.cpu_count()} CPUs"
    )
    print(f"load {os.getloadavg()[0]:.1f}; {rows:,} rows x {len(FEATURES)} features, {versions:,} versions")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        made = world(rows, versions)
        pq.write_table(made.train, folder / "train.parquet")
        pq.write_table(made.log, folder / "log.parquet")
        kernel(made)
        small(folder)
        whole(made, folder, options.memory)
        if str(options.peers) != "none":
            peers(made, folder, environment(options.peers or folder / "peers"))


def kernel(made: World) -> None:
    """Sorting, hashing and judging, each alone: CPU seconds of one thread."""
    entities = made.write_us.shape[0]
    group = np.repeat(np.arange(entities), VERSIONS)
    a_us, b_us = leakage.bounds(made.write_us.ravel())
    leakage.warm_up()
    number_hashes(np.ones(1))
    shuffled = np.random.default_rng(2).permutation(group.size)
    begin = time.process_time()
    leakage.group_rows(group[shuffled], entities, made.write_us.ravel()[shuffled])
    sort_s = time.process_time() - begin
    start = np.arange(entities + 1, dtype=np.int64) * VERSIONS
    begin = time.process_time()
    order, _ = grouping.sort_by_group(made.entity, entities, np.arange(made.entity.size))  # as the audit does
    order_s = time.process_time() - begin
    truth = made.truth[order]
    hash_s, judge_s, wrong = 0.0, [], 0
    for i, name in enumerate(FEATURES):
        begin = time.process_time()
        hashes = number_hashes(made.values[name].ravel())
        cell_hashes = number_hashes(made.train[name].to_numpy())[order]
        hash_s += time.process_time() - begin
        versions = leakage.VersionSet(start, a_us, b_us, hashes)
        cells = leakage.CellSet(made.entity[order], made.prediction_us[order], cell_hashes)
        begin = time.process_time()
        found = leakage.judge(versions, cells)
        judge_s.append(time.process_time() - begin)
        wrong += int((found.verdict != truth[:, i]).sum())
    rate = made.entity.size / statistics.median(judge_s) / 1e6
    print(
        f"kernel: {rate:.1f} million cells/s and core (worst feature {made.entity.size / max(judge_s) / 1e6:.1f}), ",
        end="",
    )
    print(
        f"beside it sorting the log {sort_s:.2f} s and the cells {order_s:.2f} s once, hashing {hash_s:.2f} s in all; "
        f"{wrong} verdicts differ from the truth"
    )


def small(folder: Path) -> None:
    """A file of a thousand rows from the shell, and the first use of all, with nothing compiled."""
    made = world(1_000, 5_000)
    train, log = folder / "small.parquet", folder / "small-log.parquet"
    pq.write_table(made.train, train)
    pq.write_table(made.log, log)
    command = (Path(sys.executable).parent / "tminus", "audit", train, "--log", log, "--fail-on", "never")
    first = run(command, NUMBA_CACHE_DIR=str(folder / "numba"))
    runs = [run(command) for _ in range(_SMALL_ROUNDS)]
    walls = sorted(r.wall_s for r in runs)
    print(f"1,000 rows from the shell: median {walls[len(walls) // 2]:.2f} s, worst {walls[-1]:.2f} s, ", end="")
    print(f"peak {runs[0].peak_mb:.0f} MB; with nothing compiled yet {first.wall_s:.1f} s")


def whole(made: World, folder: Path, memory: str) -> None:
    """The whole command, in one piece and within a bound."""
    size_mb = made.log.nbytes / 2**20
    for bound in (None, memory):
        cells = folder / "cells.parquet"
        command: list[str | Path] = [
            Path(sys.executable).parent / "tminus",
            "audit",
            folder / "train.parquet",
            "--log",
            folder / "log.parquet",
        ]
        command += ["--cells", cells, "--fail-on", "never", *(["--memory", bound] if bound else [])]
        done = run(command)
        if done.status:
            sys.exit(f"tminus audit: status {done.status}\n{done.out}")
        judged = made.truth.size / done.wall_s / 1e6
        print(f"tminus audit{' --memory ' + bound if bound else '':18} ", end="")
        print(f"{done.wall_s:6.1f} s wall, {done.cpu_s:6.1f} s CPU ({judged:.2f} million cells/s), ", end="")
        print(f"peak {done.peak_mb:,.0f} MB (the log alone is {size_mb:,.0f} MB in memory); {_errors(made, cells)}")


def _errors(made: World, cells: Path) -> str:
    table, words = pq.read_table(cells), {str(verdict): code for code, verdict in enumerate(VERDICTS)}
    found = np.empty_like(made.truth)
    for i, name in enumerate(FEATURES):
        column = table[f"{name}__verdict"].combine_chunks().cast("string").dictionary_encode()
        codes = np.array([words[word] for word in column.dictionary.to_pylist()], np.int8)
        found[:, i] = codes[column.indices.to_numpy()]
    is_leak, says_leak = made.truth == LEAK, found == LEAK
    return f"{(is_leak & ~says_leak).sum():,} leaks missed, {(says_leak & ~is_leak).sum():,} accused wrongly"


def environment(folder: Path) -> Path:
    """The interpreter of the peers."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        lock = ("--require-hashes", "-r", HERE / "audit.lock")
        subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *lock], check=True)
    return python


def peers(made: World, folder: Path, python: Path) -> None:
    """The same question to others, by either time."""
    is_leak = made.truth == LEAK
    print(f"{int(is_leak.sum()):,} leaks are planted in {made.truth.size:,} cells")
    for peer in PEERS:
        for column in ("event_time", "write_time"):
            out = folder / f"{peer}.parquet"
            arguments = (peer, column, folder / "train.parquet", folder / "log.parquet", out)
            done = run([python, "-I", HERE / "peers" / "asof_joins.py", *arguments])
            if done.status:
                print(f"{peer} by {column}: status {done.status}")
                continue
            said = json.loads(done.out)
            told = _counts(made, said["counted"]) if said["counted"] else _accusations(is_leak, out)
            print(
                f"{peer:9} {said['version']:8} by {column:10} {done.wall_s:6.1f} s wall, {done.cpu_s:6.1f} s CPU, ",
                end="",
            )
            print(f"peak {done.peak_mb:,.0f} MB; {told}")


def _accusations(is_leak: npt.NDArray[np.bool_], out: Path) -> str:
    table = pq.read_table(out)
    said = np.column_stack([table[name].to_numpy() for name in FEATURES])
    return f"{(is_leak & ~said).sum():,} leaks missed, {(said & ~is_leak).sum():,} accused wrongly"


def _counts(made: World, counted: dict[str, int]) -> str:
    """Counts per feature allow the least errors only: which rows are meant is not said."""
    planted = dict(zip(FEATURES, (made.truth == LEAK).sum(axis=0).tolist(), strict=True))
    missed = sum(max(planted[name] - counted[name], 0) for name in FEATURES)
    wrongly = sum(max(counted[name] - planted[name], 0) for name in FEATURES)
    return f"at least {missed:,} leaks missed, at least {wrongly:,} accused wrongly"


if __name__ == "__main__":
    main()
