"""Models that share a device take turns; several workers may share it too."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from tests.gpu.conftest import answers, rows
from tests.support import models
from tests.support.rpc import call, infer_request, outputs_of
from tests.support.server import eventually, serving

HEAVY = (256, 1024, 1024, 32)
ROWS = {"cuda": 8192, "cpu": 256}
# Of the light model, while the heavy one has always four requests waiting.
ASKED = 50


def test_a_light_model_is_served_beside_a_heavy_one(tmp_path: Path, provider: str) -> None:
    """Both answer right at the same time, and give back what they were lent."""
    light, heavy = models.mlp((8, 32, 4)), models.mlp(HEAVY)
    models.publish(tmp_path, "light", light)
    models.publish(tmp_path, "heavy", heavy)
    flags = ("--provider", provider, "--max-batch-size", str(ROWS[provider]))
    many = rows(ROWS[provider], HEAVY[0])
    done, answered = threading.Event(), []
    with serving(tmp_path, *flags) as server:

        def press() -> None:
            with channel_to(server.address) as channel:
                request = infer_request("heavy", x=many)
                while not done.is_set():
                    answered.append(call(channel, "ModelInfer", request, timeout=60))

        pressing = [threading.Thread(target=press) for _ in range(4)]
        for thread in pressing:
            thread.start()
        try:
            started = eventually(lambda: len(answered) >= 4, 60)
            off = []
            with channel_to(server.address) as channel:
                for number in range(ASKED):
                    x = rows(1, 8, number)
                    answer = call(channel, "ModelInfer", infer_request("light", x=x))
                    off.append(np.abs(outputs_of(answer)["y"] - answers(light, x)).max())
        finally:
            done.set()
            for thread in pressing:
                thread.join()
        lent = 'isotherm_model_buffers_lent{model="heavy",version="1"}'
        given_back = eventually(lambda: server.metric(lent) == 0)

    assert started
    assert given_back
    assert max(off) < 3e-5
    last = outputs_of(answered[-1])["y"]
    np.testing.assert_allclose(last, answers(heavy, many), rtol=0, atol=1e-4)


def test_workers_share_a_device(tmp_path: Path, provider: str) -> None:
    """Two processes on one device: both ready, both right."""
    network = models.mlp((64, 256, 256, 8))
    models.publish(tmp_path, "m", network)
    flags = ("--provider", provider, "--workers", "2")
    on_device = ("--device-ids", "0") if provider == "cuda" else ()
    with serving(tmp_path, *flags, *on_device) as server:
        off = []
        for number in range(8):
            # A connection stays with one worker.
            with channel_to(server.address) as channel:
                x = rows(100, 64, number)
                answer = call(channel, "ModelInfer", infer_request("m", x=x))
                off.append(np.abs(outputs_of(answer)["y"] - answers(network, x)).max())
        workers = len(server.workers())

    assert workers == 2
    assert max(off) < 3e-5


def channel_to(address: str) -> grpc.Channel:
    """Return a channel with a connection of its own, for messages of any size."""
    options: list[tuple[str, Any]] = [
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
    ]
    return grpc.insecure_channel(address, options)
