"""What does tminus say on its topics while a story is told?"""

import contextlib
import json

from confluent_kafka import Consumer, Message, TopicPartition

from features.definitions import Definitions
from streams.stories.telling import Observations, SeenCommand, SeenFinding, SeenReceipt

_WATCHED = ("findings", "alerts", "control", "receipts")


class Watch:
    """What tminus says on its topics, written down."""

    def __init__(self, bootstrap: str, definitions: Definitions, seen: Observations) -> None:
        self._prefix = definitions.run.prefix
        self._seen = seen
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "tminus-demo",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 5,
                "broker.address.family": "v4",
                "log_level": 2,
            }
        )
        self._consumer.assign([TopicPartition(self._prefix + name, 0, 0) for name in _WATCHED])

    def poll(self, timeout_s: float) -> bool:
        """Take one record, waiting at most `timeout_s`; False when there was none."""
        message = self._consumer.poll(timeout_s)
        if message is None:
            return False
        if message.error() is None and message.value() is not None:
            with contextlib.suppress(ValueError, KeyError, TypeError):  # a claim, or not ours
                self._note(message)
        return True

    def poll_all(self) -> None:
        """Take what is left."""
        while self.poll(0.3):
            pass

    def close(self) -> None:
        """Stop."""
        self._consumer.close()

    def _note(self, message: Message) -> None:
        said = json.loads(message.value() or b"")
        at_us = message.timestamp()[1] * 1000
        name = (message.topic() or "").removeprefix(self._prefix)
        if name == "findings":
            found = (said["model"], said["feature"], said["kind"], said["severity"], said["evidence"])
            self._seen.findings.append(SeenFinding(at_us, *found))
        elif name == "alerts":
            if said["status"] == "firing":
                self._seen.alerts[said["fingerprint"]] = (said["labels"]["model"], said["labels"]["severity"])
            else:
                self._seen.alerts.pop(said["fingerprint"], None)
        elif name == "control":
            self._seen.commands.append(SeenCommand(said["issued_us"], said["scope"], said["mode"], said["why"]))
        elif name == "receipts":
            receipt = (said["node"], said["scope"], said["mode"], said["effective_us"])
            self._seen.receipts.append(SeenReceipt(*receipt))
