"""The metrics, read as Prometheus reads them, from blocks filled by hand."""

from __future__ import annotations

import os
import time

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from isotherm.server import layout
from isotherm.server.counters import Block
from isotherm.server.layout import CloseReason, ModelState, Phase, Rejection, WorkerState
from isotherm.server.metrics import ServerCollector, live, ready
from isotherm.server.model_metrics import CODE_NAMES
from isotherm.server.rpcs import COUNTED_RPCS
from isotherm.server.transport.call import StatusCode
from tests.unit.server.fakes import executed, succeeded

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(*blocks: Block, restarts: tuple[int, ...] | None = None) -> Samples:
    """Return every sample of a scrape by name and sorted labels."""
    registry = CollectorRegistry()
    registry.register(ServerCollector(blocks, lambda: restarts or (0,) * len(blocks)))
    text = generate_latest(registry).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    """Return one sample's value."""
    return samples[name, tuple(sorted(labels.items()))]


def named(samples: Samples, name: str) -> dict[tuple[tuple[str, str], ...], float]:
    """Return a metric's values by labels."""
    return {labels: number for (found, labels), number in samples.items() if found == name}


def make_block(state: WorkerState = WorkerState.SERVING, *, beating: bool = True) -> Block:
    """Return a worker's block in a state."""
    block = Block.create(COUNTED_RPCS)
    block.state = state
    if beating:
        block.beat()
    return block


def stuck_block(state: WorkerState) -> Block:
    """Return the block of a worker whose loop has not beaten for a minute."""
    block = make_block(state)
    block.words[layout.WORKER_HEARTBEAT_NS] -= 60 * 10**9
    return block


def filled_block() -> Block:
    """Return a block with one model that has seen everything once."""
    block = make_block()
    model = block.open_model("m", 2)
    model.loaded(provider="cpu", sha256="ab" * 32, load_ns=1_500_000_000, queue_limit_rows=100)
    model.load_ended(failed=False)
    model.placed(break_even_rows=24, device_bytes=5 << 20, graph_sizes=6, fell_back=True)
    model.lent(2)
    executed(model, 3, 10_000, 20_000, 30_000)
    succeeded(model, [1_000_000, 40_000], 10_000, 20_000, 30_000)
    model.reject(Rejection.EXPIRED, StatusCode.DEADLINE_EXCEEDED)
    model.refuse(StatusCode.INVALID_ARGUMENT)
    model.fail(StatusCode.INTERNAL, 1)
    model.closed_batch(CloseReason.DELAY)
    model.queue(4, 40)
    return block


def test_the_code_names_are_grpcs():
    """By number."""
    assert list(CODE_NAMES) == [code.name for code in StatusCode]


def test_requests_are_counted_by_code():
    """Those that the server gives are there from the start: a rate must see the first failure."""
    samples = scrape(filled_block())

    assert named(samples, "isotherm_requests_total") == {
        (("code", code), ("model", "m"), ("version", "2")): count
        for code, count in (
            ("OK", 2.0),
            ("CANCELLED", 0.0),
            ("INVALID_ARGUMENT", 1.0),
            ("DEADLINE_EXCEEDED", 1.0),
            ("RESOURCE_EXHAUSTED", 0.0),
            ("UNIMPLEMENTED", 0.0),
            ("INTERNAL", 1.0),
        )
    }


def test_rejections_are_counted_by_reason():
    """All reasons, also those that never happened."""
    samples = scrape(filled_block())

    assert {
        dict(labels)["reason"]: count
        for labels, count in named(samples, "isotherm_rejected_total").items()
    } == {"queue_full": 0, "hopeless": 0, "expired": 1, "cancelled": 0}


