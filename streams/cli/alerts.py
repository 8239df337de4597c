"""`tminus alerts tail`: what is firing, and what happens next?"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from streams.cli.options import bootstrap_option, config_option, json_option


@click.group("alerts")
def command() -> None:
    """The alerts topic, for people."""


@command.command("tail")
@config_option
@bootstrap_option
@click.option("--no-follow", is_flag=True, help="Print what is there and end.")
@json_option
def tail(config: tuple[Path, ...], bootstrap: str | None, no_follow: bool, as_json: bool) -> int:
    """Print the state of every alert, then each change as it comes, until Ctrl-C."""
    from streams.broker.admin import probe
    from streams.settings import read_settings

    settings = read_settings(config, bootstrap=bootstrap)
    kafka = settings.definitions.kafka
    probe(settings.bootstrap, settings=kafka)
    for value in _alerts(settings.bootstrap, settings.definitions.run.prefix + "alerts", kafka, no_follow):
        click.echo(value.decode() if as_json else line(json.loads(value)))
    return 0


def line(alert: dict[str, Any]) -> str:
    """One alert on one line: since when, what, whom it concerns, in words."""
    labels = alert["labels"]
    since = alert["startsAt"] if alert["status"] == "firing" else alert["endsAt"]
    what = alert["annotations"].get("summary", "")
    return f"{since}  {alert['status'].upper():<8} {labels.get('severity', ''):<8} {labels.get('model', '')}: {what}"


def _alerts(bootstrap: str, topic: str, settings: dict[str, str], no_follow: bool) -> Iterator[bytes]:
    from confluent_kafka import Consumer, TopicPartition

    from streams.broker.admin import end_offsets

    ends = {p: end for (_, p), end in end_offsets(bootstrap, [topic], settings=settings).items()}
    consumer = Consumer(
        {
            **settings,
            "bootstrap.servers": bootstrap,
            "group.id": "tminus-alerts-tail",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 50,
            "broker.address.family": "v4",
        }
    )
    try:
        consumer.assign([TopicPartition(topic, p, 0) for p in ends])
        at = dict.fromkeys(ends, 0)
        while not no_follow or any(at[p] < end for p, end in ends.items()):
            message = consumer.poll(0.2)
            if message is None or message.error() is not None:
                if no_follow:  # compaction and control records leave holes: positions tell, not messages
                    at = {
                        tp.partition: max(tp.offset, at[tp.partition])
                        for tp in consumer.position(consumer.assignment())
                    }
                continue
            at[message.partition() or 0] = (message.offset() or 0) + 1
            value = message.value()
            if value is not None:
                yield value
    finally:
        consumer.close()
