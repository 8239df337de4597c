"""The races of a rebalance, one step at a time: our consumer on a hand-made thread, without broker or clock."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from faust.types import TP

from streams.transport.app import App, make_app
from streams.transport.driver import Consumer
from streams.transport.records import RawFetch
from streams.transport.settings import Hooks

TP0 = TP("t", 0)


class HandThread:
    """What the consumer asks of its thread; fetches are put in by hand."""

    def __init__(self) -> None:
        self.epoch, self.fetched, self.moved = 0, [], []

    def fetch(self, start: int, end: int) -> None:
        fetch = RawFetch("t", 0, start, end, 0, b"", [], end - start, epoch=self.epoch)
        self.fetched.append({TP0: [fetch]})

    async def getmany(self, active: set[TP], timeout: float) -> dict:
        return self.fetched.pop(0) if self.fetched else {}

    async def seek_all(self, fences) -> dict:
        self.epoch += 1
        self.moved.append(dict(fences))
        return {TP0: (self.epoch, fences[TP0])}

    def assignment(self) -> set[TP]:
        return {TP0}

    def highwater(self, tp: TP) -> int:
        return 100


class Story(Hooks):
    """Hooks that remember what they were asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.restored = asyncio.Event()
        self.restored.set()
        self.may_commit = True

    async def on_assigned(self, partitions):
        self.asked.append("assigned")
        await self.restored.wait()
        self.asked.append("restored")
        return dict.fromkeys(partitions, 10)

    async def on_revoked(self, partitions):
        self.asked.append("revoked")

    async def before_commit(self, offsets):
        return offsets if self.may_commit else {}


def scene(play: Callable[[Consumer, HandThread, Story], Coroutine[Any, Any, None]]) -> None:
    """Play it on a consumer that has just been assigned its one partition."""

    async def run() -> None:
        story, thread = Story(), HandThread()
        app: App = make_app("g", "x:1", batch_topics=["t"], hooks=story, overrides={"stream_wait_empty": False})

        async def nothing(*_: Any, **__: Any) -> None: ...

        consumer = Consumer(app.transport, nothing, nothing, nothing, beacon=app.beacon)
        app.consumer = consumer
        consumer._thread.thread_loop.close()  # the real one was made and never started
        consumer._thread = thread
        consumer.resume_flow()
        await consumer.on_partitions_assigned({TP0})
        await play(consumer, thread, story)

    asyncio.run(run())


def next_message(consumer: Consumer) -> asyncio.Task:
    async def first() -> Any:
        async for _, message in consumer.getmany(timeout=0):
            return message.value
        return None

    return asyncio.ensure_future(first())


async def turns(n: int = 20) -> None:
    for _ in range(n):
        await asyncio.sleep(0)


def test_a_batch_is_held_until_faust_has_emptied_its_queues():
    """Delivered between our seek and that moment it would be emptied away, with the position already past it."""

    async def play(consumer, thread, story):
        thread.epoch = 1
        thread.fetch(10, 20)
        thread.epoch = 0
        waiting = next_message(consumer)
        await turns()
        await consumer.perform_seek()
        await turns()
        assert not waiting.done()
        consumer.resume_flow()
        await turns()
        assert waiting.result().start == 10

    scene(play)


def test_flow_resumed_by_an_overtaken_rebalance_delivers_nothing():
    """Faust's recovery of the last generation may still call it while the next one begins."""

    async def play(consumer, thread, story):
        await consumer.perform_seek()
        await consumer.on_partitions_revoked({TP0})
        consumer.resume_flow()
        thread.fetch(10, 20)
        waiting = next_message(consumer)
        await turns()
        assert not waiting.done()
        waiting.cancel()

    scene(play)


def test_a_batch_fetched_before_the_seek_is_dropped():
    async def play(consumer, thread, story):
        thread.fetch(500, 600)
        waiting = next_message(consumer)
        await turns()
        await consumer.perform_seek()
        consumer.resume_flow()
        await turns()
        assert waiting.result() is None

    scene(play)


