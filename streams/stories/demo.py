"""What `tminus demo` runs: everything on this machine, and a telling of what really happened.

An embedded broker, throw-away keys, the three stages and three serving nodes, each a process of its own; the churn
story is produced at real speed, and what tminus says on its topics is written down. Whatever happens, nothing is left
behind but the lake.
"""

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from features.definitions import Definitions
from streams import signing
from streams.broker.embedded import EmbeddedBroker
from streams.cli.errors import Exit
from streams.cli.options import progress, progress_end
from streams.cli.run import STAGES, stage_command, stage_environ
from streams.cli.supervisor import Supervisor
from streams.clock import now_us
from streams.settings import Settings, load_definitions
from streams.stories.churn import CLICKS, USERS, Churn, configuration
from streams.stories.telling import Ending, Observations, SeenFlip, questions, tell
from streams.stories.watching import Watch
from streams.topics import topic_specs

#: Variant -> what differs in the story.
VARIANTS: dict[str, dict[str, Any]] = {
    "leak": {},
    "late-trigger": {"trigger_delay_ms": 30, "drift_at_s": None, "duration_s": 18.0},
    "quiet": {"trigger": False, "drift_at_s": None, "duration_s": 20.0},
}
NODES = ("node-1", "node-2", "node-3")
UNSTAMPED = "node-3"  # what it read must be judged by bounds

#: Nodes wait until windows are full: while they fill, counts rise, and a rise is no drift.
SERVE_AFTER_US = 4_500_000
#: The embedded broker gives one batch per partition and fetch: many events must share one.
LINGER_MS = 50
#: What a first start may take: Python, Numba's cache, three groups on the broker.
READY_S = 30.0
#: After the last event: until the last receipts are in, and at most until every label has matured and was judged.
SETTLE_S = 3.0
MATURE_S_MAX = 20.0
_MARK = ".tminus-demo"


def run(*, seed: int, variant: str, lake: Path) -> int:
    """The demo from beginning to end; the exit status."""
    lake = free_folder(lake)
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tminus-demo-")))
        broker = stack.enter_context(EmbeddedBroker())
        children = stack.enter_context(Supervisor())
        demo = Demo(scratch, lake, broker, children, seed=seed, variant=variant)
        seen = demo.play()
        progress_end()
    lines = [*tell(seen), *questions(str(lake), _command())]
    sys.stdout.write(
        "\n".join([*lines, "Everything was cleaned up: no process, broker or temporary file is left."]) + "\n"
    )
    # Who is killed is part of the story; who fails by itself is not.
    has_failed = bool(seen.trouble) or any(e.how.startswith("ended") for e in seen.endings)
    return Exit.INTERRUPTED if seen.is_interrupted else Exit.FINDINGS if has_failed else Exit.FINE


def _command() -> str:
    """How a person calls tminus from here: plainly if it is on the path, else by its place."""
    if shutil.which("tminus"):
        return "tminus"
    place = Path(sys.argv[0])
    return os.path.relpath(place) if place.name == "tminus" else "tminus"


def free_folder(lake: Path) -> Path:
    """The folder for the lake: emptied if an earlier demo made it, another name if somebody else did."""
    wanted, number = lake, 1
    while lake.exists() and not (lake / _MARK).exists() and any(lake.iterdir()):
        number += 1
        lake = wanted.with_name(f"{wanted.name}-{number}")
    if (lake / _MARK).exists():
        shutil.rmtree(lake)
    lake.mkdir(parents=True, exist_ok=True)
    (lake / _MARK).write_text("made by tminus demo, which may delete this folder\n")
    return lake.absolute()


