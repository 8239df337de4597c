"""Options that several commands share, each with one meaning."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def config_option(command: F) -> F:
    """`--config FILE`, repeatable."""
    return click.option(
        "--config",
        "-c",
        multiple=True,
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Configuration; may be given again, the files merge.  [TMINUS_CONFIG, tminus.toml]",
    )(command)


def bootstrap_option(command: F) -> F:
    """`--bootstrap HOST:PORT`."""
    return click.option(
        "--bootstrap", metavar="HOST:PORT", help="Address of Kafka.  [TMINUS_BOOTSTRAP, file, 127.0.0.1:9092]"
    )(command)


def lake_option(command: F) -> F:
    """`--lake DIR`."""
    return click.option(
        "--lake", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="The lake.  [TMINUS_LAKE, lake]"
    )(command)


def keys_option(command: F) -> F:
    """`--keys DIR`."""
    return click.option(
        "--keys",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
        help="Folder of the control keys.  [TMINUS_KEYS, keys]",
    )(command)


def json_option(command: F) -> F:
    """`--json`, as the argument `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")(command)


def progress(text: str) -> None:
    """A line that people may watch: on standard error, if that is a terminal."""
    if sys.stderr is not None and sys.stderr.isatty():
        sys.stderr.write(f"\r\033[2K{text}")
        sys.stderr.flush()


def progress_end() -> None:
    """Take the progress line away."""
    progress("")


def say_json(value: Any) -> None:
    """One JSON document on standard output."""
    import json

    click.echo(json.dumps(value, indent=2, default=str))
