"""Where does this run, and with which configuration?

What the command line says wins over the environment (`TMINUS_*`), that over the file, that over the default. Secrets
may stay out of files: `TMINUS_KAFKA_SASL_PASSWORD` sets `sasl.password`. They are never shown.
"""

import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from features.declare import declare
from features.definitions import Definitions
from features.problems import Code, DeclarationError, Problem

BOOTSTRAP = "127.0.0.1:9092"
LAKE = "lake"
CONFIG = "tminus.toml"
GROUP = "tminus"
KEYS = "keys"

_KAFKA = "TMINUS_KAFKA_"
_SECRET = ("password", "secret", "key", "token", "jaas", "pem")
_SERVERS = "bootstrap.servers"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One installation, as a command or a stage sees it."""

    definitions: Definitions
    config: tuple[Path, ...]
    bootstrap: str
    lake: Path
    keys: Path
    group: str


def read_settings(
    config: Sequence[Path] = (),
    *,
    bootstrap: str | None = None,
    lake: Path | None = None,
    keys: Path | None = None,
    group: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """The settings that arguments, environment and files make together.

    Raises
    ------
    DeclarationError
        A file cannot be read or is wrong.
    """
    environ = os.environ if environ is None else environ
    paths = config_paths(config, environ)
    definitions = _load(paths, environ)
    servers = bootstrap or environ.get("TMINUS_BOOTSTRAP") or definitions.kafka.get(_SERVERS) or BOOTSTRAP
    return Settings(
        definitions=_without_servers(definitions),
        config=paths,
        bootstrap=servers,
        lake=lake_folder(lake, environ),
        keys=keys_folder(keys, environ),
        group=group or environ.get("TMINUS_GROUP") or GROUP,
    )


def load_definitions(paths: Sequence[Path], environ: Mapping[str, str] | None = None) -> Definitions:
    """The definitions in configuration files, with client settings from the environment; see `read_settings`."""
    return _without_servers(_load(paths, os.environ if environ is None else environ))


def config_paths(config: Sequence[Path], environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Which files: those given, else those of TMINUS_CONFIG (separated as in PATH), else tminus.toml here."""
    if config:
        return tuple(config)
    named = environ.get("TMINUS_CONFIG", "")
    return tuple(Path(part) for part in named.split(os.pathsep) if part) or (Path(CONFIG),)


def lake_folder(lake: Path | None, environ: Mapping[str, str] | None = None) -> Path:
    """Where the lake is; needs no configuration."""
    environ = os.environ if environ is None else environ
    return lake or Path(environ.get("TMINUS_LAKE") or LAKE)


def keys_folder(keys: Path | None, environ: Mapping[str, str] | None = None) -> Path:
    """Where the control keys are; needs no configuration."""
    environ = os.environ if environ is None else environ
    return keys or Path(environ.get("TMINUS_KEYS") or KEYS)


def redacted(kafka: Mapping[str, str]) -> dict[str, str]:
    """Client settings as they may be shown.

    Examples
    --------
    >>> redacted({"sasl.username": "ann", "sasl.password": "hunter2"})
    {'sasl.username': 'ann', 'sasl.password': '***'}
    """
    return {k: "***" if any(word in k.lower() for word in _SECRET) else v for k, v in kafka.items()}


def _load(paths: Sequence[Path], environ: Mapping[str, str]) -> Definitions:
    documents, problems = [], []
    for path in paths:
        try:
            documents.append((str(path), tomllib.loads(path.read_text("utf-8"))))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            problems.append(_unreadable(path, error))
    if problems:
        raise DeclarationError(problems)
    definitions = declare(documents)
    from_environ = {
        name.removeprefix(_KAFKA).lower().replace("_", "."): value
        for name, value in environ.items()
        if name.startswith(_KAFKA)
    }
    return msgspec.structs.replace(definitions, kafka={**definitions.kafka, **from_environ})


def _unreadable(path: Path, error: Exception) -> Problem:
    if isinstance(error, OSError):
        why = f"cannot be read: {error.strerror}"
        if isinstance(error, FileNotFoundError):
            why = "no such file; name another with --config or TMINUS_CONFIG"
    elif isinstance(error, UnicodeDecodeError):
        why = f"expected UTF-8, found byte 0x{error.object[error.start]:02x} at {error.start}"
    else:
        why = f"expected TOML: {error}"
    return Problem(code=Code.UNREADABLE, file=str(path), message=why)


def _without_servers(definitions: Definitions) -> Definitions:
    """Client settings win over ours, so an address among them would win over the one that was asked for."""
    kafka = {k: v for k, v in definitions.kafka.items() if k != _SERVERS}
    return msgspec.structs.replace(definitions, kafka=kafka)