class Demo:
    """One telling: its processes, and what is seen of them."""

    def __init__(
        self, scratch: Path, lake: Path, broker: EmbeddedBroker, children: Supervisor, *, seed: int, variant: str
    ) -> None:
        self.scratch, self.lake, self.children = scratch, lake, children
        self.bootstrap = broker.bootstrap
        self.definitions: Definitions = load_definitions([configuration()], {})
        self.story = Churn(seed=seed, start_us=0, **VARIANTS[variant])
        self.seen = Observations(
            seed=seed,
            users=self.story.users,
            trigger=self.story.trigger,
            trigger_delay_ms=self.story.trigger_delay_ms,
        )
        broker.create_topics({s.name: s.partitions for s in topic_specs(self.definitions)})
        self._watch = Watch(self.bootstrap, self.definitions, self.seen)
        self._narrated_us = 0

    def play(self) -> Observations:
        """Start everything, tell the story, stop everything; what was seen."""
        try:
            self._start_stages()
            if self._wait_ready():
                self._start_nodes()
                self._produce()
                self._settle()
        finally:
            self.seen.is_interrupted = self.children.signalled is not None
            self.seen.ended_us = now_us()
            self._stop()
        return self.seen

    def _start_stages(self) -> None:
        signing.generate(self.scratch / "keys", "control")
        settings = Settings(
            definitions=self.definitions,
            config=(configuration(),),
            bootstrap=self.bootstrap,
            lake=self.lake,
            keys=self.scratch / "keys",
            group="demo",
        )
        # A stage that is killed cannot tidy up; what it leaves lies in our folder, which goes.
        environ = {**stage_environ(), "TMPDIR": str(self.scratch)}
        for stage in STAGES:
            with (self.scratch / f"{stage}.log").open("wb") as log:
                self.children.start(stage, stage_command(stage, settings), output=log, environ=environ)

    def _wait_ready(self) -> bool:
        """Every partition group has an owner, and every model was asserted live."""
        until = time.monotonic() + READY_S
        units = [f"entity-p{n}" for n in range(self.definitions.run.partitions)]
        while not self._is_told_to_stop():
            self._watch.poll(0.05)
            asserted = {c.scope for c in self.seen.commands}
            owned = [u for u in units if any((self.lake / "_commits" / u).glob("m-*.json"))]
            progress(f"starting: {len(owned)}/{len(units)} partitions owned, {len(asserted)} models in command")
            if len(owned) == len(units) and len(asserted) == len(self.definitions.models):
                return True
            if self.seen.endings:
                ending = self.seen.endings[0]
                self.seen.trouble = (
                    f"the {ending.name} stage {ending.how} at its start: {self._last_words(ending.name)}"
                )
                return False
            if time.monotonic() > until:
                self.seen.trouble = f"the stages were not ready within {READY_S:.0f} s"
                return False
        return False

    def _start_nodes(self) -> None:
        start_us = now_us() + 500_000
        self.story = dataclasses.replace(self.story, start_us=start_us)
        self.seen.started_us = start_us
        self.seen.nodes = list(NODES)
        for node in NODES:
            command = [sys.executable, "-m", "streams.stories.serving", "--node", node, "--bootstrap", self.bootstrap]
            command += ["--keys", str(self.scratch / "keys" / "control.pub"), "--state", str(self.scratch / node)]
            command += ["--users", str(self.story.users), "--from-us", str(start_us + SERVE_AFTER_US)]
            command += ["--seed", str(self.seen.seed), *(["--no-stamps"] if node == UNSTAMPED else [])]
            with (self.scratch / f"{node}.log").open("wb") as log:
                self.children.start(node, command, output=log)

    def _produce(self) -> None:
        """Send every record when it is due, and look at what comes back meanwhile."""
        producers = {USERS: self._producer(2), CLICKS: self._producer(LINGER_MS)}
        for event in self.story.events():
            while (wait_us := event.due_us - now_us()) > 0:
                self._watch.poll(min(wait_us / 1e6, 0.02))
                for producer in producers.values():
                    producer.poll(0)
                if self._is_told_to_stop():
                    return
            producers[event.topic].produce(event.topic, event.value, event.key)
            self.seen.sent[event.topic] += 1
            self._narrate(event.due_us)
        for producer in producers.values():
            producer.flush(2.0)

    def _producer(self, linger_ms: int) -> Producer:
        return Producer(
            {
                "bootstrap.servers": self.bootstrap,
                "partitioner": "murmur2_random",
                "linger.ms": linger_ms,
                "broker.address.family": "v4",
                "log_level": 2,
            }
        )

    def _narrate(self, at_us: int) -> None:
        if at_us - self._narrated_us < 50_000:
            return
        self._narrated_us = at_us
        seen, drift_us = self.seen, self.story.drift_us
        seen.cancels = [c for c in self.story.cancels() if c.commit_us <= at_us]
        seen.drift_us = drift_us if drift_us is not None and drift_us <= at_us else None
        progress(
            f"{(at_us - seen.started_us) / 1e6:4.1f} of {self.story.duration_s:.0f} s: "
            f"{len(seen.cancels)} users cancelled, {len(seen.findings)} findings, "
            f"{sum(c.mode != 'live' for c in seen.commands)} models switched"
        )

    def _settle(self) -> None:
        """Let what has happened be judged: nobody asks any more, and labels take their horizon to mature."""
        self._watch_for(SETTLE_S)
        for node in NODES:
            self.children.stop_one(node)
        until = time.monotonic() + MATURE_S_MAX
        while time.monotonic() < until and not self._is_told_to_stop() and _waiting(self.lake, self.definitions):
            progress("waiting for the last labels to mature")
            self._watch_for(0.5)

    def _watch_for(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._is_told_to_stop():
            self._watch.poll(0.05)

    def _is_told_to_stop(self) -> bool:
        while (ended := self.children.ended()) is not None:
            name, status = ended
            how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
            self.seen.endings.append(Ending(name, how, now_us(), self._last_words(name)))
        return self.children.signalled is not None

    def _stop(self) -> None:
        progress("stopping")
        self.children.stop()
        self._watch.poll_all()
        self._watch.close()
        for node in NODES:
            self._hear(self.scratch / f"{node}.log")
        self.seen.verdicts = _verdicts(self.lake)

    def _hear(self, log: Path) -> None:
        """What a node said."""
        if not log.exists():
            return
        for line in log.read_text(errors="replace").splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                said = json.loads(line)
                if "answers" in said:
                    self.seen.answers[said["node"]] = said["answers"]
                else:
                    self.seen.flips.append(SeenFlip(**said))

    def _last_words(self, name: str) -> str:
        """What an ended process said last; all it said is kept beside the lake, for whoever looks for the cause."""
        log = self.scratch / f"{name}.log"
        lines = log.read_text(errors="replace").strip().splitlines()
        if lines:
            (self.lake / "logs").mkdir(exist_ok=True)
            shutil.copy(log, self.lake / "logs")
        return lines[-1] if lines else ""


def _waiting(lake: Path, definitions: Definitions) -> int:
    """Predictions in the lake whose label has not been judged yet."""
    from streams.lake.sql import query

    labelled = [m for m in definitions.models.values() if m.label]
    found = 0
    for model in labelled:
        asked, judged = query(
            lake,
            f"SELECT (SELECT count(*) FROM predictions WHERE model = '{model.name}'), "
            f"(SELECT count(DISTINCT prediction_id) FROM verdicts WHERE model = '{model.name}' AND form = 'exposure')",
        ).rows[0]
        found += asked - judged
    return found


def _verdicts(lake: Path) -> dict[tuple[str, str, str], tuple[int, int]]:
    """Cells by (form, feature, verdict), from the lake as anybody would ask it."""
    from streams.lake.sql import query

    text = "SELECT form, feature, verdict, count(*), coalesce(max(lead_us), 0) FROM verdicts GROUP BY ALL"
    try:
        return {(form, feature, verdict): (n, lead) for form, feature, verdict, n, lead in query(lake, text).rows}
    except Exception:  # a lake that was never begun has no verdicts
        return {}
