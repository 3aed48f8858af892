"""Tests of the parity check."""

from __future__ import annotations

import copy
import sys

import numpy as np
import pytest
import torch

from isotherm.trainer import parity
from isotherm.trainer.errors import ParityError, RuntimeMissingError
from isotherm.trainer.estimator import Fitted
from isotherm.trainer.features import Served

READINGS = np.array([[35.7], [81.9], [200.0]])


def _copy(fitted: Fitted) -> Served:
    assert isinstance(fitted.served, Served)
    return copy.deepcopy(fitted.served)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_the_file_answers_as_torch_does(content: bytes, fitted: Fitted, rows: int) -> None:
    """Every batch size gives the same answers within 1e-5 degrees."""
    largest = parity.check(content, fitted.served, [READINGS[:rows]], absolute=1e-5, relative=0.0)

    assert largest <= 1e-5


def test_a_model_that_answers_differently_is_refused(content: bytes, fitted: Fitted) -> None:
    """The sentence names the output and both numbers."""
    other = _copy(fitted)
    other.y_mean += 0.5

    with pytest.raises(
        ParityError, match=r"'y' .* by up to 0\.5 in a batch of 3, allowed is 1e-05"
    ):
        parity.check(content, other, [READINGS], absolute=1e-5, relative=0.0)


def test_an_answer_that_is_no_number_is_refused(content: bytes, fitted: Fitted) -> None:
    """NaN is further away than any tolerance."""
    other = _copy(fitted)
    other.y_mean *= torch.nan

    with pytest.raises(ParityError, match="by up to nan"):
        parity.check(content, other, [READINGS], absolute=1e9, relative=1e9)


def test_without_a_runtime_the_extra_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence is the command to run."""
    # None in sys.modules is how Python itself marks a module that cannot be imported.
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    with pytest.raises(RuntimeMissingError, match=r"pip install 'isotherm\[server\]'"):
        parity.runtime()
