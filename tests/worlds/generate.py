"""A world for the entity stage, from a seed: clicks, change events of a users table, and what serving logged.

Everything that people and producers do wrong is in it: keys that are not the entity, late rows, poison, a trigger that
clears a column when somebody cancels. Times are filled in when a record is sent: `Shot.value` takes the instant.
"""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any

Value = Callable[[int], bytes | None]

#: How late a click may be.
LATENESS_US = 4_000_000
#: How long after a cancel the slow trigger clears the column.
_TRIGGER_US = 30_000

#: People come and go: each is busy one second in eight, so windows also run empty.
_PHASES = 8

PAGES = ("home", "search", "offer", "health")
PLANS = ("free", "pro", "team")

CONFIG = """\
[run]
partitions = {partitions}
clock_error = "{clock_error}"
prefix = "{prefix}"
snapshot_every = "{snapshot_every}"
commit_every = "{commit_every}"

[source.clicks]
topic = "{clicks}"
entity = {{ user = "user_id" }}
event_time = {{ field = "ts", unit = "ms" }}
lateness = "{lateness}"
{ingest}

[source.users]
topic = "{users}"
format = "debezium"
entity = {{ user = "user_id" }}
{ingest}

[source.predictions]
topic = "{predictions}"
{ingest}

[feature.clicks_2s]
source = "clicks"
aggregate = "count"
window = "2s"
panes = 4
where = "page <> 'health'"
serving_lag = "5ms"

[feature.spent_2s]
source = "clicks"
aggregate = "sum"
column = "amount"
window = "2s"
panes = 4
serving_lag = "5ms"

[feature.mean_1s]
source = "clicks"
aggregate = "mean"
column = "amount"
window = {{ tumbling = "1s" }}

[feature.least_3s]
source = "clicks"
aggregate = "min"
column = "amount"
window = "3s"
panes = 3

[feature.most_2s]
source = "clicks"
aggregate = "max"
column = "amount"
window = {{ tumbling = "2s" }}

[feature.newest_3s]
source = "clicks"
aggregate = "last"
column = "amount"
window = "3s"
panes = 6
serving_lag = "0s"

[feature.last_login]
source = "users"
column = "last_login"
mutable_by = ["login", "cancel"]
serving_lag = "5ms"

[feature.status]
source = "users"
column = "status"
served_from = "source"

[feature.plan]
source = "users"
column = "plan"
served_from = "source"

[model.churn]
predictions = "predictions"
entities = ["user"]
features = ["clicks_2s", "spent_2s", "newest_3s", "last_login", "status", "plan"]
join = {{ clicks_2s = "as_of", spent_2s = "event_time", plan = "event_time", status = "as_of" }}
label = {{ source = "users", positive = {{ column = "status", equals = "cancelled" }}, horizon = "{horizon}" }}
"""

FEATURES = ("clicks_2s", "spent_2s", "newest_3s", "last_login", "status", "plan")


@dataclass(frozen=True)
class Shot:
    """One record to be sent: after how many microseconds, to which source, under which key."""

    after_us: int
    source: str
    key: bytes | None
    value: Value


@dataclass
class _User:
    name: str
    last_login: int | None = None
    status: str = "active"
    plan: str = "free"
    clicks: int = 0

    def image(self) -> dict[str, Any]:
        return {"user_id": int(self.name), "last_login": self.last_login, "status": self.status, "plan": self.plan}


