"""Tests of the files in `examples/` that the trainer made, or reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from isotherm.trainer import export
from isotherm.trainer.config import DataConfig, TrainConfig, load
from isotherm.trainer.estimator import Fitted
from isotherm.v1 import contract
from isotherm.v1.contract_pb2 import Contract

EXAMPLES = Path(__file__).parents[3] / "examples"
MODEL = EXAMPLES / "models" / "thermometer" / "1" / "model.onnx"


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
