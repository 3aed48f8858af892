"""What the metrics count is what callers have counted, whatever happens to versions and workers."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from isotherm.v1 import open_inference_pb2 as pb
from tests.support import models
from tests.support.processes import children
from tests.support.rpc import call, error_of, infer_request
from tests.support.server import Server, eventually, serving

pytestmark = pytest.mark.slow

CALLERS = 12
EXPLICIT = ("--model-control", "explicit", "--load-model")
# Of each part that makes series of its own.
OF_A_MODEL = {
    *("isotherm_requests_total", "isotherm_drift_rows_total", "isotherm_feedback_rows_total"),
    "nv_inference_count",
}
X = np.array([[1.0]], np.float32)


class Scrape:
    """A scrape, as sums over the series that have some labels."""

    def __init__(self, server: Server) -> None:
        self._samples = [
            sample
            for family in text_string_to_metric_families(server.get("/metrics")[1])
            for sample in family.samples
        ]

    def sum(self, name: str, **labels: str) -> float:
        """Add up the series of one name."""
        return sum(
            sample.value
            for sample in self._samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def families(self, model: str) -> set[str]:
        """Return the names of the series that a model has."""
        return {sample.name for sample in self._samples if sample.labels.get("model") == model}

    def versions(self) -> set[tuple[str, str]]:
        """Return the versions that any series is of."""
        labelled = (sample.labels for sample in self._samples)
        return {(found["model"], found["version"]) for found in labelled if "model" in found}


class Callers:
    """Threads that ask one after the other, each on a connection of its own, and count."""

    def __init__(self, address: str) -> None:
        self.requests: Counter[str] = Counter()
        self.rows: Counter[str] = Counter()
        self._address = address
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(n,)) for n in range(CALLERS)]

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Ask as long as the block lasts; then everything is answered."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._done.set()
            for thread in self._threads:
                thread.join()

    def _work(self, seed: int) -> None:
        rng = random.Random(seed)
        # So that a connection that was lost is soon made again.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 100)]
        with grpc.insecure_channel(self._address, options) as channel:
            while not self._done.is_set():
                rows = rng.choice((1, 2, 7, 64))
                request = infer_request("mlp", x=np.ones((rows, 1), np.float32))
                if rng.random() < 0.1:
                    request.raw_input_contents[0] = b""
                try:
                    call(channel, "ModelInfer", request)
                    code = "OK"
                except grpc.RpcError as error:
                    assert isinstance(error, grpc.Call)
                    code = error.code().name
                with self._lock:
                    self.requests[code] += 1
                    self.rows[code] += rows


@pytest.fixture(name="repository")
def _repository(tmp_path: Path) -> Path:
    """One network."""
    models.publish(tmp_path, "mlp", models.mlp())
    return tmp_path


def test_four_workers_count_what_the_callers_count(repository: Path) -> None:
    """Requests, rows, durations, batches, calls and Triton's names, exactly; phases add up."""
    with serving(repository, "--workers", "4") as server:
        callers = Callers(server.address)
        with callers.calling():
            eventually(lambda: callers.requests["OK"] > 2000, 20)
        ok, rows = callers.requests["OK"], callers.rows["OK"]
        # A duration is added right after the answer is sent.
        count = "isotherm_request_duration_seconds_count"
        settled = eventually(lambda: Scrape(server).sum(count) == ok)
        scrape = Scrape(server)

    assert callers.requests.keys() == {"OK", "INVALID_ARGUMENT"}
    assert settled
    for name, labels, expected in (
        ("isotherm_requests_total", {"code": "OK"}, ok),
        (
            "isotherm_requests_total",
            {"code": "INVALID_ARGUMENT"},
            callers.requests["INVALID_ARGUMENT"],
        ),
        ("isotherm_requests_total", {}, callers.requests.total()),
        ("isotherm_inferences_total", {}, rows),
        ("isotherm_batch_size_sum", {}, rows),
        ("isotherm_batch_size_count", {}, scrape.sum("isotherm_executions_total")),
        ("isotherm_batches_total", {}, scrape.sum("isotherm_executions_total")),
        ("isotherm_request_duration_seconds_bucket", {"le": "+Inf"}, ok),
        *(
            ("isotherm_phase_duration_seconds_count", {"phase": phase}, ok)
            for phase in ("queue", "assemble", "run", "encode")
        ),
        ("grpc_server_handled_total", {"grpc_method": "ModelInfer", "grpc_code": "OK"}, ok),
        ("nv_inference_request_success", {}, ok),
        ("nv_inference_count", {}, rows),
        ("isotherm_rejected_total", {}, 0),
        ("isotherm_model_loads_total", {"result": "ok"}, 4),
        ("isotherm_queue_oldest_age_seconds", {}, 0),
    ):
        assert scrape.sum(name, **labels) == expected, (name, labels)
    whole_s = scrape.sum("isotherm_request_duration_seconds_sum")
    assert scrape.sum("isotherm_phase_duration_seconds_sum") == pytest.approx(whole_s, rel=0.02)
    assert 0 < scrape.sum("isotherm_executions_total") <= ok


