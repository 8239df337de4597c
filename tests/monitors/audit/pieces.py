"""The same rows in other pieces and another order."""

from itertools import pairwise

import numpy as np


def shuffled(rng, columns):
    """All columns in one random order."""
    order = rng.permutation(columns[0].size)
    return [column[order] for column in columns]


def cuts(rng, columns):
    """Batches that begin anywhere."""
    n = columns[0].size
    places = sorted([0, *rng.integers(0, n + 1, rng.integers(0, 5)).tolist(), n])
    return [[column[a:b] for column in columns] for a, b in pairwise(places)]


def by_entity(rng, columns):
    """Buckets of whole entities (column 0); the order of the rows inside is kept."""
    bucket = (columns[0] * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(62)
    return [[column[bucket == b] for column in columns] for b in rng.permutation(4)]
