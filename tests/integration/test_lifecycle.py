"""Start, drain, stop, crash: the server's life, seen from outside."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from isotherm.v1 import open_inference_pb2 as pb
from tests.support import models
from tests.support.ports import free_port
from tests.support.processes import children
from tests.support.rpc import call, infer_request, outputs_of
from tests.support.server import command, eventually, failing, serving

X = np.array([[1.0]], np.float32)
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVING = health_pb2.HealthCheckResponse.SERVING


def test_sigterm_ends_an_idle_server_with_status_zero(repository: Path, transport: str) -> None:
    """Nothing is in flight: the server says so and goes."""
    with serving(repository, "--transport", transport) as server:
        status = server.stop()

        assert status == 0, server.log
        assert "every accepted call was answered" in server.log


def test_a_folder_that_comes_late_is_served_as_the_named_model(
    repository: Path, tmp_path: Path
) -> None:
    """Alive while it waits; then there is one model, with the name that it was given."""
    late = tmp_path / "late"
    flags = ("--repository-wait", "60", "--model-name", "mine")
    with serving(late, *flags, wait=False) as server:
        assert eventually(lambda: server.get("/healthz")[0] == 200)
        assert eventually(lambda: "waiting up to 60 s for the folder" in server.log)
        assert not server.ready()
        late.symlink_to(repository / "doubling")
        assert eventually(server.ready, 60)
        with grpc.insecure_channel(server.address) as channel:
            answer = call(channel, "ModelInfer", infer_request("mine", x=X))

    np.testing.assert_array_equal(2 * X, outputs_of(answer)["y"])


def test_sigterm_ends_a_server_that_loads_at_once(tmp_path: Path) -> None:
    """It has no calls yet: nobody waits for the drain of what has never served."""
    flags = ("--repository-wait", "60", "--drain-delay", "30", "--workers", "2")
    with serving(tmp_path / "never", *flags, wait=False) as server:
        assert eventually(lambda: server.log.count("waiting up to 60 s") == 2, 30)
        server.process.send_signal(signal.SIGTERM)

        assert server.process.wait(10) == 0


# The server, which gets SIGTERM while it starts one of its processes, counted from 1.
STOPPED_AT = """
import os, runpy, signal, subprocess, sys

when = int(sys.argv.pop(1))

class Started(subprocess.Popen):
    count = 0

    def __init__(self, *arguments, **options):
        Started.count += 1
        if Started.count == when:
            os.kill(os.getpid(), signal.SIGTERM)
        super().__init__(*arguments, **options)

