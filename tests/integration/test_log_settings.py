"""The level of the log changes while the server runs: in every process, and in those to come."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import grpc
import tritonclient.grpc as triton

from isotherm.v1 import open_inference_pb2 as pb
from tests.support.processes import children
from tests.support.rpc import error_of
from tests.support.server import eventually, serving


def test_a_client_of_triton_changes_what_all_workers_log(repository: Path, transport: str) -> None:
    """Also what a worker logs that is started again later."""
    flags = ("--workers", "2", "--log-control", "--transport", transport)
    with serving(repository, *flags) as server:
        client = triton.InferenceServerClient(server.address)
        before = client.get_log_settings().settings
        answer = client.update_log_settings({"log_info": False, "log_warning": False})
        workers = children(server.process.pid)
        os.kill(workers[0], signal.SIGKILL)
        restarted = eventually(
            lambda: (
                len(children(server.process.pid)) == 2
                and workers[0] not in children(server.process.pid)
                and server.ready()
            ),
            30,
        )
        # One connection stays with one worker: ask until both have answered.
        clients = [
            triton.InferenceServerClient(
                server.address, channel_args=[("grpc.use_local_subchannel_pool", 1)]
            )
            for _ in range(8)
        ]
        levels = [c.get_log_settings().settings["log_info"].bool_param for c in clients]
        log = server.log

    assert before["log_info"].bool_param
    assert not answer.settings["log_info"].bool_param
    assert answer.settings["log_error"].bool_param
    assert restarted
    assert levels == [False] * 8
    # The one that was started again loaded its models in silence.
    assert log.count("INFO worker-0 model") == log.count("INFO worker-1 model") > 0


def test_without_the_flag_callers_are_told_nothing(repository: Path) -> None:
    """UNIMPLEMENTED, with the flag's name."""
    with serving(repository) as server, grpc.insecure_channel(server.address) as channel:
        code, details = error_of(channel, "LogSettings", pb.LogSettingsRequest())

    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert "--log-control" in details
