"""A second model for the loaded server: trained on enough rows for its drift to be measured."""

from pathlib import Path

import numpy as np

from isotherm.v1.open_inference_pb2 import ModelInferRequest
from tests.support import models, trained
from tests.unit.server.fakes import session

NAME = "steady"
FEATURES = 3
# Enough for twenty in each bin of the training's histogram after five requests.
ROWS = 40
_rng = np.random.default_rng(5)


def publish(repository: Path) -> None:
    """Write the model with the contract of two thousand rows."""
    model = models.mlp((FEATURES, 8, 1))
    x = _rows(2000)
    described = models.with_contract(model, trained.contract(x, session(model).run([x])[0]))
    models.publish(repository, NAME, described)


def request() -> ModelInferRequest:
    """Other rows of the same kind each time: they have not drifted."""
    made = ModelInferRequest(model_name=NAME)
    made.inputs.add(name="x", datatype="FP32", shape=[ROWS, FEATURES])
    made.raw_input_contents.append(_rows(ROWS).tobytes())
    return made


def _rows(count: int) -> np.ndarray:
    return _rng.normal(1, 0.5, (count, FEATURES)).astype(np.float32)