subprocess.Popen = Started
runpy.run_module("isotherm.server", run_name="__main__")
"""


@pytest.mark.parametrize("when", [1, 2, 3])
def test_sigterm_is_heeded_while_processes_are_being_started(repository: Path, when: int) -> None:
    """Two workers and the gateway: the one that is just being started is stopped as the others."""
    flags = command(repository, "--vetting", "off", "--workers", "2", "--drain-delay", "0")[3:]
    ports = [f"--{name}-port={free_port()}" for name in ("grpc", "metrics", "http")]
    done = subprocess.run(
        [sys.executable, "-c", STOPPED_AT, str(when), *flags, *ports],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert done.returncode == 0, done.stderr
    assert "SIGTERM: draining" in done.stderr
    assert "every accepted call was answered" in done.stderr


def test_ctrl_c_is_as_good_as_sigterm(repository: Path) -> None:
    """A person at a terminal gets a clean end too."""
    with serving(repository) as server:
        assert server.stop(signal.SIGINT) == 0


def test_a_draining_server_serves_while_health_says_otherwise(
    repository: Path, transport: str
) -> None:
    """Balancers look elsewhere before anything is refused; the watchers hear it at once."""
    flags = ("--transport", transport, "--drain-delay", "2")
    with serving(repository, *flags) as server, grpc.insecure_channel(server.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        watch = iter(stub.Watch(health_pb2.HealthCheckRequest(service="")))
        first = next(watch).status
        server.process.send_signal(signal.SIGTERM)
        second = next(watch).status
        liveness = stub.Check(health_pb2.HealthCheckRequest(service="liveness"), timeout=5)
        answer = call(channel, "ModelInfer", infer_request("doubling", x=X))
        page, _ = server.get("/v2/health/ready")
        healthz, _ = server.get("/healthz")
        draining = server.metric("isotherm_draining")
        status = server.process.wait(20)

    assert [SERVING, NOT_SERVING] == [first, second]
    assert liveness.status == SERVING
    np.testing.assert_array_equal(2 * X, outputs_of(answer)["y"])
    assert (503, 200, 1.0) == (page, healthz, draining)
    assert status == 0


def test_calls_in_flight_are_answered_before_the_end(tmp_path: Path, transport: str) -> None:
    """A batch that takes long is finished after SIGTERM, not cut off."""
    models.publish(tmp_path, "heavy", models.mlp((256, 2048, 2048, 2048, 8)))
    x = np.zeros((2048, 256), np.float32)
    with (
        serving(tmp_path, "--transport", transport) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        started = threading.Event()
        answers: list[Any] = []

        def infer() -> None:
            started.set()
            answers.append(call(channel, "ModelInfer", infer_request("heavy", x=x), timeout=60))

        callers = [threading.Thread(target=infer) for _ in range(4)]
        for caller in callers:
            caller.start()
        started.wait(10)
        # All four are accepted: a call that is still on its way may meet the GOAWAY instead.
        series = (
            'isotherm_batches_total{model="heavy",reason="full",version="1"}',
            'isotherm_queue_pending_requests{model="heavy",version="1"}',
        )
        running = eventually(lambda: sum(map(server.metric, series)) >= 4)
        status = server.stop()
        for caller in callers:
            caller.join(60)

    assert running
    assert status == 0
    assert len(answers) == 4


def test_a_second_signal_ends_at_once_and_not_with_zero(repository: Path) -> None:
    """Whoever insists does not wait for the drain; the exit status tells that calls may be lost."""
    with serving(repository, "--drain-delay", "60") as server:
        server.process.send_signal(signal.SIGTERM)
        draining = eventually(lambda: server.metric("isotherm_draining") == 1)
        # Signals half a second apart are two intents.
        threading.Event().wait(0.6)
        server.process.send_signal(signal.SIGTERM)
        status = server.process.wait(10)

    assert draining
    assert status == 1


def test_a_killed_worker_is_started_again_and_its_counts_live_on(repository: Path) -> None:
    """The supervisor replaces it; counters continue, and readiness was honest meanwhile."""
    series = 'isotherm_requests_total{code="OK",model="doubling",version="1"}'
    with serving(repository) as server:
        with grpc.insecure_channel(server.address) as channel:
            call(channel, "ModelInfer", infer_request("doubling", x=X))
        (child,) = children(server.process.pid)
        os.kill(child, signal.SIGKILL)
        noticed = eventually(lambda: not server.ready())
        back = eventually(server.ready, 30)
        with grpc.insecure_channel(server.address) as channel:
            call(channel, "ModelInfer", infer_request("doubling", x=X))

        assert noticed
        assert back
        assert eventually(lambda: server.metric(series) == 2)
        assert server.metric('isotherm_worker_restarts_total{worker="0"}') == 1
        assert server.stop() == 0


def test_workers_end_when_the_supervisor_is_killed(repository: Path) -> None:
    """Nothing is left behind that holds the port."""
    with serving(repository) as server:
        (child,) = children(server.process.pid)
        server.process.kill()
        server.process.wait(10)

        assert eventually(lambda: not running(child), 20)


def test_two_workers_share_the_port_and_the_counts(repository: Path) -> None:
    """Connections spread over the workers; statistics and metrics are sums over both."""
    series = 'isotherm_requests_total{code="OK",model="doubling",version="1"}'
    with serving(repository, "--workers", "2") as server:
        for _ in range(20):
            with grpc.insecure_channel(
                server.address, [("grpc.use_local_subchannel_pool", 1)]
            ) as c:
                call(c, "ModelInfer", infer_request("doubling", x=X))
                stats = call(c, "ModelStatistics", pb.ModelStatisticsRequest(name="doubling"))

        assert stats.model_stats[0].inference_stats.success.count == 20
        assert eventually(lambda: server.metric(series) == 20)
        assert server.metric("isotherm_workers") == 2
        assert server.stop() == 0


def test_small_requests_that_arrive_together_run_as_one_batch(
    repository: Path, transport: str
) -> None:
    """64 calls outstanding on one channel make batches of many rows."""
    with (
        serving(repository, "--transport", transport) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        multicallable: Any = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        )
        for _ in range(20):
            futures = [
                multicallable.future(infer_request("mlp", x=X), timeout=20) for _ in range(64)
            ]
            for future in futures:
                future.result()
        rows = server.metric('isotherm_inferences_total{model="mlp",version="1"}')
        executions = server.metric('isotherm_executions_total{model="mlp",version="1"}')

    assert rows == 20 * 64
    assert executions < rows


def test_a_delay_makes_larger_batches(repository: Path) -> None:
    """With --max-queue-delay-us the first row waits for company, and the batches say so."""
    with (
        serving(repository, "--max-queue-delay-us", "200000") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        multicallable: Any = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        )
        futures = [multicallable.future(infer_request("mlp", x=X), timeout=20) for _ in range(8)]
        for future in futures:
            future.result()

        assert server.metric('isotherm_executions_total{model="mlp",version="1"}') == 1
        assert server.metric('isotherm_batches_total{model="mlp",reason="delay",version="1"}') == 1


def test_a_full_queue_is_refused_at_once_with_a_time_to_come_back(tmp_path: Path) -> None:
    """RESOURCE_EXHAUSTED with grpc-retry-pushback-ms; what was accepted is answered."""
    models.publish(tmp_path, "heavy", models.mlp((256, 2048, 2048, 8)))
    x = np.zeros((64, 256), np.float32)
    flags = ("--max-batch-size", "64", "--max-queue-rows", "64")
    with serving(tmp_path, *flags) as server, grpc.insecure_channel(server.address) as channel:
        multicallable: Any = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        )
        futures = [multicallable.future(infer_request("heavy", x=x), timeout=60) for _ in range(40)]
        codes = [future.code() for future in futures]
        refused = [f for f in futures if f.code() is grpc.StatusCode.RESOURCE_EXHAUSTED]
        rejected = server.metric(
            'isotherm_rejected_total{model="heavy",reason="queue_full",version="1"}'
        )

    assert {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED} == set(codes)
    assert len(refused) == rejected
    assert all("Exceeds maximum queue size" in future.details() for future in refused)
    assert all(
        int(dict(future.trailing_metadata())["grpc-retry-pushback-ms"]) >= 1 for future in refused
    )


def test_calls_that_nobody_can_wait_for_never_run(tmp_path: Path) -> None:
    """Behind a long batch: refused at once where the deadline would pass, dropped when given up."""
    models.publish(tmp_path, "heavy", models.mlp((256, 2048, 2048, 2048, 8)))
    long, short = np.zeros((4096, 256), np.float32), np.zeros((1, 256), np.float32)
    with (
        serving(tmp_path, "--max-batch-size", "4096") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        multicallable: Any = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        )
        slow = multicallable.future(infer_request("heavy", x=long), timeout=60)
        started = eventually(
            lambda: (
                server.metric('isotherm_batches_total{model="heavy",reason="full",version="1"}') > 0
            )
        )
        given_up = multicallable.future(infer_request("heavy", x=short), timeout=60)
        waits = eventually(
            lambda: server.metric('isotherm_queue_pending_requests{model="heavy",version="1"}') == 1
        )
        hurried = multicallable.future(infer_request("heavy", x=short), timeout=0.05)
        code, details, still_running = hurried.code(), hurried.details(), not slow.done()
        pushback_ms = int(dict(hurried.trailing_metadata())["grpc-retry-pushback-ms"])
        given_up.cancel()
        slow.result()
        counted = eventually(
            lambda: all(
                server.metric(
                    f'isotherm_rejected_total{{model="heavy",reason="{why}",version="1"}}'
                )
                == 1
                for why in ("cancelled", "hopeless")
            )
        )
        rows = server.metric('isotherm_inferences_total{model="heavy",version="1"}')

    assert started
    assert waits
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "would pass in the queue: 1 rows before it take some" in details
    assert still_running
    assert pushback_ms > 50
    assert counted
    assert rows == 4096


def running(pid: int) -> bool:
    """Tell whether a process is there and has not ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.fixture(name="taken_port")