def test_a_duration_is_a_histogram_in_seconds():
    """Buckets are cumulative, from 50 us up; sum and count agree with them."""
    samples = scrape(filled_block())
    labels = {"model": "m", "version": "2"}
    buckets = {
        dict(found)["le"]: count
        for found, count in named(samples, "isotherm_request_duration_seconds_bucket").items()
    }

    assert [buckets[le] for le in ("5e-05", "0.0001", "0.001", "0.0025", "+Inf")] == [
        0,
        1,
        1,
        2,
        2,
    ]
    assert len(buckets) == len(layout.LATENCY_EDGES_NS) + 1
    assert value(samples, "isotherm_request_duration_seconds_count", **labels) == 2
    assert value(samples, "isotherm_request_duration_seconds_sum", **labels) == pytest.approx(
        0.00116
    )


def test_the_phases_add_up_to_the_duration():
    """Each is a histogram of its own."""
    samples = scrape(filled_block())
    labels = {"model": "m", "version": "2"}
    sums = {
        phase.name.lower(): value(
            samples, "isotherm_phase_duration_seconds_sum", **labels, phase=phase.name.lower()
        )
        for phase in Phase
    }

    assert sums == pytest.approx({"queue": 0.00104, "assemble": 2e-5, "run": 4e-5, "encode": 6e-5})
    assert sum(sums.values()) == pytest.approx(
        value(samples, "isotherm_request_duration_seconds_sum", **labels)
    )


def test_batches_are_counted_by_size_and_reason():
    """Rows are the sum of the sizes."""
    samples = scrape(filled_block())
    labels = {"model": "m", "version": "2"}

    assert value(samples, "isotherm_batch_size_bucket", **labels, le="2") == 0
    assert value(samples, "isotherm_batch_size_bucket", **labels, le="4") == 1
    assert value(samples, "isotherm_batch_size_sum", **labels) == 3
    assert value(samples, "isotherm_batch_size_count", **labels) == 1
    assert value(samples, "isotherm_inferences_total", **labels) == 3
    assert value(samples, "isotherm_executions_total", **labels) == 1
    assert {
        dict(found)["reason"]: count
        for found, count in named(samples, "isotherm_batches_total").items()
    } == {"full": 0, "idle": 0, "delay": 1, "drain": 0, "deadline": 0}


def test_queues_and_limits_add_up_over_workers():
    """Two workers may hold twice as much."""
    samples = scrape(filled_block(), filled_block())
    labels = {"model": "m", "version": "2"}

    assert value(samples, "isotherm_queue_pending_requests", **labels) == 8
    assert value(samples, "isotherm_queue_pending_rows", **labels) == 80
    assert value(samples, "isotherm_queue_limit_rows", **labels) == 200


def test_waiting_is_shown_in_seconds():
    """Of what waits longest, and of what would come now."""
    block = filled_block()
    model = block.open_model("m", 2)
    model.waited(time.perf_counter_ns() - 3 * 10**9)
    model.expected_wait(0.125)
    samples = scrape(block)
    labels = {"model": "m", "version": "2"}

    assert 3 <= value(samples, "isotherm_queue_oldest_age_seconds", **labels) < 60
    assert value(samples, "isotherm_queue_expected_wait_seconds", **labels) == 0.125


def test_an_unloaded_version_leaves_no_series():
    """Under no name, ours or Triton's."""
    block = filled_block()
    before = scrape(block)
    block.open_model("m", 2).reset_gauges()
    after = scrape(block)

    assert [labels for _, labels in before if ("model", "m") in labels]
    assert [labels for _, labels in after if ("model", "m") in labels] == []


def test_a_models_life_is_shown():
    """Provider, digest, load time, loads, and one of four states."""
    samples = scrape(filled_block())
    labels = {"model": "m", "version": "2"}

    assert (
        value(samples, "isotherm_model_info", **labels, provider="cpu", sha256="abababababab") == 1
    )
    assert value(samples, "isotherm_model_load_duration_seconds", **labels) == 1.5
    assert value(samples, "isotherm_model_loads_total", **labels, result="ok") == 1
    assert value(samples, "isotherm_model_loads_total", **labels, result="failed") == 0
    assert {
        dict(found)["state"]: count
        for found, count in named(samples, "isotherm_model_state").items()
    } == {"LOADING": 0, "READY": 1, "UNAVAILABLE": 0, "UNLOADING": 0}


