"""`tminus run`: the stages, each in a process of its own."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from streams.cli.errors import Exit
from streams.cli.options import bootstrap_option, config_option, keys_option, lake_option

#: Stage -> the module that is its process, in the order of the data.
STAGES = {"entity": "streams.entity", "model": "streams.model", "control": "streams.commander"}


@click.command("run")
@click.argument("stages", nargs=-1, type=click.Choice(list(STAGES)))
@config_option
@bootstrap_option
@lake_option
@keys_option
@click.option("--group", metavar="NAME", help="Workers of one installation share it.  [TMINUS_GROUP, tminus]")
@click.option("--create-topics", is_flag=True, help="First create what is missing, as `tminus topics apply` does.")
def command(
    stages: tuple[str, ...],
    config: tuple[Path, ...],
    bootstrap: str | None,
    lake: Path | None,
    keys: Path | None,
    group: str | None,
    create_topics: bool,
) -> int:
    """Run STAGES (entity, model, control; all without arguments) until told to stop.

    When one of them fails, all are stopped, and its exit status is ours.
    """
    from streams.cli.supervisor import Supervisor
    from streams.settings import read_settings

    settings = read_settings(config, bootstrap=bootstrap, lake=lake, keys=keys, group=group)
    _check_topics(settings, create_topics)
    with Supervisor() as children:
        for stage in stages or STAGES:
            children.start(stage, stage_command(stage, settings), environ=stage_environ())
            click.echo(f"{stage}: started, process {children.children[stage].pid}", err=True)
        return watch(children)


def stage_command(stage: str, settings: Any) -> list[str]:
    """The command line of one stage's process."""
    place = ["--bootstrap", settings.bootstrap, "--lake", str(settings.lake), "--group", settings.group]
    keys = ["--keys", str(settings.keys)] if stage == "control" else []
    return [sys.executable, "-m", STAGES[stage], "--config", *map(str, settings.config), *place, *keys]


def stage_environ() -> dict[str, str]:
    """What a stage's process finds in its environment besides ours."""
    # Expressions are evaluated on small batches: handing them to a pool of threads costs more than they do.
    return {"POLARS_MAX_THREADS": os.environ.get("POLARS_MAX_THREADS", "1")}


def watch(children: Any) -> int:
    """Wait until told to stop; raises `StageFailed` when a stage ends with another status than 0."""
    import signal

    from streams.cli.supervisor import StageFailed

    while (ended := children.wait()) is not None:
        name, status = ended
        if status != 0:
            raise StageFailed(name, status)
        click.echo(f"{name}: ended", err=True)  # a controller stands down for a newer one: nothing is wrong
    return Exit.INTERRUPTED if children.signalled == signal.SIGINT else Exit.FINE


def _check_topics(settings: Any, create: bool) -> None:
    """A worker that meets a missing topic would drop it in silence, so it is asked for first."""
    from streams.broker.admin import BrokerError, describe_topics, ensure_topics, probe
    from streams.topics import topic_specs

    kafka = settings.definitions.kafka
    probe(settings.bootstrap, settings=kafka)
    specs = topic_specs(settings.definitions)
    there = describe_topics(settings.bootstrap, [s.name for s in specs], settings=kafka)
    missing = [s for s in specs if s.name not in there]
    if missing and create:
        ensure_topics(settings.bootstrap, missing, settings=kafka)
    elif missing:
        names = ", ".join(s.name for s in missing)
        raise BrokerError(f"{settings.bootstrap}: topics are missing: {names}; make them with: tminus topics apply")
