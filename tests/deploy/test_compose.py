"""Do the container files still agree with the project? No engine runs here, so they are read, not started."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from streams.broker.apache import kafka_version
from streams.settings import load_definitions

ROOT = Path(__file__).resolve().parents[2]
# The commands that tminus has or is promised to have.
COMMANDS = {"demo", "init", "check", "show", "run", "control", "replay", "audit", "drift", "sql", "why", "top", "ui"}
COMMANDS |= {"alerts", "drill", "fallback", "topics", "export", "doctor", "bench"}
OURS = ("topics", "entity", "model", "control")


def _read(lines: list[tuple[int, str]], anchors: dict[str, Any]) -> Any:
    """The part of YAML that our file is written in: nested mappings, `- ` lists, JSON or plain scalars, anchors."""
    indent = lines[0][0]
    if lines[0][1].startswith("- "):
        return [_scalar(text[2:]) for _, text in lines]
    found: dict[str, Any] = {}
    at = 0
    while at < len(lines):
        assert lines[at][0] == indent, f"unexpected indentation: {lines[at][1]}"
        key, _, rest = lines[at][1].partition(":")
        inner = at + 1
        while inner < len(lines) and lines[inner][0] > indent:
            inner += 1
        anchor = re.fullmatch(r"&(\w+)", rest.strip())
        value = _read(lines[at + 1 : inner], anchors) if inner > at + 1 else _scalar(rest.strip())
        if anchor:
            anchors[anchor[1]] = value
        if key == "<<":
            found = {**anchors[rest.strip().removeprefix("*")], **found}
        else:
            found[key] = value
        at = inner
    return found


def _scalar(text: str) -> Any:
    text = re.sub(r"^\[(\w+)\]$", r'["\1"]', text)  # [ALL]
    return json.loads(text) if text[:1] in ('"', "[", "{") else {"true": True, "false": False}.get(text, text)


@pytest.fixture(scope="module")
def compose() -> Any:
    text = (ROOT / "docker-compose.yml").read_text()
    rows = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return _read([(len(row) - len(row.lstrip()), row.strip()) for row in rows], {})


def _dockerfile() -> list[list[str]]:
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    return [line.split() for line in text.splitlines() if line and not line.startswith("#")]


def test_every_file_the_image_is_made_of_is_there_and_let_in():
    """A renamed folder would otherwise be noticed by the first person who builds the image."""
    sources = [s for words in _dockerfile() if words[0] == "COPY" and "--from" not in words[1] for s in words[1:-1]]
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert [s for s in sources if not (ROOT / s).exists()] == []
    assert set(sources) == allowed


def test_the_image_has_all_that_the_wheel_is_made_of():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = {project["project"]["readme"], *project["project"]["license-files"]}
    needed |= set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"])
    sources = {s for words in _dockerfile() if words[0] == "COPY" for s in words[1:-1]}
    assert needed <= sources


def test_the_image_checks_hashes_and_does_not_run_as_root():
    lines = [" ".join(words) for words in _dockerfile()]
    downloads = [line for line in lines if "pip download" in line]
    assert all("--require-hashes" in line for line in downloads)
    assert downloads
    assert all("--no-index" in line for line in lines if "pip install" in line)
    assert "USER tminus" in lines[lines.index("FROM python:3.11-slim AS runtime") :]


def test_services_run_real_commands(compose):
    for name in OURS:
        command = compose["services"][name]["command"]
        assert command[0] in COMMANDS, name
        if command[0] == "run":
            assert command[1] == name


def test_services_can_write_only_where_they_must(compose):
    """A worker reads what strangers write: what it is tricked into may touch its lake and nothing else."""
    for name in OURS:
        service = compose["services"][name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        writable = {v.split(":")[-1] for v in service["volumes"] if not v.endswith(":ro")}
        assert writable <= {"/lake", "/var/cache/numba"}


def test_the_example_definitions_load():
    """`docker compose up` on a fresh checkout must not begin with an error of ours."""
    definitions = load_definitions([ROOT / "deploy" / "compose" / "tminus.toml"], {})
    assert list(definitions.models) == ["churn"]


def test_only_the_controller_holds_the_key(compose):
    holders = [n for n, s in compose["services"].items() if any("/keys" in v for v in s.get("volumes", []))]
    assert holders == ["control"]


def test_no_stage_starts_before_its_topics_are_declared(compose):
    for name in ("entity", "model", "control"):
        assert compose["services"][name]["depends_on"]["topics"]["condition"] == "service_completed_successfully"
    assert compose["services"]["topics"]["depends_on"] == {"kafka": {"condition": "service_healthy"}}
    assert compose["services"]["topics"]["restart"] == "no"


def test_the_broker_is_the_tested_one_and_on_loopback(compose):
    kafka = compose["services"]["kafka"]
    assert kafka["image"] == f"apache/kafka:{kafka_version()}"
    assert all(port.startswith("127.0.0.1:") for port in kafka["ports"])
    assert kafka["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    assert "ports" not in compose["x-stage"]


def test_named_volumes_are_declared_and_mounted_files_exist(compose):
    for name in compose["services"]:
        for volume in compose["services"][name]["volumes"]:
            source = re.sub(r"^\$\{\w+:-([^}]*)\}", r"\1", volume).split(":")[0]
            if not source.startswith("./"):
                assert source in compose["volumes"], volume
            elif source != "./keys":  # made by whoever runs it
                assert (ROOT / source).is_file(), volume
