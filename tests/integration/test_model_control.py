"""What is served changes while the server runs: by the folder, or as callers ask."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from grpc_health.v1 import health_pb2, health_pb2_grpc

from isotherm.v1 import open_inference_pb2 as pb
from tests.support import models
from tests.support.models import times
from tests.support.processes import children
from tests.support.rpc import call, error_of, infer_request, outputs_of
from tests.support.server import eventually, serving

POLL = ("--model-control", "poll", "--poll-seconds", "0.2")
EXPLICIT = ("--model-control", "explicit")
X = np.array([[1.0]], np.float32)


def answer(channel: grpc.Channel, model: str = "m", version: str = "") -> float:
    """Ask a model for its factor."""
    request = infer_request(model, x=X)
    request.model_version = version
    return float(outputs_of(call(channel, "ModelInfer", request))["y"][0, 0])


def becomes(channel: grpc.Channel, expected: float, model: str = "m") -> bool:
    """Wait for a model's answer to be what is expected."""

    def holds() -> bool:
        try:
            return answer(channel, model) == expected
        except grpc.RpcError:
            return False

    return eventually(holds, 20)


def index(channel: grpc.Channel) -> dict[tuple[str, str], tuple[str, str]]:
    """Return state and reason by name and version."""
    found = call(channel, "RepositoryIndex", pb.RepositoryIndexRequest()).models
    return {(model.name, model.version): (model.state, model.reason) for model in found}


