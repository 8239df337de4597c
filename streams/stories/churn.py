"""The churn story: what happens, when, as bytes on topics. Pure: the same seed tells the same story.

Users of a shop click and log in; some cancel. A database trigger clears `last_login` when a subscription is
cancelled, in the same transaction, so whoever trains on the table as it stands later learns the label from its
consequence. From mid-story on people spend more than they did, and a model that has never seen such baskets goes on
answering. Variants: the trigger runs a little later in a transaction of its own, or there is none, and no drift.
"""

import heapq
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from features.times import iso

USERS, CLICKS = "cdc.users", "events.clicks"
PAGES = ("home", "search", "item", "basket", "health")

#: From the commit in the database to the record in Kafka.
_CAPTURE_US = 8_000
#: From a click to the record in Kafka.
_CLICK_US = 2_000
_S = 1_000_000

_encode = msgspec.json.Encoder().encode


class Event(NamedTuple):
    """One record and the moment at which it reaches Kafka, microseconds UTC."""

    due_us: int
    topic: str
    key: bytes
    value: bytes


class Cancel(NamedTuple):
    """One cancelled subscription."""

    commit_us: int
    user: int


@dataclass(frozen=True, slots=True)
class Churn:
    """One telling of the story. Rates are per second, times seconds from the start.

    Parameters
    ----------
    trigger
        Does the database clear `last_login` when a user cancels?
    trigger_delay_ms
        0: in the transaction of the cancel; above: in one of its own, that much later.
    drift_at_s
        From when on people spend more; None: never.

    Examples
    --------
    >>> story = Churn(seed=1, start_us=1_700_000_000_000_000, duration_s=2.0)
    >>> next(e.key for e in story.events() if e.topic == USERS)
    b'{"user_id":1}'
    """

    seed: int
    start_us: int
    duration_s: float = 26.0
    users: int = 250
    clicks_per_s: float = 300.0
    logins_per_s: float = 10.0
    cancels_from_s: float = 10.0
    cancels_per_s: float = 1.0
    trigger: bool = True
    trigger_delay_ms: int = 0
    drift_at_s: float | None = 16.0
    drift_factor: float = 2.0

    def events(self) -> Iterator[Event]:
        """All records, in order of `due_us`."""
        return heapq.merge(self._changes(), self._clicks(), key=lambda event: event.due_us)

    def cancels(self) -> list[Cancel]:
        """Who cancels when, in order; every user at most once."""
        chance = self._chance("cancels")
        who = chance.sample(range(1, self.users + 1), self.users)
        found, at_s = [], self.cancels_from_s
        while who and at_s < self.duration_s and self.cancels_per_s > 0:
            found.append(Cancel(self._at(at_s), who.pop()))
            at_s += chance.uniform(0.5, 1.5) / self.cancels_per_s
        return found

    @property
    def drift_us(self) -> int | None:
        """When people begin to spend more."""
        return None if self.drift_at_s is None else self._at(self.drift_at_s)

    def _at(self, second: float) -> int:
        return self.start_us + round(second * _S)

    def _chance(self, what: str) -> random.Random:
        # One source of chance per stream: with another trigger the clicks stay the same.
        return random.Random(f"{self.seed}.{what}")

    def _clicks(self) -> Iterator[Event]:
        chance, at_s = self._chance("clicks"), 0.0
        while (at_s := at_s + chance.expovariate(self.clicks_per_s)) < self.duration_s:
            user = chance.randint(1, self.users)
            amount = chance.lognormvariate(math.log(20.0), 0.5)
            if self.drift_at_s is not None and at_s >= self.drift_at_s:
                amount *= self.drift_factor
            happened_us = self._at(at_s)
            value = {
                "ts": happened_us // 1000,
                "user_id": user,
                "page": chance.choice(PAGES),
                "amount": round(amount, 2),
            }
            yield Event(happened_us + _CLICK_US, CLICKS, str(user).encode(), _encode(value))

    def _changes(self) -> Iterator[Event]:
        table = _Table(self)
        yield from table.snapshot()
        chance = self._chance("logins")
        # (commit, order of equals, what, user)
        agenda: list[tuple[int, int, str, int]] = [
            (c.commit_us, i, "cancel", c.user) for i, c in enumerate(self.cancels())
        ]
        at_s, order = 0.5, len(agenda)
        while (at_s := at_s + chance.expovariate(self.logins_per_s)) < self.duration_s:
            agenda.append((self._at(at_s), order, "login", chance.randint(1, self.users)))
            order += 1
        heapq.heapify(agenda)
        while agenda:
            commit_us, order, what, user = heapq.heappop(agenda)
            yield from table.change(what, user, commit_us)
            if what == "cancel" and self.trigger and self.trigger_delay_ms:
                heapq.heappush(agenda, (commit_us + self.trigger_delay_ms * 1000, order, "clear", user))


@dataclass(slots=True)
class _Table:
    """The table `users` with its write-ahead log, as change events show it."""

    story: Churn
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    txid: int = 770
    lsn: int = 24_023_128

    def snapshot(self) -> Iterator[Event]:
        """What was there before: one read event per user."""
        chance = self.story._chance("users")
        for user in range(1, self.story.users + 1):
            login_us = self.story.start_us - chance.randint(60, 30 * 86_400) * _S
            self.rows[user] = {"user_id": user, "last_login": iso(login_us), "status": "active"}
            position = {1: "first", self.story.users: "last"}.get(user, "true")
            yield self._event("r", None, self.rows[user], self.story.start_us, position)

    def change(self, what: str, user: int, commit_us: int) -> Iterator[Event]:
        """One transaction with one update of one row."""
        before = self.rows[user]
        after = dict(before)
        if what == "login":
            if before["status"] == "cancelled":
                return
            after["last_login"] = iso(commit_us)
        elif what == "cancel":
            after["status"] = "cancelled"
            if self.story.trigger and not self.story.trigger_delay_ms:
                after["last_login"] = None
        else:
            after["last_login"] = None
        self.rows[user] = after
        self.txid += 1
        self.lsn += 168
        yield self._event("u", before, after, commit_us, "false")

    def _event(
        self, op: str, before: dict[str, Any] | None, after: dict[str, Any], commit_us: int, snapshot: str
    ) -> Event:
        due_us = commit_us + _CAPTURE_US
        source = {
            "version": "3.6.3.Final",
            "connector": "postgresql",
            "name": "app",
            "ts_ms": commit_us // 1000,
            "snapshot": snapshot,
            "db": "app",
            "sequence": f'["{self.lsn - 56}","{self.lsn}"]',
            "ts_us": commit_us,
            "ts_ns": commit_us * 1000,
            "schema": "public",
            "table": "users",
            "txId": self.txid,
            "lsn": self.lsn,
            "xmin": None,
        }
        in_transaction = op != "r"
        value = {
            "before": before,
            "after": after,
            "source": source,
            # On PostgreSQL this id differs from event to event of one transaction: source.txId is what they share.
            "transaction": {"id": f"{self.txid}:{self.lsn}", "total_order": 1, "data_collection_order": 1}
            if in_transaction
            else None,
            "op": op,
            "ts_ms": due_us // 1000,
            "ts_us": due_us,
            "ts_ns": due_us * 1000,
        }
        return Event(due_us, USERS, _encode({"user_id": after["user_id"]}), _encode(value))


def configuration() -> Path:
    """The `tminus.toml` of the story."""
    return Path(str(files("streams.stories") / "churn.toml"))
