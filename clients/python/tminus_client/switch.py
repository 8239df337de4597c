"""May this model be used right now, and what is answered if not?

Reading a switch is a memory read: it takes no lock, does no IO and cannot raise. Everything that writes one
happens in the thread that follows the control topic.
"""

import contextvars
import functools
import inspect
import queue
import threading
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from math import inf
from time import monotonic
from typing import Any, Generic, Literal, ParamSpec, TypeVar, overload

Silence = Literal["hold", "fallback"]

Answer = TypeVar("Answer")
Params = ParamSpec("Params")

LEASE_S = 5.0
#: Calls with a latency budget that may be under way or waiting at once; beyond, the safe default is given at
#: once.
CALLS_MAX = 64


class Why(StrEnum):
    """Which answer was given, and for what reason."""

    MODEL = "model"  # the model's own
    NO_STATE = "no_state"  # nothing was ever commanded: the safe default
    COMMANDED = "commanded"  # the control topic says fallback
    SILENCE = "silence"  # the lease lapsed, and this model falls back on silence
    EXCEPTION = "exception"  # the model raised; see `Switch.last_error`
    LATENCY = "latency"  # the model took longer than its budget
    BUSY = "busy"  # too many calls under way


class Switch(Generic[Answer]):
    """The switch of one model in one serving node; made by `Switchboard.model`.

    Parameters
    ----------
    default
        The safe default: the answer while the model may not be used.
    on_silence
        What to do when no controller has been heard of for `lease_s` seconds: "hold" what holds, or
        "fallback". None leaves it to the command in force, and to "hold" without one.
    lease_s
        None leaves it to the command in force, and to 5 s without one.

    Examples
    --------
    >>> switch = Switch("churn", default="keep")
    >>> switch.live, switch.value("cancel"), str(switch.why)
    (False, 'keep', 'no_state')
    >>> switch.command(live=True)
    >>> switch.live, switch.value("cancel")
    (True, 'cancel')
    """

    __slots__ = (
        "_believed",
        "_deadline",
        "_lease_s",
        "_on_silence",
        "_own_lease_s",
        "_own_silence",
        "_renewed",
        "_streak",
        "_turn",
        "answers",
        "default",
        "last_error",
        "name",
    )

    def __init__(
        self, name: str, default: Answer, on_silence: Silence | None = None, lease_s: float | None = None
    ) -> None:
        self.name = name
        self.default = default
        self.answers: Counter[str] = Counter()
        self.last_error: BaseException | None = None
        self._own_silence = on_silence
        self._own_lease_s = lease_s
        self._on_silence: str = on_silence or "hold"
        self._lease_s = lease_s or LEASE_S
        self._believed: bool | None = None  # None: nothing was ever commanded
        self._renewed = -inf
        self._streak: float | None = None  # since when heartbeats are back, after a lapse
        self._deadline = -inf
        self._turn = threading.Lock()

    @property
    def live(self) -> bool:
        """May the model be used? At most 100 ns, from any thread, never raises."""
        return monotonic() < self._deadline

    @property
    def is_stale(self) -> bool:
        """Has no controller vouched for this switch for longer than the lease?"""
        return monotonic() >= self._renewed + self._lease_s

    @property
    def why(self) -> Why:
        """Why `live` is what it is."""
        if self._believed is None:
            return Why.NO_STATE
        if not self._believed:
            return Why.COMMANDED
        return Why.MODEL if self.live else Why.SILENCE

    def value(self, answer: Answer) -> Answer:
        """`answer` while the model may be used, else the safe default."""
        return answer if monotonic() < self._deadline else self.default

    @overload
    def protect(self, call: Callable[Params, Answer], /) -> Callable[Params, Answer]: ...
    @overload
    def protect(
        self, call: None = None, /, *, budget_s: float
    ) -> Callable[[Callable[Params, Answer]], Callable[Params, Answer]]: ...

    def protect(self, call: Any = None, /, *, budget_s: float | None = None) -> Any:
        """Decorate a function: the safe default on command, on a lapsed lease, on an exception, or past
        `budget_s`.

        With a budget (seconds) the function runs in a thread, and one that takes longer goes on there while
        the caller already has its answer. `answers` counts what was given and why.
        """
        if call is None:
            return lambda function: self._protected(function, budget_s)
        return self._protected(call, budget_s)

    def command(self, *, live: bool, lease_s: float | None = None, on_silence: str | None = None) -> None:
        """Put a command into force; called by the follower."""
        self._lease_s = self._own_lease_s or lease_s or LEASE_S
        self._on_silence = self._own_silence or on_silence or "hold"
        if self._believed is None:
            self._renewed = monotonic()  # a first state has one lease to be vouched for
        self._believed = live
        self._set_deadline()

    def renew(self, at: float) -> None:
        """A controller vouches for what is held here, heard at `at` (`time.monotonic`); called by the
        follower.

        After a lapse the model comes back only when heartbeats have been regular for a whole lease, so that a
        stuttering controller does not make answers flap.
        """
        if at >= self._renewed + self._lease_s:
            self._streak = at
        self._renewed = at
        if self._streak is not None and at - self._streak >= self._lease_s:
            self._streak = None
        self._set_deadline()

    def _set_deadline(self) -> None:
        if not self._believed:
            self._deadline = -inf
        elif self._on_silence == "hold":
            self._deadline = inf
        elif self._streak is None:
            self._deadline = self._renewed + self._lease_s
        else:
            self._deadline = -inf

    def _protected(self, call: Callable[Params, Answer], budget_s: float | None) -> Callable[Params, Answer]:
        if inspect.iscoroutinefunction(call):
            raise TypeError(f"expected a plain function, found the coroutine function {call.__qualname__}")
        run = call if budget_s is None else _within(call, budget_s)

        @functools.wraps(call)
        def protected(*args: Params.args, **kwargs: Params.kwargs) -> Answer:
            if not self.live:
                return self._fall_back(self.why)
            try:
                answer = run(*args, **kwargs)
            except _OverBudget as over:
                return self._fall_back(over.why)
            except Exception as error:
                self.last_error = error
                return self._fall_back(Why.EXCEPTION)
            self._count(Why.MODEL)
            return answer

        return protected

    def _fall_back(self, why: Why) -> Answer:
        self._count(why)
        return self.default

    def _count(self, why: Why) -> None:
        with self._turn:
            self.answers[why] += 1


