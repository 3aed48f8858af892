"""A call of one row with each library, as its users write it.

Each library is imported only in the process that measures it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeAlias

import numpy as np

# From an array of shape (1, 1) to the answer's of the same shape.
Blocking: TypeAlias = Callable[[np.ndarray], np.ndarray]
Awaiting: TypeAlias = Callable[[np.ndarray], Awaitable[np.ndarray]]

# What the server of the benchmark calls the model of one feature, and its tensors: y = 2 x.
MODEL, INPUT, OUTPUT = "doubling", "x", "y"


def blocking(library: str, address: str, settings: dict[str, Any]) -> tuple[Any, Blocking]:
    """Return a library's client and how it is called."""
    if library == "isotherm":
        from isotherm.client import Client

        client = Client(address, **settings)
        return client, partial(client.predict, MODEL)
    from tritonclient.grpc import InferenceServerClient, InferInput

    theirs = InferenceServerClient(address, **settings)

    def infer(x: np.ndarray) -> np.ndarray:
        tensor = InferInput(INPUT, x.shape, "FP32")
        tensor.set_data_from_numpy(x)
        answer: np.ndarray = theirs.infer(MODEL, [tensor]).as_numpy(OUTPUT)
        return answer

    return theirs, infer


def awaiting(library: str, address: str, settings: dict[str, Any]) -> tuple[Any, Awaiting]:
    """Return a library's asyncio client and how it is called; needs a running event loop."""
    if library == "isotherm":
        from isotherm.client import AsyncClient

        client = AsyncClient(address, **settings)
        return client, partial(client.predict, MODEL)
    from tritonclient.grpc import InferInput
    from tritonclient.grpc.aio import InferenceServerClient

    theirs = InferenceServerClient(address, **settings)

    async def infer(x: np.ndarray) -> np.ndarray:
        tensor = InferInput(INPUT, x.shape, "FP32")
        tensor.set_data_from_numpy(x)
        answer: np.ndarray = (await theirs.infer(MODEL, [tensor])).as_numpy(OUTPUT)
        return answer

    return theirs, infer
