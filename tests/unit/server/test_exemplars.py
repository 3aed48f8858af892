"""Exemplars: the last traced request of each latency bucket, through the shared block."""

from __future__ import annotations

import time

import numpy as np
import pytest

from isotherm.server import exemplars, layout
from isotherm.server.counters import Block
from isotherm.server.model_counters import ModelCounters
from isotherm.server.totals import total

TRACE = 0xF234567890ABCDEF_FEDCBA0987654321


@pytest.fixture(name="block")
def _block() -> Block:
    """A worker's block."""
    return Block.create(("/a/B",))


@pytest.fixture(name="model")
def _model(block: Block) -> ModelCounters:
    """The counters of a model in it."""
    return block.open_model("m", 1)


@pytest.mark.parametrize(
    ("duration_ns", "bucket"),
    [(1, 0), (50_000, 0), (50_001, 1), (10_000_000_000, 16), (10_000_000_001, 17)],
)
def test_a_request_is_the_exemplar_of_its_bucket(
    model: ModelCounters, duration_ns: int, bucket: int
):
    """Bounds are inclusive, as in the histogram."""
    exemplars.note(model.words, TRACE, duration_ns)
    found = exemplars.read(model.words)
    exemplar = found[bucket]

    assert exemplar is not None
    assert exemplar.trace_id == "f234567890abcdeffedcba0987654321"
    assert exemplar.seconds == duration_ns / 1e9
    assert exemplar.at_s == pytest.approx(time.time(), abs=60)
    assert [one for one in found if one is not None] == [exemplar]


def test_the_last_one_stays(model: ModelCounters):
    """Of each bucket."""
    for trace_id in (7, TRACE, 8):
        exemplars.note(model.words, trace_id, 60_000)

    exemplar = exemplars.read(model.words)[1]

    assert exemplar is not None
    assert exemplar.trace_id == f"{8:032x}"


def test_what_is_half_written_is_not_read(model: ModelCounters):
    """The writer makes the time nought first."""
    exemplars.note(model.words, TRACE, 60_000)
    model.words[layout.EXEMPLARS + layout.EXEMPLAR_WORDS] = 0

    assert exemplars.read(model.words) == [None] * layout.LATENCY_BUCKETS


def test_of_several_workers_the_latest_is_shown(block: Block, model: ModelCounters):
    """Each bucket by itself."""
    other = Block.create(("/a/B",))
    exemplars.note(model.words, 1, 60_000)
    exemplars.note(other.open_model("m", 1).words, 2, 60_000)
    # As if a second had passed.
    model.words[layout.EXEMPLARS + layout.EXEMPLAR_WORDS] += 1000
    exemplars.note(other.open_model("m", 1).words, 3, 1)

    (totals,) = total([other, block])

    assert [one and int(one.trace_id, 16) for one in totals.exemplars[:3]] == [3, 1, None]


def test_nothing_traced_is_no_exemplar():
    """Where tracing is off."""
    words = np.zeros(layout.MODEL_WORDS, np.int64)

    assert not any(exemplars.read(words))