@dataclass
class World:
    """Shots of one seed, in the order of their time.

    Parameters
    ----------
    rows
        How many clicks and user changes, about.
    per_second
        Of them.
    poison
        Share of records that break their contract.
    """

    seed: int
    rows: int
    per_second: float
    users: int = 150
    poison: float = 0.01
    predictions: float = 0.05  # share beside the rows
    odd_keys: bool = False  # keys of clicks are JSON, too
    _now_us: int = 0
    _txid: int = 1000

    def shots(self) -> Iterator[Shot]:
        """All shots, in the order of their time."""
        waiting: list[tuple[int, int, Shot]] = []
        for number, shot in enumerate(self._made()):
            heappush(waiting, (shot.after_us, number, shot))
            while waiting[0][0] + _TRIGGER_US < self._now_us:
                yield heappop(waiting)[2]
        while waiting:
            yield heappop(waiting)[2]

    def _made(self) -> Iterator[Shot]:
        chance = random.Random(self.seed)
        people = [_User(str(1000 + 7 * n)) for n in range(self.users)]
        for user in people:
            yield from self._change(chance, user, "c")
        made = self.users
        while made < self.rows:
            self._now_us += int(chance.expovariate(self.per_second) * 1e6)
            phase = self._now_us // 1_000_000 % _PHASES
            user = chance.choice(people[phase::_PHASES] if chance.random() < 0.97 else people)
            made += 1
            if chance.random() < self.poison:
                yield self._poison(chance, user)
            elif chance.random() < 0.8:
                yield self._click(chance, user)
            else:
                deeds = self._deed(chance, user)
                made += len(deeds) - 1
                yield from deeds
            if chance.random() < self.predictions:
                yield self._prediction(chance, user, made)

    def _click(self, chance: random.Random, user: _User) -> Shot:
        user.clicks += 1
        late_us = _lateness(chance)  # stamps are coarse, so many fall on the edge of a pane, or of being late
        body = {"user_id": int(user.name), "page": chance.choice(PAGES), "amount": chance.randrange(40) / 4}
        if chance.random() < 0.05:
            body["amount"] = None

        def value(now_us: int) -> bytes:
            return _json({**body, "ts": (now_us - late_us) // 50_000 * 50, "at": now_us})

        key = b'{"user_id":%d}' % int(user.name) if self.odd_keys else user.name.encode()
        return Shot(self._now_us, "clicks", key, value)

    def _deed(self, chance: random.Random, user: _User) -> list[Shot]:
        """Something happens in the users table."""
        kind = chance.random()
        before = user.image()
        if kind < 0.45:
            user.last_login = chance.randrange(50)
            return self._change(chance, user, "u", before)
        if kind < 0.7:
            user.plan = chance.choice(PLANS)
            return self._change(chance, user, "u", before)
        if kind < 0.72:
            return [*self._change(chance, user, "d", before), Shot(self._now_us, "users", _key(user), lambda _: None)]
        if user.status == "cancelled":
            user.status = "active"
            return self._change(chance, user, "u", before)
        user.status = "cancelled"
        shots = self._change(chance, user, "u", before)
        # The trigger: in the same transaction, or 30 ms later in one of its own.
        before = user.image()
        user.last_login = None
        later_us = 0 if chance.random() < 0.5 else _TRIGGER_US
        return shots + self._change(chance, user, "u", before, later_us=later_us)

    def _change(
        self, chance: random.Random, user: _User, op: str, before: dict[str, Any] | None = None, later_us: int = -1
    ) -> list[Shot]:
        if later_us != 0:
            self._txid += 1
        after, txid, lag_us = user.image(), self._txid, max(later_us, 0)
        age_us = 2_000  # the connector reads the log this much after the commit

        def value(now_us: int) -> bytes:
            commit_us = now_us - age_us
            witness = {"connector": "postgresql", "name": "shop", "ts_us": commit_us, "txId": txid}
            images = {"before": before, "after": None if op == "d" else after}
            return _json({"op": op, "source": witness, **images, "at": now_us})

        return [Shot(self._now_us + lag_us, "users", _key(user), value)]

    def _prediction(self, chance: random.Random, user: _User, number: int) -> Shot:
        """What a serving node believes now, without stamps: mostly right, sometimes not."""
        values = {
            "clicks_2s": chance.randrange(4), "spent_2s": chance.randrange(40) / 4,
            "newest_3s": chance.randrange(40) / 4, "last_login": user.last_login, "status": user.status,
            "plan": user.plan,
        }  # fmt: skip
        body = {"prediction_id": f"live-{number}", "model": "churn", "version": "3", "entity": {"user": int(user.name)}}

        def value(now_us: int) -> bytes:
            return _json({**body, "read_time": now_us - 500, "output": 0.5, "features": values, "at": now_us})

        return Shot(self._now_us, "predictions", user.name.encode(), value)

    def _poison(self, chance: random.Random, user: _User) -> Shot:
        source = chance.choice(("clicks", "users", "predictions"))
        return Shot(self._now_us, source, user.name.encode(), _broken(chance, source, user))


def _lateness(chance: random.Random) -> int:
    """Most clicks are in time, some are late, a few too late for every window; some are as late as is allowed."""
    kind = chance.random()
    if kind < 0.85:
        return 0 if kind < 0.82 else LATENESS_US
    return chance.randrange(2_000_000) if kind < 0.97 else chance.randrange(2_000_000, 7_000_000)


def _key(user: _User) -> bytes:
    """The key of Debezium's JSON converter: never the entity's own text."""
    return b'{"user_id":%d}' % int(user.name)


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def _broken(chance: random.Random, source: str, user: _User) -> Value:
    """A value that breaks its contract in one way."""
    bytes_ = [b"\xff\xfe\x00 no text", b"{", b'"text"', b"[1,2]", b"\0\0\0\0\1framed", b"", b'{"a":' + b"[" * 10_000]
    sound = {
        "clicks": {"user_id": int(user.name), "page": "home", "amount": 1},
        "users": {"op": "c", "after": user.image(), "before": None},
        "predictions": {"prediction_id": "x", "model": "churn", "entity": user.name, "features": {}},
    }[source]
    edits: dict[str, list[dict[str, Any]]] = {
        "clicks": [
            {"user_id": 1.5}, {"user_id": ""}, {"user_id": [1]}, {"amount": "much"}, {"page": 3}, {"ts": "noon"},
            {"ts": 1_700_000_000}, {"ts": 17}, {"ts": None}, {"at": 5}, {"page": ...},
        ],
        "users": [
            {"op": "x"}, {"source": None}, {"after": None}, {"after": {"user_id": 5}}, {"source": {"ts_us": 5}},
            {"op": "d"}, {"after": {**user.image(), "plan": {"a": 1}}}, {"source": {}},
        ],
        "predictions": [
            {"model": "nobody"}, {"read_time": ...}, {"features": ...}, {"features": {"plan": 1}}, {"entity": ...},
            {"prediction_id": ...}, {"entity": {"card": 1}}, {"ahead": 1},
        ],
    }  # fmt: skip
    if chance.random() < 0.4:
        fixed = chance.choice(bytes_)
        return lambda _: fixed
    if source != "users" and chance.random() < 0.1:
        return lambda _: None
    edit = chance.choice(edits[source])

    def value(now_us: int) -> bytes:
        times = {"ts": now_us // 1000, "at": now_us, "read_time": now_us}
        if source == "users":
            times["source"] = {"ts_us": now_us - 2_000, "txId": 1, "connector": "postgresql", "name": "shop"}
        body: dict[str, Any] = {**sound, **times, **edit}
        if "ahead" in body:
            body["read_time"] = now_us + 3_600_000_000
        return _json({k: v for k, v in body.items() if v is not ...})

    return value


def _json_value(number: float | None, text: str | None) -> Any:
    """A value of the lake as it was in the payload."""
    if number is None:
        return text
    return int(number) if number == int(number) else number


def afterthoughts(seed: int, known: dict[tuple[str, str], list[tuple[int, Any, str]]], count: int) -> list[Shot]:
    """Predictions about a time that is over, so that every verdict occurs: right, early, old and invented values.

    Parameters
    ----------
    known
        (entity, feature) -> (about when it became readable, value, version id), in order.
    """
    chance = random.Random(seed)
    entities = sorted({entity for entity, _ in known})
    shots = []
    for number in range(count):
        entity = chance.choice(entities)
        own = {f: known.get((entity, f), []) for f in FEATURES}
        when_us = chance.choice(chance.choice([v for v in own.values() if v]))[0]
        jitter_us = 60_000 if chance.random() < 0.4 else 1_500_000
        read_us = when_us + chance.randrange(-jitter_us, jitter_us)
        if chance.random() < 0.02:
            read_us -= 7_200_000_000  # older than what is kept
        values, stamps = {}, {}
        for f, versions in own.items():
            values[f], stamps[f] = _choice(chance, versions, read_us)
        body = {"prediction_id": f"late-{number}", "model": "churn", "entity": entity, "features": values}
        body |= {"read_time": read_us, "output": 0.5, "version": "3"}
        if chance.random() < 0.25:
            body["read"] = {f: stamp for f, stamp in stamps.items() if stamp and chance.random() < 0.7}

        def value(now_us: int, body: dict[str, Any] = body) -> bytes:
            return _json({**body, "at": now_us})

        shots.append(Shot(0, "predictions", entity.encode(), value))
    return shots


def _choice(chance: random.Random, versions: list[tuple[int, Any, str]], read_us: int) -> tuple[Any, str | None]:
    """A value to log, and the id to stamp it with."""
    now = sum(1 for when_us, _, _ in versions if when_us <= read_us) - 1
    kind = chance.random()
    if kind < 0.04 or not versions:
        return "phantom", "00000000000000ff"
    if kind < 0.08:
        return None, versions[0][2]
    steps = 0 if kind < 0.5 else 1 if kind < 0.72 else -chance.randrange(1, 4)
    place = now + steps if kind < 0.9 else chance.randrange(len(versions))
    if not 0 <= place < len(versions):
        return None, None
    _, value, name = versions[place]
    return value, name if chance.random() < 0.93 else versions[chance.randrange(len(versions))][2]
