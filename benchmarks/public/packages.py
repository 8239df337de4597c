"""How a public data set comes here: by name, in an exact version, its hash checked; and how it is audited.

Nothing of the data sets is kept in the repository, and no address: the package clients of the machine know theirs.
"""

import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from monitors.verdicts import VERDICTS

LOCK = Path(__file__).with_name("packages.lock")


def locked(name: str) -> list[str]:
    """The versions of a package in the lock, in its order (oldest first)."""
    lines = LOCK.read_text(encoding="utf-8").splitlines()
    return [line.split()[0].partition("==")[2] for line in lines if line.startswith(f"{name}==")]


def from_pypi(name: str, version: str, folder: Path, *, source: bool = False) -> Path:
    """The wheel (or the source archive) of one exact version, refused unless its hash is that of the lock."""
    (line,) = (x for x in LOCK.read_text(encoding="utf-8").splitlines() if x.startswith(f"{name}=={version} "))
    into = folder / f"{name}-{version}-{'source' if source else 'wheel'}"
    into.mkdir()
    wanted = into / "wanted.txt"
    wanted.write_text(line + "\n", encoding="utf-8")
    kind = ["--no-binary", name, "--no-build-isolation"] if source else ["--only-binary", name]
    call = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "-q", "--no-deps", *kind]
    subprocess.run([*call, "--require-hashes", "-r", str(wanted), "-d", str(into)], check=True)
    wanted.unlink()
    (found,) = into.iterdir()
    return found


def audited(folder: Path, *options: str, rows: str = "train.parquet", log: str = "log.parquet") -> dict[str, Any]:
    """Run `tminus audit` as a person would, show what it printed, and give its report."""
    report = folder / "report.json"
    call = ["tminus", "audit", rows, "--log", log, *options, "--fail-on", "never"]
    print(f"$ {shlex.join(call)}", flush=True)
    tminus = str(Path(sys.executable).with_name("tminus"))
    done = subprocess.run(
        [tminus, *call[1:], "--json", str(report)], cwd=folder, capture_output=True, text=True, check=False
    )
    print(done.stdout.replace(str(report), "report.json"), done.stderr, sep="", flush=True)
    if done.returncode:
        raise SystemExit(f"tminus audit ended with {done.returncode}")
    found: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return found


def show(found: dict[str, Any]) -> None:
    """Every figure of a report that `docs/public-data.md` quotes."""
    print(f"rows {found['rows']:,}, cells {found['cells']:,}, coverage {found['coverage']:.4f}")
    print(f"assumes {found['assumes'] or 'nothing'}")
    names = [str(verdict.value) for verdict in VERDICTS]
    print(
        f"{'feature':<16}{'verdict':<16}{'tier':<6}" + "".join(f"{name:>16}" for name in names) + f"{'median lead':>14}"
    )
    for feature, one in found["features"].items():
        counts = "".join(f"{one['counts'][name]:>16,}" for name in names)
        lead = one["lead_us"]["p50"] if one["lead_us"] else None
        shown = "" if lead is None else f"{lead / 86_400_000_000:,.1f} d"
        print(f"{feature:<16}{one['verdict']:<16}{one['tier']:<6}{counts}{shown:>14}")
    if found["inflation"]:
        worth = {"all features": found["inflation"], **found["inflation"]["per_feature"]}
        print(f"{found['inflation']['metric']:<16}{'leaky':>10}{'as of':>10}{'deployed':>10}")
        for feature, one in worth.items():
            print(f"{feature:<16}" + "".join(f"{one[way]:>10.3f}" for way in ("leaky", "as_of", "deployed")))
    for finding in found["findings"]:
        print(f"{finding['kind']}: {finding['message']}")


def run(title: str, story: Callable[[Path], None], versions: Sequence[str]) -> None:
    """One data set in a folder of its own, which is gone afterwards."""
    print(f"== {title}: {', '.join(versions)}; {datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}")
    with TemporaryDirectory() as folder:
        story(Path(folder))
