from collections import Counter

from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.transport.assignor import CoPartitionAssignor, Member, assign, decode_held, encode_held

TOPICS = ["clicks", "ticks", "users", "written"]
counts_of = st.dictionaries(st.sampled_from(TOPICS), st.integers(0, 13), min_size=1)
held_of = st.frozensets(st.integers(0, 16))
member_ids = st.text("abcdef", min_size=1, max_size=4)


def owners_by_group(assignment) -> dict[int, set[str]]:
    owners: dict[int, set[str]] = {}
    for member, topics in assignment.items():
        for partitions in topics.values():
            for n in partitions:
                owners.setdefault(n, set()).add(member)
    return owners


def given_out(assignment) -> Counter:
    return Counter((t, n) for topics in assignment.values() for t, ps in topics.items() for n in ps)


@given(st.dictionaries(member_ids, held_of, min_size=1, max_size=6), counts_of)
@settings(max_examples=300)
def test_a_partition_group_has_one_owner_and_shares_differ_by_at_most_one(held, counts):
    """The promise everything keyed by entity stands on, for odd and unequal counts too."""
    members = {name: Member(frozenset(counts), groups) for name, groups in held.items()}
    assignment = assign(members, counts)
    assert given_out(assignment) == Counter((t, n) for t, count in counts.items() for n in range(count))
    owners = owners_by_group(assignment)
    assert all(len(who) == 1 for who in owners.values())
    load = Counter(next(iter(who)) for who in owners.values())
    shares = [load[name] for name in members]
    assert max(shares) - min(shares) <= 1


@given(
    st.dictionaries(member_ids, st.tuples(st.frozensets(st.sampled_from(TOPICS)), held_of), min_size=1, max_size=6),
    counts_of,
)
@settings(max_examples=300)
def test_members_that_read_different_topics_still_get_each_partition_once(wishes, counts):
    """A rolling deployment that adds a topic: nothing may be read twice or by somebody who does not want it."""
    members = {name: Member(topics, held) for name, (topics, held) in wishes.items()}
    assignment = assign(members, counts)
    read = set().union(*(topics for topics, _ in wishes.values()))
    assert given_out(assignment) == Counter((t, n) for t, c in counts.items() if t in read for n in range(c))
    assert all(set(topics) <= members[name].topics for name, topics in assignment.items())


@given(st.integers(1, 6), st.integers(1, 16), st.randoms(use_true_random=False))
@settings(max_examples=200)
def test_a_stable_group_keeps_everything_and_a_join_moves_no_more_than_it_must(size, n_groups, rng):
    """A moved group means restoring its state; a new member takes its share and nobody else trades."""
    counts = {"clicks": n_groups, "users": max(1, n_groups - rng.randrange(3))}
    topics = frozenset(counts)
    names = [f"m{rng.randrange(10**6):06d}-{i}" for i in range(size + 1)]

    def round_of(held: dict[str, frozenset[int]]) -> dict[str, frozenset[int]]:
        given = assign({name: Member(topics, groups) for name, groups in held.items()}, counts)
        return {name: frozenset(n for ps in by.values() for n in ps) for name, by in given.items()}

    before = round_of({name: frozenset() for name in names[:size]})
    assert round_of(before) == before
    after = round_of({**before, names[size]: frozenset()})
    assert all(after[name] <= before[name] for name in names[:size])


def test_the_answer_does_not_depend_on_the_order_of_the_members():
    """Every leader must come to the same assignment."""
    a, b = Member(frozenset({"t"}), frozenset({1})), Member(frozenset({"t"}), frozenset({1, 2}))
    assert assign({"a": a, "b": b}, {"t": 5}) == assign({"b": b, "a": a}, {"t": 5})


def test_nobody_to_assign_to_is_no_error():
    assert assign({}, {"t": 3}) == {}
    assert assign({"a": Member(frozenset())}, {"t": 3}) == {"a": {}}


class _Cluster:
    def partitions_for_topic(self, topic):
        return {"clicks": {0, 1, 2}, "users": {0, 1}}.get(topic)


def test_what_a_member_holds_travels_through_the_group_protocol():
    """Encoded as aiokafka sends it, so that the leader can leave it in place."""
    first, second = CoPartitionAssignor(), CoPartitionAssignor()
    second.on_assignment(ConsumerProtocolMemberAssignment(0, [("clicks", [0]), ("users", [0])], b""))
    wishes = {
        name: ConsumerProtocolMemberMetadata.decode(assignor.metadata({"clicks", "users"}).encode())
        for name, assignor in [("a", first), ("b", second)]
    }
    answer = first.assign(_Cluster(), wishes)
    assert {("clicks", 0), ("users", 0)} <= {tuple(tp) for tp in answer["b"].partitions()}
    assert sum(len(given.partitions()) for given in answer.values()) == 5


def test_foreign_metadata_counts_as_nothing_held():
    assert decode_held(encode_held(frozenset({3, 300}))) == {3, 300}
    assert decode_held(b"abc") == decode_held(b"") == decode_held(None) == frozenset()
