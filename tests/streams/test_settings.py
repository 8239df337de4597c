"""Who says where a run takes place."""

from pathlib import Path

import pytest

from features.problems import Code, DeclarationError
from streams.settings import load_definitions, read_settings, redacted

FILE = '[kafka]\n"bootstrap.servers" = "file:1"\n"sasl.username" = "ann"\n'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "t.toml"
    path.write_text(FILE)
    return path


def test_flag_wins_over_environment_over_file_over_default(config: Path, tmp_path: Path):
    """Whoever types it now means it most."""
    environ = {"TMINUS_BOOTSTRAP": "env:1", "TMINUS_LAKE": "env-lake"}
    assert read_settings([config], bootstrap="flag:1", environ=environ).bootstrap == "flag:1"
    assert read_settings([config], environ=environ).bootstrap == "env:1"
    assert read_settings([config], environ={}).bootstrap == "file:1"
    config.write_text("")
    assert read_settings([config], environ={}).bootstrap == "127.0.0.1:9092"
    assert read_settings([config], lake=Path("x"), environ=environ).lake == Path("x")
    assert read_settings([config], environ=environ).lake == Path("env-lake")
    assert read_settings([], environ={"TMINUS_CONFIG": str(config)}).config == (config,)


def test_an_address_in_the_file_does_not_outlive_the_choice(config: Path):
    """Client settings win over ours everywhere, so an address among them would win over the flag."""
    assert "bootstrap.servers" not in read_settings([config], environ={}).definitions.kafka
    assert "bootstrap.servers" not in load_definitions([config], {}).kafka


def test_secrets_come_from_the_environment_and_are_not_shown(config: Path):
    """Files are reviewed, committed and copied."""
    found = read_settings([config], environ={"TMINUS_KAFKA_SASL_PASSWORD": "hunter2"}).definitions.kafka
    assert found == {"sasl.username": "ann", "sasl.password": "hunter2"}
    assert redacted(found) == {"sasl.username": "ann", "sasl.password": "***"}


def test_every_unreadable_file_is_named(tmp_path: Path):
    """Missing, not TOML, not text: a sentence each, never a traceback."""
    broken, binary = tmp_path / "broken.toml", tmp_path / "binary.toml"
    broken.write_text("a = = 1")
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(DeclarationError) as found:
        read_settings([tmp_path / "none.toml", broken, binary], environ={})
    assert [p.code for p in found.value.problems] == [Code.UNREADABLE] * 3
    assert "line 1" in found.value.problems[1].message
