"""The counter block: shared by descriptor, exact, and kept over a worker's restart."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.server import counters, layout
from isotherm.server.counters import OTHER_RPC, Block
from isotherm.server.errors import LoadError
from isotherm.server.layout import CloseReason, ModelState, Phase, Rejection, WorkerState
from isotherm.server.totals import Latency, ModelTotals, total
from tests.unit.server.fakes import executed, succeeded

RPCS = ("/a.A/One", "/a.A/Two")


def totals_of(block: Block) -> ModelTotals:
    """Return the totals of a block with one model."""
    (totals,) = total([block])
    return totals


def test_a_new_block_is_down_and_empty():
    """Nothing serves, nothing beats, nothing was counted."""
    block = Block.create(RPCS)

    assert (block.state, block.pid) == (WorkerState.DOWN, 0)
    assert math.isinf(block.heartbeat_age_s())
    assert list(block.models()) == []
    assert not block.rpc_counts().any()


def test_two_blocks_over_one_descriptor_share_their_words():
    """What the worker writes, the supervisor reads at once."""
    worker = Block.create(RPCS)
    reader = Block(os.dup(worker.fd), RPCS)
    worker.state, worker.pid = WorkerState.SERVING, 4711
    worker.open_model("m", 3).closed_batch(CloseReason.FULL)
    worker.rpc_recorder()("/a.A/Two", 5)
    (model,) = reader.models()

    assert (reader.state, reader.pid) == (WorkerState.SERVING, 4711)
    assert (model.name, model.version) == ("m", 3)
    assert totals_of(reader).batches[CloseReason.FULL] == 1
    assert reader.rpc_counts()[1, 5] == 1


def test_a_block_is_inherited_by_another_process():
    """A worker opens the descriptor it was given, and the parent sees what it wrote."""
    block = Block.create(RPCS)
    program = (
        "import sys; from isotherm.server.counters import Block\n"
        f"Block(int(sys.argv[1]), {RPCS!r}).open_model('from afar', 7)"
    )
    subprocess.run(
        [sys.executable, "-c", program, str(block.fd)], pass_fds=[block.fd], check=True, timeout=60
    )

    assert [(model.name, model.version) for model in block.models()] == [("from afar", 7)]


def test_a_beat_is_remembered():
    """The age begins again with every beat."""
    block = Block.create(RPCS)
    block.beat()

    assert 0 <= block.heartbeat_age_s() < 60


def test_a_restarted_worker_continues_its_counters_and_zeroes_its_gauges():
    """Prometheus must see no reset; what waited in the dead process waits no more."""
    block = Block.create(RPCS)
    before = block.open_model("m", 1)
    before.loaded(provider="cpu", sha256="ab" * 32, load_ns=5, queue_limit_rows=100)
    before.queue(3, 30)
    executed(before, 4, 1, 1, 1)
    restarted = Block(os.dup(block.fd), RPCS)
    restarted.restart()
    again = restarted.open_model("m", 1)
    totals = totals_of(block)

    assert again.state is ModelState.UNKNOWN
    assert (totals.queue_requests, totals.queue_rows, totals.queue_limit_rows) == (0, 0, 0)
    assert restarted.state is WorkerState.STARTING
    assert (totals.rows, totals.executions) == (4, 1)


def test_versions_and_names_have_counters_of_their_own():
    """Each pair is a slot, in the order they were opened."""
    block = Block.create(RPCS)
    for name, version in (("a", 1), ("b", 1), ("a", 2)):
        executed(block.open_model(name, version), version, 0, 0, 0)

    assert [(m.name, m.version) for m in block.models()] == [("a", 1), ("b", 1), ("a", 2)]
    assert [model.rows for model in total([block])] == [1, 1, 2]


def test_a_slot_is_another_version_s_once_nobody_serves_the_first():
    """A year of swaps fits, and the new version begins at nothing."""
    blocks = [Block.create(RPCS), Block.create(RPCS)]
    for block in blocks:
        block.state = WorkerState.SERVING
    for version in range(3 * layout.MAX_MODELS):
        for block in blocks:
            model = block.open_model("m", version)
            assert model.snapshot() is not None
            assert totals_of(block).rows == 0
            executed(model, 4, 1, 1, 1)
        for block in blocks:
            block.open_model("m", version).reset_gauges()
        for block in blocks:
            block.release_models(blocks, kept_s=0)

    assert [block.models() for block in blocks] == [[], []]
    assert blocks[0].words[layout.WORKER_SLOTS] == 1


def test_a_slot_is_kept_while_any_worker_serves_its_version():
    """Or may still, being started: a sum must not become less."""
    first, second = blocks = [Block.create(RPCS), Block.create(RPCS)]
    for block in blocks:
        block.state = WorkerState.SERVING
        block.open_model("m", 1)
    first.open_model("m", 1).reset_gauges()
    first.release_models(blocks, kept_s=0)
    while_served = len(first.models())
    second.restart()
    first.release_models(blocks, kept_s=0)
    while_starting = len(first.models())
    second.state = WorkerState.SERVING
    first.release_models(blocks)
    at_once = len(first.models())
    first.release_models(blocks, kept_s=0)

    assert (while_served, while_starting, at_once) == (1, 1, 1)
    assert first.models() == []
    assert len(second.models()) == 1


def test_a_version_that_comes_back_soon_goes_on_counting():
    """Its slot is not yet anybody else's."""
    block = Block.create(RPCS)
    block.state = WorkerState.SERVING
    executed(block.open_model("m", 1), 4, 1, 1, 1)
    block.open_model("m", 1).reset_gauges()
    block.release_models([block])
    again = block.open_model("m", 1)
    again.loaded(provider="cpu", sha256="ab" * 32, load_ns=5, queue_limit_rows=100)
    block.release_models([block], kept_s=0)

    assert totals_of(block).rows == 4


