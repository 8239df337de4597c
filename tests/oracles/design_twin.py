"""What can be known at prediction time, by trying every course of events on a small grid of instants.

Imports nothing of ours and knows no shortest paths: it lays out all instants of all events, keeps the courses that
fulfil every rule, and looks. "Before" is at least one instant of the grid, so durations are multiples of `UNIT`: even
a chain of all events fits between two of them.
"""

import numpy as np

UNIT = 4  # more than the steps of any chain of at most four events
REACH = 26  # instants on either side of the prediction: beyond every finite bound of three rules, and a delay


def courses(events, rules):
    """{event: instants} of all courses that fulfil the rules; the first event is the prediction, at 0.

    rules: (first, then, least, most) in instants; least 0 means "before, by nobody knows how little"; most None.
    """
    axis = np.arange(-REACH, REACH + 1, dtype=np.int16)
    grid = np.meshgrid(*[axis] * (len(events) - 1), indexing="ij", sparse=True)
    at = dict(zip(events, [np.zeros(1, np.int16), *grid], strict=True))
    good = np.ones([axis.size] * (len(events) - 1), bool)
    for first, then, least, most in rules:
        gap = at[then] - at[first]
        good &= gap >= max(least, 1)
        if most is not None:
            good &= gap <= most
    return {event: np.broadcast_to(instants, good.shape)[good] for event, instants in at.items()}


def known(courses, event, delay):
    """In which of the courses is what `event` makes known, `delay` later, known at the prediction?"""
    at = courses[event]
    return (at < 0) & (at + delay <= 0)