class _OverBudget(Exception):
    def __init__(self, why: Why) -> None:
        self.why = why


class _Call:
    """One call on its way through the pool."""

    __slots__ = ("answer", "done", "error", "run")

    def __init__(self, run: Callable[[], Any]) -> None:
        self.run = run
        self.done = threading.Event()
        self.answer: Any = None
        self.error: BaseException | None = None


class _Pool:
    """Daemon threads for calls with a budget: one that hangs must not keep the process from ending."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[_Call] = queue.SimpleQueue()
        self._room = threading.Semaphore(CALLS_MAX)
        self._turn = threading.Lock()
        self._threads = 0
        self._idle = 0

    def start(self, call: _Call) -> bool:
        if not self._room.acquire(blocking=False):
            return False
        with self._turn:
            if self._idle:
                self._idle -= 1
            else:
                self._threads += 1
                threading.Thread(target=self._work, name=f"tminus-call-{self._threads}", daemon=True).start()
        self._calls.put(call)
        return True

    def _work(self) -> None:
        while True:
            call = self._calls.get()
            try:
                call.answer = call.run()
            except BaseException as error:  # handed to the caller, whatever it is
                call.error = error
            with self._turn:
                self._idle += 1
            self._room.release()
            call.done.set()
            del call  # an answer must not live on here while the thread waits


_pool = _Pool()


def _within(function: Callable[Params, Answer], budget_s: float) -> Callable[Params, Answer]:
    def run(*args: Params.args, **kwargs: Params.kwargs) -> Answer:
        context = contextvars.copy_context()
        call = _Call(lambda: context.run(function, *args, **kwargs))
        if not _pool.start(call):
            raise _OverBudget(Why.BUSY)
        if not call.done.wait(budget_s):
            raise _OverBudget(Why.LATENCY)
        if call.error is not None:
            raise call.error
        answer: Answer = call.answer
        return answer

    return run