def test_a_free_slot_has_no_snapshot():
    """Who reads while a version goes gets nothing, rather than another one's numbers."""
    block = Block.create(RPCS)
    model = block.open_model("m", 1)
    before = model.snapshot()
    model.release()

    assert before is not None
    assert model.snapshot() is None


def test_versions_that_could_not_be_loaded_are_forgotten_with_their_files():
    """But not those that are still wanted, nor another model's."""
    block = Block.create(RPCS)
    for name, version in (("m", 1), ("m", 2), ("n", 1)):
        block.open_model(name, version).state = ModelState.UNAVAILABLE
    block.open_model("m", 3).state = ModelState.READY
    block.retire_unavailable("m", {2})
    unknown = [(m.name, m.version) for m in block.models() if m.state is ModelState.UNKNOWN]

    assert unknown == [("m", 1)]


def test_loads_are_counted_by_result():
    """Over all workers."""
    blocks = [Block.create(RPCS), Block.create(RPCS)]
    for block in blocks:
        block.open_model("m", 1).load_ended(failed=False)
    blocks[1].open_model("m", 1).load_ended(failed=True)
    (totals,) = total(blocks)

    assert totals.loads == (2, 1)


def test_an_empty_queue_has_no_oldest_request():
    """Whatever was said of it before."""
    block = Block.create(RPCS)
    model = block.open_model("m", 1)
    model.queue(1, 1)
    model.waited(time.perf_counter_ns() - 2 * 10**9)
    waiting = totals_of(block).queue_oldest_age_s
    model.queue(0, 0)

    assert 2 <= waiting < 60
    assert totals_of(block).queue_oldest_age_s == 0


def test_the_lag_of_the_loop_is_remembered_until_the_process_ends():
    """In seconds."""
    block = Block.create(RPCS)
    block.beat(0.25)
    lag_s = block.loop_lag_s
    block.end()

    assert lag_s == 0.25
    assert block.loop_lag_s == 0
    assert (block.state, block.pid) == (WorkerState.DOWN, 0)


def test_there_is_room_for_512_model_versions():
    """The next one is refused in words."""
    block = Block.create(RPCS)
    for version in range(layout.MAX_MODELS):
        block.open_model("m", version)
    block.open_model("m", layout.MAX_MODELS - 1)

    assert len(list(block.models())) == 512
    with pytest.raises(LoadError, match="a server has room for 512 model versions, all are taken"):
        block.open_model("m", layout.MAX_MODELS)


