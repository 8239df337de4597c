"""Where does an entity live?

An entity is a pair (type, id); its id is the UTF-8 text of a declared field, never the bytes of a record key.
Its partition is murmur2 of that text, the function of Kafka's Java client, so that a producer that keys plainly
by the same text already writes to the right place.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

_SEED = 0x9747B28C
_M = 0x5BD1E995
_MASK = 0xFFFFFFFF


def murmur2(key: bytes) -> int:
    """Kafka's 32-bit murmur2 of `key`, as an unsigned number.

    Examples
    --------
    >>> murmur2(b"21") - 2**32  # what Kafka's Java client computes
    -973932308
    """
    length = len(key)
    h = (_SEED ^ length) & _MASK
    whole = length & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(key[i : i + 4], "little") * _M & _MASK
        k = ((k ^ (k >> 24)) * _M) & _MASK
        h = ((h * _M) & _MASK) ^ k
    tail = key[whole:]
    if tail:
        h = ((h ^ int.from_bytes(tail, "little")) * _M) & _MASK
    h = ((h ^ (h >> 13)) * _M) & _MASK
    return h ^ (h >> 15)


def partition_of(entity: str, partitions: int) -> int:
    """The partition of an entity id, as Kafka's Java producer would choose it for the same text.

    Examples
    --------
    >>> 0 <= partition_of("42", 4) < 4
    True
    """
    return (murmur2(entity.encode()) & 0x7FFFFFFF) % partitions


class Placement:
    """Partitions of entity ids, each computed once.

    Examples
    --------
    >>> Placement(4).of(["a", "b", "a"]).shape
    (3,)
    """

    #: Distinct ids remembered before the memory is dropped and begun anew.
    MEMORY_MAX = 1_000_000

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self._known: dict[str, int] = {}

    def of(self, entities: Iterable[str]) -> npt.NDArray[np.int32]:
        """int32[n]: the partition of each id."""
        known = self._known
        if len(known) > self.MEMORY_MAX:
            known.clear()
        found: list[int] = []
        for entity in entities:
            place = known.get(entity)
            if place is None:
                place = known[entity] = partition_of(entity, self.partitions)
            found.append(place)
        return np.array(found, np.int32)