def _taken_port() -> Any:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


def test_a_grpc_port_in_use_is_refused(repository: Path, taken_port: int) -> None:
    """SO_REUSEPORT must not share calls with a stranger."""
    status, text = failing(repository, "--grpc-port", str(taken_port))

    assert status == 1
    assert f"cannot bind the gRPC port 127.0.0.1:{taken_port}" in text
    assert "Traceback" not in text


def test_a_second_server_on_the_same_port_is_refused(repository: Path) -> None:
    """Neither may it share them with another server of ours."""
    with serving(repository) as server:
        status, text = failing(repository, "--grpc-port", str(server.grpc_port))

        assert status == 1
        assert f"cannot bind the gRPC port 127.0.0.1:{server.grpc_port}" in text


def test_a_metrics_port_in_use_is_refused(repository: Path, taken_port: int) -> None:
    """The culprit is named: it is the other port."""
    status, text = failing(repository, "--metrics-port", str(taken_port))

    assert status == 1
    assert f"cannot bind the metrics port 127.0.0.1:{taken_port}" in text


def test_a_repository_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    """The folder is named, with what was expected in it."""
    status, text = failing(tmp_path / "nowhere")

    assert status == 1
    assert f"the model repository {tmp_path / 'nowhere'} is not there" in text
    assert "Traceback" not in text