@pytest.mark.parametrize("name", ["n" * 256, "ü" * 128])
def test_a_name_of_256_bytes_fits(name: str):
    """More than a file system allows."""
    block = Block.create(RPCS)

    assert block.open_model(name, 1).name == name


@pytest.mark.parametrize("name", ["n" * 257, "ü" * 129])
def test_a_longer_name_is_refused(name: str):
    """It would run into its neighbour's words; the slot stays free."""
    block = Block.create(RPCS)
    with pytest.raises(ValueError, match=r"has (257|258) bytes, at most 256 are allowed"):
        block.open_model(name, 1)

    assert list(block.models()) == []


def test_what_was_loaded_is_noted():
    """Provider, the digest's first digits, time and limit; the version is ready."""
    block = Block.create(RPCS)
    model = block.open_model("m", 1)
    model.loaded(provider="cuda", sha256="0123456789abcdef", load_ns=12, queue_limit_rows=34)
    totals = totals_of(block)

    assert (model.provider, model.sha256, model.state) == ("cuda", "0123456789ab", ModelState.READY)
    assert (totals.load_ns, totals.queue_limit_rows) == (12, 34)


def test_where_a_model_runs_is_noted():
    """Of several workers the most, of their memory the sum; with the process it is forgotten."""
    blocks = [Block.create(RPCS), Block.create(RPCS)]
    placed = ((24, 3_000_000_000, 5, True, 1), (16, 4, 7, False, 2))
    for block, (rows, size_bytes, sizes, fell_back, lent) in zip(blocks, placed, strict=True):
        model = block.open_model("m", 1)
        model.loaded(provider="cuda", sha256="ab", load_ns=1, queue_limit_rows=1)
        model.placed(
            break_even_rows=rows, device_bytes=size_bytes, graph_sizes=sizes, fell_back=fell_back
        )
        model.lent(lent)
    (totals,) = total(blocks)
    assert (totals.break_even_rows, totals.device_bytes) == (24, 3_000_000_004)
    assert (totals.graph_sizes, totals.fell_back, totals.buffers_lent) == (7, True, 3)

    for block in blocks:
        block.end()
    (totals,) = total(blocks)
    assert (totals.break_even_rows, totals.device_bytes) == (0, 0)
    assert (totals.graph_sizes, totals.fell_back, totals.buffers_lent) == (0, False, 0)


def test_the_recorder_counts_by_path_and_code():
    """A path outside the list is counted as another, never by name."""
    block = Block.create(RPCS)
    record = block.rpc_recorder()
    for path, code in ((RPCS[0], 0), (RPCS[0], 0), (RPCS[1], 16), ("/evil", 12), ("", 12)):
        record(path, code)
    record(RPCS[0], 0, 30)
    counts = np.zeros((3, layout.CODES))
    counts[0, 0], counts[1, 16], counts[2, 12] = 32, 1, 2

    assert block.rpcs == (*RPCS, OTHER_RPC)
    assert block.rpc_counts().tolist() == counts.tolist()


def test_rejections_are_counted_by_reason_and_code():
    """A rejection is an ended request as well; a refused one is no rejection."""
    block = Block.create(RPCS)
    model = block.open_model("m", 1)
    model.reject(Rejection.QUEUE_FULL, 8)
    model.reject(Rejection.EXPIRED, 4)
    model.refuse(3)
    model.fail(13, 1000)
    totals = totals_of(block)

    assert totals.rejected == [1, 1, 0, 0]
    assert {code: count for code, count in enumerate(totals.requests) if count} == {
        3: 1,
        4: 1,
        8: 1,
        13: 1,
    }
    assert (totals.failed, totals.fail_ns) == (2, 1000)


