"""Ways from a caller to the replicas: through a balancer, or balancing by itself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any

import grpc
import numpy as np

from isotherm.client import AsyncClient, Client
from tests.deploy.balancing.load import Ask
from tests.deploy.balancing.page import channel_options, service_config
from tests.deploy.balancing.replicas import MODEL
from tests.support.rpc import call, infer_request, outputs_of

TIMEOUT_S = 10.0
ONE = np.ones((1, 1), np.float32)

Options = Sequence[tuple[str, Any]]


@contextmanager
def plain(target: str, options: Options = ()) -> Iterator[Ask]:
    """Call a target with gRPC's own client, and nothing that repeats calls."""
    request = infer_request(MODEL, x=ONE)
    with grpc.insecure_channel(target, options) as channel:

        def ask() -> int:
            answer = call(channel, "ModelInfer", request, TIMEOUT_S)
            return round(float(outputs_of(answer)["y"][0, 0]))

        yield ask


def bare_round_robin(target: str) -> AbstractContextManager[Ask]:
    """Balance as docs/balancing.md says, but repeat nothing: gRPC's client, health watched."""
    config = service_config()
    del config["methodConfig"]
    return plain(target, channel_options(config))


def round_robin(target: str) -> AbstractContextManager[Ask]:
    """Balance exactly as docs/balancing.md says."""
    return plain(target, channel_options(service_config()))


@contextmanager
def client(target: str, **settings: Any) -> Iterator[Ask]:
    """Call with our blocking client."""
    with closing(Client(target, timeout=TIMEOUT_S, **settings)) as caller:
        yield lambda: round(float(caller.predict(MODEL, ONE, outputs="y")[0, 0]))


@contextmanager
def async_client(target: str, **settings: Any) -> Iterator[Ask]:
    """Call with our asyncio client, on a loop that runs in a thread of its own."""
    caller = AsyncClient(target, timeout=TIMEOUT_S, **settings)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="asyncio client")
    thread.start()

    def ask() -> int:
        answer = caller.predict(MODEL, ONE, outputs="y")
        return round(float(asyncio.run_coroutine_threadsafe(answer, loop).result()[0, 0]))

    try:
        yield ask
    finally:
        asyncio.run_coroutine_threadsafe(caller.close(), loop).result(TIMEOUT_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