def test_where_a_model_runs_is_shown():
    """Its break-even, what it has on the device, and whether it should be there."""
    samples = scrape(filled_block())
    labels = {"model": "m", "version": "2"}

    assert value(samples, "isotherm_model_break_even_rows", **labels) == 24
    assert value(samples, "isotherm_model_device_memory_bytes", **labels) == 5 << 20
    assert value(samples, "isotherm_model_cuda_graphs", **labels) == 6
    assert value(samples, "isotherm_model_buffers_lent", **labels) == 2
    assert value(samples, "isotherm_provider_fallback", **labels) == 1


def test_rpcs_are_counted_by_type_method_and_code():
    """The labels are grpc's own; every known method is there from the start."""
    block, other = make_block(), make_block()
    for record in (block.rpc_recorder(), other.rpc_recorder()):
        record("/inference.GRPCInferenceService/ModelInfer", 0)
        record("/inference.GRPCInferenceService/ModelInfer", 8)
        record("/grpc.health.v1.Health/Watch", 1)
    samples = scrape(block, other)
    infer = {
        "grpc_type": "unary",
        "grpc_service": "inference.GRPCInferenceService",
        "grpc_method": "ModelInfer",
    }
    watch = {
        "grpc_type": "bidi_stream",
        "grpc_service": "grpc.health.v1.Health",
        "grpc_method": "Watch",
    }
    methods = {
        (dict(labels)["grpc_service"], dict(labels)["grpc_method"])
        for labels in named(samples, "grpc_server_handled_total")
    }

    assert value(samples, "grpc_server_handled_total", **infer, grpc_code="OK") == 2
    assert value(samples, "grpc_server_handled_total", **infer, grpc_code="ResourceExhausted") == 2
    assert value(samples, "grpc_server_handled_total", **watch, grpc_code="Canceled") == 2
    assert len(methods) == len(COUNTED_RPCS) + 1


def test_labels_never_hold_what_a_client_sent():
    """An unknown method is another one, whatever it is called."""
    block = make_block()
    block.rpc_recorder()("/evil/<script>", 12)
    samples = scrape(block)

    assert not any("evil" in text for _, labels in samples for pair in labels for text in pair)
    assert (
        value(
            samples,
            "grpc_server_handled_total",
            grpc_type="unary",
            grpc_service="_OTHER",
            grpc_method="_OTHER",
            grpc_code="Unimplemented",
        )
        == 1
    )


def test_every_label_comes_from_a_closed_list():
    """Names of labels and, but for models and methods, their values."""
    samples = scrape(filled_block(), make_block(WorkerState.DOWN))
    closed = {
        "code": set(CODE_NAMES),
        "grpc_type": {"unary", "bidi_stream"},
        "phase": {phase.name.lower() for phase in Phase},
        "state": {"LOADING", "READY", "UNAVAILABLE", "UNLOADING"},
        "worker": {"0", "1"},
        "provider": {"cpu"},
        "result": {"ok", "failed"},
    }
    for _, labels in samples:
        for name, text in labels:
            if name in closed:
                assert text in closed[name]
    open_names = {name for _, labels in samples for name, _ in labels} - closed.keys()

    assert open_names == {
        *("grpc_code", "grpc_method", "grpc_service", "le"),
        *("model", "reason", "sha256", "version"),
    }


