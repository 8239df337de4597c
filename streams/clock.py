"""What time is it? Asked once per batch, at the rim only."""

import time


def now_us() -> int:
    """The wall clock, microseconds UTC."""
    return time.time_ns() // 1000
