"""The job's pods, run on this machine: the real command with what Kubeflow Trainer sets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.deploy.kubeflow import controller
from tests.deploy.manifests import Object, only, read, settings
from tests.deploy.places import DEPLOY
from tests.support import ranks
from tests.support.ports import free_port

# Two agents and two trainings on two processors: they would disturb who measures.
pytestmark = [pytest.mark.alone, pytest.mark.slow]

FOLDER = DEPLOY / "kubeflow"
TIMEOUT_S = 150


def test_two_pods_train_and_publish(tmp_path: Path) -> None:
    """By the manifest's own command and settings, with folders in place of its claims.

    The process of the second one is killed on the way: each node's torchrun starts its own again,
    without a word to the other.
    """
    (job,) = read(FOLDER / "trainjob.yaml")
    pods = [controller.pod(job, node) for node in range(job["spec"]["trainer"]["numNodes"])]
    (text,) = only(read(FOLDER / "configmap.yaml"), "ConfigMap")["data"].values()
    for mounted in ("/data", "/training", "/models"):
        (tmp_path / mounted[1:]).mkdir()
        text = text.replace(f'"{mounted}', f'"{tmp_path}{mounted}')
    text = text.replace("steps = 1000", "steps = 5")
    (tmp_path / "train.toml").write_text(f"{text}\n[fit]\nepochs = 200\n")
    house(tmp_path / "data" / "house.parquet")
    port = str(free_port())

    processes = [started(pod, port, tmp_path, node) for node, pod in enumerate(pods)]
    ranks.kill(processes[1].pid, 1, tmp_path / "training" / "checkpoints" / "house")
    statuses = [process.wait(TIMEOUT_S) for process in processes]
    logs = [(tmp_path / f"{node}.log").read_text() for node in range(len(pods))]

    assert statuses == [0, 0], logs
    assert [path.name for path in tmp_path.glob("models/house/*/*")] == ["model.onnx"]
    assert [log.count("published ") for log in logs] == [1, 0]
    # Rank 0 noticed, and neither of them took more than one new start.
    assert "error: rank 0 of 2 lost another process" in logs[0]
    assert [log.count("failed (exitcode") for log in logs] == [1, 1]
    assert list(tmp_path.glob("training/plots/report.html"))
    # A training that is done leaves nothing to go on from.
    assert not list(tmp_path.glob("training/checkpoints/*/*"))


def house(path: Path) -> None:
    """The columns that the settings name."""
    rng = np.random.default_rng(0)
    area, rooms = rng.uniform(40, 160, 400), rng.integers(1, 6, 400)
    price = 1.9 * area + 8 * rooms + rng.normal(0, 5, 400)
    pq.write_table(
        pa.table({"area": area, "rooms": rooms, "price": price}), path, row_group_size=100
    )


def started(pod: Object, port: str, folder: Path, node: int) -> subprocess.Popen[bytes]:
    """Start the container of a pod as a process, next to that of the other one."""
    (container,) = pod["spec"]["containers"]
    told = settings(container) | {"PET_MASTER_ADDR": "127.0.0.1", "PET_MASTER_PORT": port}
    program, *rest = container["command"]
    command = [
        str(Path(sys.executable).with_name(program)),
        *rest,
        *(each.replace("/etc/isotherm", str(folder)) for each in container["args"]),
    ]
    told |= {"OMP_NUM_THREADS": "1", "MPLCONFIGDIR": os.fspath(folder)}
    with (folder / f"{node}.log").open("w") as log:
        return subprocess.Popen(
            command, env=ranks.environment() | told, cwd=folder, stdout=log, stderr=log
        )
