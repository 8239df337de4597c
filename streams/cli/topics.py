"""`tminus topics`: what should there be, what is there, and make it so."""

import dataclasses
from pathlib import Path

import click

from streams.cli.errors import Exit
from streams.cli.options import bootstrap_option, config_option, json_option, say_json


@click.group("topics")
def command() -> None:
    """The topics of an installation: show, diff, apply."""


@command.command("show")
@config_option
@json_option
def show(config: tuple[Path, ...], as_json: bool) -> int:
    """Print every topic with its partitions and settings; asks no broker."""
    from streams.settings import read_settings
    from streams.topics import topic_specs

    specs = topic_specs(read_settings(config).definitions)
    if as_json:
        say_json([{**dataclasses.asdict(spec), "config": dict(spec.config)} for spec in specs])
        return Exit.FINE
    for spec in specs:
        shown = " ".join(f"{k}={v}" for k, v in spec.config.items())
        click.echo(f"{spec.name:<28} {spec.partitions:>3}  {shown}")
    return Exit.FINE


@command.command("diff")
@config_option
@bootstrap_option
@json_option
def diff(config: tuple[Path, ...], bootstrap: str | None, as_json: bool) -> int:
    """Compare the broker with what should be there; exit status 1 if they differ."""
    from streams.broker.admin import describe_topics
    from streams.settings import read_settings
    from streams.topics import differences, input_topics, topic_specs

    settings = read_settings(config, bootstrap=bootstrap)
    specs = topic_specs(settings.definitions)
    found = describe_topics(settings.bootstrap, [s.name for s in specs], settings=settings.definitions.kafka)
    facts = {name: (of.partitions, of.config) for name, of in found.items()}
    wrong = differences(specs, facts, input_topics(settings.definitions))
    _show(wrong, as_json, "the broker has what should be there")
    return Exit.FINDINGS if wrong else Exit.FINE


@command.command("apply")
@config_option
@bootstrap_option
@json_option
def apply(config: tuple[Path, ...], bootstrap: str | None, as_json: bool) -> int:
    """Create what is missing. What is there is left alone: `diff` shows where it differs."""
    from streams.broker.admin import describe_topics, ensure_topics
    from streams.settings import read_settings
    from streams.topics import input_topics, topic_specs

    settings = read_settings(config, bootstrap=bootstrap)
    kafka = settings.definitions.kafka
    # An input may have any number of partitions: its rows are forwarded.
    there = describe_topics(settings.bootstrap, list(input_topics(settings.definitions)), settings=kafka)
    specs = [s for s in topic_specs(settings.definitions) if s.name not in there]
    created = sorted(ensure_topics(settings.bootstrap, specs, settings=kafka))
    _show([f"created {name}" for name in created], as_json, "nothing was missing")
    return Exit.FINE


def _show(lines: list[str], as_json: bool, otherwise: str) -> None:
    if as_json:
        say_json(lines)
        return
    for line in lines or [otherwise]:
        click.echo(line)
