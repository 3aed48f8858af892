"""Hostile files beside a model that serves: each costs a sentence, and the model serves on."""

from __future__ import annotations

import os
import re
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import numpy as np
import onnx
import pytest

from isotherm.v1 import open_inference_pb2 as pb
from tests.support import hostile, models
from tests.support.processes import children
from tests.support.rpc import call, infer_request, outputs_of
from tests.support.server import Server, eventually, failing, serving

X = np.array([[1.0]], np.float32)
BOUNDS = ("--vetting", "standard", "--vetting-seconds", "2", "--vetting-memory-mib", "1024")
MAX_RSS_MIB = 200
IDLE_S = 20


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    models.publish(folder, "doubling", models.doubling())
    (folder.parent / "secret.bin").write_bytes(bytes(64))
    return folder


@pytest.fixture(name="polling", scope="module")
def _polling(folder: Path) -> Iterator[Server]:
    """One server, which meets all of the files while it serves."""
    flags = ("--model-control", "poll", "--poll-seconds", "0.2", *BOUNDS)
    with serving(folder, "--vetting", "standard", *flags) as server:
        yield server


def peak_rss_mib(server: Server) -> float:
    """Return the most memory that the worker ever had."""
    (worker,) = children(server.process.pid)
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{worker}/status").read_text())
    return int(peak) / 1024


