"""What is published must work where nothing else is: both wheels, in empty environments, from another folder."""

import json
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements.lock"

pytestmark = pytest.mark.wheels


def run(*command, cwd=None, status=0):
    done = subprocess.run([str(c) for c in command], cwd=cwd, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == status, f"{command}: status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def wheel_of(folder: Path, out: Path) -> Path:
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, folder)
    return next(out.glob("*.whl"))


def empty_environment(place: Path) -> Path:
    venv.create(place, with_pip=True)
    return place / "bin"


def install(bin_: Path, *arguments) -> None:
    run(bin_ / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", *arguments)


@pytest.fixture(scope="module")
def tminus(tmp_path_factory):
    """An environment with the tminus wheel and its locked dependencies, and nothing else."""
    place = tmp_path_factory.mktemp("tminus")
    wheel = wheel_of(ROOT, place / "dist")
    bin_ = empty_environment(place / "env")
    install(bin_, "--require-hashes", "-r", LOCK)
    install(bin_, "--no-deps", wheel)
    return bin_


@pytest.fixture
def foreign_folder(tmp_path):
    """Somebody's repository, which well may own folders with our names."""
    for name in ("features", "monitors", "streams"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('not these')")
    return tmp_path


def test_the_wheel_replays_a_file_and_answers_sql(tminus, foreign_folder):
    """The whole thing from files, in a folder whose packages are called like ours."""
    (foreign_folder / "tminus.toml").write_text(
        """
[run]
clock = "data"

[source.clicks]
topic = "clicks"
entity = { user = "user_id" }
event_time = { field = "ts", unit = "ms" }

[feature.clicks_1m]
source = "clicks"
aggregate = "count"
window = "1m"
"""
    )
    clicks = [{"user_id": i % 3, "ts": 1_700_000_000_000 + i * 1000} for i in range(30)]
    (foreign_folder / "clicks.ndjson").write_text("".join(json.dumps(c) + "\n" for c in clicks))
    run(
        tminus / "tminus", "replay", "--config", "tminus.toml", "--source", "clicks=clicks.ndjson", "--lake", "lake",
        cwd=foreign_folder,
    )  # fmt: skip
    text = run(
        tminus / "tminus",
        "sql",
        "--lake",
        "lake",
        "--json",
        "SELECT max(value_num) AS most FROM features",
        cwd=foreign_folder,
    )
    assert json.loads(text)[0]["most"] == 10
    assert "0.1.0" in run(tminus / "tminus", "--version", cwd=foreign_folder)


NOTEBOOK = """
import sys
import pyarrow as pa
import tminus

T = 1_700_000_000_000_000
users = [f"u{i}" for i in range(40)]
log = pa.table({
    "entity": users * 2,
    "write_time": [T - 1_000_000] * 40 + [T + 5_003_000] * 40,
    "plan": ["basic"] * 40 + ["pro"] * 40,
})
train = pa.table({"entity": users, "prediction_time": [T] * 40, "plan": ["pro"] * 3 + ["basic"] * 37})
result = tminus.audit(train, log)
assert result.features[0]["leaked"] == 3, result
assert result.report["features"]["plan"]["lead_us"]["max"] == 5_003_000
assert result.corrected["plan"].to_pylist() == ["basic"] * 40
assert "<html" in result.html.lower()
assert tminus.audit(result.corrected, log).status == 0
assert not {"features", "monitors", "streams", "polars"} & set(sys.modules)
"""


def test_a_notebook_in_a_foreign_folder_audits_what_it_has(tminus, foreign_folder):
    """The wheel has the module, the template of the page and the compiled code; the folder has packages like ours."""
    for name in ("polars", "click"):
        (foreign_folder / f"{name}.py").write_text("raise ImportError('not these')")
    (foreign_folder / "notebook.py").write_text(NOTEBOOK)
    run(tminus / "python", "notebook.py", cwd=foreign_folder)


def test_a_mistake_is_a_sentence_in_the_installed_command_too(tminus, tmp_path):
    """No traceback for a user's mistake."""
    done = subprocess.run([tminus / "tminus", "check"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "tminus.toml" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_client_comes_with_two_packages_and_starts_in_fallback(tmp_path):
    """A guest brings nothing along, and without any state it keeps the safe default."""
    wheel = wheel_of(ROOT / "clients" / "python", tmp_path / "dist")
    bin_ = empty_environment(tmp_path / "env")
    install(bin_, wheel)
    listed = json.loads(run(bin_ / "python", "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"))
    names = {p["name"].lower() for p in listed} - {"pip", "setuptools", "wheel"}
    assert names == {"tminus-client", "confluent-kafka", "pynacl", "cffi", "pycparser"}
    loaded = run(
        bin_ / "python", "-c", "import sys, tminus_client; print('nacl' in sys.modules, 'numpy' in sys.modules)"
    )
    assert loaded.split() == ["False", "False"]