def test_an_empty_repository_is_refused(tmp_path: Path) -> None:
    """A server without a model would only look alive."""
    status, text = failing(tmp_path)

    assert status == 1
    assert "holds no <model>/<version>/model.onnx" in text


BAD_FILES = {
    "truncated": lambda: models.doubling().SerializeToString()[:-30],
    "not ONNX": lambda: b"this is no model at all",
    "empty": lambda: b"",
    "contract of another graph": lambda: models.with_contract(
        models.mlp((4, 8, 3)), models.doubling_contract()
    ).SerializeToString(),
    "golden rows that disagree": lambda: models.with_contract(
        models.mlp(), models.doubling_contract()
    ).SerializeToString(),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_bad_model_file_keeps_the_server_from_starting(tmp_path: Path, kind: str) -> None:
    """One sentence names the file and what is wrong with it."""
    path = models.publish(tmp_path, "bad", models.doubling())
    path.write_bytes(BAD_FILES[kind]())

    status, text = failing(tmp_path)

    assert status == 1
    last = text.strip().splitlines()[-1]
    assert last.startswith(f"isotherm serve: {path}: ")
    assert "Traceback" not in text
    if kind == "golden rows that disagree":
        assert "golden rows disagree: for reading=1 the model should answer twice=2" in last
    if kind == "contract of another graph":
        assert "must be FP32 of shape [-1, 1]; the graph has FP32 [-1, 4]" in last


def test_the_other_models_serve_beside_a_bad_one_when_asked(tmp_path: Path) -> None:
    """--no-exit-on-error: the bad one is UNAVAILABLE with its reason, the server not ready."""
    models.publish(tmp_path, "good", models.doubling())
    models.publish(tmp_path, "bad", models.doubling()).write_bytes(b"nonsense")
    with (
        serving(tmp_path, "--no-exit-on-error", wait=False) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        grpc.channel_ready_future(channel).result(timeout=30)
        answer = call(channel, "ModelInfer", infer_request("good", x=X))
        index = call(channel, "RepositoryIndex", pb.RepositoryIndexRequest())
        ready = call(channel, "ServerReady", pb.ServerReadyRequest()).ready
        with pytest.raises(grpc.RpcError) as caught:
            call(channel, "ModelInfer", infer_request("bad", x=X))
        page, _ = server.get("/v2/health/ready")

    np.testing.assert_array_equal(2 * X, outputs_of(answer)["y"])
    (bad,) = [model for model in index.models if model.name == "bad"]
    assert bad.state == "UNAVAILABLE"
    assert "model.onnx" in bad.reason
    assert not ready
    assert page == 503
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_cuda_that_cannot_be_had_is_an_error_that_says_why(repository: Path) -> None:
    """Asked for by name, it is never replaced by the CPU in silence."""
    status, text = failing(repository, "--provider", "cuda")

    assert status == 1
    assert "--provider cuda: " in text
    assert "isotherm[server-gpu]" in text


def test_auto_says_loudly_that_it_took_the_cpu(repository: Path) -> None:
    """In the log, and in the metrics."""
    with serving(repository, "--provider", "auto") as server:
        assert "WARNING worker-0 provider auto took cpu: " in server.log
        assert 'model="doubling",provider="cpu"' in server.get("/metrics")[1]


def test_a_setting_out_of_range_is_refused(repository: Path) -> None:
    """The setting, its value and what was expected."""
    status, text = failing(repository, "--max-batch-size", "0")

    assert status == 1
    assert "max_batch_size is 0, expected 1 or more" in text
