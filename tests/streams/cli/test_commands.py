"""Commands as a person types them, without a broker."""

import json
from pathlib import Path
from typing import Any

import pytest

from streams.cli import doctor
from streams.cli.alerts import line
from streams.cli.main import COMMANDS, main

CONFIG = """
[source.clicks]
entity = { user = "user_id" }
[feature.clicks_5m]
source = "clicks"
aggregate = "count"
window = "5m"
"""


def tminus(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    return int(end.value.code or 0)


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "tminus.toml"
    path.write_text(CONFIG)
    return str(path)


def test_check_shows_what_the_configuration_means(config: str, capsys: Any):
    """A person who does not program can see whether it says what they meant."""
    assert tminus("check", "-c", config) == 0
    assert "count of clicks over 5m, sliding by 30s" in capsys.readouterr().out
    assert tminus("check", "-c", config, "--json") == 0
    assert json.loads(capsys.readouterr().out)["features"].keys() == {"clicks_5m"}


def test_a_wrong_configuration_ends_with_2_and_a_sentence(config: str, capsys: Any):
    """What, where, what was expected, nearest known key."""
    Path(config).write_text(CONFIG.replace("window", "windw"))
    assert tminus("check", "-c", config) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert f"{config}: [feature.clicks_5m] windw: unknown key; did you mean 'window'? (TM101)" in said.err


def test_an_unknown_command_names_the_nearest(capsys: Any):
    """Typing is where most mistakes are made."""
    assert tminus("replya") == 2
    assert "Did you mean 'replay'?" in capsys.readouterr().err


def test_topics_are_shown_without_a_broker(config: str, capsys: Any):
    """What would be created can be reviewed before anything is."""
    assert tminus("topics", "show", "-c", config, "--json") == 0
    shown = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert shown["tminus.control"] == {
        "name": "tminus.control",
        "partitions": 1,
        "config": {"cleanup.policy": "compact"},
    }


def test_no_broker_ends_with_3_and_the_address(config: str, capsys: Any, monkeypatch: pytest.MonkeyPatch):
    """Within the time allowed, and with the address that was tried."""
    monkeypatch.setattr("streams.broker.admin._REQUEST_S", 0.3)
    assert tminus("topics", "diff", "-c", config, "--bootstrap", "127.0.0.1:1") == 3
    assert "127.0.0.1:1" in capsys.readouterr().err


def test_sql_without_a_lake_ends_with_4(tmp_path: Path, capsys: Any):
    """A wrong folder is the commonest mistake of all."""
    assert tminus("sql", "SELECT 1", "--lake", str(tmp_path / "none")) == 4
    assert "none" in capsys.readouterr().err


def test_replay_wants_named_sources(config: str, tmp_path: Path, capsys: Any):
    """A file without the name of its source could be anything."""
    assert tminus("replay", "-c", config, "--lake", str(tmp_path / "l"), "--source", "clicks.ndjson") == 2
    assert "NAME=FILE" in capsys.readouterr().err


def test_keys_are_made_once(tmp_path: Path, capsys: Any):
    """Overwriting a key would silence the controller that holds it."""
    folder = str(tmp_path / "keys")
    assert tminus("control", "keys", "--keys", folder) == 0
    assert {p.name for p in (tmp_path / "keys").iterdir()} == {
        "control.key", "control.pub", "operator.key", "operator.pub",
    }  # fmt: skip
    assert tminus("control", "keys", "--keys", folder) == 2
    assert "TM209" in capsys.readouterr().err


def test_an_alert_is_one_line():
    """Read at three in the morning."""
    alert = {
        "status": "firing",
        "labels": {"severity": "page", "model": "churn"},
        "annotations": {"summary": "last_login leaks"},
        "startsAt": "2026-01-01T00:00:00Z",
        "endsAt": "",
    }
    assert line(alert) == "2026-01-01T00:00:00Z  FIRING   page     churn: last_login leaks"


def test_doctor_sees_a_stranger_among_the_packages(tmp_path: Path):
    """`features` is a common word: a folder of that name in front of ours would be loaded just as gladly."""
    ours = {name: str(Path(__import__(name).__file__ or "")) for name in doctor.OURS}
    assert doctor.packages_check(ours).verdict == "ok"
    stranger = doctor.packages_check(ours | {"features": str(tmp_path / "features" / "__init__.py")})
    assert stranger.verdict == "bad"
    assert "features from" in stranger.found
    stranger = doctor.packages_check(ours | {"tminus": str(tmp_path / "tminus.py")})
    assert stranger.found.endswith(f"found tminus from {tmp_path}")


def test_every_command_has_help(capsys: Any):
    """A command that cannot even be asked what it does is none."""
    for name in COMMANDS:
        assert tminus(name, "--help") == 0
        assert f"{name} " in capsys.readouterr().out
