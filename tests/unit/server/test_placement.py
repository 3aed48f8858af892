"""Where a model runs: what may be asked for, and what it costs."""

from __future__ import annotations

import logging

import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto

from isotherm.server.config import Provider
from isotherm.server.errors import ProviderError
from isotherm.server.placement import (
    CPU,
    CUDA,
    INLINE_BELOW_S,
    Cost,
    check_provider,
    choose_providers,
    measure,
    provider_name,
)
from tests.support import models
from tests.unit.server.fakes import session

without_cuda = pytest.mark.skipif(
    CUDA in ort.get_available_providers(), reason="this onnxruntime is built with CUDA"
)


def test_cpu_is_cpu(caplog):
    """Without a word."""
    assert choose_providers("cpu") == [(CPU, {})]
    assert caplog.records == []


@without_cuda
def test_cuda_that_cannot_be_had_is_an_error_with_a_remedy():
    """Never a silent fall to the CPU."""
    with pytest.raises(ProviderError) as error:
        choose_providers("cuda")

    assert str(error.value) == (
        "--provider cuda: this onnxruntime is built without CUDA; install isotherm[server-gpu] in "
        "an environment without the onnxruntime package"
    )


@without_cuda
def test_auto_takes_the_cpu_and_says_why(caplog):
    """One warning with the same reason."""
    assert choose_providers("auto") == [(CPU, {})]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("provider auto took cpu: this onnxruntime is built")


def test_a_session_on_the_cpu_is_not_what_cuda_asked_for():
    """The runtime falls back in silence, so the session itself is asked."""
    loaded = session(models.doubling())
    with pytest.raises(ProviderError, match="the session took CPUExecutionProvider"):
        check_provider("cuda", loaded)


@pytest.mark.parametrize("provider", ["auto", "cpu"])
def test_a_session_on_the_cpu_is_fine_otherwise(provider: Provider):
    """And it says what it took."""
    loaded = session(models.doubling())
    check_provider(provider, loaded)

    assert provider_name(loaded) == "cpu"


@pytest.mark.parametrize(
    ("base_s", "row_s", "rows", "inline"),
    [
        (10e-6, 1e-6, 1, True),
        (10e-6, 1e-6, 189, True),
        (10e-6, 1e-6, 191, False),
        (INLINE_BELOW_S, 0.0, 1, False),
        (0.0, 0.0, 1_000_000, True),
    ],
)
def test_a_short_batch_runs_inline(base_s: float, row_s: float, rows: int, inline: bool):
    """The line in the number of rows is held against the cost of handing over."""
    assert Cost(base_s=base_s, row_s=row_s, on_device=False).inline(rows) is inline


def test_a_batch_on_a_device_never_runs_inline():
    """The device works beside the thread that polls."""
    assert not Cost(base_s=0.0, row_s=0.0, on_device=True).inline(1)


@pytest.mark.parametrize(
    "model",
    [
        models.mlp(),
        models.simple(),
        models.identity(),
        models.identity(TensorProto.FLOAT, ("length",)),
        models.identity(TensorProto.FLOAT16, (2,)),
        models.identity(TensorProto.BOOL, (2, 3)),
        models.lookup(),
        models.fixed_batch(),
    ],
    ids=["mlp", "simple", "text", "variable", "half", "bool", "lookup", "fixed"],
)
@pytest.mark.parametrize("max_batch_size", [1, 1024])
def test_every_kind_of_model_can_be_measured(model: onnx.ModelProto, max_batch_size: int):
    """Zeros of every datatype and shape run; times are not negative."""
    loaded = session(model)
    cost = measure(loaded, max_batch_size)

    assert cost.base_s >= 0
    assert cost.row_s >= 0
    assert not cost.on_device
    assert loaded.batched or cost.row_s == 0


def test_a_heavy_model_is_measured_as_heavy():
    """A hundred million multiplications a row belong on the other thread."""
    cost = measure(session(models.mlp((512, 2048, 2048, 2048, 8))), 64)

    assert not cost.inline(64)
