"""A worker for the transport's tests: keeps a state with a fence for each partition and logs what it was given.

Run as `python -m tests.embedded.transport_worker '<json>'`. The state of a partition is one small file, replaced
atomically before the batch is acknowledged: rows and sum of offsets say whether any was lost or counted twice.
"""

import json
import logging
import os
import sys
from pathlib import Path

from streams.transport.app import batch_topic, make_app, run_app
from streams.transport.records import iter_records
from streams.transport.settings import Hooks

SETTINGS = {
    "fetch_max_wait_ms": 15,
    "session_timeout_s": 2,
    "heartbeat_interval_s": 0.3,
    "commit_interval_s": 0.2,
    "leader_sync_delay_ms": 150,
}


class Worker(Hooks):
    def __init__(self, task: dict) -> None:
        self.task, self.folder = task, Path(task["folder"])
        self.out = (self.folder / f"{task['name']}.log").open("a", buffering=1)
        self.states: dict = {}

    def say(self, **line) -> None:
        self.out.write(json.dumps(line) + "\n")

    def path(self, topic: str, partition: int) -> Path:
        return self.folder / f"state-{topic}-{partition}.json"

    async def on_assigned(self, partitions):
        self.say(assigned=sorted(partitions))
        if not self.task.get("fences", True):
            return {}
        for tp in partitions:
            path = self.path(*tp)
            self.states[tp] = json.loads(path.read_text()) if path.exists() else {"next": 0, "rows": 0, "sum": 0}
        return {tp: self.states[tp]["next"] for tp in partitions}

    async def on_revoked(self, partitions):
        self.say(revoked=sorted(partitions))
        self.states.clear()

    def take(self, fetch) -> None:
        offsets = [record.offset for record in iter_records(fetch)]
        if self.task.get("fail_at") in offsets and not (self.folder / "failed").exists():
            (self.folder / "failed").touch()
            raise RuntimeError("as asked")
        tp = (fetch.topic, fetch.partition)
        if self.task.get("fences", True):
            state = self.states[tp]
            if fetch.start != state["next"]:
                self.say(hole=[*tp, state["next"], fetch.start])
            path, rows = self.path(*tp), state["rows"] + len(offsets)
            state.update(next=fetch.end, rows=rows, sum=state["sum"] + sum(offsets))
            draft = path.with_suffix(f".{os.getpid()}")
            draft.write_text(json.dumps(state))
            draft.rename(path)
        self.say(batch=[*tp, fetch.start, fetch.end, fetch.highwater])


def main() -> int:
    task = json.loads(sys.argv[1])
    logging.basicConfig(level=logging.WARNING, format="%(name)s %(levelname)s %(message)s")
    worker = Worker(task)
    app = make_app(
        task["group"],
        task["bootstrap"],
        batch_topics=task["topics"],
        hooks=worker,
        **{**SETTINGS, **task.get("settings", {})},
    )
    for name in task["topics"]:

        @app.agent(batch_topic(app, name), name=f"agent-{name}")
        async def agent(stream):
            async for fetch in stream:
                worker.take(fetch)

    return run_app(app)


if __name__ == "__main__":
    sys.exit(main())
