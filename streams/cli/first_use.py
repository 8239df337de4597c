"""Why is nothing happening yet? The first use after an installation waits for a compiler, and says so.

Where `streams.warm` ran (`make` does it) there is nothing to compile, and nothing is said. Import this late: it brings
numba.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from numba.core.event import Event, Listener, install_listener

#: What a person reads meanwhile; the time was measured on two busy cores.
COMPILING = "compiling, once: about ten seconds that the next run will not need"


class _Teller(Listener):
    def __init__(self, told: Callable[[str], None]) -> None:
        self.told = told

    def on_start(self, event: Event) -> None:
        self.told(COMPILING)

    def on_end(self, event: Event) -> None:
        """The next line of progress takes its place."""


@contextmanager
def compiling_told(told: Callable[[str], None]) -> Iterator[None]:
    """Tell whenever a kernel is compiled here, rather than loaded as it was compiled before.

    Examples
    --------
    >>> from numba import njit
    >>> with compiling_told(print):
    ...     njit(lambda x: x + 1)(1)
    compiling, once: about ten seconds that the next run will not need
    2
    """
    with install_listener("numba:compile", _Teller(told)):
        yield
