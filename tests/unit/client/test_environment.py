"""What importing and using the client does to the process: nothing that others would notice."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

VARIABLES = ("GRPC_EXPERIMENTS", "GRPC_VERBOSITY", "GRPC_POLL_STRATEGY", "GRPC_ENABLE_FORK_SUPPORT")
PROGRAM = f"""
import os, signal, threading
before = dict(os.environ), signal.getsignal(signal.SIGINT), threading.active_count()
import grpc
from isotherm.client import *
with Client("127.0.0.1:1") as client:
    try:
        client.health(timeout=0.2)
    except IsothermError:
        pass
after = dict(os.environ), signal.getsignal(signal.SIGINT), threading.active_count()
print(before == after, [os.environ.get(name) for name in {VARIABLES!r}])
"""


@pytest.mark.parametrize("chosen", [None, "tcp_frame_size_tuning"])
@pytest.mark.parametrize("first", ["import grpc", "from isotherm.client import *"])
def test_grpc_s_settings_are_left_alone(chosen: str | None, first: str) -> None:
    """They hold for all of gRPC in the process, so they are the application's."""
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    if chosen is not None:
        environment["GRPC_EXPERIMENTS"] = chosen
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{PROGRAM.replace('import grpc', first, 1)}"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )

    assert done.stdout == f"True [{chosen!r}, None, None, None]\n", done.stderr
    assert done.stderr == ""
