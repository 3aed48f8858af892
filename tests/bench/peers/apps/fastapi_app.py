"""FastAPI and onnxruntime as people write it by hand: JSON lists in and out, no batching."""

# The packages are in an environment of their own, not where types are checked.
# mypy: disable-error-code="attr-defined, import-not-found, misc, no-any-return, untyped-decorator"

from __future__ import annotations

import os

import numpy as np
import uvicorn
from fastapi import FastAPI
from onnx_model import OnnxModel
from pydantic import BaseModel


class Rows(BaseModel):
    """What is asked."""

    x: list[list[float]]


class Answer(BaseModel):
    """What is answered."""

    y: list[list[float]]


app = FastAPI()
# Only the workers import this file by name, so only they need the model.
model = OnnxModel() if __name__ != "__main__" else None


@app.post("/predict")
async def predict(rows: Rows) -> Answer:
    """Run in the loop: `def` would send every run of microseconds through a pool of threads."""
    assert model is not None
    return Answer(y=model(np.array(rows.x, np.float32)).tolist())


if __name__ == "__main__":
    # uvicorn[standard] brings uvloop and httptools, which `auto` takes; a worker a core, and no
    # access log: uvicorn's documentation, "Settings".
    uvicorn.run(
        "fastapi_app:app",
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        workers=int(os.environ["WORKERS"]),
        access_log=False,
        log_level="warning",
    )
