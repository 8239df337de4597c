"""Which member of the group reads which partitions?

Partition n of every topic must be read by one and the same member, or an entity's history is torn over workers.
Neither of aiokafka's assignors promises that (round-robin tears topics apart, range splits topics of unequal counts
differently), so the unit of assignment here is the *partition group*: partition n of all topics together.
"""

import logging
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

log = logging.getLogger(__name__)

PROTOCOL = "tminus-copartition"


@dataclass(frozen=True, slots=True)
class Member:
    """One member's wishes: the topics it reads, the partition groups it held until now."""

    topics: frozenset[str]
    held: frozenset[int] = frozenset()


Assignment = dict[str, dict[str, list[int]]]


def assign(members: Mapping[str, Member], partition_counts: Mapping[str, int]) -> Assignment:
    """Partitions by member and topic: each exactly once, group n in one place, shares within one of each other.

    Members keep what they held as far as their share allows; the rest goes by range to members in order of id, so
    the answer depends on the arguments alone. A topic that nobody reads is left out. While members of one group
    read different topics (a rolling deployment), a group without any member that reads all of it is split.

    Examples
    --------
    >>> both = frozenset({"clicks", "written"})
    >>> assign({"b": Member(both), "a": Member(both)}, {"clicks": 3, "written": 2})
    {'a': {'clicks': [0, 1], 'written': [0, 1]}, 'b': {'clicks': [2]}}
    >>> assign({"b": Member(both, frozenset({0})), "a": Member(both)}, {"clicks": 2, "written": 2})
    {'a': {'clicks': [1], 'written': [1]}, 'b': {'clicks': [0], 'written': [0]}}
    """
    read = frozenset[str]().union(*(member.topics for member in members.values()))
    counts = {topic: count for topic, count in sorted(partition_counts.items()) if topic in read and count > 0}
    groups = {
        n: frozenset(t for t, count in counts.items() if n < count) for n in range(max(counts.values(), default=0))
    }
    owners = _owners(members, groups)
    answer: Assignment = {member: {} for member in sorted(members)}
    for n, topics in groups.items():
        for topic in sorted(topics):
            owner = owners.get(n) or _any_reader(members, topic, n)
            answer[owner].setdefault(topic, []).append(n)
    return answer


def _owners(members: Mapping[str, Member], groups: Mapping[int, frozenset[str]]) -> dict[int, str]:
    """One owner for each group that has a member reading all of its topics."""
    share, extra = divmod(len(groups), len(members)) if members else (0, 0)
    # The larger shares go to those who hold most, so that nothing moves that need not.
    by_holding = sorted(members, key=lambda m: (-len(members[m].held & groups.keys()), m))
    room = {member: share + (place < extra) for place, member in enumerate(by_holding)}
    owners: dict[int, str] = {}

    def take(member: str, wanted: Iterable[int]) -> None:
        for n in wanted:
            if room[member] and n not in owners and groups[n] <= members[member].topics:
                owners[n] = member
                room[member] -= 1

    for member in sorted(members):
        take(member, sorted(members[member].held & groups.keys()))
    for member in sorted(members):
        take(member, groups)
    for n in groups.keys() - owners.keys():  # only where members read different topics
        able = [m for m in members if groups[n] <= members[m].topics]
        if able:
            owners[n] = min(able, key=lambda m: (-room[m], m))
            room[owners[n]] -= 1
    return owners


def _any_reader(members: Mapping[str, Member], topic: str, n: int) -> str:
    readers = sorted(member for member, wishes in members.items() if topic in wishes.topics)
    return readers[n % len(readers)]


class CoPartitionAssignor(AbstractPartitionAssignor):  # type: ignore[misc]
    """`assign` as aiokafka's group coordinator wants it; one instance for one consumer.

    What a member holds travels in its metadata (unsigned 32-bit numbers, big-endian), so whichever member leads can
    leave it in place. The name is part of the group's protocol: every member must bring this assignor.
    """

    name = PROTOCOL
    version = 0

    def __init__(self) -> None:
        self._held: frozenset[int] = frozenset()

    # aiokafka calls these on the object it was given, class or instance.
    def assign(
        self, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """The assignment of every member, computed by the group's leader."""
        wishes = {
            member: Member(frozenset(metadata.subscription), decode_held(metadata.user_data))
            for member, metadata in members.items()
        }
        topics = sorted(set[str]().union(*(member.topics for member in wishes.values())))
        counts = {topic: len(cluster.partitions_for_topic(topic) or ()) for topic in topics}
        absent = [topic for topic, count in counts.items() if not count]
        if absent:
            log.error("topics without partitions, read by nobody: %s", ", ".join(absent))
        return {
            member: ConsumerProtocolMemberAssignment(self.version, sorted(topics.items()), b"")
            for member, topics in assign(wishes, counts).items()
        }

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """What this member says when it joins."""
        return ConsumerProtocolMemberMetadata(self.version, sorted(topics), encode_held(self._held))

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """Remember what was given, to ask for it again."""
        self._held = frozenset(tp.partition for tp in assignment.partitions())


def encode_held(held: frozenset[int]) -> bytes:
    """Partition groups as bytes."""
    return struct.pack(f">{len(held)}I", *sorted(held))


def decode_held(data: bytes | None) -> frozenset[int]:
    """The inverse of `encode_held`; anything else (another release's metadata) counts as nothing held."""
    if not data or len(data) % 4:
        return frozenset()
    return frozenset(struct.unpack(f">{len(data) // 4}I", data))