def test_workers_are_shown_one_by_one():
    """Up, restarts, and the age of the beat of those that serve."""
    up, down = make_block(), make_block(WorkerState.STARTING)
    up.pid = os.getpid()
    up.beat(0.25)
    samples = scrape(up, down, restarts=(0, 3))

    assert named(samples, "isotherm_worker_up") == {
        (("worker", "0"),): 1.0,
        (("worker", "1"),): 0.0,
    }
    assert value(samples, "isotherm_worker_restarts_total", worker="1") == 3
    assert set(named(samples, "isotherm_worker_heartbeat_age_seconds")) == {(("worker", "0"),)}
    assert named(samples, "isotherm_worker_loop_lag_seconds") == {(("worker", "0"),): 0.25}
    assert value(samples, "isotherm_worker_cpu_seconds_total", worker="0") > 0
    assert value(samples, "isotherm_worker_resident_memory_bytes", worker="0") > 1 << 20
    assert set(named(samples, "isotherm_worker_cpu_seconds_total")) == {(("worker", "0"),)}


@pytest.mark.parametrize(
    ("states", "draining"),
    [
        ((WorkerState.SERVING, WorkerState.SERVING), 0),
        ((WorkerState.SERVING, WorkerState.DRAINING), 1),
    ],
)
def test_the_server_drains_when_any_worker_does(states: tuple[WorkerState, ...], draining: int):
    """And has as many workers as it should have."""
    samples = scrape(*(make_block(state) for state in states))

    assert value(samples, "isotherm_draining") == draining
    assert value(samples, "isotherm_workers") == 2
    assert len(named(samples, "isotherm_build_info")) == 1


def test_the_server_is_ready_when_every_worker_serves_and_beats():
    """In the metrics as on the page."""
    serving = make_block()
    candidates = {
        "good": [serving, make_block()],
        "starting": [serving, make_block(WorkerState.STARTING)],
        "down": [serving, make_block(WorkerState.DOWN)],
        "draining": [serving, make_block(WorkerState.DRAINING)],
        "stuck": [serving, stuck_block(WorkerState.SERVING)],
        "never beat": [serving, make_block(beating=False)],
    }

    assert {name: ready(blocks) for name, blocks in candidates.items()} == {
        "good": True,
        "starting": False,
        "down": False,
        "draining": False,
        "stuck": False,
        "never beat": False,
    }
    assert value(scrape(*candidates["good"]), "isotherm_ready") == 1
    assert value(scrape(*candidates["stuck"]), "isotherm_ready") == 0


@pytest.mark.parametrize("state", [ModelState.LOADING, ModelState.UNAVAILABLE])
def test_a_model_that_is_not_ready_keeps_the_server_from_being_ready(state: ModelState):
    """On any worker."""
    blocks = [filled_block(), filled_block()]
    before = ready(blocks)
    blocks[1].open_model("m", 2).state = state

    assert before
    assert not ready(blocks)


@pytest.mark.parametrize("state", [ModelState.LOADING, ModelState.UNAVAILABLE])
def test_a_version_that_nobody_needs_keeps_nothing_from_being_ready(state: ModelState):
    """Unless another worker cannot do without it."""
    blocks = [filled_block(), filled_block()]
    blocks[0].open_model("m", 9, optional=True).state = state
    on_one = ready(blocks)
    blocks[1].open_model("m", 9).state = state

    assert on_one
    assert not ready(blocks)


def test_a_version_that_no_worker_knows_any_more_is_no_reason_to_wait():
    """It was served before a restart, and has been replaced since."""
    block = filled_block()
    block.open_model("m", 2).state = ModelState.UNKNOWN

    assert ready([block])


def test_the_server_lives_unless_a_serving_loop_is_stuck():
    """A worker that starts, or starts again, is no reason to kill the server."""
    candidates = {
        "good": make_block(),
        "starting": make_block(WorkerState.STARTING, beating=False),
        "down": stuck_block(WorkerState.DOWN),
        "stuck": stuck_block(WorkerState.SERVING),
        "stuck while draining": stuck_block(WorkerState.DRAINING),
    }

    assert {name: live([make_block(), block]) for name, block in candidates.items()} == {
        "good": True,
        "starting": True,
        "down": True,
        "stuck": False,
        "stuck while draining": False,
    }
