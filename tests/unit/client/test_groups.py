"""Groups of callers by themselves: who goes with the next request, and who gets which rows."""

from __future__ import annotations

import itertools
import time

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from isotherm.client import InvalidInputError, Prediction
from isotherm.client._coalescing import Batch, Group, Member
from isotherm.client._served import Served, describe
from isotherm.client._steps import Deadline
from isotherm.client._ticket import Ticket
from isotherm.v1 import open_inference_pb2 as pb
from isotherm.v1.tensors import Array, decode_raw
from tests.unit.client.tensors_strategy import forty_examples


def served(limit: int) -> Served:
    """Return a model of two inputs that takes so many rows at once."""
    metadata = pb.ModelMetadataResponse(name="m", versions=["1"])
    metadata.inputs.add(name="a", datatype="INT64", shape=[-1, 1])
    metadata.inputs.add(name="b", datatype="FP32", shape=[-1, 2])
    metadata.outputs.add(name="y", datatype="INT64", shape=[-1, 1])
    return describe(("m", ""), metadata, pb.ModelConfig(max_batch_size=limit))


def join(group: Group, sizes: list[int]) -> list[Member]:
    """Have callers wait whose rows are numbered through."""
    numbers = itertools.count()
    members = []
    for size in sizes:
        rows = np.array([[next(numbers)] for _ in range(size)], np.int64)
        fitted = (("a", "INT64", rows), ("b", "FP32", np.repeat(rows, 2, 1).astype(np.float32)))
        member = Member(group, None, fitted, size, Deadline.after(60))
        member.waiter = Ticket()
        members.append(member)
    group.pending.extend(members)
    return members


def sent_arrays(batch: Batch) -> list[Array]:
    """Return the arrays of a request, as a server reads them."""
    message = pb.ModelInferRequest.FromString(batch.request())
    return [
        decode_raw(each.name, each.datatype, each.shape, raw, kind="input")
        for each, raw in zip(message.inputs, message.raw_input_contents, strict=True)
    ]


@forty_examples
@given(
    st.lists(st.tuples(st.integers(1, 12), st.booleans()), min_size=1, max_size=30),
    st.integers(12, 40),
    st.booleans(),
)
def test_everybody_who_stays_gets_its_own_rows(
    callers: list[tuple[int, bool]], limit: int, several: bool
) -> None:
    """In requests of no more rows than allowed, in the order of their coming, one at a time."""
    group = Group(served(limit), ("m", ""), (), 1)
    members = join(group, [size for size, _ in callers])
    for member, (_, leaves) in zip(members, callers, strict=True):
        if leaves:
            member.fail(InvalidInputError("left"))
    sent: list[Member] = []
    batch = group.take()
    while batch is not None:
        assert group.take() is None
        first, second = sent_arrays(batch)
        assert len(first) == len(second) == sum(member.rows for member in batch.members) <= limit
        assert second.tolist() == np.repeat(first, 2, 1).tolist()
        sent += batch.members
        answer = Prediction({"y": first, "z": second}) if several else first
        assert batch.deliver(answer)
        batch = group.finish(batch)

    assert sent == [
        member for member, (_, leaves) in zip(members, callers, strict=True) if not leaves
    ]
    assert not group.running
    assert not group.pending
    for member in sent:
        outcome = member.waiter.outcome()
        rows = outcome["y"] if isinstance(outcome, Prediction) else outcome
        np.testing.assert_array_equal(rows, member.fitted[0][2])


@forty_examples
@given(st.lists(st.integers(1, 5), min_size=2, max_size=9), st.integers(-3, 3).filter(bool))
def test_an_answer_of_other_rows_is_given_to_nobody(sizes: list[int], more: int) -> None:
    """Not even the rows that are there: nobody knows whose they are."""
    group = Group(served(64), ("m", ""), (), 1)
    members = join(group, sizes)
    batch = group.take()
    assert batch is not None
    rows = max(0, sum(sizes) + more)
    good = np.zeros((sum(sizes), 1))

    assert not batch.deliver(np.zeros((rows, 1)))
    assert not batch.deliver(np.zeros(()))
    assert not batch.deliver(Prediction({"y": good, "z": np.zeros((rows, 1))}))
    assert all(not member.waiter.done() for member in members)


@forty_examples
@given(st.integers(2, 40))
def test_halves_are_all_of_it(count: int) -> None:
    """In their order."""
    group = Group(served(64), ("m", ""), (), 1)
    members = join(group, [1] * count)
    first, second = Batch(group, members).halves()

    assert first.members + second.members == members
    assert abs(len(first.members) - len(second.members)) <= 1


def test_requests_that_take_long_go_side_by_side() -> None:
    """As many as there are connections, where waiting for one another would take longer."""
    group = Group(served(2), ("m", ""), (), 3)
    members = join(group, [2] * 6)
    first = group.take()
    assert first is not None
    assert group.take() is None
    # As if requests had been taking a tenth of a second.
    group._usual_s = 0.1
    others = [group.take() for _ in range(3)]
    following = group.finish(first)

    assert [[members[1]], [members[2]], None] == [each and each.members for each in others]
    assert following is not None
    assert following.members == [members[3]]
    assert len(group.running) == 3


def test_who_was_put_back_goes_first() -> None:
    """In front of those who have come since."""
    group = Group(served(64), ("m", ""), (), 1)
    early = join(group, [1, 1, 1])
    batch = group.take()
    assert batch is not None
    late = join(group, [1])
    early[1].fail(InvalidInputError("left"))
    group.put_back(batch)
    following = group.finish(batch)

    assert following is not None
    assert following.members == [early[0], early[2], *late]


def test_how_long_a_request_may_be_out_follows_from_how_long_they_take() -> None:
    """Of a slow model nobody goes ahead of those who are as slow as ever."""
    group = Group(served(12), ("m", ""), (), 1)
    patience_s = [group.patience_s]
    for _ in range(40):
        join(group, [1])
        batch = group.take()
        assert batch is not None
        batch.begun_at_s = time.monotonic() - 0.1
        group.finish(batch)
        patience_s.append(group.patience_s)

    assert patience_s[0] == 0.05
    assert patience_s == sorted(patience_s)
    assert 0.3 < patience_s[-1] < 0.5