@pytest.mark.parametrize(
    ("rows", "bucket"), [(1, 0), (2, 1), (3, 2), (4, 2), (1023, 10), (1024, 10), (1025, 11)]
)
def test_an_execution_is_counted_in_the_bucket_of_its_size(rows: int, bucket: int):
    """Edges are inclusive upper bounds; beyond the last one is a bucket more."""
    block = Block.create(RPCS)
    executed(block.open_model("m", 1), rows, 10, 20, 30)
    totals = totals_of(block)
    exact = [(rows, [1, 10, 20, 30])] if rows <= 1024 else []

    assert totals.batch_histogram[bucket] == 1
    assert sum(totals.batch_histogram) == 1
    assert list(totals.exact_batches()) == exact


@pytest.mark.parametrize("edge", range(len(layout.LATENCY_EDGES_NS)))
@pytest.mark.parametrize("requests", [1, 2, 24])
def test_a_latency_on_an_edge_belongs_below_it(edge: int, requests: int):
    """Prometheus' `le` is inclusive, for a request alone and for a batch."""
    block = Block.create(RPCS)
    limit_ns = layout.LATENCY_EDGES_NS[edge]
    model = block.open_model("m", 1)
    succeeded(model, [limit_ns] * requests, 0, 0, 0)
    succeeded(model, [limit_ns + 1] * requests, 0, 0, 0)
    buckets = totals_of(block).duration.buckets

    assert buckets[edge] == requests
    assert buckets[edge + 1] == requests


EDGES = st.sampled_from(layout.LATENCY_EDGES_NS)
NANOSECONDS = st.integers(0, 20_000_000_000) | EDGES | EDGES.map(lambda edge: edge + 1)


@given(st.lists(NANOSECONDS, min_size=1, max_size=80), NANOSECONDS, NANOSECONDS)
def test_every_request_of_a_batch_is_in_the_bucket_of_its_own_time(
    queue_ns: Sequence[int], run_ns: int, encode_ns: int
):
    """In whatever order they came; sums are exact."""
    block = Block.create([])
    succeeded(block.open_model("m", 1), queue_ns, 7, run_ns, encode_ns)
    totals = totals_of(block)
    os.close(block.fd)
    requests = len(queue_ns)

    assert totals.requests[0] == requests
    assert words_of(totals.duration) == expected([ns + 7 + run_ns + encode_ns for ns in queue_ns])
    assert words_of(totals.phase(Phase.QUEUE)) == expected(queue_ns)
    for phase, ns in ((Phase.ASSEMBLE, 7), (Phase.RUN, run_ns), (Phase.ENCODE, encode_ns)):
        assert words_of(totals.phase(phase)) == expected([ns] * requests)


def expected(values_ns: Sequence[int]) -> tuple[list[int], int, int]:
    """Return the histogram of values, by looking at each of them."""
    edges = (-1, *layout.LATENCY_EDGES_NS, math.inf)
    buckets = [sum(low < ns <= high for ns in values_ns) for low, high in pairwise(edges)]
    return buckets, sum(values_ns), len(values_ns)


def test_the_phases_of_a_request_add_up_to_its_duration():
    """Every member of a batch waits for the whole batch."""
    block = Block.create(RPCS)
    succeeded(block.open_model("m", 1), [100, 300], 5, 50, 500)
    totals = totals_of(block)

    assert totals.duration.sum_ns == 100 + 300 + 2 * (5 + 50 + 500)
    assert totals.duration.sum_ns == sum(totals.phase(phase).sum_ns for phase in Phase)


def test_the_last_inference_is_a_date():
    """Milliseconds since the epoch."""
    block = Block.create(RPCS)
    succeeded(block.open_model("m", 1), [1], 0, 0, 0)

    assert totals_of(block).last_inference_ms > 1_700_000_000_000


def test_a_block_works_without_memfd(tmp_path):
    """A plain file that is deleted at once does as well."""
    path = tmp_path / "block"
    path.touch()
    fd = os.open(path, os.O_RDWR)
    path.unlink()
    block = counters.Block(fd, RPCS)
    executed(block.open_model("m", 1), 1, 0, 0, 0)

    assert totals_of(Block(os.dup(fd), RPCS)).rows == 1


def words_of(latency: Latency) -> tuple[list[int], int, int]:
    """Return a histogram as values."""
    return latency.buckets, latency.sum_ns, latency.count
