"""Counters summed over workers."""

from __future__ import annotations

import time

from isotherm.server.counters import Block
from isotherm.server.layout import CloseReason, ModelState, Phase, Rejection, WorkerState
from isotherm.server.model_counters import ModelCounters
from isotherm.server.totals import total
from tests.unit.server.fakes import executed, succeeded


def two_workers() -> tuple[list[Block], list[ModelCounters]]:
    """Return two blocks that know one model, and its counters in each."""
    blocks = [Block.create([]), Block.create([])]
    return blocks, [block.open_model("m", 1) for block in blocks]


def test_no_worker_has_no_totals():
    """Before anything is loaded there is nothing to show."""
    assert total([Block.create([])]) == []


def test_counters_and_queues_add_up():
    """The server is all of its workers."""
    blocks, models = two_workers()
    for factor, model in enumerate(models, 1):
        executed(model, 2, factor, factor, factor)
        succeeded(model, [100 * factor], 1, 2, 3)
        model.reject(Rejection.CANCELLED, 1)
        model.closed_batch(CloseReason.IDLE)
        model.queue(factor, 10 * factor)
        model.loaded(provider="cpu", sha256="f" * 64, load_ns=factor, queue_limit_rows=100)
    (totals,) = total(blocks)

    assert (totals.rows, totals.executions) == (4, 2)
    assert list(totals.exact_batches()) == [(2, [2, 3, 3, 3])]
    assert totals.requests[:2] == [2, 2]
    assert totals.rejected == [0, 0, 2, 0]
    assert totals.batches[CloseReason.IDLE] == 2
    assert (totals.queue_requests, totals.queue_rows, totals.queue_limit_rows) == (3, 30, 200)
    assert totals.phase(Phase.QUEUE).sum_ns == 300
    assert totals.duration.count == 2


def test_what_cannot_be_added_is_the_largest():
    """Load time and last inference; provider and digest are any worker's that knows them."""
    blocks, models = two_workers()
    models[0].loaded(provider="cpu", sha256="ab" * 32, load_ns=9, queue_limit_rows=1)
    succeeded(models[1], [1], 0, 0, 0)
    (totals,) = total(blocks)

    assert (totals.load_ns, totals.provider, totals.sha256) == (9, "cpu", "abababababab")
    assert totals.last_inference_ms > 0


def test_a_model_is_ready_when_every_worker_is():
    """One that is not decides for all."""
    blocks, models = two_workers()
    for model in models:
        model.state = ModelState.READY
    states = [total(blocks)[0].state]
    models[1].state = ModelState.UNAVAILABLE
    states.append(total(blocks)[0].state)

    assert states == [ModelState.READY, ModelState.UNAVAILABLE]


def test_a_version_is_gone_when_the_last_worker_has_unloaded_it():
    """Until then nothing is taken from the sums: they are counters."""
    blocks, models = two_workers()
    for block, model in zip(blocks, models, strict=True):
        block.state = WorkerState.SERVING
        executed(model, 2, 1, 1, 1)
    rows = [totals.rows for totals in total(blocks)]
    models[0].reset_gauges()
    rows += [totals.rows for totals in total(blocks)]
    models[1].reset_gauges()

    assert rows == [4, 4]
    assert total(blocks) == []


def test_a_dead_worker_s_counts_are_kept_until_it_serves_again():
    """And longer, where another worker serves the version."""
    blocks, models = two_workers()
    for block, model in zip(blocks, models, strict=True):
        block.state = WorkerState.SERVING
        executed(model, 2, 1, 1, 1)
    models[1].reset_gauges()
    blocks[0].end()
    dead = [totals.rows for totals in total(blocks)]
    blocks[0].restart()
    starting = [totals.rows for totals in total(blocks)]
    blocks[0].open_model("m", 1).state = ModelState.READY
    blocks[0].state = WorkerState.SERVING
    loaded = [totals.rows for totals in total(blocks)]

    assert (dead, starting, loaded) == ([4], [4], [4])


def test_waiting_is_that_of_the_worker_where_it_is_longest():
    """A caller has a connection to one worker, and waits there."""
    blocks, models = two_workers()
    now_ns = time.perf_counter_ns()
    for age_s, model in zip((3, 7), models, strict=True):
        model.waited(now_ns - age_s * 10**9)
        model.expected_wait(age_s / 10)
    (totals,) = total(blocks)

    assert 7 <= totals.queue_oldest_age_s < 60
    assert totals.expected_wait_s == 0.7


def test_models_come_in_the_order_they_were_first_opened():
    """Also those that only a later worker knows."""
    first, second = Block.create([]), Block.create([])
    first.open_model("b", 1)
    for name in ("a", "b"):
        second.open_model(name, 1)

    assert [totals.name for totals in total([first, second])] == ["b", "a"]