def test_poll_follows_the_folder(tmp_path: Path, transport: str) -> None:
    """A new version takes over, a new model appears, a removed one goes."""
    models.publish(tmp_path, "m", times(2))
    with (
        serving(tmp_path, "--transport", transport, *POLL) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        first = answer(channel)
        models.publish(tmp_path, "m", times(3), 2)
        taken_over = becomes(channel, 3)
        old, _ = error_of(
            channel, "ModelInfer", pb.ModelInferRequest(model_name="m", model_version="1")
        )
        models.publish(tmp_path, "n", times(7))
        appeared = becomes(channel, 7, "n")
        shutil.rmtree(tmp_path / "n")
        gone = eventually(lambda: index(channel)["n", "1"] == ("UNAVAILABLE", "unloaded"), 20)
        ready = call(channel, "ServerReady", pb.ServerReadyRequest()).ready
        series_gone = eventually(
            lambda: (
                'isotherm_model_state{model="n",state="READY",version="1"} 1.0'
                not in server.get("/metrics")[1]
            )
        )

    assert first == 2
    assert taken_over
    assert old is grpc.StatusCode.NOT_FOUND
    assert appeared
    assert gone
    assert ready
    assert series_gone


def test_a_bad_version_leaves_the_old_one_serving_and_says_why(tmp_path: Path) -> None:
    """In the index and in the log; mended, it takes over."""
    models.publish(tmp_path, "m", times(2))
    with serving(tmp_path, *POLL) as server, grpc.insecure_channel(server.address) as channel:
        # At no moment a good one, which a poll might find.
        path = tmp_path / "m" / "2" / "model.onnx"
        path.parent.mkdir()
        path.write_bytes(b"no model")
        noticed = eventually(lambda: ("m", "2") in index(channel), 20)
        entries = index(channel)
        still = answer(channel)
        logged = server.log
        path.write_bytes(times(3).SerializeToString())
        mended = becomes(channel, 3)

    assert noticed
    assert entries["m", "1"] == ("READY", "")
    state, reason = entries["m", "2"]
    assert state == "UNAVAILABLE"
    assert str(path) in reason
    assert still == 2
    assert str(path) in logged
    assert mended


@pytest.mark.parametrize("place", ["m/2", "n/1"])
def test_what_is_refused_takes_no_server_out_of_service(tmp_path: Path, place: str) -> None:
    """Every server that follows the folder would be; nor does a worker that starts again stop."""
    models.publish(tmp_path, "m", times(2))
    name, _, version = place.partition("/")
    with (
        serving(tmp_path, *POLL, "--workers", "2") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "model.onnx").write_bytes(b"no model")
        noticed = eventually(lambda: (name, version) in index(channel), 20)
        states = [server.ready(), call(channel, "ServerReady", pb.ServerReadyRequest()).ready]
        health = health_pb2_grpc.HealthStub(channel)
        states.append(health.Check(health_pb2.HealthCheckRequest()).status == 1)
        workers = server.workers()
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        eventually(lambda: not server.ready(), 20)
        back = eventually(server.ready, 30)
        others = server.workers()
        still = becomes(channel, 2)

    assert noticed
    assert states == [True, True, True]
    assert back
    assert still
    assert not {*workers} & {*others}


def test_a_version_whose_file_turns_bad_goes_on_from_memory(tmp_path: Path) -> None:
    """What was loaded is not lost by what came after it."""
    path = models.publish(tmp_path, "m", times(2))
    with serving(tmp_path, *POLL) as server, grpc.insecure_channel(server.address) as channel:
        path.write_bytes(b"no model")
        noticed = eventually(lambda: index(channel)["m", "1"][1] != "", 20)
        entries = index(channel)
        still = answer(channel)
        path.write_bytes(times(5).SerializeToString())
        replaced = becomes(channel, 5)

    assert noticed
    assert entries["m", "1"][0] == "READY"
    assert still == 2
    assert replaced


def test_no_call_fails_while_versions_are_swapped(tmp_path: Path, transport: str) -> None:
    """Ten new versions under load: every answer is that of a version that was published."""
    models.publish(tmp_path, "m", times(1))
    with (
        serving(tmp_path, "--transport", transport, *POLL) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stop = threading.Event()
        answers: list[float] = []
        failures: list[grpc.RpcError] = []

        def ask() -> None:
            while not stop.is_set():
                try:
                    answers.append(answer(channel))
                except grpc.RpcError as error:
                    failures.append(error)

        callers = [threading.Thread(target=ask) for _ in range(4)]
        for caller in callers:
            caller.start()
        swapped = eventually(lambda: 1.0 in answers)
        for version in range(2, 12):
            models.publish(tmp_path, "m", times(version), version)
            swapped = swapped and becomes(channel, version)
        stop.set()
        for caller in callers:
            caller.join()

    assert swapped
    assert failures == []
    assert set(answers) <= {float(version) for version in range(1, 12)}
    assert {1.0, 11.0} <= set(answers)


@pytest.mark.alone
@pytest.mark.slow
def test_a_hundred_swaps_lose_no_call_and_no_memory(tmp_path: Path) -> None:
    """Under load, and vetted; what a version took is given back with it."""
    models.publish(tmp_path, "m", times(1))
    flags = (*EXPLICIT, "--load-model", "m", "--vetting", "standard")
    with serving(tmp_path, *flags) as server, grpc.insecure_channel(server.address) as channel:
        stop = threading.Event()
        failures: list[grpc.RpcError] = []
        answers: set[float] = set()

        def ask() -> None:
            while not stop.is_set():
                try:
                    answers.add(answer(channel))
                except grpc.RpcError as error:
                    failures.append(error)

        def swap(version: int) -> None:
            models.publish(tmp_path, "m", times(version), version)
            call(channel, "RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name="m"))
            shutil.rmtree(tmp_path / "m" / str(version - 1))

        callers = [threading.Thread(target=ask) for _ in range(4)]
        for caller in callers:
            caller.start()
        # The first ones pay for what every process does once.
        for version in range(2, 12):
            swap(version)
        series = 'isotherm_worker_resident_memory_bytes{worker="0"}'
        before = server.metric(series)
        for version in range(12, 112):
            swap(version)
        grown = server.metric(series) - before
        stop.set()
        for caller in callers:
            caller.join()

    assert failures == []
    assert answers <= {float(version) for version in range(1, 112)}
    assert len(answers) > 50
    assert grown < 5e6


def test_explicit_control_loads_and_unloads_in_every_worker(tmp_path: Path) -> None:
    """Triton's own client asks; both workers obey before the answer comes."""
    models.publish(tmp_path, "m", times(2))
    models.publish(tmp_path, "n", times(7))
    flags = (*EXPLICIT, "--load-model", "n", "--workers", "2")
    with serving(tmp_path, *flags) as server:
        # Connections of their own reach different workers.
        channels = [
            grpc.insecure_channel(server.address, [("grpc.use_local_subchannel_pool", 1)])
            for _ in range(8)
        ]
        with triton.InferenceServerClient(server.address) as client:
            before = {error_of(c, "ModelInfer", infer_request("m", x=X))[0] for c in channels}
            client.load_model("m")
            loaded = {answer(c) for c in channels}
            client.unload_model("m")
            after = {error_of(c, "ModelInfer", infer_request("m", x=X))[0] for c in channels}
            ready = client.is_server_ready()
            others = {answer(c, "n") for c in channels}
        for channel in channels:
            channel.close()

    assert before == {grpc.StatusCode.NOT_FOUND}
    assert loaded == {2.0}
    assert after == {grpc.StatusCode.UNAVAILABLE}
    assert ready
    assert others == {7.0}


def test_a_load_that_fails_says_why(tmp_path: Path, transport: str) -> None:
    """An unknown model, a path that leads out, a bad file, an override."""
    models.publish(tmp_path / "models", "m", times(2)).write_bytes(b"no model")
    models.publish(tmp_path, "outside", times(9))
    load: Any = pb.RepositoryModelLoadRequest
    with (
        serving(tmp_path / "models", "--transport", transport, *EXPLICIT) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        unknown = error_of(channel, "RepositoryModelLoad", load(model_name="nobody"))
        outside = error_of(channel, "RepositoryModelLoad", load(model_name="../outside"))
        bad = error_of(channel, "RepositoryModelLoad", load(model_name="m"))
        override = load(model_name="m")
        override.parameters["config"].string_param = "{}"
        overridden = error_of(channel, "RepositoryModelLoad", override)

    assert unknown[0] is outside[0] is grpc.StatusCode.NOT_FOUND
    assert "'nobody'" in unknown[1]
    assert bad[0] is grpc.StatusCode.INTERNAL
    assert "failed to load 'm'" in bad[1]
    assert "model.onnx" in bad[1]
    assert overridden[0] is grpc.StatusCode.UNIMPLEMENTED


def test_a_worker_that_is_started_again_serves_what_callers_had_loaded(tmp_path: Path) -> None:
    """The supervisor remembers."""
    models.publish(tmp_path, "m", times(2))
    with serving(tmp_path, *EXPLICIT) as server:
        with triton.InferenceServerClient(server.address) as client:
            client.load_model("m")
        (child,) = children(server.process.pid)
        os.kill(child, signal.SIGKILL)
        gone = eventually(lambda: not server.ready())
        back = eventually(server.ready, 30)
        with grpc.insecure_channel(server.address) as channel:
            value = answer(channel)

    assert gone
    assert back
    assert value == 2


def test_a_worker_that_starts_while_the_others_load_gets_the_model_too(tmp_path: Path) -> None:
    """It was told to load what was there before; the caller's answer is for all workers."""
    contract = models.doubling_contract()
    # A load of some seconds.
    contract.golden.rows = 1
    contract.golden.inputs[:] = contract.golden.outputs[:] = [20_000.0]
    models.publish(tmp_path, "slow", models.with_contract(models.slow(), contract))
    models.publish(tmp_path, "m", times(2))
    flags = (*EXPLICIT, "--load-model", "m", "--workers", "2")
    with serving(tmp_path, *flags) as server:
        os.kill(server.workers()[0], signal.SIGKILL)
        gone = eventually(lambda: not server.ready())
        with grpc.insecure_channel(server.address) as channel:
            load = pb.RepositoryModelLoadRequest(model_name="slow")
            call(channel, "RepositoryModelLoad", load, timeout=60)
        ready = server.ready()
        channels = [
            grpc.insecure_channel(server.address, [("grpc.use_local_subchannel_pool", 1)])
            for _ in range(8)
        ]
        values = [answer(channel, "slow") for channel in channels]
        for channel in channels:
            channel.close()

    assert gone
    assert ready
    assert values == [1.0] * 8


def configured(folder: Path, text: str) -> None:
    """Write a model's config.pbtxt."""
    (folder / "config.pbtxt").write_text(text)


def test_config_pbtxt_is_heeded(tmp_path: Path) -> None:
    """Versions, batch size, delay and queue as Triton's file says; unknown fields only warn."""
    for version in (1, 2, 3):
        models.publish(tmp_path, "m", times(version), version)
    configured(
        tmp_path / "m",
        """
        name: "m"
        backend: "onnxruntime"
        max_batch_size: 8
        made_up_field: 5
        input [{ name: "x" data_type: TYPE_FP32 dims: [1] }]
        version_policy { specific { versions: [1, 3] } }
        dynamic_batching {
          max_queue_delay_microseconds: 1000
          default_queue_policy { max_queue_size: 50 }
        }
        parameters { key: "owner" value { string_value: "weather" } }
        """,
    )
    with serving(tmp_path) as server, grpc.insecure_channel(server.address) as channel:
        values = [answer(channel, "m", version) for version in ("1", "3", "")]
        missing, _ = error_of(
            channel, "ModelInfer", pb.ModelInferRequest(model_name="m", model_version="2")
        )
        config = call(channel, "ModelConfig", pb.ModelConfigRequest(name="m")).config
        log = server.log

    assert values == [1, 3, 3]
    assert missing is grpc.StatusCode.NOT_FOUND
    assert config.max_batch_size == 8
    assert config.dynamic_batching.max_queue_delay_microseconds == 1000
    assert config.dynamic_batching.default_queue_policy.max_queue_size == 50
    assert list(config.version_policy.specific.versions) == [1, 3]
    assert config.parameters["owner"].string_value == "weather"
    assert "an unknown field is ignored" in log
    assert "made_up_field" in log


def test_an_explicit_batch_size_of_zero_forbids_batches(tmp_path: Path) -> None:
    """Shapes are then whole, and every request runs as it is."""
    models.publish(tmp_path, "m", times(2))
    configured(tmp_path / "m", "max_batch_size: 0")
    with serving(tmp_path) as server, grpc.insecure_channel(server.address) as channel:
        value = answer(channel)
        config = call(channel, "ModelConfig", pb.ModelConfigRequest(name="m")).config

    assert value == 2
    assert config.max_batch_size == 0
    assert list(config.input[0].dims) == [-1, 1]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('backend: "tensorrt"', "asks for backend 'tensorrt': only 'onnxruntime'"),
        ('name: "other"', "is for model 'other', and lies in the folder of 'm'"),
        ("max_batch_size: eight", "is not a model configuration"),
        (
            'input [{ name: "z" data_type: TYPE_FP32 dims: [1] }]',
            "config.pbtxt has input 'z' FP32, the graph has x FP32",
        ),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(
    tmp_path: Path, text: str, reason: str
) -> None:
    """By the file's name, with what it says and what is there."""
    from tests.support.server import failing

    models.publish(tmp_path, "m", times(2))
    configured(tmp_path / "m", text)

    status, output = failing(tmp_path)

    assert status == 1
    assert reason in output
    assert "Traceback" not in output
