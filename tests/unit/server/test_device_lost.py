"""A worker's process whose device is lost: it ends by itself, so that another can begin."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import grpc
import numpy as np
import pytest

from isotherm.server import control
from isotherm.server.config import ServerConfig
from isotherm.server.control import Line
from isotherm.server.counters import Block
from isotherm.server.layout import WorkerState
from isotherm.server.rpcs import COUNTED_RPCS, PREFIX
from isotherm.v1 import open_inference_pb2 as pb
from tests.support import models
from tests.support.hostile import TRUSTED
from tests.unit.server.test_device_serving import doubling

PATIENCE_S = 60


def test_it_ends_with_a_status_whatever_hangs_at_its_end(tmp_path: Path):
    """A driver that waits for a device that is gone must not keep the process from ending."""
    models.publish(tmp_path / "models", "doubling", models.doubling())
    config = ServerConfig(repository=tmp_path / "models", provider="auto", vetting=TRUSTED)
    gone = tmp_path / "gone"
    block = Block.create(COUNTED_RPCS)
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.lost_device", str(theirs.fileno()), str(gone)],
            pass_fds=(theirs.fileno(), block.fd),
            cwd=Path(__file__).parents[3],
        )
    line = Line(ours)
    try:
        line.send(
            control.START,
            config=config.to_json(),
            slot=0,
            blocks=[block.fd],
            drift=[],
            address="127.0.0.1:0",
            private=None,
            models=None,
            log_level="info",
        )
        inbox = line.messages()
        serving = next(inbox)
        assert serving["kind"] == control.SERVING
        with grpc.insecure_channel(f"127.0.0.1:{serving['port']}") as channel:
            infer: grpc.UnaryUnaryMultiCallable[bytes, bytes]
            infer = channel.unary_unary(f"{PREFIX}ModelInfer")
            request = doubling(1.5).SerializeToString()
            answer = pb.ModelInferResponse.FromString(infer(request, timeout=PATIENCE_S))
            assert np.frombuffer(answer.raw_output_contents[0], np.float32) == 3.0

            gone.touch()
            with pytest.raises(grpc.RpcError) as raised:
                infer(request, timeout=PATIENCE_S)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        failed = next(inbox)
        began_s = time.monotonic()

        assert process.wait(PATIENCE_S) == 3
        assert time.monotonic() - began_s < 10
        assert failed["kind"] == control.FAILED
        assert next(inbox, None) is None
        assert block.state is WorkerState.DOWN
    finally:
        process.kill()
        process.wait()
        line.close()