def test_the_app_is_asked_for_its_fences_once_in_an_assignment():
    """Restoring is dear, and Faust seeks whenever it had to throw something away."""

    async def play(consumer, thread, story):
        await consumer.perform_seek()
        await consumer.perform_seek()
        assert story.asked == ["assigned", "restored"]
        assert thread.moved == [{TP0: 10}] * 2
        await consumer.on_partitions_revoked({TP0})
        await consumer.on_partitions_assigned({TP0})
        await consumer.perform_seek()
        assert story.asked == ["assigned", "restored", "revoked", "assigned", "restored"]

    scene(play)


def test_nobody_is_asked_between_two_assignments():
    """aiokafka still shows the old assignment then; asking would hand out what is being lost."""

    async def play(consumer, thread, story):
        await consumer.on_partitions_revoked({TP0})
        await consumer.perform_seek()
        assert (story.asked, thread.moved) == ([], [])

    scene(play)


def test_a_restoration_that_has_begun_ends_before_its_partitions_are_revoked():
    """Faust cancels the caller; the app must not be told to let go of what it is still picking up."""

    async def play(consumer, thread, story):
        story.restored.clear()
        seeking = asyncio.ensure_future(consumer.perform_seek())
        await turns()
        seeking.cancel()
        revoking = asyncio.ensure_future(consumer.on_partitions_revoked({TP0}))
        await turns()
        assert story.asked == ["assigned"]
        story.restored.set()
        await revoking
        assert story.asked == ["assigned", "restored", "revoked"]

    scene(play)


def test_a_log_made_anew_below_our_position_is_delivered_and_committed():
    """Faust drops messages below its read offset and commits only upwards: without a word, until it has caught up."""

    async def play(consumer, thread, story):
        await consumer.perform_seek()
        consumer.resume_flow()
        thread.fetch(0, 4)
        assert (await next_message(consumer)).end == 4
        assert consumer._read_offset[TP0] is None
        consumer._acked_index[TP0].add(3)
        offset = consumer._new_offset(TP0)
        assert offset == 4
        assert consumer._should_commit(TP0, offset)

    scene(play)


def test_an_offset_held_back_is_offered_again():
    """The outbox is behind: nothing may be committed before its outputs are out, and nothing is forgotten."""

    async def play(consumer, thread, story):
        await consumer.perform_seek()
        consumer.resume_flow()
        thread.fetch(10, 20)
        await next_message(consumer)
        consumer._acked_index[TP0].add(19)
        story.may_commit = False
        offset = consumer._new_offset(TP0)
        assert not await consumer._commit_offsets({TP0: offset})
        assert consumer._should_commit(TP0, consumer._new_offset(TP0))
        assert consumer.acknowledged(TP0) == 20

    scene(play)


def test_after_an_agents_error_nothing_is_delivered_or_committed():
    """Stock Faust commits the batch that failed."""

    async def play(consumer, thread, story):
        await consumer.perform_seek()
        consumer.resume_flow()
        thread.fetch(10, 20)
        await next_message(consumer)
        consumer._acked_index[TP0].add(19)
        await consumer.on_task_error(RuntimeError("as asked"))
        assert consumer._new_offset(TP0) is None
        assert consumer.crash_reason.args == ("as asked",)
        thread.fetch(20, 30)
        assert await next_message(consumer) is None

    scene(play)


@pytest.mark.parametrize("answer", [{TP("other", 0): 5}, {TP0: -1}])
def test_a_fence_that_makes_no_sense_ends_the_worker(answer):
    async def play(consumer, thread, story):
        async def on_assigned(partitions):
            return answer

        story.on_assigned = on_assigned
        with pytest.raises(ValueError, match="on_assigned answered"):
            await consumer.perform_seek()
        assert consumer.crashed

    scene(play)