def test_a_killed_worker_takes_no_counts_with_it(repository: Path) -> None:
    """Only calls that were in flight at it may be counted, or not; no count ever becomes less."""
    seen: list[float] = []
    with serving(repository, "--workers", "4") as server:
        callers = Callers(server.address)
        with callers.calling():
            eventually(lambda: callers.requests["OK"] > 500, 20)
            os.kill(children(server.process.pid)[0], signal.SIGKILL)

            def back() -> bool:
                seen.append(Scrape(server).sum("isotherm_requests_total", code="OK"))
                return Scrape(server).sum("isotherm_worker_restarts_total") == 1 and server.ready()

            restarted = eventually(back, 20)
            more = callers.requests["OK"] + 500
            went_on = eventually(lambda: callers.requests["OK"] > more, 20)
        scrape = Scrape(server)
        seen.append(scrape.sum("isotherm_requests_total", code="OK"))

    assert restarted
    assert went_on
    assert callers.requests.keys() <= {"OK", "INVALID_ARGUMENT", "UNAVAILABLE", "CANCELLED"}
    lost = callers.requests["UNAVAILABLE"] + callers.requests["CANCELLED"]
    # Each caller has one call in flight.
    in_flight = min(lost, CALLERS)
    ok = callers.requests["OK"]
    assert ok <= seen[-1] <= ok + in_flight
    rows = scrape.sum("isotherm_inferences_total")
    assert callers.rows["OK"] <= rows <= callers.rows["OK"] + 64 * in_flight
    assert seen == sorted(seen)


def test_series_go_with_their_version(tmp_path: Path) -> None:
    """By a swap and by an unload, at every worker; who loads it again finds it counted."""
    model = models.with_contract(models.doubling(), models.doubling_contract())
    models.publish(tmp_path, "m", model)
    with (
        serving(tmp_path, "--workers", "2", *EXPLICIT, "m") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        load = pb.RepositoryModelLoadRequest(model_name="m")
        call(channel, "ModelInfer", infer_request("m", x=X))
        kinds = eventually(lambda: Scrape(server).families("m") >= OF_A_MODEL)
        shown = [Scrape(server).versions()]
        models.publish(tmp_path, "m", model, 2)
        call(channel, "RepositoryModelLoad", load)
        swapped = eventually(lambda: Scrape(server).versions() == {("m", "2")})
        call(channel, "ModelInfer", infer_request("m", x=X))
        call(channel, "RepositoryModelUnload", pb.RepositoryModelUnloadRequest(model_name="m"))
        unloaded = eventually(lambda: Scrape(server).versions() == set())
        refused = error_of(channel, "ModelStatistics", pb.ModelStatisticsRequest(name="m"))
        os.kill(children(server.process.pid)[0], signal.SIGKILL)
        noticed = eventually(lambda: not server.ready())
        back = eventually(server.ready, 20)
        shown.append(Scrape(server).versions())
        # The first connection may have been to the worker that was killed.
        with grpc.insecure_channel(server.address) as other:
            call(other, "RepositoryModelLoad", load)
        scrape = Scrape(server)

    assert kinds
    assert shown == [{("m", "1")}, set()]
    assert swapped
    assert unloaded
    assert refused == (
        grpc.StatusCode.UNAVAILABLE,
        "'m' version 2 is not at ready state: unloaded",
    )
    assert noticed
    assert back
    assert scrape.versions() == {("m", "2")}
    assert scrape.sum("isotherm_requests_total") == 1
    assert scrape.sum("isotherm_model_loads_total", result="ok") == 4


def test_failed_loads_are_counted_while_the_old_version_serves(repository: Path) -> None:
    """A new version that cannot be loaded, and a file that was replaced by a broken one."""
    with (
        serving(repository, *EXPLICIT, "mlp") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        load = pb.RepositoryModelLoadRequest(model_name="mlp")
        failures = []
        for version in (1, 2):
            path = repository / "mlp" / str(version) / "model.onnx"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"no model")
            failures.append(error_of(channel, "RepositoryModelLoad", load)[0])
        call(channel, "ModelInfer", infer_request("mlp", x=X))
        failed = {
            version: Scrape(server).sum(
                "isotherm_model_loads_total", result="failed", version=version
            )
            for version in ("1", "2")
        }
        ready = server.ready()
        path.unlink()
        path.parent.rmdir()
        models.publish(repository, "mlp", models.mlp(seed=2))
        call(channel, "RepositoryModelLoad", load)
        shown = eventually(lambda: Scrape(server).versions() == {("mlp", "1")})

    assert len(set(failures)) == 1
    assert failed == {"1": 1, "2": 1}
    assert ready
    assert shown
