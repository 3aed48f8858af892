"""How a peer is asked: the body of a request, one call, and the array in its answer."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np

from isotherm.v1 import open_inference_pb2 as pb
from tests.bench import h2
from tests.support.rpc import infer_request, outputs_of

CALL_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Wire:
    """A protocol. `encode` gives a body, `decode` takes one, `ask` sends one to a port."""

    title: str
    path: str
    headers: tuple[str, ...]
    http1: bool
    encode: Callable[[np.ndarray], bytes]
    decode: Callable[[bytes], np.ndarray]
    ask: Callable[[str, bytes], bytes]
    # Whether every answer to one question has the same length, down to the byte.
    exact: bool


def open_inference() -> Wire:
    """Return `ModelInfer` of the Open Inference Protocol with raw tensors."""
    return Wire(
        title="gRPC",
        path=h2.MODEL_INFER,
        headers=h2.GRPC_HEADERS,
        http1=False,
        encode=lambda x: h2.frame(infer_request("m", x=x)),
        decode=_open_inference_array,
        ask=_ask_grpc,
        exact=True,
    )


def json_lists(array_of: Callable[[Any], Any]) -> Wire:
    """Return HTTP with `{"x": [[...], ...]}` in JSON; `array_of` finds the rows in an answer."""
    return Wire(
        title="HTTP, JSON",
        path="/predict",
        headers=("content-type: application/json",),
        http1=True,
        encode=lambda x: json.dumps({"x": x.tolist()}).encode(),
        decode=lambda body: np.array(array_of(json.loads(body)), np.float32),
        ask=_ask_http,
        # Digits vary: in a batch of another size the last bit may be another. The status tells.
        exact=False,
    )


def _open_inference_array(body: bytes) -> np.ndarray:
    response = pb.ModelInferResponse.FromString(body[5:])
    if response.raw_output_contents:
        return next(iter(outputs_of(response).values()))
    # KServe and MLServer answer in typed contents unless they choose otherwise.
    (output,) = response.outputs
    return np.array(output.contents.fp32_contents, np.float32).reshape(output.shape)


def _ask_grpc(url: str, body: bytes) -> bytes:
    host = url.removeprefix("http://").partition("/")[0]
    # A pool of its own: no back-off from an attempt at a server that was not there yet.
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(host, options) as channel:
        multicallable: Any = channel.unary_unary(h2.MODEL_INFER)
        answer: bytes = multicallable(body[5:], timeout=CALL_TIMEOUT_S)
    return h2.framed(answer)


def _ask_http(url: str, body: bytes) -> bytes:
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=CALL_TIMEOUT_S) as response:
        answer: bytes = response.read()
    return answer
