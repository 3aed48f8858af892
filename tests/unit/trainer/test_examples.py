"""Tests of the files in `examples/` that the trainer made, or reads."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from typer.testing import CliRunner

from isotherm.trainer import data, export, export_command
from isotherm.trainer.__main__ import app
from isotherm.trainer.config import DataConfig, TrainConfig, load
from isotherm.trainer.estimator import Fitted
from isotherm.v1 import contract
from isotherm.v1.contract_pb2 import Contract

EXAMPLES = Path(__file__).parents[3] / "examples"
MODEL = EXAMPLES / "models" / "thermometer" / "1" / "model.onnx"


@pytest.fixture(name="inside")
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a new user's, from which the examples can be seen."""
    (tmp_path / "examples").symlink_to(EXAMPLES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(name="session", scope="module")
def _session() -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"])


@pytest.fixture(name="example", scope="module")
def _example(session: onnxruntime.InferenceSession) -> Contract:
    return contract.loads(session.get_modelmeta().custom_metadata_map[contract.METADATA_KEY])


def test_the_committed_model_answers_a_reading(session: onnxruntime.InferenceSession) -> None:
    """35.7 degrees Fahrenheit are 2.1 Celsius; the thermometer said 0.5 that day."""
    y, lower, upper = session.run(["y", "lower", "upper"], {"x": np.array([[35.7]], np.float32)})

    assert y[0, 0] == pytest.approx(1.8, abs=0.5)
    assert lower < 0.5 < y < upper


def test_the_committed_model_still_gives_its_golden_rows(
    session: onnxruntime.InferenceSession, example: Contract
) -> None:
    """What torch answered then is what ONNX Runtime answers now."""
    golden = example.golden
    inputs = np.array(golden.inputs, np.float32).reshape(golden.rows, 1)

    (outputs,) = session.run(["y"], {"x": inputs})

    np.testing.assert_allclose(
        outputs.ravel(),
        golden.outputs,
        rtol=golden.relative_tolerance,
        atol=golden.absolute_tolerance,
    )


def test_the_committed_model_is_what_its_command_makes(example: Contract, fitted: Fitted) -> None:
    """The command in the README gives these answers, within what other processors may round."""
    inputs = np.array(example.golden.inputs).reshape(-1, 1)

    assert example.model_name == "thermometer"
    assert example.provenance.data_sha256 == fitted.table.sha256
    np.testing.assert_allclose(
        fitted.served.answers(inputs).ravel(), example.golden.outputs, atol=0.05
    )


def test_the_committed_model_passes_the_checks_of_today() -> None:
    """It is valid ONNX with a free batch axis, and small."""
    export.check(onnx.load(MODEL))

    assert MODEL.stat().st_size < 10_000


def test_the_example_settings_are_the_defaults() -> None:
    """The file shows every default; only what the defaults leave open is written out."""
    shown = load(EXAMPLES / "train.toml", {})

    default = TrainConfig(name="thermometer", data=DataConfig(dataset="thermometer"))
    assert shown.model_copy(update={"data": default.data, "network": default.network}) == default


def test_the_diabetes_table_is_the_one_that_its_settings_name(inside: Path) -> None:
    """442 rows of ten features, with units."""
    table = data.read(load(EXAMPLES / "diabetes.toml", {}).data)

    assert (table.rows, len(table.features)) == (442, 10)
    assert table.y.mean() == pytest.approx(152.13, abs=0.01)
    assert {column.name: column.unit for column in table.features}["bmi"] == "kg/m2"


def test_the_diabetes_example_trains(inside: Path) -> None:
    """On 442 rows the line is kept, whatever the network is given."""
    arguments = ("--config", "examples/diabetes.toml", "--epochs", "3", "--no-draw")

    result = CliRunner().invoke(app, [*arguments, "--log-every", "0"])

    assert "The line is kept: it beats the mean by 10.0 standard errors" in result.stdout
    assert (inside / "models" / "diabetes" / "1" / "model.onnx").exists()


@pytest.mark.slow
def test_a_module_of_ones_own_takes_fifteen_lines(inside: Path) -> None:
    """Imports included, and it runs as it stands."""
    lines = (EXAMPLES / "own_model.py").read_text().splitlines()

    done = _python("examples/own_model.py")

    assert len([line for line in lines if line.strip() and not line.startswith('"""')]) <= 15
    assert done.splitlines()[-1] == "published models/own/1/model.onnx"
    names = [line.split()[0] for line in done.splitlines()[:3]]
    assert names == ["mean", "line", "network"]


def test_an_existing_file_gets_a_contract_by_the_command_that_stands_beside_it(
    inside: Path,
) -> None:
    """Least squares by numpy, written by no exporter of ours."""
    text = (EXAMPLES / "existing_onnx.py").read_text()
    (command,) = re.findall(r"isotherm export ((?:.*\\\n)*.*)\n", text)
    _python("examples/existing_onnx.py")

    result = CliRunner().invoke(export_command.app, command.replace("\\\n", " ").split())

    assert "RMSE of progression 53.48 (the mean alone: 77.01)" in result.stdout
    content = (inside / "models" / "elsewhere" / "1" / "model.onnx").read_bytes()
    assert export.contract_of(content).provenance.rows == 442


def _python(script: str) -> str:
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