def processor_s(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children_s() -> float:
    """Return the processor time of every process that this one has seen end, and of theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def serialized(model: onnx.ModelProto | bytes) -> bytes:
    """Return a file's bytes."""
    return model if isinstance(model, bytes) else model.SerializeToString()


# What makes each, and what is said of it.
HOSTILE: dict[str, tuple[Callable[[], onnx.ModelProto | bytes], *tuple[str, ...]]] = {
    "truncated": (lambda: models.doubling().SerializeToString()[:-30], "it is cut off"),
    "garbage": (lambda: b"<html>not found</html>", "or no ONNX file"),
    "relative": (lambda: hostile.with_external_data("../../../secret.bin"), "external data must"),
    "absolute": (lambda: hostile.with_external_data("/etc/passwd"), "external data must"),
    "link": (lambda: hostile.with_external_data("link.bin"), "external data must"),
    "domain": (lambda: hostile.foreign_operator("evil", "Thing"), "operator evil.Thing is not"),
    "contrib": (
        lambda: hostile.foreign_operator("com.microsoft", "Gelu"),
        "operator com.microsoft.Gelu is not allowed",
    ),
    "8 GB constant": (lambda: hostile.constant_bomb(1 << 31), "of 8589934592 bytes"),
    "256 MB constant": (lambda: hostile.constant_bomb(1 << 26), "of 268435456 bytes"),
    "8 GB hidden": (lambda: hostile.hidden_constant_bomb(1 << 31), "more than 1024 MiB"),
    "8 GB on zeros": (lambda: hostile.bomb_where(0.0), "more than 1024 MiB"),
    "8 GB on golden rows": (hostile.golden_bomb, "more than 1024 MiB"),
    "16 GB by broadcast": (hostile.broadcast_bomb, "more than 1026 MiB"),
    # Beside callers it has only the time that they leave: on a busy machine the clock is first.
    "2^40 trips": (
        hostile.endless_loop,
        "more than 2 s of processor time",
        "not loaded and run on zeros within 20 s",
    ),
    "nested": (lambda: hostile.nested_ifs(30), "bodies of If, Loop or Scan 9 deep"),
    "functions": (lambda: hostile.doubling_functions(40), "once its functions are put in"),
    "metadata": (lambda: hostile.giant_metadata(8 << 20), "its metadata has 8388612 bytes"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_costs_a_sentence_and_what_serves_goes_on(
    polling: Server, folder: Path, kind: str
) -> None:
    """As a new version of the model that serves, found by a poll."""
    make, *messages = HOSTILE[kind]
    version = 2 + list(HOSTILE).index(kind)
    path = folder / "doubling" / str(version) / "model.onnx"
    path.parent.mkdir()
    (path.parent / "link.bin").symlink_to(folder.parent / "secret.bin")
    # Whole or not at all: a poll may come between two writes.
    (path.parent / "new").write_bytes(serialized(make()))
    (path.parent / "new").rename(path)
    told = eventually(lambda: f"{path}: " in polling.log, 30)
    with grpc.insecure_channel(polling.address) as channel:
        index = call(channel, "RepositoryIndex", pb.RepositoryIndexRequest())
        answer = call(channel, "ModelInfer", infer_request("doubling", x=X))
    lines = [line for line in polling.log.splitlines() if f"{path}: " in line]

    assert told
    assert any(message in lines[0] for message in messages)
    assert any(message in model.reason for model in index.models for message in messages)
    np.testing.assert_array_equal(2 * X, outputs_of(answer)["y"])
    assert peak_rss_mib(polling) < MAX_RSS_MIB


def test_a_hostile_file_keeps_a_server_from_starting(tmp_path: Path) -> None:
    """With the sentence, and no traceback."""
    path = models.publish(tmp_path, "m", hostile.bomb_where(0.0))
    status, text = failing(tmp_path, *BOUNDS)

    assert status == 1
    last = text.strip().splitlines()[-1]
    assert last.startswith(f"isotherm serve: {path}: it takes more than 1024 MiB to load and to")
    assert "Traceback" not in text


def test_the_strict_level_refuses_weights_that_are_no_numbers(tmp_path: Path) -> None:
    """The standard level serves them: a model may mean infinity."""
    path = models.publish(tmp_path, "m", hostile.with_weights(float("nan")))
    status, text = failing(tmp_path, "--vetting", "strict")
    with serving(tmp_path, "--vetting", "standard") as server:
        serves = server.ready()

    assert status == 1
    assert f"{path}: tensor 'w' holds NaN or infinity: weights must be finite numbers" in text
    assert serves


def test_no_vetting_process_is_left_once_the_server_serves(repository: Path) -> None:
    """It costs memory only while there is something to vet."""
    with serving(repository, "--vetting", "standard") as server:
        (worker,) = children(server.process.pid)

        assert eventually(lambda: children(worker) == [])


@pytest.mark.slow
def test_versions_that_follow_each_other_share_a_process_which_then_ends(tmp_path: Path) -> None:
    """Starting it takes longer than vetting a small file does, and beside callers it is felt."""
    models.publish(tmp_path, "m", models.doubling())
    flags = ("--vetting", "standard", "--model-control", "explicit", "--load-model", "m")
    with serving(tmp_path, *flags) as server, grpc.insecure_channel(server.address) as channel:
        (worker,) = children(server.process.pid)
        ended = eventually(lambda: children(worker) == [])
        vetting = []
        for version in (2, 3):
            models.publish(tmp_path, "m", models.doubling(), version)
            call(channel, "RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name="m"))
            vetting.append(children(worker))
        policy = os.sched_getscheduler(vetting[0][0])

        assert ended
        assert len(vetting[0]) == 1
        assert vetting[0] == vetting[1]
        assert policy == os.SCHED_IDLE
        assert eventually(lambda: children(worker) == [], 30)


@pytest.mark.alone
@pytest.mark.slow
def test_two_hundred_models_are_vetted_and_loaded_within_ten_seconds(tmp_path: Path) -> None:
    """And then idle at half a percent of a core at most, supervisor and worker together.

    One process imports once, and forks for each. Processor time, since machines are shared.
    """
    for number in range(200):
        models.publish(tmp_path, f"m{number}", models.mlp(seed=number))
    before_s = children_s()
    with serving(tmp_path, "--vetting", "standard") as server:
        processes = [server.process.pid, *children(server.process.pid)]
        idle_from_s = sum(map(processor_s, processes))
        time.sleep(IDLE_S)
        idle_s = sum(map(processor_s, processes)) - idle_from_s

    assert children_s() - before_s < 10
    assert idle_s / IDLE_S <= 0.005


@pytest.mark.slow
def test_every_layer_that_the_trainer_exports_passes_the_strict_level(tmp_path: Path) -> None:
    """In one network, behind and before normalisation, with probabilities at the end."""
    from torch import nn

    from isotherm.trainer import export
    from isotherm.trainer.layers import ACTIVATIONS

    activations = [
        nn.Threshold(0.1, 0.2) if a is nn.Threshold else a() for a in ACTIVATIONS.values()
    ]
    layers = [layer for a in activations for layer in (nn.Linear(4, 4), a, nn.LayerNorm(4))]
    content = export.to_onnx(
        nn.Sequential(nn.BatchNorm1d(4), *layers, nn.BatchNorm1d(4), nn.Softmax(-1)),
        name="zoo",
        features=4,
        input_name="x",
        output_names=["y"],
        properties={},
    )
    models.publish(tmp_path, "zoo", onnx.load_from_string(content))
    with serving(tmp_path, "--vetting", "strict") as server:
        assert server.ready()
