"""A service of `oci://`: the model's files are another process's, those of its weights too."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest

from isotherm.client import Client
from tests.deploy.kserve.files import example
from tests.deploy.kserve.pods import running_pod
from tests.deploy.processes import eventually
from tests.support import models

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("modelcar.py")
ROWS = np.array([[1.0], [2.5]], np.float32)


@contextmanager
def modelcar(root: Path, link: Path) -> Iterator[None]:
    """Run it until the block ends; only root may make namespaces."""
    with subprocess.Popen(
        [sys.executable, str(SCRIPT), str(root), str(link)],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        if process.stdout.readline() != "mounted\n":
            message = f"no mount namespace here: {process.stderr.read()}"
            if os.environ.get("CI"):
                pytest.fail(message)
            pytest.skip(message)
        yield
        process.communicate()


def image(root: Path, weights: str) -> None:
    """Write what a model's image holds: y = 2 x, whose 2 lies in a file of its own."""
    folder = root / "models" / "3"
    folder.mkdir(parents=True)
    onnx.save_model(
        models.doubling(),
        folder / "model.onnx",
        save_as_external_data=True,
        location=weights,
        size_threshold=0,
    )
    assert (folder / weights).stat().st_size == 4


def test_a_modelcar_s_model_is_served(tmp_path):
    """Although its path, asked of the file system, is one that only the other process has."""
    root, link = tmp_path / "image", tmp_path / "mnt-models"
    image(root, "weights")
    with modelcar(root, link):
        assert not link.resolve().exists()
        with running_pod(example("oci"), link, tmp_path / "log") as pod:
            eventually(lambda: pod.passes("readinessProbe"), what="readiness")
            with Client(pod.address.target) as client:
                answer = client.predict("thermometer", ROWS)

    assert isinstance(answer, np.ndarray)
    np.testing.assert_array_equal(answer.reshape(ROWS.shape), 2 * ROWS)


def test_weights_that_lie_behind_a_link_are_refused_there(tmp_path):
    """A control: where a link leads cannot be known, so none is followed."""
    root, link = tmp_path / "image", tmp_path / "mnt-models"
    image(root, "weights")
    folder = root / "models" / "3"
    (folder / "weights").rename(folder / "real")
    (folder / "weights").symlink_to("real")
    with modelcar(root, link), running_pod(example("oci"), link, tmp_path / "log") as pod:
        status = pod.process.wait(30)

    assert status == 1
    assert "no link that leads out of it" in (tmp_path / "log").read_text()
